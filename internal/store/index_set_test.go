package store

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"
)

// waitIndexes returns when nothing is being built any more.
func waitIndexes(t testing.TB, s *Store) {
	t.Helper()
	for end := time.Now().Add(3 * time.Minute); ; time.Sleep(time.Millisecond) {
		if !slices.ContainsFunc(s.Indexes(), func(x IndexInfo) bool { return x.State != IndexReady }) {
			return
		}
		if time.Now().After(end) {
			t.Fatal("the indexes are not ready after three minutes")
		}
	}
}

func equalCount(t testing.TB, s *Store, attribute, value string) (int, error) {
	t.Helper()
	v := s.View()
	defer v.Close()
	a := s.Schema().AttributeTypeString(attribute)
	key, err := s.Schema().EqualityKey(a, nil, []byte(value))
	if err != nil {
		t.Fatal(err)
	}
	set, err := v.Equal(a, key)
	if err != nil {
		return 0, err
	}
	return int(set.GetCardinality()), nil
}

// TestSetIndexes adds an index to a store that runs, makes it anew, and drops it.
func TestSetIndexes(t *testing.T) {
	s := memStore(t)
	addAll(t, s, testSuffix, "uid=a,"+testSuffix, "uid=b,"+testSuffix)
	if _, err := equalCount(t, s, "sn", "S"); !errors.Is(err, ErrNotIndexed) {
		t.Fatalf("before: %v", err)
	}
	sn := IndexSpec{Attribute: "sn", Kind: IndexEquality}
	with := append(slices.Clone(testIndexes), sn)
	for _, rebuild := range []*IndexSpec{nil, &sn, {Attribute: "surname", Kind: IndexEquality}} {
		if err := s.SetIndexes(context.Background(), with, rebuild); err != nil {
			t.Fatal(err)
		}
		waitIndexes(t, s)
		if n, err := equalCount(t, s, "sn", "s"); err != nil || n != 2 {
			t.Fatalf("with the index: %d, %v", n, err)
		}
		checkClean(t, s)
	}
	addAll(t, s, "uid=c,"+testSuffix)
	if n, err := equalCount(t, s, "sn", "s"); err != nil || n != 3 {
		t.Fatalf("after another add: %d, %v", n, err)
	}
	if err := s.SetIndexes(context.Background(), with, &IndexSpec{Attribute: "mail", Kind: IndexEquality}); err == nil {
		t.Fatal("an index that is not asked for was built anew")
	}
	if err := s.SetIndexes(context.Background(), []IndexSpec{{Attribute: "nonsense", Kind: IndexEquality}}, nil); err == nil {
		t.Fatal("an index on nothing was accepted")
	}
	if n, err := equalCount(t, s, "sn", "s"); err != nil || n != 3 {
		t.Fatalf("after refused changes: %d, %v", n, err)
	}
	if err := s.SetIndexes(context.Background(), testIndexes, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := equalCount(t, s, "sn", "S"); !errors.Is(err, ErrNotIndexed) {
		t.Fatalf("after the drop: %v", err)
	}
	if n, err := equalCount(t, s, "uid", "a"); err != nil || n != 1 {
		t.Fatalf("an index that stays: %d, %v", n, err)
	}
	checkClean(t, s) // reports postings that belong to no index
}
