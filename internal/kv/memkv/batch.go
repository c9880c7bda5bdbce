package memkv

import (
	"bytes"
	"errors"
	"fmt"

	"portolan/internal/kv"
)

type opKind int8

const (
	opSet opKind = iota
	opDelete
	opDeleteRange
	opMerge
)

// op is one change; val is the value, the operand or the end of a range.
type op struct {
	kind opKind
	key  string
	val  []byte
}

// batch keeps its changes as a list, and a view: a copy of the store's tree with the first viewed changes in it. The view
// is made again when the store has moved on, and otherwise only brought up to date, so a read costs what was written
// since the last one.
type batch struct {
	db     *DB
	ops    []op
	size   int
	base   *tree // the store's tree that view was made from
	view   *tree
	viewed int // changes of ops that view has
	iters  int // open iterators over the batch
	done   bool
}

var _ kv.Batch = (*batch)(nil)

func (b *batch) usable() error {
	if b.done {
		return fmt.Errorf("memkv: batch was applied or closed: %w", kv.ErrClosed)
	}
	return b.db.open()
}

func (b *batch) add(kind opKind, key, val []byte) error {
	if err := b.usable(); err != nil {
		return err
	}
	if len(key) == 0 && kind != opDeleteRange {
		return errEmptyKey
	}
	b.ops = append(b.ops, op{kind, string(key), append([]byte{}, val...)})
	b.size += len(key) + len(val)
	return nil
}

var errEmptyKey = errors.New("memkv: a key needs at least one octet")

func (b *batch) Set(key, value []byte) error { return b.add(opSet, key, value) }

func (b *batch) Delete(key []byte) error { return b.add(opDelete, key, nil) }

func (b *batch) DeleteRange(lo, hi []byte) error {
	if hi == nil {
		return errors.New("memkv: DeleteRange needs an upper bound; give the first key behind the range")
	}
	if bytes.Compare(lo, hi) >= 0 {
		return b.usable()
	}
	return b.add(opDeleteRange, lo, hi)
}

func (b *batch) Merge(key, operand []byte) error {
	if b.db.merger == nil {
		return errNoMerger
	}
	return b.add(opMerge, key, operand)
}

// viewLocked returns the store's present tree with this batch in it. DB.mu is held.
func (b *batch) viewLocked() *tree {
	if cur := b.db.current.Load(); b.base != cur {
		b.base, b.view, b.viewed = cur, cur.Copy(), 0
	}
	for _, o := range b.ops[b.viewed:] {
		switch o.kind {
		case opSet:
			b.view.Set(o.key, o.val)
		case opDelete:
			b.view.Delete(o.key)
		case opDeleteRange:
			deleteRange(b.view, o.key, string(o.val))
		case opMerge:
			mergeInto(b.view, b.db.merger, o)
		}
	}
	b.viewed = len(b.ops)
	return b.view
}

func deleteRange(t *tree, lo, hi string) {
	var keys []string
	t.Ascend(lo, func(k string, _ []byte) bool {
		if k >= hi {
			return false
		}
		keys = append(keys, k)
		return true
	})
	for _, k := range keys {
		t.Delete(k)
	}
}

func mergeInto(t *tree, m kv.Merger, o op) {
	old, _ := t.Get(o.key)
	// The merger may keep or return what it is given, so it gets copies. A present empty value is not nil.
	v := m.Merge([]byte(o.key), bytes.Clone(old), [][]byte{o.val})
	t.Set(o.key, append([]byte{}, v...))
}

func (b *batch) Get(dst, key []byte) ([]byte, error) {
	if err := b.usable(); err != nil {
		return dst, err
	}
	b.db.mu.Lock()
	t := b.viewLocked()
	b.db.mu.Unlock()
	return get(t, dst, key)
}

// Iter walks the batch as it is now: changes made later are not seen.
func (b *batch) Iter(lo, hi []byte) (kv.Iterator, error) {
	if err := b.usable(); err != nil {
		return nil, err
	}
	b.db.mu.Lock()
	t := b.viewLocked().Copy()
	b.db.mu.Unlock()
	i := newIterator(b.db, t, lo, hi)
	i.batch = b
	b.iters++
	return i, nil
}

func (b *batch) Len() int  { return len(b.ops) }
func (b *batch) Size() int { return b.size }

func (b *batch) Close() error {
	b.done, b.ops, b.view, b.base = true, nil, nil, nil
	return nil
}
