package listen

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"portolan/internal/op"
	"portolan/ldap"
)

func udp(edit ...func(*Listener)) Listener {
	l := Listener{URL: "cldap://127.0.0.1:0", Network: "udp", Addr: "127.0.0.1:0"}
	for _, e := range edit {
		e(&l)
	}
	return l
}

// whence says of a request over UDP what its connection is, as the diagnostic of noSuchObject. An attribute "block" waits.
type whence struct{ started, release chan struct{} }

func newWhence() *whence {
	return &whence{started: make(chan struct{}, 100), release: make(chan struct{})}
}

func (h *whence) Serve(_ context.Context, req *op.Request, _ op.Writer) error {
	q := req.Op.(*ldap.SearchRequest)
	if len(q.Attributes) > 0 && string(q.Attributes[0]) == "block" {
		h.started <- struct{}{}
		<-h.release
	}
	return ldap.Errorf(ldap.NoSuchObject, "%s %s %v", req.Conn.Transport, req.Conn.Remote.Addr(), req.Conn.Loopback)
}

// askUDP sends a search for the root DSE and returns the answer's diagnostic.
func askUDP(t testing.TB, nc net.Conn, attributes ...string) string {
	t.Helper()
	q := &ldap.SearchRequest{Filter: ldap.Present("objectClass")}
	for _, a := range append(attributes, "1.1", "1.1", "1.1", "1.1", "1.1", "1.1", "1.1") {
		q.Attributes = append(q.Attributes, []byte(a))
	}
	if _, err := nc.Write(ldap.AppendMessage(nil, 1, q, nil)); err != nil {
		t.Fatal(err)
	}
	return heard(t, nc)
}

func heard(t testing.TB, nc net.Conn) string {
	t.Helper()
	b := make([]byte, 4096)
	nc.SetReadDeadline(time.Now().Add(patience))
	n, err := nc.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	m, err := ldap.Decode(b[:n])
	if err != nil {
		t.Fatal(err)
	}
	return m.Op.(*ldap.SearchResultDone).Diagnostic
}

func dialUDP(t testing.TB, address string) net.Conn {
	t.Helper()
	nc, err := net.Dial("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return nc
}

func TestDatagrams(t *testing.T) {
	s := start(t, newWhence(), nil, nil, udp())
	nc := dialUDP(t, s.Addrs()[0].String())
	if got := askUDP(t, nc); got != "udp 127.0.0.1 true" {
		t.Errorf("%q", got)
	}
	// What gets no answer disturbs nothing.
	for _, b := range [][]byte{nil, {0}, make([]byte, 60000), ldap.AppendMessage(nil, 1, &ldap.UnbindRequest{}, nil)} {
		if _, err := nc.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	if got := askUDP(t, nc); got != "udp 127.0.0.1 true" {
		t.Errorf("%q", got)
	}
	if c := s.session.Load().Stats.Read(); c.Datagrams != 6 || c.DatagramsIgnored != 4 {
		t.Errorf("counted %d, %d ignored", c.Datagrams, c.DatagramsIgnored)
	}
	if c := s.Read(); c.Open != 0 || c.Accepted != 0 {
		t.Errorf("datagrams are no connections: %+v", c)
	}
}

// TestDatagramsFromTheAddressAsked answers from the address that was asked, where the listener has them all.
func TestDatagramsFromTheAddressAsked(t *testing.T) {
	for _, x := range []struct{ listen, ask, remote string }{
		{"0.0.0.0:0", "127.0.0.1", "127.0.0.1"}, {"0.0.0.0:0", "127.1.2.3", "127.0.0.1"}, {"[::]:0", "127.1.2.3", "127.0.0.1"}, {"[::]:0", "::1", "::1"},
	} {
		t.Run(x.listen+" "+x.ask, func(t *testing.T) {
			for _, address := range []string{net.JoinHostPort(x.ask, "0"), x.listen} {
				pc, err := net.ListenPacket("udp", address)
				if err != nil {
					t.Skip("this machine has no such address:", err)
				}
				pc.Close()
			}
			s := start(t, newWhence(), nil, nil, udp(func(l *Listener) { l.Addr = x.listen }))
			_, port, _ := net.SplitHostPort(s.Addrs()[0].String())
			// A connected socket hears nothing from another address.
			if got := askUDP(t, dialUDP(t, net.JoinHostPort(x.ask, port))); got != "udp "+x.remote+" false" {
				t.Errorf("%q", got)
			}
		})
	}
}

// await polls a counter that another goroutine counts up: datagrams that are dropped give no signal.
func awaitCount(t *testing.T, what string, want uint64, read func() uint64) {
	t.Helper()
	end := time.Now().Add(patience)
	for read() != want {
		if time.Now().After(end) {
			t.Fatalf("%s: %d, want %d", what, read(), want)
		}
		time.Sleep(time.Millisecond)
	}
}

// TestDatagramNetworks drops what comes from elsewhere, and takes over new networks.
func TestDatagramNetworks(t *testing.T) {
	deny := udp(func(l *Listener) { l.Deny = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	s := start(t, newWhence(), nil, nil, deny)
	nc := dialUDP(t, s.Addrs()[0].String())
	request := ldap.AppendMessage(nil, 1, &ldap.SearchRequest{Filter: ldap.Present("objectClass")}, nil)
	nc.Write(request)
	awaitCount(t, "refused", 1, func() uint64 { return s.Read().DatagramsRefused })
	if c := s.session.Load().Stats.Read(); c.Datagrams != 0 {
		t.Errorf("%d were looked at", c.Datagrams)
	}
	cfg := s.cfg
	cfg.Listeners = []Listener{udp()}
	s.Reload(cfg)
	if got := askUDP(t, nc); got != "udp 127.0.0.1 true" {
		t.Errorf("%q", got)
	}
}

func TestDatagramRates(t *testing.T) {
	r := newRates()
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	takes := func(who netip.Addr, at time.Duration, tries int) (n int) {
		for range tries {
			if r.take(who, at) {
				n++
			}
		}
		return n
	}
	if n := takes(a, 0, 3*sourceBurst); n != sourceBurst {
		t.Errorf("%d at once, want %d", n, sourceBurst)
	}
	if n := takes(b, 0, 1); n != 1 {
		t.Error("another source is refused")
	}
	if n := takes(a, time.Second, 3*sourceBurst); n != sourceRate {
		t.Errorf("%d in the second after, want %d", n, sourceRate)
	}
	if n := takes(a, time.Hour, 3*sourceBurst); n != sourceBurst {
		t.Errorf("%d an hour later, want %d", n, sourceBurst)
	}
	// Any number of sources: no more than all together may have, in the memory that there is.
	r, n := newRates(), 0
	who := netip.MustParseAddr("10.0.0.0")
	for range 4 * totalBurst {
		who = who.Next()
		n += takes(who, 0, 1)
	}
	if n != totalBurst {
		t.Errorf("%d of many sources, want %d", n, totalBurst)
	}
}

// TestDatagramFlood: a source beyond its rate is not answered, and the server's other listeners are none the worse.
func TestDatagramFlood(t *testing.T) {
	s := start(t, newWhence(), nil, nil, udp(), tcp())
	nc := dialUDP(t, s.Addrs()[0].String())
	end := time.Now().Add(patience)
	for s.Read().DatagramsBeyond == 0 {
		if time.Now().After(end) {
			t.Fatal("nothing is beyond the rate")
		}
		for range 50 {
			nc.Write([]byte("x"))
		}
	}
	tc, err := net.Dial("tcp", s.Addrs()[1].String())
	if err != nil {
		t.Fatal(err)
	}
	tc.Close()
}

// TestDatagramShutdown answers the request in progress and lets the port go.
func TestDatagramShutdown(t *testing.T) {
	h := newWhence()
	s := start(t, h, nil, nil, udp())
	address := s.Addrs()[0].String()
	nc := dialUDP(t, address)
	q := &ldap.SearchRequest{Filter: ldap.Present("objectClass"), Attributes: [][]byte{[]byte("block"), make([]byte, 50)}}
	nc.Write(ldap.AppendMessage(nil, 1, q, nil))
	<-h.started
	ended := make(chan error)
	go func() { ended <- s.Shutdown(context.Background()) }()
	<-s.stop
	close(h.release)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if got := heard(t, nc); got != "udp 127.0.0.1 true" {
		t.Errorf("%q", got)
	}
	// To listen there again would show it too, unless somebody else was quicker.
	_ = s.listeners[0].pc.SetReadDeadline(time.Now())
	if _, _, err := s.listeners[0].pc.ReadFrom(nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the port is not free: %v", err)
	}
}
