package chaos

import (
	"bytes"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	goldap "github.com/go-ldap/ldap/v3"
)

// stream counts the answers that come in on a connection and keeps what is not yet a whole one.
type stream struct {
	net.Conn
	mu   sync.Mutex
	rest []byte
	last []byte
}

func (s *stream) Read(b []byte) (int, error) {
	n, err := s.Conn.Read(b)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rest = append(s.rest, b[:n]...)
	for {
		size, ok := frame(s.rest)
		if !ok {
			return n, err
		}
		s.last, s.rest = s.rest[:size:size], s.rest[size:]
	}
}

// frame returns the size of the message that b begins with; false while it is not all there.
func frame(b []byte) (int, bool) {
	if len(b) < 2 {
		return 0, false
	}
	head, size := 2, int(b[1])
	if b[1] >= 0x80 {
		head, size = 2+int(b[1]&0x7f), 0
		if len(b) < head {
			return 0, false
		}
		for _, o := range b[2:head] {
			size = size<<8 | int(o)
		}
	}
	return head + size, len(b) >= head+size
}

// noticeOID names the notice of disconnection (RFC 4511 section 4.4.1).
const noticeOID = "1.3.6.1.4.1.1466.20036"

// anonymousBind is a BindRequest, message 1: version 3, no name, no password.
var anonymousBind = []byte{0x30, 0x0c, 0x02, 0x01, 0x01, 0x60, 0x07, 0x02, 0x01, 0x03, 0x04, 0x00, 0x80, 0x00}

// TestTermDrain ends the server in order under load: exit code 0, clients are told, no answer ends in its middle, and
// every acknowledged write is there.
func TestTermDrain(t *testing.T) {
	s := newSite(t, t.TempDir())
	s.start()
	x := newCrew(t, s, 16, uint64(time.Now().UnixNano()))
	// An operation that comes in while the server ends may be told that it is unavailable.
	x.special = func(code uint16, _ string) verdict {
		if code == goldap.LDAPResultUnavailable || code == goldap.LDAPResultBusy {
			return unknown
		}
		return wrong
	}
	address := strings.TrimPrefix(s.url, "ldap://")
	quiet := make([]*stream, 4)
	for i := range quiet {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		quiet[i] = &stream{Conn: conn}
		if _, err := conn.Write(anonymousBind); err != nil {
			t.Fatal(err)
		}
		// The answer: the connection is a session now.
		if _, err := quiet[i].Read(make([]byte, 512)); err != nil {
			t.Fatal(err)
		}
	}
	var mu sync.Mutex
	var busy []*stream
	x.begin(func() (*goldap.Conn, error) {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return nil, err
		}
		st := &stream{Conn: conn}
		mu.Lock()
		busy = append(busy, st)
		mu.Unlock()
		c := goldap.NewConn(st, false)
		c.Start()
		c.SetTimeout(patience)
		return c, c.Bind(adminDN, s.password)
	})
	x.await(&x.acked, 300)
	begun := time.Now()
	s.stop()
	t.Logf("%d writes acknowledged; ended after %v", x.acked.Load(), time.Since(begun))
	x.finish()
	for i, q := range quiet {
		if err := q.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, struct{ io.Reader }{q}); err != nil {
			t.Errorf("quiet connection %d: %v", i, err)
		}
		if !bytes.HasPrefix(q.last[2:], []byte{0x02, 0x01, 0x00}) || !bytes.Contains(q.last, []byte(noticeOID)) {
			t.Errorf("quiet connection %d: the last message is no notice of disconnection: %q", i, q.last)
		}
	}
	for i, st := range append(busy, quiet...) {
		st.mu.Lock()
		if len(st.rest) != 0 {
			t.Errorf("connection %d: an answer ends in its middle: %q", i, st.rest)
		}
		st.mu.Unlock()
	}
	s.check()
	s.start()
	x.verify()
	if err := s.end(syscall.SIGTERM); err != nil {
		t.Errorf("the end of a quiet server: %v\n%s", err, s.stderr)
	}
}
