package ppolicy

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/google/uuid"

	"portolan/internal/schema"
	"portolan/ldap"
)

// statePrefix begins the keys of op.State that the overlay keeps.
const statePrefix = "ppolicy/"

// stateKey is the key of an account's record. The UUID lives and dies with the entry and survives its renames.
func stateKey(id uuid.UUID) []byte { return append([]byte(statePrefix), id[:]...) }

// record is what is remembered of an account's failures. Times are microseconds since 1970.
type record struct {
	failures []int64 // ascending, all different
	// locked is when the failures reached the limit, 0 for not. The lock itself is pwdAccountLockedTime in the entry; this
	// holds back binds that are under way while it is being written, and stands for it on a server that takes no writes.
	locked int64
}

// recordVersion begins an encoded record.
const recordVersion = 1

// append encodes the record; an empty one is nil.
func (r *record) append() []byte {
	if len(r.failures) == 0 && r.locked == 0 {
		return nil
	}
	b := make([]byte, 0, 9+8*len(r.failures))
	b = binary.BigEndian.AppendUint64(append(b, recordVersion), uint64(r.locked))
	for _, t := range r.failures {
		b = binary.BigEndian.AppendUint64(b, uint64(t))
	}
	return b
}

// decodeRecord reads a record; ok is false for octets that are none.
func decodeRecord(b []byte) (r record, ok bool) {
	if len(b) == 0 {
		return r, true
	}
	if b[0] != recordVersion || len(b) < 9 || (len(b)-9)%8 != 0 {
		return r, false
	}
	r.locked = int64(binary.BigEndian.Uint64(b[1:]))
	for b = b[9:]; len(b) > 0; b = b[8:] {
		r.failures = append(r.failures, int64(binary.BigEndian.Uint64(b)))
	}
	return r, true
}

// recent returns the failures that still count (draft section 7.6).
func (r *record) recent(p *Policy, now time.Time) []int64 {
	if p.FailureCountInterval == 0 {
		return r.failures
	}
	since := now.Add(-p.FailureCountInterval).UnixMicro()
	for i, t := range r.failures {
		if t > since {
			return r.failures[i:]
		}
	}
	return nil
}

// fail adds a failure and reports whether it is the one that locks the account (draft sections 8.1.3.1 and 8.1.3.2).
func (r *record) fail(p *Policy, now time.Time) (locks bool) {
	kept := append([]int64(nil), r.recent(p, now)...)
	at := now.UnixMicro()
	if n := len(kept); n > 0 && at <= kept[n-1] {
		at = kept[n-1] + 1 // values are to be different
	}
	kept = append(kept, at)
	if most := p.recorded(); len(kept) > most {
		kept = kept[len(kept)-most:]
	}
	r.failures = kept
	if !p.Lockout || p.MaxFailure == 0 || len(kept) < p.MaxFailure || r.inForce(p, now) {
		return false
	}
	r.locked = at
	return true
}

// inForce reports whether the lock of the record holds.
func (r *record) inForce(p *Policy, now time.Time) bool {
	return r.locked != 0 && lockHolds(p, time.UnixMicro(r.locked), now)
}

// lockHolds reports whether a lock that failures have set at a time still holds (draft section 7.1).
func lockHolds(p *Policy, at, now time.Time) bool {
	return p.Lockout && (p.LockoutDuration == 0 || now.Before(at.Add(p.LockoutDuration)))
}

// drop removes failures by their times.
func (r *record) drop(values [][]byte, permissive bool) error {
	for i, v := range values {
		at, err := schema.ParseGeneralizedTime(v)
		if err != nil {
			return ldap.Errorf(ldap.InvalidAttributeSyntax, "pwdFailureTime: value #%d: %v", i, err)
		}
		n := slices.Index(r.failures, at.UnixMicro())
		if n < 0 {
			if permissive {
				continue
			}
			return ldap.Errorf(ldap.NoSuchAttribute, "pwdFailureTime: value #%d is not in the entry", i)
		}
		r.failures = slices.Delete(r.failures, n, n+1)
	}
	if len(r.failures) == 0 {
		r.locked = 0
	}
	return nil
}

// maxFailures bounds what a record holds.
const maxFailures = 1000

// add adds failures.
func (r *record) add(values [][]byte) error {
	for i, v := range values {
		at, err := schema.ParseGeneralizedTime(v)
		if err != nil {
			return ldap.Errorf(ldap.InvalidAttributeSyntax, "pwdFailureTime: value #%d: %v", i, err)
		}
		r.failures = append(r.failures, at.UnixMicro())
	}
	slices.Sort(r.failures)
	if r.failures = slices.Compact(r.failures); len(r.failures) > maxFailures {
		return ldap.Errorf(ldap.ConstraintViolation, "pwdFailureTime: at most %d values are kept", maxFailures)
	}
	return nil
}
