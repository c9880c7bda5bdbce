package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"strconv"

	"portolan/internal/dit"
	"portolan/internal/kv"
)

const (
	// checkMemory bounds what a check of the indexes holds for sorting.
	checkMemory = 64 << 20
	// maxIndexFindings is how many findings about one posting are reported one by one.
	maxIndexFindings = 10
)

// advice says what to do about a defect of the index.
func (x *index) advice() string {
	return "make the index anew: portolan index build " + x.spec.Attribute + " --kind " + x.kind.String()
}

// checkIndexes compares the indexes with what the entries give: it makes all postings anew, sorts them and goes through
// them and the stored ones side by side. only, where not nil, is the one index that is looked at.
func (s *Store) checkIndexes(ctx context.Context, r kv.Reader, g *generation, only *index, report func(Finding), st *CheckStats) (err error) {
	states, err := readIndexStates(r)
	if err != nil {
		return err
	}
	c := &indexCheck{ctx: ctx, r: r, g: g, report: report, stats: st, byID: make(map[uint32]*index),
		from: []byte{spaceIndex}, to: []byte{spaceIndex + 1}}
	if only != nil {
		c.from = binary.BigEndian.AppendUint32(c.from, only.id)
		c.to = binary.BigEndian.AppendUint32([]byte{spaceIndex}, only.id+1)
	}
	for _, state := range states {
		c.byID[state.id] = nil
	}
	for _, x := range g.indexes.list {
		// What an index lacks that is being built is no defect, and what it has of others cannot be told from defects.
		if states[string(indexStateKey(x))].state == IndexReady && (only == nil || x == only) {
			c.byID[x.id] = x
		}
	}
	c.sorter = newPostingSorter(os.TempDir(), checkMemory)
	defer func() { err = first(err, c.sorter.remove()) }()
	if err := c.gather(); err != nil {
		return err
	}
	return c.compare()
}

// CheckIndex verifies one index against the entries, as Check does all of them, and counts its postings. An index that is not
// ready has nothing to verify: that is an error.
func (s *Store) CheckIndex(ctx context.Context, spec IndexSpec, report func(Finding)) (CheckStats, error) {
	v := s.View()
	defer v.Close()
	r, err := v.kvReader()
	if err != nil {
		return CheckStats{}, err
	}
	x := v.gen.indexes.find(v.gen.indexes.schema.AttributeTypeString(spec.Attribute), spec.Kind)
	if x == nil || !x.ready(v.version()) {
		return CheckStats{}, fmt.Errorf("the %v index on %s is not ready", spec.Kind, spec.Attribute)
	}
	var st CheckStats
	err = s.checkIndexes(ctx, r, v.gen, x, func(f Finding) {
		st.Findings++
		report(f)
	}, &st)
	return st, err
}

type indexCheck struct {
	ctx    context.Context
	r      kv.Reader
	g      *generation
	report func(Finding)
	stats  *CheckStats
	sorter *postingSorter
	byID   map[uint32]*index // nil: one that cannot be checked, or need not be
	// Keys of the index space from from up to to are looked at.
	from, to []byte
	stray    uint32    // identity of no index, reported last
	loose    dit.IDSet // entries with large attributes, whose grams may be too many

	found int // about the current posting
}

// gather makes the postings of all entries.
func (c *indexCheck) gather() (err error) {
	it, err := c.r.Iter([]byte{spaceEntry}, []byte{spaceEntry + 1})
	if err != nil {
		return err
	}
	defer func() { err = first(err, it.Close()) }()
	w := c.g.indexes.indexer()
	defer w.release()
	n := 0
	for ok := it.First(); ok; ok = it.Next() {
		if n++; n%checkPause == 0 && c.ctx.Err() != nil {
			return c.ctx.Err()
		}
		id, ok := readID(it.Key()[1:])
		if !ok {
			continue // reported by the check of entries, as are damaged records
		}
		value, err := it.Value()
		if err != nil {
			return err
		}
		e, err := dit.DecodeEntry(c.g.shapes, id, value)
		if err != nil {
			continue
		}
		if e.HasLarge() {
			c.loose.Add(uint64(id))
		}
		err = w.each(batchLarge{c.r}, e, func(x *index, kind IndexKind, key []byte) error {
			if c.byID[x.id] != x {
				return nil
			}
			return c.sorter.add(x, kind, key, id)
		})
		if err != nil {
			return err
		}
	}
	return it.Err()
}

// compare goes through expected and stored chunks side by side.
func (c *indexCheck) compare() (err error) {
	it, err := c.r.Iter(c.from, c.to)
	if err != nil {
		return err
	}
	defer func() { err = first(err, it.Close()) }()
	stored := it.First()
	sources, err := c.sorter.whole().sources()
	if err != nil {
		return err
	}
	n := 0
	err = mergePostingRuns(sources, func(key, value []byte) error {
		if n++; n%checkPause == 0 && c.ctx.Err() != nil {
			return c.ctx.Err()
		}
		for ; stored && bytes.Compare(it.Key(), key) < 0; stored = it.Next() {
			if err := c.chunk(it.Key(), nil, it); err != nil {
				return err
			}
		}
		if err := it.Err(); err != nil {
			return err
		}
		if stored && bytes.Equal(it.Key(), key) {
			if err := c.chunk(key, value, it); err != nil {
				return err
			}
			stored = it.Next()
			return it.Err()
		}
		return c.chunk(key, value, nil)
	})
	for ; err == nil && stored; stored = it.Next() {
		err = c.chunk(it.Key(), nil, it)
	}
	if err != nil {
		return err
	}
	return it.Err()
}

// chunk compares one chunk: what entries give, nil for nothing, with what is stored, where the iterator stands on it.
func (c *indexCheck) chunk(key, want []byte, it kv.Iterator) error {
	id, kind, escaped, chunk, ok := splitIndexKey(key)
	if !ok {
		c.find(key, "is no key of an index", adviceImport)
		return nil
	}
	x, known := c.byID[id]
	if !known && c.stray != id {
		c.stray = id
		c.find(key, "belongs to no index", adviceImport)
	}
	if x == nil {
		return nil
	}
	c.stats.Postings++
	c.found = 0
	have := chunkView{}
	if it != nil {
		value, err := it.Value()
		if err != nil {
			return err
		}
		if have, ok = viewChunk(value); !ok {
			c.find(key, fmt.Sprintf("holds %d octets that are no posting", len(value)), x.advice())
			return nil
		}
	}
	wanted, _ := viewChunk(want)
	name := func() []byte { return appendUnescaped(nil, escaped) }
	wanted.each(chunk<<chunkBits, func(id uint64) bool {
		if !have.has(uint16(id)) && !(kind == IndexSubstring && c.unsettled(id)) {
			c.about(x, kind, name(), id, "lacks")
		}
		return c.found <= maxIndexFindings
	})
	have.each(chunk<<chunkBits, func(id uint64) bool {
		if !wanted.has(uint16(id)) && !(kind == IndexSubstring && (c.loose.Contains(id) || c.unsettled(id))) {
			c.about(x, kind, name(), id, "has, and should not,")
		}
		return c.found <= maxIndexFindings
	})
	return nil
}

// unsettled reports whether the grams of an entry are still to be brought up to date, by the next who opens the store for
// writing.
func (c *indexCheck) unsettled(id uint64) bool {
	u := c.g.indexes.unsettled
	return u != nil && u.Contains(id)
}

// about reports one id. Keys of secret attributes are not shown.
func (c *indexCheck) about(x *index, kind IndexKind, key []byte, id uint64, what string) {
	if c.found++; c.found > maxIndexFindings {
		c.report(Finding{Where: x.name(kind), What: "there is more of the kind at the same key", Advice: x.advice()})
		return
	}
	shown := ""
	if kind != IndexPresence && !x.attr.Secret {
		shown = " under " + strconv.Quote(string(key[:min(len(key), 64)]))
	}
	c.report(Finding{Where: x.name(kind), What: fmt.Sprintf("the index %s entry %d%s", what, id, shown), Advice: x.advice()})
}

func (x *index) name(kind IndexKind) string {
	return "index on " + x.attr.Name() + ", " + kind.String()
}

func (c *indexCheck) find(key []byte, what, advice string) {
	c.report(Finding{Where: fmt.Sprintf("key %x", key[:min(len(key), 64)]), What: what, Advice: advice})
}
