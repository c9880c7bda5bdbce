package store

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"portolan/internal/dit"
	"portolan/internal/kv"
	"portolan/ldap"
)

// LoaderOptions say how a bulk load works.
type LoaderOptions struct {
	// Memory bounds what is held for sorting, in octets; 0 is DefaultLoaderMemory. What the kv.DB takes is not in it.
	Memory int64
	// Dir is where sorted files are put while they do not fit into memory; it must exist. Empty is the directory for
	// temporary files. They take up to about twice what the indexes will.
	Dir string
	// Workers is the number of goroutines that make index keys, beside the one that calls Add; 0 chooses.
	Workers int
	// Above is the highest CSN that was issued for what this content takes the place of: all CSNs issued from Finish on are
	// above it.
	Above dit.CSN
}

// DefaultLoaderMemory is the default of LoaderOptions.Memory.
const DefaultLoaderMemory = 256 << 20

const (
	minLoaderMemory  = 64 << 10
	maxLoaderWorkers = 4
	loaderBatch      = 128
)

// ErrNotEmpty is returned by NewLoader for a store that has entries.
var ErrNotEmpty = errors.New("store: a bulk load needs an empty store")

// Loader fills an empty store. It goes past transactions and journal: entries are written as they come, index keys and
// positions are sorted in bounded memory, and all is moved in by Finish, which begins a new epoch. Nothing is visible
// before that. One goroutine uses it and must call Finish or Abort; nothing else may write to the store meanwhile.
type Loader struct {
	s       *Store
	ctx     context.Context
	gen     *generation
	first   dit.ID
	next    dit.ID
	seq     uint64
	csn     dit.CSN
	bytes   int64
	names   *nameTable
	records recordSorter // positions and UUIDs
	entries kv.Bulk
	large   kv.Bulk
	err     error // first error; only Abort is of use then
	done    bool

	workers []*loadWorker
	running sync.WaitGroup
	batch   []loadItem
	failed  atomic.Pointer[error] // of a worker

	key, record []byte
	name        []byte
	largeKeys   []loadLarge
}

type loadItem struct {
	e     *dit.Entry
	large []dit.LargeDelta
}

type loadLarge struct{ key, value []byte }

// NewLoader begins a bulk load. ctx ends it: Add and Finish then fail.
func (s *Store) NewLoader(ctx context.Context, o LoaderOptions) (*Loader, error) {
	if s.o.ReadOnly {
		return nil, ErrReadOnly
	}
	if o.Memory == 0 {
		o.Memory = DefaultLoaderMemory
	}
	if o.Memory < 0 || o.Workers < 0 {
		return nil, errors.New("store: a limit of a bulk load is negative; write 0 for the default")
	}
	o.Memory = max(o.Memory, minLoaderMemory)
	if o.Dir == "" {
		o.Dir = os.TempDir()
	}
	l := &Loader{s: s, ctx: ctx, csn: o.Above}
	err := s.exclusive(ctx, func() error {
		l.gen, l.first = s.live.Load(), s.seq.high.nextID
		return s.demandEmpty()
	})
	if err != nil {
		return nil, err
	}
	l.next, l.seq = l.first, s.nextSeq()
	l.names = newNameTable(o.Dir, int(o.Memory/8))
	l.records = recordSorter{runSet: runSet{dir: o.Dir}, limit: int(o.Memory / 8)}
	if l.entries, err = s.db.NewBulk(); err == nil {
		l.large, err = s.db.NewBulk()
	}
	if err != nil {
		return nil, errors.Join(err, l.Abort())
	}
	l.startWorkers(o)
	return l, nil
}

func (s *Store) demandEmpty() error {
	empty, err := isEmptySpace(s.db, spaceEntry)
	if err == nil && !empty {
		err = ErrNotEmpty
	}
	return err
}

// Add takes an entry over: it is fresh from Seal with Store.Shapes, has its UUID and CSN, and must not be used afterwards,
// nor its large values. parent is the canonical name of the entry above it, which must have been added before, and empty
// for a suffix entry. After an error only Abort is of use.
func (l *Loader) Add(e *dit.Entry, parent string, large []dit.LargeDelta) error {
	if l.err == nil {
		l.err = l.add(e, parent, large)
	}
	return l.err
}

func (l *Loader) add(e *dit.Entry, parent string, large []dit.LargeDelta) error {
	if l.done {
		return errors.New("store: the bulk load has ended")
	}
	if err := l.ctx.Err(); err != nil {
		return err
	}
	if err := l.failed.Load(); err != nil {
		return *err
	}
	id := l.next
	l.name = append(l.name[:0], e.NormRDN...)
	if parent == "" {
		if !l.gen.isSuffix(e.NormRDN) {
			return ldap.Errorf(ldap.NoSuchObject, "%s: no naming context holds this entry, and it has no parent", e.RDN)
		}
		e.Parent = 0
	} else {
		l.name = append(append(l.name, ','), parent...)
		up, err := l.names.find(parent)
		if err != nil {
			return err
		}
		if up == 0 {
			return ldap.Errorf(ldap.NoSuchObject, "%s: its parent %q has not come yet; a parent must stand before what is beneath it", l.name, parent)
		}
		e.Parent = up
	}
	fresh, err := l.names.add(string(l.name), id)
	if err != nil {
		return err
	}
	if !fresh {
		return ldap.Errorf(ldap.EntryAlreadyExists, "%s: there are two entries of this name", l.name)
	}
	e.ID, e.Seq = id, l.seq
	l.next++
	if e.CSN.Compare(l.csn) > 0 {
		l.csn = e.CSN
	}
	l.key = positionKey(l.key[:0], e.Parent, e.NormRDN)
	if err := l.records.add(l.key, uint64(id)); err != nil {
		return err
	}
	l.key = uuidKey(l.key[:0], e.UUID)
	if err := l.records.add(l.key, uint64(id)); err != nil {
		return err
	}
	l.record = e.AppendRecord(l.record[:0])
	l.key = entryKey(l.key[:0], id)
	l.bytes += int64(len(l.record))
	if err := l.entries.Add(l.key, l.record); err != nil {
		return err
	}
	if len(large) > 0 {
		if err := l.addLarge(e, large); err != nil {
			return err
		}
	}
	if l.batch = append(l.batch, loadItem{e, large}); len(l.batch) >= loaderBatch {
		l.send()
	}
	return nil
}

func (l *Loader) addLarge(e *dit.Entry, large []dit.LargeDelta) error {
	list := l.largeKeys[:0]
	for _, d := range large {
		prefix := largeKey(nil, e.ID, d.Desc)
		for _, v := range d.Add {
			key := append(make([]byte, 0, len(prefix)+len(v.Key)), prefix...)
			list = append(list, loadLarge{append(key, v.Key...), v.Value})
			l.bytes += int64(len(v.Value))
		}
	}
	slices.SortFunc(list, func(a, b loadLarge) int { return bytes.Compare(a.key, b.key) })
	for _, v := range list {
		if err := l.large.Add(v.key, v.value); err != nil {
			return err
		}
	}
	clear(list)
	l.largeKeys = list[:0]
	return nil
}

// Known returns the id of an entry by its canonical name, after Finish and from any goroutine; 0 where it does not know.
func (l *Loader) Known(norm string) dit.ID { return l.names.known(norm) }

// Entries is the number of entries added so far.
func (l *Loader) Entries() int { return int(l.next - l.first) }

// Bytes is the number of octets of the entries' records so far.
func (l *Loader) Bytes() int64 { return l.bytes }

// Finish moves everything in and begins a new epoch. When it fails the store is empty as before.
func (l *Loader) Finish() error {
	if l.err == nil {
		l.err = l.finish()
	}
	err := l.err
	return first(err, l.Abort())
}

func (l *Loader) finish() error {
	if l.done {
		return errors.New("store: the bulk load has ended")
	}
	l.send()
	l.stopWorkers()
	if err := l.failed.Load(); err != nil {
		return *err
	}
	bulks := []kv.Bulk{l.entries, l.large}
	var opening sync.Mutex
	open := func() (kv.Bulk, error) {
		opening.Lock()
		defer opening.Unlock()
		b, err := l.s.db.NewBulk()
		if err == nil {
			bulks = append(bulks, b)
		}
		return b, err
	}
	defer func() {
		for _, b := range bulks {
			b.Abort() // after Finish it does nothing
		}
	}()
	var sorters []*postingSorter
	for _, w := range l.workers {
		sorters = append(sorters, w.sorter)
	}
	var merging sync.WaitGroup
	var posted error
	merging.Go(func() { posted = mergeParts(sorters, open) })
	err := l.mergeRecords(open)
	merging.Wait()
	err = first(err, posted)
	if err != nil {
		return err
	}
	return l.s.exclusive(l.ctx, func() error {
		if l.s.live.Load() != l.gen {
			return ErrGeneration
		}
		if err := l.s.demandEmpty(); err != nil {
			return err
		}
		err := l.moveIn(bulks)
		if err != nil {
			err = errors.Join(err, recoverLoad(l.s.db))
		}
		return err
	})
}

// moveIn makes the load visible. Should the process end in between, the mark makes the next start clean up.
func (l *Loader) moveIn(bulks []kv.Bulk) error {
	db := l.s.db
	b := db.NewBatch()
	defer b.Close()
	for _, space := range loadedSpaces {
		// A tombstone where there is nothing would keep the tables out of the last level: all would be written once more.
		empty, err := isEmptySpace(db, space)
		if err != nil {
			return err
		}
		if empty {
			continue
		}
		if err := b.DeleteRange([]byte{space}, []byte{space + 1}); err != nil {
			return err
		}
	}
	if err := b.Set(metaKey(metaLoading), nil); err != nil {
		return err
	}
	if err := db.Apply(b); err != nil {
		return err
	}
	if err := db.Sync(); err != nil {
		return err
	}
	for _, bulk := range bulks {
		if err := bulk.Finish(); err != nil {
			return err
		}
	}
	return l.s.installBase(base{Entries: l.Entries(), NextID: l.next, CSN: l.csn})
}

// mergeRecords writes positions with the counts of children, and UUIDs. What is there twice shows here.
func (l *Loader) mergeRecords(open func() (kv.Bulk, error)) error {
	counts, err := open()
	if err != nil {
		return err
	}
	positions, err := open()
	if err != nil {
		return err
	}
	uuids, err := open()
	if err != nil {
		return err
	}
	m, err := l.records.merge()
	if err != nil {
		return err
	}
	var last, value []byte
	var parent, children = dit.ID(0), int64(0)
	count := func() error {
		if children == 0 {
			return nil
		}
		l.key = countKey(l.key[:0], parent)
		value = appendCount(value[:0], children)
		children = 0
		return counts.Add(l.key, value)
	}
	for top := m.top(); top != nil; top = m.top() {
		key := top.key()
		if bytes.Equal(key, last) {
			return twice(key)
		}
		last = append(last[:0], key...)
		if key[0] == spaceUUID {
			err = uuids.Add(key, top.data())
		} else {
			if up := dit.ID(binary.BigEndian.Uint64(key[1:])); up != parent {
				if err := count(); err != nil {
					return err
				}
				parent = up
			}
			children++
			err = positions.Add(key, top.data())
		}
		if err == nil {
			err = m.advance()
		}
		if err != nil {
			return err
		}
	}
	return count()
}

func twice(key []byte) error {
	if key[0] == spaceUUID {
		return ldap.Errorf(ldap.EntryAlreadyExists, "there are two entries of the entryUUID %x-%x-%x-%x-%x", key[1:5], key[5:7], key[7:9], key[9:11], key[11:17])
	}
	return ldap.Errorf(ldap.EntryAlreadyExists, "there are two entries of the name %s beneath the same parent", key[9:])
}

// Abort ends a load that is not finished, and removes all that it has left. It may be called at any time, also after
// Finish, then doing nothing.
func (l *Loader) Abort() error {
	if l.done {
		return nil
	}
	l.done = true
	l.stopWorkers()
	err := errors.Join(l.names.remove(), l.records.remove())
	for _, w := range l.workers {
		err = errors.Join(err, w.sorter.remove())
		w.sorter.tables = nil // Known may be asked for long afterwards
	}
	l.records = recordSorter{}
	for _, b := range []kv.Bulk{l.entries, l.large} {
		if b != nil {
			err = errors.Join(err, b.Abort())
		}
	}
	if l.err == nil {
		l.err = errors.New("store: the bulk load has ended")
	}
	return err
}

// loadWorker makes the postings of some of the indexes, of all entries.
type loadWorker struct {
	l      *Loader
	in     chan []loadItem
	x      *indexer
	mine   []bool // by place in the set's list
	sorter *postingSorter
	id     dit.ID // of the entry at hand
	emit   func(x *index, kind IndexKind, key []byte) error
}

// loadWeight is how much work an index is, beside others: grams are most of it.
func (x *index) loadWeight() int {
	if x.kind == IndexSubstring {
		return 8
	}
	return 1
}

// startWorkers shares the indexes out.
func (l *Loader) startWorkers(o LoaderOptions) {
	list := slices.Clone(l.gen.indexes.list)
	n := o.Workers
	if n == 0 {
		n = min(maxLoaderWorkers, runtime.GOMAXPROCS(0))
	}
	n = max(1, min(n, len(list)))
	memory := int(o.Memory-o.Memory/4) / n
	for range n {
		w := &loadWorker{l: l, in: make(chan []loadItem, 4), mine: make([]bool, len(list)), sorter: newPostingSorter(o.Dir, memory)}
		w.x = &indexer{set: l.gen.indexes}
		w.emit = func(x *index, kind IndexKind, key []byte) error { return w.sorter.add(x, kind, key, w.id) }
		l.workers = append(l.workers, w)
	}
	// Each has neighbours, so that what they write does not overlap.
	slices.SortFunc(list, func(a, b *index) int { return cmp.Compare(a.id, b.id) })
	all, before := 0, 0
	for _, x := range list {
		all += x.loadWeight()
	}
	for _, x := range list {
		l.workers[before*n/all].mine[x.place] = true
		before += x.loadWeight()
	}
	for _, w := range l.workers {
		in := w.in
		l.running.Go(func() { w.run(in) })
	}
}

func (l *Loader) stopWorkers() {
	for _, w := range l.workers {
		if w.in != nil {
			close(w.in)
			w.in = nil
		}
	}
	l.running.Wait()
}

// send gives the gathered entries to all workers.
func (l *Loader) send() {
	if len(l.batch) == 0 {
		return
	}
	for _, w := range l.workers {
		w.in <- l.batch
	}
	l.batch = make([]loadItem, 0, loaderBatch)
}

func (w *loadWorker) run(in <-chan []loadItem) {
	for batch := range in {
		if w.l.failed.Load() != nil {
			continue
		}
		for i := range batch {
			if err := w.post(&batch[i]); err != nil {
				w.l.failed.CompareAndSwap(nil, &err)
				break
			}
		}
	}
}

func (w *loadWorker) post(item *loadItem) error {
	w.id = item.e.ID
	for i, slots := range w.x.set.sources(item.e.Shape()) {
		if len(slots) == 0 || !w.mine[i] {
			continue
		}
		if x := w.x.set.list[i]; x.kind == IndexSubstring {
			grams, err := w.x.gramsOf(x, slots, deltaLarge{item.large}, item.e)
			if err == nil {
				err = w.sorter.addGrams(x, grams, item.e.ID)
			}
			if err != nil {
				return err
			}
			continue
		}
		err := w.x.eachOf(w.x.set.list[i], slots, deltaLarge{item.large}, item.e, w.emit)
		if err != nil {
			return err
		}
	}
	return nil
}

// deltaLarge reads the large attributes of an entry that is not stored yet.
type deltaLarge struct{ large []dit.LargeDelta }

func (d deltaLarge) find(e *dit.Entry, slot int) []dit.LargeValue {
	for _, l := range d.large {
		if l.Desc == e.Shape().Slots[slot] {
			return l.Add
		}
	}
	return nil
}

// LargeHas is dit.LargeReader.
func (d deltaLarge) LargeHas(e *dit.Entry, slot int, key []byte) (bool, error) {
	return slices.ContainsFunc(d.find(e, slot), func(v dit.LargeValue) bool { return bytes.Equal(v.Key, key) }), nil
}

// LargeEach is dit.LargeSource.
func (d deltaLarge) LargeEach(e *dit.Entry, slot int, f func(key, value []byte) bool) error {
	for _, v := range d.find(e, slot) {
		if !f(v.Key, v.Value) {
			return nil
		}
	}
	return nil
}

var _ dit.LargeSource = deltaLarge{}
