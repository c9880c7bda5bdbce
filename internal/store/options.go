package store

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"portolan/internal/schema"
)

// Options say how a store is opened. They are copied; slices are not to be changed afterwards.
type Options struct {
	// Schema must know all attribute types that stored entries use, but for those that were defined live: the store keeps
	// live definitions itself and puts them into the place of any that Schema has. See Store.ReplaceSchema.
	Schema *schema.Schema
	// Suffixes are the names of the naming contexts, as written. Entries that are not beneath one of them cannot be added.
	Suffixes []string
	// Indexes are the indexes to keep; Open builds missing ones in the background and drops those no longer asked for.
	Indexes []IndexSpec
	// LargeThreshold is the number of values above which an attribute's values get keys of their own; 0 is
	// DefaultLargeThreshold. The store only publishes it: whoever seals an entry applies it.
	LargeThreshold int
	// CacheBytes bounds the memory of the entry cache; the lookup caches above it take up to about a quarter more.
	// 0 is DefaultCacheBytes.
	CacheBytes int64
	// Warm has the caches filled in the background, after Open and when the schema changes, for a server whose first
	// searches should not be slow.
	Warm bool
	// SID is the server id in CSNs, 0 to 4095.
	SID uint16
	// Now is the clock; nil is time.Now. It may step back: CSNs rise all the same.
	Now func() time.Time
	// Rand is the source of entryUUIDs; nil is crypto/rand.
	Rand io.Reader
	// Logger takes what happens in the background; nil drops it.
	Logger *slog.Logger
	// Journal says how much of the journal is kept.
	Journal Retention
	// MaxChanges bounds the entries that one transaction may change; 0 is no bound. Beyond it is adminLimitExceeded.
	MaxChanges int
	// FreeSpace returns the octets free where the store writes; nil is no check. Below MinFree writes are refused with
	// ErrNoSpace, and taken again as soon as there is more.
	FreeSpace func() (uint64, error)
	MinFree   uint64
	// ReadOnly refuses every write and leaves the stored format as it is.
	ReadOnly bool
}

// Retention bounds the journal. Zero values are no bound. What is beyond a bound is removed in the background, oldest
// first; the newest record always stays.
type Retention struct {
	MaxAge   time.Duration
	MaxBytes int64 // of records, before compression
}

// Defaults of Options.
const (
	DefaultLargeThreshold = 256
	DefaultCacheBytes     = 64 << 20
)

// maxSID is the largest server id that a CSN can hold.
const maxSID = 0xfff

func (o *Options) complete() error {
	if o.Schema == nil {
		return errors.New("store: Options.Schema is nil")
	}
	if o.SID > maxSID {
		return fmt.Errorf("store: server id %d: the largest is %d", o.SID, maxSID)
	}
	if o.LargeThreshold < 0 || o.CacheBytes < 0 || o.MaxChanges < 0 || o.Journal.MaxAge < 0 || o.Journal.MaxBytes < 0 {
		return errors.New("store: a limit is negative; write 0 for the default")
	}
	if o.LargeThreshold == 0 {
		o.LargeThreshold = DefaultLargeThreshold
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = DefaultCacheBytes
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}
