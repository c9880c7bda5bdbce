package engine

import (
	"context"
	"time"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/ldap"
)

// follow serves a search of a tree that stays for what is added: see op.Follow.
func (ts *treeSearch) follow(ctx context.Context, norm string) error {
	f := ts.req.Search.Follow
	upto := ts.t.Newest()
	after, err := f.Begin(&ts.t.Tree, upto)
	if err != nil {
		return err
	}
	if err := ts.base(ctx, norm); err != nil {
		return err
	}
	fresh := false
	if f.Dress != nil {
		ts.req.Search.EachEntry = append(ts.req.Search.EachEntry,
			func(_ context.Context, _ op.Reader, e *dit.Entry, _ dit.Name, controls []ldap.Control) ([]ldap.Control, error) {
				return f.Dress(ts.now, e, fresh, controls), nil
			})
	}
	if after < upto {
		q := ts.query(norm)
		q.After, q.Until = after, upto
		if err := ts.each(ctx, q); err != nil {
			return err
		}
	}
	if stay, err := f.Refreshed(upto); err != nil || !stay {
		return err
	}
	fresh = true
	// What comes has no end: the limits were those of the search, and of each part that comes anew.
	ts.deadline, ts.req.Limits.Size = time.Time{}, 0
	for {
		select {
		case <-ts.t.Grown(upto):
		case <-ctx.Done():
			return ctx.Err()
		}
		newest := ts.t.Newest()
		if newest <= upto {
			continue // records without changes
		}
		if !f.Quiet {
			ts.renew()
			q := ts.query(norm)
			q.After, q.Until = upto, newest
			if err := ts.each(ctx, q); err != nil {
				return err
			}
		}
		upto = newest
	}
}

// renew looks at the directory as it is now: rights are those of the moment at which an entry is told.
func (ts *treeSearch) renew() {
	s := ts.search
	s.view.Close()
	s.view = s.e.o.Store.View()
	s.open(s.e, s.req, s.view, s.e.Settings())
	s.compile(&s.filter, &s.m.Filter)
	ts.settle()
	s.req.Trace.Examined = 0
}
