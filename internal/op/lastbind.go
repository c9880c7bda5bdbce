package op

import (
	"encoding/binary"
	"time"

	"github.com/google/uuid"
)

// LastBindPrefix begins the keys of State under which the last success of accounts is kept. The overlay lastbind writes
// it; the password policy reads it for accounts that are idle.
const LastBindPrefix = "lastbind/"

// LastBindKey is the key of an account's last success.
func LastBindKey(id uuid.UUID) []byte { return append([]byte(LastBindPrefix), id[:]...) }

// LastSuccess returns when an account was last authenticated; the zero time where that is not known.
func LastSuccess(s State, id uuid.UUID) (time.Time, error) {
	value, err := s.Get(LastBindKey(id))
	if err != nil {
		return time.Time{}, err
	}
	at, _ := DecodeLastSuccess(value)
	return at, nil
}

// AppendLastSuccess appends the stored form of a time, which is kept to the second.
func AppendLastSuccess(dst []byte, at time.Time) []byte {
	return binary.BigEndian.AppendUint64(dst, uint64(at.Unix()))
}

// DecodeLastSuccess reads the stored form; ok is false for octets that are none.
func DecodeLastSuccess(b []byte) (at time.Time, ok bool) {
	if len(b) != 8 {
		return time.Time{}, false
	}
	return time.Unix(int64(binary.BigEndian.Uint64(b)), 0).UTC(), true
}
