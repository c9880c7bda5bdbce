package engine

import (
	"bytes"
	"context"
	"errors"

	"portolan/internal/credential"
	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/internal/store"
	"portolan/ldap"
)

// prepared are the password values of a write after step 0: hashed, and stamped with the version of the entry that they
// were prepared for.
type prepared struct {
	seq uint64 // Entry.Seq; 0 for an add
	// mods are the changes of the request with clear passwords replaced by hashes, or by the stored value that they match.
	mods []ldap.Mod
}

// errMoved says inside a transaction that the entry is not the one that passwords were prepared for.
var errMoved = errors.New("the entry changed while its password was being hashed")

// maxPrepares bounds how often a write is prepared again because somebody else changed the entry meanwhile.
const maxPrepares = 8

// changesPassword reports whether a modify touches a password.
func changesPassword(s *schema.Schema, mods []ldap.Mod) bool {
	for i := range mods {
		if isPassword(s, mods[i].Attribute.Type) {
			return true
		}
	}
	return false
}

// isPassword reports whether an attribute description is userPassword or a subtype.
func isPassword(s *schema.Schema, desc []byte) bool {
	d, err := s.Describe(desc)
	return err == nil && d.Type != nil && s.Known.UserPassword != nil && d.Type.IsA(s.Known.UserPassword)
}

// prepare does step 0 of a modify: everything that takes long or draws random numbers.
func (e *Engine) prepare(ctx context.Context, req *op.Request, set *Settings, dn []byte, entry *dit.Entry, mods []ldap.Mod) (*prepared, error) {
	p := &prepared{mods: mods}
	s := e.Schema()
	if !changesPassword(s, mods) {
		return p, nil
	}
	view := e.o.Store.View()
	defer view.Close()
	var stored [][]byte
	if entry != nil {
		p.seq = entry.Seq
		stored = passwordsOf(view, entry)
	}
	change := passwordChange{e: e, req: req, set: set, view: view, dn: dn, entry: entry, mods: mods, stored: stored}
	p.mods = make([]ldap.Mod, len(mods))
	copy(p.mods, mods)
	for i := range p.mods {
		m := &p.mods[i]
		if !isPassword(s, m.Attribute.Type) {
			continue
		}
		values := make([][]byte, len(m.Attribute.Values))
		for n, v := range m.Attribute.Values {
			var err error
			if m.Op == ldap.ModDelete {
				values[n], err = e.matchStored(ctx, req, set, uuidOf(entry), stored, v)
				change.offered(v, values[n])
			} else {
				values[n], err = change.admit(ctx, v)
			}
			if err != nil {
				return nil, err
			}
		}
		m.Attribute.Values = values
	}
	return p, nil
}

// passwordChange is a request that gives an entry new passwords, in the eyes of the overlays.
type passwordChange struct {
	e      *Engine
	req    *op.Request
	set    *Settings
	view   *store.View
	dn     []byte
	entry  *dit.Entry
	mods   []ldap.Mod
	stored [][]byte

	old   []byte // the value to be deleted that the request named last
	right bool
}

// offered notes that the request names an old password, and what it stands for.
func (p *passwordChange) offered(value, stored []byte) {
	p.old, p.right = value, false
	for _, s := range p.stored {
		p.right = p.right || bytes.Equal(s, stored)
	}
}

// admit returns the stored form of a new password. A value that is hashed already is taken from those only who manage
// passwords: anybody else could smuggle one past the password policy.
func (p *passwordChange) admit(ctx context.Context, password []byte) ([]byte, error) {
	if credential.IsHashed(password) {
		if !p.req.Identity.Admin {
			return nil, ldap.Errorf(ldap.ConstraintViolation, "userPassword: send the new password itself, over TLS; hashed values are taken from the administrator only")
		}
		if _, err := credential.Parse(password); err != nil {
			return nil, ldap.Errorf(ldap.InvalidAttributeSyntax, "userPassword: %v", err)
		}
		return bytes.Clone(password), nil
	}
	if len(password) == 0 {
		return nil, ldap.Errorf(ldap.ConstraintViolation, "userPassword: the new password is empty")
	}
	if err := p.ask(ctx, password); err != nil {
		return nil, err
	}
	return p.e.hashed(ctx, p.req, p.set, password)
}

// ask shows a new password to the overlays.
func (p *passwordChange) ask(ctx context.Context, password []byte) error {
	var shown *op.NewPassword
	for i := range p.e.o.Overlays {
		hook := p.e.o.Overlays[i].Password
		if hook == nil {
			continue
		}
		if shown == nil {
			name, err := p.name()
			if err != nil {
				return err
			}
			shown = &op.NewPassword{
				Reader: p.view, Entry: p.entry, Name: name, Attribute: p.attribute, Password: password,
				Old: p.old, OldRight: p.right, Stored: p.stored, ByAdmin: p.req.Identity.Admin,
				Self: p.entry != nil && p.req.Identity.Entry == p.entry.ID,
				Verify: func(ctx context.Context, hashed [][]byte) (int, error) {
					return p.e.verifyUncached(ctx, p.req, p.set, hashed, password)
				},
			}
		}
		if err := hook(ctx, p.req, shown); err != nil {
			return err
		}
	}
	return nil
}

func (p *passwordChange) name() (dit.Name, error) {
	if p.entry != nil {
		return p.view.Name(p.entry)
	}
	return p.e.NormalizeName(string(p.dn))
}

// attribute gives the values of an attribute of the entry, those that the request adds included: an add has no others.
func (p *passwordChange) attribute(t *schema.AttributeType) [][]byte {
	want := schema.Description{Type: t}
	var out [][]byte
	if p.entry != nil {
		for slot, d := range p.entry.Shape().Slots {
			if !want.Contains(d) {
				continue
			}
			for v := p.entry.Values(slot); ; {
				value, ok := v.Next()
				if !ok {
					break
				}
				out = append(out, value)
			}
		}
	}
	for i := range p.mods {
		m := &p.mods[i]
		if d, err := p.e.Schema().Describe(m.Attribute.Type); err == nil && d.Type != nil && want.Contains(d) && m.Op != ldap.ModDelete {
			out = append(out, m.Attribute.Values...)
		}
	}
	return out
}

// hashed returns the stored form of a password, made in the hashing pool.
func (e *Engine) hashed(ctx context.Context, req *op.Request, set *Settings, password []byte) ([]byte, error) {
	var out []byte
	var hashErr error
	job := credential.Job{Class: credential.Normal, Source: sourceOf(req.Conn)}
	err := e.o.Hashing.Do(ctx, job, func() { out, hashErr = credential.Hash(set.Passwords, password, e.o.Rand) })
	if err != nil {
		return nil, ldap.Errorf(ldap.Busy, "too many passwords are being hashed: try again later").Because(err)
	}
	if hashErr != nil {
		return nil, ldap.Errorf(ldap.ConstraintViolation, "userPassword: %v", hashErr)
	}
	return out, nil
}

// matchStored returns the stored value that a value to be deleted stands for: itself, or the hash of it. This is how
// clients prove the old password in a modify (delete old, add new).
func (e *Engine) matchStored(ctx context.Context, req *op.Request, set *Settings, uuid [16]byte, stored [][]byte, value []byte) ([]byte, error) {
	for _, v := range stored {
		if bytes.Equal(v, value) && req.Identity.Admin {
			return v, nil
		}
	}
	if credential.IsHashed(value) {
		return value, nil // it is not there, and the modify says so
	}
	index, err := e.verify(ctx, req, set, uuid, stored, value)
	if err != nil {
		return nil, err
	}
	if index < 0 {
		return value, nil
	}
	return stored[index], nil
}

// checkSecret is dit.SealOptions.CheckSecret: the last line of defence against clear passwords in the store.
func checkSecret(s *schema.Schema) func(*schema.AttributeType, []byte) error {
	return func(t *schema.AttributeType, value []byte) error {
		if s.Known.UserPassword != nil && t.IsA(s.Known.UserPassword) && !credential.IsHashed(value) {
			return ldap.Errorf(ldap.Other, "a clear password was about to be stored; nothing was")
		}
		return nil
	}
}

// rehash replaces a stored hash that is weaker than what is configured, after the password was right. It runs behind
// the client's back: when there is no room for it, the next bind tries again.
func (e *Engine) rehash(req *op.Request, set *Settings, entry *dit.Entry, stored, password []byte) {
	secret, err := credential.Parse(stored)
	if err != nil || !secret.NeedsRehash(set.Passwords) || set.ReadOnly {
		return
	}
	stored, password = bytes.Clone(stored), bytes.Clone(password)
	id := entry.ID
	job := credential.Job{Class: credential.Background, Source: sourceOf(req.Conn)}
	// A full pool is no error here.
	_ = e.o.Hashing.Submit(job, func(busy error) {
		if busy != nil {
			return
		}
		hashed, err := credential.Hash(set.Passwords, password, e.o.Rand)
		if err != nil {
			return
		}
		go e.replaceHash(set, id, stored, hashed)
	})
}

// replaceHash stores a better hash of the same password. modifyTimestamp stays: nothing that a person would call a
// change has happened.
func (e *Engine) replaceHash(set *Settings, id dit.ID, old, hashed []byte) {
	_, err := e.o.Store.Update(context.Background(), store.Meta{Author: "rehash"}, func(tx *store.Tx) error {
		entry, err := tx.Get(id)
		if err != nil || entry == nil {
			return err
		}
		want := schema.Description{Type: tx.Schema().Known.UserPassword}
		d := entry.Edit(tx)
		for i := range d.Attrs {
			a := &d.Attrs[i]
			if !want.Contains(a.Desc) {
				continue
			}
			for n, v := range a.Values {
				if bytes.Equal(v, old) {
					values := append([][]byte(nil), a.Values...)
					values[n] = hashed
					if err := d.Replace(tx.Schema(), a.Desc, values, false); err != nil {
						return err
					}
					return e.put(tx, set, d)
				}
			}
		}
		return errMoved
	})
	if err != nil && !errors.Is(err, errMoved) {
		e.o.Log.Warn("a password hash could not be renewed", "error", err)
	}
}

// CheckPassword verifies a password of an entry for an operation that is bound already (RFC 3062 oldPasswd).
func (e *Engine) CheckPassword(ctx context.Context, req *op.Request, norm string, password []byte) error {
	set := e.Settings()
	view := e.o.Store.View()
	defer view.Close()
	entry, _, err := view.Lookup(norm)
	if err != nil {
		return err
	}
	var values [][]byte
	if entry != nil {
		values = passwordsOf(view, entry)
	}
	index, err := e.verify(ctx, req, set, uuidOf(entry), values, password)
	if err != nil {
		return err
	}
	if index < 0 {
		return errCredentials("the old password is wrong")
	}
	return nil
}
