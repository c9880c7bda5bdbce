package audit

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestJournalMarks holds what is noted about records against sets of them.
func TestJournalMarks(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var j journalMarks
		now := time.Unix(0, 0)
		last, batch := uint64(0), uint64(0)
		added := make(map[uint64]uint64) // sequence to the batch of its line
		inFile := make(map[uint64]bool)  // sequences
		writing := []uint64{}            // batches that were begun to be written
		check := func() {
			want := marks{}
			for want.upTo < last && inFile[want.upTo+1] {
				want.upTo++
			}
			for seq := want.upTo + 1; seq <= last; seq++ {
				if inFile[seq] {
					want.ahead = append(want.ahead, seq)
				}
			}
			if got := j.marks(); got.upTo != want.upTo || got.upTo != j.upTo() || !slices.Equal(got.ahead, want.ahead) {
				t.Fatalf("seed %d: %+v, want %+v", seed, got, want)
			}
		}
		for range 300 {
			switch rng.IntN(5) {
			case 0, 1:
				last++
				j.committed(last, now)
				j.committed(last, now) // is nothing new
			case 2, 3:
				seq := rng.Uint64N(last + 2)
				j.claim(seq)
				if _, there := added[seq]; seq > 0 && seq <= last && !there {
					added[seq] = batch
				}
			case 4:
				if len(writing) > 0 {
					j.inFile(writing[0])
					for seq, b := range added {
						if b <= writing[0] {
							inFile[seq] = true
						}
					}
					writing = writing[:0]
					break
				}
				if n := j.next(); n != batch {
					t.Fatalf("batch %d, want %d", n, batch)
				}
				writing = append(writing, batch)
				batch++
			}
			check()
		}
	}
}

// TestJournalMarksBound: records that nobody claims do not fill the memory.
func TestJournalMarksBound(t *testing.T) {
	var j journalMarks
	for seq := range uint64(maxWaiting + 10) {
		j.committed(seq+1, time.Time{})
	}
	if len(j.waiting) != maxWaiting || j.upTo() != 10 {
		t.Errorf("%d wait, covered up to %d", len(j.waiting), j.upTo())
	}
}

// BenchmarkJournalMarks is what a write costs while 10,000 records are ahead of one that nobody has claimed.
func BenchmarkJournalMarks(b *testing.B) {
	var j journalMarks
	seq := uint64(1)
	j.committed(seq, time.Time{})
	b.ReportAllocs()
	for b.Loop() {
		seq++
		j.committed(seq, time.Time{})
		j.claim(seq)
		j.inFile(j.next())
		_ = j.upTo()
		if len(j.waiting) > 10_000 {
			j.waiting = j.waiting[9_999:]
		}
	}
}
