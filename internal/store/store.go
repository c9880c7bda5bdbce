// Package store keeps the directory: entries, their positions, indexes, the journal, and caches above them, on a kv.DB.
//
// All writing goes through one goroutine, the sequencer, which evaluates transactions in order and applies them; a second
// makes groups of them durable; a third, the acknowledger, publishes what is durable to the caches, to readers of the
// journal and to the callers. Readers take no locks and see nothing that is not durable.
package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"portolan/internal/dit"
	"portolan/internal/kv"
	"portolan/internal/schema"
)

// Store is one open directory store. Its methods may be called from any goroutine unless they say otherwise.
type Store struct {
	db  kv.DB
	o   Options
	log *slog.Logger

	durable atomic.Pointer[durable]    // what readers see
	retired retired                    // what they saw
	live    atomic.Pointer[generation] // what the sequencer works with
	acked   atomic.Uint64              // journal sequence up to which the caches are right
	first   atomic.Uint64              // oldest journal record
	views   sync.Pool

	in      chan *pending
	quit    chan struct{} // closed by Close: no new work
	stopped chan struct{} // closed when the pipeline has ended
	seq     sequencer
	toSync  chan *group
	toAck   chan *group
	idle    chan struct{} // holds a token while the syncer waits

	fatal    chan error
	failure  atomic.Pointer[error]
	closing  sync.Once
	closeErr error

	background context.Context
	cancel     context.CancelFunc
	running    sync.WaitGroup // background goroutines
	indexWake  chan struct{}
	warmWake   chan struct{}

	state     *State
	journal   journalSignal
	observers observers

	epoch atomic.Pointer[uuid.UUID]
	stats counters
}

// generation is all that belongs to one schema: pointers to attribute types of two schemas never mix.
type generation struct {
	schema   *schema.Schema
	shapes   *dit.Shapes
	suffixes []suffix
	indexes  *indexSet
	caches   *caches
}

// durable is one durable state, with the snapshot to read it from. Its snapshot is closed when the last reference is gone.
type durable struct {
	seq     uint64 // last journal record in it
	version uint64 // rises with every one installed
	tree    uint64 // rises when names of whole subtrees change
	csn     dit.CSN
	changes uint64 // that all journal records up to seq tell of
	entries int64
	gen     *generation
	snap    kv.Snapshot
	refs    atomic.Int64
}

// acquire takes a reference; it fails when the snapshot is closed already.
func (d *durable) acquire() bool {
	for {
		n := d.refs.Load()
		if n == 0 {
			return false
		}
		if d.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (d *durable) release() error {
	if d.refs.Add(-1) == 0 {
		return d.snap.Close()
	}
	return nil
}

// Meta says in the journal who made a transaction.
type Meta = dit.JournalMeta

// Commit is a durable transaction.
type Commit struct {
	// Seq is its place in the journal; 0 when no entry was changed.
	Seq uint64
	// Before is how many changes the records before it tell of.
	Before uint64
	// CSN is the highest CSN in it.
	CSN     dit.CSN
	Changes []dit.Change
	Meta    Meta
}

// Open opens the store in db, which must have been opened with Merger, and makes an empty store of an empty db. The Store
// owns db from then on, also when Open fails.
func Open(db kv.DB, o Options) (*Store, error) {
	s, err := open(db, o)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return s, nil
}

func open(db kv.DB, o Options) (*Store, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	s := &Store{
		db: db, o: o, log: o.Logger,
		in: make(chan *pending, queueLength), quit: make(chan struct{}), stopped: make(chan struct{}),
		toSync: make(chan *group, 1), toAck: make(chan *group, ackLength), idle: make(chan struct{}, 1),
		fatal: make(chan error, 1), indexWake: make(chan struct{}, 1), warmWake: make(chan struct{}, 1),
	}
	s.background, s.cancel = context.WithCancel(context.Background())
	if err := recoverLoad(db); err != nil {
		return nil, err
	}
	s.views.New = func() any { return new(View) }
	s.state = newState(s)
	if err := s.upgrade(formats); err != nil {
		return nil, err
	}
	high, err := s.loadMeta()
	if err != nil {
		return nil, err
	}
	sch, err := withLive(db, o.Schema)
	if err != nil {
		return nil, err
	}
	gen, err := s.newGeneration(sch, high.entries)
	if err != nil {
		return nil, err
	}
	// Before indexes that are not wanted any more are dropped.
	unsettled, err := s.recoverGrams()
	if err != nil {
		return nil, err
	}
	gen.indexes.unsettled = unsettled
	if err := s.openIndexes(gen); err != nil {
		return nil, err
	}
	s.seq = sequencer{s: s, high: high, gen: gen, overlay: newOverlay()}
	s.live.Store(gen)
	if err := s.installAtRest(); err != nil {
		return nil, err
	}
	go s.seq.run()
	go s.syncer()
	go s.acknowledger()
	if !o.ReadOnly {
		s.start(s.buildIndexes)
		s.start(s.state.flusher)
		s.start(s.trimmer)
	}
	if o.Warm {
		s.start(s.warmCaches)
	}
	return s, nil
}

// start runs f until Close.
func (s *Store) start(f func(context.Context)) {
	s.running.Go(func() { f(s.background) })
}

// newGeneration prepares for a schema, without a change to what is stored, and for about so many entries. Its indexes are to
// be opened before it is used.
func (s *Store) newGeneration(sch *schema.Schema, entries int64) (*generation, error) {
	g := &generation{schema: sch, shapes: dit.NewShapes(sch), caches: newCaches(s.o.CacheBytes, entries)}
	var err error
	if g.suffixes, err = parseSuffixes(sch, s.o.Suffixes); err != nil {
		return nil, err
	}
	if g.indexes, err = newIndexSet(sch, s.o.Indexes); err != nil {
		return nil, err
	}
	return g, nil
}

// installAtRest makes the state of the sequencer the durable one. It is called while nothing is on its way: at Open, and
// from an exclusive step.
func (s *Store) installAtRest() error {
	if !s.o.ReadOnly {
		if err := s.db.Sync(); err != nil {
			return err
		}
	}
	d, err := s.seq.capture()
	if err != nil {
		return err
	}
	s.acked.Store(d.seq)
	s.install(d)
	return nil
}

// install publishes d to readers.
func (s *Store) install(d *durable) {
	old := s.durable.Swap(d)
	if old == nil {
		return
	}
	s.retired.mu.Lock()
	defer s.retired.mu.Unlock()
	s.retired.list = append(s.retired.list, old)
	if len(s.retired.list) > keepRetired {
		s.drop(s.retired.list[0])
		s.retired.list = append(s.retired.list[:0], s.retired.list[1:]...)
	}
}

// keepRetired is how many superseded states can still be read by views that have not taken a snapshot yet, and
// retireAfter how long they are kept when nothing comes after them.
const (
	keepRetired = 16
	retireAfter = time.Second
)

// retired are superseded states.
type retired struct {
	mu   sync.Mutex
	list []*durable
}

func (s *Store) dropRetired() {
	s.retired.mu.Lock()
	defer s.retired.mu.Unlock()
	for _, d := range s.retired.list {
		s.drop(d)
	}
	clear(s.retired.list)
	s.retired.list = s.retired.list[:0]
}

func (s *Store) drop(d *durable) {
	if err := d.release(); err != nil {
		s.fail(err)
	}
}

// Close waits for what was begun, makes it durable and closes the kv.DB. Views must have been closed before.
func (s *Store) Close() error {
	s.closing.Do(func() {
		s.cancel()
		s.running.Wait()
		var err error
		if !s.o.ReadOnly && s.failed() == nil {
			err = s.state.Flush(context.Background())
		}
		close(s.quit)
		<-s.stopped
		if err == nil {
			if f := s.failed(); f != nil {
				err = f
			}
		}
		s.live.Load().caches.close()
		s.dropRetired()
		err = errors.Join(err, s.durable.Load().release())
		s.closeErr = errors.Join(err, s.db.Close())
		s.journal.broadcast()
	})
	return s.closeErr
}

// fail stops all writing: after an I/O error nobody knows what is durable.
func (s *Store) fail(err error) {
	wrapped := fmt.Errorf("%w: %w", ErrFailed, err)
	if s.failure.CompareAndSwap(nil, &wrapped) {
		s.fatal <- wrapped
	}
}

func (s *Store) failed() error {
	if e := s.failure.Load(); e != nil {
		return *e
	}
	return nil
}

// Fatal yields the error after which the store writes no more. The process should end and be started again.
func (s *Store) Fatal() <-chan error { return s.fatal }

// Schema returns the schema that new transactions work with.
func (s *Store) Schema() *schema.Schema { return s.live.Load().schema }

// Shapes returns the shapes to seal entries with. They belong to the current schema: see ErrGeneration.
func (s *Store) Shapes() *dit.Shapes { return s.live.Load().shapes }

// LargeThreshold returns the option of this name, for dit.SealOptions.
func (s *Store) LargeThreshold() int { return s.o.LargeThreshold }

// Epoch identifies the line of journal sequences: positions of another epoch mean nothing here.
func (s *Store) Epoch() uuid.UUID { return *s.epoch.Load() }

// LastCSN returns the CSN of the newest durable transaction: the contextCSN.
func (s *Store) LastCSN() dit.CSN { return s.durable.Load().csn }

// Checkpoint writes a consistent copy of all that is durable into dir, which must not exist. Writing goes on meanwhile, and
// the copy may hold some of it.
func (s *Store) Checkpoint(dir string) error { return s.db.Checkpoint(dir) }

// Metrics returns figures of the store and of the kv below, by stable snake_case names.
func (s *Store) Metrics() map[string]int64 {
	m := s.db.Metrics()
	if m == nil {
		m = make(map[string]int64)
	}
	s.addMetrics(m)
	return m
}

// Merger folds the merge operands of all spaces. The kv.DB must be opened with it.
func Merger() kv.Merger { return spaceMerger{} }

// spaceMerger folds by the space of the key.
type spaceMerger struct{}

func (spaceMerger) Merge(key, old []byte, operands [][]byte) []byte {
	if len(key) > 0 && key[0] == spaceIndex {
		return mergePostings(old, operands)
	}
	return appendCount(nil, readCount(old)+sumCounts(operands))
}

func (spaceMerger) PartialMerge(key []byte, operands [][]byte) []byte {
	if len(key) > 0 && key[0] == spaceIndex {
		return partialMergePostings(operands)
	}
	return appendCount(nil, sumCounts(operands))
}

func sumCounts(operands [][]byte) int64 {
	var n int64
	for _, o := range operands {
		n += readCount(o)
	}
	return n
}

// Entries returns how many entries there are.
func (s *Store) Entries() int { return int(s.durable.Load().entries) }
