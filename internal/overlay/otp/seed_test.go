package otp

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSeeds(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key := bytes.Repeat([]byte{7}, keySize)
	k, err := readKey(file("key", base64.StdEncoding.EncodeToString(key)+"\nand a remark\n"))
	if err != nil {
		t.Fatal(err)
	}
	other, err := newKeeper(bytes.Repeat([]byte{8}, keySize))
	if err != nil {
		t.Fatal(err)
	}
	var none *keeper
	for _, size := range []int{minSeed, 20, 32, 64, maxSeed} {
		seed := make([]byte, size)
		if _, err := rand.Read(seed); err != nil {
			t.Fatal(err)
		}
		sealed := k.seal(seed)
		if bytes.Contains(sealed, []byte(base32NoPad.EncodeToString(seed))) || !bytes.HasPrefix(sealed, []byte(sealedForm)) {
			t.Errorf("%d octets are not encrypted", size)
		}
		if !bytes.Equal(sealed, k.seal(seed)) {
			t.Error("a transaction that runs again would store something else")
		}
		for _, x := range []struct {
			who    *keeper
			stored []byte
			ok     bool
		}{{k, sealed, true}, {other, sealed, false}, {none, sealed, false}, {none, none.seal(seed), true}, {k, none.seal(seed), true}} {
			got, err := x.who.open(x.stored)
			if (err == nil) != x.ok || x.ok && !bytes.Equal(got, seed) {
				t.Errorf("%.20s: %x, %v", x.stored, got, err)
			}
			if err != nil && strings.Contains(err.Error(), base32NoPad.EncodeToString(seed)) {
				t.Error("the error has the seed")
			}
		}
		// Whatever is changed in what is stored is noticed.
		raw, _ := base64.StdEncoding.DecodeString(string(sealed[len(sealedForm):]))
		raw[len(raw)/2] ^= 1
		if _, err := k.open(append([]byte(sealedForm), base64.StdEncoding.EncodeToString(raw)...)); err == nil {
			t.Error("a seed that was changed opens")
		}
	}
	for _, text := range []string{"", "{TOTP}", "{TOTP}AAAA", "{TOTP}!!!!", "{SSHA}x", "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", sealedForm, sealedForm + "AAAA", sealedForm + "!"} {
		if _, err := k.open([]byte(text)); err == nil {
			t.Errorf("%q is a seed", text)
		}
	}
	for name, text := range map[string]string{"short": "AAAA\n", "none": "", "hex": strings.Repeat("0", 64)} {
		if _, err := readKey(file(name, text)); err == nil {
			t.Errorf("%s is a key", name)
		}
	}
	if _, err := readKey(filepath.Join(dir, "missing")); err == nil {
		t.Error("a missing file is a key")
	}
}

func TestRecoveryCodes(t *testing.T) {
	shown, stored, err := makeRecovery(rand.Reader, 10)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(shown), "\n")
	if len(lines) != 10 || len(stored) != 10 {
		t.Fatalf("%q, %d stored", lines, len(stored))
	}
	for i, code := range lines {
		for _, form := range []string{code, strings.ToUpper(code), strings.ReplaceAll(code, "-", "")} {
			password, plain, ok := cutRecovery([]byte("pass-word9" + form))
			if !ok || string(password) != "pass-word9" || !bytes.Equal(recoveryForm(plain), stored[i]) {
				t.Errorf("%q: %q %v", form, password, ok)
			}
		}
		if _, _, ok := cutRecovery([]byte(code)); ok {
			t.Errorf("%q is a code with nothing before it", code)
		}
	}
}

// FuzzSplit: what is cut off and what is left are what was given, and nothing panics.
func FuzzSplit(f *testing.F) {
	f.Add([]byte("secret123456"), 6)
	f.Add([]byte("secretabcd-efgh-ijkm-npqr"), 8)
	f.Add([]byte("123456"), 6)
	f.Fuzz(func(t *testing.T, given []byte, digits int) {
		if digits == 6 || digits == 8 {
			if password, code, ok := cutDigits(given, digits); ok && (len(code) != digits || len(password) == 0 || !bytes.Equal(append(bytes.Clone(password), code...), given)) {
				t.Fatalf("%q is %q and %q", given, password, code)
			}
		}
		if password, plain, ok := cutRecovery(given); ok && (len(password) == 0 || len(plain) != recoveryLength || !bytes.HasPrefix(given, password)) {
			t.Fatalf("%q is %q and %q", given, password, plain)
		}
		k, err := newKeeper(make([]byte, keySize))
		if err != nil {
			t.Fatal(err)
		}
		if seed, err := k.open(given); err == nil && (len(seed) < minSeed || len(seed) > maxSeed) && bytes.HasPrefix(given, []byte(clearForm)) {
			t.Fatalf("a seed of %d octets", len(seed))
		}
	})
}
