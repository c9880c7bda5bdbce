package listen

import (
	"errors"
	"hash/maphash"
	"net"
	"net/netip"
	"time"

	"portolan/internal/op"
	"portolan/internal/session"
)

// What is answered over UDP, for each listener. A datagram's source may be anybody's address, so that the rates bound what a victim
// gets and what the server does; what is beyond them is dropped unread.
const (
	sourceRate  = 20  // requests a second of one source: an address, of IPv6 its /64
	sourceBurst = 100 // that may come at once
	totalRate   = 2000
	totalBurst  = 2000
	// sourceSlots is how many sources are told apart; those that fall on one slot share its rate.
	sourceSlots = 4096
)

// openUDP opens the socket of a cldap listener.
func openUDP(l Listener) (*net.UDPConn, error) {
	pc, err := net.ListenPacket("udp", l.Addr)
	if err != nil {
		return nil, err
	}
	uc := pc.(*net.UDPConn)
	if addrPort(uc.LocalAddr()).Addr().IsUnspecified() {
		if err := askDestination(uc); err != nil {
			uc.Close()
			return nil, err
		}
	}
	return uc, nil
}

// datagrams serves a cldap listener: one goroutine answers one request after the other, each from memory.
func (s *Server) datagrams(o *listener) {
	defer o.close()
	config := s.session.Load()
	answers, rates := session.NewDatagrams(config), newRates()
	local := addrPort(o.pc.LocalAddr())
	buf := make([]byte, session.MaxDatagram+1) // the octet more shows that a request is too long
	oob := make([]byte, destinationSize)
	pause := time.Duration(0)
	for {
		n, oobn, _, peer, err := o.pc.ReadMsgUDPAddrPort(buf, oob)
		if err != nil {
			if !s.readAgain(o, err, &pause) {
				return
			}
			continue
		}
		pause = 0
		from := plain(peer)
		if !o.networks.Load().allows(from.Addr()) {
			s.datagramsRefused.Add(1)
			continue
		}
		if next := s.session.Load(); next != config { // a reload
			config, answers = next, session.NewDatagrams(next)
		}
		if !rates.take(countedAs(from.Addr()), time.Since(rates.begun)) {
			s.datagramsBeyond.Add(1)
			continue
		}
		conn := &op.Conn{ID: s.lastID.Add(1), Listener: o.URL, Transport: op.UDP, Local: local, Remote: from}
		conn.Loopback = from.Addr().IsLoopback() && local.Addr().IsLoopback()
		answer := answers.Answer(conn, buf[:n])
		conn.End()
		if answer == nil {
			continue
		}
		if _, _, err := o.pc.WriteMsgUDPAddrPort(answer, source(oob[:oobn]), peer); err != nil {
			s.datagramsUnsent.Add(1)
		}
	}
}

// readAgain deals with an error of the socket. It reports whether to go on.
func (s *Server) readAgain(o *listener, err error, pause *time.Duration) bool {
	select {
	case <-s.stop:
		return false
	default:
	}
	s.bad.Add(1)
	if errors.Is(err, net.ErrClosed) {
		s.log.Error("a listener is gone", "listener", o.URL, "error", err.Error())
		return false
	}
	if *pause == 0 {
		s.log.Error("datagrams cannot be received at present", "listener", o.URL, "error", err.Error())
	}
	*pause = min(max(2**pause, minPause), maxPause)
	timer := time.NewTimer(*pause)
	defer timer.Stop()
	select {
	case <-s.stop:
		return false
	case <-timer.C:
	}
	return true
}

// rates are token buckets, one for each slot of sources and one for all. Times are since begun.
type rates struct {
	begun   time.Time
	seed    maphash.Seed
	sources [sourceSlots]bucket
	all     bucket
}

type bucket struct {
	spent float64 // tokens in use
	at    time.Duration
}

func newRates() *rates { return &rates{begun: time.Now(), seed: maphash.MakeSeed()} }

// take reports whether a request of a source may be served now.
func (r *rates) take(source netip.Addr, now time.Duration) bool {
	octets := source.As16()
	mine := &r.sources[maphash.Bytes(r.seed, octets[:])%sourceSlots]
	// A source that is beyond its own rate takes nothing of what all have.
	return mine.take(sourceRate, sourceBurst, now) && r.all.take(totalRate, totalBurst, now)
}

func (b *bucket) take(rate, burst float64, now time.Duration) bool {
	b.spent = max(0, b.spent-rate*(now-b.at).Seconds())
	b.at = now
	if b.spent+1 > burst {
		return false
	}
	b.spent++
	return true
}
