package engine

import (
	"bytes"
	"cmp"
	"context"
	"slices"

	"portolan/internal/access"
	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/ldap"
)

// ordering gathers the entries of a search that is to be sorted: their keys and ids, never the entries themselves.
type ordering struct {
	all     []op.Sorted
	arena   []byte // keys, one after another
	scratch []byte
	refs    []*dit.Entry // referral objects whose references are still to be sent
}

// gather takes an entry that matched.
func (s *search) gather(entry *dit.Entry, name dit.Name) error {
	o := s.order
	key, err := s.req.Search.Order(o.scratch[:0], op.Candidate{Reader: s.r, Entry: entry, Name: name, Values: s.sortable})
	if err != nil {
		return err
	}
	o.scratch = key
	if len(o.arena)+len(key) > cap(o.arena) {
		o.arena = make([]byte, 0, max(64<<10, len(key)))
	}
	start := len(o.arena)
	o.arena = append(o.arena, key...)
	o.all = append(o.all, op.Sorted{Key: o.arena[start:len(o.arena):len(o.arena)], ID: entry.ID})
	return nil
}

// sortable gives the values that an entry may be sorted by. The place of an entry tells of its values: who may not search
// and read them sorts without them.
func (s *search) sortable(d schema.Description, f func(value []byte) bool) error {
	return s.values(d, access.Search|access.Read, f)
}

// sendOrdered sorts what was gathered and sends the part that was picked.
func (s *search) sendOrdered(ctx context.Context) error {
	all, err := s.sorted()
	if err != nil {
		return err
	}
	refs := s.order.refs
	s.order = nil
	for _, entry := range refs {
		if _, err := s.Look(entry); err != nil {
			return err
		}
		if err := s.sendReference(entry); err != nil {
			return err
		}
	}
	for i := range all {
		entry, err := s.view.Get(all[i].ID)
		if err != nil {
			return err
		}
		if entry == nil {
			continue
		}
		name, err := s.view.Name(entry)
		if err != nil {
			return err
		}
		s.lookAt(entry, name)
		if err := s.tick(ctx); err != nil {
			return err
		}
		if err := s.deliver(ctx, entry, name); err != nil {
			return err
		}
	}
	return nil
}

// sorted returns what was gathered in its order, or the part of it that was picked.
func (s *search) sorted() ([]op.Sorted, error) {
	all := s.order.all
	slices.SortFunc(all, func(a, b op.Sorted) int {
		return cmp.Or(bytes.Compare(a.Key, b.Key), cmp.Compare(a.ID, b.ID))
	})
	if pick := s.req.Search.Pick; pick != nil {
		return pick(all)
	}
	return all, nil
}

// sendFrom sends entries of a result that was sorted before, as far as they still belong to it.
func (s *search) sendFrom(ctx context.Context, base *dit.Entry) error {
	s.req.Trace.Plan.Set("sorted")
	ctx = s.req.Detach(ctx)
	if err := s.view.Pin(); err != nil {
		return s.storeError(err)
	}
	var baseID dit.ID
	if base != nil {
		baseID = base.ID
	}
	for _, id := range s.req.Search.From {
		if err := s.tick(ctx); err != nil {
			return err
		}
		entry, err := s.view.Get(id)
		if err != nil {
			return err
		}
		if entry == nil {
			continue
		}
		// Behind an alias that is dereferenced entries may stand anywhere.
		if s.m.Deref == ldap.DerefNever || s.m.Deref == ldap.DerefFinding {
			s.target.Entry = entry
			in, err := s.InScope(baseID, s.m.Scope)
			if err != nil {
				return err
			}
			if !in {
				continue
			}
		}
		sent, err := s.offer(ctx, entry, false)
		if err != nil || s.req.Search.More {
			return err
		}
		if sent {
			s.req.Search.Last = id
		}
	}
	return nil
}
