package op

import (
	"portolan/internal/dit"
	"portolan/internal/schema"
)

// memberNames are the attributes whose values are members by name.
var memberNames = [...]string{"member", "uniqueMember"}

// MemberAttribute reports whether values of the type make entries members of a group by name.
func MemberAttribute(t *schema.AttributeType) bool {
	for _, name := range memberNames {
		if t.Name() == name {
			return true
		}
	}
	return false
}

// Groups finds members of groups by a computation: dynamic groups.
type Groups struct {
	// Is reports whether an entry can be such a group.
	Is func(e *dit.Entry) bool
	// Of returns the groups that an entry is a member of by the computation, those whose membership see shows.
	Of func(r Reader, e *dit.Entry, see Visible) (*dit.IDSet, error)
	// Members calls f for the entries that are members of a group by the computation. An error of f ends it.
	Members func(r Reader, group *dit.Entry, see Visible, f func(*dit.Entry) error) error
}

// Memberships answers who is in which group: by name, and by what Computed finds.
type Memberships struct {
	Computed []*Groups
}

// GroupsOf is Memberships.Of for groups that name their members.
func GroupsOf(r Reader, norm string, see Visible) (*dit.IDSet, error) {
	return Memberships{}.Of(r, norm, see, true)
}

// Of returns the groups that an entry is a member of, by its canonical name; nested ones are those that it is in through
// other groups. Cycles are harmless: each group is looked at once. The entry itself is in the set only where a cycle leads
// back to it. A group whose membership see does not show is not there, and leads nowhere.
func (m Memberships) Of(r Reader, norm string, see Visible, nested bool) (*dit.IDSet, error) {
	groups := &dit.IDSet{}
	todo := []string{norm}
	for len(todo) > 0 {
		name := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		direct, err := DirectGroupsOf(r, name, see)
		if err != nil {
			return nil, err
		}
		if err := m.addComputed(r, name, see, direct); err != nil {
			return nil, err
		}
		direct.AndNot(groups)
		groups.Or(direct)
		if !nested {
			break
		}
		for it := direct.Iterator(); it.HasNext(); {
			group, err := r.Get(dit.ID(it.Next()))
			if err != nil {
				return nil, err
			}
			if group == nil {
				continue
			}
			n, err := r.Name(group)
			if err != nil {
				return nil, err
			}
			todo = append(todo, n.Norm)
		}
	}
	return groups, nil
}

// addComputed adds the groups that have the entry of a name as a member by a computation.
func (m Memberships) addComputed(r Reader, norm string, see Visible, to *dit.IDSet) error {
	if len(m.Computed) == 0 {
		return nil
	}
	e, _, err := r.Lookup(norm)
	if err != nil || e == nil {
		return err
	}
	for _, c := range m.Computed {
		set, err := c.Of(r, e, see)
		if err != nil {
			return err
		}
		to.Or(set)
	}
	return nil
}

// IsGroup reports whether an entry can have members.
func (m Memberships) IsGroup(e *dit.Entry) bool {
	for _, d := range e.Shape().Slots {
		if MemberAttribute(d.Type) {
			return true
		}
	}
	for _, c := range m.Computed {
		if c.Is(e) {
			return true
		}
	}
	return false
}

// EachMember calls f for the members of a group that exist. One that is named and computed comes twice.
func (m Memberships) EachMember(r Reader, group *dit.Entry, see Visible, f func(*dit.Entry) error) error {
	err := m.eachNamed(r, group, see, func(norm string) error {
		member, _, err := r.Lookup(norm)
		if err == nil && member != nil {
			err = f(member)
		}
		return err
	})
	if err != nil {
		return err
	}
	return m.eachComputed(r, group, see, f)
}

// placer is a Reader that knows where entries are without reading them.
type placer interface {
	ID(norm string) (dit.ID, error)
}

// EachMemberID is EachMember for who wants no more than the ids of members: it reads none of those that are named.
func (m Memberships) EachMemberID(r Reader, group *dit.Entry, see Visible, f func(dit.ID)) error {
	named, ok := r.(placer)
	if !ok {
		return m.EachMember(r, group, see, func(e *dit.Entry) error { f(e.ID); return nil })
	}
	err := m.eachNamed(r, group, see, func(norm string) error {
		id, err := named.ID(norm)
		if id != 0 {
			f(id)
		}
		return err
	})
	if err != nil {
		return err
	}
	return m.eachComputed(r, group, see, func(e *dit.Entry) error { f(e.ID); return nil })
}

// eachNamed calls f for the canonical names that a group has among its members, whether they are there or not.
func (m Memberships) eachNamed(r Reader, group *dit.Entry, see Visible, f func(norm string) error) error {
	for slot, d := range group.Shape().Slots {
		if !MemberAttribute(d.Type) || see != nil && !see(group, d.Type) {
			continue
		}
		var failed error
		var key []byte
		err := EachValue(r, group, slot, func(value []byte) bool {
			var err error
			if key, err = d.Type.Equality.ValueKey(r.Schema(), key[:0], value); err != nil {
				return true
			}
			failed = f(string(key))
			return failed == nil
		})
		if failed != nil {
			return failed
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (m Memberships) eachComputed(r Reader, group *dit.Entry, see Visible, f func(*dit.Entry) error) error {
	for _, c := range m.Computed {
		if c.Is(group) {
			if err := c.Members(r, group, see, f); err != nil {
				return err
			}
		}
	}
	return nil
}

// DirectGroupsOf returns the groups that name the entry as a member themselves.
func DirectGroupsOf(r Reader, norm string, see Visible) (*dit.IDSet, error) {
	groups := &dit.IDSet{}
	for _, name := range memberNames {
		t := r.Schema().AttributeTypeString(name)
		if t == nil || t.Equality == nil {
			continue
		}
		key, err := t.Equality.ValueKey(r.Schema(), nil, []byte(norm))
		if err != nil {
			return nil, err
		}
		set, err := r.Equal(t, key)
		if err != nil {
			return nil, err
		}
		if see == nil {
			groups.Or(set)
			continue
		}
		for it := set.Iterator(); it.HasNext(); {
			group, err := r.Get(dit.ID(it.Next()))
			if err != nil {
				return nil, err
			}
			if group != nil && see(group, t) {
				groups.Add(uint64(group.ID))
			}
		}
	}
	return groups, nil
}

// Walk calls f for every entry at and beneath base, parents before children; 0 is the whole directory. An error of f ends
// the walk.
func Walk(r Reader, base dit.ID, f func(e *dit.Entry) error) error {
	todo := []dit.ID{base}
	for len(todo) > 0 {
		id := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if id != 0 {
			e, err := r.Get(id)
			if err != nil {
				return err
			}
			if e == nil {
				continue
			}
			if err := f(e); err != nil {
				return err
			}
		}
		if err := r.Children(id, func(child dit.ID) bool {
			todo = append(todo, child)
			return true
		}); err != nil {
			return err
		}
	}
	return nil
}

// entryScanner is a Reader that has a quicker way through all entries than by the tree.
type entryScanner interface {
	EachEntry(f func(e *dit.Entry) error) error
}

// Each calls f for every entry of the directory, in any order. An error of f ends it and is returned. It is for checks of
// everything: nothing of what it reads goes into caches.
func Each(r Reader, f func(e *dit.Entry) error) error {
	if s, ok := r.(entryScanner); ok {
		return s.EachEntry(f)
	}
	return Walk(r, 0, f)
}

// finder is a Reader that finds the place of a name without reading the entry.
type finder interface {
	ID(norm string) (dit.ID, error)
}

// ID returns the id of the entry with a canonical name, 0 where there is none.
func ID(r Reader, norm string) (dit.ID, error) {
	if f, ok := r.(finder); ok {
		return f.ID(norm)
	}
	e, _, err := r.Lookup(norm)
	if e == nil || err != nil {
		return 0, err
	}
	return e.ID, nil
}

// EachValue calls f for the values of a slot, large or not, until f returns false.
func EachValue(r Reader, e *dit.Entry, slot int, f func(value []byte) bool) error {
	if _, large := e.Large(slot); large {
		return r.LargeEach(e, slot, func(_, value []byte) bool { return f(value) })
	}
	for v := e.Values(slot); ; {
		value, ok := v.Next()
		if !ok || !f(value) {
			return nil
		}
	}
}
