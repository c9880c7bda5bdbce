package otp

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strconv"

	"github.com/google/uuid"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/ldap"
)

func errApart() error {
	return ldap.Errorf(ldap.InsufficientAccessRights, "a session that was begun with an app password changes no passwords and other credentials: log in with the password")
}

// prepare holds tokens and recovery codes to their form. A token whose seed is made is not in force before a code of it has
// been seen.
func (x *otp) prepare(tx op.Tx, req *op.Request, before *dit.Entry, d *dit.Draft) error {
	s := tx.Schema()
	token := d.IsA(s, s.ObjectClass(tokenClass))
	if !token && !d.IsA(s, s.ObjectClass(recoveryClass)) {
		return nil
	}
	if req.Identity.WithoutPassword() {
		return errApart()
	}
	if token {
		if err := x.prepareToken(tx, d); err != nil {
			return err
		}
	}
	if before != nil && before.Parent == d.Parent {
		return nil
	}
	above, err := tx.Get(d.Parent)
	if err != nil {
		return err
	}
	if above == nil || belongs(s, above) || isOf(s, above, "portolanAppPassword") {
		return ldap.Errorf(ldap.NamingViolation, "tokens and recovery codes stand right beneath the entry of the account that they are for")
	}
	if !token {
		return nil
	}
	n := 1
	if err := op.Beneath(tx, above, s.ObjectClass(tokenClass), func(*dit.Entry) bool {
		n++
		return n <= x.o.Max
	}); err != nil {
		return err
	}
	if n > x.o.Max {
		return ldap.Errorf(ldap.AdminLimitExceeded, "the account may have %d tokens (overlay.otp.max): delete one that is not used any more", x.o.Max)
	}
	return nil
}

func (x *otp) prepareToken(tx op.Tx, d *dit.Draft) error {
	s := tx.Schema()
	get := func(name string) []byte {
		t := s.AttributeTypeString(name)
		if t == nil {
			return nil
		}
		return d.First(t)
	}
	if v := get("portolanOtpAlgorithm"); v != nil && algorithmOf(string(v)) == nil {
		return ldap.Errorf(ldap.ConstraintViolation, "portolanOtpAlgorithm: write SHA1, SHA256 or SHA512")
	}
	if v := get("portolanOtpDigits"); v != nil && string(v) != "6" && string(v) != "8" {
		return ldap.Errorf(ldap.ConstraintViolation, "portolanOtpDigits: write 6 or 8")
	}
	if v := get("portolanOtpPeriod"); v != nil {
		if n, err := strconv.Atoi(string(v)); err != nil || n < 10 || n > 300 {
			return ldap.Errorf(ldap.ConstraintViolation, "portolanOtpPeriod: write 10 to 300 seconds")
		}
	}
	secret := schema.Description{Type: s.AttributeTypeString("portolanCredentialSecret")}
	for _, name := range []string{"portolanOtpAlgorithm", "portolanOtpDigits", "portolanOtpPeriod"} {
		if d.Base != nil && d.Touched(schema.Description{Type: s.AttributeTypeString(name)}) && d.Attr(secret) != nil && !d.Touched(secret) {
			return ldap.Errorf(ldap.ConstraintViolation, "%s: the device has been told already; make another token", name)
		}
	}
	if !d.Touched(secret) {
		return nil
	}
	a := d.Attr(secret)
	if a == nil || len(a.Values) == 0 {
		d.Set(s.AttributeTypeString("portolanOtpConfirmed"))
		return forget(tx, d.UUID)
	}
	if len(a.Values) > 1 {
		return ldap.Errorf(ldap.ConstraintViolation, "portolanCredentialSecret: a token has one seed")
	}
	if bytes.HasPrefix(a.Values[0], []byte(clearForm)) {
		seed, err := x.keys.open(a.Values[0])
		if err != nil {
			return ldap.Errorf(ldap.ConstraintViolation, "portolanCredentialSecret: %v, of %d to %d octets", err, minSeed, maxSeed)
		}
		d.Set(secret.Type, x.keys.seal(seed))
	}
	d.Set(s.AttributeTypeString("portolanOtpConfirmed"))
	return forget(tx, d.UUID)
}

func forget(tx op.Tx, id uuid.UUID) error {
	key := append([]byte(statePrefix), id[:]...)
	if value, err := tx.State(key); err != nil || value == nil {
		return err
	}
	return tx.SetState(key, nil)
}

// derive drops what is remembered of a token that is deleted, and keeps sessions that were begun with an application
// password from deleting one.
func derive(tx op.Tx, req *op.Request, c dit.Change) error {
	if c.Kind != dit.ChangeDelete || !belongs(tx.Schema(), c.Before) {
		return nil
	}
	if req.Identity.WithoutPassword() {
		return errApart()
	}
	return forget(tx, c.Before.UUID)
}

// check reports tokens that cannot be used, seeds that are not encrypted though there is a key, groups of which a second
// factor is required and that are not there, and state that belongs to nobody.
func (x *otp) check(r op.Reader, report func(op.Finding)) error {
	s := r.Schema()
	for i, rule := range x.o.Required {
		if rule.Group == "" {
			continue
		}
		norm, err := s.NormalizeDNString(nil, rule.Group)
		if err != nil {
			continue // the server does not start with it
		}
		if e, _, err := r.Lookup(string(norm)); err != nil {
			return err
		} else if e == nil {
			report(op.Finding{Where: fmt.Sprintf("overlay.otp.required[%d]", i+1), What: fmt.Sprintf("there is no group %s, so that a second factor is required of nobody", rule.Group),
				Advice: "add the group, or correct the name"})
		}
	}
	if err := x.checkTokens(r, report); err != nil {
		return err
	}
	states, ok := r.(op.StateReader)
	if !ok {
		return nil
	}
	return states.EachState([]byte(statePrefix), func(key, value []byte) bool {
		where := "state " + hex.EncodeToString(key)
		id, err := uuid.FromBytes(key[len(statePrefix):])
		if err != nil || len(value) != 8 {
			report(op.Finding{Where: where, What: "the last code of a token cannot be read", Advice: "report this: nothing writes such keys"})
			return true
		}
		if e, err := r.ByUUID(id); err == nil && e == nil {
			report(op.Finding{Where: where, What: "a last code is kept of a token that does not exist", Advice: "report this: a delete takes it along"})
		}
		return true
	})
}

func (x *otp) checkTokens(r op.Reader, report func(op.Finding)) error {
	s := r.Schema()
	key, err := s.EqualityKey(s.Known.ObjectClass, nil, []byte(tokenClass))
	if err != nil {
		return err
	}
	ids, err := r.Equal(s.Known.ObjectClass, key)
	if err != nil {
		return err
	}
	keys := x.keys
	if keys == nil && x.o.KeyFile != "" { // a store that is only looked at
		if keys, err = readKey(x.o.KeyFile); err != nil {
			report(op.Finding{Where: "overlay.otp.key_file", What: err.Error(), Advice: "without the key no code is right"})
			return nil
		}
	}
	for it := ids.Iterator(); it.HasNext(); {
		e, err := r.Get(dit.ID(it.Next()))
		if err != nil {
			return err
		}
		if e == nil {
			continue
		}
		stored := first(s, e, "portolanCredentialSecret")
		if stored == nil {
			continue
		}
		finding := op.Finding{}
		if _, err := keys.open(stored); err != nil {
			finding.What, finding.Advice = "no code of the token is right: "+err.Error(), "delete the token, and make another"
		} else if keys != nil && bytes.HasPrefix(stored, []byte(clearForm)) {
			finding.What, finding.Advice = "the seed is not encrypted, though there is a key", "make another seed by password modify (ldappasswd) of the token"
		} else {
			continue
		}
		name, err := r.Name(e)
		if err != nil {
			return err
		}
		finding.Where = name.DN
		report(finding)
	}
	return nil
}
