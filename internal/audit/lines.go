// Package audit writes what happened: the access log, one line for every operation.
package audit

import (
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"portolan/internal/op"
)

// Lines is a log file that many goroutines append lines to and one goroutine writes. A line costs its appending and a
// lock; the writing is gathered. Lines that a slow disk cannot take are dropped and counted: a log must not stop the
// directory.
type Lines struct {
	open func() (io.WriteCloser, error)

	mu      sync.Mutex
	buf     []byte
	dropped uint64
	closed  bool

	wake   chan struct{}
	reopen chan chan error
	done   chan struct{}
	fail   func(error)
}

const (
	// flushAt is how much is gathered before the writer is woken; flushEvery how long a line waits at most.
	flushAt    = 32 << 10
	flushEvery = 200 * time.Millisecond
	// keepBuffer is the largest buffer that is used again: while one is being written the other one fills.
	keepBuffer = 2 << 20
	// maxBuffered bounds what waits for a slow disk.
	maxBuffered = 8 << 20
)

// NewLines starts a log. open is called at once, and again at every Reopen. fail is told of errors of writing, from the
// writing goroutine.
func NewLines(open func() (io.WriteCloser, error), fail func(error)) (*Lines, error) {
	w, err := open()
	if err != nil {
		return nil, err
	}
	l := &Lines{open: open, fail: fail, wake: make(chan struct{}, 1), reopen: make(chan chan error), done: make(chan struct{})}
	go l.write(w)
	return l, nil
}

// scratch is memory that lines are made in before they are added: under the lock there is only the copying. It remembers
// parts of the line before, since most lines of a busy server have them in common.
type scratch struct {
	b      []byte
	second int64  // of the time in stamp
	stamp  []byte // as far as the point
	base   shown  // of a search
	who    shown
}

var scratches = sync.Pool{New: func() any { return &scratch{b: make([]byte, 0, 1024)} }}

// appendTime is the function appendTime with a memory.
func (s *scratch) appendTime(b []byte, t time.Time) []byte {
	if second := t.Unix(); second != s.second || s.stamp == nil {
		s.stamp = appendTime(s.stamp[:0], t)
		s.stamp = s.stamp[:len(s.stamp)-len("000000Z")]
		s.second = second
	}
	b = appendDigits(append(b, s.stamp...), t.Nanosecond()/1000, 6)
	return append(b, 'Z')
}

// begin makes the beginning of a line.
func (s *scratch) begin(now time.Time, c *op.Conn) []byte {
	return strconv.AppendUint(append(s.appendTime(s.b[:0], now), " conn="...), c.ID, 10)
}

// shown is how a text of a client was shown, and under which secrets.
type shown struct {
	secret *names
	raw    string
	shown  []byte
}

func (s *shown) is(secret *names, raw string) bool {
	return s.shown != nil && s.secret == secret && s.raw == raw
}

func (s *shown) keep(secret *names, raw string, quoted []byte) {
	if len(quoted) <= maxKept {
		s.secret, s.raw, s.shown = secret, strings.Clone(raw), append(s.shown[:0], quoted...)
	}
}

// maxKept is the longest text that is kept.
const maxKept = 256

// Append adds one whole line, with its end. It is copied.
func (l *Lines) Append(line []byte) {
	l.mu.Lock()
	if l.closed || len(l.buf) > maxBuffered {
		l.dropped++
		l.mu.Unlock()
		return
	}
	before := len(l.buf)
	l.buf = append(l.buf, line...)
	full := before < flushAt && len(l.buf) >= flushAt
	l.mu.Unlock()
	if full {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}

// Dropped returns the number of lines that were lost to a slow disk.
func (l *Lines) Dropped() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dropped
}

// Reopen writes what there is and opens the file anew: after a rotation by somebody else. When that fails the old file
// stays in use.
func (l *Lines) Reopen() error {
	answer := make(chan error, 1)
	select {
	case l.reopen <- answer:
		return <-answer
	case <-l.done:
		return nil
	}
}

// Close writes what there is and closes the file. Later lines are dropped.
func (l *Lines) Close() error {
	l.mu.Lock()
	already := l.closed
	l.closed = true
	l.mu.Unlock()
	if !already {
		close(l.wake)
	}
	<-l.done
	return nil
}

// write is the one goroutine that touches the file.
func (l *Lines) write(w io.WriteCloser) {
	defer close(l.done)
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	var spare []byte
	flush := func() {
		l.mu.Lock()
		out := l.buf
		l.buf = spare[:0]
		l.mu.Unlock()
		spare = out
		if len(out) == 0 {
			return
		}
		if _, err := w.Write(out); err != nil {
			l.fail(err)
		}
		if cap(spare) > keepBuffer {
			spare = nil
		}
	}
	for {
		select {
		case _, open := <-l.wake:
			flush()
			if !open {
				if err := w.Close(); err != nil {
					l.fail(err)
				}
				return
			}
		case <-tick.C:
			flush()
		case answer := <-l.reopen:
			flush()
			next, err := l.open()
			if err == nil {
				err = w.Close()
				w = next
			}
			answer <- err
		}
	}
}
