package store

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"slices"

	"portolan/internal/dit"
)

// postingTable gathers the postings of one kind of one index in memory: a hash table from keys to ids, which come in
// ascending order and are kept as varints of their distances in chains of small blocks. It holds no pointers and is
// compact: a key with one id takes about 40 octets beside itself, a further id about one and a half.
type postingTable struct {
	header []byte // of the keys
	slots  []uint32
	items  []postingItem
	keys   []byte // escaped
	blocks []byte
	order  []sortedItem
}

type postingItem struct {
	hash   uint32
	key    uint32 // offset into keys
	keyLen uint16
	level  uint8  // of the last block
	last   uint64 // last id
	// The chain of blocks; head is 0 while there is only the one id.
	head, pos, end uint32
}

type sortedItem struct {
	prefix uint64 // first octets of the key
	item   uint32
}

// blockSizes are the sizes of the blocks of a chain, in turn; the last goes on. Their last four octets are the offset of the
// next block.
var blockSizes = [...]uint32{12, 20, 36, 68, 132, 260}

func newPostingTable(header []byte) *postingTable {
	// Offset 0 of blocks means none.
	return &postingTable{header: slices.Clone(header), slots: make([]uint32, 64), blocks: make([]byte, 4, 1024)}
}

// bytes is about the memory in use, with what sorting will need.
func (t *postingTable) bytes() int {
	return 4*len(t.slots) + 56*cap(t.items) + cap(t.keys) + cap(t.blocks)
}

// full reports whether the next key could come to lie beyond what an offset can say.
func (t *postingTable) full() bool {
	return max(len(t.keys), len(t.blocks)) > 1<<31
}

func (t *postingTable) reset() {
	*t = *newPostingTable(t.header)
}

// hashKey is FNV-1a with a final mix. Who could choose keys that collide is the administrator who imports them.
func hashKey(key []byte) uint32 {
	h := uint64(14695981039346656037)
	for len(key) >= 8 {
		h = (h ^ binary.LittleEndian.Uint64(key)) * 0x9e3779b97f4a7c15
		h ^= h >> 32
		key = key[8:]
	}
	for _, c := range key {
		h = (h ^ uint64(c)) * 1099511628211
	}
	hi, lo := bits.Mul64(h, 0xd6e8feb86659fd93)
	return uint32(hi ^ lo ^ lo>>32)
}

// add puts an id under an escaped key. Ids of one key must ascend; the same id again is nothing new.
func (t *postingTable) add(key []byte, id dit.ID) {
	h := hashKey(key)
	mask := uint32(len(t.slots) - 1)
	at := h & mask
	for ; t.slots[at] != 0; at = (at + 1) & mask {
		i := &t.items[t.slots[at]-1]
		if i.hash == h && bytes.Equal(t.key(i), key) {
			t.more(i, uint64(id))
			return
		}
	}
	t.first(at, h, key, id)
}

// addGram is add for a gram. Different grams have different hashes, so that no key is looked at. A table takes either grams
// or keys.
func (t *postingTable) addGram(g uint32, id dit.ID) {
	h := g * 0x9e3779b1 // odd: a permutation
	h ^= h >> 15
	mask := uint32(len(t.slots) - 1)
	at := h & mask
	for ; t.slots[at] != 0; at = (at + 1) & mask {
		if i := &t.items[t.slots[at]-1]; i.hash == h {
			t.more(i, uint64(id))
			return
		}
	}
	var plain, escaped [2 * gramLen]byte
	t.first(at, h, appendEscaped(escaped[:0], appendGram(plain[:0], g)), id)
}

// first takes a key that was not there into a free slot.
func (t *postingTable) first(at, hash uint32, key []byte, id dit.ID) {
	t.items = append(doubled(t.items, 1), postingItem{hash: hash, key: uint32(len(t.keys)), keyLen: uint16(len(key)), last: uint64(id)})
	t.keys = append(doubled(t.keys, len(key)), key...)
	t.slots[at] = uint32(len(t.items))
	if 2*len(t.items) > len(t.slots) {
		t.grow()
	}
}

// maxDoubled is the length up to which memory is doubled when it is full. Beyond it grows by less, as append has it, so as not to
// reach the sorter's limit with memory that is empty.
const maxDoubled = 1 << 20

// doubled returns s with room for n more.
func doubled[E any](s []E, n int) []E {
	if len(s)+n > cap(s) && len(s) < maxDoubled {
		return slices.Grow(s, max(n, len(s)))
	}
	return slices.Grow(s, n)
}

func (t *postingTable) grow() {
	t.slots = make([]uint32, 2*len(t.slots))
	mask := uint32(len(t.slots) - 1)
	for i := range t.items {
		at := t.items[i].hash & mask
		for t.slots[at] != 0 {
			at = (at + 1) & mask
		}
		t.slots[at] = uint32(i + 1)
	}
}

func (t *postingTable) key(i *postingItem) []byte {
	return t.keys[i.key : i.key+uint32(i.keyLen)]
}

func (t *postingTable) more(i *postingItem, id uint64) {
	if id == i.last {
		return
	}
	if i.head == 0 {
		i.head = t.block(i)
		t.write(i, i.last)
	}
	t.write(i, id-i.last)
	i.last = id
}

// block allocates the next block of a chain.
func (t *postingTable) block(i *postingItem) uint32 {
	size := blockSizes[min(int(i.level), len(blockSizes)-1)]
	at := uint32(len(t.blocks))
	t.blocks = doubled(t.blocks, int(size))[:at+size]
	clear(t.blocks[at:])
	i.pos, i.end = at, at+size-4
	i.level = min(i.level+1, uint8(len(blockSizes)))
	return at
}

func (t *postingTable) write(i *postingItem, v uint64) {
	for {
		if i.pos == i.end {
			link := i.end
			next := t.block(i)
			binary.LittleEndian.PutUint32(t.blocks[link:], next)
		}
		if v < 0x80 {
			t.blocks[i.pos] = byte(v)
			i.pos++
			return
		}
		t.blocks[i.pos] = byte(v) | 0x80
		i.pos++
		v >>= 7
	}
}

// appendIDs appends the first id and the distances of an item, as varints.
func (t *postingTable) appendIDs(dst []byte, i *postingItem) []byte {
	if i.head == 0 {
		return binary.AppendUvarint(dst, i.last)
	}
	at := i.head
	for level := 0; ; level++ {
		size := blockSizes[min(level, len(blockSizes)-1)]
		end := at + size - 4
		if end == i.end {
			return append(dst, t.blocks[at:i.pos]...)
		}
		dst = append(dst, t.blocks[at:end]...)
		at = binary.LittleEndian.Uint32(t.blocks[end:])
	}
}

// sort puts the items in the order of their keys.
func (t *postingTable) sort() {
	t.order = slices.Grow(t.order[:0], len(t.items))
	for n := range t.items {
		key := t.key(&t.items[n])
		var head [8]byte
		copy(head[:], key)
		t.order = append(t.order, sortedItem{binary.BigEndian.Uint64(head[:]), uint32(n)})
	}
	slices.SortFunc(t.order, func(a, b sortedItem) int {
		if a.prefix != b.prefix {
			if a.prefix < b.prefix {
				return -1
			}
			return 1
		}
		return bytes.Compare(t.key(&t.items[a.item]), t.key(&t.items[b.item]))
	})
}

// chunkWriter turns the ids of postings, which ascend, into chunks.
type chunkWriter struct {
	key   []byte // posting prefix, then the chunk's number
	n     int    // length of the prefix
	chunk uint64
	low   []uint16
	words *wordSet
	count int
	value []byte
	emit  func(key, value []byte) error
}

func (w *chunkWriter) begin(prefix []byte) {
	w.key = append(w.key[:0], prefix...)
	w.n = len(prefix)
	w.low, w.count = w.low[:0], 0
}

func (w *chunkWriter) add(id uint64) error {
	chunk, low := splitID(dit.ID(id))
	if w.count > 0 && chunk != w.chunk {
		if err := w.flush(); err != nil {
			return err
		}
	}
	w.chunk = chunk
	w.count++
	if w.count <= listMax {
		w.low = append(w.low, low)
		return nil
	}
	if w.count == listMax+1 {
		if w.words == nil {
			w.words = new(wordSet)
		}
		*w.words = wordSet{}
		for _, l := range w.low {
			w.words.set(l)
		}
	}
	w.words.set(low)
	return nil
}

// flush ends a chunk; the last of a posting must be ended by the caller.
func (w *chunkWriter) flush() error {
	if w.count == 0 {
		return nil
	}
	w.value = w.value[:0]
	if w.count > listMax {
		w.value = w.words.appendChunk(w.value)
	} else {
		for _, l := range w.low {
			w.value = binary.LittleEndian.AppendUint16(w.value, l)
		}
	}
	w.low, w.count = w.low[:0], 0
	return w.emit(appendChunkNumber(w.key[:w.n], w.chunk), w.value)
}
