package remoteauth

import (
	"fmt"
	"strings"

	"portolan/internal/dit"
	"portolan/internal/schema"
	"portolan/ldap"
)

// template makes the name of an account on the old server.
type template struct {
	parts []part // none: the same name
}

// part is literal text, or an attribute whose first value stands there.
type part struct {
	text string
	attr *schema.AttributeType
}

// parseTemplate reads a DN with {ATTRIBUTE} in it. One that is nothing but {ATTRIBUTE} takes a whole DN from the entry.
func parseTemplate(s *schema.Schema, text string) (template, error) {
	var t template
	for rest := text; rest != ""; {
		before, after, found := strings.Cut(rest, "{")
		if before != "" {
			t.parts = append(t.parts, part{text: before})
		}
		if !found {
			break
		}
		name, tail, closed := strings.Cut(after, "}")
		attr := s.AttributeTypeString(name)
		if !closed || attr == nil || attr.Secret {
			return t, fmt.Errorf("dn: {%s is not an attribute in braces: write such as uid={uid},ou=people,o=old", name)
		}
		t.parts = append(t.parts, part{attr: attr})
		rest = tail
	}
	if len(t.parts) == 0 {
		return t, nil
	}
	if t.whole() {
		return t, nil
	}
	// Whatever the values, the form is that of this example.
	example := t.fill(func(*schema.AttributeType) []byte { return []byte("x") })
	if dn, err := ldap.ParseDN(example); err != nil || len(dn) == 0 {
		return t, fmt.Errorf("dn: %q is not a DN once values stand in it: write such as uid={uid},ou=people,o=old", text)
	}
	return t, nil
}

func (t *template) whole() bool { return len(t.parts) == 1 && t.parts[0].attr != nil }

// expand returns the name of an entry there; ok is false where the entry has no value that it needs, or it is no name.
func (t *template) expand(s *schema.Schema, e *dit.Entry, name dit.Name) (dn string, ok bool) {
	if len(t.parts) == 0 {
		return name.DN, name.DN != ""
	}
	missing := false
	value := func(attr *schema.AttributeType) []byte {
		// By name: the type is of the schema that the template was read with.
		v := []byte(nil)
		if a := s.AttributeTypeString(attr.Name()); a != nil {
			v = e.First(schema.Description{Type: a})
		}
		missing = missing || len(v) == 0
		return v
	}
	if t.whole() {
		dn = string(value(t.parts[0].attr))
	} else {
		dn = t.fill(value)
	}
	parsed, err := ldap.ParseDN(dn)
	return dn, !missing && err == nil && len(parsed) > 0
}

func (t *template) fill(value func(*schema.AttributeType) []byte) string {
	var out strings.Builder
	for _, p := range t.parts {
		if p.attr == nil {
			out.WriteString(p.text)
			continue
		}
		out.WriteString(escape(value(p.attr)))
	}
	return out.String()
}

// escape writes a value so that it is one in a DN, whatever it has in it (RFC 4514 section 2.4).
func escape(value []byte) string {
	return strings.TrimPrefix(ldap.DN{{{Type: "cn", Value: value}}}.String(), "cn=")
}
