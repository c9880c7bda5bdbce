package dynlist

import (
	"slices"
	"strings"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/ldap"
)

// enough ends a computation of which no more values are wanted.
var enough = ldap.Errorf(ldap.Other, "enough")

// values computes the members of a group, or what a list gathers. A value that is stored is not computed as well.
func (x *dynlist) values(r op.Reader, e *dit.Entry, attr *schema.AttributeType, see op.Visible, f func([]byte) bool) error {
	s := r.Schema()
	seen, err := x.storedIn(r, e, attr)
	if err != nil {
		return err
	}
	give := func(value []byte) error {
		key, err := attr.Equality.ValueKey(s, nil, value)
		if err != nil {
			key = value
		}
		there, err := seen.add(key)
		if err != nil || there {
			return err
		}
		if !f(value) {
			return enough
		}
		return nil
	}
	if x.o.Groups && attr == s.Known.Member {
		err = x.members(r, e, see, func(member *dit.Entry) error {
			name, err := r.Name(member)
			if err != nil {
				return err
			}
			return give([]byte(name.DN))
		})
	} else {
		err = x.gather(r, e, attr, see, give)
	}
	if err == enough {
		return nil
	}
	return err
}

// gather calls give for the values of a list.
func (x *dynlist) gather(r op.Reader, e *dit.Entry, attr *schema.AttributeType, see op.Visible, give func([]byte) error) error {
	s := r.Schema()
	searches := x.searches(s, e, false)
	if len(searches) == 0 {
		return nil
	}
	see, err := x.sight(r, see)
	if err != nil {
		return err
	}
	for _, l := range x.lists {
		if s.AttributeTypeString(l.to) != attr {
			continue
		}
		from := s.AttributeTypeString(l.from)
		for _, u := range searches {
			if from == nil || !slices.ContainsFunc(u.attributes, func(a string) bool { return strings.EqualFold(a, l.from) || s.AttributeTypeString(a) == from }) {
				continue
			}
			if err := x.each(r, e.ID, u, see, func(found *dit.Entry) error { return valuesOf(r, found, from, see, give) }); err != nil {
				return err
			}
		}
	}
	return nil
}

// valuesOf calls give for the values of an attribute that may be read.
func valuesOf(r op.Reader, e *dit.Entry, t *schema.AttributeType, see op.Visible, give func([]byte) error) error {
	for slot, d := range e.Shape().Slots {
		if !d.Type.IsA(t) || see != nil && !see(e, d.Type) {
			continue
		}
		var failed error
		if err := op.EachValue(r, e, slot, func(value []byte) bool {
			failed = give(value)
			return failed == nil
		}); err != nil {
			return err
		}
		if failed != nil {
			return failed
		}
	}
	return nil
}

// seen are the values that have been given, and those that are stored.
type seen struct {
	keys  map[string]bool
	large func(key []byte) (bool, error)
}

func (x *dynlist) storedIn(r op.Reader, e *dit.Entry, attr *schema.AttributeType) (*seen, error) {
	out := &seen{keys: make(map[string]bool)}
	slot := e.Shape().FindType(attr)
	if slot < 0 {
		return out, nil
	}
	if _, large := e.Large(slot); large {
		out.large = func(key []byte) (bool, error) { return r.LargeHas(e, slot, key) }
		return out, nil
	}
	for v := e.Values(slot); ; {
		value, ok := v.Next()
		if !ok {
			return out, nil
		}
		if key, err := attr.Equality.ValueKey(r.Schema(), nil, value); err == nil {
			out.keys[string(key)] = true
		}
	}
}

// add reports whether the key was there, and adds it.
func (s *seen) add(key []byte) (there bool, err error) {
	if s.keys[string(key)] {
		return true, nil
	}
	s.keys[string(key)] = true
	if s.large != nil {
		return s.large(key)
	}
	return false, nil
}

// members calls f for the entries that the URLs of a group find. The right to read its membership was asked for already where
// it is shown; where it leads on to others it is asked here.
func (x *dynlist) members(r op.Reader, group *dit.Entry, see op.Visible, f func(*dit.Entry) error) error {
	s := r.Schema()
	searches := x.searches(s, group, true)
	if len(searches) == 0 || see != nil && !see(group, s.Known.Member) {
		return nil
	}
	within, err := x.sight(r, see)
	if err != nil {
		return err
	}
	var ids *dit.IDSet
	if len(searches) > 1 {
		ids = &dit.IDSet{}
	}
	for _, u := range searches {
		if err := x.each(r, group.ID, u, within, func(e *dit.Entry) error {
			if ids != nil && !ids.CheckedAdd(uint64(e.ID)) {
				return nil
			}
			return f(e)
		}); err != nil {
			return err
		}
	}
	return nil
}

// dynamic are all entries that may be groups or lists.
func (x *dynlist) dynamic(r op.Reader) (*dit.IDSet, error) {
	s := r.Schema()
	t, class := s.Known.ObjectClass, s.ObjectClass(x.o.Class)
	if class == nil {
		return &dit.IDSet{}, nil
	}
	out := &dit.IDSet{}
	for _, c := range s.ObjectClasses() {
		if !c.IsA(class) {
			continue
		}
		key, err := t.Equality.ValueKey(s, nil, []byte(c.Name()))
		if err != nil {
			return nil, err
		}
		set, err := r.Equal(t, key)
		if err != nil {
			return nil, err
		}
		out.Or(set)
	}
	return out, nil
}

// groupsOf returns the groups whose URLs find an entry. It expands none of them: each is asked about the one entry.
func (x *dynlist) groupsOf(r op.Reader, e *dit.Entry, see op.Visible) (*dit.IDSet, error) {
	groups := &dit.IDSet{}
	all, err := x.dynamic(r)
	if err != nil || all.IsEmpty() {
		return groups, err
	}
	within, err := x.sight(r, see)
	if err != nil {
		return nil, err
	}
	for it := all.Iterator(); it.HasNext(); {
		group, err := r.Get(dit.ID(it.Next()))
		if err != nil {
			return nil, err
		}
		if group == nil || group.ID == e.ID || see != nil && !see(group, r.Schema().Known.Member) {
			continue
		}
		in, err := x.has(r, group, e, within)
		if err != nil {
			return nil, err
		}
		if in {
			groups.Add(uint64(group.ID))
		}
	}
	return groups, nil
}

// has reports whether a URL of a group finds an entry.
func (x *dynlist) has(r op.Reader, group, e *dit.Entry, within op.Visible) (bool, error) {
	for _, u := range x.searches(r.Schema(), group, true) {
		if in, err := u.finds(r, e, within); in || err != nil {
			return in, err
		}
	}
	return false, nil
}

// holds decides (member=X) for one group without its other members.
func (x *dynlist) holds(r op.Reader, group *dit.Entry, n *dit.Node, see op.Visible) (holds, known bool, err error) {
	if !x.o.Groups || n.Desc.Type != r.Schema().Known.Member || n.Op != ldap.FilterEquality || n.Rule != n.Desc.Type.Equality {
		return false, false, nil
	}
	e, _, err := r.Lookup(string(n.Key))
	if err != nil || e == nil || e.ID == group.ID {
		return false, true, err
	}
	within, err := x.sight(r, see)
	if err != nil {
		return false, true, err
	}
	holds, err = x.has(r, group, e, within)
	return holds, true, err
}

// match plans a filter item: only dynamic entries have computed values.
func (x *dynlist) match(r op.Reader, n *dit.Node, see op.Visible) (*dit.IDSet, dit.Confidence, error) {
	isMember := x.o.Groups && n.Desc.Type == r.Schema().Known.Member
	if n.Rule != nil && n.Rule.Transitive {
		if !isMember {
			return nil, dit.All, nil // lists lead nowhere: it is Undefined
		}
		set, err := x.chain(r, string(n.Key), see)
		return set, dit.Exact, err
	}
	if isMember && n.Op == ldap.FilterEquality {
		e, _, err := r.Lookup(string(n.Key))
		if err != nil || e == nil {
			return &dit.IDSet{}, dit.Exact, err
		}
		set, err := x.groupsOf(r, e, see)
		return set, dit.Superset, err
	}
	set, err := x.dynamic(r)
	return set, dit.Superset, err
}

// chain returns all entries from which a name is reached over values of member, stored and computed.
func (x *dynlist) chain(r op.Reader, norm string, see op.Visible) (*dit.IDSet, error) {
	s := r.Schema()
	t := s.Known.Member
	reached := &dit.IDSet{}
	for todo := []string{norm}; len(todo) > 0; {
		name := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		key, err := t.Equality.ValueKey(s, nil, []byte(name))
		if err != nil {
			return nil, err
		}
		set, err := r.Equal(t, key)
		if err != nil {
			return nil, err
		}
		e, _, err := r.Lookup(name)
		if err != nil {
			return nil, err
		}
		if e != nil {
			computed, err := x.groupsOf(r, e, see)
			if err != nil {
				return nil, err
			}
			set.Or(computed)
		}
		for it := set.Iterator(); it.HasNext(); {
			id := it.Next()
			if reached.Contains(id) {
				continue
			}
			group, err := r.Get(dit.ID(id))
			if err != nil {
				return nil, err
			}
			if group == nil || see != nil && !see(group, t) {
				continue
			}
			reached.Add(id)
			above, err := r.Name(group)
			if err != nil {
				return nil, err
			}
			todo = append(todo, above.Norm)
		}
	}
	return reached, nil
}
