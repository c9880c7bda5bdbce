package faultkv_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"portolan/internal/kv"
	"portolan/internal/kv/faultkv"
	"portolan/internal/kv/kvtest"
	"portolan/internal/kv/memkv"
)

// TestSuite: without faults the wrapper changes nothing.
func TestSuite(t *testing.T) {
	kvtest.Run(t, func(t testing.TB, dir string, m kv.Merger) kv.DB {
		if _, err := os.Stat(dir); err != nil {
			return faultkv.Wrap(memkv.New(m), nil)
		}
		db, err := memkv.Load(dir, m)
		if err != nil {
			t.Fatal(err)
		}
		return faultkv.Wrap(db, nil)
	})
}

var errDisk = errors.New("the disk is on fire")

// operations does each operation once on a store that holds a=1, and returns its error.
var operations = map[faultkv.Op]func(t *testing.T, db kv.DB) error{
	faultkv.Get: func(t *testing.T, db kv.DB) error { _, err := db.Get(nil, []byte("a")); return err },
	faultkv.Iter: func(t *testing.T, db kv.DB) error {
		it, err := db.Iter(nil, nil)
		if err == nil {
			it.Close()
		}
		return err
	},
	faultkv.Move: func(t *testing.T, db kv.DB) error {
		it, err := db.Iter(nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer it.Close()
		if it.First() {
			return nil
		}
		if it.Last() || it.Key() != nil {
			t.Error("a broken iterator moves on")
		}
		return it.Err()
	},
	faultkv.Value: func(t *testing.T, db kv.DB) error {
		it, err := db.Iter(nil, nil)
		if err != nil || !it.First() {
			t.Fatal(err)
		}
		defer it.Close()
		_, err = it.Value()
		return err
	},
	faultkv.Snapshot: func(t *testing.T, db kv.DB) error {
		s, err := db.Snapshot()
		if err == nil {
			s.Close()
		}
		return err
	},
	faultkv.Set:         inBatch(func(b kv.Batch) error { return b.Set([]byte("a"), []byte("2")) }),
	faultkv.Delete:      inBatch(func(b kv.Batch) error { return b.Delete([]byte("a")) }),
	faultkv.DeleteRange: inBatch(func(b kv.Batch) error { return b.DeleteRange([]byte("a"), []byte("b")) }),
	faultkv.Merge:       inBatch(func(b kv.Batch) error { return b.Merge([]byte("a"), []byte("x")) }),
	faultkv.Apply: func(t *testing.T, db kv.DB) error {
		b := db.NewBatch()
		b.Set([]byte("a"), []byte("2"))
		return db.Apply(b)
	},
	faultkv.Sync:       func(t *testing.T, db kv.DB) error { return db.Sync() },
	faultkv.Checkpoint: func(t *testing.T, db kv.DB) error { return db.Checkpoint(filepath.Join(t.TempDir(), "copy")) },
	faultkv.NewBulk: func(t *testing.T, db kv.DB) error {
		b, err := db.NewBulk()
		if err == nil {
			b.Abort()
		}
		return err
	},
	faultkv.BulkAdd: func(t *testing.T, db kv.DB) error {
		b, err := db.NewBulk()
		if err != nil {
			t.Fatal(err)
		}
		defer b.Abort()
		return b.Add([]byte("x"), nil)
	},
	faultkv.BulkFinish: func(t *testing.T, db kv.DB) error {
		b, err := db.NewBulk()
		if err != nil {
			t.Fatal(err)
		}
		defer b.Abort()
		return b.Finish()
	},
	faultkv.Compact: func(t *testing.T, db kv.DB) error { return db.Compact(nil, nil) },
	faultkv.Close:   func(t *testing.T, db kv.DB) error { return db.Close() },
}

func inBatch(change func(kv.Batch) error) func(*testing.T, kv.DB) error {
	return func(t *testing.T, db kv.DB) error {
		b := db.NewBatch()
		defer b.Close()
		return change(b)
	}
}

func newStore(t *testing.T) kv.DB {
	db := memkv.New(kvtest.Merger{})
	b := db.NewBatch()
	if err := errors.Join(b.Set([]byte("a"), []byte("1")), db.Apply(b)); err != nil {
		t.Fatal(err)
	}
	return db
}

func TestEveryOperationCanFail(t *testing.T) {
	for op := faultkv.Get; op <= faultkv.Close; op++ {
		run := operations[op]
		if run == nil {
			t.Errorf("no test for %v", op)
			continue
		}
		db := faultkv.Wrap(newStore(t), faultkv.Nth(op, 2, errDisk))
		if op != faultkv.Close {
			if err := run(t, db); err != nil {
				t.Errorf("%v, 1st: %v", op, err)
			}
		} else {
			db.SetFault(faultkv.Nth(op, 1, errDisk))
		}
		if err := run(t, db); !errors.Is(err, errDisk) {
			t.Errorf("%v: error %v, want %v", op, err, errDisk)
		}
		if err := run(t, db); err != nil {
			t.Errorf("%v after the fault: %v", op, err)
		}
		want := 3
		if op == faultkv.Close {
			want = 2
		}
		if n := db.Count(op); n != want || db.Total() < n {
			t.Errorf("%v: counted %d of %d, want %d", op, n, db.Total(), want)
		}
	}
}

func TestBeforeAndAfter(t *testing.T) {
	for _, late := range []bool{false, true} {
		inner := newStore(t)
		fault, want := errDisk, "1"
		if late {
			fault, want = faultkv.After(errDisk), "2"
		}
		db := faultkv.Wrap(inner, faultkv.From(faultkv.Apply, 1, fault))
		if err := operations[faultkv.Apply](t, db); !errors.Is(err, errDisk) {
			t.Errorf("Apply: %v", err)
		}
		if got, err := inner.Get(nil, []byte("a")); err != nil || string(got) != want {
			t.Errorf("late %v: the store has %q, %v; want %q", late, got, err, want)
		}
		if err := operations[faultkv.Apply](t, db); !errors.Is(err, errDisk) {
			t.Errorf("second Apply: %v", err)
		}
	}
}

// TestThroughBatchAndSnapshot: reads below the store fail too.
func TestThroughBatchAndSnapshot(t *testing.T) {
	db := faultkv.Wrap(newStore(t), nil)
	b := db.NewBatch()
	defer b.Close()
	s, err := db.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, op := range []faultkv.Op{faultkv.Get, faultkv.Iter} {
		db.SetFault(faultkv.From(op, 1, errDisk))
		for name, r := range map[string]kv.Reader{"batch": b, "snapshot": s} {
			var err error
			if op == faultkv.Get {
				_, err = r.Get(nil, []byte("a"))
			} else {
				_, err = r.Iter(nil, nil)
			}
			if !errors.Is(err, errDisk) {
				t.Errorf("%v through a %s: %v", op, name, err)
			}
		}
	}
}
