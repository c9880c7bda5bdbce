package control

import (
	"context"

	"portolan/internal/op"
	"portolan/ldap"
)

// ManageDsaITOID is the ManageDsaIT control (RFC 3296).
const ManageDsaITOID = "2.16.840.1.113730.3.4.2"

// ManageDsaIT makes referral objects entries like others (RFC 3296 section 3). Where it is critical, somebody wants to manage the
// entries themselves: groups and lists that are searches are shown as they are stored, as slapd does, so that nobody writes
// back as values what was found. Libraries send it with every request, but not as critical (JNDI).
func ManageDsaIT() op.Control {
	return op.Control{
		OID: ManageDsaITOID, Name: "manageDsaIT", Source: "RFC 3296",
		Applies: on(ldap.TagSearchRequest, ldap.TagCompareRequest, ldap.TagAddRequest, ldap.TagDelRequest, ldap.TagModifyRequest, ldap.TagModifyDNRequest),
		Verbs:   []string{passwordModifyOID},
		Parse: func(c ldap.Control) (any, error) {
			_, err := noValue("manageDsaIT", "RFC 3296")(c)
			return c.Critical, err
		},
		Around: func(ctx context.Context, req *op.Request, critical any, next func(context.Context) error) error {
			req.Search.ManageDsaIT, req.Write.ManageDsaIT = true, true
			req.Search.Stored = critical.(bool)
			return next(ctx)
		},
	}
}
