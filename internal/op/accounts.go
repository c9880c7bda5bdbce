package op

import (
	"github.com/google/uuid"

	"portolan/internal/dit"
)

// Accounts returns the entries of which State has a value under a key that is the prefix and the entry's UUID.
func Accounts(s State, r Reader, prefix string) (*dit.IDSet, error) {
	set := &dit.IDSet{}
	var failed error
	err := s.Each([]byte(prefix), func(key, _ []byte) bool {
		id, err := uuid.FromBytes(key[len(prefix):])
		if err != nil {
			return true // not an account's
		}
		e, err := r.ByUUID(id)
		if err != nil {
			failed = err
			return false
		}
		if e != nil {
			set.Add(uint64(e.ID))
		}
		return true
	})
	if failed != nil {
		err = failed
	}
	return set, err
}
