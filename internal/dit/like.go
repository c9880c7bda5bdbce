package dit

import (
	"bytes"
	"slices"

	"portolan/internal/schema"
)

// sealed is what a draft that makes one entry after another, as an import does, remembers of the one before: of entries with the
// same attributes in the same order and the same object classes, what depends on nothing else is worked out once.
type sealed struct {
	// schema, attrs, classes and structural are of the last entry that was right.
	schema     *schema.Schema
	attrs      []schema.Description
	classes    [][]byte
	structural *schema.ObjectClass

	// of and names are the object classes that were added last and were right, as they were written.
	of    *schema.Schema
	names [][]byte

	// shapes, slots, order and shape are of the last entry that was arranged.
	shapes *Shapes
	slots  []schema.Description
	order  []int
	shape  *Shape
}

// named reports whether these object classes were right the last time.
func (l *sealed) named(s *schema.Schema, values [][]byte) bool {
	return l.of == s && slices.EqualFunc(l.names, values, bytes.Equal)
}

// name remembers object classes to which nothing was to be said but err.
func (l *sealed) name(s *schema.Schema, values [][]byte, err error) {
	l.of, l.names = nil, l.names[:0]
	if err != nil {
		return
	}
	l.of = s
	for _, v := range values {
		l.names = append(l.names, bytes.Clone(v))
	}
}

// check is Schema.CheckEntry of a draft, all of whose attributes have values.
func (l *sealed) check(s *schema.Schema, d *Draft) (*schema.ObjectClass, error) {
	if l.schema == s && d.has(l.attrs) && d.isOf(l.classes) && d.singles() {
		return l.structural, nil
	}
	structural, err := s.CheckEntry(draftView{d})
	if err != nil {
		return nil, err
	}
	l.schema, l.structural, l.attrs, l.classes = s, structural, d.descriptions(l.attrs[:0]), l.classes[:0]
	draftView{d}.EachClass(func(name []byte) bool {
		l.classes = append(l.classes, bytes.Clone(name)) // it may be part of a text that is not to stay for this
		return true
	})
	return structural, nil
}

// fine is what was found right about entries of one shape: their object classes, and the structural one of these.
type fine struct {
	classes    *classes
	structural *schema.ObjectClass
}

// likeBase reports whether the draft has the attributes of the entry that it edits, in the same order, and its object classes.
func (d *Draft) likeBase(s *schema.Schema) bool {
	b := d.Base
	if b == nil || b.shape.of == nil || b.shape.of.Schema != s || !d.has(b.shape.Slots) {
		return false
	}
	a := d.Attr(schema.Description{Type: s.Known.ObjectClass})
	return a != nil && !a.touched
}

// check is Schema.CheckEntry of a draft that is like its base, an entry of this shape.
func (s *Shape) check(sch *schema.Schema, d *Draft) (*schema.ObjectClass, error) {
	if f := s.fine.Load(); f != nil && f.classes == d.Base.classes && d.singles() {
		return f.structural, nil
	}
	structural, err := sch.CheckEntry(draftView{d})
	if err == nil {
		s.fine.Store(&fine{d.Base.classes, structural})
	}
	return structural, err
}

// inOrder are places in their own order.
var inOrder = func() (list [64]int) {
	for i := range list {
		list[i] = i
	}
	return list
}()

// arrange returns the places of the draft's attributes in the order of an entry, and the entry's shape.
func (d *Draft) arrange(shapes *Shapes) ([]int, *Shape) {
	if l := d.last; l != nil && l.shapes == shapes && d.has(l.slots) {
		return l.order, l.shape
	}
	if b := d.Base; b != nil && b.shape.of == shapes && len(d.Attrs) <= len(inOrder) && d.has(b.shape.Slots) {
		return inOrder[:len(d.Attrs)], b.shape
	}
	order := make([]int, len(d.Attrs))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return compareSlots(shapes.Schema, d.Attrs[a].Desc, d.Attrs[b].Desc) })
	slots := make([]schema.Description, len(order))
	for slot, i := range order {
		slots[slot] = d.Attrs[i].Desc
	}
	shape := shapes.intern(slots)
	if l := d.last; l != nil {
		l.shapes, l.slots, l.order, l.shape = shapes, d.descriptions(l.slots[:0]), order, shape
	}
	return order, shape
}

// has reports whether the draft has exactly these attributes in this order.
func (d *Draft) has(attrs []schema.Description) bool {
	return slices.EqualFunc(d.Attrs, attrs, func(a DraftAttr, desc schema.Description) bool { return a.Desc == desc })
}

func (d *Draft) descriptions(dst []schema.Description) []schema.Description {
	for i := range d.Attrs {
		dst = append(dst, d.Attrs[i].Desc)
	}
	return dst
}

// isOf reports whether the draft has exactly these object classes, as they are written here.
func (d *Draft) isOf(classes [][]byte) bool {
	n, same := 0, true
	draftView{d}.EachClass(func(name []byte) bool {
		same = n < len(classes) && bytes.Equal(name, classes[n])
		n++
		return same
	})
	return same && n == len(classes)
}

// singles reports whether no attribute has more values than its type allows.
func (d *Draft) singles() bool {
	for i := range d.Attrs {
		if d.Attrs[i].Desc.Type.SingleValue && d.Attrs[i].count() > 1 {
			return false
		}
	}
	return true
}
