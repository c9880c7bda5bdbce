// Package memkv is a kv.DB held in memory, for tests and throwaway servers. Versions share structure (a copy-on-write
// B-tree), so a snapshot costs nothing and readers take no locks. Merge operands are folded when they are applied.
//
// Nothing outlives the process. Sync moves a durability mark that Crash goes back to, so that a test can lose what a
// power cut would lose.
package memkv

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/tidwall/btree"

	"portolan/internal/kv"
)

// tree maps keys to values. A published tree is never changed; values are never changed either.
type tree = btree.Map[string, []byte]

var errNoMerger = errors.New("memkv: the store was opened without a Merger, so Merge cannot be used")

// DB is a store in memory. Its methods may be called from any goroutine.
type DB struct {
	merger  kv.Merger
	current atomic.Pointer[tree]
	readers atomic.Int64 // open snapshots and iterators
	applied atomic.Int64
	syncs   atomic.Int64

	mu sync.Mutex // guards what is below, all stores to current, and every tree.Copy
	// durable is the tree that a crash goes back to.
	durable *tree
	closed  atomic.Bool
}

var _ kv.DB = (*DB)(nil)

// New returns an empty store. The merger folds the operands of Writer.Merge; without one, Merge is an error.
func New(m kv.Merger) *DB { return newDB(m, new(tree)) }

func newDB(m kv.Merger, t *tree) *DB {
	db := &DB{merger: m, durable: t}
	db.current.Store(t)
	return db
}

// Crash ends the store as a power cut would and returns what a restart finds: all that was applied before the last Sync
// was called, and every finished Bulk. The old store answers kv.ErrClosed from then on, to its open snapshots too.
func (db *DB) Crash() *DB {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.closed.Store(true)
	return newDB(db.merger, db.durable)
}

func (db *DB) open() error {
	if db.closed.Load() {
		return fmt.Errorf("memkv: %w", kv.ErrClosed)
	}
	return nil
}

// Get implements kv.Reader.
func (db *DB) Get(dst, key []byte) ([]byte, error) {
	if err := db.open(); err != nil {
		return dst, err
	}
	return get(db.current.Load(), dst, key)
}

// Iter implements kv.Reader. The iterator walks the store as it is now.
func (db *DB) Iter(lo, hi []byte) (kv.Iterator, error) {
	if err := db.open(); err != nil {
		return nil, err
	}
	return newIterator(db, db.current.Load(), lo, hi), nil
}

func get(t *tree, dst, key []byte) ([]byte, error) {
	v, ok := t.Get(string(key))
	if !ok {
		return dst, kv.ErrNotFound
	}
	return append(dst, v...), nil
}

// NewBatch implements kv.DB.
func (db *DB) NewBatch() kv.Batch { return &batch{db: db} }

// Apply implements kv.DB. The batch must come from this store's NewBatch.
func (db *DB) Apply(kb kv.Batch) error {
	b, ok := kb.(*batch)
	if !ok || b.db != db {
		return errors.New("memkv: Apply was given a batch of another store")
	}
	if err := b.usable(); err != nil {
		return err
	}
	if b.iters > 0 {
		return fmt.Errorf("memkv: Apply: the batch has %d open iterators; close them first", b.iters)
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	if err := db.open(); err != nil {
		return err
	}
	next := b.viewLocked()
	b.done, b.ops, b.view, b.base = true, nil, nil, nil
	db.current.Store(next)
	db.applied.Add(1)
	return nil
}

// Sync implements kv.DB: what was applied before the call survives Crash.
func (db *DB) Sync() error {
	db.mu.Lock()
	defer db.mu.Unlock()
	if err := db.open(); err != nil {
		return err
	}
	db.syncs.Add(1)
	db.durable = db.current.Load()
	return nil
}

// Snapshot implements kv.DB.
func (db *DB) Snapshot() (kv.Snapshot, error) {
	if err := db.open(); err != nil {
		return nil, err
	}
	db.readers.Add(1)
	return &snapshot{db: db, tree: db.current.Load()}, nil
}

// Compact implements kv.DB; there is nothing to compact.
func (db *DB) Compact(lo, hi []byte) error { return db.open() }

// Metrics implements kv.DB: keys, readers (open snapshots and iterators), applied batches and syncs.
func (db *DB) Metrics() map[string]int64 {
	return map[string]int64{
		"keys":    int64(db.current.Load().Len()),
		"readers": db.readers.Load(),
		"applied": db.applied.Load(),
		"syncs":   db.syncs.Load(),
	}
}

// Close implements kv.DB. It fails while snapshots or iterators are open and may then be called again; closing twice does
// nothing.
func (db *DB) Close() error {
	db.mu.Lock()
	defer db.mu.Unlock()
	if n := db.readers.Load(); n > 0 && !db.closed.Load() {
		return fmt.Errorf("memkv: close: %d snapshots or iterators are still open; close them first", n)
	}
	db.closed.Store(true)
	return nil
}

type snapshot struct {
	db     *DB
	tree   *tree
	closed atomic.Bool
}

func (s *snapshot) open() error {
	if s.closed.Load() {
		return fmt.Errorf("memkv: snapshot: %w", kv.ErrClosed)
	}
	return s.db.open()
}

func (s *snapshot) Get(dst, key []byte) ([]byte, error) {
	if err := s.open(); err != nil {
		return dst, err
	}
	return get(s.tree, dst, key)
}

func (s *snapshot) Iter(lo, hi []byte) (kv.Iterator, error) {
	if err := s.open(); err != nil {
		return nil, err
	}
	return newIterator(s.db, s.tree, lo, hi), nil
}

func (s *snapshot) Close() error {
	if !s.closed.Swap(true) {
		s.db.readers.Add(-1)
	}
	return nil
}
