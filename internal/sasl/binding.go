package sasl

import (
	"crypto"
	_ "crypto/sha256" // hashes of certificates
	_ "crypto/sha512"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"

	"portolan/internal/op"
)

// Channel binding types: of TLS 1.3 (RFC 9266), of the server's certificate and of TLS 1.2 (RFC 5929).
const (
	tlsExporter = "tls-exporter"
	tlsEndPoint = "tls-server-end-point"
	tlsUnique   = "tls-unique"
	// tlsOfLibldap is the type that OpenLDAP's library names, whichever it uses: the data say it (tls-server-end-point:HASH), as
	// RFC 5056 section 2.1 has them for other mechanisms.
	tlsOfLibldap = "ldap"
	exporterName = "EXPORTER-Channel-Binding"
	exporterSize = 32
)

func knownBinding(name string) bool {
	return name == tlsExporter || name == tlsEndPoint || name == tlsUnique || name == tlsOfLibldap
}

// isBinding reports whether octets are the channel binding data of a connection, of this type, behind a header. known is false
// where the connection has none of the type.
func isBinding(c *op.Conn, name, header string, octets []byte) (right, known bool) {
	candidates, prefix := []string{name}, false
	if name == tlsOfLibldap {
		candidates, prefix = []string{tlsEndPoint, tlsUnique}, true
	}
	for _, one := range candidates {
		data, ok := bindingData(c, one)
		if !ok {
			continue
		}
		expected := []byte(header)
		if prefix {
			expected = append(append(expected, one...), ':')
		}
		known = true
		right = right || subtle.ConstantTimeCompare(append(expected, data...), octets) == 1
	}
	return right, known
}

// bindable reports whether a connection has any channel binding.
func bindable(c *op.Conn) bool {
	if c.TLS() == nil {
		return false
	}
	for _, name := range []string{tlsExporter, tlsEndPoint, tlsUnique} {
		if _, ok := bindingData(c, name); ok {
			return true
		}
	}
	return false
}

// bindingData returns the channel binding data of a connection; false where it has none of this type.
func bindingData(c *op.Conn, name string) ([]byte, bool) {
	state := c.TLS()
	if state == nil {
		return nil, false
	}
	switch name {
	case tlsExporter:
		// RFC 9266 section 2: a context of no octets, which to TLS 1.2 is not the same as none. Before TLS 1.3 it is unique only
		// with an extended master secret; without one there is no exporter.
		data, err := state.ExportKeyingMaterial(exporterName, []byte{}, exporterSize)
		return data, err == nil
	case tlsUnique:
		return state.TLSUnique, state.Version < tls.VersionTLS13 && len(state.TLSUnique) > 0
	case tlsEndPoint:
		leaf := c.Certificate()
		if leaf == nil {
			return nil, false
		}
		hash := endPointHash(leaf.SignatureAlgorithm)
		if !hash.Available() {
			return nil, false
		}
		h := hash.New()
		h.Write(leaf.Raw)
		return h.Sum(nil), true
	}
	return nil, false
}

// endPointHash is the hash of a certificate's signature, or SHA-256 where that is MD5 or SHA-1 (RFC 5929 section 4.1). A
// signature without a hash of its own (Ed25519) leaves the binding undefined.
func endPointHash(a x509.SignatureAlgorithm) crypto.Hash {
	switch a {
	case x509.MD5WithRSA, x509.SHA1WithRSA, x509.ECDSAWithSHA1, x509.DSAWithSHA1,
		x509.SHA256WithRSA, x509.ECDSAWithSHA256, x509.DSAWithSHA256, x509.SHA256WithRSAPSS:
		return crypto.SHA256
	case x509.SHA384WithRSA, x509.ECDSAWithSHA384, x509.SHA384WithRSAPSS:
		return crypto.SHA384
	case x509.SHA512WithRSA, x509.ECDSAWithSHA512, x509.SHA512WithRSAPSS:
		return crypto.SHA512
	}
	return 0
}
