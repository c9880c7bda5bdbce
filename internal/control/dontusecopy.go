package control

import (
	"context"

	"portolan/internal/op"
	"portolan/ldap"
)

// DontUseCopyOID is the don't use copy control (RFC 6171).
const DontUseCopyOID = "1.3.6.1.1.22"

// DontUseCopy has a search or compare done on the original of the entries (RFC 6171): a server that holds a copy answers
// with a referral to the original.
func DontUseCopy(p *op.Ports) op.Control {
	return op.Control{
		OID: DontUseCopyOID, Name: "dontUseCopy", Source: "RFC 6171",
		Applies: on(ldap.TagSearchRequest, ldap.TagCompareRequest),
		Parse:   critical("don't use copy", "RFC 6171"),
		Around: func(ctx context.Context, req *op.Request, _ any, next func(context.Context) error) error {
			if err := p.Directory.Original(req); err != nil {
				return err
			}
			return next(ctx)
		},
	}
}
