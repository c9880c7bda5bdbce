package otp

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
)

// Forms of a seed in portolanCredentialSecret. A seed is needed as it is, so that it cannot be hashed; with a key it is
// encrypted.
const (
	clearForm  = "{TOTP}"           // base32, as in otpauth URIs
	sealedForm = "{TOTP-AES256GCM}" // base64 of nonce and ciphertext
)

var base32NoPad = base32.StdEncoding.WithPadding(base32.NoPadding)

// Bounds of a seed in octets: RFC 4226 section 4 wants 16, and HMAC hashes what is longer than its block.
const (
	minSeed = 16
	maxSeed = 128
)

// keeper seals and opens seeds. A nil keeper has no key.
type keeper struct {
	aead cipher.AEAD
	mac  []byte
}

// keySize is that of AES-256.
const keySize = 32

// readKey reads a key file: 32 octets in base64 on its first line.
func readKey(file string) (*keeper, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("overlay.otp.key_file: %w", err)
	}
	line, _, _ := bytes.Cut(text, []byte{'\n'})
	key, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(line)))
	if err != nil || len(key) != keySize {
		return nil, fmt.Errorf("overlay.otp.key_file: %s does not hold a key: write 32 random octets in base64 on its first line, as by \"openssl rand -base64 32\"", file)
	}
	return newKeeper(key)
}

func newKeeper(key []byte) (*keeper, error) {
	derive := func(what string) []byte {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(what))
		return h.Sum(nil)
	}
	block, err := aes.NewCipher(derive("portolan otp seal"))
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return &keeper{aead: aead, mac: derive("portolan otp nonce")}, nil
}

// seal returns what is stored of a seed. The nonce is a MAC of the seed: transactions draw no random octets, and two
// seeds have the same nonce only where they are the same.
func (k *keeper) seal(seed []byte) []byte {
	if k == nil {
		return append([]byte(clearForm), base32NoPad.EncodeToString(seed)...)
	}
	h := hmac.New(sha256.New, k.mac)
	h.Write(seed)
	nonce := h.Sum(nil)[:k.aead.NonceSize()]
	out := k.aead.Seal(nonce, nonce, seed, []byte(sealedForm)) // #nosec G407 -- a MAC of the seed, see above
	return append([]byte(sealedForm), base64.StdEncoding.EncodeToString(out)...)
}

var (
	errForm = errors.New("the seed is not of a form that is known: " + clearForm + " and base32")
	errKey  = errors.New("the seed is encrypted with another key than that of overlay.otp.key_file")
)

// open returns the seed of a stored value. Errors have nothing of it.
func (k *keeper) open(stored []byte) ([]byte, error) {
	if rest, ok := bytes.CutPrefix(stored, []byte(clearForm)); ok {
		seed, err := base32NoPad.DecodeString(string(bytes.TrimRight(bytes.ToUpper(rest), "=")))
		if err != nil || len(seed) < minSeed || len(seed) > maxSeed {
			return nil, errForm
		}
		return seed, nil
	}
	rest, ok := bytes.CutPrefix(stored, []byte(sealedForm))
	if !ok {
		return nil, errForm
	}
	if k == nil {
		return nil, errors.New("the seed is encrypted, and overlay.otp.key_file is not set")
	}
	data, err := base64.StdEncoding.DecodeString(string(rest))
	if err != nil || len(data) < k.aead.NonceSize() {
		return nil, errForm
	}
	seed, err := k.aead.Open(nil, data[:k.aead.NonceSize()], data[k.aead.NonceSize():], []byte(sealedForm))
	if err != nil {
		return nil, errKey
	}
	return seed, nil
}
