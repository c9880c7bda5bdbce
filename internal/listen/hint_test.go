package listen

import (
	"bytes"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// kept is a log that can be read while it is written.
type kept struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (k *kept) Write(b []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.b.Write(b)
}

// lines returns the warnings that have a text in them.
func (k *kept) lines(text string) (found []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, line := range strings.Split(k.b.String(), "\n") {
		if strings.Contains(line, "level=WARN") && strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	return found
}

// TestWrongPort: a client that speaks TLS to the port for LDAP, and one that speaks LDAP to the port for TLS, get nowhere and do not
// know why. The operator is told what to change, once a minute with the number of times.
func TestWrongPort(t *testing.T) {
	a := newAuthority(t)
	log := &kept{}
	var late atomic.Int64
	s := start(t, newAsked(), a.load(a.files(t.TempDir(), nil)), func(c *Config) {
		c.Session.Logger = slog.New(slog.NewTextHandler(log, nil))
		begun := time.Now()
		c.Session.Now = func() time.Time { return begun.Add(time.Duration(late.Load())) }
	}, tcp(), tcp(func(l *Listener) { l.URL, l.TLS = "ldaps://127.0.0.1:0", true }))
	for _, x := range []struct {
		text, listener string
		again          func()
	}{
		{"speaks TLS to a port without", "listener=ldap://", func() {
			nc := dial(t, s)
			defer nc.Close()
			if err := tls.Client(nc, &tls.Config{InsecureSkipVerify: true}).Handshake(); err == nil {
				t.Error("a handshake has succeeded")
			}
			_, _ = io.Copy(io.Discard, nc) // until the server has closed it
		}},
		{"speaks LDAP without TLS", "listener=ldaps://", func() {
			nc, err := net.Dial("tcp", s.Addrs()[1].String())
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			_, _ = nc.Write([]byte("\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\x00\x80\x00"))
			_, _ = io.Copy(io.Discard, nc)
		}},
	} {
		for range 3 {
			x.again()
		}
		late.Add(int64(time.Minute))
		x.again()
		got := log.lines(x.text)
		if len(got) != 2 || !strings.Contains(got[0], "times=1") || !strings.Contains(got[1], "times=3") || !strings.Contains(got[0], x.listener) {
			t.Errorf("%s: %q", x.text, got)
		}
	}
	// What is neither is no reason to say so.
	for i, nonsense := range []string{"\x16\x01\x00", "GET / HTTP/1.1\r\n\r\n"} {
		nc, err := net.Dial("tcp", s.Addrs()[i].String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = nc.Write([]byte(nonsense))
		_, _ = io.Copy(io.Discard, nc)
		nc.Close()
	}
	if got := log.lines(""); len(got) != 4 {
		t.Errorf("%q", got)
	}
}
