package store

import (
	"context"
	"errors"
	"fmt"

	"portolan/internal/dit"
	"portolan/internal/inorder"
	"portolan/internal/kv"
)

const (
	eachBatch = 64        // entries
	eachBytes = 256 << 10 // octets of records
)

// EachEntry calls f for all entries, in the order in which they came. It passes the caches by, and reads ahead. An error of f
// ends it.
func (v *View) EachEntry(f func(e *dit.Entry) error) (err error) {
	r, err := v.kvReader()
	if err != nil {
		return err
	}
	it, err := r.Iter([]byte{spaceEntry}, []byte{spaceEntry + 1})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	shapes := v.gen.shapes
	return inorder.Each(context.Background(),
		func(give func(*entryBatch) bool) error { return readBatches(it, give) },
		func(b *entryBatch) { b.decode(shapes) },
		func(b *entryBatch) error {
			for _, e := range b.entries {
				if err := f(e); err != nil {
					return err
				}
			}
			return b.err
		})
}

// entryBatch is a run of records, and the entries in them up to the first that cannot be read.
type entryBatch struct {
	ids     []dit.ID
	ends    []int // of the records, in octets
	octets  []byte
	entries []*dit.Entry
	err     error
}

// readBatches gives all there is, as far as it can be read.
func readBatches(it kv.Iterator, give func(*entryBatch) bool) (err error) {
	b := &entryBatch{}
	for ok := it.First(); ok; ok = it.Next() {
		if err = b.take(it); err != nil {
			break
		}
		if len(b.ids) < eachBatch && len(b.octets) < eachBytes {
			continue
		}
		size := len(b.octets) // b is somebody else's from here on
		if !give(b) {
			return nil
		}
		b = &entryBatch{octets: make([]byte, 0, size)}
	}
	give(b)
	return errors.Join(err, it.Err())
}

func (b *entryBatch) take(it kv.Iterator) error {
	value, err := it.Value()
	if err != nil {
		return err
	}
	id, ok := readID(it.Key()[1:])
	if !ok {
		return corrupt("%x is not the key of an entry", it.Key())
	}
	b.ids = append(b.ids, id)
	b.octets = append(b.octets, value...)
	b.ends = append(b.ends, len(b.octets))
	return nil
}

func (b *entryBatch) decode(shapes *dit.Shapes) {
	b.entries = make([]*dit.Entry, 0, len(b.ids))
	from := 0
	for i, id := range b.ids {
		e, err := dit.DecodeEntry(shapes, id, b.octets[from:b.ends[i]])
		if err != nil {
			b.err = fmt.Errorf("%w: %w", ErrCorrupt, err)
			break
		}
		b.entries = append(b.entries, e)
		from = b.ends[i]
	}
	b.octets = nil
}
