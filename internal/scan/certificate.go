package scan

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"
)

// soon is how long before its end a certificate is to be renewed.
const soon = 14 * 24 * time.Hour

// The least sizes of keys, in bits.
const (
	leastRSA = 2048
	leastEC  = 256
)

// weakSignatures are algorithms of which two documents with one signature can be made.
var weakSignatures = []x509.SignatureAlgorithm{x509.MD2WithRSA, x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1}

// certificate judges the certificate by the clock, the name and the authorities of the options.
func (s *scanner) certificate(ctx context.Context) {
	if s.overTLS() == "" {
		return
	}
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

	bits, least, kind := keySize(leaf)
	note(Finding{ID: "certificate-key", Severity: OK, Seen: kind}, bits < least, Fail, kind+" is too short",
		"somebody with enough computers can pose as this server", "make a new key: ECDSA P-256, or RSA with at least 2048 bits")

	weak := ""
	for _, c := range chain {
		// The signature on what clients trust by itself proves nothing to anybody.
		if slices.Contains(weakSignatures, c.SignatureAlgorithm) && c.CheckSignatureFrom(c) != nil && !slices.Equal(c.RawIssuer, c.RawSubject) {
			weak = fmt.Sprintf("%v (%s)", c.SignatureAlgorithm, clean(c.Subject.String()))
		}
	}
	note(Finding{ID: "certificate-signature", Severity: OK, Seen: leaf.SignatureAlgorithm.String()}, weak != "", Fail, "signed with "+weak,
		"somebody with enough computers can make another certificate with the same signature", "have it signed with SHA-256")
}

// keySize returns the size of a certificate's key, the least that it should have, and what it is in words.
func keySize(c *x509.Certificate) (bits, least int, kind string) {
	switch key := c.PublicKey.(type) {
	case *rsa.PublicKey:
		return key.N.BitLen(), leastRSA, fmt.Sprintf("RSA, %d bits", key.N.BitLen())
	case *ecdsa.PublicKey:
		n := key.Curve.Params().BitSize
		return n, leastEC, fmt.Sprintf("ECDSA, %d bits", n)
	case ed25519.PublicKey:
		return 0, 0, "Ed25519"
	}
	return 0, 0, c.PublicKeyAlgorithm.String()
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
