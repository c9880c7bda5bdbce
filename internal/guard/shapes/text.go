package shapes

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"

	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/ldap"
)

// Bounds of texts, in octets. A longer shape is cut and told from others by a digest.
const (
	maxText    = 1024
	maxExample = 512
	maxName    = 128
)

// Text returns the shape of a filter as people read it, such as (&(objectClass=person)(uid=?)). Filters have the same text
// exactly where they have the same shape. That of a control says so before it.
func Text(s *schema.Schema, use op.FilterUse, filter *ldap.Filter) string {
	var b []byte
	if use != op.SearchFilter {
		b = append(append(b, use.String()...), ' ')
	}
	p := printer{schema: s, filter: filter}
	b = p.append(b, 0)
	if len(b) > maxText {
		sum := sha256.Sum256(b)
		b = append(append(b[:maxText-40:maxText-40], "... "...), hex.EncodeToString(sum[:16])...)
	}
	return string(b)
}

// Example returns a filter as it was written, without its values.
func Example(filter *ldap.Filter) string {
	p := printer{filter: filter}
	b := p.append(nil, 0)
	if len(b) > maxExample {
		b = append(b[:maxExample-3:maxExample-3], "..."...)
	}
	return string(b)
}

// shapeID is a short name of a shape, the same on every server.
func shapeID(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:5])
}

// printer writes shapes: in their one form with a schema, as they came without.
type printer struct {
	schema *schema.Schema
	filter *ldap.Filter
}

// append recurses as deep as the filter is, which the decoder bounds.
func (p *printer) append(b []byte, at int32) []byte {
	n := &p.filter.Nodes[at]
	b = append(b, '(')
	switch n.Op {
	case ldap.FilterAnd:
		b = p.children(append(b, '&'), n)
	case ldap.FilterOr:
		b = p.children(append(b, '|'), n)
	case ldap.FilterNot:
		b = p.children(append(b, '!'), n)
	default:
		b = p.item(b, n)
	}
	return append(b, ')')
}

func (p *printer) children(b []byte, n *ldap.FilterNode) []byte {
	if p.schema == nil {
		for c := n.First; c != ldap.None && len(b) <= maxExample; c = p.filter.Nodes[c].Next {
			b = p.append(b, c)
		}
		return b
	}
	var texts []string
	seen := make(map[string]bool)
	for c := n.First; c != ldap.None; c = p.filter.Nodes[c].Next {
		if t := p.append(nil, c); !seen[string(t)] {
			seen[string(t)] = true
			texts = append(texts, string(t))
		}
	}
	slices.Sort(texts)
	for _, t := range texts {
		b = append(b, t...)
	}
	return b
}

func (p *printer) item(b []byte, n *ldap.FilterNode) []byte {
	b = p.description(b, n.Attr)
	switch n.Op {
	case ldap.FilterEquality:
		return p.equality(append(b, '='), n)
	case ldap.FilterApprox:
		return append(b, "~=?"...)
	case ldap.FilterGreaterOrEqual:
		return append(b, ">=?"...)
	case ldap.FilterLessOrEqual:
		return append(b, "<=?"...)
	case ldap.FilterPresent:
		return append(b, "=*"...)
	case ldap.FilterSubstrings:
		b = append(b, '=')
		last := ldap.SubAny
		for _, s := range p.filter.Subs[n.SubLo:n.SubHi] {
			if last = s.Kind; last != ldap.SubInitial {
				b = append(b, '*')
			}
			b = append(b, '?')
		}
		if last != ldap.SubFinal {
			b = append(b, '*')
		}
		return b
	case ldap.FilterExtensible:
		if n.DNAttrs {
			b = append(b, ":dn"...)
		}
		if len(n.Rule) > 0 {
			b = p.rule(append(b, ':'), n.Rule)
		}
		return append(b, ":=?"...)
	}
	return b
}

// equality leaves the values of objectClass that are object classes.
func (p *printer) equality(b []byte, n *ldap.FilterNode) []byte {
	if p.schema == nil {
		if isObjectClass(appendLower(nil, n.Attr[:min(len(n.Attr), maxName)])) {
			return appendName(b, n.Value)
		}
		return append(b, '?')
	}
	if d, err := p.schema.Describe(n.Attr); err == nil && d.Type != nil && d.Type == p.schema.Known.ObjectClass && d.Options == "" {
		if c := p.schema.ObjectClassBytes(n.Value); c != nil {
			return append(b, c.Name()...)
		}
	}
	return append(b, '?')
}

// description appends an attribute description under its name in the schema, or as it came where that has none.
func (p *printer) description(b, attr []byte) []byte {
	if p.schema == nil {
		return appendName(b, attr)
	}
	if d, err := p.schema.Describe(attr); err == nil && d.Type != nil {
		return append(b, d.String()...)
	}
	return appendName(b, appendLower(nil, attr))
}

func (p *printer) rule(b, rule []byte) []byte {
	if p.schema == nil {
		return appendName(b, rule)
	}
	if r := p.schema.MatchingRule(rule); r != nil {
		return append(b, r.Name()...)
	}
	return appendName(b, appendLower(nil, rule))
}

// appendName appends octets of a client so that they can be read and mean nothing; what is long is cut and digested.
func appendName(b, name []byte) []byte {
	const digits = "0123456789abcdef"
	cut := name[:min(len(name), maxName)]
	for _, c := range cut {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '.', c == ';', c == '_':
			b = append(b, c)
		default:
			b = append(b, '\\', digits[c>>4], digits[c&15])
		}
	}
	if len(cut) < len(name) {
		sum := sha256.Sum256(name)
		b = hex.AppendEncode(append(b, `\..`...), sum[:8])
	}
	return b
}
