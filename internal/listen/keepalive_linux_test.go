package listen

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// TestKeepAlive holds that the kernel looks after clients that say nothing: a search that persists has no other end when its client
// is switched off. It looks at the accepted sockets, those of listeners that were opened here and of those that systemd opened.
func TestKeepAlive(t *testing.T) {
	given, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, newAsked(), nil, func(c *Config) { c.Inherited = []net.Listener{given} },
		tcp(), tcp(func(l *Listener) { l.URL, l.Addr = "ldap://given", given.Addr().String() }))
	for i, a := range s.Addrs() {
		nc, err := net.Dial("tcp", a.String())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		about(client(t, nc)) // it has been accepted
		s.mu.Lock()
		var raws []*net.TCPConn
		for p := range s.peers {
			if c := p.nc.(*net.TCPConn); c.RemoteAddr().String() == nc.LocalAddr().String() {
				raws = append(raws, c)
			}
		}
		s.mu.Unlock()
		if len(raws) != 1 {
			t.Fatalf("%d connections", len(raws))
		}
		raw, err := raws[0].SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		if err := raw.Control(func(fd uintptr) {
			for _, o := range []struct {
				name                string
				level, option, want int
			}{
				{"SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
				{"TCP_KEEPIDLE", unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 120},
				{"TCP_KEEPINTVL", unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 15},
				{"TCP_KEEPCNT", unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 8},
			} {
				if got, err := unix.GetsockoptInt(int(fd), o.level, o.option); err != nil || got != o.want {
					t.Errorf("listener %d: %s is %d, want %d (%v)", i, o.name, got, o.want, err)
				}
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
}
