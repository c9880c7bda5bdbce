package guard

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Row is one counter, for people.
type Row struct {
	Axis string `json:"axis"`
	// Subject is an account's canonical name, an address or a network; empty for a password, which nobody knows any more.
	Subject string `json:"subject,omitempty"`
	// Failures counts wrong passwords, the older the less; Allowed how many are free.
	Failures float64 `json:"failures"`
	Allowed  float64 `json:"allowed"`
	// Until is when the next attempt may begin, zero where it may now.
	Until time.Time `json:"until,omitzero"`
}

// least is the count below which a counter is not worth a row.
const least = 0.5

// List returns the counters that count something, those that slow somebody down first.
func (g *Guard) List() []Row {
	p := g.policy.Load()
	if p.budgets[ByAccount].half == 0 {
		p = &Policy{budgets: budgets(p)}
	}
	now := g.now()
	var out []Row
	g.mu.Lock()
	for axis, t := range g.tables {
		if Axis(axis) == byRepeat {
			continue
		}
		b := &p.budgets[axis]
		t.each(func(_ int, kept *counter) {
			c := *kept
			if c.decay(b, now); c.level < least {
				return
			}
			r := Row{Axis: Axis(axis).String(), Subject: c.name, Failures: round(c.level), Allowed: round(c.allowed(b))}
			if c.until > now {
				r.Until = time.UnixMilli(c.until).UTC()
			}
			out = append(out, r)
		})
	}
	g.mu.Unlock()
	slices.SortFunc(out, func(a, b Row) int {
		return cmp.Or(b.Until.Compare(a.Until), cmp.Compare(b.Failures, a.Failures), cmp.Compare(a.Axis, b.Axis), cmp.Compare(a.Subject, b.Subject))
	})
	return out
}

func round(x float64) float64 { return float64(int(x*100+0.5)) / 100 }

// Clear says what to forget: everything, or what is counted for an account (its canonical name) and for the addresses and
// networks that Source touches.
type Clear struct {
	All     bool
	Account string
	Source  netip.Prefix
}

// Clear forgets, and returns how many counters there were. Familiar sources stay familiar.
func (g *Guard) Clear(what Clear) int {
	account := uint64(0)
	if what.Account != "" {
		account = g.mac(domainAccount, what.Account)
	}
	wanted := func(axis Axis, c *counter) bool {
		switch {
		case what.All:
			return true
		case account != 0 && axis == ByAccount:
			return c.key == account
		case account != 0 && axis == ByFamiliar:
			return strings.HasPrefix(c.name, clip(what.Account+fromWord))
		case what.Source.IsValid() && (axis == BySource || axis == ByNetwork):
			p, err := netip.ParsePrefix(c.name)
			if err != nil {
				a, err := netip.ParseAddr(c.name)
				if err != nil {
					return false
				}
				p = netip.PrefixFrom(a, a.BitLen())
			}
			return p.Overlaps(what.Source)
		}
		return false
	}
	now := g.now()
	cleared := 0
	g.mu.Lock()
	defer g.mu.Unlock()
	for axis, t := range g.tables {
		t.each(func(_ int, c *counter) {
			if !wanted(Axis(axis), c) {
				return
			}
			if c.level >= least {
				cleared++
			}
			c.level, c.until, c.at = 0, 0, now
			g.keep(Axis(axis), c.key)
		})
	}
	if what.All {
		clear(g.mistakes.sets)
	}
	// Who waits need not wait any longer.
	for s, x := range g.places {
		for range x.waiters {
			g.wakeOne(s)
		}
	}
	return cleared
}
