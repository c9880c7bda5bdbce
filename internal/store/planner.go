package store

import (
	"errors"
	"slices"

	"portolan/internal/dit"
	"portolan/internal/kv"
	"portolan/internal/schema"
	"portolan/ldap"
)

// Errors of plans.
var (
	// ErrExamined is returned for a search that looks at more entries than PlanRequest.MaxExamined: by Plan when no index
	// can answer it and too many entries are in its scope, by Candidates.Next when the budget is used up.
	ErrExamined = errors.New("store: the search would look at too many entries")
	// ErrNotIndexed is returned by Equal for an attribute without a ready equality index.
	ErrNotIndexed = errors.New("store: the attribute has no equality index")
)

// PlanRequest asks for the entries that may match a search.
type PlanRequest struct {
	// Base is the entry that the search starts from. 0 with ScopeSub means every entry, with ScopeOne the suffix entries.
	Base  dit.ID
	Scope ldap.Scope
	// Filter must not change while the candidates are in use.
	Filter *dit.Filter
	// After makes the search go on behind this candidate: candidates come in the order of their ids.
	After dit.ID
	// MaxExamined bounds the entries looked at; 0 is no bound.
	MaxExamined int
	// Unrestricted says that the reader may search every attribute of every entry. Only then does a negation narrow the
	// candidates: where it does not, an attribute that may not be searched counts as absent, and leaving out the entries
	// that have the value would tell of it.
	Unrestricted bool
	// Virtual answers for filter items on attributes that are computed. A nil set with Exact says that the item is on none.
	// Otherwise the set is of entries that match by a computed value; those that match by a stored one are added from the
	// index. All says that nothing is known. The set is not changed. nil: nothing is virtual.
	Virtual func(n *dit.Node) (*dit.IDSet, dit.Confidence, error)
}

const (
	// fewCandidates is the size of a set below which it is not worth while to read another posting: the entries are looked
	// at anyway.
	fewCandidates = 64
	// peekIDs is how many ids of a posting are read to see whether it is selective.
	peekIDs = smallSet
	// fillMax is the length of the lists that are offered to the cache.
	fillMax = 16
	// maxRangeKeys bounds the keys that one range of an ordering or gram index goes through. Beyond it a search is better
	// off without the index.
	maxRangeKeys = 200_000
	// maxGramReads bounds the postings that one substring item reads.
	maxGramReads = 12
)

// planner evaluates a filter over the indexes. Its sets have no regard to the scope.
//
// Each node is evaluated for one of two questions: for which entries is it TRUE (want), or FALSE. Undefined is neither, so
// that an item that is Undefined for all contributes nothing to either.
type planner struct {
	src     source
	set     *indexSet
	filter  *dit.Filter
	virtual func(n *dit.Node) (*dit.IDSet, dit.Confidence, error)
	version uint64
	open    bool // see PlanRequest.Unrestricted
	reader  kv.Reader
	it      kv.Iterator

	posting []byte
	prefix  []byte
	key     []byte
	value   []byte
	grams   []uint32
	ids     []dit.ID   // the list that grams are intersected in
	costs   []nodeCost // by node
	builder setBuilder
	steps   []planStep
}

// planStep is one thing that the planner did, for Explain.
type planStep struct {
	what  stepKind
	exact bool
	attr  *schema.AttributeType
	n     int
}

type stepKind uint8

const (
	stepAnd stepKind = iota
	stepOr
	stepEnd
	stepEquality
	stepPresence
	stepSubstring
	stepOrdering
	stepVirtual
	stepUnindexed
	stepUndefined
	stepNot
)

func (p *planner) begin(src source, req *PlanRequest) {
	p.src, p.set, p.filter, p.virtual, p.open = src, src.generation().indexes, req.Filter, req.Virtual, req.Unrestricted
	p.version, p.steps = src.version(), p.steps[:0]
}

// run evaluates the filter.
func (p *planner) run() (idSet, dit.Confidence, error) {
	if len(p.filter.Nodes) == 0 {
		return idSet{}, dit.Exact, nil // it is Undefined
	}
	p.costs = slices.Grow(p.costs[:0], len(p.filter.Nodes))[:len(p.filter.Nodes)]
	p.weigh(0)
	return p.eval(0, true, anywhere)
}

// end closes what the planner opened.
func (p *planner) end() error {
	var err error
	if p.it != nil {
		err = p.it.Close()
	}
	p.src, p.set, p.filter, p.virtual, p.reader, p.it = nil, nil, nil, nil, nil, nil
	return err
}

func (p *planner) kv() (kv.Reader, error) {
	if p.reader == nil {
		r, err := p.src.kvReader()
		if err != nil {
			return nil, err
		}
		p.reader = r
	}
	return p.reader, nil
}

// iter returns an iterator over the index space.
func (p *planner) iter() (kv.Iterator, error) {
	if p.it == nil {
		r, err := p.kv()
		if err != nil {
			return nil, err
		}
		p.it, err = r.Iter([]byte{spaceIndex}, []byte{spaceIndex + 1})
		if err != nil {
			return nil, err
		}
	}
	return p.it, nil
}

func (p *planner) step(what stepKind, n *dit.Node, count int, conf dit.Confidence) {
	s := planStep{what: what, n: count, exact: conf == dit.Exact}
	if n != nil {
		s.attr = n.Desc.Type
	}
	p.steps = append(p.steps, s)
}

// within is what is known already: only entries in it are asked for. anywhere: nothing is known.
type within struct {
	idSet
	known bool
}

var anywhere within

// in makes a set what is known.
func in(s idSet) within { return within{s, true} }

// eval returns a set that holds all entries of in for which the node is TRUE (want) or FALSE (not want). With Exact it
// holds no others. With All the set means nothing. It recurses no deeper than ldap.MaxFilterDepth.
func (p *planner) eval(at int32, want bool, among within) (idSet, dit.Confidence, error) {
	n := &p.filter.Nodes[at]
	switch n.Op {
	case ldap.FilterNot:
		return p.eval(n.First, !want, among)
	case ldap.FilterAnd, ldap.FilterOr:
		if (n.Op == ldap.FilterAnd) == want {
			return p.all(n, want, among)
		}
		return p.any(n, want, among)
	}
	if n.Undefined {
		p.step(stepUndefined, n, 0, dit.Exact)
		return idSet{}, dit.Exact, nil
	}
	if want {
		s, conf, _, err := p.item(n, among, 0)
		return s, conf, err
	}
	return p.without(n, among)
}

// without answers for which entries an item is FALSE: those of in that it is not TRUE for.
func (p *planner) without(n *dit.Node, among within) (idSet, dit.Confidence, error) {
	if !p.open || !among.known || p.itemCost(n) >= costUnindexed {
		p.step(stepUnindexed, n, -1, dit.All)
		return idSet{}, dit.All, nil
	}
	p.step(stepNot, nil, 0, dit.All)
	s, conf, _, err := p.item(n, among, 0)
	p.step(stepEnd, nil, 0, dit.All)
	if err != nil || conf != dit.Exact {
		return idSet{}, dit.All, err
	}
	return among.andNot(s), dit.Exact, nil
}

// branch is a child of a conjunction.
type branch struct {
	at   int32
	cost uint8
	// long says that its posting was begun and found to be long.
	long bool
}

// all intersects the children of n: And for TRUE, Or for FALSE.
func (p *planner) all(n *dit.Node, want bool, among within) (idSet, dit.Confidence, error) {
	var few [8]branch
	todo := few[:0]
	for at := n.First; at != ldap.None; at = p.filter.Nodes[at].Next {
		todo = append(todo, branch{at: at, cost: p.costs[at].of(want)})
	}
	slices.SortStableFunc(todo, func(a, b branch) int { return int(a.cost) - int(b.cost) })
	p.step(stepAnd, nil, 0, dit.All)
	defer p.step(stepEnd, nil, 0, dit.All)

	cur, conf, narrowed := among, dit.Exact, false
	for len(todo) > 0 {
		if cur.known && cur.count() <= fewCandidates {
			if cur.count() > 0 {
				conf = dit.Superset
			}
			break
		}
		b := todo[0]
		todo = todo[1:]
		if !cur.known && !b.long && len(todo) > 0 && want {
			s, c, long, err := p.peek(b.at)
			if err != nil {
				return idSet{}, dit.All, err
			}
			if long {
				// Others may select fewer: it waits behind all that are likely to.
				b.long, b.cost = true, max(b.cost, costLong)
				at, _ := slices.BinarySearchFunc(todo, b.cost+1, func(b branch, cost uint8) int { return int(b.cost) - int(cost) })
				todo = slices.Insert(todo, at, b)
				continue
			}
			if c != dit.All {
				cur, conf, narrowed = in(s), max(conf, c), true
				continue
			}
		}
		s, c, err := p.eval(b.at, want, cur)
		if err != nil {
			return idSet{}, dit.All, err
		}
		if c == dit.All {
			conf = dit.Superset
			continue
		}
		cur, conf, narrowed = in(s), max(conf, c), true
	}
	if !narrowed {
		return idSet{}, dit.All, nil
	}
	return cur.idSet, conf, nil
}

// peek reads the beginning of the posting of an equality item. It answers All for what is none.
func (p *planner) peek(at int32) (s idSet, conf dit.Confidence, long bool, err error) {
	n := &p.filter.Nodes[at]
	if n.Undefined || p.access(n).kind != IndexEquality {
		return idSet{}, dit.All, false, nil
	}
	return p.item(n, anywhere, peekIDs)
}

// any unites the children of n: Or for TRUE, And for FALSE.
func (p *planner) any(n *dit.Node, want bool, among within) (idSet, dit.Confidence, error) {
	// One child of which nothing is known spoils the union: see before reading anything.
	for at := n.First; at != ldap.None; at = p.filter.Nodes[at].Next {
		if p.costs[at].of(want) >= costUnindexed {
			p.step(stepUnindexed, &p.filter.Nodes[at], -1, dit.All)
			return idSet{}, dit.All, nil
		}
	}
	p.step(stepOr, nil, 0, dit.All)
	defer p.step(stepEnd, nil, 0, dit.All)
	var u setUnion
	conf := dit.Exact
	for at := n.First; at != ldap.None; at = p.filter.Nodes[at].Next {
		s, c, err := p.eval(at, want, among)
		if err != nil || c == dit.All {
			return idSet{}, dit.All, err
		}
		conf = max(conf, c)
		u.add(s)
	}
	return u.set(), conf, nil
}

// Costs are guesses at how many entries an item selects. They only order the work; costUnindexed says that nothing is
// narrowed, or nothing but what other items have found.
const (
	costNone      = 0 // nothing matches
	costEquality  = 2
	costVirtual   = 3
	costSubstring = 5
	costLong      = 6 // an equality that was found to select many
	costOrdering  = 7
	costPresence  = 8
	costClass     = 9 // objectClass: as a rule a large part of the directory
	costUnindexed = 20
)

// nodeCost has the costs of a node: of finding where it is TRUE, and where it is FALSE.
type nodeCost struct{ yes, no uint8 }

func (c nodeCost) of(want bool) uint8 {
	if want {
		return c.yes
	}
	return c.no
}

// weigh fills in the costs of a node and all beneath it. It recurses no deeper than ldap.MaxFilterDepth.
func (p *planner) weigh(at int32) nodeCost {
	n := &p.filter.Nodes[at]
	var c nodeCost
	switch n.Op {
	case ldap.FilterNot:
		child := p.weigh(n.First)
		c = nodeCost{yes: child.no, no: child.yes}
	case ldap.FilterAnd, ldap.FilterOr:
		least, most := nodeCost{costUnindexed, costUnindexed}, nodeCost{}
		for i := n.First; i != ldap.None; i = p.filter.Nodes[i].Next {
			child := p.weigh(i)
			least = nodeCost{min(least.yes, child.yes), min(least.no, child.no)}
			most = nodeCost{max(most.yes, child.yes), max(most.no, child.no)}
		}
		c = nodeCost{yes: least.yes, no: most.no}
		if n.Op == ldap.FilterOr {
			c = nodeCost{yes: most.yes, no: least.no}
		}
	default:
		c.yes = p.itemCost(n)
		c.no = costUnindexed
		if n.Undefined {
			c.no = costNone
		}
	}
	p.costs[at] = c
	return c
}

func (p *planner) itemCost(n *dit.Node) uint8 {
	if n.Undefined {
		return costNone
	}
	switch p.access(n).kind {
	case IndexEquality:
		if n.Desc.Type == p.set.schema.Known.ObjectClass {
			return costClass
		}
		return costEquality
	case IndexSubstring:
		return costSubstring
	case IndexOrdering:
		return costOrdering
	case IndexPresence:
		return costPresence
	}
	if p.virtual != nil {
		return costVirtual
	}
	return costUnindexed
}
