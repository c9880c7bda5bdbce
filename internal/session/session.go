// Package session is one connection of an LDAP client, from its first octet to its last: framing, message IDs, the
// order of binds, abandon, StartTLS, outstanding operations, the writing of responses, and how all that ends.
//
// A connection that is idle holds no buffer. Requests are served on the goroutine that has read them; an operation that
// calls Request.Detach keeps that goroutine, and another goes on reading.
package session

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"portolan/internal/op"
	"portolan/ldap"
)

// oidNotice names the notice of disconnection (RFC 4511 section 4.4.1).
const oidNotice = "1.3.6.1.4.1.1466.20036"

// lingerFor is how long a connection that ends with a notice is read on, so that what the client is still sending does
// not make its system throw the notice away.
const lingerFor = time.Second

// Session is one connection. Make it with New and start it with Run; the other methods may be called from everywhere.
type Session struct {
	cfg   *Config
	conn  *op.Conn
	base  context.Context
	log   *slog.Logger
	stats *shard
	ended func()
	under net.Conn // the socket, whatever layers lie above it
	begun time.Time

	out output

	// Owned by the goroutine that reads, and handed over with the reading.
	lim      Limits
	nc       net.Conn
	raw      syscall.RawConn    // nil where reading goes through nc
	rawRead  func(uintptr) bool // s.readable, bound once
	got      *task              // what readable has read
	gotErr   error              // or why not
	first    [1]byte            // read into while there is no buffer
	last     time.Time          // when input was last complete, by Config.Now
	armed    time.Time          // the read deadline that the socket has, by Config.Now
	mech     string             // of the SASL exchange in progress
	greeted  bool               // BindTimeout has been met
	implicit bool               // TLS from the first octet
	unread   []byte             // read by the listener before the session began

	// refs counts the goroutines at work. The last one out ends the session.
	refs    atomic.Int32
	inline  atomic.Int32 // message ID of the operation on the reading goroutine, or 0
	active  atomic.Int32 // detached operations whose response is not decided
	done    atomic.Int64 // when a detached operation was last decided, as a time.Duration since begun
	closing atomic.Bool

	received, answered atomic.Uint64 // requests, and operations that have ended

	mu      sync.Mutex
	table   map[int32]*task // detached operations that can be abandoned, by message ID
	running int             // detached operations that have not returned
	waiting chan struct{}   // closed at the next change of what is here; nil when the reader does not wait
	dead    bool
	reason  string      // why it ended: the first to say
	goodbye *ldap.Error // sent as a notice of disconnection at the end
	grace   *time.Timer // for searches, once the session is closing
}

// Options are what New may be told about a connection.
type Options struct {
	// TLS makes the session begin with a TLS handshake (ldaps).
	TLS bool
	// Unread is what has been read from the connection already.
	Unread []byte
	// Ended is called once, when the session has ended and its last operation has returned.
	Ended func()
}

// New returns the session of a connection that has just been accepted. conn must be complete but for Session, which New
// sets. The session closes nc.
func New(nc net.Conn, conn *op.Conn, cfg *Config, opt Options) *Session {
	s := &Session{
		cfg: cfg, conn: conn, base: cfg.Context, log: cfg.Logger, ended: opt.Ended, under: nc, nc: nc,
		lim: cfg.Limits.withDefaults(), implicit: opt.TLS, unread: opt.Unread,
		stats: cfg.Stats.shard(conn.ID),
	}
	if s.base == nil {
		s.base = context.Background()
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.begun = cfg.now()
	s.last = s.begun
	s.out.init(nc, s.lim.WriteTimeout, s.stats, s.lost)
	if !opt.TLS {
		s.raw = rawConn(nc)
		s.rawRead = s.readable
	}
	s.limit()
	conn.Session = s
	s.refs.Store(1)
	return s
}

// Conn returns what handlers see of the connection.
func (s *Session) Conn() *op.Conn { return s.conn }

// Info is what may be said of a connection while it is served.
type Info struct {
	Begun               time.Time
	Received, Completed uint64 // requests, and operations that have ended
	Outstanding         int
}

// Info returns numbers that need not belong to one moment.
func (s *Session) Info() Info {
	return Info{Begun: s.begun, Received: s.received.Load(), Completed: s.answered.Load(), Outstanding: s.Outstanding()}
}

// Run serves the connection on the calling goroutine. It may return before the session has ended, with a detached
// operation; Options.Ended says when it has. It is called once.
func (s *Session) Run() {
	growStack()
	s.stats.opened.Add(1)
	if s.cfg.OnOpen != nil {
		s.cfg.OnOpen(s.conn)
	}
	if s.log.Enabled(s.base, slog.LevelDebug) {
		s.log.Debug("connection opened", "conn", s.conn.ID, "listener", s.conn.Listener, "client", s.conn.Remote.String())
	}
	var t *task
	if len(s.unread) > 0 && !s.implicit {
		t = newTask(s)
		if len(s.unread) > len(t.b) {
			t.b = make([]byte, len(s.unread))
		}
		t.w = copy(t.b, s.unread)
	}
	s.run(t)
}

// run is the body of every goroutine that reads. Its reference has been counted.
func (s *Session) run(t *task) {
	defer s.leave()
	defer func() {
		if v := recover(); v != nil {
			s.stats.panics.Add(1)
			s.log.Error("panic in a session; its connection is closed", "conn", s.conn.ID, "panic", fmt.Sprint(v),
				"stack", string(debug.Stack()))
			s.kill("panic")
		}
	}()
	if s.implicit {
		s.implicit = false
		nc := s.nc
		if len(s.unread) > 0 {
			nc = &prefixed{Conn: nc, unread: s.unread}
		}
		if !s.handshake(nc) {
			return
		}
	}
	s.loop(t)
}

// resume is the body of a goroutine that reads on beside a detached operation. A client whose operations are detached, for
// example one that writes, goes on with such: its next request will need a deeper stack than a search does.
func (s *Session) resume(t *task) {
	deepenStack()
	s.run(t)
}

// growStack makes the goroutine's stack at once as large as serving a request needs: it would double step by step otherwise
// and be copied each time, which is a twelfth of what a short connection costs, and deepenStack of what a write costs. The
// collector takes it back from connections that are idle.
//
//go:noinline
func growStack() {
	var room [stackRoom]byte
	keepRoom(room[:])
}

//go:noinline
func deepenStack() {
	var room [deepRoom]byte
	keepRoom(room[:])
}

//go:noinline
func keepRoom([]byte) {}

// stackRoom makes the stack 8 KiB: what more a request takes for a while, idle connections would keep until the collector
// comes by. deepRoom makes it 16 KiB.
const (
	stackRoom = 3 << 10
	deepRoom  = 10 << 10
)

// prefixed is a connection of which something has been read already.
type prefixed struct {
	net.Conn
	unread []byte
}

func (p *prefixed) Read(b []byte) (int, error) {
	if len(p.unread) > 0 {
		n := copy(b, p.unread)
		p.unread = p.unread[n:]
		return n, nil
	}
	return p.Conn.Read(b)
}

// handshake puts TLS under the session; false when the session is over.
func (s *Session) handshake(nc net.Conn) bool {
	cfg := s.cfg.tls()
	if cfg == nil {
		s.kill("no certificate")
		return false
	}
	timeout := s.lim.HandshakeTimeout
	if s.lim.BindTimeout > 0 && !s.greeted {
		timeout = min(timeout, s.lim.BindTimeout-s.cfg.now().Sub(s.begun))
	}
	s.under.SetDeadline(time.Now().Add(timeout))
	if s.closing.Load() {
		return false
	}
	tc := tls.Server(nc, cfg)
	if err := tc.HandshakeContext(s.base); err != nil {
		s.stats.handshakeErrors.Add(1)
		s.notTLS(err)
		s.log.Debug("TLS handshake failed", "conn", s.conn.ID, "client", s.conn.Remote.String(), "error", err.Error())
		s.kill("TLS handshake failed: " + err.Error())
		return false
	}
	s.under.SetDeadline(time.Time{})
	s.armed = time.Time{}
	s.last = s.cfg.now()
	s.nc, s.raw = tc, nil
	s.out.secure(tc)
	state := tc.ConnectionState()
	s.conn.SetCertificate(leafOf(cfg))
	s.conn.SetTLS(&state)
	return true
}

// leafOf returns the certificate that a configuration shows to every client, nil where it chooses among several.
func leafOf(cfg *tls.Config) *x509.Certificate {
	if len(cfg.Certificates) != 1 || cfg.GetCertificate != nil || cfg.GetConfigForClient != nil {
		return nil
	}
	return cfg.Certificates[0].Leaf
}

// leave gives up one reference; the last one ends the session.
func (s *Session) leave() {
	if s.refs.Add(-1) > 0 {
		return
	}
	s.mu.Lock()
	goodbye, dead := s.goodbye, s.dead
	if s.grace != nil {
		s.grace.Stop()
	}
	s.mu.Unlock()
	if !dead {
		if goodbye != nil {
			s.notice(goodbye)
		}
		s.out.drain()
		s.nc.Close()
	}
	s.kill("closed by the server")
	s.conn.End()
	s.stats.closed.Add(1)
	s.mu.Lock()
	reason := s.reason
	s.mu.Unlock()
	if s.log.Enabled(s.base, slog.LevelDebug) {
		s.log.Debug("connection closed", "conn", s.conn.ID, "reason", reason)
	}
	if s.cfg.OnClose != nil {
		s.cfg.OnClose(s.conn, reason)
	}
	if s.ended != nil {
		s.ended()
	}
}

// kill ends the connection at once: nothing more is read or written, and every detached operation is cancelled.
func (s *Session) kill(reason string) {
	s.closing.Store(true)
	s.mu.Lock()
	if s.reason == "" {
		s.reason = reason
	}
	first := !s.dead
	s.dead = true
	if first {
		for _, t := range s.table {
			t.cancel()
		}
		s.changed()
	}
	s.mu.Unlock()
	if first {
		s.out.fail(errOutputEnded)
		s.under.Close()
	}
}

// lost is kill for an error of the network.
func (s *Session) lost(err error) { s.kill("lost: " + err.Error()) }

// closeAfter stops the reading; the session ends when the operations in progress have. e, where not nil, is the notice.
func (s *Session) closeAfter(e *ldap.Error) {
	s.mu.Lock()
	if s.goodbye == nil {
		s.goodbye = e
	}
	if s.reason == "" && e != nil {
		s.reason = e.Error()
	}
	if s.grace == nil && s.running > 0 && !s.dead {
		s.grace = time.AfterFunc(max(s.cfg.Limits.withDefaults().SearchGrace, 0), s.endSearches)
	}
	s.mu.Unlock()
	s.closing.Store(true)
	s.under.SetReadDeadline(time.Unix(1, 0))
}

// endSearches cancels the searches in progress. Other operations end by themselves.
func (s *Session) endSearches() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.table {
		if t.kind == Search {
			t.ending = true
			t.cancel()
		}
	}
}

// Shutdown ends the session gracefully: nothing more is read, the operations in progress are answered, and the client
// gets a notice of disconnection with unavailable (52). It does not wait.
func (s *Session) Shutdown() {
	s.closeAfter(ldap.Errorf(ldap.Unavailable, "the server is shutting down"))
}

// Abort ends the connection at once and cancels its operations. It does not wait for them.
func (s *Session) Abort() { s.kill("aborted") }

// notice sends a notice of disconnection, if that is still possible.
func (s *Session) notice(e *ldap.Error) {
	_ = s.notify(oidNotice, nil, &e.Result) // who is gone misses nothing
}

func (s *Session) notify(name string, value []byte, r *ldap.Result) error {
	resp := ldap.ExtendedResponse{Result: *r, Name: name, Value: value, HasValue: value != nil}
	buf := ldap.AppendMessage(s.out.begin(), 0, &resp, nil)
	return s.out.end(buf, now)
}

// disconnect ends the session for something that the client did. It is called on the reading goroutine.
func (s *Session) disconnect(t *task, e *ldap.Error) {
	s.stats.protocolErrors.Add(1)
	s.log.Info("connection closed for what the client sent", "conn", s.conn.ID, "client", s.conn.Remote.String(),
		"result", e.Code.String(), "diagnostic", e.Diagnostic)
	s.abandonAll()
	s.notice(e)
	if s.out.drain() == nil {
		s.linger(t)
	}
	s.kill(e.Error())
}

// linger says that nothing more comes and reads what the client is still sending, for a while.
func (s *Session) linger(t *task) {
	half, ok := s.under.(interface{ CloseWrite() error })
	if !ok {
		return
	}
	s.under.SetDeadline(time.Now().Add(lingerFor))
	if tc, ok := s.nc.(*tls.Conn); ok {
		_ = tc.CloseWrite()
	}
	if half.CloseWrite() != nil {
		return
	}
	scratch := s.first[:]
	if t != nil {
		scratch = t.b
	}
	for {
		if _, err := s.under.Read(scratch); err != nil {
			return
		}
	}
}

// readEnded deals with an error of a read; true means to read again.
func (s *Session) readEnded(err error) (again bool) {
	switch {
	case s.closing.Load():
		return false
	case errors.Is(err, os.ErrDeadlineExceeded):
		return s.timeout()
	case errors.Is(err, io.EOF):
		s.kill("closed by the client")
	default:
		s.lost(err)
	}
	return false
}

// deadline returns when the connection has been silent for too long, and which limit that is.
func (s *Session) deadline() (at time.Time, limit time.Duration, bind bool) {
	if limit = s.lim.IdleTimeout; limit > 0 {
		at = s.last
		if done := s.begun.Add(time.Duration(s.done.Load())); done.After(at) {
			at = done
		}
		at = at.Add(limit)
	}
	if b := s.lim.BindTimeout; b > 0 && !s.greeted {
		if end := s.begun.Add(b); at.IsZero() || end.Before(at) {
			return end, b, true
		}
	}
	return at, limit, false
}

// arm makes sure that the read to come does not last beyond the deadline. The socket is told only where its own deadline is
// absent or later: an earlier one merely wakes the reader for a look at the clock.
func (s *Session) arm() {
	at, _, _ := s.deadline()
	if at.IsZero() || (!s.armed.IsZero() && !at.Before(s.armed)) {
		return
	}
	s.armAt(at, s.cfg.now())
}

func (s *Session) armAt(at, now time.Time) {
	s.armed = at
	if at.IsZero() {
		s.under.SetReadDeadline(at)
		return
	}
	s.under.SetReadDeadline(time.Now().Add(at.Sub(now)))
}

// timeout is called when the socket's read deadline has passed. It reports whether to go on.
func (s *Session) timeout() (again bool) {
	busy := s.active.Load() > 0 // asked first: an operation says when it ended before it is no longer counted
	at, limit, bind := s.deadline()
	now := s.cfg.now()
	switch {
	case at.IsZero() || now.Before(at):
		s.armAt(at, now)
		return true
	case busy:
		s.armAt(now.Add(limit), now)
		return true
	case bind:
		s.stats.bindTimeouts.Add(1)
		s.kill("not authenticated in time")
	default:
		s.stats.idleTimeouts.Add(1)
		s.kill("idle for too long")
	}
	return false
}

// changed wakes the reader if it waits. s.mu is held.
func (s *Session) changed() {
	if s.waiting != nil {
		close(s.waiting)
		s.waiting = nil
	}
}

// waitUntil is called on the reading goroutine and waits for ok, which is asked with s.mu held, up to limit; a negative
// limit is none. It returns false when that time is over, and when the session is.
func (s *Session) waitUntil(limit time.Duration, ok func() bool) bool {
	var elapsed <-chan time.Time
	if limit >= 0 {
		timer := time.NewTimer(limit)
		defer timer.Stop()
		elapsed = timer.C
	}
	for {
		s.mu.Lock()
		if s.dead || ok() {
			defer s.mu.Unlock()
			return !s.dead
		}
		if s.waiting == nil {
			s.waiting = make(chan struct{})
		}
		wake := s.waiting
		s.mu.Unlock()
		select {
		case <-wake:
		case <-elapsed:
			return false
		}
	}
}
