package session

import (
	"context"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"portolan/internal/op"
	"portolan/ldap"
)

// tape is a connection whose client has said all it will ever say, in pieces of a given size.
type tape struct {
	input []byte
	piece int

	mu     sync.Mutex
	output []byte
	closed bool
	past   bool // the read deadline is in the past
}

func (c *tape) Read(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return 0, net.ErrClosed
	case c.past:
		return 0, os.ErrDeadlineExceeded
	case len(c.input) == 0:
		return 0, io.EOF
	}
	n := copy(b, c.input[:min(len(c.input), c.piece)])
	c.input = c.input[n:]
	return n, nil
}

func (c *tape) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return 0, net.ErrClosed
	}
	c.output = append(c.output, b...)
	return len(b), nil
}

func (c *tape) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	return nil
}

func (c *tape) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.past = !t.IsZero() && t.Before(time.Now())
	return nil
}

func (c *tape) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *tape) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *tape) SetDeadline(t time.Time) error    { return c.SetReadDeadline(t) }
func (c *tape) SetWriteDeadline(time.Time) error { return nil }

// FuzzSession: whatever a client sends, the session ends, and all that it sent are whole LDAPMessages.
func FuzzSession(f *testing.F) {
	for _, seed := range [][]byte{
		join(bind(1, "cn=a", "secret"), search(2, "who"), request(3, &ldap.DelRequest{}), request(4, &ldap.UnbindRequest{})),
		join(saslBind(1, "STEP"), search(2, "who"), saslBind(3, "STEP"), saslBind(4, "STEP")),
		join(search(1, "entry"), abandon(2, 1), cancel(3, 1), extended(4, "1.2.3"), extended(5, oidStartTLS)),
		join(request(1, &ldap.ModifyRequest{}), request(2, &ldap.AddRequest{}), request(3, &ldap.CompareRequest{}), request(4, &ldap.ModifyDNRequest{})),
		{0x30, 0x84, 0x7f, 0xff, 0xff, 0xff}, {0x30, 0x80}, []byte("GET /"),
	} {
		f.Add(seed, 1)
		f.Add(seed, 4096)
	}
	h := newScript()
	handler := op.HandlerFunc(func(ctx context.Context, req *op.Request, w op.Writer) error {
		if q, ok := req.Op.(*ldap.SearchRequest); ok {
			if string(q.Base) == "entry" {
				return send(w, req.ID, 3, 10)
			}
			if len(q.Base)%2 == 1 {
				req.Detach(ctx)
			}
			return nil
		}
		if _, ok := req.Op.(*ldap.BindRequest); ok {
			return h.Serve(ctx, req, w)
		}
		req.Detach(ctx)
		return nil
	})
	f.Fuzz(func(t *testing.T, input []byte, piece int) {
		cfg := testConfig(handler)
		cfg.Limits.MaxPDU, cfg.Limits.BusyAfter = 1<<20, patience
		c := &tape{input: append([]byte(nil), input...), piece: max(1, min(piece, 8192))}
		ended := make(chan struct{})
		s := New(c, &op.Conn{Transport: op.TCP}, cfg, Options{Ended: func() { close(ended) }})
		s.Run()
		wait(t, ended, "end of the session")
		if !c.closed {
			t.Fatal("the connection was left open")
		}
		cl := &client{TB: t, Conn: &tape{input: c.output, piece: 1 << 20}}
		for m := cl.next(); m != nil; m = cl.next() {
			if _, isRequest := ldap.ResponseTag(m.Op.Tag()); isRequest {
				t.Fatalf("the server sent %T", m.Op)
			}
		}
		if len(cl.buf) > 0 {
			t.Fatalf("the output ends with half a message: % x", cl.buf)
		}
		if n := cfg.Stats.Read().Panics; n > 0 {
			t.Fatalf("%d panics", n)
		}
	})
}
