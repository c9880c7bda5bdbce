package store

import (
	"context"
	"errors"
	"fmt"

	"portolan/internal/kv"
	"portolan/internal/schema"
)

// Live definitions of the schema are kept as one value in the meta space, so that a checkpoint of the store has them with
// the entries that use them. They are written in the step that puts the schema in force.

// withLive returns the schema of files with the live definitions of the store.
func withLive(r kv.Reader, sch *schema.Schema) (*schema.Schema, error) {
	text, err := r.Get(nil, metaKey(metaSchema))
	if err != nil && !errors.Is(err, kv.ErrNotFound) {
		return nil, fmt.Errorf("store: live definitions: %w", err)
	}
	if err != nil || len(text) == 0 {
		return sch.Base()
	}
	defs, err := schema.ParseLive(text)
	if err != nil {
		return nil, corrupt("the live definitions of the schema: %v", err)
	}
	out, err := sch.WithLive(defs)
	if err != nil {
		return nil, fmt.Errorf("the schema defined through LDAP (cn=Subschema) and the schema files do not go together: %w; change the file, or start without it and delete the definition from cn=Subschema first", err)
	}
	return out, nil
}

// SetSchema is ReplaceSchema.
func (s *Store) SetSchema(sch *schema.Schema) error {
	return s.ReplaceSchema(context.Background(), sch)
}

// ReplaceSchema makes sch the schema of all transactions and views that begin after it returns, and makes its live
// definitions durable in the same step. Caches start anew, and indexes whose rule has changed are built again. Entries in
// the store must not use types that sch does not know.
//
// When it fails the old schema stays in force.
func (s *Store) ReplaceSchema(ctx context.Context, sch *schema.Schema) error {
	if sch == nil {
		return errors.New("store: ReplaceSchema without a schema")
	}
	if s.o.ReadOnly {
		return ErrReadOnly
	}
	err := s.exclusive(ctx, func() error {
		g, err := s.newGeneration(sch, s.seq.high.entries)
		if err != nil {
			return err
		}
		if err := s.seq.space.check(s); err != nil {
			return err
		}
		if err := s.keepLive(sch); err != nil {
			return err
		}
		if err := s.openIndexes(g); err != nil {
			return errors.Join(err, s.keepLive(s.seq.gen.schema))
		}
		s.seq.setGeneration(g)
		return nil
	})
	if err == nil {
		s.changedGeneration()
	}
	return err
}

// changedGeneration tells those who work in the background that there is another generation.
func (s *Store) changedGeneration() {
	for _, wake := range []chan struct{}{s.indexWake, s.warmWake} {
		select {
		case wake <- struct{}{}:
		default:
		}
	}
}

// Flush returns when all transactions that began before it are durable and visible to new views.
func (s *Store) Flush(ctx context.Context) error {
	return s.exclusive(ctx, func() error { return nil })
}

// keepLive writes the live definitions of a schema.
func (s *Store) keepLive(sch *schema.Schema) error {
	b := s.db.NewBatch()
	defer b.Close()
	var err error
	if live := sch.Live(); len(live) > 0 {
		err = b.Set(metaKey(metaSchema), schema.AppendLive(nil, live))
	} else {
		err = b.Delete(metaKey(metaSchema))
	}
	if err != nil {
		return err
	}
	if err := s.seq.apply(b); err != nil {
		return err
	}
	return s.db.Sync()
}
