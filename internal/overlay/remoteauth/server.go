package remoteauth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"portolan/internal/client"
	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/ldap"
)

// server is an old server with its configuration compiled.
type server struct {
	o        *Server
	base     string // canonical
	classes  []string
	template template
	options  client.Options
	timeout  time.Duration
	places   chan struct{}
	now      func() time.Time
	log      *slog.Logger

	mu     sync.Mutex
	prefer int       // the URL that answered last
	down   time.Time // until then nobody is asked: all URLs have failed
	told   time.Time // when the log was last told of that
	missed int       // how often it was not told since
}

// restAfterFailure is how long an old server that does not answer is left alone: binds that would all wait for it are
// answered at once meanwhile.
const restAfterFailure = time.Second

// tellEvery is how often the log is told that it does not answer.
const tellEvery = 10 * time.Second

// maxAnswer bounds what is read of an answer.
const maxAnswer = 64 << 10

// newServer compiles the configuration of a server. Errors begin with the key.
func newServer(o *Server, sch *schema.Schema, p *op.Ports) (*server, error) {
	s := &server{o: o, classes: o.Classes, timeout: o.Timeout, now: time.Now, log: slog.New(slog.DiscardHandler)}
	if p != nil {
		s.now, s.log = p.Now, p.Log
	}
	if s.timeout == 0 {
		s.timeout = defaultTimeout
	}
	concurrent := o.Concurrent
	if concurrent == 0 {
		concurrent = defaultConcurrent
	}
	s.places = make(chan struct{}, concurrent)
	if len(s.classes) == 0 {
		s.classes = defaultClasses
	}
	for _, c := range s.classes {
		if sch.ObjectClass(c) == nil {
			return nil, fmt.Errorf("classes: there is no object class %q", c)
		}
	}
	if o.Base != "" {
		norm, err := sch.NormalizeDNString(nil, o.Base)
		if err != nil {
			return nil, fmt.Errorf("base: %q is not a DN", o.Base)
		}
		s.base = string(norm)
	}
	if len(o.URLs) == 0 {
		return nil, errors.New("url: no server is named: write such as ldaps://old.example.org")
	}
	for _, u := range o.URLs {
		if err := protected(u, o.StartTLS); err != nil {
			return nil, err
		}
	}
	var err error
	if s.template, err = parseTemplate(sch, o.DN); err != nil {
		return nil, err
	}
	s.options, err = connection(o)
	return s, err
}

// protected refuses a URL over which passwords would go in clear text.
func protected(text string, startTLS bool) error {
	u, err := ldap.ParseURL(text)
	if err != nil {
		return fmt.Errorf("url: %w", err)
	}
	switch {
	case u.Scheme == "ldaps" && startTLS, u.Scheme == "ldapi" && startTLS:
		return fmt.Errorf("starttls: is for ldap URLs; %s needs none", text)
	case u.Scheme == "ldaps", u.Scheme == "ldapi", u.Scheme == "ldap" && startTLS:
		return nil
	}
	return fmt.Errorf("url: %s would send passwords in clear text: write ldaps, or starttls = true", text)
}

func connection(o *Server) (client.Options, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: o.ServerName}
	if o.CAFile != "" {
		text, err := os.ReadFile(o.CAFile)
		if err != nil {
			return client.Options{}, fmt.Errorf("ca_file: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(text) {
			return client.Options{}, fmt.Errorf("ca_file: there is no certificate in %s", o.CAFile)
		}
	}
	var pins [][]byte
	for _, text := range o.Pins {
		pin, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(text, "sha256/"))
		if err != nil || len(pin) != sha256.Size {
			return client.Options{}, fmt.Errorf("pin: %q is none: write sha256/ and the digest of a public key in base64", text)
		}
		pins = append(pins, pin)
	}
	if len(pins) > 0 {
		c.VerifyConnection = func(cs tls.ConnectionState) error { return pinned(&cs, pins) }
	}
	return client.Options{TLS: c, StartTLS: o.StartTLS, MaxMessage: maxAnswer}, nil
}

// pinned reports whether a chain that was verified has one of the keys.
func pinned(cs *tls.ConnectionState, pins [][]byte) error {
	for _, chain := range cs.VerifiedChains {
		for _, cert := range chain {
			sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
			for _, pin := range pins {
				if subtle.ConstantTimeCompare(pin, sum[:]) == 1 {
					return nil
				}
			}
		}
	}
	return errors.New("no key of the server's certificates is pinned (overlay.remoteauth.server.pin)")
}

func (s *server) hasClass(sch *schema.Schema, e *dit.Entry) bool {
	for _, name := range s.classes {
		if c := sch.ObjectClass(name); c != nil && e.IsA(sch, c) {
			return true
		}
	}
	return false
}

var (
	errBusy        = ldap.Errorf(ldap.Busy, "too many passwords are being checked: try again later")
	errUnavailable = ldap.Errorf(ldap.Unavailable, "the password cannot be checked now: try again later")
)

// ask passes a bind on. right is false for what the old server calls wrong; an error says that it could not be asked, which
// is not to be taken for a wrong password: clients would forget the right one, and somebody would be locked.
func (s *server) ask(ctx context.Context, dn, password string) (right bool, err error) {
	if password == "" || dn == "" {
		return false, nil // never: it would succeed as an unauthenticated bind
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	select {
	case s.places <- struct{}{}:
		defer func() { <-s.places }()
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return false, errBusy
		}
		return false, ctx.Err()
	}
	s.mu.Lock()
	resting, prefer := s.now().Before(s.down), s.prefer
	s.mu.Unlock()
	if resting {
		return false, errUnavailable
	}
	var failures []error
	for i := range s.o.URLs {
		n := (prefer + i) % len(s.o.URLs)
		code, err := s.bind(ctx, s.o.URLs[n], dn, password)
		switch {
		case err != nil:
			failures = append(failures, err)
			continue
		case code == ldap.Success:
			right = true
		case !wrong(code):
			failures = append(failures, fmt.Errorf("%s: answers %s", s.o.URLs[n], code))
			continue
		}
		s.mu.Lock()
		s.prefer, s.down = n, time.Time{}
		s.mu.Unlock()
		return right, nil
	}
	if parent := context.Cause(ctx); errors.Is(parent, context.Canceled) {
		return false, parent // the client has gone: that says nothing about the server
	}
	s.failed(errors.Join(failures...))
	return false, errUnavailable
}

// wrong are the answers that say that this name and password are not good. 389 Directory Server answers
// constraintViolation for a lock.
func wrong(code ldap.ResultCode) bool {
	switch code {
	case ldap.InvalidCredentials, ldap.NoSuchObject, ldap.InappropriateAuthentication, ldap.ConstraintViolation, ldap.InvalidDNSyntax:
		return true
	}
	return false
}

// bind asks one URL on a connection of its own. err says that there was no answer to the bind.
func (s *server) bind(ctx context.Context, url, dn, password string) (ldap.ResultCode, error) {
	c, err := client.Dial(ctx, url, s.options)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	if c.TLS() == nil && !strings.HasPrefix(strings.ToLower(url), "ldapi:") {
		return 0, fmt.Errorf("%s: there is no TLS", url) // nothing comes here; nothing is to
	}
	answer, err := c.Bind(ctx, dn, password)
	if err != nil && answer == nil {
		return 0, fmt.Errorf("%s: %w", url, err)
	}
	_ = c.Unbind() // a courtesy: its log does not call the connection lost
	return answer.Code, nil
}

// failed leaves the old server alone for a moment, and tells the log.
func (s *server) failed(err error) {
	now := s.now()
	s.mu.Lock()
	s.down = now.Add(restAfterFailure)
	tell := now.Sub(s.told) >= tellEvery || now.Before(s.told)
	missed := s.missed
	if tell {
		s.told, s.missed = now, 0
	} else {
		s.missed++
	}
	s.mu.Unlock()
	if tell {
		s.log.Error("the old server cannot be asked: accounts without a password here cannot log in", "base", s.o.Base, "error", err, "not_told", missed)
	}
}
