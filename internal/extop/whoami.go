// Package extop has the extended operations (RFC 4511 section 4.12), one file each. What an operation needs of the
// server it is given as a port when it is wired.
package extop

import (
	"context"

	"portolan/internal/op"
	"portolan/ldap"
)

// WhoAmI is "Who am I?" (RFC 4532).
func WhoAmI() op.Extended {
	return op.Extended{
		OID: "1.3.6.1.4.1.4203.1.11.3", Name: "whoami", Source: "RFC 4532", Anonymous: true,
		Handle: func(_ context.Context, req *op.Request, _ []byte, hasValue bool, _ op.Writer) error {
			if hasValue {
				return ldap.Errorf(ldap.ProtocolError, "who am I takes no value")
			}
			req.Reply.Value, req.Reply.HasValue = []byte(req.Identity.AuthzID()), true
			return nil
		},
	}
}
