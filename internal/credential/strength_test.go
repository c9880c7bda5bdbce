package credential

import (
	"crypto/rand"
	"strings"
	"testing"
)

func TestStrength(t *testing.T) {
	words := []string{"mmustermann", "Maximilian Mustermann", "max.mustermann@example.org"}
	var e Estimator
	for _, c := range []struct {
		password string
		min, max int
	}{
		{"", 0, 0},
		{"a", 0, 0},
		{"password", 0, 0},
		{"P4ssw0rd", 0, 1},
		{"p@$$w0rd1", 0, 1},
		{"1iverpoo1", 0, 1},
		{"drowssap", 0, 0},
		{"qwertyuiop", 0, 0},
		{"qwertzuiopü", 0, 1},
		{"azertyuiop", 0, 1},
		{"zxcvfr432", 0, 2},
		{"abcdefghijk", 0, 0},
		{"97531", 0, 1},
		{"31.12.1999", 0, 1},
		{"19991231", 0, 1},
		{"mustermann", 0, 0},
		{"maxmustermann", 0, 1},
		{"Mu5t3rm4nn", 0, 1},
		{"mustermann2024", 0, 1},
		{"aaaaaaaaaaaaaaaaaaaa", 0, 1},
		{"abcabcabcabcabc", 0, 1},
		{"Winter2026!", 0, 2},
		{"Tr0ub4dor&3", 3, 4},
		{"correct horse battery staple", 4, 4},
		{"wvTk7hbqQ2zRmX9d", 4, 4},
		{"Schlüssel für Ångström 日本語", 3, 4},
		{"\xff\xfe\xfd", 0, 4},
		{"\x00", 0, 1},
	} {
		if got := e.Score([]byte(c.password), words); got < c.min || got > c.max {
			t.Errorf("%q: %d (10^%.1f), want %d to %d", c.password, got, e.log10Guesses(c.password, words), c.min, c.max)
		}
	}
	if a, b := e.Score([]byte("Zebrafink81"), nil), e.Score([]byte("Zebrafink81"), []string{"zebrafink"}); a <= b {
		t.Errorf("the user's words do not count: %d without, %d with", a, b)
	}
	generated, err := Generate(rand.Reader, GeneratedLength)
	if err != nil || e.Score([]byte(generated), words) != 4 {
		t.Errorf("a generated password has strength %d", e.Score([]byte(generated), words))
	}
}

// Hostile inputs cost no more than their first 72 characters.
func TestStrengthOfHostileInput(t *testing.T) {
	many := make([]string, 10000)
	for i := range many {
		many[i] = strings.Repeat("word ", 1000)
	}
	var e Estimator
	for _, p := range []string{strings.Repeat("4@({[<3691!|1l0$5+7%2", 50), strings.Repeat("1", 1000), strings.Repeat("é", 1000),
		strings.Repeat("12.12.2012.", 100), strings.Repeat("password", 1000), strings.Repeat("ab", 500)} {
		if got, want := e.Score([]byte(p), many), e.Score([]byte(firstRunes(p, 72)), many); got != want || got < 0 || got > 4 {
			t.Errorf("%.20q: %d, its beginning %d", p, got, want)
		}
	}
}

func FuzzStrength(f *testing.F) {
	var e Estimator
	f.Add("password", "alice")
	f.Add("4@({[<3691!|", "\xff")
	f.Add("İİİİ", "1.1.2000")
	f.Fuzz(func(t *testing.T, password, word string) {
		if got := e.Score([]byte(password), []string{word}); got < 0 || got > 4 {
			t.Fatalf("strength %d", got)
		}
	})
}
