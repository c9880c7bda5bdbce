package credential

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/xdg-go/scram"
	"pgregory.net/rapid"
)

// RFC 7677 3: the example exchange of user "user" with password "pencil".
func TestScramExampleOfRFC7677(t *testing.T) {
	salt, _ := base64.StdEncoding.DecodeString("W22ZaJ0SNY7soEsUEjb6gQ==")
	k, err := ScramKeys([]byte("pencil"), salt, 4096)
	if err != nil {
		t.Fatal(err)
	}
	const nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
	message := "n=user,r=rOprNGfwEbeRWgbNEkqO,r=" + nonce + ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=" + nonce
	proof, _ := base64.StdEncoding.DecodeString("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
	signature, ok := k.VerifyProof(message, proof)
	if got := base64.StdEncoding.EncodeToString(signature); !ok || got != "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=" {
		t.Errorf("proof %v, signature %s", ok, got)
	}
	for i := range proof {
		proof[i] ^= 1
		if _, ok := k.VerifyProof(message, proof); ok {
			t.Errorf("a proof with byte %d changed is accepted", i)
		}
		proof[i] ^= 1
	}
	if _, ok := k.VerifyProof(message+"x", proof); ok {
		t.Error("a proof for another message is accepted")
	}
	if _, ok := k.VerifyProof(message, proof[:31]); ok {
		t.Error("a short proof is accepted")
	}
}

// The keys must be those of an independent implementation, and survive their stored form.
func TestScramKeysAgreeWithLibrary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		password := rapid.StringMatching(`[!-~]{1,20}`).Draw(t, "password")
		salt := rapid.SliceOfN(rapid.Byte(), 1, 64).Draw(t, "salt")
		k, err := ScramKeys([]byte(password), salt, 4096)
		if err != nil {
			t.Fatal(err)
		}
		client, err := scram.SHA256.NewClient("user", password, "")
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: string(salt), Iters: 4096})
		if err != nil {
			t.Fatal(err)
		}
		if string(theirs.StoredKey) != string(k.StoredKey[:]) || string(theirs.ServerKey) != string(k.ServerKey[:]) {
			t.Fatal("keys differ")
		}
		back, err := ParseScram(k.Stored())
		if err != nil || string(back.Stored()) != string(k.Stored()) || back.StoredKey != k.StoredKey || back.ServerKey != k.ServerKey {
			t.Fatalf("back: %v", err)
		}
		if !back.Verify([]byte(password)) || back.Verify([]byte(password+"x")) {
			t.Fatal("verifies wrongly")
		}
	})
}

// RFC 4013 3: examples of SASLprep.
func TestScramPreparesPasswords(t *testing.T) {
	for _, c := range []struct{ a, b string }{
		{"I\u00ADX", "IX"}, {"\u00AA", "a"}, {"\u2168", "IX"}, {"a\u00A0b", "a b"},
	} {
		k, err := ScramKeys([]byte(c.a), []byte("salt"), 4096)
		if err != nil || !k.Verify([]byte(c.b)) {
			t.Errorf("%q is not %q: %v", c.a, c.b, err)
		}
	}
	for _, bad := range []string{"\u0007", "\u0627\u0031", "", "\u00AD", "a\x00", "\xff\xfe", strings.Repeat("x", MaxPassword+1)} {
		if _, err := ScramKeys([]byte(bad), []byte("salt"), 4096); err == nil {
			t.Errorf("%.20q gives keys", bad)
		}
	}
}

func TestScramBounds(t *testing.T) {
	for _, n := range []int{-1, 0, 4095, pbkdf2MaxIterations + 1} {
		if _, err := ScramKeys([]byte("x"), []byte("salt"), n); err == nil || !strings.Contains(err.Error(), "iterations") {
			t.Errorf("%d iterations: %v", n, err)
		}
	}
	for _, n := range []int{0, 65} {
		if _, err := ScramKeys([]byte("x"), make([]byte, n), 4096); err == nil || !strings.Contains(err.Error(), "salt") {
			t.Errorf("%d bytes of salt: %v", n, err)
		}
	}
	k, err := NewScramKey([]byte("x"), scramMinIterations, rand.Reader)
	if err != nil || len(k.Salt) != 16 {
		t.Errorf("%v, %d bytes of salt", err, len(k.Salt))
	}
	if _, err := NewScramKey([]byte("x"), scramMinIterations, strings.NewReader("short")); err == nil {
		t.Error("a short read of the random source goes unseen")
	}
	if text := fmt.Sprintf("%v %+v %#v %s", k, k, k, k); strings.Contains(text, "Stored") || len(text) > 100 {
		t.Errorf("a key prints as %s", text)
	}
}

func TestParseScram(t *testing.T) {
	key := base64.StdEncoding.EncodeToString(make([]byte, 32))
	for _, c := range []struct {
		stored string
		want   error
	}{
		{"SCRAM-SHA-256$4096:c2FsdA==$" + key + ":" + key, nil},
		{" scram-sha-256 $ 4096:c2FsdA== $ " + key + ":" + key + " ", nil},
		{"SCRAM-SHA-1$4096:c2FsdA==$" + key + ":" + key, ErrUnsupported},
		{"MD5$c2FsdA==$" + key, ErrUnsupported},
		{"SCRAM-SHA-256$4095:c2FsdA==$" + key + ":" + key, ErrMalformed},
		{"SCRAM-SHA-256$-1:c2FsdA==$" + key + ":" + key, ErrMalformed},
		{"SCRAM-SHA-256$999999999:c2FsdA==$" + key + ":" + key, ErrTooCostly},
		{"SCRAM-SHA-256$4096:$" + key + ":" + key, ErrMalformed},
		{"SCRAM-SHA-256$4096$" + key + ":" + key, ErrMalformed},
		{"SCRAM-SHA-256$4096:c2FsdA==$" + key, ErrMalformed},
		{"SCRAM-SHA-256$4096:c2FsdA==$" + key + ":" + key[4:], ErrMalformed},
		{"SCRAM-SHA-256$4096:c2FsdA==$" + key + ":" + key + "$", ErrMalformed},
		{"", ErrMalformed},
		{strings.Repeat("$", MaxStored+1), ErrMalformed},
	} {
		k, err := ParseScram([]byte(c.stored))
		if !errors.Is(err, c.want) || (c.want == nil) != (k.Iterations == 4096) {
			t.Errorf("%.40q: %v", c.stored, err)
		}
	}
}

func FuzzParseScram(f *testing.F) {
	f.Add([]byte("SCRAM-SHA-256$4096:c2FsdA==$AAAA:AAAA"))
	f.Fuzz(func(t *testing.T, stored []byte) {
		k, err := ParseScram(stored)
		if err != nil {
			return
		}
		back, err := ParseScram(k.Stored())
		if err != nil || string(back.Stored()) != string(k.Stored()) {
			t.Fatalf("print and parse is not a fixed point: %v", err)
		}
	})
}
