package schema

import (
	"slices"
	"strings"
)

// Retires returns the attribute types and object classes of s that next lacks, or has in such a way that entries which use
// them would become something else: with other syntaxes or keys, without a name or an attribute. A change to next must
// not be made while an entry uses any of them. What only adds to a definition (names, descriptions, attributes that are
// allowed) retires nothing, and neither do other ordering and substrings rules: indexes follow these by themselves.
func (s *Schema) Retires(next *Schema) (types []*AttributeType, classes []*ObjectClass) {
	for _, t := range s.attrList {
		if n := next.attrs[t.OID]; n == nil || !t.continues(n) {
			types = append(types, t)
		}
	}
	for _, c := range s.classList {
		if n := next.classes[c.OID]; n == nil || !c.continues(n) {
			classes = append(classes, c)
		}
	}
	return types, classes
}

// keepsNames reports whether every name stays and the one that is written stays the first.
func keepsNames(old, now []string) bool {
	if len(old) == 0 {
		return len(now) == 0
	}
	return len(now) > 0 && strings.EqualFold(old[0], now[0]) && !slices.ContainsFunc(old, func(n string) bool {
		return !slices.ContainsFunc(now, func(m string) bool { return strings.EqualFold(n, m) })
	})
}

// continues reports whether values under t stay what they are under n.
func (t *AttributeType) continues(n *AttributeType) bool {
	return keepsNames(t.Names, n.Names) && t.Syntax.same(n.Syntax) && oidOfRule(t.Equality) == oidOfRule(n.Equality) &&
		(t.SingleValue || !n.SingleValue) && t.Collective == n.Collective && t.Usage == n.Usage && t.Secret == n.Secret &&
		slices.Equal(t.ancestors(), n.ancestors())
}

func oidOfRule(r *MatchingRule) string {
	if r == nil {
		return ""
	}
	return r.OID
}

// same reports whether two syntaxes check the same: they are built in, or copies of the same.
func (y *Syntax) same(z *Syntax) bool { return y.OID == z.OID && y.like() == z.like() }

// like is the OID of the syntax that y is a copy of.
func (y *Syntax) like() string {
	for _, x := range y.Extensions {
		if x.Name == "X-SUBST" && len(x.Values) == 1 {
			return x.Values[0]
		}
	}
	return y.OID
}

// ancestors are the OIDs of the supertypes.
func (t *AttributeType) ancestors() []string {
	var out []string
	for u := t.Sup; u != nil; u = u.Sup {
		out = append(out, u.OID)
	}
	return out
}

// continues reports whether entries of class c stay valid and stay of the same classes under n.
func (c *ObjectClass) continues(n *ObjectClass) bool {
	within := func(a, b []*AttributeType) bool {
		return !slices.ContainsFunc(a, func(t *AttributeType) bool {
			return !slices.ContainsFunc(b, func(u *AttributeType) bool { return t.OID == u.OID })
		})
	}
	classes := func(list []*ObjectClass) []string {
		out := make([]string, len(list))
		for i, c := range list {
			out[i] = c.OID
		}
		slices.Sort(out)
		return out
	}
	return keepsNames(c.Names, n.Names) && c.Kind == n.Kind && slices.Equal(classes(c.supers), classes(n.supers)) &&
		within(n.AllMust, c.AllMust) && within(slices.Concat(c.AllMust, c.AllMay), slices.Concat(n.AllMust, n.AllMay))
}
