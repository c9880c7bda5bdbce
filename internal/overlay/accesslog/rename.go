package accesslog

import (
	"bytes"
	"slices"

	"portolan/internal/schema"
	"portolan/ldap"
)

// rename is what a modifyDN request said, as far as the journal tells.
type rename struct {
	newRDN      string
	newSuperior string // empty where the parent is the same
	moved       bool
	deleteOld   bool
	// rest are the changes of attributes that do not follow from the names.
	rest []delta
}

// renamed takes a rename apart.
func (r *reader) renamed(c *change) rename {
	out := rename{deleteOld: true, rest: r.deltas(c)}
	from, err1 := ldap.ParseDN(c.OldDN)
	to, err2 := ldap.ParseDN(c.NewDN)
	if err1 != nil || err2 != nil || len(from) == 0 || len(to) == 0 {
		return out
	}
	out.newRDN = ldap.DN{to[0]}.String()
	if !bytes.Equal(r.schema.NormalizeParsed(nil, from[1:]), r.schema.NormalizeParsed(nil, to[1:])) {
		out.newSuperior, out.moved = to[1:].String(), true
	}
	for i := range from[0] {
		ava := &from[0][i]
		if !r.hasValue(to[0], ava) && !r.wentAway(c, ava) {
			out.deleteOld = false
		}
	}
	kept := out.rest[:0]
	for _, d := range out.rest {
		without := *d.AttrDelta
		without.Deleted = r.except(d.desc, d.Deleted, from[0])
		without.Added = r.except(d.desc, d.Added, to[0])
		if d.AttrDelta = &without; len(without.Deleted)+len(without.Added) > 0 || without.Clear {
			kept = append(kept, d)
		}
	}
	out.rest = kept
	return out
}

// hasValue reports whether an RDN has the same attribute and value.
func (r *reader) hasValue(rdn ldap.RDN, ava *ldap.AVA) bool {
	t := r.schema.AttributeTypeString(ava.Type)
	return slices.ContainsFunc(rdn, func(o ldap.AVA) bool {
		return t != nil && r.schema.AttributeTypeString(o.Type) == t && r.same(t, o.Value, ava.Value)
	})
}

// wentAway reports whether a rename deleted the value of the old RDN from the entry.
func (r *reader) wentAway(c *change, ava *ldap.AVA) bool {
	t := r.schema.AttributeTypeString(ava.Type)
	for i := range c.Attrs {
		if d, ok := known(r.schema, c.Attrs[i].Description); ok && d.Type == t && d.Options == "" {
			return slices.ContainsFunc(c.Attrs[i].Deleted, func(v []byte) bool { return r.same(t, v, ava.Value) })
		}
	}
	return false
}

// except returns values but those of an RDN.
func (r *reader) except(d schema.Description, values [][]byte, rdn ldap.RDN) [][]byte {
	var out [][]byte
	for _, v := range values {
		if !slices.ContainsFunc(rdn, func(ava ldap.AVA) bool {
			return d.Options == "" && r.schema.AttributeTypeString(ava.Type) == d.Type && r.same(d.Type, v, ava.Value)
		}) {
			out = append(out, v)
		}
	}
	return out
}

// same compares two values by the attribute's equality rule.
func (r *reader) same(t *schema.AttributeType, a, b []byte) bool {
	if t == nil || t.Equality == nil || t.Equality.ValueKey == nil {
		return bytes.Equal(a, b)
	}
	x, err1 := t.Equality.ValueKey(r.schema, nil, a)
	y, err2 := t.Equality.ValueKey(r.schema, nil, b)
	return err1 == nil && err2 == nil && bytes.Equal(x, y)
}
