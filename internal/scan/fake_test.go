package scan_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"portolan/internal/client"
	"portolan/ldap"
)

// fake is a server that behaves as a test wants.
type fake struct {
	// answer returns the answers to a request, and nil to end the connection. StartTLS does not reach it.
	answer func(m *ldap.Message) []ldap.Op
	// tls is for StartTLS and ldaps; nil refuses StartTLS.
	tls *tls.Config
	// behind says what becomes of octets behind a StartTLS request.
	behind behind
	// raw, where not nil, takes the whole connection.
	raw func(nc net.Conn)
}

type behind int

const (
	endConnection behind = iota
	dropOctets
	serveUnderTLS
	serveInClear
)

// listen serves until the end of the test; secure begins with TLS.
func (f *fake) listen(t *testing.T, secure bool) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var work sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	work.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[nc] = true
			mu.Unlock()
			work.Go(func() {
				defer func() {
					nc.Close()
					mu.Lock()
					delete(open, nc)
					mu.Unlock()
				}()
				switch {
				case f.raw != nil:
					f.raw(nc)
				case secure:
					f.serve(tls.Server(nc, f.tls), nc)
				default:
					f.serve(nc, nc)
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for nc := range open {
			nc.Close()
		}
		mu.Unlock()
		work.Wait()
	})
	return l.Addr().String()
}

func (f *fake) serve(rw io.ReadWriter, under net.Conn) {
	r := bufio.NewReader(rw)
	for {
		frame, err := client.ReadMessage(r, 1<<20)
		if err != nil {
			return
		}
		m, err := ldap.Decode(frame)
		if err != nil {
			return
		}
		if x, ok := m.Op.(*ldap.ExtendedRequest); ok && string(x.Name) == "1.3.6.1.4.1.1466.20037" {
			if f.tls == nil {
				f.write(rw, m.ID, &ldap.ExtendedResponse{Result: ldap.Result{Code: ldap.ProtocolError, Diagnostic: "unsupported extended operation"}})
				continue
			}
			rest, _ := r.Peek(r.Buffered())
			rest = bytes.Clone(rest)
			if len(rest) > 0 && f.behind == endConnection {
				return
			}
			f.write(rw, m.ID, &ldap.ExtendedResponse{})
			if len(rest) > 0 && f.behind == serveInClear {
				f.write(rw, m.ID+1, &ldap.SearchResultDone{})
			}
			tc := tls.Server(under, f.tls)
			if f.behind != serveUnderTLS {
				rest = nil
			}
			rw, r = tc, bufio.NewReader(io.MultiReader(bytes.NewReader(rest), tc))
			continue
		}
		if _, ok := m.Op.(*ldap.AbandonRequest); ok {
			continue
		}
		answers := f.answer(&m)
		if answers == nil {
			return
		}
		for _, a := range answers {
			if !f.write(rw, m.ID, a) {
				return
			}
		}
	}
}

func (f *fake) write(w io.Writer, id int32, op ldap.Op) bool {
	_, err := w.Write(ldap.AppendMessage(nil, id, op, nil))
	return err == nil
}

// polite answers as a server does that gives nothing away.
func polite(m *ldap.Message) []ldap.Op {
	switch q := m.Op.(type) {
	case *ldap.SearchRequest:
		if len(q.Base) == 0 && q.Scope == ldap.ScopeBase {
			return []ldap.Op{entryOf("", "namingContexts", "dc=example,dc=org"), &ldap.SearchResultDone{}}
		}
		return []ldap.Op{&ldap.SearchResultDone{Result: ldap.Result{Code: ldap.InsufficientAccessRights}}}
	case *ldap.BindRequest:
		switch {
		case len(q.Name) == 0:
			return []ldap.Op{&ldap.BindResponse{}}
		case len(q.Password) == 0:
			return []ldap.Op{bindAnswer(ldap.UnwillingToPerform)}
		}
		return []ldap.Op{bindAnswer(ldap.InvalidCredentials)}
	}
	return nil
}

func bindAnswer(code ldap.ResultCode) *ldap.BindResponse {
	return &ldap.BindResponse{Result: ldap.Result{Code: code}}
}

func entryOf(dn string, pairs ...string) *ldap.SearchResultEntry {
	e := &ldap.SearchResultEntry{Name: []byte(dn)}
	for i := 0; i < len(pairs); i += 2 {
		e.Attributes = append(e.Attributes, ldap.Attribute{Type: []byte(pairs[i]), Values: [][]byte{[]byte(pairs[i+1])}})
	}
	return e
}

// authority signs certificates of test servers.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour * 24 * 365),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{key: key, pool: x509.NewCertPool()}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.pool.AddCert(a.cert)
	return a
}

// sign returns a configuration with a certificate for localhost, which change may change. key nil is ECDSA P-256.
func (a *authority) sign(t *testing.T, key crypto.Signer, change func(*x509.Certificate)) *tls.Config {
	t.Helper()
	var err error
	if key == nil {
		if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "x"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour * 24 * 90),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// afar dials connections that look as if the server were on another host.
func afar(ctx context.Context, network, address string) (net.Conn, error) {
	nc, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil || network != "tcp" {
		return nc, err
	}
	return distant{nc}, nil
}

type distant struct{ net.Conn }

func (d distant) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 389} }
