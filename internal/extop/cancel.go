package extop

import (
	"context"

	"portolan/ber"
	"portolan/internal/op"
	"portolan/ldap"
)

// Cancel is the cancel operation (RFC 3909). Its answer comes when that of the operation to be cancelled has been decided. An
// operation that is done as another identity, by proxied authorization, is that identity's to cancel.
func Cancel() op.Extended {
	return op.Extended{
		OID: "1.3.6.1.1.8", Name: "cancel", Source: "RFC 3909", Anonymous: true,
		Handle: func(ctx context.Context, req *op.Request, value []byte, hasValue bool, _ op.Writer) error {
			id, err := parseCancel(value, hasValue)
			if err != nil {
				return err
			}
			if id == req.ID {
				return ldap.Errorf(ldap.CannotCancel, "a cancel cannot cancel itself")
			}
			if req.Conn.Session == nil {
				return ldap.Errorf(ldap.NoSuchOperation, "there is no connection that could have another operation outstanding")
			}
			done, outcome := req.Conn.Session.Cancel(id, req.Identity)
			select {
			case <-done:
				return outcome()
			default:
			}
			ctx = req.Detach(ctx)
			select {
			case <-done:
				return outcome()
			case <-ctx.Done():
				return ctx.Err()
			}
		},
	}
}

// parseCancel reads cancelRequestValue.
func parseCancel(value []byte, hasValue bool) (id int32, err error) {
	r := ber.Reader(value)
	var seq ber.Reader
	if !hasValue || !r.Element(ber.Sequence, &seq) || !r.Empty() ||
		!seq.Int32(ber.Integer, 0, ldap.MaxMessageID, &id) || !seq.Empty() {
		return 0, ldap.Errorf(ldap.ProtocolError, "the value is not a cancelRequestValue (RFC 3909)")
	}
	return id, nil
}
