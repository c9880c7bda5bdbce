package ldaptest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"portolan/ber"
	"portolan/internal/op"
	"portolan/ldap"
)

// patience is how long a dialogue waits for the server; it ends a test that has failed already.
const patience = 3 * time.Minute

// dialogue is a script in progress.
type dialogue struct {
	t     testing.TB
	s     *Server
	name  string
	conns map[string]*talker
	vars  map[string]string
}

// talker is the client's end of one connection.
type talker struct {
	nc    net.Conn
	in    []byte         // read, not decoded
	queue []ldap.Message // decoded, not asked for
	cork  []byte
	held  bool // requests gather in cork
	last  int32
	used  map[int32]byte // request tags by message id
	ended bool           // the end of the stream was read
}

// Dialogue holds a conversation with the server and reports every difference between what the script says and what the
// server answered, with the line in the script. name is what errors call the script.
func (s *Server) Dialogue(t testing.TB, name, script string) {
	t.Helper()
	steps, err := parseScript(script)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	d := &dialogue{t: t, s: s, name: name, conns: map[string]*talker{}, vars: map[string]string{}}
	defer d.close()
	for i := range steps {
		if err := d.step(&steps[i]); err != nil {
			t.Fatalf("%s:%d: %s %s: %v", name, steps[i].line, steps[i].conn, steps[i].verb, err)
		}
	}
	d.silence()
}

func (d *dialogue) close() {
	for _, c := range d.conns {
		c.nc.Close()
	}
}

// silence ends all connections and reports what the server sent without being asked.
func (d *dialogue) silence() {
	for name, c := range d.conns {
		if !c.ended {
			if half, ok := c.nc.(interface{ CloseWrite() error }); ok {
				half.CloseWrite()
			}
		}
		for {
			m, err := c.next()
			if err != nil {
				break
			}
			d.t.Errorf("%s: at the end, %s was sent something that nobody asked for:\n%s", d.name, name, render([]ldap.Message{m}))
		}
	}
}

// conn returns the connection of this name.
func (d *dialogue) conn(name string) (*talker, error) {
	if c := d.conns[name]; c != nil {
		return c, nil
	}
	nc, err := net.Dial("tcp", d.s.Addr)
	if err != nil {
		return nil, err
	}
	return d.talk(name, nc)
}

// open makes a connection of another kind: "tls [as=DN]" begins with TLS, with a certificate of this subject, and "unix uid=N
// [gid=N]" is that of a process of this user.
func (d *dialogue) open(s *step) error {
	r, err := d.take(s)
	switch {
	case err != nil:
		return err
	case d.conns[s.conn] != nil:
		return fmt.Errorf("the connection is open already")
	case len(r.args) != 1:
		return fmt.Errorf("write tls or unix")
	}
	var nc net.Conn
	switch r.args[0] {
	case "tls":
		if nc, err = net.Dial("tcp", d.s.Secure); err == nil {
			nc, err = d.secure(nc, r.options["as"])
		}
	case "unix":
		var uid, gid int32
		if err = errors.Join(r.int("uid", &uid), r.int("gid", &gid)); err == nil {
			nc, err = d.s.DialUnix(int(uid), int(gid))
		}
	default:
		err = fmt.Errorf("write tls or unix")
	}
	if err != nil {
		return err
	}
	_, err = d.talk(s.conn, nc)
	return err
}

// secure does the client's part of a TLS handshake.
func (d *dialogue) secure(nc net.Conn, as string) (net.Conn, error) {
	if d.s.options.Authority == nil {
		return nil, fmt.Errorf("the server has no TLS: add a file tls to the dialogue")
	}
	config, err := d.s.options.Authority.Client(as)
	if err != nil {
		return nil, err
	}
	tc := tls.Client(nc, config)
	return tc, tc.Handshake()
}

// startTLS sends a StartTLS request, compares the answer, and goes over to TLS where that is success.
func (d *dialogue) startTLS(c *talker, s *step) error {
	r, err := d.take(s)
	if err != nil {
		return err
	}
	c.last++
	m := ldap.Message{ID: c.last, Op: &ldap.ExtendedRequest{Name: []byte(startTLSOID)}}
	c.used[m.ID] = m.Op.Tag()
	if err := c.send(m.Append(nil)); err != nil {
		return err
	}
	if err := d.answered(c, s, m.ID); err != nil {
		return err
	}
	if !slices.ContainsFunc(s.answer, func(e expectLine) bool { return e.words[0].text == "success" }) {
		return nil
	}
	if len(c.in) > 0 {
		return fmt.Errorf("% x between the answer and the handshake", c.in)
	}
	c.nc, err = d.secure(c.nc, r.options["as"])
	return err
}

// talk begins a connection's part in the dialogue.
func (d *dialogue) talk(name string, nc net.Conn) (*talker, error) {
	if err := nc.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	c := &talker{nc: nc, used: map[int32]byte{}}
	d.conns[name] = c
	return c, nil
}

func (d *dialogue) step(s *step) error {
	if s.verb == "open" && len(s.words) > 0 {
		return d.open(s)
	}
	c, err := d.conn(s.conn)
	if err != nil {
		return err
	}
	switch s.verb {
	case "open": // nothing: the connection is
	case "starttls":
		return d.startTLS(c, s)
	case "scram":
		return d.scram(c, s)
	case "close":
		c.nc.Close()
		delete(d.conns, s.conn)
		return nil
	case "cork":
		c.held = true
		return nil
	case "uncork":
		c.held = false
		return c.send(nil)
	case "advance":
		by, err := time.ParseDuration(s.rest)
		d.s.clock.Advance(by)
		return err
	case "totp", "lines":
		return d.derive(s)
	case "waited":
		by, err := time.ParseDuration(s.rest)
		if had := d.s.clock.Waited(); err == nil && had != by {
			d.t.Errorf("%s:%d: answers have waited %v, not %v", d.name, s.line, had, by)
		}
		d.s.clock.waits.Store(0)
		return err
	case "release":
		d.s.hold.release()
		return nil
	case "next":
		r, err := d.take(s)
		if err != nil {
			return err
		}
		return d.nextOf(c, s, r.id)
	case "recv":
		r, err := d.take(s)
		if err != nil {
			return err
		}
		return d.answered(c, s, r.id)
	case "raw":
		return d.raw(c, s)
	default:
		return d.request(c, s)
	}
	return nil
}

// raw sends octets: options come first, then octets in their notation.
func (d *dialogue) raw(c *talker, s *step) error {
	rest := s.rest
	var id int32
	if text, ok := strings.CutPrefix(rest, "id="); ok {
		if _, err := fmt.Sscanf(text, "%d", &id); err != nil {
			return err
		}
		_, rest, _ = strings.Cut(rest, " ")
	}
	b, err := octets(rest)
	if err != nil {
		return err
	}
	if _, tag, ok := ldap.PeekRequest(b); ok {
		c.used[id] = tag
	}
	if err := c.send(b); err != nil {
		return err
	}
	return d.answered(c, s, id)
}

func (d *dialogue) request(c *talker, s *step) error {
	r, err := d.take(s)
	if err != nil {
		return err
	}
	m := ldap.Message{ID: r.id, Controls: r.ctl}
	if m.Op, err = r.op(); err != nil {
		return err
	}
	if m.ID == 0 {
		if _, given := r.options["id"]; !given && !strings.Contains(" "+s.rest, " id=0") {
			m.ID = c.last + 1
		}
	}
	c.last = max(c.last, m.ID)
	c.used[m.ID] = m.Op.Tag()
	if err := c.send(m.Append(nil)); err != nil {
		return err
	}
	return d.answered(c, s, m.ID)
}

func (c *talker) send(b []byte) error {
	c.cork = append(c.cork, b...)
	if c.held || len(c.cork) == 0 {
		return nil
	}
	b, c.cork = c.cork, nil
	_, err := c.nc.Write(b)
	return err
}

// next returns the next message; io.EOF when the server has closed the connection.
func (c *talker) next() (ldap.Message, error) {
	if len(c.queue) > 0 {
		m := c.queue[0]
		c.queue = c.queue[1:]
		return m, nil
	}
	return c.read()
}

// read decodes one message from the network.
func (c *talker) read() (ldap.Message, error) {
	for {
		size, state := ber.Frame(c.in, 1<<28)
		switch state {
		case ber.FrameWhole:
			frame := c.in[:size:size]
			c.in = c.in[size:]
			return ldap.Decode(frame)
		case ber.FrameMore:
		default:
			return ldap.Message{}, fmt.Errorf("the server sent what is no LDAPMessage: % x", c.in[:min(len(c.in), 40)])
		}
		buf := make([]byte, 64<<10)
		n, err := c.nc.Read(buf)
		c.in = append(c.in[:len(c.in):len(c.in)], buf[:n]...)
		if n > 0 {
			continue
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return ldap.Message{}, fmt.Errorf("no answer within %v", patience)
		}
		c.ended = true
		if len(c.in) > 0 {
			return ldap.Message{}, fmt.Errorf("the connection ended in the middle of a message")
		}
		return ldap.Message{}, io.EOF
	}
}

// collect returns the messages with this id up to the one that ends the operation.
func (c *talker) collect(id int32) ([]ldap.Message, error) {
	var got, others []ldap.Message
	defer func() { c.queue = append(others, c.queue...) }()
	for {
		m, err := c.next()
		if err != nil {
			return got, err
		}
		if m.ID != id {
			others = append(others, m)
			continue
		}
		got = append(got, m)
		switch m.Op.(type) {
		case *ldap.SearchResultEntry, *ldap.SearchResultReference, *ldap.IntermediateResponse:
		default:
			return got, nil
		}
	}
}

// HoldBase is the base of searches that a dialogue's server holds until they are abandoned or released: what is
// outstanding at a moment is so by construction and not by luck.
const HoldBase = "cn=hold"

// holder is the middleware behind HoldBase.
type holder struct {
	mu   sync.Mutex
	gate chan struct{}
}

func newHolder() *holder { return &holder{gate: make(chan struct{})} }

func (h *holder) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	close(h.gate)
	h.gate = make(chan struct{})
}

func (h *holder) wrap(next op.Handler) op.Handler {
	return op.HandlerFunc(func(ctx context.Context, req *op.Request, w op.Writer) error {
		m, ok := req.Op.(*ldap.SearchRequest)
		if !ok || string(m.Base) != HoldBase {
			return next.Serve(ctx, req, w)
		}
		h.mu.Lock()
		gate := h.gate
		h.mu.Unlock()
		ctx = req.Detach(ctx)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-gate:
			return nil
		}
	})
}
