package credential

import (
	"crypto/md5"  // #nosec G501 -- as crypto/sha1
	"crypto/sha1" // #nosec G505 -- imported hashes are verified, and replaced at the next login
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"hash"
	"strings"
	"time"
)

// digestMaxSalt bounds the salt of {SSHA} and its kind; the servers that write them use 4 to 16 bytes.
const digestMaxSalt = 64

// digestCost is the order of magnitude of one digest of a short input.
const digestCost = time.Microsecond

// digestHash is a stored digest of password and salt: {SHA}, {SSHA} (RFC 2307 5.3 and its descendants).
type digestHash struct {
	new       func() hash.Hash
	sum, salt []byte
}

func (h *digestHash) cost() Cost { return Cost{Work: digestCost} }

func (h *digestHash) verify(password []byte) bool {
	d := h.new()
	d.Write(password)
	d.Write(h.salt)
	return subtle.ConstantTimeCompare(d.Sum(nil), h.sum) == 1
}

// newDigest returns the digest function of a scheme's name without the S for salted.
func newDigest(name string) func() hash.Hash {
	switch name {
	case "MD5":
		return md5.New
	case "SHA", "SHA1":
		return sha1.New
	case "SHA256":
		return sha256.New
	case "SHA384":
		return sha512.New384
	case "SHA512":
		return sha512.New
	}
	return nil
}

// parseDigest reads base64(digest) or, for the salted schemes, base64(digest salt).
func parseDigest(name, rest string) (verifier, error) {
	plain, salted := name, false
	switch name {
	case "SMD5", "SSHA", "SSHA256", "SSHA384", "SSHA512":
		plain, salted = name[1:], true
	}
	newHash := newDigest(plain)
	size := newHash().Size()
	data, ok := decodeBase64(rest)
	switch {
	case !ok:
		return nil, malformed(name, "the data is not base64")
	case !salted && len(data) != size:
		return nil, malformed(name, "want %d bytes of digest, found %d", size, len(data))
	case salted && (len(data) <= size || len(data) > size+digestMaxSalt):
		return nil, malformed(name, "want %d bytes of digest and 1 to %d of salt, found %d in all", size, digestMaxSalt, len(data))
	}
	return &digestHash{new: newHash, sum: data[:size], salt: data[size:]}, nil
}

// decodeBase64 reads standard base64 with or without padding: both are found in stored values.
func decodeBase64(s string) ([]byte, bool) {
	if strings.ContainsAny(s, "\r\n") { // which encoding/base64 would skip
		return nil, false
	}
	data, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(s, "="))
	if err != nil || len(s)-len(strings.TrimRight(s, "=")) > 2 {
		return nil, false
	}
	return data, true
}
