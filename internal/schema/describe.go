package schema

import (
	"bytes"
	"maps"
	"slices"
	"strings"

	"portolan/ldap"
)

// maxInterned bounds the option strings that a Schema remembers, so that requests cannot fill memory with them.
const maxInterned = 1024

// Describe parses an attribute description (RFC 4512 section 2.5). The error, undefinedAttributeType, means that the
// octets are none. What is not recognized is no error, Type is nil then: a type that the schema does not have, an option
// that is no tag, and an option that does not go with the type (RFC 4512 section 2.5.2).
//
// Options are language tags and ranges (RFC 3866), "x-" options for private use, which are tags (RFC 4520 section 3.4), and
// "binary" (RFC 4522). Tags do not go with operational attributes and objectClass.
//
// Values of certificate syntaxes are always transferred in binary (RFC 4523 section 2), so "userCertificate" and
// "userCertificate;binary" name the same thing: Describe adds the option where the syntax demands it. Values of no other
// syntax are transferred so.
//
// A plain name that is known costs no allocation, and neither do options met before.
func (s *Schema) Describe(b []byte) (Description, error) {
	name, options, more := bytes.Cut(b, []byte{';'})
	t := s.AttributeType(name)
	if t != nil && !more {
		if t.Syntax.TransferBinary {
			return Description{t, ";binary"}, nil
		}
		return Description{Type: t}, nil
	}
	if len(b) > MaxDescription {
		return Description{}, ldap.Errorf(ldap.UndefinedAttributeType, "an attribute description of %d octets is longer than the %d allowed", len(b), MaxDescription)
	}
	if t == nil && !validName(string(name)) && !validOID(name) {
		return Description{}, ldap.Errorf(ldap.UndefinedAttributeType, "%q is not an attribute description: write a name such as cn or a numeric OID, and options behind it as in cn;lang-de", clip(string(b)))
	}
	if !more {
		return Description{}, nil
	}
	for rest := options; ; {
		option, tail, again := bytes.Cut(rest, []byte{';'})
		if !validOption(option) {
			return Description{}, ldap.Errorf(ldap.UndefinedAttributeType, "%q is not an attribute description: an option is letters, digits and hyphens", clip(string(b)))
		}
		if t != nil && !recognized(t, option) {
			t = nil
		}
		if !again {
			break
		}
		rest = tail
	}
	if t == nil {
		return Description{}, nil
	}
	return Description{t, s.optionString(options, t.Syntax.TransferBinary)}, nil
}

// recognized reports whether an option is one, and goes with the type.
func recognized(t *AttributeType, option []byte) bool {
	switch {
	case isKeyword(option, "binary"):
		return t.Syntax.TransferBinary
	case t.Operational() || t.OID == objectClassOID:
		return false
	}
	return isTag(option)
}

// isTag reports whether an option is for private use, a language tag or a language range.
func isTag(option []byte) bool {
	if len(option) > 2 && isKeyword(option[:2], "x-") {
		return true
	}
	return len(option) >= len("lang-") && isKeyword(option[:len("lang-")], "lang-") && isLanguageTag(option[len("lang-"):])
}

// objectClassOID is the OID of the attribute type objectClass.
const objectClassOID = "2.5.4.0"

// isLanguageTag checks what stands behind "lang-" (RFC 3866 sections 2.1 and 3): a tag, or a range, which is nothing or a
// tag with a "-" behind it.
func isLanguageTag(tag []byte) bool {
	if len(tag) == 0 {
		return true
	}
	tag = bytes.TrimSuffix(tag, []byte{'-'})
	for first, more := true, true; more; first = false {
		var sub []byte
		sub, tag, more = bytes.Cut(tag, []byte{'-'})
		if len(sub) < 1 || len(sub) > 8 {
			return false
		}
		for _, c := range sub {
			if !isAlpha(c) && (first || !isDigit(c)) {
				return false
			}
		}
	}
	return true
}

// CanonicalOptions returns options, each with its ";" before it, as they stand in a Description; ok is false where one of
// them is no tag and no language range.
func (s *Schema) CanonicalOptions(options []byte) (canonical string, ok bool) {
	for rest := options; len(rest) > 0; {
		if rest[0] != ';' {
			return "", false
		}
		end := bytes.IndexByte(rest[1:], ';') + 1
		if end == 0 {
			end = len(rest)
		}
		if !isTag(rest[1:end]) || !validOption(rest[1:end]) {
			return "", false
		}
		rest = rest[end:]
	}
	if len(options) == 0 {
		return "", true
	}
	return s.optionString(options[1:], false), true
}

// DescribeString is Describe for a string.
func (s *Schema) DescribeString(d string) (Description, error) { return s.Describe([]byte(d)) }

func validOption(o []byte) bool {
	for _, c := range o {
		if !isKeyChar(c) || c == '_' {
			return false
		}
	}
	return len(o) > 0
}

// optionString brings options (without the first ";") into their canonical form and interns it.
func (s *Schema) optionString(options []byte, binary bool) string {
	var buf [foldBuffer]byte
	b := append(buf[:0], ';')
	b = appendLower(b, options)
	if bytes.Count(b, []byte{';'}) > 1 || binary && string(b) != ";binary" {
		list := strings.Split(string(b[1:]), ";")
		if binary {
			list = append(list, "binary")
		}
		slices.Sort(list)
		list = slices.Compact(list)
		b = append(b[:0], ';')
		b = append(b, strings.Join(list, ";")...)
	}
	return s.intern(b)
}

// intern returns the octets as a string, the same one each time while there is room for it.
func (s *Schema) intern(b []byte) string {
	for {
		old := s.options.Load()
		if known, ok := (*old)[string(b)]; ok {
			return known
		}
		text := string(b)
		if len(*old) >= maxInterned || len(b) > foldBuffer {
			return text
		}
		now := maps.Clone(*old)
		now[text] = text
		if s.options.CompareAndSwap(old, &now) {
			return text
		}
	}
}

// IsRange reports whether one of the options is a language range (RFC 3866 section 3.3), "lang-" or "lang-de-": such a
// description selects and searches, but no attribute is stored under it.
func (d Description) IsRange() bool {
	for rest := d.Options; rest != ""; {
		option, tail, _ := strings.Cut(rest[1:], ";")
		if isLanguageRange(option) {
			return true
		}
		if tail == "" {
			break
		}
		rest = rest[len(option)+1:]
	}
	return false
}

func isLanguageRange(option string) bool {
	return strings.HasPrefix(option, "lang-") && strings.HasSuffix(option, "-")
}

// containsOptions reports whether every option of sub is in super, or, where it is a language range, takes in one that
// is. Both are canonical: sorted, each option behind a ";".
func containsOptions(sub, super string) bool {
	for sub != "" {
		option, _, _ := strings.Cut(sub[1:], ";")
		sub = sub[1+len(option):]
		if !containsOption(option, super) {
			return false
		}
	}
	return true
}

func containsOption(option, super string) bool {
	ranged := isLanguageRange(option)
	for super != "" {
		have, _, _ := strings.Cut(super[1:], ";")
		super = super[1+len(have):]
		if have == option {
			return true
		}
		// RFC 3866 section 3.3: the range "lang-de-" takes in lang-de and everything below it, "lang-" every tag.
		if ranged && (strings.HasPrefix(have, option) || have == option[:len(option)-1]) {
			return true
		}
	}
	return false
}
