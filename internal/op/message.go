package op

import (
	"portolan/ber"
	"portolan/internal/dit"
	"portolan/ldap"
)

// AppendEntry appends a SearchResultEntry of what sight looks at (RFC 4511 section 4.5.2), without the message around it:
// the attributes of the list that may be read.
func AppendEntry(dst []byte, sight Sight, name dit.Name, list [][]byte, typesOnly bool) ([]byte, error) {
	dst, result := ber.Begin(dst, ldap.TagSearchResultEntry)
	dst = ber.AppendString(dst, ber.OctetString, name.DN)
	dst, attrs := ber.Begin(dst, ber.Sequence)
	dst, err := sight.AppendAttributes(dst, list, typesOnly)
	return ber.End(ber.End(dst, attrs), result), err
}

// SendEncoded sends a message whose protocolOp is encoded already.
func SendEncoded(req *Request, protocolOp []byte, controls []ldap.Control) error {
	// Made in place: whoever appends holds the connection, but for no longer than it takes to copy.
	buf, message := ber.Begin(req.Out.Begin(), ber.Sequence)
	buf = ber.AppendInt(buf, ber.Integer, int64(req.ID))
	buf = ldap.AppendControls(append(buf, protocolOp...), controls)
	return req.Out.End(ber.End(buf, message))
}

// Send sends a message that precedes the final response.
func Send(req *Request, m ldap.Op, controls []ldap.Control) error {
	return req.Out.End(ldap.AppendMessage(req.Out.Begin(), req.ID, m, controls))
}
