package engine

import (
	"context"

	"portolan/ber"
	"portolan/internal/dit"
	"portolan/ldap"
)

// send writes a SearchResultEntry (RFC 4511 section 4.5.2): what was asked for, of it what may be read.
func (s *search) send(ctx context.Context, entry *dit.Entry, name dit.Name) error {
	s.selection.use(entry.Shape())
	plan := &s.req.Search
	if len(plan.EachEntry) == 0 && len(plan.MoreAttributes) == 0 && len(s.selection.computed) == 0 && !entry.HasLarge() && plan.Values == nil && !s.selection.arranged {
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
	var controls []ldap.Control
	for _, each := range s.req.Search.EachEntry {
		var err error
		if controls, err = each(ctx, s.r, entry, name, controls); err != nil {
			return err
		}
	}
	buf, message := ber.Begin(make([]byte, 0, entry.Size()+256), ber.Sequence)
	buf = ber.AppendInt(buf, ber.Integer, int64(s.req.ID))
	buf, result := ber.Begin(buf, ldap.TagSearchResultEntry)
	buf = ber.AppendString(buf, ber.OctetString, name.DN)
	buf, list := ber.Begin(buf, ber.Sequence)
	buf, err := s.appendSelected(buf, &s.selection, s.m.TypesOnly)
	if err != nil {
		return err
	}
	for _, more := range s.req.Search.MoreAttributes {
		if buf, err = more(ctx, s.r, entry, name, buf); err != nil {
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
