package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"portolan/internal/dit"
	"portolan/internal/kv/memkv"
	"portolan/ldap"
)

// Many writers move one coin between many entries, and add and remove entries beside it, while readers count: every view
// sees exactly one coin, and names that fit.
func TestConcurrent(t *testing.T) {
	for _, writers := range []int{16, 64} {
		t.Run(fmt.Sprint(writers), func(t *testing.T) { testConcurrent(t, writers) })
	}
}

func testConcurrent(t *testing.T, writers int) {
	const places, rounds = 8, 40
	o := testOptions()
	o.CacheBytes = 32 << 10 // so small that entries come and go
	o.Warm = true
	s := openStore(t, memkv.New(Merger()), o)
	addAll(t, s, testSuffix, "ou=a,"+testSuffix, "ou=b,"+testSuffix)
	ids := make([]dit.ID, places)
	coin := attr{"description", []string{"coin"}}
	update(t, s, func(tx *Tx) error {
		for i := range ids {
			attrs := []attr{unit}
			if i == 0 {
				attrs = append(attrs, coin)
			}
			e, err := addEntry(tx, ou(i)+",ou=a,"+testSuffix, attrs...)
			if err != nil {
				return err
			}
			ids[i] = e.ID
		}
		return nil
	})
	desc, err := s.Schema().DescribeString("description")
	if err != nil {
		t.Fatal(err)
	}
	var seqs sync.Map
	var order []uint64 // as observed: by one goroutine
	s.Observe(func(c Commit) { order = append(order, c.Seq) })
	var write, read sync.WaitGroup
	for w := range writers {
		write.Go(func() {
			for i := range rounds {
				c, err := s.Update(context.Background(), Meta{}, func(tx *Tx) error { return moveCoin(tx, ids, desc.Type.Name(), w*rounds+i) })
				if err != nil {
					t.Error(err)
					return
				}
				if _, twice := seqs.LoadOrStore(c.Seq, w); twice {
					t.Errorf("sequence %d was given twice", c.Seq)
				}
				// What was acknowledged is visible at once.
				v := s.View()
				if v.Seq() < c.Seq {
					t.Errorf("a view after transaction %d stands at %d", c.Seq, v.Seq())
				}
				v.Close()
				name := fmt.Sprintf("uid=t%d,ou=b,%s", w, testSuffix)
				if err := toggle(s, name); err != nil {
					t.Error(err)
				}
			}
		})
	}
	var done atomic.Bool
	for n := range 4 {
		read.Go(func() {
			for !done.Load() {
				// Views that are not pinned may move on; what they put into the caches must be right for the others all the same.
				if n%2 == 0 {
					if err := wander(s, ids); err != nil {
						t.Error(err)
						return
					}
				}
				if err := countCoins(s, ids, desc.Type.Name()); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	write.Wait()
	done.Store(true)
	read.Wait()
	for i, seq := range order {
		if i > 0 && seq != order[i-1]+1 {
			t.Fatalf("observed %d after %d", seq, order[i-1])
		}
	}
	if len(order) != 2*writers*rounds {
		t.Errorf("observed %d transactions of %d", len(order), 2*writers*rounds)
	}
	checkClean(t, s)
}

// moveCoin takes the coin from where it is to the next place, and swaps the names of two parents now and then.
func moveCoin(tx *Tx, ids []dit.ID, name string, n int) error {
	desc, err := tx.Schema().DescribeString(name)
	if err != nil {
		return err
	}
	for i, id := range ids {
		e, err := tx.Get(id)
		if err != nil {
			return err
		}
		if e.First(desc) == nil {
			continue
		}
		if _, err := modifyEntry(tx, e, attr{name: name}); err != nil {
			return err
		}
		next, err := tx.Get(ids[(i+1+n%3)%len(ids)])
		if err != nil {
			return err
		}
		if next.ID == e.ID {
			return errors.New("moved nowhere")
		}
		if _, err = modifyEntry(tx, next, attr{name, []string{"coin"}}); err != nil {
			return err
		}
		if n%7 == 0 {
			up, err := tx.Get(next.Parent)
			if err != nil {
				return err
			}
			_, err = moveEntry(tx, up, up.Parent, fmt.Sprintf("ou=a%d", n))
			return err
		}
		return nil
	}
	return errors.New("the coin is lost")
}

func toggle(s *Store, dn string) error {
	_, err := s.Update(context.Background(), Meta{}, func(tx *Tx) error {
		e, err := lookupTx(tx, dn)
		switch {
		case err == nil:
			_, err = tx.Remove(e)
			return err
		case code(err) == ldap.NoSuchObject:
			_, err = addEntry(tx, dn, person("t")...)
			return err
		}
		return err
	})
	return err
}

func wander(s *Store, ids []dit.ID) error {
	v := s.View()
	defer v.Close()
	for _, id := range ids {
		e, err := v.Get(id)
		if err != nil {
			return err
		}
		name, err := v.Name(e)
		if err == nil {
			_, _, err = v.Lookup(name.Norm)
		}
		if err == nil {
			_, err = v.Under(e, ids[0])
		}
		if err != nil && !errors.Is(err, ErrMoved) {
			return err
		}
	}
	return nil
}

func countCoins(s *Store, ids []dit.ID, name string) error {
	v := s.View()
	defer v.Close()
	if err := v.Pin(); err != nil {
		return err
	}
	desc, err := v.Schema().DescribeString(name)
	if err != nil {
		return err
	}
	coins := 0
	for _, id := range ids {
		e, err := v.Get(id)
		if err != nil {
			return err
		}
		if e.Seq > v.Seq() {
			return fmt.Errorf("a view at %d sees an entry of %d", v.Seq(), e.Seq)
		}
		if e.First(desc) != nil {
			coins++
		}
		full, err := v.Name(e)
		if err != nil {
			return err
		}
		again, _, err := v.Lookup(full.Norm)
		if err != nil {
			return err
		}
		if again == nil || again.ID != id {
			return fmt.Errorf("the name %s of entry %d, as of %d, leads to %v", full.Norm, id, v.Seq(), again)
		}
		if at, err := v.ID(full.Norm); err != nil || at != id {
			return fmt.Errorf("the name %s of entry %d, as of %d, is that of %d, %v", full.Norm, id, v.Seq(), at, err)
		}
	}
	if coins != 1 {
		return fmt.Errorf("%d coins at %d", coins, v.Seq())
	}
	return nil
}

// Writers that update one state key by what it was lose no update, whether through memory or in transactions.
func TestStateUpdates(t *testing.T) {
	db := memkv.New(Merger())
	s, err := Open(db, testOptions())
	if err != nil {
		t.Fatal(err)
	}
	key, sure := []byte("count"), []byte("sure")
	add := func(old []byte) []byte {
		n := uint64(0)
		if old != nil {
			n = binary.BigEndian.Uint64(old)
		}
		return binary.BigEndian.AppendUint64(nil, n+1)
	}
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for i := range 50 {
				if err := s.State().Update(key, add); err != nil {
					t.Error(err)
				}
				_, err := s.Update(context.Background(), Meta{}, func(tx *Tx) error {
					old, err := tx.State(sure)
					if err != nil {
						return err
					}
					return tx.SetState(sure, add(old))
				})
				if err != nil {
					t.Error(err)
				}
				if i%10 == 0 {
					if err := s.State().Flush(context.Background()); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	expect := func(s *Store, when string) {
		t.Helper()
		for _, k := range [][]byte{key, sure} {
			v, err := s.State().Get(k)
			if err != nil || len(v) != 8 || binary.BigEndian.Uint64(v) != 800 {
				t.Errorf("%s: %s is %v, %v", when, k, v, err)
			}
		}
		n := 0
		if err := s.State().Each(nil, func(k, v []byte) bool { n++; return true }); err != nil || n != 2 {
			t.Errorf("%s: %d states, %v", when, n, err)
		}
	}
	expect(s, "at the end")
	if err := s.State().Set([]byte("late"), []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := s.State().Delete([]byte("late")); err != nil {
		t.Fatal(err)
	}
	if v, err := s.State().Get([]byte("late")); v != nil || err != nil {
		t.Errorf("a deleted state: %q, %v", v, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again := openStore(t, db.Crash(), testOptions())
	expect(again, "after a restart")
}

// What was set in memory only is there after Close; what a transaction set is there after a crash.
func TestStateDurability(t *testing.T) {
	db := memkv.New(Merger())
	s, err := Open(db, testOptions())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.State().Set([]byte("memory"), []byte("old")); err != nil {
		t.Fatal(err)
	}
	update(t, s, func(tx *Tx) error {
		if v, err := tx.State([]byte("memory")); string(v) != "old" || err != nil {
			t.Errorf("a transaction does not see the state in memory: %q, %v", v, err)
		}
		return errors.Join(tx.SetState([]byte("tx"), []byte("1")), tx.SetState([]byte("empty"), []byte{}))
	})
	after := openStore(t, db.Crash(), testOptions())
	for k, want := range map[string]string{"tx": "1", "empty": ""} {
		if v, err := after.State().Get([]byte(k)); v == nil || string(v) != want || err != nil {
			t.Errorf("%s after a crash: %q, %v", k, v, err)
		}
	}
	if v, err := after.State().Get([]byte("memory")); v != nil || err != nil {
		t.Errorf("memory after a crash: %q, %v", v, err)
	}
	s.Close()
}
