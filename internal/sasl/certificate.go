package sasl

import (
	"crypto/x509"
	"encoding/asn1"

	"portolan/ldap"
)

// CertificateFields are the fields of a certificate that a configuration can name.
func CertificateFields() []string {
	return []string{"subject", "cn", "uid", "email", "dns", "uri", "upn", "serial"}
}

// OIDs of attribute types in subjects, of the alternative name extension and of the user principal name in it.
var (
	typeCN    = "2.5.4.3"
	typeUID   = "0.9.2342.19200300.100.1.1"
	typeEmail = "1.2.840.113549.1.9.1"

	altName = asn1.ObjectIdentifier{2, 5, 29, 17}
	upnName = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 20, 2, 3}
)

// certificateFields returns the values of the fields of a certificate. A field of the subject is the one of its most specific
// RDN. The subject is left out where it is not one that LDAP can write.
func certificateFields(leaf *x509.Certificate) map[string][]string {
	fields := map[string][]string{
		"email": append([]string(nil), leaf.EmailAddresses...), "dns": leaf.DNSNames, "upn": principalNames(leaf),
		"serial": {leaf.SerialNumber.String()},
	}
	for _, u := range leaf.URIs {
		fields["uri"] = append(fields["uri"], u.String())
	}
	name, err := subject(leaf.RawSubject)
	if err != nil {
		return fields
	}
	fields["subject"] = []string{name.String()}
	first := func(field, oid string) {
		for _, rdn := range name {
			for _, ava := range rdn {
				if ava.Type == oid {
					fields[field] = append(fields[field], string(ava.Value))
					return
				}
			}
		}
	}
	first("cn", typeCN)
	first("uid", typeUID)
	if len(fields["email"]) == 0 {
		first("email", typeEmail) // where it stood before there were alternative names
	}
	return fields
}

// issuer returns the name of a certificate's issuer, nil where it is not one that LDAP can write.
func issuer(leaf *x509.Certificate) ldap.DN {
	name, err := subject(leaf.RawIssuer)
	if err != nil {
		return nil
	}
	return name
}

// principalNames returns the user principal names (an otherName of Microsoft's) among the alternative names of the subject.
func principalNames(leaf *x509.Certificate) []string {
	var out []string
	for _, x := range leaf.Extensions {
		if !x.Id.Equal(altName) {
			continue
		}
		var names asn1.RawValue
		if rest, err := asn1.Unmarshal(x.Value, &names); err != nil || len(rest) > 0 || names.Tag != asn1.TagSequence || !names.IsCompound {
			return nil
		}
		for rest := names.Bytes; len(rest) > 0; {
			var name asn1.RawValue
			var err error
			if rest, err = asn1.Unmarshal(rest, &name); err != nil {
				return nil
			}
			if text, ok := principalName(name); ok {
				out = append(out, text)
			}
		}
	}
	return out
}

// principalName reads otherName ([0] IMPLICIT SEQUENCE { type-id OID, value [0] EXPLICIT UTF8String }).
func principalName(name asn1.RawValue) (string, bool) {
	if name.Class != asn1.ClassContextSpecific || name.Tag != 0 || !name.IsCompound {
		return "", false
	}
	var id asn1.ObjectIdentifier
	rest, err := asn1.Unmarshal(name.Bytes, &id)
	if err != nil || !id.Equal(upnName) {
		return "", false
	}
	var value asn1.RawValue
	if rest, err = asn1.Unmarshal(rest, &value); err != nil || len(rest) > 0 || value.Class != asn1.ClassContextSpecific || value.Tag != 0 {
		return "", false
	}
	var text string
	if rest, err = asn1.UnmarshalWithParams(value.Bytes, &text, "utf8"); err != nil || len(rest) > 0 {
		return "", false
	}
	return text, text != ""
}
