package ldaptest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"testing"
	"time"

	"portolan/ldap"
)

// Authority is a certificate authority that lives as long as a test.
type Authority struct {
	t    testing.TB
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pool *x509.CertPool
}

// NewAuthority makes one.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	a := &Authority{t: t, key: newKey(t), pool: x509.NewCertPool()}
	template := &x509.Certificate{Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	a.cert = a.issue(template, &a.key.PublicKey, template, a.key)
	a.pool.AddCert(a.cert)
	return a
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (a *Authority) issue(template *x509.Certificate, key *ecdsa.PublicKey, parent *x509.Certificate, by *ecdsa.PrivateKey) *x509.Certificate {
	a.t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		a.t.Fatal(err)
	}
	template.SerialNumber = serial
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key, by)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert
}

// PEM is the certificate of the authority.
func (a *Authority) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// Server is the configuration of a server on 127.0.0.1 that asks clients for a certificate of this authority and does without.
func (a *Authority) Server() *tls.Config {
	a.t.Helper()
	key := newKey(a.t)
	cert := a.issue(&x509.Certificate{
		Subject: pkix.Name{CommonName: "server"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, &key.PublicKey, a.cert, a.key)
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}}, MinVersion: tls.VersionTLS12,
		ClientCAs: a.pool, ClientAuth: tls.VerifyClientCertIfGiven,
	}
}

// oids of the attribute types that subjects of test certificates are made of.
var oids = map[string]asn1.ObjectIdentifier{
	"cn": {2, 5, 4, 3}, "ou": {2, 5, 4, 11}, "o": {2, 5, 4, 10}, "c": {2, 5, 4, 6},
	"uid": {0, 9, 2342, 19200300, 100, 1, 1}, "dc": {0, 9, 2342, 19200300, 100, 1, 25},
}

// Client is the configuration of a client that trusts the authority and has a certificate with this name as its subject; none
// where the name is empty.
func (a *Authority) Client(dn string) (*tls.Config, error) {
	a.t.Helper()
	c := &tls.Config{RootCAs: a.pool, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12}
	if dn == "" {
		return c, nil
	}
	name, err := ldap.ParseDN(dn)
	if err != nil {
		return nil, err
	}
	// A certificate begins with what a string ends with.
	var subject pkix.RDNSequence
	for i := len(name) - 1; i >= 0; i-- {
		var rdn pkix.RelativeDistinguishedNameSET
		for _, ava := range name[i] {
			oid, ok := oids[ava.Type]
			if !ok {
				return nil, fmt.Errorf("%s: no test certificate has this attribute type in its subject", ava.Type)
			}
			rdn = append(rdn, pkix.AttributeTypeAndValue{Type: oid, Value: string(ava.Value)})
		}
		subject = append(subject, rdn)
	}
	raw, err := asn1.Marshal(subject)
	if err != nil {
		return nil, err
	}
	c.Certificates = []tls.Certificate{a.Issue(&x509.Certificate{RawSubject: raw})}
	return c, nil
}

// Issue signs a certificate of a client, of which the template says all but key, number and times.
func (a *Authority) Issue(template *x509.Certificate) tls.Certificate {
	a.t.Helper()
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	key := newKey(a.t)
	cert := a.issue(template, &key.PublicKey, a.cert, a.key)
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
}
