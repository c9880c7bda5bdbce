package bench

import (
	"errors"
	"io"
	"net"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// poller drives plain sockets with a few threads, each of which waits for all of its sockets at once. A request costs one
// read and one write; goroutines that wait for one socket each read twice and are woken by the scheduler, which client and
// server on one machine pay with a quarter of their throughput.
type poller struct {
	fds     []int
	threads int
}

// newPoller takes over connections, which must not be used any more. Where one is no plain socket it takes none and
// returns nil.
func newPoller(conns []net.Conn, threads int) (driver, error) {
	raws := make([]syscall.RawConn, len(conns))
	for i, nc := range conns {
		var err error
		switch c := nc.(type) {
		case *net.TCPConn:
			raws[i], err = c.SyscallConn()
		case *net.UnixConn:
			raws[i], err = c.SyscallConn()
		default:
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
	}
	p := &poller{threads: min(threads, len(conns))}
	for i, raw := range raws {
		// A duplicate is not known to the runtime, which would otherwise be woken for every answer too.
		fd, err := -1, error(nil)
		if e := raw.Control(func(old uintptr) { fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) }); e != nil {
			err = e
		}
		if err != nil {
			p.close()
			return nil, err
		}
		p.fds = append(p.fds, fd)
		conns[i].Close()
	}
	return p, nil
}

func (p *poller) groups() int { return p.threads }

func (p *poller) close() {
	for _, fd := range p.fds {
		_, _ = unix.Write(fd, unbind) // the connection may be gone, which is what is wanted
		unix.Close(fd)
	}
}

func (p *poller) drive(c *course, lanes []*lane, patience int64) {
	var wait sync.WaitGroup
	for t := range p.threads {
		var mine []*polled
		for i := t; i < len(lanes); i += p.threads {
			if lanes[i].fault == nil {
				mine = append(mine, &polled{lane: lanes[i], fd: p.fds[i]})
			}
		}
		wait.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			w := &waiter{c: c, lanes: mine, buf: make([]byte, readSize)}
			w.run(patience)
		})
	}
	wait.Wait()
}

// polled is a lane with its socket.
type polled struct {
	*lane
	fd      int
	blocked bool // out waits for room
	done    bool
}

// waiter is one thread.
type waiter struct {
	c     *course
	epoll int
	lanes []*polled
	left  int // lanes that are not done
	buf   []byte
}

// glance is how often a thread that waits looks whether the run was stopped.
const glance = 50 * time.Millisecond

// watch returns what a thread waits with. When the system refuses it all lanes are broken.
func watch(lanes []*polled) (epoll int, ok bool) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		for _, p := range lanes {
			p.broken(err)
		}
		return 0, false
	}
	return epoll, true
}

func (w *waiter) run(patience int64) {
	var ok bool
	if w.epoll, ok = watch(w.lanes); !ok {
		return
	}
	defer unix.Close(w.epoll)
	w.left = len(w.lanes)
	for i, p := range w.lanes {
		if err := unix.EpollCtl(w.epoll, unix.EPOLL_CTL_ADD, p.fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i)}); err != nil {
			w.end(p, err)
			continue
		}
		w.send(int32(i), p, w.c.clock())
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
			p := w.lanes[events[i].Fd]
			if p.done {
				continue
			}
			w.serve(events[i].Fd, p, events[i].Events)
		}
		if n <= 0 || w.c.stop.Load() {
			if now := w.c.clock(); now >= patience || w.c.stop.Load() {
				// What is outstanding now does not count.
				for _, p := range w.lanes {
					if !p.done && !p.idle() {
						p.fault = errors.New("there was no answer in time")
					}
				}
				return
			}
		}
	}
}

// serve reads what has come and sends what follows from it.
func (w *waiter) serve(i int32, p *polled, events uint32) {
	now := w.c.clock()
	if events&^unix.EPOLLOUT != 0 {
		if !w.read(p, &now) {
			return
		}
	}
	w.send(i, p, now)
}

func (w *waiter) read(p *polled, now *int64) bool {
	have := copy(w.buf, p.rest)
	n, err := unix.Read(p.fd, w.buf[have:])
	*now = w.c.clock()
	switch {
	case n > 0:
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return true
	default:
		if err == nil {
			err = io.EOF
		}
		w.end(p, err)
		return false
	}
	b := w.buf[:have+n]
	used, need, err := p.take(b, *now)
	if err != nil {
		w.end(p, err)
		return false
	}
	p.rest = append(p.rest[:0], b[used:]...)
	if need > len(w.buf) {
		w.buf = make([]byte, need)
	}
	return true
}

// send writes the requests that may be outstanding, and ends a lane that has nothing more to do.
func (w *waiter) send(i int32, p *polled, now int64) {
	p.fill(now)
	for len(p.out) > 0 {
		n, err := unix.Write(p.fd, p.out)
		if n > 0 {
			p.out = p.out[:copy(p.out, p.out[n:])]
			continue
		}
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if !errors.Is(err, unix.EAGAIN) {
			w.end(p, err)
			return
		}
		break
	}
	if blocked := len(p.out) > 0; blocked != p.blocked {
		p.blocked = blocked
		want := uint32(unix.EPOLLIN)
		if blocked {
			want |= unix.EPOLLOUT
		}
		if err := unix.EpollCtl(w.epoll, unix.EPOLL_CTL_MOD, p.fd, &unix.EpollEvent{Events: want, Fd: i}); err != nil {
			w.end(p, err)
			return
		}
	}
	if p.idle() {
		w.finish(p)
	}
}

// end ends a lane whose connection cannot be used any more.
func (w *waiter) end(p *polled, err error) {
	if p.done {
		return
	}
	if errors.Is(err, io.EOF) {
		err = errors.New("the server has closed it")
	}
	p.broken(err)
	w.finish(p)
}

func (w *waiter) finish(p *polled) {
	p.done = true
	w.left--
	// An error would mean that it is not there, which is what is wanted.
	_ = unix.EpollCtl(w.epoll, unix.EPOLL_CTL_DEL, p.fd, nil)
}
