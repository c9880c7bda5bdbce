package store

import (
	"bytes"
	"encoding/binary"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"portolan/internal/dit"
)

// chunkIDs reads a chunk through every way there is to read one, which must agree.
func chunkIDs(t interface{ Fatalf(string, ...any) }, value []byte) []uint16 {
	v, ok := viewChunk(value)
	if !ok {
		t.Fatalf("%d octets %x... are no chunk", len(value), value[:min(len(value), 16)])
	}
	var ids []uint16
	v.each(0, func(id uint64) bool {
		ids = append(ids, uint16(id))
		return true
	})
	if len(ids) != v.n || !slices.IsSorted(ids) {
		t.Fatalf("chunk of %d ids says %d; sorted: %v", len(ids), v.n, slices.IsSorted(ids))
	}
	var b setBuilder
	b.add(7, v)
	set := b.set()
	if set.count() != len(ids) {
		t.Fatalf("set has %d ids, chunk %d", set.count(), len(ids))
	}
	for _, id := range ids {
		if !v.has(id) || !set.has(dit.ID(7<<chunkBits|uint64(id))) {
			t.Fatalf("id %d is in the chunk but not found", id)
		}
	}
	return ids
}

// foldRandomly folds operands into old in a random association, as an engine may: neighbours first, values when it likes.
func foldRandomly(t *rapid.T, old []byte, ops [][]byte) []byte {
	ops = slices.Clone(ops)
	for len(ops) > 0 {
		if rapid.IntRange(0, 3).Draw(t, "how") == 0 {
			n := rapid.IntRange(1, len(ops)).Draw(t, "prefix")
			old = mergePostings(old, ops[:n])
			ops = ops[n:]
			continue
		}
		lo := rapid.IntRange(0, len(ops)-1).Draw(t, "lo")
		hi := rapid.IntRange(lo+1, len(ops)).Draw(t, "hi")
		ops = slices.Replace(ops, lo, hi, partialMergePostings(ops[lo:hi]))
	}
	return old
}

func TestPostingMergeIsTheLastChange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// Few ids meet often; many ids make bitmaps and masks.
		span := rapid.SampledFrom([]int{4, 300, 20_000, chunkSize}).Draw(t, "span")
		model := make(map[uint16]bool)
		var old []byte
		if n := rapid.SampledFrom([]int{0, 1, 50, listMax - 1, listMax, listMax + 1, 30_000}).Draw(t, "old"); n > 0 {
			var w wordSet
			for i := range n {
				low := uint16(i * 7919 % chunkSize % span)
				w.set(low)
				model[low] = true
			}
			old = w.appendChunk(nil)
		}
		var ops [][]byte
		change := func(low uint16, add bool) {
			if add {
				ops = append(ops, appendAdd(nil, low))
				model[low] = true
			} else {
				ops = append(ops, appendRemove(nil, low))
				delete(model, low)
			}
		}
		for range rapid.IntRange(0, 40).Draw(t, "single") {
			change(uint16(rapid.IntRange(0, span-1).Draw(t, "id")), rapid.Bool().Draw(t, "add"))
		}
		if n := rapid.SampledFrom([]int{0, 0, 100, 9000}).Draw(t, "run"); n > 0 {
			from, step, add := rapid.IntRange(0, span-1).Draw(t, "from"), rapid.IntRange(1, 9).Draw(t, "step"), rapid.Bool().Draw(t, "add run")
			for i := range n {
				change(uint16((from+i*step)%span), add)
			}
		}
		got := chunkIDs(t, foldRandomly(t, old, ops))
		want := slices.Sorted(maps.Keys(model))
		if !slices.Equal(got, want) {
			t.Fatalf("%d ids, want %d: %v instead of %v", len(got), len(want), clipIDs(got), clipIDs(want))
		}
	})
}

func clipIDs(ids []uint16) []uint16 { return ids[:min(len(ids), 20)] }

func TestPostingFormsAreSmall(t *testing.T) {
	one := mergePostings(nil, [][]byte{appendAdd(nil, 0xfedc)})
	if want := []byte{0xdc, 0xfe}; !bytes.Equal(one, want) {
		t.Errorf("a posting of one id is %x, want %x", one, want)
	}
	none := mergePostings(one, [][]byte{appendRemove(nil, 0xfedc)})
	if len(none) != 0 {
		t.Errorf("an empty chunk is %x", none)
	}
	ops := make([][]byte, chunkSize)
	for i := range ops {
		ops[i] = appendAdd(nil, uint16(i))
	}
	if got := len(partialMergePostings(ops)); got != 1+2*bitmapBytes {
		t.Errorf("an operand for all ids has %d octets", got)
	}
	full := mergePostings(nil, ops)
	if len(full) != bitmapValue {
		t.Errorf("a full chunk has %d octets", len(full))
	}
	if ids := chunkIDs(t, full); len(ids) != chunkSize {
		t.Errorf("a full chunk has %d ids", len(ids))
	}
}

// Whatever is stored, merging and reading do not panic, and the result is a chunk.
func FuzzPostingMerge(f *testing.F) {
	f.Add([]byte{1, 0}, []byte{tagAdd, 5, 0, tagRemove, 1, 0}, 3)
	f.Add([]byte{}, append([]byte{tagChanges, 1, 0}, 1, 0, 2, 0), 7)
	f.Fuzz(func(t *testing.T, old, ops []byte, size int) {
		size = max(1, size&0xffff)
		var list [][]byte
		for o := range slices.Chunk(ops, size) {
			list = append(list, o)
		}
		if _, ok := viewChunk(mergePostings(old, list)); !ok {
			t.Fatal("the result is no chunk")
		}
		if len(list) > 0 {
			partialMergePostings(list)
		}
	})
}

func TestSetsAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, am := drawSet(t, "a")
		b, bm := drawSet(t, "b")
		check := func(name string, got idSet, want func(id dit.ID) bool) {
			n := 0
			for id := range union(am, bm) {
				if want(id) != got.has(id) {
					t.Fatalf("%s: id %d: %v, want %v", name, id, got.has(id), want(id))
				}
				if want(id) {
					n++
				}
			}
			if got.count() != n {
				t.Fatalf("%s has %d ids, want %d", name, got.count(), n)
			}
		}
		check("and", a.and(b), func(id dit.ID) bool { return am[id] && bm[id] })
		check("andNot", a.andNot(b), func(id dit.ID) bool { return am[id] && !bm[id] })
		var u setUnion
		u.add(a)
		u.add(b)
		check("union", u.set(), func(id dit.ID) bool { return am[id] || bm[id] })
		check("a unchanged", a, func(id dit.ID) bool { return am[id] })
		check("b unchanged", b, func(id dit.ID) bool { return bm[id] })
		if got := int(a.bitmap().GetCardinality()); got != len(am) {
			t.Fatalf("bitmap has %d ids, want %d", got, len(am))
		}
	})
}

func union(a, b map[dit.ID]bool) map[dit.ID]bool {
	u := maps.Clone(a)
	maps.Copy(u, b)
	return u
}

// drawSet makes a set of chunks, as a posting is read.
func drawSet(t *rapid.T, label string) (idSet, map[dit.ID]bool) {
	model := make(map[dit.ID]bool)
	var b setBuilder
	chunks := rapid.SliceOfNDistinct(rapid.SampledFrom([]uint64{0, 1, 2, 65535, 65536, 65537, 1 << 40}), 0, 4, rapid.ID).Draw(t, label+" chunks")
	slices.Sort(chunks)
	for _, chunk := range chunks {
		var w wordSet
		n := rapid.SampledFrom([]int{1, 3, 200, 5000}).Draw(t, label+" n")
		step := rapid.IntRange(1, 5).Draw(t, label+" step")
		for i := range n {
			low := uint16(i * step)
			w.set(low)
			model[dit.ID(chunk<<chunkBits|uint64(low))] = true
		}
		v, _ := viewChunk(w.appendChunk(nil))
		b.add(chunk, v)
	}
	return b.set(), model
}

func TestIndexKeysKeepTheOrder(t *testing.T) {
	x := &index{id: 0x01020304}
	octet := rapid.SampledFrom([]byte{0, 1, 2, 3, 'a', 0xff})
	key := rapid.SliceOfN(octet, 0, 6)
	rapid.Check(t, func(t *rapid.T) {
		a, b := key.Draw(t, "a"), key.Draw(t, "b")
		chunk := rapid.Uint64().Draw(t, "chunk")
		pa, pb := appendPosting(nil, x, IndexOrdering, a), appendPosting(nil, x, IndexOrdering, b)
		if got, want := bytes.Compare(pa, pb), bytes.Compare(a, b); got != want {
			t.Fatalf("%x and %x: order %d in the index, %d of keys", a, b, got, want)
		}
		if !bytes.Equal(a, b) && (bytes.HasPrefix(pa, pb) || bytes.HasPrefix(pb, pa)) {
			t.Fatalf("%x and %x: one posting's prefix begins with the other's", a, b)
		}
		id, kind, escaped, c, ok := splitIndexKey(appendChunkNumber(pa, chunk))
		if !ok || id != x.id || kind != IndexOrdering || c != chunk || !bytes.Equal(appendUnescaped(nil, escaped), a) {
			t.Fatalf("%x comes back as %x, index %x kind %v chunk %d ok %v", a, escaped, id, kind, c, ok)
		}
	})
}

func TestLongKeysAreCut(t *testing.T) {
	long := bytes.Repeat([]byte{'k'}, maxIndexKey)
	if got := cutKey(slices.Clone(long), 0); !bytes.Equal(got, long) {
		t.Error("a key of the longest length was cut")
	}
	a, b := cutKey(append(slices.Clone(long), 'a'), 0), cutKey(append(slices.Clone(long), 'b'), 0)
	if bytes.Equal(a, b) || len(a) != cutPrefix+1+cutHash || len(a) <= maxIndexKey {
		t.Errorf("cut keys %x and %x", a, b)
	}
	at := cutKey(append([]byte("head"), append(slices.Clone(long), 'a')...), 4)
	if !bytes.Equal(at[4:], a) {
		t.Error("what stands before a key changes how it is cut")
	}
}

func TestGramsOfPiecesAreGramsOfValues(t *testing.T) {
	octet := rapid.SampledFrom([]byte("ab\x02\x03"))
	rapid.Check(t, func(t *rapid.T) {
		initial, middle, final := rapid.SliceOfN(octet, 0, 4).Draw(t, "i"), rapid.SliceOfN(octet, 0, 5).Draw(t, "m"), rapid.SliceOfN(octet, 0, 4).Draw(t, "f")
		gap := rapid.SliceOfN(octet, 0, 3)
		value := slices.Concat(initial, gap.Draw(t, "g1"), middle, gap.Draw(t, "g2"), final)
		have := appendGrams(nil, value)
		var want []uint32
		want = appendPieceGrams(want, initial, true, false)
		want = appendPieceGrams(want, middle, false, false)
		want = appendPieceGrams(want, final, false, true)
		for _, g := range want {
			if !slices.Contains(have, g) {
				t.Fatalf("value %q lacks the gram %06x of a piece of it", value, g)
			}
		}
	})
	long := appendGrams(nil, bytes.Repeat([]byte("x"), maxGramKey+1))
	if !slices.Contains(long, gramRest) || slices.Contains(long, uint32('x')<<16|uint32('x')<<8|gramEnd) {
		t.Error("a key that is too long must be in the rest, and has no end")
	}
}

func BenchmarkPostingMerge(b *testing.B) {
	var w wordSet
	for i := range 60_000 {
		w.set(uint16(i))
	}
	dense := w.appendChunk(nil)
	op := [][]byte{appendAdd(nil, 65_000)}
	b.Run("dense", func(b *testing.B) {
		for b.Loop() {
			mergePostings(dense, op)
		}
	})
	one := binary.LittleEndian.AppendUint16(nil, 5)
	b.Run("one", func(b *testing.B) {
		for b.Loop() {
			mergePostings(one, op)
		}
	})
	b.Run("partial", func(b *testing.B) {
		ops := [][]byte{appendAdd(nil, 1), appendRemove(nil, 2), appendAdd(nil, 3)}
		for b.Loop() {
			partialMergePostings(ops)
		}
	})
}
