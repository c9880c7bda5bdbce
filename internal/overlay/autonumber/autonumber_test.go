package autonumber_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"portolan/internal/app"
	"portolan/internal/config"
	"portolan/internal/ldaptest"
	"portolan/ldap"
)

const top = "dn: dc=example,dc=org\nobjectClass: organization\nobjectClass: dcObject\ndc: example\no: Example\n"

const ranges = `[[overlay.autonumber.range]]
attribute = "uidNumber"
filter = "(objectClass=posixAccount)"
first = 1000
last = 9999
`

func account(uid string, more ...ldap.Attribute) *ldap.AddRequest {
	attr := func(name string, values ...string) ldap.Attribute {
		a := ldap.Attribute{Type: []byte(name)}
		for _, v := range values {
			a.Values = append(a.Values, []byte(v))
		}
		return a
	}
	return &ldap.AddRequest{Entry: []byte("uid=" + uid + ",dc=example,dc=org"), Attributes: append(more,
		attr("objectClass", "account", "posixAccount"), attr("cn", uid), attr("gidNumber", "1"), attr("homeDirectory", "/"))}
}

// numbers returns the uidNumber of every account.
func numbers(t *testing.T, s *ldaptest.Server) map[string]string {
	t.Helper()
	entries, err := s.Search(context.Background(), ldaptest.AdminDN, &ldap.SearchRequest{
		Base: []byte(ldaptest.Suffix), Scope: ldap.ScopeSub, Filter: ldap.Present("uidNumber"), Attributes: [][]byte{[]byte("uidNumber")},
	})
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]string)
	for _, e := range entries {
		out[string(e.Name)] = string(e.Attributes[0].Values[0])
	}
	return out
}

// TestConcurrentAdds: many writers, some of which delete what they have added. No number is seen twice, not even over a
// power cut.
func TestConcurrentAdds(t *testing.T) {
	s := ldaptest.Start(t, ldaptest.Options{LDIF: top, Config: ranges})
	seen := make(map[string]string)
	for round := range 3 {
		var wg sync.WaitGroup
		for w := range 64 {
			wg.Go(func() {
				for i := range 4 {
					if err := s.As(ldaptest.AdminDN, account(fmt.Sprintf("u%d-%d-%d", round, w, i))); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		for dn, number := range numbers(t, s) {
			if other, twice := seen[number]; twice && other != dn {
				t.Fatalf("%s has %s, which was given to %s", dn, number, other)
			}
			seen[number] = dn
		}
		if len(seen) != 256*(round+1) {
			t.Fatalf("%d numbers, want %d", len(seen), 256*(round+1))
		}
		for w := range 64 {
			if err := s.As(ldaptest.AdminDN, &ldap.DelRequest{Entry: fmt.Appendf(nil, "uid=u%d-%d-3,dc=example,dc=org", round, w)}); err != nil {
				t.Fatal(err)
			}
		}
		s = ldaptest.Start(t, ldaptest.Options{KV: s.Crash(t), Config: ranges})
	}
}

// TestStart: a range begins behind what is taken from its first number on, and finds gaps later.
func TestStart(t *testing.T) {
	var text strings.Builder
	text.WriteString(top)
	for _, n := range []int{1000, 1001, 1003} {
		fmt.Fprintf(&text, "\ndn: uid=u%d,dc=example,dc=org\nobjectClass: account\nobjectClass: posixAccount\nuid: u%d\ncn: x\nuidNumber: %d\ngidNumber: 1\nhomeDirectory: /\n", n, n, n)
	}
	s := ldaptest.Start(t, ldaptest.Options{LDIF: text.String()})
	s = ldaptest.Start(t, ldaptest.Options{KV: s.Crash(t), Config: ranges})
	for _, uid := range []string{"a", "b"} {
		if err := s.As(ldaptest.AdminDN, account(uid)); err != nil {
			t.Fatal(err)
		}
	}
	have := numbers(t, s)
	if have["uid=a,dc=example,dc=org"] != "1002" || have["uid=b,dc=example,dc=org"] != "1004" {
		t.Errorf("%v", have)
	}
}

// TestCheck: doubles are found.
func TestCheck(t *testing.T) {
	s := ldaptest.Start(t, ldaptest.Options{LDIF: top, Config: ranges})
	for _, uid := range []string{"a", "b"} {
		if err := s.As(ldaptest.AdminDN, account(uid, ldap.Attribute{Type: []byte("uidNumber"), Values: [][]byte{[]byte("1234")}})); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	if _, err := app.NewAdmin(s.Directory, "test").Check(context.Background(), func(f app.Finding) { got = append(got, f.Where+": "+f.What) }, nil); err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || !strings.Contains(got[0], "uidNumber 1234 is the number of uid=") {
		t.Errorf("%q", got)
	}
}

// TestMistakes: what cannot be is refused at the start.
func TestMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"first = 1\nlast = 2":                                             "attribute: the range is of none",
		"attribute = 'uidNumber'\nfirst = 1":                              "last: the range has no end",
		"attribute = 'uidNumber'\nfirst = 3\nlast = 2":                    "first: 3 is above last",
		"attribute = 'cn'\nfirst = 1\nlast = 2":                           "not one of integers",
		"attribute = 'x'\nfirst = 1\nlast = 2":                            "no attribute \"x\"",
		"attribute = 'uidNumber'\nfirst = 1\nlast = 2\nplaceholder = '1'": "placeholder: ",
		"attribute = 'uidNumber'\nfirst = 1\nlast = 2\nbase = 'x'":        "base: ",
		"attribute = 'uidNumber'\nfirst = 1\nlast = 2\nfilter = 'x'":      "filter: ",
		"attribute = 'uidNumber'\nfirst = 1\nlast = 2\nwithin = 'x'":      "within: ",
	} {
		c, err := config.Parse("test.toml", []byte("data_dir = \""+t.TempDir()+"\"\n[directory]\nsuffix = \"dc=example,dc=org\"\nadmin_dn = \"cn=admin,dc=example,dc=org\"\n[[overlay.autonumber.range]]\n"+text+"\n"))
		if err != nil {
			t.Fatal(err)
		}
		d, err := app.Open(c, app.OpenOptions{})
		if err == nil {
			d.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
