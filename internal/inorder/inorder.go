// Package inorder does work on several CPUs and takes the results in the order in which the work came.
package inorder

import (
	"context"
	"errors"
	"runtime"
	"sync"
)

// job is a piece of work on its way.
type job[T any] struct {
	v     T
	ready chan struct{} // closed when it has been worked on, or passed over
}

// Each calls source in a goroutine of its own, work for all that source gives in as many goroutines as there are CPUs, and
// collect in the caller's goroutine for one after the other, in the order in which they were given. give waits while the
// others are behind, and reports false when source is to return. The first error of source or collect, and the end of ctx, end all
// of it; nothing is running any more when Each returns.
func Each[T any](ctx context.Context, source func(give func(T) bool) error, work func(T), collect func(T) error) error {
	ctx, cancel := context.WithCancel(ctx)
	workers := runtime.GOMAXPROCS(0)
	todo := make(chan *job[T], 2*workers)
	order := make(chan *job[T], 4*workers)
	var running sync.WaitGroup
	defer func() { // also where collect panics
		cancel()
		running.Wait() // they may read what the caller closes next
	}()
	for range workers {
		running.Go(func() {
			for j := range todo {
				if ctx.Err() == nil {
					work(j.v)
				}
				close(j.ready)
			}
		})
	}
	var made error
	running.Go(func() {
		defer close(order)
		defer close(todo)
		made = source(func(v T) bool {
			j := &job[T]{v, make(chan struct{})}
			for _, to := range []chan<- *job[T]{todo, order} {
				select {
				case to <- j:
				case <-ctx.Done():
					return false
				}
			}
			return true
		})
	})
	for j := range order {
		<-j.ready
		if ctx.Err() != nil {
			continue // it may not have been worked on
		}
		if err := collect(j.v); err != nil {
			return err
		}
	}
	return errors.Join(ctx.Err(), made) // made: order has been closed since
}
