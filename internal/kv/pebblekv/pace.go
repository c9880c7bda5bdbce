package pebblekv

import (
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	// paceStep is how much a flush or compaction writes before it rests, and paceRest for how many times as long as that took.
	paceStep = 32 << 10
	paceRest = 3
	// longestRest bounds a rest, whatever a step took on a busy machine.
	longestRest = 20 * time.Millisecond
	// paceWithin is how long after a Sync somebody is still thought to wait for the next one.
	paceWithin = 50 * time.Millisecond
	// paceBehind is how many flushes may be in the first level before it is made smaller at full speed. A compaction begins with
	// L0CompactionThreshold of them, writes stop at L0StopWritesThreshold.
	paceBehind = 10
)

// pacer spreads flushes and compactions over the time that there is for them. They take a CPU for tenths of a second otherwise, and
// then nothing for seconds: on two CPUs one change in a hundred takes three times as long as the others. While changes wait for the
// disk they have a quarter of a CPU each; when nothing is being changed, or they fall behind, they go as fast as they can.
type pacer struct {
	now   func() time.Time
	sleep func(time.Duration)
	began time.Time

	synced  atomic.Int64 // when Sync was called last, since began
	logs    atomic.Int64 // journals that were begun, of each of which there is a memtable
	flushed atomic.Int64 // those whose memtables are in tables
	level0  atomic.Int64 // flushes that are in the first level
	taken   atomic.Int64 // of these those that are being compacted
}

func newPacer() *pacer {
	p := &pacer{now: time.Now, sleep: time.Sleep, began: time.Now()}
	p.synced.Store(int64(-paceWithin))
	return p
}

// sync notes that somebody waits for the disk.
func (p *pacer) sync() { p.synced.Store(int64(p.now().Sub(p.began))) }

// listener is told by the engine of flushes and compactions.
func (p *pacer) listener() pebble.EventListener {
	return pebble.EventListener{
		WALCreated: func(info pebble.WALCreateInfo) {
			if info.Err == nil {
				p.logs.Add(1)
			}
		},
		FlushEnd: func(info pebble.FlushInfo) {
			if info.Err == nil {
				p.flushed.Add(int64(info.Input))
				p.level0.Add(1)
			}
		},
		CompactionBegin: func(info pebble.CompactionInfo) {
			if fromLevel0(&info) {
				p.taken.Store(p.level0.Load())
			}
		},
		CompactionEnd: func(info pebble.CompactionInfo) {
			if taken := p.taken.Load(); fromLevel0(&info) && info.Err == nil {
				p.taken.Add(-taken)
				p.level0.Add(-taken)
			}
		},
	}
}

// fromLevel0 reports whether a compaction takes tables of the first level. Mostly it takes all, and another one soon otherwise.
func fromLevel0(info *pebble.CompactionInfo) bool {
	return len(info.Input) > 0 && info.Input[0].Level == 0
}

// mayRest reports whether a flush, or a compaction, may take its time.
func (p *pacer) mayRest(flush bool) bool {
	if p.now().Sub(p.began)-time.Duration(p.synced.Load()) > paceWithin {
		return false
	}
	if flush {
		return p.logs.Load()-p.flushed.Load() <= 2 // the one being written, and the one being flushed
	}
	return p.level0.Load() < paceBehind
}

// file returns f so that writing to it is paced, where it is of a flush or a compaction.
func (p *pacer) file(f vfs.File, category vfs.DiskWriteCategory) vfs.File {
	switch category {
	case "pebble-memtable-flush":
		return &pacedFile{File: f, p: p, flush: true, began: p.now()}
	case "pebble-compaction":
		return &pacedFile{File: f, p: p, began: p.now()}
	}
	return f
}

// pacedFile is a table in the making.
type pacedFile struct {
	vfs.File
	p       *pacer
	flush   bool
	began   time.Time // of this step
	written int       // in this step
}

// Write is called by the engine.
func (f *pacedFile) Write(b []byte) (int, error) {
	n, err := f.File.Write(b)
	if f.written += n; f.written >= paceStep {
		if f.p.mayRest(f.flush) {
			f.p.sleep(min(paceRest*f.p.now().Sub(f.began), longestRest))
		}
		f.written, f.began = 0, f.p.now()
	}
	return n, err
}
