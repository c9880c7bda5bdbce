package guard

import (
	"net/netip"
	"strconv"

	"portolan/internal/op"
)

// client is what the guard knows of a connection; it is kept with it.
type client struct {
	policy  *Policy
	source  uint64
	network uint64 // 0: none
	// names are made when they are needed.
	address netip.Addr
	local   string
	relay   bool
}

// clientOf returns what is known of a connection.
func (g *Guard) clientOf(c *op.Conn, p *Policy) *client {
	if m, ok := c.Guarded().(*client); ok && m.policy == p {
		return m
	}
	m := &client{policy: p, address: c.Remote.Addr().Unmap().WithZone("")}
	switch {
	case c.Transport == op.Unix || !m.address.IsValid():
		m.local = "local"
		if c.Peer != nil {
			m.local += " uid " + strconv.Itoa(c.Peer.UID)
		}
		m.source = g.mac(domainSource, m.local)
	default:
		m.source = g.mac(domainSource, sourceName(m.address))
		m.network = g.mac(domainNetwork, networkName(m.address))
		for _, relay := range p.Relays {
			m.relay = m.relay || relay.Contains(m.address)
		}
	}
	c.SetGuarded(m)
	return m
}

func (m *client) sourceName() string {
	if m.local != "" {
		return m.local
	}
	return sourceName(m.address)
}

// sourceName is the address, or the /64 of IPv6: a customer has one at least, and as many addresses as he likes.
func sourceName(a netip.Addr) string {
	if a.Is6() {
		return prefix(a, 64)
	}
	return a.String()
}

// networkName is what is taken for one network.
func networkName(a netip.Addr) string {
	if a.Is6() {
		return prefix(a, 48)
	}
	return prefix(a, 24)
}

func prefix(a netip.Addr, bits int) string {
	p, err := a.Prefix(bits)
	if err != nil {
		return a.String()
	}
	return p.String()
}

// domain keeps MACs of different things apart.
type domain uint64

const (
	domainAccount domain = 1 + iota
	domainSource
	domainNetwork
)

// mac is the key under which something is counted, under a key that the store keeps. It is never shown, and never 0.
func (g *Guard) mac(d domain, text string) uint64 {
	k := g.key
	k.k1 ^= uint64(d)
	return max(1, sum(k, text))
}

// fingerprint is a short MAC of a password under a key of the process, 0 without a password. Two passwords in four thousand
// million share one: too few bits to find out a password by, enough to see it again.
func (g *Guard) fingerprint(password []byte) uint32 {
	if len(password) == 0 {
		return 0
	}
	return max(1, uint32(sum(g.secret, password)))
}

// mix makes one key of two.
func mix(a, b uint64) uint64 {
	x := a ^ (b<<29 | b>>35) ^ 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return max(1, x^x>>31)
}
