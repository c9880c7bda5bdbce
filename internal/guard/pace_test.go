package guard

import (
	"context"
	"errors"
	"testing"
	"time"

	"portolan/internal/op"
)

// scan is one long search by a clock of the test: it works for a while between two calls of its pacer, and others are
// served meanwhile.
func scan(w *world, p *Pace, work time.Duration, pieces int, limit time.Duration, others bool) (worked, slept time.Duration, err error) {
	one := p.Middleware()(op.HandlerFunc(func(context.Context, *op.Request, op.Writer) error { return nil }))
	long := p.Middleware()(op.HandlerFunc(func(ctx context.Context, req *op.Request, _ op.Writer) error {
		for range pieces {
			w.advance(work)
			worked += work
			if others {
				if err := one.Serve(ctx, &op.Request{Conn: &op.Conn{ID: 7}}, nil); err != nil {
					return err
				}
			}
			if err := req.Pacer.Pace(ctx, req); err != nil {
				return err
			}
		}
		return nil
	}))
	before := w.slept
	err = long.Serve(context.Background(), &op.Request{Conn: &op.Conn{ID: 3}, Start: w.time(), Limits: op.Limits{Time: limit}}, nil)
	return worked, w.slept - before, err
}

func TestPace(t *testing.T) {
	w := newWorld(t, usual)
	p := NewPace(w.time, w.wait)
	p.cpus = 2
	if _, slept, err := scan(w, p, time.Millisecond, 100, 0, false); err != nil || slept > 10*time.Millisecond {
		t.Errorf("alone it slept for %v: %v", slept, err)
	}
	worked, slept, err := scan(w, p, time.Millisecond, 100, 0, true)
	if share := float64(worked) / float64(worked+slept); err != nil || share > 2.0/longShare*1.05 || share < 2.0/longShare*0.95 {
		t.Errorf("beside others it had %.3f of a CPU, want %.3f: %v", share, 2.0/longShare, err)
	}
	// What was waiting for a slow reader was no work.
	if _, slept, _ := scan(w, p, time.Minute, 3, 0, true); slept > 3*longestPause {
		t.Errorf("after waiting for its reader it slept for %v", slept)
	}
	// A search is not held back into its time limit.
	if worked, slept, _ := scan(w, p, time.Millisecond, 500, time.Second, true); worked+slept > 1100*time.Millisecond {
		t.Errorf("with a limit of 1 s it took %v", worked+slept)
	}
	// Sixteen at once share what one would have, down to a floor.
	pauses := time.Duration(0)
	for range 16 {
		pauses = max(pauses, p.turn(w.time(), time.Millisecond))
	}
	if pauses < 16*time.Millisecond*longShare/2/2 || pauses > longestPause+slice {
		t.Errorf("the last of sixteen pauses for %v", pauses)
	}
	gone := NewPace(w.time, func(context.Context, time.Duration) error { return context.Canceled })
	if _, _, err := scan(w, gone, time.Millisecond, 3, 0, true); !errors.Is(err, context.Canceled) {
		t.Errorf("a search that was abandoned went on: %v", err)
	}
}

// BenchmarkMiddleware is what counting costs an operation.
func BenchmarkMiddleware(b *testing.B) {
	p := NewPace(time.Now, nil)
	h := p.Middleware()(op.HandlerFunc(func(context.Context, *op.Request, op.Writer) error { return nil }))
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		req := &op.Request{Conn: &op.Conn{ID: 1}}
		for pb.Next() {
			if h.Serve(context.Background(), req, nil) != nil {
				b.Error("failed")
			}
		}
	})
}
