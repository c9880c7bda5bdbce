package schema

import (
	"bytes"
	"errors"
	"slices"
	"unicode/utf8"

	"portolan/ldap"
)

// A normalised name is the text under which the directory knows an entry: names that distinguishedNameMatch (RFC 4517
// section 4.2.15) holds equal have the same one.
//
//   - RDNs, the most specific first, with "," between them; pairs of one RDN sorted, with "+" between them.
//   - An attribute type is its first name (or OID, if it has none) in lower case. A type the schema does not know stays
//     as written, in lower case.
//   - A value is its equality key, where the rule's keys are text; else its octets.
//   - In a value the octets , + = \ " ; < > # and controls, spaces at either end and what is not UTF-8 are written as
//     \hh. So every "," is a border between RDNs, and "under" is a comparison of suffixes.
//
// It is itself the text of a name (RFC 4514), and normalising it again changes nothing.

// NormalizeDN appends the normalised form of a name in the text form of RFC 4514. The error is invalidDNSyntax; a value
// that its syntax would refuse is no error here, as such a name merely names nothing. The empty name is empty.
//
// It is linear in the length of the name. Names of plain ASCII without escapes cost no allocation beyond dst.
func (s *Schema) NormalizeDN(dst, dn []byte) ([]byte, error) { return s.normalizeDN(dst, dn, false) }

// NormalizeDNString is NormalizeDN for a string.
func (s *Schema) NormalizeDNString(dst []byte, dn string) ([]byte, error) {
	return s.normalizeDN(dst, []byte(dn), false)
}

// normalizeDN does the work. A name inside a value of a name is normalised too, but only to this one depth: beyond it
// values are taken as octets, or a name of nested names would cost the square of its length.
func (s *Schema) normalizeDN(dst, dn []byte, nested bool) ([]byte, error) {
	if out, ok := s.normalizePlain(dst, dn); ok {
		return out, nil
	}
	parsed, err := ldap.ParseDN(string(dn))
	if err != nil {
		return dst, invalidDN(err)
	}
	start := len(dst)
	if dst = s.normalizeParsed(dst, parsed, nested); len(dst)-start > ldap.MaxDNBytes {
		return dst[:start], ldap.Errorf(ldap.InvalidDNSyntax, "the DN has more than %d octets once its values are escaped", ldap.MaxDNBytes)
	}
	return dst, nil
}

func invalidDN(err error) error {
	var e *ldap.Error
	if errors.As(err, &e) {
		return e
	}
	return ldap.Errorf(ldap.InvalidDNSyntax, "%s", err)
}

// NormalizeParsed appends the normalised form of a parsed name.
func (s *Schema) NormalizeParsed(dst []byte, dn ldap.DN) []byte {
	return s.normalizeParsed(dst, dn, false)
}

// NormalizeRDN appends the normalised form of one RDN.
func (s *Schema) NormalizeRDN(dst []byte, rdn ldap.RDN) []byte {
	return s.normalizeRDN(dst, rdn, false)
}

func (s *Schema) normalizeParsed(dst []byte, dn ldap.DN, nested bool) []byte {
	for i, rdn := range dn {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = s.normalizeRDN(dst, rdn, nested)
	}
	return dst
}

func (s *Schema) normalizeRDN(dst []byte, rdn ldap.RDN, nested bool) []byte {
	if len(rdn) == 1 {
		return s.normalizeAVA(dst, &rdn[0], nested)
	}
	pairs := make([][]byte, len(rdn))
	for i := range rdn {
		pairs[i] = s.normalizeAVA(nil, &rdn[i], nested)
	}
	slices.SortFunc(pairs, bytes.Compare)
	for i, p := range pairs {
		if i > 0 {
			dst = append(dst, '+')
		}
		dst = append(dst, p...)
	}
	return dst
}

func (s *Schema) normalizeAVA(dst []byte, ava *ldap.AVA, nested bool) []byte {
	t := s.AttributeTypeString(ava.Type)
	if t == nil {
		dst = append(appendLower(dst, ava.Type), '=')
		return appendEscaped(dst, ava.Value)
	}
	dst = append(append(dst, t.lower...), '=')
	r := t.Equality
	if r == nil || !r.stable || nested && r.nested != nil {
		return appendEscaped(dst, ava.Value)
	}
	var scratch [128]byte
	var key []byte
	var err error
	if r.nested != nil {
		key, err = r.nested(s, scratch[:0], ava.Value)
	} else {
		key, err = r.ValueKey(s, scratch[:0], ava.Value)
	}
	if err != nil {
		// No value of this syntax; as octets it equals no name of an entry.
		key = ava.Value
	}
	return appendEscaped(dst, key)
}

// normalizePlain does the names that need no parser: known types, values of printable ASCII in which nothing is or must
// be escaped, single-valued RDNs, no spaces beside "," and "=".
func (s *Schema) normalizePlain(dst, dn []byte) ([]byte, bool) {
	start := len(dst)
	if len(dn) > ldap.MaxDNBytes {
		return dst, false
	}
	rdns := 0
	for rest := dn; len(rest) > 0; {
		eq := 0
		for eq < len(rest) && (isKeyChar(rest[eq]) || rest[eq] == '.') {
			eq++
		}
		if eq == len(rest) || rest[eq] != '=' || rdns == ldap.MaxRDNs {
			return dst[:start], false
		}
		rdns++
		t := s.AttributeType(rest[:eq])
		if t == nil || t.Equality == nil || !t.Equality.stable || t.Equality.nested != nil {
			return dst[:start], false
		}
		value := rest[eq+1:]
		end := 0
		for end < len(value) && plainDN[value[end]] {
			end++
		}
		if end == 0 || value[0] == ' ' || value[end-1] == ' ' || end < len(value) && value[end] != ',' || end+1 == len(value) {
			return dst[:start], false
		}
		dst = append(append(dst, t.lower...), '=')
		key := len(dst)
		var err error
		if dst, err = t.Equality.ValueKey(s, dst, value[:end]); err != nil {
			return dst[:start], false
		}
		for _, c := range dst[key:] {
			if !plainDN[c] {
				return dst[:start], false
			}
		}
		if len(dst) == key || dst[key] == ' ' || dst[len(dst)-1] == ' ' {
			return dst[:start], false
		}
		if end == len(value) {
			break
		}
		dst = append(dst, ',')
		rest = value[end+1:]
	}
	return dst, true
}

// plainDN has the octets that stand for themselves in a normalised value.
var plainDN = func() (t [256]bool) {
	for c := ' '; c < 0x7f; c++ {
		t[c] = !bytes.ContainsRune([]byte(`,+=\";<>#`), c)
	}
	return t
}()

const hexDigits = "0123456789abcdef"

// appendEscaped appends a value as it stands in a normalised name.
func appendEscaped(dst, value []byte) []byte {
	text := utf8.Valid(value)
	for i, c := range value {
		edge := c == ' ' && (i == 0 || i == len(value)-1)
		if plainDN[c] && !edge || c >= 0x80 && text {
			dst = append(dst, c)
			continue
		}
		dst = append(dst, '\\', hexDigits[c>>4], hexDigits[c&15])
	}
	return dst
}

// DNUnder reports whether the name is base or lies below it; both are normalised. Everything is under the empty name.
func DNUnder(norm, base []byte) bool {
	if len(base) == 0 || len(norm) == len(base) {
		return len(base) == 0 || bytes.Equal(norm, base)
	}
	return len(norm) > len(base) && norm[len(norm)-len(base)-1] == ',' && bytes.HasSuffix(norm, base)
}

// NormParent returns the normalised name of the parent: a suffix of norm, empty for a name of one RDN and the empty name.
func NormParent(norm []byte) []byte {
	if i := bytes.IndexByte(norm, ','); i >= 0 {
		return norm[i+1:]
	}
	return norm[len(norm):]
}
