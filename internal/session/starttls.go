package session

import (
	"errors"

	"portolan/internal/op"
	"portolan/ldap"
)

// startTLS serves the StartTLS operation (RFC 4511 section 4.14), which changes the stream under the session.
func (s *Session) startTLS(t *task, q *ldap.ExtendedRequest) verdict {
	refused := s.mayStartTLS(t, q)
	if t.r < t.w || (s.raw != nil && hasInput(s.raw)) {
		// Whatever came after the request was not sent by a client that waits for the answer, and could pass for
		// something that came under TLS.
		s.stats.injections.Add(1)
		e := ldap.Errorf(ldap.ProtocolError, "octets followed the StartTLS request before its answer (RFC 4511 section 4.14.1)")
		s.tellStartTLS(e)
		s.disconnect(t, e)
		return over
	}
	if refused == nil && !s.quiesce() {
		return over
	}
	t.req.Reply.Name = oidStartTLS
	if refused != nil {
		s.tellStartTLS(refused)
		return s.refuse(t, refused)
	}
	if v := s.concluded(t, t.respond(now)); v != goOn {
		return v
	}
	if s.out.drain() != nil {
		s.kill("lost before the TLS handshake")
		return over
	}
	if !s.handshake(s.nc) {
		s.tellStartTLS(errHandshake)
		return over
	}
	s.stats.startTLS.Add(1)
	s.resetAfterTLS()
	s.tellStartTLS(nil)
	return goOn
}

var errHandshake = errors.New("the TLS handshake failed")

func (s *Session) tellStartTLS(refused error) {
	if s.cfg.OnStartTLS != nil {
		s.cfg.OnStartTLS(s.conn, refused)
	}
}

func (s *Session) mayStartTLS(t *task, q *ldap.ExtendedRequest) *ldap.Error {
	if q.HasValue {
		return ldap.Errorf(ldap.ProtocolError, "StartTLS has no requestValue; leave it out (RFC 4511 section 4.14.1)")
	}
	for i := range t.req.Controls {
		c := &t.req.Controls[i]
		if !c.Critical && string(c.OID) == oidProxyAuthz {
			return ldap.Errorf(ldap.ProtocolError, "the proxied authorization control must be marked as critical (RFC 4370 section 3)")
		}
		if c.Critical {
			return ldap.Errorf(ldap.UnavailableCriticalExtension, "StartTLS takes no controls")
		}
	}
	if s.conn.TLS() != nil {
		return ldap.Errorf(ldap.OperationsError, "TLS is on already")
	}
	if s.conn.Transport == op.UDP {
		return ldap.Errorf(ldap.ProtocolError, "StartTLS needs a stream")
	}
	if s.active.Load() > 0 {
		return ldap.Errorf(ldap.OperationsError, "operations are outstanding; wait for their responses before StartTLS")
	}
	if s.cfg.TLS == nil {
		// RFC 4511 4.14.2: a server that does not support TLS says protocolError.
		return ldap.Errorf(ldap.ProtocolError, "this server is not configured for TLS")
	}
	if s.cfg.tls() == nil {
		return ldap.Errorf(ldap.Unavailable, "the server has no certificate at present")
	}
	return nil
}
