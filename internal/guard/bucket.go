package guard

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// ahead is how long what was not used is kept, so that so much may be asked for at once.
	ahead = int64(10 * time.Second)
	// behind bounds a debt: whatever a request has cost, who made it is answered again after this time.
	behind = int64(10 * time.Second)
	// tellEvery is the least time between two events about one bucket.
	tellEvery = int64(time.Minute)
)

// bucket is what one identity or source has used: due is when, at its rate, all of it would be used, in nanoseconds after the
// start. It needs no clock of its own and nothing to be done as time goes by.
type bucket struct {
	key  uint64
	due  atomic.Int64
	told atomic.Int64 // after which time there may be an event
}

// take charges units, or says how long it is until there is room for them.
func (a account) take(now, units int64) (wait int64) {
	b := a.bucket
	if b == nil {
		return 0
	}
	for {
		due := b.due.Load()
		from := max(due, now)
		if from-now > ahead {
			return from - now - ahead
		}
		if b.due.CompareAndSwap(due, from+units*a.price) {
			return 0
		}
	}
}

// add charges units without asking, or gives them back where they are negative.
func (a account) add(now, units int64) {
	b := a.bucket
	if b == nil || units == 0 {
		return
	}
	if units < 0 {
		b.due.Add(units * a.price)
		return
	}
	for {
		due := b.due.Load()
		// Of no debt more is made than is paid within the time. One that is there already, by a later request, stays.
		next := max(due, min(max(due, now)+units*a.price, now+ahead+behind))
		if b.due.CompareAndSwap(due, next) {
			return
		}
	}
}

// tell reports whether there may be an event, and takes it.
func (b *bucket) tell(now int64) bool {
	next := b.told.Load()
	return now >= next && b.told.CompareAndSwap(next, now+tellEvery)
}

// Sizes of the table of buckets: it holds bucketShards * bucketSets * ways of them, each 32 octets, and no more.
const (
	bucketShards = 16
	bucketSets   = 64
)

// buckets is a bounded table. It is asked when a connection gets an identity, not for each request. Keys are MACs, so that nobody
// can aim at a set; where a set is full the bucket goes that has the least in it, as a rule nothing.
type buckets struct {
	shards [bucketShards]struct {
		mu   sync.Mutex
		sets [bucketSets]*[ways]*bucket
	}
}

// get returns the bucket of a key, a new one where there is none.
func (t *buckets) get(key uint64, now int64) *bucket {
	s := &t.shards[key%bucketShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	n := int(key>>32) % bucketSets
	if s.sets[n] == nil {
		s.sets[n] = new([ways]*bucket)
	}
	set, least := s.sets[n], 0
	for i, b := range set {
		if b == nil {
			least = i
			break
		}
		if b.key == key {
			return b
		}
		if b.due.Load() < set[least].due.Load() {
			least = i
		}
	}
	b := &bucket{key: key}
	b.due.Store(now)
	set[least] = b
	return b
}

// over counts the buckets in which there is no room.
func (t *buckets) over(now int64) (n int) {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		for _, set := range s.sets {
			if set == nil {
				continue
			}
			for _, b := range set {
				if b != nil && b.due.Load()-now > ahead {
					n++
				}
			}
		}
		s.mu.Unlock()
	}
	return n
}
