package engine

import (
	"context"

	"portolan/ber"
	"portolan/internal/access"
	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/ldap"
)

// send writes a SearchResultEntry (RFC 4511 section 4.5.2): what was asked for, of it what may be read.
func (s *search) send(ctx context.Context, entry *dit.Entry, name dit.Name) error {
	s.selection.use(entry.Shape())
	plan := &s.req.Search
	if len(plan.EachEntry) == 0 && len(s.selection.virtual) == 0 && !entry.HasLarge() && plan.Values == nil {
		// Everything is in memory: straight into the connection's buffer.
		buf, message := ber.Begin(s.w.Begin(), ber.Sequence)
		buf = ber.AppendInt(buf, ber.Integer, int64(s.req.ID))
		buf, result := ber.Begin(buf, ldap.TagSearchResultEntry)
		buf = ber.AppendString(buf, ber.OctetString, name.DN)
		buf, list := ber.Begin(buf, ber.Sequence)
		buf = s.appendStored(buf, entry)
		return s.w.End(ber.End(ber.End(ber.End(buf, list), result), message))
	}
	return s.sendAssembled(ctx, entry, name)
}

// sendAssembled is send for entries of which a part must be fetched or computed: the message is made aside, so that the
// connection is not held meanwhile.
func (s *search) sendAssembled(ctx context.Context, entry *dit.Entry, name dit.Name) error {
	plan := &s.req.Search
	var controls []ldap.Control
	for _, each := range plan.EachEntry {
		var err error
		if controls, err = each(ctx, entry, name, controls); err != nil {
			return err
		}
	}
	buf, message := ber.Begin(make([]byte, 0, entry.Size()+256), ber.Sequence)
	buf = ber.AppendInt(buf, ber.Integer, int64(s.req.ID))
	buf, result := ber.Begin(buf, ldap.TagSearchResultEntry)
	buf = ber.AppendString(buf, ber.OctetString, name.DN)
	buf, list := ber.Begin(buf, ber.Sequence)
	var err error
	for _, slot := range s.selection.slots {
		if !s.slots.All && !s.slots.Read.Has(slot) {
			continue
		}
		if buf, err = s.appendSlot(buf, entry, slot); err != nil {
			return err
		}
	}
	for _, t := range s.selection.virtual {
		if buf, err = s.appendVirtual(buf, entry, t); err != nil {
			return err
		}
	}
	buf = ber.End(ber.End(buf, list), result)
	buf = ldap.AppendControls(buf, controls)
	buf = ber.End(buf, message)
	return s.w.End(append(s.w.Begin(), buf...))
}

// appendStored appends the selected, readable attributes of an entry without large ones.
func (s *search) appendStored(buf []byte, entry *dit.Entry) []byte {
	shape := entry.Shape()
	if s.m.TypesOnly {
		for _, slot := range s.selection.slots {
			if s.slots.All || s.slots.Read.Has(slot) {
				buf = appendTypeOnly(buf, shape.Slots[slot])
			}
		}
		return buf
	}
	if s.selection.plain {
		if s.slots.All {
			return append(buf, entry.Wire(0, shape.Users)...)
		}
		if s.slots.Read.AllBelow(shape.Open) {
			buf = append(buf, entry.Wire(0, shape.Open)...)
			for slot := shape.Open; slot < shape.Users; slot++ {
				if s.slots.Read.Has(slot) {
					buf = append(buf, entry.Wire(slot, slot+1)...)
				}
			}
			return buf
		}
	}
	for _, slot := range s.selection.slots {
		if s.slots.All || s.slots.Read.Has(slot) {
			buf = append(buf, entry.Wire(slot, slot+1)...)
		}
	}
	return buf
}

func appendTypeOnly(buf []byte, d schema.Description) []byte {
	buf, seq := ber.Begin(buf, ber.Sequence)
	buf = ber.AppendString(buf, ber.OctetString, d.String())
	return ber.End(ber.AppendHeader(buf, ber.Set, 0), seq)
}

// appendSlot appends one stored attribute, large ones and selected values included.
func (s *search) appendSlot(buf []byte, entry *dit.Entry, slot int) ([]byte, error) {
	d := entry.Shape().Slots[slot]
	if s.m.TypesOnly {
		return appendTypeOnly(buf, d), nil
	}
	wanted := s.req.Search.Values
	_, large := entry.Large(slot)
	if !large && wanted == nil {
		return append(buf, entry.Wire(slot, slot+1)...), nil
	}
	buf, seq := ber.Begin(buf, ber.Sequence)
	buf = ber.AppendString(buf, ber.OctetString, d.String())
	buf, set := ber.Begin(buf, ber.Set)
	err := op.EachValue(s.view, entry, slot, func(value []byte) bool {
		if wanted == nil || wanted(entry, slot, value) {
			buf = ber.AppendBytes(buf, ber.OctetString, value)
		}
		return true
	})
	return ber.End(ber.End(buf, set), seq), err
}

// appendVirtual appends a virtual attribute, if it may be read and has values.
func (s *search) appendVirtual(buf []byte, entry *dit.Entry, t *schema.AttributeType) ([]byte, error) {
	d := schema.Description{Type: t}
	if s.rights.AttrRights(&s.target, d)&access.Read == 0 {
		return buf, nil
	}
	start := len(buf)
	buf, seq := ber.Begin(buf, ber.Sequence)
	buf = ber.AppendString(buf, ber.OctetString, t.Name())
	buf, set := ber.Begin(buf, ber.Set)
	empty := true
	err := s.views.of(t).Values(s.view, entry, t, s.see, func(value []byte) bool {
		empty = false
		if !s.m.TypesOnly {
			buf = ber.AppendBytes(buf, ber.OctetString, value)
		}
		return !s.m.TypesOnly
	})
	if err != nil || empty {
		return buf[:start], err
	}
	return ber.End(ber.End(buf, set), seq), nil
}

// gathered is the matching entry as controls see it that collect entries.
func (s *search) gathered(entry *dit.Entry, name dit.Name) op.Candidate {
	return op.Candidate{Entry: entry, Name: name, Values: func(attr []byte, f func([]byte) bool) error {
		d, err := s.schema.Describe(attr)
		if err != nil || d.Type == nil {
			return nil
		}
		if view := s.views.of(d.Type); view != nil {
			if s.rights.AttrRights(&s.target, d)&access.Read == 0 {
				return nil
			}
			return view.Values(s.view, entry, d.Type, s.see, f)
		}
		for slot, have := range entry.Shape().Slots {
			if !d.Contains(have) || !s.slots.All && !s.slots.Read.Has(slot) {
				continue
			}
			if err := op.EachValue(s.view, entry, slot, f); err != nil {
				return err
			}
		}
		return nil
	}}
}
