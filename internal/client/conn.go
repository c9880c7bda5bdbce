// Package client is an LDAP client on the codec of this module: for commands that talk to a server, for the load
// generator, for overlays that ask another server, and for replication.
//
// The server is not trusted: whatever it sends costs no more memory than the message that it has sent in full, no message
// may be larger than Options.MaxMessage, and what is no LDAP ends the connection with an error.
package client

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"portolan/ber"
	"portolan/ldap"
)

// ErrClosed is returned by operations on a connection that Close or Unbind has ended.
var ErrClosed = errors.New("the connection is closed")

// DefaultMaxMessage bounds one message of the server, in octets, where Options names no bound.
const DefaultMaxMessage = 64 << 20

const (
	// smallFrame is the size up to which messages are read in one go and queued; larger ones are handed over one by one.
	smallFrame = 64 << 10
	// queued is how many small messages of one operation may wait for whoever asked.
	queued = 16
	// farewell is how long the last words to a server may take: abandon and unbind.
	farewell = time.Second
)

// oidNotice names the notice of disconnection (RFC 4511 section 4.4.1).
const oidNotice = "1.3.6.1.4.1.1466.20036"

// Conn is one connection to a server. Its methods may be called from many goroutines; each operation waits for its own
// answer. An operation whose context ends is abandoned (RFC 4511 section 4.11); a bind cannot be, so that its context
// ends the connection.
//
// A function that is called with results runs on the goroutine of the call, and while it runs the server's messages wait:
// it must not wait for another operation of the same Conn.
type Conn struct {
	nc   net.Conn
	r    *bufio.Reader
	max  int
	over *tls.ConnectionState

	write chan struct{} // holds a token while somebody writes: one message at a time
	buf   []byte        // of whoever has put the token in

	mu      sync.Mutex
	pending map[int32]*call
	last    int32 // message ID given last
	wrapped bool  // IDs have come round
	err     error // why the connection has ended

	ended chan struct{}  // closed with err set
	work  sync.WaitGroup // the reader, and abandons on their way
}

// call is an operation that waits for its answer.
type call struct {
	id   int32
	in   chan *frame
	gone chan struct{} // closed when nobody waits any more
}

// frame is one message as it came. Whoever takes a large one says so.
type frame struct {
	b     []byte
	taken chan struct{} // nil for a small one
}

var frames = sync.Pool{New: func() any { return &frame{b: make([]byte, 0, 4096)} }}

func (f *frame) release() {
	if f.taken != nil {
		close(f.taken)
		return
	}
	frames.Put(f)
}

// New returns a connection over nc, which must be ready for LDAP: connected, and with TLS under way where it is wanted.
// Of the options only MaxMessage matters. Conn closes nc.
func New(nc net.Conn, o Options) *Conn {
	c := &Conn{
		nc: nc, r: bufio.NewReaderSize(nc, readBuffer), max: o.maxMessage(), write: make(chan struct{}, 1), pending: make(map[int32]*call), ended: make(chan struct{}),
	}
	if t, ok := nc.(*tls.Conn); ok {
		state := t.ConnectionState()
		c.over = &state
	}
	c.work.Go(c.read)
	return c
}

const readBuffer = 16 << 10

// TLS returns the state of the TLS layer; nil without one.
func (c *Conn) TLS() *tls.ConnectionState { return c.over }

// RemoteAddr returns the address of the server.
func (c *Conn) RemoteAddr() net.Addr { return c.nc.RemoteAddr() }

// Done is closed when the connection has ended, by whichever side; Err says why.
func (c *Conn) Done() <-chan struct{} { return c.ended }

// Err returns nil while the connection lives, and then why it ended: ErrClosed after Close and Unbind.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close ends the connection at once. Operations under way return ErrClosed.
func (c *Conn) Close() error {
	c.fail(ErrClosed)
	c.work.Wait()
	return nil
}

// Unbind tells the server that the client leaves, and closes the connection (RFC 4511 section 4.3).
func (c *Conn) Unbind() error {
	if id, err := c.nextID(); err == nil {
		c.say(id, &ldap.UnbindRequest{})
	}
	return c.Close()
}

// fail ends the connection; the first reason stays.
func (c *Conn) fail(err error) {
	c.mu.Lock()
	first := c.err == nil
	if first {
		c.err = err
		close(c.ended)
	}
	c.mu.Unlock()
	if first {
		c.nc.Close() // an error here changes nothing: nobody uses the connection any more
	}
}

// protocolError ends the connection because of what the server has sent. It is no *ldap.Error: those are results.
func (c *Conn) protocolError(format string, args ...any) error {
	err := fmt.Errorf("the server does not speak LDAP as it should: "+format, args...)
	c.fail(err)
	return err
}

// read hands messages to those who wait for them until the connection ends.
func (c *Conn) read() {
	for {
		f, err := readFrame(c.r, c.max)
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = fmt.Errorf("the server has closed the connection: %w", err)
			}
			c.fail(err)
			return
		}
		if err := c.route(f); err != nil {
			c.fail(err)
			return
		}
	}
}

// readFrame reads one message. Memory grows with what has come, not with what the header claims.
func readFrame(r *bufio.Reader, limit int) (*frame, error) {
	head, size := 2, 0
	for size == 0 {
		b, err := r.Peek(head)
		if err != nil {
			if len(b) > 0 && errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		var state ber.FrameState
		size, state = ber.Frame(b, limit)
		switch state {
		case ber.FrameTooBig:
			return nil, fmt.Errorf("the server has announced a message of more than %d octets", limit)
		case ber.FrameInvalid:
			return nil, errors.New("the server does not speak LDAP: its messages do not begin as LDAP's do")
		}
		head++
	}
	if size <= smallFrame {
		f := frames.Get().(*frame)
		if cap(f.b) < size {
			f.b = make([]byte, size)
		}
		f.b = f.b[:size]
		_, err := io.ReadFull(r, f.b)
		return f, err
	}
	f := &frame{taken: make(chan struct{}), b: make([]byte, 0, smallFrame)}
	for len(f.b) < size {
		if len(f.b) == cap(f.b) {
			b := make([]byte, len(f.b), min(2*cap(f.b), size))
			copy(b, f.b)
			f.b = b
		}
		n, err := io.ReadFull(r, f.b[len(f.b):min(cap(f.b), size)])
		f.b = f.b[:len(f.b)+n]
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	return f, nil
}

// messageID reads the message ID of a whole frame.
func messageID(b []byte) (id int32, ok bool) {
	r := ber.Reader(b)
	var body ber.Reader
	ok = r.Element(ber.Sequence, &body) && body.Int32(ber.Integer, 0, ldap.MaxMessageID, &id)
	return id, ok
}

// route gives a message to its operation.
func (c *Conn) route(f *frame) error {
	id, ok := messageID(f.b)
	if !ok {
		return errors.New("the server does not speak LDAP as it should: a message has no message ID")
	}
	if id == 0 {
		return notice(f)
	}
	c.mu.Lock()
	call, known := c.pending[id], c.wrapped || id <= c.last
	c.mu.Unlock()
	switch {
	case !known:
		return fmt.Errorf("the server does not speak LDAP as it should: it answers message %d, which was never sent", id)
	case call == nil:
		// The answer to what has been abandoned.
		if f.taken == nil {
			frames.Put(f)
		}
		return nil
	}
	select {
	case call.in <- f:
	case <-call.gone:
		return nil
	case <-c.ended:
		return ErrClosed
	}
	if f.taken != nil {
		select {
		case <-f.taken:
		case <-call.gone:
		case <-c.ended:
			return ErrClosed
		}
	}
	return nil
}

// notice deals with an unsolicited notification (RFC 4511 section 4.4). The only one that is known ends the connection.
func notice(f *frame) error {
	m, err := ldap.Decode(f.b)
	if err != nil {
		return fmt.Errorf("the server does not speak LDAP as it should: %v", err)
	}
	x, ok := m.Op.(*ldap.ExtendedResponse)
	if !ok {
		return fmt.Errorf("the server does not speak LDAP as it should: an unsolicited message with tag %#x", m.Op.Tag())
	}
	if x.Name == oidNotice {
		return fmt.Errorf("the server has ended the connection: %w", &ldap.Error{Result: x.Result})
	}
	return nil
}

// nextID returns a message ID that no operation under way has.
func (c *Conn) nextID() (int32, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nextIDLocked()
}

func (c *Conn) nextIDLocked() (int32, error) {
	if c.err != nil {
		return 0, c.err
	}
	for {
		if c.last == ldap.MaxMessageID {
			c.last, c.wrapped = 0, true
		}
		c.last++
		if c.pending[c.last] == nil {
			return c.last, nil
		}
	}
}

// begin registers an operation.
func (c *Conn) begin() (*call, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	id, err := c.nextIDLocked()
	if err != nil {
		return nil, err
	}
	x := &call{id: id, in: make(chan *frame, queued), gone: make(chan struct{})}
	c.pending[id] = x
	return x, nil
}

// end forgets an operation. Messages for it are dropped from now on.
func (c *Conn) end(x *call) {
	c.mu.Lock()
	delete(c.pending, x.id)
	c.mu.Unlock()
	close(x.gone)
}

// send writes a message. When ctx ends before all of it is written, the connection is lost: the server would wait for
// the rest of it.
func (c *Conn) send(ctx context.Context, id int32, op ldap.Op, controls []ldap.Control) error {
	select {
	case c.write <- struct{}{}:
		defer func() { <-c.write }()
	case <-ctx.Done():
		return ctx.Err()
	case <-c.ended:
		return c.Err()
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	c.buf = ldap.AppendMessage(c.buf[:0], id, op, controls)
	err := c.writeAll(ctx, c.buf)
	clear(c.buf) // it may have been a password
	if cap(c.buf) > smallFrame {
		c.buf = nil
	}
	if err != nil {
		c.fail(fmt.Errorf("writing to the server: %w", err))
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return c.Err()
	}
	return nil
}

func (c *Conn) writeAll(ctx context.Context, b []byte) error {
	if ctx.Done() == nil {
		_, err := c.nc.Write(b)
		return err
	}
	fired := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(fired)
		c.nc.SetWriteDeadline(time.Unix(1, 0))
	})
	_, err := c.nc.Write(b)
	if !stop() && err == nil {
		// The message was out before the time was over: the connection is still good.
		<-fired
		err = c.nc.SetWriteDeadline(time.Time{})
	}
	return err
}

// say sends a message that has no answer, if that goes quickly.
func (c *Conn) say(id int32, op ldap.Op) {
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	_ = c.send(ctx, id, op, nil) // an error has ended the connection already
}

// abandon tells the server that nobody waits for an answer, without making anybody wait for that.
func (c *Conn) abandon(id int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.work.Go(func() {
		if own, err := c.nextID(); err == nil {
			c.say(own, &ldap.AbandonRequest{ID: id})
		}
	})
}

// ReadMessage reads one whole LDAPMessage of at most limit octets from a stream on which no Conn is at work: for what has
// to be exchanged before there is one, or beside one. Memory grows with what has come. The result is the caller's.
func ReadMessage(r *bufio.Reader, limit int) ([]byte, error) {
	f, err := readFrame(r, limit)
	if err != nil {
		return nil, err
	}
	return f.b, nil
}
