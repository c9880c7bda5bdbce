package guard

import (
	"context"
	"time"

	"portolan/internal/op"
)

// spot is a counter that an attempt needs room in.
type spot struct {
	axis Axis
	key  uint64
}

// place is what is going on at a spot: attempts under way, and those that wait for one of them to end. There is one only
// while there is something.
type place struct {
	under   int
	waiters []*waiter
}

// waiter waits for an attempt to end.
type waiter struct{ wake context.CancelFunc }

// waiting counts all that wait, and those of each source.
type waiting struct {
	all int
	by  map[uint64]int
}

// perSource is the share of all places to wait that one source may have.
const perSource = 8

// enter returns when the attempt may be checked, or says that it may not be.
func (g *Guard) enter(ctx context.Context, req *op.Request, a *attempt) error {
	p := a.policy
	last := g.now() + p.MaxDelay.Milliseconds()
	g.mu.Lock()
	defer g.mu.Unlock()
	var turn *spot  // where it has been given a turn
	seated := false // it has a place to wait
	defer func() {
		if seated {
			g.waiting.end(a.client.source)
		}
	}()
	for {
		now := g.now()
		g.claim(a, now)
		at, until := g.blocked(a, now, turn != nil)
		if at < 0 {
			for _, s := range a.spots[:a.n] {
				g.place(s).under++
			}
			g.stats.Checked++
			return nil
		}
		s := a.spots[at]
		if until == 0 {
			until = last // an attempt of somebody else is to end before
		}
		if until > last || now >= last || !seated && !g.waiting.begin(a.client.source, p.MaxDelayed) {
			if turn != nil {
				g.wakeOne(*turn) // whoever does not use a turn hands it on
			}
			g.stats.Refused++
			return errBusy(reasons[s.axis])
		}
		if !seated {
			seated = true
			g.stats.Delayed++
			ctx = req.Detach(ctx)
		}
		if err := g.wait(ctx, s, time.Duration(until-now)*time.Millisecond, turn != nil); err != nil {
			return err
		}
		turn = &s
	}
}

// blocked returns the index of a spot without room, -1 where all have; until is when the pause there ends, 0 where it is not
// a pause. The longest pause counts. Who was woken goes before those that wait.
func (g *Guard) blocked(a *attempt, now int64, woken bool) (at int, until int64) {
	at = -1
	for i, s := range a.spots[:a.n] {
		c := g.tables[s.axis].find(s.key)
		free := counter{key: s.key, at: now}
		if c == nil {
			c = &free
		}
		b := &a.policy.budgets[s.axis]
		c.decay(b, now)
		if c.until > now {
			if at < 0 || c.until > until {
				at, until = i, c.until
			}
			continue
		}
		if x := g.places[s]; x != nil && at < 0 && (x.under >= c.left(b) || len(x.waiters) > 0 && !woken) {
			at = i
		}
	}
	return at, until
}

// wait waits for a while, or until an attempt at the spot has ended: either is a turn. first puts it before all others. g.mu
// is held, and let go meanwhile.
func (g *Guard) wait(ctx context.Context, s spot, d time.Duration, first bool) error {
	within, cancel := context.WithCancel(ctx)
	defer cancel()
	w := &waiter{cancel}
	x := g.place(s)
	if first {
		x.waiters = append([]*waiter{w}, x.waiters...)
	} else {
		x.waiters = append(x.waiters, w)
	}
	g.mu.Unlock()
	err := g.o.Wait(within, d)
	g.mu.Lock()
	woken := !g.unlist(s, w)
	if gone := ctx.Err(); gone != nil {
		if woken {
			g.wakeOne(s)
		}
		return gone
	}
	if woken {
		return nil
	}
	return err
}

func (g *Guard) place(s spot) *place {
	x := g.places[s]
	if x == nil {
		x = &place{}
		g.places[s] = x
	}
	return x
}

// leave ends an attempt at a spot.
func (g *Guard) leave(s spot) {
	x := g.places[s]
	if x == nil {
		return
	}
	x.under--
	g.wakeOne(s)
	g.tidy(s, x)
}

// wakeOne lets the first that waits try again.
func (g *Guard) wakeOne(s spot) {
	x := g.places[s]
	if x == nil || len(x.waiters) == 0 {
		return
	}
	w := x.waiters[0]
	x.waiters = x.waiters[1:]
	w.wake()
	g.tidy(s, x)
}

// unlist takes a waiter out of the line; false where it is not in it.
func (g *Guard) unlist(s spot, w *waiter) bool {
	x := g.places[s]
	if x == nil {
		return false
	}
	for i := range x.waiters {
		if x.waiters[i] == w {
			x.waiters = append(x.waiters[:i], x.waiters[i+1:]...)
			g.tidy(s, x)
			return true
		}
	}
	return false
}

func (g *Guard) tidy(s spot, x *place) {
	if x.under <= 0 && len(x.waiters) == 0 {
		delete(g.places, s)
	}
}

// begin takes a place to wait.
func (w *waiting) begin(source uint64, most int) bool {
	if w.all >= most || w.by[source] >= max(4, most/perSource) {
		return false
	}
	w.all++
	w.by[source]++
	return true
}

func (w *waiting) end(source uint64) {
	w.all--
	if w.by[source]--; w.by[source] <= 0 {
		delete(w.by, source)
	}
}
