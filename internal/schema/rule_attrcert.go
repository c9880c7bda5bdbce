package schema

import (
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// Attribute certificates (X.509 section 3, RFC 5755), as slapd's schema for privilege management has them:
// attributeCertificateExactMatch compares the serial number and the issuer.

// attributeCertKey is the serial number and the names of the issuer: its own, or those of its certificate.
func attributeCertKey(s *Schema, dst, v []byte) ([]byte, error) {
	in := cryptobyte.String(v)
	var cert, info, issuer, serial cryptobyte.String
	if !in.ReadASN1(&cert, asn1.SEQUENCE) || !in.Empty() || !cert.ReadASN1(&info, asn1.SEQUENCE) ||
		!cert.SkipASN1(asn1.SEQUENCE) || !cert.SkipASN1(asn1.BIT_STRING) || !cert.Empty() {
		return dst, errAttributeCert
	}
	// version, holder, issuer, signature, serialNumber
	if !info.SkipASN1(asn1.INTEGER) || !info.SkipASN1(asn1.SEQUENCE) || !info.ReadASN1(&issuer, structTag(0)) ||
		!info.SkipASN1(asn1.SEQUENCE) || !info.ReadASN1(&serial, asn1.INTEGER) {
		return dst, errAttributeCert
	}
	id := certID{}
	var ok bool
	if id.serial, ok = derInteger(serial); !ok {
		return dst, errAttributeCert
	}
	if id.issuer, ok = s.attCertIssuer(issuer); !ok {
		return dst, errAttributeCert
	}
	return id.append(dst), nil
}

// attCertIssuer reads the content of the v2 form of AttCertIssuer.
func (s *Schema) attCertIssuer(in cryptobyte.String) (string, bool) {
	if in.PeekASN1Tag(asn1.SEQUENCE) {
		var list cryptobyte.String
		if !in.ReadASN1(&list, asn1.SEQUENCE) {
			return "", false
		}
		names, ok := s.readGeneralNames(list)
		return oneDirectoryName(names), ok
	}
	// baseCertificateID [0] IssuerSerial { issuer GeneralNames, serial INTEGER, ... }
	var base, list, serial cryptobyte.String
	if !in.ReadASN1(&base, structTag(0)) || !base.ReadASN1(&list, asn1.SEQUENCE) || !base.ReadASN1(&serial, asn1.INTEGER) {
		return "", false
	}
	names, ok := s.readGeneralNames(list)
	number, ok2 := derInteger(serial)
	return oneDirectoryName(names) + "#" + number, ok && ok2
}

// oneDirectoryName is the first directoryName: RFC 5755 section 4.2.3 allows no more than that one.
func oneDirectoryName(names []generalName) string {
	for _, n := range names {
		if n.form == "directoryName" {
			return n.text
		}
	}
	return ""
}

// attributeCertAssertion reads the assertion in GSER, { serialNumber 1, issuer { issuerName { directoryName:... } } } or
// with { baseCertificateID { issuer {...}, serial 2 } } for the issuer, or takes the value itself.
func attributeCertAssertion(s *Schema, dst, v []byte) ([]byte, error) {
	if isDER(v) {
		return attributeCertKey(s, dst, v)
	}
	fields, ok := gserFields(v)
	if !ok || len(fields) != 2 {
		return dst, errAttributeAssertion
	}
	id := certID{}
	if id.serial, ok = gserInteger(fields["serialnumber"]); !ok {
		return dst, errAttributeAssertion
	}
	form, ok := gserFields(fields["issuer"])
	if !ok || len(form) != 1 {
		return dst, errAttributeAssertion
	}
	var names []generalName
	if list := form["issuername"]; list != nil {
		names, ok = s.gserGeneralNames(list)
		id.issuer = oneDirectoryName(names)
	} else {
		base, fine := gserFields(form["basecertificateid"])
		number, fine2 := gserInteger(base["serial"])
		names, ok = s.gserGeneralNames(base["issuer"])
		ok = ok && fine && fine2
		id.issuer = oneDirectoryName(names) + "#" + number
	}
	if !ok {
		return dst, errAttributeAssertion
	}
	return id.append(dst), nil
}
