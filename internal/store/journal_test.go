package store

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"portolan/internal/dit"
	"portolan/internal/kv"
	"portolan/internal/kv/memkv"
)

func records(t testing.TB, s *Store, from uint64) (out []*Record) {
	t.Helper()
	if err := s.ReadJournal(from, func(r *Record) bool { out = append(out, r); return true }); err != nil {
		t.Fatal(err)
	}
	return out
}

func values(v ...string) (out [][]byte) {
	for _, s := range v {
		out = append(out, []byte(s))
	}
	return out
}

// The journal says what happened, in terms that mean the same anywhere.
func TestJournalRecords(t *testing.T) {
	s := memStore(t)
	meta := Meta{Author: "cn=a", AuthzID: "dn:cn=a", Session: "conn=1 op=2"}
	var root, e *dit.Entry
	steps := []func(tx *Tx) error{
		func(tx *Tx) (err error) { root, err = addEntry(tx, testSuffix, unit); return err },
		func(tx *Tx) (err error) {
			e, err = addEntry(tx, "ou=a,"+testSuffix, unit, attr{"description", []string{"one", "two"}})
			return err
		},
		func(tx *Tx) (err error) {
			e, err = modifyEntry(tx, e, attr{"description", []string{"two", "three"}})
			return err
		},
		func(tx *Tx) (err error) { e, err = moveEntry(tx, e, e.Parent, "ou=b"); return err },
		func(tx *Tx) (err error) {
			e, err = modifyEntry(tx, e, attr{"member", []string{"cn=1", "cn=2", "cn=3", "cn=4", "cn=5", "cn=6", "cn=7", "cn=8", "cn=9"}})
			return err
		},
		func(tx *Tx) error {
			d := e.Edit(tx)
			d.CSN = tx.NextCSN()
			desc, err := tx.Schema().DescribeString("member")
			if err == nil {
				err = d.Delete(tx.Schema(), desc, values("CN=3"), false)
			}
			if err == nil {
				err = d.Add(tx.Schema(), desc, values("cn=10"), false)
			}
			if err == nil {
				e, err = sealAndPut(tx, d)
			}
			return err
		},
		func(tx *Tx) error { _, err := tx.Remove(e); return err },
		func(tx *Tx) error { _, err := tx.Remove(root); return err },
	}
	var commits []Commit
	for _, step := range steps {
		c, err := s.Update(context.Background(), meta, step)
		if err != nil {
			t.Fatal(err)
		}
		commits = append(commits, c)
	}
	const dnA, dnB = "ou=a," + testSuffix, "ou=b," + testSuffix
	class := func(added bool) AttrDelta {
		if added {
			return AttrDelta{Description: "objectClass", Added: values("top", "organizationalUnit")}
		}
		return AttrDelta{Description: "objectClass", Deleted: values("top", "organizationalUnit")}
	}
	nine := values("cn=1", "cn=2", "cn=3", "cn=4", "cn=5", "cn=6", "cn=7", "cn=8", "cn=9")
	want := [][]RecordChange{
		{{Kind: dit.ChangeAdd, UUID: root.UUID, NewDN: testSuffix,
			Attrs: []AttrDelta{class(true), {Description: "dc", Added: values("example")}}}},
		{{Kind: dit.ChangeAdd, UUID: e.UUID, Parent: root.UUID, NewDN: dnA,
			Attrs: []AttrDelta{class(true), {Description: "description", Added: values("one", "two")}, {Description: "ou", Added: values("a")}}}},
		{{Kind: dit.ChangeModify, UUID: e.UUID, Parent: root.UUID, OldDN: dnA, NewDN: dnA,
			Attrs: []AttrDelta{{Description: "description", Deleted: values("one"), Added: values("three")}}}},
		{{Kind: dit.ChangeRename, UUID: e.UUID, Parent: root.UUID, OldDN: dnA, NewDN: dnB,
			Attrs: []AttrDelta{{Description: "ou", Added: values("b")}}}},
		{{Kind: dit.ChangeModify, UUID: e.UUID, Parent: root.UUID, OldDN: dnB, NewDN: dnB,
			Attrs: []AttrDelta{{Description: "member", Large: true, Clear: true, Added: nine}}}},
		{{Kind: dit.ChangeModify, UUID: e.UUID, Parent: root.UUID, OldDN: dnB, NewDN: dnB,
			Attrs: []AttrDelta{{Description: "member", Large: true, Deleted: values("cn=3"), Added: values("cn=10")}}}},
		{{Kind: dit.ChangeDelete, UUID: e.UUID, Parent: root.UUID, OldDN: dnB,
			Attrs: []AttrDelta{class(false), {Description: "description", Deleted: values("two", "three")},
				{Description: "ou", Deleted: values("a", "b")}, {Description: "member", Large: true, Clear: true}}}},
		{{Kind: dit.ChangeDelete, UUID: root.UUID, OldDN: testSuffix,
			Attrs: []AttrDelta{class(false), {Description: "dc", Deleted: values("example")}}}},
	}
	got := records(t, s, 0)
	if len(got) != len(want) {
		t.Fatalf("%d records, want %d", len(got), len(want))
	}
	byName := func(a, b AttrDelta) int {
		if a.Description < b.Description {
			return -1
		}
		return 1
	}
	for i, r := range got {
		for n := range r.Changes {
			if i < 6 && r.Changes[n].CSN.IsZero() || r.Changes[n].CSN.Compare(r.CSN) > 0 {
				t.Errorf("record %d: change %d has CSN %s", i, n, r.Changes[n].CSN)
			}
			r.Changes[n].CSN = dit.CSN{}
			slices.SortFunc(r.Changes[n].Attrs, byName)
			slices.SortFunc(want[i][n].Attrs, byName)
		}
		if diff := cmp.Diff(want[i], r.Changes); diff != "" {
			t.Errorf("record %d (-want +got):\n%s", i, diff)
		}
		if r.Kind != RecordTransaction || r.Seq != commits[i].Seq || r.CSN != commits[i].CSN || r.Meta != meta || r.Epoch != s.Epoch() || r.Time.IsZero() {
			t.Errorf("record %d: %+v, commit %+v", i, r, commits[i])
		}
	}
	if tail := records(t, s, 5); len(tail) != 4 || tail[0].Seq != 5 {
		t.Errorf("from 5: %d records", len(tail))
	}
	if tail := records(t, s, 9); len(tail) != 0 {
		t.Errorf("from behind the end: %d records", len(tail))
	}
	checkClean(t, s)
}

// Sequences go on without a gap and CSNs rise, over restarts and a clock that was set back.
func TestJournalOverRestarts(t *testing.T) {
	db := memkv.New(Merger())
	c := newClock()
	o := testOptions()
	o.Now, o.SID = c.Now, 0x2a
	var last Commit
	var epoch uuid.UUID
	for run := range 4 {
		s, err := Open(db, o)
		if err != nil {
			t.Fatal(err)
		}
		if run == 0 {
			epoch = s.Epoch()
			addAll(t, s, testSuffix)
			last = Commit{Seq: 1, CSN: s.LastCSN()}
		}
		if s.Epoch() != epoch {
			t.Fatal("a restart is another epoch")
		}
		for i := range 3 {
			now := update(t, s, func(tx *Tx) error {
				a, b := tx.NextCSN(), tx.NextCSN()
				if a.Compare(last.CSN) <= 0 || b.Compare(a) <= 0 || b.Mod != a.Mod+1 || a.SID != 0x2a {
					t.Errorf("CSNs %s, %s after %s", a, b, last.CSN)
				}
				_, err := addEntry(tx, ou(10*run+i)+","+testSuffix, unit)
				return err
			})
			if now.Seq != last.Seq+1 || now.CSN.Compare(last.CSN) <= 0 || s.LastCSN() != now.CSN {
				t.Fatalf("%d %s after %d %s", now.Seq, now.CSN, last.Seq, last.CSN)
			}
			last = now
		}
		c.step(-time.Hour)
		checkClean(t, s)
		db = db.Crash()
		s.Close()
	}
	s := openStore(t, db, o)
	if first, end := s.JournalBounds(); first != 1 || end != last.Seq {
		t.Fatalf("bounds %d, %d", first, end)
	}
	for i, r := range records(t, s, 0) {
		if r.Seq != uint64(i+1) {
			t.Fatalf("record %d in place %d", r.Seq, i)
		}
	}
}

func TestRetention(t *testing.T) {
	c := newClock()
	o := testOptions()
	o.Now = c.Now
	o.Journal = Retention{MaxAge: time.Hour, MaxBytes: 4000}
	db := memkv.New(Merger())
	s := openStore(t, db, o)
	addAll(t, s, testSuffix)
	for i := range 50 {
		addAll(t, s, ou(i)+","+testSuffix)
	}
	trim := func() (first, last uint64) {
		t.Helper()
		if err := s.TrimJournal(context.Background()); err != nil {
			t.Fatal(err)
		}
		return s.JournalBounds()
	}
	first, last := trim()
	if first == 1 || last != 51 {
		t.Fatalf("by size: %d to %d", first, last)
	}
	kept := records(t, s, 0)
	size := 0
	for _, r := range kept {
		b, err := s.db.Get(nil, journalKey(nil, r.Seq))
		if err != nil {
			t.Fatal(err)
		}
		size += len(b)
	}
	if size > 4000 || size < 3000 || kept[0].Seq != first {
		t.Fatalf("%d octets from %d on are kept", size, kept[0].Seq)
	}
	if err := s.ReadJournal(1, func(*Record) bool { return true }); !errors.Is(err, ErrTrimmed) {
		t.Fatalf("from 1: %v", err)
	}
	c.step(59 * time.Minute)
	if again, _ := trim(); again != first {
		t.Fatalf("before the time: %d", again)
	}
	addAll(t, s, "ou=new,"+testSuffix)
	c.step(10 * time.Minute)
	if first, last = trim(); first != 52 || last != 52 {
		t.Fatalf("by age: %d to %d", first, last)
	}
	c.step(24 * time.Hour)
	if first, last = trim(); first != 52 || last != 52 {
		t.Fatalf("the newest record is to stay: %d to %d", first, last)
	}
	checkClean(t, s)
	after := openStore(t, db.Crash(), o)
	if first, last = after.JournalBounds(); first != 52 || last != 52 {
		t.Fatalf("after a restart: %d to %d", first, last)
	}
}

func TestWaitJournal(t *testing.T) {
	s := memStore(t)
	ctx, cancel := context.WithCancel(context.Background())
	waited := make(chan error, 1)
	go func() { waited <- s.WaitJournal(ctx, 0) }()
	addAll(t, s, testSuffix)
	if err := <-waited; err != nil {
		t.Fatal(err)
	}
	go func() { waited <- s.WaitJournal(ctx, 1) }()
	cancel()
	if err := <-waited; err != context.Canceled {
		t.Fatal(err)
	}
}

// A bulk load begins an epoch.
func TestInstallBase(t *testing.T) {
	db := memkv.New(Merger())
	s := openStore(t, db, testOptions())
	addAll(t, s, testSuffix)
	update(t, s, func(tx *Tx) error { _, err := tx.Remove(mustFind(t, s, testSuffix)); return err })
	epoch, csn := s.Epoch(), s.LastCSN()
	high := csn
	high.Micros += 1e9
	err := s.exclusive(context.Background(), func() error { return s.installBase(base{Entries: 0, NextID: 100, CSN: high}) })
	if err != nil {
		t.Fatal(err)
	}
	if s.Epoch() == epoch || s.LastCSN().Compare(high) <= 0 {
		t.Fatalf("epoch %s, CSN %s", s.Epoch(), s.LastCSN())
	}
	got := records(t, s, 0)
	if len(got) != 1 || got[0].Kind != RecordBase || got[0].Seq != 3 || got[0].Epoch != s.Epoch() {
		t.Fatalf("%+v", got)
	}
	addAll(t, s, testSuffix)
	if e := mustFind(t, s, testSuffix); e.ID != 100 || e.Seq != 4 {
		t.Fatalf("the next entry is %d of %d", e.ID, e.Seq)
	}
	checkClean(t, s)
	after := openStore(t, db.Crash(), testOptions())
	if first, last := after.JournalBounds(); first != 3 || last != 4 || after.Epoch() != s.Epoch() {
		t.Fatalf("%d to %d of %s", first, last, after.Epoch())
	}
}

func TestFormats(t *testing.T) {
	db := memkv.New(Merger())
	s, err := Open(db, testOptions())
	if err != nil {
		t.Fatal(err)
	}
	addAll(t, s, testSuffix)

	// The ladder is climbed step by step, once.
	var climbed []uint32
	step := func(v uint32) format {
		return format{v, "test", func(kv.DB, kv.Batch) error { climbed = append(climbed, v); return nil }}
	}
	for range 2 {
		if err := s.upgrade([]format{step(1), step(2), step(3), step(4)}); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(climbed, []uint32{3, 4}) {
		t.Fatalf("climbed %v", climbed)
	}
	failing := format{5, "fails", func(kv.DB, kv.Batch) error { return errors.New("boom") }}
	if err := s.upgrade([]format{step(1), step(2), step(3), step(4), failing}); err == nil {
		t.Fatal("a failing step passed")
	}
	// Who only reads can do without steps that change nothing.
	plain := format{3, "plain", nil}
	if !readable([]format{step(1), step(2), plain}, 2) || readable([]format{step(1), step(2), plain, step(4)}, 2) {
		t.Fatal("the wrong ladder can be read without a climb")
	}
	if v, err := s.formatVersion(); v != 4 || err != nil {
		t.Fatalf("format %d, %v", v, err)
	}

	newer := db.Crash()
	s.Close()
	_, err = Open(newer, testOptions())
	var e ErrNewerFormat
	if !errors.As(err, &e) || e.Have != 4 || e.Want != 2 {
		t.Fatalf("opened a newer format: %v", err)
	}
	if _, err := newer.Get(nil, metaKey(metaFormat)); !errors.Is(err, kv.ErrClosed) {
		t.Fatal("the kv was not closed")
	}
}

func TestOpenForeignData(t *testing.T) {
	for name, test := range map[string]struct {
		key   string
		value []byte
	}{
		"keys without format": {"zzz", []byte("x")},
		"short format":        {"mformat", []byte("x")},
	} {
		db := memkv.New(Merger())
		b := db.NewBatch()
		if err := errors.Join(b.Set([]byte(test.key), test.value), db.Apply(b)); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(db, testOptions()); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOptions(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"no schema":     func(o *Options) { o.Schema = nil },
		"large sid":     func(o *Options) { o.SID = 0x1000 },
		"negative":      func(o *Options) { o.MaxChanges = -1 },
		"bad suffix":    func(o *Options) { o.Suffixes = []string{"nonsense"} },
		"empty suffix":  func(o *Options) { o.Suffixes = []string{""} },
		"suffix twice":  func(o *Options) { o.Suffixes = []string{"dc=a", "DC=A"} },
		"unknown index": func(o *Options) { o.Indexes = []IndexSpec{{Attribute: "nosuch", Kind: IndexEquality}} },
	} {
		o := testOptions()
		change(&o)
		if s, err := Open(memkv.New(Merger()), o); err == nil {
			t.Errorf("%s: opened", name)
			s.Close()
		}
	}
}

func FuzzDecodeRecord(f *testing.F) {
	s, err := Open(memkv.New(Merger()), testOptions())
	if err != nil {
		f.Fatal(err)
	}
	addAll(f, s, testSuffix, "uid=a,"+testSuffix)
	if err := s.exclusive(context.Background(), func() error { return s.installBase(base{NextID: 9}) }); err != nil {
		f.Fatal(err)
	}
	addAll(f, s, "uid=b,"+testSuffix)
	first, last := s.JournalBounds()
	for seq := first; seq <= last; seq++ {
		b, err := s.db.Get(nil, journalKey(nil, seq))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	if err := s.Close(); err != nil {
		f.Fatal(err)
	}
	f.Add(binary.BigEndian.AppendUint64([]byte{1, 1}, 1<<63))
	f.Fuzz(func(t *testing.T, b []byte) {
		rec, err := DecodeRecord(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		n := 0
		for _, c := range rec.Changes {
			for _, a := range c.Attrs {
				n += len(a.Added) + len(a.Deleted) + 1
			}
		}
		if n+len(rec.Changes) > len(b) {
			t.Fatalf("%d octets gave %d values", len(b), n)
		}
	})
}
