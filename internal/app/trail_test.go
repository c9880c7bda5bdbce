package app

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"portolan/ber"
	"portolan/internal/audit"
	"portolan/internal/client"
	"portolan/ldap"
)

// trailConfig is added to siteConfig: everything that can be logged is.
const trailConfig = `[[listen]]
url = "ldap://127.0.0.1:0"
[log]
level = "debug"
file = "server.log"
[log.access]
file = "access.log"
`

// trailSite is a site whose server logs everything.
func trailSite(t *testing.T, more string) *site {
	s := newSite(t)
	text := strings.Replace(siteConfig, "[log.access]\nenabled = false\n", "", 1)
	s.write("portolan.toml", text+trailConfig+more)
	return s
}

// run starts the server and returns what ends it.
func (s *site) run() (*Server, func()) {
	s.t.Helper()
	server, err := Start(s.config(), ServeOptions{Version: "test", Stderr: io.Discard})
	if err != nil {
		s.t.Fatal(err)
	}
	return server, func() {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			s.t.Error(err)
		}
	}
}

// over connects to the listener of a server.
func (s *site) over(server *Server) *client.Conn {
	s.t.Helper()
	c, err := client.Dial(s.t.Context(), "ldap://"+server.Addrs()[0].String(), client.Options{})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	return c
}

// trail returns the lines of the audit log.
func (s *site) trail() (out []*audit.Entry) {
	s.t.Helper()
	err := TailAudit(s.t.Context(), s.config(), AuditTail{Result: -1}, func(_ []byte, e *audit.Entry) error {
		out = append(out, e)
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

func (s *site) soundTrail(running bool) {
	s.t.Helper()
	s.with(running, func(v Verbs) {
		state, err := v.AuditState(s.t.Context())
		if err != nil {
			s.t.Fatal(err)
		}
		r, err := VerifyAudit(s.t.Context(), s.config(), AuditCheck{State: state, Anchors: []byte(state.Anchor)})
		if err != nil || r.Bad() {
			s.t.Errorf("%v, %+v", err, r)
		}
	})
}

// TestCanary: a password is nowhere but where it belongs, whatever is done with it and whatever goes wrong.
func TestCanary(t *testing.T) {
	const canary = "kanari-Vogel/9"
	s := trailSite(t, "")
	server, stop := s.run()
	s.fill()
	ctx := t.Context()
	const ann = "uid=ann,ou=people,dc=example,dc=org"
	var said bytes.Buffer // all that clients are told
	told := func(r *client.Response, err error) {
		fmt.Fprintln(&said, err)
		if r != nil {
			fmt.Fprintf(&said, "%+v\n", r)
		}
	}
	value := func(v string) ldap.Attribute {
		return ldap.Attribute{Type: []byte("userPassword"), Values: [][]byte{[]byte(v)}}
	}
	mod := func(op ldap.ModOp, v string) ldap.Mod { return ldap.Mod{Op: op, Attribute: value(v)} }
	admin := s.dial()
	defer admin.Close()

	// It becomes ann's password, and is used as one.
	told(admin.Modify(ctx, ann, []ldap.Mod{mod(ldap.ModReplace, canary)}))
	c := s.over(server)
	if _, err := c.Bind(ctx, ann, canary); err != nil {
		t.Fatal(err)
	}
	told(c.Modify(ctx, ann, []ldap.Mod{mod(ldap.ModDelete, canary), mod(ldap.ModAdd, canary+"2")}))
	told(c.Modify(ctx, ann, []ldap.Mod{mod(ldap.ModDelete, canary)})) // it is not there any more
	told(c.Modify(ctx, ann, []ldap.Mod{mod(ldap.ModAdd, "{SSHA}"+canary)}))
	told(c.Modify(ctx, ann, []ldap.Mod{mod(ldap.ModReplace, strings.Repeat(canary, 1000))}))
	told(c.Modify(ctx, ann, []ldap.Mod{{Op: 9, Attribute: value(canary)}}))
	told(c.Modify(ctx, "ou=people,dc=example,dc=org", []ldap.Mod{mod(ldap.ModReplace, canary)})) // not allowed
	told(c.Modify(ctx, "userPassword="+canary+",dc=example,dc=org", []ldap.Mod{mod(ldap.ModReplace, canary)}))
	told(admin.Modify(ctx, ann, []ldap.Mod{mod(ldap.ModReplace, "{SSHA}"+canary)}))
	told(admin.Modify(ctx, ann, []ldap.Mod{mod(ldap.ModIncrement, canary)}))
	told(admin.Modify(ctx, ann, []ldap.Mod{mod(ldap.ModAdd, canary+"3"), mod(ldap.ModAdd, canary+"3")}))
	told(admin.Add(ctx, "uid=bob,ou=people,dc=example,dc=org", []ldap.Attribute{
		{Type: []byte("objectClass"), Values: [][]byte{[]byte("inetOrgPerson")}}, {Type: []byte("cn"), Values: [][]byte{[]byte("b")}},
		{Type: []byte("sn"), Values: [][]byte{[]byte("b")}}, value(canary + "4"),
	}))
	told(admin.Add(ctx, "userPassword="+canary+",ou=people,dc=example,dc=org", []ldap.Attribute{value(canary)}))
	told(admin.ModifyDN(ctx, ann, "userPassword="+canary, false, nil))
	told(admin.Add(ctx, "uid=bob,ou=people,dc=example,dc=org", []ldap.Attribute{value(canary)})) // exists

	// Password modify, on the wire and by the command.
	passwd := func(user, old, changed string) []byte {
		b, mark := ber.Begin(nil, ber.Sequence)
		b = ber.AppendBytes(b, ber.ContextSpecific|0, []byte(user))
		b = ber.AppendBytes(b, ber.ContextSpecific|1, []byte(old))
		return ber.End(ber.AppendBytes(b, ber.ContextSpecific|2, []byte(changed)), mark)
	}
	const oid = "1.3.6.1.4.1.4203.1.11.1"
	told(c.Extended(ctx, oid, passwd(ann, canary+"2", canary+"5"), nil))
	told(c.Extended(ctx, oid, passwd(ann, canary, canary), nil))
	told(c.Extended(ctx, oid, passwd("uid=bob,ou=people,dc=example,dc=org", canary, canary), nil))
	told(c.Extended(ctx, oid, []byte(canary), nil))
	told(c.Extended(ctx, "1.2.3.4", []byte(canary), nil))
	s.with(true, func(v Verbs) {
		if _, err := v.SetPassword(ctx, PasswordChange{DN: ann, Password: []byte(canary)}); err != nil {
			t.Error(err)
		}
		_, err := v.SetPassword(ctx, PasswordChange{DN: ann, Password: []byte("{SSHA}" + canary)})
		told(nil, err)
		_, err = v.SetPassword(ctx, PasswordChange{DN: "uid=ghost,dc=example,dc=org", Password: []byte(canary)})
		told(nil, err)
		_, err = v.SetPassword(ctx, PasswordChange{DN: "cn=admin,dc=example,dc=org", Password: []byte(canary)})
		told(nil, err)
	})

	// Looking for it.
	for _, f := range []string{"(userPassword=" + canary + ")", "(userPassword=*" + canary + "*)", "(&(uid=ann)(!(userPassword>=" + canary + ")))", "(2.5.4.35=" + canary + ")"} {
		filter, err := ldap.ParseFilter(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, conn := range []*client.Conn{admin, c} {
			told(conn.Search(ctx, &ldap.SearchRequest{Base: []byte("dc=example,dc=org"), Scope: ldap.ScopeSub, Filter: filter}, client.Results{}))
		}
	}
	told(admin.Search(ctx, &ldap.SearchRequest{Base: []byte("userPassword=" + canary + ",dc=example,dc=org"), Scope: ldap.ScopeSub, Filter: ldap.Eq("uid", "x")}, client.Results{}))
	_, err := c.Compare(ctx, ann, "userPassword", []byte(canary))
	told(nil, err)
	told(c.Search(ctx, &ldap.SearchRequest{Filter: ldap.Eq("objectClass", "x")}, client.Results{}, ldap.Control{OID: []byte("1.2.3.5"), Value: []byte(canary), HasValue: true, Critical: true}))

	// Binds that fail, and what is no name but a password.
	for _, x := range [][2]string{
		{ann, canary + "wrong"}, {"uid=ghost,ou=people,dc=example,dc=org", canary}, {"", canary}, {canary, canary}, {canary, "x"},
		{"cn=admin,dc=example,dc=org", canary + "wrong"}, {"userPassword=" + canary, canary}, {"ou=people,dc=example,dc=org", canary},
		{"uid=ann+userPassword=" + canary + ",ou=people,dc=example,dc=org", "x"},
	} {
		told(s.over(server).Bind(ctx, x[0], x[1]))
	}
	told(s.over(server).BindSASL(ctx, "PLAIN", []byte("\x00ann\x00"+canary)))
	told(s.over(server).BindSASL(ctx, "EXTERNAL", []byte("u:"+canary)))
	mistyped := s.dial()
	told(mistyped.BindSASL(ctx, "EXTERNAL", []byte(canary)))
	mistyped.Close()

	// In a field that is for a name, by whatever operation.
	b64 := base64.StdEncoding.EncodeToString([]byte(canary))
	told(s.over(server).BindSASL(ctx, "PLAIN", []byte("\x00"+canary+"\x00x")))
	told(s.over(server).BindSASL(ctx, "PLAIN", []byte(canary+"\x00ann\x00x")))
	told(s.over(server).BindSASL(ctx, "PLAIN", []byte("dn:userPassword="+canary+"\x00ann\x00"+canary)))
	told(s.over(server).BindSASL(ctx, "SCRAM-SHA-256", []byte("n,,n="+canary+",r=abcdefgh")))
	told(s.over(server).BindSASL(ctx, "SCRAM-SHA-256", []byte("n,a="+canary+",n=ann,r=abcdefgh")))
	told(s.over(server).BindSASL(ctx, "SCRAM-SHA-256", []byte(canary+b64)))
	for _, conn := range []*client.Conn{admin, c} {
		for _, name := range []string{canary, "userPassword=" + canary, "uid=ann+userPassword=" + canary + ",ou=people,dc=example,dc=org"} {
			told(conn.Extended(ctx, oid, passwd(name, canary, canary), nil))
			told(conn.Delete(ctx, name))
			told(conn.ModifyDN(ctx, name, "uid=x", true, nil))
			told(conn.ModifyDN(ctx, "uid=ghost,dc=example,dc=org", name, true, nil))
			told(conn.ModifyDN(ctx, "uid=ghost,dc=example,dc=org", "uid=x", true, &name))
			told(conn.Modify(ctx, name, []ldap.Mod{mod(ldap.ModReplace, "x")}))
			told(conn.Add(ctx, name, []ldap.Attribute{value("x")}))
			told(conn.Search(ctx, &ldap.SearchRequest{Base: []byte(name), Filter: ldap.Present("objectClass")}, client.Results{}))
			_, err := conn.Compare(ctx, name, "uid", []byte("x"))
			told(nil, err)
			for _, as := range []string{"dn:" + name, "u:" + name, name} {
				proxied := ldap.Control{OID: []byte("2.16.840.1.113730.3.4.18"), Critical: true, HasValue: true, Value: []byte(as)}
				told(conn.Search(ctx, &ldap.SearchRequest{Filter: ldap.Present("objectClass")}, client.Results{}, proxied))
			}
		}
	}

	// What is not LDAP at all.
	for _, junk := range []string{canary, "\x30\x1a\x02\x01\x01\x60\x15\x02\x01\x03\x04\x00\x80\x0e" + canary + "\xff", "\x30\x15\x02\x01\x01\x63\x10\x04\x0e" + canary} {
		nc, err := net.Dial("tcp", server.Addrs()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(nc, junk)
		nc.(*net.TCPConn).CloseWrite()
		answer, _ := io.ReadAll(nc) // a reset is an answer too
		said.Write(answer)
		nc.Close()
	}
	s.with(true, func(v Verbs) {
		status, err := v.Status(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.NewEncoder(&said).Encode(status); err != nil {
			t.Fatal(err)
		}
	})
	if bytes.Contains(said.Bytes(), []byte(canary)) {
		for l := range strings.Lines(said.String()) {
			if strings.Contains(l, canary) {
				t.Errorf("a client was told: %s", l)
			}
		}
	}
	stop()
	files := 0
	err = filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		for l := range bytes.Lines(text) {
			if bytes.Contains(l, []byte(canary)) {
				at := bytes.Index(l, []byte(canary))
				t.Errorf("%s: %q", path, l[max(0, at-150):min(len(l), at+150)])
			}
		}
		return nil
	})
	if err != nil || files < 8 {
		t.Error(files, err)
	}
	events := map[string]int{}
	for _, e := range s.trail() {
		events[strings.TrimSpace(e.Event+" "+e.Op)]++
	}
	for event, least := range map[string]int{"start": 1, "stop": 1, "bind": 11, "write modify": 10, "write add": 8, "write modrdn": 1, "write passwd": 4, "admin passwd": 4} {
		if events[event] < least {
			t.Errorf("%d lines of %s, want %d at least: %v", events[event], event, least, events)
		}
	}
	s.soundTrail(false)
}

// TestTrailOfAServer looks at what the parts of a server tell the audit log.
func TestTrailOfAServer(t *testing.T) {
	s := trailSite(t, "[audit]\nkeep = 3\n")
	server, stop := s.run()
	s.fill()
	ctx := t.Context()
	c := s.over(server)
	const ann = "uid=ann,ou=people,dc=example,dc=org"
	if _, err := c.Bind(ctx, ann, "ann's secret"); err != nil {
		t.Fatal(err)
	}
	disabled := []ldap.Mod{{Op: ldap.ModReplace, Attribute: ldap.Attribute{Type: []byte("portolanAccountDisabled"), Values: [][]byte{[]byte("TRUE")}}}}
	if _, err := c.Modify(ctx, ann, disabled); ldap.CodeOf(err) != ldap.InsufficientAccessRights {
		t.Fatal(err)
	}
	as := s.dial()
	if _, err := as.BindExternal(ctx, "dn:"+ann); err != nil {
		t.Fatal(err)
	}
	as.Close()
	admin := s.dial()
	if _, err := admin.Modify(ctx, ann, disabled); err != nil {
		t.Fatal(err)
	}
	admin.Close()
	if _, err := s.over(server).Bind(ctx, ann, "ann's secret"); ldap.CodeOf(err) != ldap.InvalidCredentials {
		t.Fatal(err)
	}
	if _, err := s.over(server).Bind(ctx, ann, "wrong"); ldap.CodeOf(err) != ldap.InvalidCredentials {
		t.Fatal(err)
	}
	s.write("portolan.toml", strings.Replace(s.text("portolan.toml"), "keep = 3", "keep = 4", 1))
	if err := server.Reload(); err != nil {
		t.Fatal(err)
	}
	s.write("portolan.toml", "nonsense\n"+s.text("portolan.toml"))
	if err := server.Reload(); err == nil {
		t.Error("nonsense was taken over")
	}
	s.write("portolan.toml", strings.TrimPrefix(s.text("portolan.toml"), "nonsense\n"))
	s.soundTrail(true)
	stop()
	s.soundTrail(false)
	var got []string
	for _, e := range s.trail() {
		if e.Event == "checkpoint" || e.Event == "file" || e.Op == "add" || e.Event == "admin" {
			continue
		}
		line := fmt.Sprintf("%s %s %d %s %s %v %s", e.Event, e.Op, e.ResultCode(), e.Who, e.DN, e.Marks, e.Reason)
		if e.AuthzID != "" {
			line += " as " + e.AuthzID
		}
		for _, f := range e.Others {
			if f.Name == "changed" || f.Name == "problem" {
				line += " " + f.Name
			}
		}
		got = append(got, strings.Join(strings.Fields(line), " "))
	}
	want := []string{
		"start -1 []",
		"bind 0 " + ann + " []",
		"write modify 50 " + ann + " " + ann + " [account]",
		"bind 0 cn=admin,dc=example,dc=org [] as dn:" + ann,
		"write modify 0 cn=admin,dc=example,dc=org " + ann + " [account]",
		"bind 49 " + ann + " [] the account is disabled",
		"bind 49 " + ann + " [] wrong password",
		"reload -1 [] changed",
		"reload -1 [] problem",
		"stop -1 []",
	}
	// Binds to the control socket repeat within a second, or not.
	got = slices.DeleteFunc(got, func(l string) bool { return l == "bind 0 cn=admin,dc=example,dc=org []" })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// text reads a file of a site.
func (s *site) text(name string) string {
	s.t.Helper()
	b, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(b)
}

// TestTrailThatCannotBeWritten: /dev/full is a file on a disk that is always full.
func TestTrailThatCannotBeWritten(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("this system has no /dev/full")
	}
	for _, mode := range []string{"stop-writes", "continue"} {
		t.Run(mode, func(t *testing.T) {
			s := trailSite(t, "")
			_, stop := s.run()
			s.fill()
			stop()
			s.write("portolan.toml", siteConfig+"[[listen]]\nurl = \"ldap://127.0.0.1:0\"\n[audit]\nfile = \"full\"\nkey_file = \"another.key\"\non_failure = \""+mode+"\"\n")
			if err := os.Symlink("/dev/full", filepath.Join(s.dir, "full")); err != nil {
				t.Fatal(err)
			}
			server, err := Start(s.config(), ServeOptions{Version: "test", Stderr: io.Discard})
			if err != nil {
				t.Fatal(err)
			}
			ctx := t.Context()
			c := s.over(server)
			if _, err := c.Bind(ctx, "uid=ann,ou=people,dc=example,dc=org", "ann's secret"); err != nil {
				t.Errorf("a bind: %v", err)
			}
			if _, err := c.Search(ctx, &ldap.SearchRequest{Base: []byte("dc=example,dc=org"), Scope: ldap.ScopeSub, Filter: ldap.Eq("uid", "ann")}, client.Results{}); err != nil {
				t.Errorf("a search: %v", err)
			}
			change := []ldap.Mod{{Op: ldap.ModReplace, Attribute: ldap.Attribute{Type: []byte("userPassword"), Values: [][]byte{[]byte("new secret")}}}}
			_, err = c.Modify(ctx, "uid=ann,ou=people,dc=example,dc=org", change)
			_, extended := c.Extended(ctx, "1.3.6.1.4.1.4203.1.11.1", nil, nil)
			for _, err := range []error{err, extended} {
				var e *ldap.Error
				if refused := errors.As(err, &e) && e.Code == ldap.UnwillingToPerform && strings.Contains(e.Diagnostic, "audit log cannot be written"); refused != (mode == "stop-writes") {
					t.Errorf("a write: %v", err)
				}
			}
			s.with(true, func(v Verbs) {
				status, err := v.Status(ctx)
				if err != nil || !strings.Contains(fmt.Sprint(status.Warnings), "the audit log") || status.Audit.Trouble == "" {
					t.Errorf("%v, %v", err, status.Warnings)
				}
				if _, err := v.AuditState(ctx); err == nil || !strings.Contains(err.Error(), "cannot be sealed") {
					t.Error(err)
				}
			})
			if err := server.Shutdown(ctx); err == nil || !strings.Contains(err.Error(), "audit log could not be closed in order") {
				t.Error(err)
			}
		})
	}
}

// TestWithoutTrail: it can be switched off.
func TestWithoutTrail(t *testing.T) {
	s := trailSite(t, "audit.enabled = false\n")
	s.write("portolan.toml", strings.Replace(s.text("portolan.toml"), "audit.enabled", "[audit]\nenabled", 1))
	_, stop := s.run()
	s.fill()
	s.with(true, func(v Verbs) {
		if state, err := v.AuditState(t.Context()); err != nil || state.Anchor != "" || state.Live {
			t.Error(state, err)
		}
	})
	stop()
	if _, err := os.Stat(filepath.Join(s.dir, "data", "audit")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("there is an audit log all the same")
	}
	if _, err := os.Stat(filepath.Join(s.dir, "data", "audit.key")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("there is a key all the same")
	}
}
