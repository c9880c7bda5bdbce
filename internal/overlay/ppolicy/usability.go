package ppolicy

import (
	"time"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/schema"
)

// usability says whether an account can be used, by the same decisions as a bind.
func (x *ppolicy) usability(r op.Reader, e *dit.Entry) (*op.Usability, error) {
	s := r.Schema()
	if x.ports.Load() == nil || e.Shape().FindType(s.Known.UserPassword) < 0 {
		return nil, nil
	}
	name, err := r.Name(e)
	if err != nil {
		return nil, err
	}
	a, err := x.account(r, e, name)
	if err != nil {
		return nil, err
	}
	u := &op.Usability{Grace: -1, UnlockIn: -1, Expires: -1, Reset: a.mustChange()}
	why, err := x.closed(a)
	if err != nil {
		return nil, err
	}
	disabled := string(e.First(schema.Description{Type: s.Known.PortolanAccountDisabled})) == "TRUE"
	u.Inactive = why != "" || disabled
	if !u.Inactive && a.locked() {
		u.Inactive = true
		u.UnlockIn = a.unlockIn()
	}
	idle, err := x.idleAt(a)
	if err != nil {
		return nil, err
	}
	if end, ok := a.time(s.Known.PwdEndTime); ok {
		expires(u, end.Sub(a.now))
	}
	if !idle.IsZero() {
		expires(u, idle.Sub(a.now))
	}
	if changed, ok := a.time(s.Known.PwdChangedTime); ok && a.policy.MaxAge > 0 {
		left := changed.Add(a.policy.MaxAge).Sub(a.now)
		// One that must be changed is taken for that, however old it is.
		u.Expired = left < 0 && !u.Reset
		switch {
		case !u.Expired:
			expires(u, left)
		case a.policy.GraceExpiry > 0 && a.now.After(changed.Add(a.policy.MaxAge+a.policy.GraceExpiry)):
			u.Grace = 0
		default:
			u.Grace = max(0, a.policy.GraceLimit-len(valuesOf(e, s.Known.PwdGraceUseTime)))
		}
	}
	return u, nil
}

// expires notes that an account cannot be used any more after a time; the first of several counts.
func expires(u *op.Usability, left time.Duration) {
	if left >= 0 && (u.Expires < 0 || left < u.Expires) {
		u.Expires = left
	}
}

// unlockIn is how long a lock by failures still holds; negative where it ends by hand only.
func (a *account) unlockIn() time.Duration {
	if a.policy.LockoutDuration == 0 {
		return -1
	}
	var at time.Time
	if a.record.locked != 0 {
		at = time.UnixMicro(a.record.locked)
	}
	if stored, ok := a.time(a.schema.Known.PwdAccountLockedTime); ok && stored.After(at) {
		at = stored
	}
	return at.Add(a.policy.LockoutDuration).Sub(a.now)
}
