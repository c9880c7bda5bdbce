package sasl

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"

	"portolan/ldap"
)

// subject returns the name in a certificate's subject as LDAP writes it, all of it and in its order: what package pkix makes of
// it leaves out the attribute types that it does not know, uid and dc among them. Types stand as OIDs. raw is the Name of
// RFC 5280 section 4.1.2.4.
func subject(raw []byte) (ldap.DN, error) {
	var rdns pkix.RDNSequence
	switch rest, err := asn1.Unmarshal(raw, &rdns); {
	case err != nil:
		return nil, fmt.Errorf("the subject: %w", err)
	case len(rest) > 0:
		return nil, errors.New("the subject: there is more behind it")
	case len(rdns) == 0:
		return nil, errors.New("the subject is empty")
	}
	// A certificate begins with what LDAP ends with.
	name := make(ldap.DN, len(rdns))
	for i, rdn := range rdns {
		to := &name[len(rdns)-1-i]
		for _, a := range rdn {
			value, ok := a.Value.(string)
			if !ok || value == "" {
				return nil, fmt.Errorf("the subject: the value of %v is no text", a.Type)
			}
			*to = append(*to, ldap.AVA{Type: a.Type.String(), Value: []byte(value)})
		}
		if len(*to) == 0 {
			return nil, errors.New("the subject has an RDN without attributes")
		}
	}
	return name, nil
}
