package store

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/RoaringBitmap/roaring/v2/roaring64"

	"portolan/internal/dit"
)

// idSet is a set of ids: a short ascending list, or a bitmap. What it holds is shared and never changed in place.
type idSet struct {
	small []dit.ID
	big   *dit.IDSet // when not nil, small means nothing
}

// smallSet is the length up to which a set is a list.
const smallSet = 256

func (s idSet) count() int {
	if s.big != nil {
		return int(s.big.GetCardinality())
	}
	return len(s.small)
}

func (s idSet) has(id dit.ID) bool {
	if s.big != nil {
		return s.big.Contains(uint64(id))
	}
	_, ok := slices.BinarySearch(s.small, id)
	return ok
}

// bitmap returns the set in the form of ports; it is the caller's.
func (s idSet) bitmap() *dit.IDSet {
	if s.big != nil {
		return s.big.Clone()
	}
	b := roaring64.New()
	for _, id := range s.small {
		b.Add(uint64(id))
	}
	return b
}

// setOf takes a bitmap over.
func setOf(b *dit.IDSet) idSet {
	if b.GetCardinality() > smallSet {
		return idSet{big: b}
	}
	return idSet{small: idsOf(b)}
}

func idsOf(b *dit.IDSet) []dit.ID {
	ids := make([]dit.ID, 0, b.GetCardinality())
	for it := b.Iterator(); it.HasNext(); {
		ids = append(ids, dit.ID(it.Next()))
	}
	return ids
}

// setOfList takes over ids in any order, with duplicates.
func setOfList(ids []dit.ID) idSet {
	slices.Sort(ids)
	ids = slices.Compact(ids)
	if len(ids) <= smallSet {
		return idSet{small: ids}
	}
	return idSet{big: bitmapOf(ids)}
}

func bitmapOf(ids []dit.ID) *dit.IDSet {
	b := roaring64.New()
	var buf [512]uint64
	for len(ids) > 0 {
		n := min(len(ids), len(buf))
		for i, id := range ids[:n] {
			buf[i] = uint64(id)
		}
		b.AddMany(buf[:n])
		ids = ids[n:]
	}
	return b
}

func (s idSet) and(t idSet) idSet {
	if s.big != nil && t.big != nil {
		return setOf(roaring64.And(s.big, t.big))
	}
	if s.big != nil {
		s, t = t, s
	}
	return s.filter(t.has)
}

func (s idSet) andNot(t idSet) idSet {
	if s.big == nil {
		return s.filter(func(id dit.ID) bool { return !t.has(id) })
	}
	if t.big != nil {
		return setOf(roaring64.AndNot(s.big, t.big))
	}
	b := s.big.Clone()
	for _, id := range t.small {
		b.Remove(uint64(id))
	}
	return setOf(b)
}

// filter returns the members of a short set for which f is true.
func (s idSet) filter(f func(dit.ID) bool) idSet {
	for i, id := range s.small {
		if f(id) {
			continue
		}
		kept := append(make([]dit.ID, 0, len(s.small)-1), s.small[:i]...)
		for _, id := range s.small[i+1:] {
			if f(id) {
				kept = append(kept, id)
			}
		}
		return idSet{small: kept}
	}
	return s
}

// setUnion gathers a union.
type setUnion struct {
	ids []dit.ID
	big *dit.IDSet
}

// unionList is the number of ids that a union holds as a list before it puts them into its bitmap.
const unionList = 8192

func (u *setUnion) add(s idSet) {
	if s.big == nil {
		u.ids = append(u.ids, s.small...)
		u.settle(unionList)
		return
	}
	if u.big == nil {
		u.big = roaring64.New()
	}
	u.big.Or(s.big)
}

// addChunk adds a stored chunk.
func (u *setUnion) addChunk(chunk uint64, v chunkView) {
	if v.bits != nil {
		var b setBuilder
		b.add(chunk, v)
		u.add(b.set())
		return
	}
	base := chunk << chunkBits
	for i := range v.n {
		u.ids = append(u.ids, dit.ID(base|uint64(v.at(i))))
	}
	u.settle(unionList)
}

func (u *setUnion) settle(limit int) {
	if len(u.ids) <= limit {
		return
	}
	if u.big == nil {
		u.big = roaring64.New()
	}
	slices.Sort(u.ids)
	u.big.Or(bitmapOf(u.ids))
	u.ids = u.ids[:0]
}

func (u *setUnion) set() idSet {
	if u.big == nil {
		return setOfList(u.ids)
	}
	u.settle(0)
	return setOf(u.big)
}

// setBuilder makes a set of the chunks of one posting, which come in ascending order. Chunks are laid out as the
// containers of a roaring bitmap are, so that a long posting is put together as the octets of one.
type setBuilder struct {
	heads []chunkHead
	data  []byte
	n     int
}

type chunkHead struct {
	chunk uint64
	n     int
	bits  bool
}

func (b *setBuilder) reset() { b.heads, b.data, b.n = b.heads[:0], b.data[:0], 0 }

func (b *setBuilder) add(chunk uint64, v chunkView) {
	if v.n == 0 {
		return
	}
	b.heads = append(b.heads, chunkHead{chunk, v.n, v.bits != nil})
	b.n += v.n
	if v.bits != nil {
		b.data = append(b.data, v.bits...)
	} else {
		b.data = append(b.data, v.list...)
	}
}

func (b *setBuilder) set() idSet {
	if b.n == 0 {
		return idSet{}
	}
	if b.n > smallSet {
		return idSet{big: b.roaring()}
	}
	ids := make([]dit.ID, 0, b.n)
	data := b.data
	for _, h := range b.heads {
		for i := range h.n {
			ids = append(ids, dit.ID(h.chunk<<chunkBits|uint64(binary.LittleEndian.Uint16(data[2*i:]))))
		}
		data = data[2*h.n:]
	}
	return idSet{small: ids}
}

// Numbers of the serialized form of roaring bitmaps, of 32 bits without runs and of 64 bits around it.
const (
	roaringCookie    = 12346
	roaringKeyBits   = 32 - chunkBits
	roaringKeyMask   = 1<<roaringKeyBits - 1
	roaringHeadBytes = 4 + 4 // key, cardinality and offset of one container
)

// roaring returns the chunks as a bitmap, by way of its serialized form.
func (b *setBuilder) roaring() *dit.IDSet {
	le := binary.LittleEndian
	high := func(h chunkHead) uint64 { return h.chunk >> roaringKeyBits }
	buckets := 0
	for i, h := range b.heads {
		if i == 0 || high(h) != high(b.heads[i-1]) {
			buckets++
		}
	}
	out := make([]byte, 0, 8+buckets*12+len(b.heads)*roaringHeadBytes+len(b.data))
	out = le.AppendUint64(out, uint64(buckets))
	data := b.data
	for heads := b.heads; len(heads) > 0; {
		n := 1
		for n < len(heads) && high(heads[n]) == high(heads[0]) {
			n++
		}
		out = le.AppendUint32(out, uint32(high(heads[0])))
		out = le.AppendUint32(le.AppendUint32(out, roaringCookie), uint32(n))
		for _, h := range heads[:n] {
			out = le.AppendUint16(le.AppendUint16(out, uint16(h.chunk&roaringKeyMask)), uint16(h.n-1))
		}
		size := 0
		for _, h := range heads[:n] {
			out = le.AppendUint32(out, uint32(8+n*roaringHeadBytes+size))
			size += h.bytes()
		}
		out = append(out, data[:size]...)
		data, heads = data[size:], heads[n:]
	}
	set := roaring64.New()
	// A reader rather than the octets themselves: the containers are not aligned.
	if _, err := set.ReadFrom(bytes.NewReader(out)); err != nil {
		// Chunks are checked before they come here.
		panic("store: a posting is no roaring bitmap: " + err.Error())
	}
	return set
}

func (h chunkHead) bytes() int {
	if h.bits {
		return bitmapBytes
	}
	return 2 * h.n
}
