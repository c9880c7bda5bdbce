package store

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"portolan/internal/dit"
)

// The cache keeps what is read, forgets what is not, and stays within its limit.
func TestEntryCacheKeepsItsLimit(t *testing.T) {
	entry := func(id dit.ID) *dit.Entry { return &dit.Entry{ID: id, RDN: fmt.Sprintf("uid=u%d", id)} }
	weight := entryWeight(entry(100))
	c := newEntryCache(1000 * weight)
	var stamp atomic.Uint64
	const hot = 300
	for id := dit.ID(1); id <= 20_000; id++ {
		c.fill(entry(id), &stamp, 1)
		if id > hot && id%50 == 0 {
			for h := dit.ID(1); h <= hot; h++ {
				if c.get(h) == nil {
					t.Fatalf("entry %d was read again and again, and was dropped after %d others", h, id)
				}
			}
		}
		if w := c.weight.Load(); w > c.limit+2*weight {
			t.Fatalf("%d octets after %d entries, the limit is %d", w, id, c.limit)
		}
	}
	if c.get(dit.ID(1000)) != nil {
		t.Error("an entry that nobody read outlived ten times the limit of others")
	}
	if c.get(20_000) == nil {
		t.Error("the newest entry is gone")
	}
	pages := 0
	for i := range *c.directory.Load() {
		if (*c.directory.Load())[i].Load() != nil {
			pages++
		}
	}
	if pages > 10 {
		t.Errorf("%d pages for 1000 entries: empty ones are not dropped", pages)
	}
	c.set(1, nil)
	if c.get(1) != nil {
		t.Error("a removed entry is there")
	}
	c.clear()
	if w, n := c.weight.Load(), c.count.Load(); w != 0 || n != 0 {
		t.Errorf("%d octets in %d entries after clear", w, n)
	}
}

// A fill that a commit has overtaken does nothing, whatever goes on beside it.
func TestEntryCacheNeverGoesBack(t *testing.T) {
	c := newEntryCache(1 << 20)
	var stamp, current atomic.Uint64
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			for range 20_000 {
				at := current.Load() // a view
				c.fill(&dit.Entry{ID: 7, Seq: at}, &stamp, at)
				after := current.Load()
				if e := c.get(7); e != nil && e.Seq < at {
					t.Errorf("an entry of %d was read after %d, before %d", e.Seq, at, after)
					return
				}
			}
		})
	}
	for seq := uint64(1); seq <= 20_000; seq++ {
		stamp.Store(seq)
		if seq%3 == 0 {
			c.set(7, nil)
		} else {
			c.set(7, &dit.Entry{ID: 7, Seq: seq})
		}
		current.Store(seq)
	}
	wait.Wait()
}

// The table answers what it was told last or nothing at all, however full it is.
func TestIDTableAgainstMap(t *testing.T) {
	table := newIDTable(64<<10, 0)
	var stamp atomic.Uint64
	want := make(map[string]dit.ID)
	r := rand.New(rand.NewPCG(1, 2))
	hits := 0
	for seq := uint64(1); seq <= 200_000; seq++ {
		key := fmt.Sprint("k", r.IntN(3000))
		k := table.key(kindIndex, key)
		switch r.IntN(4) {
		case 0:
			id := dit.ID(r.IntN(1 << 20))
			table.remove(k)
			table.fill(k, id, seq, &stamp)
			want[key] = id
		case 1:
			table.remove(k)
			delete(want, key)
		default:
			id, _, ok := table.get(k)
			if there, known := want[key]; ok && (!known || there != id) {
				t.Fatalf("%s: %d, want %d (%v)", key, id, there, known)
			}
			if ok {
				hits++
			}
		}
	}
	if hits < 10_000 {
		t.Errorf("only %d hits", hits)
	}
	if octets := table.octets(); octets > 64<<10 {
		t.Errorf("%d octets, asked for 64 KiB", octets)
	}
	if _, _, ok := table.get(table.key(kindPlace, "k1")); ok {
		t.Error("keys of different kinds are one")
	}
}

func TestIDTableTakesNothingOvertaken(t *testing.T) {
	table := newIDTable(1<<20, 0)
	var stamp atomic.Uint64
	k := table.key(kindName, "x")
	stamp.Store(5)
	table.fill(k, 1, 4, &stamp)
	if _, _, ok := table.get(k); ok {
		t.Fatal("an overtaken answer was taken")
	}
	table.fill(k, 1, 5, &stamp)
	table.fill(k, 2, 4)
	if id, seq, ok := table.get(k); !ok || id != 1 || seq != 5 {
		t.Fatal(id, seq, ok)
	}
}

// Readers beside a writer see whole answers.
func TestIDTableConcurrently(t *testing.T) {
	table := newIDTable(32<<10, 0)
	var stamp atomic.Uint64
	const keys = 2000
	// The id under a key is always its number plus a multiple of keys.
	var wait sync.WaitGroup
	var done atomic.Bool
	for g := range 3 {
		wait.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 1))
			for !done.Load() {
				n := r.IntN(keys)
				if id, _, ok := table.get(table.key(kindIndex, fmt.Sprint(n))); ok && int(id)%keys != n {
					t.Errorf("key %d has id %d", n, id)
					return
				}
			}
		})
	}
	for i := range 200_000 {
		n := i % keys
		k := table.key(kindIndex, fmt.Sprint(n))
		table.remove(k)
		table.fill(k, dit.ID(n+keys*(i/keys)), uint64(i), &stamp)
	}
	done.Store(true)
	wait.Wait()
}

// A table that grows keeps what it has, and forgets nothing that is told it meanwhile.
func TestIDTableGrows(t *testing.T) {
	table := newIDTable(16<<20, 0)
	var stamp atomic.Uint64
	const each, writers = 30_000, 4
	var wait sync.WaitGroup
	for w := range writers {
		wait.Go(func() {
			for i := range each {
				k := table.key(kindIndex, fmt.Sprint(w, " ", i))
				table.fill(k, dit.ID(i), 1, &stamp)
				switch i % 3 {
				case 0:
					table.remove(k)
				case 1:
					table.remove(k)
					table.fill(k, dit.ID(i+1), 2, &stamp)
				}
			}
		})
	}
	wait.Wait()
	var filled, kept int64
	look := func(table *idTable) {
		t.Helper()
		filled, kept = 0, 0
		for w := range writers {
			for i := range each {
				id, _, ok := table.get(table.key(kindIndex, fmt.Sprint(w, " ", i)))
				switch {
				case i%3 == 0 && ok:
					t.Fatalf("%d %d was removed, and is there", w, i)
				case ok && id != dit.ID(i+i%3%2):
					t.Fatalf("%d %d: %d", w, i, id)
				case ok:
					kept++
				}
				if i%3 != 0 {
					filled++
				}
			}
		}
		if n := table.filled.Load(); n != kept {
			t.Errorf("it counts %d keys, and has %d", n, kept)
		}
	}
	look(table)
	// While a writer that makes the table larger gets no turn, others push each other out of the smaller one: how many are left
	// says something about this machine. One writer alone finds room for what it fills in.
	refill := func(table *idTable) {
		for w := range writers {
			for i := range each {
				if i%3 != 0 {
					table.fill(table.key(kindIndex, fmt.Sprint(w, " ", i)), dit.ID(i+i%3%2), 2, &stamp)
				}
			}
		}
		look(table)
		if kept < filled*85/100 { // keys do not spread evenly: a bucket may be full
			t.Errorf("%d of %d keys are left", kept, filled)
		}
	}
	refill(newIDTable(16<<20, 0))
	for range 2 { // what is pushed out before the table has its size comes in then
		refill(table)
	}
	if octets := table.octets(); octets > 4<<20 {
		t.Errorf("%d octets for %d keys", octets, kept)
	}
	sized := newIDTable(16<<20, filled)
	if sized.octets() != table.octets() {
		t.Errorf("a table made for %d keys takes %d octets, one that grew %d", filled, sized.octets(), table.octets())
	}
}

func TestIDTableForgetsWhileItGrows(t *testing.T) {
	table := newIDTable(4<<20, 0)
	var stamp atomic.Uint64
	var seq atomic.Uint64
	var wait sync.WaitGroup
	for range 3 {
		wait.Go(func() {
			for i := range 30_000 {
				at := seq.Load()
				table.fill(table.key(kindName, fmt.Sprint(i)), dit.ID(at), at, &stamp)
			}
		})
	}
	for at := uint64(1); at <= 200; at++ {
		stamp.Store(at)
		table.forget()
		for i := range 200 {
			if id, _, ok := table.get(table.key(kindName, fmt.Sprint(i))); ok && uint64(id) < at {
				t.Fatalf("%d of %d is there, all before %d was forgotten", i, id, at)
			}
		}
		seq.Store(at)
	}
	wait.Wait()
}

// A table that is as full as it may get before it grows has room for nearly everything: what it pushes out is read from the kv
// again and again, for fifty times the work of a hit.
func TestIDTableHoldsWhatItPromises(t *testing.T) {
	table := newIDTable(1<<20, 1<<20)
	keys := int(crowded(len(*table.buckets.Load())))
	for range 2 {
		for i := range keys {
			table.fill(table.key(kindIndex, fmt.Sprint(i)), dit.ID(i), 1)
		}
	}
	lost := 0
	for i := range keys {
		if _, _, ok := table.get(table.key(kindIndex, fmt.Sprint(i))); !ok {
			lost++
		}
	}
	if lost > keys/100 {
		t.Errorf("%d of %d keys found no room", lost, keys)
	}
}
