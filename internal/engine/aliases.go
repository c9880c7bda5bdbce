package engine

import (
	"portolan/internal/dit"
	"portolan/ldap"
)

// aliasWalk finds the aliases and referral objects that a filter would not find: both act on a search whether or not
// they match its filter (RFC 4511 section 4.5.3 and 4.5.1.3). A directory without any pays two index look-ups.
type aliasWalk struct {
	s         *search
	aliases   *dit.IDSet // nil when aliases are not to be dereferenced
	referrals *dit.IDSet // nil when there are none to report
	bases     map[dit.ID]bool
	seen      *dit.IDSet // entries offered already
	// past, where pages have been sent before this one, are the bases before the present one: what is in their scope was
	// offered with them. It is nil in a search that begins.
	past map[dit.ID]ldap.Scope
}

// newAliasWalk returns nil when there is nothing to walk for.
func (s *search) newAliasWalk(deref bool) (*aliasWalk, error) {
	w := &aliasWalk{s: s}
	known := &s.schema.Known
	find := func(class string) (*dit.IDSet, error) {
		key, err := s.schema.EqualityKey(known.ObjectClass, nil, []byte(class))
		if err != nil {
			return nil, err
		}
		set, err := s.view.Equal(known.ObjectClass, key)
		if err != nil || set.IsEmpty() {
			return nil, err
		}
		return set, nil
	}
	var err error
	if deref {
		if w.aliases, err = find("alias"); err != nil {
			return nil, err
		}
	}
	if !s.req.Search.ManageDsaIT {
		if w.referrals, err = find("referral"); err != nil {
			return nil, err
		}
	}
	if w.aliases == nil && w.referrals == nil {
		return nil, nil
	}
	w.bases = make(map[dit.ID]bool)
	if s.req.Search.After != 0 {
		w.past = make(map[dit.ID]ldap.Scope)
	}
	return w, nil
}

// within returns the referral objects beneath a base that were not met before, and the further bases that its aliases lead to.
// An alias that leads nowhere or in a circle is passed over: one broken alias must not stop the searches of a whole tree.
func (w *aliasWalk) within(base dit.ID, scope ldap.Scope) (referrals []*dit.Entry, more []dit.ID, err error) {
	s := w.s
	w.bases[base] = true
	if scope == ldap.ScopeBase {
		return nil, nil, nil
	}
	inScope := func(e *dit.Entry) (bool, error) {
		if scope == ldap.ScopeOne {
			return e.Parent == base, nil
		}
		if scope == ldap.ScopeSubordinate && e.ID == base {
			return false, nil
		}
		return s.view.Under(e, base)
	}
	if w.referrals != nil {
		for it := w.referrals.Iterator(); it.HasNext(); {
			id := dit.ID(it.Next())
			e, err := s.view.Get(id)
			if err != nil {
				return nil, nil, err
			}
			if e == nil {
				continue
			}
			in, err := inScope(e)
			if err == nil && in {
				in, err = w.fresh(e)
			}
			if err != nil {
				return nil, nil, err
			}
			if in {
				referrals = append(referrals, e)
			}
		}
	}
	if w.aliases == nil {
		return referrals, nil, nil
	}
	for it := w.aliases.Iterator(); it.HasNext(); {
		e, err := s.view.Get(dit.ID(it.Next()))
		if err != nil {
			return nil, nil, err
		}
		if e == nil {
			continue
		}
		if in, err := inScope(e); err != nil {
			return nil, nil, err
		} else if !in {
			continue
		}
		// The alias itself is not a result: it stands for its target.
		w.first(e.ID)
		norm, err := aliasTarget(s.view, e)
		if err != nil {
			continue
		}
		target, err := s.e.find(s.view, []byte(norm), s.rights, findOptions{deref: true, manage: true})
		if err != nil {
			if ldap.CodeOf(err) == ldap.Other {
				return nil, nil, err
			}
			continue
		}
		if !w.bases[target.ID] {
			w.bases[target.ID] = true
			more = append(more, target.ID)
		}
	}
	return referrals, more, nil
}

// first reports whether an entry is met for the first time in this search.
func (w *aliasWalk) first(id dit.ID) bool {
	if w.seen == nil {
		w.seen = &dit.IDSet{}
	}
	return w.seen.CheckedAdd(uint64(id))
}

// leave notes that all of a base has been looked at.
func (w *aliasWalk) leave(at baseOf) {
	if w.past != nil {
		w.past[at.id] = at.scope
	}
}

// fresh reports whether an entry is met for the first time in this search, the pages before this one included.
func (w *aliasWalk) fresh(e *dit.Entry) (bool, error) {
	if !w.first(e.ID) {
		return false, nil
	}
	if len(w.past) == 0 {
		return true, nil
	}
	at := e
	for depth := 0; ; depth++ {
		id := dit.ID(0) // the root
		if at != nil {
			id = at.ID
		}
		if scope, ok := w.past[id]; ok && covers(scope, depth) {
			return false, nil
		}
		if at == nil {
			return true, nil
		}
		if at.Parent == 0 {
			at = nil
			continue
		}
		var err error
		if at, err = w.s.view.Get(at.Parent); err != nil {
			return false, err
		}
	}
}

// covers reports whether an entry so many levels beneath a base is in its scope.
func covers(scope ldap.Scope, depth int) bool {
	switch scope {
	case ldap.ScopeBase:
		return depth == 0
	case ldap.ScopeOne:
		return depth == 1
	case ldap.ScopeSubordinate:
		return depth > 0
	}
	return true
}
