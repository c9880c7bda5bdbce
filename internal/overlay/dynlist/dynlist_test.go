package dynlist_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"portolan/internal/app"
	"portolan/internal/config"
	"portolan/internal/ldaptest"
	"portolan/ldap"
)

const data = `dn: dc=example,dc=org
objectClass: organization
objectClass: dcObject
dc: example
o: Example

dn: cn=lists,dc=example,dc=org
objectClass: organizationalRole
cn: lists

dn: uid=alice,dc=example,dc=org
objectClass: inetOrgPerson
uid: alice
cn: Alice
sn: A
title: pilot
mail: alice@example.org
`

// values returns the values of an attribute of an entry, as somebody sees them.
func values(t *testing.T, s *ldaptest.Server, who, dn, attr string) []string {
	t.Helper()
	entries, err := s.Search(context.Background(), who, &ldap.SearchRequest{
		Base: []byte(dn), Filter: ldap.Present("objectClass"), Attributes: [][]byte{[]byte(attr)},
	})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		for _, a := range e.Attributes {
			for _, v := range a.Values {
				out = append(out, string(v))
			}
		}
	}
	slices.Sort(out)
	return out
}

// TestIdentity: with an identity its rights count, not the reader's; one that is not there may see nothing.
func TestIdentity(t *testing.T) {
	const group = "\ndn: cn=pilots,dc=example,dc=org\nobjectClass: groupOfURLs\ncn: pilots\nmemberURL: ldap:///dc=example,dc=org??sub?(title=pilot)\n" +
		"\ndn: cn=news,dc=example,dc=org\nobjectClass: groupOfURLs\ncn: news\nmemberURL: ldap:///dc=example,dc=org?mail?sub?(title=pilot)\n"
	const rules = "[[access]]\ndeny = [\"read\", \"search\", \"compare\"]\nwho = \"dn:uid=alice,dc=example,dc=org\"\nattrs = [\"title\", \"mail\"]\nfilter = \"(objectClass=inetOrgPerson)\"\n" +
		"[overlay.dynlist]\ngroups = true\nlists = [\"mail\"]\n"
	for identity, want := range map[string]int{"": 0, "cn=lists,dc=example,dc=org": 1, "cn=nobody,dc=example,dc=org": 0, ldaptest.AdminDN: 1} {
		s := ldaptest.Start(t, ldaptest.Options{LDIF: data + group, Config: rules + fmt.Sprintf("identity = %q\n", identity)})
		const alice = "uid=alice,dc=example,dc=org"
		for dn, attr := range map[string]string{"cn=pilots,dc=example,dc=org": "member", "cn=news,dc=example,dc=org": "mail", alice: "memberOf"} {
			if got := values(t, s, alice, dn, attr); len(got) != want {
				t.Errorf("identity %q: %s of %s is %q, want %d values", identity, attr, dn, got, want)
			}
		}
	}
}

// TestLarge: one member of a group beyond what may be looked at is decided, the whole is not.
func TestLarge(t *testing.T) {
	var text strings.Builder
	text.WriteString(data)
	for i := range 40 {
		fmt.Fprintf(&text, "\ndn: uid=u%d,dc=example,dc=org\nobjectClass: account\nuid: u%d\n", i, i)
	}
	text.WriteString("\ndn: cn=all,dc=example,dc=org\nobjectClass: groupOfURLs\ncn: all\nmemberURL: ldap:///dc=example,dc=org??sub?(objectClass=account)\n")
	s := ldaptest.Start(t, ldaptest.Options{LDIF: text.String(), Config: "[overlay.dynlist]\ngroups = true\nmax_entries = 20\n"})
	if got := values(t, s, ldaptest.AdminDN, "uid=u7,dc=example,dc=org", "memberOf"); len(got) != 1 {
		t.Errorf("memberOf is %q", got)
	}
	_, err := s.Search(context.Background(), ldaptest.AdminDN, &ldap.SearchRequest{Base: []byte("cn=all,dc=example,dc=org"), Filter: ldap.Present("objectClass"), Attributes: [][]byte{[]byte("member")}})
	if ldap.CodeOf(err) != ldap.AdminLimitExceeded {
		t.Errorf("the whole group: %v", err)
	}
	entries, err := s.Search(context.Background(), ldaptest.AdminDN, &ldap.SearchRequest{
		Base: []byte(ldaptest.Suffix), Scope: ldap.ScopeSub, Filter: ldap.Eq("member", "uid=u7,dc=example,dc=org"), Attributes: [][]byte{[]byte("1.1")},
	})
	if err != nil || len(entries) != 1 {
		t.Errorf("%v %d", err, len(entries))
	}
}

// TestMistakes: what cannot be is refused at the start.
func TestMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"identity = 'x'":                    "identity: \"x\" is not a DN",
		"lists = ['=uid']":                  "lists[1]: \"=uid\" names no attribute",
		"lists = ['x']":                     "no attribute \"x\"",
		"lists = ['userPassword']":          "userPassword is not to be gathered",
		"groups = true\nlists = ['member']": "member is what groups compute",
		"class = 'x'":                       "no object class \"x\"",
		"url = 'x'":                         "no attribute \"x\"",
	} {
		c, err := config.Parse("test.toml", []byte("data_dir = \""+t.TempDir()+"\"\n[directory]\nsuffix = \"dc=example,dc=org\"\nadmin_dn = \"cn=admin,dc=example,dc=org\"\n[overlay.dynlist]\n"+text+"\n"))
		if err == nil {
			var d *app.Directory
			if d, err = app.Open(c, app.OpenOptions{}); err == nil {
				d.Close()
			}
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
