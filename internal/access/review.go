package access

import (
	"slices"

	"portolan/internal/schema"
)

// Builtin stands for the place of a built-in rule.
const Builtin = -1

// Remark is one of Warnings in its parts: what is allowed but seldom meant.
type Remark struct {
	// Rule is the place of the rule among those that Compile was given, or Builtin; Key what of it ("who[1]").
	Rule      int
	Key, Text string
}

// Remarks returns the warnings in their parts, in the order of Warnings.
func (p *Policy) Remarks() []Remark { return p.remarks }

// Audience is to whom a rule gives something.
type Audience uint8

// Audiences.
const (
	ToAnonymous Audience = iota // everybody who reaches the server
	ToUsers                     // everybody who has authenticated
	ToSome                      // those whom the rule names: names, groups, subtrees, self, dnattr
)

// Grant is what one rule that allows gives to one audience, once the rules that deny have taken theirs without any
// condition. It is about the rule, not about an entry: what other conditions leave of it, Explain says.
type Grant struct {
	// Rule is the place of the rule among those that Compile was given, or Builtin.
	Rule int
	To   Audience
	// Entry is on entries, Attrs on any attribute that is not secret, Own on values that are the client's own name.
	Entry, Attrs, Own Right
	// Secrets are the secret attributes that the rule gives SecretRights on, by name.
	Secrets      []string
	SecretRights Right
	// Narrowed says that the rule looks at something else beside who asks and where: filter, network, method, or a
	// strength of TLS.
	Narrowed bool
}

// Grants says what each rule gives away, for a review of the rules as such. Rules that give an audience nothing are left
// out.
func (p *Policy) Grants() []Grant {
	var out []Grant
	for _, r := range p.rules {
		if r.deny {
			continue
		}
		for _, to := range []Audience{ToAnonymous, ToUsers, ToSome} {
			if g, ok := p.grant(r, to); ok {
				out = append(out, g)
			}
		}
	}
	return out
}

func (p *Policy) grant(r *rule, to Audience) (Grant, bool) {
	g := Grant{Rule: r.place, To: to, Entry: r.entry, Narrowed: r.narrowed()}
	if !r.named.include(to) || to == ToAnonymous && len(r.methods) > 0 {
		return g, false
	}
	var denying []*rule
	for _, d := range p.rules {
		if d.deny && d.takesFrom(r, to) {
			denying = append(denying, d)
			g.Entry &^= d.entry
		}
	}
	if r.entry != 0 && g.Entry == 0 && slices.ContainsFunc(denying, func(d *rule) bool { return d.entry&Disclose != 0 }) {
		return g, false // what may not be known has no attributes either
	}
	for _, t := range p.schema.AttributeTypes() {
		rights, own := Right(0), Right(0)
		if r.cover.about(t.Ordinal) {
			rights = r.attrs
		}
		if r.own.about(t.Ordinal) {
			own = r.attrs
		}
		for _, d := range denying {
			if d.cover.types.Has(t.Ordinal) {
				rights, own = rights&^d.attrs, own&^d.attrs
			}
		}
		g.Own |= own
		switch {
		case rights == 0:
		case t.Secret:
			g.Secrets = append(g.Secrets, t.Name())
			g.SecretRights |= rights
		default:
			g.Attrs |= rights
		}
	}
	return g, g.Entry|g.Attrs|g.Own|g.SecretRights != 0
}

// include reports whether they are named as a whole; for ToSome, whether some are.
func (p *people) include(to Audience) bool {
	for i := range p.who {
		switch p.who[i].kind {
		case whoEverybody:
			if to != ToSome {
				return true
			}
		case whoAnonymous:
			if to == ToAnonymous {
				return true
			}
		case whoUsers:
			if to == ToUsers {
				return true
			}
		case whoAdmin:
			// The administrator needs no rule and is given nothing by one.
		default:
			if to == ToSome {
				return true
			}
		}
	}
	return to == ToSome && p.open()
}

// narrowed reports whether something beside the subject and the place decides.
func (r *rule) narrowed() bool {
	return r.filter != nil || len(r.from) > 0 || len(r.methods) > 0 || r.tls > 1
}

// takesFrom reports whether a rule that denies is about all of an audience, wherever r is about, whatever the rest.
func (d *rule) takesFrom(r *rule, to Audience) bool { //nolint:revive // d denies, r is another
	if d.narrowed() || len(d.excluded.who) > 0 || d.excluded.open() {
		return false
	}
	if to == ToSome {
		to = ToUsers // whoever is named has authenticated
	}
	if !d.named.include(to) {
		return false
	}
	if d.scopes == nil {
		return true
	}
	if r.scopes == nil {
		return false
	}
	for _, s := range r.scopes {
		if !slices.ContainsFunc(d.scopes, func(wide scope) bool {
			return wide.kind == scopeSubtree && under(s.norm, wide.norm) || wide == s
		}) {
			return false
		}
	}
	return true
}

// about reports whether some description of the type is in the set.
func (c *cover) about(ordinal int) bool {
	return c.types.Has(ordinal) || slices.ContainsFunc(c.descs, func(d schema.Description) bool { return d.Type.Ordinal == ordinal })
}
