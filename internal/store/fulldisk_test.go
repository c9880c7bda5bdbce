package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"portolan/internal/kv/pebblekv"
)

// TestFullDiskBehindTheFloor has the engine meet a full disk that the file system's own figure did not warn of: its journal
// still has room, its tables have none. Writes must be refused before the engine's memory is full, for then they would wait
// for space without an answer; they resume when there is space.
func TestFullDiskBehindTheFloor(t *testing.T) {
	var full atomic.Bool
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if full.Load() && op.Kind.ReadOrWrite() == errorfs.OpIsWrite && strings.HasSuffix(op.Path, ".sst") {
			return syscall.ENOSPC
		}
		return nil
	}))
	db, err := pebblekv.Open("data", pebblekv.Options{
		Merger: Merger(), FS: fs, MemtableBytes: 4 << 20,
		OnFatal: func(err error) { t.Errorf("OnFatal: %v", err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	o := testOptions()
	o.MinFree = 1 << 20
	o.FreeSpace = func() (uint64, error) {
		if db.NoSpace() {
			return 0, nil
		}
		return 1 << 30, nil
	}
	clock := newClock()
	o.Now = clock.Now
	s := openStore(t, db, o)
	addAll(t, s, testSuffix)
	add := func(i int) error {
		clock.step(spaceInterval) // so that free space is asked for before every write
		_, err := s.Update(context.Background(), Meta{}, func(tx *Tx) error {
			_, err := addEntry(tx, fmt.Sprintf("uid=u%d,%s", i, testSuffix),
				append(person(fmt.Sprintf("u%d", i)), attr{"description", []string{fmt.Sprint(i, strings.Repeat("x", 20<<10))}})...)
			return err
		})
		return err
	}
	full.Store(true)
	taken := 0
	for ; taken < 2000; taken++ {
		if err = add(taken); err != nil {
			break
		}
	}
	if !errors.Is(err, ErrNoSpace) {
		t.Fatalf("%d writes were taken on a full disk, then: %v", taken, err)
	}
	if stalls := db.Metrics()["write_stalls_total"]; stalls > 0 {
		t.Errorf("writes had to wait %d times", stalls)
	}
	if err := add(taken); !errors.Is(err, ErrNoSpace) {
		t.Errorf("the next write: %v", err)
	}
	full.Store(false)
	for err = add(taken); errors.Is(err, ErrNoSpace); err = add(taken) {
	}
	if err != nil {
		t.Fatalf("a write when there is space again: %v", err)
	}
	checkClean(t, s)
}
