package engine

import (
	"slices"
	"sync"
	"sync/atomic"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/internal/store"
)

// membership answers whether an identity is in a group, nested groups included, for access rules and limits. The closure
// of an identity is computed once and kept until a transaction changes a membership that leads to it, or a name.
type membership struct {
	store  *store.Store
	groups op.Memberships
	// generation counts the changes of memberships. It is changed under mu, before what follows from it, so that who has
	// read it finds no closure of before.
	generation atomic.Uint64

	mu      sync.Mutex
	closure map[string]*closure // by canonical name of the identity
	named   map[string]bool     // groups that some closure has, and perhaps others
}

type closure struct {
	groups map[string]bool // canonical names
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
	m.closure, m.named = make(map[string]*closure), make(map[string]bool)
	s.Observe(m.observe)
}

// observe drops the closures that a commit may have changed.
func (m *membership) observe(c store.Commit) {
	touched := make(map[string]bool)
	known := len(m.groups.Computed) == 0 // where membership is computed, any change may be one of it
	var s *schema.Schema
	for i := range c.Changes {
		if !known {
			break
		}
		if c.Changes[i].Kind == dit.ChangeRename {
			known = false
		} else if changesMembers(&c.Changes[i]) {
			if s == nil {
				s = m.store.Schema()
			}
			known = touchedMembers(s, &c.Changes[i], touched)
		}
	}
	if known && len(touched) == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.generation.Add(1)
	if !known {
		m.forget()
		return
	}
	nested := false
	for name := range touched {
		delete(m.closure, name)
		nested = nested || m.named[name]
	}
	if !nested {
		return
	}
	// What is in a group that has come into another, or has left it, has come or left too.
	for name, c := range m.closure {
		for group := range c.groups {
			if touched[group] {
				delete(m.closure, name)
				break
			}
		}
	}
}

// forget drops all closures.
func (m *membership) forget() {
	clear(m.closure)
	clear(m.named)
}

// makesMembers reports whether values of the type, or of a type above it, make entries members by name.
func makesMembers(t *schema.AttributeType) bool {
	for ; t != nil; t = t.Sup {
		if op.MemberAttribute(t) {
			return true
		}
	}
	return false
}

// changesMembers reports whether a change is one of an entry with members.
func changesMembers(c *dit.Change) bool {
	for _, e := range [2]*dit.Entry{c.Before, c.After} {
		if e != nil && slices.ContainsFunc(e.Shape().Slots, func(d schema.Description) bool { return makesMembers(d.Type) }) {
			return true
		}
	}
	return false
}

// touchedMembers adds the canonical names of those who have become members by a change, or are none any more. It is false
// where that is not known.
func touchedMembers(s *schema.Schema, c *dit.Change, touched map[string]bool) bool {
	for i := range c.Large {
		l := &c.Large[i]
		if !makesMembers(l.Desc.Type) {
			continue
		}
		if l.Clear {
			return false
		}
		for _, values := range [2][]dit.LargeValue{l.Delete, l.Add} {
			for i := range values {
				touched[string(values[i].Key)] = true
			}
		}
	}
	before, ok := smallMembers(s, c.Before)
	after, ok2 := smallMembers(s, c.After)
	if !ok || !ok2 || !sameLarge(c) {
		return false
	}
	for name := range before {
		if !after[name] {
			touched[name] = true
		}
	}
	for name := range after {
		if !before[name] {
			touched[name] = true
		}
	}
	return true
}

// smallMembers returns the canonical names in the attributes of an entry that are not large.
func smallMembers(s *schema.Schema, e *dit.Entry) (names map[string]bool, ok bool) {
	if e == nil {
		return nil, true
	}
	names = make(map[string]bool)
	for slot, d := range e.Shape().Slots {
		if _, large := e.Large(slot); large || !makesMembers(d.Type) {
			continue
		}
		for v := e.Values(slot); ; {
			value, more := v.Next()
			if !more {
				break
			}
			key, err := d.Type.Equality.ValueKey(s, nil, value)
			if err != nil {
				return nil, false
			}
			names[string(key)] = true
		}
	}
	return names, true
}

// sameLarge reports whether the same attributes with members are large before a change and after it: of those that have
// become so, or are added or deleted as such, not every value need be in the change.
func sameLarge(c *dit.Change) bool {
	large := func(e *dit.Entry) (out []schema.Description) {
		if e == nil {
			return nil
		}
		for slot, d := range e.Shape().Slots {
			if _, is := e.Large(slot); is && makesMembers(d.Type) {
				out = append(out, d)
			}
		}
		return out
	}
	return slices.Equal(large(c.Before), large(c.After))
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
	m.mu.Lock()
	c, generation := m.closure[id.Name.Norm], m.generation.Load()
	m.mu.Unlock()
	if c != nil {
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
	if m.generation.Load() != generation {
		return groups // of a moment that is past
	}
	if len(m.closure) >= maxClosures {
		m.forget()
	}
	m.closure[id.Name.Norm] = &closure{groups: groups}
	for group := range groups {
		m.named[group] = true
	}
	return groups
}
