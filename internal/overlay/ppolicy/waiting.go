package ppolicy

import (
	"hash/maphash"
	"sync"
	"time"
)

// Bounds on answers that wait: a delay must not become a way to gather connections here.
const (
	maxWaiting        = 256 // in all
	maxWaitingPerName = 8
)

// waiting counts checks of passwords that may end in a delay.
type waiting struct {
	mu  sync.Mutex
	all int
	by  map[string]int
}

func newWaiting() *waiting { return &waiting{by: make(map[string]int)} }

// enter takes a place; ok is false where there is none. leave gives it back, once.
func (w *waiting) enter(key string) (leave func(), ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all >= maxWaiting || w.by[key] >= maxWaitingPerName {
		return nil, false
	}
	w.all++
	w.by[key]++
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.all--
		if w.by[key]--; w.by[key] == 0 {
			delete(w.by, key)
		}
	}, true
}

// unknown keeps failures of names that are no entries, in memory and bounded: without it the delay would tell names that
// exist from those that do not.
type unknown struct {
	seed maphash.Seed
	mu   sync.Mutex
	m    map[uint64]*record
}

// maxUnknown bounds the names; when they are more, it begins anew.
const maxUnknown = 8192

func newUnknown() *unknown { return &unknown{seed: maphash.MakeSeed(), m: make(map[uint64]*record)} }

// count returns the failures of a name that still count.
func (u *unknown) count(norm string, p *Policy, now time.Time) int {
	if p.MinDelay == 0 {
		return 0
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	r := u.m[maphash.String(u.seed, norm)]
	if r == nil {
		return 0
	}
	return len(r.recent(p, now))
}

// fail adds a failure and returns how long its answer waits.
func (u *unknown) fail(norm string, p *Policy, now time.Time) time.Duration {
	if p.MinDelay == 0 {
		return 0
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	key := maphash.String(u.seed, norm)
	r := u.m[key]
	if r == nil {
		if len(u.m) >= maxUnknown {
			clear(u.m)
		}
		r = &record{}
		u.m[key] = r
	}
	// As for an account: once it is locked failures do not count any more.
	if !r.inForce(p, now) {
		r.fail(p, now)
	}
	return p.delay(len(r.recent(p, now)))
}
