package control

import (
	"context"

	"portolan/ber"
	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/ldap"
)

// AssertionOID is the assertion control (RFC 4528).
const AssertionOID = "1.3.6.1.1.12"

// Assertion makes an operation go on only where a filter is true of its target, in the transaction or the snapshot of the
// operation (RFC 4528). The filter sees what a search of the requester would see. The target of an add is the entry as it is
// to be, that of a search from the root is the root DSE.
func Assertion(p *op.Ports) op.Control {
	return op.Control{
		OID: AssertionOID, Name: "assertion", Source: "RFC 4528",
		Applies: on(ldap.TagSearchRequest, ldap.TagCompareRequest, ldap.TagAddRequest, ldap.TagDelRequest, ldap.TagModifyRequest, ldap.TagModifyDNRequest),
		Parse:   parseAssertion,
		Filter:  func(value any) (op.FilterUse, *ldap.Filter) { return op.AssertionFilter, value.(*ldap.Filter) },
		Around: func(ctx context.Context, req *op.Request, value any, next func(context.Context) error) error {
			filter := value.(*ldap.Filter)
			req.Search.Before = append(req.Search.Before, func(see op.Sight) error { return holds(see, filter) })
			req.Write.Before = append(req.Write.Before, func(tx op.Tx, e *dit.Entry, name dit.Name) error {
				see := p.Directory.Sight(req, tx)
				see.LookAs(e, name)
				return holds(see, filter)
			})
			return next(ctx)
		},
	}
}

func parseAssertion(c ldap.Control) (any, error) {
	r := ber.Reader(c.Value)
	filter := &ldap.Filter{}
	if !c.HasValue || ldap.DecodeFilter(&r, filter) != nil || !r.Empty() {
		return nil, ldap.Errorf(ldap.ProtocolError, "the value of the assertion control is not a filter (RFC 4528)")
	}
	return filter, nil
}

// holds returns assertionFailed unless the filter is true of the entry looked at.
func holds(see op.Sight, filter *ldap.Filter) error {
	truth, err := see.Match(see.Compile(filter))
	if err == nil && truth != dit.True {
		err = ldap.Errorf(ldap.AssertionFailed, "")
	}
	return err
}
