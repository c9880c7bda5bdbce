package store

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"portolan/internal/dit"
	"portolan/internal/kv"
	"portolan/internal/kv/faultkv"
	"portolan/internal/kv/memkv"
	"portolan/internal/schema"
	"portolan/ldap"
)

func TestAddFindModifyRemove(t *testing.T) {
	s := memStore(t)
	addAll(t, s, testSuffix, "ou=People,"+testSuffix, "uid=a,ou=People,"+testSuffix)
	v := s.View()
	e := find(t, v, "UID=A,OU=people,DC=Example,DC=com")
	if e == nil {
		t.Fatal("the entry is not found by a name written otherwise")
	}
	name, err := v.Name(e)
	if err != nil || name.DN != "uid=a,ou=People,dc=example,dc=com" || name.Norm != norm(t, s, name.DN) {
		t.Fatalf("name %+v, %v", name, err)
	}
	if dn, norm, err := v.AppendName([]byte("x"), []byte("y"), e); err != nil || string(dn) != "x"+name.DN || string(norm) != "y"+name.Norm {
		t.Fatalf("AppendName %q %q, %v", dn, norm, err)
	}
	if got, err := v.ByUUID(e.UUID); err != nil || got == nil || got.ID != e.ID {
		t.Fatalf("by UUID: %v, %v", got, err)
	}
	missing, matched, err := v.Lookup("uid=x,ou=gone,ou=people," + testSuffix)
	if missing != nil || matched == nil || matched.RDN != "ou=People" || err != nil {
		t.Fatalf("lookup of a missing name: %v, %v, %v", missing, matched, err)
	}
	if e, m, err := v.Lookup("dc=org"); e != nil || m != nil || err != nil {
		t.Fatalf("lookup outside of the suffixes: %v, %v, %v", e, m, err)
	}
	v.Close()

	c := update(t, s, func(tx *Tx) error {
		_, err := modifyEntry(tx, e, attr{"sn", []string{"Other"}})
		return err
	})
	if len(c.Changes) != 1 || c.Changes[0].Kind != dit.ChangeModify || c.Changes[0].Before.ID != e.ID || c.Changes[0].New.DN != name.DN {
		t.Fatalf("changes %+v", c.Changes)
	}
	if got := string(mustFind(t, s, name.DN).First(schema.Description{Type: s.Schema().AttributeTypeString("sn")})); got != "Other" {
		t.Fatalf("sn is %q", got)
	}

	_, err = s.Update(context.Background(), Meta{}, func(tx *Tx) error {
		parent, _, _ := tx.Lookup(norm(t, s, "ou=People,"+testSuffix))
		_, err := tx.Remove(parent)
		return err
	})
	if code(err) != ldap.NotAllowedOnNonLeaf {
		t.Fatalf("removing a parent: %v", err)
	}
	update(t, s, func(tx *Tx) error {
		_, err := tx.Remove(e)
		return err
	})
	v = s.View()
	defer v.Close()
	if find(t, v, name.DN) != nil {
		t.Fatal("it is still there")
	}
	if got, err := v.ByUUID(e.UUID); got != nil || err != nil {
		t.Fatalf("by UUID: %v, %v", got, err)
	}
	checkClean(t, s)
}

func TestTreeErrors(t *testing.T) {
	s := memStore(t)
	addAll(t, s, testSuffix, "ou=a,"+testSuffix, "ou=b,ou=a,"+testSuffix, "ou=c,ou=b,ou=a,"+testSuffix)
	a, c := mustFind(t, s, "ou=a,"+testSuffix), mustFind(t, s, "ou=c,ou=b,ou=a,"+testSuffix)
	for name, test := range map[string]struct {
		fn   func(tx *Tx) error
		want ldap.ResultCode
	}{
		"name taken": {func(tx *Tx) error {
			_, err := addEntry(tx, "OU=A,"+testSuffix, unit)
			return err
		}, ldap.EntryAlreadyExists},
		"beneath itself": {func(tx *Tx) error {
			_, err := moveEntry(tx, a, c.ID, "ou=a")
			return err
		}, ldap.UnwillingToPerform},
		"beneath itself directly": {func(tx *Tx) error {
			_, err := moveEntry(tx, a, a.ID, "ou=a")
			return err
		}, ldap.UnwillingToPerform},
		"no parent": {func(tx *Tx) error {
			_, err := moveEntry(tx, a, 4711, "ou=a")
			return err
		}, ldap.NoSuchObject},
		"no naming context": {func(tx *Tx) error {
			_, err := moveEntry(tx, a, 0, "ou=a")
			return err
		}, ldap.NoSuchObject},
		"rename onto another": {func(tx *Tx) error {
			if _, err := addEntry(tx, "ou=d,"+testSuffix, unit); err != nil {
				return err
			}
			_, err := moveEntry(tx, a, a.Parent, "ou=d")
			return err
		}, ldap.EntryAlreadyExists},
		"gone": {func(tx *Tx) error {
			if _, err := tx.Remove(c); err != nil {
				return err
			}
			_, err := modifyEntry(tx, c, attr{"description", []string{"x"}})
			return err
		}, ldap.NoSuchObject},
		"UUID taken": {func(tx *Tx) error {
			d := dit.NewDraft()
			d.Parent, d.RDN, d.NormRDN, d.UUID, d.CSN = a.ID, "ou=n", "ou=n", c.UUID, tx.NextCSN()
			if err := setAttr(tx.Schema(), d, unit); err != nil {
				return err
			}
			_, err := sealAndPut(tx, d)
			return err
		}, ldap.EntryAlreadyExists},
	} {
		t.Run(name, func(t *testing.T) {
			_, last := s.JournalBounds()
			_, err := s.Update(context.Background(), Meta{}, test.fn)
			if code(err) != test.want {
				t.Fatalf("got %v, want %v", err, test.want)
			}
			if _, now := s.JournalBounds(); now != last {
				t.Fatal("it is in the journal")
			}
		})
	}
	if checkClean(t, s).Entries != 4 {
		t.Fatal("entries have come or gone")
	}
}

// A transaction that fails leaves nothing behind, wherever it fails.
func TestRollback(t *testing.T) {
	s := memStore(t)
	addAll(t, s, testSuffix, "ou=a,"+testSuffix, "uid=x,ou=a,"+testSuffix)
	before := dump(t, s)
	boom := errors.New("boom")
	work := []func(tx *Tx) error{
		func(tx *Tx) error { _, err := addEntry(tx, "ou=b,"+testSuffix, unit); return err },
		func(tx *Tx) error { _, err := addEntry(tx, "uid=y,ou=b,"+testSuffix, person("y")...); return err },
		func(tx *Tx) error {
			e, _, err := tx.Lookup("uid=x,ou=a," + testSuffix)
			if err != nil {
				return err
			}
			b, _, err := tx.Lookup("ou=b," + testSuffix)
			if err != nil {
				return err
			}
			_, err = moveEntry(tx, e, b.ID, "uid=z")
			return err
		},
		func(tx *Tx) error { return tx.SetState([]byte("k"), []byte("v")) },
		func(tx *Tx) error {
			e, _, err := tx.Lookup("ou=a," + testSuffix)
			if err != nil {
				return err
			}
			_, err = tx.Remove(e)
			return err
		},
	}
	for n := 1; n <= len(work); n++ {
		for _, end := range []string{"error", "panic"} {
			_, err := s.Update(context.Background(), Meta{}, func(tx *Tx) error {
				for _, w := range work[:n] {
					if err := w(tx); err != nil {
						t.Error(err)
					}
				}
				if end == "panic" {
					panic(boom)
				}
				return boom
			})
			var p *PanicError
			if end == "error" && err != boom || end == "panic" && (!errors.As(err, &p) || p.Value != boom || !strings.Contains(string(p.Stack), "TestRollback")) {
				t.Fatalf("%s: got %v", end, err)
			}
			if after := dump(t, s); after != before {
				t.Fatalf("%s after %d steps left something behind:\n%s\nwas\n%s", end, n, after, before)
			}
			if v, err := s.State().Get([]byte("k")); v != nil || err != nil {
				t.Fatalf("state %q, %v", v, err)
			}
		}
	}
	// What was undone can be done: names, ids and counts are free again.
	update(t, s, func(tx *Tx) error {
		for _, w := range work {
			if err := w(tx); err != nil {
				return err
			}
		}
		return nil
	})
	checkClean(t, s)
	mustFind(t, s, "uid=z,ou=b,"+testSuffix)
}

// dump is all that is in the store.
func dump(t testing.TB, s *Store) string {
	t.Helper()
	var b strings.Builder
	it, err := s.db.Iter(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		v, err := it.Value()
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString(strings.ToValidUTF8(string(it.Key()), "?") + " = " + strings.ToValidUTF8(string(v), "?") + "\n")
	}
	return b.String()
}

// A closure that goes on after a change that failed half way cannot commit the half.
func TestBrokenTransaction(t *testing.T) {
	db := faultkv.Wrap(memkv.New(Merger()), nil)
	s := openStore(t, db, testOptions())
	addAll(t, s, testSuffix)
	before := dump(t, s)
	boom := errors.New("boom")
	for n := 1; n <= 3; n++ {
		_, err := s.Update(context.Background(), Meta{}, func(tx *Tx) error {
			db.SetFault(faultkv.Nth(faultkv.Set, db.Count(faultkv.Set)+n, boom))
			addEntry(tx, "ou=a,"+testSuffix, unit)
			db.SetFault(nil)
			return nil
		})
		if !errors.Is(err, boom) {
			t.Fatalf("set %d: %v", n, err)
		}
		if after := dump(t, s); after != before {
			t.Fatalf("set %d: half a change was committed:\n%s", n, after)
		}
	}
}

// gatedDB holds Sync until the test lets it go.
type gatedDB struct {
	kv.DB
	entered, leave chan struct{}
	on             atomic.Bool
}

func (g *gatedDB) Sync() error {
	if g.on.Load() {
		g.entered <- struct{}{}
		<-g.leave
	}
	return g.DB.Sync()
}

// Nothing that is not durable is seen by anybody, while the next transactions are evaluated upon it.
func TestDurabilityGate(t *testing.T) {
	db := &gatedDB{DB: memkv.New(Merger()), entered: make(chan struct{}), leave: make(chan struct{})}
	s := openStore(t, db, testOptions())
	addAll(t, s, testSuffix)
	e := mustFind(t, s, testSuffix)
	var observed atomic.Uint64
	s.Observe(func(c Commit) { observed.Store(c.Seq) })
	_, last := s.JournalBounds()
	db.on.Store(true)

	type result struct {
		c   Commit
		err error
	}
	first, second := make(chan result, 1), make(chan result, 1)
	go func() {
		c, err := s.Update(context.Background(), Meta{}, func(tx *Tx) error {
			_, err := addEntry(tx, "ou=a,"+testSuffix, unit)
			if err == nil {
				_, err = modifyEntry(tx, e, attr{"description", []string{"changed"}})
			}
			return err
		})
		first <- result{c, err}
	}()
	<-db.entered
	evaluated := make(chan bool)
	go func() {
		c, err := s.Update(context.Background(), Meta{}, func(tx *Tx) error {
			above, _, err := tx.Lookup("ou=a," + testSuffix)
			changed, err2 := tx.Get(e.ID)
			evaluated <- above != nil && changed.Seq > e.Seq && err == nil && err2 == nil
			_, err = addEntry(tx, "ou=b,ou=a,"+testSuffix, unit)
			return err
		})
		second <- result{c, err}
	}()
	if !<-evaluated {
		t.Error("a transaction does not see the one before it")
	}

	unseen := func(when string) {
		t.Helper()
		v := s.View()
		defer v.Close()
		for range 2 { // the second time past the caches
			if find(t, v, "ou=a,"+testSuffix) != nil {
				t.Errorf("%s: a view sees an entry that is not durable", when)
			}
			if now, err := v.Get(e.ID); err != nil || now.Seq != e.Seq {
				t.Errorf("%s: a view sees a change that is not durable: %v, %v", when, now, err)
			}
			if err := v.Pin(); err != nil {
				t.Fatal(err)
			}
		}
		if _, l := s.JournalBounds(); l != last {
			t.Errorf("%s: the journal shows what is not durable", when)
		}
		if observed.Load() > last {
			t.Errorf("%s: an observer was told of what is not durable", when)
		}
		select {
		case <-first:
			t.Errorf("%s: acknowledged before it is durable", when)
		default:
		}
	}
	unseen("during the first sync")
	waited := make(chan error, 1)
	go func() { waited <- s.WaitJournal(context.Background(), last) }()

	old := s.View() // stands before both
	if err := old.Pin(); err != nil {
		t.Fatal(err)
	}
	db.leave <- struct{}{}
	if r := <-first; r.err != nil || r.c.Seq != last+1 {
		t.Fatal(r)
	}
	if err := <-waited; err != nil {
		t.Fatal(err)
	}
	<-db.entered
	v := s.View()
	if find(t, v, "ou=a,"+testSuffix) == nil {
		t.Error("what was acknowledged is not there")
	}
	if find(t, v, "ou=b,ou=a,"+testSuffix) != nil {
		t.Error("the second transaction is seen before it is durable")
	}
	if now, err := v.Get(e.ID); err != nil || now.Seq != last+1 {
		t.Errorf("the change is not seen: %v, %v", now, err)
	}
	v.Close()
	if find(t, old, "ou=a,"+testSuffix) != nil {
		t.Error("a pinned view moved on")
	}
	if now, err := old.Get(e.ID); err != nil || now.Seq != e.Seq {
		t.Errorf("a pinned view sees a later version: %v, %v", now, err)
	}
	old.Close()
	db.on.Store(false)
	db.leave <- struct{}{}
	if r := <-second; r.err != nil || r.c.Seq != last+2 {
		t.Fatal(r)
	}
	checkClean(t, s)
}

func TestSyncFailureStops(t *testing.T) {
	boom := errors.New("disk on fire")
	db := faultkv.Wrap(memkv.New(Merger()), nil)
	s, err := Open(db, testOptions())
	if err != nil {
		t.Fatal(err)
	}
	addAll(t, s, testSuffix)
	db.SetFault(faultkv.From(faultkv.Sync, 1, boom))
	_, err = s.Update(context.Background(), Meta{}, func(tx *Tx) error {
		_, err := addEntry(tx, "ou=a,"+testSuffix, unit)
		return err
	})
	if !errors.Is(err, ErrFailed) || !errors.Is(err, boom) {
		t.Fatalf("got %v", err)
	}
	if err := <-s.Fatal(); !errors.Is(err, boom) {
		t.Fatalf("fatal: %v", err)
	}
	v := s.View()
	if find(t, v, "ou=a,"+testSuffix) != nil {
		t.Error("what failed is seen")
	}
	v.Close()
	_, err = s.Update(context.Background(), Meta{}, func(tx *Tx) error { t.Error("evaluated after a failure"); return nil })
	if !errors.Is(err, ErrFailed) {
		t.Fatalf("got %v", err)
	}
	db.SetFault(nil)
	if err := s.Close(); !errors.Is(err, ErrFailed) {
		t.Fatalf("close: %v", err)
	}
}

func TestNoSpaceAndResume(t *testing.T) {
	var free atomic.Uint64
	free.Store(1 << 30)
	o := testOptions()
	o.FreeSpace = func() (uint64, error) { return free.Load(), nil }
	o.MinFree = 1 << 20
	c := newClock()
	o.Now = c.Now
	s := openStore(t, memkv.New(Merger()), o)
	addAll(t, s, testSuffix)
	free.Store(1)
	c.step(2 * time.Second)
	for range 3 {
		_, err := s.Update(context.Background(), Meta{}, func(tx *Tx) error { t.Error("evaluated"); return nil })
		if !errors.Is(err, ErrNoSpace) {
			t.Fatalf("got %v", err)
		}
	}
	free.Store(1 << 30)
	addAll(t, s, "ou=a,"+testSuffix) // at once, the clock stands nearly still
	if s.Metrics()["store_refused_no_space"] != 3 {
		t.Error(s.Metrics())
	}
}

// An Apply that meets a full disk is refused and harms nothing.
func TestApplyNoSpace(t *testing.T) {
	db := faultkv.Wrap(memkv.New(Merger()), nil)
	s := openStore(t, db, testOptions())
	addAll(t, s, testSuffix)
	db.SetFault(faultkv.Nth(faultkv.Apply, db.Count(faultkv.Apply)+1, kv.ErrNoSpace))
	_, err := s.Update(context.Background(), Meta{}, func(tx *Tx) error {
		_, err := addEntry(tx, "ou=a,"+testSuffix, unit)
		return err
	})
	if !errors.Is(err, ErrNoSpace) {
		t.Fatalf("got %v", err)
	}
	addAll(t, s, "ou=a,"+testSuffix, "ou=b,ou=a,"+testSuffix)
	checkClean(t, s)
}

func TestMaxChanges(t *testing.T) {
	o := testOptions()
	o.MaxChanges = 2
	s := openStore(t, memkv.New(Merger()), o)
	addAll(t, s, testSuffix)
	_, err := s.Update(context.Background(), Meta{}, func(tx *Tx) error {
		for _, dn := range []string{"ou=a", "ou=b", "ou=c"} {
			if _, err := addEntry(tx, dn+","+testSuffix, unit); err != nil {
				return err
			}
		}
		return nil
	})
	if code(err) != ldap.AdminLimitExceeded || !errors.Is(err, ErrTooManyChanges) {
		t.Fatalf("got %v", err)
	}
	if checkClean(t, s).Entries != 1 {
		t.Fatal("something stayed")
	}
}

func TestContext(t *testing.T) {
	s := memStore(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Update(ctx, Meta{}, func(*Tx) error { t.Error("ran"); return nil }); err != context.Canceled {
		t.Fatal(err)
	}
	// Cancelled while another transaction holds the sequencer: it never begins.
	ctx, cancel = context.WithCancel(context.Background())
	busy, release := make(chan struct{}), make(chan struct{})
	done := make(chan error, 2)
	go func() {
		_, err := s.Update(context.Background(), Meta{}, func(*Tx) error {
			close(busy)
			<-release
			return nil
		})
		done <- err
	}()
	<-busy
	waiting := make(chan error, 1)
	go func() {
		_, err := s.Update(ctx, Meta{}, func(*Tx) error { t.Error("ran"); return nil })
		waiting <- err
	}()
	cancel()
	if err := <-waiting; err != context.Canceled {
		t.Fatal(err)
	}
	close(release)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	// Cancelled after it began: the outcome is awaited.
	ctx, cancel = context.WithCancel(context.Background())
	c, err := s.Update(ctx, Meta{}, func(tx *Tx) error {
		cancel()
		_, err := addEntry(tx, testSuffix, unit)
		return err
	})
	if err != nil || c.Seq != 1 {
		t.Fatalf("%+v, %v", c, err)
	}
}

func TestClosed(t *testing.T) {
	s, err := Open(memkv.New(Merger()), testOptions())
	if err != nil {
		t.Fatal(err)
	}
	addAll(t, s, testSuffix)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Update(context.Background(), Meta{}, func(*Tx) error { return nil }); err != ErrClosed {
		t.Fatal(err)
	}
	v := s.View()
	defer v.Close()
	if err := v.Pin(); err != ErrClosed {
		t.Fatal(err)
	}
}

func TestReadOnly(t *testing.T) {
	db := memkv.New(Merger())
	s, err := Open(db, testOptions())
	if err != nil {
		t.Fatal(err)
	}
	addAll(t, s, testSuffix)
	was := dump(t, s)
	crashed := db.Crash()
	o := testOptions()
	o.ReadOnly = true
	r := openStore(t, crashed, o)
	if _, err := r.Update(context.Background(), Meta{}, func(*Tx) error { return nil }); err != ErrReadOnly {
		t.Fatal(err)
	}
	if err := r.State().Set([]byte("a"), []byte("b")); err != ErrReadOnly {
		t.Fatal(err)
	}
	mustFind(t, r, testSuffix)
	if dump(t, r) != was {
		t.Error("a store opened for reading was changed")
	}
	s.Close()
}

func TestSetSchema(t *testing.T) {
	s := memStore(t)
	addAll(t, s, testSuffix, "uid=a,"+testSuffix)
	e := mustFind(t, s, "uid=a,"+testSuffix)
	before := s.View()
	defer before.Close()
	if err := before.Pin(); err != nil {
		t.Fatal(err)
	}
	addAll(t, s, "uid=later,"+testSuffix)
	late := s.View()
	defer func() { late.Close() }()
	larger, err := s.Schema().Extend(schema.File{Name: "more.schema", Text: []byte("attributetype ( 2.25.99.1 NAME 'moreText' SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )")})
	if err != nil {
		t.Fatal(err)
	}
	old, oldShapes := s.Schema(), s.Shapes()
	if err := s.SetSchema(larger); err != nil {
		t.Fatal(err)
	}
	if s.Schema() != larger || s.Shapes() == oldShapes {
		t.Fatal("the schema is the old one")
	}
	if before.Schema() != old || find(t, before, "uid=a,"+testSuffix) == nil {
		t.Fatal("a pinned view lost its schema")
	}
	if n, err := late.NumChildren(1); n != 2 || err != nil {
		t.Fatalf("a view of the state before: %d, %v", n, err)
	}
	late.Close()
	late = s.View()
	s.dropRetired() // as time would
	if err := s.SetSchema(old); err != nil {
		t.Fatal(err)
	}
	s.dropRetired()
	if _, err := late.NumChildren(1); !errors.Is(err, ErrGeneration) {
		t.Fatalf("an unpinned view moved across a schema: %v", err)
	}
	if err := s.SetSchema(larger); err != nil {
		t.Fatal(err)
	}
	if now := mustFind(t, s, "uid=a,"+testSuffix); now.Shape() == e.Shape() {
		t.Fatal("an entry of the old schema came out of a cache")
	}
	_, err = s.Update(context.Background(), Meta{}, func(tx *Tx) error {
		d := e.Edit(tx)
		d.CSN = tx.NextCSN()
		sealed, large, err := d.Seal(oldShapes, dit.SealOptions{Trusted: true})
		if err != nil {
			return err
		}
		_, err = tx.Put(PutRequest{Entry: sealed, Large: large})
		return err
	})
	if !errors.Is(err, ErrGeneration) {
		t.Fatalf("an entry of the old schema was stored: %v", err)
	}
	addAll(t, s, "uid=b,"+testSuffix)
	checkClean(t, s)
}

// A transaction sees the tree as the one before it left it, although the caches still have the durable one.
func TestTransactionOverPending(t *testing.T) {
	db := &gatedDB{DB: memkv.New(Merger()), entered: make(chan struct{}), leave: make(chan struct{})}
	s := openStore(t, db, testOptions())
	addAll(t, s, testSuffix, "ou=a,"+testSuffix, "ou=gone,"+testSuffix)
	a, gone := mustFind(t, s, "ou=a,"+testSuffix), mustFind(t, s, "ou=gone,"+testSuffix)
	db.on.Store(true)
	done := make(chan error, 2)
	go func() {
		_, err := s.Update(context.Background(), Meta{}, func(tx *Tx) error {
			if _, err := moveEntry(tx, a, a.Parent, "ou=b"); err != nil {
				return err
			}
			_, err := tx.Remove(gone)
			return err
		})
		done <- err
	}()
	<-db.entered
	evaluated := make(chan struct{})
	go func() {
		_, err := s.Update(context.Background(), Meta{}, func(tx *Tx) error {
			defer close(evaluated)
			for dn, want := range map[string]dit.ID{"ou=a": 0, "ou=b": a.ID, "ou=gone": 0} {
				e, _, err := tx.Lookup(dn + "," + testSuffix)
				if err != nil || (e == nil) != (want == 0) || e != nil && e.ID != want {
					t.Errorf("%s leads to %v, %v", dn, e, err)
				}
			}
			if e, err := tx.Get(gone.ID); e != nil || err != nil {
				t.Errorf("a removed entry: %v, %v", e, err)
			}
			return nil
		})
		done <- err
	}()
	<-evaluated
	db.on.Store(false)
	db.leave <- struct{}{}
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// The names in changes are those of the moment of each change.
func TestNamesWithinTransaction(t *testing.T) {
	s := memStore(t)
	addAll(t, s, testSuffix, "ou=a,"+testSuffix, "ou=c,ou=a,"+testSuffix)
	c := update(t, s, func(tx *Tx) error {
		if _, err := addEntry(tx, "ou=x,ou=c,ou=a,"+testSuffix, unit); err != nil {
			return err
		}
		a, err := lookupTx(tx, "ou=a,"+testSuffix)
		if err != nil {
			return err
		}
		if _, err := moveEntry(tx, a, a.Parent, "ou=b"); err != nil {
			return err
		}
		_, err = addEntry(tx, "ou=y,ou=c,ou=b,"+testSuffix, unit)
		return err
	})
	var names []string
	for _, ch := range c.Changes {
		names = append(names, ch.Old.DN+">"+ch.New.DN)
	}
	want := ">ou=x,ou=c,ou=a," + testSuffix + "|ou=a," + testSuffix + ">ou=b," + testSuffix + "|>ou=y,ou=c,ou=b," + testSuffix
	if got := strings.Join(names, "|"); got != want {
		t.Fatalf("got  %s\nwant %s", got, want)
	}
	// And a transaction that is undone leaves no names behind.
	boom := errors.New("boom")
	if _, err := s.Update(context.Background(), Meta{}, func(tx *Tx) error {
		if _, err := addEntry(tx, "ou=p,"+testSuffix, unit); err != nil {
			return err
		}
		if _, err := addEntry(tx, "ou=q,ou=p,"+testSuffix, unit); err != nil {
			return err
		}
		return boom
	}); err != boom {
		t.Fatal(err)
	}
	c = update(t, s, func(tx *Tx) error {
		if _, err := addEntry(tx, "ou=r,"+testSuffix, unit); err != nil {
			return err
		}
		_, err := addEntry(tx, "ou=q,ou=r,"+testSuffix, unit)
		return err
	})
	if got := c.Changes[1].New.DN; got != "ou=q,ou=r,"+testSuffix {
		t.Fatal(got)
	}
}
