package dit

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"

	"portolan/ber"
	"portolan/internal/schema"
)

// recordVersion is the first octet of an entry's record.
const recordVersion = 1

// ErrRecord is what DecodeEntry wraps when a record is damaged.
var ErrRecord = errors.New("entry record is damaged")

// AppendRecord appends the form in which a store keeps the entry; the ID is not in it, it is the key's.
//
//	version, parent, UUID, CSN, sequence, RDN, canonical RDN, large slots, wire attributes
func (e *Entry) AppendRecord(dst []byte) []byte {
	dst = append(dst, recordVersion)
	dst = binary.AppendUvarint(dst, uint64(e.Parent))
	dst = append(dst, e.UUID[:]...)
	dst = binary.BigEndian.AppendUint64(dst, uint64(e.CSN.Micros))
	dst = binary.AppendUvarint(dst, uint64(e.CSN.Count))
	dst = binary.AppendUvarint(dst, uint64(e.CSN.SID))
	dst = binary.AppendUvarint(dst, uint64(e.CSN.Mod))
	dst = binary.AppendUvarint(dst, e.Seq)
	dst = appendBlock(dst, e.RDN)
	dst = appendBlock(dst, e.NormRDN)
	dst = binary.AppendUvarint(dst, uint64(len(e.large)))
	for _, l := range e.large {
		dst = binary.AppendUvarint(dst, uint64(l.slot))
		dst = binary.AppendUvarint(dst, uint64(l.count))
	}
	return append(dst, e.blob...)
}

// DecodeEntry reads a record back. The entry keeps no part of record. Attributes that the schema of shapes does not know
// are an error: a schema may not lose what is in use.
func DecodeEntry(shapes *Shapes, id ID, record []byte) (*Entry, error) {
	r := recordReader{rest: record}
	if v := r.byte(); v != recordVersion {
		return nil, fmt.Errorf("%w: entry %d: version %d, this program reads %d", ErrRecord, id, v, recordVersion)
	}
	e := &Entry{ID: id, Parent: ID(r.uvarint())}
	copy(e.UUID[:], r.take(16))
	if micros := r.take(8); micros != nil {
		e.CSN.Micros = int64(binary.BigEndian.Uint64(micros))
	}
	e.CSN.Count, e.CSN.SID, e.CSN.Mod = uint32(r.uvarint()), uint16(r.uvarint()), uint32(r.uvarint())
	e.Seq = r.uvarint()
	rdn, norm := r.block(), r.block()
	for n := r.uvarint(); n > 0 && !r.bad; n-- {
		e.large = append(e.large, largeSlot{slot: int(r.uvarint()), count: int(r.uvarint())})
	}
	if r.bad {
		return nil, fmt.Errorf("%w: entry %d: it ends too early", ErrRecord, id)
	}
	if err := e.index(shapes, alias(rdn), alias(norm), r.rest); err != nil {
		return nil, fmt.Errorf("%w: entry %d: %v", ErrRecord, id, err)
	}
	return e, nil
}

// index walks the wire form, finds shape and offsets, and takes copies of all.
func (e *Entry) index(shapes *Shapes, rdn, norm string, blob []byte) error {
	var buf [48]schema.Description
	slots := buf[:0]
	var offsets [48]uint32
	off := offsets[:1]
	like := shapes.last.Load() // nil where the entry is not like the last
	for rest := ber.Reader(blob); !rest.Empty(); {
		var seq ber.Reader
		var name []byte
		if !rest.Element(ber.Sequence, &seq) || !seq.Bytes(ber.OctetString, &name) || !seq.PeekIs(ber.Set) {
			return fmt.Errorf("attribute %d is not a PartialAttribute", len(slots))
		}
		if like != nil && like.has(len(slots), name) {
			slots = append(slots, like.Slots[len(slots)])
		} else {
			desc, err := shapes.Schema.Describe(name)
			if err != nil || desc.Type == nil {
				return fmt.Errorf("attribute %q is not in the schema", clip(name))
			}
			slots, like = append(slots, desc), nil
		}
		off = append(off, uint32(len(blob)-len(rest)))
	}
	e.reserve(len(slots), rdn, norm, len(blob))
	e.off, e.blob = append(e.off, off[1:]...), append(e.blob, blob...)
	if e.shape = like; like == nil || len(like.Slots) != len(slots) {
		e.shape = shapes.intern(slots)
		shapes.last.Store(e.shape)
	}
	for _, l := range e.large {
		if l.slot >= len(slots) {
			return fmt.Errorf("large slot %d of %d", l.slot, len(slots))
		}
	}
	e.setClasses(shapes)
	return nil
}

// reserve makes the one piece of memory that an entry has beside itself: the offsets of its slots, its names, and room for its wire
// form. They are read one after the other: who has fetched one from memory has mostly fetched the next.
func (e *Entry) reserve(slots int, rdn, norm string, size int) {
	offsets := slots + 1
	octets := len(rdn) + len(norm) + size
	words := make([]uint32, offsets+(octets+3)/4)
	e.off = words[:1:offsets]
	text := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), 4*len(words))[4*offsets:]
	n := copy(text, rdn)
	m := n + copy(text[n:], norm)
	e.RDN, e.NormRDN, e.blob = alias(text[:n]), alias(text[n:m]), text[m:m:m+size]
}

// alias is octets as a string, without a copy: they are never changed.
func alias(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

func appendBlock(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
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
