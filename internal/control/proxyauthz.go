package control

import (
	"context"

	"portolan/internal/op"
	"portolan/ldap"
)

// ProxyAuthzOID is proxied authorization, version 2 (RFC 4370).
const ProxyAuthzOID = "2.16.840.1.113730.3.4.18"

// ProxyAuthz has one operation done as somebody else (RFC 4370). The requester needs the right "proxy" on the entry of that
// identity. The administrator may act as everybody, nobody but the administrator as the administrator, anonymous as nobody,
// and every authenticated client as anonymous.
func ProxyAuthz(p *op.Ports) op.Control {
	return op.Control{
		OID: ProxyAuthzOID, Name: "proxiedAuthorization", Source: "RFC 4370",
		// It is known for every request, so that one without criticality is refused everywhere.
		Applies: func(byte) bool { return true },
		Parse: func(c ldap.Control) (any, error) {
			if !c.Critical || !c.HasValue {
				return nil, ldap.Errorf(ldap.ProtocolError, "the proxied authorization control must be marked as critical and have a value (RFC 4370 section 3)")
			}
			return string(c.Value), nil
		},
		Around: func(ctx context.Context, req *op.Request, value any, next func(context.Context) error) error {
			if req.Op.Tag() == ldap.TagBindRequest {
				return ldap.Errorf(ldap.UnavailableCriticalExtension, "a bind cannot be done as somebody else")
			}
			if verb, ok := req.Op.(*ldap.ExtendedRequest); ok && string(verb.Name) == transactionEndOID {
				// Whoever it names: the client is not to learn whether it could act as them.
				return ldap.Errorf(ldap.ProtocolError, "proxied authorization goes with the start of a transaction, not with its end (RFC 5805 section 4.4)")
			}
			id, err := p.Directory.ActAs(req, value.(string))
			if err != nil {
				return err
			}
			if err := p.Directory.Assume(req, id); err != nil {
				return err
			}
			return next(ctx)
		},
	}
}
