package listen

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"
)

// CertFiles says where the server's certificate is.
type CertFiles struct {
	// Cert holds the certificate and the chain behind it, Key its private key, both in PEM.
	Cert, Key string
	// ClientCA holds the certificates that sign those of clients; empty: clients are not asked for one. A client may go
	// without unless RequireClient says otherwise (RFC 4513 sections 3.1.2 and 6.2).
	ClientCA      string
	RequireClient bool
	// MinVersion is tls.VersionTLS12 or tls.VersionTLS13; zero is the former.
	MinVersion uint16
}

// Certs is a certificate that can be replaced while the server runs. Cipher suites and key exchanges, the post-quantum hybrid among them,
// are those of crypto/tls.
type Certs struct {
	files CertFiles
	now   func() time.Time

	current atomic.Pointer[loadedCert]

	mu sync.Mutex // one reload at a time
}

type loadedCert struct {
	config *tls.Config
	leaf   *x509.Certificate
	digest [sha256.Size]byte
}

// LoadCerts reads the files. now is the clock by which validity is judged, nil time.Now; a certificate that is not valid is accepted
// here, so that an old one does not keep a server from starting: see Expired.
func LoadCerts(files CertFiles, now func() time.Time) (*Certs, error) {
	if now == nil {
		now = time.Now
	}
	c := &Certs{files: files, now: now}
	l, err := c.load()
	if err != nil {
		return nil, err
	}
	c.current.Store(l)
	return c, nil
}

// TLS returns the configuration for a handshake that begins now. It is what session.Config.TLS wants.
func (c *Certs) TLS() *tls.Config { return c.current.Load().config }

// Leaf returns the certificate in use.
func (c *Certs) Leaf() *x509.Certificate { return c.current.Load().leaf }

// Expired returns nil, or an error that says why clients will not accept the certificate in use.
func (c *Certs) Expired() error { return c.valid(c.Leaf()) }

func (c *Certs) valid(leaf *x509.Certificate) error {
	now := c.now()
	switch {
	case now.After(leaf.NotAfter):
		return fmt.Errorf("the certificate in %s expired on %s", c.files.Cert, leaf.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(leaf.NotBefore):
		return fmt.Errorf("the certificate in %s is valid only from %s on", c.files.Cert, leaf.NotBefore.UTC().Format(time.RFC3339))
	}
	return nil
}

// Reload reads the files again and, if all is well with them, uses them for handshakes from now on. On an error the certificate in use
// stays; one that is expired does not replace one that is not. changed says whether there was anything new.
func (c *Certs) Reload() (changed bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l, err := c.load()
	if err != nil {
		return false, fmt.Errorf("%w; the certificate in use stays", err)
	}
	if l.digest == c.current.Load().digest {
		return false, nil
	}
	if err := c.valid(l.leaf); err != nil && c.Expired() == nil {
		return false, fmt.Errorf("%w; the certificate in use stays", err)
	}
	c.current.Store(l)
	return true, nil
}

func (c *Certs) load() (*loadedCert, error) {
	certPEM, err := readPEM("certificate", c.files.Cert)
	if err != nil {
		return nil, err
	}
	keyPEM, err := readPEM("private key", c.files.Key)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, c.pairError(err)
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return nil, fmt.Errorf("the certificate in %s does not parse: %w", c.files.Cert, err)
	}
	pair.Leaf = leaf
	config := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: max(c.files.MinVersion, tls.VersionTLS12)} // #nosec G402 -- 1.2 at least, as it says
	var caPEM []byte
	if c.files.ClientCA != "" {
		if caPEM, err = readPEM("client CA", c.files.ClientCA); err != nil {
			return nil, err
		}
		config.ClientCAs = x509.NewCertPool()
		if !config.ClientCAs.AppendCertsFromPEM(caPEM) {
			return nil, fmt.Errorf("the client CA file %s holds no certificate; it wants PEM that begins with -----BEGIN CERTIFICATE-----", c.files.ClientCA)
		}
		if config.ClientAuth = tls.VerifyClientCertIfGiven; c.files.RequireClient {
			config.ClientAuth = tls.RequireAndVerifyClientCert
		}
	}
	all := bytes.Join([][]byte{certPEM, keyPEM, caPEM}, []byte{0})
	return &loadedCert{config: config, leaf: leaf, digest: sha256.Sum256(all)}, nil
}

func (c *Certs) pairError(err error) error {
	switch text := err.Error(); {
	case strings.Contains(text, "does not match"):
		return fmt.Errorf("the private key in %s does not belong to the certificate in %s", c.files.Key, c.files.Cert)
	case strings.Contains(text, "certificate input"):
		return fmt.Errorf("the certificate file %s holds no certificate; it wants PEM that begins with -----BEGIN CERTIFICATE-----", c.files.Cert)
	case strings.Contains(text, "key input"), strings.Contains(text, "rather than a key"):
		return fmt.Errorf("the private key file %s holds no private key that can be used; it wants PEM without a passphrase that begins with -----BEGIN PRIVATE KEY-----", c.files.Key)
	}
	return fmt.Errorf("the certificate in %s and the private key in %s cannot be used: %w", c.files.Cert, c.files.Key, err)
}

func readPEM(what, path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	switch {
	case path == "":
		return nil, fmt.Errorf("no file is named for the %s of TLS", what)
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("the %s file %s does not exist", what, path)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("the %s file %s may not be read by this process (uid %d)", what, path, os.Getuid())
	case err != nil:
		return nil, fmt.Errorf("the %s file cannot be read: %w", what, err)
	}
	return b, nil
}

// settleFiles is how long files must be left alone before they are read: certificate and key are rarely written at one moment.
const settleFiles = 200 * time.Millisecond

// Watch reloads when the files change, until ctx ends. told is called after each reload that changed or refused something, on a
// goroutine of the watch. The error is about the watch's beginning.
func (c *Certs) Watch(ctx context.Context, told func(err error)) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("certificates will not reload by themselves: %w", err)
	}
	// Directories are watched, not files: a renewed certificate is often a new file, or a link that points elsewhere.
	for _, file := range []string{c.files.Cert, c.files.Key, c.files.ClientCA} {
		if file == "" {
			continue
		}
		if err := w.Add(filepath.Dir(file)); err != nil {
			w.Close()
			return fmt.Errorf("certificates will not reload by themselves: %s: %w", filepath.Dir(file), err)
		}
	}
	go c.watch(ctx, w, told)
	return nil
}

func (c *Certs) watch(ctx context.Context, w *fsnotify.Watcher, told func(error)) {
	defer w.Close()
	quiet := time.NewTimer(settleFiles)
	defer quiet.Stop()
	refused := ""
	for {
		select {
		case <-ctx.Done():
			return
		case _, ok := <-w.Events:
			if !ok {
				return
			}
			quiet.Reset(settleFiles)
		case _, ok := <-w.Errors:
			if !ok {
				return
			}
			quiet.Reset(settleFiles) // events were lost, it may be
		case <-quiet.C:
			changed, err := c.Reload()
			switch {
			case err != nil && err.Error() != refused:
				refused = err.Error()
				told(err)
			case changed:
				refused = ""
				told(nil)
			}
		}
	}
}
