package credential

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// gate is a pool with one worker that is kept busy until open is called, so that a test can fill the queue in peace.
type gate struct {
	*Pool
	release chan struct{}
	mu      sync.Mutex
	ran     []string
	dropped []string
}

func newGate(t testing.TB, c PoolConfig) *gate {
	c.Workers = 1
	g := &gate{Pool: NewPool(c), release: make(chan struct{})}
	started := make(chan struct{})
	if err := g.Submit(Job{Source: "gate"}, func(error) { close(started); <-g.release }); err != nil {
		t.Fatal(err)
	}
	<-started
	return g
}

// put queues a job under a name.
func (g *gate) put(class Class, source, name string) error {
	return g.Submit(Job{Class: class, Source: source}, func(err error) {
		g.mu.Lock()
		defer g.mu.Unlock()
		if err != nil {
			g.dropped = append(g.dropped, name)
			return
		}
		g.ran = append(g.ran, name)
	})
}

// open lets everything run and returns the names in order.
func (g *gate) open(t testing.TB) string {
	close(g.release)
	if err := g.Close(context.Background()); err != nil {
		t.Error(err)
	}
	return strings.Join(g.ran, " ")
}

func TestPoolSourcesTakeTurns(t *testing.T) {
	g := newGate(t, PoolConfig{})
	for i := range 4 {
		g.put(Normal, "spray", fmt.Sprint("s", i))
	}
	g.put(Normal, "b", "b0")
	g.put(Normal, "c", "c0")
	g.put(Normal, "b", "b1")
	if got := g.open(t); got != "s0 b0 c0 s1 b1 s2 s3" {
		t.Errorf("ran %s", got)
	}
}

func TestPoolClassesGoInOrder(t *testing.T) {
	g := newGate(t, PoolConfig{})
	g.put(Background, "x", "bg")
	for i := range 3 {
		g.put(Normal, "n", fmt.Sprint("n", i))
	}
	for i := range 9 {
		g.put(Honest, "h", fmt.Sprint("h", i))
	}
	if got := g.open(t); got != "h0 h1 h2 h3 n0 h4 h5 h6 h7 n1 h8 n2 bg" {
		t.Errorf("ran %s", got)
	}
}

func TestPoolSourceHasACap(t *testing.T) {
	g := newGate(t, PoolConfig{QueueLimit: 100, PerSource: 2})
	for i, want := range []error{nil, nil, ErrBusy, ErrBusy} {
		if err := g.put(Normal, "spray", fmt.Sprint("s", i)); !errors.Is(err, want) {
			t.Errorf("job %d: %v", i, err)
		}
	}
	if err := g.put(Normal, "other", "o"); err != nil {
		t.Errorf("another source: %v", err)
	}
	if s := g.Stats(); s.Refused != 2 || s.Queued != 3 || s.QueuedBy != [3]int{3, 0, 0} || s.Sources != 2 || s.Running != 1 || s.Workers != 1 {
		t.Errorf("%+v", s)
	}
	if got := g.open(t); got != "s0 o s1" {
		t.Errorf("ran %s", got)
	}
}

func TestPoolFullQueueMakesRoomForOthers(t *testing.T) {
	g := newGate(t, PoolConfig{QueueLimit: 4, PerSource: 4})
	for i := range 4 {
		g.put(Normal, "spray", fmt.Sprint("s", i))
	}
	check := func(what string, err, want error) {
		t.Helper()
		if !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("%s: %v", what, err)
		}
	}
	check("the spray itself", g.put(Normal, "spray", "s4"), ErrBusy)
	check("background", g.put(Background, "x", "bg"), ErrBusy)
	check("a first other", g.put(Normal, "a", "a0"), nil) // s3 goes
	check("its second", g.put(Normal, "a", "a1"), nil)    // s2 goes: 3 of spray against 2
	check("its third, when both are even", g.put(Normal, "a", "a2"), ErrBusy)
	check("honest", g.put(Honest, "h", "h0"), nil) // s1 or a1 goes
	check("honest again", g.put(Honest, "h", "h1"), nil)
	check("honest again", g.put(Honest, "i", "i0"), nil)
	check("honest again", g.put(Honest, "i", "i1"), nil) // no normal one is left
	check("honest when all are honest and even", g.put(Honest, "h", "h2"), ErrBusy)
	check("normal when all are honest", g.put(Normal, "a", "a3"), ErrBusy)
	if !slices.Equal(g.dropped[:2], []string{"s3", "s2"}) || len(g.dropped) != 6 {
		t.Errorf("dropped %v", g.dropped)
	}
	if got := g.open(t); got != "h0 i0 h1 i1" {
		t.Errorf("ran %s", got)
	}
}

func TestPoolBackgroundGivesWay(t *testing.T) {
	g := newGate(t, PoolConfig{QueueLimit: 2, PerSource: 2})
	g.put(Background, "x", "bg0")
	g.put(Background, "x", "bg1")
	if err := g.put(Normal, "a", "a0"); err != nil {
		t.Error(err)
	}
	if err := g.put(Honest, "a", "a1"); err != nil {
		t.Error(err)
	}
	if got := g.open(t); got != "a1 a0" || !slices.Equal(g.dropped, []string{"bg1", "bg0"}) {
		t.Errorf("ran %s, dropped %v", got, g.dropped)
	}
}

// Background work must leave a worker to those who wait.
func TestPoolBackgroundNeverTakesAllWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(PoolConfig{Workers: 3})
		hold := make(chan struct{})
		for range 10 {
			p.Submit(Job{Class: Background}, func(error) { <-hold })
		}
		synctest.Wait()
		if s := p.Stats(); s.Running != 2 || s.Queued != 8 {
			t.Errorf("%+v", s)
		}
		if err := p.Do(t.Context(), Job{}, func() {}); err != nil {
			t.Error(err)
		}
		close(hold)
		p.Close(context.Background())
		if s := p.Stats(); s.Done != 11 {
			t.Errorf("%+v", s)
		}
	})
}

func TestPoolBackgroundGetsAPartOfTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(PoolConfig{Workers: 2, BackgroundPart: 16, MaxWait: time.Hour, PerSource: 100})
		begun := time.Now()
		var ran atomic.Int32
		for range 20 {
			if err := p.Submit(Job{Class: Background}, func(err error) {
				if err == nil {
					time.Sleep(10 * time.Millisecond)
					ran.Add(1)
				}
			}); err != nil {
				t.Fatal(err)
			}
		}
		// The first begins at once; each ten milliseconds of work are paid for with eighty.
		for _, want := range []int32{1, 6, 11} {
			time.Sleep(time.Duration(want-1)*80*time.Millisecond + 20*time.Millisecond - time.Since(begun))
			synctest.Wait()
			if ran.Load() != want {
				t.Errorf("after %v: %d jobs were run, not %d", time.Since(begun), ran.Load(), want)
			}
		}
		// Who is waited for does not rest, and neither does a pool that is being closed.
		at := time.Now()
		if err := p.Do(context.Background(), Job{}, func() {}); err != nil || time.Since(at) > 0 {
			t.Errorf("a normal job: %v after %v", err, time.Since(at))
		}
		if err := p.Close(context.Background()); err != nil || ran.Load() != 20 || time.Since(at) > 100*time.Millisecond {
			t.Errorf("closing: %v, %d jobs were run, after %v", err, ran.Load(), time.Since(at))
		}
		time.Sleep(time.Second) // a timer that was set ends
	})
}

func TestPoolDoGivesUpWaiting(t *testing.T) {
	for _, c := range []struct {
		name string
		wait time.Duration // MaxWait
		ctx  func(context.Context) (context.Context, context.CancelFunc)
		want error
	}{
		{"deadline", time.Hour, func(c context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(c, time.Second)
		}, ErrBusy},
		{"MaxWait", time.Second, func(c context.Context) (context.Context, context.CancelFunc) { return context.WithCancel(c) }, ErrBusy},
		{"cancel", time.Hour, func(c context.Context) (context.Context, context.CancelFunc) {
			c, cancel := context.WithCancel(c)
			time.AfterFunc(time.Second, cancel)
			return c, cancel
		}, context.Canceled},
		{"canceled before", time.Hour, func(c context.Context) (context.Context, context.CancelFunc) {
			c, cancel := context.WithCancel(c)
			cancel()
			return c, cancel
		}, context.Canceled},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGate(t, PoolConfig{MaxWait: c.wait})
				ctx, cancel := c.ctx(context.Background())
				defer cancel()
				err := g.Do(ctx, Job{Source: "a"}, func() { t.Error("ran") })
				if !errors.Is(err, c.want) {
					t.Errorf("got %v", err)
				}
				if s := g.Stats(); s.Queued != 0 || s.Sources != 0 || s.Expired+s.Canceled != 1 {
					t.Errorf("%+v", s)
				}
				g.open(t)
			})
		})
	}
}

// Once begun, Do waits for the end: the function uses the caller's variables.
func TestPoolDoWaitsForWhatHasBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(PoolConfig{Workers: 1, MaxWait: time.Millisecond})
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		ended := false
		if err := p.Do(ctx, Job{}, func() { time.Sleep(time.Hour); ended = true }); err != nil || !ended {
			t.Errorf("ended %v, %v", ended, err)
		}
		p.Close(context.Background())
	})
}

// A submitted job that waited longer than MaxWait is not run any more.
func TestPoolSubmittedJobExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, PoolConfig{MaxWait: time.Second})
		g.put(Background, "a", "oldest renewal")
		time.Sleep(11 * time.Second)
		g.put(Normal, "a", "old")
		g.put(Background, "a", "renewal")
		time.Sleep(2 * time.Second)
		g.put(Normal, "a", "new")
		if got := g.open(t); got != "new renewal" || !slices.Equal(g.dropped, []string{"old", "oldest renewal"}) || g.Stats().Expired != 2 {
			t.Errorf("ran %s, dropped %v", got, g.dropped)
		}
	})
}

func TestPoolPanics(t *testing.T) {
	var told any
	p := NewPool(PoolConfig{Workers: 1, OnPanic: func(v any) { told = v }})
	func() {
		defer func() {
			if v := recover(); v == nil || !strings.Contains(fmt.Sprint(v), "boom") {
				t.Errorf("the caller of Do recovers %v", v)
			}
		}()
		p.Do(context.Background(), Job{}, func() { panic("boom") })
	}()
	p.Submit(Job{}, func(error) { panic("bang") })
	if err := p.Do(context.Background(), Job{}, func() {}); err != nil {
		t.Errorf("after the panics: %v", err)
	}
	p.Close(context.Background())
	if s := p.Stats(); told != "bang" || s.Panics != 2 {
		t.Errorf("told %v, %+v", told, s)
	}
}

func TestPoolCloseDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, PoolConfig{})
		for i := range 5 {
			g.put(Class(i%3), "a", fmt.Sprint(i))
		}
		closed := make(chan error, 1)
		go func() { closed <- g.Close(context.Background()) }()
		synctest.Wait()
		if err := g.put(Normal, "b", "late"); !errors.Is(err, ErrClosed) {
			t.Errorf("Submit after Close: %v", err)
		}
		if err := g.Do(context.Background(), Job{}, func() { t.Error("ran") }); !errors.Is(err, ErrClosed) {
			t.Errorf("Do after Close: %v", err)
		}
		close(g.release)
		if err := <-closed; err != nil {
			t.Error(err)
		}
		slices.Sort(g.ran)
		if got := strings.Join(g.ran, " "); got != "0 1 2 3 4" {
			t.Errorf("ran %s", got)
		}
		if err := g.Close(context.Background()); err != nil {
			t.Errorf("second Close: %v", err)
		}
	})
}

func TestPoolAbandon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, PoolConfig{})
		for i := range 6 {
			g.put(Class(i%3), "a", fmt.Sprint(i))
		}
		g.Abandon()
		if !slices.Equal(g.dropped, []string{"2", "5"}) {
			t.Errorf("dropped %v", g.dropped)
		}
		close(g.release)
		if err := g.Close(context.Background()); err != nil {
			t.Error(err)
		}
		slices.Sort(g.ran)
		if got := strings.Join(g.ran, " "); got != "0 1 3 4" {
			t.Errorf("ran %s", got)
		}
	})
}

func TestPoolCloseInAHurry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, PoolConfig{})
		got := make(chan error, 1)
		go func() { got <- g.Do(context.Background(), Job{Source: "a"}, func() { t.Error("ran") }) }()
		synctest.Wait()
		g.put(Honest, "b", "b")
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		closed := make(chan error, 1)
		go func() { closed <- g.Close(ctx) }()
		if err := <-got; !errors.Is(err, ErrClosed) {
			t.Errorf("waiting Do: %v", err)
		}
		close(g.release)
		if err := <-closed; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close: %v", err)
		}
		if !slices.Equal(g.dropped, []string{"b"}) {
			t.Errorf("dropped %v", g.dropped)
		}
	})
}

// Whatever is put in: each job is answered exactly once, and the limits hold.
func TestPoolAnswersEveryJobOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		limit, per := rapid.IntRange(1, 8).Draw(rt, "limit"), rapid.IntRange(1, 5).Draw(rt, "per")
		g := newGate(t, PoolConfig{QueueLimit: limit, PerSource: per})
		accepted := 0
		for i, j := range rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) Job {
			return Job{Class: Class(rapid.IntRange(0, 2).Draw(rt, "class")), Source: rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(rt, "source")}
		}), 0, 40).Draw(rt, "jobs") {
			before := g.Stats().Queued
			err := g.put(j.Class, j.Source, fmt.Sprint(i))
			if err == nil {
				accepted++
			}
			s := g.Stats()
			if s.Queued > limit || s.Queued < before {
				rt.Fatalf("%d waiting after %d, limit %d", s.Queued, before, limit)
			}
			if err != nil && before < limit && per > limit {
				rt.Fatal("refused with room in the queue")
			}
		}
		g.open(t)
		all := append(slices.Clone(g.ran), g.dropped...)
		slices.Sort(all)
		if len(slices.Compact(all)) != accepted || len(g.ran)+len(g.dropped) != accepted {
			rt.Fatalf("accepted %d, ran %v, dropped %v", accepted, g.ran, g.dropped)
		}
		if s := g.Stats(); s.Queued != 0 || s.Running != 0 || s.Sources != 0 || int(s.Done) != len(g.ran)+1 {
			rt.Fatalf("%+v", s)
		}
	})
}

func TestPoolManyCallers(t *testing.T) {
	p := NewPool(PoolConfig{Workers: 4, QueueLimit: 16, PerSource: 4})
	var wg sync.WaitGroup
	var mu sync.Mutex
	ran, busy := 0, 0
	for i := range 32 {
		wg.Go(func() {
			for j := range 50 {
				ctx, cancel := context.WithCancel(context.Background())
				if j%7 == 0 {
					cancel()
				}
				here := false
				err := p.Do(ctx, Job{Class: Class(j % 3), Source: fmt.Sprint(i % 5)}, func() { here = true })
				cancel()
				if here != (err == nil) {
					t.Errorf("ran %v, error %v", here, err)
				}
				mu.Lock()
				if here {
					ran++
				} else {
					busy++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	p.Close(context.Background())
	if s := p.Stats(); int(s.Done) != ran || int(s.Refused+s.Evicted+s.Expired+s.Canceled) != busy || s.Queued != 0 || s.Running != 0 {
		t.Errorf("ran %d, busy %d, %+v", ran, busy, s)
	}
}
