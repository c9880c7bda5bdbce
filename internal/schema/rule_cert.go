package schema

import (
	"bytes"
	"encoding/hex"
	"errors"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// Exact matching of certificates and their kin (RFC 4523). Keys are text: the parts that the rules compare.

var (
	errCertificate          = errors.New("the value is no X.509 certificate in DER")
	errCertificateList      = errors.New("the value is no X.509 certificate revocation list in DER")
	errCertificatePair      = errors.New("the value is no X.509 certificate pair in DER")
	errAlgorithm            = errors.New("the value is no X.509 supported algorithm in DER")
	errAttributeCert        = errors.New("the value is no X.509 attribute certificate in DER")
	errCertificateAssertion = errors.New(`the assertion is written { serialNumber 123, issuer rdnSequence:"CN=name" }`)
	errListAssertion        = errors.New(`the assertion is written { issuer rdnSequence:"CN=name", thisUpdate utcTime:"240101000000Z" }`)
	errPairAssertion        = errors.New(`the assertion is written { issuedToThisCAAssertion { serialNumber 123, issuer rdnSequence:"CN=name" } }`)
	errAlgorithmAssertion   = errors.New("the assertion is written { algorithm 1.2.3 }")
	errAttributeAssertion   = errors.New(`the assertion is written { serialNumber 123, issuer { issuerName { directoryName:rdnSequence:"CN=name" } } }`)
)

// A certID is what certificateExactMatch compares.
type certID struct {
	serial string // decimal; "" where there is no certificate
	issuer string // normalised
}

func (c certID) append(dst []byte) []byte {
	dst = append(append(dst, c.serial...), '$')
	return append(dst, c.issuer...)
}

// readCertificate takes serial number and issuer out of a certificate.
func readCertificate(s *Schema, in cryptobyte.String) (certID, bool) {
	var c certificate
	if !c.read(in) {
		return certID{}, false
	}
	issuer, ok := s.normName(c.issuer)
	return certID{c.serial.String(), issuer}, ok
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

// isDER tells a value itself from the text of an assertion.
func isDER(v []byte) bool { return len(v) > 0 && v[0] == byte(asn1.SEQUENCE) }

// parseCertAssertion reads a CertificateExactAssertion in GSER (RFC 4523 appendix A.1), in the older form
// "serial$issuer" (RFC 2252 era), or the certificate itself, whose own assertion that is.
func parseCertAssertion(s *Schema, v []byte) (certID, bool) {
	if isDER(v) {
		return readCertificate(s, v)
	}
	if serial, issuer, ok := bytes.Cut(v, []byte{'$'}); ok && bytes.IndexByte(serial, '{') < 0 {
		n, ok := gserInteger(bytes.TrimSpace(serial))
		dn, err := s.NormalizeDN(nil, bytes.TrimSpace(issuer))
		return certID{n, string(dn)}, ok && err == nil
	}
	fields, ok := gserFields(v)
	if !ok || len(fields) != 2 {
		return certID{}, false
	}
	n, ok := gserInteger(fields["serialnumber"])
	issuer, ok2 := s.gserName(fields["issuer"])
	return certID{n, issuer}, ok && ok2
}

// nameChoice takes the "rdnSequence:" off a name and the quotes off what follows.
func nameChoice(v []byte) []byte {
	const choice = "rdnsequence:"
	if len(v) > len(choice) && bytes.EqualFold(v[:len(choice)], []byte(choice)) {
		v = bytes.TrimSpace(v[len(choice):])
	}
	return gserString(v)
}

// A listID is what certificateListExactMatch compares.
type listID struct {
	issuer string
	at     instant
	point  *distributionPoint // of an assertion; nil: any
}

func (l *listID) append(dst []byte) []byte {
	return appendInstant(append(append(dst, l.issuer...), '$'), l.at)
}

// listOfRevokedKey is the issuer and thisUpdate.
func listOfRevokedKey(s *Schema, dst, v []byte) ([]byte, error) {
	var l revocationList
	if !l.read(v) {
		return dst, errCertificateList
	}
	issuer, ok := s.normName(l.issuer)
	if !ok {
		return dst, errCertificateList
	}
	return (&listID{issuer: issuer, at: l.thisUpdate}).append(dst), nil
}

// parseListAssertion reads a CertificateListExactAssertion in GSER (RFC 4523 appendix A.5).
func parseListAssertion(s *Schema, v []byte) (*listID, bool) {
	fields, ok := gserFields(v)
	if !ok || fields["issuer"] == nil || fields["thisupdate"] == nil {
		return nil, false
	}
	out := &listID{}
	for name, value := range fields {
		switch name {
		case "issuer":
			out.issuer, ok = s.gserName(value)
		case "thisupdate":
			ok = gserTime(value, &out.at)
		case "distributionpoint":
			out.point, ok = s.gserDistributionPoint(value)
		default:
			ok = false
		}
		if !ok {
			return nil, false
		}
	}
	return out, true
}

func listOfRevokedAssertion(s *Schema, dst, v []byte) ([]byte, error) {
	if isDER(v) {
		return listOfRevokedKey(s, dst, v)
	}
	l, ok := parseListAssertion(s, v)
	if !ok {
		return dst, errListAssertion
	}
	return l.append(dst), nil
}

// listExactMatch compares issuer and thisUpdate, and the distribution point where the assertion has one.
func listExactMatch(s *Schema, value, assertion []byte) (bool, error) {
	want, err := listOfRevokedAssertion(s, nil, assertion)
	if err != nil {
		return false, err
	}
	have, err := listOfRevokedKey(s, nil, value)
	if err != nil || !bytes.Equal(have, want) || isDER(assertion) {
		return err == nil && bytes.Equal(have, want), err
	}
	id, ok := parseListAssertion(s, assertion)
	if !ok || id.point == nil {
		return ok, nil
	}
	var l revocationList
	if !l.read(value) {
		return false, errCertificateList
	}
	dist, ok := s.readDistribution(l.extensions)
	return ok && dist != nil && id.point.meets(dist.point), nil
}

// splitPair takes a CertificatePair apart; an absent half is nil.
func splitPair(v []byte) (to, by cryptobyte.String, ok bool) {
	in := cryptobyte.String(v)
	var pair cryptobyte.String
	if !in.ReadASN1(&pair, asn1.SEQUENCE) || !in.Empty() || pair.Empty() {
		return nil, nil, false
	}
	for i, half := range []*cryptobyte.String{&to, &by} {
		var present bool
		if !pair.ReadOptionalASN1(half, &present, structTag(uint8(i))) {
			return nil, nil, false
		}
		if !present {
			*half = nil
		}
	}
	return to, by, pair.Empty() && (to != nil || by != nil)
}

// readPair takes the identities out of a CertificatePair.
func readPair(s *Schema, v []byte) (to, by certID, ok bool) {
	first, second, ok := splitPair(v)
	if ok && first != nil {
		to, ok = readCertificate(s, first)
	}
	if ok && second != nil {
		by, ok = readCertificate(s, second)
	}
	return to, by, ok
}

func pairKey(s *Schema, dst, v []byte) ([]byte, error) {
	to, by, ok := readPair(s, v)
	if !ok {
		return dst, errCertificatePair
	}
	return by.append(append(to.append(dst), '|')), nil
}

// pairHalves reads the two assertions of a pair assertion (RFC 4523 appendices A.3 and A.4).
func pairHalves(v []byte) (to, by []byte, ok bool) {
	fields, ok := gserFields(v)
	if !ok || len(fields) == 0 {
		return nil, nil, false
	}
	for name, text := range fields {
		switch name {
		case "issuedtothiscaassertion":
			to = text
		case "issuedbythiscaassertion":
			by = text
		default:
			return nil, nil, false
		}
	}
	return to, by, true
}

// parsePairAssertion reads a CertificatePairExactAssertion in GSER, or takes the value itself.
func parsePairAssertion(s *Schema, v []byte) (to, by certID, ok bool) {
	if isDER(v) {
		return readPair(s, v)
	}
	first, second, ok := pairHalves(v)
	if ok && first != nil {
		to, ok = parseCertAssertion(s, first)
	}
	if ok && second != nil {
		by, ok = parseCertAssertion(s, second)
	}
	return to, by, ok
}

func pairAssertion(s *Schema, dst, v []byte) ([]byte, error) {
	to, by, ok := parsePairAssertion(s, v)
	if !ok {
		return dst, errPairAssertion
	}
	return by.append(append(to.append(dst), '|')), nil
}

// pairExactMatch compares the halves that the assertion has.
func pairExactMatch(s *Schema, value, assertion []byte) (bool, error) {
	to, by, ok := readPair(s, value)
	if !ok {
		return false, errCertificatePair
	}
	wantTo, wantBy, ok := parsePairAssertion(s, assertion)
	if !ok {
		return false, errPairAssertion
	}
	same := func(have, want certID) bool { return want.serial == "" || have == want }
	return same(to, wantTo) && same(by, wantBy), nil
}

// algorithmKey is the OID of the algorithm, and its parameters in hexadecimal where they are neither absent nor NULL.
func algorithmKey(_ *Schema, dst, v []byte) ([]byte, error) {
	in := cryptobyte.String(v)
	var outer, id cryptobyte.String
	var oid encodedOID
	if !in.ReadASN1(&outer, asn1.SEQUENCE) || !in.Empty() || !outer.ReadASN1(&id, asn1.SEQUENCE) || !oid.read(&id) ||
		!outer.SkipOptionalASN1(structTag(0)) || !outer.SkipOptionalASN1(structTag(1)) || !outer.Empty() {
		return dst, errAlgorithm
	}
	dst = append(dst, oid.text...)
	if !id.Empty() && !id.PeekASN1Tag(asn1.NULL) {
		dst = hex.AppendEncode(append(dst, '$'), id)
	}
	return dst, nil
}

// algorithmAssertion reads an AlgorithmIdentifier in GSER (RFC 4523 appendix A.7). Of parameters only NULL can be
// compared: others have no form in GSER that does not depend on the algorithm.
func algorithmAssertion(s *Schema, dst, v []byte) ([]byte, error) {
	if isDER(v) {
		return algorithmKey(s, dst, v)
	}
	fields, ok := gserFields(v)
	oid := fields["algorithm"]
	if !ok || !validOID(oid) || len(fields) > 1 && string(fields["parameters"]) != "NULL" || len(fields) > 2 {
		return dst, errAlgorithmAssertion
	}
	return append(dst, oid...), nil
}
