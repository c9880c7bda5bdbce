package chaos

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	goldap "github.com/go-ldap/ldap/v3"
)

// A crowd are clients that do nothing, too little or everything too slowly. However many there are, others are served and in
// the end they are all gone.

// limits puts lines into the table [limits] of a server that is not running.
func (s *site) limits(lines ...string) {
	s.t.Helper()
	b, err := os.ReadFile(s.config())
	if err != nil {
		s.t.Fatal(err)
	}
	before, after, ok := strings.Cut(string(b), "\n[limits]\n")
	if !ok {
		s.t.Fatalf("no [limits] in %s", b)
	}
	text := before + "\n[limits]\n" + strings.Join(lines, "\n") + "\n" + after
	if err := os.WriteFile(s.config(), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// lair dials the server from one of many addresses of this host, for a crowd from one address is refused.
func lair(i int, address string) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 7, byte(1+i%200))}, Timeout: patience}
	nc, err := d.Dial("tcp", address)
	if err == nil {
		err = nc.SetDeadline(time.Now().Add(4 * patience))
	}
	return nc, err
}

// connections says how many the server counts, that of the question aside.
func (s *site) connections() uint64 {
	s.t.Helper()
	var status struct{ Connections struct{ Open uint64 } }
	if err := json.Unmarshal([]byte(s.run(0, "status", "--json", "--config", s.config())), &status); err != nil {
		s.t.Fatal(err)
	}
	return status.Connections.Open - 1
}

// startTLSRequest is a whole StartTLS request.
var startTLSRequest = append([]byte{0x30, 0x1d, 0x02, 0x01, 0x01, 0x77, 0x18, 0x80, 0x16}, "1.3.6.1.4.1.1466.20037"...)

// stalls are the ways to begin something and not go on with it.
var stalls = []struct {
	name   string
	secure bool
	say    func(nc net.Conn) error
}{
	{"silence", false, func(net.Conn) error { return nil }},
	{"half a header", false, func(nc net.Conn) error { _, err := nc.Write([]byte{0x30}); return err }},
	{"half a request", false, func(nc net.Conn) error { _, err := nc.Write(anonymousBind[:9]); return err }},
	{"a header of two thousand octets", false, func(nc net.Conn) error { _, err := nc.Write([]byte{0x30, 0x82, 0x07, 0xd0, 0x02}); return err }},
	{"StartTLS and silence", false, func(nc net.Conn) error {
		if _, err := nc.Write(startTLSRequest); err != nil {
			return err
		}
		_, err := nc.Read(make([]byte, 256))
		return err
	}},
	{"silence before TLS", true, func(net.Conn) error { return nil }},
	{"half a ClientHello", true, func(nc net.Conn) error {
		_, err := nc.Write([]byte{0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03})
		return err
	}},
}

// addresses returns host:port of the plain and of the TLS listener, from what the configuration says.
func (s *site) addresses() (plain, secure string) {
	s.t.Helper()
	b, err := os.ReadFile(s.config())
	if err != nil {
		s.t.Fatal(err)
	}
	_, after, ok := strings.Cut(string(b), `"ldaps://`)
	if !ok {
		s.t.Fatalf("no ldaps listener in %s", b)
	}
	secure, _, _ = strings.Cut(after, `"`)
	return strings.TrimPrefix(s.url, "ldap://"), secure
}

// trust is the client's side of TLS.
func (s *site) trust() *tls.Config {
	s.t.Helper()
	pem, err := os.ReadFile(filepath.Join(s.dir, "ca.pem"))
	if err != nil {
		s.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		s.t.Fatal("ca.pem holds no certificate")
	}
	return &tls.Config{RootCAs: pool, ServerName: "127.0.0.1", ClientSessionCache: tls.NewLRUClientSessionCache(0)}
}

// honest binds and searches until ctx ends, on new connections and on one that stays. It returns how often, and the longest that
// one round took. Who has himself let the time pass after which the server cuts off such a client (cutoff; 0 for never), on a
// machine that gave him no turn, is rightly cut off, and begins anew.
func (s *site) honest(ctx context.Context, during string, cutoff time.Duration) (rounds int, longest time.Duration) {
	var stays *goldap.Conn
	var used time.Time // when the server has last heard of it
	late := func(since time.Time) bool { return cutoff > 0 && time.Since(since) >= cutoff }
	look := func(c *goldap.Conn) error {
		r, err := c.Search(goldap.NewSearchRequest(suffix, goldap.ScopeBaseObject, goldap.NeverDerefAliases, 0, 0, false, "(objectClass=*)", nil, nil))
		if err == nil && len(r.Entries) != 1 {
			err = fmt.Errorf("%d entries", len(r.Entries))
		}
		return err
	}
	for rounds == 0 || ctx.Err() == nil {
		begun := time.Now()
		c, err := s.dial()
		if err == nil {
			err = look(c)
		}
		if err != nil {
			if c != nil {
				c.Close()
			}
			if late(begun) {
				continue
			}
			s.t.Errorf("%s: a new client: %v", during, err)
			return
		}
		if stays == nil {
			stays = c
			defer func() { stays.Close() }()
		} else {
			switch err := look(stays); {
			case err == nil:
				c.Close()
			case late(used):
				stays.Close()
				stays = c
			default:
				c.Close()
				s.t.Errorf("%s: a client that stays: %v", during, err)
				return
			}
		}
		used = time.Now()
		rounds++
		longest = max(longest, used.Sub(begun))
	}
	return
}

// among runs f while honest clients are served, and says how that went. cutoff is that of honest.
func (s *site) among(what string, cutoff time.Duration, f func()) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	var rounds int
	var longest time.Duration
	wg.Go(func() { rounds, longest = s.honest(ctx, what, cutoff) })
	f()
	cancel()
	wg.Wait()
	s.t.Logf("%s: honest clients were served %d times, at most in %v", what, rounds, longest)
	if rounds == 0 {
		s.t.Errorf("%s: nobody else was served", what)
	}
}

// gone demands that the server ends a connection.
func gone(t *testing.T, what string, nc net.Conn) {
	t.Helper()
	if _, err := io.Copy(io.Discard, nc); err != nil {
		if ne, ok := err.(net.Error); ok && ne.Timeout() {
			t.Errorf("%s: the server keeps the connection", what)
		}
	}
}

func crowdSize() int {
	if full() {
		return 10_000
	}
	return 420
}

// TestHalfOpen: connections stalled in every state before a bind.
func TestHalfOpen(t *testing.T) {
	s := newSite(t, t.TempDir())
	wait := 5 * time.Second
	if full() {
		wait = time.Minute
	}
	s.limits(fmt.Sprintf("bind_timeout = \"%.0fs\"", wait.Seconds()))
	s.start()
	plain, secure := s.addresses()
	n := crowdSize()
	all := make([]net.Conn, n)
	s.among(fmt.Sprintf("%d half-open connections", n), wait, func() {
		for i := range all {
			how := stalls[i%len(stalls)]
			address := plain
			if how.secure {
				address = secure
			}
			begun := time.Now()
			nc, err := lair(i, address)
			if err != nil {
				t.Fatalf("connection %d, %s: %v", i, how.name, err)
			}
			defer nc.Close()
			if err := how.say(nc); err != nil && time.Since(begun) < wait { // else it was cut off already
				t.Fatalf("connection %d, %s: %v", i, how.name, err)
			}
			all[i] = nc
		}
		for i, nc := range all {
			gone(t, stalls[i%len(stalls)].name, nc)
		}
	})
	s.calm(0)
	s.stop()
}

// TestIdleTLS: clients that have come over TLS, were served, and stay without a word.
func TestIdleTLS(t *testing.T) {
	s := newSite(t, t.TempDir())
	idle := 8 * time.Second
	if full() {
		idle = time.Minute
	}
	s.limits(fmt.Sprintf("idle_timeout = \"%.0fs\"", idle.Seconds()), `bind_timeout = "0"`)
	s.start()
	_, secure := s.addresses()
	trust := s.trust()
	n := crowdSize()
	all := make([]net.Conn, n)
	s.among(fmt.Sprintf("%d idle TLS connections", n), idle, func() {
		for i := range all {
			begun := time.Now()
			nc, err := lair(i, secure)
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			c := tls.Client(nc, trust)
			_, err = c.Write(anonymousBind)
			if err == nil {
				_, err = c.Read(make([]byte, 256))
			}
			if err != nil && time.Since(begun) < idle { // else it was cut off already
				t.Fatalf("connection %d: %v", i, err)
			}
			all[i] = nc
		}
		for _, nc := range all {
			gone(t, "idle", nc)
		}
	})
	s.calm(0)
	s.stop()
}

// TestResets: connections that are reset in every state, some in the middle of what they say or are told.
func TestResets(t *testing.T) {
	s := newSite(t, t.TempDir())
	s.start()
	plain, secure := s.addresses()
	trust := s.trust()
	random := rand.New(rand.NewPCG(1, 2))
	// A subtree search, which is refused to strangers; many in one packet.
	search := []byte{0x30, 0x25, 0x02, 0x01, 0x02, 0x63, 0x20, 0x04, 0x00, 0x0a, 0x01, 0x02, 0x0a, 0x01, 0x00, 0x02, 0x01, 0x00, 0x02, 0x01, 0x00,
		0x01, 0x01, 0x00, 0x87, 0x0b, 'o', 'b', 'j', 'e', 'c', 't', 'C', 'l', 'a', 's', 's', 0x30, 0x00}
	said := append(append([]byte(nil), anonymousBind...), search...)
	for range 6 {
		said = append(said, said[:len(anonymousBind)+len(search)]...)
	}
	s.among("resets", 0, func() {
		for i := range crowdSize() / 4 {
			address := plain
			if i%2 == 1 {
				address = secure
			}
			nc, err := lair(i, address)
			if err != nil {
				t.Fatal(err)
			}
			stream := nc
			if i%4 == 3 {
				stream = tls.Client(nc, trust)
			}
			// Where the stream is not TLS what is said to the TLS listener is no ClientHello: that is a state too.
			_, _ = stream.Write(said[:random.IntN(len(said)+1)])
			if i%3 == 0 {
				// For an answer that may not come: the server waits for the rest of what was said.
				_ = nc.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
				_, _ = stream.Read(make([]byte, 1+random.IntN(40)))
			}
			_ = nc.(*net.TCPConn).SetLinger(0)
			nc.Close()
		}
	})
	s.calm(0)
	s.stop()
}

// calm waits until the server counts no more than n connections.
func (s *site) calm(n uint64) {
	s.t.Helper()
	for end := time.Now().Add(patience); s.connections() > n; {
		if time.Now().After(end) {
			s.t.Fatalf("%d connections are left", s.connections())
		}
	}
}

// TestSlowReaders: clients that ask for much and take nothing.
func TestSlowReaders(t *testing.T) {
	s := newSite(t, t.TempDir())
	s.limits(`write_timeout = "2s"`)
	s.start()
	a := s.mustDial()
	big := strings.Repeat("portolan ", 20_000)
	for i := range 10 {
		q := goldap.NewAddRequest(fmt.Sprintf("cn=big%d,ou=people,%s", i, suffix), nil)
		q.Attribute("objectClass", []string{"device"})
		q.Attribute("description", []string{big})
		if err := a.Add(q); err != nil {
			t.Fatal(err)
		}
	}
	a.Close()
	plain, _ := s.addresses()
	n := 40
	all := make([]net.Conn, n)
	s.among(fmt.Sprintf("%d slow readers", n), 0, func() {
		for i := range all {
			nc, err := lair(i, plain)
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			_ = nc.(*net.TCPConn).SetReadBuffer(4096)
			all[i] = nc
			if err := slowly(nc, s.password); err != nil {
				t.Fatal(err)
			}
		}
		// Each is cut off with an answer half written, and finds that out only now.
		s.calm(2)
		for _, nc := range all {
			gone(t, "slow reader", nc)
		}
	})
	s.calm(0)
	s.stop()
}

// slowly binds and asks for everything five times without reading an answer.
func slowly(nc net.Conn, password string) error {
	bind := message(1, element(0x60, append(append([]byte{0x02, 0x01, 0x03}, element(0x04, []byte(adminDN))...), element(0x80, []byte(password))...)))
	if _, err := nc.Write(bind); err != nil {
		return err
	}
	if _, err := nc.Read(make([]byte, 512)); err != nil {
		return err
	}
	for id := byte(2); id < 7; id++ {
		body := element(0x04, []byte("ou=people,"+suffix))
		body = append(body, 0x0a, 0x01, 0x02, 0x0a, 0x01, 0x00, 0x02, 0x01, 0x00, 0x02, 0x01, 0x00, 0x01, 0x01, 0x00)
		body = append(body, element(0x87, []byte("objectClass"))...)
		body = append(body, 0x30, 0x00)
		if _, err := nc.Write(message(id, element(0x63, body))); err != nil {
			return err
		}
	}
	return nil
}

func message(id byte, op []byte) []byte {
	return element(0x30, append([]byte{0x02, 0x01, id}, op...))
}

func element(tag byte, content []byte) []byte {
	if len(content) < 0x80 {
		return append([]byte{tag, byte(len(content))}, content...)
	}
	return append([]byte{tag, 0x82, byte(len(content) >> 8), byte(len(content))}, content...)
}

// TestNoDescriptors: the process has no file descriptor left for a new connection. Those that are there go on, and when some
// have gone others are let in.
func TestNoDescriptors(t *testing.T) {
	s := newSite(t, t.TempDir())
	s.start()
	stays := s.mustDial()
	defer stays.Close()
	limitDescriptors(t, s.cmd.Process.Pid, 100)
	plain, _ := s.addresses()
	var all []net.Conn
	for i := range 150 { // the kernel accepts what the server cannot
		nc, err := lair(i, plain)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		all = append(all, nc)
	}
	random := rand.New(rand.NewPCG(3, 4))
	for range 50 {
		q := goldap.NewModifyRequest("ou=people,"+suffix, nil)
		q.Replace("description", []string{fmt.Sprint(random.Uint64())})
		if err := stays.Modify(q); err != nil {
			t.Fatalf("without descriptors: %v\n%s", err, s.stderr)
		}
	}
	for _, nc := range all {
		nc.Close()
	}
	s.among("after descriptors ran out", 0, func() {
		c := s.mustDial()
		c.Close()
		s.calm(5)
	})
	stays.Close()
	s.stop()
	s.check()
}
