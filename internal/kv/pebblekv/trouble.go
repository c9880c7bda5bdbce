package pebblekv

import (
	"errors"
	"fmt"
	"io/fs"
	"runtime/debug"
	"sync/atomic"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"portolan/internal/kv"
)

// fatalError is the error after which the engine is not used again. It is also the value of the panic that leaves the
// engine, because the engine's Fatalf must not return.
type fatalError struct{ err error }

func (e *fatalError) Error() string { return "pebblekv: storage failed: " + e.err.Error() }
func (e *fatalError) Unwrap() error { return e.err }

// trouble is the engine's logger and event listener: it decides what an error means.
type trouble struct {
	log     func(level, msg string)
	onFatal func(error)
	opening atomic.Bool // Open has not returned: it returns the fatal error itself
	dead    atomic.Pointer[fatalError]
	// background counts failed flushes and compactions, corrupt the blocks found damaged, stalls how often writes had to
	// wait for the engine.
	background, corrupt, stalls, slow atomic.Int64
	// short says that the last flush failed for want of space.
	short atomic.Bool
}

var _ pebble.Logger = (*trouble)(nil)

func newTrouble(o Options) *trouble {
	t := &trouble{log: o.Logger, onFatal: o.OnFatal}
	if t.log == nil {
		t.log = func(string, string) {}
	}
	t.opening.Store(true)
	return t
}

// Infof is called by the engine.
func (t *trouble) Infof(format string, args ...any) { t.log("debug", fmt.Sprintf(format, args...)) }

// Errorf is called by the engine.
func (t *trouble) Errorf(format string, args ...any) { t.log("error", fmt.Sprintf(format, args...)) }

// Fatalf is called by the engine and must not return.
func (t *trouble) Fatalf(format string, args ...any) {
	err := fmt.Errorf(format, args...)
	for _, a := range args {
		if cause, ok := a.(error); ok {
			err = &detail{msg: err.Error(), cause: classify(cause)}
			break
		}
	}
	panic(t.die(err))
}

// detail is an error with a text of its own and a cause for errors.Is.
type detail struct {
	msg   string
	cause error
}

func (d *detail) Error() string { return d.msg }
func (d *detail) Unwrap() error { return d.cause }

// die notes the error as the end of the engine and tells OnFatal if it is the first one.
func (t *trouble) die(err error) *fatalError {
	d := &fatalError{err}
	if !t.dead.CompareAndSwap(nil, d) {
		return t.dead.Load()
	}
	if t.opening.Load() {
		return d
	}
	t.log("error", d.Error())
	if t.onFatal != nil {
		t.onFatal(d)
	}
	return d
}

// catch is deferred around calls that write: it turns the panic of Fatalf, and the panics with which the engine answers a
// journal that it can neither write nor close, into an error. Panics that are not errors are defects and go on.
func (t *trouble) catch(errp *error) {
	switch r := recover().(type) {
	case nil:
	case *fatalError:
		*errp = r
	case error:
		t.log("error", fmt.Sprintf("engine panic: %v\n%s", r, debug.Stack()))
		*errp = t.die(classify(r))
	default:
		panic(r)
	}
}

// NoSpace reports whether the engine cannot write its memory to the disk because that is full. It tries again by itself, and
// says false as soon as it has succeeded; until then its memory fills, and when that is full too, Apply waits for space
// without an end. Who asks before writing can refuse instead.
func (db *DB) NoSpace() bool { return db.trouble.short.Load() }

func (t *trouble) slowDisk(info vfs.DiskSlowInfo) {
	t.slow.Add(1)
	t.log("warn", "slow disk: "+info.String())
}

func (t *trouble) listener(blocks *blockCache) *pebble.EventListener {
	return &pebble.EventListener{
		FlushBegin: blocks.flushed,
		BackgroundError: func(err error) {
			// A failing flush is tried again at once and without end, so only the 1st, 2nd, 4th, 8th ... is logged.
			if n := t.background.Add(1); n&(n-1) == 0 {
				t.log("error", fmt.Sprintf("flush or compaction failed (%d times so far): %v", n, classify(err)))
			}
		},
		// Of compactions nothing is noted: one that failed is perhaps not tried again for a long time.
		FlushEnd: func(info pebble.FlushInfo) { t.short.Store(errors.Is(classify(info.Err), kv.ErrNoSpace)) },
		DataCorruption: func(info pebble.DataCorruptionInfo) {
			// The reader gets an error. Ending the process would turn one bad block into an outage.
			t.corrupt.Add(1)
			t.log("error", info.String())
		},
		WriteStallBegin: func(info pebble.WriteStallBeginInfo) {
			t.stalls.Add(1)
			t.log("warn", "writes wait: "+info.Reason)
		},
		WriteStallEnd: func() { t.log("info", "writes go on") },
		FormatUpgrade: func(v pebble.FormatMajorVersion) {
			t.log("debug", fmt.Sprintf("storage format is now %s", v))
		},
	}
}

// classify puts a kv error around what the engine or the system said, where there is one.
func classify(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, kv.ErrNoSpace), errors.Is(err, kv.ErrReadOnly), errors.Is(err, kv.ErrClosed), errors.Is(err, kv.ErrLocked):
		return err
	case vfs.IsNoSpaceError(err), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w: %w", kv.ErrNoSpace, err)
	case errors.Is(err, pebble.ErrReadOnly):
		return fmt.Errorf("%w: %w", kv.ErrReadOnly, err)
	case errors.Is(err, pebble.ErrClosed):
		return fmt.Errorf("%w: %w", kv.ErrClosed, err)
	}
	return err
}

// wrap says what was being done where. It returns nil for nil.
func (db *DB) wrap(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("pebblekv: %s: %s: %w", db.dir, doing, classify(err))
}

// openError says why a store could not be opened, and what to do about it.
func openError(dir string, readOnly bool, err error) error {
	err = classify(err)
	switch {
	case errors.Is(err, kv.ErrLocked):
		return fmt.Errorf("pebblekv: open %s: %w", dir, err)
	case errors.Is(err, kv.ErrNoSpace):
		return fmt.Errorf("pebblekv: open %s: free some disk space and start again: %w", dir, err)
	case !readOnly && (errors.Is(err, syscall.EROFS) || errors.Is(err, fs.ErrPermission)):
		return fmt.Errorf("pebblekv: open %s: the directory cannot be written to; make it writable for the user that runs the server, or open it read-only: %w: %w",
			dir, kv.ErrReadOnly, err)
	}
	return fmt.Errorf("pebblekv: open %s: %w", dir, err)
}
