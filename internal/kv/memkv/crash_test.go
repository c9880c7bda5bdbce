package memkv_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"portolan/internal/kv"
	"portolan/internal/kv/kvtest"
	"portolan/internal/kv/memkv"
)

func set(t *testing.T, db kv.DB, key string) {
	t.Helper()
	b := db.NewBatch()
	if err := errors.Join(b.Set([]byte(key), []byte(key)), db.Apply(b)); err != nil {
		t.Fatal(err)
	}
}

func want(t *testing.T, db kv.Reader, keys ...string) {
	t.Helper()
	it, err := db.Iter(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	for _, k := range keys {
		if !it.Next() || string(it.Key()) != k {
			t.Fatalf("key %q where %q is wanted", it.Key(), k)
		}
	}
	if it.Next() {
		t.Fatalf("key %q is too much", it.Key())
	}
}

// TestCrash: what was synced comes back, what was only applied does not, and a bulk load is durable without making what
// was applied before it durable.
func TestCrash(t *testing.T) {
	db := memkv.New(kvtest.Merger{})
	want(t, db.Crash())

	db = memkv.New(kvtest.Merger{})
	set(t, db, "synced")
	if err := db.Sync(); err != nil {
		t.Fatal(err)
	}
	set(t, db, "applied")
	bulk, err := db.NewBulk()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(bulk.Add([]byte("loaded"), nil), bulk.Finish()); err != nil {
		t.Fatal(err)
	}
	snap, err := db.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Close()
	want(t, db, "applied", "loaded", "synced")

	after := db.Crash()
	want(t, after, "loaded", "synced")
	_, err = db.Get(nil, []byte("synced"))
	_, snapErr := snap.Get(nil, []byte("synced"))
	for what, err := range map[string]error{"Get": err, "Get on a snapshot": snapErr, "Sync": db.Sync()} {
		if !errors.Is(err, kv.ErrClosed) {
			t.Errorf("%s on the crashed store: error %v, want %v", what, err, kv.ErrClosed)
		}
	}
	set(t, after, "later")
	if err := after.Sync(); err != nil {
		t.Fatal(err)
	}
	want(t, after.Crash(), "later", "loaded", "synced")
	if n := after.Metrics()["syncs"]; n != 1 {
		t.Errorf("%d syncs counted, want 1", n)
	}
}

// TestLoadRefusesDamage: a cut or made-up checkpoint is an error and costs no memory.
func TestLoadRefusesDamage(t *testing.T) {
	db := memkv.New(nil)
	set(t, db, "some key")
	dir := filepath.Join(t.TempDir(), "copy")
	if err := db.Checkpoint(dir); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "memkv")
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	bad := [][]byte{{0xff, 0xff, 0xff, 0xff, 0x07}, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}, {1}, {0}}
	for n := 1; n < len(good); n++ {
		bad = append(bad, good[:n])
	}
	for _, b := range bad {
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := memkv.Load(dir, nil); err == nil {
			t.Errorf("Load took %q", b)
		}
	}
	if _, err := memkv.Load(filepath.Join(dir, "none"), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Load of nothing: %v", err)
	}
}
