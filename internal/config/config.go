// Package config reads portolan.toml: strictly, with the place of every mistake, all mistakes at once, and with the
// reference text and the commented file that `portolan init` writes made from the same table that gives the defaults.
//
// Parse and Load give a *Config that is valid and complete: a key that the file leaves out has its default. A Config is
// not changed afterwards; a reload makes a new one, and Diff says what of it can be taken over without a restart.
package config

import (
	"net/netip"
	"time"
)

// Config is one whole configuration. Relative paths of the file are already resolved against the file's own directory.
type Config struct {
	// DataDir is the directory in which the server keeps everything that it writes.
	DataDir string `toml:"data_dir,path"`
	// RunAs is the user that a process started by root becomes before it opens anything; empty: it stays what it is.
	RunAs     string       `toml:"run_as"`
	Directory Directory    `toml:"directory"`
	Listen    []Listen     `toml:"listen"`
	TLS       TLS          `toml:"tls"`
	Security  Security     `toml:"security"`
	Index     Index        `toml:"index"`
	Access    []AccessRule `toml:"access"`
	Limits    Limits       `toml:"limits"`
	Password  Password     `toml:"password"`
	Guard     Guard        `toml:"guard"`
	SASL      SASL         `toml:"sasl"`
	Schema    Schema       `toml:"schema"`
	Store     Store        `toml:"store"`
	Journal   Journal      `toml:"journal"`
	Log       Log          `toml:"log"`
	Audit     Audit        `toml:"audit"`
	Metrics   Metrics      `toml:"metrics"`
	Replica   []Replica    `toml:"replica"`

	file     string
	dir      string
	places   map[string]Position
	overlays []rawOverlay
}

// Directory says what the directory holds and who may do everything in it.
type Directory struct {
	// Suffix is the one naming context, or empty where Suffixes was written. Use AllSuffixes.
	Suffix   string   `toml:"suffix"`
	Suffixes []string `toml:"suffixes"`
	// AdminDN is not subject to access rules and limits; empty means that nobody is.
	AdminDN           string `toml:"admin_dn"`
	AdminPasswordFile string `toml:"admin_password_file,path"`
	ReadOnly          bool   `toml:"read_only"`
}

// AllSuffixes returns the naming contexts in the file's order, from whichever of suffix and suffixes was written.
func (d *Directory) AllSuffixes() []string {
	if d.Suffix != "" {
		return append([]string{d.Suffix}, d.Suffixes...)
	}
	return d.Suffixes
}

// Listen is one listener. Address takes its URL apart.
type Listen struct {
	Place `toml:"-"`
	URL   string `toml:"url"`
	// Allow empty means every address; Deny wins over Allow. Prefixes are masked, IPv4 never in IPv6 form.
	Allow             []netip.Prefix `toml:"allow,one"`
	Deny              []netip.Prefix `toml:"deny,one"`
	ProxyProtocolFrom []netip.Prefix `toml:"proxy_protocol_from,one"`
}

// TLS holds the server's certificate. Empty CertFile and KeyFile mean that the server has no TLS at all.
type TLS struct {
	CertFile     string `toml:"cert_file,path"`
	KeyFile      string `toml:"key_file,path"`
	ClientCAFile string `toml:"client_ca_file,path"`
	// ClientCertificate is "optional" or "required".
	ClientCertificate string `toml:"client_certificate" enum:"optional|required"`
	// MinVersion is "1.2" or "1.3".
	MinVersion string `toml:"min_version" enum:"1.2|1.3"`
}

// Security holds the settings whose defaults are the secure ones.
type Security struct {
	// RequireTLS is "always", "non-loopback" or "never".
	RequireTLS string `toml:"require_tls" enum:"always|non-loopback|never"`
	// Anonymous is "rootdse" or "read".
	Anonymous string `toml:"anonymous" enum:"rootdse|read"`
	// BuiltinAccess says whether the built-in rule set `default` is active beside Config.Access.
	BuiltinAccess bool `toml:"builtin_access"`
}

// Index names attributes that are indexed besides the built-in ones.
type Index struct {
	Equality  []string `toml:"equality,one"`
	Substring []string `toml:"substring,one"`
	Ordering  []string `toml:"ordering,one"`
}

// AccessRule is one [[access]] table as it was written; package access gives it its meaning. Exactly one of Allow and
// Deny is not empty. Place.At gives the position of a key ("who") or of one element of its list ("who[1]").
type AccessRule struct {
	Place  `toml:"-"`
	Name   string         `toml:"name"`
	Allow  []string       `toml:"allow,one"`
	Deny   []string       `toml:"deny,one"`
	Who    []string       `toml:"who,one"`
	On     []string       `toml:"on,one"`
	Filter string         `toml:"filter"`
	Attrs  []string       `toml:"attrs,one"`
	From   []netip.Prefix `toml:"from,one"`
	// TLS is the least strength of the connection in bits; `tls = true` gives 1, which is any TLS, ldapi included.
	TLS    int      `toml:"tls,truth" max:"256"`
	Method []string `toml:"method,one"`
}

// Limits bounds what a client may cost. 0 is "no limit" exactly where the reference says so.
// SizeLimit, TimeLimit, MaxExamined, Rate, MaxOutstanding and IdleTimeout can be set otherwise for some identities, see For.
type Limits struct {
	// SizeLimit is in entries for each search request, MaxExamined in entries looked at for it.
	SizeLimit   int           `toml:"size_limit"`
	TimeLimit   time.Duration `toml:"time_limit"`
	MaxExamined int           `toml:"max_examined"`

	// Units a second that an identity, an address and a client without an identity may use: see guard.Rates.
	Rate                int `toml:"rate" max:"100000000"`
	RateSource          int `toml:"rate_source" max:"100000000"`
	RateUnauthenticated int `toml:"rate_unauthenticated" max:"100000000"`

	// MaxPDU and MaxPDUUnauthenticated are octets of one LDAPMessage.
	MaxPDU                int64 `toml:"max_pdu,size" min:"4096" max:"1073741824"`
	MaxPDUUnauthenticated int64 `toml:"max_pdu_unauthenticated,size" min:"4096" max:"1073741824"`

	MaxConnections           int `toml:"max_connections"`
	MaxConnectionsPerAddress int `toml:"max_connections_per_address"`

	IdleTimeout  time.Duration `toml:"idle_timeout"`
	BindTimeout  time.Duration `toml:"bind_timeout"`
	WriteTimeout time.Duration `toml:"write_timeout"`

	// These count per connection (MaxOutstanding, MaxCursors) or per request.
	MaxOutstanding int `toml:"max_outstanding" min:"1"`
	MaxCursors     int `toml:"max_cursors" min:"1"`
	MaxFilterNodes int `toml:"max_filter_nodes" min:"1"`
	MaxControls    int `toml:"max_controls" min:"1"`
	MaxAttributes  int `toml:"max_attributes" min:"1"`
	// MaxPersistent counts the searches of all connections that stay for changes.
	MaxPersistent int `toml:"max_persistent"`

	// MaxSorted is the entries of one search result that are sorted.
	MaxSorted int `toml:"max_sorted" min:"1"`
	// KeptMemory is octets for what is kept between the requests of connections, all of them together.
	KeptMemory int64 `toml:"kept_memory,size" min:"1048576"`
	// TransactionOperations and TransactionBytes bound what one connection may queue for LDAP transactions.
	TransactionOperations int   `toml:"transaction_operations" min:"1"`
	TransactionBytes      int64 `toml:"transaction_bytes,size" min:"4096"`

	// TransactionChanges is entries changed by one transaction, those that overlays change with it included.
	TransactionChanges int `toml:"transaction_changes" min:"1"`
	// MinFreeBytes is the free space of DataDir's file system below which writes are refused.
	MinFreeBytes int64 `toml:"min_free_bytes,size"`

	// For is asked in order; the first that matches the identity wins.
	For []LimitsFor `toml:"for"`
}

// LimitsFor sets limits otherwise for some identities. nil leaves the general limit.
type LimitsFor struct {
	Place `toml:"-"`
	// Who is not empty: "anonymous", "users", "dn:DN", "group:DN"; one match suffices.
	Who            []string       `toml:"who,one"`
	SizeLimit      *int           `toml:"size_limit"`
	TimeLimit      *time.Duration `toml:"time_limit"`
	MaxExamined    *int           `toml:"max_examined"`
	Rate           *int           `toml:"rate" max:"100000000"`
	MaxOutstanding *int           `toml:"max_outstanding" min:"1"`
	IdleTimeout    *time.Duration `toml:"idle_timeout"`
}

// Password says how passwords are hashed. What a password must be like belongs to the ppolicy overlay.
type Password struct {
	// Workers is the number of hashes computed at one time, of each of two kinds: see credential.PoolConfig; 0 is the number of CPUs.
	Workers int    `toml:"workers" max:"1024"`
	Argon2  Argon2 `toml:"argon2"`
}

// Argon2 holds the parameters of Argon2id (RFC 9106) for new hashes.
type Argon2 struct {
	// Memory is in octets, a multiple of 1024.
	Memory      int64 `toml:"memory,size" min:"8388608" max:"1073741824"`
	Time        int   `toml:"time" min:"1" max:"64"`
	Parallelism int   `toml:"parallelism" min:"1" max:"16"`
}

// SASL says how clients bind by SASL.
type SASL struct {
	// Mechanisms are the names of those that are offered; package app knows which there are.
	Mechanisms []string `toml:"mechanisms,one"`
	// ScramIterations is the count of new SCRAM keys.
	ScramIterations int `toml:"scram_iterations" min:"4096" max:"2000000"`
	// User and Certificate are asked in their order.
	User        []UserMap        `toml:"user"`
	Certificate []CertificateMap `toml:"certificate"`
}

// UserMap says which entry a user name stands for; exactly one of DN and Filter is written.
type UserMap struct {
	Place  `toml:"-"`
	DN     string `toml:"dn"`
	Base   string `toml:"base"`
	Filter string `toml:"filter"`
}

// CertificateMap is UserMap for client certificates, those of one issuer where Issuer is not empty.
type CertificateMap struct {
	Place  `toml:"-"`
	Issuer string `toml:"issuer"`
	DN     string `toml:"dn"`
	Base   string `toml:"base"`
	Filter string `toml:"filter"`
}

// Schema says which schema is loaded besides the shipped one.
type Schema struct {
	// Files are read in order, after the shipped schema.
	Files []string `toml:"files,path"`
	// RFC2307 is "bis" or "nis": which of the two definitions of posixGroup and its kin is loaded.
	RFC2307 string `toml:"rfc2307" enum:"bis|nis"`
}

// Store sizes the caches of the entry store. Both count octets; an EntryCache of 0 is sized by the memory there is.
type Store struct {
	CacheBytes int64 `toml:"cache_bytes,size" min:"1048576"`
	EntryCache int64 `toml:"entry_cache,size"`
}

// Journal says how much of the journal is kept; what is older than MaxAge or beyond MaxBytes may be dropped.
type Journal struct {
	MaxAge   time.Duration `toml:"max_age"`
	MaxBytes int64         `toml:"max_bytes,size" min:"16777216"`
}

// Log is the server's own log.
type Log struct {
	Level  string `toml:"level" enum:"debug|info|warn|error"`
	Format string `toml:"format" enum:"text|json"`
	// File empty is standard error.
	File   string    `toml:"file,path"`
	Access AccessLog `toml:"access"`
}

// Metrics says where numbers are served for Prometheus.
type Metrics struct {
	// Listen is a loopback address and a port; empty is nowhere.
	Listen string `toml:"listen"`
}

// AccessLog is the log of operations.
type AccessLog struct {
	Enabled bool `toml:"enabled"`
	// File empty means that the lines go where Log goes.
	File string `toml:"file,path"`
}

// Position is a place in a file. The zero value is no place.
type Position struct {
	File string
	// Line and Column count from 1, Column in characters. Line 0 means the file as a whole.
	Line, Column int
}

// Place says where a table stands and where its keys stand.
type Place struct {
	// Position is that of the table's header.
	Position Position
	// Keys holds the position of each key that was written, and of each element of a list as "key[0]", "key[1]".
	Keys map[string]Position
}
