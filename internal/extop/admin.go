package extop

import (
	"context"
	"errors"
	"fmt"

	"portolan/internal/op"
	"portolan/ldap"
)

// adminArc is the arc of the administrative operations: 2.25 and a random UUID as a number (ITU-T X.667 section 7).
const adminArc = "2.25.331674426869644902407615688490724426649"

// AdminOID returns the OID of the administrative operation with this number beneath the server's own arc. Numbers are
// never given twice.
func AdminOID(number int) string { return fmt.Sprintf("%s.%d", adminArc, number) }

// adminChunk is the most that one intermediate response carries.
const adminChunk = 32 << 10

// maxKind bounds the name of a kind of output.
const maxKind = 32

// Run does the work of an administrative operation. args is the request value as it came. out sends a piece of output
// while the work goes on; kind, 1 to 32 octets, tells pieces of different meaning apart, and the pieces of one kind follow
// each other in order. An error of out means that nobody listens any more. result is the response value.
type Run func(ctx context.Context, req *op.Request, args []byte, out func(kind string, piece []byte) error) (result []byte, err error)

// Admin makes an extended operation of an administrative verb. It is served on the control socket alone, to the
// administrator; output goes out as intermediate responses (RFC 4511 section 4.13) named like the operation, each with one
// octet for the length of the kind, the kind, and the piece.
func Admin(verb, oid string, run Run) op.Extended {
	return op.Extended{
		OID: oid, Name: verb, Source: "Portolan administration", ControlOnly: true,
		Handle: func(ctx context.Context, req *op.Request, value []byte, hasValue bool, w op.Writer) error {
			if !req.Conn.Control || !req.Identity.Admin {
				return ldap.Errorf(ldap.InsufficientAccessRights, "%s is for root and for the user that the server runs as, on its control socket", verb)
			}
			if !hasValue {
				return ldap.Errorf(ldap.ProtocolError, "%s wants a request value", verb)
			}
			ctx = req.Detach(ctx)
			result, err := run(ctx, req, value, func(kind string, piece []byte) error {
				return sendPieces(ctx, w, req.ID, oid, kind, piece)
			})
			if err != nil {
				return adminError(err)
			}
			req.Reply.Name = oid
			req.Reply.Value, req.Reply.HasValue = result, true
			return nil
		},
	}
}

// sendPieces sends output in messages of a bounded size.
func sendPieces(ctx context.Context, w op.Writer, id int32, oid, kind string, piece []byte) error {
	if len(kind) == 0 || len(kind) > maxKind {
		return fmt.Errorf("%q is not a kind of output", kind)
	}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(len(piece), adminChunk)
		value := make([]byte, 0, 1+len(kind)+n)
		value = append(append(append(value, byte(len(kind))), kind...), piece[:n]...)
		m := &ldap.IntermediateResponse{Name: oid, Value: value, HasValue: true}
		if err := w.End(ldap.AppendMessage(w.Begin(), id, m, nil)); err != nil {
			return err
		}
		if piece = piece[n:]; len(piece) == 0 {
			return nil
		}
	}
}

// adminError shows the administrator what went wrong: on this socket nothing has to be hidden from whoever asks. Words that
// were put around a result are part of it.
func adminError(err error) error {
	if e, ok := err.(*ldap.Error); ok { //nolint:errorlint // not one inside of something: see above
		return e
	}
	if errors.Is(err, context.Canceled) {
		return err
	}
	return ldap.Errorf(ldap.Other, "%v", err)
}

// SplitPiece takes apart the value of an intermediate response of an administrative operation.
func SplitPiece(value []byte) (kind string, piece []byte, err error) {
	if len(value) == 0 || value[0] == 0 || value[0] > maxKind || len(value) < 1+int(value[0]) {
		return "", nil, errors.New("the server has sent output of an unknown form: it may be of another version than this command")
	}
	n := 1 + int(value[0])
	return string(value[1:n]), value[n:], nil
}
