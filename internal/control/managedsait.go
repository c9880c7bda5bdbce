package control

import (
	"context"

	"portolan/internal/op"
	"portolan/ldap"
)

// ManageDsaITOID is the ManageDsaIT control (RFC 3296).
const ManageDsaITOID = "2.16.840.1.113730.3.4.2"

// ManageDsaIT makes referral objects entries like others (RFC 3296 section 3).
func ManageDsaIT() op.Control {
	return op.Control{
		OID: ManageDsaITOID, Name: "manageDsaIT", Source: "RFC 3296",
		Applies: on(ldap.TagSearchRequest, ldap.TagCompareRequest, ldap.TagAddRequest, ldap.TagDelRequest, ldap.TagModifyRequest, ldap.TagModifyDNRequest),
		Verbs:   []string{passwordModifyOID},
		Parse:   noValue("manageDsaIT", "RFC 3296"),
		Around: func(ctx context.Context, req *op.Request, _ any, next func(context.Context) error) error {
			req.Search.ManageDsaIT, req.Write.ManageDsaIT = true, true
			return next(ctx)
		},
	}
}
