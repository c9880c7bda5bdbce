package dit

import (
	"strings"
	"sync"
	"sync/atomic"

	"portolan/internal/schema"
)

// Shape is the attribute list of an entry, interned: entries of one kind share one Shape, so that what depends only on
// which attributes there are is worked out once for all of them (see Memo).
type Shape struct {
	Slots []schema.Description
	// Slots[:Open] are user attributes that are not secret, Slots[Open:Users] secret user attributes,
	// Slots[Users:] operational.
	Open, Users int
	// Memo keeps what others computed for this shape, under keys of their own types.
	Memo sync.Map

	of   *Shapes
	fine atomic.Pointer[fine]
}

// Find returns the slot of exactly this description, or -1.
func (s *Shape) Find(d schema.Description) int {
	for i := range s.Slots {
		if s.Slots[i].Type == d.Type && s.Slots[i].Options == d.Options {
			return i
		}
	}
	return -1
}

// FindType returns the slot of this type without options, or -1.
func (s *Shape) FindType(t *schema.AttributeType) int {
	return s.Find(schema.Description{Type: t})
}

// has reports whether a slot is of the description that stands on the wire.
func (s *Shape) has(slot int, name []byte) bool {
	if slot >= len(s.Slots) {
		return false
	}
	d := &s.Slots[slot]
	n := len(d.Type.Name())
	return len(name) == n+len(d.Options) && string(name[:n]) == d.Type.Name() && string(name[n:]) == d.Options
}

// Shapes interns the shapes of one schema. Its methods may be called by any goroutine.
type Shapes struct {
	Schema *schema.Schema
	mu     sync.RWMutex
	byName map[string]*Shape
	last   atomic.Pointer[Shape] // of the entry decoded last: the next one is often alike

	byClass     map[string]*classes // by the wire form of objectClass
	lastClasses atomic.Pointer[classes]
}

// NewShapes returns an empty table for a schema.
func NewShapes(s *schema.Schema) *Shapes {
	return &Shapes{Schema: s, byName: make(map[string]*Shape), byClass: make(map[string]*classes)}
}

// maxShapes bounds the table: a client that invents attribute options must not fill the memory. Beyond it shapes are
// made but not remembered.
const maxShapes = 10_000

// intern returns the shape of slots, which are in the order of Entry already. slots is copied when it is new.
func (t *Shapes) intern(slots []schema.Description) *Shape {
	var buf [512]byte
	key := buf[:0]
	for _, d := range slots {
		key = append(append(append(key, d.Type.OID...), d.Options...), ' ')
	}
	t.mu.RLock()
	shape := t.byName[string(key)]
	t.mu.RUnlock()
	if shape != nil {
		return shape
	}
	shape = &Shape{Slots: append([]schema.Description(nil), slots...), of: t}
	for _, d := range slots {
		switch slotClass(d) {
		case 0:
			shape.Open++
			shape.Users++
		case 1:
			shape.Users++
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if have := t.byName[string(key)]; have != nil {
		return have
	}
	if len(t.byName) < maxShapes {
		t.byName[strings.Clone(string(key))] = shape
	}
	return shape
}

// slotClass orders the slots of an entry.
func slotClass(d schema.Description) int {
	switch {
	case d.Type.Operational():
		return 2
	case d.Type.Secret:
		return 1
	}
	return 0
}
