package audit

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/ldap"
)

// file is a log file in memory.
type file struct {
	mu     sync.Mutex
	buf    bytes.Buffer
	closed bool
}

func (f *file) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.buf.Write(b)
}

func (f *file) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	return nil
}

func (f *file) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.buf.String()
}

// record runs f against an access log and returns what is in the file afterwards.
func record(t *testing.T, f func(a *AccessLog)) string {
	t.Helper()
	out := &file{}
	lines, err := NewLines(func() (io.WriteCloser, error) { return out, nil }, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	now := func() time.Time { return time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC) }
	f(NewAccessLog(lines, now, NewNames([]string{"userPassword"})))
	if err := lines.Close(); err != nil || !out.closed {
		t.Error(err, out.closed)
	}
	return out.String()
}

// served logs one operation that a handler answers.
func served(m ldap.Op, answer func(req *op.Request) error) func(a *AccessLog) {
	return func(a *AccessLog) {
		req := &op.Request{
			Conn: &op.Conn{ID: 7}, ID: 3, Op: m, Start: a.now().Add(-time.Millisecond),
			Controls: []ldap.Control{{OID: []byte("1.2.3"), Critical: true}},
		}
		h := a.Middleware()(op.HandlerFunc(func(_ context.Context, req *op.Request, _ op.Writer) error { return answer(req) }))
		_ = h.Serve(context.Background(), req, nil)
	}
}

func TestAccessLogLines(t *testing.T) {
	filter, err := ldap.ParseFilter("(&(uid=alice)(userPassword=canary-1)(userPassword=canary-2*canary-3))")
	if err != nil {
		t.Fatal(err)
	}
	const begin = "2026-01-31T12:00:00.000000Z conn=7 op=3 "
	for _, c := range []struct {
		name, want string
		do         func(a *AccessLog)
	}{
		{"a search", begin + `search base="dc=example" scope=sub filter="(&(uid=alice)(userPassword=withheld)(userPassword=withheld*withheld))" attrs=cn,mail controls=1.2.3! result=0 entries=2 examined=5 us=1000 plan="eq(uid)=1"` + "\n",
			served(&ldap.SearchRequest{Base: []byte("dc=example"), Scope: ldap.ScopeSub, Filter: filter, Attributes: [][]byte{[]byte("cn"), []byte("mail")}}, func(req *op.Request) error {
				req.Trace = op.Trace{Entries: 2, Examined: 5}
				req.Trace.Plan.Set("eq(uid)=1")
				return nil
			})},
		{"a bind that fails", begin + `bind dn="cn=x" method=simple controls=1.2.3! result=49 us=1000 cause="wrong password"` + "\n",
			served(&ldap.BindRequest{Name: []byte("cn=x"), Password: []byte("canary-4")}, func(*op.Request) error {
				return ldap.Errorf(ldap.InvalidCredentials, "").Because(errors.New("wrong password"))
			})},
		{"a bind with a password for a name", begin + `bind dn="(not a name)" method=simple controls=1.2.3! result=34 us=1000` + "\n",
			served(&ldap.BindRequest{Name: []byte("canary-6")}, func(*op.Request) error { return ldap.Errorf(ldap.InvalidDNSyntax, "") })},
		{"a name with a secret in it", begin + `delete dn="cn=x+userpassword=withheld,dc=y" controls=1.2.3! result=32 us=1000` + "\n",
			served(&ldap.DelRequest{Entry: []byte("cn=x+userpassword=canary-7,dc=y")}, func(*op.Request) error { return ldap.Errorf(ldap.NoSuchObject, "") })},
		{"a StartTLS", "2026-01-31T12:00:00.000000Z conn=7 starttls result=2\n",
			func(a *AccessLog) { a.StartTLS(&op.Conn{ID: 7}, ldap.Errorf(ldap.ProtocolError, "")) }},
		{"a name that wants to be a line of its own", begin + `delete dn="cn=x\x0aconn=8 \"y\"" controls=1.2.3! result=0 us=1000` + "\n",
			served(&ldap.DelRequest{Entry: []byte("cn=x\nconn=8 \"y\"")}, func(*op.Request) error { return nil })},
		{"a name that would steer a terminal", begin + `delete dn="cn=\xc2\x9b31m\xe2\x80\xa8é\xff" controls=1.2.3! result=0 us=1000` + "\n",
			served(&ldap.DelRequest{Entry: []byte("cn=\u009b31m\u2028é\xff")}, func(*op.Request) error { return nil })},
		{"a modify", begin + `modify dn="cn=x" attrs=userPassword,cn controls=1.2.3! result=0 us=1000 seq=9` + "\n",
			served(&ldap.ModifyRequest{Object: []byte("cn=x"), Changes: []ldap.Mod{
				{Attribute: ldap.Attribute{Type: []byte("userPassword"), Values: [][]byte{[]byte("canary-5")}}}, {Attribute: ldap.Attribute{Type: []byte("cn")}},
			}}, func(req *op.Request) error { req.Trace.Seq = 9; return nil })},
		{"somebody who acts as another, and says in what session", begin + `delete dn="cn=x" controls=1.2.3! who="uid=bob" by="uid=alice" result=0 us=1000 session="192.0.2.1 app.example.org 1.2.3 alice\x0a=1" session="  1.2.4 "` + "\n",
			served(&ldap.DelRequest{Entry: []byte("cn=x")}, func(req *op.Request) error {
				alice := &op.Identity{Name: dit.Name{DN: "uid=alice", Norm: "uid=alice"}}
				req.Identity = &op.Identity{Name: dit.Name{DN: "uid=bob", Norm: "uid=bob"}, Proxied: alice}
				req.Trace.Sessions = []op.TrackedSession{
					{SourceIP: "192.0.2.1", SourceName: "app.example.org", Format: "1.2.3", Identifier: "alice\n=1"}, {Format: "1.2.4"},
				}
				return nil
			})},
		{"a connection", "2026-01-31T12:00:00.000000Z conn=7 open from=127.0.0.1:5 listener=\"ldap://x\"\n2026-01-31T12:00:00.000000Z conn=7 close reason=\"unbind\"\n",
			func(a *AccessLog) {
				c := &op.Conn{ID: 7, Listener: "ldap://x", Remote: netip.MustParseAddrPort("127.0.0.1:5")}
				a.Opened(c)
				a.Closed(c, "unbind")
			}},
	} {
		got := record(t, c.do)
		if got != c.want {
			t.Errorf("%s:\ngot  %swant %s", c.name, got, c.want)
		}
		if strings.Contains(got, "canary") {
			t.Errorf("%s: a secret is in the log: %s", c.name, got)
		}
	}
}

func TestReopenGoesOnInTheNewFile(t *testing.T) {
	var files []*file
	lines, err := NewLines(func() (io.WriteCloser, error) {
		files = append(files, &file{})
		return files[len(files)-1], nil
	}, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	add := func(s string) { lines.Append([]byte(s)) }
	add("one\n")
	if err := lines.Reopen(); err != nil {
		t.Fatal(err)
	}
	add("two\n")
	if err := lines.Close(); err != nil {
		t.Fatal(err)
	}
	add("three\n")
	if len(files) != 2 || files[0].String() != "one\n" || files[1].String() != "two\n" || !files[0].closed || lines.Dropped() != 1 {
		t.Errorf("%d files: %q, %q; dropped %d", len(files), files[0], files[1], lines.Dropped())
	}
	if err := lines.Reopen(); err != nil {
		t.Error(err)
	}
}

func BenchmarkAccessLog(b *testing.B) {
	lines, err := NewLines(func() (io.WriteCloser, error) { return &discard{}, nil }, func(error) {})
	if err != nil {
		b.Fatal(err)
	}
	defer lines.Close()
	a := NewAccessLog(lines, time.Now, NewNames([]string{"userPassword", "2.5.4.35"}))
	filter, err := ldap.ParseFilter("(uid=alice)")
	if err != nil {
		b.Fatal(err)
	}
	h := a.Middleware()(op.HandlerFunc(func(context.Context, *op.Request, op.Writer) error { return nil }))
	req := &op.Request{Conn: &op.Conn{ID: 7}, ID: 3, Op: &ldap.SearchRequest{Base: []byte("dc=example,dc=org"), Filter: filter}, Start: time.Now()}
	b.ReportAllocs()
	for b.Loop() {
		if err := h.Serve(context.Background(), req, nil); err != nil {
			b.Fatal(err)
		}
	}
}

type discard struct{}

func (*discard) Write(b []byte) (int, error) { return len(b), nil }
func (*discard) Close() error                { return nil }

// BenchmarkLine is one search of an ordinary client, logged.
func BenchmarkLine(b *testing.B) {
	lines, err := NewLines(func() (io.WriteCloser, error) { return nowhere{}, nil }, func(err error) { b.Error(err) })
	if err != nil {
		b.Fatal(err)
	}
	defer lines.Close()
	a := NewAccessLog(lines, time.Now, NewNames([]string{"userPassword", "2.5.4.35"}))
	req := &op.Request{
		Conn: &op.Conn{ID: 7}, ID: 3, Start: time.Now(), Identity: op.Anonymous(),
		Op: &ldap.SearchRequest{Base: []byte("ou=people,dc=example,dc=org"), Scope: ldap.ScopeSub, Filter: ldap.Eq("uid", "alice")},
	}
	req.Trace.Plan.Set("eq(uid)=1")
	h := a.Middleware()(op.HandlerFunc(func(context.Context, *op.Request, op.Writer) error { return nil }))
	b.ReportAllocs()
	for b.Loop() {
		if err := h.Serve(context.Background(), req, nil); err != nil {
			b.Fatal(err)
		}
	}
}

type nowhere struct{}

func (nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (nowhere) Close() error                { return nil }

// TestAccessLogRemembersNothingTooLong: what lines have in common is remembered between them, but not longer than it is right.
func TestAccessLogRemembersNothingTooLong(t *testing.T) {
	at := time.Date(2026, 1, 31, 23, 59, 59, 999_999_000, time.UTC)
	out := &file{}
	lines, err := NewLines(func() (io.WriteCloser, error) { return out, nil }, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	secret := NewNames([]string{"userPassword"})
	a := NewAccessLog(lines, func() time.Time { return at }, secret)
	search := func(base, who string, err error) {
		req := &op.Request{Conn: &op.Conn{ID: 7}, Op: &ldap.SearchRequest{Base: []byte(base), Filter: ldap.Present("objectClass")}, Start: at,
			Identity: &op.Identity{Name: dit.Name{DN: who, Norm: who}}}
		_ = a.Middleware()(op.HandlerFunc(func(context.Context, *op.Request, op.Writer) error { return err })).Serve(context.Background(), req, nil)
	}
	// The memory is in a pool that may be emptied at any time: right it must be with it and without.
	search("pin=1234,dc=example", "cn=a", nil)
	search("pin=1234,dc=example", "cn=a", nil)
	at = at.Add(time.Microsecond)
	secret.Set([]string{"userPassword", "pin"})
	search("pin=1234,dc=example", "cn=b\n", nil)
	search("pin=1234,dc=example", "cn=b\n", nil)
	search("my password", "cn=a", nil)
	search("my password", "cn=a", ldap.Errorf(ldap.InvalidDNSyntax, "no"))
	if err := lines.Close(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(out.String()) {
		got = append(got, line[:strings.Index(line, " us=")])
	}
	tail := ` scope=base filter="(objectClass=*)" who=`
	want := []string{
		`2026-01-31T23:59:59.999999Z conn=7 op=0 search base="pin=1234,dc=example"` + tail + `"cn=a" result=0 entries=0 examined=0`,
		`2026-01-31T23:59:59.999999Z conn=7 op=0 search base="pin=1234,dc=example"` + tail + `"cn=a" result=0 entries=0 examined=0`,
		`2026-02-01T00:00:00.000000Z conn=7 op=0 search base="pin=withheld,dc=example"` + tail + `"cn=b\x0a" result=0 entries=0 examined=0`,
		`2026-02-01T00:00:00.000000Z conn=7 op=0 search base="pin=withheld,dc=example"` + tail + `"cn=b\x0a" result=0 entries=0 examined=0`,
		`2026-02-01T00:00:00.000000Z conn=7 op=0 search base="my password"` + tail + `"cn=a" result=0 entries=0 examined=0`,
		`2026-02-01T00:00:00.000000Z conn=7 op=0 search base="(not a name)"` + tail + `"cn=a" result=34 entries=0 examined=0`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
