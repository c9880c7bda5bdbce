package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"portolan/internal/dit"
	"portolan/internal/kv/faultkv"
	"portolan/internal/kv/memkv"
	"portolan/ldap"
)

// loadEntry adds an entry to a load.
func loadEntry(l *Loader, dn string, n int, attrs ...attr) error {
	s := l.gen.schema
	norm, err := s.NormalizeDNString(nil, dn)
	if err != nil {
		return err
	}
	d := dit.NewDraft()
	parent := ""
	if l.gen.isSuffix(string(norm)) {
		d.RDN, d.NormRDN = dn, string(norm)
	} else {
		rdn, up := split(dn)
		upNorm, err := s.NormalizeDNString(nil, up)
		if err != nil {
			return err
		}
		parent = string(upNorm)
		d.RDN, d.NormRDN = rdn, string(norm[:len(norm)-len(upNorm)-1])
	}
	d.UUID = uuid.NewSHA1(uuid.NameSpaceDNS, fmt.Append(nil, n))
	d.CSN = dit.CSN{Micros: int64(n + 1)}
	for _, a := range attrs {
		if err := setAttr(s, d, a); err != nil {
			return err
		}
	}
	e, large, err := d.Seal(l.gen.shapes, dit.SealOptions{LargeThreshold: l.s.LargeThreshold(), Trusted: true})
	if err != nil {
		return err
	}
	return l.Add(e, parent, large)
}

// contents returns what a search of everything gives: name, attributes and large values of each entry.
func contents(t testing.TB, s *Store) map[string]string {
	t.Helper()
	v := s.View()
	defer v.Close()
	c, err := v.Plan(PlanRequest{Scope: ldap.ScopeSub, Filter: compiled(s.Schema(), ldap.And())})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	out := make(map[string]string)
	for {
		e, err := c.Next()
		if err != nil {
			t.Fatal(err)
		}
		if e == nil {
			return out
		}
		name, err := v.Name(e)
		if err != nil {
			t.Fatal(err)
		}
		var text bytes.Buffer
		slots := e.Shape().Slots
		text.Write(e.Wire(0, len(slots)))
		for slot, d := range slots {
			if _, large := e.Large(slot); large {
				err := v.LargeEach(e, slot, func(key, value []byte) bool {
					fmt.Fprintf(&text, "%s %q %q\n", d, key, value)
					return true
				})
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		if found, _, err := v.Lookup(name.Norm); err != nil || found == nil || found.ID != e.ID {
			t.Errorf("%s is not found by its name: %v", name.DN, err)
		}
		if found, err := v.ByUUID(e.UUID); err != nil || found == nil || found.ID != e.ID {
			t.Errorf("%s is not found by its UUID: %v", name.DN, err)
		}
		out[name.DN] = text.String()
	}
}

// A load gives what the same entries added one by one give, however little memory it has.
func TestLoadEqualsAdds(t *testing.T) {
	for _, test := range []struct {
		entries int
		memory  int64
		workers int
	}{{300, 0, 1}, {300, minLoaderMemory, 2}, {3000, minLoaderMemory, 3}} {
		t.Run(fmt.Sprint(test), func(t *testing.T) {
			o := testOptions()
			o.Indexes, o.Schema = plannerIndexes, plannerSchema(t)
			s := openStore(t, memkv.New(Merger()), o)
			plain := openStore(t, memkv.New(Merger()), o)
			epoch := s.Epoch()
			dir := tempDir(t)
			l, err := s.NewLoader(context.Background(), LoaderOptions{Memory: test.memory, Workers: test.workers, Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			var add []func(tx *Tx) error
			put := func(n int, dn string, attrs ...attr) {
				if err := loadEntry(l, dn, n, attrs...); err != nil {
					t.Fatal(err)
				}
				add = append(add, func(tx *Tx) error {
					_, err := addEntry(tx, dn, attrs...)
					return err
				})
			}
			put(0, testSuffix, unit)
			for i := range 50 {
				put(i+1, ou(i)+","+testSuffix, unit)
			}
			for i := range test.entries {
				attrs := append(person(fmt.Sprintf("u%d", i)), attr{"mail", []string{fmt.Sprintf("mail-%d@example.com", i*7919)}},
					attr{"uidNumber", []string{fmt.Sprint(i)}}, attr{"orderedText", []string{strings.Repeat("x", 1+i%700)}})
				if i%100 == 7 {
					var members []string
					for m := range 30 {
						members = append(members, fmt.Sprintf("uid=u%d,ou=u%d,%s", i+m, m, testSuffix))
					}
					attrs = append(attrs, attr{"member", members})
				}
				put(i+100, fmt.Sprintf("uid=u%d,%s,%s", i, ou(i%50), testSuffix), attrs...)
			}
			v := s.View()
			if n, err := v.NumChildren(0); n != 0 || err != nil {
				t.Errorf("%d entries are visible before the end", n)
			}
			v.Close()
			if err := l.Finish(); err != nil {
				t.Fatal(err)
			}
			if files, _ := os.ReadDir(dir); len(files) > 0 {
				t.Errorf("%d files are left", len(files))
			}
			if l.Entries() != test.entries+51 || l.Bytes() == 0 {
				t.Errorf("%d entries, %d octets", l.Entries(), l.Bytes())
			}
			v = s.View()
			known := 0
			for i := range test.entries {
				name := fmt.Sprintf("uid=u%d,%s,%s", i, ou(i%50), testSuffix)
				id, err := v.ID(name)
				if got := l.Known(name); err != nil || id == 0 || got != id && got != 0 {
					t.Fatalf("%s: %d is known, %d is there, %v", name, got, id, err)
				} else if got == id {
					known++
				}
			}
			v.Close()
			if all := test.memory == 0; all && known < test.entries || known == 0 {
				t.Errorf("%d of %d are known", known, test.entries)
			}
			if id := l.Known("uid=nobody," + testSuffix); id != 0 {
				t.Errorf("nobody is known as %d", id)
			}
			runs := 0
			for _, w := range l.workers {
				runs += w.sorter.next
			}
			if (test.memory == minLoaderMemory) != (runs > 0) {
				t.Errorf("%d runs were spilled", runs)
			}
			update(t, plain, func(tx *Tx) error {
				for _, f := range add {
					if err := f(tx); err != nil {
						return err
					}
				}
				return nil
			})
			checkClean(t, s)
			got, want := contents(t, s), contents(t, plain)
			if len(got) != len(want) {
				t.Fatalf("%d entries, want %d", len(got), len(want))
			}
			for dn, text := range want {
				if got[dn] != text {
					t.Errorf("%s: %q, want %q", dn, got[dn], text)
				}
			}
			if s.Epoch() == epoch {
				t.Error("no new epoch was begun")
			}
			if csn := s.LastCSN(); csn.Compare(dit.CSN{Micros: int64(test.entries + 100)}) <= 0 {
				t.Errorf("the next CSN would not be above those of the entries: %v", csn)
			}
			// The store goes on from there.
			addAll(t, s, "uid=later,"+testSuffix)
			checkClean(t, s)
			if _, err := s.NewLoader(context.Background(), LoaderOptions{}); !errors.Is(err, ErrNotEmpty) {
				t.Errorf("a second load: %v", err)
			}
		})
	}
}

func TestLoadErrors(t *testing.T) {
	tests := []struct {
		name string
		load func(l *Loader) error
		code ldap.ResultCode
		want string
	}{
		{"parent missing", func(l *Loader) error { return loadEntry(l, "uid=a,ou=none,"+testSuffix, 1, person("a")...) }, ldap.NoSuchObject, "ou=none"},
		{"no suffix", func(l *Loader) error {
			d := dit.NewDraft()
			d.RDN, d.NormRDN, d.UUID = "o=else", "o=else", uuid.New()
			e, _, err := d.Seal(l.gen.shapes, dit.SealOptions{Trusted: true})
			if err != nil {
				return err
			}
			return l.Add(e, "", nil)
		}, ldap.NoSuchObject, "o=else"},
		{"twice", func(l *Loader) error {
			return errors.Join(loadEntry(l, "uid=a,"+testSuffix, 1, person("a")...), loadEntry(l, "uid=A,"+testSuffix, 2, person("a")...))
		}, ldap.EntryAlreadyExists, "uid=a," + testSuffix},
		{"twice, far apart", func(l *Loader) error {
			if err := loadEntry(l, "uid=a,"+testSuffix, 1, person("a")...); err != nil {
				return err
			}
			if err := l.names.spill(); err != nil {
				return err
			}
			if err := loadEntry(l, "uid=A,"+testSuffix, 2, person("a")...); err != nil {
				return err
			}
			return l.Finish()
		}, ldap.EntryAlreadyExists, "uid=a"},
		{"same UUID", func(l *Loader) error {
			if err := errors.Join(loadEntry(l, "uid=a,"+testSuffix, 1, person("a")...), loadEntry(l, "uid=b,"+testSuffix, 1, person("b")...)); err != nil {
				return err
			}
			return l.Finish()
		}, ldap.EntryAlreadyExists, "entryUUID"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := memStore(t)
			dir := tempDir(t)
			l, err := s.NewLoader(context.Background(), LoaderOptions{Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			if err := loadEntry(l, testSuffix, 0, unit); err != nil {
				t.Fatal(err)
			}
			err = test.load(l)
			var e *ldap.Error
			if !errors.As(err, &e) || e.Code != test.code || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %v with %q", err, test.code, test.want)
			}
			if err := l.Abort(); err != nil {
				t.Error(err)
			}
			if l.Finish() == nil || l.Add(nil, "", nil) == nil {
				t.Error("a load that failed can be finished")
			}
			if files, _ := os.ReadDir(dir); len(files) > 0 {
				t.Errorf("%d files are left", len(files))
			}
			// The store is as empty as before and of use.
			addAll(t, s, testSuffix, "uid=x,"+testSuffix)
			checkClean(t, s)
		})
	}
}

// Whatever fails while a load is moved in, and when: either all is there or nothing, now and after the next start.
func TestLoadIsAllOrNothing(t *testing.T) {
	boom := errors.New("boom")
	for _, op := range []faultkv.Op{faultkv.Apply, faultkv.Sync, faultkv.BulkFinish} {
		for n := 1; n <= 8; n++ {
			mem := memkv.New(Merger())
			db := faultkv.Wrap(mem, nil)
			s, err := Open(db, testOptions())
			if err != nil {
				t.Fatal(err)
			}
			l, err := s.NewLoader(context.Background(), LoaderOptions{Dir: tempDir(t)})
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(loadEntry(l, testSuffix, 0, unit), loadEntry(l, "uid=a,"+testSuffix, 1, person("a")...)); err != nil {
				t.Fatal(err)
			}
			db.SetFault(faultkv.Nth(op, db.Count(op)+n, boom))
			failed := l.Finish()
			db.SetFault(nil)
			if failed != nil && !errors.Is(failed, boom) && !errors.Is(failed, ErrFailed) {
				t.Fatalf("%v %d: %v", op, n, failed)
			}
			crashed := mem.Crash()
			s.Close()
			again := openStore(t, crashed, testOptions())
			entries := len(contents(t, again))
			if entries != 0 && entries != 2 || (failed == nil && entries != 2) {
				t.Errorf("%v %d: %d entries after %v", op, n, entries, failed)
			}
			checkClean(t, again)
			if entries == 0 {
				addAll(t, again, testSuffix)
				checkClean(t, again)
			}
		}
	}
}

func TestLoadEndsWithItsContext(t *testing.T) {
	s := memStore(t)
	ctx, cancel := context.WithCancel(context.Background())
	l, err := s.NewLoader(ctx, LoaderOptions{Dir: tempDir(t)})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := loadEntry(l, testSuffix, 0, unit); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := l.Finish(); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestPostingSorterAgainstModel(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		xs := []*index{{id: 1, kind: IndexEquality}, {id: 2, kind: IndexSubstring}}
		s := newPostingSorter(dir, 1<<30)
		defer s.remove()
		model := make(map[string][]byte)
		var chunks = make(map[string]*wordSet)
		id := dit.ID(1)
		keys := rapid.SliceOfN(rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 2, 'a', 0xff}), 0, 12), 1, 20).Draw(t, "keys")
		for range rapid.IntRange(0, 60).Draw(t, "adds") {
			x := rapid.SampledFrom(xs).Draw(t, "index")
			key := rapid.SampledFrom(keys).Draw(t, "key")
			id += dit.ID(rapid.SampledFrom([]int{0, 1, 2, 300, 70_000}).Draw(t, "step"))
			run := rapid.SampledFrom([]int{1, 1, 100, listMax + 5}).Draw(t, "run")
			for range run {
				if err := s.add(x, x.kind, key, id); err != nil {
					t.Fatal(err)
				}
				chunk, low := splitID(id)
				k := string(appendChunkNumber(appendPosting(nil, x, x.kind, key), chunk))
				if chunks[k] == nil {
					chunks[k] = new(wordSet)
				}
				chunks[k].set(low)
				id++
			}
			if rapid.IntRange(0, 9).Draw(t, "spill") == 0 {
				if err := s.spillTables(); err != nil {
					t.Fatal(err)
				}
			}
			if rapid.IntRange(0, 19).Draw(t, "collapse") == 0 && len(s.runs) > 1 {
				if err := s.collapse(rapid.IntRange(0, len(s.runs)-2).Draw(t, "from")); err != nil {
					t.Fatal(err)
				}
			}
		}
		for k, w := range chunks {
			model[k] = w.appendChunk(nil)
		}
		sources, err := s.whole().sources()
		if err != nil {
			t.Fatal(err)
		}
		last := ""
		err = mergePostingRuns(sources, func(key, value []byte) error {
			if string(key) <= last {
				return fmt.Errorf("%x comes after %x", key, last)
			}
			last = string(key)
			if !bytes.Equal(model[last], value) {
				return fmt.Errorf("%x: %d octets, want %d", key, len(value), len(model[last]))
			}
			delete(model, last)
			return nil
		})
		if err != nil || len(model) > 0 {
			t.Fatalf("%v; %d postings are missing", err, len(model))
		}
	})
}

func TestNameTableAgainstModel(t *testing.T) {
	dir := t.TempDir()
	n := newNameTable(dir, 0)
	defer n.remove()
	const names = 5 * minNameSlots
	for i := range names {
		fresh, err := n.add(fmt.Sprintf("uid=%d", i), dit.ID(i+1))
		if err != nil || !fresh {
			t.Fatal(i, fresh, err)
		}
	}
	if len(n.files) < 3 {
		t.Errorf("%d files", len(n.files))
	}
	for i := range names + 100 {
		want := dit.ID(i + 1)
		if i >= names {
			want = 0
		}
		if id, err := n.find(fmt.Sprintf("uid=%d", i)); id != want || err != nil {
			t.Fatalf("uid=%d: %d, %v", i, id, err)
		}
	}
	if fresh, err := n.add(fmt.Sprintf("uid=%d", names-1), 7); fresh || err != nil {
		t.Error("a name that is in the table was taken again")
	}
}

func TestRecordSorter(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		s := recordSorter{runSet: runSet{dir: dir}, limit: 2048}
		defer s.runSet.remove()
		var want []string
		for i := range rapid.IntRange(0, 400).Draw(t, "records") {
			key := append([]byte{rapid.SampledFrom([]byte("nu")).Draw(t, "space")}, rapid.SliceOfN(rapid.Byte(), 8, 24).Draw(t, "key")...)
			want = append(want, fmt.Sprintf("%x %d", key, i))
			if err := s.add(key, uint64(i)); err != nil {
				t.Fatal(err)
			}
		}
		slices.Sort(want)
		m, err := s.merge()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		var last []byte
		for top := m.top(); top != nil; top = m.top() {
			if bytes.Compare(top.key(), last) < 0 {
				t.Fatal("out of order")
			}
			last = append(last[:0], top.key()...)
			id, _ := readID(top.data())
			got = append(got, fmt.Sprintf("%x %d", top.key(), id))
			if err := m.advance(); err != nil {
				t.Fatal(err)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Fatalf("%d records, want %d", len(got), len(want))
		}
	})
}
