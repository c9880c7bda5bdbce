package engine

import (
	"bytes"
	"context"
	"slices"

	"portolan/internal/credential"
	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/internal/store"
	"portolan/ldap"
)

// scramKey is what a password is proved by in SCRAM, with the stored hash of the same password.
type scramKey struct {
	hash, key []byte
}

// deriveScram returns the SCRAM key of a new password, computed in the hashing pool. It is nil where SCRAM is not offered, and
// for passwords that SASLprep (RFC 4013) does not allow.
func (e *Engine) deriveScram(ctx context.Context, req *op.Request, set *Settings, password []byte) ([]byte, error) {
	if set.ScramIterations == 0 {
		return nil, nil
	}
	var key []byte
	job := credential.Job{Class: credential.Normal, Source: sourceOf(req.Conn)}
	if err := e.o.Hashing.Do(ctx, job, func() { key = e.newScramKey(set, password) }); err != nil {
		return nil, ldap.Errorf(ldap.Busy, "too many passwords are being hashed: try again later").Because(err)
	}
	return key, nil
}

func (e *Engine) newScramKey(set *Settings, password []byte) []byte {
	key, err := credential.NewScramKey(password, set.ScramIterations, e.o.Rand)
	if err != nil {
		return nil // such a password has no key
	}
	return key.Stored()
}

// followPassword keeps the SCRAM keys of a draft those of its password: whatever changes the password, a key of the one
// before must not stay. Who writes keys himself, as a copy of another server's entry does, is left alone.
func followPassword(s *schema.Schema, d *dit.Draft, keys []scramKey) {
	t := s.Known.PortolanScramKeys
	if d.Touched(schema.Description{Type: t}) {
		return
	}
	now := passwordsIn(s, d)
	if d.Base != nil && slices.EqualFunc(passwordsOf(s, d.Base), now, bytes.Equal) {
		return
	}
	for _, k := range slices.Backward(keys) {
		if k.key != nil && slices.ContainsFunc(now, func(v []byte) bool { return bytes.Equal(v, k.hash) }) {
			d.Set(t, k.key)
			return
		}
	}
	if d.First(t) != nil {
		d.Set(t)
	}
}

// passwordsIn returns the values of userPassword in a draft, its subtypes and options included.
func passwordsIn(s *schema.Schema, d *dit.Draft) [][]byte {
	var out [][]byte
	want := schema.Description{Type: s.Known.UserPassword}
	for i := range d.Attrs {
		if want.Contains(d.Attrs[i].Desc) {
			out = append(out, d.Attrs[i].Values...)
		}
	}
	return out
}

// lacksScram reports whether an entry whose password is known should get a SCRAM key, and returns the one it has.
func lacksScram(s *schema.Schema, set *Settings, entry *dit.Entry) (stored []byte, lacks bool) {
	if set.ScramIterations == 0 {
		return nil, false
	}
	stored = entry.First(schema.Description{Type: s.Known.PortolanScramKeys})
	if stored == nil {
		return nil, true
	}
	key, err := credential.ParseScram(stored)
	return stored, err != nil || key.Iterations < set.ScramIterations
}

// renewScram returns a key that is stronger than the stored one, if that is of this password.
func (e *Engine) renewScram(set *Settings, stored, password []byte) []byte {
	if stored != nil {
		if key, err := credential.ParseScram(stored); err == nil && !key.Verify(password) {
			return nil // of another password of the entry
		}
	}
	return e.newScramKey(set, password)
}

// ScramAccount returns the identity that a canonical name is, and the SCRAM key of its password; no identity where there is
// no such entry or it has no key: nothing is to tell the two apart.
func (e *Engine) ScramAccount(norm, method string) (*op.Identity, credential.ScramKey, error) {
	set := e.Settings()
	if norm == set.Admin.Norm && norm != "" {
		key, err := credential.ParseScram(set.AdminScram)
		if err != nil {
			return nil, key, nil
		}
		return &op.Identity{Name: set.Admin, Admin: true, Method: method}, key, nil
	}
	view := e.o.Store.View()
	defer view.Close()
	entry, _, err := view.Lookup(norm)
	if err != nil || entry == nil || entry.Alias || entry.Referral || set.ScramIterations == 0 {
		return nil, credential.ScramKey{}, err
	}
	stored := entry.First(schema.Description{Type: view.Schema().Known.PortolanScramKeys})
	if stored == nil {
		return nil, credential.ScramKey{}, nil
	}
	key, err := credential.ParseScram(stored)
	if err != nil {
		e.o.Log.Warn("a stored SCRAM key cannot be read", "error", err)
		return nil, credential.ScramKey{}, nil
	}
	name, err := view.Name(entry)
	if err != nil {
		return nil, credential.ScramKey{}, err
	}
	return &op.Identity{Name: name, Entry: entry.ID, UUID: entry.UUID, Method: method}, key, nil
}

// ScramIterations returns the count that keys are made with; 0 where SCRAM is not offered.
func (e *Engine) ScramIterations() int { return e.Settings().ScramIterations }

// rehash replaces a stored hash that is weaker than what is configured, and makes the SCRAM key that is missing, after the
// password was right. It runs behind the client's back: when there is no room for it, the next bind tries again.
func (e *Engine) rehash(req *op.Request, s *schema.Schema, set *Settings, entry *dit.Entry, stored, password []byte) {
	secret, err := credential.Parse(stored)
	weak := err == nil && secret.NeedsRehash(set.Passwords)
	had, lacks := lacksScram(s, set, entry)
	if !weak && !lacks || set.ReadOnly {
		return
	}
	stored, had, password = bytes.Clone(stored), bytes.Clone(had), bytes.Clone(password)
	job := credential.Job{Class: credential.Background, Source: sourceOf(req.Conn)}
	// A full pool is no error here.
	_ = e.o.Hashing.Submit(job, func(busy error) {
		if busy != nil {
			clear(password)
			return
		}
		next := scramKey{hash: stored}
		if weak {
			if next.hash, err = e.computer(job.Class).Hash(set.Passwords, password, e.o.Rand); err != nil {
				return
			}
		}
		if lacks {
			next.key = e.renewScram(set, had, password)
		}
		if weak || next.key != nil {
			go e.renew(set, entry, stored, had, password, next)
		}
	})
}

// renew stores a better hash or key of the same password. modifyTimestamp stays: nothing that a person would call a change
// has happened.
//
// The new hash is remembered as that of the password, as if it had been checked: it would take the next bind as long as the
// first one otherwise.
func (e *Engine) renew(set *Settings, of *dit.Entry, old, had, password []byte, next scramKey) {
	_, err := e.o.Store.Update(context.Background(), store.Meta{Author: "rehash"}, func(tx *store.Tx) error {
		s := tx.Schema()
		entry, err := tx.Get(of.ID)
		if err != nil {
			return err
		}
		if entry == nil {
			return errMoved
		}
		keys := schema.Description{Type: s.Known.PortolanScramKeys}
		d := entry.Edit(tx)
		if !replacePassword(s, d, old, next.hash) || !bytes.Equal(entry.First(keys), had) {
			return errMoved
		}
		if next.key != nil {
			d.Set(keys.Type, next.key)
		} else if had != nil {
			d.Set(keys.Type, had) // still of the same password
		}
		return e.put(tx, set, d, nil, false)
	})
	switch {
	case err == nil:
		e.o.Verified.Add(of.UUID, next.hash, set.PolicyVersion, password)
	case err != errMoved:
		e.o.Log.Warn("a password hash could not be renewed", "error", err)
	}
	clear(password)
}

// replacePassword puts a stored value of a password in the place of another; false where that is not there.
func replacePassword(s *schema.Schema, d *dit.Draft, old, next []byte) bool {
	want := schema.Description{Type: s.Known.UserPassword}
	for i := range d.Attrs {
		a := &d.Attrs[i]
		if !want.Contains(a.Desc) {
			continue
		}
		n := slices.IndexFunc(a.Values, func(v []byte) bool { return bytes.Equal(v, old) })
		if n < 0 {
			continue
		}
		if bytes.Equal(old, next) {
			return true
		}
		values := slices.Clone(a.Values)
		values[n] = next
		return d.Replace(s, a.Desc, values, false) == nil
	}
	return false
}
