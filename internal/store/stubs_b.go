package store

import (
	"context"

	"portolan/internal/kv"
)

func (s *Store) checkIndexes(ctx context.Context, r kv.Reader, g *generation, report func(Finding), st *CheckStats) error {
	return ctx.Err()
}

func recoverLoad(db kv.DB) error { return nil }

func (s *Store) buildIndexes(ctx context.Context) {}

func (s *Store) openIndexes(g *generation) error { return nil }

func indexStateKey(dst []byte, x *index) []byte { return append(dst, metaKey("index/")...) }

func decodeIndexState(value []byte) (indexState, bool) { return indexState{}, false }

type indexState struct {
	id    uint32
	state IndexState
}
