package ldaptest

import (
	"context"
	"sync/atomic"
	"time"
)

// Clock is the clock of a test server: the machine's, put forward by hand. What would wait puts it forward instead.
type Clock struct {
	ahead atomic.Int64
	waits atomic.Int64
}

// Now returns the time.
func (c *Clock) Now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

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
