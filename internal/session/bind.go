package session

import "portolan/ldap"

// bind serves a bind request (RFC 4511 section 4.2.1). The operations before it finish or are abandoned, then the
// connection becomes anonymous, and only then the handler runs; until the answer is sent nothing else is read. malformed,
// where not nil, is the answer to a bind that could not be decoded: it too leaves the connection anonymous.
func (s *Session) bind(t *task, q *ldap.BindRequest, frame []byte, malformed *ldap.Error) verdict {
	if !s.quiesce() {
		return over
	}
	continues := malformed == nil && q.Auth == ldap.AuthSASL && s.mech != "" && string(q.Mechanism) == s.mech
	s.mech = ""
	if !continues {
		s.conn.Exchange = nil // also where the handler will not see the request
		s.conn.SetIdentity(nil)
	}
	t.req.Identity = s.conn.Identity()

	var err error
	switch {
	case malformed != nil:
		err = malformed
	case q.Version != 3:
		err = ldap.Errorf(ldap.ProtocolError, "LDAP version %d is not supported; use 3", q.Version)
	default:
		s.inline.Store(t.req.ID)
		err = t.call()
		s.inline.Store(0)
	}
	wanted := true
	if t.ctx == nil {
		t.settle(err)
	} else {
		wanted = t.decide(err)
	}

	switch code := t.req.Reply.Code; {
	case code == ldap.Success:
		s.bound()
	case code == ldap.SASLBindInProgress && q != nil && q.Auth == ldap.AuthSASL:
		s.mech = string(q.Mechanism)
	default:
		s.conn.SetIdentity(nil)
		s.limit()
	}

	err = nil
	if wanted {
		err = t.respond(later)
		if after := t.req.Reply.After; after != nil && err == nil {
			if err = s.out.drain(); err == nil {
				after()
			}
		}
	}
	clear(frame)
	if t.ctx != nil {
		s.mu.Lock()
		s.running--
		s.mu.Unlock()
		t.clear()
	}
	return s.concluded(t, err)
}

// bound takes over what a successful bind changes.
func (s *Session) bound() {
	id := s.conn.Identity()
	if !id.IsAnonymous() {
		s.greeted = true
	}
	s.limit()
}

// limit takes the limits of the identity that the connection has now.
func (s *Session) limit() {
	if s.cfg.LimitsFor != nil {
		s.lim = s.cfg.LimitsFor(s.conn.Identity()).withDefaults()
	}
}

// quiesce waits until no operation is left, and abandons those that take too long. False means that the session is over.
func (s *Session) quiesce() bool {
	if s.active.Load() == 0 && s.idle() {
		return true
	}
	s.out.flush()
	if s.waitUntil(max(s.lim.BindGrace, 0), func() bool { return s.running == 0 }) {
		return true
	}
	s.abandonAll()
	return s.waitUntil(-1, func() bool { return s.running == 0 })
}

func (s *Session) idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running == 0 && !s.dead
}

// abandon ends the operation with this message ID; there is no answer, neither to it nor to the abandon itself, and
// nothing happens where there is no such operation (RFC 4511 section 4.11). A bind is never found here: nothing is read during one.
// A cancel cannot be abandoned (RFC 3909 section 3).
func (s *Session) abandon(id int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.table[id]
	if t == nil || !cancellable(t) {
		return
	}
	s.abandonLocked(t)
}

// abandonAll is abandon for all detached operations.
func (s *Session) abandonAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.table {
		s.abandonLocked(t)
	}
}

func (s *Session) abandonLocked(t *task) {
	delete(s.table, t.req.ID)
	s.out.mu.Lock()
	t.abandoned.Store(true)
	s.out.mu.Unlock()
	s.stats.abandoned.Add(1)
	t.cancel()
}

// resetAfterTLS applies what the session does when TLS has been put in after the beginning: the identity and all state of
// the clear-text phase are gone (RFC 4513 section 4 leaves that to the server; what was agreed in clear text may have been
// agreed with somebody else).
func (s *Session) resetAfterTLS() {
	s.conn.SetIdentity(nil)
	s.mech = ""
}
