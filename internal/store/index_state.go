package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"portolan/internal/dit"
	"portolan/internal/kv"
)

// Names in the meta space. The state of an index is under metaIndex, the OID of its attribute, "/" and its kind.
const (
	metaIndex = "index/"
	// metaIndexNext holds the identity that the next new index gets. Identities are not used twice.
	metaIndexNext = "index/next"
)

// indexFormat is the version of the form of keys; an index of another one is built anew.
const indexFormat = 1

// indexState is what is stored about an index.
type indexState struct {
	format uint8
	state  IndexState
	id     uint32
	cursor dit.ID // all entries up to this one are in a building index
	rule   string // OID of the rule whose keys it holds; empty for presence
}

func (s indexState) append(dst []byte) []byte {
	dst = append(dst, s.format, byte(s.state))
	dst = binary.BigEndian.AppendUint32(dst, s.id)
	return append(appendID(dst, s.cursor), s.rule...)
}

func decodeIndexState(b []byte) (indexState, bool) {
	if len(b) < 14 {
		return indexState{}, false
	}
	return indexState{
		format: b[0], state: IndexState(b[1]), id: binary.BigEndian.Uint32(b[2:]),
		cursor: dit.ID(binary.BigEndian.Uint64(b[6:])), rule: string(b[14:]),
	}, true
}

func indexStateKey(x *index) []byte {
	key := append(append([]byte{spaceMeta}, metaIndex...), x.attr.OID...)
	return append(append(key, '/'), x.kind.String()...)
}

func (x *index) ruleOID() string {
	if x.rule == nil {
		return ""
	}
	return x.rule.OID
}

// openIndexes compares the indexes of g with those that are stored: it gives each its identity and state, makes new ones,
// and drops those that are not asked for any more or that hold the keys of another rule. Nothing else runs meanwhile.
func (s *Store) openIndexes(g *generation) error {
	stored, err := readIndexStates(s.db)
	if err != nil {
		return err
	}
	if s.o.ReadOnly {
		for _, x := range g.indexes.list {
			x.take(stored[string(indexStateKey(x))])
		}
		return nil
	}
	empty, err := isEmptySpace(s.db, spaceEntry)
	if err != nil {
		return err
	}
	next, err := readNextIndex(s.db)
	if err != nil {
		return err
	}
	b := s.db.NewBatch()
	defer b.Close()
	for _, x := range g.indexes.list {
		key := string(indexStateKey(x))
		if x.take(stored[key]) {
			delete(stored, key)
			continue
		}
		x.id = next
		next++
		state := IndexBuilding
		if empty {
			state = IndexReady
		}
		x.state.Store(uint32(state))
		value := indexState{format: indexFormat, state: state, id: x.id, rule: x.ruleOID()}
		if err := b.Set([]byte(key), value.append(nil)); err != nil {
			return err
		}
		s.log.Info("new index", "attribute", x.attr.Name(), "kind", x.kind.String(), "state", state.String())
	}
	for key, old := range stored {
		if err := dropIndex(b, g.indexes, key, old.id); err != nil {
			return err
		}
		s.log.Info("index dropped", "index", strings.TrimPrefix(key[1:], metaIndex))
	}
	if b.Len() == 0 {
		return nil
	}
	if err := b.Set(metaKey(metaIndexNext), binary.BigEndian.AppendUint32(nil, next)); err != nil {
		return err
	}
	if err := s.db.Apply(b); err != nil {
		return err
	}
	return s.db.Sync()
}

// take gives the index the identity and state that are stored, if they are still good for it.
func (x *index) take(old indexState) bool {
	if old.id == 0 || old.format != indexFormat || old.rule != x.ruleOID() {
		return false
	}
	x.id = old.id
	x.state.Store(uint32(old.state))
	x.done.Store(int64(old.cursor))
	return true
}

// dropIndex removes the keys of an index, and its state unless an index of the same name has just been made.
func dropIndex(w kv.Writer, set *indexSet, key string, id uint32) error {
	lo := binary.BigEndian.AppendUint32([]byte{spaceIndex}, id)
	if err := w.DeleteRange(lo, keyAfter(lo)); err != nil {
		return err
	}
	for _, x := range set.list {
		if string(indexStateKey(x)) == key {
			return nil
		}
	}
	return w.Delete([]byte(key))
}

// readIndexStates returns what is stored about indexes, by key.
func readIndexStates(r kv.Reader) (states map[string]indexState, err error) {
	lo := metaKey(metaIndex)
	it, err := r.Iter(lo, keyAfter(lo))
	if err != nil {
		return nil, err
	}
	defer func() { err = first(err, it.Close()) }()
	states = make(map[string]indexState)
	for ok := it.First(); ok; ok = it.Next() {
		name := string(it.Key()[1:])
		if name == metaIndexNext || name == metaLoading {
			continue
		}
		value, err := it.Value()
		if err != nil {
			return nil, err
		}
		state, ok := decodeIndexState(value)
		if !ok {
			return nil, corrupt("the state of the index %q has %d octets", strings.TrimPrefix(name, metaIndex), len(value))
		}
		states[string(it.Key())] = state
	}
	return states, it.Err()
}

func readNextIndex(r kv.Reader) (uint32, error) {
	value, err := r.Get(nil, metaKey(metaIndexNext))
	switch {
	case errors.Is(err, kv.ErrNotFound):
		return 1, nil
	case err != nil:
		return 0, err
	case len(value) != 4:
		return 0, corrupt("the identity of the next index has %d octets", len(value))
	}
	return binary.BigEndian.Uint32(value), nil
}

// isEmptySpace reports whether a space has no keys.
func isEmptySpace(r kv.Reader, space byte) (empty bool, err error) {
	it, err := r.Iter([]byte{space}, []byte{space + 1})
	if err != nil {
		return false, err
	}
	empty = !it.First()
	return empty, errors.Join(it.Err(), it.Close())
}

// Indexes returns the indexes of the store and how far they are.
func (s *Store) Indexes() []IndexInfo {
	d := s.durable.Load()
	set := d.gen.indexes
	out := make([]IndexInfo, 0, len(set.list))
	for _, x := range set.list {
		info := IndexInfo{Spec: x.spec, State: IndexState(x.state.Load())}
		if info.State != IndexReady {
			info.Done, info.Total = int(x.done.Load()), max(int(d.entries), int(x.done.Load()))
		}
		out = append(out, info)
	}
	return out
}

// loadedSpaces are the spaces that a bulk load fills.
var loadedSpaces = [...]byte{spaceCount, spaceEntry, spaceLarge, spacePosition, spaceUUID, spaceIndex}

// recoverLoad removes what a bulk load left behind that did not get to its end. Such a load began with an empty store.
func recoverLoad(db kv.DB) error {
	_, err := db.Get(nil, metaKey(metaLoading))
	if errors.Is(err, kv.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	b := db.NewBatch()
	defer b.Close()
	for _, space := range loadedSpaces {
		if err := b.DeleteRange([]byte{space}, []byte{space + 1}); err != nil {
			return err
		}
	}
	if err := b.Delete(metaKey(metaLoading)); err != nil {
		return err
	}
	if err := db.Apply(b); err != nil {
		return fmt.Errorf("store: removing what an import that was cut short left behind: %w", err)
	}
	return db.Sync()
}
