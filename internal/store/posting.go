package store

import (
	"encoding/binary"
	"math/bits"
	"slices"

	"portolan/internal/dit"
)

// A posting is the set of ids of the entries that have one key in one index. It is kept in chunks of 65,536 ids, each
// under a key of its own, so that a new entry never rewrites what is known of others: a change is a merge operand of
// three octets.
//
// A chunk holds the low 16 bits of its ids. Lists, which are by far the most, have no header and so an even length;
// everything else has an odd length and begins with a tag:
//
//	list     n*2      ids, ascending, little endian; empty: no id
//	bitmap   1+2+8192 tag, number of ids less one, bits
//	change   1+2      tag, id (an operand: add or remove)
//	changes  1+2+n*2  tag, number of adds, adds, removes; both ascending and without a common id (an operand)
//	masks    1+2*8192 tag, bits of adds, bits of removes (an operand)
//
// Lists and bitmaps are laid out as the containers of a roaring bitmap are, so that a posting becomes one by copying.
const (
	tagAdd     = 0x01
	tagRemove  = 0x02
	tagChanges = 0x03
	tagMasks   = 0x04
	tagBitmap  = 0x11
)

const (
	chunkBits   = 16
	chunkSize   = 1 << chunkBits
	bitmapBytes = chunkSize / 8
	bitmapWords = chunkSize / 64
	// listMax is the length up to which a chunk is a list; it is roaring's.
	listMax = 4096
	// changesMax is the number of ids from which two masks are shorter than a list of changes.
	changesMax = bitmapBytes
	// bitmapValue is the length of a chunk that is a bitmap.
	bitmapValue = 3 + bitmapBytes
)

func splitID(id dit.ID) (chunk uint64, low uint16) { return uint64(id) >> chunkBits, uint16(id) }

// appendAdd and appendRemove append the operand for one id.
func appendAdd(dst []byte, low uint16) []byte { return append(dst, tagAdd, byte(low), byte(low>>8)) }
func appendRemove(dst []byte, low uint16) []byte {
	return append(dst, tagRemove, byte(low), byte(low>>8))
}

// appendChanges appends one operand for ids that come and ids that go, both ascending, without a common one and at most
// changesMax together.
func appendChanges(dst []byte, come, gone []uint16) []byte {
	switch {
	case len(come) == 1 && len(gone) == 0:
		return appendAdd(dst, come[0])
	case len(come) == 0 && len(gone) == 1:
		return appendRemove(dst, gone[0])
	}
	dst = append(dst, tagChanges, byte(len(come)), byte(len(come)>>8))
	for _, low := range come {
		dst = binary.LittleEndian.AppendUint16(dst, low)
	}
	for _, low := range gone {
		dst = binary.LittleEndian.AppendUint16(dst, low)
	}
	return dst
}

// wordSet is a chunk as bits.
type wordSet [bitmapWords]uint64

func (w *wordSet) set(low uint16)   { w[low>>6] |= 1 << (low & 63) }
func (w *wordSet) clear(low uint16) { w[low>>6] &^= 1 << (low & 63) }

func (w *wordSet) count() int {
	n := 0
	for _, x := range w {
		n += bits.OnesCount64(x)
	}
	return n
}

// appendList appends the ids in the form of a list.
func (w *wordSet) appendList(dst []byte) []byte {
	for i, x := range w {
		for ; x != 0; x &= x - 1 {
			dst = binary.LittleEndian.AppendUint16(dst, uint16(i<<6|bits.TrailingZeros64(x)))
		}
	}
	return dst
}

func (w *wordSet) appendBits(dst []byte) []byte {
	dst = slices.Grow(dst, bitmapBytes)
	for _, x := range w {
		dst = binary.LittleEndian.AppendUint64(dst, x)
	}
	return dst
}

// appendChunk appends the ids as a chunk.
func (w *wordSet) appendChunk(dst []byte) []byte {
	n := w.count()
	if n <= listMax {
		return w.appendList(slices.Grow(dst, 2*n))
	}
	return w.appendBits(append(dst, tagBitmap, byte(n-1), byte((n-1)>>8)))
}

func (w *wordSet) orBits(b []byte) {
	for i := range w {
		w[i] |= binary.LittleEndian.Uint64(b[8*i:])
	}
}

func (w *wordSet) andNotBits(b []byte) {
	for i := range w {
		w[i] &^= binary.LittleEndian.Uint64(b[8*i:])
	}
}

func (w *wordSet) orList(b []byte) {
	for ; len(b) >= 2; b = b[2:] {
		w.set(binary.LittleEndian.Uint16(b))
	}
}

func (w *wordSet) andNotList(b []byte) {
	for ; len(b) >= 2; b = b[2:] {
		w.clear(binary.LittleEndian.Uint16(b))
	}
}

// chunkView is a chunk that is being read; it aliases the stored value.
type chunkView struct {
	list []byte // when bits is nil
	bits []byte
	n    int
}

// viewChunk reads a stored chunk. Octets that are none are reported, and read as an empty chunk.
func viewChunk(value []byte) (chunkView, bool) {
	switch {
	case len(value)%2 == 0:
		if len(value) > 2*listMax {
			return chunkView{}, false
		}
		return chunkView{list: value, n: len(value) / 2}, true
	case len(value) == bitmapValue && value[0] == tagBitmap:
		n := int(binary.LittleEndian.Uint16(value[1:])) + 1
		return chunkView{bits: value[3:], n: n}, n > listMax
	}
	return chunkView{}, false
}

func (c chunkView) at(i int) uint16 { return binary.LittleEndian.Uint16(c.list[2*i:]) }

func (c chunkView) has(low uint16) bool {
	if c.bits != nil {
		return c.bits[low>>3]>>(low&7)&1 != 0
	}
	lo, hi := 0, len(c.list)/2
	for lo < hi {
		if m := (lo + hi) / 2; c.at(m) < low {
			lo = m + 1
		} else {
			hi = m
		}
	}
	return lo < len(c.list)/2 && c.at(lo) == low
}

// each calls f for the ids in ascending order until it returns false.
func (c chunkView) each(base uint64, f func(id uint64) bool) {
	if c.bits == nil {
		for i := 0; i < len(c.list); i += 2 {
			if !f(base | uint64(binary.LittleEndian.Uint16(c.list[i:]))) {
				return
			}
		}
		return
	}
	for i := 0; i < bitmapBytes; i += 8 {
		for x := binary.LittleEndian.Uint64(c.bits[i:]); x != 0; x &= x - 1 {
			if !f(base | uint64(i*8+bits.TrailingZeros64(x))) {
				return
			}
		}
	}
}
