package app

import (
	"math"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"portolan/internal/monitor"
	"portolan/internal/session"
)

// snapshot looks at the server for cn=Monitor and the metrics. It is what a Directory knows; a Server adds the rest.
func (d *Directory) snapshot() monitor.Snapshot {
	hashing := d.hashing.Stats()
	s := monitor.Snapshot{
		Version: strings.TrimSpace("Portolan " + d.release), Begun: d.begun, Now: d.now(),
		Suffixes: d.Config.Directory.AllSuffixes(), ReadOnly: d.Engine.Settings().ReadOnly, LogLevel: d.Config.Log.Level,
		Mechanisms: d.Config.SASL.Mechanisms,
		Workers: monitor.Workers{
			Goroutines: runtime.NumGoroutine(), Processors: runtime.GOMAXPROCS(0), HashWorkers: hashing.Workers,
			Hashing: hashing.Running, HashesWaiting: hashing.Queued, HashesDone: hashing.Done,
			HashesTurnedOff: hashing.Refused + hashing.Evicted + hashing.Expired,
		},
	}
	for i := range d.overlays {
		s.Overlays = append(s.Overlays, d.overlays[i].Name)
	}
	kept := d.Store.Metrics()
	s.Entity = monitor.Store{
		Entries: kept["store_entries"], CacheEntries: kept["store_cached_entries"], CacheOctets: kept["store_cached_octets"],
		DiskUsed: uint64(max(kept["disk_bytes"], 0)),
	}
	s.Entity.JournalFirst, s.Entity.JournalSeq = d.Store.JournalBounds()
	if octets, err := d.Store.JournalOctets(); err == nil {
		s.Entity.JournalOctets = octets
	}
	if free, err := freeSpace(d.Config.DataDir); err == nil {
		s.Entity.DiskFree = free
	}
	if f := d.live.Load(); f != nil {
		(*f)(&s)
	}
	if s.Operations == nil {
		s.Operations = operations(&session.Counters{})
	}
	return s
}

// operations are the kinds of request in the order, and with the names, of slapd's monitor.
func operations(c *session.Counters) []monitor.Operation {
	var out []monitor.Operation
	for _, x := range []struct {
		name string
		kind session.Operation
	}{
		{"Bind", session.Bind}, {"Unbind", session.Unbind}, {"Search", session.Search}, {"Compare", session.Compare},
		{"Modify", session.Modify}, {"Modrdn", session.ModifyDN}, {"Add", session.Add}, {"Delete", session.Delete},
		{"Abandon", session.Abandon}, {"Extended", session.Extended},
	} {
		out = append(out, monitor.Operation{Name: x.name, Initiated: c.Operations[x.kind], Completed: c.Completed[x.kind]})
	}
	return out
}

// watch adds what a running server knows to a snapshot.
func (s *Server) watch(m *monitor.Snapshot) {
	c := s.stats.Read()
	m.Begun, m.Operations = s.begun, operations(&c)
	m.OctetsIn, m.OctetsOut, m.Entries, m.Referrals = c.BytesIn, c.BytesOut, c.Entries, c.References
	m.PDUs = c.Entries + c.References
	for i, n := range c.Completed {
		if o := session.Operation(i); o != session.Unbind && o != session.Abandon {
			m.PDUs += n
		}
		m.Outstanding += c.Operations[i] - min(c.Operations[i], n)
	}
	m.PDUs -= min(m.PDUs, c.Abandoned)
	sockets := s.listen.Read()
	m.Open, m.Accepted = sockets.Open, sockets.Accepted
	m.Refused = sockets.RefusedNetwork + sockets.RefusedTotal + sockets.RefusedAddress
	m.MaxFiles = maxFiles()
	m.Trouble = []monitor.Count{
		{Name: "panics", Help: "operations that ended with an internal error", Value: c.Panics},
		{Name: "protocol_errors", Help: "connections ended for what the client sent", Value: c.ProtocolErrors},
		{Name: "busy", Help: "requests refused because too many were outstanding", Value: c.Busy},
		{Name: "rate_refused", Help: "requests refused because more was asked for than a rate", Value: s.rates.Stats(m.Now).All()},
		{Name: "abandoned", Help: "operations abandoned", Value: c.Abandoned},
		{Name: "tls_handshake_errors", Help: "TLS handshakes that failed", Value: c.HandshakeErrors},
		{Name: "starttls_injections", Help: "octets between a StartTLS request and its answer", Value: c.Injections},
		{Name: "idle_timeouts", Help: "connections ended for silence", Value: c.IdleTimeouts},
		{Name: "bind_timeouts", Help: "connections ended because nobody logged in", Value: c.BindTimeouts},
		{Name: "write_timeouts", Help: "connections ended because the client did not read", Value: c.WriteTimeouts},
	}
	m.Listeners = nil
	for i := range s.Config.Listen {
		m.Listeners = append(m.Listeners, s.Config.Listen[i].URL)
		if a, err := s.Config.Listen[i].Address(); err == nil && a.Network == "udp" {
			m.Datagrams = &monitor.Datagrams{
				Received: c.Datagrams, Ignored: c.DatagramsIgnored, TooLarge: c.DatagramsTooLarge,
				Refused: sockets.DatagramsRefused, Beyond: sockets.DatagramsBeyond, Unsent: sockets.DatagramsUnsent,
			}
		}
	}
	if s.certs != nil {
		leaf := s.certs.Leaf()
		m.TLS, m.TLSEnds = "certificate of "+leaf.Subject.String()+" until "+leaf.NotAfter.UTC().Format(time.RFC3339), leaf.NotAfter
	}
	m.Connections = s.eachConnection
}

func (s *Server) eachConnection(f func(monitor.Connection) bool) {
	s.listen.Each(func(x *session.Session) bool {
		c, i := x.Conn(), x.Info()
		one := monitor.Connection{
			ID: c.ID, Listener: c.Listener, AuthzDN: c.Identity().Name.DN, Begun: i.Begun,
			Received: i.Received, Completed: i.Completed, Executing: i.Outstanding,
		}
		if c.Remote.IsValid() {
			one.Peer, one.Local = "IP="+c.Remote.String(), "IP="+c.Local.String()
		} else {
			one.Peer = "PATH=" + c.Listener
		}
		return f(one)
	})
}

// maxFiles is how many files the process may have open, 0 unknown.
func maxFiles() uint64 {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || uint64(limit.Cur) > math.MaxInt64 { //nolint:unconvert // signed on some systems
		return 0
	}
	return uint64(limit.Cur) //nolint:unconvert // see above
}
