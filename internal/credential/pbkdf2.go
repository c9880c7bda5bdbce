package credential

import (
	"crypto/pbkdf2"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/binary"
	"hash"
	"strconv"
	"strings"
	"time"
)

const (
	// As many as processors without instructions for SHA get through in a few times MaxWork.
	pbkdf2MaxIterations       = 2_500_000
	pbkdf2MaxIterationsSHA512 = 1_300_000

	pbkdf2MaxSalt = 256
	pbkdf2MinKey  = 16
	pbkdf2MaxKey  = 512

	pbkdf2Iteration       = 270 * time.Nanosecond
	pbkdf2IterationSHA512 = 770 * time.Nanosecond
)

// pbkdf2Hash is a stored PBKDF2 value (RFC 8018 5.2).
type pbkdf2Hash struct {
	new        func() hash.Hash
	iterations int
	salt       []byte
	key        []byte // the first block at most: the blocks are independent, the first proves the password
}

func (h *pbkdf2Hash) cost() Cost {
	if h.new().Size() == sha512.Size {
		return Cost{Work: time.Duration(h.iterations) * pbkdf2IterationSHA512}
	}
	return Cost{Work: time.Duration(h.iterations) * pbkdf2Iteration}
}

func (h *pbkdf2Hash) verify(password []byte) bool {
	key, err := pbkdf2.Key(h.new, string(password), h.salt, h.iterations, len(h.key))
	return err == nil && subtle.ConstantTimeCompare(key, h.key) == 1
}

func newPBKDF2(name, digest string, iterations uint64, salt, key []byte) (verifier, error) {
	limit := uint64(pbkdf2MaxIterations)
	if digest == "SHA512" {
		limit = pbkdf2MaxIterationsSHA512
	}
	switch {
	case iterations < 1:
		return nil, malformed(name, "the iterations must be at least 1")
	case iterations > limit:
		return nil, tooCostly(name, "iterations", iterations, limit)
	case len(salt) < 1 || len(salt) > pbkdf2MaxSalt:
		return nil, malformed(name, "the salt must have 1 to %d bytes, not %d", pbkdf2MaxSalt, len(salt))
	case len(key) < pbkdf2MinKey || len(key) > pbkdf2MaxKey:
		return nil, malformed(name, "the hash must have %d to %d bytes, not %d", pbkdf2MinKey, pbkdf2MaxKey, len(key))
	}
	h := &pbkdf2Hash{new: newDigest(digest), iterations: int(iterations), salt: salt, key: key}
	h.key = key[:min(len(key), h.new().Size())]
	return h, nil
}

// parsePBKDF2 reads iterations$salt$hash, salt and hash in passlib's base64 (. for +, no padding) as OpenLDAP's
// pbkdf2 module and 389 Directory Server write it, or in plain base64.
func parsePBKDF2(digest, rest string) (verifier, error) {
	name := "PBKDF2-" + digest
	f := strings.Split(rest, "$")
	if len(f) != 3 {
		return nil, malformed(name, "want iterations$salt$hash")
	}
	iterations, err := strconv.ParseUint(f[0], 10, 63)
	if err != nil {
		return nil, malformed(name, "the iterations are not a number")
	}
	salt, ok1 := decodeBase64(strings.ReplaceAll(f[1], ".", "+"))
	key, ok2 := decodeBase64(strings.ReplaceAll(f[2], ".", "+"))
	if !ok1 || !ok2 {
		return nil, malformed(name, "salt and hash must be base64")
	}
	return newPBKDF2(name, digest, iterations, salt, key)
}

// parsePBKDF2Binary reads the older form of 389 Directory Server and FreeIPA: base64 of 4 bytes of iterations, most
// significant first, 64 bytes of salt and 256 bytes of hash.
func parsePBKDF2Binary(rest string) (verifier, error) {
	const (
		name    = "PBKDF2_SHA256"
		saltLen = 64
		keyLen  = 256
	)
	data, ok := decodeBase64(rest)
	if !ok || len(data) != 4+saltLen+keyLen {
		return nil, malformed(name, "want base64 of 4 bytes of iterations, %d of salt and %d of hash", saltLen, keyLen)
	}
	return newPBKDF2(name, "SHA256", uint64(binary.BigEndian.Uint32(data)), data[4:4+saltLen], data[4+saltLen:])
}
