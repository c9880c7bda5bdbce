package pebblekv_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"portolan/internal/kv"
	"portolan/internal/kv/kvtest"
	"portolan/internal/kv/pebblekv"
)

// window is how many of the numbered keys are in the store at a time.
const window = 10

// writeNth applies batch n: a set, a deletion, a merge operand and a counter, which must all survive or none.
func writeNth(db kv.DB, n int) error {
	b := db.NewBatch()
	num := strconv.Itoa(n)
	return errors.Join(
		b.Set([]byte("seq"), []byte(num)),
		b.Set([]byte("k"+num), []byte(strings.Repeat(num, 40))),
		b.Delete([]byte("k"+strconv.Itoa(n-window))),
		b.Merge([]byte("log"), []byte(num)),
		db.Apply(b),
	)
}

// verify checks that r holds exactly the batches 1 to some n, and returns n.
func verify(r kv.Reader) (int, error) {
	v, err := r.Get(nil, []byte("seq"))
	if errors.Is(err, kv.ErrNotFound) {
		v, err = []byte("0"), nil
	}
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(string(v))
	if err != nil {
		return 0, err
	}
	it, err := r.Iter([]byte("k"), []byte("l"))
	if err != nil {
		return 0, err
	}
	defer it.Close()
	count := 0
	for it.Next() {
		i, err := strconv.Atoi(string(it.Key()[1:]))
		if err != nil || i > n || i <= n-window {
			return n, fmt.Errorf("key %q beside seq %d", it.Key(), n)
		}
		if v, err := it.Value(); err != nil || string(v) != strings.Repeat(strconv.Itoa(i), 40) {
			return n, fmt.Errorf("key %q has value %q, %v", it.Key(), v, err)
		}
		count++
	}
	if err := it.Err(); err != nil {
		return n, err
	}
	if count != min(n, window) {
		return n, fmt.Errorf("%d keys beside seq %d", count, n)
	}
	log, err := r.Get(nil, []byte("log"))
	if n == 0 && errors.Is(err, kv.ErrNotFound) {
		return 0, nil
	}
	var want strings.Builder
	want.WriteString("<log>")
	for i := 1; i <= n; i++ {
		fmt.Fprintf(&want, "|%d", i)
	}
	if err != nil || string(log) != want.String() {
		return n, fmt.Errorf("the merged log does not end at %d: %.80q..., %v", n, log, err)
	}
	return n, nil
}

// cutPower writes and syncs from several goroutines and cuts the power at random moments. It returns an error where the
// store came back without something that Sync had acknowledged, or with half a batch.
func cutPower(t *testing.T, seed uint64, o pebblekv.Options) error {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	fs := vfs.NewCrashableMem()
	o.Merger, o.FS, o.CacheBytes, o.MemtableBytes = kvtest.Merger{}, fs, 1<<20, 64<<10
	o.OnFatal = func(err error) { t.Errorf("OnFatal: %v", err) }
	db, err := pebblekv.Open("data", o)
	if err != nil {
		return err
	}
	var applied, durable atomic.Int64
	var wg sync.WaitGroup
	stop := make(chan struct{})
	stopped := func() bool {
		select {
		case <-stop:
			return true
		default:
			return false
		}
	}
	const batches = 2500
	wg.Go(func() {
		for n := 1; n <= batches && !stopped(); n++ {
			if err := writeNth(db, n); err != nil {
				t.Error(err)
				return
			}
			applied.Store(int64(n))
		}
	})
	for range 2 {
		wg.Go(func() {
			for !stopped() {
				n := applied.Load()
				if err := db.Sync(); err != nil {
					t.Error(err)
					return
				}
				for old := durable.Load(); old < n && !durable.CompareAndSwap(old, n); old = durable.Load() {
				}
			}
		})
	}
	defer func() {
		close(stop)
		wg.Wait()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()

	for target := int64(0); target < batches; target += 1 + rng.Int64N(batches/6) {
		for durable.Load() < target && !t.Failed() {
			runtime.Gosched()
		}
		acked := int(durable.Load())
		crashed := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(5) * 25, RNG: rng})
		o := o
		o.FS = crashed
		after, err := pebblekv.Open("data", o)
		if err != nil {
			return fmt.Errorf("seed %d: after a power cut at %d: %w", seed, acked, err)
		}
		n, err := verify(after)
		if err == nil && n < acked {
			err = fmt.Errorf("came back with %d batches, and %d were acknowledged", n, acked)
		}
		if err == nil {
			// And it goes on from there.
			err = errors.Join(writeNth(after, n+1), after.Sync())
		}
		if cerr := after.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return fmt.Errorf("seed %d: power cut at %d: %w", seed, acked, err)
		}
	}
	return nil
}

func TestPowerCut(t *testing.T) {
	for seed := range uint64(4) {
		if err := cutPower(t, seed, pebblekv.Options{}); err != nil {
			t.Error(err)
		}
	}
}

// TestPowerCutTestSeesLoss: with the disk sync left out the same test finds the loss. Otherwise it would prove nothing.
func TestPowerCutTestSeesLoss(t *testing.T) {
	if err := cutPower(t, 0, pebblekv.Options{DisableWALSync: true}); err == nil {
		t.Error("the power-cut test passes although Sync does not sync")
	} else {
		t.Log(err)
	}
}

// openOn opens a store with the suite's merger.
func openOn(t *testing.T, dir string, fs vfs.FS) *pebblekv.DB {
	t.Helper()
	db, err := pebblekv.Open(dir, pebblekv.Options{Merger: kvtest.Merger{}, FS: fs, MemtableBytes: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// TestBulkSurvivesPowerCut: all of a finished load is there, none of one under way, and its files are gone.
func TestBulkSurvivesPowerCut(t *testing.T) {
	fs := vfs.NewCrashableMem()
	db := openOn(t, "data", fs)
	if err := errors.Join(writeNth(db, 1), db.Sync()); err != nil {
		t.Fatal(err)
	}
	load := func(prefix string) kv.Bulk {
		b, err := db.NewBulk()
		if err != nil {
			t.Fatal(err)
		}
		for i := range 1000 {
			if err := b.Add(fmt.Appendf(nil, "%s%04d", prefix, i), []byte(strings.Repeat(prefix, 100))); err != nil {
				t.Fatal(err)
			}
		}
		return b
	}
	done, half := load("x"), load("y")
	if err := done.Finish(); err != nil {
		t.Fatal(err)
	}
	for percent := range 3 {
		crashed := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent * 50, RNG: rand.New(rand.NewPCG(1, 2))})
		after := openOn(t, "data", crashed)
		if n, err := verify(after); n != 1 || err != nil {
			t.Errorf("%d%%: seq %d, %v", percent*50, n, err)
		}
		it, err := after.Iter([]byte("x"), []byte("z"))
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for it.Next() {
			if want := fmt.Sprintf("x%04d", n); string(it.Key()) != want {
				t.Fatalf("key %q, want %q", it.Key(), want)
			}
			n++
		}
		it.Close()
		if n != 1000 {
			t.Errorf("%d keys of the load, want 1000", n)
		}
		names, err := crashed.List("data")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if strings.HasPrefix(name, "bulk-") {
				t.Errorf("%s was left over", name)
			}
		}
	}
	if err := half.Abort(); err != nil {
		t.Error(err)
	}
}

// TestCheckpointSurvivesPowerCut: a backup that was reported done is on disk, with all that was applied before, synced or
// not.
func TestCheckpointSurvivesPowerCut(t *testing.T) {
	fs := vfs.NewCrashableMem()
	db := openOn(t, "data", fs)
	for n := 1; n <= 300; n++ {
		if err := writeNth(db, n); err != nil {
			t.Fatal(err)
		}
	}
	dir := filepath.Join("backup", "monday")
	if err := db.Checkpoint(dir); err != nil {
		t.Fatal(err)
	}
	for n := 301; n <= 320; n++ {
		if err := writeNth(db, n); err != nil {
			t.Fatal(err)
		}
	}
	after := openOn(t, dir, fs.CrashClone(vfs.CrashCloneCfg{}))
	if n, err := verify(after); n != 300 || err != nil {
		t.Errorf("the checkpoint holds %d batches, want 300: %v", n, err)
	}
}
