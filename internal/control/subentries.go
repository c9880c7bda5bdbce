package control

import (
	"context"

	"portolan/ber"
	"portolan/internal/op"
	"portolan/ldap"
)

// SubentriesOID is the subentries control (RFC 3672).
const SubentriesOID = "1.3.6.1.4.1.4203.1.10.1"

// Subentries says whether a search sees subentries, and then nothing else, or normal entries (RFC 3672 section 3).
func Subentries() op.Control {
	return op.Control{
		OID: SubentriesOID, Name: "subentries", Source: "RFC 3672",
		Applies: on(ldap.TagSearchRequest),
		Parse: func(c ldap.Control) (any, error) {
			r := ber.Reader(c.Value)
			var visible bool
			if !c.HasValue || !r.Bool(ber.Boolean, &visible) || !r.Empty() {
				return nil, ldap.Errorf(ldap.ProtocolError, "the value of the subentries control is not a BOOLEAN (RFC 3672)")
			}
			return visible, nil
		},
		Around: func(ctx context.Context, req *op.Request, value any, next func(context.Context) error) error {
			visible := value.(bool)
			req.Search.Subentries = &visible
			return next(ctx)
		},
	}
}
