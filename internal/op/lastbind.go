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

// LookedSinceKey is the key of State under which stands since when last successes are noted at all, in their form: an account
// that has none was not used here since then, whatever was before.
const LookedSinceKey = "lastbind-since"

// LastUse returns when an account was last authenticated, or when that was forgotten on purpose; the zero time where neither is
// known.
func LastUse(s State, id uuid.UUID) (time.Time, error) {
	value, err := s.Get(LastBindKey(id))
	at, ok := DecodeLastSuccess(value)
	if !ok {
		at, _ = DecodeForgotten(value)
	}
	return at, err
}

// LookedSince returns since when last successes are noted; the zero time where they are not.
func LookedSince(s State) (time.Time, error) {
	value, err := s.Get([]byte(LookedSinceKey))
	at, _ := DecodeLastSuccess(value)
	return at, err
}

// AppendLastSuccess appends the stored form of a time, which is kept to the second.
func AppendLastSuccess(dst []byte, at time.Time) []byte {
	return binary.BigEndian.AppendUint64(dst, uint64(at.Unix()))
}

// forgotten ends what is stored in the place of a last success that was forgotten on purpose.
const forgotten = 'f'

// AppendForgotten appends what is stored in the place of a last success that somebody had forgotten at a time, to the second:
// what is idle by it is idle from then on.
func AppendForgotten(dst []byte, at time.Time) []byte {
	return append(AppendLastSuccess(dst, at), forgotten)
}

// DecodeForgotten reads what AppendForgotten has written; ok is false for other octets.
func DecodeForgotten(b []byte) (at time.Time, ok bool) {
	if len(b) != 9 || b[8] != forgotten {
		return time.Time{}, false
	}
	return DecodeLastSuccess(b[:8])
}

// DecodeLastSuccess reads the stored form; ok is false for octets that are none.
func DecodeLastSuccess(b []byte) (at time.Time, ok bool) {
	if len(b) != 8 {
		return time.Time{}, false
	}
	return time.Unix(int64(binary.BigEndian.Uint64(b)), 0).UTC(), true
}
