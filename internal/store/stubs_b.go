package store

import (
	"context"

	"portolan/internal/kv"
)

func (s *Store) checkIndexes(ctx context.Context, r kv.Reader, g *generation, report func(Finding), st *CheckStats) error {
	return ctx.Err()
}
