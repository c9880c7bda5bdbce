package inorder

import (
	"context"
	"errors"
	"runtime"
	"testing"
)

type item struct{ n, square int }

func numbers(n int) func(give func(*item) bool) error {
	return func(give func(*item) bool) error {
		for i := range n {
			if !give(&item{n: i}) {
				return nil
			}
		}
		return nil
	}
}

// What is slow at the beginning does not let others overtake it.
func TestOrderIsThatOfTheSource(t *testing.T) {
	next := 0
	err := Each(t.Context(), numbers(5000), func(i *item) {
		for range i.n % 7 {
			runtime.Gosched()
		}
		i.square = i.n * i.n
	}, func(i *item) error {
		if i.n != next || i.square != next*next {
			t.Errorf("%d of square %d came where %d should have", i.n, i.square, next)
		}
		next++
		return nil
	})
	if err != nil || next != 5000 {
		t.Errorf("%d came, %v", next, err)
	}
}

// An error of either end, or a context that ends, ends all; the source is not left waiting.
func TestItEnds(t *testing.T) {
	enough := errors.New("enough")
	square := func(i *item) { i.square = i.n * i.n }

	seen := 0
	returned := false
	err := Each(t.Context(), func(give func(*item) bool) error {
		defer func() { returned = true }()
		return numbers(1 << 30)(give)
	}, square, func(*item) error { seen++; return enough })
	if err != enough || seen != 1 || !returned {
		t.Errorf("an error of collect: %v after %d, the source has returned: %v", err, seen, returned)
	}

	seen = 0
	err = Each(t.Context(), func(give func(*item) bool) error {
		give(&item{})
		give(&item{n: 1})
		return enough
	}, square, func(*item) error { seen++; return nil })
	if !errors.Is(err, enough) || seen != 2 {
		t.Errorf("an error of the source: %v after %d", err, seen)
	}

	ctx, cancel := context.WithCancel(t.Context())
	seen = 0
	err = Each(ctx, numbers(1<<30), square, func(*item) error {
		if seen++; seen == 3 {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) || seen != 3 {
		t.Errorf("the end of the context: %v after %d", err, seen)
	}

	func() {
		defer func() {
			if v := recover(); v != "enough" {
				t.Errorf("a panic of collect came out as %v", v)
			}
		}()
		_ = Each(t.Context(), numbers(1<<30), square, func(*item) error { panic("enough") })
	}()

	if err := Each(t.Context(), numbers(0), square, func(*item) error { return enough }); err != nil {
		t.Errorf("nothing to do: %v", err)
	}
}
