package scan

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"portolan/internal/certificate"
)

// soon is how long before its end a certificate is to be renewed.
const soon = 14 * 24 * time.Hour

// certificate judges the certificate by the clock, the name and the authorities of the options.
func (s *scanner) certificate(ctx context.Context) {
	chain, err := s.fetchChain(ctx)
	if err != nil || len(chain) == 0 {
		if err == nil {
			err = errors.New("the server shows none")
		}
		s.add(Finding{ID: "certificate", Severity: Info, Seen: "the certificate cannot be judged: " + why(err)})
		return
	}
	leaf := chain[0]
	s.trusted = true
	note := func(f Finding, bad bool, severity Severity, seen, means, do string) {
		if bad {
			f.Severity, f.Seen, f.Means, f.Do = severity, seen, means, do
			s.trusted = s.trusted && severity != Fail
		}
		s.add(f)
	}
	now := s.o.Now()

	intermediates := x509.NewCertPool()
	for _, c := range chain[1:] {
		intermediates.AddCert(c)
	}
	// The time is judged below by itself.
	at := now
	if at.After(leaf.NotAfter) || at.Before(leaf.NotBefore) {
		at = leaf.NotBefore.Add(leaf.NotAfter.Sub(leaf.NotBefore) / 2)
	}
	_, err = leaf.Verify(x509.VerifyOptions{Roots: s.o.Roots, Intermediates: intermediates, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	reason := ""
	if err != nil {
		reason = why(err)
	}
	note(Finding{ID: "certificate-chain", Severity: OK, Seen: "signed by an authority that is trusted here"}, err != nil, Fail,
		"not trusted here: "+reason, "a client that checks refuses the server, and one that does not check talks to whoever stands in between",
		"use a certificate of an authority that all clients know, with the intermediate ones behind it; name a private one to this scan with --ca")

	err = leaf.VerifyHostname(s.o.Name)
	names := append([]string(nil), leaf.DNSNames...)
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	has := "it has no subjectAltName at all"
	if len(names) > 0 {
		has = "it is for " + few(names, 4)
	}
	note(Finding{ID: "certificate-name", Severity: OK, Seen: "for " + clean(s.o.Name)}, err != nil, Fail,
		"not for "+clean(s.o.Name)+": "+has, "clients that check the name refuse it, and are then told not to check (RFC 6125)",
		"have it made for the names and addresses that clients connect to; if they use another one than this scan, name it with --name")

	day := leaf.NotAfter.UTC().Format(time.DateOnly)
	validity := Finding{ID: "certificate-validity", Severity: OK, Seen: "valid until " + day}
	switch {
	case now.After(leaf.NotAfter):
		note(validity, true, Fail, "expired on "+day, "clients refuse it, and are then told not to check", "renew it")
	case now.Before(leaf.NotBefore):
		note(validity, true, Fail, "valid only from "+leaf.NotBefore.UTC().Format(time.DateOnly)+" on", "clients refuse it until then", "set the server's clock, or have it made anew")
	default:
		note(validity, now.Add(soon).After(leaf.NotAfter), Warn, "expires on "+day, "clients will refuse the server then", "renew it, and see to it that this happens by itself")
	}

	kind, short, _ := certificate.Key(leaf)
	note(Finding{ID: "certificate-key", Severity: OK, Seen: kind}, short, Fail, kind+" is too short",
		"somebody with enough computers can pose as this server", certificate.BetterKey)

	weak := ""
	for _, c := range chain {
		if certificate.WeakSignature(c) {
			weak = fmt.Sprintf("%v (%s)", c.SignatureAlgorithm, clean(c.Subject.String()))
		}
	}
	note(Finding{ID: "certificate-signature", Severity: OK, Seen: leaf.SignatureAlgorithm.String()}, weak != "", Fail, "signed with "+weak,
		"somebody with enough computers can make another certificate with the same signature", "have it signed with SHA-256")
}

// maxChain bounds how many certificates of a server are looked at.
const maxChain = 10

func (s *scanner) fetchChain(ctx context.Context) ([]*x509.Certificate, error) {
	nc, err := s.beforeTLS(ctx)
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	tc := tls.Client(nc, s.anyTLS())
	if err := tc.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	chain := tc.ConnectionState().PeerCertificates
	return chain[:min(len(chain), maxChain)], nil
}
