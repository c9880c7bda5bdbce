package app

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"portolan/ber"
	"portolan/internal/client"
	"portolan/internal/op"
	"portolan/ldap"
)

const reloadConfig = `data_dir = "data"
[directory]
suffix = "dc=example,dc=org"
admin_dn = "cn=admin,dc=example,dc=org"
admin_password_file = "admin.password"
read_only = false
[[listen]]
url = "ldap://127.0.0.1:0"
[security]
anonymous = "read"
[password.argon2]
memory = "8MiB"
time = 1
[limits]
min_free_bytes = "1MiB"
size_limit = 5
max_examined = 1000
max_outstanding = 20
[log]
file = "server.log"
[log.access]
enabled = false

# The first that matches counts, so that ann is under the first although she is a user too.
[[limits.for]]
who = ["dn:uid=ann,ou=people,dc=example,dc=org", "dn:cn=nobody,dc=example,dc=org"]
size_limit = 7
[[limits.for]]
who = "group:cn=staff,ou=groups,dc=example,dc=org"
size_limit = 0
max_examined = 60
max_outstanding = 3
[[limits.for]]
who = "dn:uid=cleo,ou=people,dc=example,dc=org"
time_limit = "7m"
[[limits.for]]
who = "anonymous"
size_limit = 2
max_outstanding = 4
# idle_timeout = "100ms"
[[limits.for]]
who = "users"
size_limit = 6
`

// reloadSite is a server with a file that can be changed and people to be: ann, bob (of the staff, by way of a group in
// it), cleo, dan.
type reloadSite struct {
	*site
	server *Server
}

func newReloadSite(t *testing.T) *reloadSite {
	s := newSite(t)
	s.write("portolan.toml", reloadConfig)
	server, err := Start(s.config(), ServeOptions{Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	admin := s.dial()
	defer admin.Unbind()
	add := func(dn, class string, more ...string) {
		t.Helper()
		attrs := []ldap.Attribute{{Type: []byte("objectClass"), Values: [][]byte{[]byte(class)}}}
		for _, line := range more {
			name, value, _ := strings.Cut(line, "=")
			attrs = append(attrs, ldap.Attribute{Type: []byte(name), Values: [][]byte{[]byte(value)}})
		}
		if _, err := admin.Add(t.Context(), dn+"dc=example,dc=org", attrs); err != nil {
			t.Fatalf("%s: %v", dn, err)
		}
	}
	add("", "domain")
	add("ou=people,", "organizationalUnit")
	add("ou=groups,", "organizationalUnit")
	add("ou=heap,", "organizationalUnit")
	for _, uid := range []string{"ann", "bob", "cleo", "dan"} {
		add("uid="+uid+",ou=people,", "inetOrgPerson", "cn="+uid, "sn=x", "userPassword=secret of "+uid)
	}
	add("cn=inner,ou=groups,", "groupOfNames", "member=uid=bob,ou=people,dc=example,dc=org")
	add("cn=staff,ou=groups,", "groupOfNames", "member=cn=inner,ou=groups,dc=example,dc=org")
	for i := range 80 {
		add(fmt.Sprintf("cn=thing %d,ou=heap,", i), "device")
	}
	return &reloadSite{site: s, server: server}
}

// as connects as somebody; "" is anonymous and does not bind.
func (s *reloadSite) as(uid string) *client.Conn {
	s.t.Helper()
	c, err := client.Dial(s.t.Context(), "ldap://"+s.server.Addrs()[0].String(), client.Options{})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	switch uid {
	case "":
		return c
	case "admin":
		_, err = c.Bind(s.t.Context(), "cn=admin,dc=example,dc=org", "first secret")
	default:
		_, err = c.Bind(s.t.Context(), "uid="+uid+",ou=people,dc=example,dc=org", "secret of "+uid)
	}
	if err != nil {
		s.t.Fatalf("%s: %v", uid, err)
	}
	return c
}

// heap returns how many entries a search gave, and its result code.
func (s *reloadSite) heap(c *client.Conn, filter string) (entries int, code ldap.ResultCode) {
	s.t.Helper()
	f, err := ldap.ParseFilter(filter)
	if err != nil {
		s.t.Fatal(err)
	}
	_, err = c.Search(s.t.Context(), &ldap.SearchRequest{Base: []byte("ou=heap,dc=example,dc=org"), Scope: ldap.ScopeOne, Filter: f},
		client.Results{Entry: func(*ldap.SearchResultEntry, []ldap.Control) error { entries++; return nil }})
	return entries, ldap.CodeOf(err)
}

// change replaces text in the file and reloads it.
func (s *reloadSite) change(old, new string) {
	s.t.Helper()
	text, err := os.ReadFile(s.file)
	if err != nil {
		s.t.Fatal(err)
	}
	if !strings.Contains(string(text), old) {
		s.t.Fatalf("the configuration has no %q", old)
	}
	s.write("portolan.toml", strings.Replace(string(text), old, new, 1))
	if err := s.server.Reload(); err != nil {
		s.t.Fatal(err)
	}
}

// TestLimitsFor verifies [[limits.for]]: which table counts for whom, what a key that is left out means, and that SIGHUP changes
// it for connections that are open.
func TestLimitsFor(t *testing.T) {
	s := newReloadSite(t)
	const all, costly = "(objectClass=*)", "(cn=thing 79)" // costly needs all entries looked at where cn is not indexed
	expect := func(what string, c *client.Conn, filter string, entries int, code ldap.ResultCode) {
		t.Helper()
		if n, got := s.heap(c, filter); n != entries && entries >= 0 || got != code {
			t.Errorf("%s: %d entries and %v, want %d and %v", what, n, got, entries, code)
		}
	}
	nobody, ann, bob, cleo, dan, admin := s.as(""), s.as("ann"), s.as("bob"), s.as("cleo"), s.as("dan"), s.as("admin")
	expect("anonymous", nobody, all, 2, ldap.SizeLimitExceeded)
	expect("the first table that matches", ann, all, 7, ldap.SizeLimitExceeded)
	expect("a group, nested; entries looked at", bob, all, -1, ldap.AdminLimitExceeded)
	expect("a table without a size: the general one", cleo, all, 5, ldap.SizeLimitExceeded)
	expect("users", dan, all, 6, ldap.SizeLimitExceeded)
	expect("the administrator", admin, all, 80, ldap.Success)
	expect("few", dan, costly, 1, ldap.Success)

	// What a session bounds by itself comes from the same tables, and so does the time.
	session := func(dn string) string {
		t.Helper()
		id := &op.Identity{}
		if dn != "" {
			var err error
			if id, err = s.server.Engine.IdentifyDN(dn, "simple"); err != nil {
				t.Fatal(err)
			}
		}
		l := s.server.sessionConfig(s.config()).LimitsFor(id)
		return fmt.Sprint(l.MaxOutstanding, l.IdleTimeout, s.server.Engine.Settings().Limits(id, s.server.Engine.InGroup(id)).Time)
	}
	people := ",ou=people,dc=example,dc=org"
	for dn, want := range map[string]string{
		"": "4 30m0s 1m0s", "uid=ann" + people: "20 30m0s 1m0s", "uid=bob" + people: "3 30m0s 1m0s", "uid=cleo" + people: "20 30m0s 7m0s",
	} {
		if got := session(dn); got != want {
			t.Errorf("the session of %q: %s, want %s", dn, got, want)
		}
	}

	s.change("size_limit = 7", "size_limit = 9")
	expect("after SIGHUP, on the same connection", ann, all, 9, ldap.SizeLimitExceeded)
	s.change("who = \"users\"\nsize_limit = 6", "who = \"users\"\nsize_limit = 0")
	expect("no limit", dan, all, 80, ldap.Success)
	s.change("[limits]\n", "[limits]\n# one more\n")
	s.change("size_limit = 5", "size_limit = 4")
	expect("the general limit", cleo, all, 4, ldap.SizeLimitExceeded)

	// Somebody who leaves a group leaves its limits.
	direct := s.dial()
	defer direct.Unbind()
	if _, err := direct.Delete(t.Context(), "cn=inner,ou=groups,dc=example,dc=org"); err != nil {
		t.Fatal(err)
	}
	expect("no longer of the staff", bob, all, 80, ldap.Success)
}

// TestIdleTimeoutOfAnonymous verifies that a client that never binds is bounded as anonymous, from the reload on that says so.
func TestIdleTimeoutOfAnonymous(t *testing.T) {
	s := newReloadSite(t)
	before := s.as("")
	s.heap(before, "(objectClass=*)")
	s.change("# idle_timeout = \"100ms\"", "idle_timeout = \"100ms\"")
	after, dan := s.as(""), s.as("dan")
	s.heap(after, "(objectClass=*)")
	<-after.Done()
	for what, c := range map[string]*client.Conn{"a connection of before the reload": before, "somebody's": dan} {
		if _, code := s.heap(c, "(cn=thing 1)"); code != ldap.Success {
			t.Errorf("%s: %v", what, code)
		}
	}
}

// TestReadOnly verifies read_only and its reload: every write is refused in a sentence, everything else goes on, and nothing is
// written behind the scenes.
func TestReadOnly(t *testing.T) {
	s := newReloadSite(t)
	admin := s.as("admin")
	dan := "uid=dan,ou=people,dc=example,dc=org"
	attr := func(name, value string) []ldap.Attribute {
		return []ldap.Attribute{{Type: []byte(name), Values: [][]byte{[]byte(value)}}}
	}
	writes := map[string]func() error{
		"add": func() error {
			_, err := admin.Add(t.Context(), "cn=new,ou=heap,dc=example,dc=org", attr("objectClass", "device"))
			return err
		},
		"modify": func() error {
			_, err := admin.Modify(t.Context(), dan, []ldap.Mod{{Op: ldap.ModReplace, Attribute: attr("title", "x")[0]}})
			return err
		},
		"modify of a password": func() error {
			_, err := admin.Modify(t.Context(), dan, []ldap.Mod{{Op: ldap.ModReplace, Attribute: attr("userPassword", "secret of dan")[0]}})
			return err
		},
		"modifyDN": func() error {
			_, err := admin.ModifyDN(t.Context(), "cn=thing 1,ou=heap,dc=example,dc=org", "cn=thing 1", true, nil)
			return err
		},
		"delete": func() error {
			_, err := admin.Delete(t.Context(), "cn=thing 2,ou=heap,dc=example,dc=org")
			return err
		},
		"password modify": func() error {
			who, password := ber.AppendBytes(nil, ber.ContextSpecific|0, []byte(dan)), ber.AppendBytes(nil, ber.ContextSpecific|2, []byte("secret of dan"))
			value := ber.AppendBytes(nil, ber.Sequence, append(who, password...))
			_, err := admin.Extended(t.Context(), "1.3.6.1.4.1.4203.1.11.1", value, nil)
			return err
		},
	}
	s.change("read_only = false", "read_only = true")
	for name, write := range writes {
		if err := write(); ldap.CodeOf(err) != ldap.UnwillingToPerform || !strings.Contains(err.Error(), "read-only") {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, seq := s.server.Store.JournalBounds()
	if n, code := s.heap(s.as("dan"), "(objectClass=*)"); n != 6 || code != ldap.SizeLimitExceeded {
		t.Errorf("a bind and a search: %d entries and %v", n, code)
	}
	if yes, err := admin.Compare(t.Context(), dan, "sn", []byte("X")); err != nil || !yes {
		t.Errorf("compare: %v, %v", yes, err)
	}
	if _, got := s.server.Store.JournalBounds(); got != seq {
		t.Errorf("%d transactions were written", got-seq)
	}
	s.change("read_only = true", "read_only = false")
	for name, write := range writes {
		if err := write(); err != nil {
			t.Errorf("%s, after the end of read-only mode: %v", name, err)
		}
	}
}
