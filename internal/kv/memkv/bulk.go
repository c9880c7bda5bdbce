package memkv

import (
	"errors"
	"fmt"

	"portolan/internal/kv"
)

// NewBulk implements kv.DB. Keys that exist already are replaced.
func (db *DB) NewBulk() (kv.Bulk, error) {
	if err := db.open(); err != nil {
		return nil, err
	}
	return &bulk{db: db}, nil
}

type bulk struct {
	db    *DB
	pairs []op
	done  bool
}

func (b *bulk) Add(key, value []byte) error {
	if b.done {
		return fmt.Errorf("memkv: bulk load was finished or aborted: %w", kv.ErrClosed)
	}
	if len(key) == 0 {
		return errEmptyKey
	}
	if n := len(b.pairs); n > 0 && b.pairs[n-1].key >= string(key) {
		return fmt.Errorf("memkv: bulk load: key %q does not come after %q; add keys in strictly ascending order", key, b.pairs[n-1].key)
	}
	b.pairs = append(b.pairs, op{opSet, string(key), append([]byte{}, value...)})
	return nil
}

// Finish makes the pairs visible and durable, and nothing else durable with them: a store must not come to rely on that.
func (b *bulk) Finish() error {
	if b.done {
		return fmt.Errorf("memkv: bulk load was finished or aborted: %w", kv.ErrClosed)
	}
	b.done = true
	b.db.mu.Lock()
	defer b.db.mu.Unlock()
	if err := b.db.open(); err != nil {
		return errors.Join(errors.New("memkv: bulk load"), err)
	}
	b.db.current.Store(b.loadInto(b.db.current.Load()))
	b.db.durable = b.loadInto(b.db.durable)
	b.pairs = nil
	return nil
}

func (b *bulk) loadInto(t *tree) *tree {
	t = t.Copy()
	for _, p := range b.pairs {
		t.Set(p.key, p.val)
	}
	return t
}

func (b *bulk) Abort() error {
	b.done, b.pairs = true, nil
	return nil
}
