package ldap

// FilterOp is the kind of a filter node; the values are the context-specific tag numbers of RFC 4511 section 4.5.1.7.
type FilterOp uint8

// The choices of Filter.
const (
	FilterAnd            FilterOp = 0
	FilterOr             FilterOp = 1
	FilterNot            FilterOp = 2
	FilterEquality       FilterOp = 3
	FilterSubstrings     FilterOp = 4
	FilterGreaterOrEqual FilterOp = 5
	FilterLessOrEqual    FilterOp = 6
	FilterPresent        FilterOp = 7
	FilterApprox         FilterOp = 8
	FilterExtensible     FilterOp = 9
)

// None is the index of no node.
const None int32 = -1

// Limits on a filter, whichever way it comes in. Beyond them the answer is one error; nothing recurses on input.
const (
	MaxFilterDepth = 100
	MaxFilterNodes = 10_000
)

// Filter is a search filter as an arena: Nodes[0] is the root, children hang together by index. A Filter without nodes
// is not a filter. And and Or without children are absolute true and false (RFC 4526).
type Filter struct {
	Nodes []FilterNode
	Subs  []Substring // the pieces of all substring nodes, each node's in order
}

// FilterNode is one node.
type FilterNode struct {
	Op      FilterOp
	DNAttrs bool   // FilterExtensible: ":dn"
	First   int32  // first child of And, Or and Not, or None
	Next    int32  // next sibling, or None
	Attr    []byte // attribute description; FilterExtensible: may be empty
	Value   []byte // assertion value
	Rule    []byte // FilterExtensible: matching rule, or empty
	SubLo   int32  // FilterSubstrings: Subs[SubLo:SubHi]
	SubHi   int32
}

// SubKind is the place of a piece of a substring assertion; the values are the tag numbers of RFC 4511.
type SubKind uint8

// Places.
const (
	SubInitial SubKind = 0
	SubAny     SubKind = 1
	SubFinal   SubKind = 2
)

// Substring is one piece of a substring assertion.
type Substring struct {
	Kind  SubKind
	Value []byte
}
