// Package memberof gives entries the attribute memberOf: the groups that have them as a member, by name or by what a dynamic
// group finds. It is a view over the member index, nothing is stored, so that it is right after every rename, delete and
// restore by construction.
package memberof

import (
	"sync/atomic"

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
	v := &view{nested: o.Nested}
	return op.Overlay{
		Name:     "memberof",
		Equality: []string{"member", "uniqueMember"},
		Open: func(p *op.Ports) (func(), error) {
			v.ports.Store(p)
			return nil, nil
		},
		View: &op.View{Attributes: []string{"memberOf"}, Values: v.values, Match: v.match, Holds: v.holds},
	}
}

type view struct {
	nested bool
	ports  atomic.Pointer[op.Ports] // nil until opened
}

// memberships are those that overlays compute too, where the directory is open.
func (v *view) memberships() op.Memberships {
	if p := v.ports.Load(); p != nil {
		return p.Directory.Memberships()
	}
	return op.Memberships{}
}

// values calls f for the names of the groups of e. A group is there only for who may read its membership.
func (v *view) values(r op.Reader, e *dit.Entry, _ *schema.AttributeType, see op.Visible, f func([]byte) bool) error {
	name, err := r.Name(e)
	if err != nil {
		return err
	}
	groups, err := v.memberships().Of(r, name.Norm, see, v.nested)
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

// holds decides an item about one group for one entry: the groups of an entry are few, the members of a group may be many.
func (v *view) holds(r op.Reader, e *dit.Entry, n *dit.Node, see op.Visible) (holds, known bool, err error) {
	transitive := n.Rule != nil && n.Rule.Transitive
	if n.Op != ldap.FilterEquality && !transitive {
		return false, false, nil
	}
	group, _, err := r.Lookup(string(n.Key))
	if err != nil || group == nil {
		return false, true, err
	}
	name, err := r.Name(e)
	if err != nil {
		return false, true, err
	}
	groups, err := v.memberships().Of(r, name.Norm, see, v.nested || transitive)
	if err != nil {
		return false, true, err
	}
	return groups.Contains(uint64(group.ID)), true, nil
}

// match returns the members of the group that a filter item names. The in-chain rule is transitive whatever the setting.
func (v *view) match(r op.Reader, n *dit.Node, see op.Visible) (*dit.IDSet, dit.Confidence, error) {
	transitive := n.Rule != nil && n.Rule.Transitive
	if n.Op != ldap.FilterEquality && !transitive {
		return nil, dit.All, nil
	}
	members := &dit.IDSet{}
	group, _, err := r.Lookup(string(n.Key))
	if err != nil || group == nil {
		return members, dit.Exact, err
	}
	all := v.memberships()
	if !v.nested && !transitive {
		err := all.EachMemberID(r, group, see, func(id dit.ID) { members.Add(uint64(id)) })
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
		if err := all.EachMember(r, group, see, func(member *dit.Entry) error {
			members.Add(uint64(member.ID))
			if all.IsGroup(member) {
				todo = append(todo, member)
			}
			return nil
		}); err != nil {
			return nil, dit.All, err
		}
	}
	return members, dit.Exact, nil
}
