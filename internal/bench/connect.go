package bench

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"portolan/internal/client"
)

// connector makes a connection for each request: connect, bind, unbind, close. A lane without a connection makes the
// requests and takes the answers.
type connector struct{ o *Options }

func newConnector(o *Options) *connector {
	copied := *o
	if copied.Client.Dial == nil {
		// Keep-alive would be set up for connections that live for a millisecond.
		copied.Client.Dial = (&net.Dialer{KeepAlive: -1}).DialContext
	}
	return &connector{&copied}
}

func (d *connector) groups() int { return d.o.Connections }

func (d *connector) close() {}

func (d *connector) drive(c *course, lanes []*lane, patience int64) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(patience-c.clock()))
	var wait, watch sync.WaitGroup
	defer watch.Wait()
	defer cancel()
	watch.Go(func() {
		select {
		case <-c.stopped:
			cancel()
		case <-ctx.Done():
		}
	})
	for _, l := range lanes {
		wait.Go(func() {
			for now := c.clock(); l.fault == nil; now = c.clock() {
				l.fill(now)
				if l.idle() {
					return
				}
				d.once(ctx, c, l, patience)
			}
		})
	}
	wait.Wait()
}

// once does what l.out asks on a connection of its own.
func (d *connector) once(ctx context.Context, c *course, l *lane, patience int64) {
	nc, err := client.Connect(ctx, d.o.URL, d.o.Client)
	if err == nil {
		defer nc.Close()
		err = exchange(c, l, nc, patience)
	}
	switch {
	case err == nil:
		_, _ = nc.Write(unbind) // the answer has come: what the server does with this is its own affair
	case ctx.Err() != nil:
		l.fault = ctx.Err()
	default:
		l.broken(err)
	}
}

// exchange sends l.out and takes the answers to it.
func exchange(c *course, l *lane, nc net.Conn, patience int64) error {
	if err := nc.SetDeadline(time.Now().Add(time.Duration(patience - c.clock()))); err != nil {
		return err
	}
	if _, err := nc.Write(l.out); err != nil {
		return err
	}
	l.out = l.out[:0]
	var buf [4096]byte
	for w := 0; !l.idle(); {
		n, err := nc.Read(buf[w:])
		if n == 0 {
			return cmp.Or(err, io.ErrUnexpectedEOF)
		}
		w += n
		used, need, err := l.take(buf[:w], c.clock())
		if err != nil {
			return err
		}
		if need > len(buf) {
			return fmt.Errorf("the answer to a bind has %d octets", need)
		}
		w = copy(buf[:], buf[used:w])
	}
	return nil
}
