package engine

import (
	"context"
	"errors"

	"portolan/internal/credential"
	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/store"
	"portolan/ldap"
)

// Directory returns the engine as extensions see it.
func (e *Engine) Directory() op.Directory { return directory{e} }

// directory implements op.Directory.
type directory struct{ *Engine }

// View implements op.Directory.
func (d directory) View() op.Snapshot { return snapshot{d.o.Store.View()} }

// snapshot implements op.Snapshot.
type snapshot struct{ *store.View }

// Keep implements op.Snapshot.
func (s snapshot) Keep() op.Snapshot { return snapshot{s.View.Keep()} }

// Sight implements op.Directory.
func (d directory) Sight(req *op.Request, r op.Reader) op.Sight {
	s := &sight{}
	s.open(d.Engine, req, r, d.Settings())
	return s
}

// Update implements op.Directory.
func (d directory) Update(ctx context.Context, author string, f func(tx op.Tx) error) error {
	req := &op.Request{
		Conn: internalConn, Identity: &op.Identity{Name: dit.Name{DN: author}, Admin: true, Method: "internal"},
		Start: d.o.Now(),
	}
	req.Write.Internal = true
	return d.update(ctx, req, d.Settings(), func(tx *writeTx) error { return f(tx) })
}

// internalConn stands for the server itself where an operation has no client.
var internalConn = &op.Conn{Transport: op.Unix, Loopback: true}

// Perform implements op.Directory.
func (d directory) Perform(ctx context.Context, req *op.Request, w op.Writer) error {
	return d.Serve(ctx, req, w)
}

// Verify implements op.Directory.
func (d directory) Verify(ctx context.Context, req *op.Request, stored [][]byte, password []byte) (int, error) {
	result, err := d.verifyUncached(ctx, req, d.Settings(), credential.Normal, stored, password)
	return result.Index, err
}

// Hash implements op.Directory.
func (d directory) Hash(ctx context.Context, req *op.Request, password []byte) (stored, scram []byte, err error) {
	set := d.Settings()
	if stored, err = d.hashed(ctx, req, set, password); err != nil {
		return nil, nil, err
	}
	scram, err = d.deriveScram(ctx, req, set, password)
	return stored, scram, err
}

// Usability implements op.Directory.
func (d directory) Usability(r op.Reader, entry *dit.Entry) (*op.Usability, error) {
	for i := range d.o.Overlays {
		if know := d.o.Overlays[i].Usability; know != nil {
			if u, err := know(r, entry); u != nil || err != nil {
				return u, err
			}
		}
	}
	return nil, nil
}

// Assume implements op.Directory.
func (d directory) Assume(req *op.Request, id *op.Identity) error {
	set := d.Settings()
	req.Identity = id
	if err := d.gate(req, set); err != nil {
		return err
	}
	req.Limits = set.Limits(id, d.members.inGroup(d.Engine, id))
	return nil
}

// Original implements op.Directory.
func (d directory) Original(req *op.Request) error {
	if to := d.original(req, d.Settings()); to != nil {
		return referral(to, "this server holds a copy")
	}
	return nil
}

// Suffixes implements op.Directory.
func (d directory) Suffixes() []string { return d.o.Suffixes }

// Reloaded implements op.Directory.
func (d directory) Reloaded() <-chan struct{} { return *d.reloaded.Load() }

// Memberships implements op.Directory.
func (d directory) Memberships() op.Memberships { return d.members.groups }

// everything is the filter that is always true (RFC 4526).
var everything = func() *dit.Filter {
	return &dit.Filter{Nodes: []dit.Node{{Op: ldap.FilterAnd, First: ldap.None, Next: ldap.None}}}
}()

// Candidates implements op.Directory.
func (d directory) Candidates(r op.Reader, p *op.Part, most int, f func(e *dit.Entry) error) error {
	planner, ok := r.(interface {
		Plan(store.PlanRequest) (*store.Candidates, error)
	})
	if !ok {
		return ldap.Errorf(ldap.Other, "a reader without a planner")
	}
	norm, err := r.Schema().NormalizeDNString(nil, p.Base())
	if err != nil {
		return nil // it names nothing
	}
	base, _, err := r.Lookup(string(norm))
	switch {
	case err != nil:
		return err
	case base == nil && len(norm) > 0:
		return nil
	case p.Scope() == ldap.ScopeBase:
		if base == nil {
			return nil
		}
		return f(base)
	}
	req := store.PlanRequest{Scope: p.Scope(), Filter: p.Filter(r.Schema()), MaxExamined: most}
	if base != nil {
		req.Base = base.ID
	}
	if req.Filter == nil {
		req.Filter = everything
	}
	list, err := planner.Plan(req)
	if err != nil {
		return tooWide(err, most)
	}
	defer list.Close()
	for {
		e, err := list.Next()
		if err != nil || e == nil {
			return tooWide(err, most)
		}
		if err := f(e); err != nil {
			return err
		}
	}
}

func tooWide(err error, most int) error {
	if errors.Is(err, store.ErrExamined) {
		return ldap.Errorf(ldap.AdminLimitExceeded, "a dynamic group or list would look at more than %d entries (overlay.dynlist.max_entries)", most)
	}
	return err
}

// Observe implements op.Directory.
func (d directory) Observe(f func(op.Commit)) {
	d.o.Store.Observe(func(c store.Commit) {
		f(op.Commit{Seq: c.Seq, Before: c.Before, CSN: c.CSN, Changes: c.Changes, Meta: c.Meta})
	})
}

// Journal returns the store's journal as extensions see it.
func (e *Engine) Journal() op.Journal { return journal{e.o.Store, !e.o.Copy} }

type journal struct {
	*store.Store
	ordered bool
}

// Ordered implements op.Journal.
func (j journal) Ordered() bool { return j.ordered }

// Bounds implements op.Journal.
func (j journal) Bounds() (first, last uint64) { return j.JournalBounds() }

// Read implements op.Journal.
func (j journal) Read(from uint64, f func(*dit.JournalRecord) bool) error {
	err := j.ReadJournal(from, f)
	if err == store.ErrTrimmed {
		return op.ErrTrimmed
	}
	return err
}

// At implements op.Journal.
func (j journal) At(csn dit.CSN) (uint64, error) {
	seq, err := j.JournalAt(csn)
	if err == store.ErrTrimmed {
		return 0, op.ErrTrimmed
	}
	return seq, err
}

// Changes implements op.Journal.
func (j journal) Changes() uint64 { return j.JournalChanges() }

// Find implements op.Journal.
func (j journal) Find(reached func(*dit.JournalHead) bool) (uint64, error) {
	return j.JournalFind(reached)
}

// Grown implements op.Journal.
func (j journal) Grown(after uint64) <-chan struct{} { return j.JournalGrown(after) }

// Wait implements op.Journal.
func (j journal) Wait(ctx context.Context, after uint64) error { return j.WaitJournal(ctx, after) }

// Open calls the Open functions of the overlays, in their order.
func (e *Engine) Open(p *op.Ports) (stop func(), err error) {
	var stops []func()
	stop = func() {
		for i := len(stops) - 1; i >= 0; i-- {
			stops[i]()
		}
	}
	for i := range e.o.Overlays {
		if observe := e.o.Overlays[i].Observe; observe != nil {
			directory{e}.Observe(observe)
		}
		begin := e.o.Overlays[i].Open
		if begin == nil {
			continue
		}
		end, err := begin(p)
		if err != nil {
			stop()
			return nil, err
		}
		if end != nil {
			stops = append(stops, end)
		}
	}
	return stop, nil
}

var _ op.Directory = directory{}
var _ op.StateTx = (*store.Tx)(nil)
var _ op.StateReader = (*store.View)(nil)
