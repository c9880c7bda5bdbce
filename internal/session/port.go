package session

import (
	"portolan/internal/op"
	"portolan/ldap"
)

var (
	_ op.SessionPort = (*Session)(nil)
	_ op.Writer      = (*task)(nil)
)

var closedChannel = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

func notCancelled() bool { return false }

// Cancel implements op.SessionPort (RFC 3909). Operations that are not detached are found but not cancelled: they are about
// to end; so are those that cannot be cancelled, a bind and a cancel, the caller's own included. For these done is closed
// already.
func (s *Session) Cancel(id int32) (done <-chan struct{}, outcome func() (cancelled bool), found bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.table[id]
	if t == nil {
		if id != 0 && s.inline.Load() == id {
			return closedChannel, notCancelled, true
		}
		return nil, nil, false
	}
	if !cancellable(t) {
		return closedChannel, notCancelled, true
	}
	if t.asked == nil {
		t.asked = newOutcome()
	}
	asked := t.asked
	t.cancel()
	return asked.done, func() bool { return asked.cancelled }, true
}

func newOutcome() *outcome { return &outcome{done: make(chan struct{})} }

func cancellable(t *task) bool {
	switch q := t.req.Op.(type) {
	case *ldap.BindRequest:
		return false
	case *ldap.ExtendedRequest:
		return string(q.Name) != oidCancel
	}
	return true
}

// Outstanding implements op.SessionPort.
func (s *Session) Outstanding() int {
	n := int(s.active.Load())
	if s.inline.Load() != 0 {
		n++
	}
	return n
}

// Notify implements op.SessionPort.
func (s *Session) Notify(name string, result error) error {
	var r ldap.Result
	if e := ldap.AsError(result); e != nil {
		r = e.Result
	}
	return s.notify(name, &r)
}

// Close implements op.SessionPort. A nil reason sends no notice of disconnection.
func (s *Session) Close(reason error) { s.closeAfter(ldap.AsError(reason)) }
