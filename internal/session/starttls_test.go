package session

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	goldap "github.com/go-ldap/ldap/v3"

	"portolan/internal/op"
	"portolan/ldap"
)

// certificate makes the one certificate of these tests, for 127.0.0.1.
var certificate = sync.OnceValues(func() (tls.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
})

func withTLS(cfg *Config) *Config {
	cert, _ := certificate()
	server := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	cfg.TLS = func() *tls.Config { return server }
	return cfg
}

func clientTLS() *tls.Config {
	_, pool := certificate()
	return &tls.Config{RootCAs: pool, ServerName: "127.0.0.1"}
}

const started = " extended 0 <1.3.6.1.4.1.1466.20037>"

// secure does the client's part of StartTLS after its answer.
func (c *client) secure() {
	c.Helper()
	if len(c.buf) > 0 {
		c.Fatalf("% x between the answer and the handshake", c.buf)
	}
	tc := tls.Client(c.Conn, clientTLS())
	if err := tc.Handshake(); err != nil {
		c.Fatal(err)
	}
	c.Conn = tc
}

func TestStartTLS(t *testing.T) {
	cfg := withTLS(testConfig(newScript()))
	var told []error
	cfg.OnStartTLS = func(_ *op.Conn, refused error) { told = append(told, refused) }
	c := connect(t, cfg)
	c.send(bind(1, "cn=a", "secret"), search(2, "who"), search(3, "state"), search(4, "tls"))
	c.expect("1 bind 0", "2 done 0 cn=a", "3 done 0 new", "4 done 0 false")
	c.send(extended(5, oidStartTLS))
	c.expect("5" + started)
	c.secure()
	// What was agreed in clear text is gone.
	c.send(search(6, "who"), search(7, "state"), search(8, "tls"))
	c.expect("6 done 0", "7 done 0 new", "8 done 0 true")
	c.send(bind(9, "cn=a", "secret"))
	c.expect("9 bind 0")
	c.send(extended(10, oidStartTLS))
	c.expect("10 extended 1 TLS is on already <1.3.6.1.4.1.1466.20037>")
	c.send(search(11, "who"), search(12, "big 100"))
	c.expect("11 done 0 cn=a")
	for range 100 {
		c.expect("12 entry")
	}
	c.expect("12 done 0")
	if n := cfg.Stats.Read().StartTLS; n != 1 {
		t.Errorf("%d counted", n)
	}
	c.session.Shutdown()
	c.expect("0 extended 52 ...", gone)
	c.finished()
	if len(told) != 2 || told[0] != nil || ldap.CodeOf(told[1]) != ldap.OperationsError {
		t.Errorf("told of %v, want one success and one refusal", told)
	}
}

func TestStartTLSRefused(t *testing.T) {
	value := request(1, &ldap.ExtendedRequest{Name: []byte(oidStartTLS), HasValue: true})
	critical := request(1, &ldap.ExtendedRequest{Name: []byte(oidStartTLS)}, ldap.Control{OID: []byte("1.2.3"), Critical: true})
	tests := []struct {
		name   string
		tls    func() *tls.Config
		before [][]byte
		first  []string
		send   []byte
		want   string
	}{
		{"not configured", nil, nil, nil, extended(1, oidStartTLS), "1 extended 2 this server is not configured for TLS..."},
		{"no certificate", func() *tls.Config { return nil }, nil, nil, extended(1, oidStartTLS), "1 extended 52 ..."},
		{"with a value", withTLS(testConfig(nil)).TLS, nil, nil, value, "1 extended 2 ..."},
		{"with a critical control", withTLS(testConfig(nil)).TLS, nil, nil, critical, "1 extended 12 ..."},
		{"operations outstanding", withTLS(testConfig(nil)).TLS, [][]byte{search(9, "block a"), search(8, "who")}, []string{"8 done 0"}, extended(1, oidStartTLS), "1 extended 1 operations are outstanding..."},
		{"SASL bind in progress", withTLS(testConfig(nil)).TLS, [][]byte{saslBind(9, "STEP")}, []string{"9 bind 14 [step 1]"}, extended(1, oidStartTLS), "1 extended 1 a SASL bind is in progress..."},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cfg := testConfig(newScript())
			cfg.TLS = test.tls
			c := connect(t, cfg)
			if test.before != nil {
				c.send(test.before...)
				c.expect(test.first...)
			}
			c.send(test.send)
			c.expect(test.want)
			c.send(search(2, "tls"))
			c.expect(map[bool]string{true: "2 done 1 ...", false: "2 done 0 false"}[test.name == "SASL bind in progress"])
		})
	}
}

// TestStartTLSInjection is the class of holes in which clear text that follows the request is taken for text that came
// under TLS.
func TestStartTLSInjection(t *testing.T) {
	tests := map[string][]byte{
		"a request":               search(2, "who"),
		"half a request":          search(2, "who")[:3],
		"one octet":               {0x30},
		"a bind":                  bind(2, "cn=a", "secret"),
		"TLS without waiting":     {0x16, 3, 1},
		"another StartTLS":        extended(2, oidStartTLS),
		"behind the first buffer": search(2, strings.Repeat("x", 3*inputSize)),
	}
	for name, tail := range tests {
		t.Run(name, func(t *testing.T) {
			h := newScript()
			cfg := withTLS(testConfig(h))
			c := connect(t, cfg)
			c.send(extended(1, oidStartTLS), tail)
			c.expect("0 extended 2 octets followed the StartTLS request...", gone)
			c.finished()
			if cfg.Stats.Read().Injections != 1 || h.binds != 0 {
				t.Errorf("%d injections, %d binds", cfg.Stats.Read().Injections, h.binds)
			}
		})
	}
	t.Run("in the socket but not in the buffer", func(t *testing.T) {
		// The request ends exactly where the read buffer does.
		cfg := withTLS(testConfig(newScript()))
		c := connect(t, cfg)
		start := extended(2, oidStartTLS)
		base := "who " + strings.Repeat("x", inputSize)
		first := search(1, base)
		first = search(1, base[:len(base)-(len(first)+len(start)-inputSize)])
		if len(first)+len(start) != inputSize {
			t.Fatalf("%d octets", len(first)+len(start))
		}
		c.send(first, start, bind(3, "cn=a", "secret"))
		c.expect("1 done 0", "0 extended 2 octets followed the StartTLS request...", gone)
	})
}

func TestHandshake(t *testing.T) {
	t.Run("stalled", func(t *testing.T) {
		cfg := withTLS(testConfig(newScript()))
		cfg.Limits.HandshakeTimeout = 20 * time.Millisecond
		c := connect(t, cfg)
		c.send(extended(1, oidStartTLS))
		c.expect("1" + started)
		if reason := c.finished(); !strings.HasPrefix(reason, "TLS handshake failed") {
			t.Error(reason)
		}
	})
	t.Run("garbage", func(t *testing.T) {
		c := connect(t, withTLS(testConfig(newScript())))
		c.send(extended(1, oidStartTLS))
		c.expect("1" + started)
		c.send(search(2, "who"))
		if reason := c.finished(); !strings.HasPrefix(reason, "TLS handshake failed") {
			t.Error(reason)
		}
	})
	t.Run("cut short by a shutdown", func(t *testing.T) {
		c := connect(t, withTLS(testConfig(newScript())))
		c.send(extended(1, oidStartTLS))
		c.expect("1" + started)
		c.session.Shutdown()
		c.finished()
	})
}

// TestImplicitTLS is ldaps, with octets that a listener has read already.
func TestImplicitTLS(t *testing.T) {
	near, far := net.Pipe()
	cfg := withTLS(testConfig(newScript()))
	ended := make(chan struct{})
	split := make(chan *Session)
	go func() {
		head := make([]byte, 3)
		if _, err := far.Read(head); err != nil {
			t.Error(err)
		}
		s := New(far, &op.Conn{Transport: op.TCP}, cfg, Options{TLS: true, Unread: head, Ended: func() { close(ended) }})
		split <- s
		s.Run()
	}()
	tc := tls.Client(near, clientTLS())
	if err := tc.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- tc.Handshake() }()
	s := <-split
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	c := &client{TB: t, Conn: tc, session: s, ended: ended, reason: new(string)}
	c.send(search(1, "tls"), bind(2, "cn=a", "secret"), search(3, "who"))
	c.expect("1 done 0 true", "2 bind 0", "3 done 0 cn=a")
	near.Close()
	wait(t, ended, "end of the session")
}

func TestUnreadInput(t *testing.T) {
	near, far := net.Pipe()
	ended := make(chan struct{})
	frames := join(search(1, "who"), search(2, strings.Repeat("x", 5000)), search(3, "who"))
	s := New(far, &op.Conn{Transport: op.TCP}, testConfig(newScript()), Options{Unread: frames[:len(frames)-5], Ended: func() { close(ended) }})
	go s.Run()
	near.SetDeadline(time.Now().Add(patience))
	c := &client{TB: t, Conn: near, session: s, ended: ended, reason: new(string)}
	c.expect("1 done 0", "2 done 0")
	c.send(frames[len(frames)-5:])
	c.expect("3 done 0")
	near.Close()
	wait(t, ended, "end of the session")
}

// TestGoLDAP asks with a client that knows nothing of this code.
func TestGoLDAP(t *testing.T) {
	cfg := withTLS(testConfig(newScript()))
	raw := connect(t, cfg)
	c := goldap.NewConn(raw.Conn, false)
	c.Start()
	defer c.Close()
	if err := c.StartTLS(clientTLS()); err != nil {
		t.Fatal(err)
	}
	if err := c.Bind("cn=a", "wrong"); !goldap.IsErrorWithCode(err, goldap.LDAPResultInvalidCredentials) {
		t.Errorf("wrong password: %v", err)
	}
	if err := c.Bind("cn=a", "secret"); err != nil {
		t.Fatal(err)
	}
	res, err := c.Search(goldap.NewSearchRequest("entry", goldap.ScopeBaseObject, 0, 0, 0, false, "(objectClass=*)", nil, nil))
	if err != nil || len(res.Entries) != 1 || res.Entries[0].DN != "cn=x" {
		t.Fatalf("%v, %v", res, err)
	}
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			verb := []string{"entry", "dbig 1"}[i%2]
			res, err := c.Search(goldap.NewSearchRequest(verb, goldap.ScopeBaseObject, 0, 0, 0, false, "(objectClass=*)", nil, nil))
			if err != nil || len(res.Entries) != 1 {
				t.Errorf("%v, %v", res, err)
			}
		})
	}
	wg.Wait()
	if err := c.Del(goldap.NewDelRequest("cn=x", nil)); err != nil {
		t.Error(err)
	}
	if err := c.StartTLS(clientTLS()); err == nil {
		t.Error("a second StartTLS")
	}
	if state, ok := c.TLSConnectionState(); !ok || state.Version != tls.VersionTLS13 {
		t.Errorf("TLS %s", fmt.Sprint(tls.VersionName(state.Version)))
	}
}
