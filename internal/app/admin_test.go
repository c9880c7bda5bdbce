package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"portolan/internal/client"
	"portolan/internal/config"
	"portolan/internal/credential"
	"portolan/ldap"
	"portolan/ldif"
)

// site is a directory on disk with a configuration, as an operator has it.
type site struct {
	t    *testing.T
	dir  string
	file string
}

const siteConfig = `data_dir = "data"
[directory]
suffix = "dc=example,dc=org"
admin_dn = "cn=admin,dc=example,dc=org"
admin_password_file = "admin.password"
[password.argon2]
memory = "8MiB"
time = 1
[limits]
min_free_bytes = "1MiB"
[log.access]
enabled = false
[index]
equality = []
`

// values is enough for an attribute to be stored value by value.
const values = 300

func newSite(t *testing.T) *site {
	t.Helper()
	// Not t.TempDir: the path of a socket must be short.
	dir, err := os.MkdirTemp("", "ptl")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &site{t: t, dir: dir, file: filepath.Join(dir, "portolan.toml")}
	s.write("portolan.toml", siteConfig)
	s.write("admin.password", "first secret\n")
	return s
}

func (s *site) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) config() *config.Config {
	s.t.Helper()
	c, err := config.Load(s.file, os.ReadFile)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// serve starts the server; the returned function ends it.
func (s *site) serve() (stop func()) {
	s.t.Helper()
	server, err := Start(s.config(), ServeOptions{Version: "test", Stderr: io.Discard})
	if err != nil {
		s.t.Fatal(err)
	}
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			s.t.Error(err)
		}
	}
}

func (s *site) verbs() Verbs {
	s.t.Helper()
	v, err := Administer(s.t.Context(), s.config(), AdministerOptions{Version: "test"})
	if err != nil {
		s.t.Fatal(err)
	}
	return v
}

// fill adds the entries that the tests look at, in an order that is not that of names.
func (s *site) fill() {
	s.t.Helper()
	c := s.dial()
	defer c.Unbind()
	add := func(dn string, lines ...string) {
		s.t.Helper()
		var attrs []ldap.Attribute
		for _, line := range lines {
			name, value, _ := strings.Cut(line, ": ")
			attrs = append(attrs, ldap.Attribute{Type: []byte(name), Values: [][]byte{[]byte(value)}})
		}
		if strings.HasPrefix(dn, "cn=many") {
			many := ldap.Attribute{Type: []byte("description")}
			for i := range values {
				many.Values = append(many.Values, fmt.Appendf(nil, "value %03d", i))
			}
			attrs = append(attrs, many)
		}
		if _, err := c.Add(s.t.Context(), dn, attrs); err != nil {
			s.t.Fatalf("%s: %v", dn, err)
		}
	}
	add("dc=example,dc=org", "objectClass: domain")
	add("ou=people,dc=example,dc=org", "objectClass: organizationalUnit")
	add("uid=ann,ou=people,dc=example,dc=org", "objectClass: inetOrgPerson", "cn: Änn", "sn: A", "userPassword: ann's secret")
	add("ou=groups,dc=example,dc=org", "objectClass: organizationalUnit")
	add("cn=staff,ou=groups,dc=example,dc=org", "objectClass: groupOfNames", "member: uid=ann,ou=people,dc=example,dc=org")
	add("cn=many,ou=groups,dc=example,dc=org", "objectClass: applicationProcess")
}

// dial returns a connection as the administrator, over the control socket.
func (s *site) dial() *client.Conn {
	s.t.Helper()
	c, err := client.Dial(s.t.Context(), client.SocketURL(ControlSocket(s.config())), client.Options{})
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := c.BindExternal(s.t.Context(), ""); err != nil {
		s.t.Fatal(err)
	}
	return c
}

// bothWays runs a test against a running server and against the store of a stopped one.
func bothWays(t *testing.T, f func(t *testing.T, s *site, running bool)) {
	for _, running := range []bool{true, false} {
		name := "stopped"
		if running {
			name = "running"
		}
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			stop := s.serve()
			s.fill()
			if running {
				defer stop()
			} else {
				stop()
			}
			f(t, s, running)
		})
	}
}

// with runs f with the verbs and closes them.
func (s *site) with(running bool, f func(v Verbs)) {
	s.t.Helper()
	v := s.verbs()
	if v.Running() != running {
		s.t.Fatalf("running: %v, want %v", v.Running(), running)
	}
	f(v)
	if err := v.Close(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) export(running bool, o ExportOptions) (text string, sum *ExportSummary, err error) {
	s.t.Helper()
	var out bytes.Buffer
	s.with(running, func(v Verbs) { sum, err = v.Export(s.t.Context(), o, &out, nil) })
	return out.String(), sum, err
}

// records reads LDIF back.
func records(t *testing.T, text string) []*ldif.Record {
	t.Helper()
	r := ldif.NewReader(strings.NewReader(text), ldif.Options{})
	var out []*ldif.Record
	for {
		rec, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		// The reader uses the record again.
		own := &ldif.Record{DN: rec.DN}
		for _, a := range rec.Attributes {
			b := ldif.Attr{Name: a.Name}
			for _, v := range a.Values {
				b.Values = append(b.Values, bytes.Clone(v))
			}
			own.Attributes = append(own.Attributes, b)
		}
		out = append(out, own)
	}
}

func names(list []*ldif.Record) string {
	var out []string
	for _, r := range list {
		rdn, _, _ := strings.Cut(r.DN, ",")
		out = append(out, rdn)
	}
	return strings.Join(out, " ")
}

func valuesOf(r *ldif.Record, name string) [][]byte {
	for _, a := range r.Attributes {
		if strings.EqualFold(a.Name, name) {
			return a.Values
		}
	}
	return nil
}

func TestExport(t *testing.T) {
	bothWays(t, func(t *testing.T, s *site, running bool) {
		text, sum, err := s.export(running, ExportOptions{})
		if err != nil {
			t.Fatal(err)
		}
		list := records(t, text)
		if got, want := names(list), "dc=example ou=groups cn=many cn=staff ou=people uid=ann"; got != want {
			t.Errorf("entries %q, want %q", got, want)
		}
		if sum.Entries != 6 || sum.Withheld != 1 {
			t.Errorf("summary %+v", sum)
		}
		ann := list[5]
		if valuesOf(ann, "userPassword") != nil || valuesOf(ann, "entryUUID") != nil || string(valuesOf(ann, "cn")[0]) != "Änn" {
			t.Errorf("ann is %+v", ann)
		}
		if got := valuesOf(list[2], "description"); len(got) != values {
			t.Errorf("%d of %d values of a large attribute", len(got), values)
		}

		text, sum, err = s.export(running, ExportOptions{Secrets: true, Operational: true})
		if err != nil {
			t.Fatal(err)
		}
		ann = records(t, text)[5]
		password := valuesOf(ann, "userPassword")
		if len(password) != 1 || !credential.IsHashed(password[0]) || sum.Withheld != 0 {
			t.Errorf("the secrets are %q, %d withheld", password, sum.Withheld)
		}
		for _, name := range []string{"entryUUID", "createTimestamp", "creatorsName", "modifyTimestamp", "modifiersName", "entryCSN", "structuralObjectClass"} {
			if len(valuesOf(ann, name)) != 1 {
				t.Errorf("%s is missing", name)
			}
		}
		for _, name := range []string{"memberOf", "entryDN", "hasSubordinates", "subschemaSubentry"} {
			if valuesOf(ann, name) != nil {
				t.Errorf("the computed attribute %s was written", name)
			}
		}
	})
}

func TestExportSelects(t *testing.T) {
	bothWays(t, func(t *testing.T, s *site, running bool) {
		tests := []struct{ base, filter, want, wrong string }{
			{"ou=people,dc=example,dc=org", "", "ou=people uid=ann", ""},
			{"OU=People, dc=example,dc=org", "(uid=*)", "uid=ann", ""},
			{"", "(&(objectClass=groupOfNames)(member=uid=ANN,ou=people,dc=example,dc=org))", "cn=staff", ""},
			{"", "(memberOf=cn=staff,ou=groups,dc=example,dc=org)", "uid=ann", ""},
			{"", "(hasSubordinates=TRUE)", "dc=example ou=groups ou=people", ""},
			{"", "(description=value 299)", "cn=many", ""},
			{"", "(userPassword=*)", "uid=ann", ""},
			{"", "(uid=nobody)", "", ""},
			{"", "(noSuchAttribute=x)", "", "noSuchAttribute"},
			{"", "(member:1.2.840.113556.1.4.1941:=uid=ann,ou=people,dc=example,dc=org)", "", "cannot follow"},
			{"", "(uid=", "", "filter"},
			{"ou=nowhere,dc=example,dc=org", "", "", "there is no entry"},
			{"no name", "", "", "base"},
		}
		for _, tt := range tests {
			text, _, err := s.export(running, ExportOptions{Base: tt.base, Filter: tt.filter})
			if tt.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wrong) {
					t.Errorf("%s %s: got %v, want ...%s...", tt.base, tt.filter, err, tt.wrong)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s %s: %v", tt.base, tt.filter, err)
			} else if got := names(records(t, text)); got != tt.want {
				t.Errorf("%s %s: got %q, want %q", tt.base, tt.filter, got, tt.want)
			}
		}
	})
}

func TestStatusAndCheck(t *testing.T) {
	bothWays(t, func(t *testing.T, s *site, running bool) {
		s.with(running, func(v Verbs) {
			st, err := v.Status(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if st.Entries != 6 || st.Running != running || st.Version != "test" || st.Journal.Last != 6 || st.Journal.Octets == 0 ||
				len(st.Indexes.NotReady) != 0 || st.Indexes.Ready == 0 || !st.Suffixes[0].Present || (st.Connections != nil) != running {
				t.Errorf("status %+v", st)
			}
			if !slices.ContainsFunc(st.Warnings, func(w string) bool { return strings.Contains(w, "no backup") }) {
				t.Errorf("warnings %q", st.Warnings)
			}
			sum, err := v.Check(t.Context(), func(f Finding) { t.Errorf("found %+v", f) }, nil)
			if err != nil {
				t.Fatal(err)
			}
			if sum.Entries != 6 || sum.Postings == 0 || sum.Records != 6 || !slices.Contains(sum.Overlays, "refint") {
				t.Errorf("check %+v", sum)
			}
		})
	})
}

// TestCheckFinds: a reference to nobody is reported, with what to do.
func TestCheckFinds(t *testing.T) {
	bothWays(t, func(t *testing.T, s *site, running bool) {
		if running {
			s.dangle()
		} else {
			stop := s.serve()
			s.dangle()
			stop()
		}
		s.with(running, func(v Verbs) {
			var found []Finding
			sum, err := v.Check(t.Context(), func(f Finding) { found = append(found, f) }, nil)
			if err != nil {
				t.Fatal(err)
			}
			if len(found) != 1 || sum.Findings != 1 || found[0].Part != "overlay refint" || found[0].Advice == "" ||
				!strings.Contains(found[0].What, "uid=ghost") {
				t.Errorf("found %+v, %+v", found, sum)
			}
		})
	})
}

// dangle adds a group whose member does not exist.
func (s *site) dangle() {
	s.t.Helper()
	c := s.dial()
	defer c.Unbind()
	_, err := c.Add(s.t.Context(), "cn=ghosts,ou=groups,dc=example,dc=org", []ldap.Attribute{
		{Type: []byte("objectClass"), Values: [][]byte{[]byte("groupOfNames")}},
		{Type: []byte("member"), Values: [][]byte{[]byte("uid=ghost,ou=people,dc=example,dc=org")}},
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

func TestExplainAccess(t *testing.T) {
	bothWays(t, func(t *testing.T, s *site, running bool) {
		ann := "uid=ann,ou=people,dc=example,dc=org"
		tests := []struct {
			q           AccessQuestion
			has, hasNot string // one right each
			wrong       string
		}{
			{q: AccessQuestion{As: ann, On: ann, Attribute: "cn", TLS: 256}, has: "read"},
			{q: AccessQuestion{As: ann, On: ann, Attribute: "userPassword", TLS: 256}, has: "add", hasNot: "read"},
			{q: AccessQuestion{As: "anonymous", On: ann, Attribute: "cn", From: "192.0.2.1"}, hasNot: "read"},
			{q: AccessQuestion{As: "cn=admin,dc=example,dc=org", On: ann, Attribute: "userPassword"}, has: "read"},
			{q: AccessQuestion{As: "uid=stranger,dc=example,dc=org", On: "cn=new,dc=example,dc=org"}, hasNot: "add"},
			{q: AccessQuestion{As: ann, On: ann, Attribute: "noSuchAttribute"}, wrong: "noSuchAttribute"},
			{q: AccessQuestion{As: "no name", On: ann}, wrong: "as:"},
			{q: AccessQuestion{As: ann, On: "no name"}, wrong: "on:"},
			{q: AccessQuestion{As: ann, On: ann, From: "here"}, wrong: "IP address"},
		}
		s.with(running, func(v Verbs) {
			for _, tt := range tests {
				a, err := v.ExplainAccess(t.Context(), tt.q)
				if tt.wrong != "" {
					if err == nil || !strings.Contains(err.Error(), tt.wrong) {
						t.Errorf("%+v: got %v, want ...%s...", tt.q, err, tt.wrong)
					}
					continue
				}
				if err != nil {
					t.Errorf("%+v: %v", tt.q, err)
					continue
				}
				rights := strings.Split(a.Rights, ", ")
				if tt.has != "" && !slices.Contains(rights, tt.has) || tt.hasNot != "" && slices.Contains(rights, tt.hasNot) || len(a.Rules) == 0 {
					t.Errorf("%+v: got %+v", tt.q, a)
				}
				if a.OnExists != (tt.q.On == ann) {
					t.Errorf("%+v: on_exists %v", tt.q, a.OnExists)
				}
			}
		})
	})
}

func TestSetPassword(t *testing.T) {
	const ann, admin = "uid=ann,ou=people,dc=example,dc=org", "cn=admin,dc=example,dc=org"
	bothWays(t, func(t *testing.T, s *site, running bool) {
		var made string
		s.with(running, func(v Verbs) {
			if _, err := v.SetPassword(t.Context(), PasswordChange{DN: ann, Password: []byte("new for ann")}); err != nil {
				t.Fatal(err)
			}
			set, err := v.SetPassword(t.Context(), PasswordChange{Generate: true})
			if err != nil {
				t.Fatal(err)
			}
			if made = set.Generated; made == "" || set.DN != admin {
				t.Errorf("got %+v", set)
			}
			for _, bad := range []PasswordChange{
				{DN: ann}, {}, {DN: ann, Password: []byte("x"), Generate: true}, {DN: "uid=ghost,dc=example,dc=org", Generate: true},
				{DN: "no name", Generate: true}, {DN: "ou=people,dc=example,dc=org", Password: []byte("{SSHA}AAAA")},
				{Password: bytes.Repeat([]byte("x"), credential.MaxPassword+1)},
			} {
				if _, err := v.SetPassword(t.Context(), bad); err == nil {
					t.Errorf("accepted: %+v", bad)
				}
			}
		})
		file := filepath.Join(s.dir, "admin.password")
		stored, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
		if !bytes.HasPrefix(stored, []byte("{ARGON2}")) || bytes.Contains(stored, []byte(made)) {
			t.Errorf("the file has %q", stored)
		}
		if !running {
			defer s.serve()()
		}
		for dn, password := range map[string]string{ann: "new for ann", admin: made} {
			c := s.dial()
			if _, err := c.Bind(t.Context(), dn, password); err != nil {
				t.Errorf("%s cannot bind with the new password: %v", dn, err)
			}
			if _, err := c.Bind(t.Context(), dn, "first secret"); ldap.CodeOf(err) != ldap.InvalidCredentials {
				t.Errorf("%s with the old password: %v", dn, err)
			}
			c.Close()
		}
	})
}

// TestAdminPasswordDN: the administrator's name, however it is written, is the administrator.
func TestAdminPasswordDN(t *testing.T) {
	s := newSite(t)
	s.with(false, func(v Verbs) {
		set, err := v.SetPassword(t.Context(), PasswordChange{DN: "CN=Admin, dc=example,dc=org", Password: []byte("other")})
		if err != nil || set.File == "" {
			t.Fatalf("%+v, %v", set, err)
		}
	})
}

func TestIndexes(t *testing.T) {
	bothWays(t, func(t *testing.T, s *site, running bool) {
		counts := make(map[string]IndexSize)
		find := func(v Verbs, attribute string) string {
			list, err := v.Indexes(t.Context(), true)
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range list {
				if x.Attribute == attribute && x.Kind == "equality" {
					if x.Size == nil {
						t.Fatalf("%s was not counted", attribute)
					}
					counts[attribute] = *x.Size
					return x.State + " " + x.Origin
				}
			}
			return "none"
		}
		description := IndexName{Attribute: "description", Kind: "equality"}
		refused := func(v Verbs, want string, err error) {
			t.Helper()
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want ...%s...", err, want)
			}
		}
		s.with(running, func(v Verbs) {
			if got := find(v, "uid"); got != "ready built in" {
				t.Errorf("uid: %s", got)
			}
			if got := find(v, "description"); got != "none" {
				t.Errorf("description: %s", got)
			}
			quick, err := v.Indexes(t.Context(), false)
			if err != nil || len(quick) == 0 || quick[0].Size != nil {
				t.Errorf("without counting: %+v, %v", quick, err)
			}
		})
		s.with(running, func(v Verbs) {
			_, err := v.BuildIndex(t.Context(), description, nil)
			refused(v, "index.equality", err)
			_, err = v.BuildIndex(t.Context(), IndexName{Attribute: "description", Kind: "bogus"}, nil)
			refused(v, "bogus", err)
			_, err = v.BuildIndex(t.Context(), IndexName{Attribute: "bogus", Kind: "equality"}, nil)
			refused(v, "bogus", err)
			refused(v, "relies on", v.DropIndex(t.Context(), IndexName{Attribute: "uid", Kind: "equality"}))
			_, err = v.BuildIndex(t.Context(), IndexName{Attribute: "uid", Kind: "equality"}, nil)
			if running {
				refused(v, "stop the server", err)
			} else if err != nil {
				t.Error(err)
			}
		})
		s.write("portolan.toml", strings.Replace(siteConfig, "equality = []", `equality = ["description"]`, 1))
		for range 2 { // for the first time, and anew
			s.with(running, func(v Verbs) {
				x, err := v.BuildIndex(t.Context(), description, nil)
				if err != nil || x.State != "ready" {
					t.Fatalf("%+v, %v", x, err)
				}
				if got := find(v, "description"); got != "ready configuration" {
					t.Errorf("description: %s", got)
				}
				// One entry has many descriptions.
				if got := counts["description"]; got.Keys != values || got.Postings != values || *x.Size != got {
					t.Errorf("description: %+v, built with %+v", got, *x.Size)
				}
				refused(v, "remove it from index.equality", v.DropIndex(t.Context(), description))
			})
		}
		s.with(running, func(v Verbs) {
			if _, err := v.Check(t.Context(), func(f Finding) { t.Errorf("found %+v", f) }, nil); err != nil {
				t.Fatal(err)
			}
		})
		s.write("portolan.toml", siteConfig)
		s.with(running, func(v Verbs) {
			if err := v.DropIndex(t.Context(), description); err != nil {
				t.Fatal(err)
			}
			if got := find(v, "description"); got != "none" {
				t.Errorf("description: %s", got)
			}
		})
	})
}

// TestAdministerNothing: a directory that was never served says what to do.
func TestAdministerNothing(t *testing.T) {
	s := newSite(t)
	s.with(false, func(v Verbs) {
		if _, err := v.Status(t.Context()); err == nil || !strings.Contains(err.Error(), "start the server once") {
			t.Errorf("got %v", err)
		}
	})
}
