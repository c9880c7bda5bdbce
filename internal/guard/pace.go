package guard

import (
	"context"
	"runtime"
	"sync/atomic"
	"time"

	"portolan/internal/op"
)

// Pace shares the server between long searches and everything else: while others are served, all long searches together get
// a small share of the CPUs; while nobody else asks for anything they run at full speed. It implements op.Pacer, and
// Middleware puts it in. It is safe for concurrent use.
type Pace struct {
	now  func() time.Time
	wait func(ctx context.Context, d time.Duration) error
	cpus int
	// short counts the short operations, in parts so that CPUs do not wait for each other.
	short [shortParts]struct {
		atomic.Uint64
		_ [56]byte
	}
	// free is when the share of long searches is free again: nanoseconds after start.
	start time.Time
	free  atomic.Int64
	slept atomic.Int64 // nanoseconds, in all
}

const (
	shortParts = 16
	// longShare is the part of all CPUs that long searches have while others are served: one in so many.
	longShare = 20
	// slice is the most that is taken for work between two calls: what is more was waiting for a slow reader.
	slice = 10 * time.Millisecond
	// longestPause bounds one pause, so that a search sees soon that it has the server for itself.
	longestPause = 100 * time.Millisecond
)

// NewPace returns a Pace.
func NewPace(now func() time.Time, wait func(ctx context.Context, d time.Duration) error) *Pace {
	return &Pace{now: now, wait: wait, cpus: runtime.GOMAXPROCS(0), start: now()}
}

// pacing is what Pace knows of one search.
type pacing struct {
	since time.Time // when the piece of work began
	seen  uint64    // short operations until then
}

// Middleware counts operations and paces searches.
func (p *Pace) Middleware() op.Middleware {
	return func(next op.Handler) op.Handler {
		return op.HandlerFunc(func(ctx context.Context, req *op.Request, w op.Writer) error {
			req.Pacer = p
			err := next.Serve(ctx, req, w)
			if req.Paced == nil {
				p.short[req.Conn.ID%shortParts].Add(1)
			}
			return err
		})
	}
}

// shorts is how many short operations there have been.
func (p *Pace) shorts() (n uint64) {
	for i := range p.short {
		n += p.short[i].Load()
	}
	return n
}

// Pace implements op.Pacer.
func (p *Pace) Pace(ctx context.Context, req *op.Request) error {
	now := p.now()
	at, _ := req.Paced.(*pacing)
	if at == nil {
		// The first piece of work: that others were served meanwhile is taken for granted.
		at = &pacing{since: req.Start}
		req.Paced = at
	}
	worked, seen := now.Sub(at.since), p.shorts()
	busy := seen != at.seen
	at.since, at.seen = now, seen
	if !busy || worked <= 0 || req.Limits.Time > 0 && now.Sub(req.Start) > req.Limits.Time/2 {
		return nil
	}
	pause := p.turn(now, min(worked, slice))
	if pause <= 0 {
		return nil
	}
	p.slept.Add(int64(pause))
	err := p.wait(req.Detach(ctx), pause)
	at.since = p.now() // who was served during the pause counts for the next piece
	return err
}

// turn books work that was done, and returns how long it is until all that was booked is within the share.
func (p *Pace) turn(now time.Time, worked time.Duration) time.Duration {
	t := int64(now.Sub(p.start))
	cost := int64(worked) * longShare / int64(p.cpus)
	for {
		free := p.free.Load()
		next := max(free, t) + cost
		if next-t > int64(longestPause)+cost {
			next = t + int64(longestPause) + cost
		}
		if p.free.CompareAndSwap(free, next) {
			return time.Duration(next-t) - worked
		}
	}
}

// Slept is how long searches have been held back in all.
func (p *Pace) Slept() time.Duration { return time.Duration(p.slept.Load()) }
