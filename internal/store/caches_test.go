package store

import (
	"testing"

	"portolan/internal/dit"
)

// What a reader read before a commit must not get into a cache after it, and what it reads later may.
func TestFillsThatWereOvertaken(t *testing.T) {
	s := memStore(t)
	addAll(t, s, testSuffix, "ou=a,"+testSuffix)
	old := mustFind(t, s, "ou=a,"+testSuffix)
	c := update(t, s, func(tx *Tx) error {
		e, err := moveEntry(tx, old, old.Parent, "ou=b")
		if err == nil {
			_, err = tx.Remove(e)
		}
		return err
	})
	caches := s.live.Load().caches
	caches.clear()
	posting := appendPosting(nil, s.live.Load().indexes.list[0], IndexEquality, []byte("organizationalunit"))
	o := &outcome{commit: Commit{Seq: c.Seq}}
	o.touched.add(posting)
	caches.apply(o)

	name := "ou=a," + testSuffix
	fill := func(seq uint64) {
		caches.fillEntry(old, seq)
		caches.fillPlace(old.Parent, old.NormRDN, old.ID, seq)
		caches.fillList(posting, []dit.ID{old.ID}, seq)
		caches.fillName(old.ID, known[dit.Name]{seq: seq})
		caches.fillLookup(name, old.ID, seq)
	}
	cached := func() (n int) {
		_, entry := caches.entry(old.ID)
		_, place := caches.place(old.Parent, old.NormRDN)
		_, list := caches.list(posting, new([]dit.ID))
		_, known := caches.name(old.ID)
		_, _, lookup := caches.lookup(name)
		for _, is := range []bool{entry, place, list, known, lookup} {
			if is {
				n++
			}
		}
		return n
	}
	fill(c.Seq - 1)
	if n := cached(); n != 0 {
		t.Fatalf("%d caches took what a commit has overtaken", n)
	}
	fill(c.Seq)
	if n := cached(); n != 5 {
		t.Fatalf("%d caches took what is current, want 5", n)
	}
}

func TestTouchedKeys(t *testing.T) {
	var k touchedKeys
	want := []string{"a", "", "bc"}
	for _, s := range want {
		k.add([]byte(s))
	}
	i := 0
	for s := range k.each {
		if s != want[i] {
			t.Fatalf("key %d is %q", i, s)
		}
		i++
	}
	if i != len(want) {
		t.Fatal(i)
	}
}
