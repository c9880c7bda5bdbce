package credential

import (
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/argon2"
)

// Params are the parameters of Argon2id (RFC 9106) for passwords that are hashed here.
type Params struct {
	Memory  uint32 // KiB; 8 per thread to MaxMemory
	Time    uint32 // passes over the memory; at least 1
	Threads uint8  // lanes; 1 to 16. More than 1 makes one hash occupy several cores
	SaltLen uint32 // bytes; 8 to 64
	KeyLen  uint32 // bytes; 16 to 64
}

// DefaultParams returns m = 19 MiB, t = 2, p = 1 with 16 bytes of salt and 32 bytes of hash.
func DefaultParams() Params {
	return Params{Memory: 19456, Time: 2, Threads: 1, SaltLen: 16, KeyLen: 32}
}

const (
	argon2MaxThreads = 16
	argon2MinSalt    = 8
	argon2MaxSalt    = 64
	argon2MinKey     = 16
	argon2MaxKey     = 64

	// argon2KiBPass is the time for one pass over one KiB.
	argon2KiBPass = 1100 * time.Nanosecond
)

// argon2MaxBlocks is the cap on memory (KiB) times passes.
const argon2MaxBlocks = uint64(MaxWork / argon2KiBPass)

// Validate checks that the parameters lie within the bounds given at their fields and that one hash costs no more
// than MaxWork. The error names the parameter and its bounds.
func (p Params) Validate() error {
	switch {
	case p.Threads < 1 || p.Threads > argon2MaxThreads:
		return fmt.Errorf("argon2 threads must be 1 to %d, not %d", argon2MaxThreads, p.Threads)
	case p.Memory < 8*uint32(p.Threads) || p.Memory > MaxMemory/1024:
		return fmt.Errorf("argon2 memory must be %d to %d KiB, not %d", 8*uint32(p.Threads), MaxMemory/1024, p.Memory)
	case p.Time < 1:
		return fmt.Errorf("argon2 time must be at least 1 pass")
	case uint64(p.Time) > argon2MaxBlocks/uint64(p.Memory):
		return fmt.Errorf("argon2 time must be 1 to %d passes with %d KiB of memory, not %d",
			max(1, argon2MaxBlocks/uint64(p.Memory)), p.Memory, p.Time)
	case p.SaltLen < argon2MinSalt || p.SaltLen > argon2MaxSalt:
		return fmt.Errorf("argon2 salt length must be %d to %d bytes, not %d", argon2MinSalt, argon2MaxSalt, p.SaltLen)
	case p.KeyLen < argon2MinKey || p.KeyLen > argon2MaxKey:
		return fmt.Errorf("argon2 hash length must be %d to %d bytes, not %d", argon2MinKey, argon2MaxKey, p.KeyLen)
	}
	return nil
}

// Cost estimates what one hash under p takes.
func (p Params) Cost() Cost {
	blocks := uint64(p.Memory) * uint64(p.Time)
	return Cost{Work: time.Duration(min(blocks, math.MaxInt64/uint64(argon2KiBPass))) * argon2KiBPass, Memory: int64(p.Memory) * 1024}
}

// Hash returns the password hashed with Argon2id under p and a salt from rand, in the form that OpenLDAP's argon2
// module reads and writes: {ARGON2}$argon2id$v=19$m=19456,t=2,p=1$salt$hash. The password must have 1 to MaxPassword
// bytes. It computes for as long as p.Cost says and belongs into a Pool.
func Hash(p Params, password []byte, rand io.Reader) ([]byte, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	if err := checkLength(password); err != nil {
		return nil, err
	}
	salt := make([]byte, p.SaltLen)
	if _, err := io.ReadFull(rand, salt); err != nil {
		return nil, fmt.Errorf("salt for a password hash: %w", err)
	}
	key := argon2.IDKey(password, salt, p.Time, p.Memory, p.Threads, p.KeyLen)
	out := make([]byte, 0, 160)
	out = fmt.Appendf(out, "{ARGON2}$argon2id$v=%d$m=%d,t=%d,p=%d$", argon2.Version, p.Memory, p.Time, p.Threads)
	out = base64.RawStdEncoding.AppendEncode(out, salt)
	out = append(out, '$')
	return base64.RawStdEncoding.AppendEncode(out, key), nil
}

func checkLength(password []byte) error {
	switch {
	case len(password) == 0:
		return fmt.Errorf("the password is empty")
	case len(password) > MaxPassword:
		return fmt.Errorf("the password has %d bytes, the limit is %d", len(password), MaxPassword)
	}
	return nil
}

// argon2Hash is a stored Argon2 value.
type argon2Hash struct {
	id        bool // Argon2id; else Argon2i
	p         Params
	salt, key []byte
}

func (h *argon2Hash) cost() Cost { return h.p.Cost() }

func (h *argon2Hash) verify(password []byte) bool {
	derive := argon2.Key
	if h.id {
		derive = argon2.IDKey
	}
	key := derive(password, h.salt, h.p.Time, h.p.Memory, h.p.Threads, h.p.KeyLen)
	return subtle.ConstantTimeCompare(key, h.key) == 1
}

// weakerThan reports whether storing anew under p would raise some parameter and lower none.
func (h *argon2Hash) weakerThan(p Params) bool {
	if h.p.Memory > p.Memory || h.p.Time > p.Time {
		return false
	}
	return !h.id || h.p.Memory < p.Memory || h.p.Time < p.Time ||
		h.p.SaltLen < p.SaltLen && h.p.KeyLen <= p.KeyLen || h.p.KeyLen < p.KeyLen && h.p.SaltLen <= p.SaltLen
}

// parseArgon2 reads $argon2id$v=19$m=19456,t=2,p=1$salt$hash, the encoded form of the reference implementation.
func parseArgon2(rest string) (verifier, error) {
	const name = "ARGON2"
	f := strings.Split(rest, "$")
	if len(f) != 6 || f[0] != "" {
		return nil, malformed(name, "want $argon2id$v=19$m=..,t=..,p=..$salt$hash")
	}
	h := &argon2Hash{}
	switch f[1] {
	case "argon2id":
		h.id = true
	case "argon2i":
	case "argon2d":
		return nil, fmt.Errorf("%w {%s}: argon2d; only argon2id and argon2i can be verified; set the password anew", ErrUnsupported, name)
	default:
		return nil, malformed(name, "the variant is not argon2id or argon2i")
	}
	if f[2] != "v=19" {
		return nil, fmt.Errorf("%w {%s}: only version 19 (v=19) can be verified; set the password anew", ErrUnsupported, name)
	}
	// The reference implementation writes the three in this order and no others.
	params := strings.Split(f[3], ",")
	if len(params) != 3 {
		return nil, malformed(name, "want the parameters m, t and p")
	}
	var n [3]uint64
	for i, key := range []string{"m=", "t=", "p="} {
		text, ok := strings.CutPrefix(params[i], key)
		v, err := strconv.ParseUint(text, 10, 32)
		if !ok || err != nil || v == 0 {
			return nil, malformed(name, "want the parameters m, t and p as numbers above 0, in this order")
		}
		n[i] = v
	}
	memory, passes, threads := n[0], n[1], n[2]
	switch {
	case memory > MaxMemory/1024:
		return nil, tooCostly(name, "memory (m, KiB)", memory, MaxMemory/1024)
	case passes > argon2MaxBlocks/memory:
		return nil, tooCostly(name, "time (t) at this memory", passes, argon2MaxBlocks/memory)
	case threads > argon2MaxThreads:
		return nil, tooCostly(name, "parallelism (p)", threads, argon2MaxThreads)
	case memory < 8*threads:
		return nil, malformed(name, "memory (m) must be at least 8 KiB for each thread")
	}
	var err error
	if h.salt, err = base64.RawStdEncoding.Strict().DecodeString(f[4]); err != nil || len(h.salt) < argon2MinSalt || len(h.salt) > argon2MaxSalt {
		return nil, malformed(name, "the salt is not %d to %d bytes in base64 without padding", argon2MinSalt, argon2MaxSalt)
	}
	if h.key, err = base64.RawStdEncoding.Strict().DecodeString(f[5]); err != nil || len(h.key) < argon2MinKey || len(h.key) > argon2MaxKey {
		return nil, malformed(name, "the hash is not %d to %d bytes in base64 without padding", argon2MinKey, argon2MaxKey)
	}
	h.p = Params{Memory: uint32(memory), Time: uint32(passes), Threads: uint8(threads),
		SaltLen: uint32(len(h.salt)), KeyLen: uint32(len(h.key))}
	return h, nil
}
