package store

import (
	"context"
	"sync"
	"sync/atomic"
)

// observers are called with every durable transaction.
type observers struct {
	mu   sync.RWMutex
	list []func(Commit)
}

// Observe has f called with every transaction that becomes durable from now on, in the order of the journal, by the
// goroutine that wakes the callers of Update: f must not block, nor call Update. Changes are shared and not to be changed.
func (s *Store) Observe(f func(Commit)) {
	s.observers.mu.Lock()
	defer s.observers.mu.Unlock()
	s.observers.list = append(s.observers.list, f)
}

func (o *observers) call(c Commit) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	for _, f := range o.list {
		f(c)
	}
}

// journalSignal wakes those who wait for the journal to grow.
type journalSignal struct {
	mu   sync.Mutex
	wait chan struct{} // nil while nobody waits
}

func (j *journalSignal) broadcast() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.wait != nil {
		close(j.wait)
		j.wait = nil
	}
}

// next returns a channel that is closed at the next broadcast.
func (j *journalSignal) next() <-chan struct{} {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.wait == nil {
		j.wait = make(chan struct{})
	}
	return j.wait
}

// WaitJournal returns when there is a durable record after this sequence. The error is ctx.Err() or ErrClosed.
func (s *Store) WaitJournal(ctx context.Context, after uint64) error {
	for {
		grown := s.journal.next()
		if s.durable.Load().seq > after {
			return nil
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.stopped:
			return ErrClosed
		}
	}
}

// JournalGrown returns a channel that is closed when there is a durable record after this sequence, or the store is closed.
func (s *Store) JournalGrown(after uint64) <-chan struct{} {
	grown := s.journal.next()
	if s.durable.Load().seq > after {
		return closedChannel
	}
	return grown
}

var closedChannel = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// counters are figures about what the store does.
type counters struct {
	commits, syncs, refused, trimmed atomic.Int64
}

func (s *Store) addMetrics(m map[string]int64) {
	d := s.durable.Load()
	c := d.gen.caches
	m["store_entries"] = d.entries
	m["store_journal_sequence"] = int64(d.seq)
	m["store_journal_first"] = int64(s.first.Load())
	m["store_commits"] = s.stats.commits.Load()
	m["store_syncs"] = s.stats.syncs.Load()
	m["store_refused_no_space"] = s.stats.refused.Load()
	m["store_journal_trimmed"] = s.stats.trimmed.Load()
	m["store_cached_entries"] = c.entries.count.Load()
	m["store_cached_octets"] = c.entries.weight.Load()
	m["store_cached_ids"] = c.ids.filled.Load() + c.lookups.filled.Load()
	m["store_cached_lists"] = int64(c.lists.EstimatedSize())
}
