package audit

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Events that are about the log itself.
const (
	eventFile       = "file"       // the first line of a file
	eventResume     = "resume"     // the server found the log other than it should have left it
	eventCheckpoint = "checkpoint" // the log up to here is sealed
	eventRetired    = "retired"    // old files were removed as configured
	eventFailure    = "failure"    // the log could not be written for a while
)

// writer is what belongs to the goroutine that writes.
type writer struct {
	f      File
	chain  chain
	id     string // of the chain
	size   int64  // of the file, with what waits in out
	first  uint64 // number of the file's first line
	begun  time.Time
	out    []byte // lines that the file has not taken yet
	spare  []byte
	over   bool
	rotate time.Time // not again before: it failed

	unsynced, unsealed bool
	lastSync, lastSeal time.Time
	lastClaim          time.Time
	syncing, healed    atomic.Bool // a job is under way; it went well again

	lines, sealed atomic.Uint64 // for Stats
}

// run is the goroutine that writes.
func (t *Trail) run() {
	defer close(t.done)
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	for !t.w.over {
		select {
		case <-t.wake:
			t.flush()
		case <-tick.C:
			t.tick(t.o.Now())
		case f := <-t.requests:
			f()
		}
	}
	t.mu.Lock()
	b := t.batch
	t.mu.Unlock()
	close(b.done)
}

// tick does what is due.
func (t *Trail) tick(now time.Time) {
	t.mu.Lock()
	if t.window.second != now.Unix() {
		t.endWindow(now)
	}
	t.mu.Unlock()
	t.flush()
	w := &t.w
	x := t.trouble.Load()
	p := t.policy.Load()
	if x == nil && now.Sub(w.lastClaim) >= claimEvery {
		w.lastClaim = now
		t.claimStale(now)
	}
	switch {
	case x != nil && !x.sync:
		// flush tries again each time.
	case x == nil && p.MaxAge > 0 && now.Sub(w.begun) >= p.MaxAge && w.chain.n > w.first:
		t.rotateNow(now)
	case x == nil && w.unsealed && now.Sub(w.lastSeal) >= sealEvery:
		t.seal(nil)
	case (w.unsynced || x != nil) && now.Sub(w.lastSync) >= syncEvery && w.syncing.CompareAndSwap(false, true):
		w.unsynced, w.lastSync = false, now
		f := w.f
		t.later(func() {
			if err := f.Sync(); err != nil {
				t.fail(err, true)
			} else if x != nil {
				w.healed.Store(true)
			}
			w.syncing.Store(false)
		})
	}
}

// flush writes what was added.
func (t *Trail) flush() {
	w := &t.w
	if !t.write() {
		t.letGo()
		return
	}
	t.mu.Lock()
	bodies, b := t.buf, t.batch
	t.buf, t.batch = w.spare[:0], newBatch()
	n := t.journal.next()
	t.mu.Unlock()
	for rest := bodies; len(rest) > 0; {
		i := bytes.IndexByte(rest, '\n')
		t.line(rest[:i])
		rest = rest[i+1:]
	}
	t.mu.Lock()
	t.journal.inFile(n) // or in what goes to this file before anything else
	t.mu.Unlock()
	t.write()
	if w.spare = bodies; cap(bodies) > 4*flushAt {
		w.spare = nil
	}
	close(b.done)
}

// letGo lets those go who wait for what cannot be written.
func (t *Trail) letGo() {
	t.mu.Lock()
	b := t.batch
	t.batch = newBatch()
	t.mu.Unlock()
	close(b.done)
}

// line appends one line to what is to be written, in a new file where it would make this one too large.
func (t *Trail) line(body []byte) {
	w := &t.w
	if most := t.policy.Load().MaxBytes; most > 0 && w.size+int64(len(body))+lineRoom > most && w.chain.n > w.first {
		if now := t.o.Now(); !now.Before(w.rotate) && t.write() {
			t.rotateNow(now)
		}
	}
	t.append(body)
}

// lineRoom is what a line and the checkpoint at the end of a file need beside their bodies.
const lineRoom = 512

// append chains one line to what is to be written.
func (t *Trail) append(body []byte) {
	w := &t.w
	before := len(w.out)
	w.out = w.chain.next(w.out, body)
	w.size += int64(len(w.out) - before)
	w.unsynced, w.unsealed = true, true
	w.lines.Store(w.chain.n)
}

// write hands to the operating system what waits; false when it does not take all of it. A line of which a part was taken
// is completed later, so that the file is as if nothing had happened.
func (t *Trail) write() bool {
	w := &t.w
	for len(w.out) > 0 {
		n, err := w.f.Write(w.out)
		w.out = w.out[:copy(w.out, w.out[n:])]
		if err != nil {
			t.fail(err, false)
			return false
		}
	}
	if cap(w.out) > 4*maxBuffered {
		w.out = nil
	}
	if x := t.trouble.Load(); x != nil && (!x.sync || w.healed.Load()) {
		t.recovered(x)
		return t.write()
	}
	return true
}

// fail notes that the log cannot be written, or, with sync, that what was written may not be on disk.
func (t *Trail) fail(err error, sync bool) {
	t.w.healed.Store(false)
	if !t.trouble.CompareAndSwap(nil, &trouble{t.o.Now(), err, sync}) {
		return
	}
	what := "changes go on and lines may be lost (audit.on_failure = \"continue\")"
	if t.policy.Load().StopWrites {
		what = "changes are refused until it can"
	}
	t.o.Log.Error("the audit log cannot be written: "+what, "error", err)
}

// recovered notes that the log can be written again.
func (t *Trail) recovered(x *trouble) {
	now := t.o.Now()
	t.mu.Lock()
	lost := t.lost
	t.lost = 0
	t.mu.Unlock()
	t.trouble.Store(nil)
	t.o.Log.Warn("the audit log can be written again", "since", x.since, "lost", lost)
	b := begin(nil, now, eventFailure)
	b = str(b, "since", x.since.UTC().Format(timeLayout))
	b = str(b, "problem", x.err.Error())
	t.append(num(b, "lost", lost))
}

// seal ends what is in the file with a checkpoint, where there is anything since the last, and sees to it in the background
// that the file is on disk and the seal in the store. done, where not nil, is told.
func (t *Trail) seal(done func(error)) Anchor {
	w := &t.w
	now := t.o.Now()
	if w.unsealed {
		t.mu.Lock()
		covered := t.journal.upTo()
		t.mu.Unlock()
		t.append(num(begin(nil, now, eventCheckpoint), "journal", covered))
		w.unsealed = false
		t.write()
	}
	w.lastSeal = now
	a, f := Anchor{w.chain.n, w.chain.mac, now}, w.f
	t.later(func() {
		err := t.settle(f, a)
		if done != nil {
			done(err)
		}
	})
	return a
}

// settle makes a file durable and notes its seal, in that order: the store never knows of a line that the disk may lose.
func (t *Trail) settle(f File, a Anchor) error {
	if x := t.trouble.Load(); x != nil {
		return x.err
	}
	err := f.Sync()
	if err == nil {
		s := Seal{Anchor: a, Chain: t.w.id, Key: t.keyID}
		if err = t.o.Seals.StoreSeal(s.Encode()); err == nil {
			t.w.sealed.Store(a.N)
			return nil
		}
		t.o.Log.Error("the audit log's seal could not be stored", "error", err)
		return err
	}
	t.fail(err, true)
	return err
}

// rotateNow closes the file and begins the next. When that cannot be done this one goes on, and it is tried again later.
func (t *Trail) rotateNow(now time.Time) {
	w := &t.w
	t.seal(nil)
	if t.trouble.Load() != nil {
		return
	}
	w.rotate = now.Add(time.Minute)
	name := rotatedName(t.o.File, w.first)
	if err := renameNew(t.o.File, name); err != nil {
		t.o.Log.Error("the audit log could not be rotated", "error", err)
		return
	}
	next, err := t.o.Open(t.o.File)
	if err != nil {
		t.o.Log.Error("the audit log could not be rotated", "error", errors.Join(err, os.Rename(name, t.o.File)))
		return
	}
	w.rotate = time.Time{}
	t.closeLater(w.f)
	t.beginFile(next, now)
}

// renameNew renames a file and replaces nothing.
func renameNew(from, to string) error {
	if _, err := os.Lstat(to); !missing(err) {
		return fmt.Errorf("%s is there already", to)
	}
	return os.Rename(from, to)
}

// closeLater closes a file in the background, then compresses and retires what is to be.
func (t *Trail) closeLater(f File) {
	t.later(func() {
		if err := errors.Join(f.Close(), syncDir(filepath.Dir(t.o.File))); err != nil {
			t.o.Log.Error("the audit log's old file could not be closed", "error", err)
		}
		t.tidy()
	})
}

// beginFile goes on in a new file.
func (t *Trail) beginFile(f File, now time.Time) {
	w := &t.w
	w.f, w.size, w.begun = f, 0, now
	w.first = w.chain.n + 1
	t.append(t.header(now, nil))
	t.write()
}

// header is the body of the first line of a file: whatever becomes of the files before, this one can be verified.
func (t *Trail) header(now time.Time, more []byte) []byte {
	w := &t.w
	b := begin(nil, now, eventFile)
	b = str(b, "chain", w.id)
	b = str(b, "key", t.keyID)
	b = str(b, "prev", w.chain.mac.String())
	t.mu.Lock()
	covered := t.journal.marks()
	t.mu.Unlock()
	return append(covered.append(b), more...)
}

// reopen goes on in the file that has the log's name now.
func (t *Trail) reopen() error {
	w := &t.w
	next, err := t.o.Open(t.o.File)
	if err != nil {
		return fmt.Errorf("the audit log cannot be reopened, the old file stays in use: %w", err)
	}
	same, size, err := sameFile(w.f, next)
	switch {
	case err != nil:
		return errors.Join(err, next.Close())
	case same:
		old := w.f
		w.f = next
		t.closeLater(old)
		t.write()
		return nil
	case len(w.out) > 0:
		return errors.Join(errors.New("the audit log has lines that the old file could not take: make room for it, or start the server anew"), next.Close())
	case size > 0:
		return errors.Join(fmt.Errorf("%s is a file with something in it that the server did not write: move it away", t.o.File), next.Close())
	}
	t.seal(nil)
	t.closeLater(w.f)
	t.beginFile(next, t.o.Now())
	return nil
}

func sameFile(a, b File) (same bool, size int64, err error) {
	x, err := a.Stat()
	if err != nil {
		return false, 0, err
	}
	y, err := b.Stat()
	if err != nil {
		return false, 0, err
	}
	return os.SameFile(x, y), y.Size(), nil
}

// marks are journal sequences that the log covers.
type marks struct {
	// upTo says that every record up to it has its line; ahead are later ones that have theirs too.
	upTo  uint64
	ahead []uint64
}

func (m marks) append(b []byte) []byte {
	b = num(b, "journal", m.upTo)
	if len(m.ahead) == 0 {
		return b
	}
	var list strings.Builder
	for i, seq := range m.ahead {
		if i > 0 {
			list.WriteByte(' ')
		}
		list.WriteString(strconv.FormatUint(seq, 10))
	}
	return str(b, "ahead", list.String())
}
