package certificate

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"math/big"
	"testing"
)

func TestKey(t *testing.T) {
	rsaKey := func(bits uint) *rsa.PublicKey {
		return &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), bits-1), E: 65537}
	}
	for _, x := range []struct {
		key          any
		kind         string
		short, known bool
	}{
		{rsaKey(2047), "RSA, 2047 bits", true, true},
		{rsaKey(2048), "RSA, 2048 bits", false, true},
		{&ecdsa.PublicKey{Curve: elliptic.P224()}, "ECDSA, 224 bits", true, true},
		{&ecdsa.PublicKey{Curve: elliptic.P256()}, "ECDSA, 256 bits", false, true},
		{ed25519.PublicKey(nil), "Ed25519", false, true},
		{nil, "DSA", false, false},
	} {
		c := &x509.Certificate{PublicKey: x.key, PublicKeyAlgorithm: x509.DSA}
		if kind, short, known := Key(c); kind != x.kind || short != x.short || known != x.known {
			t.Errorf("%T: %s, short %t, known %t; want %s, %t, %t", x.key, kind, short, known, x.kind, x.short, x.known)
		}
	}
}

func TestWeakSignature(t *testing.T) {
	for _, x := range []struct {
		algorithm       x509.SignatureAlgorithm
		issuer, subject string
		want            bool
	}{
		{x509.SHA1WithRSA, "a", "b", true}, {x509.MD5WithRSA, "a", "b", true}, {x509.ECDSAWithSHA1, "a", "b", true},
		{x509.SHA256WithRSA, "a", "b", false}, {x509.PureEd25519, "a", "b", false}, {x509.SHA1WithRSA, "a", "a", false},
	} {
		c := &x509.Certificate{SignatureAlgorithm: x.algorithm, RawIssuer: []byte(x.issuer), RawSubject: []byte(x.subject)}
		if got := WeakSignature(c); got != x.want {
			t.Errorf("%v from %s to %s: %t", x.algorithm, x.issuer, x.subject, got)
		}
	}
}
