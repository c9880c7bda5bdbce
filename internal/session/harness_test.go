package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"portolan/ber"
	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/ldap"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen. It is no measure of speed.
const patience = 3 * time.Minute

// script is a handler that does what the base of a search says:
//
//	entry          one entry
//	who            the identity as diagnostic
//	tls            whether TLS is on as diagnostic
//	big N          N entries of 1000 octets
//	dbig N         the same, detached
//	block NAME     detached, until release(NAME) or the end of its context
//	stubborn NAME  detached, until release(NAME) only
//	panic, panic-begin, panic-detached, panic-block NAME
//	count          Outstanding as diagnostic
//	after          sets Reply.After, which sends a notification
//	close          calls Conn.Session.Close
//	referral URI, error, typed-error
//	state          the connection's state as diagnostic, made where there is none
//
// Other operations succeed; deletes and modifies detach first.
type script struct {
	mu      sync.Mutex
	started map[string]chan struct{}
	gates   map[string]chan struct{}
	ended   map[string]chan error
	binds   int
}

func newScript() *script {
	return &script{started: map[string]chan struct{}{}, gates: map[string]chan struct{}{}, ended: map[string]chan error{}}
}

func (h *script) points(name string) (started, gate chan struct{}, ended chan error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.started[name] == nil {
		h.started[name], h.gates[name], h.ended[name] = make(chan struct{}), make(chan struct{}), make(chan error, 1)
	}
	return h.started[name], h.gates[name], h.ended[name]
}

func (h *script) release(name string) {
	_, gate, _ := h.points(name)
	close(gate)
}

func (h *script) awaitStart(t testing.TB, name string) {
	t.Helper()
	started, _, _ := h.points(name)
	wait(t, started, "start of "+name)
}

// awaitEnd returns what the context of the blocked operation ended with.
func (h *script) awaitEnd(t testing.TB, name string) error {
	t.Helper()
	_, _, ended := h.points(name)
	select {
	case err := <-ended:
		return err
	case <-time.After(patience):
		t.Fatalf("%s has not ended", name)
		return nil
	}
}

func wait(t testing.TB, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatalf("%s: nothing after %v", what, patience)
	}
}

type kept struct{ closed func() }

func (k *kept) Close() {
	if k.closed != nil {
		k.closed()
	}
}

type keptKey struct{}
type stepKey struct{}

func (h *script) Serve(ctx context.Context, req *op.Request, w op.Writer) error {
	switch q := req.Op.(type) {
	case *ldap.BindRequest:
		return h.bind(ctx, req, q)
	case *ldap.SearchRequest:
		return h.search(ctx, req, q, w)
	case *ldap.DelRequest, *ldap.ModifyRequest:
		req.Detach(ctx)
	case *ldap.ExtendedRequest:
		switch string(q.Name) {
		case oidCancel:
			var id int32
			fmt.Sscan(string(q.Value), &id)
			req.Detach(ctx)
			done, outcome := req.Conn.Session.Cancel(id, req.Identity)
			<-done
			return outcome()
		case "1.2.3":
			req.Reply.Name, req.Reply.Value, req.Reply.HasValue = "1.2.3.4", []byte("v"), true
		default:
			return ldap.Errorf(ldap.ProtocolError, "unknown extended operation")
		}
	}
	return nil
}

func (h *script) bind(ctx context.Context, req *op.Request, q *ldap.BindRequest) error {
	h.mu.Lock()
	h.binds++
	h.mu.Unlock()
	if !req.Conn.Identity().IsAnonymous() || !req.Identity.IsAnonymous() {
		return ldap.Errorf(ldap.Other, "not anonymous at the start of a bind")
	}
	if n := req.Conn.Session.Outstanding(); n != 1 {
		return ldap.Errorf(ldap.Other, "%d operations outstanding at a bind", n)
	}
	if q.Auth == ldap.AuthSASL {
		if string(q.Mechanism) != "STEP" {
			return ldap.Errorf(ldap.AuthMethodNotSupported, "no")
		}
		n := req.Conn.State(stepKey{}, func() any { return new(int) }).(*int)
		*n++
		if *n < 3 {
			req.Reply.Code = ldap.SASLBindInProgress
			req.Reply.SASLCreds, req.Reply.HasSASLCreds = fmt.Appendf(nil, "step %d", *n), true
			return nil
		}
		req.Conn.SetIdentity(identity("cn=sasl"))
		return nil
	}
	name := string(q.Name)
	if blocked, ok := strings.CutPrefix(name, "block "); ok {
		ctx = req.Detach(ctx)
		started, gate, ended := h.points(blocked)
		close(started)
		select {
		case <-gate:
		case <-ctx.Done():
			ended <- ctx.Err()
			return ctx.Err()
		}
	}
	if name == "" {
		return nil
	}
	if string(q.Password) != "secret" {
		req.Conn.SetIdentity(identity(name)) // a handler that gets it wrong: the session must not let it stand
		return ldap.Errorf(ldap.InvalidCredentials, "no")
	}
	req.Conn.SetIdentity(identity(name))
	return nil
}

func identity(dn string) *op.Identity { return &op.Identity{Name: dit.Name{DN: dn, Norm: dn}} }

func (h *script) search(ctx context.Context, req *op.Request, q *ldap.SearchRequest, w op.Writer) error {
	verb, arg, _ := strings.Cut(string(q.Base), " ")
	switch verb {
	case "entry":
		return send(w, req.ID, 1, 10)
	case "who":
		req.Reply.Diagnostic = req.Identity.Name.DN
	case "tls":
		req.Reply.Diagnostic = fmt.Sprint(req.Conn.TLS() != nil)
	case "big", "dbig":
		var n int
		fmt.Sscan(arg, &n)
		if verb == "dbig" {
			req.Detach(ctx)
		}
		return send(w, req.ID, n, 1000)
	case "block", "stubborn":
		ctx = req.Detach(ctx)
		ctx = req.Detach(ctx)
		started, gate, ended := h.points(arg)
		close(started)
		if verb == "stubborn" {
			<-gate
			return ctx.Err()
		}
		select {
		case <-gate:
		case <-ctx.Done():
			ended <- ctx.Err()
			return ctx.Err()
		}
	case "stream":
		ctx = req.Detach(ctx)
		if err := send(w, req.ID, 1, 10); err != nil {
			return err
		}
		<-ctx.Done()
		err := send(w, req.ID, 1, 10)
		_, _, ended := h.points(arg)
		ended <- err
		return ctx.Err()
	case "panic":
		panic("on purpose")
	case "panic-begin":
		w.Begin()
		panic("on purpose")
	case "panic-detached":
		req.Detach(ctx)
		w.Begin()
		panic("on purpose")
	case "count":
		req.Reply.Diagnostic = fmt.Sprint(req.Conn.Session.Outstanding())
	case "after":
		c := req.Conn
		req.Reply.After = func() { c.Session.Notify("1.2.3.99", nil, nil) }
	case "close":
		req.Conn.Session.Close(ldap.Errorf(ldap.StrongerAuthRequired, "go away"))
	case "referral":
		req.Reply.Code = ldap.Referral
		if arg != "" {
			req.Reply.Referrals = []string{arg}
		}
	case "error":
		return errors.New("canary")
	case "typed-error":
		return ldap.Errorf(ldap.NoSuchObject, "gone").Because(errors.New("canary"))
	case "state":
		made := "old"
		req.Conn.State(keptKey{}, func() any { made = "new"; return new(kept) })
		req.Reply.Diagnostic = made
	}
	return nil
}

// send sends n entries with a value of this many octets.
func send(w op.Writer, id int32, n, size int) error {
	e := ldap.SearchResultEntry{Name: []byte("cn=x"), Attributes: []ldap.Attribute{{Type: []byte("a"), Values: [][]byte{make([]byte, size)}}}}
	for range n {
		if err := w.End(ldap.AppendMessage(w.Begin(), id, &e, nil)); err != nil {
			return err
		}
	}
	return nil
}

// client is the other end of a session, octet by octet.
type client struct {
	testing.TB
	net.Conn
	session *Session
	ended   chan struct{}
	stats   *Stats
	buf     []byte
	reason  *string
}

// testConfig has limits that end nothing while a test runs.
func testConfig(h op.Handler) *Config {
	return &Config{
		Handler: h, Stats: new(Stats), Logger: slog.New(slog.DiscardHandler),
		Limits: Limits{BindGrace: time.Hour, SearchGrace: time.Hour, BusyAfter: 0, HandshakeTimeout: patience},
	}
}

// connect starts a session over a loopback TCP connection.
func connect(t testing.TB, cfg *Config) *client {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	near, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return attach(t, cfg, near, far)
}

func attach(t testing.TB, cfg *Config, near, far net.Conn) *client {
	t.Helper()
	c := &client{TB: t, Conn: near, ended: make(chan struct{}), stats: cfg.Stats, reason: new(string)}
	local := *cfg
	local.OnClose = func(_ *op.Conn, reason string) { *c.reason = reason }
	conn := &op.Conn{ID: 1, Listener: "ldap://test", Transport: op.TCP, Loopback: true, Remote: netip.MustParseAddrPort("127.0.0.1:1")}
	c.session = New(far, conn, &local, Options{Ended: func() { close(c.ended) }})
	go c.session.Run()
	near.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() {
		near.Close()
		c.session.Abort()
		wait(t, c.ended, "end of the session")
	})
	return c
}

func request(id int32, o ldap.Op, controls ...ldap.Control) []byte {
	return ldap.AppendMessage(nil, id, o, controls)
}

func search(id int32, base string) []byte {
	return request(id, &ldap.SearchRequest{Base: []byte(base), Filter: presentFilter()})
}

func presentFilter() ldap.Filter {
	f, err := ldap.ParseFilter("(objectClass=*)")
	if err != nil {
		panic(err)
	}
	return f
}

func bind(id int32, name, password string) []byte {
	return request(id, &ldap.BindRequest{Version: 3, Name: []byte(name), Password: []byte(password)})
}

func saslBind(id int32, mech string) []byte {
	return request(id, &ldap.BindRequest{Version: 3, Auth: ldap.AuthSASL, Mechanism: []byte(mech)})
}

func extended(id int32, oid string) []byte {
	return request(id, &ldap.ExtendedRequest{Name: []byte(oid)})
}

func cancel(id, target int32) []byte {
	return request(id, &ldap.ExtendedRequest{Name: []byte(oidCancel), Value: fmt.Append(nil, target), HasValue: true})
}

func abandon(id, target int32) []byte { return request(id, &ldap.AbandonRequest{ID: target}) }

func join(frames ...[]byte) []byte {
	var b []byte
	for _, f := range frames {
		b = append(b, f...)
	}
	return b
}

func (c *client) send(frames ...[]byte) {
	c.Helper()
	if _, err := c.Write(join(frames...)); err != nil {
		c.Fatal(err)
	}
}

// next returns the next message, nil at the end of the stream.
func (c *client) next() *ldap.Message {
	c.Helper()
	for {
		size, state := ber.Frame(c.buf, 1<<20)
		switch state {
		case ber.FrameWhole:
			m, err := ldap.Decode(append([]byte(nil), c.buf[:size]...))
			if err != nil {
				c.Fatalf("the server sent % x: %v", c.buf[:size], err)
			}
			c.buf = c.buf[size:]
			return &m
		case ber.FrameMore:
		default:
			c.Fatalf("the server sent % x", c.buf)
		}
		b := make([]byte, 4096)
		n, err := c.Read(b)
		c.buf = append(c.buf, b[:n]...)
		if n > 0 {
			continue
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			c.Fatal("the server sends nothing")
		}
		if !errors.Is(err, io.EOF) && !strings.Contains(err.Error(), "reset") && !errors.Is(err, io.ErrClosedPipe) {
			c.Fatal(err)
		}
		return nil
	}
}

// describe gives a message as "id kind code diagnostic".
func describe(m *ldap.Message) string {
	if m == nil {
		return "end"
	}
	s := fmt.Sprintf("%d ", m.ID)
	result := func(kind string, r *ldap.Result) {
		s += kind + " " + fmt.Sprint(int32(r.Code))
		if r.Diagnostic != "" {
			s += " " + r.Diagnostic
		}
		if len(r.Referrals) > 0 {
			s += " " + strings.Join(r.Referrals, ",")
		}
	}
	switch p := m.Op.(type) {
	case *ldap.BindResponse:
		result("bind", &p.Result)
		if p.HasServerCreds {
			s += " [" + string(p.ServerCreds) + "]"
		}
	case *ldap.SearchResultEntry:
		s += "entry"
	case *ldap.SearchResultDone:
		result("done", &p.Result)
	case *ldap.ModifyResponse:
		result("modify", &p.Result)
	case *ldap.AddResponse:
		result("add", &p.Result)
	case *ldap.DelResponse:
		result("delete", &p.Result)
	case *ldap.ModifyDNResponse:
		result("modifydn", &p.Result)
	case *ldap.CompareResponse:
		result("compare", &p.Result)
	case *ldap.ExtendedResponse:
		result("extended", &p.Result)
		if p.Name != "" {
			s += " <" + p.Name + ">"
		}
		if p.HasValue {
			s += " [" + string(p.Value) + "]"
		}
	default:
		s += fmt.Sprintf("%T", p)
	}
	return s
}

// expect reads messages and compares them; "..." at the end of a line stands for any rest.
func (c *client) expect(want ...string) {
	c.Helper()
	for _, w := range want {
		got := describe(c.next())
		if head, any := strings.CutSuffix(w, "..."); got != w && !(any && strings.HasPrefix(got, head)) {
			c.Fatalf("got %q, want %q", got, w)
		}
	}
}

// finished waits for the end of the session and returns its reason.
func (c *client) finished() string {
	c.Helper()
	wait(c, c.ended, "end of the session")
	return *c.reason
}
