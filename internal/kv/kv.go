// Package kv is the port behind which the store keeps its bytes: ordered keys, snapshot reads, atomic batches and a
// durability point that can be waited for apart from the commit. Its implementations pass one test suite
// (kvtest.Run).
//
// Keys and values handed out are valid until the iterator moves or the reader is closed, unless a method says otherwise.
package kv

import "errors"

// Errors. Implementations wrap them, callers ask with errors.Is.
var (
	ErrNotFound = errors.New("kv: key not found")
	ErrClosed   = errors.New("kv: closed")
	ErrLocked   = errors.New("kv: another process has the store open")
	ErrReadOnly = errors.New("kv: store was opened read-only")
	ErrNoSpace  = errors.New("kv: no space left on device")
)

// Merger folds operands into a value. old is nil where the key was absent; operands are in the order in which they were
// written. The result nil deletes nothing: it is an empty value. Merge is associative: folding a prefix of the operands
// first, with PartialMerge, gives the same. It must not fail: operands are made by the store itself.
type Merger interface {
	// Merge returns the value of key after operands were applied to old.
	Merge(key, old []byte, operands [][]byte) []byte
	// PartialMerge folds neighbouring operands into one operand.
	PartialMerge(key []byte, operands [][]byte) []byte
}

// Reader is a consistent view of the store. Several goroutines may use one at the same time.
type Reader interface {
	// Get appends the value of key to dst and returns the extended slice, or ErrNotFound.
	Get(dst, key []byte) ([]byte, error)
	// Iter returns an iterator over lo <= key < hi, before its first key. A nil hi is no bound.
	Iter(lo, hi []byte) (Iterator, error)
}

// Iterator walks keys in order. One goroutine uses it; Close must be called. It shows the moment at which it was made.
// A move that finds nothing leaves it beside its range: turning round there finds the nearest key, so SeekGE(k) that
// found nothing and then Prev is the greatest key below k.
type Iterator interface {
	// First, Next, Last, Prev and SeekGE move and report whether the iterator stands on a key.
	First() bool
	Next() bool
	Last() bool
	Prev() bool
	SeekGE(key []byte) bool
	// Key and Value are valid until the next move.
	Key() []byte
	Value() ([]byte, error)
	// Err returns the first error met; a move that returned false without error ended at a bound.
	Err() error
	Close() error
}

// Snapshot is a Reader of one moment that must be closed.
type Snapshot interface {
	Reader
	Close() error
}

// Writer takes changes. They are applied in order; a later one wins. A key has at least one octet: the empty key is
// refused, and is never found.
type Writer interface {
	Set(key, value []byte) error
	Delete(key []byte) error
	// DeleteRange deletes lo <= key < hi. A nil hi is refused; a range that ends before it begins holds nothing.
	DeleteRange(lo, hi []byte) error
	// Merge adds an operand for the store's Merger.
	Merge(key, operand []byte) error
}

// Batch collects changes. Reads through it see the changes over the store as it is at that moment. One goroutine uses it.
// It copies what it is given.
type Batch interface {
	Reader
	Writer
	// Len is the number of changes, Size their octets.
	Len() int
	Size() int
	Close() error
}

// DB is one open store.
type DB interface {
	Reader
	// NewBatch returns an empty batch that reads through to the store as it is at the time of each read.
	NewBatch() Batch
	// Apply makes a batch visible to Get, Iter, NewBatch and later snapshots, all of it or nothing. It is not durable
	// until Sync has returned. Applied batches become durable in order. The batch is used up, and must have no open
	// iterators.
	Apply(Batch) error
	// Sync makes all that was applied before the call durable. Apply may be called while Sync waits.
	Sync() error
	// Snapshot returns the store as it is now. It is cheap, and must not be held for long: it keeps old versions alive.
	Snapshot() (Snapshot, error)
	// Checkpoint writes a consistent, openable copy of the store into dir, which must not exist. It includes all that
	// was applied before the call.
	Checkpoint(dir string) error
	// NewBulk returns a loader for keys in strictly ascending order into a key range that holds nothing yet.
	NewBulk() (Bulk, error)
	// Compact asks for a compaction of lo <= key < hi and waits for it.
	Compact(lo, hi []byte) error
	// Metrics returns figures for people and for metrics, by stable snake_case names.
	Metrics() map[string]int64
	// Close fails, and closes nothing, while snapshots or iterators are open. Every later call but Close returns
	// ErrClosed.
	Close() error
}

// Bulk loads sorted keys past the journal of the engine. Nothing is visible before Finish, everything is durable after.
// One goroutine uses it.
type Bulk interface {
	Add(key, value []byte) error
	Finish() error
	// Abort drops everything and removes temporary files; after Finish it does nothing.
	Abort() error
}
