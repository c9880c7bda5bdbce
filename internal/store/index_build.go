package store

import (
	"context"
	"errors"

	"portolan/internal/dit"
	"portolan/internal/kv"
)

// An index that is asked for while there are entries already is built in the background, in steps. From its first moment on
// every write keeps it, so that it only lacks the entries that were there before; each step runs between two transactions,
// takes some more of them as they are then, and writes down how far it has come. To add what a write has added already
// changes nothing. When a step meets the end the index is ready.

const (
	// buildStep is the number of entries that one step takes, buildBytes about the octets of changes after which it ends
	// early: writers wait for it.
	buildStep  = 128
	buildBytes = 1 << 20
)

// errGenerationMoved ends a step that began under another schema.
var errGenerationMoved = errors.New("store: the schema has changed")

// buildIndexes builds what is to be built until ctx ends.
func (s *Store) buildIndexes(ctx context.Context) {
	for {
		g := s.live.Load()
		if todo := g.indexes.unfinished(); len(todo) > 0 {
			err := s.build(ctx, g, todo)
			switch {
			case ctx.Err() != nil:
				return
			case errors.Is(err, errGenerationMoved):
				continue
			case err != nil:
				// Nothing is lost: the next start goes on where this one ended.
				s.log.Error("an index could not be built", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-s.indexWake:
		}
	}
}

func (s *indexSet) unfinished() []*index {
	var todo []*index
	for _, x := range s.list {
		if IndexState(x.state.Load()) != IndexReady {
			todo = append(todo, x)
		}
	}
	return todo
}

// build brings all of todo to the end.
func (s *Store) build(ctx context.Context, g *generation, todo []*index) error {
	for {
		var cursor dit.ID
		var done bool
		err := s.applyInternal(ctx, func(b kv.Batch) error {
			if s.live.Load() != g {
				return errGenerationMoved
			}
			var err error
			cursor, done, err = buildSome(b, g, todo)
			return err
		})
		if err != nil {
			return err
		}
		for _, x := range todo {
			x.done.Store(int64(cursor))
			if done {
				// Snapshots that are older see an index that is not complete.
				x.since.Store(s.durable.Load().version)
				x.state.Store(uint32(IndexReady))
				s.log.Info("index ready", "attribute", x.attr.Name(), "kind", x.kind.String())
			}
		}
		if done {
			return nil
		}
	}
}

// buildSome takes some more entries, from the least advanced cursor on.
func buildSome(b kv.Batch, g *generation, todo []*index) (cursor dit.ID, done bool, err error) {
	states := make([]indexState, len(todo))
	for i, x := range todo {
		value, err := b.Get(nil, indexStateKey(x))
		if err != nil {
			return 0, false, err
		}
		state, ok := decodeIndexState(value)
		if !ok || state.id != x.id {
			return 0, false, corrupt("the state of the index on %s is not what it was", x.attr.Name())
		}
		states[i] = state
		if i == 0 || state.cursor < cursor {
			cursor = state.cursor
		}
	}
	entries, err := readEntries(b, g, cursor+1, buildStep)
	if err != nil {
		return 0, false, err
	}
	done = len(entries) < buildStep
	w := g.indexes.indexer()
	defer w.release()
	for _, e := range entries {
		for i, x := range todo {
			if states[i].cursor >= e.ID {
				continue
			}
			if err := w.index(b, batchLarge{b}, x, e); err != nil {
				return 0, false, err
			}
		}
		cursor = e.ID
		if b.Size() > buildBytes {
			done = false
			break
		}
	}
	for i, x := range todo {
		states[i].cursor = max(states[i].cursor, cursor)
		if done {
			states[i].state = IndexReady
		}
		if err := b.Set(indexStateKey(x), states[i].append(nil)); err != nil {
			return 0, false, err
		}
	}
	return cursor, done, nil
}

// index writes all postings of an entry in one index.
func (w *indexer) index(to kv.Writer, src dit.LargeSource, x *index, e *dit.Entry) error {
	var slots sources
	for slot, d := range e.Shape().Slots {
		if x.covers(d) {
			slots = append(slots, slot)
		}
	}
	if len(slots) == 0 {
		return nil
	}
	return w.eachOf(x, slots, src, e, func(x *index, kind IndexKind, key []byte) error {
		return w.put(to, x, kind, key, e.ID, true)
	})
}

// readEntries reads up to n entries from an id on.
func readEntries(r kv.Reader, g *generation, from dit.ID, n int) (entries []*dit.Entry, err error) {
	it, err := r.Iter(entryKey(nil, from), []byte{spaceEntry + 1})
	if err != nil {
		return nil, err
	}
	defer func() { err = first(err, it.Close()) }()
	for ok := it.First(); ok && len(entries) < n; ok = it.Next() {
		id, ok := readID(it.Key()[1:])
		if !ok {
			return nil, corrupt("entry key %x", it.Key())
		}
		value, err := it.Value()
		if err != nil {
			return nil, err
		}
		e, err := dit.DecodeEntry(g.shapes, id, value)
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	return entries, it.Err()
}

// batchLarge reads large attributes from any reader.
type batchLarge struct{ r kv.Reader }

func (b batchLarge) LargeHas(e *dit.Entry, slot int, key []byte) (bool, error) {
	var buf []byte
	return largeHas(b.r, append(largeKey(nil, e.ID, e.Shape().Slots[slot]), key...), &buf)
}

func (b batchLarge) LargeEach(e *dit.Entry, slot int, f func(key, value []byte) bool) error {
	return largeEach(b.r, e.ID, e.Shape().Slots[slot], f)
}
