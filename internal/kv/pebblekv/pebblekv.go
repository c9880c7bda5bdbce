// Package pebblekv is the kv.DB on disk: Pebble, the LSM engine under CockroachDB.
//
// Apply writes a batch to the engine's journal and memtable without waiting for the disk; Sync waits until the journal is
// on disk. Callers of Sync that wait at the same time share one disk flush.
//
// # When the disk fails
//
// Pebble cannot go on after its journal or its manifest could not be written, and asks its logger to end the process. The
// first such error is given to Options.OnFatal, once. What comes next depends on where it happened:
//
//   - in a call of this package (Apply, Sync, Checkpoint, Compact, Bulk.Finish): that call returns the error, and every
//     later call returns it too, Close included. Pebble may have died holding its locks, so it is not touched again, and
//     the directory stays locked until the process ends;
//   - in one of Pebble's own goroutines: OnFatal should not come back; if it does, the goroutine panics with the error and
//     takes the process down. Running on would lose writes.
//
// Nothing that Sync has acknowledged is lost by either; reopening replays the journal.
// A failed flush or compaction alone is not fatal: Pebble tries again, so a full disk that gets space back recovers. Such
// errors are logged and counted (background_errors). Until then writes go to memory, and wait once that is full: NoSpace says
// when to stop.
package pebblekv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"portolan/internal/kv"
)

// DB is one open store. Its methods may be called from any goroutine.
type DB struct {
	p       *pebble.DB
	eng     *pebble.Options // with defaults filled in; for the tables of a bulk load
	fs      vfs.FS
	health  io.Closer // watches for slow disks; nil on an injected file system
	dir     string
	sync    *pebble.WriteOptions
	pace    *pacer
	merger  kv.Merger
	trouble *trouble
	blocks  *blockCache
	ro      bool
	bulks   atomic.Int64 // number of the last bulk load
	readers atomic.Int64 // open snapshots and iterators
	stop    context.CancelFunc
	ctx     context.Context // ends when Close begins

	life   sync.RWMutex // held for reading by every call that uses p
	closed bool
}

var _ kv.DB = (*DB)(nil)

// Open opens the store in dir, and makes it there unless opts.ReadOnly is set. It fails with kv.ErrLocked when another
// process, or this one, has the store open; with kv.ErrReadOnly when dir cannot be written to and opts.ReadOnly is not
// set; with kv.ErrNoSpace when the disk is full. A read-only store takes the same lock as a writer.
func Open(dir string, opts Options) (_ *DB, err error) {
	if opts.FS == nil {
		// The engine's lock table goes by name, so one directory must have one name.
		if dir, err = filepath.Abs(dir); err != nil {
			return nil, fmt.Errorf("pebblekv: open %s: %w", dir, err)
		}
	}
	opts.complete()
	t := newTrouble(opts)
	db := &DB{
		dir: dir, ro: opts.ReadOnly, merger: opts.Merger, trouble: t,
		sync: pebble.Sync, pace: newPacer(),
	}
	if opts.DisableWALSync {
		db.sync = pebble.NoSync
	}
	base := opts.FS
	if base == nil {
		base, db.health = vfs.WithDiskHealthChecks(vfs.Default, slowDisk, nil, t.slowDisk)
	}
	db.fs = &dataFS{FS: base, readOnly: opts.ReadOnly, disk: opts.FS == nil, pace: db.pace}
	db.ctx, db.stop = context.WithCancel(context.Background())
	db.blocks = newBlockCache(opts.CacheBytes, opts.MemtableBytes, opts.ReadOnly)
	defer func() {
		if err != nil {
			db.stop()
			db.blocks.close()
			db.closeHealth()
		}
	}()
	db.eng = engineOptions(opts, db.fs, t, db.blocks)
	db.eng.AddEventListener(db.pace.listener())
	defer t.catch(&err)
	db.p, err = pebble.Open(dir, db.eng)
	if err != nil {
		return nil, openError(dir, opts.ReadOnly, err)
	}
	t.opening.Store(false)
	if !db.ro {
		db.removeLeftovers()
	}
	return db, nil
}

// slowDisk is how long a write may take before a warning is logged.
const slowDisk = 5 * time.Second

func (db *DB) closeHealth() {
	if db.health != nil {
		db.health.Close()
	}
}

// begin admits a call to the engine; end must follow when it returns nil.
func (db *DB) begin() error {
	db.life.RLock()
	if d := db.trouble.dead.Load(); d != nil {
		db.life.RUnlock()
		return d
	}
	if db.closed {
		db.life.RUnlock()
		return errClosed
	}
	return nil
}

func (db *DB) end() { db.life.RUnlock() }

var errClosed = fmt.Errorf("pebblekv: %w", kv.ErrClosed)

// beginWrite admits a call that changes the store.
func (db *DB) beginWrite() error {
	if err := db.begin(); err != nil {
		return err
	}
	if db.ro {
		db.end()
		return fmt.Errorf("pebblekv: %s: %w", db.dir, kv.ErrReadOnly)
	}
	return nil
}

// Apply implements kv.DB. The batch must come from this store's NewBatch and have no open iterators.
func (db *DB) Apply(kb kv.Batch) (err error) {
	b, ok := kb.(*batch)
	if !ok || b.db != db {
		return errors.New("pebblekv: Apply was given a batch of another store")
	}
	if b.done {
		return errBatchDone
	}
	if b.iters > 0 {
		return fmt.Errorf("pebblekv: Apply: the batch has %d open iterators; close them first", b.iters)
	}
	if err := db.beginWrite(); err != nil {
		return err
	}
	defer db.end()
	defer db.trouble.catch(&err)
	b.done = true
	if err := db.p.Apply(b.p, pebble.NoSync); err != nil {
		return db.wrap("apply", err)
	}
	return db.wrap("apply", b.p.Close())
}

// Sync implements kv.DB. On a read-only store it does nothing.
func (db *DB) Sync() (err error) {
	if err := db.begin(); err != nil {
		return err
	}
	defer db.end()
	if db.ro {
		return nil
	}
	defer db.trouble.catch(&err)
	db.pace.sync()
	// A record that holds nothing goes into the journal behind all that was applied, and is waited for. Where the journal
	// moved to a new file meanwhile, the engine synced the old one when it closed it.
	return db.wrap("sync", db.p.LogData(nil, db.sync))
}

// Checkpoint implements kv.DB. Files are linked where the file system can, so the copy is quick and costs disk space only
// as the store moves on; dir must be on the same file system to profit. It syncs the journal first.
func (db *DB) Checkpoint(dir string) (err error) {
	if err := db.beginWrite(); err != nil {
		return err
	}
	defer db.end()
	defer db.trouble.catch(&err)
	return db.wrap("checkpoint into "+dir, db.p.Checkpoint(dir, pebble.WithFlushedWAL()))
}

// Compact implements kv.DB. Close interrupts it.
func (db *DB) Compact(lo, hi []byte) (err error) {
	if err := db.beginWrite(); err != nil {
		return err
	}
	defer db.end()
	defer db.trouble.catch(&err)
	if hi == nil {
		// The engine wants an end; one behind the last key will do. Tombstones behind it are left to the background.
		it, err := db.p.NewIter(&pebble.IterOptions{LowerBound: lo})
		if err != nil {
			return db.wrap("compact", err)
		}
		if it.Last() {
			hi = append(append([]byte{}, it.Key()...), 0)
		}
		if err := it.Close(); err != nil {
			return db.wrap("compact", err)
		}
		if hi == nil {
			return nil
		}
	}
	if string(lo) >= string(hi) {
		return nil
	}
	return db.wrap("compact", db.p.Compact(db.ctx, lo, hi, false))
}

// Close implements kv.DB. It waits for calls under way, and interrupts Compact. It fails while snapshots or iterators are
// open and may then be called again; closing twice does nothing. What was applied and not synced may or may not be there
// after the next Open.
func (db *DB) Close() (err error) {
	db.stop()
	db.life.Lock()
	defer db.life.Unlock()
	if d := db.trouble.dead.Load(); d != nil {
		return d
	}
	if db.closed {
		return nil
	}
	if n := db.readers.Load(); n > 0 {
		return fmt.Errorf("pebblekv: close %s: %d snapshots or iterators are still open; close them first", db.dir, n)
	}
	db.closed = true
	defer db.closeHealth()
	defer db.trouble.catch(&err)
	if err = db.wrap("close", db.p.Close()); err == nil {
		db.blocks.close()
	}
	return err
}
