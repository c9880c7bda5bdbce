package config

import (
	"net/netip"
	"time"
)

// Guard holds back who guesses passwords: see package guard for what the numbers mean.
type Guard struct {
	Enabled bool `toml:"enabled"`
	// Relays log in for many people from one address. Prefixes are masked, IPv4 never in IPv6 form.
	Relays []netip.Prefix `toml:"relays,one"`

	// So many wrong passwords are answered without a delay: for one account, from one address (or IPv6 /64), from one
	// network (IPv4 /24, IPv6 /48), and for how many accounts one password may be wrong.
	AccountFailures  int `toml:"account_failures" min:"1" max:"1000"`
	SourceFailures   int `toml:"source_failures" min:"1" max:"1000"`
	NetworkFailures  int `toml:"network_failures" min:"1" max:"10000"`
	PasswordAccounts int `toml:"password_accounts" min:"1" max:"1000"`
	// StrainFailures is from how many wrong passwords on, over the whole server, a sixth of these is free.
	StrainFailures int `toml:"strain_failures" min:"1" max:"100000"`

	// MaxDelay is the longest that an attempt waits for its turn, MaxDelayed how many may wait at one time; beyond either
	// the answer is busy.
	MaxDelay   time.Duration `toml:"max_delay" max:"60s"`
	MaxDelayed int           `toml:"max_delayed" max:"100000"`

	// Exposed is "mark" or "expire": what becomes of an account whose right password was sent in clear text.
	Exposed string `toml:"exposed" enum:"mark|expire"`
	// ObserveFilters records the shapes of everybody's filters: see package guard/shapes.
	ObserveFilters bool `toml:"observe_filters"`
}
