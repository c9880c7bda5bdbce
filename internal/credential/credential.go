// Package credential keeps everything the server knows about passwords: stored forms and their verification, the
// Argon2id hash that every new password gets, SCRAM keys, the bounded pool in which hashing runs, the cache of
// recently verified credentials, strength, breached-password lists and generated passwords.
//
// It has no state of its own but what a caller creates (Pool, Cache, Breached), never logs, and no error it returns
// contains any part of a password or of a stored value.
//
// How a simple bind uses it (RFC 4511 4.2, RFC 4513 5.1): ask Cache.Hit for each stored value; otherwise run
// Params.Check inside Pool.Do, which verifies and, on failure, makes up the difference to the cost of one default
// hash, also when the user does not exist (no values); on success call Cache.Add and, where Secret.NeedsRehash says
// so, prepare Hash of the same password in the pool.
package credential

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"
)

const (
	// MaxPassword is the greatest length of a password in bytes. Hash refuses a longer one, Verify never matches it.
	MaxPassword = 1024

	// MaxStored is the greatest length in bytes of a stored value that Parse looks at.
	MaxStored = 4096

	// MaxWork is about what one verification of an imported hash may cost in CPU time. The caps on iterations,
	// rounds and passes of the schemes derive from it.
	MaxWork = time.Second

	// MaxMemory is the greatest amount of memory in bytes that one verification may need.
	MaxMemory = 256 << 20

	// MaxValues is the number of stored values of one entry that Params.Check looks at.
	MaxValues = 16
)

// What Parse and ParseScram say of a value they refuse; the error wraps one of these and adds the place.
var (
	// ErrClearText: the value is a clear-text password, not a hash.
	ErrClearText = errors.New("clear-text password where a hash is needed")
	// ErrUnknownScheme: the value begins with a {SCHEME} this server has never heard of.
	ErrUnknownScheme = errors.New("unknown password scheme")
	// ErrUnsupported: the scheme is known, but cannot be verified here.
	ErrUnsupported = errors.New("unsupported password scheme")
	// ErrMalformed: the scheme is supported, the rest of the value is not of its form.
	ErrMalformed = errors.New("malformed password hash")
	// ErrTooCostly: verifying the value would take more than MaxWork or MaxMemory.
	ErrTooCostly = errors.New("password hash too costly to verify")
)

// Cost says what a hash computation takes. It is an estimate for a current server core, good enough to compare
// schemes with each other and to bound them.
type Cost struct {
	Work   time.Duration // CPU time
	Memory int64         // bytes, at the highest point
}

// Add returns the cost of doing c and then d: work adds up, of memory the higher is needed.
func (c Cost) Add(d Cost) Cost { return Cost{Work: c.Work + d.Work, Memory: max(c.Memory, d.Memory)} }

// verifier is one parsed stored value of one scheme. verify may assume that the password is at most MaxPassword
// bytes long, and compares in constant time.
type verifier interface {
	verify(password []byte) bool
	cost() Cost
}

// Secret is a parsed stored password. It is immutable and safe for concurrent use. The zero Secret matches nothing.
type Secret struct {
	scheme string
	v      verifier
}

// Scheme returns the name of the scheme in capitals without braces: "ARGON2", "SSHA512", "CRYPT". Aliases give the
// main name. The zero Secret has the empty name.
func (s Secret) Scheme() string { return s.scheme }

// Cost estimates what one Verify takes.
func (s Secret) Cost() Cost {
	if s.v == nil {
		return Cost{}
	}
	return s.v.cost()
}

// Verify reports whether the password is the one the value was made from. An empty password and one longer than
// MaxPassword never match; nor does one with a NUL byte, but for Argon2 and the plain digests. It computes for as long as Cost says and belongs into a Pool.
func (s Secret) Verify(password []byte) bool {
	return s.computes(password) && s.v.verify(password)
}

// computes reports whether Verify has to compute: false where the password cannot match for its form alone.
func (s Secret) computes(password []byte) bool {
	if s.v == nil || len(password) == 0 || len(password) > MaxPassword {
		return false
	}
	if h, ok := s.v.(*shaCrypt); ok && !h.bounded(password) {
		return false
	}
	return bytes.IndexByte(password, 0) < 0 || takesNUL(s.v)
}

// takesNUL reports whether the scheme tells passwords with NUL bytes apart. HMAC pads its key with NUL, so PBKDF2 and
// what is built on it take "x" and "x\x00" for the same; crypt(3) ends a password at a NUL, and bcrypt repeats it.
func takesNUL(v verifier) bool {
	switch v.(type) {
	case *argon2Hash, *digestHash, dummy:
		return true
	}
	return false
}

// NeedsRehash reports whether the password, once it has been verified, should be stored anew with Hash under p:
// always for a scheme other than Argon2, and for Argon2 only if no parameter would become weaker.
func (s Secret) NeedsRehash(p Params) bool {
	switch v := s.v.(type) {
	case nil, dummy:
		return false
	case *argon2Hash:
		return v.weakerThan(p)
	}
	return true
}

// scheme says how values under one {NAME} are treated.
type scheme struct {
	name  string // main name
	parse func(rest string) (verifier, error)
	// unsupported holds the reason why values of a known scheme cannot be verified; parse is nil then.
	unsupported string
}

// lookupScheme returns the scheme of a name, in any case of letters.
func lookupScheme(name string) (scheme, bool) {
	if len(name) > maxSchemeName {
		return scheme{}, false
	}
	switch n := strings.ToUpper(name); n {
	case "ARGON2", "ARGON2I", "ARGON2ID":
		return scheme{name: "ARGON2", parse: parseArgon2}, true
	case "SHA", "SSHA", "SHA256", "SSHA256", "SHA384", "SSHA384", "SHA512", "SSHA512", "MD5", "SMD5":
		return scheme{name: n, parse: func(rest string) (verifier, error) { return parseDigest(n, rest) }}, true
	case "CRYPT", "SHA256-CRYPT", "SHA512-CRYPT", "MD5-CRYPT":
		return scheme{name: "CRYPT", parse: parseCrypt}, true
	case "BCRYPT", "BLF-CRYPT":
		return scheme{name: "BCRYPT", parse: parseBcrypt}, true
	case "SCRYPT":
		return scheme{name: n, parse: parseScrypt}, true
	case "PBKDF2", "PBKDF2-SHA1":
		return scheme{name: "PBKDF2-SHA1", parse: func(rest string) (verifier, error) { return parsePBKDF2("SHA1", rest) }}, true
	case "PBKDF2-SHA256", "PBKDF2-SHA512":
		return scheme{name: n, parse: func(rest string) (verifier, error) { return parsePBKDF2(n[len("PBKDF2-"):], rest) }}, true
	case "PBKDF2_SHA256":
		return scheme{name: n, parse: parsePBKDF2Binary}, true
	case "CLEARTEXT", "CLEAR":
		return scheme{name: "CLEARTEXT"}, true
	case "SASL":
		return scheme{name: n, unsupported: "it hands the password to another service; set a password here instead"}, true
	case "KERBEROS", "UNIX", "RADIUS":
		return scheme{name: n, unsupported: "it names an account of another service; set a password here instead"}, true
	case "LANMAN", "NS-MTA-MD5", "AES", "DES", "APR1", "TOTP1", "TOTP256", "TOTP512", "GOST_YESCRYPT":
		return scheme{name: n, unsupported: "set the password anew"}, true
	}
	return scheme{}, false
}

const maxSchemeName = 24

// splitScheme cuts "{NAME}rest". ok is false where the value does not begin with a name in braces.
func splitScheme(stored string) (name, rest string, ok bool) {
	if len(stored) < 3 || stored[0] != '{' {
		return "", "", false
	}
	end := strings.IndexByte(stored[:min(len(stored), maxSchemeName+2)], '}')
	if end < 2 {
		return "", "", false
	}
	for _, c := range []byte(stored[1:end]) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.', c == '/':
		default:
			return "", "", false
		}
	}
	return stored[1:end], stored[end+1:], true
}

// IsHashed reports whether the value begins with the {SCHEME} of a known scheme (RFC 2307 5.3), supported here or
// not, {CLEARTEXT} excepted. A client's value of that form is a pre-hashed password; any other is clear text.
func IsHashed(value []byte) bool {
	name, _, ok := splitScheme(string(value[:min(len(value), maxSchemeName+2)]))
	if !ok {
		return false
	}
	s, known := lookupScheme(name)
	return known && s.name != "CLEARTEXT"
}

// ClearText returns the password in a value that holds it in clear: after {CLEARTEXT}, or the whole of a value that
// does not begin with a name in braces. Import and the admin password file use it to hash what was written in clear.
// For an unknown scheme ok is false: it is more likely a foreign hash than a password.
func ClearText(stored []byte) (password []byte, ok bool) {
	name, rest, braced := splitScheme(string(stored))
	if !braced {
		return stored, len(stored) > 0
	}
	if s, known := lookupScheme(name); known && s.name == "CLEARTEXT" {
		return stored[len(stored)-len(rest):], rest != ""
	}
	return nil, false
}

// Parse reads a stored password: {SCHEME}data (RFC 2307 5.3), scheme names in any case of letters. What would cost
// more than MaxWork or MaxMemory to verify is refused. A clear-text value gives ErrClearText, so that clear text can
// never match by oversight.
func Parse(stored []byte) (Secret, error) {
	if len(stored) > MaxStored {
		return Secret{}, fmt.Errorf("%w: the value has %d bytes, the limit is %d", ErrMalformed, len(stored), MaxStored)
	}
	name, rest, ok := splitScheme(string(stored))
	if !ok {
		return Secret{}, fmt.Errorf("%w: it does not begin with a scheme such as {ARGON2}", ErrClearText)
	}
	s, known := lookupScheme(name)
	switch {
	case !known:
		// The name is not repeated: it may be the beginning of somebody's password.
		return Secret{}, fmt.Errorf("%w in braces; a clear-text password that begins with { is written {CLEARTEXT}{...", ErrUnknownScheme)
	case s.name == "CLEARTEXT":
		return Secret{}, fmt.Errorf("%w: the scheme is {CLEARTEXT}", ErrClearText)
	case s.parse == nil:
		return Secret{}, fmt.Errorf("%w {%s}: %s", ErrUnsupported, s.name, s.unsupported)
	}
	v, err := s.parse(rest)
	if err != nil {
		return Secret{}, err
	}
	return Secret{scheme: s.name, v: v}, nil
}

// malformed builds the error for a value of a supported scheme that is not of its form. The format must not be given
// any part of the value but numbers.
func malformed(scheme, format string, args ...any) error {
	return fmt.Errorf("%w {%s}: %s", ErrMalformed, scheme, fmt.Sprintf(format, args...))
}

// tooCostly builds the error for a parameter above its cap.
func tooCostly(scheme, parameter string, got, limit uint64) error {
	return fmt.Errorf("%w {%s}: %s is %d, the limit is %d; set the password anew", ErrTooCostly, scheme, parameter, got, limit)
}
