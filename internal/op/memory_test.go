package op

import (
	"sync"
	"testing"
)

func TestMemoryGivesUpWhatWasUsedLongestAgo(t *testing.T) {
	m := NewMemory(100)
	var lost []string
	hold := func(name string, n int) *Hold { return m.Hold(n, func() { lost = append(lost, name) }) }
	a, b := hold("a", 40), hold("b", 40)
	a.Used()
	busy := m.Hold(50, nil)
	if busy == nil || len(lost) != 1 || lost[0] != "b" {
		t.Fatalf("busy %v, lost %v", busy, lost)
	}
	b.Release() // gone already: nothing is given back twice
	if m.Hold(11, nil) == nil || len(lost) != 2 || lost[1] != "a" {
		t.Fatalf("a has 40 of which 1 is needed; lost %v", lost)
	}
	busy.Release()
	busy.Release()
	a.Release()
	if h := m.Hold(89, nil); h == nil {
		t.Fatal("octets were not given back")
	}
	if m.Hold(1, nil) != nil {
		t.Fatal("more than there is was given out")
	}
}

func TestMemoryGrowsNoFurtherThanThereIs(t *testing.T) {
	m := NewMemory(100)
	kept := m.Hold(50, func() { t.Error("it gave itself up to grow") })
	if kept.Grow(60) {
		t.Fatal("grew beyond the account")
	}
	if !kept.Grow(50) {
		t.Fatal("did not grow to all of it")
	}
	kept.Release()
	if kept.Grow(1) {
		t.Fatal("grew after its release")
	}
}

func TestMemoryOfManyAtOnce(t *testing.T) {
	m := NewMemory(1000)
	var all sync.WaitGroup
	for range 8 {
		all.Add(1)
		go func() {
			defer all.Done()
			for range 200 {
				kept, busy := m.Hold(100, func() {}), m.Hold(150, nil)
				for _, h := range []*Hold{kept, busy} {
					if h != nil {
						h.Grow(10)
						h.Used()
						h.Release()
					}
				}
			}
		}()
	}
	all.Wait()
	if m.left != 1000 || m.idle.Len() != 0 {
		t.Fatalf("%d octets left, %d lists", m.left, m.idle.Len())
	}
}
