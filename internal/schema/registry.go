package schema

import (
	"reflect"
	"sync/atomic"
)

// Schema is a closed set of definitions: everything one of them names is in it. It never changes.
type Schema struct {
	// Known has the definitions that the server itself works with.
	Known Known

	generation uint64
	files      []File
	displaced  []string
	live       []Definition

	attrs    map[string]*AttributeType // by lower-case name and by OID
	classes  map[string]*ObjectClass
	rules    map[string]*MatchingRule
	syntaxes map[string]*Syntax // by OID
	content  map[*ObjectClass]*ContentRule

	attrList    []*AttributeType // in the order of definition; index is Ordinal
	classList   []*ObjectClass
	ruleList    []*MatchingRule
	syntaxList  []*Syntax
	contentList []*ContentRule
	nameForms   []*NameForm
	structRules []*StructureRule

	published func() []PublishedAttr            // Publish, once
	options   atomic.Pointer[map[string]string] // interned option strings, see intern
}

// Known has attribute types and object classes by their names. A field is nil where the schema does not define it; with
// the shipped files all of them are there.
type Known struct {
	// RFC 4512.
	ObjectClass, AliasedObjectName                                        *AttributeType
	CreatorsName, CreateTimestamp, ModifiersName, ModifyTimestamp         *AttributeType
	StructuralObjectClass, GoverningStructureRule, SubschemaSubentry      *AttributeType
	ObjectClasses, AttributeTypes, MatchingRules, MatchingRuleUse         *AttributeType
	LDAPSyntaxes, DITContentRules, DITStructureRules, NameForms           *AttributeType
	AltServer, NamingContexts, SupportedControl, SupportedExtension       *AttributeType
	SupportedFeatures, SupportedLDAPVersion, SupportedSASLMechanisms      *AttributeType
	VendorName, VendorVersion, SupportedAuthPasswordSchemes               *AttributeType
	EntryUUID, EntryDN, EntryCSN, ContextCSN                              *AttributeType
	HasSubordinates, NumSubordinates, MemberOf, EntryTTL, DynamicSubtrees *AttributeType
	SubtreeSpecification, AdministrativeRole                              *AttributeType
	CollectiveAttributeSubentries, CollectiveExclusions                   *AttributeType
	Ref                                                                   *AttributeType

	// RFC 4519 and others.
	CN, SN, UID, DC, OU, O, C, L, ST, Name, GivenName, Mail        *AttributeType
	Description, DisplayName, TelephoneNumber, SeeAlso, Owner      *AttributeType
	Member, UniqueMember, MemberUID, MemberURL, Manager, Secretary *AttributeType
	UserPassword, AuthPassword, UserCertificate, CACertificate     *AttributeType
	UIDNumber, GIDNumber, HomeDirectory, LoginShell, Gecos         *AttributeType
	DistinguishedName, LabeledURI                                  *AttributeType

	// Portolan's own.
	PortolanAccountDisabled, PortolanAllowedFrom, PortolanScramKeys         *AttributeType
	PortolanCredentialName, PortolanCredentialTLS, PortolanCredentialSecret *AttributeType
	PortolanExposedTime                                                     *AttributeType

	// draft-behera-ldap-password-policy.
	PwdPolicySubentry, PwdChangedTime, PwdAccountLockedTime, PwdFailureTime *AttributeType
	PwdHistory, PwdGraceUseTime, PwdReset, PwdStartTime, PwdEndTime         *AttributeType
	PwdLastSuccess, AuthTimestamp                                           *AttributeType

	// Object classes.
	Top, Alias, Referral, ExtensibleObject, Subschema, Subentry, DynamicObject *ObjectClass
	CollectiveAttributeSubentry                                                *ObjectClass
	GroupOfNames, GroupOfUniqueNames, GroupOfURLs, PosixGroup                  *ObjectClass
	Person, InetOrgPerson, PosixAccount, DCObject, Domain, Organization        *ObjectClass
	OrganizationalUnit, SimpleSecurityObject, PwdPolicy                        *ObjectClass
	PortolanAppPassword                                                        *ObjectClass
}

// fillKnown looks every field of Known up by its own name: names of definitions do not depend on case.
func (s *Schema) fillKnown() {
	v := reflect.ValueOf(&s.Known).Elem()
	t := v.Type()
	for i := range t.NumField() {
		switch f := v.Field(i).Addr().Interface().(type) {
		case **AttributeType:
			*f = s.AttributeTypeString(t.Field(i).Name)
		case **ObjectClass:
			*f = s.ObjectClass(t.Field(i).Name)
		}
	}
}

// Generation is a number no other Schema of this process has. What is cached by type pointers belongs to one generation.
func (s *Schema) Generation() uint64 { return s.generation }

// Files returns what the schema was built from, in order. Neither the slice nor the texts are to be changed.
func (s *Schema) Files() []File { return s.files }

// foldBuffer is long enough for every name in use; longer ones are looked up through an allocation.
const foldBuffer = 128

// fold lowers ASCII letters into buf and returns the part used; names have no other letters.
func fold(buf *[foldBuffer]byte, name []byte) []byte {
	dst := buf[:0]
	if len(name) > len(buf) {
		dst = make([]byte, 0, len(name))
	}
	return appendLower(dst, name)
}

func appendLower[T ~string | ~[]byte](dst []byte, s T) []byte {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst
}

// AttributeType finds a type by one of its names, in any case, or its numeric OID; nil if there is none. Options are not
// part of a name: see Describe. It allocates nothing.
func (s *Schema) AttributeType(name []byte) *AttributeType {
	var buf [foldBuffer]byte
	return s.attrs[string(fold(&buf, name))]
}

// AttributeTypeString is AttributeType for a string.
func (s *Schema) AttributeTypeString(name string) *AttributeType {
	var buf [foldBuffer]byte
	if len(name) > len(buf) {
		return s.AttributeType([]byte(name))
	}
	return s.attrs[string(appendLower(buf[:0], name))]
}

// ObjectClass finds a class by name or OID; nil if there is none.
func (s *Schema) ObjectClass(name string) *ObjectClass {
	var buf [foldBuffer]byte
	if len(name) > len(buf) {
		return s.ObjectClassBytes([]byte(name))
	}
	return s.classes[string(appendLower(buf[:0], name))]
}

// ObjectClassBytes is ObjectClass for octets. It allocates nothing.
func (s *Schema) ObjectClassBytes(name []byte) *ObjectClass {
	var buf [foldBuffer]byte
	return s.classes[string(fold(&buf, name))]
}

// MatchingRule finds a rule by name or OID; nil if there is none.
func (s *Schema) MatchingRule(name []byte) *MatchingRule {
	var buf [foldBuffer]byte
	return s.rules[string(fold(&buf, name))]
}

// Syntax finds a syntax by its numeric OID; nil if there is none.
func (s *Schema) Syntax(oid string) *Syntax { return s.syntaxes[oid] }

// AttributeTypes returns all attribute types by Ordinal. The slice is not to be changed.
func (s *Schema) AttributeTypes() []*AttributeType { return s.attrList }

// ObjectClasses returns all object classes in the order of their definition. The slice is not to be changed.
func (s *Schema) ObjectClasses() []*ObjectClass { return s.classList }

// MatchingRules returns all matching rules. The slice is not to be changed.
func (s *Schema) MatchingRules() []*MatchingRule { return s.ruleList }

// Syntaxes returns all syntaxes. The slice is not to be changed.
func (s *Schema) Syntaxes() []*Syntax { return s.syntaxList }

// ContentRules returns all DIT content rules. The slice is not to be changed.
func (s *Schema) ContentRules() []*ContentRule { return s.contentList }

// NameForms returns all name forms. The slice is not to be changed.
func (s *Schema) NameForms() []*NameForm { return s.nameForms }

// StructureRules returns all DIT structure rules. The slice is not to be changed.
func (s *Schema) StructureRules() []*StructureRule { return s.structRules }

// ContentRule returns the DIT content rule of a structural class, or nil.
func (s *Schema) ContentRule(structural *ObjectClass) *ContentRule { return s.content[structural] }
