package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"portolan/ber"
	"portolan/internal/client"
	"portolan/ldap"
)

// driver reads and writes for the lanes of a run. drive returns when every lane has nothing more to do, when patience (in
// nanoseconds of the course's clock) is over, or soon after the course is stopped; it may be called again.
type driver interface {
	// groups returns how many groups of lanes may not share their stats; lane i is in group i modulo groups.
	groups() int
	drive(c *course, lanes []*lane, patience int64)
	// close tells the server that the client leaves, where it still can, and closes the connections.
	close()
}

// unbind is what a client says last (RFC 4511 section 4.3).
var unbind = ldap.AppendMessage(nil, 1, &ldap.UnbindRequest{}, nil)

const readSize = 64 << 10

// netDriver drives any connection, with a goroutine for each.
type netDriver struct {
	conns []net.Conn
	locks []sync.Mutex // by group: its stats
}

func newNetDriver(conns []net.Conn) *netDriver {
	return &netDriver{conns: conns, locks: make([]sync.Mutex, min(len(conns), 64))}
}

func (d *netDriver) groups() int { return len(d.locks) }

func (d *netDriver) drive(c *course, lanes []*lane, patience int64) {
	var wait sync.WaitGroup
	for i, nc := range d.conns {
		if lanes[i].fault != nil {
			continue
		}
		wait.Go(func() { drive(c, lanes[i], nc, &d.locks[i%len(d.locks)], patience) })
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		interrupt(c, d.conns, done)
	}()
	wait.Wait()
	close(done)
	<-ended
}

// interrupt wakes readers when the course is stopped.
func interrupt(c *course, conns []net.Conn, done chan struct{}) {
	select {
	case <-c.stopped:
		for _, nc := range conns {
			nc.SetDeadline(time.Unix(1, 0))
		}
	case <-done:
	}
}

func drive(c *course, l *lane, nc net.Conn, lock *sync.Mutex, patience int64) {
	now := c.clock()
	if err := nc.SetDeadline(time.Now().Add(time.Duration(patience - now))); err != nil {
		lock.Lock()
		defer lock.Unlock()
		l.broken(err)
		return
	}
	buf := make([]byte, 4096)
	w := 0
	for {
		l.fill(now)
		if len(l.out) > 0 {
			if _, err := nc.Write(l.out); err != nil {
				l.lost(c, lock, err)
				return
			}
			l.out = l.out[:0]
		}
		if l.idle() {
			return
		}
		n, err := nc.Read(buf[w:])
		now = c.clock()
		if n == 0 && err != nil {
			l.lost(c, lock, err)
			return
		}
		w += n
		lock.Lock()
		used, need, err := l.take(buf[:w], now)
		if err != nil {
			l.broken(err)
			lock.Unlock()
			return
		}
		lock.Unlock()
		w = copy(buf, buf[used:w])
		switch {
		case need > len(buf):
			buf = append(make([]byte, 0, need), buf[:w]...)[:need]
		case n == len(buf)-w && len(buf) < readSize:
			buf = append(make([]byte, 0, readSize), buf[:w]...)[:readSize]
		}
	}
}

// lost ends the lane because its connection cannot be used. When the run is over and no answer came in time that is no
// fault of the connection: what was outstanding does not count.
func (l *lane) lost(c *course, lock *sync.Mutex, err error) {
	lock.Lock()
	defer lock.Unlock()
	if timeout := (net.Error)(nil); errors.As(err, &timeout) && timeout.Timeout() && c.over(c.clock()) {
		l.fault = err
		return
	}
	if errors.Is(err, io.EOF) {
		err = errors.New("the server has closed it")
	}
	l.broken(err)
}

func (d *netDriver) close() {
	for _, nc := range d.conns {
		nc.SetDeadline(time.Now().Add(time.Second))
		_, _ = nc.Write(unbind) // the connection may be gone, which is what is wanted
		nc.Close()
	}
}

// openers is how many connections are opened at one time.
const openers = 32

// open opens connections and binds on them. On an error those that are open are closed again.
func open(ctx context.Context, o *Options) ([]net.Conn, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	conns := make([]net.Conn, o.Connections)
	turn := make(chan struct{}, openers)
	var wait sync.WaitGroup
	for i := range conns {
		turn <- struct{}{}
		if ctx.Err() != nil {
			break
		}
		wait.Go(func() {
			defer func() { <-turn }()
			nc, err := openOne(ctx, o)
			if err != nil {
				cancel(fmt.Errorf("connection %d of %d: %w", i+1, len(conns), err))
				return
			}
			conns[i] = nc
		})
	}
	wait.Wait()
	if err := context.Cause(ctx); err != nil {
		for _, nc := range conns {
			if nc != nil {
				nc.Close()
			}
		}
		return nil, err
	}
	return conns, nil
}

// openTime bounds the opening of one connection, the bind included.
const openTime = 30 * time.Second

func openOne(ctx context.Context, o *Options) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	nc, err := client.Connect(ctx, o.URL, o.Client)
	if err != nil {
		return nil, err
	}
	if o.Bind == nil {
		return nc, nil
	}
	deadline, _ := ctx.Deadline()
	err = nc.SetDeadline(deadline)
	if err == nil {
		err = bind(nc, *o.Bind)
	}
	for busy := (*ldap.Error)(nil); errors.As(err, &busy) && busy.Code == ldap.Busy; {
		// Many connections that bind at one time are a lot of hashing for some servers; that is not what is measured.
		if pause(ctx, busyPause) != nil {
			break
		}
		err, busy = bind(nc, *o.Bind), nil
	}
	if err == nil {
		err = nc.SetDeadline(time.Time{})
	}
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("%s: bind as %s: %w", o.URL, o.Bind.DN, err)
	}
	return nc, nil
}

// busyPause is how long a server that is busy is left alone.
const busyPause = 200 * time.Millisecond

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// bind authenticates on a connection on which nothing else goes on.
func bind(nc net.Conn, u User) error {
	q := &ldap.BindRequest{Version: 3, Name: []byte(u.DN), Password: []byte(u.Password)}
	if _, err := nc.Write(ldap.AppendMessage(nil, 1, q, nil)); err != nil {
		return err
	}
	buf, w := make([]byte, 4096), 0
	for {
		size, state := ber.Frame(buf[:w], len(buf))
		if state == ber.FrameWhole && size == w {
			break
		}
		if state != ber.FrameMore {
			return errors.New("the server does not answer as it should")
		}
		n, err := nc.Read(buf[w:])
		if n == 0 && err != nil {
			return err
		}
		w += n
	}
	m, err := ldap.Decode(buf[:w])
	if err != nil {
		return fmt.Errorf("the server does not speak LDAP as it should: %w", err)
	}
	p, ok := m.Op.(*ldap.BindResponse)
	switch {
	case !ok:
		return unexpected(buf[:w])
	case p.Code != ldap.Success:
		return &ldap.Error{Result: p.Result}
	}
	return nil
}
