package store

import (
	"hash/maphash"
	"strings"
	"sync/atomic"
	"unsafe"

	"github.com/maypok86/otter/v2"

	"portolan/internal/dit"
)

// caches hold durable answers of one generation. They are always at least as new as what readers see:
//
//   - The acknowledger brings them up to date before it installs a durable state. A cached answer carries the sequence
//     from which on it is right; a view that is older reads the kv instead.
//   - A reader fills a cache only with what no later transaction has touched. For that the acknowledger stamps a slot of
//     touched, chosen by the key, before it changes a cache; a fill looks at the stamp while it holds the lock of the
//     key's bucket. Either the fill sees the stamp, or the change comes after the fill and undoes it.
type caches struct {
	entries *otter.Cache[dit.ID, *dit.Entry]
	lookups *otter.Cache[string, known[dit.ID]] // by whole canonical name
	places  *otter.Cache[placeKey, place]
	lists   *otter.Cache[string, idList]
	names   *otter.Cache[dit.ID, known[dit.Name]] // of entries that are parents
	touched [touchedSlots]atomic.Uint64
	seed    maphash.Seed
}

const (
	touchedSlots = 1 << 13 // a power of two
	// maxListed is the longest id list that is kept.
	maxListed = 64
)

// placeKey is a position in the tree.
type placeKey struct {
	parent dit.ID
	rdn    string
}

// place is who stands at a position, from seq on.
type place struct {
	id  dit.ID
	seq uint64
}

// idList is the complete list of ids under an index key, from seq on.
type idList struct {
	ids []dit.ID
	seq uint64
}

// known is an answer about whole names: it is right from seq on while the tree is of this generation.
type known[V any] struct {
	value V
	tree  uint64
	seq   uint64
}

// What an element costs beside its own octets: a node of the cache and a slot of its table.
const nodeSize = 128

func newCaches(limit int64) *caches {
	share := uint64(limit)
	c := &caches{seed: maphash.MakeSeed()}
	c.entries = otter.Must(&otter.Options[dit.ID, *dit.Entry]{
		MaximumWeight: share,
		Weigher:       func(_ dit.ID, e *dit.Entry) uint32 { return uint32(e.Size() + nodeSize) },
	})
	c.lookups = otter.Must(&otter.Options[string, known[dit.ID]]{
		MaximumWeight: max(share/8, 1<<10),
		Weigher:       func(k string, _ known[dit.ID]) uint32 { return uint32(len(k) + nodeSize) },
	})
	c.places = otter.Must(&otter.Options[placeKey, place]{
		MaximumWeight: max(share/16, 1<<10),
		Weigher:       func(k placeKey, _ place) uint32 { return uint32(len(k.rdn) + nodeSize) },
	})
	c.lists = otter.Must(&otter.Options[string, idList]{
		MaximumWeight: max(share/8, 1<<10),
		Weigher:       func(k string, l idList) uint32 { return uint32(len(k) + 8*len(l.ids) + nodeSize) },
	})
	c.names = otter.Must(&otter.Options[dit.ID, known[dit.Name]]{
		MaximumWeight: max(share/32, 1<<10),
		Weigher: func(_ dit.ID, n known[dit.Name]) uint32 {
			return uint32(len(n.value.DN) + len(n.value.Norm) + nodeSize)
		},
	})
	return c
}

func (c *caches) close() {
	c.entries.StopAllGoroutines()
	c.lookups.StopAllGoroutines()
	c.places.StopAllGoroutines()
	c.lists.StopAllGoroutines()
	c.names.StopAllGoroutines()
}

// Stamps. Different kinds of keys may share a slot: that costs a fill now and then.

func (c *caches) slotOfID(id dit.ID) *atomic.Uint64 {
	return &c.touched[(uint64(id)*0x9e3779b97f4a7c15)>>(64-13)]
}

func (c *caches) slotOfPlace(parent dit.ID, rdn string) *atomic.Uint64 {
	return &c.touched[(maphash.String(c.seed, rdn)^uint64(parent))&(touchedSlots-1)]
}

func (c *caches) slotOfText(key string) *atomic.Uint64 {
	return &c.touched[maphash.String(c.seed, key)&(touchedSlots-1)]
}

// Reads.

func (c *caches) entry(id dit.ID) (*dit.Entry, bool) { return c.entries.GetIfPresent(id) }

func (c *caches) place(parent dit.ID, rdn string) (place, bool) {
	return c.places.GetIfPresent(placeKey{parent, rdn})
}

func (c *caches) list(key []byte) (idList, bool) {
	// The cache does not keep the key of a read, so that it needs no copy.
	return c.lists.GetIfPresent(unsafe.String(unsafe.SliceData(key), len(key)))
}

func (c *caches) name(id dit.ID) (known[dit.Name], bool) { return c.names.GetIfPresent(id) }

func (c *caches) lookup(norm string) (known[dit.ID], bool) { return c.lookups.GetIfPresent(norm) }

// Fills, with what was read at seq.

func fill[K comparable, V any](c *otter.Cache[K, V], stamp *atomic.Uint64, seq uint64, key K, value V) {
	if stamp.Load() > seq {
		return
	}
	c.Compute(key, func(old V, found bool) (V, otter.ComputeOp) {
		if found || stamp.Load() > seq {
			return old, otter.CancelOp
		}
		return value, otter.WriteOp
	})
}

func (c *caches) fillEntry(e *dit.Entry, seq uint64) {
	fill(c.entries, c.slotOfID(e.ID), seq, e.ID, e)
}

func (c *caches) fillPlace(parent dit.ID, rdn string, id dit.ID, seq uint64) {
	// rdn is a part of a whole name, which the cache should not keep alive.
	fill(c.places, c.slotOfPlace(parent, rdn), seq, placeKey{parent, strings.Clone(rdn)}, place{id, seq})
}

func (c *caches) fillList(key []byte, ids []dit.ID, seq uint64) {
	if len(ids) > maxListed {
		return
	}
	k := string(key)
	fill(c.lists, c.slotOfText(k), seq, k, idList{append([]dit.ID(nil), ids...), seq})
}

func (c *caches) fillName(id dit.ID, n known[dit.Name]) {
	fillKnown(c.names, c.slotOfID(id), id, n)
}

func (c *caches) fillLookup(norm string, n known[dit.ID]) {
	norm = strings.Clone(norm)
	fillKnown(c.lookups, c.slotOfText(norm), norm, n)
}

// fillKnown also replaces what is known of an older tree: nobody will ask for that again.
func fillKnown[K comparable, V any](c *otter.Cache[K, known[V]], stamp *atomic.Uint64, key K, n known[V]) {
	if stamp.Load() > n.seq {
		return
	}
	c.Compute(key, func(old known[V], found bool) (known[V], otter.ComputeOp) {
		if stamp.Load() > n.seq || found && old.tree >= n.tree {
			return old, otter.CancelOp
		}
		return n, otter.WriteOp
	})
}

// apply brings the caches up to date with a transaction that has become durable. Only the acknowledger calls it.
func (c *caches) apply(t *outcome) {
	seq := t.commit.Seq
	for i := range t.commit.Changes {
		ch := &t.commit.Changes[i]
		before, after := ch.Before, ch.After
		if before != nil {
			c.slotOfID(before.ID).Store(seq)
		}
		if after != nil {
			c.slotOfID(after.ID).Store(seq)
			c.entries.Set(after.ID, after)
		} else {
			c.entries.Invalidate(before.ID)
		}
		moved := before == nil || after == nil || before.Parent != after.Parent || before.NormRDN != after.NormRDN
		if before != nil && (moved || before.RDN != after.RDN) {
			c.names.Invalidate(before.ID)
		}
		if before != nil && moved {
			c.slotOfText(ch.Old.Norm).Store(seq)
			c.lookups.Invalidate(ch.Old.Norm)
		}
		if !moved {
			continue
		}
		if before != nil {
			c.slotOfPlace(before.Parent, before.NormRDN).Store(seq)
			c.places.Invalidate(placeKey{before.Parent, before.NormRDN})
		}
		if after != nil {
			c.slotOfPlace(after.Parent, after.NormRDN).Store(seq)
			c.places.Set(placeKey{after.Parent, after.NormRDN}, place{after.ID, seq})
		}
	}
	for key := range t.touched.each {
		c.slotOfText(key).Store(seq)
		c.lists.Invalidate(key)
	}
}

// touchedKeys are the index keys that a transaction has changed, without their chunks.
type touchedKeys struct {
	octets []byte
	ends   []int
}

func (t *touchedKeys) add(key []byte) {
	t.octets = append(t.octets, key...)
	t.ends = append(t.ends, len(t.octets))
}

func (t *touchedKeys) each(yield func(string) bool) {
	start := 0
	for _, end := range t.ends {
		key := t.octets[start:end]
		start = end
		if !yield(unsafe.String(unsafe.SliceData(key), len(key))) {
			return
		}
	}
}
