package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"portolan/internal/dit"
	"portolan/internal/kv"
)

// Lengths of the queues, and the bounds of a group that one Sync makes durable.
const (
	queueLength  = 256
	ackLength    = 4
	groupPending = 1024
	// groupEnough is how much work an idle disk is not kept waiting for more of. Smaller groups have the disk busy while others are
	// evaluated, but each has its own costs: of 64 clients, 8 changed a sixth to a half more a second than with as many as there were.
	groupEnough   = 8
	groupOctets   = 8 << 20
	maxKnownNames = 10_000
	// foldCounts is the number of operands on one child count after which they are folded, so that reading it stays cheap.
	foldCounts = 512
)

// pending is work for the sequencer, and what became of it. Exactly one of fn, internal and exclusive is set.
type pending struct {
	ctx       context.Context
	meta      Meta
	fn        func(*Tx) error
	internal  func(kv.Batch) error
	exclusive func() error

	state atomic.Int32 // see below
	done  chan struct{}
	out   outcome
}

// States of pending work: the caller may take it back while it is queued.
const (
	queued int32 = iota
	begun
	takenBack
)

// outcome is the result of a pending update.
type outcome struct {
	commit  Commit
	touched touchedKeys
	// subtrees says that names of whole subtrees have changed.
	subtrees bool
	states   []stateChange
	err      error
}

var pendings = sync.Pool{New: func() any { return &pending{done: make(chan struct{}, 1)} }}

// Update runs fn as one transaction and returns when it is durable and visible to new views. fn runs on the one goroutine
// that evaluates transactions, so that it must not block, and it may be run again. An error of fn, returned as it is,
// undoes all that fn did; so does a panic, which comes back as an error.
//
// When ctx ends before fn has begun, nothing happens and the error is ctx.Err(); later the outcome is awaited.
// Other errors: ErrClosed, ErrReadOnly, ErrNoSpace, ErrFailed, and adminLimitExceeded for a transaction that is too large.
func (s *Store) Update(ctx context.Context, meta Meta, fn func(*Tx) error) (Commit, error) {
	if s.o.ReadOnly {
		return Commit{}, ErrReadOnly
	}
	p := pendings.Get().(*pending)
	p.ctx, p.meta, p.fn = ctx, meta, fn
	return s.submit(p)
}

// applyInternal runs fn between transactions and makes what it wrote durable. Nothing of it is in the journal.
func (s *Store) applyInternal(ctx context.Context, fn func(b kv.Batch) error) error {
	if s.o.ReadOnly {
		return ErrReadOnly
	}
	p := pendings.Get().(*pending)
	p.ctx, p.internal = ctx, fn
	_, err := s.submit(p)
	return err
}

// exclusive runs fn on the sequencer while nothing else is on its way: all that was applied is durable and acknowledged.
// Afterwards a new durable state is installed from what the sequencer then has.
func (s *Store) exclusive(ctx context.Context, fn func() error) error {
	p := pendings.Get().(*pending)
	p.ctx, p.exclusive = ctx, fn
	_, err := s.submit(p)
	return err
}

func (s *Store) submit(p *pending) (Commit, error) {
	ctx := p.ctx
	if err := ctx.Err(); err != nil {
		return Commit{}, err
	}
	select {
	case s.in <- p:
	case <-ctx.Done():
		return Commit{}, ctx.Err()
	case <-s.quit:
		return Commit{}, ErrClosed
	}
	select {
	case <-p.done:
	case <-s.stopped:
		return s.lateOutcome(p)
	case <-ctx.Done():
		if p.state.CompareAndSwap(queued, takenBack) {
			return Commit{}, ctx.Err()
		}
		select {
		case <-p.done:
		case <-s.stopped:
			return s.lateOutcome(p)
		}
	}
	commit, err := p.out.commit, p.out.err
	*p = pending{done: p.done}
	pendings.Put(p)
	return commit, err
}

// lateOutcome is for work that met the end of the pipeline: it was finished just before, or never begun.
func (s *Store) lateOutcome(p *pending) (Commit, error) {
	select {
	case <-p.done:
		return p.out.commit, p.out.err
	default:
		return Commit{}, ErrClosed
	}
}

// sequencer is the state of the goroutine that evaluates transactions. Nobody else touches it once it runs, except from
// within an exclusive step.
type sequencer struct {
	s        *Store
	high     highWater
	version  uint64
	tree     uint64
	gen      *generation
	tx       Tx
	overlay  overlay
	names    map[dit.ID]dit.Name // of parents, with all that was applied
	operands map[dit.ID]int      // on child counts, since they were folded
	space    spaceGate
	gathered gathered
	ops      []gramOp // scratch memory of settleGrams
	open     *group
}

// group is what one Sync makes durable.
type group struct {
	work   []*pending
	octets int
	dirty  bool     // something was applied
	next   *durable // the state after it; nil when nothing was applied
	gen    *generation
	err    error
	flush  chan struct{} // set on an empty group: closed when all groups before it were acknowledged
}

func (g *group) full() bool { return len(g.work) >= groupPending || g.octets >= groupOctets }

// run drains the queue. While the syncer is busy transactions gather in the open group.
func (q *sequencer) run() {
	defer close(q.s.toSync)
	q.names = make(map[dit.ID]dit.Name)
	q.operands = make(map[dit.ID]int)
	for {
		if q.open == nil {
			select {
			case p := <-q.s.in:
				q.take(p)
			case <-q.s.quit:
				q.finish()
				return
			}
			continue
		}
		if q.open.full() {
			<-q.s.idle
			q.send()
			continue
		}
		if len(q.open.work) >= groupEnough {
			select {
			case <-q.s.idle:
				q.send()
				continue
			default:
			}
		}
		select {
		case p := <-q.s.in:
			q.take(p)
			continue
		default:
		}
		select {
		case p := <-q.s.in:
			q.take(p)
		case <-q.s.idle:
			q.send()
		}
	}
}

// finish does what is queued when the store is being closed.
func (q *sequencer) finish() {
	for {
		select {
		case p := <-q.s.in:
			q.take(p)
			if q.open != nil && q.open.full() {
				<-q.s.idle
				q.send()
			}
		default:
			if q.open != nil {
				<-q.s.idle
				q.send()
			}
			return
		}
	}
}

// send hands the open group to the syncer, which is idle.
func (q *sequencer) send() {
	g := q.open
	q.open = nil
	if g.dirty {
		err := q.settleGrams()
		var d *durable
		if err == nil {
			d, err = q.capture()
		}
		if err != nil {
			q.s.fail(err)
			g.err = q.s.failed()
		}
		g.next = d
	}
	q.s.toSync <- g
}

// capture takes the present state as a durable one to be.
func (q *sequencer) capture() (*durable, error) {
	snap, err := q.s.db.Snapshot()
	if err != nil {
		return nil, err
	}
	q.version++
	d := &durable{seq: q.high.seq, version: q.version, tree: q.tree, csn: q.high.csn, changes: q.high.changes, entries: q.high.entries, gen: q.gen, snap: snap}
	d.refs.Store(1)
	return d, nil
}

func (q *sequencer) setGeneration(g *generation) {
	q.gen = g
	q.s.live.Store(g)
}

// take evaluates one piece of work and puts it into the open group, whose fate it shares. So does work that failed: what
// it was refused for may not be durable yet.
func (q *sequencer) take(p *pending) {
	if !p.state.CompareAndSwap(queued, begun) {
		return
	}
	if p.exclusive != nil {
		q.runExclusive(p)
		return
	}
	if q.open == nil {
		q.open = &group{gen: q.gen}
	}
	q.open.work = append(q.open.work, p)
	if err := q.s.failed(); err != nil {
		p.out.err = err
		return
	}
	if p.internal != nil {
		p.out.err = q.evaluateInternal(p)
	} else {
		p.out.err = q.evaluate(p)
	}
}

func (q *sequencer) runExclusive(p *pending) {
	if q.open != nil {
		<-q.s.idle
		q.send()
	}
	flush := &group{flush: make(chan struct{})}
	<-q.s.idle
	q.s.toSync <- flush
	<-flush.flush
	q.overlay = newOverlay()
	clear(q.names)
	p.out.err = q.s.failed()
	if p.out.err == nil {
		p.out.err = protect(p.exclusive)
	}
	if p.out.err == nil {
		p.out.err = q.s.installAtRest()
	}
	p.done <- struct{}{}
}

// protect turns a panic of fn into an error.
func protect(fn func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = panicError(v)
		}
	}()
	return fn()
}

func (q *sequencer) evaluateInternal(p *pending) error {
	// It may read or make anew what the notes are about.
	if err := q.settleGrams(); err != nil {
		return err
	}
	b := q.s.db.NewBatch()
	defer b.Close()
	if err := protect(func() error { return p.internal(b) }); err != nil || b.Len() == 0 {
		return err
	}
	size := b.Size()
	if err := q.apply(b); err != nil {
		return err
	}
	q.open.dirty = true
	q.open.octets += size
	return nil
}

// apply makes a batch visible to what the sequencer evaluates next.
func (q *sequencer) apply(b kv.Batch) error {
	size := b.Size()
	err := q.s.db.Apply(b)
	switch {
	case err == nil:
		q.space.written += uint64(size)
		return nil
	case errors.Is(err, kv.ErrNoSpace):
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	q.s.fail(err)
	return q.s.failed()
}

// evaluate runs one transaction.
func (q *sequencer) evaluate(p *pending) error {
	if err := q.space.check(q.s); err != nil {
		return err
	}
	b := q.s.db.NewBatch()
	defer b.Close()
	t := q.begin(p, b)
	err := protect(func() error { return p.fn(t) })
	if err == nil {
		err = t.broken
	}
	if err == nil {
		err = q.commit(t, p)
	}
	if err != nil || t.renamed {
		clear(q.names)
	}
	t.b = nil
	return err
}

// begin makes the one Tx ready for the next transaction.
func (q *sequencer) begin(p *pending, b kv.Batch) *Tx {
	t := &q.tx
	if t.entries == nil {
		t.entries, t.places = make(map[dit.ID]*dit.Entry), make(map[placeKey]dit.ID)
	}
	clear(t.entries)
	clear(t.places)
	acked := q.s.acked.Load()
	q.overlay.trim(acked)
	*t = Tx{
		s: q.s, sq: q, gen: q.gen, b: b, meta: p.meta,
		time: q.s.o.Now().Truncate(time.Microsecond), seq: q.high.seq + 1, nextID: q.high.nextID, acked: acked,
		entries: t.entries, places: t.places, counts: t.counts[:0], key: t.key[:0], buf: t.buf[:0], record: t.record[:0],
		grams: t.grams[:0],
	}
	if cap(t.grams) > keepScratch {
		t.grams = nil
	}
	if cap(t.record) > keepScratch {
		t.record = nil
	}
	if cap(t.buf) > keepScratch {
		t.buf = nil
	}
	return t
}

// commit writes the journal record and applies the transaction.
func (q *sequencer) commit(t *Tx, p *pending) error {
	if len(t.changes) == 0 && len(t.states) == 0 {
		return nil
	}
	high := q.high
	recorded := len(t.changes) > 0 || t.journalCSN() != high.csn
	if recorded {
		if err := t.seal(&high); err != nil {
			return err
		}
		if len(t.grams) > 0 {
			if err := t.b.Set(gramsKey(nil, t.seq), t.grams); err != nil {
				return err
			}
		}
	}
	size := t.b.Size()
	if err := q.apply(t.b); err != nil {
		return err
	}
	if len(t.grams) > 0 {
		q.gathered.notes = append(q.gathered.notes, t.grams...)
		q.gathered.seqs = append(q.gathered.seqs, t.seq)
	}
	q.high = high
	q.open.dirty = true
	q.open.octets += size
	p.out.states = t.states
	q.s.state.applied(t.states)
	if !recorded {
		return nil
	}
	p.out.commit = Commit{Seq: t.seq, Before: high.changes - uint64(len(t.changes)), CSN: high.csn, Changes: t.changes, Meta: t.meta}
	p.out.touched, p.out.subtrees = t.touched, t.moved
	if t.moved {
		q.tree++
	}
	for id, e := range t.entries {
		q.overlay.setEntry(id, e, t.seq)
	}
	for k, id := range t.places {
		q.overlay.setPlace(k, id, t.seq)
	}
	q.foldCounts(t.counts)
	return nil
}

// seal writes the journal record and the high-water marks of a transaction that changed entries.
func (t *Tx) seal(high *highWater) error {
	high.nextID, high.seq, high.csn = t.nextID, t.seq, t.journalCSN()
	for i := range t.changes {
		switch t.changes[i].Kind {
		case dit.ChangeAdd:
			high.entries++
		case dit.ChangeDelete:
			high.entries--
		}
	}
	var err error
	if t.record, err = t.appendRecord(t.record[:0], high.pos, high.changes, t.time); err != nil {
		return err
	}
	high.pos += uint64(len(t.record))
	high.changes += uint64(len(t.changes))
	t.key = journalKey(t.key[:0], t.seq)
	if err := t.b.Set(t.key, t.record); err != nil {
		return err
	}
	t.buf = high.append(t.buf[:0])
	return t.b.Set(metaKey(metaHigh), t.buf)
}

// foldCounts replaces child counts by their value now and then, so that a reader never has long chains of operands to sum.
func (q *sequencer) foldCounts(deltas []countDelta) {
	for _, d := range deltas {
		if q.operands[d.parent]++; q.operands[d.parent] < foldCounts {
			continue
		}
		// Where it does not work out the next change of this count tries again.
		if err := q.foldCount(d.parent); err != nil {
			q.s.log.Warn("folding a child count", "entry", d.parent, "error", err)
			return
		}
		delete(q.operands, d.parent)
	}
	if len(q.operands) > maxKnownNames {
		clear(q.operands)
	}
}

func (q *sequencer) foldCount(parent dit.ID) error {
	key := countKey(nil, parent)
	value, err := q.s.db.Get(nil, key)
	if err != nil {
		return err
	}
	b := q.s.db.NewBatch()
	defer b.Close()
	if err := b.Set(key, value); err != nil {
		return err
	}
	return q.apply(b)
}

// syncer makes groups durable, one Sync each, in order.
func (s *Store) syncer() {
	defer close(s.toAck)
	s.idle <- struct{}{}
	for g := range s.toSync {
		if g.dirty && g.err == nil {
			if err := s.db.Sync(); err != nil {
				s.fail(err)
			}
			s.stats.syncs.Add(1)
		}
		if g.err == nil {
			g.err = s.failed()
		}
		s.toAck <- g
		s.idle <- struct{}{}
	}
}

// acknowledger publishes what is durable, and wakes the callers.
func (s *Store) acknowledger() {
	defer close(s.stopped)
	quiet := time.NewTimer(retireAfter)
	defer quiet.Stop()
	for {
		select {
		case g, ok := <-s.toAck:
			if !ok {
				return
			}
			s.acknowledge(g)
			quiet.Reset(retireAfter)
		case <-quiet.C:
			s.dropRetired()
		}
	}
}

func (s *Store) acknowledge(g *group) {
	if g.flush != nil {
		close(g.flush)
		return
	}
	if g.err != nil {
		s.refuse(g)
	} else if g.next != nil {
		s.publish(g)
	}
	for _, p := range g.work {
		p.done <- struct{}{}
	}
}

// refuse tells the callers of a group that it did not become durable.
func (s *Store) refuse(g *group) {
	if g.next != nil {
		_ = g.next.release() // what has failed already is told
	}
	for _, p := range g.work {
		if p.out.err == nil {
			p.out.err = g.err
		}
		p.out.commit = Commit{}
	}
}

// publish brings the caches up to date before anybody can see the new state, and everyone else after.
func (s *Store) publish(g *group) {
	changed := false
	for _, p := range g.work {
		if p.out.err == nil && len(p.out.commit.Changes) > 0 {
			g.gen.caches.apply(&p.out)
			changed = true
		}
	}
	s.install(g.next)
	s.acked.Store(g.next.seq)
	for _, p := range g.work {
		if len(p.out.states) > 0 {
			s.state.settled(p.out.states)
		}
	}
	if !changed {
		return
	}
	s.journal.broadcast()
	for _, p := range g.work {
		if p.out.err == nil && p.out.commit.Seq > 0 {
			s.stats.commits.Add(1)
			s.observers.call(p.out.commit)
		}
	}
}

// overlay knows what was applied but is not yet in the caches. Only the sequencer uses it.
type overlay struct {
	entries map[dit.ID]overEntry
	places  map[placeKey]place
	order   []overStep
}

type overEntry struct {
	e   *dit.Entry // nil: removed
	seq uint64
}

// overStep is one element, to be dropped when seq is acknowledged; rdn is empty for an entry.
type overStep struct {
	seq uint64
	id  dit.ID
	key placeKey
}

func newOverlay() overlay {
	return overlay{entries: make(map[dit.ID]overEntry), places: make(map[placeKey]place)}
}

func (o *overlay) entry(id dit.ID) (*dit.Entry, bool) {
	e, ok := o.entries[id]
	return e.e, ok
}

func (o *overlay) place(parent dit.ID, rdn string) (dit.ID, bool) {
	p, ok := o.places[placeKey{parent, rdn}]
	return p.id, ok
}

func (o *overlay) setEntry(id dit.ID, e *dit.Entry, seq uint64) {
	o.entries[id] = overEntry{e, seq}
	o.order = append(o.order, overStep{seq: seq, id: id})
}

func (o *overlay) setPlace(k placeKey, id dit.ID, seq uint64) {
	o.places[k] = place{id, seq}
	o.order = append(o.order, overStep{seq: seq, key: k})
}

// trim drops what is acknowledged.
func (o *overlay) trim(acked uint64) {
	n := 0
	for ; n < len(o.order) && o.order[n].seq <= acked; n++ {
		step := &o.order[n]
		if step.key.rdn == "" {
			if e, ok := o.entries[step.id]; ok && e.seq == step.seq {
				delete(o.entries, step.id)
			}
		} else if p, ok := o.places[step.key]; ok && p.seq == step.seq {
			delete(o.places, step.key)
		}
	}
	if n == len(o.order) {
		clear(o.order)
		o.order = o.order[:0]
	} else {
		o.order = o.order[n:]
	}
}
