package session

import (
	"bytes"
	"sync"
	"testing"
	"time"
)

// clock is a clock that tests set, and that tells when it has been read.
type clock struct {
	mu   sync.Mutex
	t    time.Time
	read chan struct{}
}

func newClock() *clock { return &clock{t: time.Unix(1e9, 0), read: make(chan struct{}, 1)} }

func (c *clock) now() time.Time {
	select {
	case c.read <- struct{}{}:
	default:
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// awaitReading returns when the clock has been read twice more.
func (c *clock) awaitReading(t testing.TB) {
	t.Helper()
	for range 2 {
		wait(t, c.read, "reading of the clock")
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
