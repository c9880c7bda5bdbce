package sasl

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"strings"
	"testing"

	"portolan/internal/schema"
	"portolan/ldap"
)

// rawName encodes RDNs, each of "OID=text" words, in the order of a certificate.
func rawName(t testing.TB, rdns ...string) []byte {
	t.Helper()
	var name pkix.RDNSequence
	for _, rdn := range rdns {
		var set pkix.RelativeDistinguishedNameSET
		for _, ava := range strings.Split(rdn, "|") {
			oid, value, _ := strings.Cut(ava, "=")
			var id asn1.ObjectIdentifier
			for _, arc := range strings.Split(oid, ".") {
				n := 0
				for _, c := range arc {
					n = 10*n + int(c-'0')
				}
				id = append(id, n)
			}
			set = append(set, pkix.AttributeTypeAndValue{Type: id, Value: value})
		}
		name = append(name, set)
	}
	raw, err := asn1.Marshal(name)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestSubject(t *testing.T) {
	s := schema.Default()
	for _, x := range []struct {
		rdns []string
		want string
	}{
		{[]string{"0.9.2342.19200300.100.1.25=org", "0.9.2342.19200300.100.1.25=example", "0.9.2342.19200300.100.1.1=bob"}, "uid=bob,dc=example,dc=org"},
		{[]string{"2.5.4.6=DE", "2.5.4.10=Acme, Inc.", "2.5.4.3=Müller"}, `cn=Müller,o=Acme\, Inc.,c=DE`},
		{[]string{"2.5.4.3=a|0.9.2342.19200300.100.1.1=b"}, "cn=a+uid=b"},
		// A type that nobody knows stays: without it this would be the name of somebody else.
		{[]string{"1.2.3.4=x", "2.5.4.3=admin"}, "cn=admin,1.2.3.4=x"},
		{[]string{"2.5.4.3=#04"}, `cn=\#04`},
	} {
		name, err := subject(rawName(t, x.rdns...))
		if err != nil {
			t.Errorf("%v: %v", x.rdns, err)
			continue
		}
		got, err1 := s.NormalizeDN(nil, []byte(name.String()))
		want, err2 := s.NormalizeDN(nil, []byte(x.want))
		if err1 != nil || err2 != nil || string(got) != string(want) {
			t.Errorf("%v is %s (%v), want %s (%v)", x.rdns, got, err1, want, err2)
		}
	}
	number, err := asn1.Marshal(pkix.RDNSequence{{{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: 5}}})
	if err != nil {
		t.Fatal(err)
	}
	for what, raw := range map[string][]byte{
		"nothing": nil, "empty": {0x30, 0}, "an empty RDN": {0x30, 2, 0x31, 0}, "a number": number,
		"more behind it": append(rawName(t, "2.5.4.3=a"), 0), "garbage": {0xff, 0xff}, "an empty value": rawName(t, "2.5.4.3="),
	} {
		if name, err := subject(raw); err == nil {
			t.Errorf("%s is %s", what, name)
		}
	}
}

// FuzzSubject demands that no subject panics, and that what is taken is a name.
func FuzzSubject(f *testing.F) {
	f.Add(rawName(f, "0.9.2342.19200300.100.1.25=org", "2.5.4.3=a|0.9.2342.19200300.100.1.1=b"))
	f.Add([]byte{0x30, 0})
	f.Fuzz(func(t *testing.T, raw []byte) {
		name, err := subject(raw)
		if err != nil {
			return
		}
		if _, err := ldap.ParseDN(name.String()); err != nil {
			t.Errorf("% x is %q, which is no name: %v", raw, name, err)
		}
	})
}
