package memkv_test

import (
	"os"
	"testing"

	"portolan/internal/kv"
	"portolan/internal/kv/kvtest"
	"portolan/internal/kv/memkv"
)

func open(t testing.TB, dir string, m kv.Merger) kv.DB {
	if _, err := os.Stat(dir); err != nil {
		return memkv.New(m)
	}
	db, err := memkv.Load(dir, m)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func TestSuite(t *testing.T) { kvtest.Run(t, open) }
