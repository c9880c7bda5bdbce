package listen

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	goldap "github.com/go-ldap/ldap/v3"
	"go.uber.org/goleak"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/session"
	"portolan/ldap"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 3 * time.Minute

// asked answers a search with what its connection is, as the diagnostic of noSuchObject. "block" detaches, tells started and waits.
type asked struct {
	started chan struct{}
	release chan struct{}
}

func newAsked() *asked {
	return &asked{started: make(chan struct{}, 100), release: make(chan struct{})}
}

func (h *asked) Serve(ctx context.Context, req *op.Request, _ op.Writer) error {
	switch q := req.Op.(type) {
	case *ldap.BindRequest:
		req.Conn.SetIdentity(&op.Identity{Name: dit.Name{DN: string(q.Name), Norm: string(q.Name)}})
	case *ldap.SearchRequest:
		switch string(q.Base) {
		case "block":
			ctx = req.Detach(ctx)
			h.started <- struct{}{}
			select {
			case <-h.release:
			case <-ctx.Done():
				return ctx.Err()
			}
		case "stuck":
			req.Detach(ctx)
			h.started <- struct{}{}
			<-h.release
		}
		c := req.Conn
		peer := "none"
		if c.Peer != nil {
			peer = fmt.Sprint(c.Peer.UID)
		}
		certs := 0
		if s := c.TLS(); s != nil {
			certs = len(s.PeerCertificates)
		}
		return ldap.Errorf(ldap.NoSuchObject, "%s remote=%s loopback=%v control=%v tls=%v certs=%d peer=%s protected=%v",
			c.Transport, c.Remote.Addr(), c.Loopback, c.Control, c.TLS() != nil, certs, peer, c.Protected())
	}
	return nil
}

// start opens a server with these listeners and ends it with the test.
func start(t testing.TB, h op.Handler, certs *Certs, edit func(*Config), listeners ...Listener) *Server {
	t.Helper()
	s := prepare(h, certs, edit, listeners...)
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.Ready():
	default:
		t.Fatal("not ready after Start")
	}
	t.Cleanup(func() {
		select {
		case <-s.stop: // the test has done it
			return
		default:
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return s
}

func prepare(h op.Handler, certs *Certs, edit func(*Config), listeners ...Listener) *Server {
	sc := &session.Config{Handler: h, Stats: new(session.Stats), Limits: session.Limits{SearchGrace: time.Hour}}
	if certs != nil {
		sc.TLS = certs.TLS
	}
	cfg := Config{Listeners: listeners, Session: sc, Logger: slog.New(slog.DiscardHandler), ProxyTimeout: patience}
	if edit != nil {
		edit(&cfg)
	}
	return New(cfg)
}

func tcp(edit ...func(*Listener)) Listener {
	l := Listener{URL: "ldap://127.0.0.1:0", Network: "tcp", Addr: "127.0.0.1:0"}
	for _, e := range edit {
		e(&l)
	}
	return l
}

// about asks the server what it knows of the connection.
func about(c *goldap.Conn) string { return ask(c, "about") }

func ask(c *goldap.Conn, base string) string {
	_, err := c.Search(goldap.NewSearchRequest(base, goldap.ScopeBaseObject, 0, 0, 0, false, "(objectClass=*)", nil, nil))
	if e, ok := err.(*goldap.Error); ok {
		return e.Err.Error()
	}
	return fmt.Sprint(err)
}

func dial(t testing.TB, s *Server) net.Conn {
	t.Helper()
	a := s.Addrs()[0]
	nc, err := net.Dial(a.Network(), a.String())
	if err != nil {
		t.Fatal(err)
	}
	nc.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { nc.Close() })
	return nc
}

func client(t testing.TB, nc net.Conn) *goldap.Conn {
	t.Helper()
	c := goldap.NewConn(nc, false)
	c.SetTimeout(patience)
	c.Start()
	t.Cleanup(func() { c.Close() })
	return c
}

// authority makes certificates.
type authority struct {
	testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	n    int64
}

func newAuthority(t testing.TB) *authority {
	a := &authority{TB: t}
	a.cert, a.key, _, _ = a.issue(func(c *x509.Certificate) {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
	})
	return a
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// issue returns a certificate for 127.0.0.1 and its key, parsed and as PEM.
func (a *authority) issue(edit func(*x509.Certificate)) (*x509.Certificate, *ecdsa.PrivateKey, []byte, []byte) {
	a.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.Fatal(err)
	}
	a.n++
	c := &x509.Certificate{
		SerialNumber: big.NewInt(a.n), Subject: pkix.Name{CommonName: fmt.Sprintf("number %d", a.n)}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if edit != nil {
		edit(c)
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		a.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		a.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.Fatal(err)
	}
	return parsed, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
}

// files writes a new certificate, its key and the authority's certificate into dir.
func (a *authority) files(dir string, edit func(*x509.Certificate)) CertFiles {
	a.Helper()
	_, _, cert, key := a.issue(edit)
	f := CertFiles{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem"), ClientCA: filepath.Join(dir, "ca.pem")}
	a.write(f.Cert, cert)
	a.write(f.Key, key)
	a.write(f.ClientCA, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}))
	return f
}

func (a *authority) write(path string, content []byte) {
	a.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		a.Fatal(err)
	}
}

func (a *authority) load(f CertFiles) *Certs {
	a.Helper()
	c, err := LoadCerts(f, nil)
	if err != nil {
		a.Fatal(err)
	}
	return c
}
