package pebblekv

import (
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// blockCache is the engine's cache of blocks. The engine takes the memory of memtables out of it: without room for them in
// it the cache of a store that is being written would be empty, and every read would decompress the index of its table. So
// it has room for the one that is written and the one that is flushed. But a memtable begins small, and a store that is
// only read has none worth naming: its cache would fill that room with blocks. So the room is kept closed until one that has
// grown is flushed.
type blockCache struct {
	*pebble.Cache
	memtable uint64
	open     func() // gives the room free, once
}

func newBlockCache(octets, memtable int64, readOnly bool) *blockCache {
	c := pebble.NewCache(octets + 2*memtable)
	if readOnly {
		return &blockCache{c, uint64(memtable), func() {}}
	}
	return &blockCache{c, uint64(memtable), sync.OnceFunc(c.Reserve(int(2 * memtable)))}
}

// flushed is told of each flush that begins. What little is left in the engine's journal is flushed at every start.
func (c *blockCache) flushed(info pebble.FlushInfo) {
	if info.InputBytes >= c.memtable/8 {
		c.open()
	}
}

// close gives the cache up, after the engine has.
func (c *blockCache) close() {
	c.open()
	c.Unref()
}
