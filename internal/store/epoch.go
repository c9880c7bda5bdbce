package store

import (
	"context"

	"portolan/internal/dit"
)

// NewEpoch begins an epoch with the entries that are there: the journal begins anew, and positions from before mean nothing
// any more. It is for content that did not come about by this journal alone, such as that of a backup. CSNs go on above
// the highest that the store knows, and above this one.
func (s *Store) NewEpoch(ctx context.Context, above dit.CSN) error {
	if s.o.ReadOnly {
		return ErrReadOnly
	}
	err := s.exclusive(ctx, func() error {
		high := &s.seq.high
		return s.installBase(base{Entries: int(high.entries), NextID: high.nextID, CSN: above})
	})
	if err == nil {
		s.journal.broadcast()
	}
	return err
}
