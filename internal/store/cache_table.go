package store

import (
	"hash/maphash"
	"runtime"
	"sync"
	"sync/atomic"

	"portolan/internal/dit"
)

// idTable remembers which one id, or none, stands under a key. It knows keys by their hash alone: 64 bits find the slot and
// 24 more, of another seed, make sure of it. One in 2^64 look-ups of a table of a million may be answered wrongly; nobody
// outside knows the seeds. A slot takes 24 octets and no pointer, so that every entry of a large directory can have one.
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

// newIDTable returns a table that takes up to about limit octets; it begins small.
func newIDTable(limit int64) *idTable {
	t := &idTable{seed: maphash.MakeSeed(), check: maphash.MakeSeed(), most: firstBuckets}
	for int64(t.most)*2*bucketBytes <= limit {
		t.most *= 2
	}
	t.clear(firstBuckets)
	return t
}

// clear makes the table empty, and of this many buckets.
func (t *idTable) clear(buckets int) {
	b := make([]bucket, buckets)
	t.filled.Store(0)
	t.buckets.Store(&b)
}

// forget makes the table empty.
func (t *idTable) forget() { t.clear(len(*t.buckets.Load())) }

// key hashes a text of a kind: texts of different kinds are different keys.
func (t *idTable) key(kind uint64, text string) hashedKey {
	k := hashedKey{maphash.String(t.seed, text) ^ kind*0x9e3779b97f4a7c15, maphash.String(t.check, text) &^ idMask}
	if k.hash == 0 {
		k.hash = 1
	}
	return k
}

func (t *idTable) bucket(k hashedKey) *bucket {
	b := *t.buckets.Load()
	return &b[k.hash&uint64(len(b)-1)]
}

// get returns what is known under a key.
func (t *idTable) get(k hashedKey) (id dit.ID, seq uint64, ok bool) {
	b := t.bucket(k)
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

// lock makes the bucket's version odd.
func (b *bucket) lock() {
	for {
		if v := b.version.Load(); v&1 == 0 && b.version.CompareAndSwap(v, v+1) {
			return
		}
		runtime.Gosched()
	}
}

func (b *bucket) unlock() { b.version.Add(1) }

// fill puts an answer that was read at seq, unless a commit has overtaken it or there is a newer one. The stamps are looked
// at under the lock under which commits remove what they have touched.
func (t *idTable) fill(k hashedKey, id dit.ID, seq uint64, stamps ...*atomic.Uint64) {
	if id > idMask {
		return
	}
	b := t.bucket(k)
	b.lock()
	for _, stamp := range stamps {
		if stamp.Load() > seq {
			b.unlock()
			return
		}
	}
	var empty, same *idSlot
	for i := range b.slots {
		s := &b.slots[i]
		switch s.hash.Load() {
		case k.hash:
			same = s
		case 0:
			empty = s
		}
	}
	slot := same
	switch {
	case same != nil && same.seq.Load() >= seq:
		b.unlock()
		return
	case same == nil && empty != nil:
		slot = empty
		t.filled.Add(1)
	case same == nil:
		slot = &b.slots[(k.hash>>48)%bucketSlots]
	}
	slot.id.Store(uint64(id) | k.check)
	slot.seq.Store(seq)
	slot.hash.Store(k.hash)
	b.unlock()
	t.enlarge()
}

// remove forgets a key.
func (t *idTable) remove(k hashedKey) {
	b := t.bucket(k)
	b.lock()
	for i := range b.slots {
		if s := &b.slots[i]; s.hash.Load() == k.hash {
			s.hash.Store(0)
			t.filled.Add(-1)
		}
	}
	b.unlock()
}

// enlarge makes the table larger when it is getting full. It begins anew then: that happens a few times in the life of a
// process.
func (t *idTable) enlarge() {
	n := len(*t.buckets.Load())
	if n >= t.most || t.filled.Load() < int64(n)*bucketSlots*6/10 || !t.grow.TryLock() {
		return
	}
	defer t.grow.Unlock()
	if n == len(*t.buckets.Load()) {
		t.clear(2 * n)
	}
}

func (t *idTable) octets() int64 { return int64(len(*t.buckets.Load())) * bucketBytes }
