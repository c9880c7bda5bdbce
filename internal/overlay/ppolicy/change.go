package ppolicy

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"strconv"
	"time"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/ldap"
)

// password applies draft sections 8.2.1 to 8.2.6 to a new password, before it is hashed. What concerns the owner alone
// (the old password, the right and the age) is not asked of password administrators, and nothing of the bootstrap
// administrator.
func (x *ppolicy) password(ctx context.Context, req *op.Request, p *op.NewPassword) error {
	if req.Write.Internal || p.ByAdmin {
		return nil
	}
	s := p.Reader.Schema()
	who := newSubject(s, p)
	g, err := x.policyFor(p.Reader, who)
	if err != nil {
		return err
	}
	refuse := func(why op.PolicyError, code ldap.ResultCode, text string) error {
		req.SetPolicyError(why)
		return ldap.Errorf(code, "userPassword: %s", text)
	}
	if p.Self {
		now := x.now()
		a := account{entry: p.Entry, schema: s, policy: g, now: now}
		switch {
		case g.SafeModify && len(p.Stored) > 0 && p.Old != nil && !p.OldRight:
			return refuse(op.MustSupplyOldPassword, ldap.UnwillingToPerform, "the old password is wrong")
		case g.SafeModify && len(p.Stored) > 0 && p.Old == nil:
			return refuse(op.MustSupplyOldPassword, ldap.InsufficientAccessRights, "the old password must be given with the new one: delete the old value in the same modify, or use password modify with it")
		case !g.AllowUserChange:
			return refuse(op.PasswordModNotAllowed, ldap.InsufficientAccessRights, "the password policy does not let users change their password")
		}
		if changed, ok := a.time(s.Known.PwdChangedTime); ok && !a.mustChange() && now.Before(changed.Add(g.MinAge)) {
			return refuse(op.PasswordTooYoung, ldap.ConstraintViolation, "the password was changed too short a time ago")
		}
	}
	if fault, err := x.quality(g.Policy, p); err != nil {
		return err
	} else if fault != nil {
		return refuse(fault.why, ldap.ConstraintViolation, fault.text)
	}
	if g.InHistory == 0 || p.Entry == nil {
		return nil
	}
	former := append(slices.Clone(p.Stored), historyOf(p.Entry, s, g.InHistory)...)
	if len(former) == 0 {
		return nil
	}
	used, err := matchesOne(ctx, p, former)
	if err != nil {
		return err
	}
	if used {
		return refuse(op.PasswordInHistory, ldap.ConstraintViolation, "the password was used before")
	}
	return nil
}

// matchesOne compares a new password with former ones. Verify looks at a bounded number at a time.
func matchesOne(ctx context.Context, p *op.NewPassword, former [][]byte) (bool, error) {
	for _, stored := range former {
		i, err := p.Verify(ctx, [][]byte{stored})
		if err != nil || i >= 0 {
			return i >= 0, err
		}
	}
	return false, nil
}

func newSubject(s *schema.Schema, p *op.NewPassword) subject {
	if p.Entry != nil {
		return subjectOf(s, p.Entry, p.Name)
	}
	who := subject{name: p.Name, classes: p.Attribute(s.Known.ObjectClass)}
	if own := p.Attribute(s.Known.PwdPolicySubentry); len(own) > 0 {
		who.own = own[0]
	}
	return who
}

// prepare keeps the state of an account right in the transaction that changes it (draft section 8.2.7), and policies such
// as can be kept.
func (x *ppolicy) prepare(tx op.Tx, req *op.Request, before *dit.Entry, d *dit.Draft) error {
	s := tx.Schema()
	known := &s.Known
	if known.PwdPolicy != nil && d.IsA(s, known.PwdPolicy) && (before == nil || touched(d)) {
		if err := checkPolicyEntry(s, d); err != nil {
			return err
		}
	}
	if d.Touched(schema.Description{Type: known.PwdPolicySubentry}) {
		if err := x.checkReference(tx, d.First(known.PwdPolicySubentry)); err != nil {
			return err
		}
	}
	count, changed := passwords(s, d)
	if changed {
		return x.passwordChanged(tx, req, before, d, count)
	}
	lock := schema.Description{Type: known.PwdAccountLockedTime}
	if before != nil && d.Touched(lock) && before.First(lock) != nil && d.First(known.PwdAccountLockedTime) == nil {
		return forget(tx, d) // unlocking forgets what has locked
	}
	return nil
}

func touched(d *dit.Draft) bool {
	return slices.ContainsFunc(d.Attrs, func(a dit.DraftAttr) bool { return a.Touched() })
}

// checkReference refuses a pwdPolicySubentry that names no policy: the account would be under another than was meant.
func (x *ppolicy) checkReference(tx op.Tx, dn []byte) error {
	if dn == nil {
		return nil
	}
	if g, err := x.named(tx, dn); g != nil || err != nil {
		return err
	}
	return ldap.Errorf(ldap.ConstraintViolation, "pwdPolicySubentry: the name is not that of an entry with the object class pwdPolicy")
}

// passwords counts the password values of a draft and reports whether they were changed.
func passwords(s *schema.Schema, d *dit.Draft) (count int, changed bool) {
	for i := range d.Attrs {
		if a := &d.Attrs[i]; s.Known.UserPassword != nil && a.Desc.Type.IsA(s.Known.UserPassword) {
			count += len(a.Values)
			changed = changed || a.Touched()
		}
	}
	return count, changed
}

func (x *ppolicy) passwordChanged(tx op.Tx, req *op.Request, before *dit.Entry, d *dit.Draft, count int) error {
	s := tx.Schema()
	known := &s.Known
	g, err := x.policyIn(tx, draftSubject(tx, d))
	if err != nil {
		return err
	}
	// Draft section 4.3: the state is that of one password. More than one that was there before may stay, or become fewer.
	if count > 1 && (before == nil || count > storedPasswords(s, before)) {
		return ldap.Errorf(ldap.ConstraintViolation, "userPassword: the password policy allows one password; replace the value, or delete the old one with it")
	}
	now := tx.Now().UTC()
	if !d.Touched(schema.Description{Type: known.PwdChangedTime}) {
		if count > 0 {
			d.Set(known.PwdChangedTime, schema.AppendGeneralizedTime(nil, now.Truncate(time.Second)))
		} else {
			d.Set(known.PwdChangedTime)
		}
	}
	if before == nil {
		setReset(s, req, nil, d, g, count)
		return nil
	}
	if !d.Touched(schema.Description{Type: known.PwdHistory}) {
		remember(s, before, d, g.InHistory, now)
	}
	setReset(s, req, before, d, g, count)
	d.Set(known.PwdGraceUseTime)
	d.Set(known.PortolanExposedTime) // it was the old one that was exposed
	if at, err := schema.ParseGeneralizedTime(d.First(known.PwdAccountLockedTime)); err == nil && !forever(at) {
		d.Set(known.PwdAccountLockedTime) // a new password ends a lock by failures, not one by an administrator
	}
	return forget(tx, d)
}

// setReset sets pwdReset after a change by another, where the policy has such a password changed, and takes it away
// otherwise. A request that sets it itself has its way.
func setReset(s *schema.Schema, req *op.Request, before *dit.Entry, d *dit.Draft, g *governing, count int) {
	t := s.Known.PwdReset
	if req.Write.Internal || d.Touched(schema.Description{Type: t}) {
		return
	}
	own := before != nil && req.Identity.Entry != 0 && req.Identity.UUID == before.UUID
	switch {
	case own && count > 0, !own && !g.MustChange:
		d.Set(t)
	case !own && count > 0:
		d.Set(t, []byte("TRUE"))
	}
}

// forget clears the failures of an account in the transaction.
func forget(tx op.Tx, d *dit.Draft) error {
	key := stateKey(d.UUID)
	if value, err := tx.State(key); err != nil || value == nil {
		return err
	}
	return tx.SetState(key, nil)
}

// derive drops what is remembered of an entry that is deleted.
func (x *ppolicy) derive(tx op.Tx, _ *op.Request, c dit.Change) error {
	if c.Kind != dit.ChangeDelete {
		return nil
	}
	key := stateKey(c.Before.UUID)
	if value, err := tx.State(key); err != nil || value == nil {
		return err
	}
	return tx.SetState(key, nil)
}

func storedPasswords(s *schema.Schema, e *dit.Entry) (n int) {
	for slot, d := range e.Shape().Slots {
		if d.Type.IsA(s.Known.UserPassword) {
			n += e.Count(slot)
		}
	}
	return n
}

// draftSubject is the account that a draft will be.
func draftSubject(tx op.Tx, d *dit.Draft) subject {
	s := tx.Schema()
	who := subject{id: d.ID, own: d.First(s.Known.PwdPolicySubentry)}
	if a := d.Attr(schema.Description{Type: s.Known.ObjectClass}); a != nil {
		who.classes = a.Values
	}
	who.name.Norm = d.NormRDN
	if d.Parent == 0 {
		return who
	}
	if parent, err := tx.Get(d.Parent); err == nil && parent != nil {
		if above, err := tx.Name(parent); err == nil {
			who.name.Norm += "," + above.Norm
		}
	}
	return who
}

// remembered is a value of pwdHistory (draft section 5.3.5): time, syntax, length and the stored password.
type remembered struct {
	value  []byte
	at     time.Time
	stored []byte
}

// parseHistory reads a value of pwdHistory; ok is false for one of another form.
func parseHistory(value []byte) (h remembered, ok bool) {
	at, rest, ok1 := bytes.Cut(value, []byte{'#'})
	syntax, rest, ok2 := bytes.Cut(rest, []byte{'#'})
	length, data, ok3 := bytes.Cut(rest, []byte{'#'})
	if !ok1 || !ok2 || !ok3 || len(syntax) == 0 {
		return h, false
	}
	n, err := strconv.Atoi(string(length))
	if err != nil || n != len(data) {
		return h, false
	}
	when, err := schema.ParseGeneralizedTime(at)
	return remembered{value, when, data}, err == nil
}

// history returns what is remembered in values of pwdHistory, the oldest first.
func history(values [][]byte) (out []remembered) {
	for _, v := range values {
		if h, ok := parseHistory(v); ok {
			out = append(out, h)
		}
	}
	slices.SortStableFunc(out, func(a, b remembered) int { return cmp.Compare(a.at.UnixNano(), b.at.UnixNano()) })
	return out
}

// historyOf returns the newest former passwords of an entry, as they were stored.
func historyOf(e *dit.Entry, s *schema.Schema, most int) (stored [][]byte) {
	all := history(valuesOf(e, s.Known.PwdHistory))
	for _, h := range all[max(0, len(all)-most):] {
		stored = append(stored, h.stored)
	}
	return stored
}

// remember puts the passwords that a change takes away into the history, and keeps as many as the policy wants.
func remember(s *schema.Schema, before *dit.Entry, d *dit.Draft, most int, now time.Time) {
	t := s.Known.PwdHistory
	if most == 0 {
		d.Set(t)
		return
	}
	all := history(valuesOf(before, t))
	at := schema.AppendGeneralizedTime(nil, now)
	for slot, desc := range before.Shape().Slots {
		if !desc.Type.IsA(s.Known.UserPassword) {
			continue
		}
		for v := before.Values(slot); ; {
			old, ok := v.Next()
			if !ok {
				break
			}
			if there, err := d.Has(s, desc, old); err == nil && there {
				continue
			}
			value := append(append(slices.Clone(at), '#'), desc.Type.Syntax.OID...)
			value = append(strconv.AppendInt(append(value, '#'), int64(len(old)), 10), '#')
			all = append(all, remembered{value: append(value, old...)})
		}
	}
	all = all[max(0, len(all)-most):]
	values := make([][]byte, len(all))
	for i := range all {
		values[i] = all[i].value
	}
	d.Set(t, values...)
}
