package faultkv

import "portolan/internal/kv"

type snapshot struct {
	kv.Snapshot
	db *DB
}

func (s *snapshot) Get(dst, key []byte) ([]byte, error) { return s.db.get(s.Snapshot, dst, key) }

func (s *snapshot) Iter(lo, hi []byte) (kv.Iterator, error) { return s.db.iter(s.Snapshot, lo, hi) }

type batch struct {
	kv.Batch
	db *DB
}

func (b *batch) Get(dst, key []byte) ([]byte, error) { return b.db.get(b.Batch, dst, key) }

func (b *batch) Iter(lo, hi []byte) (kv.Iterator, error) { return b.db.iter(b.Batch, lo, hi) }

func (b *batch) Set(key, value []byte) error {
	return b.db.do(Set, func() error { return b.Batch.Set(key, value) })
}

func (b *batch) Delete(key []byte) error {
	return b.db.do(Delete, func() error { return b.Batch.Delete(key) })
}

func (b *batch) DeleteRange(lo, hi []byte) error {
	return b.db.do(DeleteRange, func() error { return b.Batch.DeleteRange(lo, hi) })
}

func (b *batch) Merge(key, operand []byte) error {
	return b.db.do(Merge, func() error { return b.Batch.Merge(key, operand) })
}

type bulk struct {
	kv.Bulk
	db *DB
}

func (b *bulk) Add(key, value []byte) error {
	return b.db.do(BulkAdd, func() error { return b.Bulk.Add(key, value) })
}

func (b *bulk) Finish() error { return b.db.do(BulkFinish, b.Bulk.Finish) }

// iterator fails like one whose block could not be read: the move finds nothing, and so do all later ones.
type iterator struct {
	kv.Iterator
	db     *DB
	err    error
	closed bool
}

func (i *iterator) move(move func() bool) bool {
	if i.closed || i.err != nil {
		return false
	}
	if i.err = i.db.read(Move); i.err != nil {
		return false
	}
	return move()
}

func (i *iterator) First() bool { return i.move(i.Iterator.First) }
func (i *iterator) Next() bool  { return i.move(i.Iterator.Next) }
func (i *iterator) Last() bool  { return i.move(i.Iterator.Last) }
func (i *iterator) Prev() bool  { return i.move(i.Iterator.Prev) }

func (i *iterator) SeekGE(key []byte) bool {
	return i.move(func() bool { return i.Iterator.SeekGE(key) })
}

func (i *iterator) Key() []byte {
	if i.err != nil {
		return nil
	}
	return i.Iterator.Key()
}

func (i *iterator) Value() ([]byte, error) {
	if i.err != nil {
		return nil, i.err
	}
	if err := i.db.read(Value); err != nil {
		return nil, err
	}
	return i.Iterator.Value()
}

func (i *iterator) Err() error {
	if i.err != nil {
		return i.err
	}
	return i.Iterator.Err()
}

func (i *iterator) Close() error {
	i.closed = true
	return i.Iterator.Close()
}
