// Package faultkv is any kv.DB with faults put in on purpose, for tests: what does the store do when the third Sync fails?
//
// It adds no randomness and no time of its own. With one goroutine a run is repeated exactly by the same Fault function.
package faultkv

import (
	"errors"
	"fmt"
	"sync"

	"portolan/internal/kv"
)

// Op is an operation that can be made to fail.
type Op int8

// The operations. Reads and writes through a batch count like those of the store.
const (
	Get Op = iota
	Iter
	Move  // First, Next, Last, Prev or SeekGE of an iterator
	Value // of an iterator
	Snapshot
	Set
	Delete
	DeleteRange
	Merge
	Apply
	Sync
	Checkpoint
	NewBulk
	BulkAdd
	BulkFinish
	Compact
	Close // of the store
	opCount
)

// String returns the name of the operation in lower case.
func (o Op) String() string {
	if o < 0 || o >= opCount {
		return fmt.Sprintf("op(%d)", int8(o))
	}
	return [opCount]string{
		"get", "iter", "move", "value", "snapshot", "set", "delete", "delete range", "merge", "apply", "sync",
		"checkpoint", "new bulk", "bulk add", "bulk finish", "compact", "close",
	}[o]
}

// Fault says whether an operation fails: n counts the operations of that kind, from 1. Nil lets it through. An error is
// returned in its place and nothing is done, unless After made it. Fault is called by one goroutine at a time and must not
// use the store.
type Fault func(op Op, n int) error

// After makes a fault that strikes when the operation has been done: the caller sees the error, the store has the change.
// A commit whose outcome is unknown looks like this. On reads it is the same as err.
func After(err error) error { return &after{err} }

type after struct{ err error }

func (a *after) Error() string { return a.err.Error() }
func (a *after) Unwrap() error { return a.err }

// Nth returns a Fault that gives err to the nth operation of one kind, and only to that.
func Nth(op Op, n int, err error) Fault {
	return func(o Op, i int) error {
		if o == op && i == n {
			return err
		}
		return nil
	}
}

// From returns a Fault that gives err to the nth operation of one kind and to every later one, as a broken disk does.
func From(op Op, n int, err error) Fault {
	return func(o Op, i int) error {
		if o == op && i >= n {
			return err
		}
		return nil
	}
}

// DB is a store with faults. Its methods may be called from any goroutine.
type DB struct {
	inner kv.DB

	mu    sync.Mutex // guards what is below, and is held while fault runs
	fault Fault
	count [opCount]int
}

var _ kv.DB = (*DB)(nil)

// Wrap returns inner with faults. A nil fault lets everything through; the operations are counted all the same.
func Wrap(inner kv.DB, fault Fault) *DB { return &DB{inner: inner, fault: fault} }

// SetFault puts another Fault in place. The counts go on.
func (d *DB) SetFault(f Fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault = f
}

// Count returns how many operations of a kind were tried, failed ones included.
func (d *DB) Count(op Op) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.count[op]
}

// Total returns how many operations of all kinds were tried.
func (d *DB) Total() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
	for _, c := range d.count {
		n += c
	}
	return n
}

func (d *DB) strike(op Op) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.count[op]++
	if d.fault == nil {
		return nil
	}
	return d.fault(op, d.count[op])
}

// do runs an operation unless the fault strikes first.
func (d *DB) do(op Op, run func() error) error {
	fault := d.strike(op)
	if fault == nil {
		return run()
	}
	if _, late := errors.AsType[*after](fault); late {
		if err := run(); err != nil {
			return err
		}
	}
	return fault
}

// read is for operations that return something: after a fault there is nothing to return.
func (d *DB) read(op Op) error { return d.strike(op) }

// Get implements kv.Reader.
func (d *DB) Get(dst, key []byte) ([]byte, error) { return d.get(d.inner, dst, key) }

// Iter implements kv.Reader.
func (d *DB) Iter(lo, hi []byte) (kv.Iterator, error) { return d.iter(d.inner, lo, hi) }

func (d *DB) get(r kv.Reader, dst, key []byte) ([]byte, error) {
	if err := d.read(Get); err != nil {
		return dst, err
	}
	return r.Get(dst, key)
}

func (d *DB) iter(r kv.Reader, lo, hi []byte) (kv.Iterator, error) {
	if err := d.read(Iter); err != nil {
		return nil, err
	}
	it, err := r.Iter(lo, hi)
	if err != nil {
		return nil, err
	}
	return &iterator{Iterator: it, db: d}, nil
}

// NewBatch implements kv.DB.
func (d *DB) NewBatch() kv.Batch { return &batch{Batch: d.inner.NewBatch(), db: d} }

// Apply implements kv.DB. After a fault before the fact the batch is as good as before, and can be applied again.
func (d *DB) Apply(kb kv.Batch) error {
	b, ok := kb.(*batch)
	if !ok || b.db != d {
		return errors.New("faultkv: Apply was given a batch of another store")
	}
	return d.do(Apply, func() error { return d.inner.Apply(b.Batch) })
}

// Sync implements kv.DB.
func (d *DB) Sync() error { return d.do(Sync, d.inner.Sync) }

// Snapshot implements kv.DB.
func (d *DB) Snapshot() (kv.Snapshot, error) {
	if err := d.read(Snapshot); err != nil {
		return nil, err
	}
	s, err := d.inner.Snapshot()
	if err != nil {
		return nil, err
	}
	return &snapshot{s, d}, nil
}

// Checkpoint implements kv.DB.
func (d *DB) Checkpoint(dir string) error {
	return d.do(Checkpoint, func() error { return d.inner.Checkpoint(dir) })
}

// NewBulk implements kv.DB.
func (d *DB) NewBulk() (kv.Bulk, error) {
	if err := d.read(NewBulk); err != nil {
		return nil, err
	}
	b, err := d.inner.NewBulk()
	if err != nil {
		return nil, err
	}
	return &bulk{b, d}, nil
}

// Compact implements kv.DB.
func (d *DB) Compact(lo, hi []byte) error {
	return d.do(Compact, func() error { return d.inner.Compact(lo, hi) })
}

// Metrics implements kv.DB: those of the store within, and no faults.
func (d *DB) Metrics() map[string]int64 { return d.inner.Metrics() }

// Close implements kv.DB. After a fault before the fact the store is still open.
func (d *DB) Close() error { return d.do(Close, d.inner.Close) }
