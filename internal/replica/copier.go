package replica

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/internal/store"
	"portolan/ldap"
)

// copier applies what is told to the store. One goroutine uses it.
type copier struct {
	*Consumer
	key      []byte
	baseNorm string
	computed map[string]bool // names of attributes, in lower case

	pos    position
	opened bool   // pos was read
	sent   []byte // the cookie of the search under way

	// The stage of the search.
	refreshing bool
	last       []byte    // a cookie that came within the refresh stage
	told       dit.IDSet // entries told of in this refresh, or since the last cookie
	batch      []*told
	size       int

	held      map[string]map[uuid.UUID]*told // entries that wait for their parents, by the canonical name of the parent
	waits     map[uuid.UUID]hold             // the same by entryUUID
	heldSize  int
	overflown bool // some were dropped: the refresh is to be repeated
	lost      uint64
	deferred  []uuid.UUID        // to be removed, with entries beneath them
	aside     map[uuid.UUID]bool // pushed from their places
	asides    int                // how often has been waited for them
}

// Bounds of one transaction, and of what waits for parents.
const (
	batchEntries = 500
	batchOctets  = 2 << 20
	heldEntries  = 20_000
	heldOctets   = 16 << 20
)

func newCopier(c *Consumer) (*copier, error) {
	norm, err := c.o.Store.Schema().NormalizeDNString(nil, c.o.Base)
	if err != nil {
		return nil, err
	}
	x := &copier{Consumer: c, baseNorm: string(norm), key: positionKey(string(norm)), computed: make(map[string]bool)}
	for _, name := range c.o.Computed {
		x.computed[lower(name)] = true
	}
	return x, nil
}

// begin makes ready for a search. Without a position the store must be empty, or its entries are to be adopted.
func (x *copier) begin(anew bool) error {
	if err := x.open(); err != nil {
		return err
	}
	x.sent = x.pos.cookie
	if anew || !says(x.sent) {
		x.sent = nil
	}
	x.refreshing, x.last, x.batch, x.size = true, nil, nil, 0
	if x.sent == nil {
		x.held, x.waits, x.heldSize, x.overflown, x.lost = make(map[string]map[uuid.UUID]*told), make(map[uuid.UUID]hold), 0, false, 0
		x.update(func(s *Status) { s.Refused = 0 })
	}
	x.told.Clear()
	x.deferred, x.aside, x.asides = nil, make(map[uuid.UUID]bool), 0
	return nil
}

// open reads the position of the copy.
func (x *copier) open() error {
	if x.opened {
		return nil
	}
	stored, err := x.o.Store.State().Get(x.key)
	if err != nil {
		return err
	}
	digest := searchDigest(&x.o, x.baseNorm)
	pos, ok := decodePosition(stored)
	switch {
	case !ok:
		view := x.o.Store.View()
		there, _, err := view.Lookup(x.baseNorm)
		view.Close()
		if err != nil {
			return err
		}
		if there != nil && !x.o.Adopt {
			return fmt.Errorf("data_dir has entries beneath %s that did not come from a provider: a refresh would delete those that the provider does not have. Use an empty data_dir, or write adopt = true in [[replica]]", x.o.Base)
		}
		pos = position{search: digest}
	case pos.search != digest:
		x.log.Info("the base, filter or attributes of the replica have changed: the copy is made anew")
		pos = position{search: digest}
	case pos.missing:
		// What is missing may be there by now.
		pos.cookie = nil
	}
	// From here on what the refresh puts here is known to come from the provider, also if it is interrupted.
	_, err = x.o.Store.Update(context.Background(), store.Meta{}, func(tx *store.Tx) error {
		return tx.SetState(x.key, pos.append())
	})
	if err != nil {
		return err
	}
	x.pos, x.opened = pos, true
	x.stored(&pos)
	return nil
}

// take deals with one thing that was told.
func (x *copier) take(ctx context.Context, t *told) error {
	if len(t.cookie) > maxCookie {
		return fmt.Errorf("the provider's cookie has %d octets; at most %d are taken", len(t.cookie), maxCookie)
	}
	if epoch, ok := epochOf(t.cookie); ok && epoch == x.o.Store.Epoch() {
		return errLoop
	}
	switch t.kind {
	case tellNothing:
		return nil
	case tellPhase:
		if !x.refreshing {
			return errors.New("the provider ends the refresh stage twice (RFC 4533 section 3.4.1)")
		}
		return x.endPhase(ctx, t, InStep)
	case tellPresent:
		return x.present(ctx, t)
	case tellEntry, tellDelete:
		x.batch = append(x.batch, t)
		x.size += t.size
	}
	switch {
	case t.cookie != nil && x.refreshing:
		// The copy is not whole before the end of the stage.
		x.last = t.cookie
	case t.cookie != nil:
		return x.flush(ctx, t.cookie)
	}
	if len(x.batch) >= batchEntries || x.size >= batchOctets {
		return x.flush(ctx, nil)
	}
	return nil
}

// unsettled reports whether there is something that waits for more of the persist stage.
func (x *copier) unsettled() bool {
	return !x.refreshing && (len(x.batch) > 0 || len(x.aside) > 0)
}

// settle goes on without what has not come.
func (x *copier) settle(ctx context.Context) error {
	if len(x.aside) > 0 {
		if x.asides++; x.asides > asideMost {
			return fmt.Errorf("%w: the provider gave the name of an entry to another one and does not say what has become of the first", errAnew)
		}
	}
	return x.flush(ctx, nil)
}

// present notes entries that the provider has as they were.
func (x *copier) present(ctx context.Context, t *told) error {
	if !x.refreshing {
		return nil
	}
	if err := x.flush(ctx, nil); err != nil {
		return err
	}
	view := x.o.Store.View()
	defer view.Close()
	for _, id := range t.ids {
		e, err := view.ByUUID(id)
		if err != nil {
			return err
		}
		if e == nil {
			switch {
			case x.pos.missing:
				continue
			case x.sent == nil:
				return fmt.Errorf("the provider says that this server has the entry %s, which it was never told of", uuid.UUID(id))
			}
			return fmt.Errorf("%w: the provider says that this server has the entry %s, which is not there", errAnew, uuid.UUID(id))
		}
		x.told.Add(uint64(e.ID))
	}
	if t.cookie != nil {
		x.last = t.cookie
	}
	return nil
}

// flush applies the batch, and stores a cookie with it where there is one. While an entry is aside the copy is not what the
// cookie says: a later one is stored.
func (x *copier) flush(ctx context.Context, cookie []byte) error {
	batch := x.batch
	x.batch, x.size = nil, 0
	if len(batch) == 0 && cookie == nil {
		return nil
	}
	var pos *position
	if cookie != nil {
		pos = &position{search: x.pos.search, cookie: cookie}
	}
	whole, err := x.apply(ctx, batch, pos)
	if err != nil {
		return err
	}
	if len(x.deferred) > 0 {
		if err := x.removeDeferred(ctx); err != nil {
			return err
		}
		if pos != nil && !whole {
			whole, err = x.apply(ctx, nil, pos)
		}
	}
	if pos != nil && whole {
		x.asides = 0
		if !x.refreshing {
			x.told.Clear()
		}
	}
	x.recount()
	return err
}

// recount shows how many entries have no place.
func (x *copier) recount() {
	n := uint64(len(x.waits)) + x.lost
	x.mu.Lock()
	same := x.s.Unplaced == n
	x.mu.Unlock()
	if !same {
		x.update(func(s *Status) { s.Unplaced = n })
	}
}

// endPhase ends a phase of the refresh stage, and the stage with the last one (RFC 4533 sections 3.3 and 3.4.1).
func (x *copier) endPhase(ctx context.Context, t *told, next State) error {
	if err := x.flush(ctx, nil); err != nil {
		return err
	}
	if err := x.placeHeld(ctx); err != nil {
		return err
	}
	// Without a cookie everything was to be told, whatever the provider calls it.
	if !t.deletes || x.sent == nil && t.done {
		if err := x.removeUntold(ctx); err != nil {
			return err
		}
		if err := x.placeHeld(ctx); err != nil {
			return err
		}
	}
	if !t.done {
		return nil
	}
	switch {
	case x.overflown:
		return fmt.Errorf("%w: too many entries came before their parents", errAnew)
	case len(x.aside) > 0:
		return fmt.Errorf("%w: the provider tells of two entries with one name", errAnew)
	}
	cookie := t.cookie
	if cookie == nil {
		cookie = x.last
	}
	if cookie == nil {
		cookie = x.sent
	}
	pos := &position{search: x.pos.search, cookie: cookie}
	if _, err := x.apply(ctx, nil, pos); err != nil {
		return err
	}
	if n := uint64(len(x.waits)) + x.lost; n > 0 {
		x.log.Warn("entries are left out: the provider does not show those above them", "entries", n)
	}
	x.recount()
	x.refreshing, x.last, x.anew = false, nil, false
	x.told.Clear()
	x.update(func(s *Status) { s.Refreshes++ })
	x.enter(next)
	x.log.Info("the copy is in step with the provider", "cookie", string(pos.cookie))
	return nil
}

// placeHeld tries again to place what waits: the parent may have come with one above it.
func (x *copier) placeHeld(ctx context.Context) error {
	for len(x.waits) > 0 {
		before := len(x.waits)
		all := make([]*told, 0, before)
		for _, h := range x.waits {
			all = append(all, h.t)
		}
		slices.SortFunc(all, func(a, b *told) int { return len(a.name) - len(b.name) })
		for chunk := range slices.Chunk(all, batchEntries) {
			if _, err := x.apply(ctx, chunk, nil); err != nil {
				return err
			}
		}
		if len(x.waits) >= before {
			break
		}
	}
	return nil
}

// removeDeferred removes entries that the provider has no more together with what is beneath them here.
func (x *copier) removeDeferred(ctx context.Context) error {
	todo := x.deferred
	x.deferred = nil
	for _, id := range todo {
		if err := x.removeSubtree(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

func (x *copier) removeSubtree(ctx context.Context, id uuid.UUID) error {
	var ids []dit.ID
	view := x.o.Store.View()
	e, err := view.ByUUID(id)
	if err == nil && e != nil {
		err = op.Walk(view, e.ID, func(d *dit.Entry) error {
			ids = append(ids, d.ID)
			return nil
		})
	}
	view.Close()
	if err != nil || e == nil {
		return err
	}
	_, err = x.removeAll(ctx, ids)
	return err
}

// removeUntold ends a present phase: what was not told of is not in the content.
func (x *copier) removeUntold(ctx context.Context) error {
	var ids []dit.ID
	view := x.o.Store.View()
	base, _, err := view.Lookup(x.baseNorm)
	if err == nil && (base == nil || !x.told.Contains(uint64(base.ID))) {
		view.Close()
		return fmt.Errorf("the provider does not show the entry %s to bind_dn: nothing was deleted here. At the provider, give bind_dn the right to read all that is to be copied", x.o.Base)
	}
	if err == nil {
		err = op.Walk(view, base.ID, func(e *dit.Entry) error {
			if !x.told.Contains(uint64(e.ID)) {
				ids = append(ids, e.ID)
			}
			return nil
		})
	}
	view.Close()
	if err != nil {
		return err
	}
	left, err := x.removeAll(ctx, ids)
	if err != nil {
		return err
	}
	// Beneath these there are entries that were told of: they have no place any more.
	for _, id := range left {
		if err := x.removeSubtree(ctx, id); err != nil {
			return err
		}
		x.lost++
	}
	return nil
}

// removeAll removes entries, given from the top down, and returns those beneath which there are others.
func (x *copier) removeAll(ctx context.Context, ids []dit.ID) (left []uuid.UUID, err error) {
	slices.Reverse(ids)
	for chunk := range slices.Chunk(ids, batchEntries) {
		var kept []uuid.UUID
		n := uint64(0)
		var gone []uuid.UUID
		_, err := x.o.Store.Update(ctx, x.meta(), func(tx *store.Tx) error {
			tx.Replay(dit.CSN{})
			kept, gone, n = kept[:0], gone[:0], 0
			for _, id := range chunk {
				e, err := tx.Get(id)
				if err != nil {
					return err
				}
				if e == nil {
					continue
				}
				switch _, err := tx.Remove(e); {
				case ldap.CodeOf(err) == ldap.NotAllowedOnNonLeaf:
					kept = append(kept, e.UUID)
				case err != nil:
					return err
				default:
					gone = append(gone, e.UUID)
					n++
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		left = append(left, kept...)
		for _, id := range gone {
			delete(x.aside, id)
		}
		x.update(func(s *Status) { s.Deleted, s.Changed = s.Deleted+n, x.now() })
	}
	return left, nil
}

// meta says in the journal where a change comes from.
func (x *copier) meta() store.Meta { return store.Meta{Author: "", Session: "replica of " + x.o.URL} }

// apply applies what was told, in its order and in one transaction where that is not too large, and stores the position with
// it. whole is false where it was not stored: something is still to come.
func (x *copier) apply(ctx context.Context, list []*told, pos *position) (whole bool, err error) {
	if len(list) == 0 && pos == nil {
		return true, nil
	}
	for {
		var r *run
		_, err := x.o.Store.Update(ctx, x.meta(), func(tx *store.Tx) error {
			r = newRun(x, tx)
			return r.all(list, pos)
		})
		var refusal *ldap.Error
		switch {
		case err == nil:
			r.accept(list)
			if pos != nil && r.stored != nil {
				x.pos = *r.stored
				x.Consumer.stored(r.stored)
			}
			return r.stored != nil, nil
		case !errors.As(err, &refusal) || refusal.Code == ldap.Other || refusal.Code == ldap.Busy:
			return false, err
		case r != nil && r.failing != nil:
			r.failing.refused = refusal.Error()
		case refusal.Code == ldap.AdminLimitExceeded && len(list) > 1:
			if _, err := x.apply(ctx, list[:len(list)/2], nil); err != nil {
				return false, err
			}
			list = list[len(list)/2:]
		case refusal.Code == ldap.AdminLimitExceeded && len(list) == 1 && list[0].refused == "":
			list[0].refused = refusal.Error()
		default:
			return false, err
		}
	}
}

// lower is strings.ToLower for names of attributes, which are ASCII.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// beneath reports whether a canonical name is in the naming context.
func (x *copier) beneath(norm string) bool { return schema.DNUnder([]byte(norm), []byte(x.baseNorm)) }
