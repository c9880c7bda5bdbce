package store

import (
	"encoding/binary"
	"slices"
	"sync"
)

// chunkFold is the state of a fold: what the operands so far have added and removed, and whether all that was there before
// them is known. An id is never in both.
type chunkFold struct {
	adds, removes wordSet
	// whole says that a value was met: adds are all there is, and removes mean nothing.
	whole bool
}

var chunkFolds = sync.Pool{New: func() any { return new(chunkFold) }}

// mergePostings is kv.Merger.Merge for posting chunks.
func mergePostings(old []byte, operands [][]byte) []byte {
	if v, ok := viewChunk(old); ok && v.bits == nil && smallFold(operands) {
		return mergeSmall(old, operands)
	}
	f := chunkFolds.Get().(*chunkFold)
	defer chunkFolds.Put(f)
	*f = chunkFold{whole: true}
	f.apply(old)
	for _, o := range operands {
		f.apply(o)
	}
	return f.adds.appendChunk(nil)
}

// partialMergePostings is kv.Merger.PartialMerge for posting chunks.
func partialMergePostings(operands [][]byte) []byte {
	if len(operands) == 1 {
		return slices.Clone(operands[0])
	}
	if smallFold(operands) {
		return partialSmall(operands)
	}
	f := chunkFolds.Get().(*chunkFold)
	defer chunkFolds.Put(f)
	*f = chunkFold{}
	for _, o := range operands {
		f.apply(o)
	}
	if f.whole {
		return f.adds.appendChunk(nil)
	}
	adds, removes := f.adds.count(), f.removes.count()
	if adds+removes > changesMax {
		dst := append(make([]byte, 0, 1+2*bitmapBytes), tagMasks)
		return f.removes.appendBits(f.adds.appendBits(dst))
	}
	dst := append(make([]byte, 0, 3+2*(adds+removes)), tagChanges, byte(adds), byte(adds>>8))
	return f.removes.appendList(f.adds.appendList(dst))
}

// apply folds one more operand in. A value among the operands stands for all that was before it. Octets that are neither
// are passed over: a check finds what they did.
func (f *chunkFold) apply(o []byte) {
	if v, ok := viewChunk(o); ok {
		f.adds, f.whole = wordSet{}, true
		if v.bits != nil {
			f.adds.orBits(v.bits)
		} else {
			f.adds.orList(v.list)
		}
		return
	}
	if len(o) < 3 || len(o)%2 == 0 {
		return
	}
	if adds, removes, ok := changesOf(o); ok {
		f.adds.orList(adds)
		f.adds.andNotList(removes)
		f.removes.orList(removes)
		f.removes.andNotList(adds)
		return
	}
	if o[0] == tagMasks && len(o) == 1+2*bitmapBytes {
		adds, removes := o[1:1+bitmapBytes], o[1+bitmapBytes:]
		f.adds.orBits(adds)
		f.adds.andNotBits(removes)
		f.removes.orBits(removes)
		f.removes.andNotBits(adds)
	}
}

// smallFolds is the number of ids up to which changes are made in a list, or put in one, rather than through bits.
const smallFolds = 32

// changesOf takes the ids of an operand that is a change or changes apart, as lists.
func changesOf(o []byte) (adds, removes []byte, ok bool) {
	if len(o) < 3 || len(o)%2 == 0 {
		return nil, nil, false
	}
	switch n := 2 * int(binary.LittleEndian.Uint16(o[1:])); {
	case o[0] == tagAdd && len(o) == 3:
		return o[1:], nil, true
	case o[0] == tagRemove && len(o) == 3:
		return nil, o[1:], true
	case o[0] == tagChanges && n <= len(o)-3:
		return o[3 : 3+n], o[3+n:], true
	}
	return nil, nil, false
}

// smallFold reports whether operands are changes of a few ids.
func smallFold(operands [][]byte) bool {
	n := 0
	for _, o := range operands {
		adds, removes, ok := changesOf(o)
		if n += (len(adds) + len(removes)) / 2; !ok || n > smallFolds {
			return false
		}
	}
	return true
}

// listAdd and listRemove put the ids of a list into another one, or take them out of it.
func listAdd(dst, ids []byte) []byte {
	for ; len(ids) >= 2; ids = ids[2:] {
		low := binary.LittleEndian.Uint16(ids)
		if at := lowerBound(dst, low); at == len(dst) || binary.LittleEndian.Uint16(dst[at:]) != low {
			dst = slices.Insert(dst, at, ids[0], ids[1])
		}
	}
	return dst
}

func listRemove(dst, ids []byte) []byte {
	for ; len(ids) >= 2 && len(dst) > 0; ids = ids[2:] {
		low := binary.LittleEndian.Uint16(ids)
		if at := lowerBound(dst, low); at < len(dst) && binary.LittleEndian.Uint16(dst[at:]) == low {
			dst = slices.Delete(dst, at, at+2)
		}
	}
	return dst
}

// partialSmall folds changes of a few ids into one operand.
func partialSmall(operands [][]byte) []byte {
	var room [2][2 * smallFolds]byte
	come, gone := room[0][:0], room[1][:0]
	for _, o := range operands {
		adds, removes, _ := changesOf(o)
		come, gone = listAdd(come, adds), listRemove(gone, adds)
		come, gone = listRemove(come, removes), listAdd(gone, removes)
	}
	n := len(come) / 2
	dst := append(make([]byte, 0, 3+len(come)+len(gone)), tagChanges, byte(n), byte(n>>8))
	return append(append(dst, come...), gone...)
}

// mergeSmall applies changes of a few ids to a list.
func mergeSmall(old []byte, operands [][]byte) []byte {
	dst := append(make([]byte, 0, len(old)+2*smallFolds), old...)
	for _, o := range operands {
		adds, removes, _ := changesOf(o)
		dst = listRemove(listAdd(dst, adds), removes)
	}
	if len(dst) <= 2*listMax {
		return dst
	}
	var w wordSet
	w.orList(dst)
	return w.appendChunk(nil)
}

// lowerBound returns the offset of the first id in a list that is not less than low.
func lowerBound(list []byte, low uint16) int {
	lo, hi := 0, len(list)/2
	for lo < hi {
		if m := (lo + hi) / 2; binary.LittleEndian.Uint16(list[2*m:]) < low {
			lo = m + 1
		} else {
			hi = m
		}
	}
	return 2 * lo
}
