package engine

import (
	"bytes"
	"slices"

	"portolan/internal/dit"
	"portolan/internal/schema"
)

// selection is the attribute list of a search, compiled (RFC 4511 section 4.5.1.8, RFC 3673, RFC 4529). It is kept from
// search to search of a connection while the list stays the same.
type selection struct {
	schema      *schema.Schema
	views       *viewSet
	user        bool // "*", or an empty list
	operational bool // "+"
	descs       []schema.Description
	virtual     []*schema.AttributeType // virtual attributes asked for by name

	raw [][]byte // the list it was compiled from, copied

	// of the shape that was looked at last
	shape *dit.Shape
	slots []int // selected slots in order
	// plain says that the selected slots are exactly the user attributes: one copy of wire octets.
	plain bool
	// arranged says that values of a selected slot are put in order on their way out.
	arranged bool
	// computed are the virtual attributes that entries of the shape can have.
	computed []*schema.AttributeType
}

// compile makes the selection of a list.
func (sel *selection) compile(s *schema.Schema, views *viewSet, list [][]byte) {
	if sel.schema == s && sel.views == views && slices.EqualFunc(sel.raw, list, bytes.Equal) && sel.raw != nil {
		return
	}
	*sel = selection{schema: s, views: views, raw: make([][]byte, len(list)), slots: sel.slots[:0]}
	for i, b := range list {
		sel.raw[i] = bytes.Clone(b)
	}
	if len(list) == 0 {
		sel.user = true
		sel.virtual = append(sel.virtual, views.users...)
		return
	}
	for _, name := range sel.raw {
		switch {
		case len(name) == 1 && name[0] == '*':
			sel.user = true
		case len(name) == 1 && name[0] == '+':
			sel.operational = true
		case string(name) == "1.1":
			// RFC 4511 section 4.5.1.8: only meaningful alone; beside others it is ignored.
		case len(name) > 1 && name[0] == '@':
			sel.class(s, name[1:])
		default:
			// Names that the schema does not know are ignored, as are malformed ones.
			if d, err := s.Describe(name); err == nil && d.Type != nil {
				sel.descs = append(sel.descs, d)
			}
		}
	}
	for _, d := range sel.descs {
		if d.Options != "" {
			continue
		}
		for _, t := range views.beneath[d.Type] {
			if !slices.Contains(sel.virtual, t) {
				sel.virtual = append(sel.virtual, t)
			}
		}
	}
	var more []*schema.AttributeType
	if sel.operational {
		more = views.operational
	}
	for _, list := range [][]*schema.AttributeType{more, views.users} {
		for _, t := range list {
			if !t.Operational() && !sel.user {
				continue
			}
			if !slices.Contains(sel.virtual, t) {
				sel.virtual = append(sel.virtual, t)
			}
		}
	}
}

// class adds the attributes of an object class (RFC 4529).
func (sel *selection) class(s *schema.Schema, name []byte) {
	// Options behind the class name apply to every attribute of it.
	var options string
	if i := bytes.IndexByte(name, ';'); i >= 0 {
		var ok bool
		if options, ok = s.CanonicalOptions(name[i:]); !ok {
			return
		}
		name = name[:i]
	}
	c := s.ObjectClassBytes(name)
	if c == nil {
		return
	}
	if c == s.Known.ExtensibleObject {
		sel.user = true
	}
	for _, list := range [2][]*schema.AttributeType{c.AllMust, c.AllMay} {
		for _, t := range list {
			sel.descs = append(sel.descs, schema.Description{Type: t, Options: options})
		}
	}
}

// use works out the selected slots of a shape.
func (sel *selection) use(shape *dit.Shape) {
	if sel.shape == shape {
		return
	}
	sel.shape, sel.slots, sel.plain, sel.arranged = shape, sel.slots[:0], true, false
	for i, d := range shape.Slots {
		in := sel.user && i < shape.Users || sel.operational && i >= shape.Users || sel.named(d)
		if in {
			sel.slots = append(sel.slots, i)
			sel.arranged = sel.arranged || sel.views.arranged[d.Type] != nil
		}
		if in != (i < shape.Users) {
			sel.plain = false
		}
	}
	sel.computed = sel.computed[:0]
	for _, t := range sel.virtual {
		if of := sel.views.of(t).Shape; of == nil || of(shape) {
			sel.computed = append(sel.computed, t)
		}
	}
}

// mixed returns the virtual type whose values go with those of a slot; nil where there is none.
func (sel *selection) mixed(d schema.Description) *schema.AttributeType {
	if d.Options == "" && slices.Contains(sel.computed, d.Type) {
		return d.Type
	}
	return nil
}

// stored reports whether the shape has a slot for the type, so that its computed values have gone out with the stored ones.
func (sel *selection) stored(t *schema.AttributeType) bool { return sel.shape.FindType(t) >= 0 }

func (sel *selection) named(d schema.Description) bool {
	for _, want := range sel.descs {
		if want.Contains(d) {
			return true
		}
	}
	return false
}
