package memkv

import (
	"bytes"

	"github.com/tidwall/btree"

	"portolan/internal/kv"
)

// place is where an iterator stands.
type place int8

const (
	before place = iota // before the first key of its range; where it starts
	on                  // on a key
	after               // behind the last key
)

// iterator walks one tree, which nobody changes. It remembers on which side it left its range, so that turning round
// there finds the nearest key again.
type iterator struct {
	db     *DB
	it     btree.MapIter[string, []byte]
	lo, hi string
	bound  bool   // hi counts
	batch  *batch // whose iterator this is, or nil
	place  place
	key    []byte
	closed bool
}

var _ kv.Iterator = (*iterator)(nil)

func newIterator(db *DB, t *tree, lo, hi []byte) *iterator {
	db.readers.Add(1)
	return &iterator{db: db, it: t.Iter(), lo: string(lo), hi: string(hi), bound: hi != nil}
}

// land settles the iterator after a move: ok tells whether the tree had a key there.
func (i *iterator) land(ok bool, missed place) bool {
	if ok {
		switch k := i.it.Key(); {
		case i.bound && k >= i.hi:
			ok, missed = false, after
		case k < i.lo:
			ok, missed = false, before
		default:
			i.key = append(i.key[:0], k...)
		}
	}
	if !ok {
		i.place = missed
		return false
	}
	i.place = on
	return true
}

func (i *iterator) First() bool { return i.SeekGE(nil) }

func (i *iterator) SeekGE(key []byte) bool {
	if i.closed {
		return false
	}
	return i.land(i.it.Seek(max(string(key), i.lo)), after)
}

func (i *iterator) Last() bool {
	if i.closed {
		return false
	}
	if i.bound && i.it.Seek(i.hi) {
		return i.land(i.it.Prev(), before)
	}
	return i.land(i.it.Last(), before)
}

func (i *iterator) Next() bool {
	switch {
	case i.closed || i.place == after:
		return false
	case i.place == before:
		return i.First()
	}
	return i.land(i.it.Next(), after)
}

func (i *iterator) Prev() bool {
	switch {
	case i.closed || i.place == before:
		return false
	case i.place == after:
		return i.Last()
	}
	return i.land(i.it.Prev(), before)
}

func (i *iterator) Key() []byte {
	if i.closed || i.place != on {
		return nil
	}
	return i.key
}

// Value hands out a copy: a caller that scribbles on it must not change the store.
func (i *iterator) Value() ([]byte, error) {
	if i.closed || i.place != on {
		return nil, kv.ErrNotFound
	}
	return bytes.Clone(i.it.Value()), nil
}

func (i *iterator) Err() error { return nil }

func (i *iterator) Close() error {
	if !i.closed {
		i.closed = true
		i.db.readers.Add(-1)
		if i.batch != nil {
			i.batch.iters--
		}
	}
	return nil
}
