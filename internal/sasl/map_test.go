package sasl_test

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"net/url"
	"testing"

	"portolan/internal/ldaptest"
	"portolan/ldap"
)

const mapped = people + `dn: uid=alice,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
cn: Alice
sn: x
mail: alice@example.org
mail: shared@example.org
employeeNumber: 7
userPassword: alice-secret

dn: uid=bob,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
cn: Bob
sn: x
mail: bob@example.org
mail: shared@example.org
userPassword: bob-secret

`

// TestUserMaps: user names find entries as the configuration says; what is ambiguous is nobody, and a name is one value
// whatever is in it.
func TestUserMaps(t *testing.T) {
	const byMail = "[[sasl.user]]\nbase = \"ou=people,dc=example,dc=org\"\nfilter = \"(|(uid={user})(mail={user}))\"\n"
	const byName = "[[sasl.user]]\ndn = \"uid={user},ou=people,dc=example,dc=org\"\n"
	const byNumber = "[[sasl.user]]\nfilter = \"(&(employeeNumber={user})(objectClass=person))\"\n"
	for _, x := range []struct{ config, user, who string }{
		{byMail, "alice", "alice"},
		{byMail, "alice@example.org", "alice"},
		{byMail, "ALICE@example.org", "alice"},
		{byMail, "u:alice@example.org", "alice"},
		{byMail, "dn:uid=alice,ou=people,dc=example,dc=org", "alice"},
		{byMail, "shared@example.org", ""},
		{byMail, "7", ""},
		{byMail, "*", ""},
		{byMail, "alice)(uid=*", ""},
		{byMail, "nobody)(uid=alice", ""},
		{byMail, "{user}", ""},
		{byName, "alice", "alice"},
		{byName, "alice@example.org", ""},
		{byName, "alice,ou=people,dc=example,dc=org", ""},
		{byName, "x+uid=alice", ""},
		{byName + byMail, "alice@example.org", "alice"},
		{byMail + byName, "shared@example.org", ""},
		{byNumber, "7", "alice"}, // without an index, among few entries
		{byNumber, "8", ""},
	} {
		s := ldaptest.Start(t, ldaptest.Options{LDIF: mapped, Config: x.config})
		e := newExchange(s)
		e.mechanism = "PLAIN"
		_, err := e.bind([]byte("\x00"+x.user+"\x00alice-secret"), true)
		switch got := e.conn.Identity().Name.DN; {
		case x.who == "" && (ldap.CodeOf(err) != ldap.InvalidCredentials || got != ""):
			t.Errorf("%q by %s: %v, bound as %q", x.user, x.config, err, got)
		case x.who != "" && (err != nil || got != dn(x.who)):
			t.Errorf("%q by %s: %v, bound as %q", x.user, x.config, err, got)
		}
	}
}

// TestCertificateMaps does the same for the fields of certificates.
func TestCertificateMaps(t *testing.T) {
	authority := ldaptest.NewAuthority(t)
	link, err := url.Parse("urn:example:7")
	if err != nil {
		t.Fatal(err)
	}
	upn := principal(t, "alice@example.org")
	alice := pkix.Name{CommonName: "Alice"}
	for _, x := range []struct {
		name, config string
		certificate  x509.Certificate
		who          string
	}{
		{"mail", "filter = \"(mail={email})\"", x509.Certificate{Subject: alice, EmailAddresses: []string{"alice@example.org"}}, "alice"},
		{"two addresses of one", "filter = \"(mail={email})\"", x509.Certificate{Subject: alice, EmailAddresses: []string{"nobody@example.org", "alice@example.org"}}, "alice"},
		{"addresses of two", "filter = \"(mail={email})\"", x509.Certificate{Subject: alice, EmailAddresses: []string{"bob@example.org", "alice@example.org"}}, ""},
		{"an address of two", "filter = \"(mail={email})\"", x509.Certificate{Subject: alice, EmailAddresses: []string{"shared@example.org"}}, ""},
		{"no address", "filter = \"(mail={email})\"", x509.Certificate{Subject: alice}, ""},
		{"common name", "filter = \"(cn={cn})\"", x509.Certificate{Subject: alice}, "alice"},
		{"common name that is more", "filter = \"(cn={cn})\"", x509.Certificate{Subject: pkix.Name{CommonName: "x)(cn=*"}}, ""},
		{"common name in a name", "dn = \"uid={cn},ou=people,dc=example,dc=org\"", x509.Certificate{Subject: alice}, "alice"},
		{"user principal name", "filter = \"(mail={upn})\"", x509.Certificate{Subject: alice, ExtraExtensions: []pkix.Extension{upn}}, "alice"},
		{"URI and name", "filter = \"(&(cn={cn})(!(cn={uri})))\"", x509.Certificate{Subject: alice, URIs: []*url.URL{link}}, "alice"},
		{"the issuer", "issuer = \"cn=authority\"\nfilter = \"(cn={cn})\"", x509.Certificate{Subject: alice}, "alice"},
		{"another issuer", "issuer = \"cn=another\"\nfilter = \"(cn={cn})\"", x509.Certificate{Subject: alice}, ""},
		{"the subject is not asked", "filter = \"(mail={email})\"", x509.Certificate{RawSubject: subjectOf(t, "alice")}, ""},
		{"the subject is asked", "filter = \"(mail={email})\"\n[[sasl.certificate]]\ndn = \"{subject}\"", x509.Certificate{RawSubject: subjectOf(t, "alice")}, "alice"},
	} {
		t.Run(x.name, func(t *testing.T) {
			s := ldaptest.Start(t, ldaptest.Options{LDIF: mapped, Authority: authority, Config: "[[sasl.certificate]]\n" + x.config + "\n"})
			config, err := authority.Client("")
			if err != nil {
				t.Fatal(err)
			}
			config = config.Clone()
			config.Certificates = []tls.Certificate{authority.Issue(&x.certificate)}
			w := dial(t, s, config)
			answer := sasl(w, "EXTERNAL", nil)
			switch who := w.whoAmI(); {
			case x.who == "" && (answer.Code != ldap.InvalidCredentials || who != ""):
				t.Errorf("%v, bound as %q", answer.Code, who)
			case x.who != "" && (answer.Code != ldap.Success || who != "dn:"+dn(x.who)):
				t.Errorf("%v, bound as %q", answer.Code, who)
			}
		})
	}
}

// subjectOf is the subject that is the name of an entry.
func subjectOf(t *testing.T, uid string) []byte {
	t.Helper()
	dc := asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 25}
	raw, err := asn1.Marshal(pkix.RDNSequence{
		{{Type: dc, Value: "org"}}, {{Type: dc, Value: "example"}}, {{Type: asn1.ObjectIdentifier{2, 5, 4, 11}, Value: "people"}},
		{{Type: asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 1}, Value: uid}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// principal is the extension of alternative names with a user principal name.
func principal(t *testing.T, name string) pkix.Extension {
	t.Helper()
	type other struct {
		ID    asn1.ObjectIdentifier
		Value string `asn1:"utf8,explicit,tag:0"`
	}
	one, err := asn1.MarshalWithParams(other{asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 20, 2, 3}, name}, "tag:0")
	if err != nil {
		t.Fatal(err)
	}
	all, err := asn1.Marshal([]asn1.RawValue{{FullBytes: one}})
	if err != nil {
		t.Fatal(err)
	}
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: all}
}
