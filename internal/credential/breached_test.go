package credential

import (
	"bytes"
	"crypto/sha1"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func sha1Hex(s string) string { return fmt.Sprintf("%X", sha1.Sum([]byte(s))) }

// hashLines makes a list as it is offered for download.
func hashLines(end string, words ...string) string {
	var lines []string
	for i, w := range words {
		lines = append(lines, sha1Hex(w)+":"+strings.Repeat("9", 1+i%7))
	}
	slices.Sort(lines)
	return strings.Join(lines, end) + end
}

func TestBreachedHashList(t *testing.T) {
	var words []string
	for i := range 1000 {
		words = append(words, fmt.Sprint("password", i))
	}
	for _, c := range []struct {
		name string
		text string
		n    int // words in it
	}{
		{"thousand", hashLines("\n", words...), 1000},
		{"thousand, CRLF", hashLines("\r\n", words...), 1000},
		{"without the last newline", strings.TrimSuffix(hashLines("\n", words...), "\n"), 1000},
		{"lower case", strings.ToLower(hashLines("\n", words...)), 1000},
		{"one", hashLines("\n", words[:1]...), 1},
		{"two", hashLines("\n", words[:2]...), 2},
		{"one without newline", sha1Hex(words[0]), 1},
		{"three without counts", strings.ReplaceAll(strings.ReplaceAll(strings.ReplaceAll(hashLines("\n", words[:3]...), ":999", ""), ":99", ""), ":9", ""), 3},
	} {
		path := filepath.Join(t.TempDir(), "list.txt")
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		b, err := OpenBreached(path)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if b.Kind() != "SHA-1 list" {
			t.Errorf("%s: is taken for a %s", c.name, b.Kind())
		}
		for i, w := range words {
			found, err := b.Contains([]byte(w))
			if err != nil || found != (i < c.n) {
				t.Errorf("%s: %s: %v, %v", c.name, w, found, err)
			}
			if found, err := b.Contains([]byte(w + "x")); found || err != nil {
				t.Errorf("%s: %sx: %v, %v", c.name, w, found, err)
			}
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if _, err := b.Contains([]byte("x")); err == nil {
			t.Errorf("%s: a search in a closed list gives no error", c.name)
		}
	}
}

func TestBreachedAgreesWithModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(rapid.StringMatching(`[a-f]{1,3}`), 1, 40).Draw(t, "words")
		for _, text := range []string{hashLines(rapid.SampledFrom([]string{"\n", "\r\n"}).Draw(t, "end"), words...), strings.Join(words, "\n")} {
			b, err := NewBreached(strings.NewReader(text), int64(len(text)))
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range append(words, rapid.SliceOfN(rapid.StringMatching(`[a-f]{1,3}`), 0, 20).Draw(t, "others")...) {
				if found, err := b.Contains([]byte(w)); err != nil || found != slices.Contains(words, w) {
					t.Fatalf("%q in %d bytes: %v, %v", w, len(text), found, err)
				}
			}
		}
	})
}

func TestBreachedWordList(t *testing.T) {
	path := filepath.Join(t.TempDir(), "words.txt")
	if err := os.WriteFile(path, []byte("123456\r\nletmein\n\nmit Leerzeichen \nPasswort"), 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := OpenBreached(path)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for w, want := range map[string]bool{"123456": true, "letmein": true, "mit Leerzeichen ": true, "Passwort": true, "": false, "12345": false, "passwort": false} {
		if found, err := b.Contains([]byte(w)); err != nil || found != want {
			t.Errorf("%q: %v, %v", w, found, err)
		}
	}
}

func TestBreachedFolder(t *testing.T) {
	dir := t.TempDir()
	for i, w := range []string{"letmein", "dragon"} {
		h := sha1Hex(w)
		name, rest := h[:5], h[5:]
		if i == 0 {
			name += ".txt"
		}
		text := strings.Repeat("0", 35) + ":1\r\n" + rest + ":77\r\n" + strings.Repeat("F", 35) + ":2\r\n"
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b, err := OpenBreached(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for w, want := range map[string]bool{"letmein": true, "dragon": true, "nobody has this": false} {
		if found, err := b.Contains([]byte(w)); err != nil || found != want {
			t.Errorf("%q: %v, %v", w, found, err)
		}
	}
	if _, err := OpenBreached(t.TempDir()); err == nil || !strings.Contains(err.Error(), "five") {
		t.Errorf("empty folder: %v", err)
	}
}

func TestBreachedRefuses(t *testing.T) {
	var byCount []string
	for i := range 200 {
		byCount = append(byCount, sha1Hex(fmt.Sprint(i))+":"+fmt.Sprint(1000-i))
	}
	ntlm := strings.Repeat("0123456789ABCDEF0123456789ABCDEF:5\n", 3)
	garbled := hashLines("\n", "a", "b", "c", "d")
	garbled = garbled[:50] + strings.Repeat("x", 500) + garbled[50:]
	for name, c := range map[string]struct{ text, part string }{
		"empty":       {"", "empty"},
		"by count":    {strings.Join(byCount, "\n"), "not in order"},
		"NTLM":        {ntlm, "SHA-1"},
		"garbled":     {garbled, "line at byte"},
		"other lines": {sha1Hex("a") + "\nhello\nhello\nhello\n", "line at byte"},
		"long word":   {"x" + strings.Repeat("y", 5000), "line 1"},
	} {
		if _, err := NewBreached(strings.NewReader(c.text), int64(len(c.text))); err == nil || !strings.Contains(err.Error(), c.part) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := NewBreached(bytes.NewReader([]byte("words\n")), breachedMaxWords+1); err == nil || !strings.Contains(err.Error(), "MiB") {
		t.Errorf("huge word list: %v", err)
	}
	if _, err := OpenBreached(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	var none *Breached
	if found, err := none.Contains([]byte("x")); found || err != nil || none.Close() != nil {
		t.Error("no list contains nothing")
	}
}
