package dit

import (
	"strings"

	"portolan/internal/schema"
)

// classes are the object classes of an entry, interned by their octets, so that what depends only on them is worked out once
// for all entries of a kind.
type classes struct {
	of   *Shapes
	wire string
	// known are those that the schema knows.
	known                     []*schema.ObjectClass
	alias, referral, subentry bool
}

// noClasses are those of an entry without the attribute.
var noClasses = &classes{}

func (c *classes) has(class *schema.ObjectClass) bool {
	for _, k := range c.known {
		if k.IsA(class) {
			return true
		}
	}
	return false
}

// setClasses sets the bits that stand for object classes.
func (e *Entry) setClasses(shapes *Shapes) {
	e.classes = noClasses
	if slot := e.shape.FindType(shapes.Schema.Known.ObjectClass); slot >= 0 {
		e.classes = shapes.classesOf(e, slot)
	}
	e.Alias, e.Referral, e.Subentry = e.classes.alias, e.classes.referral, e.classes.subentry
}

// classesOf interns the values of objectClass.
func (t *Shapes) classesOf(e *Entry, slot int) *classes {
	wire := e.Wire(slot, slot+1)
	if last := t.lastClasses.Load(); last != nil && last.wire == string(wire) {
		return last
	}
	t.mu.RLock()
	c := t.byClass[string(wire)]
	t.mu.RUnlock()
	if c == nil {
		c = t.addClasses(e, slot)
	}
	t.lastClasses.Store(c)
	return c
}

func (t *Shapes) addClasses(e *Entry, slot int) *classes {
	c := &classes{of: t, wire: strings.Clone(string(e.Wire(slot, slot+1)))}
	for v := e.Values(slot); ; {
		name, ok := v.Next()
		if !ok {
			break
		}
		class := t.Schema.ObjectClassBytes(name)
		if class == nil {
			continue
		}
		c.known = append(c.known, class)
		c.alias = c.alias || class == t.Schema.Known.Alias
		c.referral = c.referral || class == t.Schema.Known.Referral
		c.subentry = c.subentry || class == t.Schema.Known.Subentry
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if have := t.byClass[c.wire]; have != nil {
		return have
	}
	if len(t.byClass) < maxShapes {
		t.byClass[c.wire] = c
	}
	return c
}

// IsA reports whether the entry has the object class, by name or through a subclass of it.
func (e *Entry) IsA(s *schema.Schema, class *schema.ObjectClass) bool {
	if class == nil || e.classes == noClasses {
		return false
	}
	if e.classes != nil && e.classes.of.Schema == s {
		return e.classes.has(class)
	}
	// The entry is of another generation of the schema: only the names are the same.
	slot := e.shape.FindType(s.Known.ObjectClass)
	if slot < 0 {
		return false
	}
	for v := e.Values(slot); ; {
		name, ok := v.Next()
		if !ok {
			return false
		}
		if c := s.ObjectClassBytes(name); c != nil && c.IsA(class) {
			return true
		}
	}
}

// IsA reports whether the draft has the object class, by name or through a subclass of it.
func (d *Draft) IsA(s *schema.Schema, class *schema.ObjectClass) bool {
	a := d.Attr(schema.Description{Type: s.Known.ObjectClass})
	if a == nil || class == nil {
		return false
	}
	if d.Base != nil && !a.touched {
		return d.Base.IsA(s, class)
	}
	for _, name := range a.Values {
		if c := s.ObjectClassBytes(name); c != nil && c.IsA(class) {
			return true
		}
	}
	return false
}
