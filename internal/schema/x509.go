package schema

import (
	"math/big"
	"slices"
	"unicode/utf16"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"portolan/ldap"
)

// The parts of X.509 that the matching rules of RFC 4523 look at. Certificates are taken apart here and not by
// crypto/x509, which refuses much of what stands in directories; a signature is nobody's business here.

// Tags that recur: context-specific ones of structures and of plain values.
func structTag(n uint8) asn1.Tag { return asn1.Tag(n).Constructed().ContextSpecific() }
func plainTag(n uint8) asn1.Tag  { return asn1.Tag(n).ContextSpecific() }

// maxSerialBits bounds serial numbers; RFC 5280 allows 20 octets.
const maxSerialBits = 8 * 64

// A certificate has the fields of an X.509 certificate. All but the numbers alias the value that was read.
type certificate struct {
	serial       *big.Int
	issuer       cryptobyte.String // content of the RDNSequence
	subject      cryptobyte.String
	validity     cryptobyte.String
	publicKeyAlg string
	extensions   extensions
}

// read takes a certificate apart: the whole of in must be one.
func (c *certificate) read(in cryptobyte.String) bool {
	var cert, tbs cryptobyte.String
	if !in.ReadASN1(&cert, asn1.SEQUENCE) || !in.Empty() || !cert.ReadASN1(&tbs, asn1.SEQUENCE) ||
		!cert.SkipASN1(asn1.SEQUENCE) || !cert.SkipASN1(asn1.BIT_STRING) || !cert.Empty() {
		return false
	}
	var key, alg cryptobyte.String
	c.serial = new(big.Int)
	if !tbs.SkipOptionalASN1(structTag(0)) || !tbs.ReadASN1Integer(c.serial) || c.serial.BitLen() > maxSerialBits ||
		!tbs.SkipASN1(asn1.SEQUENCE) || !tbs.ReadASN1(&c.issuer, asn1.SEQUENCE) ||
		!tbs.ReadASN1(&c.validity, asn1.SEQUENCE) || !tbs.ReadASN1(&c.subject, asn1.SEQUENCE) || !tbs.ReadASN1(&key, asn1.SEQUENCE) {
		return false
	}
	var oid encodedOID
	if !key.ReadASN1(&alg, asn1.SEQUENCE) || !oid.read(&alg) {
		return false
	}
	c.publicKeyAlg = oid.text
	return tbs.SkipOptionalASN1(plainTag(1)) && tbs.SkipOptionalASN1(plainTag(2)) &&
		tbs.SkipOptionalASN1(structTag(1)) && tbs.SkipOptionalASN1(structTag(2)) && c.extensions.readOptional(&tbs, structTag(3))
}

// A revocationList has the fields of an X.509 certificate list.
type revocationList struct {
	issuer     cryptobyte.String
	thisUpdate instant
	nextUpdate instant
	hasNext    bool
	extensions extensions
}

// read takes a list apart: the whole of in must be one.
func (l *revocationList) read(in cryptobyte.String) bool {
	var list, tbs cryptobyte.String
	if !in.ReadASN1(&list, asn1.SEQUENCE) || !in.Empty() || !list.ReadASN1(&tbs, asn1.SEQUENCE) ||
		!list.SkipASN1(asn1.SEQUENCE) || !list.SkipASN1(asn1.BIT_STRING) || !list.Empty() {
		return false
	}
	if !tbs.SkipOptionalASN1(asn1.INTEGER) || !tbs.SkipASN1(asn1.SEQUENCE) || !tbs.ReadASN1(&l.issuer, asn1.SEQUENCE) ||
		!readTime(&tbs, &l.thisUpdate) {
		return false
	}
	if tbs.PeekASN1Tag(asn1.UTCTime) || tbs.PeekASN1Tag(asn1.GeneralizedTime) {
		if l.hasNext = true; !readTime(&tbs, &l.nextUpdate) {
			return false
		}
	}
	return tbs.SkipOptionalASN1(asn1.SEQUENCE) && l.extensions.readOptional(&tbs, structTag(0))
}

// readTime reads a Time: UTCTime or GeneralizedTime.
func readTime(in *cryptobyte.String, at *instant) bool {
	var when cryptobyte.String
	var tag asn1.Tag
	if !in.ReadAnyASN1(&when, &tag) || tag != asn1.UTCTime && tag != asn1.GeneralizedTime {
		return false
	}
	return parseTime(when, tag == asn1.UTCTime, at)
}

// parseTime reads the text of either form.
func parseTime(when []byte, utc bool, at *instant) bool {
	if utc {
		full, ok := expandUTCTime(when)
		if !ok {
			return false
		}
		when = full
	}
	var err error
	*at, err = parseInstant(nil, when)
	return err == nil
}

// extensions are a list of certificate or list extensions, not taken apart.
type extensions struct{ list cryptobyte.String }

// readOptional reads the explicitly tagged list at the end of a structure, if it is there.
func (e *extensions) readOptional(in *cryptobyte.String, tag asn1.Tag) bool {
	var wrapped cryptobyte.String
	var present bool
	if !in.ReadOptionalASN1(&wrapped, &present, tag) || !in.Empty() {
		return false
	}
	return !present || wrapped.ReadASN1(&e.list, asn1.SEQUENCE) && wrapped.Empty()
}

// find returns the content of the OCTET STRING of an extension.
func (e extensions) find(oid string) (value cryptobyte.String, ok bool) {
	for list := e.list; !list.Empty(); {
		var one cryptobyte.String
		var id encodedOID
		if !list.ReadASN1(&one, asn1.SEQUENCE) || !id.read(&one) || !one.SkipOptionalASN1(asn1.BOOLEAN) ||
			!one.ReadASN1(&value, asn1.OCTET_STRING) {
			return nil, false
		}
		if id.text == oid {
			return value, true
		}
	}
	return nil, false
}

// Extensions by OID (RFC 5280 sections 4.2.1 and 5.2).
const (
	extSubjectKeyID     = "2.5.29.14"
	extKeyUsage         = "2.5.29.15"
	extPrivateKeyPeriod = "2.5.29.16"
	extSubjectAltName   = "2.5.29.17"
	extCRLNumber        = "2.5.29.20"
	extDistribution     = "2.5.29.28"
	extNameConstraints  = "2.5.29.30"
	extPolicies         = "2.5.29.32"
	extAuthorityKeyID   = "2.5.29.35"

	anyPolicy = "2.5.29.32.0"
)

// readName reads the content of an RDNSequence.
func readName(in cryptobyte.String) (ldap.DN, bool) {
	var dn ldap.DN
	for !in.Empty() {
		var set cryptobyte.String
		if !in.ReadASN1(&set, asn1.SET) {
			return nil, false
		}
		rdn, ok := readRDN(set)
		if !ok {
			return nil, false
		}
		dn = append(dn, rdn)
	}
	slices.Reverse(dn)
	return dn, true
}

// readRDN reads the content of a RelativeDistinguishedName.
func readRDN(set cryptobyte.String) (ldap.RDN, bool) {
	var rdn ldap.RDN
	for !set.Empty() {
		var pair, value cryptobyte.String
		var oid encodedOID
		var tag asn1.Tag
		if !set.ReadASN1(&pair, asn1.SEQUENCE) || !oid.read(&pair) || !pair.ReadAnyASN1Element(&value, &tag) || !pair.Empty() {
			return nil, false
		}
		rdn = append(rdn, ldap.AVA{Type: oid.text, Value: derText(value, tag)})
	}
	return rdn, len(rdn) > 0
}

// normName is the normalised form of the content of an RDNSequence.
func (s *Schema) normName(in cryptobyte.String) (string, bool) {
	dn, ok := readName(in)
	if !ok {
		return "", false
	}
	return string(s.NormalizeParsed(nil, dn)), true
}

// An encodedOID is an OBJECT IDENTIFIER as text.
type encodedOID struct{ text string }

func (o *encodedOID) read(in *cryptobyte.String) bool {
	var body cryptobyte.String
	return in.ReadASN1(&body, asn1.OBJECT_IDENTIFIER) && o.decode(body)
}

// decode reads the content of an OBJECT IDENTIFIER.
func (o *encodedOID) decode(body []byte) bool {
	if len(body) == 0 || len(body) > 128 {
		return false
	}
	var out []byte
	arc, first := new(big.Int), true
	for i, c := range body {
		arc.Lsh(arc, 7)
		arc.Or(arc, big.NewInt(int64(c&0x7f)))
		if c&0x80 != 0 {
			if i == len(body)-1 {
				return false
			}
			continue
		}
		if first {
			top := int64(2)
			if arc.IsInt64() && arc.Int64() < 80 {
				top = arc.Int64() / 40
			}
			out = append(out, byte('0'+top))
			arc.Sub(arc, big.NewInt(40*top))
			first = false
		}
		out = arc.Append(append(out, '.'), 10)
		arc.SetInt64(0)
	}
	o.text = string(out)
	return true
}

// derText converts the string types of X.520 to UTF-8. What is none of them stays as its encoding.
func derText(element cryptobyte.String, tag asn1.Tag) []byte {
	var body cryptobyte.String
	in := element
	if !in.ReadASN1(&body, tag) {
		return element
	}
	switch tag {
	case asn1.UTF8String, asn1.PrintableString, asn1.IA5String, asn1.Tag(18): // 18 is NumericString
		return body
	case asn1.T61String: // in use it is Latin-1
		out := make([]rune, len(body))
		for i, c := range body {
			out[i] = rune(c)
		}
		return []byte(string(out))
	case asn1.Tag(28): // UniversalString
		if len(body)%4 != 0 {
			return element
		}
		out := make([]rune, len(body)/4)
		for i := range out {
			out[i] = rune(body[4*i])<<24 | rune(body[4*i+1])<<16 | rune(body[4*i+2])<<8 | rune(body[4*i+3])
		}
		return []byte(string(out))
	case asn1.Tag(30): // BMPString
		if len(body)%2 != 0 {
			return element
		}
		units := make([]uint16, len(body)/2)
		for i := range units {
			units[i] = uint16(body[2*i])<<8 | uint16(body[2*i+1])
		}
		return []byte(string(utf16.Decode(units)))
	}
	return element
}

// expandUTCTime gives a UTC Time its century: years below 50 are of this one (RFC 5280 section 4.1.2.5.1).
func expandUTCTime(v []byte) ([]byte, bool) {
	year, ok := digits(v, 0, 2)
	if !ok {
		return nil, false
	}
	century := "19"
	if year < 50 {
		century = "20"
	}
	return append([]byte(century), v...), true
}

// A bitSet is a BIT STRING: bit 0 is the first.
type bitSet []byte

// readBits reads the content of a BIT STRING.
func readBits(body []byte) (bitSet, bool) {
	if len(body) == 0 || body[0] > 7 || len(body) == 1 && body[0] != 0 {
		return nil, false
	}
	return bitSet(body[1:]), true
}

func (b *bitSet) set(n int) {
	for n/8 >= len(*b) {
		*b = append(*b, 0)
	}
	(*b)[n/8] |= 0x80 >> (n % 8)
}

// within reports whether all bits of b are in other; meets, whether any is.
func (b bitSet) within(other bitSet) bool {
	for i, c := range b {
		if i < len(other) {
			c &^= other[i]
		}
		if c != 0 {
			return false
		}
	}
	return true
}

func (b bitSet) meets(other bitSet) bool {
	for i := range min(len(b), len(other)) {
		if b[i]&other[i] != 0 {
			return true
		}
	}
	return false
}
