package engine

import (
	"errors"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/internal/store"
	"portolan/ldap"
)

// inChain decides the transitive rule for one entry: is the entry's attribute, followed through the directory, leading to
// the asserted name?
func (s *sight) inChain(entry *dit.Entry, n *dit.Node) (dit.Truth, error) {
	if t := n.Desc.Type; t != nil {
		if view := s.views.of(t); view != nil && view.Holds != nil {
			if !s.candidate.MayType(t) {
				return dit.False, nil
			}
			if holds, known := s.planned(entry, n); known {
				if holds {
					return dit.True, nil
				}
				return dit.False, nil
			}
			if holds, known, err := view.Holds(s.r, entry, n, s.see); known || err != nil {
				if holds {
					return dit.True, err
				}
				return dit.False, err
			}
		}
	}
	set, confidence, err := s.chainOnce(n)
	if err != nil || confidence == dit.All {
		return dit.Undefined, err
	}
	if set.Contains(uint64(entry.ID)) {
		return dit.True, nil
	}
	return dit.False, nil
}

// planned decides a filter item for one entry by what the plan of the search has found of all entries: nothing is asked again
// then. known is false where the plan went another way.
func (s *sight) planned(entry *dit.Entry, n *dit.Node) (holds, known bool) {
	c, ok := s.chains[n]
	if !ok || c.confidence != dit.Exact {
		return false, false
	}
	return c.set != nil && c.set.Contains(uint64(entry.ID)), true
}

// chained is what was found of all entries for a filter item of one search.
type chained struct {
	set        *dit.IDSet
	confidence dit.Confidence
}

// chainOnce is planInChain, which in a snapshot is done once for all candidates of a search.
func (s *sight) chainOnce(n *dit.Node) (*dit.IDSet, dit.Confidence, error) {
	if _, snapshot := s.r.(*store.View); !snapshot {
		return s.planInChain(n)
	}
	if c, ok := s.chains[n]; ok {
		return c.set, c.confidence, nil
	}
	set, confidence, err := s.planInChain(n)
	s.keep(n, set, confidence, err)
	return set, confidence, err
}

// keep remembers what was found for a filter item, in a snapshot.
func (s *sight) keep(n *dit.Node, set *dit.IDSet, confidence dit.Confidence, err error) {
	if _, snapshot := s.r.(*store.View); !snapshot || err != nil {
		return
	}
	if s.chains == nil {
		s.chains = make(map[*dit.Node]chained)
	}
	s.chains[n] = chained{set, confidence}
}

// planInChain returns all entries from which the asserted name is reached over values of the attribute, following the
// equality index backwards. Steps over entries whose attribute the searcher may not search do not count.
func (s *sight) planInChain(n *dit.Node) (*dit.IDSet, dit.Confidence, error) {
	t := n.Desc.Type
	if t == nil || t.Equality == nil {
		return nil, dit.All, nil
	}
	if view := s.views.of(t); view != nil && view.Match != nil {
		return view.Match(s.r, n, s.see)
	}
	reached := &dit.IDSet{}
	todo := [][]byte{n.Key}
	for len(todo) > 0 {
		key := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		set, err := s.r.Equal(t, key)
		if err != nil {
			return nil, dit.All, s.notIndexed(err)
		}
		for it := set.Iterator(); it.HasNext(); {
			id := it.Next()
			if reached.Contains(id) {
				continue
			}
			e, err := s.r.Get(dit.ID(id))
			if err != nil {
				return nil, dit.All, err
			}
			if e == nil || !s.see(e, t) {
				continue
			}
			reached.Add(id)
			name, err := s.r.Name(e)
			if err != nil {
				return nil, dit.All, err
			}
			next, err := t.Equality.ValueKey(s.schema, nil, []byte(name.Norm))
			if err != nil {
				return nil, dit.All, err
			}
			todo = append(todo, next)
		}
	}
	return reached, dit.Exact, nil
}

// notIndexed makes an in-chain search over an attribute without an equality index a clear refusal.
func (s *sight) notIndexed(err error) error {
	if errors.Is(err, store.ErrNotIndexed) {
		return ldap.Errorf(ldap.UnwillingToPerform, "the in-chain rule needs an equality index on the attribute")
	}
	return err
}

// matchVirtual plans a filter item on a virtual attribute.
func (s *sight) matchVirtual(n *dit.Node) (*dit.IDSet, dit.Confidence, error) {
	if n.Rule != nil && n.Rule.Transitive {
		return s.chainOnce(n)
	}
	var types []*schema.AttributeType
	if n.Desc.Type != nil && n.Desc.Options == "" {
		types = s.views.beneath[n.Desc.Type]
	}
	if len(types) == 0 {
		return nil, dit.Exact, nil // no computed value matches: the indexes know all there is
	}
	if view := s.views.of(n.Desc.Type); len(types) == 1 && view != nil && view.Match != nil {
		set, confidence, err := view.Match(s.r, n, s.see)
		if view.Holds != nil {
			s.keep(n, set, confidence, err)
		}
		return set, confidence, err
	}
	// An item on a type is true of an entry where a computed subtype makes it so. What all of them answer counts.
	var asked *op.View
	out, exact := &dit.IDSet{}, dit.Exact
	for _, t := range types {
		view := s.views.of(t)
		if view.Match == nil || !view.Above {
			return nil, dit.All, nil
		}
		if view == asked {
			continue
		}
		asked = view
		set, confidence, err := view.Match(s.r, n, s.see)
		if err != nil || confidence == dit.All {
			return nil, dit.All, err
		}
		if set != nil {
			out.Or(set)
		}
		if confidence != dit.Exact {
			exact = confidence
		}
	}
	return out, exact, nil
}
