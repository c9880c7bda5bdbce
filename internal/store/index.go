package store

import (
	"fmt"
	"sync/atomic"

	"portolan/internal/dit"
	"portolan/internal/schema"
)

// IndexKind is what an index can answer.
type IndexKind uint8

// Kinds of indexes. They are part of stored keys. An equality index answers presence as well.
const (
	IndexEquality  IndexKind = 1
	IndexPresence  IndexKind = 2
	IndexSubstring IndexKind = 3
	IndexOrdering  IndexKind = 4
)

func (k IndexKind) String() string {
	switch k {
	case IndexEquality:
		return "equality"
	case IndexPresence:
		return "presence"
	case IndexSubstring:
		return "substring"
	case IndexOrdering:
		return "ordering"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// ParseIndexKind reads the name of a kind, as String writes it.
func ParseIndexKind(name string) (IndexKind, error) {
	for k := IndexEquality; k <= IndexOrdering; k++ {
		if k.String() == name {
			return k, nil
		}
	}
	return 0, fmt.Errorf("%q is not a kind of index; write equality, presence, substring or ordering", name)
}

// IndexSpec asks for an index. It covers the attribute type, all its subtypes, and all their options.
type IndexSpec struct {
	Attribute string // a name or OID, without options
	Kind      IndexKind
}

// IndexState is how far an index has come.
type IndexState uint8

// States of an index. Only a ready index answers searches; both kinds follow every write.
const (
	IndexBuilding IndexState = 1
	IndexReady    IndexState = 2
)

func (s IndexState) String() string {
	switch s {
	case IndexBuilding:
		return "building"
	case IndexReady:
		return "ready"
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// IndexInfo is the state of one index.
type IndexInfo struct {
	Spec  IndexSpec
	State IndexState
	// Done and Total count entries while the index is being built; Total is an estimate.
	Done, Total int
}

// index is one index. What is not atomic is constant once the store works with it.
type index struct {
	spec IndexSpec
	kind IndexKind
	attr *schema.AttributeType
	rule *schema.MatchingRule // nil for presence
	id   uint32               // given by openIndexes, in all keys
	// place is that in the list of its set.
	place int

	state atomic.Uint32 // an IndexState
	// since is the version of the first durable state in which the index was ready; see source.version.
	since atomic.Uint64
	done  atomic.Int64 // entries that are in it while it is built

	sizes *gramSizes // of a substring index
}

// sources is a list of slots whose values an index covers.
type sources []int

// indexSet is all indexes of one schema. It is shared by readers; only the states inside change.
type indexSet struct {
	schema *schema.Schema
	list   []*index
	// byType has the indexes on exactly a type, by its ordinal and kind.
	byType [][4]*index
	// unsettled are entries whose grams are not what they should be, of a store that may not be written to: see grams.go.
	// nil: there are none.
	unsettled *dit.IDSet
}

// newIndexSet compiles specs. Its indexes answer nothing and take nothing before openIndexes gave them identities.
func newIndexSet(s *schema.Schema, specs []IndexSpec) (*indexSet, error) {
	set := &indexSet{schema: s, byType: make([][4]*index, len(s.AttributeTypes()))}
	for _, spec := range specs {
		x, err := newIndex(s, spec)
		if err != nil {
			return nil, err
		}
		at := &set.byType[x.attr.Ordinal][x.kind-1]
		if *at != nil {
			continue
		}
		*at = x
		set.list = append(set.list, x)
	}
	// An equality index knows presence too.
	kept := set.list[:0]
	for _, x := range set.list {
		if x.kind == IndexPresence && set.byType[x.attr.Ordinal][IndexEquality-1] != nil {
			set.byType[x.attr.Ordinal][IndexPresence-1] = nil
			continue
		}
		x.place = len(kept)
		kept = append(kept, x)
	}
	set.list = kept
	return set, nil
}

func newIndex(s *schema.Schema, spec IndexSpec) (*index, error) {
	t := s.AttributeTypeString(spec.Attribute)
	if t == nil {
		return nil, fmt.Errorf("index on %q: the schema has no such attribute type; write a name or OID it knows, without options", spec.Attribute)
	}
	x := &index{spec: spec, kind: spec.Kind, attr: t}
	switch spec.Kind {
	case IndexEquality:
		x.rule = t.Equality
	case IndexPresence:
		return x, nil
	case IndexSubstring:
		x.rule, x.sizes = t.Substr, new(gramSizes)
	case IndexOrdering:
		x.rule = t.Ordering
	default:
		return nil, fmt.Errorf("index on %s: %v is not a kind of index", t.Name(), spec.Kind)
	}
	if x.rule == nil {
		return nil, fmt.Errorf("index on %s: the attribute type has no %v rule; leave this index out", t.Name(), spec.Kind)
	}
	if x.rule.ValueKey == nil || x.rule.Match != nil || x.rule.Transitive {
		return nil, fmt.Errorf("index on %s: the rule %s cannot be served by an index; leave this index out", t.Name(), x.rule.Name())
	}
	return x, nil
}

// find returns the index of a kind on exactly this type, ready or not, or nil.
func (s *indexSet) find(t *schema.AttributeType, kind IndexKind) *index {
	if t == nil || t.Ordinal >= len(s.byType) {
		return nil
	}
	x := s.byType[t.Ordinal][kind-1]
	if x == nil || x.attr != t {
		return nil
	}
	return x
}

// shapeSources is the key under which a shape remembers which of its slots an index set covers.
type shapeSources struct{ set *indexSet }

// sources returns, for each index in the order of the list, the slots of the shape that it covers. The result is shared.
func (s *indexSet) sources(shape *dit.Shape) []sources {
	if known, ok := shape.Memo.Load(shapeSources{s}); ok {
		return known.([]sources)
	}
	all := make([]sources, len(s.list))
	for i, x := range s.list {
		for slot, d := range shape.Slots {
			if d.Type.IsA(x.attr) {
				all[i] = append(all[i], slot)
			}
		}
	}
	shape.Memo.Store(shapeSources{s}, all)
	return all
}

func (x *index) covers(d schema.Description) bool { return d.Type != nil && d.Type.IsA(x.attr) }

// ready reports whether the index may be asked in a durable state of this version.
func (x *index) ready(version uint64) bool {
	return IndexState(x.state.Load()) == IndexReady && x.since.Load() <= version
}

// first returns the first of two errors as it is: callers compare some of them.
func first(err, later error) error {
	if err != nil {
		return err
	}
	return later
}
