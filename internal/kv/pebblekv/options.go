package pebblekv

import (
	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable/block"
	"github.com/cockroachdb/pebble/v2/vfs"

	"portolan/internal/kv"
)

// Options is how a store is opened. The zero value opens it for reading and writing, on disk, without Merge.
type Options struct {
	// Merger folds operands. A store that holds operands must be opened with the same Merger for ever; without one,
	// Merge is refused and reading a key that has operands fails.
	Merger kv.Merger
	// ReadOnly opens a store that must exist and changes nothing in its directory, not even the journal.
	ReadOnly bool
	// CacheBytes is the block cache, MemtableBytes one memtable, of which up to three exist at a time. Both are on the Go
	// heap; once something was flushed, what memtables do not take of the room of two is the cache's as well. Zero means 16 and
	// 32 MiB, and memtables begin small; MemtableBytes has
	// a floor of 64 KiB and a ceiling of 1 GiB.
	CacheBytes, MemtableBytes int64
	// FS is the file system; nil is the disk.
	FS vfs.FS
	// DisableWALSync makes Sync return without waiting for the disk, so that acknowledged writes are lost in a power cut.
	// It exists for one purpose: to show that the power-cut test fails without the sync. Never set it for data.
	DisableWALSync bool
	// Logger takes the engine's messages; level is debug, info, warn or error. It may be called from any goroutine, and
	// must not call the store. Nil drops them.
	Logger func(level, msg string)
	// OnFatal is told, once, of the error after which the engine cannot go on; see the package comment for what follows.
	// It may run while the engine holds its locks: it must not call the store. It should log one line and end the
	// process. The error is not given here when Open itself returns it.
	OnFatal func(error)
}

const (
	defaultCache = 16 << 20
	// 80,000 changes of one attribute among 100,000 entries, with 8, 32 and 64 MiB: 321, 263 and 240 us of CPU time each, and
	// 9.2, 5.6 and 4.1 KB of tables written, as fewer flushes reach all over the store.
	defaultMemtable = 32 << 20
	minMemtable     = 64 << 10
	maxMemtable     = 1 << 30
)

// formatVersion is the engine's on-disk format: the newest of Pebble v2.1 that is not experimental. A store of an older
// format is upgraded when it is opened for writing; an older Pebble refuses a newer store. Raising it is a decision of a
// release, not of a library update, which is why it is not pebble.FormatNewest.
const formatVersion = pebble.FormatValueSeparation

// complete puts defaults into the place of zeros.
func (o *Options) complete() {
	if o.CacheBytes <= 0 {
		o.CacheBytes = defaultCache
	}
	if o.MemtableBytes <= 0 {
		o.MemtableBytes = defaultMemtable
	}
	o.MemtableBytes = min(max(o.MemtableBytes, minMemtable), maxMemtable)
}

// engineOptions states how the engine is run. Figures are of two cores and the benchmarks beside the tests.
func engineOptions(o Options, fs vfs.FS, t *trouble, blocks *blockCache) *pebble.Options {
	e := &pebble.Options{
		FS:                 fs,
		ReadOnly:           o.ReadOnly,
		FormatMajorVersion: formatVersion,
		Merger:             engineMerger(o.Merger),
		Logger:             t,
		EventListener:      t.listener(blocks),

		Cache:        blocks.Cache,
		MemTableSize: uint64(o.MemtableBytes),
		// One memtable being written, one being flushed and one in reserve: with two, a burst of writes waits for the
		// flush.
		MemTableStopWritesThreshold: 3,
		// Each open table costs a file descriptor and its index; 512 tables are tens of GiB.
		MaxOpenFiles: 512,

		// Steady writing to disk in the background, so that a sync does not have to wait for what a big transaction or a
		// compaction left dirty.
		BytesPerSync:    1 << 20,
		WALBytesPerSync: 1 << 20,

		// A flush is small, since operands are folded in it, but reaches all over the store. So several of them are gathered,
		// first in L0 and then in a level of a few MiB, before the last level is rewritten for them. With 2 and 64 MiB a store
		// of 100,000 entries had no level between: 20,000 adds wrote 38 KB each, with these figures 9.5; reads that miss the
		// caches gain nothing from a shallower L0 that could be measured. Writes stop only when L0 is very deep.
		L0CompactionThreshold: 4,
		L0StopWritesThreshold: 24,
		LBaseMaxBytes:         16 << 20,
		// Two cores: one compaction as a rule, a second only when the debt grows.
		CompactionConcurrencyRange: func() (int, int) { return 1, 2 },
	}
	e.Experimental.L0CompactionConcurrency = 4
	e.Experimental.CompactionDebtConcurrency = 256 << 20
	for i := range e.Levels {
		l := &e.Levels[i]
		// Random reads of 650-octet values that miss the cache, with 8, 16 and 32 KiB: 18, 28 and 105 us; scans gain little
		// from larger blocks. zstd instead of the fastest compression halves the speed of a bulk load.
		l.BlockSize = 8 << 10
		// Large enough that a table has one index block: the second level costs every lookup a search.
		l.IndexBlockSize = 256 << 10
		l.Compression = func() *block.CompressionProfile { return block.FastestCompression }
		if i < len(e.Levels)-1 {
			// What is above the last level is small, and is rewritten soon.
			l.Compression = func() *block.CompressionProfile { return block.NoCompression }
			// Ten bits a key: one lookup in a hundred goes to a table in vain. The last level has none: it would be nine
			// tenths of all filter memory, and most keys asked for are there.
			l.FilterPolicy = bloom.FilterPolicy(10)
		} else {
			l.FilterPolicy = pebble.NoFilterPolicy
		}
	}
	e.TargetFileSizes[0] = 4 << 20
	e.EnsureDefaults()
	return e
}
