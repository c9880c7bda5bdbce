package kvtest

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"portolan/internal/kv"
)

func testGet(t *testing.T, open Open) {
	db := openNew(t, open)
	pairs := []pair{
		{"a", "1"}, {"empty", ""}, {"\x00", "nul"}, {"\xff\xff\xff", "high"}, {"a\x00", "longer"},
		{strings.Repeat("k", 3000), strings.Repeat("v", 100_000)},
	}
	apply(t, db, func(b kv.Batch) {
		for _, p := range pairs {
			must(t, b.Set([]byte(p.key), []byte(p.value)))
		}
	})
	for _, p := range pairs {
		wantGet(t, db, p.key, p.value)
	}
	for _, k := range []string{"b", "\x00\x00", "\xff\xff", "A", "", strings.Repeat("k", 2999)} {
		wantGet(t, db, k, absent)
	}
	got, err := db.Get([]byte("prefix:"), []byte("a"))
	if must(t, err); string(got) != "prefix:1" {
		t.Errorf("Get does not append to dst: %q", got)
	}
	got, err = db.Get([]byte("prefix:"), []byte("none"))
	if wantErr(t, "Get of a missing key", err, kv.ErrNotFound); string(got) != "prefix:" {
		t.Errorf("Get of a missing key changed dst to %q", got)
	}
	set(t, db, "a")
	wantGet(t, db, "a", "=a")
}

// testCopies: what is given in may be reused, what is handed out by Get is the caller's.
func testCopies(t *testing.T, open Open) {
	db := openNew(t, open)
	key, value, hi := []byte("key"), []byte("value"), []byte("z")
	apply(t, db, func(b kv.Batch) {
		must(t, b.Set(key, value))
		copy(key, "xxx")
		copy(value, "xxxxx")
		wantGet(t, b, "key", "value")
		copy(key, "mrg")
		must(t, b.Merge(key, value[:2]))
		copy(key, "xxx")
		copy(value, "yyyyy")
		wantGet(t, b, "mrg", "<mrg>|xx")
		must(t, b.Set([]byte("y"), nil))
		lo := []byte("x")
		must(t, b.DeleteRange(lo, hi))
		copy(lo, "a")
		copy(hi, "b")
		wantGet(t, b, "y", absent)
	})
	wantKeys(t, db, "key mrg")
	wantGet(t, db, "key", "value")
	got, err := db.Get(nil, []byte("key"))
	must(t, err)
	copy(got, "VALUE")
	wantGet(t, db, "key", "value")

	lo, hi := []byte("k"), []byte("l")
	it, err := db.Iter(lo, hi)
	must(t, err)
	defer it.Close()
	copy(lo, "x")
	copy(hi, "a")
	if !it.First() || string(it.Key()) != "key" {
		t.Error("an iterator keeps its bounds in the caller's memory")
	}
}

// testIteratorMoves runs walks over b d f h and writes where each step led: a key, or - for nowhere. Lower case letters
// seek.
func testIteratorMoves(t *testing.T, open Open) {
	db := openNew(t, open)
	set(t, db, "b", "d", "f", "h", "zz")
	apply(t, db, func(b kv.Batch) { must(t, b.Delete([]byte("zz"))) })
	tests := []struct{ lo, hi, walk, want string }{
		{"", "", "F N N N N N", "b d f h - -"},
		{"", "", "L P P P P P", "h f d b - -"},
		{"", "", "N N", "b d"}, // it starts before the first key
		{"", "", "P N", "- b"},
		{"", "", "N N P P N", "b d b - b"},
		{"", "", "L N P P", "h - h f"},
		{"", "", "L N N N P", "h - - - h"},
		{"", "", "F P P N N", "b - - b d"},
		{"", "", "a b c i", "b b d -"},
		{"", "", "e P N N P", "f d f h f"},
		{"", "", "i P P", "- h f"}, // the greatest key below i
		{"", "", "i N P", "- - h"},
		{"", "", "a P N", "b - b"},
		{"", "", "h N P b F L", "h - h b b h"},
		{"c", "h", "F N N P P P", "d f - f d -"},
		{"c", "h", "L N P", "f - f"},
		{"c", "h", "a P N", "d - d"}, // seeking stays within the bounds
		{"c", "h", "h P i P", "- f - f"},
		{"d", "f", "F N L P", "d - d -"},
		{"d", "f", "e P", "- d"},
		{"b", "b", "F L N P a", "- - - - -"},
		{"f", "b", "F L N P c", "- - - - -"},
		{"c", "d", "F L N P c", "- - - - -"},
		{"x", "", "F L P N", "- - - -"},
		{"", "a", "F L N P b", "- - - - -"},
		{"", "c", "F N P P", "b - b -"},
	}
	readers := map[string]kv.Reader{"db": db}
	snap, err := db.Snapshot()
	must(t, err)
	defer snap.Close()
	readers["snapshot"] = snap
	// The same keys, half of them only in the batch.
	half := openNew(t, open)
	set(t, half, "b", "c", "f")
	b := half.NewBatch()
	defer b.Close()
	must(t, b.Set([]byte("d"), []byte("=d")))
	must(t, b.Set([]byte("h"), []byte("=h")))
	must(t, b.Delete([]byte("c")))
	readers["batch"] = b

	for name, r := range readers {
		for _, tt := range tests {
			var lo, hi []byte
			if tt.lo != "" {
				lo = []byte(tt.lo)
			}
			if tt.hi != "" {
				hi = []byte(tt.hi)
			}
			it, err := r.Iter(lo, hi)
			must(t, err)
			var got []string
			for _, step := range strings.Fields(tt.walk) {
				var ok bool
				switch step {
				case "F":
					ok = it.First()
				case "L":
					ok = it.Last()
				case "N":
					ok = it.Next()
				case "P":
					ok = it.Prev()
				default:
					ok = it.SeekGE([]byte(step))
				}
				if !ok {
					got = append(got, "-")
					continue
				}
				v, err := it.Value()
				must(t, err)
				if string(v) != "="+string(it.Key()) {
					t.Errorf("%s: key %q has value %q", name, it.Key(), v)
				}
				got = append(got, string(it.Key()))
			}
			if s := strings.Join(got, " "); s != tt.want {
				t.Errorf("%s: [%s,%s) walk %q went %q, want %q", name, tt.lo, tt.hi, tt.walk, s, tt.want)
			}
			must(t, it.Err())
			must(t, it.Close())
			must(t, it.Close())
			if it.First() || it.Next() || it.Key() != nil {
				t.Errorf("%s: a closed iterator still moves", name)
			}
		}
	}
	// An empty upper bound that is not nil is a bound: nothing is below it.
	if got := scan(t, db, nil, []byte{}); len(got) != 0 {
		t.Errorf("Iter(nil, empty) found %v", got)
	}
}

// testIteratorView: an iterator shows the moment at which it was made.
func testIteratorView(t *testing.T, open Open) {
	db := openNew(t, open)
	set(t, db, "a", "b", "c")
	it, err := db.Iter(nil, nil)
	must(t, err)
	defer it.Close()
	apply(t, db, func(b kv.Batch) {
		must(t, b.Delete([]byte("b")))
		must(t, b.Set([]byte("a"), []byte("new")))
		must(t, b.Set([]byte("d"), nil))
		must(t, b.Merge([]byte("c"), []byte("x")))
	})
	must(t, db.Compact(nil, nil))
	var got []string
	for it.Next() {
		v, err := it.Value()
		must(t, err)
		got = append(got, fmt.Sprintf("%s%s", it.Key(), v))
	}
	if s := strings.Join(got, " "); s != "a=a b=b c=c" {
		t.Errorf("an iterator saw later changes: %s", s)
	}
	wantKeys(t, db, "a c d")
}

// testIteratorKeyAlive: key and value stay as they are until the next move, whatever else is written or read.
func testIteratorKeyAlive(t *testing.T, open Open) {
	db := openNew(t, open)
	for i := range 200 {
		set(t, db, fmt.Sprintf("k%03d", i))
	}
	it, err := db.Iter(nil, nil)
	must(t, err)
	defer it.Close()
	for n := 0; it.Next(); n++ {
		k := it.Key()
		v, err := it.Value()
		must(t, err)
		apply(t, db, func(b kv.Batch) {
			must(t, b.Set(k, []byte("overwritten")))
			must(t, b.Set([]byte(fmt.Sprintf("x%03d", n)), nil))
		})
		wantGet(t, db, string(k), "overwritten")
		if want := fmt.Sprintf("k%03d", n); string(k) != want || string(v) != "="+want {
			t.Fatalf("key %q value %q, want %q", k, v, want)
		}
	}
}

func testSnapshot(t *testing.T, open Open) {
	db := openNew(t, open)
	set(t, db, "a", "b")
	apply(t, db, func(b kv.Batch) { must(t, b.Merge([]byte("m"), []byte("1"))) })
	old, err := db.Snapshot()
	must(t, err)
	apply(t, db, func(b kv.Batch) {
		must(t, b.DeleteRange([]byte("a"), []byte("b")))
		must(t, b.Set([]byte("c"), nil))
		must(t, b.Merge([]byte("m"), []byte("2")))
	})
	mid, err := db.Snapshot()
	must(t, err)
	apply(t, db, func(b kv.Batch) {
		must(t, b.Delete([]byte("b")))
		must(t, b.Merge([]byte("m"), []byte("3")))
	})
	check := func() {
		t.Helper()
		wantKeys(t, old, "a b m")
		wantKeys(t, mid, "b c m")
		wantKeys(t, db, "c m")
		wantGet(t, old, "m", "<m>|1")
		wantGet(t, mid, "m", "<m>|1|2")
		wantGet(t, db, "m", "<m>|1|2|3")
		wantGet(t, old, "a", "=a")
		wantGet(t, mid, "a", absent)
		wantGet(t, old, "c", absent)
	}
	check()
	must(t, db.Compact(nil, nil)) // a compaction must keep what snapshots see
	check()

	// Operands must also be right when the compaction was kept from folding them into one.
	apply(t, db, func(b kv.Batch) { must(t, b.Merge([]byte("m"), []byte("4"))) })
	must(t, db.Compact(nil, nil))
	wantGet(t, mid, "m", "<m>|1|2")
	wantGet(t, db, "m", "<m>|1|2|3|4")

	must(t, mid.Close())
	must(t, mid.Close())
	_, err = mid.Get(nil, []byte("a"))
	wantErr(t, "Get on a closed snapshot", err, kv.ErrClosed)
	_, err = mid.Iter(nil, nil)
	wantErr(t, "Iter on a closed snapshot", err, kv.ErrClosed)
	wantKeys(t, old, "a b m")
	must(t, old.Close())
}

func testClose(t *testing.T, open Open) {
	db := open(t, filepath.Join(t.TempDir(), "db"), Merger{})
	set(t, db, "a")
	it, err := db.Iter(nil, nil)
	must(t, err)
	snap, err := db.Snapshot()
	must(t, err)
	batch := db.NewBatch()
	must(t, batch.Set([]byte("b"), nil))
	if db.Close() == nil {
		t.Error("Close with an open iterator and an open snapshot succeeded")
	}
	wantGet(t, db, "a", "=a") // and it did not close
	must(t, it.Close())
	if db.Close() == nil {
		t.Error("Close with an open snapshot succeeded")
	}
	must(t, snap.Close())
	must(t, db.Close())
	must(t, db.Close())

	_, err = db.Get(nil, []byte("a"))
	wantErr(t, "Get", err, kv.ErrClosed)
	_, err = db.Iter(nil, nil)
	wantErr(t, "Iter", err, kv.ErrClosed)
	_, err = db.Snapshot()
	wantErr(t, "Snapshot", err, kv.ErrClosed)
	_, err = db.NewBulk()
	wantErr(t, "NewBulk", err, kv.ErrClosed)
	_, err = batch.Get(nil, []byte("a"))
	wantErr(t, "Get on a batch", err, kv.ErrClosed)
	_, err = batch.Iter(nil, nil)
	wantErr(t, "Iter on a batch", err, kv.ErrClosed)
	wantErr(t, "Apply", db.Apply(batch), kv.ErrClosed)
	wantErr(t, "Apply of a new batch", db.Apply(db.NewBatch()), kv.ErrClosed)
	wantErr(t, "Sync", db.Sync(), kv.ErrClosed)
	wantErr(t, "Compact", db.Compact(nil, nil), kv.ErrClosed)
	wantErr(t, "Checkpoint", db.Checkpoint(filepath.Join(t.TempDir(), "copy")), kv.ErrClosed)
	if errors.Is(err, kv.ErrNotFound) {
		t.Error("closed looks like not found")
	}
	db.Metrics() // must not panic
}
