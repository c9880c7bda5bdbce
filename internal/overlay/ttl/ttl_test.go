package ttl_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"portolan/internal/app"
	"portolan/internal/config"
	"portolan/internal/ldaptest"
	"portolan/internal/op"
	"portolan/ldap"
)

const top = "dn: dc=example,dc=org\nobjectClass: organization\nobjectClass: dcObject\ndc: example\no: Example\n"

func dynamic(rdn string) *ldap.AddRequest {
	return &ldap.AddRequest{Entry: []byte(rdn + ",dc=example,dc=org"), Attributes: []ldap.Attribute{
		{Type: []byte("objectClass"), Values: [][]byte{[]byte("device"), []byte("dynamicObject")}},
	}}
}

func count(t *testing.T, s *ldaptest.Server) int {
	t.Helper()
	entries, err := s.Search(context.Background(), ldaptest.AdminDN, &ldap.SearchRequest{
		Base: []byte(ldaptest.Suffix), Scope: ldap.ScopeSub, Filter: ldap.Eq("objectClass", "dynamicObject"),
	})
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// TestRestart: a time holds over a power cut, and one that came meanwhile has passed.
func TestRestart(t *testing.T) {
	s := ldaptest.Start(t, ldaptest.Options{LDIF: top, Config: "[overlay.ttl]\ndefault = \"1h\"\n"})
	for i := range 250 { // more than one transaction removes
		if err := s.As(ldaptest.AdminDN, dynamic(fmt.Sprintf("cn=d%d", i))); err != nil {
			t.Fatal(err)
		}
	}
	s = ldaptest.Start(t, ldaptest.Options{KV: s.Crash(t)})
	s.Clock().Advance(59 * time.Minute)
	if n := count(t, s); n != 250 {
		t.Fatalf("%d entries before their time", n)
	}
	s.Clock().Advance(time.Minute)
	if n := count(t, s); n != 0 {
		t.Fatalf("%d entries after their time", n)
	}
}

// TestWhatCannotGo: an entry whose end is refused stays and is tried again, and keeps none of the others.
func TestWhatCannotGo(t *testing.T) {
	s := ldaptest.Start(t, ldaptest.Options{LDIF: top, Config: "[overlay.ttl]\ndefault = \"1h\"\n[overlay.refint]\nnothing = \"\"\n"})
	for _, rdn := range []string{"cn=a", "cn=b", "cn=c"} {
		if err := s.As(ldaptest.AdminDN, dynamic(rdn)); err != nil {
			t.Fatal(err)
		}
	}
	group := &ldap.AddRequest{Entry: []byte("cn=group,dc=example,dc=org"), Attributes: []ldap.Attribute{
		{Type: []byte("objectClass"), Values: [][]byte{[]byte("groupOfNames")}},
		{Type: []byte("member"), Values: [][]byte{[]byte("cn=b,dc=example,dc=org")}},
	}}
	if err := s.As(ldaptest.AdminDN, group); err != nil {
		t.Fatal(err)
	}
	s.Clock().Advance(time.Hour)
	if n := count(t, s); n != 1 {
		t.Fatalf("%d entries are left, want the last member", n)
	}
	if err := s.As(ldaptest.AdminDN, &ldap.DelRequest{Entry: group.Entry}); err != nil {
		t.Fatal(err)
	}
	s.Clock().Advance(time.Minute)
	if n := count(t, s); n != 0 {
		t.Fatalf("%d entries are left", n)
	}
}

// TestMost: there are no more dynamic entries than the limit.
func TestMost(t *testing.T) {
	s := ldaptest.Start(t, ldaptest.Options{LDIF: top, Config: "[overlay.ttl]\nmax_entries = 2\n"})
	for i, want := range []ldap.ResultCode{ldap.Success, ldap.Success, ldap.UnwillingToPerform} {
		if err := s.As(ldaptest.AdminDN, dynamic(fmt.Sprintf("cn=d%d", i))); ldap.CodeOf(err) != want {
			t.Errorf("entry %d: %v, want %v", i, err, want)
		}
	}
}

// TestMistakes: what cannot be is refused at the start.
func TestMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"subtrees = ['x']":           "subtrees[1]: \"x\" is not a DN",
		"min = '2h'\ndefault = '1h'": "default: 1h0m0s is not between",
		"max = '1h'":                 "at least 1d",
		"min = '3d'\nmax = '2d'":     "min: 72h0m0s is above max",
	} {
		c, err := config.Parse("test.toml", []byte("data_dir = \""+t.TempDir()+"\"\n[directory]\nsuffix = \"dc=example,dc=org\"\nadmin_dn = \"cn=admin,dc=example,dc=org\"\n[overlay.ttl]\n"+text+"\n"))
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

// TestMachineClock: the alarm of a real server rings, and sooner than one that was set before.
func TestMachineClock(t *testing.T) {
	c, err := config.Parse("test.toml", []byte("data_dir = \""+t.TempDir()+"\"\n[directory]\nsuffix = \"dc=example,dc=org\"\nadmin_dn = \"cn=admin,dc=example,dc=org\"\n[overlay.ttl]\nmin = \"1s\"\ndefault = \"1s\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	d, err := app.Open(c, app.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	gone := make(chan string, 1)
	d.Engine.Directory().Observe(func(c op.Commit) {
		for i := range c.Changes {
			if c.Changes[i].After == nil {
				gone <- c.Changes[i].Old.DN
			}
		}
	})
	if _, err := d.AddLDIF(context.Background(), top+"\ndn: cn=a,dc=example,dc=org\nobjectClass: device\nobjectClass: dynamicObject\ncn: a\n"); err != nil {
		t.Fatal(err)
	}
	select {
	case dn := <-gone:
		if dn != "cn=a,dc=example,dc=org" {
			t.Error(dn)
		}
	case <-time.After(3 * time.Minute):
		t.Error("the entry is still there")
	}
}
