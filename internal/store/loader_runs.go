package store

import (
	"bufio"
	"bytes"
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"portolan/internal/dit"
)

// A run is a sorted file of records, each a key and data. Runs are written when memory is full, and merged at the end.
//
//	length of key, key, length of data, data      (lengths as varints)
type runFile struct {
	f *os.File
	// order tells runs with the same key apart: an earlier one comes first.
	order int
	// level is how often the records were merged already.
	level int
}

const runBuffer = 256 << 10

// runWriter writes a run.
type runWriter struct {
	f   *os.File
	w   *bufio.Writer
	len [2 * binary.MaxVarintLen64]byte
}

func newRun(dir string) (*runWriter, error) {
	f, err := os.CreateTemp(dir, "portolan-load-*.run")
	if err != nil {
		return nil, fmt.Errorf("store: a temporary file for sorting: %w", err)
	}
	return &runWriter{f: f, w: bufio.NewWriterSize(f, runBuffer)}, nil
}

func (w *runWriter) add(header, key, data []byte) error {
	head := binary.AppendUvarint(w.len[:0], uint64(len(header)+len(key)))
	for _, part := range [...][]byte{head, header, key, binary.AppendUvarint(w.len[len(head):len(head)], uint64(len(data))), data} {
		if _, err := w.w.Write(part); err != nil {
			return err
		}
	}
	return nil
}

func (w *runWriter) finish(order int) (*runFile, error) {
	if err := w.w.Flush(); err != nil {
		return nil, errors.Join(err, w.discard())
	}
	return &runFile{f: w.f, order: order}, nil
}

func (w *runWriter) discard() error { return (&runFile{f: w.f}).remove() }

// remove deletes the file.
func (r *runFile) remove() error { return errors.Join(r.f.Close(), os.Remove(r.f.Name())) }

// sorted is a source of records in the order of their keys.
type sorted interface {
	// next moves to the next record and reports whether there is one.
	next() (bool, error)
	// key and data are those of the record, valid until the next move.
	key() []byte
	data() []byte
	// rank tells sources with the same key apart.
	rank() int
}

type runReader struct {
	r     *bufio.Reader
	order int
	k, d  []byte
}

func (r *runFile) reader(buffer int) (*runReader, error) {
	if _, err := r.f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return &runReader{r: bufio.NewReaderSize(r.f, buffer), order: r.order}, nil
}

func (r *runReader) key() []byte  { return r.k }
func (r *runReader) data() []byte { return r.d }
func (r *runReader) rank() int    { return r.order }

func (r *runReader) next() (bool, error) {
	var err error
	if r.k, err = r.block(r.k); err == io.EOF {
		return false, nil
	}
	if err == nil {
		r.d, err = r.block(r.d)
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err == nil, err
}

func (r *runReader) block(dst []byte) ([]byte, error) {
	n, err := binary.ReadUvarint(r.r)
	if err != nil {
		return dst, err
	}
	dst = slices.Grow(dst[:0], int(n))[:n]
	if _, err = io.ReadFull(r.r, dst); err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return dst, err
}

// runMerger goes through several sources in the order of keys, and of ranks where keys are the same.
type runMerger struct{ heap sortedHeap }

func newRunMerger(sources []sorted) (*runMerger, error) {
	m := &runMerger{}
	for _, s := range sources {
		ok, err := s.next()
		if err != nil {
			return nil, err
		}
		if ok {
			m.heap = append(m.heap, s)
		}
	}
	heap.Init(&m.heap)
	return m, nil
}

// top returns the source with the least record, or nil at the end.
func (m *runMerger) top() sorted {
	if len(m.heap) == 0 {
		return nil
	}
	return m.heap[0]
}

// advance moves behind the least record.
func (m *runMerger) advance() error {
	ok, err := m.heap[0].next()
	if err != nil {
		return err
	}
	if ok {
		if len(m.heap) > 1 {
			heap.Fix(&m.heap, 0)
		}
		return nil
	}
	heap.Pop(&m.heap)
	return nil
}

type sortedHeap []sorted

func (h sortedHeap) Len() int { return len(h) }
func (h sortedHeap) Less(i, j int) bool {
	if c := bytes.Compare(h[i].key(), h[j].key()); c != 0 {
		return c < 0
	}
	return h[i].rank() < h[j].rank()
}
func (h sortedHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *sortedHeap) Push(x any)   { *h = append(*h, x.(sorted)) }
func (h *sortedHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// maxRuns is the number of runs of one level that are there before they are made into one of the next, so that a sorter
// has few files and each record is written few times.
const maxRuns = 32

// runSet is the runs of one sorter, by descending level, the older first.
type runSet struct {
	dir  string
	runs []*runFile
	next int
}

// spill writes a run through write, which adds records in order.
func (s *runSet) spill(write func(w *runWriter) error) error {
	w, err := newRun(s.dir)
	if err != nil {
		return err
	}
	if err := write(w); err != nil {
		return errors.Join(err, w.discard())
	}
	run, err := w.finish(s.next)
	if err != nil {
		return err
	}
	s.next++
	s.runs = append(s.runs, run)
	for {
		level := s.runs[len(s.runs)-1].level
		from := slices.IndexFunc(s.runs, func(r *runFile) bool { return r.level == level })
		if len(s.runs)-from < maxRuns {
			return nil
		}
		if err := s.collapse(from); err != nil {
			return err
		}
	}
}

// collapse makes one run of all from a place on. Records with the same key stay apart, in their order.
func (s *runSet) collapse(from int) error {
	old := s.runs[from:]
	w, err := newRun(s.dir)
	if err != nil {
		return err
	}
	sources, err := readers(old)
	if err == nil {
		var m *runMerger
		if m, err = newRunMerger(sources); err == nil {
			for top := m.top(); top != nil && err == nil; top = m.top() {
				if err = w.add(nil, top.key(), top.data()); err == nil {
					err = m.advance()
				}
			}
		}
	}
	if err != nil {
		return errors.Join(err, w.discard())
	}
	run, err := w.finish(old[0].order)
	if err != nil {
		return err
	}
	run.level = old[len(old)-1].level + 1
	for _, r := range old {
		err = errors.Join(err, r.remove())
	}
	s.runs = append(s.runs[:from], run)
	return err
}

func readers(runs []*runFile) ([]sorted, error) {
	var out []sorted
	for _, run := range runs {
		r, err := run.reader(runBuffer)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// remove deletes all runs.
func (s *runSet) remove() error {
	var err error
	for _, r := range s.runs {
		err = errors.Join(err, r.remove())
	}
	s.runs = nil
	return err
}

// recordSorter sorts records of a key and 8 octets in bounded memory.
type recordSorter struct {
	runSet
	limit   int
	arena   []byte
	records []sortedRecord
}

type sortedRecord struct {
	prefix uint64 // of the key behind its first octet
	key    uint32 // offset into arena
	len    uint32
	value  uint64
}

func (s *recordSorter) bytes() int { return cap(s.arena) + 24*cap(s.records) }

func (s *recordSorter) add(key []byte, value uint64) error {
	grows := len(s.records) == cap(s.records) || len(s.arena)+len(key) > cap(s.arena)
	if grows && len(s.records) > 0 && (2*s.bytes() > s.limit || len(s.arena) > 1<<31) {
		if err := s.flush(); err != nil {
			return err
		}
	}
	var head [8]byte
	copy(head[:], key[min(1, len(key)):])
	s.records = append(s.records, sortedRecord{binary.BigEndian.Uint64(head[:]), uint32(len(s.arena)), uint32(len(key)), value})
	s.arena = append(s.arena, key...)
	return nil
}

func (s *recordSorter) keyOf(r sortedRecord) []byte { return s.arena[r.key : r.key+r.len] }

func (s *recordSorter) sort() {
	slices.SortFunc(s.records, func(a, b sortedRecord) int {
		ka, kb := s.keyOf(a), s.keyOf(b)
		if ka[0] == kb[0] && a.prefix != b.prefix {
			if a.prefix < b.prefix {
				return -1
			}
			return 1
		}
		return bytes.Compare(ka, kb)
	})
}

func (s *recordSorter) flush() error {
	s.sort()
	err := s.spill(func(w *runWriter) error {
		var value [8]byte
		for _, r := range s.records {
			binary.BigEndian.PutUint64(value[:], r.value)
			if err := w.add(nil, s.keyOf(r), value[:]); err != nil {
				return err
			}
		}
		return nil
	})
	s.arena, s.records = s.arena[:0], s.records[:0]
	return err
}

// merge returns all records in order; nothing is to be added afterwards.
func (s *recordSorter) merge() (*runMerger, error) {
	s.sort()
	sources, err := readers(s.runs)
	if err != nil {
		return nil, err
	}
	return newRunMerger(append(sources, &memoryRecords{s: s, at: -1}))
}

// memoryRecords is the part that was not spilled.
type memoryRecords struct {
	s     *recordSorter
	at    int
	value [8]byte
}

func (m *memoryRecords) next() (bool, error) {
	if m.at++; m.at >= len(m.s.records) {
		return false, nil
	}
	binary.BigEndian.PutUint64(m.value[:], m.s.records[m.at].value)
	return true, nil
}

func (m *memoryRecords) key() []byte  { return m.s.keyOf(m.s.records[m.at]) }
func (m *memoryRecords) data() []byte { return m.value[:] }
func (m *memoryRecords) rank() int    { return m.s.next }

// postingSorter gathers postings in bounded memory.
type postingSorter struct {
	runSet
	limit  int
	tables []*postingTable // by place of the index and kind; nil where nothing came
	count  int             // adds so far
	key    []byte
}

func newPostingSorter(dir string, limit int) *postingSorter {
	return &postingSorter{runSet: runSet{dir: dir}, limit: limit}
}

// table returns the table of a kind of an index.
func (s *postingSorter) table(x *index, kind IndexKind) *postingTable {
	at := x.place*int(IndexOrdering) + int(kind-1)
	if at >= len(s.tables) {
		s.tables = append(s.tables, make([]*postingTable, at+1-len(s.tables))...)
	}
	if s.tables[at] == nil {
		s.tables[at] = newPostingTable(appendIndexHeader(nil, x, kind))
	}
	return s.tables[at]
}

// add puts an id into a posting. Ids must not descend.
func (s *postingSorter) add(x *index, kind IndexKind, key []byte, id dit.ID) error {
	s.key = appendEscaped(s.key[:0], key)
	s.table(x, kind).add(s.key, id)
	if s.count++; s.count&0x3ff == 0 {
		return s.look()
	}
	return nil
}

// addGrams puts an id into the postings of grams. Ids must not descend.
func (s *postingSorter) addGrams(x *index, grams []uint32, id dit.ID) error {
	t := s.table(x, IndexSubstring)
	for _, g := range grams {
		t.addGram(g, id)
	}
	before := s.count
	if s.count += len(grams); s.count>>10 != before>>10 {
		return s.look()
	}
	return nil
}

// look spills when memory is full.
func (s *postingSorter) look() error {
	n, full := 0, false
	for _, t := range s.tables {
		if t != nil {
			n += t.bytes()
			full = full || t.full()
		}
	}
	if n < s.limit && !full {
		return nil
	}
	return s.spillTables()
}

// ordered returns the tables in the order of their keys.
func (s *postingSorter) ordered() []*postingTable {
	var out []*postingTable
	for _, t := range s.tables {
		if t != nil {
			out = append(out, t)
		}
	}
	slices.SortFunc(out, func(a, b *postingTable) int { return bytes.Compare(a.header, b.header) })
	return out
}

func (s *postingSorter) spillTables() error {
	err := s.spill(func(w *runWriter) error {
		var data []byte
		for _, t := range s.ordered() {
			t.sort()
			for _, o := range t.order {
				i := &t.items[o.item]
				data = t.appendIDs(data[:0], i)
				if err := w.add(t.header, t.key(i), data); err != nil {
					return err
				}
			}
			t.order = nil
		}
		return nil
	})
	for _, t := range s.tables {
		if t != nil {
			t.reset()
		}
	}
	return err
}

// memoryPostings is the part that was not spilled.
type memoryPostings struct {
	tables []*postingTable
	at     int
	order  int
	k, d   []byte
}

func (m *memoryPostings) next() (bool, error) {
	m.at++
	for len(m.tables) > 0 && m.at >= len(m.tables[0].order) {
		m.tables, m.at = m.tables[1:], 0
	}
	if len(m.tables) == 0 {
		return false, nil
	}
	t := m.tables[0]
	i := &t.items[t.order[m.at].item]
	m.k = append(append(m.k[:0], t.header...), t.key(i)...)
	m.d = t.appendIDs(m.d[:0], i)
	return true, nil
}

func (m *memoryPostings) key() []byte  { return m.k }
func (m *memoryPostings) data() []byte { return m.d }
func (m *memoryPostings) rank() int    { return m.order }
