package store

import (
	"encoding/binary"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"portolan/internal/dit"
)

// TestChunkKeep compares the intersection of a list with a chunk, of either form, with looking up each id.
func TestChunkKeep(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		low := rapid.Uint16Range(0, rapid.SampledFrom([]uint16{40, 3000, 65535}).Draw(t, "span"))
		draw := func(name string) []uint16 {
			v := rapid.SliceOfN(low, 0, 600).Draw(t, name)
			slices.Sort(v)
			return slices.Compact(v)
		}
		has, asked := draw("has"), draw("asked")
		const chunk = 3
		var ids, want []dit.ID
		for _, v := range asked {
			id := dit.ID(chunk<<chunkBits | uint64(v))
			ids = append(ids, id)
			if slices.Contains(has, v) {
				want = append(want, id)
			}
		}
		var list []byte
		bitmap := make([]byte, bitmapBytes)
		for _, v := range has {
			list = binary.LittleEndian.AppendUint16(list, v)
			bitmap[v>>3] |= 1 << (v & 7)
		}
		for name, c := range map[string]chunkView{"list": {list: list, n: len(has)}, "bitmap": {bits: bitmap, n: len(has)}} {
			in := slices.Clone(ids)
			if got := c.keep(in[:0], in); !slices.Equal(got, want) { // in place, as the planner does it
				t.Errorf("%s: %v in %v: %v, not %v", name, ids, has, got, want)
			}
		}
	})
}

func TestGramSizes(t *testing.T) {
	s := new(gramSizes)
	if got := s.length(0x616263); got != unknownSize {
		t.Errorf("a gram that was never read: %d", got)
	}
	s.note(0x616263, 5)
	s.note(0x616264, 70_000)
	if a, b := s.length(0x616263), s.length(0x616264); a != 3 || b != 17 {
		t.Errorf("5 and 70,000 entries: %d and %d", a, b)
	}
	x := &index{sizes: s}
	grams := []uint32{0x616264, 0x78797a, 0x616263, 0x787978}
	(&planner{}).bySize(x, grams)
	if want := []uint32{0x616263, 0x78797a, 0x787978, 0x616264}; !slices.Equal(grams, want) {
		t.Errorf("in the order %x, not %x: those of few entries come first", grams, want)
	}
}
