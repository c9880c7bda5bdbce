package audit

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"portolan/ldap"
)

// Trail is the audit log: one JSON line for every security event and every write, bound to each other by a chain of keyed
// MACs (see chain.go), so that Verify finds what was removed, altered, reordered, inserted or cut off the end.
//
// Any number of goroutines add lines; one goroutine numbers them, computes the MACs and writes, so that a line costs its
// caller an append under a lock. The line of a write is handed to the operating system before the write is acknowledged;
// it is on disk for certain within about two seconds, and where a power cut is faster than that the journal has the
// write, and the line is written from it at the next start. Other lines are handed over within a quarter of a second.
type Trail struct {
	o      Options
	policy atomic.Pointer[Policy]
	key    []byte
	keyID  string
	// trouble is set while the log cannot be written.
	trouble atomic.Pointer[trouble]

	mu      sync.Mutex
	buf     []byte // bodies of lines, each with its end
	batch   *batch // of those who wait for what is in buf
	lost    uint64 // lines that found no room while the log could not be written
	closed  bool
	window  window
	journal journalMarks
	jobs    []func()

	wake     chan struct{}
	jobWake  chan struct{}
	requests chan func()
	done     chan struct{} // the writer has ended
	closing  sync.Once
	hurry    chan struct{} // background work that can wait for the next start is to end
	quit     chan struct{} // all background work is to end
	idle     chan struct{} // background work has ended

	w writer // the writer's own
}

// Policy is what may change while the server runs.
type Policy struct {
	// A file is closed and a new one begun when it would become larger than MaxBytes or is older than MaxAge; 0 is no bound.
	MaxBytes int64
	MaxAge   time.Duration
	// Keep is how many closed files stay; 0 is all. Compress compresses them.
	Keep     int
	Compress bool
	// StopWrites refuses writes while the log cannot be written. Without it they go on, and lines may be lost.
	StopWrites bool
	// GatherBinds writes repeated successful binds of one identity from one address in one second as one line.
	GatherBinds bool
}

// Options are what a Trail is made of.
type Options struct {
	File    string
	KeyFile string
	Policy  Policy
	// Secret are the attributes whose values are never shown, Account those that lock and unlock accounts.
	Secret, Account *Names
	// Verb tells about an extended operation by its OID.
	Verb func(oid []byte) Verb
	// Seals keeps the seal of the log outside of it. Journal is the store's journal, nil without.
	Seals   Seals
	Journal Journal
	Now     func() time.Time
	Rand    io.Reader
	Log     *slog.Logger
	// Open opens the file for appending, and makes it where it is missing; nil is os.OpenFile.
	Open func(path string) (File, error)
}

// Verb is what the log must know of an extended operation.
type Verb struct {
	Name string
	// Writes says that it changes entries, Credential that it changes a password.
	Writes, Credential bool
}

// File is an open log file.
type File interface {
	io.WriteCloser
	Sync() error
	Stat() (os.FileInfo, error)
}

// Seals keeps the encoded Seal of a log where who cuts off the end of the log does not reach.
type Seals interface {
	// LoadSeal returns nil where there is none.
	LoadSeal() ([]byte, error)
	// StoreSeal need not be durable when it returns, but soon.
	StoreSeal([]byte) error
}

// batch is what some callers wait for to be written.
type batch struct{ done chan struct{} }

func newBatch() *batch { return &batch{make(chan struct{})} }

// trouble is why the log cannot be written.
type trouble struct {
	since time.Time
	err   error
	sync  bool // it was written, but may not be on disk
}

const (
	// tickEvery is how often the writer looks what there is to do: lines that nobody waits for wait so long.
	tickEvery = 200 * time.Millisecond
	// sealEvery is how often the log is sealed, syncEvery how often it is made durable.
	sealEvery = time.Minute
	syncEvery = time.Second
	// claimAfter is how long a record of the journal waits for the operation that made it: then it is the server's own.
	claimAfter = 10 * time.Second
	claimEvery = 5 * time.Second
	// patience is how long a write waits for its line where the log must not stop it.
	patience = time.Second
)

// MayWrite says whether the log lets clients write; the error is for the client.
func (t *Trail) MayWrite() error {
	if x := t.trouble.Load(); x != nil && t.policy.Load().StopWrites {
		return ldap.Errorf(ldap.UnwillingToPerform, "the server's audit log cannot be written: changes are refused until it can, reads go on").Because(x.err)
	}
	return nil
}

// Set replaces the policy.
func (t *Trail) Set(p Policy) { t.policy.Store(&p) }

// Stats are figures about a log.
type Stats struct {
	File string `json:"file"`
	// Lines is the number of the last line.
	Lines uint64 `json:"lines"`
	// Sealed is the number of the last line that is sealed.
	Sealed uint64 `json:"sealed"`
	// Since and Trouble say since when and why the log cannot be written; StopsWrites that writes are refused therefore.
	Since       time.Time `json:"since,omitzero"`
	Trouble     string    `json:"trouble,omitempty"`
	StopsWrites bool      `json:"stops_writes,omitempty"`
	Lost        uint64    `json:"lost,omitempty"` // lines given up since
}

// Stats returns the figures of this moment.
func (t *Trail) Stats() Stats {
	s := Stats{File: t.o.File, Lines: t.w.lines.Load(), Sealed: t.w.sealed.Load()}
	if x := t.trouble.Load(); x != nil {
		s.Since, s.Trouble, s.StopsWrites = x.since, x.err.Error(), t.policy.Load().StopWrites
		t.mu.Lock()
		s.Lost = t.lost
		t.mu.Unlock()
	}
	return s
}

// add adds a line, whose body f appends. leaveOut, where not nil, is asked first whether there is to be none. Both are
// called with the lock held. The batch is nil where the line was left out, or lost.
func (t *Trail) add(leaveOut func() bool, f func(b []byte) []byte) *batch {
	t.mu.Lock()
	defer t.mu.Unlock()
	if leaveOut != nil && leaveOut() {
		return nil
	}
	if t.closed || len(t.buf) > maxBuffered {
		t.lost++
		return nil
	}
	before := len(t.buf)
	t.buf = append(f(t.buf), '\n')
	if before < flushAt && len(t.buf) >= flushAt {
		t.signal()
	}
	return t.batch
}

func (t *Trail) signal() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// wait returns when a line has been handed to the operating system, or cannot be.
func (t *Trail) wait(b *batch) {
	if b == nil || t.trouble.Load() != nil {
		return
	}
	t.signal()
	if t.policy.Load().StopWrites {
		<-b.done
		return
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-b.done:
	case <-timer.C:
	}
}

// Field is a named text of an event.
type Field struct{ Name, Text string }

// Event adds a line about the server itself, and returns when it has been handed to the operating system. Names of fields
// are constants of the program.
func (t *Trail) Event(event string, fields ...Field) {
	now := t.o.Now()
	t.wait(t.add(func() bool {
		t.endWindow(now) // what was gathered came before
		return false
	}, func(b []byte) []byte {
		b = begin(b, now, event)
		for _, f := range fields {
			if f.Text != "" {
				b = str(b, f.Name, f.Text)
			}
		}
		return b
	}))
}

// Seal seals the log as it is and returns its anchor when all of it is on disk.
func (t *Trail) Seal() (Anchor, error) {
	var a Anchor
	var err error
	synced := make(chan error, 1)
	if !t.ask(func() {
		t.flush()
		if x := t.trouble.Load(); x != nil {
			synced <- x.err
			return
		}
		a = t.seal(func(e error) { synced <- e })
	}) {
		return a, os.ErrClosed
	}
	err = <-synced
	return a, err
}

// Reopen opens the file anew: after somebody else moved it away.
func (t *Trail) Reopen() error {
	var err error
	if !t.ask(func() {
		t.flush()
		err = t.reopen()
	}) {
		return os.ErrClosed
	}
	return err
}

// ask has f run by the writer, and waits for it; false when the log is closed.
func (t *Trail) ask(f func()) bool {
	ran := make(chan struct{})
	select {
	case t.requests <- func() { f(); close(ran) }:
		<-ran
		return true
	case <-t.done:
		return false
	}
}

// Close writes what there is, seals it, and closes the file. Lines that come later are lost.
func (t *Trail) Close() error {
	var err error
	t.closing.Do(func() { err = t.close() })
	return err
}

func (t *Trail) close() error {
	close(t.hurry)
	t.claimRest()
	synced := make(chan error, 1)
	t.ask(func() {
		t.mu.Lock()
		t.endWindow(t.o.Now())
		t.closed = true
		t.mu.Unlock()
		t.flush()
		if x := t.trouble.Load(); x != nil {
			synced <- x.err
		} else {
			t.seal(func(e error) { synced <- e })
		}
		t.w.over = true
	})
	err := <-synced
	close(t.quit)
	<-t.done
	<-t.idle
	return errors.Join(err, t.w.f.Close())
}

// background runs the work that must not hold up the writer: making durable, compressing, retiring.
func (t *Trail) background() {
	defer close(t.idle)
	for {
		t.mu.Lock()
		jobs := t.jobs
		t.jobs = nil
		t.mu.Unlock()
		for _, job := range jobs {
			job()
		}
		if len(jobs) > 0 {
			continue
		}
		select {
		case <-t.jobWake:
		case <-t.quit:
			t.mu.Lock()
			left := len(t.jobs)
			t.mu.Unlock()
			if left == 0 {
				return
			}
		}
	}
}

// later gives work to the background.
func (t *Trail) later(job func()) {
	t.mu.Lock()
	t.jobs = append(t.jobs, job)
	t.mu.Unlock()
	select {
	case t.jobWake <- struct{}{}:
	default:
	}
}
