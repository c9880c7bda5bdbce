package store

import (
	"bytes"
	"context"
	"errors"

	"portolan/internal/dit"
)

// A server that was just started would answer its first searches from the kv, each for ten times the work of a hit. So the
// caches are filled in the background, in the order of the keys, which is much cheaper than one read after the other:
// entries with their places in the tree, as far as there is room, then the equality keys that only one entry has. Nothing
// waits for it, and what it has not come to is read as ever.

// warmStep is the number of keys after which another view is taken, so that none is kept for long.
const warmStep = 4096

// warmCaches fills the caches of each generation once, until ctx ends.
func (s *Store) warmCaches(ctx context.Context) {
	for {
		g := s.live.Load()
		if err := s.warm(ctx, g); err != nil && ctx.Err() == nil && !errors.Is(err, errGenerationMoved) {
			// What was not read now is read when it is asked for, and then the error has somebody to go to.
			s.log.Warn("the caches could not be filled", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-s.warmWake:
		}
	}
}

func (s *Store) warm(ctx context.Context, g *generation) error {
	room := g.caches.entries.limit - g.caches.entries.limit/16
	err := s.eachOf(ctx, g, []byte{spaceEntry}, func(v *View, key, value []byte) (bool, error) {
		id, ok := readID(key[1:])
		if !ok {
			return false, corrupt("%x is not the key of an entry", key)
		}
		e, err := dit.DecodeEntry(g.shapes, id, value)
		if err != nil {
			return false, err
		}
		g.caches.fillEntry(e, v.at.seq)
		g.caches.fillPlace(e.Parent, e.NormRDN, id, v.at.seq)
		return g.caches.entries.weight.Load() < room, nil
	})
	for _, x := range g.indexes.list {
		if err == nil && x.kind == IndexEquality {
			err = s.warmIndex(ctx, g, x)
		}
	}
	return err
}

// warmIndex fills in the keys that only one entry has.
func (s *Store) warmIndex(ctx context.Context, g *generation, x *index) error {
	var prefix []byte // of the posting that is being looked at
	var one dit.ID
	var n int
	var seq uint64
	settle := func() {
		if n == 1 {
			g.caches.fillList(prefix, []dit.ID{one}, seq)
		}
	}
	err := s.eachOf(ctx, g, appendIndexHeader(nil, x, IndexEquality), func(v *View, key, value []byte) (bool, error) {
		if IndexState(x.state.Load()) != IndexReady || x.since.Load() > v.version() || g.caches.ids.full() {
			n = 0
			return false, nil
		}
		_, _, _, number, ok := splitIndexKey(key)
		if !ok {
			return false, corrupt("%x is not the key of a posting", key)
		}
		if at := key[:len(key)-chunkBytes]; !bytes.Equal(at, prefix) || v.at.seq != seq {
			settle()
			prefix, n, seq = append(prefix[:0], at...), 0, v.at.seq
		}
		chunk, ok := viewChunk(value)
		if !ok {
			return false, corrupt("the posting %x is none", key)
		}
		if n += chunk.n; n == 1 && chunk.n == 1 {
			one = dit.ID(number<<chunkBits | uint64(chunk.at(0)))
		}
		return true, nil
	})
	settle()
	return err
}

// eachOf calls f for the keys that begin with prefix, until it returns false: in steps, each in a view of its own, which is
// pinned. It never ends a step between two keys that differ in their last octets only, the chunks of one posting.
func (s *Store) eachOf(ctx context.Context, g *generation, prefix []byte, f func(v *View, key, value []byte) (bool, error)) error {
	from, end := prefix, keyAfter(prefix)
	for from != nil {
		if err := ctx.Err(); err != nil {
			return err
		}
		var err error
		if from, err = s.stepOf(g, from, end, f); err != nil {
			return err
		}
	}
	return nil
}

// stepOf returns where the next step begins, nil after the last.
func (s *Store) stepOf(g *generation, from, end []byte, f func(v *View, key, value []byte) (bool, error)) (next []byte, err error) {
	v := s.View()
	defer v.Close()
	r, err := v.kvReader()
	if err != nil {
		return nil, err
	}
	if v.gen.caches != g.caches || v.gen.indexes != g.indexes {
		return nil, errGenerationMoved
	}
	it, err := r.Iter(from, end)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	var last []byte
	n := 0
	for ok := it.First(); ok; ok = it.Next() {
		key := it.Key()
		if n >= warmStep && !sameButChunk(key, last) {
			return bytes.Clone(key), nil
		}
		value, err := it.Value()
		if err != nil {
			return nil, err
		}
		if more, err := f(v, key, value); !more || err != nil {
			return nil, err
		}
		if n++; n >= warmStep {
			last = append(last[:0], key...)
		}
	}
	return nil, it.Err()
}

// sameButChunk reports whether two keys are those of chunks of one posting.
func sameButChunk(a, b []byte) bool {
	n := len(a) - chunkBytes
	return a[0] == spaceIndex && len(a) == len(b) && n > 0 && bytes.Equal(a[:n], b[:n])
}
