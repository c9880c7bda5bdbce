package listen

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
)

// Listener is one listener to open.
type Listener struct {
	// URL is the listener as configured. It names the listener in messages and in op.Conn.Listener.
	URL string
	// Network is "tcp", "udp" or "unix", Addr the host:port or the path.
	Network, Addr string
	// TLS says that connections begin with a handshake (ldaps).
	TLS bool
	// Control marks the control socket: no limits on the number of connections apply to it.
	Control bool
	// Mode is that of a Unix socket; zero is 0600 for the control socket and 0666 for others, whose clients are told apart by
	// their credentials.
	Mode fs.FileMode
	// Allow and Deny are source networks. Deny wins; an empty Allow is all. Unix sockets have none.
	Allow, Deny []netip.Prefix
	// ProxyProtocolFrom are the networks of proxies, which must begin each connection with a PROXY header, version 1 or 2.
	// Allow and Deny are then about the client that the header names.
	ProxyProtocolFrom []netip.Prefix
}

func (l *Listener) mode() fs.FileMode {
	switch {
	case l.Mode != 0:
		return l.Mode.Perm()
	case l.Control:
		return 0o600
	}
	return 0o666
}

// keepAlive has the kernel ask clients that say nothing whether they are still there: those that were switched off are gone after
// four minutes. Idle limits do not end them where a search persists.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 2 * time.Minute, Interval: 15 * time.Second, Count: 8}

// listener is an open Listener.
type listener struct {
	Listener
	ln       net.Listener
	given    bool         // ln was opened by somebody else
	pc       *net.UDPConn // instead of ln, where Network is "udp"
	networks atomic.Pointer[networks]
}

// addr returns the address that is listened on.
func (o *listener) addr() net.Addr {
	if o.pc != nil {
		return o.pc.LocalAddr()
	}
	return o.ln.Addr()
}

func (o *listener) close() {
	if o.pc != nil {
		o.pc.Close()
		return
	}
	o.ln.Close()
}

type networks struct{ allow, deny, proxies []netip.Prefix }

func (n *networks) allows(a netip.Addr) bool {
	return !holds(n.deny, a) && (len(n.allow) == 0 || holds(n.allow, a))
}

func holds(prefixes []netip.Prefix, a netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// Inherited returns the sockets that systemd opened for this process (LISTEN_FDS), none where there are none. It may be called once.
func Inherited() ([]net.Listener, error) {
	all, err := activation.Listeners()
	if err != nil {
		return nil, fmt.Errorf("socket activation: %w", err)
	}
	for i, ln := range all {
		if ln == nil {
			return nil, fmt.Errorf("socket activation: socket number %d is not one to listen on; the .socket unit wants ListenStream=", i+1)
		}
	}
	return all, nil
}

// open opens one listener, or takes it out of inherited.
func open(l Listener, inherited *[]net.Listener) (*listener, error) {
	o := &listener{Listener: l}
	o.networks.Store(&networks{allow: l.Allow, deny: l.Deny, proxies: l.ProxyProtocolFrom})
	for i, ln := range *inherited {
		if sameAddress(ln.Addr(), l) {
			o.ln, o.given = ln, true
			*inherited = slices.Delete(*inherited, i, i+1)
			return o, nil
		}
	}
	var err error
	switch l.Network {
	case "tcp":
		o.ln, err = listenConfig().Listen(context.Background(), "tcp", l.Addr)
	case "udp":
		o.pc, err = openUDP(l)
	case "unix":
		o.ln, err = openUnix(l)
	default:
		return nil, fmt.Errorf("listen on %s: network %q is not served; use ldap, ldaps, ldapi or cldap", l.URL, l.Network)
	}
	if err != nil {
		return nil, explain(l, err)
	}
	return o, nil
}

func openUnix(l Listener) (net.Listener, error) {
	if err := removeStale(l.Addr); err != nil {
		return nil, err
	}
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		// The socket takes its mode from the descriptor, so that at no moment more may connect than should.
		var err error
		if e := c.Control(func(fd uintptr) { err = syscall.Fchmod(int(fd), uint32(l.mode())) }); e != nil {
			return e
		}
		return err
	}}
	ln, err := lc.Listen(context.Background(), "unix", l.Addr)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(l.Addr, l.mode()); err != nil { // what the umask took
		ln.Close()
		return nil, err
	}
	return ln, nil
}

var (
	errLive      = errors.New("another server answers on it")
	errNotSocket = errors.New("there is a file that is not a socket; remove it or choose another path")
)

// removeStale removes the socket that a server left behind which was killed.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return errNotSocket
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		c.Close()
		return errLive
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return errLive
	}
	return os.Remove(path)
}

// sameAddress compares an inherited socket with what is configured.
func sameAddress(a net.Addr, l Listener) bool {
	if a.Network() != l.Network {
		return false
	}
	if l.Network == "unix" {
		return a.String() == l.Addr
	}
	have, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return false
	}
	host, port, err := net.SplitHostPort(l.Addr)
	if err != nil || port != strconv.Itoa(int(have.Port())) {
		return false
	}
	ip := have.Addr().Unmap()
	if host == "" {
		return ip.IsUnspecified()
	}
	want, err := netip.ParseAddr(host)
	if err != nil {
		return host == "localhost" && ip.IsLoopback()
	}
	return want.Unmap() == ip || (want.IsUnspecified() && ip.IsUnspecified())
}

// explain says what is wrong with a listener and what to do.
func explain(l Listener, err error) error {
	_, port, _ := net.SplitHostPort(l.Addr)
	n, _ := strconv.Atoi(port)
	advice := ""
	switch {
	case errors.Is(err, errLive), errors.Is(err, errNotSocket):
		return fmt.Errorf("listen on %s: %s: %w", l.URL, l.Addr, err)
	case errors.Is(err, syscall.EADDRINUSE) && l.Network != "unix":
		flags := "-ltnp"
		if l.Network == "udp" {
			flags = "-lunp"
		}
		advice = fmt.Sprintf("port %s is taken by another process, or by another listener of this configuration; `ss %s sport = :%s` shows which: stop it, or choose another port", port, flags, port)
	case errors.Is(err, fs.ErrPermission) && l.Network != "unix" && n > 0 && n < 1024:
		advice = fmt.Sprintf("ports below 1024 need a privilege: start the server from its systemd unit (AmbientCapabilities=CAP_NET_BIND_SERVICE, or a .socket unit), run `setcap cap_net_bind_service=+ep` on the program, or choose a port such as %d", n+3000)
	case errors.Is(err, fs.ErrPermission):
		advice = "the directory of the socket must be writable by the server's user"
	case errors.Is(err, fs.ErrNotExist):
		advice = "the directory of the socket does not exist; make it, with systemd by RuntimeDirectory="
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		advice = "this machine has no such address; 0.0.0.0 and [::] are all that it has"
	default:
		var dns *net.DNSError
		if errors.As(err, &dns) {
			advice = "the host name does not resolve; use an address"
			break
		}
		return fmt.Errorf("listen on %s: %w", l.URL, err)
	}
	return fmt.Errorf("listen on %s: %s (%w)", l.URL, advice, cause(err))
}

// cause drops what the message says already.
func cause(err error) error {
	if e, ok := errors.AsType[*net.OpError](err); ok {
		return e.Err
	}
	return err
}
