package credential

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"
)

// Class orders the jobs of a Pool.
type Class uint8

const (
	// Normal is a bind of which nothing is known.
	Normal Class = iota
	// Honest is a bind from a source that has recently succeeded for the account.
	Honest
	// Background is work that no client waits for; it never occupies the whole pool, and gets a small part of its time.
	Background

	classes = 3
)

var (
	// ErrBusy says that the job was not run, because the queue is full, because others needed the place more, or because it
	// waited too long. The LDAP answer is busy (51).
	ErrBusy = errors.New("hashing pool is busy")
	// ErrClosed says that the job was not run, because the pool is closed.
	ErrClosed = errors.New("hashing pool is closed")
)

// Job says for whom work is done.
type Job struct {
	Class  Class
	Source string // those who share a turn, for example a client address or /64
}

// PoolConfig configures a Pool. Zero fields get the defaults.
type PoolConfig struct {
	Workers    int              // computations at a time; default GOMAXPROCS
	QueueLimit int              // jobs waiting in all; default 256
	PerSource  int              // jobs waiting of one source and class; default a quarter of QueueLimit, at least 1
	MaxWait    time.Duration    // longest wait in the queue, of a Background job twelve times that; default 5 s
	Now        func() time.Time // the clock for waits; default time.Now

	// BackgroundPart says how little of the workers' time Background jobs may take: one part in this many; default 16.
	// The queue knows only whether other hashes wait. What else the CPUs are wanted for it cannot see, and thousands of
	// hashes that are renewed at once would take them from searches.
	BackgroundPart int

	// Apart gives Honest jobs workers of their own, as many again: where Normal and Background jobs are computed at a low
	// priority, honest ones need not wait for those.
	Apart bool

	// OnPanic is told of a panic in a function given to Submit; default: only counted. Do hands panics on to its
	// caller.
	OnPanic func(value any)
}

// honestTurns is the number of honest jobs after which a normal one gets a turn, so that honest sources go first but
// cannot lock everybody else out.
const honestTurns = 4

// backgroundWaits is how many times as long as others a Background job may stay in the queue.
const backgroundWaits = 12

// Pool runs password hashes, a bounded number at a time, with a bounded queue in front.
//
// Honest jobs go first, Normal next, Background when nothing else waits. Within a class the sources take turns, so
// that a source with a thousand jobs waits behind its own. When the queue is full, a job of a source with few waiting
// takes the place of the newest job of the source with most; a Background job gives way to all, a Normal one to an
// Honest one. Whoever loses its place gets ErrBusy.
//
// A Pool is safe for concurrent use. Close must be called to end its goroutines.
type Pool struct {
	cfg PoolConfig

	mu         sync.Mutex
	wake       sync.Cond // signals a job or closing to workers
	wakeHonest sync.Cond // the same to those that run nothing but Honest jobs, where there are any
	queues     [classes]classQueue
	queued     int
	running    int
	background int       // of running
	rest       time.Time // no background job begins before
	resting    bool      // a timer wakes a worker then
	turns      int       // honest jobs since the last normal one
	closed     bool
	stats      PoolStats
	workers    sync.WaitGroup
}

// PoolStats is what a pool has done since it was made and what it is doing.
type PoolStats struct {
	Workers, Running, Queued int
	QueuedBy                 [3]int // by Class
	Sources                  int    // with jobs in the queue, counted in each class
	Done                     uint64
	Refused                  uint64 // at the door: queue full
	Evicted                  uint64 // gave way to another job
	Expired                  uint64 // waited too long
	Canceled                 uint64 // the caller went away
	Panics                   uint64
	WaitTotal, WaitMax       time.Duration // of the jobs that were run
}

// classQueue is a ring of sources, each with its jobs in order.
type classQueue struct {
	sources map[string]*sourceQueue
	next    *sourceQueue // whose turn it is; nil: none waits
	queued  int
}

type sourceQueue struct {
	name        string
	prev, after *sourceQueue // in the ring
	first, last *task
	queued      int
}

// task is one job. Its links and state belong to Pool.mu.
type task struct {
	job         Job
	run         func(error)
	entered     time.Time
	prev, after *task
	source      *sourceQueue // nil: not in the queue any more
}

// NewPool starts the workers of a pool.
func NewPool(c PoolConfig) *Pool {
	if c.Workers <= 0 {
		c.Workers = runtime.GOMAXPROCS(0)
	}
	if c.QueueLimit <= 0 {
		c.QueueLimit = 256
	}
	if c.PerSource <= 0 {
		c.PerSource = max(1, c.QueueLimit/4)
	}
	if c.MaxWait <= 0 {
		c.MaxWait = 5 * time.Second
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.BackgroundPart <= 0 {
		c.BackgroundPart = 16
	}
	p := &Pool{cfg: c}
	p.wake.L, p.wakeHonest.L = &p.mu, &p.mu
	for i := range p.queues {
		p.queues[i].sources = make(map[string]*sourceQueue)
	}
	for range c.Workers {
		if !c.Apart {
			p.workers.Go(func() { p.work(everything) })
			continue
		}
		p.workers.Go(func() { p.work(allButHonest) })
		p.workers.Go(func() { p.work(onlyHonest) })
	}
	return p
}

// Do runs fn in the pool and waits for it. ErrBusy and ErrClosed mean that fn was not and will not be run; so does the
// context's own error, which comes when the caller went away before fn's turn. A deadline of ctx or MaxWait that
// passes before fn's turn gives ErrBusy. Once fn has begun, Do waits for its end whatever happens to ctx, so that fn
// may use the caller's variables. A panic in fn goes on in the caller.
func (p *Pool) Do(ctx context.Context, job Job, fn func()) error {
	if err := ctx.Err(); err != nil {
		return p.gone(err)
	}
	type outcome struct {
		err    error
		thrown any
	}
	done := make(chan outcome, 1)
	t, err := p.enter(job, func(err error) {
		o := outcome{err: err}
		defer func() { done <- o }()
		if err != nil {
			return
		}
		defer func() {
			if v := recover(); v != nil {
				o.thrown = v
			}
		}()
		fn()
	})
	if err != nil {
		return err
	}
	wait := time.NewTimer(p.cfg.MaxWait)
	defer wait.Stop()
	var o outcome
	select {
	case o = <-done:
	case <-ctx.Done():
		if p.withdraw(t) {
			return p.gone(ctx.Err())
		}
		o = <-done
	case <-wait.C:
		if p.withdraw(t) {
			return p.gone(context.DeadlineExceeded)
		}
		o = <-done
	}
	if o.thrown != nil {
		p.mu.Lock()
		p.stats.Panics++
		p.mu.Unlock()
		panic(fmt.Sprintf("in the hashing pool: %v", o.thrown))
	}
	return o.err
}

// Submit queues a job that nobody waits for. It returns ErrBusy or ErrClosed, and fn is never called; or nil, and fn
// is called exactly once: in a worker with nil when its turn comes, or with ErrBusy or ErrClosed when it will not
// come, then on another goroutine, briefly, and it must not call the pool.
func (p *Pool) Submit(job Job, fn func(err error)) error {
	_, err := p.enter(job, fn)
	return err
}

// gone counts and translates the reason why a caller does not wait any longer.
func (p *Pool) gone(err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if errors.Is(err, context.DeadlineExceeded) {
		p.stats.Expired++
		return ErrBusy
	}
	p.stats.Canceled++
	return err
}

// enter puts a job into the queue, if need be in the place of another.
func (p *Pool) enter(job Job, run func(error)) (*task, error) {
	if job.Class >= classes {
		job.Class = Normal
	}
	t := &task{job: job, run: run, entered: p.cfg.Now()}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, ErrClosed
	}
	q := &p.queues[job.Class]
	own := 0
	if s := q.sources[job.Source]; s != nil {
		own = s.queued
	}
	if own >= p.cfg.PerSource {
		p.stats.Refused++
		p.mu.Unlock()
		return nil, ErrBusy
	}
	var victim *task
	if p.queued >= p.cfg.QueueLimit {
		if victim = p.victim(job.Class, own); victim == nil {
			p.stats.Refused++
			p.mu.Unlock()
			return nil, ErrBusy
		}
		p.remove(victim)
		p.stats.Evicted++
	}
	q.push(t)
	p.queued++
	p.mu.Unlock()
	if job.Class == Honest && p.cfg.Apart {
		p.wakeHonest.Signal()
	} else {
		p.wake.Signal()
	}
	if victim != nil {
		victim.run(ErrBusy)
	}
	return t, nil
}

// victim finds the job that gives way to one of the class whose source has own others waiting, or nil.
func (p *Pool) victim(class Class, own int) *task {
	if class != Background {
		if s := p.queues[Background].longest(); s != nil {
			return s.last
		}
	}
	if class == Honest {
		if s := p.queues[Normal].longest(); s != nil {
			return s.last
		}
	}
	// With its new job the source would have own+1: taking from one that has more than that makes both more even.
	if s := p.queues[class].longest(); s != nil && s.queued > own+1 {
		return s.last
	}
	return nil
}

// withdraw takes a job out of the queue and reports whether it was still there.
func (p *Pool) withdraw(t *task) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t.source == nil {
		return false
	}
	p.remove(t)
	return true
}

// remove takes a queued task out. Pool.mu is held.
func (p *Pool) remove(t *task) {
	p.queues[t.job.Class].remove(t)
	p.queued--
	if p.closed && p.queued == 0 {
		p.wakeAll()
	}
}

// wakeAll has every worker look again.
func (p *Pool) wakeAll() {
	p.wake.Broadcast()
	p.wakeHonest.Broadcast()
}

// duty says which jobs a worker runs.
type duty uint8

const (
	everything duty = iota
	onlyHonest
	allButHonest
)

// take chooses the next job, or nil. Pool.mu is held.
func (p *Pool) take(d duty) *task {
	honest, normal := &p.queues[Honest], &p.queues[Normal]
	var q *classQueue
	switch {
	case d == onlyHonest:
		if q = honest; q.queued == 0 {
			return nil
		}
	case d == everything && honest.queued > 0 && (normal.queued == 0 || p.turns < honestTurns):
		q = honest
		p.turns++
	case normal.queued > 0:
		q = normal
		p.turns = 0
	case p.queues[Background].queued > 0 && p.background < max(1, p.cfg.Workers-1) && p.rested():
		q = &p.queues[Background]
	default:
		return nil
	}
	t := q.next.first
	q.next = q.next.after
	p.remove(t)
	return t
}

// rested reports whether a background job may begin, and sees to it that a worker asks again when it may. Pool.mu is held.
func (p *Pool) rested() bool {
	left := p.rest.Sub(p.cfg.Now())
	if left <= 0 || p.closed {
		return true
	}
	if !p.resting {
		p.resting = true
		time.AfterFunc(left, func() {
			p.mu.Lock()
			p.resting = false
			p.mu.Unlock()
			p.wake.Signal()
		})
	}
	return false
}

// tire puts off the next background job after one that has taken this long. Pool.mu is held.
func (p *Pool) tire(began, ended time.Time) {
	if p.rest.Before(began) {
		p.rest = began
	}
	p.rest = p.rest.Add(ended.Sub(began) * time.Duration(p.cfg.BackgroundPart) / time.Duration(p.cfg.Workers))
}

// work is one worker.
func (p *Pool) work(d duty) {
	wake := &p.wake
	if d == onlyHonest {
		wake = &p.wakeHonest
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		t := p.take(d)
		if t == nil {
			if p.closed && p.queued == 0 {
				return
			}
			wake.Wait()
			continue
		}
		began := p.cfg.Now()
		wait := began.Sub(t.entered)
		var err error
		longest := p.cfg.MaxWait
		if t.job.Class == Background {
			longest *= backgroundWaits // nobody waits for it, and it has to give way to everything
		}
		if wait > longest {
			p.stats.Expired++
			err = ErrBusy
		} else {
			p.stats.WaitTotal += wait
			p.stats.WaitMax = max(p.stats.WaitMax, wait)
			p.stats.Done++
		}
		p.running++
		if t.job.Class == Background {
			p.background++
		}
		p.mu.Unlock()
		thrown := call(t.run, err)
		p.mu.Lock()
		p.running--
		if t.job.Class == Background {
			p.background--
			p.tire(began, p.cfg.Now())
			p.wake.Signal() // another may have waited for this one's place
		}
		if thrown != nil {
			p.stats.Panics++
			if p.cfg.OnPanic != nil {
				p.mu.Unlock()
				p.cfg.OnPanic(thrown)
				p.mu.Lock()
			}
		}
	}
}

// call runs fn and returns what it panicked with.
func call(fn func(error), err error) (thrown any) {
	defer func() { thrown = recover() }()
	fn(err)
	return nil
}

// Close refuses further jobs, lets those in the queue run, and returns when all workers have ended. When ctx ends
// first, the jobs still waiting get ErrClosed, and Close returns ctx's error after the running ones have ended. It may
// be called more than once.
func (p *Pool) Close(ctx context.Context) error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.wakeAll()
	ended := make(chan struct{})
	go func() {
		p.workers.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	var dropped []*task
	for class := range Class(classes) {
		dropped = append(dropped, p.drop(class)...)
	}
	p.mu.Unlock()
	p.wakeAll()
	refuse(dropped)
	<-ended
	if len(dropped) == 0 {
		return nil
	}
	return ctx.Err()
}

// Abandon gives up the Background jobs that have not begun, which get ErrClosed: before Close, for a process that should end
// soon. There may be minutes of them, and nobody waits.
func (p *Pool) Abandon() {
	p.mu.Lock()
	dropped := p.drop(Background)
	p.mu.Unlock()
	refuse(dropped)
}

// drop takes all jobs of a class out of the queue. p.mu is held.
func (p *Pool) drop(class Class) (dropped []*task) {
	for q := &p.queues[class]; q.next != nil; {
		dropped = append(dropped, q.next.first)
		p.remove(q.next.first)
	}
	return dropped
}

// refuse tells those whose jobs were dropped. p.mu is not held.
func refuse(dropped []*task) {
	for _, t := range dropped {
		t.run(ErrClosed)
	}
}

// Stats returns the pool's counters.
func (p *Pool) Stats() PoolStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stats
	s.Workers, s.Running, s.Queued = p.cfg.Workers, p.running, p.queued
	for i := range p.queues {
		s.QueuedBy[i] = p.queues[i].queued
		s.Sources += len(p.queues[i].sources)
	}
	return s
}

// push appends a task to its source's jobs; a new source is the last to have its turn.
func (q *classQueue) push(t *task) {
	s := q.sources[t.job.Source]
	if s == nil {
		s = &sourceQueue{name: t.job.Source}
		q.sources[s.name] = s
		if q.next == nil {
			s.prev, s.after, q.next = s, s, s
		} else {
			s.prev, s.after = q.next.prev, q.next
			s.prev.after, s.after.prev = s, s
		}
	}
	t.source = s
	t.prev = s.last
	if s.last == nil {
		s.first = t
	} else {
		s.last.after = t
	}
	s.last = t
	s.queued++
	q.queued++
}

// remove takes a task out, and its source with its last task.
func (q *classQueue) remove(t *task) {
	s := t.source
	if t.prev == nil {
		s.first = t.after
	} else {
		t.prev.after = t.after
	}
	if t.after == nil {
		s.last = t.prev
	} else {
		t.after.prev = t.prev
	}
	t.source, t.prev, t.after = nil, nil, nil
	s.queued--
	q.queued--
	if s.queued > 0 {
		return
	}
	delete(q.sources, s.name)
	if s.after == s {
		q.next = nil
		return
	}
	if q.next == s {
		q.next = s.after
	}
	s.prev.after, s.after.prev = s.after, s.prev
}

// longest returns the source with most jobs waiting, or nil.
func (q *classQueue) longest() *sourceQueue {
	var best *sourceQueue
	if q.next == nil {
		return nil
	}
	for s := q.next; ; {
		if best == nil || s.queued > best.queued {
			best = s
		}
		if s = s.after; s == q.next {
			return best
		}
	}
}
