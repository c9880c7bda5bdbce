package ldaptest

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Clock is the clock of a test server. It begins with the machine's time and stands still but for a microsecond each time it
// is looked at; it is put forward by hand. What would wait puts it forward instead. Its zero value is ready.
type Clock struct {
	begin sync.Once
	start time.Time
	ahead atomic.Int64
	waits atomic.Int64

	mu     sync.Mutex
	alarms []*alarm
}

// alarm is something that is to be called at a time.
type alarm struct {
	running sync.Mutex
	f       func()

	mu sync.Mutex
	at time.Time // zero: never
}

// Now returns the time.
func (c *Clock) Now() time.Time {
	c.begin.Do(func() { c.start = time.Now().Round(0) })
	return c.start.Add(time.Duration(c.ahead.Add(int64(time.Microsecond))))
}

// Advance puts the clock forward, and returns when all that was to happen by then has happened.
func (c *Clock) Advance(d time.Duration) {
	c.ahead.Add(int64(d))
	c.mu.Lock()
	alarms := slices.Clone(c.alarms)
	c.mu.Unlock()
	for _, a := range alarms {
		a.ring(c.Now())
	}
}

// Alarm is op.Ports.Alarm by this clock.
func (c *Clock) Alarm(f func()) (set func(at time.Time), stop func()) {
	a := &alarm{f: f}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.alarms = append(c.alarms, a)
	set = func(at time.Time) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.at = at
	}
	return set, func() {
		c.mu.Lock()
		c.alarms = slices.DeleteFunc(c.alarms, func(b *alarm) bool { return a == b })
		c.mu.Unlock()
		a.running.Lock()
		defer a.running.Unlock()
		a.f = func() {}
	}
}

// ring calls what is due.
func (a *alarm) ring(now time.Time) {
	a.running.Lock()
	defer a.running.Unlock()
	for {
		a.mu.Lock()
		due := !a.at.IsZero() && !now.Before(a.at)
		if due {
			a.at = time.Time{}
		}
		a.mu.Unlock()
		if !due {
			return
		}
		a.f()
	}
}

// Wait returns at once, when so much time has passed by the clock.
func (c *Clock) Wait(ctx context.Context, d time.Duration) error {
	c.Advance(d)
	c.waits.Add(int64(d))
	return ctx.Err()
}

// Waited returns how long answers have waited in all.
func (c *Clock) Waited() time.Duration { return time.Duration(c.waits.Load()) }
