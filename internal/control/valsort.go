package control

import (
	"context"

	"portolan/ber"
	"portolan/internal/op"
	"portolan/ldap"
)

// ValSortOID is OpenLDAP's valsort control.
const ValSortOID = "1.3.6.1.4.1.4203.666.5.14"

// ValSort has the weights of values sent that are sorted by weight, where its value is TRUE.
func ValSort() op.Control {
	return op.Control{
		OID: ValSortOID, Name: "valSort", Source: "slapo-valsort(5)",
		Applies: on(ldap.TagSearchRequest),
		Parse:   parseValSort,
		Around: func(ctx context.Context, req *op.Request, value any, next func(context.Context) error) error {
			req.Search.Weights = value.(bool)
			return next(ctx)
		},
	}
}

func parseValSort(c ldap.Control) (any, error) {
	var weights bool
	r := ber.Reader(c.Value)
	var body ber.Reader
	if !c.HasValue || !r.Element(ber.Sequence, &body) || !r.Empty() || !body.Bool(ber.Boolean, &weights) || !body.Empty() {
		return nil, ldap.Errorf(ldap.ProtocolError, "the value of the valsort control is not a sequence of one boolean")
	}
	return weights, nil
}
