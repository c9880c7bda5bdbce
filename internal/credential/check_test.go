package credential

import (
	"errors"
	"runtime"
	"strings"
	"testing"
)

// allocated returns the bytes that fn allocates. Argon2 takes its memory from the heap, so this tells how much of it
// was computed without looking at a clock.
func allocated(fn func()) int64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	fn()
	runtime.ReadMemStats(&after)
	return int64(after.TotalAlloc - before.TotalAlloc)
}

func stored(values ...string) [][]byte {
	var out [][]byte
	for _, v := range values {
		out = append(out, []byte(v))
	}
	return out
}

const (
	ssha       = "{SSHA}IHfvU0UGoONzCp6zEnwz5VVxlKjrNpyz" // secret
	sha        = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="      // secret
	argonTail  = "$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	argonFull  = "{ARGON2}$argon2id$v=19$m=19456,t=2,p=1" + argonTail
	argonHalf  = "{ARGON2}$argon2id$v=19$m=9728,t=2,p=1" + argonTail
	argonTwice = "{ARGON2}$argon2id$v=19$m=19456,t=4,p=1" + argonTail
)

func TestEveryFailureCostsOneDefaultHash(t *testing.T) {
	p := DefaultParams()
	full := p.Cost().Memory
	for _, c := range []struct {
		name     string
		values   [][]byte
		password string
	}{
		{"no such user", nil, "wrong"},
		{"empty password", stored(ssha), ""},
		{"password too long", stored(ssha), strings.Repeat("x", MaxPassword+1)},
		{"cheap scheme", stored(ssha), "wrong"},
		{"several cheap values", stored(ssha, sha, ssha), "wrong"},
		{"unreadable value", stored("{SSHA}?"), "wrong"},
		{"unknown scheme", stored("{NEVERHEARDOF}x"), "wrong"},
		{"unsupported scheme", stored("{SASL}x@y"), "wrong"},
		{"clear text", stored("secret"), "secret"},
		{"value too costly", stored("{CRYPT}$6$rounds=900000000$salt$" + strings.Repeat("a", 86)), "wrong"},
		{"default hash", stored(argonFull), "wrong"},
		{"half of it", stored(argonHalf), "wrong"},
		{"NUL where the scheme takes none", stored("{PBKDF2}2000000$OB.dtnSEXZK8U5cgxU/GYQ$y5LKPOplRmok7CZp/aqVDVg8zGI"), "a\x00"},
		{"long password where the scheme takes none", stored("{CRYPT}$6$rounds=1000000$salt$" + strings.Repeat("a", 86)), strings.Repeat("x", 200)},
		{"more passes", stored(argonTwice), "wrong"}, // costs more in time, and no dummy follows
	} {
		var r Result
		got := allocated(func() { r = p.Check(c.values, []byte(c.password)) })
		if r.OK() {
			t.Errorf("%s: matches", c.name)
		}
		if got < full*98/100 || got > full*105/100 {
			t.Errorf("%s: takes %d bytes of Argon2 memory, one default hash takes %d", c.name, got, full)
		}
	}
}

func TestSuccessNeedsNoDummy(t *testing.T) {
	p := DefaultParams()
	var r Result
	got := allocated(func() {
		r = p.Check(stored("{SSHA}?", argonHalf[:0]+"{MD5}AAAAAAAAAAAAAAAAAAAAAA==", ssha, sha), []byte("secret"))
	})
	if !r.OK() || r.Index != 2 || r.Secret.Scheme() != "SSHA" || r.Err != nil || r.Skipped != 0 {
		t.Errorf("got %+v", r)
	}
	if got > 1<<20 {
		t.Errorf("a success with a cheap scheme takes %d bytes", got)
	}
}

func TestCheckTellsWhatItCouldNotRead(t *testing.T) {
	r := cheap().Check(stored(ssha, "{SSHA}?", "{SASL}x"), []byte("wrong"))
	if r.OK() || r.Index != -1 || !errors.Is(r.Err, ErrMalformed) || !strings.Contains(r.Err.Error(), "stored value 2") {
		t.Errorf("got %+v", r)
	}
}

func TestCheckBoundsItsWork(t *testing.T) {
	many := make([][]byte, MaxValues+5)
	for i := range many {
		many[i] = []byte("{MD5}AAAAAAAAAAAAAAAAAAAAAA==")
	}
	many[MaxValues] = []byte(ssha)
	if r := cheap().Check(many, []byte("secret")); r.OK() || r.Skipped != 5 {
		t.Errorf("got %+v", r)
	}
	many[MaxValues-1] = []byte(ssha)
	if r := cheap().Check(many, []byte("secret")); !r.OK() || r.Index != MaxValues-1 {
		t.Errorf("got %+v", r)
	}
}

func TestDummy(t *testing.T) {
	p := DefaultParams()
	d := p.Dummy()
	got := allocated(func() {
		if d.Verify([]byte("portolan dummy salt")) {
			t.Error("matches")
		}
	})
	if full := p.Cost().Memory; got < full || got > full*105/100 {
		t.Errorf("takes %d bytes, want %d", got, full)
	}
	if d.Cost() != p.Cost() {
		t.Errorf("costs %v", d.Cost())
	}
}
