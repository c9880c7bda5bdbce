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

// Cancel implements op.SessionPort (RFC 3909). An operation that is not detached cannot be cancelled: the caller itself is
// the only one, or it is about to end. The same goes for a bind and another cancel. Operations of another identity belong
// to another user (RFC 3909 section 4).
func (s *Session) Cancel(id int32, by *op.Identity) (done <-chan struct{}, outcome func() error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	refuse := func(code ldap.ResultCode, why string) (<-chan struct{}, func() error) {
		err := ldap.Errorf(code, "%s", why)
		return closedChannel, func() error { return err }
	}
	t := s.table[id]
	switch {
	case t == nil && id != 0 && s.inline.Load() == id:
		return refuse(ldap.CannotCancel, "the operation is about to end")
	case t == nil:
		return refuse(ldap.NoSuchOperation, "no operation with this message id is outstanding")
	case !cancellable(t):
		return refuse(ldap.CannotCancel, "neither binds nor cancels can be cancelled")
	case !t.owner.Same(by):
		return refuse(ldap.CannotCancel, "the operation is done as somebody else")
	}
	if t.asked == nil {
		t.asked = newOutcome()
	}
	asked := t.asked
	t.cancel()
	return asked.done, func() error {
		if asked.cancelled {
			return nil
		}
		return ldap.Errorf(ldap.TooLate, "the operation had ended already")
	}
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
func (s *Session) Notify(name string, value []byte, result error) error {
	var r ldap.Result
	if e := ldap.AsError(result); e != nil {
		r = e.Result
	}
	return s.notify(name, value, &r)
}

// Close implements op.SessionPort. A nil reason sends no notice of disconnection.
func (s *Session) Close(reason error) { s.closeAfter(ldap.AsError(reason)) }
