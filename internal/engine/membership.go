package engine

import (
	"sync"
	"sync/atomic"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/store"
)

// membership answers whether an identity is in a group, nested groups included, for access rules and limits. The closure
// of an identity is computed once and kept until a transaction changes a membership or a name.
type membership struct {
	store      *store.Store
	generation atomic.Uint64
	groups     op.Memberships

	mu      sync.Mutex
	closure map[string]*closure // by canonical name of the identity
}

type closure struct {
	generation uint64
	groups     map[string]bool // canonical names
}

// maxClosures bounds the cache; when it is full it starts anew.
const maxClosures = 10_000

func (m *membership) init(s *store.Store, overlays []op.Overlay) {
	m.store = s
	for i := range overlays {
		if g := overlays[i].Groups; g != nil {
			m.groups.Computed = append(m.groups.Computed, g)
		}
	}
	m.closure = make(map[string]*closure)
	s.Observe(func(c store.Commit) {
		for i := range c.Changes {
			// Where membership is computed, any change may be one of it.
			if len(m.groups.Computed) > 0 || touchesMembership(&c.Changes[i]) {
				m.generation.Add(1)
				return
			}
		}
	})
}

// touchesMembership reports whether a change may alter who is in which group.
func touchesMembership(c *dit.Change) bool {
	if c.Kind == dit.ChangeRename || len(c.Large) > 0 {
		return true
	}
	for _, e := range [2]*dit.Entry{c.Before, c.After} {
		if e == nil {
			continue
		}
		for _, d := range e.Shape().Slots {
			if op.MemberAttribute(d.Type) {
				return true
			}
		}
	}
	return false
}

// inGroup returns the question for one identity. It costs nothing until it is asked.
func (m *membership) inGroup(e *Engine, id *op.Identity) func(groupNorm string) bool {
	if id.IsAnonymous() || id.Entry == 0 {
		return notInGroup
	}
	return func(group string) bool { return m.of(e, id)[group] }
}

// InGroup returns the question whether an identity is in a group, nested groups included. It costs nothing until it is
// asked, and the answer is that of the moment.
func (e *Engine) InGroup(id *op.Identity) func(groupNorm string) bool {
	return e.members.inGroup(e, id)
}

func notInGroup(string) bool { return false }

// of returns the groups of an identity. When storage fails nobody is in any group: access fails closed.
func (m *membership) of(e *Engine, id *op.Identity) map[string]bool {
	generation := m.generation.Load()
	m.mu.Lock()
	c := m.closure[id.Name.Norm]
	m.mu.Unlock()
	if c != nil && c.generation == generation {
		return c.groups
	}
	view := m.store.View()
	defer view.Close()
	groups := make(map[string]bool)
	set, err := m.groups.Of(view, id.Name.Norm, nil, true)
	if err != nil {
		e.o.Log.Error("group membership could not be read", "identity", id.Name.DN, "error", err)
		return nil
	}
	for it := set.Iterator(); it.HasNext(); {
		group, err := view.Get(dit.ID(it.Next()))
		if err != nil || group == nil {
			continue
		}
		if name, err := view.Name(group); err == nil {
			groups[name.Norm] = true
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.closure) >= maxClosures {
		clear(m.closure)
	}
	m.closure[id.Name.Norm] = &closure{generation: generation, groups: groups}
	return groups
}
