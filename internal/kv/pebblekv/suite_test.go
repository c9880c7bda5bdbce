package pebblekv_test

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"portolan/internal/kv"
	"portolan/internal/kv/kvtest"
	"portolan/internal/kv/pebblekv"
)

// opener opens stores on fs, which is the disk when nil.
func opener(fs vfs.FS) kvtest.Open {
	return func(t testing.TB, dir string, m kv.Merger) kv.DB {
		t.Helper()
		db, err := pebblekv.Open(dir, pebblekv.Options{
			Merger: m, FS: fs, CacheBytes: 1 << 20, MemtableBytes: 1 << 20,
			OnFatal: func(err error) { t.Errorf("OnFatal: %v", err) },
		})
		if err != nil {
			t.Fatal(err)
		}
		return db
	}
}

func TestSuiteOnMemory(t *testing.T) { kvtest.Run(t, opener(vfs.NewMem())) }

func TestSuiteOnDisk(t *testing.T) { kvtest.Run(t, opener(nil)) }
