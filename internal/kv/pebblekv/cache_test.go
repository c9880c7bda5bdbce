package pebblekv_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"portolan/internal/kv/kvtest"
	"portolan/internal/kv/pebblekv"
)

// TestCacheBesideMemtables: the engine takes memtables out of its cache, and there must be something left for blocks while
// the largest memtable is being written.
func TestCacheBesideMemtables(t *testing.T) {
	const size = 1 << 20
	db, err := pebblekv.Open("db", pebblekv.Options{
		Merger: kvtest.Merger{}, FS: vfs.NewMem(), CacheBytes: size, MemtableBytes: size, OnFatal: func(err error) { t.Error(err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	key := func(n int) []byte { return fmt.Appendf(nil, "key %08d", n) }
	value := make([]byte, 1000)
	n := 0
	for ; db.Metrics()["flushes_total"] < 4; n++ {
		b := db.NewBatch()
		if err := b.Set(key(n), value); err != nil {
			t.Fatal(err)
		}
		if err := db.Apply(b); err != nil {
			t.Fatal(err)
		}
	}
	read := func() (misses int64) {
		before := db.Metrics()["cache_misses_total"]
		for i := range 10 {
			if _, err := db.Get(nil, key(i*10)); err != nil {
				t.Fatal(err)
			}
		}
		return db.Metrics()["cache_misses_total"] - before
	}
	read()
	again := read()
	// A memtable that is still being flushed takes room too, for as long as that takes.
	for end := time.Now().Add(3 * time.Minute); again > 0 && time.Now().Before(end); again = read() {
		runtime.Gosched()
	}
	if again > 0 {
		t.Errorf("of what was just read %d blocks were not in the cache; it holds %d octets", again, db.Metrics()["cache_bytes"])
	}
}

// TestCacheOfWhatIsOnlyRead: the room for memtables is not filled with blocks while there are none.
func TestCacheOfWhatIsOnlyRead(t *testing.T) {
	const size = 1 << 20
	fs := vfs.NewMem()
	open := func(memtable int64) *pebblekv.DB {
		db, err := pebblekv.Open("db", pebblekv.Options{
			Merger: kvtest.Merger{}, FS: fs, CacheBytes: size, MemtableBytes: memtable, OnFatal: func(err error) { t.Error(err) },
		})
		if err != nil {
			t.Fatal(err)
		}
		return db
	}
	key := func(n int) []byte { return fmt.Appendf(nil, "key %08d", n) }
	db := open(64 << 10) // so that it is in tables
	r := rand.New(rand.NewPCG(1, 2))
	value := make([]byte, 1000)
	const many = 8000
	for n := range many {
		b := db.NewBatch()
		for i := range value {
			value[i] = byte(r.Uint32())
		}
		if err := errors.Join(b.Set(key(n), value), db.Apply(b)); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = open(16 * size) // what was left in the engine's journal is flushed
	defer db.Close()
	for n := range many {
		if _, err := db.Get(nil, key(n)); err != nil {
			t.Fatal(err)
		}
	}
	if m := db.Metrics(); m["cache_bytes"] > size {
		t.Errorf("the cache holds %d octets of blocks, its size is %d", m["cache_bytes"], size)
	}
}
