package overlay_test

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"portolan/internal/app"
	"portolan/internal/dit"
	"portolan/internal/ldaptest"
	"portolan/internal/schema"
)

// unchecked are the overlays that keep nothing which could become wrong.
var unchecked = map[string]string{
	"accesslog":  "shows the journal, which the check of the store verifies",
	"memberof":   "a view over the member index, which the check of the store verifies",
	"remoteauth": "keeps nothing but the password, as any other",
}

// TestChecks: the check of every overlay finds what is planted for it, and nothing where nothing is.
func TestChecks(t *testing.T) {
	const content = top + aliceOne +
		"dn: ou=units,dc=example,dc=org\nobjectClass: organizationalUnit\nou: units\ndescription: {1}first\n\n" +
		"dn: cn=policy,dc=example,dc=org\nobjectClass: applicationProcess\nobjectClass: pwdHashingPolicy\ncn: policy\npwdAttribute: userPassword\n\n" +
		"dn: cn=other,dc=example,dc=org\nobjectClass: applicationProcess\nobjectClass: pwdPolicy\ncn: other\npwdAttribute: userPassword\n\n" +
		"dn: uid=bob,dc=example,dc=org\nobjectClass: inetOrgPerson\nobjectClass: posixAccount\nuid: bob\ncn: b\nsn: b\nmail: b@example.org\nuidNumber: 1000\ngidNumber: 1\nhomeDirectory: /\n\n" +
		"dn: uid=eve,dc=example,dc=org\nobjectClass: inetOrgPerson\nobjectClass: posixAccount\nuid: eve\ncn: e\nsn: e\nmail: e@example.org\nuidNumber: 1001\ngidNumber: 1\nhomeDirectory: /\n\n" +
		"dn: cn=group,dc=example,dc=org\nobjectClass: groupOfNames\ncn: group\nmember: " + alice + "\n\n" +
		"dn: cn=found,dc=example,dc=org\nobjectClass: groupOfURLs\ncn: found\nmemberURL: ldap:///dc=example,dc=org??sub?(uid=alice)\n\n" +
		"dn: portolanCredentialName=mail," + alice + "\nobjectClass: portolanAppPassword\n\n" +
		"dn: cn=phone,ou=units,dc=example,dc=org\nobjectClass: device\nobjectClass: dynamicObject\ncn: phone\n\n" +
		"dn: cn=towns,dc=example,dc=org\nobjectClass: subentry\nobjectClass: collectiveAttributeSubentry\ncn: towns\nsubtreeSpecification: { }\nc-l: Kiel\n"
	const config = `
[overlay.ttl]
subtrees = ["ou=units,dc=example,dc=org"]
[overlay.dynlist]
groups = true
[overlay.unique]
attributes = ["mail"]
[[overlay.valsort.rule]]
attributes = "description"
weighted = true
[[overlay.constraint.rule]]
name = "short"
attributes = "sn"
max_size = 10
[[overlay.autonumber.range]]
attribute = "uidNumber"
filter = "(objectClass=posixAccount)"
first = 1000
last = 9999
[overlay.ppolicy]
default = "cn=policy,dc=example,dc=org"
`
	s := ldaptest.Start(t, ldaptest.Options{LDIF: content, Config: config})
	if err := bindTo(s.Directory, alice, "alice-secret"); err != nil {
		t.Fatal(err)
	}
	if err := bindTo(s.Directory, alice, "wrong"); err == nil {
		t.Fatal("a wrong password is right")
	}
	sum, err := app.NewAdmin(s.Directory, "test").Check(context.Background(), func(f app.Finding) { t.Errorf("nothing is wrong, and yet %+v", f) }, nil)
	if err != nil {
		t.Fatal(err)
	}
	folders, err := filepath.Glob("*/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range folders {
		name := filepath.Dir(f)
		if why := unchecked[name]; slices.Contains(sum.Overlays, name) == (why != "") {
			t.Errorf("%s: is checked: %v; why it needs not be: %q", name, slices.Contains(sum.Overlays, name), why)
		}
	}

	set := func(dn, attr string, values ...string) {
		t.Helper()
		s.Edit(t, dn, func(sc *schema.Schema, d *dit.Draft) {
			raw := make([][]byte, len(values))
			for i, v := range values {
				raw[i] = []byte(v)
			}
			d.Set(sc.AttributeTypeString(attr), raw...)
		})
	}
	state := func(prefix string, id uuid.UUID, value string) {
		t.Helper()
		if err := s.Store.State().Set(append([]byte(prefix), id[:]...), []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	who, err := s.Engine.IdentifyDN(alice, "")
	if err != nil {
		t.Fatal(err)
	}
	nobody := uuid.UUID{1, 2, 3}
	want := map[string][]string{} // by overlay, parts of what its findings say
	for _, x := range []struct {
		overlay, what string
		plant         func()
	}{
		{"lastbind", "of an entry that does not exist", func() { state("lastbind/", nobody, "12345678") }},
		{"lastbind", "cannot be read", func() { state("lastbind/", who.UUID, "x") }},
		{"ppolicy", "failures are kept of an entry that does not exist", func() { state("ppolicy/", nobody, "\x01\x00\x00\x00\x00\x00\x00\x00\x00") }},
		{"ppolicy", "the failures of an account cannot be read", func() { state("ppolicy/", who.UUID, "x") }},
		{"ppolicy", "pwdHistory has not the form of one", func() { set(alice, "pwdHistory", "x") }},
		{"ppolicy", "pwdPolicySubentry ou=units,dc=example,dc=org is not a password policy", func() { set("uid=bob,dc=example,dc=org", "pwdPolicySubentry", "ou=units,dc=example,dc=org") }},
		{"ppolicy", "pwdDefaultHash {SSHA} is without effect", func() { set("cn=policy,dc=example,dc=org", "pwdDefaultHash", "{SSHA}") }},
		{"ppolicy", "cannot be kept and is not in force", func() { set("cn=other,dc=example,dc=org", "pwdMaxDelay", "5") }},
		{"otp", "of a token that does not exist", func() { state("otp/", nobody, "12345678") }},
		{"otp", "the last code of a token cannot be read", func() { state("otp/", who.UUID, "x") }},
		{"appauth", "not of the form", func() { set("portolanCredentialName=mail,"+alice, "portolanCredentialSecret", "x") }},
		{"refint", "cn=nowhere", func() { set("cn=group,dc=example,dc=org", "member", "cn=nowhere,dc=example,dc=org") }},
		{"unique", "e@example.org", func() { set("uid=bob,dc=example,dc=org", "mail", "e@example.org") }},
		{"autonumber", "1001", func() { set("uid=bob,dc=example,dc=org", "uidNumber", "1001") }},
		{"valsort", "has no weight", func() { set("ou=units,dc=example,dc=org", "description", "first") }},
		{"constraint", "short", func() { set("uid=eve,dc=example,dc=org", "sn", "longer than ten") }},
		{"dynlist", "is no LDAP URL of this server", func() { set("cn=found,dc=example,dc=org", "memberURL", "nonsense") }},
		{"ttl", "without entryExpireTimestamp", func() { set("cn=phone,ou=units,dc=example,dc=org", "entryExpireTimestamp") }},
		{"collective", "has no collective attribute", func() { set("cn=towns,dc=example,dc=org", "c-l") }},
	} {
		x.plant()
		want[x.overlay] = append(want[x.overlay], x.what)
	}
	for _, name := range sum.Overlays {
		if len(want[name]) == 0 {
			t.Errorf("%s: nothing is planted for its check", name)
		}
	}
	got := map[string][]string{}
	if _, err := app.NewAdmin(s.Directory, "test").Check(context.Background(), func(f app.Finding) {
		part := strings.TrimPrefix(f.Part, "overlay ")
		got[part] = append(got[part], f.Where+": "+f.What)
		if f.Advice == "" {
			t.Errorf("no advice: %+v", f)
		}
	}, nil); err != nil {
		t.Fatal(err)
	}
	for name, found := range got {
		for _, what := range want[name] {
			if !slices.ContainsFunc(found, func(f string) bool { return strings.Contains(f, what) }) {
				t.Errorf("%s does not find %q, but %q", name, what, found)
			}
		}
		if len(found) != len(want[name]) {
			t.Errorf("%s finds %q", name, found)
		}
	}
	for name := range want {
		if got[name] == nil {
			t.Errorf("%s finds nothing", name)
		}
	}
}
