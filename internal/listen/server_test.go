package listen

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	goldap "github.com/go-ldap/ldap/v3"
	"github.com/pires/go-proxyproto"

	"portolan/internal/op"
	"portolan/internal/session"
)

func prefixes(s ...string) (all []netip.Prefix) {
	for _, p := range s {
		all = append(all, netip.MustParsePrefix(p))
	}
	return all
}

func TestTransports(t *testing.T) {
	a := newAuthority(t)
	certs := a.load(a.files(t.TempDir(), nil))
	plain := &tls.Config{RootCAs: a.pool(), ServerName: "127.0.0.1"}
	_, _, certPEM, keyPEM := a.issue(nil)
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	withCert := &tls.Config{RootCAs: a.pool(), ServerName: "127.0.0.1", Certificates: []tls.Certificate{pair}}
	const loop = "tcp remote=127.0.0.1 loopback=true control=false "

	t.Run("ldap", func(t *testing.T) {
		s := start(t, newAsked(), certs, nil, tcp())
		c := client(t, dial(t, s))
		if got := about(c); got != loop+"tls=false certs=0 peer=none protected=true" {
			t.Error(got)
		}
		if err := c.StartTLS(plain); err != nil {
			t.Fatal(err)
		}
		if got := about(c); got != loop+"tls=true certs=0 peer=none protected=true" {
			t.Error(got)
		}
	})
	t.Run("ldaps", func(t *testing.T) {
		s := start(t, newAsked(), certs, nil, tcp(func(l *Listener) { l.TLS = true }))
		for config, want := range map[*tls.Config]string{plain: "tls=true certs=0", withCert: "tls=true certs=1"} {
			if got := about(client(t, tls.Client(dial(t, s), config))); got != loop+want+" peer=none protected=true" {
				t.Error(got)
			}
		}
		// A client certificate of another authority is refused.
		other := newAuthority(t)
		_, _, certPEM, keyPEM := other.issue(nil)
		pair, _ := tls.X509KeyPair(certPEM, keyPEM)
		tc := tls.Client(dial(t, s), &tls.Config{RootCAs: a.pool(), ServerName: "127.0.0.1", GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }})
		if _, err := tc.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("a stranger's certificate: %v", err)
		}
	})
	t.Run("ldapi", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "s")
		for _, test := range []struct {
			l    Listener
			mode fs.FileMode
			want string
		}{
			{Listener{}, 0o666, "control=false"}, {Listener{Control: true}, 0o600, "control=true"}, {Listener{Control: true, Mode: 0o660}, 0o660, "control=true"},
		} {
			test.l.URL, test.l.Network, test.l.Addr = "ldapi://"+path, "unix", path
			s := start(t, newAsked(), certs, nil, test.l)
			info, err := os.Lstat(path)
			if err != nil || info.Mode().Perm() != test.mode {
				t.Errorf("mode %v, %v", info.Mode(), err)
			}
			want := fmt.Sprintf("unix remote=invalid IP loopback=true %s tls=false certs=0 peer=%d protected=true", test.want, os.Getuid())
			if got := about(client(t, dial(t, s))); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			if err := s.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
			if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the socket stays: %v", err)
			}
		}
	})
	t.Run("a new certificate without a restart", func(t *testing.T) {
		dir := t.TempDir()
		certs := a.load(a.files(dir, nil))
		s := start(t, newAsked(), certs, nil, tcp(func(l *Listener) { l.TLS = true }))
		var seen []string
		for range 2 {
			tc := tls.Client(dial(t, s), plain)
			if err := tc.Handshake(); err != nil {
				t.Fatal(err)
			}
			seen = append(seen, tc.ConnectionState().PeerCertificates[0].Subject.CommonName)
			a.files(dir, nil)
			if _, err := certs.Reload(); err != nil {
				t.Fatal(err)
			}
		}
		if seen[0] == seen[1] {
			t.Error(seen)
		}
	})
}

func TestStartErrors(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	takenUDP, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer takenUDP.Close()
	dir := t.TempDir()
	file, live := filepath.Join(dir, "file"), filepath.Join(dir, "live")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	other, err := net.Listen("unix", live)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	unix := func(path string) Listener { return Listener{URL: "ldapi://x", Network: "unix", Addr: path} }
	tests := []struct {
		name      string
		listeners []Listener
		want      []string
	}{
		{"none", nil, []string{"no listener is configured; add [[listen]]"}},
		{"taken", []Listener{{URL: "ldap://a", Network: "tcp", Addr: taken.Addr().String()}}, []string{"listen on ldap://a: port " + port + " is taken", "ss -ltnp sport = :" + port}},
		{"all mistakes at once, and nothing stays open", []Listener{tcp(), {URL: "ldap://a", Network: "tcp", Addr: taken.Addr().String()}, unix(file)}, []string{"listen on ldap://a", "listen on ldapi://x"}},
		{"TLS without a certificate", []Listener{tcp(func(l *Listener) { l.TLS = true })}, []string{"TLS needs a certificate; set cert_file and key_file under [tls]"}},
		{"a foreign address", []Listener{{URL: "ldap://a", Network: "tcp", Addr: "192.0.2.1:0"}}, []string{"this machine has no such address"}},
		{"another network", []Listener{{URL: "x://a", Network: "sctp", Addr: "127.0.0.1:0"}}, []string{`network "sctp" is not served`}},
		{"UDP, taken", []Listener{{URL: "cldap://a", Network: "udp", Addr: takenUDP.LocalAddr().String()}}, []string{"listen on cldap://a: port", "is taken", "ss -lunp"}},
		{"UDP, and nothing stays open", []Listener{{URL: "cldap://a", Network: "udp", Addr: "127.0.0.1:0"}, unix(file)}, []string{"listen on ldapi://x"}},
		{"a file that is no socket", []Listener{unix(file)}, []string{"there is a file that is not a socket; remove it or choose another path"}},
		{"a socket with a server behind it", []Listener{unix(live)}, []string{"another server answers on it"}},
		{"no directory", []Listener{unix(filepath.Join(dir, "no", "s"))}, []string{"the directory of the socket does not exist"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := prepare(newAsked(), nil, nil, test.listeners...)
			err := s.Start()
			if err == nil {
				t.Fatal("started")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v\nlacks %q", err, want)
				}
			}
			for _, o := range s.listeners {
				if o.pc != nil {
					if _, _, err := o.pc.ReadFrom(nil); !errors.Is(err, net.ErrClosed) {
						t.Errorf("%s is still open: %v", o.URL, err)
					}
					continue
				}
				if _, err := o.ln.Accept(); !errors.Is(err, net.ErrClosed) {
					t.Errorf("%s is still open: %v", o.URL, err)
				}
			}
		})
	}
	t.Run("a privileged port", func(t *testing.T) {
		denied := &net.OpError{Op: "listen", Err: os.NewSyscallError("bind", syscall.EACCES)}
		err := explain(Listener{URL: "ldap://0.0.0.0:389", Network: "tcp", Addr: "0.0.0.0:389"}, denied)
		if !strings.Contains(err.Error(), "CAP_NET_BIND_SERVICE") || !strings.Contains(err.Error(), "a port such as 3389") || !errors.Is(err, fs.ErrPermission) {
			t.Error(err)
		}
	})
	t.Run("a stale socket is replaced", func(t *testing.T) {
		path := filepath.Join(dir, "stale")
		ln, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		ln.(*net.UnixListener).SetUnlinkOnClose(false)
		ln.Close()
		s := start(t, newAsked(), nil, nil, unix(path))
		if got := about(client(t, dial(t, s))); !strings.HasPrefix(got, "unix ") {
			t.Error(got)
		}
	})
}

func TestInheritedSockets(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, newAsked(), nil, func(c *Config) { c.Inherited = []net.Listener{ln} }, tcp(func(l *Listener) { l.Addr = ln.Addr().String() }))
	if got := about(client(t, dial(t, s))); !strings.HasPrefix(got, "tcp ") {
		t.Error(got)
	}
	stray, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	bad := prepare(newAsked(), nil, func(c *Config) { c.Inherited = []net.Listener{stray} }, tcp())
	if err := bad.Start(); err == nil || !strings.Contains(err.Error(), "no listener is configured for tcp "+stray.Addr().String()) {
		t.Error(err)
	}
	for _, test := range []struct {
		have, network, want string
		same                bool
	}{
		{"0.0.0.0:389", "tcp", "0.0.0.0:389", true}, {"[::]:389", "tcp", "0.0.0.0:389", true}, {"[::]:389", "tcp", ":389", true}, {"127.0.0.1:389", "tcp", "localhost:389", true},
		{"127.0.0.1:389", "tcp", "127.0.0.1:390", false}, {"127.0.0.1:389", "tcp", "0.0.0.0:389", false}, {"127.0.0.1:389", "unix", "127.0.0.1:389", false}, {"10.0.0.1:389", "tcp", "ldap.example:389", false},
	} {
		if got := sameAddress(net.TCPAddrFromAddrPort(netip.MustParseAddrPort(test.have)), Listener{Network: test.network, Addr: test.want}); got != test.same {
			t.Errorf("%s and %s: %v", test.have, test.want, got)
		}
	}
}

// closed reports whether the server has closed the connection without a word.
func closed(t testing.TB, nc net.Conn) bool {
	t.Helper()
	n, err := nc.Read(make([]byte, 1))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal("the server does nothing")
	}
	return n == 0 && err != nil
}

func TestNetworks(t *testing.T) {
	tests := []struct {
		allow, deny []string
		ok          bool
	}{
		{nil, nil, true}, {[]string{"127.0.0.0/8"}, nil, true}, {[]string{"10.0.0.0/8"}, nil, false}, {nil, []string{"127.0.0.1/32"}, false},
		{[]string{"127.0.0.0/8"}, []string{"127.0.0.1/32"}, false}, {[]string{"10.0.0.0/8", "127.0.0.1/32"}, []string{"127.0.0.2/32"}, true},
	}
	for _, test := range tests {
		l := tcp(func(l *Listener) { l.Allow, l.Deny = prefixes(test.allow...), prefixes(test.deny...) })
		s := start(t, newAsked(), nil, nil, l)
		nc := dial(t, s)
		if test.ok {
			if got := about(client(t, nc)); !strings.HasPrefix(got, "tcp ") {
				t.Errorf("allow %v, deny %v: %s", test.allow, test.deny, got)
			}
		} else if !closed(t, nc) || s.Read().RefusedNetwork != 1 {
			t.Errorf("allow %v, deny %v: not refused", test.allow, test.deny)
		}
		// A reload reverses it.
		l.Allow, l.Deny = nil, nil
		if test.ok {
			l.Deny = prefixes("0.0.0.0/0")
		}
		s.Reload(Config{Session: s.session.Load(), Listeners: []Listener{l}})
		nc = dial(t, s)
		if test.ok {
			if !closed(t, nc) {
				t.Error("still allowed after a reload")
			}
		} else if got := about(client(t, nc)); !strings.HasPrefix(got, "tcp ") {
			t.Errorf("still refused after a reload: %s", got)
		}
	}
}

func TestProxyProtocol(t *testing.T) {
	v2 := func(command proxyproto.ProtocolVersionAndCommand, transport proxyproto.AddressFamilyAndProtocol, src string) string {
		h := &proxyproto.Header{Version: 2, Command: command, TransportProtocol: transport,
			SourceAddr: net.TCPAddrFromAddrPort(netip.MustParseAddrPort(src)), DestinationAddr: net.TCPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:389"))}
		if transport == proxyproto.TCPv6 {
			h.DestinationAddr = net.TCPAddrFromAddrPort(netip.MustParseAddrPort("[::1]:389"))
		}
		b, err := h.Format()
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	proxies := func(l *Listener) { l.ProxyProtocolFrom = prefixes("127.0.0.0/8") }
	tests := []struct {
		name, header string
		edit         func(*Listener)
		want         string // beginning of what about says; empty: closed
	}{
		{"v1", "PROXY TCP4 192.0.2.7 127.0.0.1 1 389\r\n", proxies, "tcp remote=192.0.2.7 loopback=false"},
		{"v1, IPv6", "PROXY TCP6 2001:db8::1 ::1 1 389\r\n", proxies, "tcp remote=2001:db8::1 loopback=false"},
		{"v1, a client on this host", "PROXY TCP4 127.0.0.5 127.0.0.1 1 389\r\n", proxies, "tcp remote=127.0.0.5 loopback=true"},
		{"v1, unknown client", "PROXY UNKNOWN\r\n", proxies, "tcp remote=127.0.0.1 loopback=false"},
		{"v2", v2(proxyproto.PROXY, proxyproto.TCPv4, "192.0.2.7:1"), proxies, "tcp remote=192.0.2.7 loopback=false"},
		{"v2, IPv6", v2(proxyproto.PROXY, proxyproto.TCPv6, "[2001:db8::1]:1"), proxies, "tcp remote=2001:db8::1 loopback=false"},
		{"v2, the proxy itself", v2(proxyproto.LOCAL, proxyproto.TCPv4, "192.0.2.7:1"), proxies, "tcp remote=127.0.0.1 loopback=true"},
		{"no header", "", proxies, ""},
		{"garbage", "PROXY NONSENSE\r\n", proxies, ""},
		{"not a proxy's address", "PROXY TCP4 192.0.2.7 127.0.0.1 1 389\r\n", func(l *Listener) { l.ProxyProtocolFrom = prefixes("10.0.0.0/8") }, ""},
		{"no header, and none wanted", "", func(l *Listener) { l.ProxyProtocolFrom = prefixes("10.0.0.0/8") }, "tcp remote=127.0.0.1 loopback=true"},
		{"client denied", "PROXY TCP4 192.0.2.7 127.0.0.1 1 389\r\n", func(l *Listener) { proxies(l); l.Deny = prefixes("192.0.2.0/24") }, ""},
		{"the proxy need not be allowed, its client must", "PROXY TCP4 192.0.2.7 127.0.0.1 1 389\r\n", func(l *Listener) { proxies(l); l.Allow = prefixes("192.0.2.0/24") }, "tcp remote=192.0.2.7 loopback=false"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := start(t, newAsked(), nil, nil, tcp(test.edit))
			nc := dial(t, s)
			c := goldap.NewConn(&withHeader{Conn: nc, header: []byte(test.header)}, false)
			c.SetTimeout(patience)
			c.Start()
			defer c.Close()
			got := about(c)
			if test.want == "" {
				if strings.HasPrefix(got, "tcp ") {
					t.Errorf("served: %s", got)
				}
			} else if !strings.HasPrefix(got, test.want) {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
	t.Run("TLS behind a header, in one write", func(t *testing.T) {
		a := newAuthority(t)
		s := start(t, newAsked(), a.load(a.files(t.TempDir(), nil)), nil, tcp(proxies, func(l *Listener) { l.TLS = true }))
		header := &withHeader{Conn: dial(t, s), header: []byte("PROXY TCP4 192.0.2.7 127.0.0.1 1 389\r\n")}
		got := about(client(t, tls.Client(header, &tls.Config{RootCAs: a.pool(), ServerName: "127.0.0.1"})))
		if !strings.HasPrefix(got, "tcp remote=192.0.2.7 loopback=false control=false tls=true") {
			t.Error(got)
		}
	})
	t.Run("a proxy that says nothing", func(t *testing.T) {
		s := start(t, newAsked(), nil, func(c *Config) { c.ProxyTimeout = 10 * time.Millisecond }, tcp(proxies))
		if !closed(t, dial(t, s)) || s.Read().BadProxyHeaders != 1 {
			t.Error("not closed or not counted")
		}
	})
	t.Run("a shutdown does not wait for a header", func(t *testing.T) {
		s := start(t, newAsked(), nil, func(c *Config) { c.ProxyTimeout = time.Hour }, tcp(proxies))
		nc := dial(t, s)
		awaitOpen(t, s, 1)
		if err := s.Shutdown(context.Background()); err != nil || !closed(t, nc) {
			t.Error(err)
		}
	})
}

// withHeader sends a header with the first octets.
type withHeader struct {
	net.Conn
	once   sync.Once
	header []byte
}

func (c *withHeader) Write(b []byte) (int, error) {
	sent := 0
	c.once.Do(func() { sent = len(c.header) })
	if sent == 0 {
		return c.Conn.Write(b)
	}
	n, err := c.Conn.Write(append(append([]byte(nil), c.header...), b...))
	return n - sent, err
}

func awaitOpen(t testing.TB, s *Server, n uint64) {
	t.Helper()
	for end := time.Now().Add(patience); s.Read().Open != n; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d connections, want %d", s.Read().Open, n)
		}
	}
}

func TestConnectionCaps(t *testing.T) {
	t.Run("in all", func(t *testing.T) {
		s := start(t, newAsked(), nil, func(c *Config) { c.MaxConnections = 2 }, tcp())
		a, b := client(t, dial(t, s)), client(t, dial(t, s))
		about(a)
		about(b)
		if !closed(t, dial(t, s)) || s.Read().RefusedTotal != 1 {
			t.Error("a third connection")
		}
		a.Close()
		awaitOpen(t, s, 1)
		if got := about(client(t, dial(t, s))); !strings.HasPrefix(got, "tcp ") {
			t.Errorf("after one has gone: %s", got)
		}
	})
	t.Run("per address, also behind a proxy", func(t *testing.T) {
		s := start(t, newAsked(), nil, func(c *Config) { c.MaxConnectionsPerAddress = 1 }, tcp(func(l *Listener) { l.ProxyProtocolFrom = prefixes("127.0.0.0/8") }))
		from := func(a string) string {
			family := "TCP4"
			if strings.Contains(a, ":") {
				family = "TCP6"
			}
			dst := map[string]string{"TCP4": "127.0.0.1", "TCP6": "::1"}[family]
			return about(client(t, &withHeader{Conn: dial(t, s), header: fmt.Appendf(nil, "PROXY %s %s %s 1 389\r\n", family, a, dst)}))
		}
		for _, step := range []struct {
			addr string
			ok   bool
		}{{"192.0.2.1", true}, {"192.0.2.1", false}, {"192.0.2.2", true}, {"2001:db8::1", true}, {"2001:db8::2", false}, {"2001:db8:0:1::1", true}} {
			if got := from(step.addr); strings.HasPrefix(got, "tcp ") != step.ok {
				t.Errorf("%s: %s", step.addr, got)
			}
		}
		if n := s.Read().RefusedAddress; n != 2 {
			t.Errorf("%d refused", n)
		}
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if s.counted != 0 || len(s.addresses) != 0 {
			t.Errorf("%d connections and %d addresses are still counted", s.counted, len(s.addresses))
		}
	})
	t.Run("the control socket is exempt", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "c")
		s := start(t, newAsked(), nil, func(c *Config) { c.MaxConnections = 1 }, Listener{URL: "ldapi://c", Network: "unix", Addr: path, Control: true}, tcp())
		nc, err := net.Dial("tcp", s.Addrs()[1].String())
		if err != nil {
			t.Fatal(err)
		}
		about(client(t, nc))
		for range 3 {
			if got := about(client(t, dial(t, s))); !strings.HasPrefix(got, "unix ") {
				t.Error(got)
			}
		}
	})
}

// scripted is a listener that fails before it works.
type scripted struct {
	net.Listener
	mu   sync.Mutex
	errs []error
}

func (l *scripted) Accept() (net.Conn, error) {
	l.mu.Lock()
	if len(l.errs) > 0 {
		err := l.errs[0]
		l.errs = l.errs[1:]
		l.mu.Unlock()
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", err)}
	}
	l.mu.Unlock()
	return l.Listener.Accept()
}

func TestAcceptGoesOnAfterErrors(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	bad := &scripted{Listener: ln, errs: []error{syscall.EMFILE, syscall.EMFILE, syscall.ECONNABORTED, syscall.ENOBUFS}}
	s := start(t, newAsked(), nil, func(c *Config) {
		c.Inherited = []net.Listener{bad}
		c.Logger = slog.New(slog.NewTextHandler(&log, nil))
	}, tcp(func(l *Listener) { l.Addr = ln.Addr().String() }))
	if got := about(client(t, dial(t, s))); !strings.HasPrefix(got, "tcp ") {
		t.Error(got)
	}
	if err := s.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if n := s.Read().AcceptErrors; n != 4 {
		t.Errorf("%d errors counted", n)
	}
	if strings.Count(log.String(), "cannot be accepted") != 1 || !strings.Contains(log.String(), "LimitNOFILE") {
		t.Errorf("the log:\n%s", log.String())
	}
}

func TestShutdown(t *testing.T) {
	t.Run("drains", func(t *testing.T) {
		h := newAsked()
		s := start(t, h, nil, nil, tcp())
		idle := dial(t, s)
		awaitOpen(t, s, 1)
		busy := client(t, dial(t, s))
		answer := make(chan string, 1)
		go func() { answer <- ask(busy, "block") }()
		<-h.started
		done := make(chan error, 1)
		go func() { done <- s.Shutdown(context.Background()) }()
		notice, err := io.ReadAll(idle)
		if err != nil || !bytes.Contains(notice, []byte("1.3.6.1.4.1.1466.20036")) {
			t.Errorf("%q, %v", notice, err)
		}
		if _, err := net.Dial("tcp", s.Addrs()[0].String()); err == nil {
			t.Error("still accepting")
		}
		select {
		case err := <-done:
			t.Errorf("ended with an operation in progress: %v", err)
		default:
		}
		close(h.release)
		if got := <-answer; !strings.HasPrefix(got, "tcp ") {
			t.Errorf("the operation in progress: %s", got)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	for _, base := range []string{"block", "stuck"} {
		t.Run("cuts off at the deadline: "+base, func(t *testing.T) {
			h := newAsked()
			s := start(t, h, nil, nil, tcp())
			c := client(t, dial(t, s))
			answer := make(chan string, 1)
			go func() { answer <- ask(c, base) }()
			<-h.started
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			if base == "stuck" {
				go func() { <-answer; close(h.release) }()
			}
			err := s.Shutdown(ctx)
			if err == nil || !strings.HasPrefix(err.Error(), "1 connections were cut off") || !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
}

// TestHalfOpen: connections that say nothing, or too little, neither disturb others nor stay.
func TestHalfOpen(t *testing.T) {
	a := newAuthority(t)
	certs := a.load(a.files(t.TempDir(), nil))
	s := start(t, newAsked(), certs, func(c *Config) {
		c.Session.Limits.BindTimeout = 300 * time.Millisecond
		c.Session.Limits.HandshakeTimeout = 300 * time.Millisecond
		c.Session.LimitsFor = func(id *op.Identity) session.Limits {
			if id.IsAnonymous() {
				return c.Session.Limits
			}
			return session.Limits{}
		}
	}, tcp(), tcp(func(l *Listener) { l.TLS = true }))
	// Who is too slow himself, on a machine that gives him no turn, is cut off with the others.
	var honest *goldap.Conn
	for late := time.Now().Add(patience); ; {
		honest = client(t, dial(t, s))
		err := honest.Bind("cn=a", "secret")
		if err == nil {
			break
		}
		if time.Now().After(late) {
			t.Fatal(err)
		}
	}
	var all []net.Conn
	for i := range 300 {
		nc, err := net.Dial("tcp", s.Addrs()[i%2].String())
		if err != nil {
			t.Fatal(err)
		}
		nc.SetDeadline(time.Now().Add(patience))
		defer nc.Close()
		nc.Write([]byte{0x30, 0x16}[i%2 : i%2+i%3%2])
		all = append(all, nc)
	}
	if got := about(honest); !strings.HasPrefix(got, "tcp ") {
		t.Error(got)
	}
	for _, nc := range all {
		closed(t, nc)
	}
	awaitOpen(t, s, 1)
	if got := about(honest); !strings.HasPrefix(got, "tcp ") {
		t.Error(got)
	}
}
