package session

import (
	"sync/atomic"

	"portolan/ldap"
)

// Operation is the index of a kind of request in Counters.Operations.
type Operation uint8

// The kinds of request.
const (
	Bind Operation = iota
	Unbind
	Search
	Modify
	Add
	Delete
	ModifyDN
	Compare
	Abandon
	Extended
	Operations // how many kinds there are
)

// String returns the name that metrics and cn=Monitor use.
func (o Operation) String() string {
	if o >= Operations {
		return "unknown"
	}
	return [Operations]string{"bind", "unbind", "search", "modify", "add", "delete", "modifydn", "compare", "abandon", "extended"}[o]
}

func operationOf(requestTag byte) Operation {
	switch requestTag {
	case ldap.TagBindRequest:
		return Bind
	case ldap.TagUnbindRequest:
		return Unbind
	case ldap.TagSearchRequest:
		return Search
	case ldap.TagModifyRequest:
		return Modify
	case ldap.TagAddRequest:
		return Add
	case ldap.TagDelRequest:
		return Delete
	case ldap.TagModifyDNRequest:
		return ModifyDN
	case ldap.TagCompareRequest:
		return Compare
	case ldap.TagAbandonRequest:
		return Abandon
	}
	return Extended
}

// Counters are totals since the start of the process.
type Counters struct {
	Opened, Closed      uint64 // connections
	PDUs                uint64 // requests whose frame was whole
	BytesIn, BytesOut   uint64 // octets of LDAP, without the TLS around them
	Operations          [Operations]uint64
	Completed           [Operations]uint64 // final responses decided, abandoned operations included
	Entries, References uint64             // search results sent
	Detached            uint64             // operations that left their connection's goroutine
	Abandoned           uint64
	Busy                uint64 // requests refused because too many were outstanding
	Panics              uint64
	ProtocolErrors      uint64 // connections ended with a notice of disconnection for what the client sent
	TooBig              uint64 // of those, over-size messages
	StartTLS            uint64 // TLS layers installed by StartTLS
	Injections          uint64 // octets between a StartTLS request and its answer
	HandshakeErrors     uint64
	IdleTimeouts        uint64
	BindTimeouts        uint64
	WriteTimeouts       uint64
	Datagrams           uint64 // requests over UDP
	DatagramsIgnored    uint64 // of those, what got no answer: no search, or no LDAP
	DatagramsTooLarge   uint64 // of those, what was asked with fewer octets than the answer has
}

// statsShards must be a power of two.
const statsShards = 8

// Stats counts for any number of sessions; the zero value is ready. Sessions are spread over shards, so that counting
// does not make processors fight over cache lines.
type Stats struct {
	shards [statsShards]shard
	hints  hints
}

type shard struct {
	opened, closed    atomic.Uint64
	pdus              atomic.Uint64
	bytesIn, bytesOut atomic.Uint64
	operations        [Operations]atomic.Uint64
	completed         [Operations]atomic.Uint64
	entries           atomic.Uint64
	references        atomic.Uint64
	detached          atomic.Uint64
	abandoned         atomic.Uint64
	busy              atomic.Uint64
	panics            atomic.Uint64
	protocolErrors    atomic.Uint64
	tooBig            atomic.Uint64
	startTLS          atomic.Uint64
	injections        atomic.Uint64
	handshakeErrors   atomic.Uint64
	idleTimeouts      atomic.Uint64
	bindTimeouts      atomic.Uint64
	writeTimeouts     atomic.Uint64
	datagrams         atomic.Uint64
	datagramsIgnored  atomic.Uint64
	datagramsTooLarge atomic.Uint64
	_                 [64]byte
}

func (s *Stats) shard(conn uint64) *shard {
	if s == nil {
		return new(shard)
	}
	return &s.shards[conn%statsShards]
}

// Read returns the totals. Counters that are read while sessions run need not belong to one moment.
func (s *Stats) Read() Counters {
	var c Counters
	for i := range s.shards {
		h := &s.shards[i]
		c.Opened += h.opened.Load()
		c.Closed += h.closed.Load()
		c.PDUs += h.pdus.Load()
		c.BytesIn += h.bytesIn.Load()
		c.BytesOut += h.bytesOut.Load()
		for o := range c.Operations {
			c.Operations[o] += h.operations[o].Load()
			c.Completed[o] += h.completed[o].Load()
		}
		c.Entries += h.entries.Load()
		c.References += h.references.Load()
		c.Detached += h.detached.Load()
		c.Abandoned += h.abandoned.Load()
		c.Busy += h.busy.Load()
		c.Panics += h.panics.Load()
		c.ProtocolErrors += h.protocolErrors.Load()
		c.TooBig += h.tooBig.Load()
		c.StartTLS += h.startTLS.Load()
		c.Injections += h.injections.Load()
		c.HandshakeErrors += h.handshakeErrors.Load()
		c.IdleTimeouts += h.idleTimeouts.Load()
		c.BindTimeouts += h.bindTimeouts.Load()
		c.WriteTimeouts += h.writeTimeouts.Load()
		c.Datagrams += h.datagrams.Load()
		c.DatagramsIgnored += h.datagramsIgnored.Load()
		c.DatagramsTooLarge += h.datagramsTooLarge.Load()
	}
	return c
}
