package store

import (
	"hash/maphash"
	"math/bits"
	"runtime"
	"sync"
	"sync/atomic"

	"portolan/internal/dit"
)

// idTable remembers which one id, or none, stands under a key. It knows keys by their hash alone: 64 bits find the slot and
// 24 more, of another seed, make sure of it. One in 2^64 look-ups of a table of a million may be answered wrongly; nobody
// outside knows the seeds. A slot takes 24 octets and no pointer, so that every entry of a large directory can have one.
//
// A key may stand in either of two buckets, in the second only where it found the first one full: hardly anything is pushed
// out before most slots are taken. Whoever changes anything about a key holds both.
//
// A bucket has a version that is odd while it is being changed. Readers take what they read between two equal, even ones.
type idTable struct {
	seed, check maphash.Seed
	most        int // buckets at the most
	buckets     atomic.Pointer[[]bucket]
	grow        sync.Mutex
	filled      atomic.Int64 // slots taken since the table was made
}

// bucketSlots makes a bucket two cache lines.
const bucketSlots = 5

type bucket struct {
	version atomic.Uint64
	slots   [bucketSlots]idSlot
}

type idSlot struct {
	hash atomic.Uint64 // 0: empty
	id   atomic.Uint64 // 40 bits of id, 24 of the second hash
	seq  atomic.Uint64 // the answer is right from here on
}

const (
	bucketBytes  = 128
	firstBuckets = 256
	idBits       = 40
	idMask       = 1<<idBits - 1
)

// hashedKey is a key that was hashed.
type hashedKey struct {
	hash  uint64
	check uint64 // in the upper bits
}

// newIDTable returns a table that takes up to about limit octets; it begins with room for so many keys, and grows.
func newIDTable(limit, keys int64) *idTable {
	t := &idTable{seed: maphash.MakeSeed(), check: maphash.MakeSeed(), most: firstBuckets}
	for int64(t.most)*2*bucketBytes <= limit {
		t.most *= 2
	}
	n := firstBuckets
	for n < t.most && keys >= crowded(n) {
		n *= 2
	}
	t.install(make([]bucket, n), 0)
	return t
}

func (t *idTable) install(b []bucket, filled int64) {
	t.filled.Store(filled)
	t.buckets.Store(&b)
}

// forget makes the table empty. What was begun before may still be written to what was the table.
func (t *idTable) forget() {
	t.grow.Lock()
	defer t.grow.Unlock()
	t.install(make([]bucket, len(*t.buckets.Load())), 0)
}

// crowded is from how many keys on a table of so many buckets should be larger. Then three keys in a thousand find no room; at
// nine tenths of the slots it would be thirty.
func crowded(buckets int) int64 { return int64(buckets) * bucketSlots * 7 / 10 }

// full reports whether a few more keys will make the table grow, or push others out.
func (t *idTable) full() bool {
	n := len(*t.buckets.Load())
	return t.filled.Load() >= crowded(n)-int64(n)/32
}

// key hashes a text of a kind: texts of different kinds are different keys.
func (t *idTable) key(kind uint64, text string) hashedKey {
	k := hashedKey{maphash.String(t.seed, text) ^ kind*0x9e3779b97f4a7c15, maphash.String(t.check, text) &^ idMask}
	if k.hash == 0 {
		k.hash = 1
	}
	return k
}

// places returns the two buckets of a key in a table of so many; they may be the same.
func (k hashedKey) places(buckets int) (first, second int) {
	mask := uint64(buckets - 1)
	return int(k.hash & mask), int(bits.RotateLeft64(k.hash, 32) & mask)
}

// get returns what is known under a key.
func (t *idTable) get(k hashedKey) (id dit.ID, seq uint64, ok bool) {
	table := *t.buckets.Load()
	first, second := k.places(len(table))
	if id, seq, ok = table[first].get(k); !ok {
		id, seq, ok = table[second].get(k)
	}
	return id, seq, ok
}

func (b *bucket) get(k hashedKey) (id dit.ID, seq uint64, ok bool) {
	version := b.version.Load()
	for i := range b.slots {
		s := &b.slots[i]
		if s.hash.Load() != k.hash {
			continue
		}
		value := s.id.Load()
		seq = s.seq.Load()
		if version&1 != 0 || b.version.Load() != version || value&^idMask != k.check {
			return 0, 0, false // it is being changed: to the reader it is not there
		}
		return dit.ID(value & idMask), seq, true
	}
	return 0, 0, false
}

// lock makes the versions of the key's buckets odd, and returns them. Buckets of a table that has been replaced by a larger one
// stay locked for good: then it is the new table's that are looked for. Nobody waits for one while he holds another.
func (t *idTable) lock(k hashedKey) (p bucketPair) {
	for ; ; runtime.Gosched() {
		table := *t.buckets.Load()
		first, second := k.places(len(table))
		p = bucketPair{&table[first], &table[second]}
		if !p.first.lock() {
			continue
		}
		if first == second || p.second.lock() {
			return p
		}
		p.first.unlock()
	}
}

// bucketPair are the buckets of one key.
type bucketPair struct{ first, second *bucket }

func (p bucketPair) unlock() {
	p.first.unlock()
	if p.second != p.first {
		p.second.unlock()
	}
}

// find returns the slot of a key, and the first that is empty.
func (p bucketPair) find(hash uint64) (same, empty *idSlot) {
	for _, b := range [...]*bucket{p.first, p.second} {
		for i := range b.slots {
			switch s := &b.slots[i]; s.hash.Load() {
			case hash:
				return s, nil
			case 0:
				if empty == nil {
					empty = s
				}
			}
		}
	}
	return nil, empty
}

// lock reports whether the bucket is now the caller's.
func (b *bucket) lock() bool {
	v := b.version.Load()
	return v&1 == 0 && b.version.CompareAndSwap(v, v+1)
}

func (b *bucket) unlock() { b.version.Add(1) }

// fill puts an answer that was read at seq, unless a commit has overtaken it or there is a newer one. The stamps are looked
// at under the lock under which commits remove what they have touched.
func (t *idTable) fill(k hashedKey, id dit.ID, seq uint64, stamps ...*atomic.Uint64) {
	if id > idMask {
		return
	}
	p := t.lock(k)
	for _, stamp := range stamps {
		if stamp.Load() > seq {
			p.unlock()
			return
		}
	}
	slot, empty := p.find(k.hash)
	switch {
	case slot != nil && slot.seq.Load() >= seq:
		p.unlock()
		return
	case slot == nil && empty != nil:
		slot = empty
		t.filled.Add(1)
	case slot == nil:
		slot = &p.first.slots[(k.hash>>48)%bucketSlots]
	}
	slot.id.Store(uint64(id) | k.check)
	slot.seq.Store(seq)
	slot.hash.Store(k.hash)
	p.unlock()
	t.enlarge()
}

// remove forgets a key.
func (t *idTable) remove(k hashedKey) {
	p := t.lock(k)
	if s, _ := p.find(k.hash); s != nil {
		s.hash.Store(0)
		t.filled.Add(-1)
	}
	p.unlock()
}

// enlarge makes the table twice as large when it is getting full. Readers miss what is being moved, and who changes it waits
// until all of it was.
func (t *idTable) enlarge() {
	n := len(*t.buckets.Load())
	if n >= t.most || t.filled.Load() < crowded(n) || !t.grow.TryLock() {
		return
	}
	defer t.grow.Unlock()
	old := *t.buckets.Load()
	if n != len(old) {
		return
	}
	larger := make([]bucket, 2*n)
	var filled int64
	for i := range old {
		b := &old[i]
		for !b.lock() {
			runtime.Gosched()
		}
		var used [2]int // slots of the two buckets that this one becomes
		for j := range b.slots {
			from := &b.slots[j]
			hash := from.hash.Load()
			if hash == 0 {
				continue
			}
			// It stays in the place that it has, the first or the second, of which there are now two.
			k := hashedKey{hash: hash}
			at, other := k.places(2 * n)
			if at&(n-1) != i {
				at = other
			}
			half := at / n
			to := &larger[at].slots[used[half]]
			used[half]++
			filled++
			to.hash.Store(hash)
			to.id.Store(from.id.Load())
			to.seq.Store(from.seq.Load())
		}
	}
	t.install(larger, filled)
}

func (t *idTable) octets() int64 { return int64(len(*t.buckets.Load())) * bucketBytes }
