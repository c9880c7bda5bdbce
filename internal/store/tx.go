package store

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"portolan/internal/dit"
	"portolan/internal/kv"
	"portolan/internal/schema"
	"portolan/ldap"
)

// Tx is a transaction in the making. Only the closure of Update uses it, while it runs; it sees what it has written, over
// all transactions before it. It must not keep it, block, look at the clock or draw random numbers elsewhere.
type Tx struct {
	s   *Store
	sq  *sequencer
	gen *generation
	b   kv.Batch

	meta     Meta
	time     time.Time
	csn      dit.CSN // last issued
	issued   bool
	replay   bool    // see Replay
	whole    dit.CSN // of a replay: see there
	seq      uint64  // what its journal record will have
	nextID   dit.ID
	lastUUID uuid.UUID
	acked    uint64 // what the caches are right up to, at least

	changes []dit.Change
	csns    []dit.CSN // of changes
	touched touchedKeys
	counts  []countDelta
	moved   bool // names of whole subtrees have changed
	renamed bool // names have changed or gone

	entries  map[dit.ID]*dit.Entry // changed here; nil: removed
	places   map[placeKey]dit.ID   // changed here; 0: removed
	states   []stateChange
	grams    []byte // a note: see grams.go
	broken   error  // a change that failed half way
	key, buf []byte
	record   []byte
}

// countDelta is a change of the number of children.
type countDelta struct {
	parent dit.ID
	by     int64
}

// PutRequest is what Put stores.
type PutRequest struct {
	// Entry is fresh from Seal. An add has ID 0, Parent and UUID set; a change has the ID of what it replaces. The store
	// keeps a copy with ID and Seq set, which is Change.After.
	Entry *dit.Entry
	// Large are the value changes that Seal gave.
	Large []dit.LargeDelta
}

// Now is the time of the transaction: the same at every call.
func (t *Tx) Now() time.Time { return t.time }

// NextCSN issues a CSN. Each is higher than all before, of this transaction and of all others; those of one transaction
// differ in their modification number.
func (t *Tx) NextCSN() dit.CSN {
	if !t.issued {
		t.issued = true
		t.csn = t.sq.high.csn.Next(t.time, t.s.o.SID)
		return t.csn
	}
	t.csn.Mod++
	return t.csn
}

// Replay makes the transaction one that copies what another server has written, to be called before any change. Entries
// keep the CSNs that they have there, in whatever order, and nothing is given a CSN of this server. The journal's stays as it
// is, or rises to whole: what the other server says that the copy is complete up to, once this transaction is made; zero
// where it is not complete. A later call says otherwise. A transaction that changes State alone has a record where the CSN
// rises by it.
func (t *Tx) Replay(whole dit.CSN) { t.replay, t.whole = true, whole }

// journalCSN is the CSN of the journal's record: the highest that this server has issued, or that its copy is complete up to.
func (t *Tx) journalCSN() dit.CSN {
	csn := t.sq.high.csn
	if t.replay {
		if t.whole.Compare(csn) > 0 {
			csn = t.whole
		}
		return csn
	}
	for _, c := range t.csns {
		if c.Compare(csn) > 0 {
			csn = c
		}
	}
	return csn
}

// removalCSN is the CSN of a removal.
func (t *Tx) removalCSN() dit.CSN {
	if t.replay {
		return t.journalCSN()
	}
	return t.NextCSN()
}

// NextUUID returns a random UUID for an entry to be added.
func (t *Tx) NextUUID() (uuid.UUID, error) {
	id, err := uuid.NewRandomFromReader(t.s.o.Rand)
	t.lastUUID = id
	return id, err
}

// Seq is the journal sequence that the transaction will have if it changes entries.
func (t *Tx) Seq() uint64 { return t.seq }

// Shapes returns the shapes to seal this transaction's entries with.
func (t *Tx) Shapes() *dit.Shapes { return t.gen.shapes }

// Changes returns what the transaction has changed so far, in order. The slice is not to be changed.
func (t *Tx) Changes() []dit.Change { return t.changes }

// Schema returns the schema of the transaction.
func (t *Tx) Schema() *schema.Schema { return t.gen.schema }

// Suffix reports whether norm is the canonical name of a naming context.
func (t *Tx) Suffix(norm string) bool { return t.gen.isSuffix(norm) }

func (t *Tx) kvReader() (kv.Reader, error)      { return t.b, nil }
func (t *Tx) generation() *generation           { return t.gen }
func (t *Tx) version() uint64                   { return ^uint64(0) }
func (t *Tx) cachedIDs([]byte) ([]dit.ID, bool) { return nil, false }
func (t *Tx) fillIDs([]byte, []dit.ID)          {}
func (t *Tx) cachedEntry(dit.ID) *dit.Entry     { return nil }
func (t *Tx) entryCount() int                   { return int(t.sq.high.entries) }

// Get returns an entry, or nil when there is none of this id.
func (t *Tx) Get(id dit.ID) (*dit.Entry, error) {
	if e, ok := t.entries[id]; ok {
		return e, nil
	}
	if e, ok := t.sq.overlay.entry(id); ok {
		return e, nil
	}
	if e, ok := t.gen.caches.entry(id); ok {
		return e, nil
	}
	t.key = entryKey(t.key[:0], id)
	e, err := readEntry(t.b, t.gen.shapes, id, t.key, &t.buf)
	if e != nil {
		t.gen.caches.fillEntry(e, t.acked)
		// Who has found it by a filter may change it by its name next.
		t.gen.caches.fillPlace(e.Parent, e.NormRDN, id, t.acked)
	}
	return e, err
}

// ByUUID returns the entry of an entryUUID, or nil.
func (t *Tx) ByUUID(id uuid.UUID) (*dit.Entry, error) {
	t.key = uuidKey(t.key[:0], id)
	n, err := getID(t.b, t.key, &t.buf)
	if n == 0 || err != nil {
		return nil, err
	}
	return t.Get(n)
}

func (t *Tx) position(parent dit.ID, normRDN string) (dit.ID, error) {
	if len(t.places) > 0 {
		if id, ok := t.places[placeKey{parent, normRDN}]; ok {
			return id, nil
		}
	}
	if id, ok := t.sq.overlay.place(parent, normRDN); ok {
		return id, nil
	}
	if p, ok := t.gen.caches.place(parent, normRDN); ok {
		return p.id, nil
	}
	t.key = positionKey(t.key[:0], parent, normRDN)
	id, err := getID(t.b, t.key, &t.buf)
	if id != 0 {
		t.gen.caches.fillPlace(parent, normRDN, id, t.acked)
	}
	return id, err
}

// Lookup finds an entry by its canonical name. When there is none, matched is the closest existing ancestor, or nil.
func (t *Tx) Lookup(norm string) (e, matched *dit.Entry, err error) {
	// What readers know of the name may be of any age. It is right if the entry has that name in this transaction.
	if id, _, ok := t.gen.caches.lookup(norm); ok && id != 0 {
		e, err := t.Get(id)
		if err != nil {
			return nil, nil, err
		}
		if e != nil {
			if has, err := t.hasName(e, norm); has || err != nil {
				return e, nil, err
			}
		}
	}
	return lookup(t, norm)
}

// hasName reports whether norm is the canonical name of an entry.
func (t *Tx) hasName(e *dit.Entry, norm string) (bool, error) {
	if e.Parent == 0 {
		return e.NormRDN == norm, nil
	}
	parent, err := t.parentName(e)
	n := len(e.NormRDN)
	return err == nil && len(norm) == n+1+len(parent.Norm) && norm[n] == ',' && norm[:n] == e.NormRDN && norm[n+1:] == parent.Norm, err
}

// Name composes the name of an entry.
func (t *Tx) Name(e *dit.Entry) (dit.Name, error) {
	if e.Parent == 0 {
		return dit.Name{DN: e.RDN, Norm: e.NormRDN}, nil
	}
	parent, err := t.parentName(e)
	if err != nil {
		return dit.Name{}, err
	}
	return compose(e, parent), nil
}

// parentName composes the name of the parent of an entry that has one.
func (t *Tx) parentName(e *dit.Entry) (dit.Name, error) {
	if parent, ok := t.sq.names[e.Parent]; ok {
		return parent, nil
	}
	p, err := t.Get(e.Parent)
	if err != nil {
		return dit.Name{}, err
	}
	if p == nil {
		return dit.Name{}, corrupt("entry %d is a parent but does not exist", e.Parent)
	}
	parent, err := t.Name(p)
	if err != nil {
		return dit.Name{}, err
	}
	if len(t.sq.names) >= maxKnownNames {
		clear(t.sq.names)
	}
	t.sq.names[e.Parent] = parent
	return parent, nil
}

// NumChildren returns the number of entries directly beneath.
func (t *Tx) NumChildren(id dit.ID) (int, error) {
	t.key = countKey(t.key[:0], id)
	return numChildren(t.b, t.key, &t.buf)
}

// HasChildren reports whether there are entries directly beneath.
func (t *Tx) HasChildren(id dit.ID) (bool, error) {
	n, err := t.NumChildren(id)
	return n > 0, err
}

// Children calls f for the entries directly beneath, in the order of their canonical RDNs, until it returns false. 0 gives
// the suffix entries. f must not change the tree: gather first, then change.
func (t *Tx) Children(id dit.ID, f func(child dit.ID) bool) error { return children(t.b, id, f) }

// Under reports whether e is base or beneath it; everything is under 0.
func (t *Tx) Under(e *dit.Entry, base dit.ID) (bool, error) {
	if e.ID == base || base == 0 {
		return true, nil
	}
	return under(t, e, base)
}

// LargeHas reports whether a large attribute has the value of this equality key.
func (t *Tx) LargeHas(e *dit.Entry, slot int, key []byte) (bool, error) {
	t.key = append(largeKey(t.key[:0], e.ID, e.Shape().Slots[slot]), key...)
	return largeHas(t.b, t.key, &t.buf)
}

// LargeEach calls f for the values of a large attribute, in the order of their equality keys, until it returns false.
func (t *Tx) LargeEach(e *dit.Entry, slot int, f func(key, value []byte) bool) error {
	return largeEach(t.b, e.ID, e.Shape().Slots[slot], f)
}

// Put stores an entry: as a new one, or in place of the one with its ID, at another position where its parent or its
// canonical RDN is another. Errors about the tree are *ldap.Error: entryAlreadyExists, noSuchObject,
// unwillingToPerform, adminLimitExceeded; nothing was changed then. After any other error the transaction fails, whatever
// the closure returns.
func (t *Tx) Put(c PutRequest) (dit.Change, error) {
	if err := t.admit(c.Entry); err != nil {
		return dit.Change{}, err
	}
	written := t.written()
	ch, err := t.put(c)
	t.brokenBy(err, written)
	return ch, err
}

// written rises with all that is written.
func (t *Tx) written() int { return t.b.Len() + len(t.grams) }

// brokenBy keeps a transaction from being committed after a change that failed half way, or for a reason other than what it
// asked for.
func (t *Tx) brokenBy(err error, written int) {
	if err == nil || t.broken != nil {
		return
	}
	var asked *ldap.Error
	if !errors.As(err, &asked) || t.written() != written {
		t.broken = err
	}
}

func (t *Tx) put(c PutRequest) (dit.Change, error) {
	copied := *c.Entry
	after := &copied
	after.Seq = t.seq
	ch := dit.Change{After: after}
	var err error
	if after.ID == 0 {
		ch.Kind = dit.ChangeAdd
		err = t.place(after)
	} else {
		err = t.replace(&ch)
	}
	if err != nil {
		return dit.Change{}, err
	}
	if ch.Large, err = t.expandLarge(after.ID, ch.Before, c.Large); err != nil {
		return dit.Change{}, err
	}
	if err := t.gen.indexes.apply(indexWriter{t}, t, ch.Before, after, ch.Large); err != nil {
		return dit.Change{}, err
	}
	if err := t.writeLarge(after.ID, ch.Large); err != nil {
		return dit.Change{}, err
	}
	t.key = entryKey(t.key[:0], after.ID)
	t.record = after.AppendRecord(t.record[:0])
	if err := t.b.Set(t.key, t.record); err != nil {
		return dit.Change{}, err
	}
	t.entries[after.ID] = after
	return t.add(ch, after.CSN)
}

// admit refuses what no sealed entry of this transaction looks like.
func (t *Tx) admit(e *dit.Entry) error {
	switch {
	case e == nil || e.Shape() == nil:
		return errors.New("store: Put without a sealed entry")
	case e.NormRDN == "" || e.RDN == "":
		return errors.New("store: Put of an entry without a name")
	case e.UUID == uuid.Nil:
		return errors.New("store: Put of an entry without UUID")
	case t.s.o.MaxChanges > 0 && len(t.changes) >= t.s.o.MaxChanges:
		return tooManyChanges(t.s.o.MaxChanges)
	}
	if slots := e.Shape().Slots; len(slots) > 0 {
		types := t.gen.schema.AttributeTypes()
		if first := slots[0].Type; first.Ordinal >= len(types) || types[first.Ordinal] != first {
			return ErrGeneration
		}
	}
	return nil
}

// place gives a new entry its id and position.
func (t *Tx) place(e *dit.Entry) error {
	if err := t.freePosition(e.Parent, e.NormRDN, 0); err != nil {
		return err
	}
	t.key = uuidKey(t.key[:0], e.UUID)
	if e.UUID != t.lastUUID { // a random one just drawn is nobody's
		there, err := getID(t.b, t.key, &t.buf)
		if err != nil {
			return err
		}
		if there != 0 {
			return ldap.Errorf(ldap.EntryAlreadyExists, "there is an entry of entryUUID %s already", e.UUID)
		}
	}
	e.ID = t.nextID
	t.nextID++
	if err := t.b.Set(t.key, appendID(nil, e.ID)); err != nil {
		return err
	}
	return t.setPlace(e.Parent, e.NormRDN, e.ID)
}

// setPlace puts an entry under a parent.
func (t *Tx) setPlace(parent dit.ID, rdn string, id dit.ID) error {
	t.places[placeKey{parent, rdn}] = id
	t.key = positionKey(t.key[:0], parent, rdn)
	if err := t.b.Set(t.key, appendID(nil, id)); err != nil {
		return err
	}
	return t.count(parent, 1)
}

// clearPlace takes an entry from its parent.
func (t *Tx) clearPlace(parent dit.ID, rdn string) error {
	t.places[placeKey{parent, rdn}] = 0
	t.key = positionKey(t.key[:0], parent, rdn)
	if err := t.b.Delete(t.key); err != nil {
		return err
	}
	return t.count(parent, -1)
}

func (t *Tx) count(parent dit.ID, by int64) error {
	t.counts = append(t.counts, countDelta{parent, by})
	t.key = countKey(t.key[:0], parent)
	t.buf = appendCount(t.buf[:0], by)
	return t.b.Merge(t.key, t.buf)
}

// replace finds what the entry of ch replaces, and moves it where its position is another.
func (t *Tx) replace(ch *dit.Change) error {
	after := ch.After
	before, err := t.Get(after.ID)
	if err != nil {
		return err
	}
	if before == nil {
		return ldap.Errorf(ldap.NoSuchObject, "the entry does not exist any more")
	}
	if before.UUID != after.UUID {
		return fmt.Errorf("store: Put would change the UUID of entry %d from %s to %s", before.ID, before.UUID, after.UUID)
	}
	ch.Kind, ch.Before = dit.ChangeModify, before
	samePlace := before.Parent == after.Parent && before.NormRDN == after.NormRDN
	if samePlace && before.RDN == after.RDN {
		return nil
	}
	ch.Kind = dit.ChangeRename
	if ch.Old, err = t.Name(before); err != nil {
		return err
	}
	if !samePlace {
		if err := t.freePosition(after.Parent, after.NormRDN, after.ID); err != nil {
			return err
		}
		if err := t.clearPlace(before.Parent, before.NormRDN); err != nil {
			return err
		}
		if err := t.setPlace(after.Parent, after.NormRDN, after.ID); err != nil {
			return err
		}
	}
	has, err := t.HasChildren(after.ID)
	if err != nil {
		return err
	}
	t.moved = t.moved || has
	t.renamed = true
	clear(t.sq.names)
	return nil
}

// Remove removes a leaf entry. With entries beneath it is notAllowedOnNonLeaf.
func (t *Tx) Remove(e *dit.Entry) (dit.Change, error) {
	written := t.written()
	ch, err := t.remove(e)
	t.brokenBy(err, written)
	return ch, err
}

func (t *Tx) remove(e *dit.Entry) (dit.Change, error) {
	if t.s.o.MaxChanges > 0 && len(t.changes) >= t.s.o.MaxChanges {
		return dit.Change{}, tooManyChanges(t.s.o.MaxChanges)
	}
	before, err := t.Get(e.ID)
	if err != nil {
		return dit.Change{}, err
	}
	if before == nil {
		return dit.Change{}, ldap.Errorf(ldap.NoSuchObject, "the entry does not exist any more")
	}
	has, err := t.HasChildren(before.ID)
	if err != nil {
		return dit.Change{}, err
	}
	if has {
		return dit.Change{}, ldap.Errorf(ldap.NotAllowedOnNonLeaf, "there are entries beneath it")
	}
	ch := dit.Change{Kind: dit.ChangeDelete, Before: before}
	var large []dit.LargeDelta
	for slot, d := range before.Shape().Slots {
		if _, is := before.Large(slot); is {
			large = append(large, dit.LargeDelta{Desc: d, Clear: true})
		}
	}
	if ch.Large, err = t.expandLarge(before.ID, before, large); err != nil {
		return dit.Change{}, err
	}
	if err := t.gen.indexes.apply(indexWriter{t}, t, before, nil, ch.Large); err != nil {
		return dit.Change{}, err
	}
	if ch.Old, err = t.Name(before); err != nil {
		return dit.Change{}, err
	}
	if err := t.writeLarge(before.ID, ch.Large); err != nil {
		return dit.Change{}, err
	}
	for _, key := range [][]byte{entryKey(nil, before.ID), uuidKey(nil, before.UUID), countKey(nil, before.ID)} {
		if err := t.b.Delete(key); err != nil {
			return dit.Change{}, err
		}
	}
	if err := t.clearPlace(before.Parent, before.NormRDN); err != nil {
		return dit.Change{}, err
	}
	t.entries[before.ID] = nil
	t.renamed = true
	delete(t.sq.names, before.ID)
	return t.add(ch, t.removalCSN())
}

// add records a finished change.
func (t *Tx) add(ch dit.Change, csn dit.CSN) (dit.Change, error) {
	var err error
	if ch.After != nil {
		if ch.New, err = t.Name(ch.After); err != nil {
			return dit.Change{}, err
		}
	}
	if ch.Kind == dit.ChangeModify {
		ch.Old = ch.New
	}
	t.changes = append(t.changes, ch)
	t.csns = append(t.csns, csn)
	return ch, nil
}

// expandLarge completes value changes with the values that go: all that are there where everything is cleared.
func (t *Tx) expandLarge(id dit.ID, before *dit.Entry, deltas []dit.LargeDelta) ([]dit.LargeDelta, error) {
	if len(deltas) == 0 {
		return nil, nil
	}
	out := make([]dit.LargeDelta, 0, len(deltas))
	for _, d := range deltas {
		switch {
		case before == nil:
			d.Delete = nil
		case d.Clear:
			d.Delete = nil
			err := largeEach(t.b, id, d.Desc, func(key, value []byte) bool {
				d.Delete = append(d.Delete, dit.LargeValue{Key: slices.Clone(key), Value: slices.Clone(value)})
				return true
			})
			if err != nil {
				return nil, err
			}
		default:
			gone := make([]dit.LargeValue, 0, len(d.Delete))
			for _, v := range d.Delete {
				t.key = append(largeKey(t.key[:0], id, d.Desc), v.Key...)
				value, err := t.b.Get(nil, t.key)
				if errors.Is(err, kv.ErrNotFound) {
					continue
				}
				if err != nil {
					return nil, err
				}
				gone = append(gone, dit.LargeValue{Key: v.Key, Value: value})
			}
			d.Delete = gone
		}
		out = append(out, d)
	}
	return out, nil
}

// writeLarge stores value changes.
func (t *Tx) writeLarge(id dit.ID, deltas []dit.LargeDelta) error {
	for _, d := range deltas {
		t.key = largeKey(t.key[:0], id, d.Desc)
		prefix := len(t.key)
		if d.Clear {
			if len(d.Delete) > 0 {
				if err := t.b.DeleteRange(t.key, keyAfter(t.key)); err != nil {
					return err
				}
			}
		} else {
			for _, v := range d.Delete {
				t.key = append(t.key[:prefix], v.Key...)
				if err := t.b.Delete(t.key); err != nil {
					return err
				}
			}
		}
		for _, v := range d.Add {
			t.key = append(t.key[:prefix], v.Key...)
			if err := t.b.Set(t.key, v.Value); err != nil {
				return err
			}
		}
	}
	return nil
}

// indexWriter passes index changes on and notes those whose cached lists are then outdated: equality keys, and the one gram
// for what is too long.
type indexWriter struct{ t *Tx }

// postingChunk is the length of the chunk number at the end of a posting key.
const postingChunk = 8

func (w indexWriter) note(key []byte) {
	if len(key) <= indexHeader+postingChunk || key[0] != spaceIndex {
		return
	}
	kind := IndexKind(key[indexHeader-1])
	if kind == IndexEquality || (kind == IndexSubstring && len(key) == indexHeader+1+postingChunk) {
		w.t.touched.add(key[:len(key)-postingChunk])
	}
}

func (w indexWriter) Set(key, value []byte) error {
	w.note(key)
	return w.t.b.Set(key, value)
}

func (w indexWriter) Delete(key []byte) error {
	w.note(key)
	return w.t.b.Delete(key)
}

func (w indexWriter) DeleteRange(lo, hi []byte) error { return w.t.b.DeleteRange(lo, hi) }

func (w indexWriter) Merge(key, operand []byte) error {
	w.note(key)
	return w.t.b.Merge(key, operand)
}
