package schema

type syntaxFlags uint8

const (
	octets   syntaxFlags = 1 << iota // octets, not text
	transfer                         // named with ;binary
)

// A syntaxDef is one line of the table of syntaxes.
type syntaxDef struct {
	oid, desc string
	check     func(s *Schema, v []byte) error
	flags     syntaxFlags
}

// builtinSyntaxes returns the syntaxes, which are code and therefore not in files.
func builtinSyntaxes() []syntaxDef {
	return []syntaxDef{
		// RFC 4517 section 3.3.
		{syn + "3", "Attribute Type Description", definition("attributetypes"), 0},
		{syn + "6", "Bit String", checkBitString, 0},
		{syn + "7", "Boolean", checkBoolean, 0},
		{syn + "11", "Country String", checkCountry, 0},
		{syn + "12", "DN", checkDN, 0},
		{syn + "14", "Delivery Method", checkDeliveryMethod, 0},
		{syn + "15", "Directory String", checkDirectoryString, 0},
		{syn + "16", "DIT Content Rule Description", definition("ditcontentrules"), 0},
		{syn + "17", "DIT Structure Rule Description", definition("ditstructurerules"), 0},
		{syn + "21", "Enhanced Guide", checkEnhancedGuide, 0},
		{syn + "22", "Facsimile Telephone Number", checkFacsimile, 0},
		{syn + "23", "Fax", anyOctets, octets},
		{syn + "24", "Generalized Time", checkGeneralizedTime, 0},
		{syn + "25", "Guide", checkGuide, 0},
		{syn + "26", "IA5 String", checkIA5, 0},
		{syn + "27", "INTEGER", checkInteger, 0},
		// Clients store images of every kind in jpegPhoto, and readers go by the content: octets are what all accept.
		{syn + "28", "JPEG", anyOctets, octets},
		{syn + "30", "Matching Rule Description", definition("matchingrules"), 0},
		{syn + "31", "Matching Rule Use Description", definition("matchingruleuse"), 0},
		{syn + "34", "Name And Optional UID", checkUIDName, 0},
		{syn + "35", "Name Form Description", definition("nameforms"), 0},
		{syn + "36", "Numeric String", checkNumericString, 0},
		{syn + "37", "Object Class Description", definition("objectclasses"), 0},
		{syn + "38", "OID", checkOID, 0},
		{syn + "39", "Other Mailbox", checkOtherMailbox, 0},
		{syn + "40", "Octet String", anyOctets, 0},
		{syn + "41", "Postal Address", checkPostalAddress, 0},
		{syn + "44", "Printable String", checkPrintable, 0},
		{syn + "50", "Telephone Number", checkTelephone, 0},
		{syn + "51", "Teletex Terminal Identifier", checkTeletex, 0},
		{syn + "52", "Telex Number", checkTelex, 0},
		{syn + "53", "UTC Time", checkUTCTime, 0},
		{syn + "54", "LDAP Syntax Description", definition("ldapsyntaxes"), 0},
		{syn + "58", "Substring Assertion", checkSubstringAssertion, 0},
		// RFC 4523.
		{syn + "8", "X.509 Certificate", checkKey(certificateKey), octets | transfer},
		{syn + "9", "X.509 Certificate List", checkKey(listOfRevokedKey), octets | transfer},
		{syn + "10", "X.509 Certificate Pair", checkKey(pairKey), octets | transfer},
		{syn + "49", "X.509 Supported Algorithm", checkKey(algorithmKey), octets | transfer},
		{x509Arc + "1", "X.509 Certificate Exact Assertion", checkKey(certificateAssertion), 0},
		{x509Arc + "2", "X.509 Certificate Assertion", checkKey(certificatePartsKey), 0},
		{x509Arc + "3", "X.509 Certificate Pair Exact Assertion", checkKey(pairAssertion), 0},
		{x509Arc + "4", "X.509 Certificate Pair Assertion", checkKey(pairPartsKey), 0},
		{x509Arc + "5", "X.509 Certificate List Exact Assertion", checkKey(listOfRevokedAssertion), 0},
		{x509Arc + "6", "X.509 Certificate List Assertion", checkKey(listPartsKey), 0},
		{x509Arc + "7", "X.509 Algorithm Identifier", checkKey(algorithmAssertion), 0},
		// RFC 3672, RFC 4530, RFC 3112.
		{syn + "45", "Subtree Specification", checkSubtreeSpecification, 0},
		{"1.3.6.1.1.16.1", "UUID", checkUUID, 0},
		{"1.3.6.1.4.1.4203.1.1.2", "authentication password syntax", checkAuthPassword, 0},
		// RFC 2307.
		{"1.3.6.1.1.1.0.0", "RFC2307 NIS Netgroup Triple", checkNetgroupTriple, 0},
		{"1.3.6.1.1.1.0.1", "RFC2307 Boot Parameter", checkBootParameter, 0},
		// slapd.
		{"1.3.6.1.4.1.4203.666.11.2.1", "CSN", checkCSN, 0},
		{"1.3.6.1.4.1.4203.666.11.2.4", "CSN SID", checkSID, 0},
		{"1.3.6.1.4.1.4203.666.2.7", "OpenLDAP authz", checkDirectoryString, 0},
		{"1.3.6.1.4.1.4203.666.11.5.3.1", "Control", checkControl, 0},
		// RFC 2252 has these without a usable definition or RFC 4517 dropped them; schemas in use name them. Text is
		// taken as text, the rest as octets.
		{syn + "1", "ACI Item", anyOctets, octets},
		{syn + "2", "Access Point", anyOctets, octets},
		{syn + "4", "Audio", anyOctets, octets},
		{syn + "5", "Binary", anyOctets, octets},
		{syn + "13", "Data Quality", checkDirectoryString, 0},
		{syn + "18", "DL Submit Permission", checkDirectoryString, 0},
		{syn + "19", "DSA Quality", checkDirectoryString, 0},
		{syn + "20", "DSE Type", checkDirectoryString, 0},
		{syn + "29", "Master And Shadow Access Points", checkDirectoryString, 0},
		{syn + "32", "Mail Preference", checkDirectoryString, 0},
		{syn + "33", "MHS OR Address", checkDirectoryString, 0},
		{syn + "42", "Protocol Information", checkDirectoryString, 0},
		{syn + "43", "Presentation Address", checkDirectoryString, 0},
		{syn + "46", "Supplier Information", checkDirectoryString, 0},
		{syn + "47", "Supplier Or Consumer", checkDirectoryString, 0},
		{syn + "48", "Supplier And Consumer", checkDirectoryString, 0},
		{syn + "55", "Modify Rights", checkDirectoryString, 0},
		{syn + "56", "LDAP Schema Definition", checkDirectoryString, 0},
		{syn + "57", "LDAP Schema Description", checkDirectoryString, 0},
		// X.509 attribute certificates and PKCS #8 keys, as slapd has them.
		{pmiArc + "1", "X.509 AttributeCertificate", checkKey(attributeCertKey), octets},
		{pmiArc + "2", "X.509 AttributeCertificate Exact Assertion", checkKey(attributeCertAssertion), 0},
		{"1.2.840.113549.1.8.1.1", "PKCS#8 PrivateKeyInfo", checkSequence, octets},
	}
}
