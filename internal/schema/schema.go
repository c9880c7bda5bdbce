// Package schema knows attribute types, object classes, syntaxes and matching rules (RFC 4512 section 4, RFC 4517,
// RFC 4518): it parses their definitions, checks values, and turns values into keys on which matching is a comparison
// of bytes.
//
// A Schema is immutable once built and shared by all readers without locks; a change builds another one and publishes
// that. Pointers to attribute types of two different Schemas never compare equal: caches that hold such pointers belong
// to one Schema (see Generation).
package schema

import "slices"

// Usage is the application of an attribute type (RFC 4512 section 4.1.2).
type Usage uint8

// Usages.
const (
	UserApplications Usage = iota
	DirectoryOperation
	DistributedOperation
	DSAOperation
)

// Kind is the kind of an object class (RFC 4512 section 2.4).
type Kind uint8

// Kinds. Structural is the default of the notation.
const (
	Structural Kind = iota
	Abstract
	Auxiliary
)

// Common is what every definition of RFC 4512 section 4.1 has.
type Common struct {
	OID        string   // numeric
	Names      []string // short names, the first is the one written on the wire
	Desc       string
	Obsolete   bool
	Extensions []Extension
	Origin     string // where it was defined, "file:line" or "built in": for error messages, not published
	Live       bool   // made through LDAP: see Schema.ChangeLive
}

// Extension is one X- term of a definition.
type Extension struct {
	Name   string
	Values []string
}

// AttributeType is RFC 4512 section 4.1.2. Everything inherited from Sup is resolved: Equality, Ordering, Substr and
// Syntax are the effective ones.
type AttributeType struct {
	Common
	Sup                *AttributeType
	Equality           *MatchingRule // nil: none
	Ordering           *MatchingRule
	Substr             *MatchingRule
	Syntax             *Syntax // never nil
	SyntaxLen          int     // the {len} bound, 0 if none
	SingleValue        bool
	Collective         bool
	NoUserModification bool
	Usage              Usage
	// Secret marks types whose values no wildcard ever reaches: userPassword, keys, hashes, OTP seeds. It is written
	// X-PORTOLAN-SECRET 'TRUE' in a definition.
	Secret bool
	// Ordinal numbers the types of one Schema from 0 without gaps, so that per-type tables can be slices.
	Ordinal int

	lower    string           // Name in lower case: how the type is written in a normalised name
	subtypes []*AttributeType // itself and all that inherit from it, transitively
}

// Name returns the name under which the type goes out on the wire: its first short name, or its OID.
func (a *AttributeType) Name() string {
	if len(a.Names) > 0 {
		return a.Names[0]
	}
	return a.OID
}

// Operational reports whether the type is an operational attribute (RFC 4512 section 3.4).
func (a *AttributeType) Operational() bool { return a.Usage != UserApplications }

// IsA reports whether a is t or a subtype of it.
func (a *AttributeType) IsA(t *AttributeType) bool {
	for ; a != nil; a = a.Sup {
		if a == t {
			return true
		}
	}
	return false
}

// Subtypes returns the type itself and all its subtypes. The slice is not to be changed.
func (a *AttributeType) Subtypes() []*AttributeType { return a.subtypes }

// ObjectClass is RFC 4512 section 4.1.1. Must and May are the class's own; AllMust and AllMay include what is inherited.
type ObjectClass struct {
	Common
	Sup     []*ObjectClass
	Kind    Kind
	Must    []*AttributeType
	May     []*AttributeType
	AllMust []*AttributeType
	AllMay  []*AttributeType

	supers []*ObjectClass // itself and all it inherits from, transitively, without duplicates
}

// Name returns the first short name, or the OID.
func (c *ObjectClass) Name() string {
	if len(c.Names) > 0 {
		return c.Names[0]
	}
	return c.OID
}

// IsA reports whether c is d or inherits from it.
func (c *ObjectClass) IsA(d *ObjectClass) bool {
	return c == d || slices.Contains(c.supers, d)
}

// Superclasses returns the class itself and all classes it inherits from, each once. The slice is not to be changed.
func (c *ObjectClass) Superclasses() []*ObjectClass { return c.supers }

// ContentRule is a DIT content rule (RFC 4512 section 4.1.6), for the structural class of the same OID.
type ContentRule struct {
	Common
	Aux            []*ObjectClass
	Must, May, Not []*AttributeType
}

// NameForm is RFC 4512 section 4.1.7.2.
type NameForm struct {
	Common
	Class     *ObjectClass
	Must, May []*AttributeType
}

// StructureRule is RFC 4512 section 4.1.7.1. Common.OID is empty; ID stands in its place.
type StructureRule struct {
	Common
	ID   int
	Form *NameForm
	Sup  []int
}

// Syntax is RFC 4512 section 4.1.5 with the check of RFC 4517 section 3.3.
type Syntax struct {
	Common
	// Check says what is wrong with a value, in words that may be shown to a client, or returns nil. It is linear in the
	// size of the value, allocates nothing for a good one, and never keeps it.
	Check func(s *Schema, value []byte) error
	// Binary says that values are octets rather than text: LDIF writes them in base64, LDAP names need ";binary" only
	// where TransferBinary says so too.
	Binary bool
	// TransferBinary marks the syntaxes whose values are named with the ;binary option (RFC 4522, RFC 4523).
	TransferBinary bool
}

// RuleKind says in which place of an attribute type a matching rule stands.
type RuleKind uint8

// Kinds of matching rules.
const (
	EqualityRule RuleKind = iota
	OrderingRule
	SubstringsRule
)

// MatchingRule is RFC 4512 section 4.1.3 with the behaviour of RFC 4517 section 4.2.
//
// Matching is on keys. ValueKey turns an attribute value, AssertionKey an assertion value into a key, after the string
// preparation of RFC 4518. For an equality rule two values match when their keys are the same octets; for an ordering
// rule the order of values is the order of keys under bytes.Compare; for a substring rule the pieces are made by
// SubstringKey and looked for in the ValueKey, in order and without overlap. Rules that are not of this form have Match.
type MatchingRule struct {
	Common
	Kind   RuleKind
	Syntax *Syntax // of the assertion value

	// ValueKey appends the key of a stored value. It fails only on a value that the syntax would refuse.
	ValueKey func(s *Schema, dst, value []byte) ([]byte, error)
	// AssertionKey appends the key of an assertion value; an error makes the filter item Undefined.
	AssertionKey func(s *Schema, dst, assertion []byte) ([]byte, error)
	// SubstringKey appends the key of one piece of a substring assertion; nil unless Kind is SubstringsRule.
	// The place matters: RFC 4518 section 2.6.1 treats spaces at the ends of a piece by its kind (ldap.SubInitial...).
	SubstringKey func(s *Schema, dst, piece []byte, kind uint8) ([]byte, error)
	// Match, where not nil, decides instead of a comparison of keys: bit rules, word rules, keyword rules. Such rules
	// cannot be served by an equality index.
	Match func(s *Schema, value, assertion []byte) (bool, error)
	// Ordered is, for an equality rule, the ordering rule that makes the same keys of values and assertions: an index by the
	// one can answer for the other. Nil where there is none.
	Ordered *MatchingRule
	// Transitive marks the in-chain rule 1.2.840.113556.1.4.1941, which the engine evaluates over the directory.
	Transitive bool

	// stable says that a value's key is itself a value with the same key, so that it may stand in a normalised name.
	stable bool
	// text says that every value of ASCII has a key.
	text bool
	// nested, for rules whose values are names, makes the key of a value that stands in a name: see normalizeDN.
	nested keyFunc
	// applies lists, beside Syntax, the syntaxes of attribute values that the rule can be used with.
	applies []string
}

// HasKey reports whether a value has a key for certain, which costs less than making it. False says nothing.
func (r *MatchingRule) HasKey(value []byte) bool { return r.text && isASCII(value) }

// Name returns the first short name, or the OID.
func (r *MatchingRule) Name() string {
	if len(r.Names) > 0 {
		return r.Names[0]
	}
	return r.OID
}

// MaxDescription bounds an attribute description with its options, in octets.
const MaxDescription = 1024

// Description is an attribute description: a type and its options (RFC 4512 section 2.5). Type is nil where the schema
// does not know the type: such a description matches nothing and selects nothing.
type Description struct {
	Type *AttributeType
	// Options are lower case, sorted, without duplicates; joined with ";" and a leading ";" each (";binary;lang-de").
	Options string
}

// String returns the description as it goes out on the wire.
func (d Description) String() string {
	if d.Type == nil {
		return d.Options
	}
	return d.Type.Name() + d.Options
}

// Contains reports whether other is d or a subtype of it, by inheritance of the type and by options: every option of d
// is among those of other (RFC 4512 section 2.5.2), and a language range "lang-de-" takes in all tags that begin so
// (RFC 3866 section 3.3).
func (d Description) Contains(other Description) bool {
	return d.Type != nil && other.Type != nil && other.Type.IsA(d.Type) && containsOptions(d.Options, other.Options)
}
