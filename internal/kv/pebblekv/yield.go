package pebblekv

import (
	"runtime"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A compaction computes for tens of milliseconds on end. On a machine of two CPUs it has one of them until the scheduler
// takes it away, which is after ten milliseconds, and a write waits for several goroutines in turn: the one that evaluates,
// the one that syncs, the one that answers. So what compactions write lets others go first, some ten times in that time.
// Those that nobody competes with lose nothing by it.

// yieldEvery is after how many octets written by a compaction others may run: some hundred microseconds of its work.
const yieldEvery = 32 << 10

// compactionCategory is what the engine calls the files that compactions write.
const compactionCategory = "pebble-compaction"

// yieldingFile is a file that a compaction writes. One goroutine writes it.
type yieldingFile struct {
	vfs.File
	written int
	yield   func()
}

func (f *yieldingFile) Write(p []byte) (int, error) {
	if f.written += len(p); f.written >= yieldEvery {
		f.written = 0
		f.yield()
	}
	return f.File.Write(p)
}

// Create is called by the engine.
func (f *dataFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.Create(name, category)
	if err == nil && category == compactionCategory {
		file = &yieldingFile{File: file, yield: runtime.Gosched}
	}
	return file, err
}
