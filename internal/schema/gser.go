package schema

import "bytes"

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
