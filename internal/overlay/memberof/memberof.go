// Package memberof gives entries the attribute memberOf: the groups that name them as a member. It is a view over the
// member index, nothing is stored, so that it is right after every rename, delete and restore by construction.
package memberof

import (
	"cmp"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/ldap"
)

// Options is the table [overlay.memberof].
type Options struct {
	// Nested makes the groups of one's groups one's own as well.
	Nested bool `toml:"nested"`
}

// Defaults are the options of a configuration that says nothing.
func Defaults() Options { return Options{Nested: false} }

// New returns the overlay.
func New(o Options) op.Overlay {
	v := view{nested: o.Nested}
	return op.Overlay{
		Name:     "memberof",
		Equality: []string{"member", "uniqueMember"},
		View:     &op.View{Attributes: []string{"memberOf"}, Values: v.values, Match: v.match},
	}
}

type view struct{ nested bool }

// values calls f for the names of the groups of e. A group is there only for who may read its membership.
func (v view) values(r op.Reader, e *dit.Entry, _ *schema.AttributeType, see op.Visible, f func([]byte) bool) error {
	name, err := r.Name(e)
	if err != nil {
		return err
	}
	find := op.DirectGroupsOf
	if v.nested {
		find = op.GroupsOf
	}
	groups, err := find(r, name.Norm, see)
	if err != nil {
		return err
	}
	for it := groups.Iterator(); it.HasNext(); {
		group, err := r.Get(dit.ID(it.Next()))
		if err != nil {
			return err
		}
		if group == nil {
			continue
		}
		groupName, err := r.Name(group)
		if err != nil {
			return err
		}
		if !f([]byte(groupName.DN)) {
			return nil
		}
	}
	return nil
}

// match returns the members of the group that a filter item names. The in-chain rule is transitive whatever the setting.
func (v view) match(r op.Reader, n *dit.Node, see op.Visible) (*dit.IDSet, dit.Confidence, error) {
	transitive := n.Rule != nil && n.Rule.Transitive
	if n.Op != ldap.FilterEquality && !transitive {
		return nil, dit.All, nil
	}
	members := &dit.IDSet{}
	group, _, err := r.Lookup(string(n.Key))
	if err != nil || group == nil {
		return members, dit.Exact, err
	}
	todo := []*dit.Entry{group}
	seen := &dit.IDSet{}
	for len(todo) > 0 {
		group := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if !seen.CheckedAdd(uint64(group.ID)) {
			continue
		}
		err := eachMember(r, group, see, func(member *dit.Entry) {
			members.Add(uint64(member.ID))
			if (v.nested || transitive) && isGroup(member) {
				todo = append(todo, member)
			}
		})
		if err != nil {
			return nil, dit.All, err
		}
	}
	return members, dit.Exact, nil
}

// eachMember calls f for the members of a group that exist.
func eachMember(r op.Reader, group *dit.Entry, see op.Visible, f func(*dit.Entry)) error {
	for slot, d := range group.Shape().Slots {
		if !op.MemberAttribute(d.Type) || see != nil && !see(group, d.Type) {
			continue
		}
		var failed error
		err := op.EachValue(r, group, slot, func(value []byte) bool {
			key, err := d.Type.Equality.ValueKey(r.Schema(), nil, value)
			if err != nil {
				return true
			}
			member, _, err := r.Lookup(string(key))
			if err != nil {
				failed = err
				return false
			}
			if member != nil {
				f(member)
			}
			return true
		})
		if err := cmp.Or(failed, err); err != nil {
			return err
		}
	}
	return nil
}

func isGroup(e *dit.Entry) bool {
	for _, d := range e.Shape().Slots {
		if op.MemberAttribute(d.Type) {
			return true
		}
	}
	return false
}
