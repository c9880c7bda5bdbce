package schema

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"sync"
	"testing"
	"time"
)

var testAuthority = sync.OnceValues(func() (*x509.Certificate, *ecdsa.PrivateKey) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber:          big.NewInt(305419896),
		Subject:               pkix.Name{CommonName: "Test CA", Organization: []string{"Portolan, Ltd"}},
		NotBefore:             time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:              time.Date(2034, 1, 1, 0, 0, 0, 0, time.UTC),
		IsCA:                  true,
		BasicConstraintsValid: true,
		SubjectKeyId:          []byte{1, 2, 3},
		KeyUsage:              x509.KeyUsageCRLSign,
	}, &x509.Certificate{Subject: pkix.Name{CommonName: "Test CA", Organization: []string{"Portolan, Ltd"}}}, key.Public(), key)
	if err != nil {
		panic(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return cert, key
})

// certificateFor returns a certificate of serial number 305419896 and the name of its issuer.
func certificateFor(t testing.TB) (der []byte, issuer string) {
	t.Helper()
	cert, _ := testAuthority()
	return cert.Raw, `cn=test ca,O=Portolan\2c Ltd`
}

// listFor returns a revocation list of the same issuer, made at 2024-01-02 03:04:05.
func listFor(t testing.TB) []byte {
	t.Helper()
	cert, key := testAuthority()
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number:     big.NewInt(1),
		ThisUpdate: time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC),
		NextUpdate: time.Date(2024, 2, 2, 3, 4, 5, 0, time.UTC),
	}, cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}
