package session

import (
	"crypto/tls"
	"errors"
	"sync/atomic"
	"time"

	"portolan/ber"
	"portolan/ldap"
)

// hint is something that the operator is told of when it happens, but not each time: strangers can make it happen as often as
// they like.
type hint struct {
	next  atomic.Int64 // Unix time in nanoseconds before which it is only counted
	times atomic.Uint64
}

// hintEvery is the least time between two hints of a kind.
const hintEvery = time.Minute

// due counts one more time, and reports whether to say so now and how often it has been since it was said last.
func (h *hint) due(now time.Time) (times uint64, due bool) {
	h.times.Add(1)
	next := h.next.Load()
	if now.UnixNano() < next || !h.next.CompareAndSwap(next, now.Add(hintEvery).UnixNano()) {
		return 0, false
	}
	return h.times.Swap(0), true
}

// hints are of a whole server.
type hints struct {
	tlsOnPlain hint // TLS where LDAP is expected
	plainOnTLS hint // LDAP where TLS is expected
}

// hint tells the operator what a client is likely to have been configured for.
func (s *Session) hint(of func(*hints) *hint, text string) {
	var own hints
	all := &own
	if s.cfg.Stats != nil {
		all = &s.cfg.Stats.hints
	}
	if times, due := of(all).due(s.cfg.now()); due {
		s.log.Warn(text, "listener", s.conn.Listener, "client", s.conn.Remote.String(), "times", times)
	}
}

// notLDAP is what ends a session in which something else began where a message should: what a client says that was given the wrong
// port is told from anything else.
func (s *Session) notLDAP(b []byte) *ldap.Error {
	// A TLS record of a handshake (RFC 8446 section 5.1) begins with its type, 22, and a version of 3.something.
	if s.conn.TLS() == nil && s.received.Load() == 0 && len(b) > 0 && b[0] == 22 && (len(b) == 1 || b[1] == 3) {
		s.hint(func(h *hints) *hint { return &h.tlsOnPlain }, "a client speaks TLS to a port without: it should use ldaps:// with the port of "+
			"that listener, as a rule 636, or ldap:// with StartTLS")
		return ldap.Errorf(ldap.ProtocolError, "this port begins without TLS: use ldaps:// with its own port, or StartTLS")
	}
	return ldap.Errorf(ldap.ProtocolError, "this is not an LDAPMessage: a SEQUENCE of definite length must begin here")
}

// notTLS looks for an LDAPMessage where a handshake should have begun.
func (s *Session) notTLS(err error) {
	var header tls.RecordHeaderError
	if errors.As(err, &header) && header.RecordHeader[0] == ber.Sequence {
		s.hint(func(h *hints) *hint { return &h.plainOnTLS }, "a client speaks LDAP without TLS to a port of ldaps://: it should use ldaps://, or "+
			"ldap:// with the port of that listener, as a rule 389, and StartTLS")
	}
}
