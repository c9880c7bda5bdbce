package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"portolan/internal/dit"
	"portolan/internal/kv"
	"portolan/internal/kv/faultkv"
	"portolan/internal/kv/memkv"
	"portolan/ldap"
)

// uidsWith returns the RDNs of the entries whose uid may have a piece in it, found by way of the index.
func uidsWith(t testing.TB, r searcher, piece string) []string {
	t.Helper()
	f, err := ldap.ParseFilter("(uid=*" + piece + "*)")
	if err != nil {
		t.Fatal(err)
	}
	c, err := r.Plan(PlanRequest{Scope: ldap.ScopeSub, Filter: compiled(r.Schema(), f)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if text := c.Explain(); !strings.HasPrefix(text, "sub(") {
		t.Fatalf("the index was not used: %s", text)
	}
	names := []string{}
	for {
		e, err := c.Next()
		if err != nil {
			t.Fatal(err)
		}
		if e == nil {
			slices.Sort(names)
			return names
		}
		names = append(names, e.NormRDN)
	}
}

func noteCount(t testing.TB, r kv.Reader) int {
	t.Helper()
	_, seqs, err := readGramNotes(r)
	if err != nil {
		t.Fatal(err)
	}
	return len(seqs)
}

// TestGramsAfterACrash ends a store between a transaction and what is done for its group.
func TestGramsAfterACrash(t *testing.T) {
	inner := memkv.New(Merger())
	db := faultkv.Wrap(inner, nil)
	s, err := Open(db, testOptions())
	if err != nil {
		t.Fatal(err)
	}
	addAll(t, s, testSuffix, "uid=alpha,"+testSuffix, "uid=gamma,"+testSuffix)
	if n := noteCount(t, inner); n != 0 {
		t.Fatalf("%d notes at rest", n)
	}
	db.SetFault(faultkv.Nth(faultkv.Apply, db.Count(faultkv.Apply)+2, errors.New("the disk is gone")))
	_, err = s.Update(context.Background(), Meta{}, func(tx *Tx) error {
		if _, err := addEntry(tx, "uid=delta,"+testSuffix, person("delta")...); err != nil {
			return err
		}
		e, err := lookupTx(tx, "uid=gamma,"+testSuffix)
		if err != nil {
			return err
		}
		if _, err := tx.Remove(e); err != nil {
			return err
		}
		if e, err = lookupTx(tx, "uid=alpha,"+testSuffix); err != nil {
			return err
		}
		_, err = modifyEntry(tx, e, attr{"uid", []string{"alpha", "omikron"}})
		return err
	})
	if !errors.Is(err, ErrFailed) {
		t.Fatalf("the group could not be finished: %v", err)
	}
	if err := inner.Sync(); err != nil { // what the engine may do at any time
		t.Fatal(err)
	}
	reader, writer, again := inner.Crash(), inner.Crash(), inner.Crash()
	s.Close()

	o := testOptions()
	o.ReadOnly = true
	if n := noteCount(t, reader); n != 1 {
		t.Fatalf("%d notes after the crash: this test shows nothing", n)
	}
	ro := openStore(t, reader, o)
	v := ro.View()
	if got := uidsWith(t, v, "omikron"); !slices.Contains(got, "uid=alpha") {
		t.Errorf("read-only, candidates for omikron: %v", got)
	}
	if got := uidsWith(t, v, "delta"); !slices.Contains(got, "uid=delta") {
		t.Errorf("read-only, candidates for delta: %v", got)
	}
	v.Close()
	checkClean(t, ro)

	rw := openStore(t, writer, testOptions())
	if n := noteCount(t, writer); n != 0 {
		t.Errorf("%d notes after Open", n)
	}
	checkClean(t, rw)
	v = rw.View()
	defer v.Close()
	for piece, want := range map[string][]string{"omikron": {"uid=alpha"}, "delta": {"uid=delta"}, "gamma": {}} {
		if got := uidsWith(t, v, piece); !slices.Equal(got, want) {
			t.Errorf("candidates for %s: %v, want %v", piece, got, want)
		}
	}
	// Recovery that is cut short is done again.
	broken := faultkv.Wrap(again, faultkv.Nth(faultkv.Apply, 1, faultkv.After(errors.New("the disk is gone"))))
	half := again.Crash()
	if _, err := Open(broken, testOptions()); err == nil {
		t.Fatal("a store opened on a broken disk")
	}
	checkClean(t, openStore(t, half, testOptions()))
}

// TestGramsWithinAGroup plans substrings in transactions, while those before them are not settled.
func TestGramsWithinAGroup(t *testing.T) {
	s := memStore(t)
	addAll(t, s, testSuffix, "uid=alpha,"+testSuffix)
	begun, release := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		update(t, s, func(tx *Tx) error {
			close(begun)
			<-release // so that the others come into one group with it
			_, err := addEntry(tx, "uid=delta,"+testSuffix, person("delta")...)
			return err
		})
	})
	<-begun
	work := []func(*Tx) error{
		func(tx *Tx) error {
			e, err := lookupTx(tx, "uid=alpha,"+testSuffix)
			if err != nil {
				return err
			}
			if _, err := modifyEntry(tx, e, attr{"uid", []string{"alpha", "omikron"}}); err != nil {
				return err
			}
			if got := uidsWith(t, tx, "delta"); !slices.Equal(got, []string{"uid=delta"}) {
				t.Errorf("candidates for delta in the next transaction: %v", got)
			}
			if got := uidsWith(t, tx, "omikron"); !slices.Equal(got, []string{"uid=alpha"}) {
				t.Errorf("candidates for omikron in its own transaction: %v", got)
			}
			return nil
		},
		func(tx *Tx) error {
			if e, err := addEntry(tx, "uid=never,"+testSuffix, person("never")...); e == nil {
				return err
			}
			return errors.New("undone")
		},
		func(tx *Tx) error {
			if got := uidsWith(t, tx, "never"); len(got) > 0 {
				t.Errorf("candidates for never: %v", got)
			}
			e, err := lookupTx(tx, "uid=delta,"+testSuffix)
			if err != nil {
				return err
			}
			_, err = tx.Remove(e)
			return err
		},
	}
	for i, fn := range work {
		wg.Go(func() {
			_, err := s.Update(context.Background(), Meta{}, fn)
			if (err != nil) != (i == 1) {
				t.Error(err)
			}
		})
		for len(s.in) <= i { // they are to be evaluated in this order
			runtime.Gosched()
		}
	}
	close(release)
	wg.Wait()
	checkClean(t, s)
	v := s.View()
	defer v.Close()
	for piece, want := range map[string][]string{"omikron": {"uid=alpha"}, "delta": {}, "never": {}} {
		if got := uidsWith(t, v, piece); !slices.Equal(got, want) {
			t.Errorf("candidates for %s: %v, want %v", piece, got, want)
		}
	}
}

// TestGramNotes holds what notes do against single operands in the same order.
func TestGramNotes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type posting struct {
			index, gram uint32
			id          dit.ID
		}
		db, model := memkv.New(Merger()), make(map[posting]bool)
		gram := rapid.SampledFrom([]uint32{0, 5, 0x616263, gramRest})
		grams := rapid.SliceOfNDistinct(gram, 0, 3, func(g uint32) uint32 { return g })
		for range rapid.IntRange(1, 3).Draw(t, "groups") {
			var ops []gramOp
			for range rapid.IntRange(1, 40).Draw(t, "runs") {
				index := rapid.Uint32Range(1, 2).Draw(t, "index")
				id := dit.ID(rapid.SampledFrom([]uint64{1, 2, 65_535, 65_536, 1 << 33}).Draw(t, "id"))
				come := slices.Sorted(slices.Values(grams.Draw(t, "come")))
				gone := slices.DeleteFunc(slices.Sorted(slices.Values(grams.Draw(t, "gone"))), func(g uint32) bool { return slices.Contains(come, g) })
				for _, g := range come {
					model[posting{index, g, id}] = true
				}
				for _, g := range gone {
					delete(model, posting{index, g, id})
				}
				var err error
				if ops, err = readGramNote(ops, appendGramNote(nil, index, id, come, gone)); err != nil {
					t.Fatal(err)
				}
			}
			for range rapid.IntRange(1, 2).Draw(t, "times") { // twice is as good as once
				b := db.NewBatch()
				if err := writeGrams(b, slices.Clone(ops)); err != nil {
					t.Fatal(err)
				}
				if err := db.Apply(b); err != nil {
					t.Fatal(err)
				}
			}
		}
		got := make(map[posting]bool)
		it, err := db.Iter(nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer it.Close()
		for ok := it.First(); ok; ok = it.Next() {
			index, kind, escaped, chunk, ok := splitIndexKey(it.Key())
			value, err := it.Value()
			if !ok || kind != IndexSubstring || err != nil {
				t.Fatalf("key %x: %v", it.Key(), err)
			}
			p := posting{index: index, gram: gramRest}
			if key := appendUnescaped(nil, escaped); len(key) == gramLen {
				p.gram = uint32(key[0])<<16 | uint32(key[1])<<8 | uint32(key[2])
			}
			for _, low := range chunkIDs(t, value) {
				p.id = dit.ID(chunk<<chunkBits | uint64(low))
				got[p] = true
			}
		}
		if !maps.Equal(got, model) {
			t.Fatalf("%v, want %v", got, model)
		}
	})
	// A posting that many come into at once.
	var note []byte
	for id := range dit.ID(20_000) {
		note = appendGramNote(note, 1, id+1, []uint32{7}, nil)
	}
	db := memkv.New(Merger())
	b := db.NewBatch()
	ops, err := readGramNote(nil, note)
	if err := errors.Join(err, writeGrams(b, ops), db.Apply(b)); err != nil {
		t.Fatal(err)
	}
	key := appendChunkNumber(append(appendEscaped(appendHeaderOf(nil, 1, IndexSubstring), appendGram(nil, 7)), 0), 0)
	value, err := db.Get(nil, key)
	if v, ok := viewChunk(value); err != nil || !ok || v.n != 20_000 {
		t.Fatalf("%d of 20000 ids (%v)", v.n, err)
	}
	good := appendGramNote(nil, 1, 2, []uint32{3, 400}, []uint32{5})
	for n := 1; n < len(good); n++ {
		if _, err := readGramNote(nil, good[:n]); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%d octets of %d were read: %v", n, len(good), err)
		}
	}
}

// TestLookupOfOldNames has a transaction look for names that readers' caches know as they were.
func TestLookupOfOldNames(t *testing.T) {
	s := memStore(t)
	addAll(t, s, testSuffix, "ou=a,"+testSuffix, "ou=b,ou=a,"+testSuffix, "uid=x,ou=b,ou=a,"+testSuffix, "uid=y,ou=b,ou=a,"+testSuffix)
	know := func() {
		for _, dn := range []string{"ou=a", "ou=b,ou=a", "uid=x,ou=b,ou=a", "uid=y,ou=b,ou=a"} {
			mustFind(t, s, dn+","+testSuffix)
		}
	}
	know()
	absent := func(tx *Tx, when string, dns ...string) {
		for _, dn := range dns {
			if e, _, err := tx.Lookup(dn + "," + testSuffix); e != nil || err != nil {
				t.Errorf("%s: %s is there still (%v)", when, dn, err)
			}
		}
	}
	present := func(tx *Tx, when, dn string) *dit.Entry {
		e, _, err := tx.Lookup(dn + "," + testSuffix)
		if e == nil || err != nil {
			t.Fatalf("%s: %s is gone (%v)", when, dn, err)
		}
		return e
	}
	move := func(tx *Tx) error {
		present(tx, "before", "uid=x,ou=b,ou=a")
		if _, err := moveEntry(tx, present(tx, "before", "ou=a"), present(tx, "before", "ou=a").Parent, "ou=c"); err != nil {
			return err
		}
		absent(tx, "within", "ou=a", "ou=b,ou=a", "uid=x,ou=b,ou=a")
		if _, err := tx.Remove(present(tx, "within", "uid=x,ou=b,ou=c")); err != nil {
			return err
		}
		absent(tx, "removed", "uid=x,ou=b,ou=c", "uid=x,ou=b,ou=a")
		present(tx, "within", "uid=y,ou=b,ou=c")
		return nil
	}
	undone := errors.New("undone")
	_, err := s.Update(context.Background(), Meta{}, func(tx *Tx) error {
		if err := move(tx); err != nil {
			return err
		}
		return undone
	})
	if err != undone {
		t.Fatal(err)
	}
	update(t, s, func(tx *Tx) error {
		present(tx, "undone", "uid=x,ou=b,ou=a")
		absent(tx, "undone", "ou=c", "uid=y,ou=b,ou=c")
		return nil
	})
	know()
	update(t, s, move)
	update(t, s, func(tx *Tx) error {
		absent(tx, "after", "ou=a", "uid=x,ou=b,ou=c", "uid=x,ou=b,ou=a", "uid=y,ou=b,ou=a")
		if e := present(tx, "after", "uid=y,ou=b,ou=c"); e.NormRDN != "uid=y" {
			return fmt.Errorf("found %s", e.NormRDN)
		}
		return nil
	})
}
