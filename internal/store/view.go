package store

import (
	"errors"
	"fmt"

	"github.com/google/uuid"

	"portolan/internal/dit"
	"portolan/internal/kv"
	"portolan/internal/schema"
)

// View reads one durable state. One goroutine uses it, and gives it back with Close.
//
// What the caches answer costs no snapshot: a View holds on to one only from the first read that needs it. Snapshots of
// the last few states are kept for that. A View that has had only cached answers for longer moves on, with the first read
// that needs a snapshot, to the state of that moment: what it reads may then come from two states, one after the other,
// and in the rare case that they do not fit together a read fails with ErrMoved. Pin prevents it. Across a change of
// schema a View cannot move on, and its reads fail with ErrGeneration.
type View struct {
	s      *Store
	at     *durable
	gen    *generation
	pinned bool
	moved  bool

	key, buf []byte
	ones     []dit.ID // lists of single ids that the cache gave

	// The last answer of Under: siblings come one after another.
	underParent, underBase dit.ID
	underIs                bool

	// The parent whose name was asked for last, by this view or by one of before that had its memory.
	parent parentName
}

// parentName is the name of a parent, as it was at a mark.
type parentName struct {
	id   dit.ID
	name dit.Name
	mark Mark
}

// Mark says which state a view is of, for Still. The zero value is of none.
type Mark struct {
	gen       *generation
	tree, seq uint64
}

// Mark returns a mark of the state that the view is of.
func (v *View) Mark() Mark { return Mark{v.gen, v.at.tree, v.at.seq} }

// Still reports whether an entry that was there at the mark, and its name, are still the same in this view. It may say no
// where they are.
func (v *View) Still(id dit.ID, m Mark) bool {
	return m.gen == v.gen && m.tree == v.at.tree && m.seq <= v.at.seq && v.gen.caches.slotOfID(id).Load() <= m.seq
}

// View returns a view of what is durable now. It costs next to nothing.
func (s *Store) View() *View {
	v := s.views.Get().(*View)
	v.s = s
	v.at = s.durable.Load()
	v.gen = v.at.gen
	return v
}

// Close gives the view back; it must not be used any more.
func (v *View) Close() {
	s := v.s
	if s == nil {
		return
	}
	if v.pinned {
		if err := v.at.release(); err != nil {
			s.fail(err)
		}
	}
	key, buf := v.key, v.buf
	if cap(buf) > keepScratch {
		buf = nil
	}
	if cap(key) > keepScratch {
		key = nil
	}
	ones := v.ones
	if cap(ones) > keepScratch/8 {
		ones = nil
	}
	*v = View{key: key[:0], buf: buf[:0], ones: ones[:0], parent: v.parent}
	s.views.Put(v)
}

// keepScratch bounds the memory that a pooled view keeps.
const keepScratch = 64 << 10

// Pin fixes the view to its state.
func (v *View) Pin() error {
	for !v.pinned {
		if v.at.acquire() {
			v.pinned = true
			break
		}
		select {
		case <-v.s.stopped:
			return ErrClosed
		default:
		}
		at := v.s.durable.Load()
		if at.gen != v.gen {
			return ErrGeneration
		}
		v.at = at
		v.moved = true
		v.underParent = 0
	}
	return nil
}

// Keep returns another view of the same state. v must be pinned.
func (v *View) Keep() *View {
	k := v.s.views.Get().(*View)
	k.s, k.at, k.gen, k.pinned = v.s, v.at, v.gen, true
	v.at.refs.Add(1)
	return k
}

func (v *View) kvReader() (kv.Reader, error) {
	if !v.pinned {
		if err := v.Pin(); err != nil {
			return nil, err
		}
	}
	return v.at.snap, nil
}

// EachState calls f for the values of State whose key begins with prefix, as they are now, in the order of keys.
func (v *View) EachState(prefix []byte, f func(key, value []byte) bool) error {
	return v.s.state.Each(prefix, f)
}

func (v *View) generation() *generation { return v.gen }

// version orders durable states, also those that differ in indexes only.
func (v *View) version() uint64 { return v.at.version }

// Seq returns the journal sequence up to which the view sees transactions.
func (v *View) Seq() uint64 { return v.at.seq }

// CSN returns the highest CSN that the view sees.
func (v *View) CSN() dit.CSN { return v.at.csn }

// Schema returns the schema that the view's entries were read with.
func (v *View) Schema() *schema.Schema { return v.gen.schema }

// Get returns an entry, or nil when there is none of this id.
func (v *View) Get(id dit.ID) (*dit.Entry, error) {
	if e, ok := v.gen.caches.entry(id); ok && e.Seq <= v.at.seq {
		return e, nil
	}
	r, err := v.kvReader()
	if err != nil {
		return nil, err
	}
	v.key = entryKey(v.key[:0], id)
	e, err := readEntry(r, v.gen.shapes, id, v.key, &v.buf)
	if e != nil {
		v.gen.caches.fillEntry(e, v.at.seq)
		// Who has found it by a filter may change it by its name next.
		v.gen.caches.fillPlace(e.Parent, e.NormRDN, id, v.at.seq)
	}
	return e, err
}

// readEntry reads and decodes an entry; nil when it is not there. key is its key, buf scratch.
func readEntry(r kv.Reader, shapes *dit.Shapes, id dit.ID, key []byte, buf *[]byte) (*dit.Entry, error) {
	var err error
	*buf, err = r.Get((*buf)[:0], key)
	if errors.Is(err, kv.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	e, err := dit.DecodeEntry(shapes, id, *buf)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return e, nil
}

// getID reads a value that is an id; 0 when the key is not there.
func getID(r kv.Reader, key []byte, buf *[]byte) (dit.ID, error) {
	var err error
	*buf, err = r.Get((*buf)[:0], key)
	if errors.Is(err, kv.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	id, ok := readID(*buf)
	if !ok {
		return 0, corrupt("key %x holds %d octets instead of an entry id", key, len(*buf))
	}
	return id, nil
}

// ByUUID returns the entry of an entryUUID, or nil.
func (v *View) ByUUID(id uuid.UUID) (*dit.Entry, error) {
	r, err := v.kvReader()
	if err != nil {
		return nil, err
	}
	v.key = uuidKey(v.key[:0], id)
	n, err := getID(r, v.key, &v.buf)
	if n == 0 || err != nil {
		return nil, err
	}
	return v.Get(n)
}

// position returns the id at a position, or 0.
func (v *View) position(parent dit.ID, normRDN string) (dit.ID, error) {
	if p, ok := v.gen.caches.place(parent, normRDN); ok && p.seq <= v.at.seq {
		return p.id, nil
	}
	r, err := v.kvReader()
	if err != nil {
		return 0, err
	}
	v.key = positionKey(v.key[:0], parent, normRDN)
	id, err := getID(r, v.key, &v.buf)
	if id != 0 {
		v.gen.caches.fillPlace(parent, normRDN, id, v.at.seq)
	}
	return id, err
}

// Lookup finds an entry by its canonical name. When there is none, matched is the closest existing ancestor, or nil.
func (v *View) Lookup(norm string) (e, matched *dit.Entry, err error) {
	if id, seq, ok := v.gen.caches.lookup(norm); ok && seq <= v.at.seq {
		e, err := v.Get(id)
		if e != nil || err != nil {
			return e, nil, err
		}
		// The view has moved on to a state in which it is gone.
	}
	for {
		at := v.at
		e, matched, err = lookup(v, norm)
		if err == nil && v.at != at {
			continue // it is pinned now: once is enough
		}
		if e != nil {
			v.gen.caches.fillLookup(norm, e.ID, at.seq)
		}
		return e, matched, err
	}
}

// ID returns the id of the entry with a canonical name, 0 where there is none. Unlike Lookup it reads no entry.
func (v *View) ID(norm string) (dit.ID, error) {
	if id, seq, ok := v.gen.caches.lookup(norm); ok && seq <= v.at.seq {
		return id, nil
	}
	for {
		at := v.at
		id, _, err := descend(v, norm)
		if err != nil || v.at == at {
			return id, err
		}
	}
}

// LookupCached is Lookup for what the caches know; nil says nothing. norm is not kept.
func (v *View) LookupCached(norm []byte) *dit.Entry {
	id, seq, ok := v.gen.caches.lookup(text(norm))
	if !ok || seq > v.at.seq {
		return nil
	}
	return v.cachedEntry(id)
}

// AppendName appends the name of an entry as it was written to dn, and its canonical form to norm.
func (v *View) AppendName(dn, norm []byte, e *dit.Entry) ([]byte, []byte, error) {
	dn, norm = append(dn, e.RDN...), append(norm, e.NormRDN...)
	if e.Parent == 0 {
		return dn, norm, nil
	}
	if v.parent.id != e.Parent || !v.Still(e.Parent, v.parent.mark) {
		mark := v.Mark()
		name, err := v.parentName(e.Parent)
		if err != nil {
			return dn, norm, err
		}
		v.parent = parentName{e.Parent, name, mark}
	}
	parent := &v.parent.name
	return append(append(dn, ','), parent.DN...), append(append(norm, ','), parent.Norm...), nil
}

// Name composes the name of an entry.
func (v *View) Name(e *dit.Entry) (dit.Name, error) {
	if e.Parent == 0 {
		return dit.Name{DN: e.RDN, Norm: e.NormRDN}, nil
	}
	parent, err := v.parentName(e.Parent)
	if err != nil {
		return dit.Name{}, err
	}
	return compose(e, parent), nil
}

// parentName returns the name of an entry that has others beneath it.
func (v *View) parentName(id dit.ID) (dit.Name, error) {
	if n, ok := v.gen.caches.name(id); ok && n.seq <= v.at.seq && n.tree == v.at.tree {
		return n.value, nil
	}
	at := v.at
	e, err := v.Get(id)
	if err != nil {
		return dit.Name{}, err
	}
	if e == nil {
		return dit.Name{}, v.missing(id)
	}
	name, err := v.Name(e)
	if err == nil && v.at == at { // else it may be put together from two states
		v.gen.caches.fillName(id, known[dit.Name]{value: name, tree: at.tree, seq: at.seq})
	}
	return name, err
}

// missing is the error for a parent that does not exist. To a view that has moved on it may have been removed with all its
// children since the caller read one of them.
func (v *View) missing(id dit.ID) error {
	if v.moved {
		return ErrMoved
	}
	return corrupt("entry %d is a parent but does not exist", id)
}

// NumChildren returns the number of entries directly beneath.
func (v *View) NumChildren(id dit.ID) (int, error) {
	r, err := v.kvReader()
	if err != nil {
		return 0, err
	}
	v.key = countKey(v.key[:0], id)
	return numChildren(r, v.key, &v.buf)
}

func numChildren(r kv.Reader, key []byte, buf *[]byte) (int, error) {
	var err error
	*buf, err = r.Get((*buf)[:0], key)
	if errors.Is(err, kv.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return int(readCount(*buf)), nil
}

// HasChildren reports whether there are entries directly beneath.
func (v *View) HasChildren(id dit.ID) (bool, error) {
	n, err := v.NumChildren(id)
	return n > 0, err
}

// Children calls f for the entries directly beneath, in the order of their canonical RDNs, until it returns false. 0 gives
// the suffix entries. f may use the view.
func (v *View) Children(id dit.ID, f func(child dit.ID) bool) error {
	r, err := v.kvReader()
	if err != nil {
		return err
	}
	return children(r, id, f)
}

func children(r kv.Reader, id dit.ID, f func(child dit.ID) bool) (err error) {
	lo := positionKey(nil, id, "")
	it, err := r.Iter(lo, keyAfter(lo))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.Value()
		if err != nil {
			return err
		}
		child, ok := readID(value)
		if !ok {
			return corrupt("key %x holds %d octets instead of an entry id", it.Key(), len(value))
		}
		if !f(child) {
			return nil
		}
	}
	return it.Err()
}

// Under reports whether e is base or beneath it; everything is under 0.
func (v *View) Under(e *dit.Entry, base dit.ID) (bool, error) {
	if e.ID == base || base == 0 {
		return true, nil
	}
	if e.Parent == 0 {
		return false, nil
	}
	if v.underParent == e.Parent && v.underBase == base {
		return v.underIs, nil
	}
	at := v.at
	is, err := under(v, e, base)
	if err == nil && v.at == at {
		v.underParent, v.underBase, v.underIs = e.Parent, base, is
	}
	return is, err
}

// getter is what walks of the tree need.
type getter interface {
	Get(id dit.ID) (*dit.Entry, error)
}

// under walks towards the root.
func under(g getter, e *dit.Entry, base dit.ID) (bool, error) {
	for id := e.Parent; id != 0; {
		if id == base {
			return true, nil
		}
		up, err := g.Get(id)
		if err != nil {
			return false, err
		}
		if up == nil {
			return false, missingParent(g, id)
		}
		id = up.Parent
	}
	return false, nil
}

func missingParent(g getter, id dit.ID) error {
	if v, ok := g.(*View); ok {
		return v.missing(id)
	}
	return corrupt("entry %d is a parent but does not exist", id)
}

// LargeHas reports whether a large attribute has the value of this equality key.
func (v *View) LargeHas(e *dit.Entry, slot int, key []byte) (bool, error) {
	r, err := v.kvReader()
	if err != nil {
		return false, err
	}
	v.key = append(largeKey(v.key[:0], e.ID, e.Shape().Slots[slot]), key...)
	return largeHas(r, v.key, &v.buf)
}

func largeHas(r kv.Reader, key []byte, buf *[]byte) (bool, error) {
	var err error
	*buf, err = r.Get((*buf)[:0], key)
	if errors.Is(err, kv.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// LargeEach calls f for the values of a large attribute, in the order of their equality keys, until it returns false. key
// and value are valid during the call.
func (v *View) LargeEach(e *dit.Entry, slot int, f func(key, value []byte) bool) error {
	r, err := v.kvReader()
	if err != nil {
		return err
	}
	return largeEach(r, e.ID, e.Shape().Slots[slot], f)
}

func largeEach(r kv.Reader, id dit.ID, d schema.Description, f func(key, value []byte) bool) (err error) {
	lo := largeKey(nil, id, d)
	it, err := r.Iter(lo, keyAfter(lo))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.Value()
		if err != nil {
			return err
		}
		if !f(it.Key()[len(lo):], value) {
			return nil
		}
	}
	return it.Err()
}

// Suffix reports whether norm is the canonical name of a naming context.
func (v *View) Suffix(norm string) bool { return v.gen.isSuffix(norm) }

// cachedIDs returns the ids under an index key (without its chunk), if they are cached.
func (v *View) cachedIDs(key []byte) ([]dit.ID, bool) {
	l, ok := v.gen.caches.list(key, &v.ones)
	if !ok || l.seq > v.at.seq {
		return nil, false
	}
	return l.ids, true
}

// cachedEntry returns an entry without reading for it; nil when the cache does not have what this view sees.
func (v *View) cachedEntry(id dit.ID) *dit.Entry {
	if e, ok := v.gen.caches.entry(id); ok && e.Seq <= v.at.seq {
		return e
	}
	return nil
}

// entryCount is the number of entries.
func (v *View) entryCount() int { return int(v.at.entries) }

// fillIDs offers the complete list of ids under an index key, just read from kvReader.
func (v *View) fillIDs(key []byte, ids []dit.ID) {
	if v.pinned {
		v.gen.caches.fillList(key, ids, v.at.seq)
	}
}

// source is what the planner works on: a View or a Tx.
type source interface {
	Schema() *schema.Schema
	Get(id dit.ID) (*dit.Entry, error)
	Under(e *dit.Entry, base dit.ID) (bool, error)
	Children(id dit.ID, f func(child dit.ID) bool) error
	HasChildren(id dit.ID) (bool, error)
	NumChildren(id dit.ID) (int, error)
	LargeHas(e *dit.Entry, slot int, key []byte) (bool, error)
	LargeEach(e *dit.Entry, slot int, f func(key, value []byte) bool) error

	kvReader() (kv.Reader, error)
	generation() *generation
	version() uint64
	cachedEntry(id dit.ID) *dit.Entry
	entryCount() int
	cachedIDs(key []byte) ([]dit.ID, bool)
	fillIDs(key []byte, ids []dit.ID)
}

var (
	_ source = (*View)(nil)
	_ source = (*Tx)(nil)
)
