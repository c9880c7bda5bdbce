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

// GroupsOf returns all groups that an entry is a member of by name, directly or through other groups. Cycles are
// harmless: each group is looked at once. The entry itself is in the set only where a cycle leads back to it.
func GroupsOf(r Reader, norm string) (*dit.IDSet, error) {
	groups := &dit.IDSet{}
	todo := []string{norm}
	for len(todo) > 0 {
		name := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		direct, err := DirectGroupsOf(r, name)
		if err != nil {
			return nil, err
		}
		direct.AndNot(groups)
		groups.Or(direct)
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

// DirectGroupsOf returns the groups that name the entry as a member themselves.
func DirectGroupsOf(r Reader, norm string) (*dit.IDSet, error) {
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
		groups.Or(set)
	}
	return groups, nil
}
