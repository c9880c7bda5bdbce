package store

import (
	"fmt"
	"strings"

	"portolan/internal/dit"
	"portolan/internal/schema"
	"portolan/ldap"
)

// suffix is the name of a naming context.
type suffix struct {
	dn, norm string
}

func parseSuffixes(sch *schema.Schema, names []string) ([]suffix, error) {
	out := make([]suffix, 0, len(names))
	for _, dn := range names {
		norm, err := sch.NormalizeDNString(nil, dn)
		if err != nil {
			return nil, fmt.Errorf("store: suffix %q: %w", dn, err)
		}
		if len(norm) == 0 {
			return nil, fmt.Errorf("store: the empty name cannot be a suffix; write one such as dc=example,dc=com")
		}
		for _, have := range out {
			if have.norm == string(norm) {
				return nil, fmt.Errorf("store: suffix %q is there twice", dn)
			}
		}
		out = append(out, suffix{dn: dn, norm: string(norm)})
	}
	return out, nil
}

// Suffixes returns the names of the naming contexts as they were written.
func (s *Store) Suffixes() []string { return s.o.Suffixes }

func (g *generation) isSuffix(norm string) bool {
	for i := range g.suffixes {
		if g.suffixes[i].norm == norm {
			return true
		}
	}
	return false
}

// suffixOf returns the longest suffix that norm is or is beneath, or "".
func (g *generation) suffixOf(norm string) string {
	best := ""
	for i := range g.suffixes {
		s := g.suffixes[i].norm
		if len(s) > len(best) && isUnder(norm, s) {
			best = s
		}
	}
	return best
}

// isUnder reports whether norm is base or beneath it; see schema.NormalizeDN for why this is a comparison of text.
func isUnder(norm, base string) bool {
	if len(norm) == len(base) {
		return norm == base
	}
	return len(norm) > len(base) && norm[len(norm)-len(base)-1] == ',' && strings.HasSuffix(norm, base)
}

// positions is what lookup walks on.
type positions interface {
	getter
	position(parent dit.ID, normRDN string) (dit.ID, error)
	generation() *generation
}

// lookup finds the entry of a canonical name, or the closest above it.
func lookup(p positions, norm string) (e, matched *dit.Entry, err error) {
	id, above, err := descend(p, norm)
	switch {
	case err != nil:
	case id != 0:
		e, err = p.Get(id)
	case above != 0:
		matched, err = p.Get(above)
	}
	return e, matched, err
}

// descend goes down from the suffix, one position after another. It returns the id of the entry of a canonical name, or 0 and
// that of the closest above it.
func descend(p positions, norm string) (id, above dit.ID, err error) {
	base := p.generation().suffixOf(norm)
	if base == "" {
		return 0, 0, nil
	}
	rest, rdn := norm[:len(norm)-len(base)], base
	for {
		id, err := p.position(above, rdn)
		if err != nil || id == 0 {
			return 0, above, err
		}
		if rest == "" {
			return id, 0, nil
		}
		above = id
		rest = rest[:len(rest)-1]
		comma := strings.LastIndexByte(rest, ',')
		rdn, rest = rest[comma+1:], rest[:comma+1]
	}
}

// compose makes the name of an entry from that of its parent.
func compose(e *dit.Entry, parent dit.Name) dit.Name {
	return dit.Name{DN: e.RDN + "," + parent.DN, Norm: e.NormRDN + "," + parent.Norm}
}

// freePosition checks that an entry may stand at a position, and returns errors for clients.
func (t *Tx) freePosition(parent dit.ID, normRDN string, self dit.ID) error {
	if parent == 0 {
		if !t.gen.isSuffix(normRDN) {
			return ldap.Errorf(ldap.NoSuchObject, "no naming context of this server holds %q", normRDN)
		}
	} else {
		p, err := t.Get(parent)
		if err != nil {
			return err
		}
		if p == nil {
			return ldap.Errorf(ldap.NoSuchObject, "the parent entry does not exist")
		}
		if self != 0 {
			beneath, err := t.Under(p, self)
			if err != nil {
				return err
			}
			if beneath {
				return ldap.Errorf(ldap.UnwillingToPerform, "an entry cannot be moved beneath itself")
			}
		}
	}
	there, err := t.position(parent, normRDN)
	if err != nil {
		return err
	}
	if there != 0 && there != self {
		return ldap.Errorf(ldap.EntryAlreadyExists, "there is an entry of this name already")
	}
	return nil
}
