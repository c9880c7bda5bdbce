package sync

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/google/uuid"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/ldap"
)

// turn tells a client what a window means for its copy. Entries come in the order in which they were put where they are,
// those above others first; what goes comes in the same order, those beneath others first. A client that applies one message after
// the other hardly ever misses a parent, and never finds two entries of one name where there are no two.
type turn struct {
	s     *session
	now   op.Snapshot
	sight op.Sight
	w     *window
	// was says how the client has the entry, whose touch is nil where only something above it has been renamed, and by what
	// name it knows it. e is the entry as it is, nil where there is none.
	was func(id uuid.UUID, e *dit.Entry, x *touch) (op.Found, string, error)
	// state is that of an entry that the client has already.
	state ldap.SyncState
	// together sends UUIDs of what goes, not messages of their own, from this many on.
	together int

	gone []departure
	sent int // entries, references and sets of UUIDs
}

// departure is an entry that leaves the content.
type departure struct {
	id        uuid.UUID
	dn        string
	reference bool
}

// run tells everything.
func (t *turn) run(ctx context.Context) error {
	for _, x := range t.w.order {
		if x.done {
			continue
		}
		if err := t.s.within(ctx); err != nil {
			return err
		}
		e, err := t.now.ByUUID(x.id)
		if err != nil {
			return err
		}
		if e == nil {
			x.done = true
			err = t.leaves(x.id, nil, x)
		} else {
			err = t.settle(ctx, e, x)
		}
		if err != nil {
			return err
		}
	}
	return t.depart()
}

// settle tells of an entry after those above it.
func (t *turn) settle(ctx context.Context, e *dit.Entry, x *touch) error {
	type pair struct {
		e *dit.Entry
		x *touch
	}
	chain := []pair{{e, x}}
	for id := e.Parent; id != 0; {
		above, err := t.now.Get(id)
		if err != nil {
			return err
		}
		if above == nil {
			break
		}
		if y := t.w.touched[above.UUID]; y != nil && !y.done {
			chain = append(chain, pair{above, y})
		}
		id = above.Parent
	}
	for i := len(chain) - 1; i >= 0; i-- {
		if p := chain[i]; !p.x.done {
			if err := t.one(ctx, p.e, p.x); err != nil {
				return err
			}
		}
	}
	return nil
}

// one tells of a touched entry, and of those beneath it if its name is another.
func (t *turn) one(ctx context.Context, e *dit.Entry, x *touch) error {
	x.done = true
	if err := t.entry(e, x); err != nil || !x.renamed || x.added {
		return err
	}
	return op.Walk(t.now, e.ID, func(d *dit.Entry) error {
		y := t.w.touched[d.UUID]
		if d.ID == e.ID || y != nil && y.done {
			return nil
		}
		if y != nil {
			y.done = true
		}
		if err := t.s.within(ctx); err != nil {
			return err
		}
		return t.entry(d, y)
	})
}

// entry tells of one entry as it is.
func (t *turn) entry(e *dit.Entry, x *touch) error {
	name, err := t.sight.Look(e)
	if err != nil {
		return err
	}
	found, err := t.s.found(t.sight)
	if err != nil {
		return err
	}
	if found == op.FoundNot {
		return t.leaves(e.UUID, e, x)
	}
	if err := t.depart(); err != nil {
		return err
	}
	state := ldap.SyncAdd
	if t.state != ldap.SyncAdd {
		was, _, err := t.was(e.UUID, e, x)
		if err != nil {
			return err
		}
		if was != op.FoundNot {
			state = t.state
		}
	}
	if err := t.s.counted(); err != nil {
		return err
	}
	t.sent++
	if found == op.FoundReference {
		return t.s.out.reference(state, e.UUID, t.sight.References(t.s.m.Scope))
	}
	return t.s.out.entry(state, e.UUID, t.sight, name, t.s.m)
}

// found decides about the entry that sight looks at.
func (s *session) found(sight op.Sight) (op.Found, error) {
	if in, err := sight.InScope(s.baseID, s.m.Scope); err != nil || !in {
		return op.FoundNot, err
	}
	return sight.Found(s.filter, s.m.Scope)
}

// leaves notes that an entry is not in the content, if the client has it.
func (t *turn) leaves(id uuid.UUID, e *dit.Entry, x *touch) error {
	was, dn, err := t.was(id, e, x)
	if err != nil || was == op.FoundNot {
		return err
	}
	t.gone = append(t.gone, departure{id: id, dn: dn, reference: was == op.FoundReference})
	if len(t.gone) >= maxGone {
		return t.depart()
	}
	return nil
}

// maxGone bounds what has gone and is not told yet.
const maxGone = 20_000

// depart tells of what has gone since the last entry that was told.
func (t *turn) depart() error {
	if len(t.gone) == 0 {
		return nil
	}
	gone := t.gone
	t.gone = t.gone[:0]
	// A comma in a value makes an entry seem deeper than it is, and those beneath it likewise.
	slices.SortStableFunc(gone, func(a, b departure) int { return cmp.Compare(strings.Count(b.dn, ","), strings.Count(a.dn, ",")) })
	if len(gone) < t.together {
		for _, d := range gone {
			t.sent++
			if err := t.s.out.empty(ldap.SyncDelete, d.id, d.dn, d.reference); err != nil {
				return err
			}
		}
		return nil
	}
	for chunk := range slices.Chunk(gone, idSetLen) {
		// No cookie: OpenLDAP's consumer would take it for the end of the refresh stage.
		info := ldap.SyncInfo{Kind: ldap.SyncIDSet, RefreshDeletes: true, UUIDs: make([]ldap.SyncUUID, len(chunk))}
		for i := range chunk {
			info.UUIDs[i] = chunk[i].id
		}
		t.sent++
		if err := t.s.out.info(&info); err != nil {
			return err
		}
	}
	return nil
}
