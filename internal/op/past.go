package op

import (
	"bytes"
	"slices"

	"portolan/internal/dit"
	"portolan/internal/schema"
	"portolan/ldap"
)

// Past is a snapshot in which one entry is what it was, under the name that it had: a Sight on it decides about that entry
// as it would have then.
type Past struct {
	Snapshot
	Entry  *dit.Entry
	Called dit.Name
	// Large, where not nil, are the values of its large attributes; otherwise they are those of the snapshot.
	Large []dit.LargeDelta
}

// Name implements Reader.
func (p *Past) Name(e *dit.Entry) (dit.Name, error) {
	if e == p.Entry {
		return p.Called, nil
	}
	return p.Snapshot.Name(e)
}

// LargeHas implements Reader.
func (p *Past) LargeHas(e *dit.Entry, slot int, key []byte) (bool, error) {
	if e != p.Entry || p.Large == nil {
		return p.Snapshot.LargeHas(e, slot, key)
	}
	return slices.ContainsFunc(p.values(slot), func(v dit.LargeValue) bool { return bytes.Equal(v.Key, key) }), nil
}

// LargeEach implements Reader.
func (p *Past) LargeEach(e *dit.Entry, slot int, f func(key, value []byte) bool) error {
	if e != p.Entry || p.Large == nil {
		return p.Snapshot.LargeEach(e, slot, f)
	}
	for _, v := range p.values(slot) {
		if !f(v.Key, v.Value) {
			return nil
		}
	}
	return nil
}

// values are those that went with a deleted entry.
func (p *Past) values(slot int) []dit.LargeValue {
	for i := range p.Large {
		if p.Large[i].Desc == p.Entry.Shape().Slots[slot] {
			return p.Large[i].Delete
		}
	}
	return nil
}

// Region is the scope of a search as names have it: what entries have been in it can be told of them after they have gone.
type Region struct {
	Base     string // canonical; empty is the root
	Scope    ldap.Scope
	Suffixes []string // canonical names of the naming contexts
}

// Has reports whether a canonical name is in it.
func (r *Region) Has(norm string) bool {
	switch {
	case r.Scope == ldap.ScopeBase:
		return norm == r.Base
	case !schema.DNUnder([]byte(norm), []byte(r.Base)):
		return false
	case norm == r.Base:
		return r.Scope == ldap.ScopeSub
	case r.Scope != ldap.ScopeOne:
		return true
	case r.Base == "":
		return slices.Contains(r.Suffixes, norm)
	}
	return string(schema.NormParent([]byte(norm))) == r.Base
}

// NewRegion returns the region of a search beneath a base object.
func NewRegion(d Directory, s *schema.Schema, base string, scope ldap.Scope) (Region, error) {
	r := Region{Base: base, Scope: scope}
	if base != "" || scope != ldap.ScopeOne {
		return r, nil
	}
	for _, suffix := range d.Suffixes() {
		norm, err := s.NormalizeDNString(nil, suffix)
		if err != nil {
			return r, err
		}
		r.Suffixes = append(r.Suffixes, string(norm))
	}
	return r, nil
}
