package guard

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestBudgetModel compares a counter with what it stands for: a list of failures, each of which counts by its age.
func TestBudgetModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Policy{
			AccountFailures: rapid.IntRange(1, 20).Draw(t, "account"), SourceFailures: rapid.IntRange(1, 20).Draw(t, "source"),
			NetworkFailures: 12, PasswordAccounts: 5,
		}
		all := budgets(&p)
		b := &all[rapid.IntRange(0, int(axes)-1).Draw(t, "axis")]
		now := int64(1_800_000_000_000)
		c := counter{key: 1, at: now}
		var failures, credits []int64
		sum := func(list []int64, half time.Duration) float64 {
			x := 0.0
			for _, at := range list {
				x += math.Pow(0.5, float64(now-at)/float64(half.Milliseconds()))
			}
			return x
		}
		until := int64(0)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now += int64(rapid.SampledFrom([]int{1, 50, 1000, 60_000, 3_600_000}).Draw(t, "past"))
			c.decay(b, now)
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0:
				c.credit++
				credits = append(credits, now)
			case 1, 2:
				c.fail(b, now)
				failures = append(failures, now)
				// The pause: the first when the free ones are gone, then longer by the same factor, to the longest.
				over := math.Floor(sum(failures, b.half) - b.free - creditShare*sum(credits, creditHalf) + 0.5)
				if frac := sum(failures, b.half) - b.free - creditShare*sum(credits, creditHalf) + 0.5; math.Abs(frac-math.Round(frac)) < 1e-6 {
					t.Skip("on the edge: rounding decides")
				}
				if over >= 0 {
					pause := math.Min(float64(b.first.Milliseconds())*math.Pow(float64(b.times), over), float64(b.most.Milliseconds()))
					until = max(until, now+int64(pause))
				}
			}
			level, allowed := sum(failures, b.half), b.free+creditShare*sum(credits, creditHalf)
			if math.Abs(c.level-level) > 1e-6 || math.Abs(c.allowed(b)-allowed) > 1e-6 {
				t.Fatalf("level %v of %v, want %v of %v", c.level, c.allowed(b), level, allowed)
			}
			if c.until != until && (c.until > now || until > now) {
				t.Fatalf("a pause of %d ms, want %d", c.until-now, until-now)
			}
			if c.left(b) < 1 || float64(c.left(b)) > math.Max(1, allowed-level+0.5) {
				t.Fatalf("%d may be under way with %v of %v", c.left(b), level, allowed)
			}
		}
	})
}

// TestPauses has the pauses of the defaults, as docs/security.md gives them.
func TestPauses(t *testing.T) {
	all := budgets(&usual)
	for axis, want := range map[Axis][]time.Duration{
		ByAccount:  {1e9, 2e9, 4e9, 8e9, 16e9, 32e9, 64e9, 128e9, 256e9, 300e9, 300e9},
		BySource:   {5e9, 20e9, 80e9, 320e9, 900e9, 900e9},
		ByNetwork:  {5e9, 10e9, 20e9, 40e9, 80e9, 160e9, 320e9, 640e9, 900e9},
		ByPassword: {5e9, 20e9, 80e9, 320e9, 900e9},
		ByFamiliar: {1e9, 2e9, 4e9, 8e9, 16e9, 32e9, 60e9, 60e9},
	} {
		b := &all[axis]
		c := counter{at: 0}
		for range int(b.free) - 1 {
			c.fail(b, 0)
		}
		if c.until != 0 {
			t.Errorf("%s: a pause before the last free failure", axis)
		}
		for i, d := range want {
			c.fail(b, 0)
			if c.until != d.Milliseconds() {
				t.Errorf("%s: pause %d is %d ms, want %v", axis, i, c.until, d)
			}
		}
	}
}

// TestClockBackwards: a clock that is put back forgets no failure and makes nobody wait longer than the longest pause.
func TestClockBackwards(t *testing.T) {
	all := budgets(&usual)
	b := &all[ByAccount]
	now := int64(1_800_000_000_000)
	c := counter{at: now}
	for range 30 {
		c.fail(b, now)
	}
	c.decay(b, now-int64(365*24*time.Hour/time.Millisecond))
	if c.level != 30 {
		t.Errorf("level %v", c.level)
	}
	if wait := time.Duration(c.until-c.at) * time.Millisecond; wait > b.most {
		t.Errorf("a pause of %v", wait)
	}
}
