package audit

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"portolan/internal/op"
	"portolan/ldap"
)

// body returns a line without its number and its MAC.
func body(line string) string {
	_, rest, _ := strings.Cut(line, ",")
	rest, _, _ = strings.Cut(rest, macHead)
	return strings.TrimPrefix(rest, `"time":"2026-01-31T12:00:00.000000Z",`)
}

func mods(names ...string) (out []ldap.Mod) {
	for _, n := range names {
		out = append(out, ldap.Mod{Op: ldap.ModReplace, Attribute: ldap.Attribute{Type: []byte(n), Values: [][]byte{[]byte("canary")}}})
	}
	return out
}

func TestTrailLines(t *testing.T) {
	const from = `"conn":7,"from":"192.0.2.1:5","via":"ldap://x",`
	alice := person("cn=alice")
	proxied := person("cn=bob")
	proxied.Proxied = alice
	fail := func(code ldap.ResultCode, cause error) func(*op.Request) error {
		return func(*op.Request) error { return ldap.Errorf(code, "canary").Because(cause) }
	}
	filter, err := ldap.ParseFilter("(userPassword=canary)")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		conn   func(c *op.Conn)
		op     ldap.Op
		answer func(req *op.Request) error
		want   string
	}{
		{"a bind", nil, &ldap.BindRequest{Name: []byte("CN=Alice"), Password: []byte("canary")},
			func(req *op.Request) error { req.Conn.SetIdentity(alice); return nil },
			`"event":"bind",` + from + `"msg":3,"who":"cn=alice","method":"simple","result":0,"us":1000`},
		{"a wrong password", nil, &ldap.BindRequest{Name: []byte("cn=alice"), Password: []byte("canary")},
			fail(ldap.InvalidCredentials, fmt.Errorf("%w: canary", op.Reason("wrong password"))),
			`"event":"bind",` + from + `"msg":3,"dn":"cn=alice","method":"simple","result":49,"reason":"wrong password","us":1000`},
		{"a password for a name", nil, &ldap.BindRequest{Name: []byte("canary"), Password: []byte("canary")},
			fail(ldap.InvalidDNSyntax, errors.New("canary")),
			`"event":"bind",` + from + `"msg":3,"dn":"(not a name)","method":"simple","result":34,"us":1000`},
		{"a password in a name", nil, &ldap.BindRequest{Name: []byte(`USERPASSWORD=can\,ary+cn=x,2.5.4.35=canary,dc=x`), Password: []byte("canary")},
			fail(ldap.InvalidCredentials, op.Reason("no such entry")),
			`"event":"bind",` + from + `"msg":3,"dn":"USERPASSWORD=withheld+cn=x,2.5.4.35=withheld,dc=x","method":"simple","result":49,"reason":"no such entry","us":1000`},
		{"a bind in clear text", nil, &ldap.BindRequest{Name: []byte("cn=alice"), Password: []byte("canary")},
			func(req *op.Request) error {
				req.Trace.Note = "exposed credential"
				return ldap.Errorf(ldap.ConfidentialityRequired, "")
			},
			`"event":"bind",` + from + `"msg":3,"dn":"cn=alice","method":"simple","result":13,"note":"exposed credential","us":1000`},
		{"a SASL bind", func(c *op.Conn) { c.SetTLS(&tls.ConnectionState{Version: tls.VersionTLS13}) },
			&ldap.BindRequest{Auth: ldap.AuthSASL, Mechanism: []byte("EXTERNAL"), Credentials: []byte("canary")},
			func(req *op.Request) error { req.Conn.SetIdentity(proxied); return nil },
			`"event":"bind",` + from + `"tls":"1.3","msg":3,"who":"cn=alice","method":"EXTERNAL","authzid":"dn:cn=bob","result":0,"us":1000`},
		{"a step of a SASL bind", nil, &ldap.BindRequest{Auth: ldap.AuthSASL, Mechanism: []byte("X")},
			func(req *op.Request) error { req.Reply.Code = ldap.SASLBindInProgress; return nil }, ""},
		{"a session that must change its password", nil, &ldap.BindRequest{Name: []byte("cn=a")},
			func(req *op.Request) error {
				id := person("cn=a")
				id.Restricted = true
				req.Conn.SetIdentity(id)
				return nil
			},
			`"event":"bind",` + from + `"msg":3,"who":"cn=a","method":"simple","marks":["must change its password"],"result":0,"us":1000`},
		{"a search", nil, &ldap.SearchRequest{Filter: filter}, nil, ""},
		{"a search that finds nothing", nil, &ldap.SearchRequest{Filter: filter}, fail(ldap.NoSuchObject, nil), ""},
		{"a search in clear text", nil, &ldap.SearchRequest{Base: []byte("dc=x"), Filter: filter}, fail(ldap.ConfidentialityRequired, nil),
			`"event":"refused","op":"search",` + from + `"msg":3,"who":"","dn":"dc=x","result":13,"us":1000`},
		{"a search as somebody else", func(c *op.Conn) { c.SetIdentity(proxied) }, &ldap.SearchRequest{Base: []byte("dc=x"), Filter: filter}, nil,
			`"event":"proxy","op":"search",` + from + `"msg":3,"who":"cn=alice","method":"simple","authzid":"dn:cn=bob","dn":"dc=x","result":0,"us":1000`},
		{"a compare that may not be done as somebody else", func(c *op.Conn) { c.SetIdentity(alice) }, &ldap.CompareRequest{Entry: []byte("cn=x"), Attr: []byte("userPassword"), Value: []byte("canary")},
			fail(ldap.AuthorizationDenied, nil),
			`"event":"refused","op":"compare",` + from + `"msg":3,"who":"cn=alice","method":"simple","dn":"cn=x","result":123,"us":1000`},
		{"an add", func(c *op.Conn) { c.SetIdentity(alice) }, &ldap.AddRequest{Entry: []byte("cn=x"), Attributes: []ldap.Attribute{
			{Type: []byte("cn"), Values: [][]byte{[]byte("canary")}}, {Type: []byte("userPassword"), Values: [][]byte{[]byte("canary")}}}},
			func(req *op.Request) error { req.Trace.Seq = 9; return nil },
			`"event":"write","op":"add",` + from + `"msg":3,"who":"cn=alice","method":"simple","dn":"cn=x","attrs":["cn","userPassword"],"marks":["credential"],"result":0,"us":1000,"seq":9`},
		{"a modify that is not allowed", func(c *op.Conn) { c.SetIdentity(alice) }, &ldap.ModifyRequest{Object: []byte("cn=x"), Changes: mods("userPassword;x-a", "portolanAccountDisabled")},
			fail(ldap.InsufficientAccessRights, nil),
			`"event":"write","op":"modify",` + from + `"msg":3,"who":"cn=alice","method":"simple","dn":"cn=x","attrs":["replace userPassword;x-a","replace portolanAccountDisabled"],"marks":["credential","account"],"result":50,"us":1000`},
		{"a delete", nil, &ldap.DelRequest{Entry: []byte("cn=x\ncn=y")}, nil,
			`"event":"write","op":"delete",` + from + `"msg":3,"who":"","dn":"cn=x\u000acn=y","result":0,"us":1000`},
		{"a rename", nil, &ldap.ModifyDNRequest{Entry: []byte("cn=x"), NewRDN: []byte("userPassword=canary"), NewSuperior: []byte("ou=y"), HasNewSuperior: true}, nil,
			`"event":"write","op":"modrdn",` + from + `"msg":3,"who":"","dn":"cn=x","newrdn":"userPassword=withheld","newsuperior":"ou=y","result":0,"us":1000`},
		{"a password modify", func(c *op.Conn) { c.SetIdentity(alice) }, &ldap.ExtendedRequest{Name: []byte(passwdOID), Value: []byte("canary"), HasValue: true},
			func(req *op.Request) error { req.Trace.DN, req.Trace.Seq = "cn=x", 3; return nil },
			`"event":"write","op":"passwd",` + from + `"msg":3,"who":"cn=alice","method":"simple","dn":"cn=x","marks":["credential"],"result":0,"us":1000,"seq":3`},
		{"an unknown extended operation", nil, &ldap.ExtendedRequest{Name: []byte("9.9"), Value: []byte("canary"), HasValue: true}, fail(ldap.ProtocolError, nil), ""},
		{"one that writes although nobody said so", nil, &ldap.ExtendedRequest{Name: []byte("9.9")}, func(req *op.Request) error { req.Trace.Seq = 4; return nil },
			`"event":"write","op":"extended",` + from + `"msg":3,"who":"","result":0,"us":1000,"seq":4`},
		{"an administrative operation", func(c *op.Conn) {
			*c = op.Conn{ID: 8, Control: true, Listener: "control", Transport: op.Unix, Peer: &op.PeerCred{PID: 5, UID: 0}}
			c.SetIdentity(&op.Identity{Admin: true, Method: "EXTERNAL"})
		}, &ldap.ExtendedRequest{Name: []byte("1.2.3"), Value: []byte("canary"), HasValue: true}, nil,
			`"event":"admin","op":"status","conn":8,"from":"unix uid=0 pid=5","via":"control","msg":3,"who":"","method":"EXTERNAL","result":0,"us":1000`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t)
			trail := s.open()
			conn := s.client()
			if c.conn != nil {
				c.conn(conn)
			}
			_ = s.serve(trail, conn, c.op, c.answer)
			s.close(trail)
			var got []string
			for _, l := range s.lines() {
				if b := body(l); !strings.HasPrefix(b, `"event":"file"`) && !strings.HasPrefix(b, `"event":"checkpoint"`) {
					got = append(got, b)
				}
				if strings.Contains(l, "canary") {
					t.Errorf("a secret is in the log: %s", l)
				}
			}
			if strings.Join(got, "\n") != c.want {
				t.Errorf("got  %s\nwant %s", strings.Join(got, "\n"), c.want)
			}
		})
	}
}

// TestPanicHasALine: an operation that panics is in the log, and the panic goes on.
func TestPanicHasALine(t *testing.T) {
	s := newSite(t)
	trail := s.open()
	func() {
		defer func() {
			if v := recover(); v != "oops" {
				t.Error(v)
			}
		}()
		s.serve(trail, s.client(), &ldap.DelRequest{Entry: []byte("cn=x")}, func(*op.Request) error { panic("oops") })
	}()
	s.close(trail)
	if e := s.events("write"); len(e) != 1 || e[0]["result"] != 80.0 {
		t.Error(e)
	}
}

// TestGather: what repeats within a second is one line more.
func TestGather(t *testing.T) {
	s := newSite(t)
	trail := s.open()
	bind := func(n int, dn, addr string) {
		for range n {
			c := &op.Conn{ID: 7, Listener: "ldap://x", Remote: netip.MustParseAddrPort(addr)}
			if err := s.serve(trail, c, &ldap.BindRequest{Name: []byte(dn)}, func(req *op.Request) error {
				req.Conn.SetIdentity(person(dn))
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		}
	}
	bind(1000, "cn=mail", "192.0.2.1:5")
	bind(1, "cn=mail", "192.0.2.2:5")
	bind(2, "cn=a", "192.0.2.1:6")
	s.clock.move(time.Second)
	bind(3, "cn=a", "192.0.2.1:6")
	s.close(trail)
	count := map[string]float64{}
	lines := 0
	for _, m := range s.events("bind") {
		lines++
		n, _ := m["count"].(float64)
		from, _, _ := strings.Cut(m["from"].(string), ":")
		count[m["who"].(string)+" "+from] += max(n, 1)
	}
	if want := "map[cn=a 192.0.2.1:5 cn=mail 192.0.2.1:1000 cn=mail 192.0.2.2:1]"; fmt.Sprint(count) != want || lines != 7 {
		t.Errorf("%d lines, %v\n%s", lines, count, strings.Join(s.lines(), "\n"))
	}
	s.o.Policy.GatherBinds = false
	trail = s.open()
	bind(10, "cn=mail", "192.0.2.1:5")
	s.close(trail)
	if n := len(s.events("bind")); n != 17 {
		t.Errorf("%d lines although nothing is gathered", n)
	}
	s.sound()
}

// TestFloodOfRefusals: nobody can fill the disk, or push old lines out, by being refused.
func TestFloodOfRefusals(t *testing.T) {
	s := newSite(t)
	trail := s.open()
	const all = 50_000
	for i := range all {
		c := &op.Conn{ID: 7, Listener: "ldap://x", Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i % 20), byte(i >> 8), byte(i)}), 1)}
		var m ldap.Op = &ldap.BindRequest{Name: fmt.Appendf(nil, "cn=%d", i)}
		if i%2 == 1 {
			m = &ldap.DelRequest{Entry: fmt.Appendf(nil, "cn=%d", i)}
		}
		_ = s.serve(trail, c, m, func(*op.Request) error {
			return ldap.Errorf(ldap.InvalidCredentials, "").Because(op.Reason("no such entry"))
		})
	}
	s.close(trail)
	lines, count := 0, 0.0
	for _, event := range []string{"bind", "write"} {
		for _, m := range s.events(event) {
			lines++
			n, _ := m["count"].(float64)
			count += max(n, 1)
		}
	}
	if lines > maxRefusals+maxRepeats || count != all {
		t.Errorf("%d lines stand for %v refusals", lines, count)
	}
}

func TestStartTLSLines(t *testing.T) {
	s := newSite(t)
	trail := s.open()
	trail.StartTLS(s.client(), nil)
	trail.StartTLS(s.client(), ldap.Errorf(ldap.ProtocolError, ""))
	s.close(trail)
	if e := s.events("starttls"); len(e) != 2 || e[0]["result"] != 0.0 || e[1]["result"] != 2.0 {
		t.Error(e)
	}
}

// TestRotation: by age, by size, by others, with files that go missing afterwards.
func TestRotation(t *testing.T) {
	s := newSite(t)
	s.o.Policy.MaxAge = time.Hour
	trail := s.open()
	tick := func() {
		trail.ask(func() { trail.tick(s.clock.Now()) })
		if _, err := trail.Seal(); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 4 {
		s.write(trail, fmt.Sprintf("cn=%d", i))
		s.clock.move(time.Hour)
		tick()
		tick() // an empty file is not rotated
	}
	// The age counts over restarts.
	s.clock.move(40 * time.Minute)
	s.close(trail)
	trail = s.open()
	s.clock.move(20 * time.Minute)
	tick()
	// Somebody else moves the file away.
	s.write(trail, "cn=moved")
	if err := os.Rename(s.o.File, s.o.File+"-moved"); err != nil {
		t.Fatal(err)
	}
	s.write(trail, "cn=moved too")
	if err := trail.Reopen(); err != nil {
		t.Fatal(err)
	}
	s.write(trail, "cn=new")
	s.close(trail)
	s.sound()
	files, err := listFiles(s.o.File)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 7 || files[5].path != s.o.File+"-moved" || files[6].path != s.o.File {
		t.Fatal(files)
	}
	for i, f := range files {
		if err := os.Rename(f.path, filepath.Join(s.dir, "away")); err != nil {
			t.Fatal(err)
		}
		r := s.verify()
		last := i == len(files)-1
		kinds := map[Kind]bool{}
		for _, x := range r.Findings {
			kinds[x.Kind] = true
		}
		if !kinds[Missing] && !last || last && !kinds[CutOff] {
			t.Errorf("without %s: %v", f.path, r.Findings)
		}
		if err := os.Rename(filepath.Join(s.dir, "away"), f.path); err != nil {
			t.Fatal(err)
		}
	}
	// Retiring is no tampering, but removing more than was retired is.
	s.o.Policy.Keep, s.o.Policy.Compress = 2, true
	trail = s.open()
	tick()
	tick()
	s.close(trail)
	r := s.sound(Retired)
	if files, err = listFiles(s.o.File); err != nil || len(files) != 4 || !strings.HasSuffix(files[0].path, gzSuffix) {
		t.Fatal(files, err, s.log.String())
	}
	if e := s.events("retired"); len(e) != 1 || e[0]["through"] != float64(r.First-1) {
		t.Error(e)
	}
	if err := os.Remove(files[0].path); err != nil {
		t.Fatal(err)
	}
	if got := found(s.verify()); fmt.Sprint(got) != fmt.Sprintf("[missing :0 %d-%d]", r.First, files[1].first-1) {
		t.Error(got)
	}
	// A compressed file that is damaged.
	whole, err := os.ReadFile(files[1].path)
	if err != nil {
		t.Fatal(err)
	}
	whole[len(whole)/2] ^= 1
	if err := os.WriteFile(files[1].path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(found(s.verify())); !strings.Contains(got, string(Damage)) && !strings.Contains(got, string(Altered)) {
		t.Error(got)
	}
}

// TestReopenRefuses what would make a file that cannot be verified.
func TestReopenRefuses(t *testing.T) {
	s := newSite(t)
	d := s.onDisk()
	trail := s.open()
	if err := trail.Reopen(); err != nil { // the same file
		t.Error(err)
	}
	s.write(trail, "cn=a")
	if err := os.Rename(s.o.File, s.o.File+"-old"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.o.File, []byte("somebody else's\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := trail.Reopen(); err == nil || !strings.Contains(err.Error(), "move it away") {
		t.Error(err)
	}
	if err := os.Remove(s.o.File); err != nil {
		t.Fatal(err)
	}
	d.room.Store(10)
	s.write(trail, "cn=b")
	if err := trail.Reopen(); err == nil || !strings.Contains(err.Error(), "could not take") {
		t.Error(err)
	}
	d.room.Store(1 << 40)
	if err := trail.Reopen(); err != nil {
		t.Error(err)
	}
	s.write(trail, "cn=c")
	s.close(trail)
	s.sound(Lost)
	if err := trail.Reopen(); !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
	trail.Event("too late")
	if err := trail.Close(); err != nil {
		t.Error(err)
	}
}

func FuzzQuote(f *testing.F) {
	f.Add([]byte("a\"b\\c\n\x00\u2028\xff\xf0\x9f\x98\x80\ufffd"))
	f.Add([]byte(strings.Repeat("\u00e4", maxText)))
	f.Fuzz(func(t *testing.T, text []byte) {
		b := quote(nil, text)
		var s string
		if err := json.Unmarshal(b, &s); err != nil {
			t.Fatalf("%q: %v", b, err)
		}
		for _, c := range b {
			if c < 0x20 || c == 0x7f {
				t.Fatalf("%q holds a control character", b)
			}
		}
		if want := strings.ToValidUTF8(string(text), "\ufffd"); len(text) <= maxText && len(s) < len(text) && s != want {
			t.Errorf("%q became %q", text, s)
		}
	})
}

func FuzzShow(f *testing.F) {
	secret := NewNames([]string{"userPassword"})
	f.Add([]byte(`cn=a\,b+userPassword=x,dc="y,userPassword=z";userpassword;x-a=q`))
	f.Fuzz(func(t *testing.T, text []byte) {
		shown := secret.showStrictly(text)
		dn, err := ldap.ParseDN(string(text))
		if err != nil {
			return
		}
		for _, rdn := range dn {
			for _, ava := range rdn {
				if len(text) <= maxName && secret.Has([]byte(ava.Type)) {
					again, err := ldap.ParseDN(string(shown))
					if err != nil {
						t.Fatalf("%q became %q", text, shown)
					}
					for i := range again {
						for j := range again[i] {
							if secret.Has([]byte(again[i][j].Type)) && string(again[i][j].Value) != "withheld" {
								t.Fatalf("%q became %q", text, shown)
							}
						}
					}
				}
			}
		}
	})
}

// BenchmarkTrail measures what the log costs an operation.
func BenchmarkTrail(b *testing.B) {
	run := func(name string, m ldap.Op, answer func(req *op.Request) error) {
		b.Run(name, func(b *testing.B) {
			s := newSite(b)
			s.o.Now, s.o.Journal = time.Now, nil
			trail := s.open()
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				c := s.client()
				c.SetIdentity(person("cn=mail,ou=services,dc=example,dc=org"))
				req := &op.Request{Conn: c, ID: 3, Op: m, Identity: c.Identity(), Start: time.Now()}
				h := trail.Middleware()(op.HandlerFunc(func(_ context.Context, req *op.Request, _ op.Writer) error { return answer(req) }))
				for pb.Next() {
					if err := h.Serve(b.Context(), req, nil); err != nil {
						b.Error(err)
					}
				}
			})
			b.StopTimer()
			s.close(trail)
		})
	}
	dn := []byte("uid=alice,ou=people,dc=example,dc=org")
	nothing := func(*op.Request) error { return nil }
	run("search", &ldap.SearchRequest{Base: dn}, nothing)
	run("bind", &ldap.BindRequest{Name: dn}, nothing)
	run("write", &ldap.ModifyRequest{Object: dn, Changes: mods("sn", "mail")}, func(req *op.Request) error { req.Trace.Seq = 1; return nil })
}

// BenchmarkChain measures what numbering and binding a line costs the writer.
func BenchmarkChain(b *testing.B) {
	c := chain{sealer: newSealer(make([]byte, keySize))}
	line := []byte(body(strings.Repeat("x,", 120)))
	var buf []byte
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	for b.Loop() {
		buf = c.next(buf[:0], line)
	}
}

// BenchmarkVerify measures the verification of a line.
func BenchmarkVerify(b *testing.B) {
	key := make([]byte, keySize)
	c := chain{sealer: newSealer(key)}
	text := c.next(nil, []byte(`"time":"2026-01-31T12:00:00.000000Z","event":"file","prev":"`+mac{}.String()+`"`))
	for range 10_000 {
		text = c.next(text, []byte(`"time":"2026-01-31T12:00:00.000000Z","event":"write","op":"modify","who":"`+strings.Repeat("x", 200)+`"`))
	}
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		v := newVerifier(key)
		in := newLineReader(strings.NewReader(string(text)))
		for {
			raw, err := in.next()
			if errors.Is(err, io.EOF) {
				break
			}
			v.line(raw)
		}
		if v.end("x").Bad() {
			b.Fatal("bad")
		}
	}
}
