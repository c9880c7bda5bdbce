package control

import (
	"context"

	"portolan/internal/op"
	"portolan/ldap"
)

// OIDs of the authorization identity controls (RFC 3829).
const (
	AuthzIDOID         = "2.16.840.1.113730.3.4.16"
	AuthzIDResponseOID = "2.16.840.1.113730.3.4.15"
)

// AuthzID tells a client that binds as whom it is bound (RFC 3829). The last request of a bind of several steps decides.
func AuthzID() op.Control {
	return op.Control{
		OID: AuthzIDOID, Name: "authorizationIdentity", Source: "RFC 3829",
		Applies:   on(ldap.TagBindRequest),
		Responses: []string{AuthzIDResponseOID},
		Parse:     noValue("authorization identity", "RFC 3829"),
		Around: func(ctx context.Context, req *op.Request, _ any, next func(context.Context) error) error {
			err := next(ctx)
			if err == nil && req.Reply.Code == ldap.Success {
				who := []byte(req.Conn.Identity().AuthzID())
				req.Reply.Controls = append(req.Reply.Controls, ldap.Control{OID: []byte(AuthzIDResponseOID), Value: who, HasValue: true})
			}
			return err
		},
	}
}
