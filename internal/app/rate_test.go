package app

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"portolan/internal/client"
	"portolan/ldap"
)

// TestRates has a server bound what its clients may cost: strangers by address, an application by [[limits.for]], others not at
// all. Who is refused is told why, in words; the status, the monitor and the audit log know of it; a reload changes it.
func TestRates(t *testing.T) {
	const bounds = `[guard]
relays = []
[[limits.for]]
who = "dn:cn=app,dc=example,dc=org"
rate = 2
`
	s := trailSite(t, bounds)
	text, err := os.ReadFile(filepath.Join(s.dir, "portolan.toml"))
	if err != nil {
		t.Fatal(err)
	}
	s.write("portolan.toml", strings.Replace(string(text), "[limits]\n", "[limits]\nrate_unauthenticated = 20\n", 1))
	server, stop := s.run()
	defer stop()
	admin := s.over(server)
	if _, err := admin.Bind(t.Context(), "cn=admin,dc=example,dc=org", "first secret"); err != nil {
		t.Fatal(err)
	}
	attr := func(name string, values ...string) ldap.Attribute {
		a := ldap.Attribute{Type: []byte(name)}
		for _, v := range values {
			a.Values = append(a.Values, []byte(v))
		}
		return a
	}
	add := func(dn string, attrs ...ldap.Attribute) {
		t.Helper()
		if _, err := admin.Add(t.Context(), dn, attrs); err != nil {
			t.Fatal(err)
		}
	}
	add("dc=example,dc=org", attr("objectClass", "domain"))
	for _, cn := range []string{"app", "other"} {
		add("cn="+cn+",dc=example,dc=org", attr("objectClass", "device", "simpleSecurityObject"), attr("userPassword", "secret of "+cn))
	}
	read := func(c *client.Conn) error {
		_, err := c.Search(context.Background(), &ldap.SearchRequest{Filter: ldap.Present("objectClass")}, client.Results{})
		return err
	}
	most := func(c *client.Conn) (n int, err error) {
		for n < 500 {
			if err = read(c); err != nil {
				return n, err
			}
			n++
		}
		return n, nil
	}
	as := func(cn string) *client.Conn {
		t.Helper()
		c := s.over(server)
		if _, err := c.Bind(t.Context(), "cn="+cn+",dc=example,dc=org", "secret of "+cn); err != nil {
			t.Fatal(err)
		}
		return c
	}
	app, other, stranger := as("app"), as("other"), s.over(server)
	n, err := most(app)
	if ldap.CodeOf(err) != ldap.Busy || !strings.Contains(err.Error(), "this account has asked for more than it may: try again in 1 s") || n < 17 || n > 100 {
		t.Errorf("the application was answered %d times, then: %v", n, err)
	}
	if n, err := most(other); err != nil {
		t.Errorf("another account was answered %d times, then: %v", n, err)
	}
	n, err = most(stranger)
	if ldap.CodeOf(err) != ldap.Busy || !strings.Contains(err.Error(), "from this address") || n < 190 {
		t.Errorf("a stranger was answered %d times, then: %v", n, err)
	}
	if _, err := most(admin); err != nil {
		t.Errorf("the administrator: %v", err)
	}
	if got := server.rates.Stats(server.now()); got.All() != 2 {
		t.Errorf("counted %+v", got)
	}
	if v := server.snapshot(); len(v.Trouble) < 4 || v.Trouble[3].Name != "rate_refused" || v.Trouble[3].Value != 2 {
		t.Errorf("the monitor has %v", v.Trouble)
	}
	status, err := (&Admin{d: server.Directory, live: server.state}).Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if g := status.Guard; g.RateRefused != 2 || !g.Enabled {
		t.Errorf("the status has %+v", g)
	}

	// As the file says now, nobody is bound.
	s.write("portolan.toml", strings.Replace(string(text), "rate = 2\n", "rate = 0\n", 1))
	if err := server.Reload(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*client.Conn{app, stranger} {
		if n, err := most(c); err != nil {
			t.Errorf("after the reload answered %d times, then: %v", n, err)
		}
	}
	by := make(map[string]string)
	for _, e := range s.trail() {
		fields := make(map[string]string)
		for _, f := range e.Others {
			fields[f.Name] = f.Text
		}
		if e.Event == "guard" && fields["action"] == "rate" {
			by[fields["by"]] = fields["of"]
		}
	}
	if len(by) != 2 || by["identity"] != "cn=app,dc=example,dc=org" || by["unauthenticated"] != "127.0.0.1" {
		t.Errorf("the audit log has %v", by)
	}
}
