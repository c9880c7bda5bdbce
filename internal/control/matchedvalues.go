package control

import (
	"context"

	"portolan/ber"
	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/ldap"
)

// MatchedValuesOID is the valuesReturnFilter control (RFC 3876).
const MatchedValuesOID = "1.2.826.0.1.3344810.2.3"

// MatchedValues returns those values alone that match one of some filter items (RFC 3876). It chooses among values that the
// reader may read; an attribute of which it chooses none is returned without values.
func MatchedValues() op.Control {
	return op.Control{
		OID: MatchedValuesOID, Name: "matchedValues", Source: "RFC 3876",
		Applies: on(ldap.TagSearchRequest),
		Parse:   parseMatchedValues,
		Filter:  func(value any) (op.FilterUse, *ldap.Filter) { return op.ValuesFilter, value.(*ldap.Filter) },
		Around: func(ctx context.Context, req *op.Request, value any, next func(context.Context) error) error {
			items := value.(*ldap.Filter)
			var compiled dit.Filter
			var known *schema.Schema
			req.Search.Values = func(r op.Reader, _ *dit.Entry, d schema.Description, value []byte) bool {
				if s := r.Schema(); s != known {
					compiled.Compile(s, items)
					known = s
				}
				return compiled.MatchesValue(known, d, value)
			}
			return next(ctx)
		},
	}
}

// parseMatchedValues reads a ValuesReturnFilter as the Or of its items.
func parseMatchedValues(c ldap.Control) (any, error) {
	malformed := ldap.Errorf(ldap.ProtocolError, "the value of the matched values control is not a ValuesReturnFilter (RFC 3876)")
	r := ber.Reader(c.Value)
	var items ber.Reader
	if !c.HasValue || !r.Element(ber.Sequence, &items) || !r.Empty() {
		return nil, malformed
	}
	or := ber.Reader(ber.AppendBytes(nil, ber.ContextSpecific|ber.Constructed|byte(ldap.FilterOr), items))
	filter := &ldap.Filter{}
	if ldap.DecodeFilter(&or, filter) != nil {
		return nil, malformed
	}
	for _, n := range filter.Nodes[1:] {
		if n.Op == ldap.FilterAnd || n.Op == ldap.FilterOr || n.Op == ldap.FilterNot || n.DNAttrs {
			return nil, malformed // a SimpleFilterItem has none of these
		}
	}
	return filter, nil
}
