package store

import (
	"encoding/binary"
	"slices"
	"strconv"
	"sync"

	"github.com/RoaringBitmap/roaring/v2/roaring64"

	"portolan/internal/dit"
	"portolan/internal/kv"
	"portolan/internal/schema"
	"portolan/ldap"
)

// Candidates are the entries that may match a search, in the order of their ids. One goroutine uses them, while the View
// or the Tx they come from is open; Close must be called. In a Tx, what is written after the plan was made may be missed.
type Candidates struct {
	// Confidence says whether the candidates still have to be matched against the filter: not with Exact. It has no regard
	// to access rules; where an attribute may not be searched, the filter must be evaluated in any case.
	Confidence dit.Confidence
	// Estimate is about how many candidates there are; 0 if that is not known.
	Estimate int
	// Examined counts the entries looked at so far.
	Examined int

	p     planner
	src   source
	view  *View // nil for a Tx
	req   PlanRequest
	whole bool // every entry is in scope
	sure  bool // every candidate is in scope

	// What is gone through: ids, or big, or the whole of the directory.
	list    idSet
	ids     []dit.ID
	it      roaring64.IntPeekable64
	scan    bool
	last    dit.ID // the candidate that was looked at last
	entries kv.Iterator
	started bool // entries stands on a key
	explain scopeStep
}

// scopeStep says how the scope was made sure of, for Explain.
type scopeStep uint8

const (
	scopeNone scopeStep = iota
	scopeScan
	scopeChildren
	scopeTree
)

var candidatePool = sync.Pool{New: func() any { return new(Candidates) }}

// Plan finds the entries that may match a search.
func (v *View) Plan(req PlanRequest) (*Candidates, error) { return planSearch(v, v, &req) }

// Plan finds the entries that may match a search.
func (t *Tx) Plan(req PlanRequest) (*Candidates, error) {
	if hasSubstrings(req.Filter) {
		if err := t.settleGrams(); err != nil {
			return nil, err
		}
	}
	return planSearch(t, nil, &req)
}

func hasSubstrings(f *dit.Filter) bool {
	return f != nil && slices.ContainsFunc(f.Nodes, func(n dit.Node) bool { return n.Op == ldap.FilterSubstrings })
}

// Equal returns the entries in which the attribute, of any subtype and options, has the value with this equality key, or
// ErrNotIndexed. The set is the caller's.
func (v *View) Equal(attr *schema.AttributeType, key []byte) (*dit.IDSet, error) {
	return equalSet(v, attr, key)
}

// Equal returns the entries in which the attribute, of any subtype and options, has the value with this equality key, or
// ErrNotIndexed. The set is the caller's.
func (t *Tx) Equal(attr *schema.AttributeType, key []byte) (*dit.IDSet, error) {
	return equalSet(t, attr, key)
}

func equalSet(src source, attr *schema.AttributeType, key []byte) (set *dit.IDSet, err error) {
	c := candidatePool.Get().(*Candidates)
	defer candidatePool.Put(c)
	c.p.begin(src, &PlanRequest{})
	defer func() { err = first(err, c.p.end()) }()
	x := c.p.set.find(attr, IndexEquality)
	if x == nil || !x.ready(src.version()) {
		return nil, ErrNotIndexed
	}
	s, _, err := c.p.equality(x, key, anywhere, 0)
	if err != nil {
		return nil, err
	}
	return s.bitmap(), nil
}

func planSearch(src source, view *View, req *PlanRequest) (*Candidates, error) {
	c := candidatePool.Get().(*Candidates)
	c.src, c.view, c.req, c.last = src, view, *req, req.After
	c.p.begin(src, req)
	err := c.plan()
	if e := c.p.end(); err == nil {
		err = e
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (c *Candidates) plan() error {
	c.whole = c.req.Base == 0 && c.req.Scope != ldap.ScopeOne && c.req.Scope != ldap.ScopeBase
	if c.req.Scope == ldap.ScopeBase {
		c.Confidence = dit.Superset
		c.use(idSet{small: []dit.ID{c.req.Base}})
		return nil
	}
	set, conf, err := c.p.run()
	if err != nil {
		return err
	}
	c.Confidence = conf
	if conf == dit.All {
		return c.planScope()
	}
	if set, err = c.narrow(set); err != nil {
		return err
	}
	c.use(set)
	return nil
}

// use makes a set what is gone through.
func (c *Candidates) use(s idSet) {
	c.list, c.Estimate = s, s.count()
	if s.big != nil {
		c.it = s.big.Iterator()
		if c.last > 0 {
			c.it.AdvanceIfNeeded(uint64(c.last) + 1)
		}
		return
	}
	at, there := slices.BinarySearch(s.small, c.last)
	if there {
		at++
	}
	c.ids = s.small[at:]
}

// planScope goes through all entries in scope: no index is of use.
func (c *Candidates) planScope() error {
	budget := c.req.MaxExamined
	switch {
	case c.req.Scope == ldap.ScopeOne:
		n, err := c.src.NumChildren(c.req.Base)
		if err != nil {
			return err
		}
		if budget > 0 && n > budget {
			return ErrExamined
		}
		set, err := c.children(n)
		if err != nil {
			return err
		}
		c.use(set)
		return nil
	case !c.whole:
		// The directory at large costs little per entry; a subtree must be a good deal smaller to be worth a walk.
		limit := c.src.entryCount()/2 + fewCandidates
		if budget > 0 {
			limit = budget + 1
		}
		set, ok, err := c.subtree(limit)
		if err != nil {
			return err
		}
		if ok {
			if budget > 0 && set.count() > budget {
				return ErrExamined
			}
			c.use(set)
			return nil
		}
	}
	c.Estimate = c.src.entryCount()
	if budget > 0 && c.Estimate > budget {
		return ErrExamined
	}
	c.scan, c.explain = true, scopeScan
	return nil
}

// narrow leaves out of a set what is not in scope, where that costs less than to look at the entries.
func (c *Candidates) narrow(s idSet) (idSet, error) {
	if s.big == nil || c.whole {
		return s, nil
	}
	count := s.count()
	if c.req.Scope == ldap.ScopeOne {
		n, err := c.src.NumChildren(c.req.Base)
		if err != nil || n > count {
			return s, err
		}
		set, err := c.children(n)
		return s.and(set), err
	}
	set, ok, err := c.subtree(count / 4)
	if err != nil || !ok {
		return s, err
	}
	return s.and(set), nil
}

func (c *Candidates) children(n int) (idSet, error) {
	c.explain = scopeChildren
	ids := make([]dit.ID, 0, max(n, 0))
	err := c.src.Children(c.req.Base, func(id dit.ID) bool {
		ids = append(ids, id)
		return true
	})
	return setOfList(ids), err
}

const (
	// walkSteps is the number of entries that a walk asks for children.
	walkSteps = 256
	// maxParents is the number of parents in the directory up to which a subtree is found by looking at all of them.
	maxParents = 20_000
)

// subtree gathers the ids beneath the base, and of the base unless the scope leaves it out. It gives up when there are
// more than limit.
func (c *Candidates) subtree(limit int) (idSet, bool, error) {
	var ids []dit.ID
	if c.req.Scope != ldap.ScopeSubordinate && c.req.Base != 0 {
		ids = append(ids, c.req.Base)
	}
	parents := []dit.ID{c.req.Base}
	steps := 0
	for len(parents) > 0 {
		if steps++; steps > walkSteps {
			return c.subtreeByParents(limit)
		}
		parent := parents[len(parents)-1]
		parents = parents[:len(parents)-1]
		n, err := c.src.NumChildren(parent)
		if err != nil {
			return idSet{}, false, err
		}
		if n <= 0 {
			continue
		}
		if len(ids)+n > limit {
			return idSet{}, false, nil
		}
		err = c.src.Children(parent, func(id dit.ID) bool {
			ids = append(ids, id)
			parents = append(parents, id)
			return true
		})
		if err != nil {
			return idSet{}, false, err
		}
	}
	c.explain, c.sure = scopeTree, true
	return setOfList(ids), true, nil
}

// subtreeByParents is subtree by way of the child counts: there is one for each entry that has children, and as a rule
// those are few.
func (c *Candidates) subtreeByParents(limit int) (idSet, bool, error) {
	parents, ok, err := c.parents()
	if err != nil || !ok {
		return idSet{}, false, err
	}
	var ids []dit.ID
	if c.req.Scope != ldap.ScopeSubordinate && c.req.Base != 0 {
		ids = append(ids, c.req.Base)
	}
	for _, p := range parents {
		if p.id != c.req.Base && c.req.Base != 0 {
			e, err := c.src.Get(p.id)
			if err != nil {
				return idSet{}, false, err
			}
			if e == nil {
				continue
			}
			if in, err := c.src.Under(e, c.req.Base); !in || err != nil {
				if err != nil {
					return idSet{}, false, err
				}
				continue
			}
		}
		if len(ids)+p.n > limit {
			return idSet{}, false, nil
		}
		err := c.src.Children(p.id, func(id dit.ID) bool {
			ids = append(ids, id)
			return true
		})
		if err != nil {
			return idSet{}, false, err
		}
	}
	c.explain, c.sure = scopeTree, true
	return setOfList(ids), true, nil
}

type parentCount struct {
	id dit.ID
	n  int
}

// parents returns all entries that have children, unless there are very many.
func (c *Candidates) parents() (list []parentCount, ok bool, err error) {
	r, err := c.src.kvReader()
	if err != nil {
		return nil, false, err
	}
	it, err := r.Iter([]byte{spaceCount}, []byte{spaceCount + 1})
	if err != nil {
		return nil, false, err
	}
	defer func() { err = first(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		key := it.Key()
		value, err := it.Value()
		if err != nil {
			return nil, false, err
		}
		n := readCount(value)
		if len(key) != 9 || n <= 0 {
			continue
		}
		if len(list) >= maxParents {
			return nil, false, nil
		}
		list = append(list, parentCount{dit.ID(binary.BigEndian.Uint64(key[1:])), int(n)})
	}
	return list, true, it.Err()
}

// Next returns the next candidate in scope, or nil when there are no more.
func (c *Candidates) Next() (*dit.Entry, error) {
	for {
		var e *dit.Entry
		var err error
		if c.scan {
			e, err = c.nextScanned()
			if e == nil || err != nil {
				return nil, err
			}
		} else {
			id := c.nextID()
			if id == 0 {
				return nil, nil
			}
			if e, err = c.entry(id); err != nil {
				return nil, err
			}
			if e == nil {
				continue // the index is behind; a check finds it
			}
		}
		if c.Examined++; c.req.MaxExamined > 0 && c.Examined > c.req.MaxExamined {
			return nil, ErrExamined
		}
		in, err := c.inScope(e)
		if err != nil {
			return nil, err
		}
		if in {
			return e, nil
		}
	}
}

// Last returns the id of the candidate that was looked at last: the After with which a search goes on behind it.
func (c *Candidates) Last() dit.ID { return c.last }

func (c *Candidates) nextID() dit.ID {
	if c.it != nil {
		if !c.it.HasNext() {
			return 0
		}
		c.last = dit.ID(c.it.Next())
		return c.last
	}
	if len(c.ids) == 0 {
		return 0
	}
	c.last = c.ids[0]
	c.ids = c.ids[1:]
	return c.last
}

func (c *Candidates) inScope(e *dit.Entry) (bool, error) {
	switch c.req.Scope {
	case ldap.ScopeBase:
		return e.ID == c.req.Base, nil
	case ldap.ScopeOne:
		return e.Parent == c.req.Base, nil
	}
	if c.whole || c.sure {
		return true, nil
	}
	if e.ID == c.req.Base {
		return c.req.Scope != ldap.ScopeSubordinate, nil
	}
	return c.src.Under(e, c.req.Base)
}

// entry reads a candidate. Where there are many, what is not in the cache is read with one iterator, past the cache: one
// long search must not drive out what the others work with.
func (c *Candidates) entry(id dit.ID) (*dit.Entry, error) {
	if c.view == nil || c.list.big == nil {
		return c.src.Get(id)
	}
	if e := c.src.cachedEntry(id); e != nil {
		return e, nil
	}
	if err := c.openEntries(); err != nil {
		return nil, err
	}
	var buf [9]byte
	key := entryKey(buf[:0], id)
	// The next one is as a rule the one looked for.
	if !c.started || !c.entries.Next() || string(c.entries.Key()) != string(key) {
		c.started = c.entries.SeekGE(key)
		if !c.started || string(c.entries.Key()) != string(key) {
			return nil, c.entries.Err()
		}
	}
	return c.decode(id)
}

func (c *Candidates) openEntries() error {
	if c.entries != nil {
		return nil
	}
	r, err := c.src.kvReader()
	if err != nil {
		return err
	}
	c.entries, err = r.Iter([]byte{spaceEntry}, []byte{spaceEntry + 1})
	return err
}

// decode reads the entry that the iterator stands on.
func (c *Candidates) decode(id dit.ID) (*dit.Entry, error) {
	value, err := c.entries.Value()
	if err != nil {
		return nil, err
	}
	return dit.DecodeEntry(c.src.generation().shapes, id, value)
}

// txScan is the number of entries that a scan in a transaction reads ahead: its iterator must not outlive a write.
const txScan = 256

// nextScanned returns the next of all entries.
func (c *Candidates) nextScanned() (*dit.Entry, error) {
	if c.view == nil {
		return c.nextScannedTx()
	}
	if err := c.openEntries(); err != nil {
		return nil, err
	}
	if !c.started {
		c.started = c.entries.SeekGE(entryKey(nil, c.last+1))
	} else {
		c.started = c.entries.Next()
	}
	if !c.started {
		return nil, c.entries.Err()
	}
	id, ok := readID(c.entries.Key()[1:])
	if !ok {
		return nil, corrupt("entry key %x", c.entries.Key())
	}
	c.last = id
	if e := c.src.cachedEntry(id); e != nil {
		return e, nil
	}
	return c.decode(id)
}

func (c *Candidates) nextScannedTx() (e *dit.Entry, err error) {
	for {
		if len(c.ids) == 0 {
			if err := c.readAhead(); err != nil || len(c.ids) == 0 {
				return nil, err
			}
		}
		if e, err := c.src.Get(c.nextID()); e != nil || err != nil {
			return e, err
		}
	}
}

func (c *Candidates) readAhead() (err error) {
	r, err := c.src.kvReader()
	if err != nil {
		return err
	}
	it, err := r.Iter(entryKey(nil, c.last+1), []byte{spaceEntry + 1})
	if err != nil {
		return err
	}
	defer func() { err = first(err, it.Close()) }()
	c.ids = c.ids[:0:0]
	for ok := it.First(); ok && len(c.ids) < txScan; ok = it.Next() {
		id, ok := readID(it.Key()[1:])
		if !ok {
			return corrupt("entry key %x", it.Key())
		}
		c.ids = append(c.ids, id)
	}
	return it.Err()
}

// Close ends the search. It may be called more than once, but not after the View or Tx was closed.
func (c *Candidates) Close() error {
	if c.src == nil {
		return nil
	}
	var err error
	if c.entries != nil {
		err = c.entries.Close()
	}
	if p := &c.p; cap(p.key) > keepScratch || cap(p.value) > keepScratch || cap(p.builder.data) > keepScratch || cap(p.costs) > keepScratch {
		*p = planner{}
	}
	// One by one: the planner in the middle of it is large, and most of it stays.
	c.Confidence, c.Estimate, c.Examined = 0, 0, 0
	c.src, c.view, c.req, c.whole, c.sure = nil, nil, PlanRequest{}, false, false
	c.list, c.ids, c.it, c.scan, c.last = idSet{}, nil, nil, false, 0
	c.entries, c.started, c.explain = nil, false, scopeStep(0)
	candidatePool.Put(c)
	return err
}

var stepNames = [...]string{
	stepAnd: "and(", stepOr: "or(", stepEnd: ")", stepEquality: "eq", stepPresence: "pres", stepSubstring: "sub",
	stepOrdering: "range", stepVirtual: "view", stepUnindexed: "unindexed", stepUndefined: "undefined", stepNot: "not(",
}

// maxExplain bounds the text of Explain, in octets.
const maxExplain = 512

// Explain says how the candidates were found, for logs: "and(eq(uid)=1)". Numbers are of entries; "~" marks a set that
// may hold others than those asked for.
func (c *Candidates) Explain() string { return string(c.AppendExplain(nil)) }

// AppendExplain appends the text of Explain.
func (c *Candidates) AppendExplain(out []byte) []byte {
	open := true // nothing to separate from
	for _, s := range c.p.steps {
		if len(out) > maxExplain {
			out = append(out, "..."...)
			break
		}
		if s.what != stepEnd && !open {
			out = append(out, ' ')
		}
		out = append(out, stepNames[s.what]...)
		open = s.what == stepAnd || s.what == stepOr || s.what == stepNot
		if open || s.what == stepEnd {
			continue
		}
		if s.attr != nil {
			out = append(append(append(out, '('), s.attr.Name()...), ')')
		}
		if s.n >= 0 {
			sign := byte('=')
			if !s.exact {
				sign = '~'
			}
			out = strconv.AppendInt(append(out, sign), int64(s.n), 10)
		}
	}
	switch c.explain {
	case scopeScan:
		out = append(out, " scan"...)
	case scopeChildren:
		out = append(out, " children"...)
	case scopeTree:
		out = append(out, " subtree"...)
	}
	if c.scan || c.explain != scopeNone {
		out = strconv.AppendInt(append(out, '='), int64(c.Estimate), 10)
	}
	return out
}
