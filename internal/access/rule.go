package access

import (
	"crypto/sha256"
	"net/netip"
	"strings"

	"portolan/internal/dit"
	"portolan/internal/schema"
)

// rule is one compiled rule.
type rule struct {
	name, origin string
	place        int // among the rules that Compile was given, or Builtin
	deny         bool

	// entry and attrs are the rights that the rule gives or takes: on the entry itself, and on the attributes of cover. On
	// values of the attributes of own that are the subject's name it gives attrs too.
	entry, attrs Right
	cover, own   cover

	named, excluded people

	scopes []scope // nil: everywhere
	filter *dit.Filter
	text   string // of filter

	from    []netip.Prefix
	tls     int
	methods []string

	digest [sha256.Size]byte // of what it says about targets
}

// people are the subjects that who names, or those that it excludes.
type people struct {
	who    []who // those that the subject alone decides
	self   bool
	above  bool
	dnattr []*schema.AttributeType
}

// open reports whether a target can decide.
func (p *people) open() bool { return p.self || p.above || len(p.dnattr) > 0 }

// has reports whether the subject is among them, whatever the target.
func (p *people) has(s *Subject, g *lastGroup) bool {
	for i := range p.who {
		if p.who[i].names(s, g) {
			return true
		}
	}
	return false
}

// whoKind is how a rule names subjects.
type whoKind uint8

const (
	whoEverybody whoKind = iota
	whoAnonymous
	whoUsers
	whoAdmin
	whoDN
	whoSubtree
	whoGroup
)

// who is one way of naming subjects that needs no target. norm is the canonical name behind "dn:" and its kin.
type who struct {
	kind whoKind
	norm string
}

// lastGroup remembers the last answer about a group: rules beside each other are often about the same one.
type lastGroup struct {
	norm   string
	member bool
}

func (g *lastGroup) has(s *Subject, norm string) bool {
	if g.norm != norm {
		g.norm, g.member = norm, s.InGroup != nil && s.InGroup(norm)
	}
	return g.member
}

// names reports whether w names the subject.
func (w *who) names(s *Subject, g *lastGroup) bool {
	switch w.kind {
	case whoEverybody:
		return true
	case whoAnonymous:
		return s.Anonymous
	case whoUsers:
		return !s.Anonymous
	case whoAdmin:
		return s.Admin
	}
	if s.Anonymous {
		return false
	}
	switch w.kind {
	case whoDN:
		return s.Name.Norm == w.norm
	case whoSubtree:
		return s.Name.Norm != "" && under(s.Name.Norm, w.norm)
	}
	return g.has(s, w.norm)
}

// verdict is how far the subject alone decides whether a rule is about it.
type verdict uint8

const (
	never  verdict = iota
	open           // the target decides: self, dnattr
	unless         // the subject is named, and the target decides whether it is excluded
	always         // the subject is named
)

// subject decides what can be decided without a target.
func (r *rule) subject(s *Subject, g *lastGroup) verdict {
	if !r.protected(s) || !r.near(s) || !r.authenticated(s) {
		return never
	}
	named := r.named.has(s, g)
	switch {
	case !named && (s.Anonymous || !r.named.open()), r.excluded.has(s, g):
		return never
	case !named:
		return open
	case !s.Anonymous && r.excluded.open():
		return unless
	}
	return always
}

// protected is the condition tls.
func (r *rule) protected(s *Subject) bool {
	switch r.tls {
	case 0:
		return true
	case 1:
		return s.Protected || s.TLSBits > 0
	}
	return s.TLSBits >= r.tls
}

// near is the condition from. A Unix socket has no address and is in no network.
func (r *rule) near(s *Subject) bool {
	if len(r.from) == 0 {
		return true
	}
	addr := s.Addr.Unmap().WithZone("")
	for _, network := range r.from {
		if network.Contains(addr) {
			return true
		}
	}
	return false
}

// authenticated is the condition method.
func (r *rule) authenticated(s *Subject) bool {
	if len(r.methods) == 0 {
		return true
	}
	for _, m := range r.methods {
		if strings.EqualFold(m, s.Method) {
			return !s.Anonymous
		}
	}
	return false
}

// onAttr returns what the rule gives or takes on an attribute; own says that it is about the subject's name as a value.
func (r *rule) onAttr(d schema.Description, own bool) Right {
	if r.attrs != 0 && (r.cover.has(d) || own && r.own.has(d)) {
		return r.attrs
	}
	return 0
}

// cover is a set of attribute descriptions.
type cover struct {
	types Mask // by ordinal: with all options
	descs []schema.Description
}

// has reports whether the set has the description.
func (c *cover) has(d schema.Description) bool {
	if d.Type == nil {
		return false
	}
	if c.types.Has(d.Type.Ordinal) {
		return true
	}
	for i := range c.descs {
		// What has no secret in its name does not name the secrets beneath it.
		if c.descs[i].Contains(d) && (!d.Type.Secret || c.descs[i].Type.Secret) {
			return true
		}
	}
	return false
}

// scopeKind is how a rule names entries.
type scopeKind uint8

const (
	scopeAll scopeKind = iota
	scopeSubtree
	scopeBase
	scopeOne
)

// scope is one way of naming entries by where they stand.
type scope struct {
	kind scopeKind
	norm string
}

// covers reports whether an entry of this canonical name is in scope.
func (s *scope) covers(norm string) bool {
	switch s.kind {
	case scopeAll:
		return true
	case scopeBase:
		return norm == s.norm
	case scopeSubtree:
		return under(norm, s.norm)
	}
	// In a canonical name every "," is a border between RDNs.
	rdn := len(norm) - len(s.norm) - 1
	return rdn > 0 && under(norm, s.norm) && strings.IndexByte(norm[:rdn], ',') < 0
}

// under is schema.DNUnder for strings.
func under(norm, top string) bool { return schema.DNUnder([]byte(norm), []byte(top)) }
