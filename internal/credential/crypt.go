package credential

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"hash"
	"strconv"
	"strings"
	"time"

	"github.com/go-crypt/x/crypt"
	"github.com/go-crypt/x/yescrypt"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/crypto/scrypt"
)

const (
	shaCryptDefaultRounds = 5000
	shaCryptMinRounds     = 1000
	shaCryptMaxRounds     = 1_000_000
	shaCryptMaxSalt       = 16

	// shaCryptMaxBytes bounds rounds times what a round digests, because that grows with the password's length.
	shaCryptMaxBytes = shaCryptMaxRounds * 128

	bcryptMaxCost = 14

	// Times of the unit of work of each scheme; BenchmarkVerify compares them with what is measured.
	sha256CryptRound = 180 * time.Nanosecond
	sha512CryptRound = 490 * time.Nanosecond
	md5CryptCost     = 200 * time.Microsecond
	bcryptUnit       = 62 * time.Microsecond // times 2^cost
	scryptBlock      = 470 * time.Nanosecond // times N*r*p, for 128 bytes each
	yescryptBlock    = 460 * time.Nanosecond // times N*r
)

// parseCrypt reads the forms of crypt(3) that are in use: $1$, $5$, $6$, $2a$, $2b$, $2y$ and $y$.
func parseCrypt(rest string) (verifier, error) {
	const name = "CRYPT"
	switch {
	case strings.HasPrefix(rest, "$6$"):
		return parseSHACrypt(rest, sha512.New, sha512CryptRound, 86)
	case strings.HasPrefix(rest, "$5$"):
		return parseSHACrypt(rest, sha256.New, sha256CryptRound, 43)
	case strings.HasPrefix(rest, "$y$"):
		return parseYescrypt(rest)
	case strings.HasPrefix(rest, "$2"):
		return parseBcrypt(rest)
	case strings.HasPrefix(rest, "$1$"):
		salt, sum, ok := strings.Cut(rest[len("$1$"):], "$")
		if !ok || len(salt) > 8 || !isCrypt64(sum, 22) || !isSalt(salt) {
			return nil, malformed(name, "want $1$, up to 8 characters of salt, $ and 22 characters of hash")
		}
		return &md5Crypt{salt: []byte(salt), sum: []byte(sum)}, nil
	case strings.HasPrefix(rest, "$"):
		return nil, fmt.Errorf("%w {%s}: of crypt methods $1$, $5$, $6$, $2a$, $2b$, $2y$ and $y$ can be verified; set the password anew", ErrUnsupported, name)
	case len(rest) == 13 && isCrypt64(rest, 13), strings.HasPrefix(rest, "_"):
		return nil, fmt.Errorf("%w {%s}: the DES form of crypt; set the password anew", ErrUnsupported, name)
	}
	return nil, malformed(name, "want $method$...")
}

// isCrypt64 reports whether s is n characters of crypt's alphabet.
func isCrypt64(s string, n int) bool {
	if len(s) != n {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '.' && c <= '9':
		default:
			return false
		}
	}
	return true
}

// isSalt reports whether s has only characters that crypt(3) passes through in a salt.
func isSalt(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' || c == '$' || c == ':' || c == '*' || c == '!' || c == '\\' || c == ';' {
			return false
		}
	}
	return true
}

// md5Crypt is $1$, FreeBSD's.
type md5Crypt struct{ salt, sum []byte }

func (h *md5Crypt) cost() Cost { return Cost{Work: md5CryptCost} }

func (h *md5Crypt) verify(password []byte) bool {
	return subtle.ConstantTimeCompare(crypt.KeyMD5Crypt(password, h.salt), h.sum) == 1
}

// shaCrypt is $5$ and $6$, Drepper's.
type shaCrypt struct {
	new       func() hash.Hash
	rounds    int
	round     time.Duration
	salt, sum []byte
}

func (h *shaCrypt) cost() Cost { return Cost{Work: time.Duration(h.rounds) * h.round} }

// bounded reports whether the work for this password is within the bound.
func (h *shaCrypt) bounded(password []byte) bool {
	return h.rounds*(len(password)+64) <= shaCryptMaxBytes
}

func (h *shaCrypt) verify(password []byte) bool {
	return subtle.ConstantTimeCompare(crypt.KeySHACrypt(h.new, password, h.salt, h.rounds), h.sum) == 1
}

func parseSHACrypt(rest string, newHash func() hash.Hash, round time.Duration, size int) (verifier, error) {
	const name = "CRYPT"
	h := &shaCrypt{new: newHash, rounds: shaCryptDefaultRounds, round: round}
	body := rest[len("$6$"):]
	if after, ok := strings.CutPrefix(body, "rounds="); ok {
		text, tail, ok := strings.Cut(after, "$")
		n, err := strconv.ParseUint(text, 10, 32)
		if !ok || err != nil || n < shaCryptMinRounds {
			return nil, malformed(name, "rounds= wants a number of at least %d and $", shaCryptMinRounds)
		}
		if n > shaCryptMaxRounds {
			return nil, tooCostly(name, "rounds", n, shaCryptMaxRounds)
		}
		h.rounds, body = int(n), tail
	}
	salt, sum, ok := strings.Cut(body, "$")
	if !ok || len(salt) > shaCryptMaxSalt || !isSalt(salt) || !isCrypt64(sum, size) {
		return nil, malformed(name, "want up to %d characters of salt, $ and %d characters of hash", shaCryptMaxSalt, size)
	}
	h.salt, h.sum = []byte(salt), []byte(sum)
	return h, nil
}

// yescryptHash is $y$ as libxcrypt writes it.
type yescryptHash struct {
	stored []byte
	n, r   int64
}

func (h *yescryptHash) cost() Cost {
	return Cost{Work: time.Duration(h.n*h.r) * yescryptBlock, Memory: 128 * h.n * h.r}
}

func (h *yescryptHash) verify(password []byte) bool {
	got, err := yescrypt.Hash(password, h.stored)
	return err == nil && subtle.ConstantTimeCompare(got, h.stored) == 1
}

func parseYescrypt(rest string) (verifier, error) {
	const name = "CRYPT"
	f := strings.Split(rest, "$")
	if len(f) != 5 || !isCrypt64(f[4], 43) || len(f[3]) > 86 || !isCrypt64(f[3], len(f[3])) {
		return nil, malformed(name, "want $y$parameters$salt$hash with 43 characters of hash")
	}
	// j, log2 N - 1, r - 1: the only flavour and the only length of parameters that libxcrypt writes.
	if len(f[2]) != 3 || f[2][0] != 'j' {
		return nil, fmt.Errorf("%w {%s}: yescrypt with parameters other than libxcrypt's; set the password anew", ErrUnsupported, name)
	}
	_, log2n, r, err := yescrypt.DecodeSetting([]byte(f[2]))
	if err != nil || log2n < 10 || r < 1 || r > 32 {
		return nil, malformed(name, "yescrypt parameters out of range")
	}
	if log2n > 18 {
		return nil, tooCostly(name, "yescrypt log2 N", uint64(log2n), 18)
	}
	h := &yescryptHash{stored: []byte(rest), n: 1 << log2n, r: int64(r)}
	if limit := uint64(min(MaxMemory/128, int64(MaxWork/yescryptBlock))); uint64(h.n*h.r) > limit {
		return nil, tooCostly(name, "yescrypt N times r", uint64(h.n*h.r), limit)
	}
	if len(f[3]) > 0 && yescrypt.Decode64([]byte(f[3])) == nil {
		return nil, malformed(name, "the salt is not in crypt's base64")
	}
	return h, nil
}

// bcryptHash is $2a$, $2b$ and $2y$.
type bcryptHash struct {
	stored []byte
	factor int
}

func (h *bcryptHash) cost() Cost { return Cost{Work: bcryptUnit << h.factor, Memory: 4 << 10} }

// verify cuts the password at 72 bytes as every bcrypt does. bcrypt.CompareHashAndPassword compares in constant time.
func (h *bcryptHash) verify(password []byte) bool {
	return bcrypt.CompareHashAndPassword(h.stored, password[:min(len(password), 72)]) == nil
}

func parseBcrypt(rest string) (verifier, error) {
	const name = "BCRYPT"
	switch {
	case strings.HasPrefix(rest, "$2a$"), strings.HasPrefix(rest, "$2b$"), strings.HasPrefix(rest, "$2y$"):
	case strings.HasPrefix(rest, "$2x$"), strings.HasPrefix(rest, "$2$"):
		return nil, fmt.Errorf("%w {%s}: only $2a$, $2b$ and $2y$ can be verified; set the password anew", ErrUnsupported, name)
	default:
		return nil, malformed(name, "want $2a$, $2b$ or $2y$")
	}
	if len(rest) != 60 || rest[6] != '$' || !isCrypt64(rest[7:], 53) {
		return nil, malformed(name, "want two digits of cost, $ and 53 characters of salt and hash")
	}
	factor, err := strconv.ParseUint(rest[4:6], 10, 8)
	if err != nil || factor < 4 {
		return nil, malformed(name, "the cost must be two digits, at least 04")
	}
	if factor > bcryptMaxCost {
		return nil, tooCostly(name, "bcrypt cost", factor, bcryptMaxCost)
	}
	return &bcryptHash{stored: []byte(rest), factor: int(factor)}, nil
}

// scryptHash is $scrypt$ln=..,r=..,p=..$salt$hash, the form of passlib and of the PHC string format.
type scryptHash struct {
	n, r, p   int
	salt, key []byte
}

func (h *scryptHash) cost() Cost {
	return Cost{Work: time.Duration(h.n*h.r*h.p) * scryptBlock, Memory: 128 * int64(h.n) * int64(h.r)}
}

func (h *scryptHash) verify(password []byte) bool {
	key, err := scrypt.Key(password, h.salt, h.n, h.r, h.p, len(h.key))
	return err == nil && subtle.ConstantTimeCompare(key, h.key) == 1
}

func parseScrypt(rest string) (verifier, error) {
	const name = "SCRYPT"
	f := strings.Split(rest, "$")
	if len(f) != 5 || f[0] != "" || f[1] != "scrypt" {
		return nil, malformed(name, "want $scrypt$ln=..,r=..,p=..$salt$hash")
	}
	params := strings.Split(f[2], ",")
	if len(params) != 3 {
		return nil, malformed(name, "want the parameters ln, r and p")
	}
	var n [3]uint64
	for i, key := range []string{"ln=", "r=", "p="} {
		text, ok := strings.CutPrefix(params[i], key)
		v, err := strconv.ParseUint(text, 10, 16)
		if !ok || err != nil || v == 0 {
			return nil, malformed(name, "want the parameters ln, r and p as numbers above 0, in this order")
		}
		n[i] = v
	}
	if n[0] > 21 {
		return nil, tooCostly(name, "ln", n[0], 21)
	}
	size := n[1] << n[0] // at most 2^37
	if size > MaxMemory/128 {
		return nil, tooCostly(name, "N times r", size, MaxMemory/128)
	}
	if limit := uint64(MaxWork / scryptBlock); size*n[2] > limit {
		return nil, tooCostly(name, "N times r times p", size*n[2], limit)
	}
	h := &scryptHash{n: 1 << n[0], r: int(n[1]), p: int(n[2])}
	var err error
	if h.salt, err = base64.RawStdEncoding.Strict().DecodeString(f[3]); err != nil || len(h.salt) < 1 || len(h.salt) > 64 {
		return nil, malformed(name, "the salt is not 1 to 64 bytes in base64 without padding")
	}
	if h.key, err = base64.RawStdEncoding.Strict().DecodeString(f[4]); err != nil || len(h.key) < 16 || len(h.key) > 64 || bytes.ContainsAny([]byte(f[4]), "\r\n") {
		return nil, malformed(name, "the hash is not 16 to 64 bytes in base64 without padding")
	}
	return h, nil
}
