package chaos

import (
	"math/rand/v2"
	"syscall"
	"testing"
	"time"
)

// TestKillNine kills the server at random moments under 16 writers, with all overlays on. Afterwards every
// acknowledged write is there, nothing is there by half, and check finds nothing.
func TestKillNine(t *testing.T) {
	rounds := 4
	if full() {
		rounds = 20
	}
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 1))
	s := newSite(t, t.TempDir())
	s.start()
	x := newCrew(t, s, 16, seed)
	for round := range rounds {
		before := x.acked.Load()
		x.begin(s.dial)
		x.await(&x.acked, 50+random.Int64N(800))
		// Not right behind an acknowledgement, but somewhere in what comes next.
		time.Sleep(time.Duration(random.IntN(4000)) * time.Microsecond)
		_ = s.end(syscall.SIGKILL)
		x.finish()
		s.check()
		begun := time.Now()
		s.start()
		took := time.Since(begun)
		pending := 0
		for _, w := range x.writers {
			if w.pending != nil {
				pending++
			}
		}
		x.verify()
		s.audited()
		t.Logf("round %d: %d writes acknowledged, %d without an answer, ready again after %v", round, x.acked.Load()-before, pending, took)
		if t.Failed() {
			t.Fatalf("in round %d", round)
		}
	}
	s.stop()
	s.check()
}
