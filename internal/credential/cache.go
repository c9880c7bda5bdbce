package credential

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"hash"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// DefaultCacheSize is the number of verified credentials a Cache keeps by default; each takes 40 bytes.
	DefaultCacheSize = 16384
	// DefaultCacheTTL is how long a verified credential counts by default.
	DefaultCacheTTL = 5 * time.Minute

	cacheMaxSize = 1 << 22
	cacheMaxTTL  = time.Hour
	cacheWays    = 8
	cacheLocks   = 64
)

// CacheConfig configures a Cache.
type CacheConfig struct {
	Size int              // credentials kept, rounded up to a power of two; 0 means none: the cache never hits
	TTL  time.Duration    // above 0 to 1 hour
	Now  func() time.Time // the clock; should carry a monotonic reading
	Rand io.Reader        // for the cache's key
}

// Cache remembers passwords that were verified a short time ago, so that a mail server that binds for every request
// costs one expensive hash in a while and not each time.
//
// It holds successes only, and of them nothing but HMAC-SHA-256 under a random key that lives as long as the Cache,
// over entry UUID, stored value, policy version and password. Since the stored value and the policy version are in
// the MAC and are compared at use, a changed password or policy cannot hit: there is nothing to invalidate. The
// caller still evaluates lockout and policy on every bind.
//
// A Cache is safe for concurrent use. A nil Cache never hits. It is a table of sets of eight, so it is bounded, and
// the MAC chooses the set, so that nobody can aim at a set.
type Cache struct {
	now   func() time.Time
	start time.Time
	ttl   time.Duration
	macs  sync.Pool // of *cacheMAC
	mask  uint64    // number of sets - 1
	sets  []cacheSet
	locks [cacheLocks]struct {
		sync.Mutex
		hits, misses uint64
		_            [40]byte // keeps neighbours off the same cache line
	}
	added, evicted atomic.Uint64
}

type cacheSlot struct {
	mac   [sha256.Size]byte
	until int64 // nanoseconds after Cache.start; 0: empty
}

type cacheSet [cacheWays]cacheSlot

// cacheMAC is a keyed hash with room for what it is fed from and yields, so that a hit allocates nothing.
type cacheMAC struct {
	h      hash.Hash
	header [16 + 8 + 4]byte
	sum    [sha256.Size]byte
}

// CacheStats are counters since the cache was made, and what it holds.
type CacheStats struct {
	Hits, Misses, Added, Evicted uint64
	Entries                      int // that have not run out
	Capacity                     int
}

// NewCache makes a cache, or says which setting is out of range. Size 0 gives a nil Cache and no error.
func NewCache(c CacheConfig) (*Cache, error) {
	switch {
	case c.Size == 0:
		return nil, nil
	case c.Size < 0 || c.Size > cacheMaxSize:
		return nil, fmt.Errorf("credential cache size must be 0 to %d, not %d", cacheMaxSize, c.Size)
	case c.TTL <= 0 || c.TTL > cacheMaxTTL:
		return nil, fmt.Errorf("credential cache lifetime must be above 0 and at most %v, not %v", cacheMaxTTL, c.TTL)
	}
	key := make([]byte, sha256.BlockSize)
	if _, err := io.ReadFull(c.Rand, key); err != nil {
		return nil, fmt.Errorf("key of the credential cache: %w", err)
	}
	sets := 1
	for sets*cacheWays < c.Size {
		sets *= 2
	}
	k := &Cache{now: c.Now, start: c.Now(), ttl: c.TTL, mask: uint64(sets - 1), sets: make([]cacheSet, sets)}
	k.macs.New = func() any {
		h := hmac.New(sha256.New, key)
		// From its first Reset on, HMAC restores a saved state, which overwrites all of the old one.
		h.Reset()
		return &cacheMAC{h: h}
	}
	return k, nil
}

// Hit reports whether the password was added for this entry, this stored value and this policy version no longer
// than the lifetime ago.
func (c *Cache) Hit(uuid [16]byte, stored []byte, policy uint64, password []byte) bool {
	if c == nil || len(password) == 0 {
		return false
	}
	m := c.mac(uuid, stored, policy, password)
	now := int64(c.now().Sub(c.start))
	n := c.setOf(m)
	lock, set := &c.locks[n%cacheLocks], &c.sets[n]
	hit := false
	lock.Lock()
	for i := range set {
		if set[i].until > now && subtle.ConstantTimeCompare(set[i].mac[:], m.sum[:]) == 1 {
			hit = true
			break
		}
	}
	if hit {
		lock.hits++
	} else {
		lock.misses++
	}
	lock.Unlock()
	c.macs.Put(m)
	return hit
}

// Add remembers a password that has just been verified against the stored value under the policy version. Adding
// again renews the lifetime: call it after a verification, not after a hit.
func (c *Cache) Add(uuid [16]byte, stored []byte, policy uint64, password []byte) {
	if c == nil || len(password) == 0 {
		return
	}
	m := c.mac(uuid, stored, policy, password)
	now := int64(c.now().Sub(c.start))
	n := c.setOf(m)
	lock, set := &c.locks[n%cacheLocks], &c.sets[n]
	lock.Lock()
	victim := 0
	for i := range set {
		if set[i].until != 0 && subtle.ConstantTimeCompare(set[i].mac[:], m.sum[:]) == 1 {
			victim = i
			break
		}
		if set[i].until < set[victim].until {
			victim = i
		}
	}
	// The lifetime is one for all, so what runs out first was added first.
	if set[victim].until > now && set[victim].mac != m.sum {
		c.evicted.Add(1)
	}
	set[victim] = cacheSlot{mac: m.sum, until: now + int64(c.ttl)}
	lock.Unlock()
	c.added.Add(1)
	c.macs.Put(m)
}

// Purge forgets everything.
func (c *Cache) Purge() {
	if c == nil {
		return
	}
	for n := range c.sets {
		lock := &c.locks[n%cacheLocks]
		lock.Lock()
		c.sets[n] = cacheSet{}
		lock.Unlock()
	}
}

// Stats counts; it walks the whole cache and is meant for monitoring.
func (c *Cache) Stats() CacheStats {
	if c == nil {
		return CacheStats{}
	}
	s := CacheStats{Added: c.added.Load(), Evicted: c.evicted.Load(), Capacity: len(c.sets) * cacheWays}
	now := int64(c.now().Sub(c.start))
	for n := range c.sets {
		lock := &c.locks[n%cacheLocks]
		lock.Lock()
		for i := range c.sets[n] {
			if c.sets[n][i].until > now {
				s.Entries++
			}
		}
		lock.Unlock()
	}
	for i := range c.locks {
		lock := &c.locks[i]
		lock.Lock()
		s.Hits += lock.hits
		s.Misses += lock.misses
		lock.Unlock()
	}
	return s
}

// mac computes the MAC of a credential into a pooled value, which the caller gives back.
func (c *Cache) mac(uuid [16]byte, stored []byte, policy uint64, password []byte) *cacheMAC {
	m := c.macs.Get().(*cacheMAC)
	// The lengths of the fixed part and of stored are unambiguous, hence so is the whole.
	copy(m.header[:16], uuid[:])
	binary.BigEndian.PutUint64(m.header[16:], policy)
	binary.BigEndian.PutUint32(m.header[24:], uint32(len(stored)))
	m.h.Write(m.header[:])
	m.h.Write(stored)
	m.h.Write(password)
	m.h.Sum(m.sum[:0])
	// At once, not before the next use: the hash's last block holds the end of the password.
	m.h.Reset()
	return m
}

func (c *Cache) setOf(m *cacheMAC) uint64 { return binary.LittleEndian.Uint64(m.sum[:]) & c.mask }
