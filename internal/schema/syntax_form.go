package schema

import (
	"bytes"
	"errors"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"portolan/ldap"
)

var (
	errDN       = errors.New("the value is not a distinguished name (RFC 4514)")
	errUTCTime  = errors.New("a UTC time is written YYMMDDHHMMSSZ")
	errSubtree  = errors.New(`a subtree specification is written { base "ou=people", minimum 1, maximum 2, specificExclusions { chopBefore:"cn=x" }, specificationFilter item:person }, each part optional`)
	errSequence = errors.New("the value is not one ASN.1 SEQUENCE in DER")
)

func checkBitString(_ *Schema, v []byte) error { return failUnless(isBitString(v), errBitString) }
func checkBoolean(_ *Schema, v []byte) error   { return failUnless(isBoolean(v), errBoolean) }
func checkUUID(_ *Schema, v []byte) error      { return failUnless(isUUID(v), errUUID) }
func checkCSN(_ *Schema, v []byte) error       { return failUnless(isCSN(v), errCSN) }
func checkOID(_ *Schema, v []byte) error       { return failUnless(isOIDOrName(v), errOID) }

func checkInteger(_ *Schema, v []byte) error {
	negative, digits, ok := magnitude(v)
	sign := 0
	if negative {
		sign = 1
	}
	zero := len(v) == 1 && len(digits) == 0
	return failUnless(ok && (zero || len(digits) > 0 && len(digits)+sign == len(v)), errInteger)
}

func checkGeneralizedTime(_ *Schema, v []byte) error {
	var buf [16]byte
	_, err := parseInstant(buf[:0], v)
	return err
}

// checkUTCTime checks a UTC Time (RFC 4517 section 3.3.34): no fractions, seconds may be absent, so may the zone.
func checkUTCTime(_ *Schema, v []byte) error {
	year, okY := digits(v, 0, 2)
	month, okM := digits(v, 2, 2)
	day, okD := digits(v, 4, 2)
	hour, okH := digits(v, 6, 2)
	minute, okN := digits(v, 8, 2)
	if !okY || !okM || !okD || !okH || !okN || month < 1 || month > 12 || day < 1 || day > daysIn(2000+year, month) || hour > 23 || minute > 59 {
		return errUTCTime
	}
	pos := 10
	if second, ok := digits(v, pos, 2); ok {
		if second > 59 {
			return errUTCTime
		}
		pos += 2
	}
	if pos == len(v) {
		return nil
	}
	_, ok := parseZone(v[pos:])
	return failUnless(ok && len(v)-pos != 3, errUTCTime)
}

// checkDN checks a name. Plain ones are told without parsing.
func checkDN(_ *Schema, v []byte) error {
	if isPlainDN(v) {
		return nil
	}
	if _, err := ldap.ParseDN(string(v)); err != nil {
		return errDN
	}
	return nil
}

// isPlainDN recognises names whose every RDN is one type, "=", and text in which nothing is escaped or need be.
func isPlainDN(v []byte) bool {
	rdns := 0
	for more := len(v) > 0; more; {
		var rdn []byte
		rdn, v, more = bytes.Cut(v, []byte{','})
		kind, value, ok := bytes.Cut(rdn, []byte{'='})
		if rdns++; !ok || rdns > ldap.MaxRDNs || !isPlainType(kind) || len(value) == 0 || value[0] == ' ' || value[len(value)-1] == ' ' {
			return false
		}
		for _, c := range value {
			if !plainDN[c] {
				return false
			}
		}
	}
	return true
}

func isPlainType(v []byte) bool {
	for _, c := range v {
		if !isAlpha(c) {
			return false
		}
	}
	return len(v) > 0
}

func checkUIDName(s *Schema, v []byte) error {
	name, _ := splitUID(v)
	return checkDN(s, name)
}

// definition checks a value that is a definition of this kind (RFC 4512 section 4.1). What it names need not exist.
func definition(kind string) func(*Schema, []byte) error {
	return func(_ *Schema, v []byte) error {
		_, err := readDefinition(&statement{keyword: kind, text: string(v), file: "value", line: 1}, nil)
		if err != nil {
			return errors.New(strings.TrimPrefix(err.Error(), "value:1: "))
		}
		return nil
	}
}

// checkKey checks a value by making its key.
func checkKey(key keyFunc) func(*Schema, []byte) error {
	return func(s *Schema, v []byte) error {
		_, err := key(s, nil, v)
		return err
	}
}

func checkSequence(_ *Schema, v []byte) error {
	in := cryptobyte.String(v)
	return failUnless(in.SkipASN1(asn1.SEQUENCE) && in.Empty(), errSequence)
}

func checkSubtreeSpecification(_ *Schema, v []byte) error {
	_, err := ParseSubtreeSpecification(v)
	return err
}
