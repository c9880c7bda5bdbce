package op

import (
	"sync"
	"testing"
)

func TestMemoryGivesUpWhatIsIdleLongest(t *testing.T) {
	m := NewMemory(100)
	var lost []string
	hold := func(name string, n int) *Hold {
		h := m.Hold(n)
		h.Idle(func() { lost = append(lost, name) })
		return h
	}
	a, b := hold("a", 40), hold("b", 40)
	if !a.Busy() {
		t.Fatal("a is gone")
	}
	if m.Hold(61) != nil || len(lost) != 1 || lost[0] != "b" {
		t.Fatalf("60 octets are not in use, and 61 were given out; lost %v", lost)
	}
	if b.Busy() || b.Grow(1) {
		t.Fatal("b was given up and does not know")
	}
	b.Release() // nothing is given back twice
	busy := m.Hold(50)
	a.Idle(func() { lost = append(lost, "a") })
	if busy == nil || m.Hold(11) == nil || len(lost) != 2 || lost[1] != "a" {
		t.Fatalf("lost %v", lost)
	}
	busy.Release()
	busy.Release()
	if m.Hold(89) == nil {
		t.Fatal("octets were not given back")
	}
	if m.Hold(1) != nil {
		t.Fatal("more than there is was given out")
	}
}

func TestMemoryGrows(t *testing.T) {
	m := NewMemory(100)
	h := m.Hold(50)
	if h.Grow(60) {
		t.Fatal("grew beyond the account")
	}
	if !h.Grow(50) {
		t.Fatal("did not grow to all of it")
	}
	h.Release()
	if h.Grow(1) {
		t.Fatal("grew after its release")
	}
}

// What is idle and grows would otherwise be its own victim: given up, and the octets that it then took never given back.
func TestMemoryOfWhatGrowsWhileIdle(t *testing.T) {
	m := NewMemory(100)
	h := m.Hold(60)
	h.Idle(func() { t.Error("it lost itself") })
	if h.Grow(50) {
		t.Fatal("grew beyond the account")
	}
	if !h.Grow(40) || !h.Busy() {
		t.Fatal("did not grow to all of it")
	}
	h.Release()
	if m.left != 100 || m.idle.Len() != 0 {
		t.Fatalf("%d octets left, %d lists", m.left, m.idle.Len())
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
				kept, busy := m.Hold(100), m.Hold(150)
				if kept != nil {
					kept.Idle(func() {})
				}
				for _, h := range []*Hold{kept, busy} {
					if h != nil {
						h.Grow(10)
						h.Busy()
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
