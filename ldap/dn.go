package ldap

// DN is a distinguished name, the most specific RDN first, as RFC 4514 writes it. The empty DN names the root DSE.
// A DN keeps attribute types as they were written and values as octets; whether two DNs are the same entry's is for
// the schema to say.
type DN []RDN

// RDN is one relative distinguished name: one or more type-value pairs, in the order of the input.
type RDN []AVA

// AVA is one attribute type and value. Type is a descriptor or a numeric OID, without options.
type AVA struct {
	Type  string
	Value []byte
}

// Limits on the text of a DN.
const (
	MaxDNBytes = 1 << 20
	MaxRDNs    = 1024
)
