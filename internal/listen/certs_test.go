package listen

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func expired(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }
func notYet(c *x509.Certificate)  { c.NotBefore = time.Now().Add(time.Minute) }
func serial(c *Certs) int64       { return c.Leaf().SerialNumber.Int64() }
func rename(t *testing.T, a, b string) {
	t.Helper()
	if err := os.Rename(a, b); err != nil {
		t.Fatal(err)
	}
}

func TestLoadCerts(t *testing.T) {
	a := newAuthority(t)
	tests := []struct {
		name  string
		spoil func(f *CertFiles)
		want  string
	}{
		{"good", func(*CertFiles) {}, ""},
		{"no client CA", func(f *CertFiles) { f.ClientCA = "" }, ""},
		{"cert missing", func(f *CertFiles) { os.Remove(f.Cert) }, "the certificate file CERT does not exist"},
		{"key missing", func(f *CertFiles) { os.Remove(f.Key) }, "the private key file KEY does not exist"},
		{"CA missing", func(f *CertFiles) { os.Remove(f.ClientCA) }, "the client CA file CA_FILE does not exist"},
		{"key unnamed", func(f *CertFiles) { f.Key = "" }, "no file is named for the private key of TLS"},
		{"a directory", func(f *CertFiles) { f.Cert = filepath.Dir(f.Cert) }, "the certificate file cannot be read"},
		{"cert empty", func(f *CertFiles) { a.write(f.Cert, nil) }, "the certificate file CERT holds no certificate; it wants PEM"},
		{"key for cert", func(f *CertFiles) { f.Cert = f.Key }, "holds no certificate; it wants PEM"},
		{"cert for key", func(f *CertFiles) { f.Key = f.Cert }, "holds no private key that can be used"},
		{"key garbage", func(f *CertFiles) { a.write(f.Key, []byte("x")) }, "the private key file KEY holds no private key"},
		{"CA garbage", func(f *CertFiles) { a.write(f.ClientCA, []byte("x")) }, "the client CA file CA_FILE holds no certificate"},
		{"another key", func(f *CertFiles) { _, _, _, k := a.issue(nil); a.write(f.Key, k) }, "the private key in KEY does not belong to the certificate in CERT"},
		{"DER in PEM broken", func(f *CertFiles) {
			a.write(f.Cert, []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
		}, "cannot be used"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := a.files(t.TempDir(), nil)
			want := strings.NewReplacer("CERT", f.Cert, "KEY", f.Key, "CA_FILE", f.ClientCA).Replace(test.want)
			test.spoil(&f)
			_, err := LoadCerts(f, nil)
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), want)):
				t.Errorf("got %v, want %s", err, want)
			}
		})
	}
}

func TestReload(t *testing.T) {
	a := newAuthority(t)
	dir := t.TempDir()
	c := a.load(a.files(dir, nil))
	first := serial(c)
	if changed, err := c.Reload(); changed || err != nil {
		t.Fatalf("nothing new: %v, %v", changed, err)
	}
	a.files(dir, nil)
	if changed, err := c.Reload(); !changed || err != nil || serial(c) == first {
		t.Fatalf("something new: %v, %v", changed, err)
	}
	good := serial(c)
	for name, spoil := range map[string]func(){
		"expired": func() { a.files(dir, expired) },
		"not yet": func() { a.files(dir, notYet) },
		"other key": func() {
			f := a.files(dir, nil)
			_, _, _, k := a.issue(nil)
			a.write(f.Key, k)
		},
		"gone": func() { os.Remove(filepath.Join(dir, "cert.pem")) },
	} {
		spoil()
		if changed, err := c.Reload(); changed || err == nil || !strings.HasSuffix(err.Error(), "the certificate in use stays") || serial(c) != good {
			t.Errorf("%s: %v, %v", name, changed, err)
		}
	}
	// Where the one in use is expired itself, another expired one does no harm.
	old := a.load(a.files(dir, expired))
	if err := old.Expired(); err == nil || !strings.Contains(err.Error(), "expired on") {
		t.Error(err)
	}
	a.files(dir, expired)
	if changed, err := old.Reload(); !changed || err != nil {
		t.Errorf("%v, %v", changed, err)
	}
}

func TestWatch(t *testing.T) {
	a := newAuthority(t)
	dir, next := t.TempDir(), t.TempDir()
	f := a.files(dir, nil)
	c := a.load(f)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	told := make(chan error, 10)
	if err := c.Watch(ctx, func(err error) { told <- err }); err != nil {
		t.Fatal(err)
	}
	await := func() error {
		t.Helper()
		select {
		case err := <-told:
			return err
		case <-time.After(patience):
			t.Fatal("the watch says nothing")
			return nil
		}
	}
	before := serial(c)
	g := a.files(next, nil)
	rename(t, g.Key, f.Key) // the pair does not match for a moment, or for long enough to be noticed
	rename(t, g.Cert, f.Cert)
	for serial(c) == before {
		if err := await(); err != nil && !strings.Contains(err.Error(), "does not belong") {
			t.Fatal(err)
		}
	}
	a.write(f.Cert, []byte("x"))
	if err := await(); err == nil {
		t.Error("garbage was taken")
	}
	if err := c.Watch(ctx, nil); err != nil {
		t.Error(err)
	}
	lost := &Certs{files: CertFiles{Cert: filepath.Join(dir, "no", "where")}}
	if err := lost.Watch(ctx, nil); err == nil || !strings.Contains(err.Error(), "will not reload by themselves") {
		t.Error(err)
	}
}

func TestTLSVersions(t *testing.T) {
	a := newAuthority(t)
	f := a.files(t.TempDir(), nil)
	for _, test := range []struct {
		server, client uint16
		ok             bool
	}{
		{0, tls.VersionTLS11, false}, {0, tls.VersionTLS12, true}, {0, tls.VersionTLS13, true},
		{tls.VersionTLS10, tls.VersionTLS11, false}, {tls.VersionTLS13, tls.VersionTLS12, false}, {tls.VersionTLS13, tls.VersionTLS13, true},
	} {
		f.MinVersion = test.server
		s := start(t, newAsked(), a.load(f), nil, tcp(func(l *Listener) { l.TLS = true }))
		tc := tls.Client(dial(t, s), &tls.Config{RootCAs: a.pool(), ServerName: "127.0.0.1", MinVersion: tls.VersionTLS10, MaxVersion: test.client})
		err := tc.Handshake()
		if (err == nil) != test.ok {
			t.Errorf("server from %s, client up to %s: %v", tls.VersionName(test.server), tls.VersionName(test.client), err)
		}
		if state := tc.ConnectionState(); err == nil && test.client == tls.VersionTLS13 && state.CurveID != tls.X25519MLKEM768 {
			t.Errorf("key exchange %s is not post-quantum", state.CurveID)
		}
		tc.Close()
	}
}

// Where a client certificate is required there is no session without one, nor with one of another authority.
func TestClientCertificateRequired(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	f := a.files(t.TempDir(), nil)
	own := func(a *authority) []tls.Certificate {
		cert, key, _, _ := a.issue(nil)
		return []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}}
	}
	for _, required := range []bool{false, true} {
		f.RequireClient = required
		s := start(t, newAsked(), a.load(f), nil, tcp(func(l *Listener) { l.TLS = true }))
		for _, test := range []struct {
			name  string
			certs []tls.Certificate
			ok    bool
		}{{"none", nil, !required}, {"its own", own(a), true}, {"another authority's", own(other), false}} {
			// The certificate goes out whatever authorities the server names.
			config := &tls.Config{RootCAs: a.pool(), ServerName: "127.0.0.1", MaxVersion: tls.VersionTLS12,
				GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
					if test.certs == nil {
						return &tls.Certificate{}, nil
					}
					return &test.certs[0], nil
				}}
			tc := tls.Client(dial(t, s), config)
			if err := tc.Handshake(); (err == nil) != test.ok {
				t.Errorf("required %v, %s: %v", required, test.name, err)
			}
			tc.Close()
			// In TLS 1.3 the client learns it behind its handshake.
			config.MaxVersion = tls.VersionTLS13
			if tc = tls.Client(dial(t, s), config); !test.ok {
				_, err := tc.Read(make([]byte, 1))
				if err == nil || !strings.Contains(err.Error(), "certificate") {
					t.Errorf("required %v, %s, TLS 1.3: %v", required, test.name, err)
				}
			}
			tc.Close()
		}
	}
}
