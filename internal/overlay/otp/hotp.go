package otp

import (
	"crypto/hmac"
	"crypto/sha1" // #nosec G505 -- RFC 6238: what authenticators have
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"hash"
	"strings"
	"time"
)

// algorithm is a hash function of RFC 6238 section 1.2 with the size of the seeds that are made for it, that of its output.
type algorithm struct {
	name string
	new  func() hash.Hash
	seed int
}

var algorithms = []algorithm{
	{"SHA1", sha1.New, sha1.Size},
	{"SHA256", sha256.New, sha256.Size},
	{"SHA512", sha512.New, sha512.Size},
}

// algorithmOf finds an algorithm by its name, in any case and with or without a hyphen; nil if there is none.
func algorithmOf(name string) *algorithm {
	name = strings.ReplaceAll(strings.ToUpper(name), "-", "")
	for i := range algorithms {
		if algorithms[i].name == name {
			return &algorithms[i]
		}
	}
	return nil
}

// maxDigits is the greatest number of digits: RFC 4226 section 5.3 takes 31 bits.
const maxDigits = 8

// appendCode appends the HOTP value of a counter (RFC 4226 section 5.3), with that many digits.
func appendCode(dst []byte, h func() hash.Hash, seed []byte, counter int64, digits int) []byte {
	mac := hmac.New(h, seed)
	var c [8]byte
	binary.BigEndian.PutUint64(c[:], uint64(counter))
	mac.Write(c[:])
	sum := mac.Sum(nil)
	at := sum[len(sum)-1] & 0xf
	n := binary.BigEndian.Uint32(sum[at:]) & 0x7fffffff
	var text [10]byte
	for i := len(text) - 1; i >= 0; i-- {
		text[i] = '0' + byte(n%10)
		n /= 10
	}
	return append(dst, text[len(text)-digits:]...)
}

// stepAt is the counter of a time (RFC 6238 section 4.2).
func stepAt(now time.Time, period int) int64 { return now.Unix() / int64(period) }
