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
// octets are none. A type that the schema does not have is no error: Type is nil then.
//
// Values of certificate syntaxes are always transferred in binary (RFC 4523 section 2), so "userCertificate" and
// "userCertificate;binary" name the same thing: Describe adds the option where the syntax demands it.
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
		if !again {
			break
		}
		rest = tail
	}
	return Description{t, s.optionString(options, t != nil && t.Syntax.TransferBinary)}, nil
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
