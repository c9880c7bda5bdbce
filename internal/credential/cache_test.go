package credential

import (
	"crypto/rand"
	"encoding/binary"
	"io"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"pgregory.net/rapid"
)

type fakeClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func newTestCache(t testing.TB, size int) (*Cache, *fakeClock) {
	t.Helper()
	clock := &fakeClock{now: time.Unix(1e9, 0)}
	c, err := NewCache(CacheConfig{Size: size, TTL: time.Minute, Now: clock.Now, Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	return c, clock
}

func TestCacheHitsOnlyTheSame(t *testing.T) {
	c, _ := newTestCache(t, 64)
	uuid, old, password := [16]byte{1, 2, 3}, []byte(ssha), []byte("secret")
	if c.Hit(uuid, old, 5, password) {
		t.Error("hit before it was added")
	}
	c.Add(uuid, old, 5, password)
	for range 2 {
		if !c.Hit(uuid, old, 5, password) {
			t.Error("miss")
		}
	}
	for _, m := range []struct {
		name             string
		uuid             [16]byte
		stored, password string
		policy           uint64
	}{
		{"other entry", [16]byte{1, 2, 4}, ssha, "secret", 5},
		{"no entry", [16]byte{}, ssha, "secret", 5},
		{"changed value", uuid, sha, "secret", 5},
		{"no value", uuid, "", "secret", 5},
		{"other policy", uuid, ssha, "secret", 6},
		{"no policy", uuid, ssha, "secret", 0},
		{"wrong password", uuid, ssha, "secret1", 5},
		{"shorter password", uuid, ssha, "secre", 5},
		{"empty password", uuid, ssha, "", 5},
		{"boundary moved to the right", uuid, ssha + "s", "ecret", 5},
		{"boundary moved to the left", uuid, ssha[:len(ssha)-1], ssha[len(ssha)-1:] + "secret", 5},
	} {
		if c.Hit(m.uuid, []byte(m.stored), m.policy, []byte(m.password)) {
			t.Errorf("%s: hit", m.name)
		}
	}
}

func TestCacheForgetsInTime(t *testing.T) {
	c, clock := newTestCache(t, 64)
	hit := func() bool { return c.Hit([16]byte{1}, []byte(ssha), 0, []byte("secret")) }
	c.Add([16]byte{1}, []byte(ssha), 0, []byte("secret"))
	clock.advance(time.Minute - 1)
	if !hit() {
		t.Error("miss just before the end")
	}
	clock.advance(1)
	if hit() {
		t.Error("hit at the end: a hit must not renew the lifetime")
	}
	if s := c.Stats(); s.Entries != 0 || s.Hits != 1 || s.Misses != 1 || s.Added != 1 {
		t.Errorf("%+v", s)
	}
	c.Add([16]byte{1}, []byte(ssha), 0, []byte("secret"))
	clock.advance(40 * time.Second)
	c.Add([16]byte{1}, []byte(ssha), 0, []byte("secret"))
	clock.advance(40 * time.Second)
	if !hit() {
		t.Error("miss after renewal")
	}
	if s := c.Stats(); s.Entries != 1 {
		t.Errorf("adding twice gives %d entries", s.Entries)
	}
	c.Purge()
	if hit() || c.Stats().Entries != 0 {
		t.Error("hit after Purge")
	}
}

func TestCacheIsBounded(t *testing.T) {
	c, _ := newTestCache(t, 100)
	if s := c.Stats(); s.Capacity != 128 {
		t.Fatalf("%+v", s)
	}
	for i := range uint64(10000) {
		var uuid [16]byte
		binary.BigEndian.PutUint64(uuid[:], i)
		c.Add(uuid, []byte(ssha), 0, []byte("secret"))
		if !c.Hit(uuid, []byte(ssha), 0, []byte("secret")) {
			t.Fatalf("%d: miss right after it was added", i)
		}
	}
	if s := c.Stats(); s.Entries != 128 || s.Evicted != 10000-128 {
		t.Errorf("%+v", s)
	}
}

// The cache behaves like a map from what was added to the time of it, but may forget when sets are full.
func TestCacheAgreesWithModel(t *testing.T) {
	type key struct {
		uuid     byte
		stored   string
		policy   uint64
		password string
	}
	rapid.Check(t, func(t *rapid.T) {
		clock := &fakeClock{now: time.Unix(1e9, 0)}
		c, err := NewCache(CacheConfig{Size: 1 << 12, TTL: time.Minute, Now: clock.Now, Rand: rand.Reader})
		if err != nil {
			t.Fatal(err)
		}
		model := map[key]time.Time{}
		draw := func(t *rapid.T) key {
			return key{rapid.ByteRange(0, 2).Draw(t, "uuid"), rapid.SampledFrom([]string{ssha, sha, "a", ""}).Draw(t, "stored"),
				rapid.Uint64Range(0, 1).Draw(t, "policy"), rapid.SampledFrom([]string{"secret", "a", "aa"}).Draw(t, "password")}
		}
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				k := draw(t)
				c.Add([16]byte{k.uuid}, []byte(k.stored), k.policy, []byte(k.password))
				model[k] = clock.now.Add(time.Minute)
			},
			"hit": func(t *rapid.T) {
				k := draw(t)
				if got, want := c.Hit([16]byte{k.uuid}, []byte(k.stored), k.policy, []byte(k.password)), model[k].After(clock.now); got != want {
					t.Fatalf("%+v: hit %v", k, got)
				}
			},
			"wait": func(t *rapid.T) { clock.advance(time.Duration(rapid.IntRange(0, 40).Draw(t, "s")) * time.Second) },
		})
	})
}

func TestCacheHitAllocatesNothing(t *testing.T) {
	c, _ := newTestCache(t, 64)
	uuid, old, password := [16]byte{1}, []byte(ssha), []byte("secret")
	c.Add(uuid, old, 0, password)
	// AllocsPerRun gives the average rounded down: a garbage collection that empties the pool does not matter. The race
	// detector makes sync.Pool drop values on purpose.
	if n := testing.AllocsPerRun(1000, func() {
		if !c.Hit(uuid, old, 0, password) {
			t.Error("miss")
		}
		c.Hit(uuid, old, 1, password)
	}); n != 0 && !raceDetector {
		t.Errorf("%v allocations", n)
	}
}

// Neither the password nor the stored value may be left in the table or in the pooled hash state.
func TestCacheKeepsOnlyMACs(t *testing.T) {
	c, _ := newTestCache(t, 8)
	password := []byte("cAnArY-passw0rd")
	c.Add([16]byte{1}, []byte(ssha), 0, password)
	table := unsafe.Slice((*byte)(unsafe.Pointer(&c.sets[0])), int(unsafe.Sizeof(c.sets[0]))*len(c.sets))
	if s := string(table); strings.Contains(s, string(password)) || strings.Contains(s, ssha[6:]) {
		t.Error("the table holds clear text")
	}
	newMAC := c.macs.New
	fresh := newMAC().(*cacheMAC) // whose first use this is
	c.macs = sync.Pool{New: func() any { return fresh }}
	m := c.mac([16]byte{1}, []byte(ssha), 0, password)
	digests := 0
	for h, i := reflect.ValueOf(m.h).Elem(), 0; i < h.NumField(); i++ {
		if f := h.Field(i); f.Kind() == reflect.Interface && f.Elem().Kind() == reflect.Pointer {
			digests++
			state := unsafe.Slice((*byte)(f.Elem().UnsafePointer()), int(f.Elem().Type().Elem().Size()))
			if strings.Contains(string(state), "passw0rd") {
				t.Error("the hash holds the end of the password after its first use")
			}
		}
	}
	if digests != 2 {
		t.Errorf("found %d digests in the HMAC, not 2: look at how crypto/hmac keeps its state now", digests)
	}
	// What is written to a hash that has been reset must come out as if nothing had been written before.
	m.h.Write([]byte("x"))
	one := string(m.h.Sum(nil))
	fresh = newMAC().(*cacheMAC)
	fresh.h.Write([]byte("x"))
	if one != string(fresh.h.Sum(nil)) {
		t.Error("the hash is not reset after use")
	}
}

func TestCachesHaveKeysOfTheirOwn(t *testing.T) {
	a, _ := newTestCache(t, 8)
	b, _ := newTestCache(t, 8)
	if a.mac([16]byte{}, nil, 0, []byte("x")).sum == b.mac([16]byte{}, nil, 0, []byte("x")).sum {
		t.Error("two caches compute the same MAC")
	}
}

func TestNewCacheRefuses(t *testing.T) {
	ok := CacheConfig{Size: 8, TTL: time.Minute, Now: time.Now, Rand: rand.Reader}
	for name, edit := range map[string]func(*CacheConfig){
		"negative size": func(c *CacheConfig) { c.Size = -1 },
		"huge size":     func(c *CacheConfig) { c.Size = 1 << 30 },
		"no lifetime":   func(c *CacheConfig) { c.TTL = 0 },
		"long lifetime": func(c *CacheConfig) { c.TTL = time.Hour + 1 },
		"no key":        func(c *CacheConfig) { c.Rand = io.LimitReader(rand.Reader, 63) },
	} {
		c := ok
		edit(&c)
		if k, err := NewCache(c); err == nil || k != nil {
			t.Errorf("%s: accepted", name)
		}
	}
	ok.Size = 0
	k, err := NewCache(ok)
	if k != nil || err != nil {
		t.Errorf("size 0: %v", err)
	}
	k.Add([16]byte{}, nil, 0, []byte("x"))
	k.Purge()
	if k.Hit([16]byte{}, nil, 0, []byte("x")) || k.Stats() != (CacheStats{}) {
		t.Error("a nil cache hits")
	}
}

func TestCacheConcurrently(t *testing.T) {
	c, _ := newTestCache(t, 64)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 500 {
				uuid := [16]byte{byte(i % 20)}
				c.Add(uuid, []byte(ssha), 0, []byte("secret"))
				c.Hit(uuid, []byte(ssha), 0, []byte("secret"))
				if c.Hit(uuid, []byte(ssha), 0, []byte("wrong")) {
					t.Error("hit with a wrong password")
				}
				if g == 0 && i%100 == 0 {
					c.Stats()
					c.Purge()
				}
			}
		})
	}
	wg.Wait()
}
