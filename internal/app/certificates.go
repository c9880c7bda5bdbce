package app

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// CertificatePaths says where a made authority and certificate are.
type CertificatePaths struct{ CA, CAKey, Cert, Key string }

// Names of the authority's files, beside those of the certificate.
const (
	caFile    = "ca.pem"
	caKeyFile = "ca.key"
)

// certificatePaths returns the files in a directory.
func certificatePaths(dir string) CertificatePaths {
	in := func(name string) string { return filepath.Join(dir, name) }
	return CertificatePaths{CA: in(caFile), CAKey: in(caKeyFile), Cert: in("server.pem"), Key: in("server.key")}
}

const (
	// caLife is how long a made authority lasts, certLife a certificate: what clients accept at most.
	caLife   = 10 * 365 * 24 * time.Hour
	certLife = 820 * 24 * time.Hour
	// clockSkew is how far the clocks of clients may be behind.
	clockSkew = time.Hour
)

// MakeCertificates makes a private authority and a server certificate signed by it, for localhost, this host's name, the
// loopback addresses and names. Clients that compare `localhost` with the host's own name, as libldap does, are served by
// either. Files that are there already are an error: nothing is replaced.
func MakeCertificates(dir string, now time.Time, names ...string) (CertificatePaths, error) {
	p := certificatePaths(dir)
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return p, err
	}
	ca := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "Portolan CA of " + hostName()},
		NotBefore: now.Add(-clockSkew), NotAfter: now.Add(caLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return p, err
	}
	leaf := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: hostName()},
		NotBefore: now.Add(-clockSkew), NotAfter: now.Add(certLife),
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	for _, name := range append([]string{"localhost", hostName()}, names...) {
		if ip := net.ParseIP(name); ip != nil {
			leaf.IPAddresses = append(leaf.IPAddresses, ip)
		} else if name != "" && !slices.Contains(leaf.DNSNames, name) {
			leaf.DNSNames = append(leaf.DNSNames, name)
		}
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		return p, err
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
	if err != nil {
		return p, err
	}
	for _, f := range []struct {
		path string
		mode fs.FileMode
		kind string
		der  []byte
		key  *ecdsa.PrivateKey
	}{
		{p.CA, 0o644, "CERTIFICATE", caDER, nil},
		{p.CAKey, 0o600, "EC PRIVATE KEY", nil, caKey},
		{p.Cert, 0o644, "CERTIFICATE", leafDER, nil},
		{p.Key, 0o600, "EC PRIVATE KEY", nil, key},
	} {
		der := f.der
		if f.key != nil {
			if der, err = x509.MarshalECPrivateKey(f.key); err != nil {
				return p, err
			}
		}
		if err := writeNew(f.path, f.mode, pem.EncodeToMemory(&pem.Block{Type: f.kind, Bytes: der})); err != nil {
			return p, err
		}
	}
	return p, nil
}

// writeNew writes a file that must not be there yet.
func writeNew(path string, mode fs.FileMode, content []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%s is there already and is not replaced: remove it, or name another directory with --dir", path)
		}
		return fmt.Errorf("%s cannot be written: %w", path, reason(err))
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Sync(), f.Close())
}

func serial() *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		panic(err) // the system has no random numbers; nothing here could go on
	}
	return n
}

func hostName() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "localhost"
	}
	return name
}
