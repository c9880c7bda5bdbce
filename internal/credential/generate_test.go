package credential

import (
	"bytes"
	"crypto/rand"
	"math"
	"strings"
	"testing"
	"unicode"
)

func TestGenerate(t *testing.T) {
	seen := map[string]bool{}
	counts := map[rune]int{}
	const rounds, length = 2000, 16
	for range rounds {
		p, err := Generate(rand.Reader, length)
		if err != nil || len(p) != length || seen[p] {
			t.Fatalf("%q, %v", p, err)
		}
		seen[p] = true
		for _, r := range p {
			counts[r]++
		}
		if strings.ContainsAny(p, "0Oo1lI") || strings.IndexFunc(p, unicode.IsLower) < 0 ||
			strings.IndexFunc(p, unicode.IsUpper) < 0 || strings.IndexFunc(p, unicode.IsDigit) < 0 {
			t.Errorf("%q", p)
		}
	}
	if len(counts) != len(alphabet) {
		t.Errorf("%d different characters, want %d", len(counts), len(alphabet))
	}
	// mean is how often a character is expected whose class has so many, beside the two other classes: 32,000 in 56, but that
	// passwords without one of the classes are thrown away, which makes digits likelier.
	mean := func(mine, a, b int) float64 {
		part := func(of int) float64 { return float64(of) / float64(len(alphabet)) }
		all, n := 1.0, float64(length)
		for _, size := range []int{mine, a, b} {
			all += math.Pow(part(size), n) - math.Pow(1-part(size), n)
		}
		return rounds * n * part(1) * (1 - math.Pow(1-part(a), n-1) - math.Pow(1-part(b), n-1) + math.Pow(part(mine), n-1)) / all
	}
	// A quarter is six deviations (of about 24): by chance one of them is off once in ten million runs.
	first := 0
	expected := 0.0
	for i, r := range alphabet {
		want := mean(24, 24, 8)
		if unicode.IsDigit(r) {
			want = mean(8, 24, 24)
		}
		if n := counts[r]; math.Abs(float64(n)-want) > want/4 {
			t.Errorf("%c comes %d times, expected about %.0f", r, n, want)
		}
		if i < 256%len(alphabet) {
			first += counts[r]
			expected += want
		}
	}
	// If octets were taken modulo the length of the alphabet, those that come first would come 1700 times more often together. The
	// deviation is 89: seven of them are less than once in 10^11 runs.
	if math.Abs(float64(first)-expected) > 7*89 {
		t.Errorf("the first %d characters come %d times, expected about %.0f", 256%len(alphabet), first, expected)
	}
}

func TestGenerateRefuses(t *testing.T) {
	for _, n := range []int{-1, 0, 11, 129} {
		if _, err := Generate(rand.Reader, n); err == nil {
			t.Errorf("length %d is accepted", n)
		}
	}
	if _, err := Generate(bytes.NewReader(make([]byte, 10)), 16); err == nil {
		t.Error("a random source that ends goes unseen")
	}
	if _, err := Generate(zeros{}, 16); err == nil {
		t.Error("a random source of zeros goes unseen")
	}
	if _, err := Generate(ones{}, 16); err == nil {
		t.Error("a random source of rejected bytes goes unseen")
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

type ones struct{}

func (ones) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 0xff
	}
	return len(p), nil
}
