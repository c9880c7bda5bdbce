package session

import (
	"runtime"

	"portolan/ber"
	"portolan/internal/op"
	"portolan/ldap"
)

// verdict says how the reading goes on after a message.
type verdict uint8

const (
	goOn       verdict = iota
	handedOver         // another goroutine reads on; the task has been given back
	over               // the session is over, or about to be
)

// Object identifiers of operations that the session itself must know.
const (
	oidStartTLS   = "1.3.6.1.4.1.1466.20037"
	oidCancel     = "1.3.6.1.1.8"
	oidProxyAuthz = "2.16.840.1.113730.3.4.18" // a control
)

// message deals with one frame. The frame is part of t's input.
func (s *Session) message(t *task, frame []byte) verdict {
	s.stats.pdus.Add(1)
	m, err := t.dec.Decode(frame)
	if err != nil {
		return s.malformed(t, frame, ldap.AsError(err))
	}
	tag := m.Op.Tag()
	if _, ok := ldap.ResponseTag(tag); !ok {
		return s.unanswered(t, &m)
	}
	if e := s.checkID(m.ID); e != nil {
		s.disconnect(t, e)
		return over
	}
	s.greet()
	kind := operationOf(tag)
	s.stats.operations[kind].Add(1)
	s.received.Add(1)
	// Emptied and then filled in: a literal would be made elsewhere and copied.
	req := &t.req
	*req = op.Request{}
	req.Conn, req.ID, req.Op, req.Controls, req.Identity, req.Start = s.conn, m.ID, m.Op, m.Controls, s.conn.Identity(), s.last
	req.DetachFunc = t.detachFunc
	t.kind = kind
	if kind == Bind {
		return s.bind(t, m.Op.(*ldap.BindRequest), frame, nil)
	}
	if s.mech != "" {
		// RFC 4511 A.2: not properly sequenced. Between the steps of a SASL bind there is no identity to work as.
		return s.refuse(t, ldap.Errorf(ldap.OperationsError, "a SASL bind is in progress; finish it, or bind anew"))
	}
	if kind == Extended {
		if q := m.Op.(*ldap.ExtendedRequest); string(q.Name) == oidStartTLS {
			return s.startTLS(t, q)
		}
	}
	if !s.place() {
		s.stats.busy.Add(1)
		return s.refuse(t, ldap.Errorf(ldap.Busy, "this connection has %d operations outstanding, the most allowed; wait for one to end", s.active.Load()))
	}
	if s.closing.Load() {
		return over
	}
	return s.perform(t, frame)
}

// greet notes that the client is one that works.
func (s *Session) greet() {
	if !s.greeted && s.cfg.AnonymousUse {
		s.greeted = true
	}
}

// checkID applies RFC 4511 section 4.1.1.1.
func (s *Session) checkID(id int32) *ldap.Error {
	if id == 0 {
		return ldap.Errorf(ldap.ProtocolError, "messageID 0 is reserved for unsolicited notifications (RFC 4511 section 4.1.1.1)")
	}
	if s.active.Load() == 0 {
		return nil
	}
	s.mu.Lock()
	_, taken := s.table[id]
	s.mu.Unlock()
	if taken {
		return ldap.Errorf(ldap.ProtocolError, "messageID %d is that of a request still in progress (RFC 4511 section 4.1.1.1)", id)
	}
	return nil
}

// malformed deals with a frame that does not decode (RFC 4511 section 4.1.1). Where the envelope or the encoding itself is
// broken nothing that follows can be trusted and the session ends; where only the content of a request is not what it
// should be the request is answered.
func (s *Session) malformed(t *task, frame []byte, e *ldap.Error) verdict {
	id, tag, ok := ldap.PeekRequest(frame)
	_, answered := ldap.ResponseTag(tag)
	if !ok || !answered || !wellFormed(frame) {
		if ok && tag == ldap.TagUnbindRequest {
			s.kill("closed by the client")
			return over
		}
		s.disconnect(t, e)
		return over
	}
	if e := s.checkID(id); e != nil {
		s.disconnect(t, e)
		return over
	}
	kind := operationOf(tag)
	s.stats.operations[kind].Add(1)
	s.received.Add(1)
	t.req = op.Request{Conn: s.conn, ID: id, Identity: s.conn.Identity(), Start: s.last}
	t.kind = kind
	if kind == Bind {
		t.req.Op = &ldap.BindRequest{}
		return s.bind(t, nil, frame, e)
	}
	t.settle(e)
	return s.concluded(t, s.answer(t, tag, later))
}

// maxNesting is far beyond what any filter that the decoder accepts needs.
const maxNesting = 128

// wellFormed reports whether the frame is BER all the way down: every constructed element is filled exactly by elements.
func wellFormed(frame []byte) bool {
	var open [maxNesting]ber.Reader
	open[0] = frame
	depth := 1
	for depth > 0 {
		r := &open[depth-1]
		if r.Empty() {
			depth--
			continue
		}
		var tag byte
		var body ber.Reader
		if !r.Any(&tag, &body) {
			return false
		}
		if tag&ber.Constructed != 0 {
			if depth == maxNesting {
				return false
			}
			open[depth] = body
			depth++
		}
	}
	return true
}

// unanswered deals with messages that get no response: unbind, abandon, and what is no request.
func (s *Session) unanswered(t *task, m *ldap.Message) verdict {
	switch q := m.Op.(type) {
	case *ldap.UnbindRequest:
		s.stats.operations[Unbind].Add(1)
		s.out.drain()
		s.kill("unbind")
		return over
	case *ldap.AbandonRequest:
		if m.ID == 0 {
			s.disconnect(t, s.checkID(0))
			return over
		}
		s.greet()
		s.stats.operations[Abandon].Add(1)
		s.abandon(q.ID)
		return goOn
	}
	s.disconnect(t, ldap.Errorf(ldap.ProtocolError, "protocolOp 0x%02x is a response, not a request", m.Op.Tag()))
	return over
}

// place waits for room among the outstanding operations.
func (s *Session) place() bool {
	most := int32(s.lim.MaxOutstanding)
	if s.active.Load() < most {
		return true
	}
	s.out.flush()
	return s.waitUntil(max(s.lim.BusyAfter, 0), func() bool { return s.active.Load() < most || s.closing.Load() })
}

// refuse answers without asking the handler.
func (s *Session) refuse(t *task, e *ldap.Error) verdict {
	t.settle(e)
	return s.concluded(t, t.respond(later))
}

// answer sends the result for a request that was not decoded.
func (s *Session) answer(t *task, requestTag byte, urgency when) error {
	tag, _ := ldap.ResponseTag(requestTag)
	buf := ldap.AppendResult(s.out.begin(), t.req.ID, tag, &t.req.Reply.Result, nil)
	return s.out.end(buf, urgency)
}

// completed counts an operation that has ended.
func (s *Session) completed(t *task) {
	s.stats.completed[t.kind].Add(1)
	s.answered.Add(1)
	if t.kind != Search {
		return
	}
	if n := t.req.Trace.Entries; n > 0 {
		s.stats.entries.Add(uint64(n))
	}
	if n := t.req.Trace.References; n > 0 {
		s.stats.references.Add(uint64(n))
	}
}

// concluded ends an operation on the reading goroutine.
func (s *Session) concluded(t *task, err error) verdict {
	s.completed(t)
	if err != nil {
		s.lost(err)
		return over
	}
	if s.closing.Load() {
		return over
	}
	return goOn
}

// perform has the request served by the handler.
func (s *Session) perform(t *task, frame []byte) verdict {
	s.inline.Store(t.req.ID)
	err := t.call()
	if t.ctx == nil {
		s.inline.Store(0)
		t.settle(err)
		err = t.respond(later)
		if after := t.req.Reply.After; after != nil && err == nil {
			if err = s.out.drain(); err == nil {
				after()
			}
		}
		s.wipe(t, frame)
		return s.concluded(t, err)
	}
	s.finish(t, err)
	s.wipe(t, frame)
	t.free()
	return handedOver
}

// finish ends a detached operation.
func (s *Session) finish(t *task, err error) {
	wanted := t.decide(err)
	s.completed(t) // before the client can know
	if wanted {
		err := t.respond(later)
		if s.active.Load() > 0 {
			// Writes end in groups. Whoever else is about to answer does so first, and one write takes it all.
			runtime.Gosched()
		}
		if err == nil {
			err = s.out.flush()
		}
		if after := t.req.Reply.After; after != nil && err == nil {
			if err = s.out.drain(); err == nil {
				after()
			}
		}
		if err != nil {
			s.lost(err)
		}
	}
	s.mu.Lock()
	s.running--
	s.changed()
	s.mu.Unlock()
}

// wipe removes what may be a password from a buffer that others will use.
func (s *Session) wipe(t *task, frame []byte) {
	if t.kind == Bind || t.kind == Extended {
		clear(frame)
	}
}
