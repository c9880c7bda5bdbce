package schema

import (
	"bytes"
	"errors"
	"slices"
	"strings"
)

var (
	errOID        = errors.New("an OID is numbers with dots between them, or a name that the schema defines")
	errUnknownOID = errors.New("no definition of the schema has this name")
	errComponent  = errors.New("the value does not begin with \"(\" or \"{\" and a first component")
	errUUID       = errors.New("a UUID is written as 8-4-4-4-12 hexadecimal digits")
	errCSN        = errors.New("a CSN is written as YYYYMMDDHHMMSS.ffffffZ#cccccc#sss#mmmmmm")
)

// resolveOID finds the numeric OID of a name. Names of different kinds of definitions may be the same; object classes
// come first, because objectClass is where the rule is at work.
func (s *Schema) resolveOID(name []byte) (string, bool) {
	var buf [foldBuffer]byte
	low := fold(&buf, name)
	if c := s.classes[string(low)]; c != nil {
		return c.OID, true
	}
	if t := s.attrs[string(low)]; t != nil {
		return t.OID, true
	}
	if r := s.rules[string(low)]; r != nil {
		return r.OID, true
	}
	for _, f := range s.nameForms {
		if slices.ContainsFunc(f.Names, func(n string) bool { return strings.EqualFold(n, string(low)) }) {
			return f.OID, true
		}
	}
	return "", false
}

// oidKey is the numeric OID, or the name in lower case where the schema does not know it.
func oidKey(s *Schema, dst, v []byte) ([]byte, error) {
	if oid, ok := s.resolveOID(v); ok {
		return append(dst, oid...), nil
	}
	if !isOIDOrName(v) {
		return dst, errOID
	}
	return appendLower(dst, v), nil
}

// oidAssertion is oidKey, but a name nobody knows makes the filter item Undefined (RFC 4517 section 4.2.26).
func oidAssertion(s *Schema, dst, v []byte) ([]byte, error) {
	if oid, ok := s.resolveOID(v); ok {
		return append(dst, oid...), nil
	}
	if !validOID(v) {
		return dst, errUnknownOID
	}
	return append(dst, v...), nil
}

func isOIDOrName(v []byte) bool {
	if validOID(v) {
		return true
	}
	if len(v) == 0 || !isAlpha(v[0]) {
		return false
	}
	for _, c := range v {
		if !isKeyChar(c) {
			return false
		}
	}
	return true
}

// component returns the first component of a description "( first ..." or "{ first ...", without quotes.
func component(v []byte) ([]byte, bool) {
	v = bytes.TrimLeft(v, " ")
	if len(v) == 0 || v[0] != '(' && v[0] != '{' {
		return nil, false
	}
	v = bytes.TrimLeft(v[1:], " ")
	if len(v) > 0 && v[0] == '\'' {
		first, _, ok := bytes.Cut(v[1:], []byte{'\''})
		return first, ok
	}
	end := bytes.IndexAny(v, " )}")
	if end <= 0 {
		return nil, false
	}
	return v[:end], true
}

func firstOID(s *Schema, dst, v []byte) ([]byte, error) {
	first, ok := component(v)
	if !ok {
		return dst, errComponent
	}
	return oidKey(s, dst, first)
}

func firstInteger(s *Schema, dst, v []byte) ([]byte, error) {
	first, ok := component(v)
	if !ok {
		first = v // an integer itself: its own first component
	}
	return integerKey(s, dst, first)
}

func firstString(s *Schema, dst, v []byte) ([]byte, error) {
	first, ok := component(v)
	if !ok {
		return dst, errComponent
	}
	return ignoreKey(s, dst, first)
}

// dnKey is the normalised name.
func dnKey(s *Schema, dst, v []byte) ([]byte, error) { return s.normalizeDN(dst, v, false) }

// nestedDNKey is the key of a name that is a value in a name.
func nestedDNKey(s *Schema, dst, v []byte) ([]byte, error) { return s.normalizeDN(dst, v, true) }

// uidNameKey is the normalised name and, behind a "#", the bit string if there is one.
func uidNameKey(s *Schema, dst, v []byte) ([]byte, error) { return uidName(s, dst, v, false) }

// nestedUIDNameKey is the key of such a value in a name.
func nestedUIDNameKey(s *Schema, dst, v []byte) ([]byte, error) { return uidName(s, dst, v, true) }

// uidName makes the key: in a normalised name every "#" is escaped, so the one before the identifier cannot be mistaken.
func uidName(s *Schema, dst, v []byte, nested bool) ([]byte, error) {
	name, uid := splitUID(v)
	out, err := s.normalizeDN(dst, name, nested)
	if err != nil {
		return dst, err
	}
	if uid != nil {
		out = append(append(out, '#'), uid...)
	}
	return out, nil
}

// splitUID takes the bit string off a value of the Name and Optional UID syntax (RFC 4517 section 3.3.21): what stands
// behind the last "#", if it is one and the "#" is not escaped.
func splitUID(v []byte) (name, uid []byte) {
	i := bytes.LastIndexByte(v, '#')
	if i < 0 || !isBitString(v[i+1:]) {
		return v, nil
	}
	slashes := 0
	for slashes < i && v[i-1-slashes] == '\\' {
		slashes++
	}
	if slashes%2 == 1 {
		return v, nil
	}
	return v[:i], v[i+1:]
}

// uuidKey is the text form in lower case.
func uuidKey(_ *Schema, dst, v []byte) ([]byte, error) {
	if !isUUID(v) {
		return dst, errUUID
	}
	return appendLower(dst, v), nil
}

func isUUID(v []byte) bool {
	if len(v) != 36 {
		return false
	}
	for i, c := range v {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if c != '-' {
				return false
			}
		} else if !isHex(c) {
			return false
		}
	}
	return true
}

func isHex(c byte) bool { return isDigit(c) || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F' }

// csnKey is the CSN with its letters as they sort: "Z" as it is, hexadecimal digits in lower case.
func csnKey(_ *Schema, dst, v []byte) ([]byte, error) {
	if !isCSN(v) {
		return dst, errCSN
	}
	dst = append(dst, v[:22]...)
	return appendLower(dst, v[22:]), nil
}

// csnForm has a digit for a digit, x for a hexadecimal digit, and everything else for itself.
const csnForm = "00000000000000.000000Z#xxxxxx#xxx#xxxxxx"

func isCSN(v []byte) bool {
	if len(v) != len(csnForm) {
		return false
	}
	for i, c := range v {
		switch csnForm[i] {
		case '0':
			if !isDigit(c) {
				return false
			}
		case 'x':
			if !isHex(c) {
				return false
			}
		default:
			if c != csnForm[i] {
				return false
			}
		}
	}
	return validStamp(v[:14])
}

// validStamp checks YYYYMMDDHHMMSS.
func validStamp(v []byte) bool {
	var buf [15]byte
	_, err := parseInstant(nil, append(append(buf[:0], v...), 'Z'))
	return err == nil
}
