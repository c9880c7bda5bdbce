// Package ber reads and writes the subset of the Basic Encoding Rules that LDAP uses (RFC 4511 section 5.1):
// single-byte identifiers, definite lengths only, OCTET STRING in primitive form only, BOOLEAN TRUE as 0xFF on output.
//
// A Reader is a cursor over bytes that somebody else owns. Every read returns false when the input does not have the
// wanted form and leaves the cursor unusable, so that reads are chained with || and fail once at the end; nothing is
// allocated and nothing is copied. Depth cannot run away here: the package never recurses, callers that do count it.
package ber

// Identifier octets of the universal types that LDAP uses.
const (
	Boolean     = 0x01
	Integer     = 0x02
	OctetString = 0x04
	Null        = 0x05
	Enumerated  = 0x0a
	Sequence    = 0x30
	Set         = 0x31
)

// Class and form bits of an identifier octet.
const (
	ClassMask       = 0xc0
	Application     = 0x40
	ContextSpecific = 0x80
	Constructed     = 0x20
	NumberMask      = 0x1f
)

// Reader is a cursor over one run of BER elements. The zero Reader is empty.
// Slices handed out alias the input: they live as long as the input does.
type Reader []byte

// Empty reports whether nothing is left to read.
func (r Reader) Empty() bool { return len(r) == 0 }

// Peek returns the identifier octet of the next element, or false at the end.
func (r Reader) Peek() (tag byte, ok bool) {
	if len(r) == 0 {
		return 0, false
	}
	return r[0], true
}

// PeekIs reports whether the next element has this identifier octet.
func (r Reader) PeekIs(tag byte) bool { return len(r) > 0 && r[0] == tag }

// Any reads one element of whatever type, its contents into body.
func (r *Reader) Any(tag *byte, body *Reader) bool {
	head, size, ok := header(*r)
	if !ok || size > len(*r)-head {
		return false
	}
	*tag = (*r)[0]
	*body = (*r)[head : head+size : head+size]
	*r = (*r)[head+size:]
	return true
}

// Element reads one element that must have this identifier octet, its contents into body.
func (r *Reader) Element(tag byte, body *Reader) bool {
	b := *r
	if len(b) < 2 || b[0] != tag || tag&NumberMask == NumberMask {
		return false
	}
	// Most elements are short.
	if end := 2 + int(b[1]); end < 2+0x80 {
		if end > len(b) {
			return false
		}
		*body, *r = b[2:end:end], b[end:]
		return true
	}
	var got byte
	return r.Any(&got, body)
}

// Optional reads the next element into body if it has this identifier octet. It returns false only where the element
// is there and malformed; present says whether it was there.
func (r *Reader) Optional(tag byte, body *Reader, present *bool) bool {
	*present = r.PeekIs(tag)
	return !*present || r.Element(tag, body)
}

// Bytes reads one primitive element with this identifier octet as octets.
func (r *Reader) Bytes(tag byte, out *[]byte) bool {
	return r.Element(tag, (*Reader)(out))
}

// OptionalBytes is Optional for octets; *out is left alone where the element is absent.
func (r *Reader) OptionalBytes(tag byte, out *[]byte, present *bool) bool {
	return r.Optional(tag, (*Reader)(out), present)
}

// Bool reads a BOOLEAN under this identifier octet. Any octet but zero is TRUE (X.690 8.2.2).
func (r *Reader) Bool(tag byte, out *bool) bool {
	var body Reader
	if !r.Element(tag, &body) || len(body) != 1 {
		return false
	}
	*out = body[0] != 0
	return true
}

// Int reads an INTEGER or ENUMERATED under this identifier octet. Encodings longer than eight octets are refused;
// redundant leading octets are accepted, as BER (unlike DER) allows senders in the field to write them.
func (r *Reader) Int(tag byte, out *int64) bool {
	var body Reader
	if !r.Element(tag, &body) || len(body) == 0 || len(body) > 8 {
		return false
	}
	v := int64(int8(body[0]))
	for _, b := range body[1:] {
		v = v<<8 | int64(b)
	}
	*out = v
	return true
}

// Int32 reads an INTEGER or ENUMERATED that must lie in lo..hi.
func (r *Reader) Int32(tag byte, lo, hi int32, out *int32) bool {
	var v int64
	if !r.Int(tag, &v) || v < int64(lo) || v > int64(hi) {
		return false
	}
	*out = int32(v)
	return true
}

// MaxHeader is the greatest number of octets that an identifier and a length may take here.
const MaxHeader = 6

// FrameState says what Frame found.
type FrameState uint8

// What Frame found at the start of a stream.
const (
	FrameWhole   FrameState = iota // a whole element is there
	FrameMore                      // the element goes on past the input
	FrameTooBig                    // the declared length is above the limit
	FrameInvalid                   // no definite-length SEQUENCE starts here
)

// Frame looks at the head of a stream for one LDAPMessage, which is a SEQUENCE, and returns the octets that it takes in
// all, header included. limit bounds that size. It allocates nothing: a six-octet header that claims two gigabytes costs
// six octets. With FrameMore the size is zero until the header itself is complete.
func Frame(b []byte, limit int) (size int, state FrameState) {
	if len(b) == 0 {
		return 0, FrameMore
	}
	if b[0] != Sequence {
		return 0, FrameInvalid
	}
	if len(b) == 1 {
		return 0, FrameMore
	}
	if n := b[1]; n > 0x80 && n <= 0x84 && len(b) < 2+int(n&0x7f) {
		return 0, FrameMore
	}
	head, body, ok := header(b)
	switch {
	case !ok:
		return 0, FrameInvalid
	case body > limit-head:
		return 0, FrameTooBig
	case len(b) < head+body:
		return head + body, FrameMore
	}
	return head + body, FrameWhole
}

// header decodes identifier and length. It refuses high tag numbers, the indefinite form, and lengths of more than four
// octets, none of which RFC 4511 section 5.1 leaves room for.
func header(b []byte) (head, size int, ok bool) {
	if len(b) < 2 || b[0]&NumberMask == NumberMask {
		return 0, 0, false
	}
	n := b[1]
	if n < 0x80 {
		return 2, int(n), true
	}
	count := int(n & 0x7f)
	if count == 0 || count > 4 || len(b) < 2+count {
		return 0, 0, false
	}
	for _, c := range b[2 : 2+count] {
		size = size<<8 | int(c)
	}
	return 2 + count, size, size >= 0 && size <= 1<<31-1 // an int of 32 bits may have wrapped
}
