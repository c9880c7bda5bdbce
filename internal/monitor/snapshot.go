// Package monitor is the subtree cn=Monitor: what the server says of itself, with the names that slapd's monitor has given it, so
// that what reads slapd's reads this one. It counts nothing: a function that it is given looks at the server.
package monitor

import "time"

// Snapshot is what is known of a server at one moment. Numbers that are read while the server works need not belong together.
type Snapshot struct {
	Version    string
	Begun, Now time.Time

	// Open and Accepted count connections; MaxFiles is how many files the process may have open, 0 unknown.
	Open, Accepted, MaxFiles uint64
	// Refused are connections that were not let in, by network or limit.
	Refused uint64
	// Operations are the kinds of request in the order of slapd's monitor.
	Operations []Operation
	// What was sent and received since the start. Octets are of LDAP, without the TLS around them.
	OctetsIn, OctetsOut, PDUs, Entries, Referrals uint64
	// Outstanding are operations in progress.
	Outstanding uint64

	Workers Workers
	// Trouble counts what should not happen often.
	Trouble []Count

	Suffixes  []string
	ReadOnly  bool
	Entity    Store
	Listeners []string
	// Datagrams is nil without a listener for UDP.
	Datagrams *Datagrams
	Overlays  []string
	// Mechanisms are those of SASL; TLS says what there is of it, empty for none.
	Mechanisms []string
	TLS        string
	// TLSEnds is when the server's certificate ends; zero without one.
	TLSEnds  time.Time
	LogLevel string

	// Connections calls f for every open connection until it returns false; nil where there are none to show.
	Connections func(f func(Connection) bool)
}

// Operation is a kind of request, and how many have begun and ended since the start.
type Operation struct {
	Name                 string // as slapd's monitor names it: "Bind", "Modrdn"
	Initiated, Completed uint64
}

// Count is a number with a name of its own.
type Count struct {
	Name, Help string
	Value      uint64
}

// Datagrams count requests over UDP since the start.
type Datagrams struct {
	Received uint64 // those that were looked at
	Ignored  uint64 // of those, what got no answer: no search, or no LDAP
	TooLarge uint64 // of those, what was asked with fewer octets than the answer has
	Refused  uint64 // not looked at, by network
	Beyond   uint64 // not looked at, by rate
	Unsent   uint64 // answers that could not be sent
}

// Workers are the goroutines of the server and its hashing pool.
type Workers struct {
	Goroutines, Processors      int
	HashWorkers                 int
	Hashing, HashesWaiting      int
	HashesDone, HashesTurnedOff uint64
}

// Store is the state of the data.
type Store struct {
	Entries                  int64
	JournalFirst, JournalSeq uint64
	JournalOctets            uint64
	DiskFree, DiskUsed       uint64
	CacheEntries             int64
	CacheOctets              int64
}

// Connection is one open connection.
type Connection struct {
	ID                             uint64
	Listener, Local, Peer, AuthzDN string
	Begun                          time.Time
	Received, Completed            uint64
	Executing                      int
}
