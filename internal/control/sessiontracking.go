package control

import (
	"context"
	"unicode/utf8"

	"portolan/ber"
	"portolan/internal/op"
	"portolan/ldap"
)

// SessionTrackingOID is the session tracking control (draft-wahl-ldap-session).
const SessionTrackingOID = "1.3.6.1.4.1.21008.108.63.1"

// The longest that the elements of a session tracking control may be, in octets (section 2.1). Where the document leaves it
// open the longest that it suggests is taken.
const (
	maxSourceIP   = 128
	maxSourceName = 65536
	maxFormat     = 1024
	maxIdentifier = 65536
)

// SessionTracking puts what a client says about its own sessions into the access log (draft-wahl-ldap-session-03). Several may
// be there, and one that is malformed is passed over: none of them may make a request fail.
func SessionTracking() op.Control {
	return op.Control{
		OID: SessionTrackingOID, Name: "sessionTracking", Source: "draft-wahl-ldap-session-03",
		Applies:    func(byte) bool { return true },
		Repeatable: true,
		Parse:      parseSessionTracking,
		Around: func(ctx context.Context, req *op.Request, value any, next func(context.Context) error) error {
			if s, ok := value.(op.TrackedSession); ok {
				req.Trace.Sessions = append(req.Trace.Sessions, s)
			}
			return next(ctx)
		},
	}
}

// parseSessionTracking reads SessionIdentifierControlValue; nil where it is none.
func parseSessionTracking(c ldap.Control) (any, error) {
	r := ber.Reader(c.Value)
	var seq ber.Reader
	var ip, name, format, id []byte
	if !r.Element(ber.Sequence, &seq) || !r.Empty() ||
		!seq.Bytes(ber.OctetString, &ip) || !seq.Bytes(ber.OctetString, &name) ||
		!seq.Bytes(ber.OctetString, &format) || !seq.Bytes(ber.OctetString, &id) || !seq.Empty() ||
		len(ip) > maxSourceIP || len(name) > maxSourceName || len(format) > maxFormat || len(id) > maxIdentifier ||
		!dotted(format) || !utf8.Valid(ip) || !utf8.Valid(name) || !utf8.Valid(id) {
		return nil, nil
	}
	return op.TrackedSession{SourceIP: string(ip), SourceName: string(name), Format: string(format), Identifier: string(id)}, nil
}

// dotted reports whether the octets are digits and dots.
func dotted(b []byte) bool {
	for _, c := range b {
		if c != '.' && (c < '0' || c > '9') {
			return false
		}
	}
	return len(b) > 0
}
