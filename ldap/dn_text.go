package ldap

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"portolan/ber"
)

// ParseDN parses the string form of a distinguished name (RFC 4514). The empty string is the empty DN.
//
// Beyond the RFC it takes what RFC 2253 and RFC 1779 allowed and clients still write: blanks around , = and +, the
// separator ;, values in quotation marks, the prefix "OID." before a numeric type, and = < > in a value unescaped. A
// value written as # and hexadecimal digits must be the BER encoding of a character or octet string, whose octets become
// the value. A DN has at most MaxDNBytes octets of text and MaxRDNs type-value pairs.
//
// The error is an *Error with invalidDNSyntax whose diagnostic counts octets from 1. The DN shares no memory with s.
func ParseDN(s string) (DN, error) {
	if len(s) > MaxDNBytes {
		return nil, Errorf(InvalidDNSyntax, "the DN has %d octets; the limit is %d", len(s), MaxDNBytes)
	}
	p := dnParser{text: []byte(s)}
	p.blanks()
	if p.at == len(p.text) {
		return nil, nil
	}
	pairs := make([]AVA, 0, 8)
	dn := make(DN, 0, 8)
	first := 0
	for {
		if len(pairs) == MaxRDNs {
			return nil, Errorf(InvalidDNSyntax, "the DN has more than %d parts", MaxRDNs)
		}
		var pair AVA
		if err := p.pair(&pair); err != nil {
			return nil, err
		}
		pairs = append(pairs, pair)
		p.blanks()
		if p.at < len(p.text) && p.text[p.at] == '+' {
			p.at++
			continue
		}
		dn = append(dn, RDN(pairs[first:len(pairs):len(pairs)]))
		first = len(pairs)
		if p.at == len(p.text) {
			return dn, nil
		}
		if c := p.text[p.at]; c != ',' && c != ';' {
			return nil, p.bad(p.at, "want a comma or + between the parts of a DN")
		}
		p.at++
	}
}

// ParseRDN parses the string form of one relative distinguished name; see ParseDN.
func ParseRDN(s string) (RDN, error) {
	dn, err := ParseDN(s)
	if err != nil {
		return nil, err
	}
	if len(dn) != 1 {
		return nil, Errorf(InvalidDNSyntax, "want exactly one RDN such as cn=x, have %d", len(dn))
	}
	return dn[0], nil
}

// dnParser walks over text, which is its own copy: values are unescaped in place and the DN aliases them.
type dnParser struct {
	text []byte
	at   int
}

func (p *dnParser) bad(at int, format string, args ...any) *Error {
	e := Errorf(InvalidDNSyntax, format, args...)
	return Errorf(InvalidDNSyntax, "DN, octet %d: %s", at+1, e.Diagnostic)
}

func (p *dnParser) blanks() {
	for p.at < len(p.text) && isBlank(p.text[p.at]) {
		p.at++
	}
}

func (p *dnParser) pair(a *AVA) *Error {
	p.blanks()
	if err := p.attributeType(a); err != nil {
		return err
	}
	p.blanks()
	if p.at == len(p.text) || p.text[p.at] != '=' {
		return p.bad(p.at, "want = after the attribute type %q", a.Type)
	}
	p.at++
	p.blanks()
	if p.at == len(p.text) {
		a.Value = []byte{}
		return nil
	}
	var err *Error
	switch p.text[p.at] {
	case '#':
		a.Value, err = p.hexValue()
	case '"':
		a.Value, err = p.quoted()
	default:
		a.Value, err = p.plain()
	}
	return err
}

// attributeType reads a descriptor or a numeric OID. Underscores are taken too: schemas in the field have them.
func (p *dnParser) attributeType(a *AVA) *Error {
	start := p.at
	if rest := p.text[p.at:]; len(rest) > 4 && strings.EqualFold(string(rest[:4]), "oid.") && isDigit(rest[4]) {
		p.at += 4
		start = p.at
	}
	if p.at == len(p.text) {
		return p.bad(p.at, "the DN ends where an attribute type must stand; remove the separator before it")
	}
	switch c := p.text[p.at]; {
	case isDigit(c):
		for p.at < len(p.text) && (isDigit(p.text[p.at]) || p.text[p.at] == '.') {
			p.at++
		}
		oid := string(p.text[start:p.at])
		if strings.HasSuffix(oid, ".") || strings.Contains(oid, "..") || !strings.Contains(oid, ".") {
			return p.bad(start, "%q is not an object identifier such as 2.5.4.3", shorten(oid))
		}
		a.Type = oid
	case isAlpha(c):
		for p.at < len(p.text) && (isAlpha(p.text[p.at]) || isDigit(p.text[p.at]) || p.text[p.at] == '-' || p.text[p.at] == '_') {
			p.at++
		}
		a.Type = string(p.text[start:p.at])
	default:
		return p.bad(p.at, "an attribute type such as cn must stand here")
	}
	if p.at < len(p.text) && p.text[p.at] == ';' {
		return p.bad(p.at, "an attribute type in a DN has no options")
	}
	return nil
}

func shorten(s string) string {
	if len(s) > 40 {
		return s[:40] + "..."
	}
	return s
}

// plain reads a value up to the separator, without the blanks at its end that are not escaped.
func (p *dnParser) plain() ([]byte, *Error) {
	start, out, keep := p.at, p.at, p.at
	for p.at < len(p.text) {
		c := p.text[p.at]
		switch c {
		case ',', ';', '+':
			return p.text[start:keep:keep], nil
		case '"':
			return nil, p.bad(p.at, `a quotation mark in a value is written \"`)
		case 0:
			return nil, p.bad(p.at, `a NUL in a value is written \00`)
		case '\\':
			b, err := p.escaped()
			if err != nil {
				return nil, err
			}
			p.text[out] = b
			out++
			keep = out
			continue
		}
		p.text[out] = c
		out++
		p.at++
		if !isBlank(c) {
			keep = out
		}
	}
	return p.text[start:keep:keep], nil
}

// quoted reads a value in quotation marks, as RFC 1779 and RFC 2253 section 4 have it.
func (p *dnParser) quoted() ([]byte, *Error) {
	open := p.at
	p.at++
	start, out := p.at, p.at
	for p.at < len(p.text) {
		c := p.text[p.at]
		switch c {
		case '"':
			p.at++
			p.blanks()
			if p.at < len(p.text) && strings.IndexByte(",;+", p.text[p.at]) < 0 {
				return nil, p.bad(p.at, `want a comma or + after the closing quotation mark; a mark inside the value is written \"`)
			}
			return p.text[start:out:out], nil
		case '\\':
			b, err := p.escaped()
			if err != nil {
				return nil, err
			}
			p.text[out] = b
			out++
			continue
		}
		p.text[out] = c
		out++
		p.at++
	}
	return nil, p.bad(open, `this quotation mark is never closed; a mark that is part of the value is written \"`)
}

// escaped reads a backslash and what it escapes.
func (p *dnParser) escaped() (byte, *Error) {
	rest := p.text[p.at+1:]
	if len(rest) >= 2 {
		if hi, lo := hexDigit(rest[0]), hexDigit(rest[1]); hi >= 0 && lo >= 0 {
			p.at += 3
			return byte(hi<<4 | lo), nil
		}
	}
	if len(rest) >= 1 && strings.IndexByte(` "#+,;<=>\`, rest[0]) >= 0 {
		p.at += 2
		return rest[0], nil
	}
	return 0, p.bad(p.at, `a backslash is followed by one of space " # + , ; < = > \ or by two hexadecimal digits; the backslash itself is \\`)
}

// Universal identifier octets of the string types whose octets may stand in a DN.
const (
	utf8String      = 0x0c
	numericString   = 0x12
	printableString = 0x13
	teletexString   = 0x14
	ia5String       = 0x16
	visibleString   = 0x1a
	bmpString       = 0x1e
)

// hexValue reads a # and the hexadecimal digits of a BER encoding, and takes the octets of the string in it.
func (p *dnParser) hexValue() ([]byte, *Error) {
	hash := p.at
	p.at++
	start, out := p.at, p.at
	for p.at < len(p.text) && hexDigit(p.text[p.at]) >= 0 {
		if p.at+1 == len(p.text) || hexDigit(p.text[p.at+1]) < 0 {
			return nil, p.bad(p.at+1, "a hexadecimal digit is missing: each octet has two")
		}
		p.text[out] = byte(hexDigit(p.text[p.at])<<4 | hexDigit(p.text[p.at+1]))
		out++
		p.at += 2
	}
	p.blanks()
	if p.at < len(p.text) && strings.IndexByte(",;+", p.text[p.at]) < 0 {
		return nil, p.bad(p.at, `a value that begins with # is hexadecimal; if it is text write \#`)
	}
	r := ber.Reader(p.text[start:out:out])
	var tag byte
	var body ber.Reader
	if !r.Any(&tag, &body) || !r.Empty() {
		return nil, p.bad(hash, `a value that begins with # must be one BER element in hexadecimal digits; if it is text write \#`)
	}
	switch tag {
	case ber.OctetString, utf8String, numericString, printableString, ia5String, visibleString:
		return body, nil
	case teletexString:
		for _, c := range body {
			if c >= utf8.RuneSelf {
				return nil, p.bad(hash, "a TeletexString beyond ASCII has no agreed meaning; write the value as text")
			}
		}
		return body, nil
	case bmpString:
		if len(body)%2 != 0 {
			return nil, p.bad(hash, "a BMPString has an even number of octets")
		}
		units := make([]uint16, len(body)/2)
		for i := range units {
			units[i] = uint16(body[2*i])<<8 | uint16(body[2*i+1])
		}
		return []byte(string(utf16.Decode(units))), nil
	}
	return nil, p.bad(hash, "the BER element after # has the identifier 0x%02x, which is no string type; write the value as text", tag)
}

// Parent returns the DN without its first RDN. The parent of the empty DN is the empty DN.
func (dn DN) Parent() DN {
	if len(dn) == 0 {
		return nil
	}
	return dn[1:]
}

// String returns the DN as RFC 4514 writes it, with no more escapes than are needed, except that control characters and
// octets that are not UTF-8 are escaped too. ParseDN gives the same DN back.
func (dn DN) String() string { return string(dn.Append(nil)) }

// Append appends what String returns.
func (dn DN) Append(dst []byte) []byte {
	for i, rdn := range dn {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = rdn.Append(dst)
	}
	return dst
}

// String returns the RDN as RFC 4514 writes it; see DN.String.
func (rdn RDN) String() string { return string(rdn.Append(nil)) }

// Append appends what String returns.
func (rdn RDN) Append(dst []byte) []byte {
	for i := range rdn {
		if i > 0 {
			dst = append(dst, '+')
		}
		dst = append(dst, rdn[i].Type...)
		dst = append(dst, '=')
		dst = AppendDNValue(dst, rdn[i].Value)
	}
	return dst
}

// AppendDNValue appends v as it must stand in the string form of a DN (RFC 4514 section 2.4).
func AppendDNValue(dst, v []byte) []byte {
	for i := 0; i < len(v); {
		c := v[i]
		if c >= utf8.RuneSelf {
			if _, size := utf8.DecodeRune(v[i:]); size > 1 {
				dst = append(dst, v[i:i+size]...)
				i += size
				continue
			}
		}
		switch {
		case c < ' ' || c >= 0x7f:
			dst = append(dst, '\\', hexDigits[c>>4], hexDigits[c&15])
		case c == '"' || c == '+' || c == ',' || c == ';' || c == '<' || c == '>' || c == '\\',
			c == ' ' && (i == 0 || i == len(v)-1), c == '#' && i == 0:
			dst = append(dst, '\\', c)
		default:
			dst = append(dst, c)
		}
		i++
	}
	return dst
}
