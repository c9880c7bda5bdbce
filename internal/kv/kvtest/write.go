package kvtest

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"portolan/internal/kv"
)

// scripts are changes to the keys a to z and what they leave. S key value, M key operand, D key, R lo hi.
var scripts = []struct{ name, script, want string }{
	{"set", "S a 1", "a=1"},
	{"later set wins", "S a 1; S a 2", "a=2"},
	{"delete", "S a 1; D a", ""},
	{"delete of nothing", "D a", ""},
	{"set after delete", "S a 1; D a; S a 2", "a=2"},
	{"merge into nothing", "M a x", "a=<a>|x"},
	{"merge into a value", "S a 1; M a x", "a=1|x"},
	{"merge into an empty value", "S a -; M a x", "a=|x"},
	{"merges in order", "M a x; M a y; M a z", "a=<a>|x|y|z"},
	{"merges into a value in order", "S a 1; M a x; M a y; M a z", "a=1|x|y|z"},
	{"set over merges", "M a x; M a y; S a 1", "a=1"},
	{"merge after set over merges", "M a x; S a 1; M a y", "a=1|y"},
	{"delete of merges", "M a x; M a y; D a", ""},
	{"merge after delete", "S a 1; M a x; D a; M a y; M a z", "a=<a>|y|z"},
	{"empty operand", "M a -; M a x", "a=<a>||x"},
	{"range", "S a 1; S b 2; S c 3; R a c", "c=3"},
	{"range of nothing", "S a 1; R b c", "a=1"},
	{"range with its ends the wrong way round", "S a 1; S b 2; R b a", "a=1 b=2"},
	{"empty range", "S a 1; R a a", "a=1"},
	{"set in a deleted range", "S a 1; S b 2; R a z; S b 3", "b=3"},
	{"delete after range", "R a z; S b 3; D b", ""},
	{"merge in a deleted range", "S b 1; M b x; R a c; M b y", "b=<b>|y"},
	{"range between merges", "S b 1; M b x; R a c; M b y; M b z; S c 4", "b=<b>|y|z c=4"},
	{"overlapping ranges", "S a 1; S b 1; S c 1; S d 1; R a c; S b 2; R b d; S c 3", "c=3 d=1"},
	{"two keys merge apart", "M a 1; M b 2; M a 3; M b 4", "a=<a>|1|3 b=<b>|2|4"},
	{"all at once", "S a 1; M a x; S b 2; D b; M c y; R c d; M c z; S d 4; M d w; D e", "a=1|x c=<c>|z d=4|w"},
}

// change writes one change of a script.
func change(t testing.TB, w kv.Writer, text string) {
	t.Helper()
	f := strings.Fields(text)
	arg := func(i int) []byte {
		if i > 1 && f[i] == "-" {
			return nil
		}
		return []byte(f[i])
	}
	switch f[0] {
	case "S":
		must(t, w.Set(arg(1), arg(2)))
	case "M":
		must(t, w.Merge(arg(1), arg(2)))
	case "D":
		must(t, w.Delete(arg(1)))
	case "R":
		must(t, w.DeleteRange(arg(1), arg(2)))
	default:
		t.Fatalf("script: %q", text)
	}
}

// content writes a reader as "key=value ...".
func content(t testing.TB, r kv.Reader) string {
	t.Helper()
	var s []string
	for _, p := range scan(t, r, nil, nil) {
		s = append(s, p.key+"="+p.value)
		wantGet(t, r, p.key, p.value)
	}
	return strings.Join(s, " ")
}

// testScripts runs each script in one batch, in one batch a change, with a compaction between any two changes, cut in two
// at every place, and under a snapshot, which keeps a compaction from folding.
func testScripts(t *testing.T, open Open) {
	for _, tt := range scripts {
		t.Run(strings.ReplaceAll(tt.name, " ", "_"), func(t *testing.T) {
			db := openNew(t, open)
			steps := strings.Split(tt.script, "; ")
			check := func(how string, r kv.Reader) {
				t.Helper()
				if got := content(t, r); got != tt.want {
					t.Errorf("%s: %s: left %q, want %q", tt.script, how, got, tt.want)
				}
			}
			clear := func() {
				apply(t, db, func(b kv.Batch) { must(t, b.DeleteRange(nil, []byte{0xff})) })
				wantKeys(t, db, "")
			}
			apply(t, db, func(b kv.Batch) {
				for _, s := range steps {
					change(t, b, s)
				}
				check("read through the batch", b)
			})
			check("one batch", db)
			must(t, db.Compact(nil, nil))
			check("one batch, compacted", db)
			clear()
			for _, s := range steps {
				apply(t, db, func(b kv.Batch) { change(t, b, s) })
			}
			check("one batch a change", db)
			clear()
			for cut := range steps {
				must(t, db.Compact(nil, nil))
				apply(t, db, func(b kv.Batch) {
					for _, s := range steps[:cut] {
						change(t, b, s)
					}
				})
				apply(t, db, func(b kv.Batch) {
					for _, s := range steps[cut:] {
						change(t, b, s)
					}
					check(fmt.Sprintf("batch over the store, cut at %d", cut), b)
				})
				check(fmt.Sprintf("cut at %d", cut), db)
				clear()
			}
			for _, s := range steps {
				apply(t, db, func(b kv.Batch) { change(t, b, s) })
				must(t, db.Compact(nil, nil))
			}
			check("compacted between changes", db)
			clear()
			for _, s := range steps {
				apply(t, db, func(b kv.Batch) { change(t, b, s) })
				snap, err := db.Snapshot()
				must(t, err)
				defer snap.Close()
			}
			must(t, db.Compact(nil, nil))
			check("compacted under snapshots", db)
		})
	}
}

func testEmptyKey(t *testing.T, open Open) {
	db := openNew(t, open)
	b := db.NewBatch()
	defer b.Close()
	bulk, err := db.NewBulk()
	must(t, err)
	for doing, err := range map[string]error{
		"Set":    b.Set(nil, []byte("v")),
		"Merge":  b.Merge([]byte{}, []byte("v")),
		"Delete": b.Delete(nil),
		"Add":    bulk.Add(nil, []byte("v")),
	} {
		if err == nil {
			t.Errorf("%s took the empty key", doing)
		}
	}
	must(t, bulk.Abort())
	wantKeys(t, b, "")
	wantGet(t, b, "", absent)
	wantGet(t, db, "", absent)
}

func testDeleteRangeBounds(t *testing.T, open Open) {
	db := openNew(t, open)
	set(t, db, "a", "b")
	b := db.NewBatch()
	defer b.Close()
	if b.DeleteRange([]byte("a"), nil) == nil {
		t.Error("DeleteRange without an upper bound was taken")
	}
	must(t, b.DeleteRange(nil, []byte("b")))
	wantKeys(t, b, "b")
}

func testNoMerger(t *testing.T, open Open) {
	db := open(t, filepath.Join(t.TempDir(), "db"), nil)
	b := db.NewBatch()
	if b.Merge([]byte("a"), []byte("x")) == nil {
		t.Error("Merge without a Merger was taken")
	}
	must(t, b.Set([]byte("a"), []byte("1")))
	must(t, db.Apply(b))
	wantGet(t, db, "a", "1")
	must(t, db.Close())
}

// testBatchView: a batch shows its changes over the store as it is at each read.
func testBatchView(t *testing.T, open Open) {
	db := openNew(t, open)
	set(t, db, "a", "b")
	b := db.NewBatch()
	must(t, b.Set([]byte("c"), []byte("1")))
	must(t, b.Merge([]byte("m"), []byte("x")))
	must(t, b.DeleteRange([]byte("a"), []byte("b")))
	wantKeys(t, b, "b c m")
	wantKeys(t, db, "a b")

	apply(t, db, func(b kv.Batch) {
		must(t, b.Set([]byte("aa"), nil)) // in the range that the first batch deletes
		must(t, b.Set([]byte("c"), []byte("0")))
		must(t, b.Set([]byte("d"), nil))
		must(t, b.Set([]byte("m"), []byte("base")))
	})
	wantKeys(t, b, "b c d m")
	wantGet(t, b, "c", "1")
	wantGet(t, b, "m", "base|x")
	wantGet(t, b, "aa", absent)
	wantGet(t, db, "m", "base")

	it, err := b.Iter(nil, nil)
	must(t, err)
	must(t, b.Delete([]byte("b")))
	must(t, b.Set([]byte("e"), nil))
	wantGet(t, b, "e", "") // a read in between must not disturb the iterator
	var got []string
	for it.Next() {
		got = append(got, string(it.Key()))
	}
	if s := strings.Join(got, " "); s != "b c d m" {
		t.Errorf("an iterator over a batch sees later changes, or misses earlier ones: %s", s)
	}
	must(t, it.Close())
	wantKeys(t, b, "c d e m")

	snap, err := db.Snapshot()
	must(t, err)
	defer snap.Close()
	must(t, db.Apply(b))
	wantKeys(t, db, "c d e m")
	wantKeys(t, snap, "a aa b c d m")
	wantGet(t, db, "m", "base|x")
}

func testBatchLife(t *testing.T, open Open) {
	db, other := openNew(t, open), openNew(t, open)
	b := db.NewBatch()
	if b.Len() != 0 || b.Size() != 0 {
		t.Errorf("an empty batch has Len %d, Size %d", b.Len(), b.Size())
	}
	must(t, b.Set([]byte("key"), []byte("value")))
	must(t, b.Delete([]byte("k")))
	must(t, b.DeleteRange([]byte("a"), []byte("b")))
	must(t, b.Merge([]byte("m"), []byte("xyz")))
	if b.Len() != 4 || b.Size() < 3+5+1+2+4 || b.Size() > 200 {
		t.Errorf("a batch of 4 changes has Len %d, Size %d", b.Len(), b.Size())
	}
	if other.Apply(b) == nil {
		t.Error("Apply took a batch of another store")
	}
	it, err := b.Iter(nil, nil)
	must(t, err)
	if db.Apply(b) == nil {
		t.Error("Apply took a batch with an open iterator")
	}
	must(t, it.Close())
	must(t, db.Apply(b))
	wantErr(t, "second Apply", db.Apply(b), kv.ErrClosed)
	wantErr(t, "Set after Apply", b.Set([]byte("a"), nil), kv.ErrClosed)
	wantErr(t, "DeleteRange after Apply", b.DeleteRange([]byte("b"), []byte("a")), kv.ErrClosed)
	_, err = b.Get(nil, []byte("key"))
	wantErr(t, "Get after Apply", err, kv.ErrClosed)
	must(t, b.Close())
	must(t, b.Close())
	wantKeys(t, db, "key m")

	dropped := db.NewBatch()
	must(t, dropped.Set([]byte("dropped"), nil))
	it, err = dropped.Iter(nil, nil)
	must(t, err)
	must(t, dropped.Close())
	wantErr(t, "Apply after Close", db.Apply(dropped), kv.ErrClosed)
	// The memory of a closed batch must not be used again while an iterator reads it.
	set(t, db, "other1", "other2")
	if !it.First() || string(it.Key()) != "dropped" {
		t.Errorf("an iterator over a closed batch stands on %q", it.Key())
	}
	must(t, it.Close())
	must(t, db.Apply(db.NewBatch())) // an empty batch is fine
	wantKeys(t, db, "key m other1 other2")
}

// testAtomic moves a token from key to key; every reader must see it exactly once.
func testAtomic(t *testing.T, open Open) {
	db := openNew(t, open)
	const places = 8
	key := func(i int) []byte { return []byte(fmt.Sprintf("place%d", i%places)) }
	apply(t, db, func(b kv.Batch) { must(t, b.Set(key(0), []byte("token"))) })
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				it, err := db.Iter(nil, nil)
				if err != nil {
					t.Error(err)
					return
				}
				n := 0
				for it.Next() {
					n++
				}
				it.Close()
				if n != 1 {
					t.Errorf("a reader saw %d tokens: half a batch", n)
					return
				}
			}
		})
	}
	for i := range 500 {
		apply(t, db, func(b kv.Batch) {
			must(t, b.Delete(key(i)))
			must(t, b.Set(key(i+1), []byte("token")))
		})
	}
	close(stop)
	wg.Wait()
}

// testSyncBesideApply: one goroutine applies, others wait for the disk at the same time.
func testSyncBesideApply(t *testing.T, open Open) {
	db := openNew(t, open)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 10 {
				b := db.NewBatch()
				if err := b.Set([]byte(fmt.Sprintf("%d-%d", w, i)), nil); err != nil {
					t.Error(err)
				}
				if err := db.Apply(b); err != nil {
					t.Error(err)
				}
				if err := db.Sync(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := len(scan(t, db, nil, nil)); n != 40 {
		t.Errorf("%d keys, want 40", n)
	}
}

func testBulk(t *testing.T, open Open) {
	db := openNew(t, open)
	set(t, db, "a", "z")
	key := func(i int) []byte { return []byte(fmt.Sprintf("k%06d", i)) }
	const n = 5000
	b, err := db.NewBulk()
	must(t, err)
	k, v := []byte("k......"), []byte("......")
	for i := range n {
		copy(k, key(i))
		copy(v, fmt.Sprintf("%06d", i))
		must(t, b.Add(k, v))
	}
	for _, bad := range [][]byte{key(n - 1), key(0), nil} {
		if err := b.Add(bad, nil); err == nil {
			t.Errorf("Add took %q after %q", bad, key(n-1))
		}
	}
	must(t, b.Add([]byte("kz"), nil)) // refusing a key does not spoil the load
	wantKeys(t, db, "a z")
	must(t, b.Finish())
	wantErr(t, "Add after Finish", b.Add([]byte("l"), nil), kv.ErrClosed)
	wantErr(t, "second Finish", b.Finish(), kv.ErrClosed)
	must(t, b.Abort())
	got := scan(t, db, nil, nil)
	if len(got) != n+3 {
		t.Fatalf("%d keys after the load, want %d", len(got), n+3)
	}
	for i, p := range got[1 : n+1] {
		if p.key != string(key(i)) || p.value != fmt.Sprintf("%06d", i) {
			t.Fatalf("key %d is %v", i, p)
		}
	}
	wantGet(t, db, "kz", "")

	b, err = db.NewBulk()
	must(t, err)
	must(t, b.Add([]byte("x"), nil))
	must(t, b.Abort())
	must(t, b.Abort())
	wantErr(t, "Finish after Abort", b.Finish(), kv.ErrClosed)
	wantGet(t, db, "x", absent)

	b, err = db.NewBulk()
	must(t, err)
	must(t, b.Finish()) // of nothing
}

// testBulkUnderMerge: loaded values are values for later operands, deletions and reads.
func testBulkUnderMerge(t *testing.T, open Open) {
	db := openNew(t, open)
	b, err := db.NewBulk()
	must(t, err)
	for _, k := range []string{"a", "b", "c", "d"} {
		must(t, b.Add([]byte(k), []byte("="+k)))
	}
	snap, err := db.Snapshot()
	must(t, err)
	defer snap.Close()
	must(t, b.Finish())
	wantKeys(t, snap, "")
	apply(t, db, func(b kv.Batch) {
		must(t, b.Merge([]byte("a"), []byte("x")))
		wantGet(t, b, "a", "=a|x")
		must(t, b.Delete([]byte("b")))
		must(t, b.Merge([]byte("b"), []byte("y")))
	})
	for range 2 {
		wantGet(t, db, "a", "=a|x")
		wantGet(t, db, "b", "<b>|y")
		wantKeys(t, db, "a b c d")
		must(t, db.Compact(nil, nil))
	}
}

func testCheckpoint(t *testing.T, open Open) {
	db := openNew(t, open)
	set(t, db, "a", "b")
	apply(t, db, func(b kv.Batch) { must(t, b.Merge([]byte("a"), []byte("x"))) })
	dir := filepath.Join(t.TempDir(), "copy")
	must(t, db.Checkpoint(dir))
	if db.Checkpoint(dir) == nil {
		t.Error("Checkpoint wrote into a directory that exists")
	}
	apply(t, db, func(b kv.Batch) {
		must(t, b.Delete([]byte("b")))
		must(t, b.Merge([]byte("a"), []byte("y")))
	})
	must(t, db.Compact(nil, nil))
	cp := open(t, dir, Merger{})
	wantKeys(t, cp, "a b")
	wantGet(t, cp, "a", "=a|x")
	apply(t, cp, func(b kv.Batch) { must(t, b.Set([]byte("c"), nil)) })
	wantKeys(t, cp, "a b c")
	must(t, cp.Close())
	wantKeys(t, db, "a")
	wantGet(t, db, "a", "=a|x|y")
}

func testMetrics(t *testing.T, open Open) {
	db := openNew(t, open)
	set(t, db, "a")
	must(t, db.Sync())
	m := db.Metrics()
	if len(m) == 0 {
		t.Error("no metrics")
	}
	name := regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)
	for k, v := range m {
		if !name.MatchString(k) {
			t.Errorf("metric %q is not in snake_case", k)
		}
		if v < 0 {
			t.Errorf("metric %s is %d", k, v)
		}
	}
}
