// Package ldap is the protocol itself: every message of RFC 4511 as a typed value, distinguished names (RFC 4514),
// filters (RFC 4515), URLs (RFC 4516), controls and results. Decode turns one frame into values, Append the reverse;
// above this package there is no BER.
//
// Octets that come out of Decode alias the frame. Whoever keeps one beyond the life of the frame copies it.
package ldap

// Identifier octets of the protocolOp choices (RFC 4511 section 4.2 to 4.13).
const (
	TagBindRequest           = 0x60
	TagBindResponse          = 0x61
	TagUnbindRequest         = 0x42
	TagSearchRequest         = 0x63
	TagSearchResultEntry     = 0x64
	TagSearchResultDone      = 0x65
	TagSearchResultReference = 0x73
	TagModifyRequest         = 0x66
	TagModifyResponse        = 0x67
	TagAddRequest            = 0x68
	TagAddResponse           = 0x69
	TagDelRequest            = 0x4a
	TagDelResponse           = 0x6b
	TagModifyDNRequest       = 0x6c
	TagModifyDNResponse      = 0x6d
	TagCompareRequest        = 0x6e
	TagCompareResponse       = 0x6f
	TagAbandonRequest        = 0x50
	TagExtendedRequest       = 0x77
	TagExtendedResponse      = 0x78
	TagIntermediateResponse  = 0x79
)

// MaxMessageID is maxInt of RFC 4511 section 4.1.1.
const MaxMessageID = 1<<31 - 1

// Op is one protocolOp: a pointer to one of the request and response types of this package.
type Op interface {
	// Tag returns the identifier octet of the choice.
	Tag() byte
	// appendOp appends the whole protocolOp element.
	appendOp(dst []byte) []byte
}

// Message is one LDAPMessage (RFC 4511 section 4.1.1).
type Message struct {
	ID       int32
	Op       Op
	Controls []Control
}

// Control is one control of a message (RFC 4511 section 4.1.11).
type Control struct {
	OID      []byte
	Critical bool
	Value    []byte
	HasValue bool // tells an empty value from an absent one
}

// AuthChoice says which authentication a BindRequest carries.
type AuthChoice uint8

// The authentication choices of RFC 4511 section 4.2.
const (
	AuthSimple AuthChoice = iota
	AuthSASL
	AuthUnknown // a choice this version of the protocol does not know: authMethodNotSupported
)

// BindRequest is RFC 4511 section 4.2.
type BindRequest struct {
	Version     int32
	Name        []byte
	Auth        AuthChoice
	Password    []byte // AuthSimple
	Mechanism   []byte // AuthSASL
	Credentials []byte // AuthSASL
	HasCreds    bool   // AuthSASL: tells empty credentials from absent ones
}

// BindResponse is RFC 4511 section 4.2.2.
type BindResponse struct {
	Result
	ServerCreds    []byte
	HasServerCreds bool
}

// UnbindRequest is RFC 4511 section 4.3.
type UnbindRequest struct{}

// Scope of a search.
type Scope int32

// Scopes of RFC 4511 section 4.5.1.2, and subordinateSubtree (draft-sermersheim-ldap-subordinate-scope).
const (
	ScopeBase        Scope = 0
	ScopeOne         Scope = 1
	ScopeSub         Scope = 2
	ScopeSubordinate Scope = 3
)

// Deref says when aliases are dereferenced (RFC 4511 section 4.5.1.3).
type Deref int32

// The values of derefAliases.
const (
	DerefNever     Deref = 0
	DerefSearching Deref = 1
	DerefFinding   Deref = 2
	DerefAlways    Deref = 3
)

// SearchRequest is RFC 4511 section 4.5.1.
type SearchRequest struct {
	Base       []byte
	Scope      Scope
	Deref      Deref
	SizeLimit  int32 // entries; 0 is no limit asked
	TimeLimit  int32 // seconds; 0 is no limit asked
	TypesOnly  bool
	Filter     Filter
	Attributes [][]byte
}

// SearchResultEntry is RFC 4511 section 4.5.2.
type SearchResultEntry struct {
	Name       []byte
	Attributes []Attribute
}

// SearchResultReference is RFC 4511 section 4.5.3.
type SearchResultReference struct{ URIs []string }

// SearchResultDone ends a search.
type SearchResultDone struct{ Result }

// Attribute is a PartialAttribute or Attribute (RFC 4511 section 4.1.7).
type Attribute struct {
	Type   []byte // attribute description, options included
	Values [][]byte
}

// ModOp is the operation of one change.
type ModOp int32

// The operations of RFC 4511 section 4.6 and RFC 4525.
const (
	ModAdd       ModOp = 0
	ModDelete    ModOp = 1
	ModReplace   ModOp = 2
	ModIncrement ModOp = 3
)

// Mod is one change of a ModifyRequest. An Op outside the known values is kept: the answer is the server's to choose.
type Mod struct {
	Op        ModOp
	Attribute Attribute
}

// ModifyRequest is RFC 4511 section 4.6.
type ModifyRequest struct {
	Object  []byte
	Changes []Mod
}

// ModifyResponse is RFC 4511 section 4.6.
type ModifyResponse struct{ Result }

// AddRequest is RFC 4511 section 4.7.
type AddRequest struct {
	Entry      []byte
	Attributes []Attribute
}

// AddResponse is RFC 4511 section 4.7.
type AddResponse struct{ Result }

// DelRequest is RFC 4511 section 4.8.
type DelRequest struct{ Entry []byte }

// DelResponse is RFC 4511 section 4.8.
type DelResponse struct{ Result }

// ModifyDNRequest is RFC 4511 section 4.9.
type ModifyDNRequest struct {
	Entry          []byte
	NewRDN         []byte
	DeleteOldRDN   bool
	NewSuperior    []byte
	HasNewSuperior bool // tells the empty DN from an absent one
}

// ModifyDNResponse is RFC 4511 section 4.9.
type ModifyDNResponse struct{ Result }

// CompareRequest is RFC 4511 section 4.10.
type CompareRequest struct {
	Entry []byte
	Attr  []byte
	Value []byte
}

// CompareResponse is RFC 4511 section 4.10.
type CompareResponse struct{ Result }

// AbandonRequest is RFC 4511 section 4.11.
type AbandonRequest struct{ ID int32 }

// ExtendedRequest is RFC 4511 section 4.12.
type ExtendedRequest struct {
	Name     []byte
	Value    []byte
	HasValue bool
}

// ExtendedResponse is RFC 4511 section 4.12.
type ExtendedResponse struct {
	Result
	Name     string // empty: absent
	Value    []byte
	HasValue bool
}

// IntermediateResponse is RFC 4511 section 4.13.
type IntermediateResponse struct {
	Name     string // empty: absent
	Value    []byte
	HasValue bool
}

// Tag implements Op.
func (*BindRequest) Tag() byte           { return TagBindRequest }
func (*BindResponse) Tag() byte          { return TagBindResponse }
func (*UnbindRequest) Tag() byte         { return TagUnbindRequest }
func (*SearchRequest) Tag() byte         { return TagSearchRequest }
func (*SearchResultEntry) Tag() byte     { return TagSearchResultEntry }
func (*SearchResultReference) Tag() byte { return TagSearchResultReference }
func (*SearchResultDone) Tag() byte      { return TagSearchResultDone }
func (*ModifyRequest) Tag() byte         { return TagModifyRequest }
func (*ModifyResponse) Tag() byte        { return TagModifyResponse }
func (*AddRequest) Tag() byte            { return TagAddRequest }
func (*AddResponse) Tag() byte           { return TagAddResponse }
func (*DelRequest) Tag() byte            { return TagDelRequest }
func (*DelResponse) Tag() byte           { return TagDelResponse }
func (*ModifyDNRequest) Tag() byte       { return TagModifyDNRequest }
func (*ModifyDNResponse) Tag() byte      { return TagModifyDNResponse }
func (*CompareRequest) Tag() byte        { return TagCompareRequest }
func (*CompareResponse) Tag() byte       { return TagCompareResponse }
func (*AbandonRequest) Tag() byte        { return TagAbandonRequest }
func (*ExtendedRequest) Tag() byte       { return TagExtendedRequest }
func (*ExtendedResponse) Tag() byte      { return TagExtendedResponse }
func (*IntermediateResponse) Tag() byte  { return TagIntermediateResponse }
