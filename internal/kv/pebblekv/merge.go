package pebblekv

import (
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2"

	"portolan/internal/kv"
)

// mergerName is written into the store's tables and must never change.
const mergerName = "portolan.v1"

// The engine makes no difference between a value that was set and an operand: both come to its merger alike. So the first
// octet of everything stored tells them apart.
const (
	tagValue   byte = 0 // a value follows
	tagOperand byte = 1 // one operand follows, for a value that is not known yet
)

var (
	errTag      = errors.New("stored value carries no valid tag; the store is damaged or was not written by this package")
	errNoMerger = errors.New("pebblekv: the store was opened without a Merger, so Merge cannot be used")
)

// untag returns the value in what the engine stored under a key. Reads always see values: the engine finishes a merge
// before it answers.
func untag(stored []byte) ([]byte, error) {
	if len(stored) == 0 || stored[0] != tagValue {
		return nil, errTag
	}
	return stored[1:], nil
}

func engineMerger(m kv.Merger) *pebble.Merger {
	return &pebble.Merger{
		Name: mergerName,
		Merge: func(key, value []byte) (pebble.ValueMerger, error) {
			if m == nil {
				return nil, errNoMerger
			}
			return newFold(m, key, value)
		},
	}
}

// fold collects what the engine stored for one key. The engine hands things over from old to new or from new to old, and
// never both ways in one fold.
type fold struct {
	m     kv.Merger
	key   []byte
	older bool // parts are in order from new to old
	buf   []byte
	ends  []int // part i is buf[ends[i-1]:ends[i]], tag included

	// room is what key, buf and ends begin in: there is a fold for every key that is flushed or compacted, and most have one or
	// two short parts.
	room struct {
		octets [96]byte
		ends   [4]int
	}
}

// newFold begins a fold with its first part.
func newFold(m kv.Merger, key, stored []byte) (*fold, error) {
	f := &fold{m: m}
	room := f.room.octets[:]
	n := min(len(key), len(room))
	f.key = append(room[:0:n], key...)
	f.buf, f.ends = room[n:n], f.room.ends[:0]
	return f, f.add(stored)
}

var _ pebble.ValueMerger = (*fold)(nil)

func (f *fold) add(stored []byte) error {
	if len(stored) == 0 || stored[0] > tagOperand {
		return fmt.Errorf("pebblekv: key %q: %w", f.key, errTag)
	}
	f.buf = append(f.buf, stored...)
	f.ends = append(f.ends, len(f.buf))
	return nil
}

// MergeNewer is called by the engine.
func (f *fold) MergeNewer(stored []byte) error { return f.add(stored) }

// MergeOlder is called by the engine.
func (f *fold) MergeOlder(stored []byte) error {
	f.older = true
	return f.add(stored)
}

// Finish is called by the engine. includesBase says that nothing older exists for the key. When it is false, and no value
// was among the parts, the result is an operand again.
func (f *fold) Finish(includesBase bool) ([]byte, io.Closer, error) {
	if len(f.ends) == 1 && (f.buf[0] == tagValue || !includesBase) {
		return f.buf, nil, nil // as it came
	}
	var base []byte
	hasBase := false
	var few [4][]byte
	ops := few[:0]
	for n := range f.ends {
		i := n
		if f.older {
			i = len(f.ends) - 1 - n
		}
		start := 0
		if i > 0 {
			start = f.ends[i-1]
		}
		part := f.buf[start+1 : f.ends[i] : f.ends[i]]
		if f.buf[start] == tagValue {
			// A value stands for everything older.
			base, hasBase, ops = part, true, ops[:0]
		} else {
			ops = append(ops, part)
		}
	}
	switch {
	case !hasBase && !includesBase:
		if len(ops) == 1 {
			return append([]byte{tagOperand}, ops[0]...), nil, nil
		}
		return append([]byte{tagOperand}, f.m.PartialMerge(f.key, ops)...), nil, nil
	case len(ops) == 0:
		return append([]byte{tagValue}, base...), nil, nil
	default:
		return append([]byte{tagValue}, f.m.Merge(f.key, base, ops)...), nil, nil
	}
}
