package appauth

import (
	"bytes"
	"fmt"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/ldap"
)

// errApart refuses changes of credentials in a session that was begun with an application password: whoever takes one off
// a telephone is not to take the account with it.
func errApart() error {
	return ldap.Errorf(ldap.InsufficientAccessRights, "a session that was begun with an app password changes no passwords and other credentials: log in with the password")
}

// prepare holds application passwords to their form.
func (x *appauth) prepare(tx op.Tx, req *op.Request, before *dit.Entry, d *dit.Draft) error {
	s := tx.Schema()
	known := &s.Known
	secret := schema.Description{Type: known.PortolanCredentialSecret}
	if known.PortolanCredentialSecret == nil {
		return nil
	}
	ours := d.IsA(s, known.PortolanAppPassword)
	if req.Identity.WithoutPassword() && (ours || d.Touched(secret) || touchesPassword(s, d)) {
		return errApart()
	}
	if d.Touched(secret) && !req.Write.Issued && !req.Identity.Admin {
		return ldap.Errorf(ldap.ConstraintViolation, "portolanCredentialSecret: is made by the server; ask for one by password modify (ldappasswd) of the entry")
	}
	if !ours || before != nil && before.Parent == d.Parent && !d.Touched(secret) {
		return nil
	}
	return x.place(tx, d, before == nil)
}

// place refuses an application password where it would serve nobody, and too many.
func (x *appauth) place(tx op.Tx, d *dit.Draft, isNew bool) error {
	s := tx.Schema()
	above, err := tx.Get(d.Parent)
	if err != nil {
		return err
	}
	if above == nil || belongs(s, above) {
		return ldap.Errorf(ldap.NamingViolation, "an app password stands right beneath the entry of the account that it is for")
	}
	if a := d.Attr(schema.Description{Type: s.Known.PortolanCredentialSecret}); a != nil && len(a.Values) > 1 {
		return ldap.Errorf(ldap.ConstraintViolation, "portolanCredentialSecret: an app password has one secret")
	}
	if !isNew {
		return nil
	}
	n := 1
	if err := op.Beneath(tx, above, s.Known.PortolanAppPassword, func(*dit.Entry) bool {
		n++
		return n <= x.o.Max
	}); err != nil {
		return err
	}
	if n > x.o.Max {
		return ldap.Errorf(ldap.AdminLimitExceeded, "the account may have %d app passwords (overlay.appauth.max): delete one that is not used any more", x.o.Max)
	}
	return nil
}

// derive refuses the revocation in a session that was begun with an application password. What goes because the account is
// deleted is asked about with the account.
func derive(tx op.Tx, req *op.Request, c dit.Change) error {
	if c.Kind == dit.ChangeDelete && req.Identity.WithoutPassword() && belongs(tx.Schema(), c.Before) {
		return errApart()
	}
	return nil
}

func touchesPassword(s *schema.Schema, d *dit.Draft) bool {
	for i := range d.Attrs {
		if t := d.Attrs[i].Desc.Type; s.Known.UserPassword != nil && t.IsA(s.Known.UserPassword) && d.Attrs[i].Touched() {
			return true
		}
	}
	return false
}

// check reports application passwords that serve nobody.
func check(r op.Reader, report func(op.Finding)) error {
	s := r.Schema()
	if s.Known.PortolanAppPassword == nil {
		return nil
	}
	key, err := s.EqualityKey(s.Known.ObjectClass, nil, []byte("portolanAppPassword"))
	if err != nil {
		return err
	}
	ids, err := r.Equal(s.Known.ObjectClass, key)
	if err != nil {
		return err
	}
	for it := ids.Iterator(); it.HasNext(); {
		e, err := r.Get(dit.ID(it.Next()))
		if err != nil {
			return err
		}
		if e == nil {
			continue
		}
		stored := e.First(schema.Description{Type: s.Known.PortolanCredentialSecret})
		if stored == nil || wellFormed(stored) {
			continue
		}
		name, err := r.Name(e)
		if err != nil {
			return err
		}
		report(op.Finding{Where: name.DN, What: fmt.Sprintf("the secret of the app password is not of the form %s, and nothing matches it", scheme),
			Advice: "make another one by password modify (ldappasswd) of the entry"})
	}
	return nil
}

func wellFormed(stored []byte) bool {
	return bytes.HasPrefix(stored, []byte(scheme)) && len(stored) == len(storedForm(nil))
}
