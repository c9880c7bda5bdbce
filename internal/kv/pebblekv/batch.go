package pebblekv

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"portolan/internal/kv"
)

// maxBatch is the most octets of keys and values in a batch. The engine panics at 4 GiB.
const maxBatch = 2 << 30

// The engine's tables cannot hold the empty key alone (the column writer panics), so it is refused everywhere.
var (
	errEmptyKey = errors.New("pebblekv: a key needs at least one octet")
	lowestKey   = []byte{0}
)

var errBatchDone = fmt.Errorf("pebblekv: batch was applied or closed: %w", kv.ErrClosed)

// NewBatch implements kv.DB.
func (db *DB) NewBatch() kv.Batch {
	// On a closed store the batch exists and every use of it fails.
	if err := db.begin(); err != nil {
		return &batch{db: db, done: true}
	}
	defer db.end()
	return &batch{db: db, p: db.p.NewIndexedBatch()}
}

type batch struct {
	db    *DB
	p     *pebble.Batch
	n     int
	size  int
	iters int // open iterators over the batch; they read its memory
	done  bool
}

var _ kv.Batch = (*batch)(nil)

// room admits a change of n octets to a key.
func (b *batch) room(key []byte, n int) error {
	switch {
	case b.done:
		return errBatchDone
	case len(key) == 0:
		return errEmptyKey
	case b.size+n > maxBatch:
		return fmt.Errorf("pebblekv: a batch holds at most %d octets; split the transaction", maxBatch)
	}
	b.n++
	b.size += n
	return nil
}

func (b *batch) Set(key, value []byte) error {
	if err := b.room(key, len(key)+len(value)); err != nil {
		return err
	}
	return put(b.p.SetDeferred(len(key), len(value)+1), key, tagValue, value)
}

func (b *batch) Merge(key, operand []byte) error {
	if b.db.merger == nil {
		return errNoMerger
	}
	if err := b.room(key, len(key)+len(operand)); err != nil {
		return err
	}
	return put(b.p.MergeDeferred(len(key), len(operand)+1), key, tagOperand, operand)
}

// put fills a reserved record in place, which saves building the tagged value first.
func put(op *pebble.DeferredBatchOp, key []byte, tag byte, value []byte) error {
	copy(op.Key, key)
	op.Value[0] = tag
	copy(op.Value[1:], value)
	return op.Finish()
}

func (b *batch) Delete(key []byte) error {
	if err := b.room(key, len(key)); err != nil {
		return err
	}
	return b.p.Delete(key, nil)
}

func (b *batch) DeleteRange(lo, hi []byte) error {
	if hi == nil {
		return errors.New("pebblekv: DeleteRange needs an upper bound; give the first key behind the range")
	}
	if len(lo) == 0 {
		lo = lowestKey
	}
	if bytes.Compare(lo, hi) >= 0 {
		if b.done {
			return errBatchDone
		}
		return nil
	}
	if err := b.room(lo, len(lo)+len(hi)); err != nil {
		return err
	}
	return b.p.DeleteRange(lo, hi, nil)
}

func (b *batch) begin() error {
	if b.done {
		return errBatchDone
	}
	return b.db.begin()
}

func (b *batch) Get(dst, key []byte) ([]byte, error) {
	if err := b.begin(); err != nil {
		return dst, err
	}
	defer b.db.end()
	return b.db.get(b.p, dst, key)
}

// Iter walks the batch and the store as they are now: changes made later are not seen.
func (b *batch) Iter(lo, hi []byte) (kv.Iterator, error) {
	if err := b.begin(); err != nil {
		return nil, err
	}
	defer b.db.end()
	i, err := b.db.iter(b.p, lo, hi)
	if err != nil {
		return nil, err
	}
	i.batch = b
	b.iters++
	return i, nil
}

func (b *batch) Len() int  { return b.n }
func (b *batch) Size() int { return b.size }

// Close gives the batch's memory back, unless iterators still read it.
func (b *batch) Close() error {
	if b.done {
		return nil
	}
	b.done = true
	if b.iters > 0 {
		return nil
	}
	return b.db.wrap("batch", b.p.Close())
}
