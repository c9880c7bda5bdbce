// Package access decides who may do what. Rules are compiled once into a Policy; an Evaluator answers for one subject.
// The package decides and never fetches: what it needs to know of the subject and of the entry is given to it.
//
// What no rule allows is denied, and a rule that denies wins over all that allow, whatever their order. Secret attributes
// (schema.AttributeType.Secret) are reached by no wildcard: a rule must name them. docs/access.md describes the language.
package access

import (
	"net/netip"

	"portolan/internal/dit"
	"portolan/internal/schema"
)

// Rule is one rule as it was written. Its text fields are those of an [[access]] table of the configuration.
type Rule struct {
	Name        string
	Allow, Deny []string // names of rights; exactly one of the two is not empty
	Who, On     []string
	Filter      string
	Attrs       []string
	From        []netip.Prefix
	// TLS is the least strength of the connection in bits; 1 is any protection, 0 none.
	TLS    int
	Method []string
	// Origin says where the rule was written, "file:line:column", for messages.
	Origin string
	// At, where not nil, says the same of one key or of one element of its list ("who", "who[1]").
	At func(key string) string
}

// Options are what rules are compiled against. Schema must be set.
type Options struct {
	Schema *schema.Schema
	// Suffixes are the DNs of the naming contexts, AdminDN is that of the administrator.
	Suffixes []string
	AdminDN  string
	// Builtin adds the rules of Default.
	Builtin bool
	// AnonymousRead makes Default let anonymous clients read what is not secret.
	AnonymousRead bool
	// Admins is the name of the administrators' group beneath each suffix, for Default; empty is DefaultAdmins.
	Admins string
	// Virtual names attributes that are computed when they are asked for. Rules cannot decide by their values. Those that
	// the server itself computes are known.
	Virtual []string
}

// Subject is who asks, and over which connection. It belongs to one operation, that is to one goroutine at a time.
type Subject struct {
	// Name is who the client is bound as; empty for anonymous.
	Name dit.Name
	// Entry is the subject's own entry, 0 where it has none.
	Entry            dit.ID
	Anonymous, Admin bool
	Addr             netip.Addr // not valid on a Unix socket
	// Protected says that nobody on the way can read along: TLS, Unix socket or loopback. TLSBits is the strength of TLS, 0
	// without it.
	Protected bool
	TLSBits   int
	// Method is how the client authenticated: "simple" or a SASL mechanism.
	Method string
	// InGroup reports whether the subject is in a group, by its canonical name, nested groups included. nil: in none.
	InGroup func(groupNorm string) bool

	evaluator Evaluator
}

// Target is the entry that is asked about.
type Target struct {
	// Entry is nil for what has no entry, such as the root: then only the name is known, and rules with a filter, self and
	// dnattr do not apply.
	Entry *dit.Entry
	Name  dit.Name
	// New says that the entry is not there yet: Entry is what it would be if it were added. It is nobody's own, so that self
	// does not apply, and rights on its attributes do not hang on whether it may be known. AttrRights and Value may be asked
	// about it, not Slots.
	New bool
	// Large reads values that are too many to stand in the entry. Where it is nil they are not known: a condition that
	// hangs on them is not met for a rule that allows and met for one that denies.
	Large dit.LargeSource
}
