package store

import (
	"bytes"
	"encoding/binary"
	"slices"
	"time"

	"github.com/google/uuid"

	"portolan/internal/dit"
	"portolan/ldap"
)

// MaxRecord bounds a journal record in octets, and with it a transaction.
const MaxRecord = 64 << 20

// recordVersion is the first octet of a journal record.
const recordVersion = 1

// The record of the journal and its parts are those of package dit, which readers outside the store know.
type (
	// Record is one record of the journal.
	Record = dit.JournalRecord
	// RecordKind says what a record is about.
	RecordKind = dit.JournalKind
	// RecordChange is one entry's change in a record.
	RecordChange = dit.JournalChange
	// AttrDelta is what a change does to one attribute.
	AttrDelta = dit.AttrDelta
)

// Kinds of records.
const (
	RecordTransaction = dit.JournalTransaction
	RecordBase        = dit.JournalBase
)

// Fixed places in the head of a record.
const (
	headEpoch  = 2
	headSeq    = headEpoch + 16
	headPos    = headSeq + 8
	headBefore = headPos + 8
	headTime   = headBefore + 8
	headMicros = headTime + 8
	headLen    = headMicros + 8
)

func appendHead(dst []byte, kind RecordKind, epoch uuid.UUID, h dit.JournalHead) []byte {
	dst = append(dst, recordVersion, byte(kind))
	dst = append(dst, epoch[:]...)
	dst = binary.BigEndian.AppendUint64(dst, h.Seq)
	dst = binary.BigEndian.AppendUint64(dst, h.Pos)
	dst = binary.BigEndian.AppendUint64(dst, h.Before)
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.Time.UnixMicro()))
	return appendCSN(dst, h.CSN)
}

func appendCSN(dst []byte, c dit.CSN) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(c.Micros))
	dst = binary.AppendUvarint(dst, uint64(c.Count))
	dst = binary.AppendUvarint(dst, uint64(c.SID))
	return binary.AppendUvarint(dst, uint64(c.Mod))
}

func appendText[T ~string | ~[]byte](dst []byte, s T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func appendMeta(dst []byte, m Meta) []byte {
	return appendText(appendText(appendText(dst, m.Author), m.AuthzID), m.Session)
}

// appendRecord appends the record of the transaction.
func (t *Tx) appendRecord(dst []byte, pos, before uint64, now time.Time) ([]byte, error) {
	dst = appendHead(dst, RecordTransaction, t.s.Epoch(), dit.JournalHead{Seq: t.seq, Pos: pos, Before: before, Time: now, CSN: t.journalCSN()})
	dst = appendMeta(dst, t.meta)
	dst = binary.AppendUvarint(dst, uint64(len(t.changes)))
	for i := range t.changes {
		ch := &t.changes[i]
		parent, err := t.parentUUID(ch)
		if err != nil {
			return nil, err
		}
		if dst = appendChange(dst, ch, parent, t.csns[i]); len(dst) > MaxRecord {
			return nil, ldap.Errorf(ldap.AdminLimitExceeded,
				"the operation would write a journal record of more than %d octets; do it in smaller steps", MaxRecord)
		}
	}
	return dst, nil
}

// parentUUID finds the parent as it was at the end of the transaction, or before it when it is gone by then.
func (t *Tx) parentUUID(ch *dit.Change) (uuid.UUID, error) {
	e := ch.After
	if e == nil {
		e = ch.Before
	}
	if e.Parent == 0 {
		return uuid.Nil, nil
	}
	p, err := t.Get(e.Parent)
	if err != nil {
		return uuid.Nil, err
	}
	if p != nil {
		return p.UUID, nil
	}
	for i := range t.changes {
		if b := t.changes[i].Before; b != nil && b.ID == e.Parent {
			return b.UUID, nil
		}
		if a := t.changes[i].After; a != nil && a.ID == e.Parent {
			return a.UUID, nil
		}
	}
	return uuid.Nil, corrupt("entry %d is a parent but does not exist", e.Parent)
}

func appendChange(dst []byte, ch *dit.Change, parent uuid.UUID, csn dit.CSN) []byte {
	e := ch.After
	if e == nil {
		e = ch.Before
	}
	dst = append(dst, byte(ch.Kind))
	dst = append(append(dst, e.UUID[:]...), parent[:]...)
	dst = appendCSN(dst, csn)
	switch ch.Kind {
	case dit.ChangeAdd:
		dst = appendText(dst, ch.New.DN)
	case dit.ChangeRename:
		dst = appendText(appendText(dst, ch.Old.DN), ch.New.DN)
	default:
		dst = appendText(dst, ch.Old.DN)
	}
	eachDelta(ch, func(d *AttrDelta) {
		var flags byte = 1
		if d.Large {
			flags |= 2
		}
		if d.Clear {
			flags |= 4
		}
		dst = appendText(append(dst, flags), d.Description)
		dst = appendValues(appendValues(dst, d.Deleted), d.Added)
	})
	return append(dst, 0)
}

func appendValues(dst []byte, values [][]byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(values)))
	for _, v := range values {
		dst = appendText(dst, v)
	}
	return dst
}

// eachDelta calls f for the attribute changes of ch. The delta is valid during the call.
func eachDelta(ch *dit.Change, f func(*AttrDelta)) {
	var d AttrDelta
	emit := func(desc string, deleted, added [][]byte) {
		if len(deleted)+len(added) > 0 {
			d = AttrDelta{Description: desc, Deleted: deleted, Added: added}
			f(&d)
		}
	}
	same := ch.Before != nil && ch.After != nil && ch.Before.Shape() == ch.After.Shape()
	if b := ch.Before; b != nil {
		for slot, desc := range b.Shape().Slots {
			at := -1
			switch {
			case same:
				at = slot
			case ch.After != nil:
				at = ch.After.Shape().Find(desc)
			}
			switch {
			case at < 0:
				emit(desc.String(), valuesOf(b, slot), nil)
			case !bytes.Equal(b.Wire(slot, slot+1), ch.After.Wire(at, at+1)):
				deleted, added := diffValues(valuesOf(b, slot), valuesOf(ch.After, at))
				emit(desc.String(), deleted, added)
			}
		}
	}
	if a := ch.After; a != nil && !same {
		for slot, desc := range a.Shape().Slots {
			if ch.Before == nil || ch.Before.Shape().Find(desc) < 0 {
				emit(desc.String(), nil, valuesOf(a, slot))
			}
		}
	}
	for i := range ch.Large {
		l := &ch.Large[i]
		d = AttrDelta{Description: l.Desc.String(), Large: true, Clear: l.Clear}
		if !l.Clear {
			d.Deleted = largeValues(l.Delete)
		}
		d.Added = largeValues(l.Add)
		f(&d)
	}
}

func largeValues(in []dit.LargeValue) [][]byte {
	out := make([][]byte, len(in))
	for i := range in {
		out[i] = in[i].Value
	}
	return out
}

func valuesOf(e *dit.Entry, slot int) [][]byte {
	var out [][]byte
	for v := e.Values(slot); ; {
		b, ok := v.Next()
		if !ok {
			return out
		}
		out = append(out, b)
	}
}

// fewValues is up to where comparing all with all is quicker than a set.
const fewValues = 16

// diffValues returns what is in only one of two sets of values.
func diffValues(before, after [][]byte) (deleted, added [][]byte) {
	if len(before) <= fewValues && len(after) <= fewValues {
		in := func(set [][]byte, v []byte) bool {
			return slices.ContainsFunc(set, func(o []byte) bool { return bytes.Equal(o, v) })
		}
		for _, v := range before {
			if !in(after, v) {
				deleted = append(deleted, v)
			}
		}
		for _, v := range after {
			if !in(before, v) {
				added = append(added, v)
			}
		}
		return deleted, added
	}
	old := make(map[string]bool, len(before))
	for _, v := range before {
		old[string(v)] = true
	}
	for _, v := range after {
		if !old[string(v)] {
			added = append(added, v)
		}
		delete(old, string(v))
	}
	for _, v := range before {
		if old[string(v)] {
			deleted = append(deleted, v)
		}
	}
	return deleted, added
}

// DecodeRecord reads a journal record. The record keeps no part of b. Errors wrap ErrCorrupt.
func DecodeRecord(b []byte) (*Record, error) {
	r := recordReader{rest: b}
	if v := r.byte(); v != recordVersion {
		return nil, corrupt("journal record of version %d, this program reads %d", v, recordVersion)
	}
	rec := &Record{Kind: RecordKind(r.byte())}
	copy(rec.Epoch[:], r.take(16))
	rec.Seq, rec.Pos, rec.Before = r.fixed(), r.fixed(), r.fixed()
	rec.Time = time.UnixMicro(int64(r.fixed())).UTC()
	rec.CSN = r.csn()
	switch rec.Kind {
	case RecordTransaction:
		rec.Meta = Meta{Author: r.text(), AuthzID: r.text(), Session: r.text()}
		n := r.uvarint()
		for ; n > 0 && !r.bad; n-- {
			rec.Changes = append(rec.Changes, r.change())
		}
	case RecordBase:
		rec.Entries = int64(r.fixed())
	default:
		return nil, corrupt("journal record of kind %d", rec.Kind)
	}
	if r.bad || len(r.rest) > 0 {
		return nil, corrupt("journal record %d: it ends too early or too late", rec.Seq)
	}
	return rec, nil
}

// recordReader reads a record; after the first thing that is not there everything is zero and bad is set.
type recordReader struct {
	rest []byte
	bad  bool
}

func (r *recordReader) take(n int) []byte {
	if r.bad || n < 0 || n > len(r.rest) {
		r.bad = true
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *recordReader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *recordReader) fixed() uint64 {
	if b := r.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (r *recordReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.bad = true
		return 0
	}
	r.take(n)
	return v
}

func (r *recordReader) block() []byte {
	n := r.uvarint()
	if n > uint64(len(r.rest)) {
		r.bad = true
		return nil
	}
	return r.take(int(n))
}

func (r *recordReader) text() string { return string(r.block()) }

func (r *recordReader) csn() dit.CSN {
	micros := int64(r.fixed())
	return dit.CSN{Micros: micros, Count: uint32(r.uvarint()), SID: uint16(r.uvarint()), Mod: uint32(r.uvarint())}
}

func (r *recordReader) change() RecordChange {
	c := RecordChange{Kind: dit.ChangeKind(r.byte())}
	copy(c.UUID[:], r.take(16))
	copy(c.Parent[:], r.take(16))
	c.CSN = r.csn()
	switch c.Kind {
	case dit.ChangeAdd:
		c.NewDN = r.text()
	case dit.ChangeModify:
		c.OldDN = r.text()
		c.NewDN = c.OldDN
	case dit.ChangeRename:
		c.OldDN, c.NewDN = r.text(), r.text()
	case dit.ChangeDelete:
		c.OldDN = r.text()
	default:
		r.bad = true
	}
	for {
		flags := r.byte()
		if flags == 0 || r.bad {
			return c
		}
		if flags&^7 != 0 || flags&1 == 0 {
			r.bad = true
			return c
		}
		d := AttrDelta{Large: flags&2 != 0, Clear: flags&4 != 0, Description: r.text()}
		d.Deleted, d.Added = r.values(), r.values()
		c.Attrs = append(c.Attrs, d)
	}
}

func (r *recordReader) values() [][]byte {
	var out [][]byte
	for n := r.uvarint(); n > 0 && !r.bad; n-- {
		if v := r.block(); !r.bad {
			out = append(out, append([]byte{}, v...))
		}
	}
	return out
}
