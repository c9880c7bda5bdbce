package replica

import (
	"errors"

	"github.com/google/uuid"

	"portolan/internal/dit"
	"portolan/internal/schema"
	"portolan/internal/store"
	"portolan/ldap"
)

// run is one run of a transaction, which may be run again: the copier is looked at and not changed before it is accepted.
type run struct {
	x  *copier
	tx *store.Tx

	failing *told // whose error ends the run, where it is about one entry
	stored  *position

	told     map[dit.ID]bool
	placed   map[*told]bool // waited in the copier, and need no more
	held     []hold
	deferred []uuid.UUID
	aside    map[uuid.UUID]bool // true: pushed aside by this run; false: no longer
	skips    map[string]int

	added, modified, renamed, deleted, unchanged, refused uint64
}

// hold is an entry that waits for the parent with this canonical name.
type hold struct {
	parent string
	t      *told
}

func newRun(x *copier, tx *store.Tx) *run {
	return &run{x: x, tx: tx, told: make(map[dit.ID]bool), placed: make(map[*told]bool), aside: make(map[uuid.UUID]bool), skips: make(map[string]int)}
}

// all does everything.
func (r *run) all(list []*told, pos *position) error {
	r.tx.Replay(dit.CSN{})
	for _, t := range list {
		if err := r.one(t); err != nil {
			return err
		}
	}
	if err := r.retryRemovals(); err != nil {
		return err
	}
	if pos == nil || r.incomplete() {
		return nil
	}
	r.tx.Replay(pos.csn())
	stored := *pos
	stored.missing = r.missing()
	if err := r.tx.SetState(r.x.key, stored.append()); err != nil {
		return err
	}
	r.stored = &stored
	return nil
}

// one applies one thing.
func (r *run) one(t *told) error {
	if t.kind == tellDelete {
		for _, id := range t.ids {
			if err := r.remove(id); err != nil {
				return err
			}
		}
		return nil
	}
	if t.refused != "" {
		r.refused++
		e, err := r.tx.ByUUID(t.id)
		if e != nil {
			r.told[e.ID] = true // what there is stays
		}
		return err
	}
	r.drop(t.id)
	if err := r.put(t); err != nil {
		var refusal *ldap.Error
		if errors.As(err, &refusal) {
			r.failing = t
		}
		return err
	}
	return nil
}

// incomplete reports whether the copy is not what the cookie says although all was told.
func (r *run) incomplete() bool {
	if len(r.deferred) > 0 {
		return true
	}
	for id := range r.x.aside {
		if _, known := r.aside[id]; !known {
			return true
		}
	}
	for _, away := range r.aside {
		if away {
			return true
		}
	}
	return false
}

// missing reports whether something of what was told is not in the copy.
func (r *run) missing() bool {
	return len(r.x.waits)-len(r.placed)+len(r.held) > 0 || r.x.lost > 0 || r.x.refusals()+r.refused > 0
}

// put makes an entry what it was told to be.
func (r *run) put(t *told) error {
	x, tx := r.x, r.tx
	s := tx.Schema()
	norm := string(s.NormalizeParsed(nil, t.name))
	if len(t.name) == 0 || !x.beneath(norm) {
		return ldap.Errorf(ldap.NamingViolation, "the name is not beneath %s", x.o.Base)
	}
	local, err := tx.ByUUID(t.id)
	if err != nil {
		return err
	}
	if local != nil {
		mine, err := r.mine(local)
		if err != nil {
			return err
		}
		if !mine {
			return ldap.Errorf(ldap.EntryAlreadyExists, "its entryUUID is that of an entry of another naming context here")
		}
	}
	at := dit.Entry{RDN: t.name.String(), NormRDN: norm}
	if !tx.Suffix(norm) {
		above := string(schema.NormParent([]byte(norm)))
		parent, _, err := tx.Lookup(above)
		if err != nil {
			return err
		}
		if parent != nil && local != nil {
			inside, err := tx.Under(parent, local.ID)
			if err != nil {
				return err
			}
			if inside {
				parent = nil
			}
		}
		if parent == nil {
			r.held = append(r.held, hold{above, t})
			return nil
		}
		at.Parent, at.RDN, at.NormRDN = parent.ID, ldap.DN(t.name[:1]).String(), string(s.NormalizeRDN(nil, t.name[0]))
	}
	there, _, err := tx.Lookup(norm)
	if err != nil {
		return err
	}
	if there != nil && there.UUID == t.id {
		there = nil
	}
	if there != nil {
		if there.Parent == 0 {
			return errOther(x.o.Base)
		}
		if err := r.pushAside(there); err != nil {
			return err
		}
	}
	id, err := r.write(t, local, &at)
	if err != nil {
		return err
	}
	if there != nil {
		if err := r.inherit(there, id); err != nil {
			return err
		}
	}
	r.told[id] = true
	if r.isAside(t.id) {
		r.aside[t.id] = false
	}
	return r.place(norm)
}

// errOther is the error for a provider whose naming context is another one of the same name.
func errOther(base string) error {
	return &otherError{base}
}

type otherError struct{ base string }

func (e *otherError) Error() string {
	return "the provider's entry " + e.base + " has another entryUUID than the one here: it is another directory, or was made anew. To copy it, empty data_dir and start again"
}

// write stores the entry at its place, if it is not there as it is.
func (r *run) write(t *told, local *dit.Entry, at *dit.Entry) (dit.ID, error) {
	d, err := r.draft(t, local)
	if err != nil {
		return 0, err
	}
	d.Parent, d.RDN, d.NormRDN = at.Parent, at.RDN, at.NormRDN
	entry, large, err := d.Seal(r.tx.Shapes(), dit.SealOptions{LargeThreshold: r.x.o.Store.LargeThreshold(), Copied: true})
	if err != nil {
		return 0, err
	}
	if local != nil {
		// It may have been pushed aside a moment ago.
		if local, err = r.tx.Get(local.ID); err != nil {
			return 0, err
		}
		if len(large) == 0 && entry.Same(local) {
			r.unchanged++
			return local.ID, nil
		}
	}
	c, err := r.tx.Put(store.PutRequest{Entry: entry, Large: large})
	if err != nil {
		return 0, err
	}
	switch c.Kind {
	case dit.ChangeAdd:
		r.added++
	case dit.ChangeRename:
		r.renamed++
	default:
		r.modified++
	}
	return c.After.ID, nil
}

// pushAside takes an entry from a place that another one has at the provider. What has become of it is still to be told.
func (r *run) pushAside(e *dit.Entry) error {
	rdn := ldap.RDN{{Type: "cn", Value: []byte("on the move " + e.UUID.String())}}
	moved := *e
	moved.RDN, moved.NormRDN = ldap.DN{rdn}.String(), string(r.tx.Schema().NormalizeRDN(nil, rdn))
	if _, err := r.tx.Put(store.PutRequest{Entry: &moved}); err != nil {
		return err
	}
	r.aside[e.UUID] = true
	return nil
}

// inherit moves the entries that were told to be beneath a name from the entry that had the name to the one that has it.
func (r *run) inherit(from *dit.Entry, to dit.ID) error {
	var children []dit.ID
	err := r.tx.Children(from.ID, func(child dit.ID) bool {
		if r.told[child] || r.x.told.Contains(uint64(child)) {
			children = append(children, child)
		}
		return true
	})
	if err != nil {
		return err
	}
	for _, id := range children {
		e, err := r.tx.Get(id)
		if err != nil {
			return err
		}
		moved := *e
		moved.Parent = to
		if _, err := r.tx.Put(store.PutRequest{Entry: &moved}); err != nil {
			return err
		}
	}
	return nil
}

// place puts the entries that waited for this name to be there.
func (r *run) place(norm string) error {
	for _, t := range r.x.held[norm] {
		if r.placed[t] {
			continue
		}
		r.placed[t] = true
		if err := r.one(t); err != nil {
			return err
		}
	}
	for i := 0; i < len(r.held); i++ {
		if h := r.held[i]; h.parent == norm {
			r.held = append(r.held[:i:i], r.held[i+1:]...)
			if err := r.one(h.t); err != nil {
				return err
			}
			i = -1
		}
	}
	return nil
}

// remove takes an entry out that the provider has no more.
func (r *run) remove(id uuid.UUID) error {
	e, err := r.tx.ByUUID(id)
	if err != nil {
		return err
	}
	r.drop(id)
	if e == nil {
		return nil
	}
	mine, err := r.mine(e)
	if err != nil || !mine {
		return err
	}
	switch _, err := r.tx.Remove(e); {
	case ldap.CodeOf(err) == ldap.NotAllowedOnNonLeaf:
		r.deferred = append(r.deferred, id)
		return nil
	case err != nil:
		return err
	}
	r.deleted++
	if r.isAside(id) {
		r.aside[id] = false
	}
	return nil
}

// drop forgets an entry that waits for its parent.
func (r *run) drop(id uuid.UUID) {
	for i := range r.held {
		if r.held[i].t.id == id {
			r.held = append(r.held[:i:i], r.held[i+1:]...)
			break
		}
	}
	if h, waits := r.x.waits[id]; waits {
		r.placed[h.t] = true
	}
}

// retryRemovals removes what had entries beneath it that have gone since.
func (r *run) retryRemovals() error {
	for again := true; again && len(r.deferred) > 0; {
		todo := r.deferred
		r.deferred = nil
		for _, id := range todo {
			if err := r.remove(id); err != nil {
				return err
			}
		}
		again = len(r.deferred) < len(todo)
	}
	return nil
}

// mine reports whether an entry is beneath the naming context of the copy.
func (r *run) mine(e *dit.Entry) (bool, error) {
	name, err := r.tx.Name(e)
	return err == nil && r.x.beneath(name.Norm), err
}

func (r *run) isAside(id uuid.UUID) bool {
	if away, known := r.aside[id]; known {
		return away
	}
	return r.x.aside[id]
}

// accept takes over what a run that is durable has found out.
func (r *run) accept(list []*told) {
	x := r.x
	for id := range r.told {
		x.told.Add(uint64(id))
	}
	for t := range r.placed {
		x.unhold(t.id)
	}
	for _, t := range list {
		x.unhold(t.id) // a newer version waits again below, if it must
	}
	for _, h := range r.held {
		x.hold(h)
	}
	for id, away := range r.aside {
		if away {
			x.aside[id] = true
		} else {
			delete(x.aside, id)
		}
	}
	x.deferred = append(x.deferred, r.deferred...)
	for what, n := range r.skips {
		if x.skipped(what, n) {
			x.log.Warn("values of the provider are left out", "attribute", what)
		}
	}
	for _, t := range list {
		if t.refused != "" && x.refusals() < maxRefusals {
			x.log.Error("an entry of the provider cannot be stored", "entry", t.dn, "uuid", t.id, "error", t.refused)
		}
	}
	if r.added+r.modified+r.renamed+r.deleted+r.unchanged+r.refused == 0 {
		return
	}
	x.update(func(s *Status) {
		s.Added, s.Modified, s.Renamed, s.Deleted = s.Added+r.added, s.Modified+r.modified, s.Renamed+r.renamed, s.Deleted+r.deleted
		s.Unchanged, s.Refused, s.Changed = s.Unchanged+r.unchanged, s.Refused+r.refused, x.now()
	})
}

// maxRefusals is how many entries that cannot be stored are logged one by one.
const maxRefusals = 100

// unhold forgets an entry that waits.
func (x *copier) unhold(id uuid.UUID) {
	h, waits := x.waits[id]
	if !waits {
		return
	}
	delete(x.waits, id)
	delete(x.held[h.parent], id)
	if len(x.held[h.parent]) == 0 {
		delete(x.held, h.parent)
	}
	x.heldSize -= h.t.size
}

// hold keeps an entry until its parent comes, instead of an older version of it.
func (x *copier) hold(h hold) {
	x.unhold(h.t.id)
	if len(x.waits) >= heldEntries || x.heldSize+h.t.size > heldOctets {
		x.overflown = true
		x.lost++
		return
	}
	if x.held[h.parent] == nil {
		x.held[h.parent] = make(map[uuid.UUID]*told)
	}
	x.held[h.parent][h.t.id] = h.t
	x.waits[h.t.id] = h
	x.heldSize += h.t.size
}
