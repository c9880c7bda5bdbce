package store

import (
	"sync"
	"sync/atomic"

	"portolan/internal/dit"
)

// entryCache keeps entries by their id. Ids are dense, so that an entry is found by two loads and no hashing: a directory
// of pages of entries. What is read is marked; when there is more than the limit a hand goes round and drops what was not
// read since it came by last.
//
// Reads take no locks. Changes of a page are made under its lock.
type entryCache struct {
	limit  int64
	weight atomic.Int64 // of all entries in it
	count  atomic.Int64

	directory atomic.Pointer[[]atomic.Pointer[entryPage]]
	grow      sync.Mutex // held to add pages, to drop them and to replace the directory
	locks     [64]sync.Mutex

	sweep sync.Mutex // the hand is moved by one goroutine
	hand  int        // the page it has come to
}

const (
	pageBits = 9
	pageSize = 1 << pageBits
	pageMask = pageSize - 1
)

// entryPage has the entries of pageSize ids.
type entryPage struct {
	entries [pageSize]atomic.Pointer[dit.Entry]
	read    [pageSize / 64]atomic.Uint64 // marks
	live    int                          // entries in it, under the lock
}

func newEntryCache(limit int64) *entryCache {
	c := &entryCache{limit: limit}
	c.directory.Store(&[]atomic.Pointer[entryPage]{})
	return c
}

// entryWeight is what an entry costs, with its place in a page.
func entryWeight(e *dit.Entry) int64 { return int64(e.Size()) + 16 }

func (c *entryCache) page(id dit.ID) *entryPage {
	directory := *c.directory.Load()
	if n := id >> pageBits; n < dit.ID(len(directory)) {
		return directory[n].Load()
	}
	return nil
}

// get returns an entry, or nil.
func (c *entryCache) get(id dit.ID) *dit.Entry {
	p := c.page(id)
	if p == nil {
		return nil
	}
	i := id & pageMask
	e := p.entries[i].Load()
	if e != nil {
		if word, bit := &p.read[i>>6], uint64(1)<<(i&63); word.Load()&bit == 0 {
			word.Or(bit)
		}
	}
	return e
}

func (c *entryCache) lock(id dit.ID) *sync.Mutex {
	return &c.locks[(id>>pageBits)%dit.ID(len(c.locks))]
}

// set puts an entry in the place of whatever there is; nil removes it.
func (c *entryCache) set(id dit.ID, e *dit.Entry) {
	l := c.lock(id)
	l.Lock()
	c.put(id, e)
	l.Unlock()
	c.shrink()
}

// fill puts an entry where there is none, unless a commit has overtaken it: stamp is looked at under the lock under which
// commits change the page.
func (c *entryCache) fill(e *dit.Entry, stamp *atomic.Uint64, seq uint64) {
	l := c.lock(e.ID)
	l.Lock()
	if p := c.page(e.ID); stamp.Load() <= seq && (p == nil || p.entries[e.ID&pageMask].Load() == nil) {
		c.put(e.ID, e)
	}
	l.Unlock()
	c.shrink()
}

// put is called with the page's lock held.
func (c *entryCache) put(id dit.ID, e *dit.Entry) {
	p := c.page(id)
	if p == nil {
		if e == nil {
			return
		}
		p = c.addPage(id)
	}
	old := p.entries[id&pageMask].Swap(e)
	var delta int64
	if old != nil {
		delta -= entryWeight(old)
		p.live--
		c.count.Add(-1)
	}
	if e != nil {
		delta += entryWeight(e)
		p.live++
		c.count.Add(1)
	}
	c.weight.Add(delta)
}

// addPage makes the page of an id. Its lock is held.
func (c *entryCache) addPage(id dit.ID) *entryPage {
	n := int(id >> pageBits)
	c.grow.Lock()
	defer c.grow.Unlock()
	directory := *c.directory.Load()
	if n >= len(directory) {
		larger := make([]atomic.Pointer[entryPage], max(n+1, 2*len(directory)))
		for i := range directory {
			larger[i].Store(directory[i].Load())
		}
		c.directory.Store(&larger)
		directory = larger
	}
	p := &entryPage{}
	directory[n].Store(p)
	return p
}

// shrink drops entries when there are more than the limit: a few more than it must, so that the hand does not have to move
// for every entry that comes.
func (c *entryCache) shrink() {
	if c.weight.Load() <= c.limit || !c.sweep.TryLock() {
		return
	}
	defer c.sweep.Unlock()
	enough := c.limit - c.limit/64
	// Once round clears all marks, so that the second round finds something to drop.
	for steps := 2*len(*c.directory.Load()) + 2; steps > 0 && c.weight.Load() > enough; steps-- {
		directory := *c.directory.Load()
		if c.hand >= len(directory) {
			c.hand = 0
		}
		if directory[c.hand].Load() != nil {
			c.sweepPage(c.hand, enough)
		}
		c.hand++
	}
}

// sweepPage drops the entries of a page that were not read, as far as needed, and clears the marks of the others.
func (c *entryCache) sweepPage(n int, enough int64) {
	first := dit.ID(n) << pageBits
	l := c.lock(first)
	l.Lock()
	defer l.Unlock()
	p := c.page(first)
	if p == nil {
		return
	}
	for w := range p.read {
		if c.weight.Load() <= enough {
			break
		}
		marks := p.read[w].Swap(0)
		for i := range dit.ID(64) {
			id := first + dit.ID(w)<<6 + i
			if marks&(1<<i) == 0 && p.entries[id&pageMask].Load() != nil {
				c.put(id, nil)
			}
		}
	}
	if p.live == 0 {
		// Ids are not used again: what is empty in the middle of them may stay so for good.
		c.grow.Lock()
		directory := *c.directory.Load()
		directory[n].Store(nil)
		c.grow.Unlock()
	}
}

// clear forgets everything.
func (c *entryCache) clear() {
	for n := range *c.directory.Load() {
		first := dit.ID(n) << pageBits
		l := c.lock(first)
		l.Lock()
		for i := range dit.ID(pageSize) {
			c.put(first+i, nil)
		}
		l.Unlock()
	}
}
