package pebblekv

import (
	"bytes"
	"io"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func TestYieldingFile(t *testing.T) {
	mem := vfs.NewMem()
	fs := &dataFS{FS: mem}
	for _, category := range []vfs.DiskWriteCategory{compactionCategory, "pebble-memtable-flush"} {
		file, err := fs.Create("table", category)
		if err != nil {
			t.Fatal(err)
		}
		yields := 0
		if f, ok := file.(*yieldingFile); ok {
			f.yield = func() { yields++ }
		}
		var want []byte
		for i := range 20 {
			block := bytes.Repeat([]byte{byte(i)}, yieldEvery/4)
			want = append(want, block...)
			if n, err := file.Write(block); n != len(block) || err != nil {
				t.Fatal(n, err)
			}
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
		// Who waits for a flush waits for memory: it is not held up.
		if want := map[bool]int{true: 5}[category == compactionCategory]; yields != want {
			t.Errorf("%s: others could run %d times, want %d", category, yields, want)
		}
		in, err := mem.Open("table")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(in); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d octets were written, %d read (%v)", category, len(want), len(got), err)
		}
		in.Close()
	}
}

// The category is a word of the engine's: a file of a compaction must still be given it.
func TestCompactionsYield(t *testing.T) {
	fs := &noting{FS: vfs.NewMem(), made: map[vfs.DiskWriteCategory]bool{}}
	db, err := Open("db", Options{FS: fs, MemtableBytes: 64 << 10, OnFatal: func(err error) { t.Error(err) }})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for i := range 3 {
		b := db.NewBatch()
		for k := range 100 {
			if err := b.Set([]byte{byte(k)}, bytes.Repeat([]byte{byte(i)}, 100)); err != nil {
				t.Fatal(err)
			}
		}
		if err := db.Apply(b); err != nil {
			t.Fatal(err)
		}
		if err := db.p.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.p.Compact(t.Context(), []byte{0}, []byte{255}, false); err != nil {
		t.Fatal(err)
	}
	if !fs.made[compactionCategory] {
		t.Errorf("files were made as %v, none as %s", fs.made, compactionCategory)
	}
}

// noting is a file system that notes as what files are made.
type noting struct {
	vfs.FS
	made map[vfs.DiskWriteCategory]bool
}

func (f *noting) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f.made[category] = true
	return f.FS.Create(name, category)
}
