package schema

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math/big"
	"slices"
	"unicode/utf16"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"portolan/ldap"
)

// Matching of certificates and their kin (RFC 4523). Keys are text: the parts that the exact-match rules compare.

var (
	errCertificate          = errors.New("the value is no X.509 certificate in DER")
	errCertificateList      = errors.New("the value is no X.509 certificate revocation list in DER")
	errCertificatePair      = errors.New("the value is no X.509 certificate pair in DER")
	errAlgorithm            = errors.New("the value is no X.509 supported algorithm in DER")
	errCertificateAssertion = errors.New(`the assertion is written { serialNumber 123, issuer rdnSequence:"CN=name" }`)
	errListAssertion        = errors.New(`the assertion is written { issuer rdnSequence:"CN=name", thisUpdate utcTime:"240101000000Z" }`)
	errPairAssertion        = errors.New(`the assertion is written { issuedToThisCAAssertion { serialNumber 123, issuer rdnSequence:"CN=name" } }`)
	errAlgorithmAssertion   = errors.New("the assertion is written { algorithm 1.2.3 }")
)

// A certID is what certificateExactMatch compares.
type certID struct {
	serial []byte // decimal
	issuer []byte // normalised
}

func (c certID) append(dst []byte) []byte {
	dst = append(append(dst, c.serial...), '$')
	return append(dst, c.issuer...)
}

// readCertificate takes serial number and issuer out of a certificate.
func readCertificate(s *Schema, in cryptobyte.String) (certID, bool) {
	var cert, tbs cryptobyte.String
	if !in.ReadASN1(&cert, asn1.SEQUENCE) || !in.Empty() || !cert.ReadASN1(&tbs, asn1.SEQUENCE) ||
		!cert.SkipASN1(asn1.SEQUENCE) || !cert.SkipASN1(asn1.BIT_STRING) || !cert.Empty() {
		return certID{}, false
	}
	serial := new(big.Int)
	var issuer cryptobyte.String
	if !tbs.SkipOptionalASN1(asn1.Tag(0).Constructed().ContextSpecific()) || !tbs.ReadASN1Integer(serial) ||
		!tbs.SkipASN1(asn1.SEQUENCE) || !tbs.ReadASN1(&issuer, asn1.SEQUENCE) ||
		!tbs.SkipASN1(asn1.SEQUENCE) || !tbs.SkipASN1(asn1.SEQUENCE) || !tbs.SkipASN1(asn1.SEQUENCE) {
		return certID{}, false
	}
	if serial.BitLen() > 8*64 { // RFC 5280 allows 20 octets
		return certID{}, false
	}
	dn, ok := readName(issuer)
	if !ok {
		return certID{}, false
	}
	return certID{serial.Append(nil, 10), s.NormalizeParsed(nil, dn)}, true
}

// readName reads the content of an RDNSequence.
func readName(in cryptobyte.String) (ldap.DN, bool) {
	var dn ldap.DN
	for !in.Empty() {
		var set cryptobyte.String
		var rdn ldap.RDN
		if !in.ReadASN1(&set, asn1.SET) || set.Empty() {
			return nil, false
		}
		for !set.Empty() {
			var pair, value cryptobyte.String
			var oid encodedOID
			var tag asn1.Tag
			if !set.ReadASN1(&pair, asn1.SEQUENCE) || !oid.read(&pair) || !pair.ReadAnyASN1Element(&value, &tag) || !pair.Empty() {
				return nil, false
			}
			rdn = append(rdn, ldap.AVA{Type: oid.text, Value: derText(value, tag)})
		}
		dn = append(dn, rdn)
	}
	slices.Reverse(dn)
	return dn, true
}

// An encodedOID is an OBJECT IDENTIFIER as text.
type encodedOID struct{ text string }

func (o *encodedOID) read(in *cryptobyte.String) bool {
	var body cryptobyte.String
	if !in.ReadASN1(&body, asn1.OBJECT_IDENTIFIER) || len(body) == 0 || len(body) > 128 {
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

func certificateKey(s *Schema, dst, v []byte) ([]byte, error) {
	id, ok := readCertificate(s, v)
	if !ok {
		return dst, errCertificate
	}
	return id.append(dst), nil
}

func certificateAssertion(s *Schema, dst, v []byte) ([]byte, error) {
	id, ok := parseCertAssertion(s, v)
	if !ok {
		return dst, errCertificateAssertion
	}
	return id.append(dst), nil
}

// parseCertAssertion reads a CertificateExactAssertion in GSER (RFC 4523 appendix A.1), in the older form
// "serial$issuer" (RFC 2252 era), or the certificate itself, whose own assertion that is.
func parseCertAssertion(s *Schema, v []byte) (certID, bool) {
	if len(v) > 0 && v[0] == 0x30 {
		return readCertificate(s, v)
	}
	if serial, issuer, ok := bytes.Cut(v, []byte{'$'}); ok && bytes.IndexByte(serial, '{') < 0 {
		return newCertID(s, bytes.TrimSpace(serial), bytes.TrimSpace(issuer))
	}
	g := gser{in: v}
	fields, ok := g.sequence()
	if !ok || !g.end() || len(fields) != 2 {
		return certID{}, false
	}
	return newCertID(s, fields["serialnumber"], nameChoice(fields["issuer"]))
}

func newCertID(s *Schema, serial, issuer []byte) (certID, bool) {
	if issuer == nil {
		return certID{}, false
	}
	n, err := integerKey(s, nil, serial)
	if err != nil {
		return certID{}, false
	}
	dn, err := s.NormalizeDN(nil, issuer)
	return certID{n, dn}, err == nil
}

// nameChoice takes the "rdnSequence:" off a name.
func nameChoice(v []byte) []byte {
	const choice = "rdnsequence:"
	if len(v) > len(choice) && bytes.EqualFold(v[:len(choice)], []byte(choice)) {
		v = bytes.TrimSpace(v[len(choice):])
	}
	return gserString(v)
}

// gserString takes the quotes off a string (RFC 3641 section 3.2); nil if there are none.
func gserString(v []byte) []byte {
	if len(v) < 2 || v[0] != '"' || v[len(v)-1] != '"' {
		return nil
	}
	return bytes.ReplaceAll(v[1:len(v)-1], []byte(`""`), []byte(`"`))
}

// listOfRevokedKey is what certificateListExactMatch compares: the issuer and thisUpdate.
func listOfRevokedKey(s *Schema, dst, v []byte) ([]byte, error) {
	in := cryptobyte.String(v)
	var list, tbs, issuer, when cryptobyte.String
	var tag asn1.Tag
	if !in.ReadASN1(&list, asn1.SEQUENCE) || !in.Empty() || !list.ReadASN1(&tbs, asn1.SEQUENCE) ||
		!list.SkipASN1(asn1.SEQUENCE) || !list.SkipASN1(asn1.BIT_STRING) || !list.Empty() ||
		!tbs.SkipOptionalASN1(asn1.INTEGER) || !tbs.SkipASN1(asn1.SEQUENCE) || !tbs.ReadASN1(&issuer, asn1.SEQUENCE) ||
		!tbs.ReadAnyASN1(&when, &tag) {
		return dst, errCertificateList
	}
	dn, ok := readName(issuer)
	if !ok || tag != asn1.UTCTime && tag != asn1.GeneralizedTime {
		return dst, errCertificateList
	}
	return appendListID(s, dst, s.NormalizeParsed(nil, dn), when, tag == asn1.UTCTime, errCertificateList)
}

func appendListID(s *Schema, dst, issuer, when []byte, utc bool, bad error) ([]byte, error) {
	if utc {
		full, ok := expandUTCTime(when)
		if !ok {
			return dst, bad
		}
		when = full
	}
	start := len(dst)
	dst = append(append(dst, issuer...), '$')
	dst, err := timeKey(s, dst, when)
	if err != nil {
		return dst[:start], bad
	}
	return dst, nil
}

func listOfRevokedAssertion(s *Schema, dst, v []byte) ([]byte, error) {
	if len(v) > 0 && v[0] == 0x30 {
		return listOfRevokedKey(s, dst, v)
	}
	g := gser{in: v}
	fields, ok := g.sequence()
	if !ok || !g.end() {
		return dst, errListAssertion
	}
	name := nameChoice(fields["issuer"])
	choice, when, ok := bytes.Cut(fields["thisupdate"], []byte{':'})
	when = gserString(bytes.TrimSpace(when))
	if !ok || name == nil || when == nil || len(fields) != 2 {
		return dst, errListAssertion
	}
	issuer, err := s.NormalizeDN(nil, name)
	if err != nil {
		return dst, errListAssertion
	}
	return appendListID(s, dst, issuer, when, bytes.EqualFold(choice, []byte("utcTime")), errListAssertion)
}

// readPair takes a CertificatePair apart; an absent half has no serial.
func readPair(s *Schema, v []byte) (to, by certID, ok bool) {
	in := cryptobyte.String(v)
	var pair, half cryptobyte.String
	if !in.ReadASN1(&pair, asn1.SEQUENCE) || !in.Empty() || pair.Empty() {
		return to, by, false
	}
	for i, id := range []*certID{&to, &by} {
		var present bool
		if !pair.ReadOptionalASN1(&half, &present, asn1.Tag(i).Constructed().ContextSpecific()) {
			return to, by, false
		}
		if present {
			if *id, ok = readCertificate(s, half); !ok {
				return to, by, false
			}
		}
	}
	return to, by, pair.Empty()
}

func pairKey(s *Schema, dst, v []byte) ([]byte, error) {
	to, by, ok := readPair(s, v)
	if !ok {
		return dst, errCertificatePair
	}
	return by.append(append(to.append(dst), '|')), nil
}

// parsePairAssertion reads a CertificatePairExactAssertion in GSER, or takes the value itself.
func parsePairAssertion(s *Schema, v []byte) (to, by certID, ok bool) {
	if len(v) > 0 && v[0] == 0x30 {
		return readPair(s, v)
	}
	g := gser{in: v}
	fields, ok := g.sequence()
	if !ok || !g.end() || len(fields) == 0 {
		return to, by, false
	}
	for name, text := range fields {
		id := &to
		switch name {
		case "issuedtothiscaassertion":
		case "issuedbythiscaassertion":
			id = &by
		default:
			return to, by, false
		}
		if *id, ok = parseCertAssertion(s, text); !ok {
			return to, by, false
		}
	}
	return to, by, true
}

func pairAssertion(s *Schema, dst, v []byte) ([]byte, error) {
	to, by, ok := parsePairAssertion(s, v)
	if !ok {
		return dst, errPairAssertion
	}
	return by.append(append(to.append(dst), '|')), nil
}

// pairMatch compares the halves that the assertion has.
func pairMatch(s *Schema, value, assertion []byte) (bool, error) {
	to, by, ok := readPair(s, value)
	if !ok {
		return false, errCertificatePair
	}
	wantTo, wantBy, ok := parsePairAssertion(s, assertion)
	if !ok {
		return false, errPairAssertion
	}
	same := func(have, want certID) bool {
		return len(want.serial) == 0 || bytes.Equal(have.serial, want.serial) && bytes.Equal(have.issuer, want.issuer)
	}
	return same(to, wantTo) && same(by, wantBy), nil
}

// algorithmKey is the OID of the algorithm, and its parameters in hexadecimal where they are neither absent nor NULL.
func algorithmKey(_ *Schema, dst, v []byte) ([]byte, error) {
	in := cryptobyte.String(v)
	var outer, id cryptobyte.String
	var oid encodedOID
	if !in.ReadASN1(&outer, asn1.SEQUENCE) || !in.Empty() || !outer.ReadASN1(&id, asn1.SEQUENCE) || !oid.read(&id) {
		return dst, errAlgorithm
	}
	dst = append(dst, oid.text...)
	if !id.Empty() && !id.PeekASN1Tag(asn1.NULL) {
		dst = hex.AppendEncode(append(dst, '$'), id)
	}
	return dst, nil
}

func algorithmAssertion(s *Schema, dst, v []byte) ([]byte, error) {
	if len(v) > 0 && v[0] == 0x30 {
		return algorithmKey(s, dst, v)
	}
	g := gser{in: v}
	fields, ok := g.sequence()
	oid := fields["algorithm"]
	if !ok || !g.end() || !validOID(oid) || len(fields) > 1 && string(fields["parameters"]) != "NULL" || len(fields) > 2 {
		return dst, errAlgorithmAssertion
	}
	return append(dst, oid...), nil
}

// expandUTCTime gives a UTC Time (RFC 4517 section 3.3.34) its century: years below 50 are of this one (RFC 5280).
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
