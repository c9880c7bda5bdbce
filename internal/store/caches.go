package store

import (
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
//     touched, chosen by the key, before it changes a cache; a fill looks at the stamp while it holds the lock under which
//     the key is changed. Either the fill sees the stamp, or the change comes after the fill and undoes it.
type caches struct {
	entries *entryCache
	// ids knows the one entry, or none, at a position in the tree and under an index key; lookups that of a whole canonical
	// name.
	ids, lookups *idTable
	// lists are the ids of index keys that have a few.
	lists   *otter.Cache[string, idList]
	names   *otter.Cache[dit.ID, known[dit.Name]] // of entries that are parents
	touched [touchedSlots]atomic.Uint64
	// moved is the sequence of the last commit that changed the names of whole subtrees.
	moved atomic.Uint64
}

const (
	touchedSlots = 1 << 13 // a power of two
	// maxListed is the longest id list that is kept.
	maxListed = 64
)

// Kinds of keys of an idTable. Places are of kindPlace plus the id of the parent.
const (
	kindName uint64 = iota
	kindIndex
	kindPlace
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

// What an element of an otter cache costs beside its own octets: a node of the cache and a slot of its table.
const nodeSize = 128

// newCaches makes caches for about so many entries at first. An entry has its place and some index keys that only it has; not
// everybody asks for all of them.
func newCaches(limit, entries int64) *caches {
	share := uint64(limit)
	c := &caches{entries: newEntryCache(limit), ids: newIDTable(limit/8, entries*2), lookups: newIDTable(limit/16, 0)}
	c.lists = otter.Must(&otter.Options[string, idList]{
		MaximumWeight: max(share/16, 1<<10),
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
	c.lists.StopAllGoroutines()
	c.names.StopAllGoroutines()
}

// clear forgets everything; tests begin anew with it.
func (c *caches) clear() {
	c.entries.clear()
	c.ids.forget()
	c.lookups.forget()
	c.lists.InvalidateAll()
	c.names.InvalidateAll()
}

// Stamps. Different kinds of keys may share a slot: that costs a fill now and then.

func (c *caches) slotOfID(id dit.ID) *atomic.Uint64 {
	return &c.touched[(uint64(id)*0x9e3779b97f4a7c15)>>(64-13)]
}

func (c *caches) slotOf(k hashedKey) *atomic.Uint64 { return &c.touched[(k.hash>>32)&(touchedSlots-1)] }

func (c *caches) placeKey(parent dit.ID, rdn string) hashedKey {
	return c.ids.key(kindPlace+uint64(parent), rdn)
}

func text(octets []byte) string { return unsafe.String(unsafe.SliceData(octets), len(octets)) }

// Reads.

func (c *caches) entry(id dit.ID) (*dit.Entry, bool) {
	e := c.entries.get(id)
	return e, e != nil
}

func (c *caches) place(parent dit.ID, rdn string) (place, bool) {
	id, seq, ok := c.ids.get(c.placeKey(parent, rdn))
	return place{id, seq}, ok
}

// list returns the ids under an index key. A single id is appended to scratch, of which the list is then a part.
func (c *caches) list(key []byte, scratch *[]dit.ID) (idList, bool) {
	// The caches do not keep the key of a read, so that it needs no copy.
	if id, seq, ok := c.ids.get(c.ids.key(kindIndex, text(key))); ok {
		if id == 0 {
			return idList{nil, seq}, true
		}
		*scratch = append(*scratch, id)
		n := len(*scratch)
		return idList{(*scratch)[n-1 : n : n], seq}, true
	}
	return c.lists.GetIfPresent(text(key))
}

func (c *caches) name(id dit.ID) (known[dit.Name], bool) { return c.names.GetIfPresent(id) }

// lookup returns the entry of a whole canonical name, right from seq on.
func (c *caches) lookup(norm string) (id dit.ID, seq uint64, ok bool) {
	return c.lookups.get(c.lookups.key(kindName, norm))
}

// Fills, with what was read at seq.

func (c *caches) fillEntry(e *dit.Entry, seq uint64) { c.entries.fill(e, c.slotOfID(e.ID), seq) }

func (c *caches) fillPlace(parent dit.ID, rdn string, id dit.ID, seq uint64) {
	k := c.placeKey(parent, rdn)
	c.ids.fill(k, id, seq, c.slotOf(k))
}

func (c *caches) fillList(key []byte, ids []dit.ID, seq uint64) {
	k := c.ids.key(kindIndex, text(key))
	stamp := c.slotOf(k)
	switch {
	case len(ids) == 0:
		c.ids.fill(k, 0, seq, stamp)
	case len(ids) == 1:
		c.ids.fill(k, ids[0], seq, stamp)
	case len(ids) <= maxListed && stamp.Load() <= seq:
		c.lists.Compute(strings.Clone(text(key)), func(old idList, found bool) (idList, otter.ComputeOp) {
			if found || stamp.Load() > seq {
				return old, otter.CancelOp
			}
			return idList{append([]dit.ID(nil), ids...), seq}, otter.WriteOp
		})
	}
}

// fillName also replaces what is known of an older tree: nobody will ask for that again.
func (c *caches) fillName(id dit.ID, n known[dit.Name]) {
	stamp := c.slotOfID(id)
	if stamp.Load() > n.seq {
		return
	}
	c.names.Compute(id, func(old known[dit.Name], found bool) (known[dit.Name], otter.ComputeOp) {
		if stamp.Load() > n.seq || found && old.tree >= n.tree {
			return old, otter.CancelOp
		}
		return n, otter.WriteOp
	})
}

// fillLookup takes the entry of a name, but not one that was found before names of subtrees changed last.
func (c *caches) fillLookup(norm string, id dit.ID, seq uint64) {
	k := c.lookups.key(kindName, norm)
	c.lookups.fill(k, id, seq, c.slotOf(k), &c.moved)
}

// apply brings the caches up to date with a transaction that has become durable. Only the acknowledger calls it.
func (c *caches) apply(t *outcome) {
	seq := t.commit.Seq
	if t.subtrees {
		// Stamped first: who fills the emptied table sees it.
		c.moved.Store(seq)
		c.lookups.forget()
	}
	for i := range t.commit.Changes {
		ch := &t.commit.Changes[i]
		before, after := ch.Before, ch.After
		if before != nil {
			c.slotOfID(before.ID).Store(seq)
		}
		if after != nil {
			c.slotOfID(after.ID).Store(seq)
			c.entries.set(after.ID, after)
		} else {
			c.entries.set(before.ID, nil)
		}
		moved := before == nil || after == nil || before.Parent != after.Parent || before.NormRDN != after.NormRDN
		if before != nil && (moved || before.RDN != after.RDN) {
			c.names.Invalidate(before.ID)
		}
		if !moved {
			continue
		}
		if before != nil {
			c.drop(c.lookups, c.lookups.key(kindName, ch.Old.Norm), seq)
			c.drop(c.ids, c.placeKey(before.Parent, before.NormRDN), seq)
		}
		if after != nil {
			k := c.placeKey(after.Parent, after.NormRDN)
			c.drop(c.ids, k, seq)
			c.ids.fill(k, after.ID, seq)
		}
	}
	for key := range t.touched.each {
		c.drop(c.ids, c.ids.key(kindIndex, key), seq)
		c.lists.Invalidate(key)
	}
}

// drop forgets a key that a commit has touched, and sees to it that nobody fills in what was there before.
func (c *caches) drop(t *idTable, k hashedKey, seq uint64) {
	c.slotOf(k).Store(seq)
	t.remove(k)
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
