// Package listen owns the server's sockets: it opens them, decides who may connect, finds out who that is (PROXY header, peer
// credentials), runs a session for each, and ends them all in order. It also holds the server's certificate.
package listen

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pires/go-proxyproto"

	"portolan/internal/op"
	"portolan/internal/session"
)

// Config is what a server is made of.
type Config struct {
	Listeners []Listener
	// Session is for all connections. Its TLS is needed where a listener has TLS.
	Session *session.Config
	// MaxConnections and MaxConnectionsPerAddress bound open connections; what is more is accepted and closed at once. An
	// IPv6 address counts as its /64. Zero is no limit. The control socket is exempt.
	MaxConnections           int
	MaxConnectionsPerAddress int
	// ProxyTimeout is the time that a proxy has for its PROXY header; zero is 5 seconds.
	ProxyTimeout time.Duration
	// Inherited are sockets that were opened before the process began; see Inherited. Each must be one of Listeners.
	Inherited []net.Listener
	// Logger is for the sockets; nil is Session.Logger.
	Logger *slog.Logger
}

// Counters are totals since the server was made, and Open, which is now.
type Counters struct {
	Open            uint64
	Accepted        uint64
	RefusedNetwork  uint64 // by Allow and Deny
	RefusedTotal    uint64 // by MaxConnections
	RefusedAddress  uint64 // by MaxConnectionsPerAddress
	BadProxyHeaders uint64
	AcceptErrors    uint64
	// Of datagrams: those that were not looked at, and answers that could not be sent.
	DatagramsRefused uint64 // by Allow and Deny
	DatagramsBeyond  uint64 // by the rates of one source and of all together
	DatagramsUnsent  uint64
}

// Server is a set of open listeners and their connections.
type Server struct {
	cfg     Config
	log     *slog.Logger
	session atomic.Pointer[session.Config]
	lastID  atomic.Uint64

	most, mostPerAddress                                                  atomic.Int64
	accepted, refusedNetwork, refusedTotal, refusedAddress, badProxy, bad atomic.Uint64
	datagramsRefused, datagramsBeyond, datagramsUnsent                    atomic.Uint64

	listeners []*listener
	accepting sync.WaitGroup
	ready     chan struct{}
	stop      chan struct{} // closed when the draining begins

	mu        sync.Mutex
	peers     map[*peer]struct{}
	addresses map[netip.Addr]int
	counted   int           // peers that count against MaxConnections
	stopping  bool          //
	empty     chan struct{} // closed when stopping and the last peer is gone
}

// peer is one accepted connection.
type peer struct {
	nc      net.Conn
	session *session.Session // nil until there is one
	address netip.Addr       // that it counts for; the zero Addr counts for none
	exempt  bool
}

// New returns a server whose listeners are not open yet.
func New(cfg Config) *Server {
	s := &Server{
		cfg: cfg, log: cfg.Logger, ready: make(chan struct{}), stop: make(chan struct{}), empty: make(chan struct{}),
		peers: make(map[*peer]struct{}), addresses: make(map[netip.Addr]int),
	}
	if s.log == nil {
		s.log = cfg.Session.Logger
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.cfg.ProxyTimeout <= 0 {
		s.cfg.ProxyTimeout = 5 * time.Second
	}
	s.adopt(cfg)
	return s
}

func (s *Server) adopt(cfg Config) {
	s.session.Store(cfg.Session)
	s.most.Store(int64(cfg.MaxConnections))
	s.mostPerAddress.Store(int64(cfg.MaxConnectionsPerAddress))
}

// Reload takes over, for connections to come, all of cfg that needs no socket to be opened or closed: Session, the limits, and the
// networks of listeners whose URL is the same.
func (s *Server) Reload(cfg Config) {
	s.adopt(cfg)
	for i := range cfg.Listeners {
		l := &cfg.Listeners[i]
		for _, o := range s.listeners {
			if o.URL == l.URL {
				o.networks.Store(&networks{allow: l.Allow, deny: l.Deny, proxies: l.ProxyProtocolFrom})
			}
		}
	}
}

// Start opens every listener and begins to accept. When one cannot be opened none stays open, and the error is about all that
// cannot. It is called once; Shutdown must follow a success.
func (s *Server) Start() error {
	inherited := append([]net.Listener(nil), s.cfg.Inherited...)
	var errs []error
	for _, l := range s.cfg.Listeners {
		if l.TLS && (s.cfg.Session.TLS == nil || s.cfg.Session.TLS() == nil) {
			errs = append(errs, fmt.Errorf("listen on %s: TLS needs a certificate; set cert_file and key_file under [tls], or use ldap://", l.URL))
			continue
		}
		o, err := open(l, &inherited)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		s.listeners = append(s.listeners, o)
	}
	for _, ln := range inherited {
		errs = append(errs, fmt.Errorf("socket activation: no listener is configured for %s %s; add one, or remove it from the .socket unit", ln.Addr().Network(), ln.Addr()))
		ln.Close()
	}
	if len(s.listeners) == 0 && len(errs) == 0 {
		errs = append(errs, errors.New("no listener is configured; add [[listen]] with url = \"ldap://127.0.0.1:3389\""))
	}
	if len(errs) > 0 {
		for _, o := range s.listeners {
			o.close()
		}
		return errors.Join(errs...)
	}
	for _, o := range s.listeners {
		if o.pc != nil {
			s.accepting.Go(func() { s.datagrams(o) })
			continue
		}
		s.accepting.Go(func() { s.accept(o) })
	}
	close(s.ready)
	return nil
}

// Ready is closed when every listener is open.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Addrs returns the addresses of the open listeners, in the order of Config.Listeners. It is called after Start.
func (s *Server) Addrs() []net.Addr {
	var all []net.Addr
	for _, o := range s.listeners {
		all = append(all, o.addr())
	}
	return all
}

// Read returns the counters.
func (s *Server) Read() Counters {
	s.mu.Lock()
	open := len(s.peers)
	s.mu.Unlock()
	return Counters{
		Open: uint64(open), Accepted: s.accepted.Load(), RefusedNetwork: s.refusedNetwork.Load(), RefusedTotal: s.refusedTotal.Load(),
		RefusedAddress: s.refusedAddress.Load(), BadProxyHeaders: s.badProxy.Load(), AcceptErrors: s.bad.Load(),
		DatagramsRefused: s.datagramsRefused.Load(), DatagramsBeyond: s.datagramsBeyond.Load(), DatagramsUnsent: s.datagramsUnsent.Load(),
	}
}

// Each calls f for the session of every connection, until it returns false. Sessions may end meanwhile.
func (s *Server) Each(f func(*session.Session) bool) {
	s.mu.Lock()
	all := make([]*session.Session, 0, len(s.peers))
	for p := range s.peers {
		if p.session != nil {
			all = append(all, p.session)
		}
	}
	s.mu.Unlock()
	for _, one := range all {
		if !f(one) {
			return
		}
	}
}

// Pauses after an accept that failed.
const (
	minPause = 5 * time.Millisecond
	maxPause = time.Second
)

func (s *Server) accept(o *listener) {
	pause := time.Duration(0)
	for {
		nc, err := o.ln.Accept()
		if err == nil {
			pause = 0
			s.accepted.Add(1)
			s.admit(o, nc)
			continue
		}
		select {
		case <-s.stop:
			return
		default:
		}
		s.bad.Add(1)
		if errors.Is(err, net.ErrClosed) {
			s.log.Error("a listener is gone", "listener", o.URL, "error", err.Error())
			return
		}
		if errors.Is(err, syscall.ECONNABORTED) {
			continue
		}
		if pause == 0 {
			advice := ""
			if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
				advice = "raise LimitNOFILE= in the systemd unit (ulimit -n), or lower limits.max_connections"
			}
			s.log.Error("connections cannot be accepted at present", "listener", o.URL, "error", err.Error(), "advice", advice)
		}
		pause = min(max(2*pause, minPause), maxPause)
		timer := time.NewTimer(pause)
		select {
		case <-s.stop:
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// admit decides about a connection before anything of it is read, and starts its session.
func (s *Server) admit(o *listener, nc net.Conn) {
	n := o.networks.Load()
	p := &peer{nc: nc, exempt: o.Control}
	remote := addrPort(nc.RemoteAddr())
	proxied := o.Network == "tcp" && holds(n.proxies, remote.Addr())
	if o.Network == "tcp" && !proxied {
		if !n.allows(remote.Addr()) {
			s.refusedNetwork.Add(1)
			nc.Close()
			return
		}
		p.address = countedAs(remote.Addr())
	}
	if !s.enter(p) {
		nc.Close()
		return
	}
	if tc, ok := nc.(*net.TCPConn); ok && o.given {
		_ = tc.SetKeepAliveConfig(keepAlive) // a connection that is gone needs none
	}
	go s.serve(o, n, p, remote, proxied)
}

// enter counts a connection; false where it is one too many.
func (s *Server) enter(p *peer) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return false
	}
	if !p.exempt {
		if most := s.most.Load(); most > 0 && int64(s.counted) >= most {
			s.refusedTotal.Add(1)
			return false
		}
		if !s.countAddress(p.address) {
			return false
		}
		s.counted++
	}
	s.peers[p] = struct{}{}
	return true
}

func (s *Server) countAddress(a netip.Addr) bool {
	if !a.IsValid() {
		return true
	}
	if most := s.mostPerAddress.Load(); most > 0 && int64(s.addresses[a]) >= most {
		s.refusedAddress.Add(1)
		return false
	}
	s.addresses[a]++
	return true
}

// leave forgets a connection that has ended.
func (s *Server) leave(p *peer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.peers, p)
	if !p.exempt {
		s.counted--
		if p.address.IsValid() {
			if s.addresses[p.address]--; s.addresses[p.address] == 0 {
				delete(s.addresses, p.address)
			}
		}
	}
	if s.stopping && len(s.peers) == 0 {
		close(s.empty)
	}
}

func (s *Server) serve(o *listener, n *networks, p *peer, remote netip.AddrPort, proxied bool) {
	conn := &op.Conn{
		ID: s.lastID.Add(1), Listener: o.URL, Transport: op.TCP, Local: addrPort(p.nc.LocalAddr()), Remote: remote, Control: o.Control,
	}
	opt := session.Options{TLS: o.TLS, Ended: func() { s.leave(p) }}
	if unix, ok := p.nc.(*net.UnixConn); ok {
		conn.Transport, conn.Loopback = op.Unix, true
		conn.Local, conn.Remote = netip.AddrPort{}, netip.AddrPort{}
		conn.Peer = peerCred(unix)
	} else {
		// Who speaks through a proxy is on this host only if the proxy is as well.
		conn.Loopback = remote.Addr().IsLoopback() && conn.Local.Addr().IsLoopback()
	}
	if proxied {
		client, rest, err := s.proxyHeader(p.nc)
		if err != nil {
			s.badProxy.Add(1)
			s.log.Warn("connection of a proxy closed", "listener", o.URL, "proxy", remote.String(), "error", err.Error())
			p.nc.Close()
			s.leave(p)
			return
		}
		opt.Unread = rest
		switch {
		case client.own:
		case !client.addr.IsValid():
			conn.Loopback = false
		default:
			conn.Remote = client.addr
			conn.Loopback = conn.Loopback && client.addr.Addr().IsLoopback()
		}
		if !s.enterClient(n, p, conn.Remote.Addr(), client.own) {
			p.nc.Close()
			s.leave(p)
			return
		}
	}
	sess := session.New(p.nc, conn, s.session.Load(), opt)
	s.mu.Lock()
	p.session = sess
	stopping := s.stopping
	s.mu.Unlock()
	if stopping {
		sess.Shutdown()
	}
	sess.Run()
}

// enterClient does for the client behind a proxy what admit does for others.
func (s *Server) enterClient(n *networks, p *peer, a netip.Addr, own bool) bool {
	if own {
		return true // the proxy's own connection, to see whether the server is there
	}
	if !n.allows(a) {
		s.refusedNetwork.Add(1)
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.countAddress(countedAs(a)) {
		return false
	}
	p.address = countedAs(a)
	return true
}

// proxyClient is what a PROXY header says.
type proxyClient struct {
	addr netip.AddrPort // not valid where the proxy does not know
	own  bool           // LOCAL: the proxy speaks for itself
}

// headerBuffer has room for any header of version 1 and for those of version 2 that proxies send; longer ones are read all the same.
const headerBuffer = 256

func (s *Server) proxyHeader(nc net.Conn) (client proxyClient, rest []byte, err error) {
	if err := nc.SetReadDeadline(time.Now().Add(s.cfg.ProxyTimeout)); err != nil {
		return client, nil, err
	}
	r := bufio.NewReaderSize(nc, headerBuffer)
	h, err := proxyproto.Read(r)
	if err != nil {
		return client, nil, fmt.Errorf("a PROXY header is expected from this address: %w", err)
	}
	if err := nc.SetReadDeadline(time.Time{}); err != nil {
		return client, nil, err
	}
	rest, _ = r.Peek(r.Buffered())
	if h.Version == 2 && h.Command.IsLocal() { // in version 1 the library says the same of UNKNOWN
		client.own = true
		return client, rest, nil
	}
	if src, ok := h.SourceAddr.(*net.TCPAddr); ok {
		client.addr = addrPort(src)
	}
	return client, rest, nil
}

func addrPort(a net.Addr) netip.AddrPort {
	t, ok := a.(interface{ AddrPort() netip.AddrPort }) // *net.TCPAddr, *net.UDPAddr
	if !ok {
		return netip.AddrPort{}
	}
	return plain(t.AddrPort())
}

func plain(ap netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}

// countedAs is what MaxConnectionsPerAddress counts: hosts have whole IPv6 networks to choose addresses from.
func countedAs(a netip.Addr) netip.Addr {
	if !a.Is6() || a.IsLoopback() {
		return a
	}
	p, err := a.Prefix(64)
	if err != nil {
		return a
	}
	return p.Addr()
}

// abortGrace is how long Shutdown waits for operations that it has cancelled.
const abortGrace = 5 * time.Second

// Shutdown closes the listeners, sends every connection a notice of disconnection (unavailable) once the operations in progress are
// answered, and waits for the end of them all. When ctx ends first, what is left is cut off and the error says how much that
// was. It is called once.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.stopping = true
	if len(s.peers) == 0 {
		close(s.empty)
	}
	s.mu.Unlock()
	close(s.stop)
	for _, o := range s.listeners {
		if o.pc != nil {
			_ = o.pc.SetReadDeadline(time.Unix(1, 0)) // the datagram in progress is still answered
			continue
		}
		o.close()
	}
	s.accepting.Wait()
	s.endAll((*session.Session).Shutdown)
	select {
	case <-s.empty:
		return nil
	case <-ctx.Done():
	}
	left := s.endAll((*session.Session).Abort)
	timer := time.NewTimer(abortGrace)
	defer timer.Stop()
	select {
	case <-s.empty:
		return fmt.Errorf("%d connections were cut off: %w", left, context.Cause(ctx))
	case <-timer.C:
		return fmt.Errorf("%d connections were cut off, and %d have operations that do not end: %w", left, s.Read().Open, context.Cause(ctx))
	}
}

// endAll calls f for every session and closes what has none yet. It returns how many there were.
func (s *Server) endAll(f func(*session.Session)) int {
	s.mu.Lock()
	all := make([]*session.Session, 0, len(s.peers))
	n := len(s.peers)
	for p := range s.peers {
		if p.session != nil {
			all = append(all, p.session)
		} else {
			p.nc.Close()
		}
	}
	s.mu.Unlock()
	for _, one := range all {
		f(one)
	}
	return n
}
