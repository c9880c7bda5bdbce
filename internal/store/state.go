package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"portolan/internal/kv"
	"portolan/ldap"
)

// Limits of state values, in octets.
const (
	MaxStateKey   = 1 << 10
	MaxStateValue = 64 << 10
)

// flushInterval is how long a change of State may stay in memory: what a crash loses at most.
const flushInterval = time.Second

// State are small durable keys that are not content: failure times, counters, cursors. Changes are seen at once by all
// who ask and are written at most once a second, so that a crash loses up to a second of them; Close writes them, and
// Flush does when asked. What must be durable before an answer goes through Tx.SetState instead.
type State struct {
	s     *Store
	dirty chan struct{} // holds a token while there is something to write

	mu     sync.Mutex
	values map[string]stateValue // newer than the durable state, or on the way to it
	serial uint64
}

// stateValue is a value that readers must see although the durable state may not have it yet.
type stateValue struct {
	value  []byte // nil: deleted
	serial uint64
	dirty  bool // not yet in a transaction
}

// stateChange is one change inside a transaction.
type stateChange struct {
	key    string
	value  []byte // nil: deleted
	serial uint64 // given by State.applied
}

func newState(s *Store) *State {
	return &State{s: s, dirty: make(chan struct{}, 1), values: make(map[string]stateValue)}
}

// State returns the store's small durable keys.
func (s *Store) State() *State { return s.state }

// Get returns a value, or nil when there is none. The caller may keep it.
func (st *State) Get(key []byte) ([]byte, error) {
	st.mu.Lock()
	v, ok := st.values[string(key)]
	st.mu.Unlock()
	if ok {
		return slices.Clone(v.value), nil
	}
	view := st.s.View()
	defer view.Close()
	r, err := view.kvReader()
	if err != nil {
		return nil, err
	}
	view.key = stateKey(view.key[:0], key)
	return getStored(r, view.key)
}

func getState(r kv.Reader, key []byte) ([]byte, error) { return getStored(r, stateKey(nil, key)) }

// getStored reads a value by its whole key.
func getStored(r kv.Reader, key []byte) ([]byte, error) {
	v, err := r.Get([]byte{}, key)
	if errors.Is(err, kv.ErrNotFound) {
		return nil, nil
	}
	return v, err
}

// Set changes a value; nil deletes it.
func (st *State) Set(key, value []byte) error {
	if err := checkState(key, value); err != nil {
		return err
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.set(string(key), slices.Clone(value))
}

// Delete removes a value.
func (st *State) Delete(key []byte) error { return st.Set(key, nil) }

// Update changes a value to what f makes of it, with no other change in between. f gets nil when there is no value, and
// returns nil to delete it; it must not use the State.
func (st *State) Update(key []byte, f func(old []byte) []byte) error {
	for {
		old, serial, err := st.versioned(key)
		if err != nil {
			return err
		}
		value := f(old)
		if err := checkState(key, value); err != nil {
			return err
		}
		st.mu.Lock()
		if v, ok := st.values[string(key)]; ok && v.serial == serial || !ok && serial == 0 {
			err := st.set(string(key), slices.Clone(value))
			st.mu.Unlock()
			return err
		}
		st.mu.Unlock()
	}
}

// versioned returns a value with the serial of its version in memory. A value that is only durable is first taken into
// memory, so that no change of it goes unnoticed.
func (st *State) versioned(key []byte) ([]byte, uint64, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if v, ok := st.values[string(key)]; ok {
		return slices.Clone(v.value), v.serial, nil
	}
	// Under the lock: a value leaves the memory only after the durable state has it, see settled.
	view := st.s.View()
	defer view.Close()
	r, err := view.kvReader()
	if err != nil {
		return nil, 0, err
	}
	old, err := getState(r, key)
	if err != nil {
		return nil, 0, err
	}
	st.serial++
	st.values[string(key)] = stateValue{value: slices.Clone(old), serial: st.serial, dirty: true}
	st.wake()
	return old, st.serial, nil
}

// set is called with the lock held.
func (st *State) set(key string, value []byte) error {
	if st.s.o.ReadOnly {
		return ErrReadOnly
	}
	st.serial++
	st.values[key] = stateValue{value: value, serial: st.serial, dirty: true}
	st.wake()
	return nil
}

func (st *State) wake() {
	select {
	case st.dirty <- struct{}{}:
	default:
	}
}

// Each calls f for every value whose key begins with prefix, in the order of keys, until it returns false.
func (st *State) Each(prefix []byte, f func(key, value []byte) bool) error {
	st.mu.Lock()
	fresh := make(map[string][]byte)
	for k, v := range st.values {
		if bytes.HasPrefix([]byte(k), prefix) {
			fresh[k] = v.value
		}
	}
	// The view is taken under the lock: what leaves the memory afterwards was in fresh, what left before is durable.
	view := st.s.View()
	defer view.Close()
	err := view.Pin()
	st.mu.Unlock()
	if err != nil {
		return err
	}
	all, err := stateUnder(view.at.snap, prefix)
	if err != nil {
		return err
	}
	for k, v := range fresh {
		all[k] = v
	}
	keys := make([]string, 0, len(all))
	for k, v := range all {
		if v != nil {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		if !f([]byte(k), slices.Clone(all[k])) {
			return nil
		}
	}
	return nil
}

func stateUnder(r kv.Reader, prefix []byte) (_ map[string][]byte, err error) {
	lo := stateKey(nil, prefix)
	it, err := r.Iter(lo, keyAfter(lo))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	all := make(map[string][]byte)
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.Value()
		if err != nil {
			return nil, err
		}
		all[string(it.Key()[1:])] = append([]byte{}, value...)
	}
	return all, it.Err()
}

// Flush writes what is in memory and returns when it is durable.
func (st *State) Flush(ctx context.Context) error {
	st.mu.Lock()
	var changes []stateChange
	for k, v := range st.values {
		if v.dirty {
			changes = append(changes, stateChange{key: k, value: v.value, serial: v.serial})
		}
	}
	st.mu.Unlock()
	if len(changes) == 0 {
		return nil
	}
	err := st.s.applyInternal(ctx, func(b kv.Batch) error {
		for _, c := range changes {
			// A transaction that came in between has the newer value.
			st.mu.Lock()
			v, ok := st.values[c.key]
			st.mu.Unlock()
			if !ok || v.serial != c.serial {
				continue
			}
			if err := setState(b, c.key, c.value); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	st.settled(changes)
	return nil
}

func setState(w kv.Writer, key string, value []byte) error {
	if value == nil {
		return w.Delete(stateKey(nil, []byte(key)))
	}
	return w.Set(stateKey(nil, []byte(key)), value)
}

// applied takes over what a transaction has changed: from here on it is the newest value.
func (st *State) applied(changes []stateChange) {
	if len(changes) == 0 {
		return
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	for i := range changes {
		st.serial++
		changes[i].serial = st.serial
		st.values[changes[i].key] = stateValue{value: changes[i].value, serial: st.serial}
	}
}

// settled forgets values that the durable state has.
func (st *State) settled(changes []stateChange) {
	st.mu.Lock()
	defer st.mu.Unlock()
	for _, c := range changes {
		if v, ok := st.values[c.key]; ok && v.serial == c.serial {
			delete(st.values, c.key)
		}
	}
}

// flusher writes changes down until the store is closed.
func (st *State) flusher(ctx context.Context) {
	timer := time.NewTimer(flushInterval)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-st.dirty:
		}
		timer.Reset(flushInterval)
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if err := st.Flush(ctx); err != nil && ctx.Err() == nil {
			st.s.log.Warn("state could not be written, it stays in memory", "error", err)
			st.wake()
		}
	}
}

func checkState(key, value []byte) error {
	if len(key) > MaxStateKey || len(value) > MaxStateValue {
		return fmt.Errorf("store: a state of %d octets under a key of %d: at most %d and %d", len(value), len(key), MaxStateValue, MaxStateKey)
	}
	return nil
}

// State returns a small durable value as this transaction sees it, or nil.
func (t *Tx) State(key []byte) ([]byte, error) {
	for i := len(t.states) - 1; i >= 0; i-- {
		if t.states[i].key == string(key) {
			return slices.Clone(t.states[i].value), nil
		}
	}
	st := t.s.state
	st.mu.Lock()
	v, ok := st.values[string(key)]
	st.mu.Unlock()
	if ok {
		return slices.Clone(v.value), nil
	}
	return getState(t.b, key)
}

// SetState changes a small durable value with the transaction; nil deletes it.
func (t *Tx) SetState(key, value []byte) error {
	if err := checkState(key, value); err != nil {
		return ldap.Errorf(ldap.Other, "internal error; the server's log says more").Because(err)
	}
	c := stateChange{key: string(key), value: slices.Clone(value)}
	if value != nil && c.value == nil {
		c.value = []byte{}
	}
	t.states = append(t.states, c)
	return setState(t.b, c.key, c.value)
}
