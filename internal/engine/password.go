package engine

import (
	"bytes"
	"context"
	"errors"
	"slices"

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
	keys []scramKey // of the new passwords
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
	change := passwordChange{e: e, req: req, set: set, dn: dn, entry: entry, mods: mods}
	if entry != nil {
		p.seq = entry.Seq
	}
	var err error
	p.mods, err = change.prepare(ctx)
	if err = e.conclude(ctx, req, &change.checked, err); err != nil {
		return nil, err
	}
	p.keys = change.keys
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
	keys  []scramKey
	// checked gathers what is left to do once old passwords were checked.
	checked op.BindOutcome
}

// prepare returns the changes with stored values in the place of passwords.
func (p *passwordChange) prepare(ctx context.Context) ([]ldap.Mod, error) {
	p.view = p.e.o.Store.View()
	defer p.view.Close()
	if p.entry != nil {
		p.stored = passwordsOf(p.view.Schema(), p.entry)
	}
	mods := slices.Clone(p.mods)
	for i := range mods {
		m := &mods[i]
		if !isPassword(p.view.Schema(), m.Attribute.Type) {
			continue
		}
		values := make([][]byte, len(m.Attribute.Values))
		for n, v := range m.Attribute.Values {
			var err error
			if m.Op == ldap.ModDelete {
				values[n], err = p.offer(ctx, v)
			} else {
				values[n], err = p.admit(ctx, v)
			}
			if err != nil {
				return nil, err
			}
		}
		m.Attribute.Values = values
	}
	return mods, nil
}

// offer returns the stored value that a value to be deleted stands for: itself, or the hash of it. This is how clients
// prove the old password in a modify (delete old, add new). A wrong one is a wrong password as in a bind.
func (p *passwordChange) offer(ctx context.Context, value []byte) ([]byte, error) {
	p.old, p.right = value, false
	for _, v := range p.stored {
		if bytes.Equal(v, value) && p.req.Identity.Admin {
			p.right = true
			return v, nil
		}
	}
	if credential.IsHashed(value) || p.entry == nil {
		return value, nil // it is not there, and the modify says so
	}
	match, err := p.e.oldPassword(ctx, p.req, p.set, p.view, p.entry, value, &p.checked)
	if err != nil {
		return nil, err
	}
	if match == nil {
		return value, nil
	}
	p.right = true
	return match, nil
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
	hash, err := p.e.hashed(ctx, p.req, p.set, password)
	if err != nil {
		return nil, err
	}
	key, err := p.e.deriveScram(ctx, p.req, p.set, password)
	p.keys = append(p.keys, scramKey{hash: hash, key: key})
	return hash, err
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
					result, err := p.e.verifyUncached(ctx, p.req, p.set, credential.Normal, hashed, password)
					return result.Index, err
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
	err := e.o.Hashing.Do(ctx, job, func() { out, hashErr = e.computer(job.Class).Hash(set.Passwords, password, e.o.Rand) })
	if err != nil {
		return nil, ldap.Errorf(ldap.Busy, "too many passwords are being hashed: try again later").Because(err)
	}
	if hashErr != nil {
		return nil, ldap.Errorf(ldap.ConstraintViolation, "userPassword: %v", hashErr)
	}
	return out, nil
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

// CheckPassword verifies the old password of an entry for somebody who is bound already (RFC 3062 oldPasswd).
func (e *Engine) CheckPassword(ctx context.Context, req *op.Request, norm string, password []byte) error {
	var checked op.BindOutcome
	right, err := e.isOldPassword(ctx, req, norm, password, &checked)
	if err = e.conclude(ctx, req, &checked, err); err == nil && !right {
		err = errCredentials("the old password is wrong")
	}
	return err
}

func (e *Engine) isOldPassword(ctx context.Context, req *op.Request, norm string, password []byte, checked *op.BindOutcome) (bool, error) {
	view := e.o.Store.View()
	defer view.Close()
	entry, _, err := view.Lookup(norm)
	if err != nil {
		return false, err
	}
	checked.Name = dit.Name{Norm: norm}
	match, err := e.oldPassword(ctx, req, e.Settings(), view, entry, password, checked)
	return match != nil, err
}

// oldPassword finds the stored value that the old password in a change matches; nil for none. The overlays see the outcome:
// who is bound already must not be able to guess passwords without end. checked is to be concluded by the caller.
func (e *Engine) oldPassword(ctx context.Context, req *op.Request, set *Settings, view *store.View, entry *dit.Entry, password []byte, checked *op.BindOutcome) ([]byte, error) {
	b := op.BindOutcome{Purpose: op.ForChange, Entry: entry, Name: checked.Name, Reader: view, Password: password, Index: -1}
	if entry != nil {
		var err error
		if b.Name, err = view.Name(entry); err != nil {
			return nil, err
		}
		b.Identity = &op.Identity{Name: b.Name, Entry: entry.ID, UUID: entry.UUID, Method: "simple"}
		b.Stored = passwordsOf(view.Schema(), entry)
	}
	err := e.guarded(ctx, req, &b, func() error {
		if _, err := e.check(ctx, req, set, &b, nil); err != nil {
			return err
		}
		return e.bound(ctx, req, &b)
	})
	checked.Delay, checked.Finally = max(checked.Delay, b.Delay), append(checked.Finally, b.Finally...)
	switch {
	case ldap.CodeOf(err) == ldap.InvalidCredentials:
		return nil, nil
	case err != nil:
		return nil, err
	}
	return b.Stored[b.Index], nil
}
