package replica

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/store"
)

// position is what a copy holds, as it is kept in the store.
type position struct {
	// search is the digest of what was asked for: a cookie is no use for anything else.
	search [sha256.Size]byte
	// cookie is the provider's, nil before the first refresh is complete.
	cookie []byte
	// missing says that there are entries that the provider has told of and that are not in the copy: what is told later
	// does not bring them back.
	missing bool
}

// positionVersion begins an encoded position.
const positionVersion = 1

// Keys of the store's state: what begins with keyPrefix belongs to copies, one for each naming context.
const keyPrefix = "replica/"

func positionKey(baseNorm string) []byte {
	sum := sha256.Sum256([]byte(baseNorm))
	return append([]byte(keyPrefix), sum[:]...)
}

// Known returns the number of copies that a store is or has been, by their positions.
func Known(r op.StateReader) (n int, err error) {
	err = r.EachState([]byte(keyPrefix), func(_, _ []byte) bool {
		n++
		return true
	})
	return n, err
}

// Forget removes the positions of copies from a store that is none any more.
func Forget(s *store.State) error {
	var keys [][]byte
	err := s.Each([]byte(keyPrefix), func(key, _ []byte) bool {
		keys = append(keys, append([]byte(nil), key...))
		return true
	})
	for _, key := range keys {
		if err == nil {
			err = s.Delete(key)
		}
	}
	return err
}

// maxCookie bounds a cookie, in octets: it is kept in the state of the store.
const maxCookie = 32 << 10

func (p *position) append() []byte {
	missing := byte(0)
	if p.missing {
		missing = 1
	}
	b := append([]byte{positionVersion, missing}, p.search[:]...)
	if p.cookie == nil {
		return b
	}
	return append(binary.AppendUvarint(b, uint64(len(p.cookie))), p.cookie...)
}

func decodePosition(b []byte) (p position, ok bool) {
	const head = 2 + sha256.Size
	if len(b) < head || b[0] != positionVersion {
		return p, false
	}
	p.missing = b[1] != 0
	copy(p.search[:], b[2:])
	if b = b[head:]; len(b) == 0 {
		return p, true
	}
	n, used := binary.Uvarint(b)
	if used <= 0 || n != uint64(len(b)-used) {
		return position{}, false
	}
	p.cookie = append([]byte{}, b[used:]...)
	return p, true
}

// csn is the newest change in the copy, as far as the cookie says it.
func (p *position) csn() dit.CSN { return csnOf(p.cookie) }

// searchDigest is the digest of all that a cookie belongs to.
func searchDigest(o *Options, baseNorm string) [sha256.Size]byte {
	return sha256.Sum256(fmt.Appendf(nil, "%q %q %q", baseNorm, o.Filter.String(), strings.Join(o.Attributes, "\n")))
}

// says reports whether a cookie stands for a state of the copy. slapd gives out some with the consumer's number and no CSN, where
// what it has written is older than what it wrote before: its clock has stepped back. Asked with one of them it tells of all
// entries, as it does without a cookie (RFC 4533 section 2.1.2), and calls that a delete phase.
func says(cookie []byte) bool {
	c, ok := dit.ParseSyncCookie(cookie, sealField)
	return !ok || len(c.CSNs) > 0 || c.Rest != nil
}

// sealField is the part of a cookie by which Portolan knows its own; sealEpoch is where the epoch of its journal stands in it.
const (
	sealField = "portolan"
	sealEpoch = 1
)

// epochOf returns the epoch of the journal that a cookie of Portolan is of; false for cookies of others.
func epochOf(cookie []byte) (uuid.UUID, bool) {
	c, ok := dit.ParseSyncCookie(cookie, sealField)
	if !ok || c.Rest == nil {
		return uuid.Nil, false
	}
	b, err := base64.RawURLEncoding.DecodeString(string(c.Rest))
	if err != nil || len(b) < sealEpoch+16 {
		return uuid.Nil, false
	}
	return uuid.UUID(b[sealEpoch : sealEpoch+16]), true
}
