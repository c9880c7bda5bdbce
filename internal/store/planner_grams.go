package store

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"slices"
	"sync/atomic"

	"portolan/internal/dit"
)

// A substring item is answered by the postings of its grams. Which of them are short the planner remembers, so that the
// shortest is read first and, as a rule, the long ones never: what is left when few are left is looked at in the entries.

// gramSizes remembers about how many entries have a gram. It is only a hint about what to read first: entries come and go
// without it being told, and grams that fall into the same slot put each other out.
type gramSizes struct {
	slots [gramSlots]atomic.Uint32 // the gram, and the size as the length of its binary form
}

const (
	gramSlots = 1 << 12
	// unknownSize is the length of the size that is assumed of a gram that was not read yet: it is read before those that are
	// known to be longer.
	unknownSize = 8
	// maxGramList is the length up to which a posting is intersected as a list, in memory that is used again.
	maxGramList = 1 << 14
)

func gramSlot(g uint32) uint32 { return g * 0x9e3779b1 >> 20 }

// length returns the length of the binary form of a gram's size.
func (s *gramSizes) length(g uint32) uint8 {
	if v := s.slots[gramSlot(g)].Load(); v>>8 == g {
		return uint8(v)
	}
	return unknownSize
}

func (s *gramSizes) note(g uint32, n int) {
	v := g<<8 | uint32(bits.Len(uint(n)))
	if slot := &s.slots[gramSlot(g)]; slot.Load() != v {
		slot.Store(v)
	}
}

// bySize puts grams in the order in which they are read: those of few entries first, the others as they came.
func (p *planner) bySize(x *index, grams []uint32) {
	slices.SortStableFunc(grams, func(a, b uint32) int { return int(x.sizes.length(a)) - int(x.sizes.length(b)) })
}

// intersect answers which entries have all of the grams, or a few more. grams is not empty and is put in another order.
func (p *planner) intersect(x *index, grams []uint32, among within) (idSet, error) {
	p.bySize(x, grams)
	cur, read := among, 0
	if !cur.known {
		ids, whole, err := p.gramList(x, grams[0])
		if err != nil {
			return idSet{}, err
		}
		if whole {
			return p.narrow(x, grams[1:], ids)
		}
	}
	for i, g := range grams {
		if read >= maxGramReads || (i > 0 && cur.count() <= fewCandidates) {
			break
		}
		read++
		var key [gramLen]byte
		s, _, err := p.posting1(x, IndexSubstring, appendGram(key[:0], g), cur, 0)
		if err != nil {
			return idSet{}, err
		}
		if cur = in(s); i == 0 && !among.known {
			x.sizes.note(g, s.count())
		}
	}
	return cur.idSet, nil
}

// gramList reads the posting of a gram into the planner's own list, unless it is longer than maxGramList.
func (p *planner) gramList(x *index, g uint32) (ids []dit.ID, whole bool, err error) {
	it, err := p.iter()
	if err != nil {
		return nil, false, err
	}
	var gram [gramLen]byte
	p.prefix = appendPosting(p.prefix[:0], x, IndexSubstring, appendGram(gram[:0], g))
	ids = p.ids[:0]
	for ok := it.SeekGE(p.prefix); ok && bytes.HasPrefix(it.Key(), p.prefix); ok = it.Next() {
		chunk, v, err := p.chunk(it)
		if err != nil {
			return nil, false, err
		}
		if len(ids)+v.n > maxGramList {
			x.sizes.note(g, len(ids)+v.n)
			return nil, false, nil
		}
		v.each(chunk<<chunkBits, func(id uint64) bool {
			ids = append(ids, dit.ID(id))
			return true
		})
	}
	p.ids = ids
	x.sizes.note(g, len(ids))
	return ids, true, it.Err()
}

// narrow takes out of a list the entries that lack one of the grams, until few are left. The list is changed in place; what
// is returned is not.
func (p *planner) narrow(x *index, grams []uint32, ids []dit.ID) (idSet, error) {
	for i, g := range grams {
		if i+1 >= maxGramReads || len(ids) <= fewCandidates {
			break
		}
		var gram [gramLen]byte
		p.prefix = appendPosting(p.prefix[:0], x, IndexSubstring, appendGram(gram[:0], g))
		kept := ids[:0]
		for len(ids) > 0 {
			chunk, _ := splitID(ids[0])
			n := len(ids)
			if last, _ := splitID(ids[n-1]); last != chunk {
				n, _ = slices.BinarySearch(ids, dit.ID((chunk+1)<<chunkBits))
			}
			v, err := p.chunkOf(p.prefix, chunk)
			if err != nil {
				return idSet{}, err
			}
			kept = v.keep(kept, ids[:n])
			ids = ids[n:]
		}
		ids = kept
	}
	if len(ids) > smallSet {
		return idSet{big: bitmapOf(ids)}, nil
	}
	return idSet{small: slices.Clone(ids)}, nil
}

// keep appends to dst those of ids, which are ascending and all of this chunk, that the chunk has. dst may be the beginning
// of what ids is part of.
func (c chunkView) keep(dst, ids []dit.ID) []dit.ID {
	if c.bits != nil {
		for _, id := range ids {
			if low := uint16(id); c.bits[low>>3]>>(low&7)&1 != 0 {
				dst = append(dst, id)
			}
		}
		return dst
	}
	list := c.list
	for _, id := range ids {
		low := uint16(id)
		// The step doubles until it has gone too far, so that a long list costs a short one little.
		if step := 16; len(list) >= 2*step && binary.LittleEndian.Uint16(list[2*step-2:]) < low {
			for len(list) >= 4*step && binary.LittleEndian.Uint16(list[4*step-2:]) < low {
				step *= 2
			}
			list = list[2*step:]
		}
		for len(list) >= 2 && binary.LittleEndian.Uint16(list) < low {
			list = list[2:]
		}
		if len(list) < 2 {
			break
		}
		if binary.LittleEndian.Uint16(list) == low {
			dst = append(dst, id)
			list = list[2:]
		}
	}
	return dst
}
