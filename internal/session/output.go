package session

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

const (
	// flushAt is how much output is gathered before it is written without waiting for the end of the input.
	flushAt = 32 << 10
	// keepOutput is the largest output buffer that is kept for others.
	keepOutput = 64 << 10
	// writeChunk is how much one write timeout is for.
	writeChunk = 64 << 10
	// settle is how long output of a detached operation may wait for more of it.
	settle = time.Millisecond
)

var errOutputEnded = errors.New("the connection has ended")

type outputBuffer struct{ b []byte }

var outputBuffers = sync.Pool{New: func() any { return &outputBuffer{b: make([]byte, 0, 4096)} }}

// output gathers what a connection has to send and writes it, one goroutine at a time and with no lock held, so that a
// client that does not read stops only those who have much to tell it. What others append during a write is written by
// the one who writes already, unless somebody waits to do it.
type output struct {
	timeout time.Duration
	t0      time.Time // where the monotonic times below begin
	stats   *shard
	lost    func(error) // told when a write fails that nobody waits for

	mu      sync.Mutex
	turn    sync.Cond // a write has ended
	nc      net.Conn
	buf     *outputBuffer // nil while nothing is pending
	writing bool
	waiters int   // goroutines that wait for the turn and will write then
	err     error // sticky
	ready   bool  // the timer is set

	timer     *time.Timer
	lastWrite time.Duration // since t0
	armed     time.Duration // the write deadline, since t0
}

func (o *output) init(nc net.Conn, timeout time.Duration, stats *shard, lost func(error)) {
	o.nc, o.timeout, o.stats, o.lost = nc, timeout, stats, lost
	o.t0 = time.Now()
	o.turn.L = &o.mu
}

// begin locks the output and returns the pending octets to append to; end unlocks.
func (o *output) begin() []byte {
	o.mu.Lock()
	if o.buf == nil {
		o.buf = outputBuffers.Get().(*outputBuffer)
	}
	return o.buf.b
}

// when says how urgent output is.
type when uint8

const (
	later when = iota // when the input is drained; the reading goroutine sees to it
	soon              // now, or within settle if more is likely to follow
	now
)

// end takes back what begin gave, with what was appended to it.
func (o *output) end(buf []byte, urgency when) error {
	defer o.mu.Unlock()
	if o.err != nil {
		o.buf.b = buf[:0]
		return o.err
	}
	o.buf.b = buf
	if len(buf) < flushAt {
		switch urgency {
		case later:
			return nil
		case soon:
			if o.delay() {
				return nil
			}
		}
		o.flushLocked()
		return o.err
	}
	// Whoever makes much output writes it himself: the other one must get back to his own work.
	for o.writing && o.err == nil {
		o.waiters++
		o.turn.Wait()
		o.waiters--
	}
	o.flushLocked()
	return o.err
}

// delay reports whether a timer will write soon. A first message after a pause is written at once.
func (o *output) delay() bool {
	if o.ready {
		return true
	}
	if time.Since(o.t0)-o.lastWrite > settle {
		return false
	}
	o.ready = true
	if o.timer == nil {
		o.timer = time.AfterFunc(settle, o.elapsed)
	} else {
		o.timer.Reset(settle)
	}
	return true
}

func (o *output) elapsed() {
	o.mu.Lock()
	o.ready = false
	o.flushLocked()
	err := o.err
	o.mu.Unlock()
	if err != nil {
		o.lost(err)
	}
}

// flush writes what is pending, or leaves it to the goroutine that is writing.
func (o *output) flush() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.buf != nil {
		o.flushLocked()
	}
	return o.err
}

// drain returns when everything pending has been written, by whomever.
func (o *output) drain() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.err == nil {
		if o.writing {
			o.waiters++
			o.turn.Wait()
			o.waiters--
			continue
		}
		if o.buf == nil || len(o.buf.b) == 0 {
			break
		}
		o.flushLocked()
	}
	return o.err
}

func (o *output) flushLocked() {
	for !o.writing && o.err == nil && o.buf != nil {
		buf := o.buf
		o.buf = nil
		if len(buf.b) > 0 {
			o.writing = true
			nc := o.nc
			o.lastWrite = time.Since(o.t0)
			start := o.lastWrite
			o.mu.Unlock()
			err := o.write(nc, buf.b, start)
			o.mu.Lock()
			o.writing = false
			if err != nil && o.err == nil {
				o.err = err
			}
		}
		if cap(buf.b) <= keepOutput {
			buf.b = buf.b[:0]
			outputBuffers.Put(buf)
		}
		o.turn.Broadcast()
		if o.waiters > 0 {
			return
		}
	}
}

// write is called by the goroutine that has set writing. The deadline is set anew only when less than the timeout is
// left of it.
func (o *output) write(nc net.Conn, b []byte, at time.Duration) error {
	for len(b) > 0 {
		if o.timeout > 0 && o.armed-at < o.timeout {
			o.armed = at + o.timeout*3/2
			if err := nc.SetWriteDeadline(o.t0.Add(o.armed)); err != nil {
				return err
			}
		}
		n, err := nc.Write(b[:min(len(b), writeChunk)])
		o.stats.bytesOut.Add(uint64(n))
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				o.stats.writeTimeouts.Add(1)
				discard(nc)
			}
			return err
		}
		if b = b[n:]; len(b) > 0 {
			at = time.Since(o.t0)
		}
	}
	return nil
}

// discard makes the end of a connection throw away what the client has not taken: without that the kernel would go on for
// minutes to offer it what is in its buffers.
func discard(nc net.Conn) {
	if t, ok := nc.(*tls.Conn); ok {
		nc = t.NetConn()
	}
	if c, ok := nc.(interface{ SetLinger(sec int) error }); ok {
		_ = c.SetLinger(0) // a connection that is gone needs none
	}
}

// expect says that an operation begins which is likely to send several messages.
func (o *output) expect() {
	o.mu.Lock()
	o.lastWrite = time.Since(o.t0)
	o.mu.Unlock()
}

// fail makes every write to come fail, and wakes those who wait.
func (o *output) fail(err error) {
	o.mu.Lock()
	if o.err == nil {
		o.err = err
	}
	if o.timer != nil {
		o.timer.Stop()
	}
	o.turn.Broadcast()
	o.mu.Unlock()
}

// secure puts the TLS layer in. Nothing is pending and nobody else writes.
func (o *output) secure(nc *tls.Conn) {
	o.mu.Lock()
	o.nc = nc
	o.armed = 0
	o.mu.Unlock()
}
