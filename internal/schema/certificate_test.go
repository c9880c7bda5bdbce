package schema

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"
)

var testAuthority = sync.OnceValues(func() (*x509.Certificate, *ecdsa.PrivateKey) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber:          big.NewInt(305419896),
		Subject:               pkix.Name{CommonName: "Test CA", Organization: []string{"Portolan, Ltd"}},
		NotBefore:             time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:              time.Date(2034, 1, 1, 0, 0, 0, 0, time.UTC),
		IsCA:                  true,
		BasicConstraintsValid: true,
		SubjectKeyId:          []byte{1, 2, 3},
		KeyUsage:              x509.KeyUsageCRLSign,
		PermittedDNSDomains:   []string{"example.org"},
	}, &x509.Certificate{Subject: pkix.Name{CommonName: "Test CA", Organization: []string{"Portolan, Ltd"}}}, key.Public(), key)
	if err != nil {
		panic(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return cert, key
})

// certificateFor returns a certificate of serial number 305419896 and the name of its issuer.
func certificateFor(t testing.TB) (der []byte, issuer string) {
	t.Helper()
	cert, _ := testAuthority()
	return cert.Raw, `cn=test ca,O=Portolan\2c Ltd`
}

// personCertificate returns a certificate with every extension that certificateMatch looks at.
func personCertificate(t testing.TB) []byte {
	t.Helper()
	ca, key := testAuthority()
	policy, err := x509.OIDFromInts([]uint64{1, 2, 3, 4})
	if err != nil {
		t.Fatal(err)
	}
	link, err := url.Parse("https://WWW.example.org/alice")
	if err != nil {
		t.Fatal(err)
	}
	constraints := struct {
		Excluded []struct{ Base asn1.RawValue } `asn1:"tag:1"`
	}{}
	name, err := asn1.Marshal(pkix.Name{Organization: []string{"Rival"}}.ToRDNSequence())
	if err != nil {
		t.Fatal(err)
	}
	constraints.Excluded = append(constraints.Excluded, struct{ Base asn1.RawValue }{asn1.RawValue{Class: 2, Tag: 4, IsCompound: true, Bytes: name}})
	period := struct {
		From asn1.RawValue
		To   asn1.RawValue
	}{asn1.RawValue{Class: 2, Tag: 0, Bytes: []byte("20240101000000Z")}, asn1.RawValue{Class: 2, Tag: 1, Bytes: []byte("20250101000000Z")}}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber:   big.NewInt(7),
		Subject:        pkix.Name{CommonName: "Alice", Organization: []string{"Example"}},
		NotBefore:      time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:       time.Date(2034, 1, 1, 0, 0, 0, 0, time.UTC),
		SubjectKeyId:   []byte{0xab, 0xcd},
		KeyUsage:       x509.KeyUsageDigitalSignature | x509.KeyUsageKeyAgreement,
		DNSNames:       []string{"host.Example.org"},
		EmailAddresses: []string{"Alice@Example.ORG"},
		IPAddresses:    []net.IP{net.IPv4(192, 0, 2, 1)},
		URIs:           []*url.URL{link},
		Policies:       []x509.OID{policy},
		ExtraExtensions: []pkix.Extension{
			{Id: asn1.ObjectIdentifier{2, 5, 29, 16}, Value: marshal(t, period)},
			{Id: asn1.ObjectIdentifier{2, 5, 29, 30}, Value: marshal(t, constraints)},
		},
	}, ca, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func marshal(t testing.TB, v any) []byte {
	t.Helper()
	der, err := asn1.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// listFor returns a revocation list of the same issuer, number 17, made at 2024-01-02 03:04:05 for
// ldap://crl.example.org and two reasons.
func listFor(t testing.TB) []byte {
	t.Helper()
	cert, key := testAuthority()
	uri := asn1.RawValue{Class: 2, Tag: 6, Bytes: []byte("ldap://crl.example.org")}
	full := asn1.RawValue{Class: 2, Tag: 0, IsCompound: true, Bytes: marshal(t, uri)}
	point := marshal(t, []asn1.RawValue{
		{Class: 2, Tag: 0, IsCompound: true, Bytes: marshal(t, full)},
		{Class: 2, Tag: 3, Bytes: []byte{5, 0x60}}, // keyCompromise and cACompromise
	})
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number:          big.NewInt(17),
		ThisUpdate:      time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC),
		NextUpdate:      time.Date(2024, 2, 2, 3, 4, 5, 0, time.UTC),
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 28}, Value: point}},
	}, cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// attributeCertificateFor returns an attribute certificate of serial number 9, issued by cn=AA.
func attributeCertificateFor(t testing.TB) []byte {
	t.Helper()
	issuer := marshal(t, pkix.Name{CommonName: "AA"}.ToRDNSequence())
	directoryName := asn1.RawValue{Class: 2, Tag: 4, IsCompound: true, Bytes: issuer}
	alg := pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 3}}
	type validity struct{ From, To time.Time }
	info := struct {
		Version  int
		Holder   asn1.RawValue
		Issuer   asn1.RawValue
		Sig      pkix.AlgorithmIdentifier
		Serial   int
		Validity validity
		Attrs    []asn1.RawValue
	}{
		1,
		asn1.RawValue{Tag: 16, IsCompound: true},
		asn1.RawValue{Class: 2, Tag: 0, IsCompound: true, Bytes: marshal(t, []asn1.RawValue{directoryName})},
		alg, 9, validity{time.Unix(0, 0).UTC(), time.Unix(1, 0).UTC()}, nil,
	}
	return marshal(t, struct {
		Info any
		Alg  pkix.AlgorithmIdentifier
		Sig  asn1.BitString
	}{info, alg, asn1.BitString{Bytes: []byte{1}, BitLength: 8}})
}

// RFC 4523 sections 3.2, 3.4 and 3.6: every part of the assertions, met and missed.
func TestCertificateParts(t *testing.T) {
	alice, list := string(personCertificate(t)), string(listFor(t))
	ca, issuer := certificateFor(t)
	name := func(dn string) string { return `rdnSequence:"` + dn + `"` }
	for _, c := range []struct{ rule, value, assertion, want string }{
		{"certificateMatch", alice, "{}", "true"},
		{"certificateMatch", alice, "{ serialNumber 7 }", "true"},
		{"certificateMatch", alice, "{ serialNumber 8 }", "false"},
		{"certificateMatch", alice, "{ issuer " + name(issuer) + ", subject " + name("CN=ALICE,o=example") + " }", "true"},
		{"certificateMatch", alice, "{ issuer " + name(issuer) + ", subject " + name("cn=bob") + " }", "false"},
		{"certificateMatch", alice, "{ subject " + name("no name") + " }", "undefined"},
		{"certificateMatch", alice, "{ subjectKeyIdentifier 'ABcd'H }", "true"},
		{"certificateMatch", alice, "{ subjectKeyIdentifier 'ab'H }", "false"},
		{"certificateMatch", alice, "{ subjectKeyIdentifier ab }", "undefined"},
		{"certificateMatch", alice, "{ authorityKeyIdentifier { keyIdentifier '010203'H } }", "true"},
		{"certificateMatch", alice, "{ authorityKeyIdentifier { keyIdentifier '0102'H } }", "false"},
		{"certificateMatch", alice, "{ authorityKeyIdentifier { keyIdentifier '010203'H, authorityCertSerialNumber 5 } }", "false"},
		{"certificateMatch", alice, `{ authorityKeyIdentifier { authorityCertIssuer { dNSName:"x" } } }`, "false"},
		{"certificateMatch", alice, `{ certificateValid utcTime:"300101000000Z" }`, "true"},
		{"certificateMatch", alice, `{ certificateValid generalizedTime:"20340101000000Z" }`, "true"},
		{"certificateMatch", alice, `{ certificateValid generalizedTime:"20340101000001Z" }`, "false"},
		{"certificateMatch", alice, `{ certificateValid generalizedTime:"20231231235959Z" }`, "false"},
		{"certificateMatch", alice, `{ certificateValid "soon" }`, "undefined"},
		{"certificateMatch", alice, `{ privateKeyValid "20240601000000Z" }`, "true"},
		{"certificateMatch", alice, `{ privateKeyValid "20250601000000Z" }`, "false"},
		{"certificateMatch", alice, `{ privateKeyValid "20230601000000Z" }`, "false"},
		{"certificateMatch", string(ca), `{ privateKeyValid "20990601000000Z" }`, "true"},
		{"certificateMatch", alice, "{ subjectPublicKeyAlgID 1.2.840.10045.2.1 }", "true"},
		{"certificateMatch", alice, "{ subjectPublicKeyAlgID 1.2.840.113549.1.1.1 }", "false"},
		{"certificateMatch", alice, "{ keyUsage { digitalSignature, keyAgreement } }", "true"},
		{"certificateMatch", alice, "{ keyUsage { digitalSignature, keyCertSign } }", "false"},
		{"certificateMatch", alice, "{ keyUsage '10001'B }", "true"},
		{"certificateMatch", alice, "{ keyUsage '11'B }", "false"},
		{"certificateMatch", alice, "{ keyUsage '88'H }", "true"},
		{"certificateMatch", alice, "{ keyUsage { flying } }", "undefined"},
		{"certificateMatch", alice, "{ subjectAltName builtinNameForm:rfc822Name }", "true"},
		{"certificateMatch", alice, "{ subjectAltName builtinNameForm:iPAddress }", "true"},
		{"certificateMatch", alice, "{ subjectAltName builtinNameForm:registeredId }", "false"},
		{"certificateMatch", alice, "{ subjectAltName otherNameForm:1.2.3 }", "false"},
		{"certificateMatch", alice, "{ subjectAltName builtinNameForm:otherName }", "undefined"},
		{"certificateMatch", alice, "{ policy { 1.2.3.4 } }", "true"},
		{"certificateMatch", alice, "{ policy { 1.2.3.5 } }", "false"},
		{"certificateMatch", alice, "{ policy { 1.2.3.5, 2.5.29.32.0 } }", "true"},
		{"certificateMatch", string(ca), "{ policy { 2.5.29.32.0 } }", "false"},
		{"certificateMatch", alice, "{ pathToName " + name("cn=x,o=Friend") + " }", "true"},
		{"certificateMatch", alice, "{ pathToName " + name("cn=x,o=Rival") + " }", "false"},
		{"certificateMatch", string(ca), "{ pathToName " + name("cn=x,o=Rival") + " }", "true"},
		{"certificateMatch", alice, `{ nameConstraints { permittedSubtrees { { base dNSName:"example.org" }, { base rfc822Name:"example.org" } } } }`, "true"},
		{"certificateMatch", alice, `{ nameConstraints { permittedSubtrees { { base dNSName:"other.org" } } } }`, "false"},
		{"certificateMatch", alice, `{ nameConstraints { excludedSubtrees { { base directoryName:rdnSequence:"o=Example" } } } }`, "false"},
		{"certificateMatch", alice, `{ nameConstraints { excludedSubtrees { { base directoryName:rdnSequence:"o=Example", minimum 2 } } } }`, "true"},
		{"certificateMatch", alice, `{ nameConstraints { excludedSubtrees { { base directoryName:rdnSequence:"o=Example", maximum 0 } } } }`, "true"},
		{"certificateMatch", alice, `{ nameConstraints { permittedSubtrees { { base iPAddress:'C0000200FFFFFF00'H } } } }`, "true"},
		{"certificateMatch", alice, `{ nameConstraints { permittedSubtrees { { base iPAddress:'0A000000FF000000'H } } } }`, "false"},
		{"certificateMatch", alice, `{ nameConstraints { permittedSubtrees { { base uniformResourceIdentifier:".example.org" } } } }`, "true"},
		{"certificateMatch", alice, `{ nameConstraints { permittedSubtrees { { base uniformResourceIdentifier:"example.org" } } } }`, "false"},
		{"certificateMatch", alice, `{ nameConstraints { permittedSubtrees { { base rfc822Name:"Alice@example.org" } } } }`, "true"},
		{"certificateMatch", alice, `{ nameConstraints { permittedSubtrees { { base rfc822Name:"alice@example.org" } } } }`, "false"},
		{"certificateMatch", alice, "{ flavour 1 }", "undefined"},
		{"certificateMatch", alice, "garbage", "undefined"},

		{"certificateListMatch", list, "{}", "true"},
		{"certificateListMatch", list, "{ issuer " + name(issuer) + ", minCRLNumber 17, maxCRLNumber 17 }", "true"},
		{"certificateListMatch", list, "{ minCRLNumber 18 }", "false"},
		{"certificateListMatch", list, "{ minCRLNumber 9 }", "true"},
		{"certificateListMatch", list, "{ maxCRLNumber 16 }", "false"},
		{"certificateListMatch", list, "{ maxCRLNumber 100 }", "true"},
		{"certificateListMatch", list, `{ dateAndTime utcTime:"240102030405Z" }`, "true"},
		{"certificateListMatch", list, `{ dateAndTime utcTime:"240202030405Z" }`, "false"},
		{"certificateListMatch", list, `{ dateAndTime utcTime:"240102030404Z" }`, "false"},
		{"certificateListMatch", list, "{ reasonFlags { keyCompromise } }", "true"},
		{"certificateListMatch", list, "{ reasonFlags { superseded } }", "false"},
		{"certificateListMatch", list, "{ reasonFlags '0110'B }", "true"},
		{"certificateListMatch", list, `{ distributionPoint fullName:{ uniformResourceIdentifier:"ldap://crl.example.org" } }`, "true"},
		{"certificateListMatch", list, `{ distributionPoint fullName:{ dNSName:"a", uniformResourceIdentifier:"ldap://crl.example.org" } }`, "true"},
		{"certificateListMatch", list, `{ distributionPoint fullName:{ uniformResourceIdentifier:"ldap://other" } }`, "false"},
		{"certificateListMatch", list, `{ distributionPoint nameRelativeToCRLIssuer:"cn=a" }`, "false"},
		{"certificateListMatch", list, "{ authorityKeyIdentifier { keyIdentifier '010203'H } }", "true"},
		{"certificateListMatch", list, "{ authorityKeyIdentifier { keyIdentifier '01'H } }", "false"},
		{"certificateListMatch", list, "{ issuer x }", "undefined"},

		{"certificateListExactMatch", list, "{ issuer " + name(issuer) + `, thisUpdate generalizedTime:"20240102030405Z", distributionPoint fullName:{ uniformResourceIdentifier:"ldap://crl.example.org" } }`, "true"},
		{"certificateListExactMatch", list, "{ issuer " + name(issuer) + `, thisUpdate generalizedTime:"20240102030405Z", distributionPoint fullName:{ dNSName:"x" } }`, "false"},
		{"certificateListExactMatch", list, "{ issuer " + name(issuer) + `, thisUpdate "20240102030405Z" }`, "true"},
		{"certificateListExactMatch", list, list, "true"},
		{"certificateListExactMatch", list, "{ issuer " + name(issuer) + ` }`, "undefined"},

		{"certificatePairMatch", pairOf(ca, nil), "{ issuedToThisCAAssertion { keyUsage { cRLSign } } }", "true"},
		{"certificatePairMatch", pairOf(ca, nil), "{ issuedToThisCAAssertion { serialNumber 7 } }", "false"},
		{"certificatePairMatch", pairOf(ca, nil), "{ issuedByThisCAAssertion {} }", "false"},
		{"certificatePairMatch", pairOf(ca, []byte(alice)), "{ issuedToThisCAAssertion {}, issuedByThisCAAssertion { serialNumber 7 } }", "true"},
		{"certificatePairMatch", pairOf(ca, nil), "{}", "undefined"},

		{"attributeCertificateExactMatch", string(attributeCertificateFor(t)), `{ serialNumber 9, issuer { issuerName { directoryName:rdnSequence:"CN=aa" } } }`, "true"},
		{"attributeCertificateExactMatch", string(attributeCertificateFor(t)), `{ serialNumber 9, issuer { issuerName { directoryName:rdnSequence:"CN=bb" } } }`, "false"},
		{"attributeCertificateExactMatch", string(attributeCertificateFor(t)), `{ serialNumber 9, issuer { baseCertificateID { serial 9, issuer { directoryName:rdnSequence:"CN=aa" } } } }`, "false"},
		{"attributeCertificateExactMatch", string(attributeCertificateFor(t)), string(attributeCertificateFor(t)), "true"},
		{"attributeCertificateExactMatch", string(attributeCertificateFor(t)), "9", "undefined"},
	} {
		if got := matches(t, c.rule, c.value, c.assertion); got != c.want {
			t.Errorf("%s: assertion %q: %s, want %s", c.rule, c.assertion, got, c.want)
		}
	}
}

// pairOf makes a CertificatePair.
func pairOf(to, by []byte) string {
	var body []byte
	for i, half := range [2][]byte{to, by} {
		if half != nil {
			body = append(append(append(body, 0xa0|byte(i)), derLength(len(half))...), half...)
		}
	}
	return string(append(append([]byte{0x30}, derLength(len(body))...), body...))
}
