package app

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"portolan/internal/client"
	"portolan/ldap"
)

// TestFilterShapes goes the way of an operator, with a server that runs and on the store of one that does not.
func TestFilterShapes(t *testing.T) {
	s := trailSite(t, "")
	server, stop := s.run()
	s.fill()
	const app = "uid=ann,ou=people,dc=example,dc=org"
	admin := s.dial()
	if _, err := admin.Modify(t.Context(), app, []ldap.Mod{{Op: ldap.ModReplace, Attribute: ldap.Attribute{Type: []byte("userPassword"), Values: [][]byte{[]byte("app secret")}}}}); err != nil {
		t.Fatal(err)
	}
	admin.Close()
	bound := func() *client.Conn {
		c := s.over(server)
		if _, err := c.Bind(t.Context(), app, "app secret"); err != nil {
			t.Fatal(err)
		}
		return c
	}
	search := func(c *client.Conn, filter string, controls ...ldap.Control) error {
		f, err := ldap.ParseFilter(filter)
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Search(t.Context(), &ldap.SearchRequest{Base: []byte("dc=example,dc=org"), Scope: ldap.ScopeSub, Filter: f}, client.Results{}, controls...)
		return err
	}
	asks := func(running bool, q ShapesQuery) (answer *ShapesAnswer) {
		t.Helper()
		s.with(running, func(v Verbs) {
			var err error
			if answer, err = v.FilterShapes(t.Context(), q); err != nil {
				t.Fatal(err)
			}
		})
		return answer
	}
	mode := func(running bool, mode string) {
		t.Helper()
		if a := asks(running, ShapesQuery{DN: app, Mode: mode}); a.Identities[0].Mode != mode {
			t.Fatalf("%+v", a.Identities)
		}
	}
	const honest, injected = "(&(objectClass=person)(uid=ann))", "(&(objectClass=person)(uid=*)(|(uid=x)))"

	c := bound()
	if err := search(c, honest); err != nil {
		t.Fatal(err)
	}
	a := asks(true, ShapesQuery{DN: app})
	if len(a.Shapes) != 1 || a.Shapes[0].Shape != "(&(objectClass=person)(uid=?))" || a.Shapes[0].Approved {
		t.Fatalf("observed: %+v", a.Shapes)
	}
	mode(true, "learn")
	if err := search(c, honest); err != nil {
		t.Fatal(err)
	}
	mode(true, "warn")
	if err := search(c, injected); err != nil {
		t.Errorf("a warning refuses: %v", err)
	}
	mode(true, "enforce")
	err := search(c, injected)
	if ldap.CodeOf(err) != ldap.UnwillingToPerform || !strings.Contains(err.Error(), "(&(objectClass=person)(uid=*)(|(uid=?)))") {
		t.Errorf("an injected filter: %v", err)
	}
	if err := search(c, honest); err != nil {
		t.Errorf("an honest one: %v", err)
	}
	// The root DSE may be read by whatever filter, as libraries do.
	if _, err := c.Search(t.Context(), &ldap.SearchRequest{Filter: ldap.Present("objectClass")}, client.Results{}); err != nil {
		t.Error(err)
	}
	// Filters of controls.
	filter := ldap.Eq("uid", "x")
	assertion := ldap.Control{OID: []byte("1.3.6.1.1.12"), Critical: true, HasValue: true, Value: filter.AppendBER(nil)}
	if err := search(c, honest, assertion); ldap.CodeOf(err) != ldap.UnwillingToPerform {
		t.Errorf("an assertion: %v", err)
	}
	if _, err := c.Modify(t.Context(), app, nil, assertion); ldap.CodeOf(err) != ldap.UnwillingToPerform {
		t.Errorf("an assertion of a modify: %v", err)
	}
	values := ldap.Or(filter)
	value := values.AppendBER(nil)
	value[0] = 0x30
	if err := search(c, honest, ldap.Control{OID: []byte("1.2.826.0.1.3344810.2.3"), HasValue: true, Value: value}); ldap.CodeOf(err) != ldap.UnwillingToPerform {
		t.Errorf("matched values: %v", err)
	}
	c.Close()
	if st := server.shapes.Stats(); st.Refused != 4 || st.Warned != 1 {
		t.Errorf("%+v", st)
	}
	stop()

	var seen, notes []string
	for _, e := range s.trail() {
		if e.Op == "guard shapes" && e.Note != "" {
			notes = append(notes, e.Note)
		}
		if e.Event == "filter-shape" {
			seen = append(seen, e.Op)
		}
	}
	if got := strings.Join(seen, " "); got != "search search search modify search" {
		t.Errorf("lines of the audit log: %s", got)
	}
	if got := strings.Join(notes, "; "); got != "mode learn; mode warn; mode enforce" {
		t.Errorf("decisions in the audit log: %s", got)
	}
	s.soundTrail(false)

	// On the store of a stopped server: what was decided is there, and can be decided otherwise.
	a = asks(false, ShapesQuery{})
	if len(a.Identities) == 0 || a.Identities[0].DN != app || a.Identities[0].Mode != "enforce" || a.Identities[0].Refused != 4 {
		t.Errorf("%+v", a.Identities)
	}
	s.write("new.ldif", "dn: dc=example,dc=org\nobjectClass: organization\nobjectClass: dcObject\ndc: example\no: Example\n\n"+
		"dn: ou=people,dc=example,dc=org\nobjectClass: organizationalUnit\nou: people\n\n"+
		"dn: "+app+"\nobjectClass: inetOrgPerson\nuid: ann\ncn: Ann\nsn: A\nuserPassword: app secret\n")
	source := ImportSource{Name: "new.ldif", Open: func() (io.ReadCloser, error) { return os.Open(filepath.Join(s.dir, "new.ldif")) }}
	if _, err := Import(t.Context(), s.config(), ImportOptions{Sources: []ImportSource{source}, Replace: true}); err != nil {
		t.Fatal(err)
	}
	a = asks(false, ShapesQuery{})
	if len(a.Identities) == 0 || a.Identities[0].DN != app || a.Identities[0].Mode != "enforce" || a.Identities[0].Approved != 1 {
		t.Errorf("after an import: %+v", a.Identities)
	}
	asks(false, ShapesQuery{DN: app, Remove: []string{"all"}, Approve: []string{"(uid=x)"}})
	server, stop = s.run()
	defer stop()
	c = bound()
	if err := search(c, "(UID=anybody)"); err != nil {
		t.Errorf("what was approved while it was stopped: %v", err)
	}
	if err := search(c, honest); ldap.CodeOf(err) != ldap.UnwillingToPerform {
		t.Errorf("what was removed while it was stopped: %v", err)
	}
	c.Close()
	s.with(true, func(v Verbs) {
		for _, q := range []ShapesQuery{
			{Mode: "learn"}, {DN: "uid=nobody,dc=example,dc=org"}, {DN: "uid=nobody,dc=example,dc=org", Mode: "learn"}, {DN: "no name"},
			{DN: app, Mode: "nonsense"}, {DN: app, Approve: []string{"(uid="}}, {DN: app, Remove: []string{"0123"}}, {DN: "anonymous", Mode: "enforce"},
		} {
			if _, err := v.FilterShapes(t.Context(), q); err == nil || strings.Contains(err.Error(), "\n") {
				t.Errorf("%+v: %v, want an error of one line", q, err)
			}
		}
	})
}
