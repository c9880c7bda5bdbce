package store

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"portolan/internal/dit"
)

// EachEntry shows what its view sees, no more and no less, and ends with the error of its function.
func TestEachEntry(t *testing.T) {
	s := memStore(t)
	addAll(t, s, testSuffix, "ou=a,"+testSuffix, "ou=b,"+testSuffix, "ou=c,"+testSuffix)
	v := s.View()
	defer v.Close()
	if err := v.Pin(); err != nil {
		t.Fatal(err)
	}
	gone := mustFind(t, s, "ou=b,"+testSuffix)
	update(t, s, func(tx *Tx) error {
		_, err := tx.Remove(gone)
		return err
	})
	addAll(t, s, "ou=d,"+testSuffix)
	names := func(v *View) (out []string) {
		if err := v.EachEntry(func(e *dit.Entry) error {
			name, err := v.Name(e)
			out = append(out, name.Norm)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return out
	}
	if got, want := names(v), []string{testSuffix, "ou=a," + testSuffix, "ou=b," + testSuffix, "ou=c," + testSuffix}; !slices.Equal(got, want) {
		t.Errorf("an older view sees %q, want %q", got, want)
	}
	now := s.View()
	defer now.Close()
	if got, want := names(now), []string{testSuffix, "ou=a," + testSuffix, "ou=c," + testSuffix, "ou=d," + testSuffix}; !slices.Equal(got, want) {
		t.Errorf("a new view sees %q, want %q", got, want)
	}
	enough, n := errors.New("enough"), 0
	if err := now.EachEntry(func(*dit.Entry) error { n++; return enough }); !errors.Is(err, enough) || n != 1 {
		t.Errorf("it ended with %v after %d entries", err, n)
	}
}

// Entries come in their order also where there are more than are read at once.
func TestEachEntryOfMany(t *testing.T) {
	s := memStore(t)
	names := []string{testSuffix}
	for i := range 3*eachBatch + 1 {
		names = append(names, fmt.Sprintf("ou=u%d,", i)+testSuffix)
	}
	addAll(t, s, names...)
	v := s.View()
	defer v.Close()
	n := 0
	if err := v.EachEntry(func(e *dit.Entry) error {
		if name, err := v.Name(e); err != nil || n >= len(names) || name.Norm != names[n] {
			t.Fatalf("entry %d is %q, %v", n, name.Norm, err)
		}
		n++
		return nil
	}); err != nil || n != len(names) {
		t.Errorf("%d of %d entries, %v", n, len(names), err)
	}
}
