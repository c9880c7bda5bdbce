package pebblekv

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestPace: what writes tables rests while somebody waits for the disk, and not when nobody does or it has fallen behind.
func TestPace(t *testing.T) {
	fs := vfs.NewMem()
	for _, tc := range []struct {
		name     string
		category vfs.DiskWriteCategory
		before   func(p *pacer, l pebble.EventListener)
		rest     time.Duration // of each step, of 5 ms of work
	}{
		{"a flush", "pebble-memtable-flush", func(p *pacer, l pebble.EventListener) { p.sync() }, 15 * time.Millisecond},
		{"a compaction", "pebble-compaction", func(p *pacer, l pebble.EventListener) { p.sync() }, 15 * time.Millisecond},
		{"something else", "pebble-wal", func(p *pacer, l pebble.EventListener) { p.sync() }, 0},
		{"nobody waits", "pebble-compaction", func(*pacer, pebble.EventListener) {}, 0},
		{"the next memtable is full", "pebble-memtable-flush", func(p *pacer, l pebble.EventListener) {
			for range 3 {
				l.WALCreated(pebble.WALCreateInfo{})
			}
			p.sync()
		}, 0},
		{"the next memtable was flushed too", "pebble-memtable-flush", func(p *pacer, l pebble.EventListener) {
			for range 4 {
				l.WALCreated(pebble.WALCreateInfo{})
			}
			l.FlushEnd(pebble.FlushInfo{Input: 2})
			p.sync()
		}, 15 * time.Millisecond},
		{"the first level is deep", "pebble-compaction", func(p *pacer, l pebble.EventListener) {
			for range paceBehind {
				l.FlushEnd(pebble.FlushInfo{Input: 1})
			}
			p.sync()
		}, 0},
		{"the first level was deep", "pebble-compaction", func(p *pacer, l pebble.EventListener) {
			for range paceBehind {
				l.FlushEnd(pebble.FlushInfo{Input: 1})
			}
			l.CompactionBegin(pebble.CompactionInfo{Input: []pebble.LevelInfo{{Level: 0}, {Level: 5}}})
			l.FlushEnd(pebble.FlushInfo{Input: 1})
			l.CompactionEnd(pebble.CompactionInfo{Input: []pebble.LevelInfo{{Level: 0}, {Level: 5}}})
			p.sync()
		}, 15 * time.Millisecond},
		{"another level was compacted", "pebble-compaction", func(p *pacer, l pebble.EventListener) {
			for range paceBehind {
				l.FlushEnd(pebble.FlushInfo{Input: 1})
			}
			l.CompactionBegin(pebble.CompactionInfo{Input: []pebble.LevelInfo{{Level: 5}, {Level: 6}}})
			l.CompactionEnd(pebble.CompactionInfo{Input: []pebble.LevelInfo{{Level: 5}, {Level: 6}}})
			p.sync()
		}, 0},
		{"it came to be deep meanwhile", "pebble-compaction", func(p *pacer, l pebble.EventListener) {
			l.CompactionBegin(pebble.CompactionInfo{Input: []pebble.LevelInfo{{Level: 0}, {Level: 5}}})
			for range paceBehind {
				l.FlushEnd(pebble.FlushInfo{Input: 1})
			}
			l.CompactionEnd(pebble.CompactionInfo{Input: []pebble.LevelInfo{{Level: 0}, {Level: 5}}})
			p.sync()
		}, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			at := time.Unix(1000, 0)
			var rested time.Duration
			p := newPacer()
			p.now, p.began = func() time.Time { return at }, at
			p.sleep = func(d time.Duration) { rested += d; at = at.Add(d) }
			at = at.Add(time.Hour)
			tc.before(p, p.listener())
			inner, err := fs.Create("table", tc.category)
			if err != nil {
				t.Fatal(err)
			}
			f := p.file(inner, tc.category)
			defer f.Close()
			const steps = 3
			for range 2 * steps {
				at = at.Add(2500 * time.Microsecond)
				p.synced.Add(int64(2500 * time.Microsecond)) // others go on as they did
				if n, err := f.Write(make([]byte, paceStep/2)); n != paceStep/2 || err != nil {
					t.Fatal(n, err)
				}
				p.synced.Add(int64(rested) / (2 * steps))
			}
			if rested != steps*tc.rest {
				t.Errorf("it rested for %v in %d steps, want %v each", rested, steps, tc.rest)
			}
		})
	}
}
