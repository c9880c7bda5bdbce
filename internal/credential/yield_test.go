package credential

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestYield: with threads that give way, jobs of which nothing is known keep to those, and honest ones need not wait for them.
func TestYield(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lowered atomic.Int32
		p := NewPool(PoolConfig{Workers: 2, Yield: func() { lowered.Add(1) }})
		release := make(chan struct{})
		var normal atomic.Int32
		for i := range 6 {
			class := Normal
			if i%3 == 2 {
				class = Background
			}
			if err := p.Submit(Job{Class: class, Source: fmt.Sprint(i)}, func(error) { normal.Add(1); <-release }); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if n := normal.Load(); n != 2 || lowered.Load() != 2 {
			t.Fatalf("%d of six are running, of %d threads", n, lowered.Load())
		}
		for range 5 {
			if err := p.Do(t.Context(), Job{Class: Honest, Source: "home"}, func() {}); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if n := normal.Load(); n != 2 {
			t.Errorf("%d of six run beside honest jobs", n)
		}
		close(release)
		if err := p.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if s := p.Stats(); normal.Load() != 6 || s.Done != 11 || s.Running != 0 || s.Queued != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// TestYieldUnderClose: what waits runs to its end before Close returns, with both kinds of workers.
func TestYieldUnderClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(PoolConfig{Workers: 1, Yield: func() {}})
		var ran atomic.Int32
		for i := range 30 {
			if err := p.Submit(Job{Class: Class(i % 2), Source: fmt.Sprint(i)}, func(error) { time.Sleep(time.Millisecond); ran.Add(1) }); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.Close(context.Background()); err != nil || ran.Load() != 30 {
			t.Errorf("%d have run, %v", ran.Load(), err)
		}
	})
}

// TestCrowd: the scheduler has more processors while there is work that gives way, and a while longer.
func TestCrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []string
		began := time.Now()
		p := NewPool(PoolConfig{Workers: 2, Yield: func() {}, Crowd: func(on bool) { told = append(told, fmt.Sprint(time.Since(began), on)) }})
		do := func(class Class) {
			if err := p.Do(t.Context(), Job{Class: class}, func() { time.Sleep(time.Second) }); err != nil {
				t.Fatal(err)
			}
		}
		do(Honest) // 1 s
		do(Normal) // 2 s
		time.Sleep(9 * time.Second)
		do(Normal) // 12 s
		time.Sleep(18 * time.Second)
		do(Background) // 31 s
		if err := p.Close(context.Background()); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		if want := []string{"1s true", "22s false", "30s true", "31s false"}; !slices.Equal(told, want) {
			t.Errorf("%q, want %q", told, want)
		}
	})
}
