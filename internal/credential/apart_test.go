package credential

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestApart: jobs of which nothing is known have workers of their own, and honest ones need not wait for them.
func TestApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(PoolConfig{Workers: 2, Apart: true})
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
		if n := normal.Load(); n != 2 {
			t.Fatalf("%d of six are running", n)
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

// TestApartUnderClose: what waits runs to its end before Close returns, with both kinds of workers.
func TestApartUnderClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(PoolConfig{Workers: 1, Apart: true})
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
