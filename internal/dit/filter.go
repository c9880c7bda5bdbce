package dit

import (
	"portolan/internal/schema"
	"portolan/ldap"
)

// Truth is a value of the three-valued logic of filters (RFC 4511 section 4.5.1.7).
type Truth uint8

// Truth values.
const (
	False Truth = iota
	True
	Undefined
)

func (t Truth) String() string { return [...]string{"FALSE", "TRUE", "Undefined"}[t] }

// Filter is a filter compiled against a schema: attribute types and rules are looked up and assertion values are keys.
// Nodes[0] is the root. It may be compiled again and keeps its memory; it aliases the ldap.Filter it came from.
type Filter struct {
	Nodes []Node
	subs  []SubKey
	keys  []byte
}

// Node is one node of a compiled filter.
type Node struct {
	Op ldap.FilterOp
	// Undefined marks an item that is Undefined for every entry: unknown attribute type or rule, a rule that does not
	// apply, or an assertion value that is none.
	Undefined bool
	DNAttrs   bool
	First     int32 // first child, or ldap.None
	Next      int32 // next sibling, or ldap.None
	Desc      schema.Description
	Rule      *schema.MatchingRule
	Key       []byte // key of the assertion value under Rule
	Value     []byte // the assertion value as it came
	Subs      []SubKey
	// Types are the attribute types that an extensible match without a type looks at.
	Types []*schema.AttributeType
}

// SubKey is one piece of a substring assertion as a key.
type SubKey struct {
	Kind ldap.SubKind
	Key  []byte
}

// Compile replaces f by the compiled form of in. It cannot fail: what the schema does not know is Undefined.
func (f *Filter) Compile(s *schema.Schema, in *ldap.Filter) {
	f.Nodes, f.subs, f.keys = f.Nodes[:0], f.subs[:0], f.keys[:0]
	for i := range in.Nodes {
		n := &in.Nodes[i]
		f.Nodes = append(f.Nodes, Node{Op: n.Op, DNAttrs: n.DNAttrs, First: n.First, Next: n.Next, Value: n.Value})
		out := &f.Nodes[len(f.Nodes)-1]
		switch n.Op {
		case ldap.FilterAnd, ldap.FilterOr, ldap.FilterNot:
		default:
			out.Undefined = !f.item(s, out, n, in.Subs)
		}
	}
}

// item compiles one filter item and reports whether it is defined.
func (f *Filter) item(s *schema.Schema, out *Node, n *ldap.FilterNode, subs []ldap.Substring) bool {
	if len(n.Attr) > 0 {
		desc, err := s.Describe(n.Attr)
		if err != nil || desc.Type == nil {
			return false
		}
		out.Desc = desc
	}
	if out.Desc.Type == nil && n.Op != ldap.FilterExtensible {
		return false // an empty description is one that nobody knows
	}
	switch t := out.Desc.Type; n.Op {
	case ldap.FilterPresent:
		return t != nil
	case ldap.FilterEquality, ldap.FilterApprox:
		// RFC 4511 section 4.5.1.7.6: where approximate matching is not supported it is equality.
		out.Op, out.Rule = ldap.FilterEquality, t.Equality
	case ldap.FilterGreaterOrEqual, ldap.FilterLessOrEqual:
		out.Rule = t.Ordering
	case ldap.FilterSubstrings:
		out.Rule = t.Substr
		return f.pieces(s, out, subs[n.SubLo:n.SubHi])
	case ldap.FilterExtensible:
		if !f.extensible(s, out, n) {
			return false
		}
		if out.Rule != nil && out.Rule.Kind == schema.SubstringsRule {
			pieces, ok := schema.ParseSubstringAssertion(n.Value)
			out.Op = ldap.FilterSubstrings
			return ok && f.pieces(s, out, pieces)
		}
	}
	if out.Rule == nil {
		return false
	}
	if out.Rule.AssertionKey == nil {
		return out.Rule.Match != nil || out.Rule.Transitive
	}
	start := len(f.keys)
	keys, err := out.Rule.AssertionKey(s, f.keys, n.Value)
	if err != nil {
		return false
	}
	f.keys = keys
	out.Key = keys[start:len(keys):len(keys)]
	return true
}

// pieces compiles the pieces of a substring assertion under out.Rule.
func (f *Filter) pieces(s *schema.Schema, out *Node, subs []ldap.Substring) bool {
	if out.Rule == nil || out.Rule.SubstringKey == nil {
		return false
	}
	lo := len(f.subs)
	for _, sub := range subs {
		start := len(f.keys)
		keys, err := out.Rule.SubstringKey(s, f.keys, sub.Value, uint8(sub.Kind))
		if err != nil {
			return false
		}
		f.keys = keys
		f.subs = append(f.subs, SubKey{Kind: sub.Kind, Key: keys[start:len(keys):len(keys)]})
	}
	out.Subs = f.subs[lo:len(f.subs):len(f.subs)]
	return true
}

// extensible finds the rule and the types of an extensible match (RFC 4511 section 4.5.1.7.7).
func (f *Filter) extensible(s *schema.Schema, out *Node, n *ldap.FilterNode) bool {
	t := out.Desc.Type
	if len(n.Rule) == 0 {
		if t == nil {
			return false
		}
		out.Rule = t.Equality
		return true
	}
	out.Rule = s.MatchingRule(n.Rule)
	if out.Rule == nil {
		return false
	}
	if t != nil {
		return s.RuleApplies(out.Rule, t)
	}
	for _, a := range s.AttributeTypes() {
		if s.RuleApplies(out.Rule, a) {
			out.Types = append(out.Types, a)
		}
	}
	return len(out.Types) > 0
}
