package credential

import (
	"bytes"
	"crypto/rand"
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
	// Each character is expected about 571 times, with a deviation of about 24; a bias of the first letters by the
	// modulus would be 25 % and more.
	for r, n := range counts {
		if mean := rounds * length / len(alphabet); n < mean*3/4 || n > mean*5/4 {
			t.Errorf("%c comes %d times, expected about %d", r, n, mean)
		}
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
