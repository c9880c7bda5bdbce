package store

import (
	"context"
	"fmt"
	"slices"
)

// SetIndexes makes specs the indexes of the store while it runs: new ones are built in the background, those that are not
// among them any more are dropped. rebuild, where not nil, must be among specs: what is stored of it is thrown away and made
// anew. Until an index is ready again searches do without it, and what needs it (Equal) fails.
//
// On an error nothing has changed but that the index to rebuild may be built anew at the next start.
func (s *Store) SetIndexes(ctx context.Context, specs []IndexSpec, rebuild *IndexSpec) error {
	if s.o.ReadOnly {
		return ErrReadOnly
	}
	specs = slices.Clone(specs)
	err := s.exclusive(ctx, func() error {
		g := *s.seq.gen
		var err error
		if g.indexes, err = newIndexSet(g.schema, specs); err != nil {
			return err
		}
		if rebuild != nil {
			if err := s.discardIndex(&g, *rebuild); err != nil {
				return err
			}
		}
		if err := s.openIndexes(&g); err != nil {
			return err
		}
		s.o.Indexes = specs
		s.seq.setGeneration(&g)
		return nil
	})
	if err == nil {
		s.changedGeneration()
	}
	return err
}

// discardIndex marks what is stored of an index as being of no use, so that openIndexes drops it and begins a new one.
func (s *Store) discardIndex(g *generation, spec IndexSpec) error {
	x, err := newIndex(g.schema, spec)
	if err != nil {
		return err
	}
	if g.indexes.find(x.attr, x.kind) == nil {
		return fmt.Errorf("there is no %v index on %s", spec.Kind, x.attr.Name())
	}
	states, err := readIndexStates(s.db)
	if err != nil {
		return err
	}
	state, ok := states[string(indexStateKey(x))]
	if !ok {
		return nil
	}
	state.format = 0
	b := s.db.NewBatch()
	defer b.Close()
	if err := b.Set(indexStateKey(x), state.append(nil)); err != nil {
		return err
	}
	if err := s.db.Apply(b); err != nil {
		return err
	}
	return s.db.Sync()
}
