package appauth

import (
	"bytes"
	"crypto/rand"
	"strings"
	"testing"

	"portolan/internal/credential"
)

func TestMake(t *testing.T) {
	seen := map[string]bool{}
	var letters [256]int
	for range 500 {
		shown, stored, err := Make(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if len(shown) != secretLength+secretLength/groupLength-1 || seen[shown] {
			t.Fatalf("%q: %d characters, seen %v", shown, len(shown), seen[shown])
		}
		seen[shown] = true
		for _, c := range []byte(strings.ReplaceAll(shown, "-", "")) {
			letters[c]++
		}
		plain, ok := canonical([]byte(shown))
		if !ok || !wellFormed(stored) {
			t.Fatalf("%q is not one, or %q is not what is stored of one", shown, stored)
		}
		// The engine compares it as any other password.
		secret, err := credential.Parse(stored)
		if err != nil || !secret.Verify(plain) || secret.Verify([]byte(shown)) {
			t.Fatal(shown, err)
		}
		for _, form := range []string{strings.ToUpper(shown), strings.ReplaceAll(shown, "-", ""), strings.ReplaceAll(shown, "-", " ")} {
			if again, ok := canonical([]byte(form)); !ok || !bytes.Equal(again, plain) {
				t.Errorf("%q is not taken for %q", form, shown)
			}
		}
	}
	if len(alphabet) != 32 {
		t.Fatalf("%d characters are not five bits each", len(alphabet))
	}
	for _, c := range []byte(alphabet) {
		if n := letters[c]; n < 300 || n > 600 { // 437.5 expected, 20 the standard deviation
			t.Errorf("%c was drawn %d times of 14000", c, n)
		}
	}
	if _, _, err := Make(strings.NewReader("short")); err == nil {
		t.Error("a source that ends makes secrets")
	}
}

// FuzzCanonical: what is one is stable, and all else costs nothing.
func FuzzCanonical(f *testing.F) {
	f.Add([]byte("abcd-efgh-ijkm-npqr-stuv-wxyz-2345"))
	f.Add([]byte("ABCD EFGH ijkmnpqrstuvwxyz2345"))
	f.Add([]byte("alice-secret"))
	f.Fuzz(func(t *testing.T, password []byte) {
		plain, ok := canonical(password)
		if !ok {
			return
		}
		if len(plain) != secretLength {
			t.Fatalf("%d characters", len(plain))
		}
		if again, ok := canonical(plain); !ok || !bytes.Equal(again, plain) {
			t.Fatalf("%q of %q is none", plain, password)
		}
	})
}
