package ldaptest

import (
	"context"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"portolan/internal/kv"
	"portolan/internal/kv/memkv"
	"portolan/internal/replica"
	"portolan/internal/store"
)

// pauses let replication wait between two attempts until the test says so.
type pauses struct {
	mu     sync.Mutex
	wake   chan struct{}
	waited []time.Duration
}

func (p *pauses) wait(ctx context.Context, d time.Duration) error {
	p.mu.Lock()
	if p.wake == nil {
		p.wake = make(chan struct{})
	}
	wake := p.wake
	p.waited = append(p.waited, d)
	p.mu.Unlock()
	select {
	case <-wake:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Retry ends the waits of replication that have begun.
func (s *Server) Retry() {
	p := &s.pauses
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.wake != nil {
		close(p.wake)
		p.wake = nil
	}
}

// Paused returns how long replication was to wait, each time.
func (s *Server) Paused() []time.Duration {
	s.pauses.mu.Lock()
	defer s.pauses.mu.Unlock()
	return append([]time.Duration(nil), s.pauses.waited...)
}

// Copy waits until the first copy of the server is as asked, and returns its status then. What has failed is tried again
// meanwhile, where retry is set.
func (s *Server) Copy(t testing.TB, what string, retry bool, is func(x *replica.Status) bool) replica.Status {
	t.Helper()
	c := s.Replicas()[0]
	late := time.After(3 * time.Minute)
	for {
		changed := c.Changed()
		x := c.Status()
		if is(&x) {
			return x
		}
		if retry && x.State == replica.Waiting {
			s.Retry()
		}
		select {
		case <-changed:
		case <-time.After(100 * time.Millisecond): // the wait may begin after the state was told
			if retry {
				s.Retry()
			}
		case <-late:
			t.Fatalf("waiting for %s: %+v", what, x)
		}
	}
}

// connections are those that are open.
type connections struct {
	mu   sync.Mutex
	open map[net.Conn]bool
}

func (c *connections) add(nc net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open == nil {
		c.open = make(map[net.Conn]bool)
	}
	c.open[nc] = true
}

func (c *connections) remove(nc net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, nc)
}

// Disconnect cuts every connection, as a network does that fails.
func (s *Server) Disconnect() {
	s.conns.mu.Lock()
	defer s.conns.mu.Unlock()
	for nc := range s.conns.open {
		nc.Close()
	}
}

// Backup returns a copy of the server's data as it is now.
func (s *Server) Backup(t testing.TB) kv.DB {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "backup")
	if err := s.Store.Checkpoint(dir); err != nil {
		t.Fatal(err)
	}
	db, err := memkv.Load(dir, store.Merger())
	if err != nil {
		t.Fatal(err)
	}
	return db
}
