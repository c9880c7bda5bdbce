package credential

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/xdg-go/stringprep"
)

const (
	// ScramScheme is the name of the stored form that ScramKey.String writes and ParseScram reads.
	ScramScheme = "SCRAM-SHA-256"

	// ScramSalt is the size of a new salt in bytes.
	ScramSalt = 16

	// RFC 7677 4 asks for at least so many.
	scramMinIterations = 4096
	scramMaxSalt       = 64
)

// ScramKey is what a server stores to let a user authenticate by SCRAM-SHA-256 (RFC 5802 2.2, RFC 7677): neither the
// password nor anything that serves to log in elsewhere.
type ScramKey struct {
	Iterations int
	Salt       []byte
	StoredKey  [sha256.Size]byte // H(ClientKey)
	ServerKey  [sha256.Size]byte
}

// NewScramKey derives a key with a fresh salt of 16 bytes from rand. See ScramKeys.
func NewScramKey(password []byte, iterations int, rand io.Reader) (ScramKey, error) {
	salt := make([]byte, ScramSalt)
	if _, err := io.ReadFull(rand, salt); err != nil {
		return ScramKey{}, fmt.Errorf("salt for a SCRAM key: %w", err)
	}
	return ScramKeys(password, salt, iterations)
}

// ScramKeys derives StoredKey and ServerKey of SCRAM-SHA-256 (RFC 5802 3). The password goes through SASLprep
// (RFC 4013); one that SASLprep prohibits gives an error, and the user has no SCRAM. Iterations are 4096 to what
// MaxWork allows. It computes for as long as ScramKey.Cost says and belongs into a Pool.
func ScramKeys(password, salt []byte, iterations int) (ScramKey, error) {
	if err := checkLength(password); err != nil {
		return ScramKey{}, err
	}
	if iterations < scramMinIterations || iterations > pbkdf2MaxIterations {
		return ScramKey{}, fmt.Errorf("SCRAM iterations must be %d to %d, not %d", scramMinIterations, pbkdf2MaxIterations, iterations)
	}
	if len(salt) < 1 || len(salt) > scramMaxSalt {
		return ScramKey{}, fmt.Errorf("SCRAM salt must have 1 to %d bytes, not %d", scramMaxSalt, len(salt))
	}
	prepared, err := stringprep.SASLprep.Prepare(string(password))
	if err != nil || prepared == "" {
		// The library's error quotes the character.
		return ScramKey{}, fmt.Errorf("the password has characters that SASLprep (RFC 4013) does not allow")
	}
	k := ScramKey{Iterations: iterations, Salt: append([]byte(nil), salt...)}
	salted, err := pbkdf2.Key(sha256.New, prepared, salt, iterations, sha256.Size)
	if err != nil {
		return ScramKey{}, fmt.Errorf("SCRAM key: %w", err)
	}
	k.StoredKey = sha256.Sum256(hmacSHA256(salted, "Client Key"))
	copy(k.ServerKey[:], hmacSHA256(salted, "Server Key"))
	return k, nil
}

func hmacSHA256(key []byte, message string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(message))
	return m.Sum(nil)
}

// Cost estimates what ScramKeys with these iterations, or one Verify, takes.
func (k ScramKey) Cost() Cost { return Cost{Work: time.Duration(k.Iterations) * pbkdf2Iteration} }

// Verify reports whether the password gives this key, in constant time for the comparison. For a simple bind of a
// user that has SCRAM keys only, and for tests.
func (k ScramKey) Verify(password []byte) bool {
	other, err := ScramKeys(password, k.Salt, k.Iterations)
	return err == nil && subtle.ConstantTimeCompare(other.StoredKey[:], k.StoredKey[:]) == 1
}

// VerifyProof reports whether the client's proof over the authMessage was made with the password of this key, and
// returns the server's signature to answer with (RFC 5802 3).
func (k ScramKey) VerifyProof(authMessage string, proof []byte) (signature []byte, ok bool) {
	if len(proof) != sha256.Size {
		return nil, false
	}
	clientKey := hmacSHA256(k.StoredKey[:], authMessage)
	subtle.XORBytes(clientKey, clientKey, proof)
	stored := sha256.Sum256(clientKey)
	if subtle.ConstantTimeCompare(stored[:], k.StoredKey[:]) != 1 {
		return nil, false
	}
	return hmacSHA256(k.ServerKey[:], authMessage), true
}

// String says what it is and not what is in it: a key must not slip into a log.
func (k ScramKey) String() string { return ScramScheme + " key" }

// GoString is String.
func (k ScramKey) GoString() string { return k.String() }

// Stored returns the key as an authPassword value (RFC 5803 2): SCRAM-SHA-256$4096:salt$StoredKey:ServerKey.
func (k ScramKey) Stored() []byte {
	b64 := base64.StdEncoding.EncodeToString
	return []byte(ScramScheme + "$" + strconv.Itoa(k.Iterations) + ":" + b64(k.Salt) + "$" +
		b64(k.StoredKey[:]) + ":" + b64(k.ServerKey[:]))
}

// ParseScram reads an authPassword value of SCRAM-SHA-256 (RFC 5803 2). White space around the parts is allowed as
// in RFC 3112 2. Another scheme gives ErrUnsupported, iterations above the cap ErrTooCostly.
func ParseScram(stored []byte) (ScramKey, error) {
	if len(stored) > MaxStored {
		return ScramKey{}, fmt.Errorf("%w: the value has %d bytes, the limit is %d", ErrMalformed, len(stored), MaxStored)
	}
	f := strings.Split(string(stored), "$")
	if len(f) != 3 {
		return ScramKey{}, malformed(ScramScheme, "want %s$iterations:salt$StoredKey:ServerKey", ScramScheme)
	}
	if !strings.EqualFold(strings.TrimSpace(f[0]), ScramScheme) {
		return ScramKey{}, fmt.Errorf("%w for authPassword: only %s can be verified", ErrUnsupported, ScramScheme)
	}
	count, salt64, ok1 := strings.Cut(strings.TrimSpace(f[1]), ":")
	stored64, server64, ok2 := strings.Cut(strings.TrimSpace(f[2]), ":")
	iterations, err := strconv.ParseUint(count, 10, 32)
	switch {
	case !ok1 || !ok2 || err != nil:
		return ScramKey{}, malformed(ScramScheme, "want iterations:salt and StoredKey:ServerKey")
	case iterations < scramMinIterations:
		return ScramKey{}, malformed(ScramScheme, "the iterations must be at least %d", scramMinIterations)
	case iterations > pbkdf2MaxIterations:
		return ScramKey{}, tooCostly(ScramScheme, "iterations", iterations, pbkdf2MaxIterations)
	}
	salt, okSalt := decodeBase64(salt64)
	storedKey, okStored := decodeBase64(stored64)
	serverKey, okServer := decodeBase64(server64)
	if !okSalt || !okStored || !okServer || len(salt) < 1 || len(salt) > scramMaxSalt ||
		len(storedKey) != sha256.Size || len(serverKey) != sha256.Size {
		return ScramKey{}, malformed(ScramScheme, "want 1 to %d bytes of salt and two keys of %d bytes in base64", scramMaxSalt, sha256.Size)
	}
	return ScramKey{Iterations: int(iterations), Salt: salt, StoredKey: [32]byte(storedKey), ServerKey: [32]byte(serverKey)}, nil
}
