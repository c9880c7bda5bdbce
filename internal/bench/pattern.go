package bench

import (
	"bytes"
	"fmt"
	"strings"

	"portolan/ber"
	"portolan/ldap"
)

// Placeholders in names, filters and values of requests. All but the key are numbers of fixed width, so that the encoded
// request has holes that are filled for each request, and nothing is encoded while the clock runs.
const (
	PlacePerson = "{n}" // seven digits: the number of a person of the data set
	PlaceRandom = "{r}" // eight digits, any
	PlaceSerial = "{i}" // eight digits, never the same twice in one run
	PlaceKey    = "{k}" // a line of the file of keys
)

// holeKind says what goes into a hole.
type holeKind uint8

const (
	holePerson holeKind = iota
	holeRandom
	holeSerial
	holeKinds
)

var holes = [holeKinds]struct {
	place string
	width int
	// stand is what the encoder sees. It is no text that anybody writes.
	stand string
}{
	holePerson: {PlacePerson, numberWidth, strings.Repeat("\x01", numberWidth)},
	holeRandom: {PlaceRandom, serialWidth, strings.Repeat("\x02", serialWidth)},
	holeSerial: {PlaceSerial, serialWidth, strings.Repeat("\x03", serialWidth)},
}

const (
	serialWidth = 8
	maxSerial   = 99_999_999
)

// numbers fill the holes of one request.
type numbers [holeKinds]uint32

// withHoles replaces placeholders by what stands for them while a request is encoded.
func withHoles(text string) string {
	for i := range holes {
		text = strings.ReplaceAll(text, holes[i].place, holes[i].stand)
	}
	return text
}

// octets is withHoles for fields of messages.
func octets(text string) []byte { return []byte(withHoles(text)) }

// pattern is an encoded LDAPMessage with holes.
type pattern struct {
	msg   []byte
	id    int // where the four octets of the message ID are
	holes []hole
}

type hole struct {
	at    int32
	width uint8
	kind  holeKind
}

// idLow is the least message ID that is used: from here on IDs take four octets.
const idLow = 1 << 24

// newPattern encodes a message.
func newPattern(op ldap.Op, controls ...ldap.Control) (pattern, error) {
	p := pattern{msg: ldap.AppendMessage(nil, idLow, op, controls)}
	p.id = bytes.Index(p.msg, []byte{ber.Integer, 4, 1, 0, 0, 0}) + 2
	for kind := range holes {
		for at := 0; ; {
			i := bytes.Index(p.msg[at:], []byte(holes[kind].stand))
			if i < 0 {
				break
			}
			at += i
			p.holes = append(p.holes, hole{int32(at), uint8(holes[kind].width), holeKind(kind)})
			at += holes[kind].width
		}
	}
	if len(p.msg) > maxRequest {
		return pattern{}, fmt.Errorf("a request of %d octets is too long: %d is the most", len(p.msg), maxRequest)
	}
	return p, nil
}

// maxRequest bounds what one request may take, so that all that may be outstanding fits into the buffers of a socket and
// the two sides cannot wait for each other.
const maxRequest = 16 << 10

// append appends the message with this ID and these numbers.
func (p *pattern) append(dst []byte, id uint32, n *numbers) []byte {
	at := len(dst)
	dst = append(dst, p.msg...)
	m := dst[at:]
	b := m[p.id : p.id+4]
	b[0], b[1], b[2], b[3] = byte(id>>24), byte(id>>16), byte(id>>8), byte(id)
	for i := range p.holes {
		h := &p.holes[i]
		putDigits(m[h.at:h.at+int32(h.width)], n[h.kind])
	}
	return dst
}

func (p *pattern) uses(kind holeKind) bool {
	for i := range p.holes {
		if p.holes[i].kind == kind {
			return true
		}
	}
	return false
}

// putDigits writes v in decimal with leading zeros.
func putDigits(b []byte, v uint32) {
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = byte('0' + v%10)
		v /= 10
	}
}

// isDigits reports whether b is v in decimal with leading zeros.
func isDigits(b []byte, v uint32) bool {
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] != byte('0'+v%10) {
			return false
		}
		v /= 10
	}
	return true
}

// final returns the tag of the final response to the message.
func (p *pattern) final() byte {
	tag, _ := ldap.ResponseTag(p.msg[p.id+4])
	return tag
}
