//go:build unix

package session

import (
	"io"
	"net"
	"syscall"
)

// rawConn returns the socket under nc for reads that hold no buffer while they wait, nil where there is none.
func rawConn(nc net.Conn) syscall.RawConn {
	switch c := nc.(type) {
	case *net.TCPConn:
		raw, _ := c.SyscallConn()
		return raw
	case *net.UnixConn:
		raw, _ := c.SyscallConn()
		return raw
	}
	return nil
}

// readable is called when the socket may have input; false means that it has none and waits for some.
func (s *Session) readable(fd uintptr) bool {
	t := newTask(s)
	for {
		n, err := syscall.Read(int(fd), t.b)
		switch {
		case n > 0:
			t.w = n
			s.got = t
			return true
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			t.free()
			return false
		case err == nil:
			err = io.EOF
		}
		t.free()
		s.gotErr = err
		return true
	}
}

// hasInput reports whether octets have arrived that nobody has read.
func hasInput(raw syscall.RawConn) bool {
	var n int
	_ = raw.Control(func(fd uintptr) { // a socket that is closed has none
		var b [1]byte
		n, _, _ = syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	})
	return n > 0
}
