package credential

import (
	"crypto/rand"
	"fmt"
	"strings"
	"testing"
	"time"
)

// One hash of a new password with the default parameters.
func BenchmarkHashDefault(b *testing.B) {
	password := []byte("correct horse battery staple")
	for b.Loop() {
		if _, err := Hash(DefaultParams(), password, rand.Reader); err != nil {
			b.Fatal(err)
		}
	}
}

// The time of a verification in relation to the estimate: "actual/estimate" should be near 1.
func BenchmarkVerify(b *testing.B) {
	for _, stored := range []string{
		"{SSHA}IHfvU0UGoONzCp6zEnwz5VVxlKjrNpyz",
		"{ARGON2}$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		"{ARGON2}$argon2id$v=19$m=65536,t=3,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		"{CRYPT}$1$ab$" + "AAAAAAAAAAAAAAAAAAAAAA",
		"{CRYPT}$5$rounds=50000$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
		"{CRYPT}$6$rounds=50000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v.",
		"{CRYPT}$y$j9T$abcdefgh$IUWJt2doU4Kf6E/JP1UkAT3S5O3Q7SSA8SJirXIlEu9",
		"{CRYPT}$2b$10$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a",
		"{SCRYPT}$scrypt$ln=14,r=8,p=1$AAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		"{PBKDF2-SHA1}100000$OB.dtnSEXZK8U5cgxU/GYQ$y5LKPOplRmok7CZp/aqVDVg8zGI",
		"{PBKDF2-SHA256}100000$IlfapjA351LuDSwYC0IQ8Q$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		"{PBKDF2-SHA512}100000$IlfapjA351LuDSwYC0IQ8Q$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
	} {
		secret, err := Parse([]byte(stored))
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("%.22s", stored), func(b *testing.B) {
			for b.Loop() {
				secret.Verify([]byte("a password"))
			}
			b.ReportMetric(float64(b.Elapsed()/time.Duration(b.N))/float64(secret.Cost().Work), "actual/estimate")
		})
	}
}

func BenchmarkParse(b *testing.B) {
	stored := []byte("{ARGON2}$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(stored); err != nil {
			b.Fatal(err)
		}
	}
}

func benchCache(b *testing.B) (*Cache, []byte, []byte) {
	c, err := NewCache(CacheConfig{Size: DefaultCacheSize, TTL: time.Hour, Now: time.Now, Rand: rand.Reader})
	if err != nil {
		b.Fatal(err)
	}
	stored := []byte("{ARGON2}$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	return c, stored, []byte("correct horse battery staple")
}

func BenchmarkCacheHit(b *testing.B) {
	c, stored, password := benchCache(b)
	uuid := [16]byte{1}
	c.Add(uuid, stored, 7, password)
	b.ReportAllocs()
	for b.Loop() {
		if !c.Hit(uuid, stored, 7, password) {
			b.Fatal("miss")
		}
	}
}

func BenchmarkCacheHitParallel(b *testing.B) {
	c, stored, password := benchCache(b)
	for i := range 256 {
		c.Add([16]byte{byte(i)}, stored, 7, password)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			if !c.Hit([16]byte{byte(i)}, stored, 7, password) {
				b.Error("miss")
			}
		}
	})
}

func BenchmarkStrength(b *testing.B) {
	var e Estimator
	words := []string{"alice", "Alice Ångström", "alice@example.org"}
	for _, password := range []string{"correct horse battery staple", strings.Repeat("a1b2c3d4", 9)} {
		b.Run(password[:8], func(b *testing.B) {
			for b.Loop() {
				e.Score([]byte(password), words)
			}
		})
	}
}
