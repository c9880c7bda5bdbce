package pebblekv

import (
	"bytes"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"portolan/internal/kv"
)

// source is what the engine reads from: the store, a snapshot or a batch.
type source interface {
	Get(key []byte) ([]byte, io.Closer, error)
	NewIter(o *pebble.IterOptions) (*pebble.Iterator, error)
}

// Get implements kv.Reader.
func (db *DB) Get(dst, key []byte) ([]byte, error) {
	if err := db.begin(); err != nil {
		return dst, err
	}
	defer db.end()
	return db.get(db.p, dst, key)
}

// Iter implements kv.Reader. The iterator walks the store as it is now.
func (db *DB) Iter(lo, hi []byte) (kv.Iterator, error) {
	if err := db.begin(); err != nil {
		return nil, err
	}
	defer db.end()
	return db.iter(db.p, lo, hi)
}

func (db *DB) get(s source, dst, key []byte) ([]byte, error) {
	stored, closer, err := s.Get(key)
	if err == pebble.ErrNotFound {
		return dst, kv.ErrNotFound
	}
	if err != nil {
		return dst, db.wrap(fmt.Sprintf("get key %q", key), err)
	}
	v, err := untag(stored)
	if err != nil {
		closer.Close()
		return dst, db.wrap(fmt.Sprintf("get key %q", key), err)
	}
	dst = append(dst, v...)
	if err := closer.Close(); err != nil {
		return dst, db.wrap("get", err)
	}
	return dst, nil
}

// place is where an iterator stands.
type place int8

const (
	before place = iota // before the first key of its range; where it starts
	on                  // on a key
	after               // behind the last key
)

// iterator keeps its place so that moves across the ends of the range mean the same in every implementation of kv.
type iterator struct {
	db    *DB
	it    *pebble.Iterator // nil when the range is empty or the iterator is closed
	batch *batch           // whose iterator this is, or nil
	place place
	done  bool
}

var _ kv.Iterator = (*iterator)(nil)

func (db *DB) iter(s source, lo, hi []byte) (*iterator, error) {
	i := &iterator{db: db}
	if hi == nil || bytes.Compare(lo, hi) < 0 {
		o := pebble.IterOptions{LowerBound: lo, UpperBound: hi}
		it, err := s.NewIter(&o)
		if err != nil {
			return nil, db.wrap("iterate", err)
		}
		i.it = it
	}
	db.readers.Add(1)
	return i, nil
}

// land notes the outcome of a move.
func (i *iterator) land(ok bool, missed place) bool {
	if !ok {
		i.place = missed
		return false
	}
	i.place = on
	return true
}

func (i *iterator) First() bool { return i.it != nil && i.land(i.it.First(), after) }
func (i *iterator) Last() bool  { return i.it != nil && i.land(i.it.Last(), before) }

func (i *iterator) SeekGE(key []byte) bool { return i.it != nil && i.land(i.it.SeekGE(key), after) }

func (i *iterator) Next() bool {
	switch {
	case i.it == nil || i.place == after:
		return false
	case i.place == before:
		return i.First()
	}
	return i.land(i.it.Next(), after)
}

func (i *iterator) Prev() bool {
	switch {
	case i.it == nil || i.place == before:
		return false
	case i.place == after:
		return i.Last()
	}
	return i.land(i.it.Prev(), before)
}

func (i *iterator) Key() []byte {
	if i.it == nil || i.place != on {
		return nil
	}
	return i.it.Key()
}

func (i *iterator) Value() ([]byte, error) {
	if i.it == nil || i.place != on {
		return nil, kv.ErrNotFound
	}
	stored, err := i.it.ValueAndErr()
	if err == nil {
		stored, err = untag(stored)
	}
	if err != nil {
		return nil, i.db.wrap(fmt.Sprintf("value of key %q", i.it.Key()), err)
	}
	return stored, nil
}

func (i *iterator) Err() error {
	if i.it == nil {
		return nil
	}
	return i.db.wrap("iterate", i.it.Error())
}

func (i *iterator) Close() error {
	if i.done {
		return nil
	}
	i.done = true
	defer i.db.readers.Add(-1)
	if i.batch != nil {
		i.batch.iters--
	}
	if i.it == nil {
		return nil
	}
	it := i.it
	i.it = nil
	return i.db.wrap("iterate", it.Close())
}

// Snapshot implements kv.DB.
func (db *DB) Snapshot() (kv.Snapshot, error) {
	if err := db.begin(); err != nil {
		return nil, err
	}
	defer db.end()
	db.readers.Add(1)
	return &snapshot{db: db, p: db.p.NewSnapshot()}, nil
}

type snapshot struct {
	db     *DB
	p      *pebble.Snapshot
	closed atomic.Bool
}

var errSnapshotClosed = fmt.Errorf("pebblekv: snapshot: %w", kv.ErrClosed)

func (s *snapshot) begin() error {
	if s.closed.Load() {
		return errSnapshotClosed
	}
	return s.db.begin()
}

func (s *snapshot) Get(dst, key []byte) ([]byte, error) {
	if err := s.begin(); err != nil {
		return dst, err
	}
	defer s.db.end()
	return s.db.get(s.p, dst, key)
}

func (s *snapshot) Iter(lo, hi []byte) (kv.Iterator, error) {
	if err := s.begin(); err != nil {
		return nil, err
	}
	defer s.db.end()
	return s.db.iter(s.p, lo, hi)
}

// Close must not run beside the snapshot's own reads.
func (s *snapshot) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	defer s.db.readers.Add(-1)
	return s.db.wrap("snapshot", s.p.Close())
}
