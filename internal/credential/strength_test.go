package credential

import (
	"crypto/rand"
	"strings"
	"testing"
)

func TestStrength(t *testing.T) {
	words := []string{"mmustermann", "Maximilian Mustermann", "max.mustermann@example.org"}
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
		{"qwertyuiop", 0, 0},
		{"mustermann", 0, 0},
		{"Mu5t3rm4nn", 0, 1},
		{"mustermann2024", 0, 1},
		{"aaaaaaaaaaaaaaaaaaaa", 0, 1},
		{"correct horse battery staple", 4, 4},
		{"wvTk7hbqQ2zRmX9d", 4, 4},
		{"Schlüssel für Ångström 日本語", 3, 4},
		{"\xff\xfe\xfd", 0, 4},
		{"\x00", 0, 1},
	} {
		if got := Strength(c.password, words); got < c.min || got > c.max {
			t.Errorf("%q: %d, want %d to %d", c.password, got, c.min, c.max)
		}
	}
	if a, b := Strength("Zebrafink81", nil), Strength("Zebrafink81", []string{"zebrafink"}); a <= b {
		t.Errorf("the user's words do not count: %d without, %d with", a, b)
	}
	generated, err := Generate(rand.Reader, GeneratedLength)
	if err != nil || Strength(generated, words) != 4 {
		t.Errorf("a generated password has strength %d", Strength(generated, words))
	}
}

// What would take the library's own l33t search seconds, and other long inputs, only the first 72 characters of which
// are looked at.
func TestStrengthOfHostileInput(t *testing.T) {
	many := make([]string, 10000)
	for i := range many {
		many[i] = strings.Repeat("word ", 1000)
	}
	for _, p := range []string{strings.Repeat("4@({[<3691!|1l0$5+7%2", 50), strings.Repeat("1", 1000), strings.Repeat("é", 1000),
		strings.Repeat("12.12.2012.", 100), strings.Repeat("password", 1000)} {
		if got, want := Strength(p, many), Strength(firstRunes(p, 72), many); got != want || got < 0 || got > 4 {
			t.Errorf("%.20q: %d, its beginning %d", p, got, want)
		}
	}
}

func FuzzStrength(f *testing.F) {
	f.Add("password", "alice")
	f.Add("4@({[<3691!|", "\xff")
	f.Fuzz(func(t *testing.T, password, word string) {
		if got := Strength(password, []string{word}); got < 0 || got > 4 {
			t.Fatalf("strength %d", got)
		}
	})
}
