// Package dit holds the data model of RFC 4512 in the form in which the server works with it: sealed entries whose
// attributes are already in wire form, drafts that are being changed, changes, compiled filters, and CSNs.
package dit

import (
	"bytes"
	"slices"

	"github.com/RoaringBitmap/roaring/v2/roaring64"
	"github.com/google/uuid"

	"portolan/ber"
	"portolan/internal/schema"
)

// ID is the dense identity that a store gives an entry. It serves indexes and caches of that store only: it stands in no
// journal record, cookie or export. 0 is no entry; it is the parent of the suffix entries.
type ID uint64

// IDSet is a set of IDs.
type IDSet = roaring64.Bitmap

// Name is the name of an entry: as it was written, and in the canonical form of schema.NormalizeDN.
type Name struct {
	DN   string
	Norm string
}

// Entry is one sealed entry. It is immutable and shared between goroutines. Seal makes it, Decode reads it back.
//
// Its attributes stand in wire form, each a whole PartialAttribute (RFC 4511 section 4.1.7), in the order: user
// attributes, secret user attributes, operational attributes; so that "all user attributes" is one copy. The name is
// not among them: an entry knows its RDN and its parent, and the store composes names.
type Entry struct {
	ID     ID
	Parent ID
	UUID   uuid.UUID
	CSN    CSN
	// Seq is the journal sequence of the transaction that wrote this version. Two versions of an entry differ in it.
	Seq uint64
	// RDN is the relative name as written, NormRDN its canonical form.
	RDN     string
	NormRDN string
	// Class bits that searches ask for on every entry.
	Alias, Referral, Subentry bool

	shape   *Shape
	classes *classes
	off     []uint32 // len(shape.Slots)+1 offsets into blob
	blob    []byte
	large   []largeSlot // ascending by slot; nil for almost every entry
}

// largeSlot says that the values of a slot live in keys of their own.
type largeSlot struct {
	slot  int
	count int
}

// Shape returns the attribute list of the entry.
func (e *Entry) Shape() *Shape { return e.shape }

// Wire returns the PartialAttribute encodings of slots lo to hi (exclusive), one after another. The slice is not to be
// changed. Large slots are in it without values: see Large.
func (e *Entry) Wire(lo, hi int) []byte { return e.blob[e.off[lo]:e.off[hi]] }

// Large reports whether the values of a slot live in keys of their own, and how many there are.
func (e *Entry) Large(slot int) (count int, large bool) {
	for _, l := range e.large {
		if l.slot == slot {
			return l.count, true
		}
	}
	return 0, false
}

// HasLarge reports whether any slot is large.
func (e *Entry) HasLarge() bool { return len(e.large) > 0 }

// Values returns a cursor over the values of a slot; for a large slot it is empty.
func (e *Entry) Values(slot int) Values {
	var v Values
	r := ber.Reader(e.Wire(slot, slot+1))
	var seq ber.Reader
	var name []byte
	if r.Element(ber.Sequence, &seq) && seq.Bytes(ber.OctetString, &name) {
		seq.Element(ber.Set, &v.r)
	}
	return v
}

// Count returns the number of values of a slot, large or not.
func (e *Entry) Count(slot int) int {
	if n, large := e.Large(slot); large {
		return n
	}
	n := 0
	for v := e.Values(slot); ; n++ {
		if _, ok := v.Next(); !ok {
			return n
		}
	}
}

// First returns the first value of the attribute of exactly this description, or nil. Large attributes give nil.
func (e *Entry) First(d schema.Description) []byte {
	slot := e.shape.Find(d)
	if slot < 0 {
		return nil
	}
	v := e.Values(slot)
	b, _ := v.Next()
	return b
}

// Same reports whether two entries, decoded or sealed with the same Shapes, say the same of the same place, but for the values
// of large attributes.
func (e *Entry) Same(o *Entry) bool {
	return e.UUID == o.UUID && e.Parent == o.Parent && e.CSN == o.CSN && e.RDN == o.RDN && e.NormRDN == o.NormRDN &&
		e.shape == o.shape && bytes.Equal(e.blob, o.blob) && slices.Equal(e.large, o.large)
}

// Size is about what the entry takes in memory, in octets.
func (e *Entry) Size() int { return len(e.blob) + 4*len(e.off) + len(e.RDN) + len(e.NormRDN) + 160 }

// Values is a cursor over attribute values. Octets alias the entry.
type Values struct{ r ber.Reader }

// Next returns the next value.
func (v *Values) Next() (value []byte, ok bool) {
	ok = v.r.Bytes(ber.OctetString, &value)
	return value, ok
}
