package schema

import (
	"bytes"
	"encoding/hex"
	"slices"
	"strings"
)

// A gser reads values in the string encoding of ASN.1 (RFC 3641), as far as assertions and subtree specifications use
// it: sequences of named fields.
type gser struct {
	in  []byte
	off int
}

// maxGSERDepth bounds how deeply values may nest.
const maxGSERDepth = 32

func (g *gser) spaces() {
	for g.off < len(g.in) && g.in[g.off] == ' ' {
		g.off++
	}
}

// end reports whether nothing but spaces is left.
func (g *gser) end() bool {
	g.spaces()
	return g.off == len(g.in)
}

func (g *gser) accept(c byte) bool {
	g.spaces()
	if g.off < len(g.in) && g.in[g.off] == c {
		g.off++
		return true
	}
	return false
}

// identifier reads letters, digits and hyphens.
func (g *gser) identifier() []byte {
	g.spaces()
	start := g.off
	for g.off < len(g.in) && isKeyChar(g.in[g.off]) {
		g.off++
	}
	return g.in[start:g.off]
}

// sequence reads "{ name value, name value }" into values by lower-case name. No name may stand there twice.
func (g *gser) sequence() (map[string][]byte, bool) {
	fields := map[string][]byte{}
	if !g.accept('{') {
		return nil, false
	}
	if g.accept('}') {
		return fields, true
	}
	for {
		name := string(bytes.ToLower(g.identifier()))
		value, ok := g.value()
		if _, twice := fields[name]; !ok || twice || name == "" {
			return nil, false
		}
		fields[name] = value
		if g.accept('}') {
			return fields, true
		}
		if !g.accept(',') {
			return nil, false
		}
	}
}

// elements reads "{ value, value }".
func (g *gser) elements() ([][]byte, bool) {
	var out [][]byte
	if !g.accept('{') {
		return nil, false
	}
	if g.accept('}') {
		return nil, true
	}
	for {
		value, ok := g.value()
		if !ok {
			return nil, false
		}
		out = append(out, value)
		if g.accept('}') {
			return out, true
		}
		if !g.accept(',') {
			return nil, false
		}
	}
}

// value takes one value as it stands: up to a "," or "}" that is neither in a string nor in braces.
func (g *gser) value() ([]byte, bool) {
	g.spaces()
	start, depth := g.off, 0
	for ; g.off < len(g.in); g.off++ {
		switch c := g.in[g.off]; {
		case c == '"':
			end := bytes.IndexByte(g.in[g.off+1:], '"')
			if end < 0 {
				return nil, false
			}
			g.off += end + 1
		case c == '{':
			if depth++; depth > maxGSERDepth {
				return nil, false
			}
		case depth > 0 && c == '}':
			depth--
		case depth == 0 && (c == ',' || c == '}'):
			v := bytes.TrimRight(g.in[start:g.off], " ")
			return v, len(v) > 0
		}
	}
	v := bytes.TrimRight(g.in[start:], " ")
	return v, len(v) > 0 && depth == 0
}

// gserFields reads a value that is one sequence, by lower-case name.
func gserFields(v []byte) (map[string][]byte, bool) {
	g := gser{in: v}
	fields, ok := g.sequence()
	return fields, ok && g.end()
}

// gserList reads a value that is one list.
func gserList(v []byte) ([][]byte, bool) {
	g := gser{in: v}
	list, ok := g.elements()
	return list, ok && g.end()
}

// gserString takes the quotes off a string (RFC 3641 section 3.2); nil if there are none.
func gserString(v []byte) []byte {
	if len(v) < 2 || v[0] != '"' || v[len(v)-1] != '"' {
		return nil
	}
	return bytes.ReplaceAll(v[1:len(v)-1], []byte(`""`), []byte(`"`))
}

// gserOctets reads an OCTET STRING, 'hex'H.
func gserOctets(v []byte) ([]byte, bool) {
	if len(v) < 3 || v[0] != '\'' || string(v[len(v)-2:]) != "'H" {
		return nil, false
	}
	out := make([]byte, hex.DecodedLen(len(v)-3))
	_, err := hex.Decode(out, v[1:len(v)-2])
	return out, err == nil
}

// gserBits reads a BIT STRING: '0110'B, 'hex'H, or the names of the bits that are set, "{ name, name }".
func gserBits(v []byte, names []string) (bitSet, bool) {
	if octets, ok := gserOctets(v); ok {
		return octets, true
	}
	bits := bitSet{}
	if isBitString(v) {
		for i, c := range v[1 : len(v)-2] {
			if c == '1' {
				bits.set(i)
			}
		}
		return bits, true
	}
	list, ok := gserList(v)
	for _, e := range list {
		i := slices.IndexFunc(names, func(n string) bool { return strings.EqualFold(n, string(e)) })
		if i < 0 {
			return nil, false
		}
		bits.set(i)
	}
	return bits, ok
}

// gserInteger reads an INTEGER into its canonical form.
func gserInteger(v []byte) (string, bool) {
	n, err := integerKey(nil, nil, v)
	return string(n), err == nil
}

// gserTime reads a Time, utcTime:"..." or generalizedTime:"...". A string alone is a generalized time, as some clients
// write it, and so is generalTime.
func gserTime(v []byte, at *instant) bool {
	kind, text, ok := bytes.Cut(v, []byte{':'})
	if !ok || len(v) > 0 && v[0] == '"' {
		kind, text = []byte("generalizedTime"), v
	}
	switch strings.ToLower(string(kind)) {
	case "utctime":
		return parseTime(gserString(bytes.TrimLeft(text, " ")), true, at)
	case "generalizedtime", "generaltime":
		return parseTime(gserString(bytes.TrimLeft(text, " ")), false, at)
	}
	return false
}
