package bench

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"portolan/internal/client"
)

// loopConnector does what connector does for plain sockets on loopback, with a few threads and half the system calls. There
// connecting needs no waiting, so that a thread may do it for all its lanes.
type loopConnector struct {
	family  int
	address func() unix.Sockaddr // for one thread: unix keeps what the kernel is given in it
	lanes   int
	threads int
}

// newLoopConnector returns nil where the server is elsewhere or TLS is wanted. It connects once to find out.
func newLoopConnector(ctx context.Context, o *Options, threads int) (driver, error) {
	nc, err := client.Connect(ctx, o.URL, o.Client)
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		return nil, nil
	}
	at, ok := tcp.RemoteAddr().(*net.TCPAddr)
	if !ok || !at.IP.IsLoopback() {
		return nil, nil
	}
	d := &loopConnector{lanes: o.Connections, threads: min(threads, o.Connections)}
	if v4 := at.IP.To4(); v4 != nil {
		d.family = unix.AF_INET
		d.address = func() unix.Sockaddr { return &unix.SockaddrInet4{Port: at.Port, Addr: [4]byte(v4)} }
	} else {
		d.family = unix.AF_INET6
		d.address = func() unix.Sockaddr { return &unix.SockaddrInet6{Port: at.Port, Addr: [16]byte(at.IP)} }
	}
	return d, nil
}

func (d *loopConnector) groups() int { return d.threads }

func (d *loopConnector) close() {}

func (d *loopConnector) drive(c *course, lanes []*lane, patience int64) {
	var wait sync.WaitGroup
	for t := range d.threads {
		w := &dialer{family: d.family, address: d.address(), c: c, buf: make([]byte, readSize)}
		for i := t; i < len(lanes); i += d.threads {
			w.lanes = append(w.lanes, &polled{lane: lanes[i], fd: -1})
		}
		wait.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			w.run(patience)
		})
	}
	wait.Wait()
}

// dialer is one thread.
type dialer struct {
	family  int
	address unix.Sockaddr
	c       *course
	epoll   int
	lanes   []*polled
	left    int // lanes that are not done
	buf     []byte
}

func (w *dialer) run(patience int64) {
	var ok bool
	if w.epoll, ok = watch(w.lanes); !ok {
		return
	}
	defer unix.Close(w.epoll)
	w.left = len(w.lanes)
	for i, p := range w.lanes {
		w.begin(int32(i), p)
	}
	events := make([]unix.EpollEvent, 128)
	for w.left > 0 {
		n, err := unix.EpollWait(w.epoll, events, int(glance/time.Millisecond))
		if err != nil && !errors.Is(err, unix.EINTR) {
			for _, p := range w.lanes {
				w.end(p, err)
			}
			return
		}
		for i := range max(n, 0) {
			w.serve(events[i].Fd, w.lanes[events[i].Fd])
		}
		if w.c.stop.Load() || n <= 0 && w.c.clock() >= patience {
			for _, p := range w.lanes {
				p.hangUp()
			}
			return
		}
	}
}

// begin makes the connection for the next request; when there is none the lane is done.
func (w *dialer) begin(i int32, p *polled) {
	p.fill(w.c.clock())
	if p.idle() {
		p.done = true
		w.left--
		return
	}
	var err error
	if p.fd, err = unix.Socket(w.family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
		w.end(p, err)
		return
	}
	err = unix.Connect(p.fd, w.address)
	if err == nil {
		// The buffer of a new socket has room for a bind.
		_, err = unix.Write(p.fd, p.out)
	}
	if err == nil {
		p.out = p.out[:0]
		err = unix.EpollCtl(w.epoll, unix.EPOLL_CTL_ADD, p.fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: i})
	}
	if err != nil {
		w.end(p, err)
	}
}

// serve takes the answer and leaves.
func (w *dialer) serve(i int32, p *polled) {
	have := copy(w.buf, p.rest)
	n, err := unix.Read(p.fd, w.buf[have:])
	if n <= 0 {
		if errors.Is(err, syscall.EINTR) {
			return
		}
		if err == nil {
			err = io.EOF
		}
		w.end(p, err)
		return
	}
	b := w.buf[:have+n]
	used, need, err := p.take(b, w.c.clock())
	if err == nil && need > len(w.buf) {
		err = errors.New("the answer to a bind is too long")
	}
	if err != nil {
		w.end(p, err)
		return
	}
	p.rest = append(p.rest[:0], b[used:]...)
	if !p.idle() {
		return
	}
	_, _ = unix.Write(p.fd, unbind) // the answer has come: what the server does with this is its own affair
	p.hangUp()
	w.begin(i, p)
}

// end ends a lane that failed.
func (w *dialer) end(p *polled, err error) {
	if p.done {
		return
	}
	if errors.Is(err, io.EOF) {
		err = errors.New("the server has closed it")
	}
	p.broken(err)
	p.hangUp()
	p.done = true
	w.left--
}

// hangUp closes the socket, which also ends the waiting for it.
func (p *polled) hangUp() {
	if p.fd >= 0 {
		unix.Close(p.fd)
		p.fd = -1
	}
}
