// Package kvtest is the test suite that every implementation of kv passes.
package kvtest

import (
	"bytes"
	"errors"
	"path/filepath"
	"testing"

	"portolan/internal/kv"
)

// Open opens the store in dir, and makes it there when dir does not exist. It must be able to open what Checkpoint wrote.
// The suite closes the store.
type Open func(t testing.TB, dir string, m kv.Merger) kv.DB

// Run runs the whole suite. Each test opens stores of its own.
func Run(t *testing.T, open Open) {
	tests := []struct {
		name string
		run  func(*testing.T, Open)
	}{
		{"Get", testGet},
		{"Copies", testCopies},
		{"Scripts", testScripts},
		{"EmptyKey", testEmptyKey},
		{"DeleteRangeBounds", testDeleteRangeBounds},
		{"NoMerger", testNoMerger},
		{"IteratorMoves", testIteratorMoves},
		{"IteratorView", testIteratorView},
		{"IteratorKeyAlive", testIteratorKeyAlive},
		{"BatchView", testBatchView},
		{"BatchLife", testBatchLife},
		{"Snapshot", testSnapshot},
		{"Atomic", testAtomic},
		{"SyncBesideApply", testSyncBesideApply},
		{"Bulk", testBulk},
		{"BulkUnderMerge", testBulkUnderMerge},
		{"Checkpoint", testCheckpoint},
		{"Close", testClose},
		{"Metrics", testMetrics},
		{"Model", testModel},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { tt.run(t, open) })
	}
}

// Merger is the suite's merger. Its operands and values look different on purpose: a value shows what it grew from, so an
// implementation that takes one for the other, loses the order, or calls with the wrong key is found out.
//
//	Merge(k, nil, [a b])  = <k>|a|b       Merge(k, "v", [a b]) = v|a|b       PartialMerge(k, [a b]) = a|b
type Merger struct{}

var _ kv.Merger = Merger{}

// Merge implements kv.Merger.
func (Merger) Merge(key, old []byte, operands [][]byte) []byte {
	var out []byte
	if old == nil {
		out = append(append(append(out, '<'), key...), '>')
	} else {
		out = append(out, old...)
	}
	for _, o := range operands {
		out = append(append(out, '|'), o...)
	}
	return out
}

// PartialMerge implements kv.Merger.
func (Merger) PartialMerge(key []byte, operands [][]byte) []byte {
	return bytes.Join(operands, []byte{'|'})
}

// openNew opens an empty store that is closed when the test ends.
func openNew(t testing.TB, open Open) kv.DB {
	t.Helper()
	db := open(t, filepath.Join(t.TempDir(), "db"), Merger{})
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return db
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// apply applies what fill puts into a batch.
func apply(t testing.TB, db kv.DB, fill func(kv.Batch)) {
	t.Helper()
	b := db.NewBatch()
	fill(b)
	must(t, db.Apply(b))
}

// set stores each key with the value "=" + key.
func set(t testing.TB, db kv.DB, keys ...string) {
	t.Helper()
	apply(t, db, func(b kv.Batch) {
		for _, k := range keys {
			must(t, b.Set([]byte(k), []byte("="+k)))
		}
	})
}

// absent is how show writes a key that is not there.
const absent = "(absent)"

func show(t testing.TB, r kv.Reader, key string) string {
	t.Helper()
	v, err := r.Get(nil, []byte(key))
	if errors.Is(err, kv.ErrNotFound) {
		if len(v) != 0 {
			t.Fatalf("Get(%q) = %q with ErrNotFound", key, v)
		}
		return absent
	}
	must(t, err)
	return string(v)
}

func wantGet(t testing.TB, r kv.Reader, key, want string) {
	t.Helper()
	if got := show(t, r, key); got != want {
		t.Errorf("Get(%q) = %q, want %q", key, got, want)
	}
}

// pair is a key and its value.
type pair struct{ key, value string }

// scan returns what lies in lo <= key < hi, forward; nil is no bound.
func scan(t testing.TB, r kv.Reader, lo, hi []byte) []pair {
	t.Helper()
	it, err := r.Iter(lo, hi)
	must(t, err)
	var out []pair
	for it.Next() {
		v, err := it.Value()
		must(t, err)
		out = append(out, pair{string(it.Key()), string(v)})
	}
	must(t, it.Err())
	must(t, it.Close())
	return out
}

// keys returns the keys of the whole reader, joined by spaces.
func keys(t testing.TB, r kv.Reader) string {
	t.Helper()
	var b bytes.Buffer
	for i, p := range scan(t, r, nil, nil) {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(p.key)
	}
	return b.String()
}

func wantKeys(t testing.TB, r kv.Reader, want string) {
	t.Helper()
	if got := keys(t, r); got != want {
		t.Errorf("keys are %q, want %q", got, want)
	}
}

func wantErr(t testing.TB, doing string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: error %v, want %v", doing, err, want)
	}
}
