// Package certificate judges X.509 certificates: what makes one worthless whoever has signed it. `portolan posture` asks it
// about the server's own, `portolan scan` about that of any server.
package certificate

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"slices"
)

// The least sizes of keys, in bits (NIST SP 800-131A).
const (
	leastRSA = 2048
	leastEC  = 256
)

// BetterKey says in words which key to make instead of a short one.
const BetterKey = "make a new key: ECDSA P-256, Ed25519, or RSA with at least 2048 bits"

// Key describes the public key of a certificate ("RSA, 2048 bits") and says whether it is too short, and whether its kind
// is one that is known here.
func Key(c *x509.Certificate) (kind string, short, known bool) {
	bits, least := 0, 0
	switch key := c.PublicKey.(type) {
	case *rsa.PublicKey:
		kind, bits, least = "RSA", key.N.BitLen(), leastRSA
	case *ecdsa.PublicKey:
		kind, bits, least = "ECDSA", key.Curve.Params().BitSize, leastEC
	case ed25519.PublicKey:
		return "Ed25519", false, true
	default:
		return c.PublicKeyAlgorithm.String(), false, false
	}
	return fmt.Sprintf("%s, %d bits", kind, bits), bits < least, true
}

// broken are algorithms of which two documents with one signature can be made.
var broken = []x509.SignatureAlgorithm{x509.MD2WithRSA, x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1}

// WeakSignature reports whether others can make a certificate with the same signature. What has signed itself is trusted
// for itself, or not: its signature proves nothing to anybody.
func WeakSignature(c *x509.Certificate) bool {
	return slices.Contains(broken, c.SignatureAlgorithm) && !SelfIssued(c)
}

// SelfIssued reports whether the certificate names itself as its authority.
func SelfIssued(c *x509.Certificate) bool { return bytes.Equal(c.RawIssuer, c.RawSubject) }
