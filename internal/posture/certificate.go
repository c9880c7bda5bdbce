package posture

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"time"

	"portolan/internal/certificate"
)

// chain is what cert_file holds: the server's certificate first.
type chain struct{ certs []*x509.Certificate }

// certificates reads cert_file once. It is empty where there is none, and where it cannot be read, which is an error of
// the review.
func (r *review) certificates() []*x509.Certificate {
	if r.chain != nil {
		return r.chain.certs
	}
	r.chain = &chain{}
	file := r.Config.TLS.CertFile
	if file == "" {
		return nil
	}
	text, err := r.Host.ReadFile(file)
	if err != nil {
		r.failed("the certificate %s cannot be read: %w", file, unpath(err))
		return nil
	}
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			r.failed("the certificate %s cannot be read: %w", file, err)
			return nil
		}
		r.chain.certs = append(r.chain.certs, cert)
	}
	return r.chain.certs
}

// aboutCertificate adds a finding about one certificate of the chain.
func (r *review) aboutCertificate(n int, cert *x509.Certificate, f Finding) {
	what := "the certificate"
	if n > 0 {
		what = "the intermediate certificate " + name(cert)
		f.Subject = name(cert)
	}
	f.Key, f.Seen = "tls.cert_file", what+" "+f.Seen
	f.Fix += "; new files in cert_file and key_file are taken over without a restart"
	r.add(r.Config.At(f.Key), f)
}

// name says whose a certificate is, on one line and bounded.
func name(cert *x509.Certificate) string {
	const most = 80
	text := strings.ToValidUTF8(cert.Subject.String(), "?")
	text = strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return '?'
		}
		return c
	}, text)
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "..."
	}
	return text
}

// soon is how long before its end a certificate is to be renewed.
const soon = 30 * 24 * time.Hour

func certificateValidity(r *review) {
	day := func(t time.Time) string { return t.UTC().Format(time.DateOnly) }
	for n, cert := range r.certificates() {
		switch now := r.Host.Now; {
		case now.After(cert.NotAfter):
			r.aboutCertificate(n, cert, Finding{
				Severity: Fail, Seen: "has expired on " + day(cert.NotAfter), Means: "clients that look refuse the server, and those that do not trust anybody", Fix: "renew it",
			})
		case now.Before(cert.NotBefore):
			r.aboutCertificate(n, cert, Finding{
				Severity: Fail, Seen: "is valid only from " + day(cert.NotBefore) + " on", Means: "clients refuse it until then", Fix: "set the clock, or have it made anew",
			})
		case now.Add(soon).After(cert.NotAfter):
			r.aboutCertificate(n, cert, Finding{
				Severity: Warn, Seen: fmt.Sprintf("expires on %s, in %d days", day(cert.NotAfter), int(cert.NotAfter.Sub(now)/(24*time.Hour))),
				Means: "clients will refuse the server then", Fix: "renew it",
			})
		}
	}
}

func certificateNames(r *review) {
	certs := r.certificates()
	if len(certs) == 0 || len(certs[0].DNSNames)+len(certs[0].IPAddresses) > 0 {
		return
	}
	r.aboutCertificate(0, certs[0], Finding{
		Severity: Fail, Seen: "has no subjectAltName with the server's name", Means: "clients that check the name refuse it (RFC 6125), and are then told not to check",
		Fix: "have it made anew with the names and addresses that clients connect to",
	})
}

func certificateStrength(r *review) {
	const means = "somebody with enough computers can pose as this server"
	for n, cert := range r.certificates() {
		switch kind, short, known := certificate.Key(cert); {
		case !known:
			r.aboutCertificate(n, cert, Finding{Severity: Warn, Seen: "has a key of the kind " + kind, Means: "few clients can use it, and none is known to be good", Fix: certificate.BetterKey})
		case short:
			r.aboutCertificate(n, cert, Finding{Severity: Fail, Seen: "has a key that is too short (" + kind + ")", Means: means, Fix: certificate.BetterKey})
		}
		if certificate.WeakSignature(cert) {
			r.aboutCertificate(n, cert, Finding{Severity: Fail, Seen: fmt.Sprintf("is signed with %v", cert.SignatureAlgorithm), Means: means, Fix: "have it signed with SHA-256"})
		}
	}
}

func certificatePurpose(r *review) {
	certs := r.certificates()
	if len(certs) == 0 {
		return
	}
	cert := certs[0]
	if len(cert.ExtKeyUsage)+len(cert.UnknownExtKeyUsage) > 0 &&
		!slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageServerAuth) && !slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageAny) {
		r.aboutCertificate(0, cert, Finding{Severity: Fail, Seen: "is not for servers (extendedKeyUsage)", Means: "clients refuse it, and are then told not to check", Fix: "have it made anew with serverAuth"})
	}
	switch {
	case cert.IsCA:
		r.aboutCertificate(0, cert, Finding{Severity: Warn, Seen: "is that of an authority", Means: "whoever takes the server's key can make certificates for every other server that the same clients trust", Fix: "have the authority sign one for the server alone"})
	case certificate.SelfIssued(cert):
		r.aboutCertificate(0, cert, Finding{Severity: Warn, Seen: "is signed by itself", Means: "clients must be given this very certificate, and anew at each renewal; where that is forgotten they stop checking", Fix: "use an authority, as \"portolan init\" makes one"})
	}
}
