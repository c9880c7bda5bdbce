package store

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"portolan/internal/dit"
	"portolan/internal/kv/memkv"
)

// warmPeople are enough for steps to end between them.
const warmPeople = warmStep + 300

func warmStore(t *testing.T, cache int64) *Store {
	o := testOptions()
	o.CacheBytes = cache
	s := openStore(t, memkv.New(Merger()), o)
	addAll(t, s, testSuffix)
	for from := 0; from < warmPeople; from += 1000 {
		update(t, s, func(tx *Tx) error {
			for i := from; i < min(from+1000, warmPeople); i++ {
				name := fmt.Sprintf("p%d", i)
				if _, err := addEntry(tx, "uid="+name+","+testSuffix, person(name)...); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return s
}

func uidPosting(t *testing.T, s *Store, uid string) []byte {
	for _, x := range s.live.Load().indexes.list {
		if x.kind == IndexEquality && x.attr.Name() == "uid" {
			return appendPosting(nil, x, IndexEquality, []byte(uid))
		}
	}
	t.Fatal("no index on uid")
	return nil
}

func TestWarmFillsTheCaches(t *testing.T) {
	s := warmStore(t, 16<<20)
	g := s.live.Load()
	g.caches.close()
	g.caches = newCaches(16<<20, 2*warmPeople) // with room for a place and a uid each
	if err := s.warm(context.Background(), g); err != nil {
		t.Fatal(err)
	}
	if n := g.caches.entries.count.Load(); n != warmPeople+1 {
		t.Errorf("%d entries are in the cache, want all %d", n, warmPeople+1)
	}
	var places, lists int
	for i := range warmPeople {
		uid := fmt.Sprintf("p%d", i)
		e := mustFind(t, s, "uid="+uid+","+testSuffix)
		if p, ok := g.caches.place(e.Parent, e.NormRDN); ok {
			places++
			if p.id != e.ID {
				t.Fatalf("%s: its place has entry %d, want %d", uid, p.id, e.ID)
			}
		}
		if l, ok := g.caches.list(uidPosting(t, s, uid), new([]dit.ID)); ok {
			lists++
			if len(l.ids) != 1 || l.ids[0] != e.ID {
				t.Fatalf("%s: entries %v under its uid, want %d", uid, l.ids, e.ID)
			}
		}
	}
	// A bucket of the table may be full.
	if places < warmPeople*9/10 || lists < warmPeople*9/10 {
		t.Errorf("of %d people %d places and %d uids are in the cache", warmPeople, places, lists)
	}
	// What more than one entry has is read when it is asked for.
	if l, ok := g.caches.list(appendPosting(nil, g.indexes.list[0], IndexEquality, []byte("person")), new([]dit.ID)); ok {
		t.Errorf("objectClass=person has the entries %v", l.ids)
	}
}

func TestWarmKeepsTheLimits(t *testing.T) {
	s := warmStore(t, 256<<10)
	g := s.live.Load()
	g.caches.clear()
	if err := s.warm(context.Background(), g); err != nil {
		t.Fatal(err)
	}
	c := g.caches
	if w := c.entries.weight.Load(); w > c.entries.limit || w < c.entries.limit/2 {
		t.Errorf("%d octets of entries, the limit is %d", w, c.entries.limit)
	}
	if n := c.ids.octets(); n > 256<<10/8 {
		t.Errorf("%d octets of ids, the limit is %d", n, 256<<10/8)
	}
}

func TestWarmEnds(t *testing.T) {
	s := warmStore(t, 16<<20)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.warm(ctx, s.live.Load()); err != context.Canceled {
		t.Error(err)
	}
	// Of another generation it says so, and fills nothing in.
	old := s.live.Load()
	if err := s.SetSchema(s.Schema()); err != nil {
		t.Fatal(err)
	}
	if err := s.warm(context.Background(), old); err != errGenerationMoved {
		t.Error(err)
	}
}

// Beside writers nothing gets into a cache that is not right any more.
func TestWarmBesideWrites(t *testing.T) {
	s := warmStore(t, 16<<20)
	g := s.live.Load()
	var done atomic.Bool
	var wait sync.WaitGroup
	wait.Go(func() {
		for !done.Load() {
			g.caches.clear()
			if err := s.warm(context.Background(), g); err != nil {
				t.Error(err)
				return
			}
		}
	})
	r := rand.New(rand.NewPCG(3, 4))
	for i := range 300 {
		n := r.IntN(warmPeople)
		old, renamed := fmt.Sprintf("uid=p%d", n), fmt.Sprintf("uid=q%d", i)
		v := s.View()
		e, _, err := v.Lookup(old + "," + testSuffix)
		v.Close()
		if err != nil {
			t.Fatal(err)
		}
		if e == nil {
			continue // renamed already
		}
		update(t, s, func(tx *Tx) error {
			e, err := tx.Get(e.ID)
			if err != nil {
				return err
			}
			_, err = moveEntry(tx, e, e.Parent, renamed)
			return err
		})
		v = s.View()
		if gone, _, err := v.Lookup(old + "," + testSuffix); err != nil || gone != nil {
			t.Fatalf("%s was renamed, and found as %v (%v)", old, gone, err)
		}
		if there, _, err := v.Lookup(renamed + "," + testSuffix); err != nil || there == nil || there.ID != e.ID {
			t.Fatalf("%s is not found: %v (%v)", renamed, there, err)
		}
		v.Close()
	}
	done.Store(true)
	wait.Wait()
}
