package credential

import (
	"bytes"
	"crypto/rand"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// cheap makes hashes that cost little, for tests in which the cost does not matter.
func cheap() Params { return Params{Memory: 64, Time: 1, Threads: 1, SaltLen: 16, KeyLen: 32} }

type vector struct{ program, password, stored string }

func readVectors(t testing.TB) []vector {
	t.Helper()
	data, err := os.ReadFile("testdata/vectors.txt")
	if err != nil {
		t.Fatal(err)
	}
	var out []vector
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(f) != 3 {
			t.Fatalf("vector with %d fields", len(f))
		}
		out = append(out, vector{f[0], f[1], f[2]})
	}
	if len(out) < 80 {
		t.Fatalf("only %d vectors", len(out))
	}
	return out
}

func TestVerifyWhatOtherProgramsStored(t *testing.T) {
	seen := map[string]bool{}
	for _, v := range readVectors(t) {
		secret, err := Parse([]byte(v.stored))
		if err != nil {
			t.Errorf("%s: %s: %v", v.program, v.stored, err)
			continue
		}
		seen[secret.Scheme()] = true
		if !secret.Verify([]byte(v.password)) {
			t.Errorf("%s: %s does not match its password", v.program, v.stored)
		}
		wrongs := []string{"", v.password[1:], "x" + v.password, v.password + "\x00", v.password + "\x00" + v.password}
		if !strings.Contains(v.stored, "}$2") || len(v.password) < 72 { // where bcrypt stops reading
			wrongs = append(wrongs, v.password+"x")
		}
		for _, wrong := range wrongs {
			if secret.Verify([]byte(wrong)) {
				t.Errorf("%s: %s matches a wrong password", v.program, v.stored)
			}
		}
		if !IsHashed([]byte(v.stored)) {
			t.Errorf("%s is not taken for a hash", v.stored)
		}
		if c := secret.Cost(); c.Work <= 0 || c.Work > MaxWork || c.Memory > MaxMemory {
			t.Errorf("%s costs %+v", v.stored, c)
		}
	}
	want := []string{"ARGON2", "BCRYPT", "CRYPT", "MD5", "PBKDF2-SHA1", "PBKDF2-SHA256", "PBKDF2-SHA512", "PBKDF2_SHA256", "SCRYPT",
		"SHA", "SHA256", "SHA384", "SHA512", "SMD5", "SSHA", "SSHA256", "SSHA384", "SSHA512"}
	for _, name := range want {
		if !seen[name] {
			t.Errorf("no vector for %s", name)
		}
	}
}

// A change of any one character of the data must not leave a value that matches, whatever the scheme. Changes that
// only touch bits which base64 ignores are not made: the character is replaced by one far off.
func TestChangedHashDoesNotMatch(t *testing.T) {
	for _, v := range readVectors(t) {
		if v.password != "secret" || strings.Contains(v.stored, "m=19456") || strings.Contains(v.stored, "$j9T$") {
			continue
		}
		stored := []byte(v.stored)
		start := bytes.LastIndexAny(stored, "$}") + 1
		if strings.HasPrefix(v.stored, "{PBKDF2_SHA256}") {
			stored = stored[:0:0]
			stored = append(stored, v.stored...)
			stored[start+100] ^= 'A' ^ 'B' ^ 1 // within the first block of the hash
		} else if stored[start] == 'Q' {
			stored[start] = '7'
		} else {
			stored[start] = 'Q'
		}
		if strings.Contains(v.stored, "$2") { // bcrypt has no $ between salt and hash
			stored = []byte(v.stored)
			stored[len(stored)-5] ^= 1
		}
		secret, err := Parse(stored)
		if err == nil && secret.Verify([]byte(v.password)) {
			t.Errorf("%s still matches after a change", v.stored)
		}
	}
}

func TestPublishedVectors(t *testing.T) {
	for _, c := range []struct{ source, password, stored string }{
		{"passlib ldap_pbkdf2_sha1 and OpenLDAP pbkdf2 module", "password", "{PBKDF2}1212$OB.dtnSEXZK8U5cgxU/GYQ$y5LKPOplRmok7CZp/aqVDVg8zGI"},
		{"389 DS", "password", "{PBKDF2-SHA1}10000$IlfapjA351LuDSwYC0IQ8Q$saHqQTuYnjJN/tmAndT.8mJt.6w"},
		{"389 DS", "password", "{PBKDF2-SHA256}10000$henZGfPWw79Cs8ORDeVNrQ$1dTJy73v6n3bnTmTZFghxHXHLsAzKaAy8SksDfZBPIw"},
		{"Drepper, SHA-crypt", "Hello world!", "{CRYPT}$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"},
		{"Drepper, SHA-crypt", "Hello world!", "{CRYPT}$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v."},
	} {
		secret, err := Parse([]byte(c.stored))
		if err != nil || !secret.Verify([]byte(c.password)) {
			t.Errorf("%s: %s: %v", c.source, c.stored, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	b64 := func(n int) string { return strings.Repeat("A", (n*4+2)/3) }
	long := strings.Repeat("a", 86)
	for _, c := range []struct {
		stored string
		want   error
		part   string // of the message
	}{
		{"", ErrClearText, "scheme"},
		{"secret", ErrClearText, "scheme"},
		{"{secret", ErrClearText, "scheme"},
		{"{}secret", ErrClearText, "scheme"},
		{"{a b}secret", ErrClearText, "scheme"},
		{"{CLEARTEXT}secret", ErrClearText, "CLEARTEXT"},
		{"{clear}secret", ErrClearText, "CLEARTEXT"},
		{"{SECRET}secret", ErrUnknownScheme, "{CLEARTEXT}"},
		{"{SASL}user@realm", ErrUnsupported, "SASL"},
		{"{UNIX}user", ErrUnsupported, "UNIX"},
		{"{NS-MTA-MD5}0123", ErrUnsupported, "NS-MTA-MD5"},
		{strings.Repeat("x", MaxStored+1), ErrMalformed, "4096"},

		{"{SHA}", ErrMalformed, "20"},
		{"{SHA}" + b64(19), ErrMalformed, "19"},
		{"{SHA}" + b64(21), ErrMalformed, "21"},
		{"{SHA}!!!!", ErrMalformed, "base64"},
		{"{SHA}5en6G6MezRroT3XK\nqkdPOmY/BfQ=", ErrMalformed, "base64"},
		{"{SSHA}" + b64(20), ErrMalformed, "salt"}, // no salt: some servers took that for a match
		{"{SSHA}" + b64(20+65), ErrMalformed, "salt"},
		{"{SMD5}" + b64(16), ErrMalformed, "salt"},

		{"{CRYPT}", ErrMalformed, "$method$"},
		{"{CRYPT}*", ErrMalformed, "$method$"},
		{"{CRYPT}!", ErrMalformed, "$method$"},
		{"{CRYPT}x", ErrMalformed, "$method$"},
		{"{CRYPT}abNANd1rDfiNc", ErrUnsupported, "DES"},
		{"{CRYPT}_J9..CCCCXBrJUJV154M", ErrUnsupported, "DES"},
		{"{CRYPT}$md5$rounds=1$x$y", ErrUnsupported, "$6$"},
		{"{CRYPT}$gy$j9T$abcd$" + long[:43], ErrUnsupported, "$6$"},
		{"{CRYPT}$1$123456789$" + long[:22], ErrMalformed, "8"},
		{"{CRYPT}$6$salt", ErrMalformed, "86"},
		{"{CRYPT}$6$salt$", ErrMalformed, "86"},
		{"{CRYPT}$6$rounds=999$salt$" + long, ErrMalformed, "1000"},
		{"{CRYPT}$6$rounds=-1$salt$" + long, ErrMalformed, "1000"},
		{"{CRYPT}$6$rounds=5000", ErrMalformed, "$"},
		{"{CRYPT}$6$rounds=1000001$salt$" + long, ErrTooCostly, "rounds is 1000001"},
		{"{CRYPT}$6$rounds=99999999999999$salt$" + long, ErrMalformed, "rounds"},
		{"{CRYPT}$6$12345678901234567$" + long, ErrMalformed, "16"},
		{"{CRYPT}$5$salt$" + long, ErrMalformed, "43"},
		{"{CRYPT}$2b$15$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a", ErrTooCostly, "bcrypt cost is 15"},
		{"{CRYPT}$2b$31$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a", ErrTooCostly, "bcrypt cost"},
		{"{CRYPT}$2b$99$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a", ErrTooCostly, "bcrypt cost"},
		{"{CRYPT}$2b$03$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a", ErrMalformed, "04"},
		{"{CRYPT}$2b$+5$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a", ErrMalformed, "digits"},
		{"{BCRYPT}$2x$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a", ErrUnsupported, "$2b$"},
		{"{BCRYPT}$2b$05$abcdefghijklmnopqrstuu", ErrMalformed, "53"},
		{"{BCRYPT}x", ErrMalformed, "$2b$"},
		{"{CRYPT}$y$jDT$abcd$" + long[:43], nil, ""}, // N = 2^16, r = 32: just 256 MiB
		{"{CRYPT}$y$jET$abcd$" + long[:43], ErrTooCostly, "yescrypt N times r"},
		{"{CRYPT}$y$jzz$abcd$" + long[:43], ErrMalformed, "range"},
		{"{CRYPT}$y$jT.$abcd$" + long[:43], ErrTooCostly, "log2 N"},
		{"{CRYPT}$y$kDT$abcd$" + long[:43], ErrUnsupported, "yescrypt"},
		{"{CRYPT}$y$j9T$a$" + long[:43], ErrMalformed, "salt"},

		{"{PBKDF2-SHA256}x$AAAA$" + b64(32), ErrMalformed, "number"},
		{"{PBKDF2-SHA256}0$AAAA$" + b64(32), ErrMalformed, "at least 1"},
		{"{PBKDF2-SHA256}-5$AAAA$" + b64(32), ErrMalformed, "number"},
		{"{PBKDF2-SHA256}100000000$AAAA$" + b64(32), ErrTooCostly, "iterations is 100000000"},
		{"{PBKDF2-SHA256}10000$$" + b64(32), ErrMalformed, "salt"},
		{"{PBKDF2-SHA256}10000$AAAA$", ErrMalformed, "hash"},
		{"{PBKDF2-SHA256}10000$AAAA$AAAA", ErrMalformed, "hash"},
		{"{PBKDF2-SHA256}10000$AAAA", ErrMalformed, "iterations$salt$hash"},
		{"{PBKDF2_SHA256}" + b64(323), ErrMalformed, "64"},
		{"{PBKDF2_SHA256}/////w" + b64(324)[6:], ErrTooCostly, "iterations is 4294967295"},
		{"{PBKDF2_SHA256}" + b64(324), ErrMalformed, "at least 1"},

		{"{SCRYPT}$scrypt$ln=16,r=8,p=1$AAAA$" + b64(32), nil, ""},
		{"{SCRYPT}$scrypt$ln=22,r=8,p=1$AAAA$" + b64(32), ErrTooCostly, "ln is 22"},
		{"{SCRYPT}$scrypt$ln=20,r=8,p=1$AAAA$" + b64(32), ErrTooCostly, "N times r"},
		{"{SCRYPT}$scrypt$ln=14,r=8,p=9999$AAAA$" + b64(32), ErrTooCostly, "times p"},
		{"{SCRYPT}$scrypt$ln=14,r=8,p=99999$AAAA$" + b64(32), ErrMalformed, "ln, r and p"},
		{"{SCRYPT}$scrypt$r=8,ln=14,p=1$AAAA$" + b64(32), ErrMalformed, "in this order"},
		{"{SCRYPT}16384$8$1$AAAA", ErrMalformed, "$scrypt$"},

		{"{ARGON2}$argon2id$v=19$m=65536,t=3,p=4$" + b64(16) + "$" + b64(32), nil, ""},
		{"{ARGON2}$argon2d$v=19$m=65536,t=3,p=4$" + b64(16) + "$" + b64(32), ErrUnsupported, "argon2d"},
		{"{ARGON2}$argon2x$v=19$m=65536,t=3,p=4$" + b64(16) + "$" + b64(32), ErrMalformed, "variant"},
		{"{ARGON2}$argon2id$v=16$m=65536,t=3,p=4$" + b64(16) + "$" + b64(32), ErrUnsupported, "v=19"},
		{"{ARGON2}$argon2id$m=65536,t=3,p=4$" + b64(16) + "$" + b64(32), ErrMalformed, "want"},
		{"{ARGON2}$argon2id$v=19$m=262145,t=1,p=1$" + b64(16) + "$" + b64(32), ErrTooCostly, "memory (m, KiB) is 262145"},
		{"{ARGON2}$argon2id$v=19$m=4294967295,t=1,p=1$" + b64(16) + "$" + b64(32), ErrTooCostly, "memory"},
		{"{ARGON2}$argon2id$v=19$m=4294967296,t=1,p=1$" + b64(16) + "$" + b64(32), ErrMalformed, "numbers"},
		{"{ARGON2}$argon2id$v=19$m=65536,t=100,p=1$" + b64(16) + "$" + b64(32), ErrTooCostly, "time (t) at this memory is 100"},
		{"{ARGON2}$argon2id$v=19$m=8,t=4294967295,p=1$" + b64(16) + "$" + b64(32), ErrTooCostly, "time"},
		{"{ARGON2}$argon2id$v=19$m=65536,t=1,p=17$" + b64(16) + "$" + b64(32), ErrTooCostly, "parallelism (p) is 17"},
		{"{ARGON2}$argon2id$v=19$m=8,t=1,p=2$" + b64(16) + "$" + b64(32), ErrMalformed, "8 KiB"},
		{"{ARGON2}$argon2id$v=19$m=0,t=1,p=1$" + b64(16) + "$" + b64(32), ErrMalformed, "above 0"},
		{"{ARGON2}$argon2id$v=19$m=64,t=0,p=1$" + b64(16) + "$" + b64(32), ErrMalformed, "above 0"},
		{"{ARGON2}$argon2id$v=19$m=64,t=1,p=1,keyid=x$" + b64(16) + "$" + b64(32), ErrMalformed, "m, t and p"},
		{"{ARGON2}$argon2id$v=19$m=64,t=1,p=1$$" + b64(32), ErrMalformed, "salt"},
		{"{ARGON2}$argon2id$v=19$m=64,t=1,p=1$" + b64(16) + "$", ErrMalformed, "hash"},
		{"{ARGON2}$argon2id$v=19$m=64,t=1,p=1$" + b64(16) + "$" + b64(15), ErrMalformed, "hash"},
	} {
		secret, err := Parse([]byte(c.stored))
		if c.want == nil {
			if err != nil {
				t.Errorf("%.60q: %v", c.stored, err)
			}
			continue
		}
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.part) {
			t.Errorf("%.60q: got %v, want %v with %q", c.stored, err, c.want, c.part)
		}
		if secret != (Secret{}) || secret.Verify([]byte("secret")) {
			t.Errorf("%.60q: a refused value gives a secret", c.stored)
		}
	}
}

func TestClearTextNeverMatches(t *testing.T) {
	for _, stored := range []string{"secret", "{CLEARTEXT}secret", "{cleartext}secret", "{CLEAR}secret"} {
		if r := cheap().Check([][]byte{[]byte(stored)}, []byte("secret")); r.OK() || !errors.Is(r.Err, ErrClearText) {
			t.Errorf("%s: %+v", stored, r)
		}
	}
}

func TestIsHashedAndClearText(t *testing.T) {
	for _, c := range []struct {
		value  string
		hashed bool
		clear  string
		ok     bool
	}{
		{"secret", false, "secret", true},
		{"", false, "", false},
		{"{", false, "{", true},
		{"{}", false, "{}", true},
		{"{}x", false, "{}x", true},
		{"{my pass}word", false, "{my pass}word", true},
		{"{unknown}word", false, "", false},
		{"{CLEARTEXT}word", false, "word", true},
		{"{cleartext}", false, "", false},
		{"{Clear}{SSHA}x", false, "{SSHA}x", true},
		{"{SSHA}x", true, "", false},
		{"{ssha512}x", true, "", false},
		{"{SASL}x", true, "", false},
		{"{CRYPT}", true, "", false},
		{"{ARGON2", false, "{ARGON2", true},
		{"{" + strings.Repeat("A", 100) + "}x", false, "{" + strings.Repeat("A", 100) + "}x", true},
	} {
		if got := IsHashed([]byte(c.value)); got != c.hashed {
			t.Errorf("IsHashed(%q) = %v", c.value, got)
		}
		clear, ok := ClearText([]byte(c.value))
		if string(clear) != c.clear || ok != c.ok {
			t.Errorf("ClearText(%q) = %q, %v", c.value, clear, ok)
		}
	}
}

func TestErrorsKeepSecrets(t *testing.T) {
	const canary = "cAnArY7"
	for _, v := range []string{canary, "{" + canary + "}x", "{SSHA}" + canary, "{CRYPT}$6$" + canary, "{CRYPT}$6$rounds=" + canary + "$",
		"{ARGON2}" + canary, "{ARGON2}$argon2id$" + canary + "$m=1,t=1,p=1$x$y", "{PBKDF2}" + canary + "$a$b", "{BCRYPT}" + canary,
		"{SCRYPT}$scrypt$" + canary + "$a$b", "{PBKDF2_SHA256}" + canary, "{SASL}" + canary, "{CLEARTEXT}" + canary} {
		if _, err := Parse([]byte(v)); err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("%q: error %v", v, err)
		}
		if _, err := ParseScram([]byte(v)); err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("%q: error %v", v, err)
		}
	}
	if _, err := ScramKeys([]byte(canary+"\x07"), []byte("salt"), 4096); err == nil || strings.Contains(err.Error(), canary) {
		t.Errorf("SCRAM error: %v", err)
	}
}

func TestHashVerifies(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Params{Memory: 64 * rapid.Uint32Range(1, 3).Draw(t, "m"), Time: rapid.Uint32Range(1, 2).Draw(t, "t"),
			Threads: rapid.Uint8Range(1, 2).Draw(t, "p"), SaltLen: rapid.Uint32Range(8, 64).Draw(t, "salt"), KeyLen: rapid.Uint32Range(16, 64).Draw(t, "key")}
		password := rapid.SliceOfN(rapid.Byte(), 1, MaxPassword).Draw(t, "password")
		stored, err := Hash(p, password, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		secret, err := Parse(stored)
		if err != nil {
			t.Fatal(err)
		}
		if !secret.Verify(password) || secret.Verify(append(password[:len(password):len(password)], 'x')) || secret.Verify(password[1:]) {
			t.Fatal("does not match exactly its password")
		}
		if secret.NeedsRehash(p) || secret.Cost() != p.Cost() || secret.Scheme() != "ARGON2" {
			t.Fatalf("rehash %v, cost %v", secret.NeedsRehash(p), secret.Cost())
		}
	})
}

func TestHashForm(t *testing.T) {
	got, err := Hash(cheap(), []byte("secret"), bytes.NewReader(make([]byte, 16)))
	if err != nil {
		t.Fatal(err)
	}
	// What libargon2's argon2id_hash_encoded gives for the same.
	if want := "{ARGON2}$argon2id$v=19$m=64,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$FpE5gOKC/35YTfc6SaWmi1G2IiKDhsWkG6/I5egfEzU"; string(got) != want {
		t.Errorf("got %s", got)
	}
	if _, err := Hash(cheap(), []byte("secret"), bytes.NewReader(make([]byte, 15))); err == nil {
		t.Error("a short read of the random source goes unseen")
	}
	for _, bad := range [][]byte{nil, bytes.Repeat([]byte("x"), MaxPassword+1)} {
		if _, err := Hash(cheap(), bad, rand.Reader); err == nil {
			t.Errorf("a password of %d bytes is hashed", len(bad))
		}
	}
}

func TestParamsValidate(t *testing.T) {
	if err := DefaultParams().Validate(); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		edit func(*Params)
		part string
	}{
		{func(p *Params) { p.Memory = 7 }, "memory"},
		{func(p *Params) { p.Memory = 262145 }, "memory"},
		{func(p *Params) { p.Time = 0 }, "time"},
		{func(p *Params) { p.Time = 1 << 31 }, "time"},
		{func(p *Params) { p.Threads = 0 }, "threads"},
		{func(p *Params) { p.Threads = 17 }, "threads"},
		{func(p *Params) { p.SaltLen = 7 }, "salt"},
		{func(p *Params) { p.SaltLen = 65 }, "salt"},
		{func(p *Params) { p.KeyLen = 15 }, "hash length"},
		{func(p *Params) { p.KeyLen = 1 << 31 }, "hash length"},
	} {
		p := DefaultParams()
		c.edit(&p)
		if err := p.Validate(); err == nil || !strings.Contains(err.Error(), c.part) {
			t.Errorf("%+v: %v", p, err)
		}
		if _, err := Hash(p, []byte("secret"), rand.Reader); err == nil {
			t.Errorf("%+v: hashes", p)
		}
	}
	// What Validate lets through, Parse must read: or nobody could log in any more.
	rapid.Check(t, func(t *rapid.T) {
		p := Params{Memory: rapid.Uint32Range(1, MaxMemory/1024+10).Draw(t, "m"), Time: rapid.Uint32Range(0, 1<<17).Draw(t, "t"),
			Threads: rapid.Uint8Range(0, 20).Draw(t, "p"), SaltLen: 16, KeyLen: 32}
		stored := "{ARGON2}$argon2id$v=19$m=" + utoa(p.Memory) + ",t=" + utoa(p.Time) + ",p=" + utoa(uint32(p.Threads)) + "$AAAAAAAAAAAAAAAAAAAAAA$" + strings.Repeat("A", 43)
		_, err := Parse([]byte(stored))
		if (err == nil) != (p.Validate() == nil) {
			t.Fatalf("%+v: Validate says %v, Parse says %v", p, p.Validate(), err)
		}
	})
}

func TestNeedsRehashOnlyUpward(t *testing.T) {
	p := DefaultParams()
	stored := func(variant string, m, passes uint32, saltLen, keyLen int) string {
		return "{ARGON2}$" + variant + "$v=19$m=" + utoa(m) + ",t=" + utoa(passes) + ",p=1$" + strings.Repeat("A", (saltLen*4+2)/3) + "$" + strings.Repeat("A", (keyLen*4+2)/3)
	}
	for _, c := range []struct {
		stored string
		want   bool
	}{
		{stored("argon2id", p.Memory, p.Time, 16, 32), false},
		{stored("argon2id", p.Memory-1, p.Time, 16, 32), true},
		{stored("argon2id", p.Memory, p.Time-1, 16, 32), true},
		{stored("argon2id", p.Memory+1, p.Time, 16, 32), false},
		{stored("argon2id", p.Memory+1, p.Time-1, 16, 32), false},
		{stored("argon2id", p.Memory-1, p.Time+1, 16, 32), false},
		{stored("argon2id", p.Memory, p.Time, 8, 32), true},
		{stored("argon2id", p.Memory, p.Time, 16, 16), true},
		{stored("argon2id", p.Memory, p.Time, 32, 16), false},
		{stored("argon2i", p.Memory, p.Time, 16, 32), true},
		{stored("argon2i", p.Memory+1, p.Time, 16, 32), false},
		{"{SSHA}IHfvU0UGoONzCp6zEnwz5VVxlKjrNpyz", true},
		{"{CRYPT}$2b$14$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a", true},
	} {
		secret, err := Parse([]byte(c.stored))
		if err != nil {
			t.Fatalf("%s: %v", c.stored, err)
		}
		if got := secret.NeedsRehash(p); got != c.want {
			t.Errorf("%s: NeedsRehash = %v", c.stored, got)
		}
	}
	if (Secret{}).NeedsRehash(p) || p.Dummy().NeedsRehash(p) {
		t.Error("nothing and the dummy need no rehash")
	}
}

func utoa(n uint32) string {
	out := []byte{}
	for ok := true; ok; ok = n > 0 {
		out = append(out, byte('0'+n%10))
		n /= 10
	}
	slices.Reverse(out)
	return string(out)
}

func FuzzParse(f *testing.F) {
	for _, v := range readVectors(f) {
		if !strings.Contains(v.stored, "m=19456") && !strings.Contains(v.stored, "$j9T$") {
			f.Add([]byte(v.stored))
		}
	}
	f.Add([]byte("{SSHA}"))
	f.Add([]byte("{CLEARTEXT}x"))
	f.Fuzz(func(t *testing.T, stored []byte) {
		secret, err := Parse(stored)
		if err != nil {
			if secret != (Secret{}) {
				t.Fatal("a secret and an error")
			}
			return
		}
		if !IsHashed(stored) {
			t.Fatal("parsed, but not taken for a hash")
		}
		c := secret.Cost()
		if c.Work <= 0 || c.Work > MaxWork+MaxWork/10 || c.Memory > MaxMemory {
			t.Fatalf("cost %+v", c)
		}
		// 128 bits at least of every accepted hash are compared: this must not match.
		if c.Work < MaxWork/100 && secret.Verify([]byte("never the password of anything")) {
			t.Fatal("matches")
		}
	})
}
