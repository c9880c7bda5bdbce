package store

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"portolan/internal/kv"
)

// postingPart is a part of what a sorter has gathered: keys that no other part has in between.
type postingPart struct {
	runs   []*runFile
	tables []*postingTable
	order  int // rank of the tables among the runs
	bytes  int
}

// whole is all of it.
func (s *postingSorter) whole() *postingPart {
	p := &postingPart{runs: s.runs, tables: s.ordered(), order: s.next, bytes: s.limit * len(s.runs)}
	for _, t := range p.tables {
		p.bytes += t.bytes()
	}
	return p
}

// partsOf is into how many parts a sorter's postings are cut.
const partsOf = 4

// parts cuts what is in memory into parts of about the same size. What was spilled lies in the runs in one piece.
func (s *postingSorter) parts() []*postingPart {
	whole := s.whole()
	if len(s.runs) > 0 {
		return []*postingPart{whole}
	}
	var out []*postingPart
	for _, t := range whole.tables {
		if n := len(out); n == 0 || out[n-1].bytes >= whole.bytes/partsOf {
			out = append(out, &postingPart{})
		}
		p := out[len(out)-1]
		p.tables = append(p.tables, t)
		p.bytes += t.bytes()
	}
	return out
}

// mergeParts writes the postings of all sorters, each part into a bulk load of its own, on all CPUs. It returns the first
// error when nothing works any more.
func mergeParts(sorters []*postingSorter, open func() (kv.Bulk, error)) error {
	var parts []*postingPart
	for _, s := range sorters {
		parts = append(parts, s.parts()...)
	}
	// The largest first, so that none of them is alone at the end.
	slices.SortStableFunc(parts, func(a, b *postingPart) int { return cmp.Compare(b.bytes, a.bytes) })
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var running sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(parts)) {
		running.Go(func() {
			for i := next.Add(1); i <= int64(len(parts)) && failed.Load() == nil; i = next.Add(1) {
				if err := parts[i-1].merge(open); err != nil {
					failed.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	running.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

func (p *postingPart) merge(open func() (kv.Bulk, error)) error {
	bulk, err := open()
	if err != nil {
		return err
	}
	sources, err := p.sources()
	if err != nil {
		return err
	}
	return mergePostingRuns(sources, bulk.Add)
}

// sources returns the postings, to be merged; keys are prefixes of postings without their final zero.
func (p *postingPart) sources() ([]sorted, error) {
	out, err := readers(p.runs)
	if err != nil {
		return nil, err
	}
	for _, t := range p.tables {
		t.sort()
	}
	return append(out, &memoryPostings{tables: p.tables, at: -1, order: p.order}), nil
}

// mergePostingRuns writes the chunks of all postings of the sources, in the order of their keys.
func mergePostingRuns(sources []sorted, emit func(key, value []byte) error) error {
	m, err := newRunMerger(sources)
	if err != nil {
		return err
	}
	w := chunkWriter{emit: emit}
	var prefix []byte
	for top := m.top(); top != nil; top = m.top() {
		prefix = append(append(prefix[:0], top.key()...), 0)
		w.begin(prefix)
		for last := uint64(0); top != nil && bytes.Equal(top.key(), prefix[:len(prefix)-1]); top = m.top() {
			// Each record begins with a whole id; records of one key come in ascending order of ids.
			id := uint64(0)
			for data := top.data(); len(data) > 0; {
				d, n := binary.Uvarint(data)
				if n <= 0 {
					return errors.New("store: a temporary file for sorting is damaged")
				}
				data = data[n:]
				if id += d; id > last {
					if err := w.add(id); err != nil {
						return err
					}
					last = id
				}
			}
			if err := m.advance(); err != nil {
				return err
			}
		}
		if err := w.flush(); err != nil {
			return err
		}
	}
	return nil
}
