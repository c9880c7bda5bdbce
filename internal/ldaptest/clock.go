package ldaptest

import (
	"context"
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
}

// Now returns the time.
func (c *Clock) Now() time.Time {
	c.begin.Do(func() { c.start = time.Now().Round(0) })
	return c.start.Add(time.Duration(c.ahead.Add(int64(time.Microsecond))))
}

// Advance puts the clock forward.
func (c *Clock) Advance(d time.Duration) { c.ahead.Add(int64(d)) }

// Wait returns at once, when so much time has passed by the clock.
func (c *Clock) Wait(ctx context.Context, d time.Duration) error {
	c.Advance(d)
	c.waits.Add(int64(d))
	return ctx.Err()
}

// Waited returns how long answers have waited in all.
func (c *Clock) Waited() time.Duration { return time.Duration(c.waits.Load()) }
