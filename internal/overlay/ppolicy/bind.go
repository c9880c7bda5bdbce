package ppolicy

import (
	"context"
	"time"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/ldap"
)

// account is what a decision about an account is made from.
type account struct {
	entry  *dit.Entry
	name   dit.Name
	schema *schema.Schema
	policy *governing
	record record
	now    time.Time
}

// passwordMethod reports whether an identity was proved by its password: the rest of the policy is not for a certificate.
func passwordMethod(proved string) bool { return proved != "EXTERNAL" }

// account gathers what is known of an account now: while the password was being checked it may have been locked.
func (x *ppolicy) account(r op.Reader, e *dit.Entry, name dit.Name) (*account, error) {
	a := &account{entry: e, name: name, schema: r.Schema(), now: x.now()}
	var err error
	if a.policy, err = x.policyFor(r, subjectOf(a.schema, e, name)); err != nil {
		return nil, err
	}
	a.record, err = x.recordOf(e)
	return a, err
}

// recordOf reads the failures of an account. A record that cannot be read is as good as none: check reports it.
func (x *ppolicy) recordOf(e *dit.Entry) (record, error) {
	if !x.tracked.has(e.UUID) {
		return record{}, nil
	}
	value, err := x.ports.Load().State.Get(stateKey(e.UUID))
	if err != nil || value == nil {
		return record{}, err
	}
	r, _ := decodeRecord(value)
	return r, nil
}

// time reads an attribute of the account that is a time.
func (a *account) time(t *schema.AttributeType) (time.Time, bool) {
	value := a.entry.First(schema.Description{Type: t})
	if value == nil {
		return time.Time{}, false
	}
	at, err := schema.ParseGeneralizedTime(value)
	return at, err == nil
}

// forever is the value of pwdAccountLockedTime that only an administrator sets and takes away (draft section 5.3.3).
func forever(at time.Time) bool { return at.Year() == 0 }

// closed reports whether the account may not be used at all, whatever proves it (draft section 7.1): locked by an
// administrator, not begun, ended or idle.
func (x *ppolicy) closed(a *account) (op.Reason, error) {
	known := &a.schema.Known
	if at, ok := a.time(known.PwdAccountLockedTime); ok && forever(at) {
		return "the account is locked by an administrator", nil
	}
	if at, ok := a.time(known.PwdStartTime); ok && a.now.Before(at) {
		return "the account does not begin before pwdStartTime", nil
	}
	if at, ok := a.time(known.PwdEndTime); ok && !a.now.Before(at) {
		return "the account has ended at pwdEndTime", nil
	}
	if at, err := x.idleAt(a); err != nil || at.IsZero() || a.now.Before(at) {
		return "", err
	}
	return "the account has not been used for longer than pwdMaxIdle", nil
}

// idleAt returns when an account is locked if it goes on not being used; the zero time where it never is. One that was never
// used is idle from the day that it got its password, or that anybody was looking; but not on a copy, whose accounts are used
// elsewhere.
func (x *ppolicy) idleAt(a *account) (time.Time, error) {
	if a.policy.MaxIdle == 0 {
		return time.Time{}, nil
	}
	p := x.ports.Load()
	used, err := op.LastUse(p.State, a.entry.UUID)
	if err == nil && used.IsZero() && p.Directory.Original(&op.Request{Op: &ldap.DelRequest{Entry: []byte(a.name.DN)}}) == nil {
		used, err = op.LookedSince(p.State)
	}
	if err != nil || used.IsZero() {
		return time.Time{}, err
	}
	if changed, ok := a.time(a.schema.Known.PwdChangedTime); ok && changed.After(used) {
		used = changed // a reset brings an idle account back
	}
	return used.Add(a.policy.MaxIdle), nil
}

// locked reports whether failures have locked the account.
func (a *account) locked() bool {
	if a.record.inForce(a.policy.Policy, a.now) {
		return true
	}
	at, ok := a.time(a.schema.Known.PwdAccountLockedTime)
	return ok && !forever(at) && lockHolds(a.policy.Policy, at, a.now)
}

// errLocked is the answer for an account that may not be used. It is that of a wrong password.
func errLocked(why op.Reason) *ldap.Error {
	return ldap.Errorf(ldap.InvalidCredentials, "").Because(why)
}

// attempt keeps the number of checks that may end in a delay within bounds.
func (x *ppolicy) attempt(_ context.Context, _ *op.Request, b *op.BindOutcome) error {
	if b.Identity != nil && b.Identity.Admin {
		return nil
	}
	who := subject{name: b.Name}
	if b.Entry != nil {
		who = subjectOf(b.Reader.Schema(), b.Entry, b.Name)
	}
	if b.Elsewhere != nil && b.Entry != nil {
		// Whoever is locked out here is not to go on guessing there.
		if shut, err := x.shut(b); err != nil || shut {
			b.Elsewhere = nil
			if err != nil {
				return err
			}
		}
	}
	g, err := x.policyFor(b.Reader, who)
	if err != nil || g.MinDelay == 0 {
		return err
	}
	key, failures := b.Name.Norm, 0
	if b.Entry == nil {
		failures = x.unknown.count(key, g.Policy, x.now())
	} else {
		r, err := x.recordOf(b.Entry)
		if err != nil {
			return err
		}
		key, failures = string(b.Entry.UUID[:]), len(r.recent(g.Policy, x.now()))
	}
	if failures == 0 {
		return nil
	}
	leave, ok := x.waiting.enter(key)
	if !ok {
		return ldap.Errorf(ldap.Busy, "too many attempts for this name are waiting: try again later")
	}
	b.Finally = append(b.Finally, leave)
	return nil
}

// shut reports whether an account may not be used whatever its password.
func (x *ppolicy) shut(b *op.BindOutcome) (bool, error) {
	a, err := x.account(b.Reader, b.Entry, b.Name)
	if err != nil {
		return false, err
	}
	why, err := x.closed(a)
	return why != "" || a.locked(), err
}

// bind applies draft section 8.1 to a password that was checked.
func (x *ppolicy) bind(ctx context.Context, req *op.Request, b *op.BindOutcome) error {
	switch {
	case b.Identity != nil && b.Identity.Admin:
		return nil // the bootstrap administrator has no policy
	case b.Entry == nil:
		return x.bindUnknown(b)
	}
	view := x.ports.Load().Directory.View()
	defer view.Close()
	e, err := view.Get(b.Entry.ID)
	if err != nil {
		return err
	}
	if e == nil || e.UUID != b.Entry.UUID {
		b.Err = errLocked("the entry is gone")
		return nil
	}
	a, err := x.account(view, e, b.Name)
	if err != nil {
		return err
	}
	why, err := x.closed(a)
	if err != nil {
		return err
	}
	if why == "" && passwordMethod(b.Proved) && a.locked() {
		why = "the account is locked after too many failures"
	}
	switch {
	case why != "":
		x.refuse(req, a, b, why)
		return nil
	case b.Wrong && b.Repeated && x.o.ForgiveRepeated:
		// A device that goes on sending a password of yesterday: nobody guesses.
		b.Delay = max(b.Delay, a.policy.delay(len(a.record.recent(a.policy.Policy, a.now))))
		return nil
	case b.Wrong:
		return x.failed(ctx, req, a, b)
	case b.Err != nil || b.Purpose == op.ForChange:
		return nil
	case b.Apart != nil:
		// Other credentials have an age of their own. They forgive no failures either: a program that logs in every minute would
		// give whoever guesses the password as many guesses as he likes.
		return nil
	case !passwordMethod(b.Proved):
		return nil
	}
	return x.succeeded(ctx, req, a, b)
}

// refuse answers for an account that is locked. Nothing is counted (draft section 8.1.1), and the answer is the same for
// right and wrong passwords: a lock that told them apart would be none.
func (x *ppolicy) refuse(req *op.Request, a *account, b *op.BindOutcome, why op.Reason) {
	b.Err = errLocked(why)
	b.Delay = max(b.Delay, a.policy.delay(len(a.record.recent(a.policy.Policy, a.now))))
	if x.o.DiscloseLockout {
		req.SetPolicyError(op.AccountLocked)
	}
}

// failed counts a wrong password (draft section 8.1.3).
func (x *ppolicy) failed(ctx context.Context, req *op.Request, a *account, b *op.BindOutcome) error {
	if len(b.Stored) == 0 && b.Proved == "" && b.Elsewhere == nil {
		return nil // there is no password to guess
	}
	var locks bool
	x.tracked.add(a.entry.UUID)
	err := x.ports.Load().State.Update(stateKey(a.entry.UUID), func(old []byte) []byte {
		a.record, _ = decodeRecord(old)
		locks = a.record.fail(a.policy.Policy, a.now)
		return a.record.append()
	})
	if err != nil {
		return err
	}
	b.Delay = max(b.Delay, a.policy.delay(len(a.record.failures)))
	if !locks {
		return nil
	}
	x.ports.Load().Log.Warn("an account is locked after too many failures", "account", b.Name.DN, "failures", len(a.record.failures),
		"client", req.Conn.Remote.String())
	if x.o.DiscloseLockout {
		req.SetPolicyError(op.AccountLocked)
	}
	// Who hangs up after the last guess is not to get around the lock.
	err = x.update(context.WithoutCancel(req.Detach(ctx)), func(tx op.Tx) error {
		e, err := tx.ByUUID(a.entry.UUID)
		if err != nil || e == nil {
			return err
		}
		t := tx.Schema().Known.PwdAccountLockedTime
		now := account{entry: e, schema: tx.Schema(), policy: a.policy, now: a.now}
		if at, ok := now.time(t); ok && (forever(at) || lockHolds(a.policy.Policy, at, a.now)) {
			return nil
		}
		d := e.Edit(tx)
		d.Set(t, schema.AppendGeneralizedTime(nil, a.now.UTC().Truncate(time.Second)))
		return tx.Modify(d)
	})
	if err != nil {
		// The record locks the account by itself; it reaches the disk within a second.
		x.ports.Load().Log.Warn("the lock of an account could not be written to its entry", "account", b.Name.DN, "error", err)
	}
	return nil
}

// succeeded applies draft section 8.1.2 to a right password, in its order.
func (x *ppolicy) succeeded(ctx context.Context, req *op.Request, a *account, b *op.BindOutcome) error {
	known := &a.schema.Known
	if err := x.forgive(ctx, req, a); err != nil {
		return err
	}
	reply := op.NewPolicyReply()
	reply.Notices = x.o.ExpiryControls
	changed, dated := a.time(known.PwdChangedTime)
	left := changed.Add(a.policy.MaxAge).Sub(a.now)
	expires := a.policy.MaxAge > 0 && dated
	reset := a.mustChange()
	switch {
	case reset:
		reply.Error = op.ChangeAfterReset
		if b.Purpose == op.ForBind {
			restricted := *b.Identity
			restricted.Restricted = true
			b.Identity = &restricted
		}
	case expires && left < 0:
		grace, err := x.grace(ctx, req, a, changed)
		if err != nil {
			return err
		}
		if grace < 0 {
			reply.Error = op.PasswordExpired
			b.Err = errLocked("the password has expired")
		} else {
			reply.Grace = grace
		}
	}
	if expires && left >= 0 && a.policy.ExpireWarning > 0 && left <= a.policy.ExpireWarning {
		reply.Expires = left
	}
	if reply.Error != op.NoPolicyError || reply.Grace >= 0 || reply.Expires >= 0 {
		req.Policy = reply
	}
	return nil
}

// mustChange is draft section 7.2. A password that was exposed is to be changed whatever the policy says of those that an
// administrator has set.
func (a *account) mustChange() bool {
	known := &a.schema.Known
	return string(a.entry.First(schema.Description{Type: known.PwdReset})) == "TRUE" &&
		(a.policy.MustChange || a.entry.First(schema.Description{Type: known.PortolanExposedTime}) != nil)
}

// forgive forgets failures and a lock that is over (draft section 8.1.2.1). An account without any costs nothing.
func (x *ppolicy) forgive(ctx context.Context, req *op.Request, a *account) error {
	if len(a.record.failures) > 0 || a.record.locked != 0 {
		// What has failed since the record was read stays.
		err := x.ports.Load().State.Update(stateKey(a.entry.UUID), func(old []byte) []byte {
			r, _ := decodeRecord(old)
			last := a.now.UnixMicro()
			for len(r.failures) > 0 && r.failures[0] <= last {
				r.failures = r.failures[1:]
			}
			if r.locked <= last {
				r.locked = 0
			}
			return r.append()
		})
		if err != nil {
			return err
		}
	}
	t := a.schema.Known.PwdAccountLockedTime
	if _, locked := a.time(t); !locked {
		return nil
	}
	err := x.update(req.Detach(ctx), func(tx op.Tx) error {
		e, err := tx.ByUUID(a.entry.UUID)
		if err != nil || e == nil {
			return err
		}
		now := account{entry: e, schema: tx.Schema()}
		if at, ok := now.time(t); !ok || forever(at) || lockHolds(a.policy.Policy, at, a.now) {
			return nil
		}
		d := e.Edit(tx)
		d.Set(t)
		return tx.Modify(d)
	})
	if err != nil {
		// A lock that is over locks nobody out, and the next bind tries again.
		x.ports.Load().Log.Warn("a lock that is over could not be taken out of its entry", "error", err)
	}
	return nil
}

// grace uses up a grace bind and returns how many are left, or -1 where there was none (draft section 8.1.2.3). It is
// durable before the answer.
func (x *ppolicy) grace(ctx context.Context, req *op.Request, a *account, changed time.Time) (left int, err error) {
	p := a.policy
	if p.GraceLimit == 0 || p.GraceExpiry > 0 && a.now.After(changed.Add(p.MaxAge+p.GraceExpiry)) {
		return -1, nil
	}
	if len(valuesOf(a.entry, a.schema.Known.PwdGraceUseTime)) >= p.GraceLimit {
		return -1, nil
	}
	err = x.update(req.Detach(ctx), func(tx op.Tx) error {
		left = -1
		e, err := tx.ByUUID(a.entry.UUID)
		if err != nil || e == nil {
			return err
		}
		t := tx.Schema().Known.PwdGraceUseTime
		used := valuesOf(e, t)
		if len(used) >= p.GraceLimit {
			return nil
		}
		left = p.GraceLimit - len(used) - 1
		d := e.Edit(tx)
		at := a.now.UTC().Truncate(time.Microsecond)
		for {
			value := schema.AppendGeneralizedTime(nil, at)
			there, err := d.Has(tx.Schema(), schema.Description{Type: t}, value)
			if err != nil {
				return err
			}
			if !there {
				d.Set(t, append(used[:len(used):len(used)], value)...)
				return tx.Modify(d)
			}
			at = at.Add(time.Microsecond)
		}
	})
	switch {
	case err == nil:
		return left, nil
	case ctx.Err() != nil:
		return -1, ctx.Err()
	}
	// A grace bind that cannot be counted, as on a server that takes no writes, is none.
	x.ports.Load().Log.Warn("a grace bind could not be counted and was refused", "error", err)
	return -1, nil
}

// bindUnknown makes the answer for a name that is no entry wait as long as that for an account.
func (x *ppolicy) bindUnknown(b *op.BindOutcome) error {
	if !b.Wrong || b.Name.Norm == "" || b.Purpose != op.ForBind {
		return nil
	}
	g, err := x.policyFor(b.Reader, subject{name: b.Name})
	if err != nil {
		return err
	}
	b.Delay = max(b.Delay, x.unknown.fail(b.Name.Norm, g.Policy, x.now()))
	return nil
}
