package ppolicy

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"portolan/internal/dit"
	"portolan/internal/schema"
	"portolan/ldap"
)

// Policy are the values of a policy (draft section 5.2). Zero means what the draft says of an absent attribute.
type Policy struct {
	// MinAge is how long a password must be kept, MaxAge when it expires (0: never).
	MinAge time.Duration `toml:"min_age" min:"0"`
	MaxAge time.Duration `toml:"max_age" min:"0"`
	// InHistory is how many former passwords may not be used again.
	InHistory int `toml:"in_history" min:"0" max:"100"`
	// CheckQuality switches quality and length on: 0 is off. 1 and 2 differ for passwords that were hashed by the client,
	// which this server takes from the bootstrap administrator alone.
	CheckQuality int `toml:"check_quality" min:"0" max:"2"`
	// MinLength and MaxLength are in characters; 0 is no limit.
	MinLength int `toml:"min_length" min:"0" max:"1024"`
	MaxLength int `toml:"max_length" min:"0" max:"1024"`
	// ExpireWarning is how long before the end binds warn.
	ExpireWarning time.Duration `toml:"expire_warning" min:"0"`
	// GraceLimit is the number of binds with an expired password, within GraceExpiry of its end (0: at any time).
	GraceLimit  int           `toml:"grace_authn_limit" min:"0"`
	GraceExpiry time.Duration `toml:"grace_expiry" min:"0"`
	// Lockout locks the account after MaxFailure failures within FailureCountInterval (0: since the last success), for
	// LockoutDuration (0: until somebody unlocks it).
	Lockout              bool          `toml:"lockout"`
	LockoutDuration      time.Duration `toml:"lockout_duration" min:"0"`
	MaxFailure           int           `toml:"max_failure" min:"0" max:"1000"`
	FailureCountInterval time.Duration `toml:"failure_count_interval" min:"0"`
	// MaxRecordedFailure is how many failures are kept where more than MaxFailure are wanted.
	MaxRecordedFailure int `toml:"max_recorded_failure" min:"0" max:"1000"`
	// MustChange has a password that somebody else set changed before anything else.
	MustChange bool `toml:"must_change"`
	// AllowUserChange lets users change their own password, SafeModify wants the old one with it.
	AllowUserChange bool `toml:"allow_user_change"`
	SafeModify      bool `toml:"safe_modify"`
	// MinDelay is how long the answer to a first failure waits; it doubles with each failure up to MaxDelay.
	MinDelay time.Duration `toml:"min_delay" min:"0"`
	MaxDelay time.Duration `toml:"max_delay" min:"0" max:"1h"`
	// MaxIdle locks an account that has not been used for as long.
	MaxIdle time.Duration `toml:"max_idle" min:"0"`

	// MinClasses is how many of lower case, upper case, digits and others there must be; MinStrength what the estimate of
	// guesses must reach, from 0 to 4; CheckBreached looks the password up in the list. All three are part of quality.
	MinClasses    int  `toml:"min_classes" min:"0" max:"4"`
	MinStrength   int  `toml:"min_strength" min:"0" max:"4"`
	CheckBreached bool `toml:"check_breached"`
}

// DefaultPolicy is in force where the configuration says nothing. It follows NIST SP 800-63B: length and guessability
// instead of rules of composition, no expiry, and a limit on guesses that no stranger can turn into a lasting lock.
func DefaultPolicy() Policy {
	return Policy{
		CheckQuality: 2, MinLength: 8, MinStrength: 2, AllowUserChange: true,
		Lockout: true, MaxFailure: 10, FailureCountInterval: 15 * time.Minute, LockoutDuration: 15 * time.Minute,
	}
}

// Shipped definitions that policies and accounts are made of, by name; the schema knows the others in Known.
const (
	policyClass    = "pwdPolicy"
	policyMaxValue = 1<<31 - 1 // of an attribute, in its unit
)

// field is an attribute of a policy entry.
type field struct {
	attr string
	most int64
	set  func(p *Policy, n int64)
}

func seconds(at func(p *Policy) *time.Duration) func(*Policy, int64) {
	return func(p *Policy, n int64) { *at(p) = time.Duration(n) * time.Second }
}

func count(at func(p *Policy) *int) func(*Policy, int64) {
	return func(p *Policy, n int64) { *at(p) = int(n) }
}

func truth(at func(p *Policy) *bool) func(*Policy, int64) {
	return func(p *Policy, n int64) { *at(p) = n == 1 }
}

// boolean marks fields whose values are TRUE and FALSE.
const boolean = -1

var fields = [...]field{
	{"pwdMinAge", policyMaxValue, seconds(func(p *Policy) *time.Duration { return &p.MinAge })},
	{"pwdMaxAge", policyMaxValue, seconds(func(p *Policy) *time.Duration { return &p.MaxAge })},
	{"pwdInHistory", 100, count(func(p *Policy) *int { return &p.InHistory })},
	{"pwdCheckQuality", 2, count(func(p *Policy) *int { return &p.CheckQuality })},
	{"pwdMinLength", 1024, count(func(p *Policy) *int { return &p.MinLength })},
	{"pwdMaxLength", 1024, count(func(p *Policy) *int { return &p.MaxLength })},
	{"pwdExpireWarning", policyMaxValue, seconds(func(p *Policy) *time.Duration { return &p.ExpireWarning })},
	{"pwdGraceAuthNLimit", policyMaxValue, count(func(p *Policy) *int { return &p.GraceLimit })},
	{"pwdGraceExpiry", policyMaxValue, seconds(func(p *Policy) *time.Duration { return &p.GraceExpiry })},
	{"pwdLockout", boolean, truth(func(p *Policy) *bool { return &p.Lockout })},
	{"pwdLockoutDuration", policyMaxValue, seconds(func(p *Policy) *time.Duration { return &p.LockoutDuration })},
	{"pwdMaxFailure", 1000, count(func(p *Policy) *int { return &p.MaxFailure })},
	{"pwdFailureCountInterval", policyMaxValue, seconds(func(p *Policy) *time.Duration { return &p.FailureCountInterval })},
	{"pwdMaxRecordedFailure", 1000, count(func(p *Policy) *int { return &p.MaxRecordedFailure })},
	{"pwdMustChange", boolean, truth(func(p *Policy) *bool { return &p.MustChange })},
	{"pwdAllowUserChange", boolean, truth(func(p *Policy) *bool { return &p.AllowUserChange })},
	{"pwdSafeModify", boolean, truth(func(p *Policy) *bool { return &p.SafeModify })},
	{"pwdMinDelay", 3600, seconds(func(p *Policy) *time.Duration { return &p.MinDelay })},
	{"pwdMaxDelay", 3600, seconds(func(p *Policy) *time.Duration { return &p.MaxDelay })},
	{"pwdMaxIdle", policyMaxValue, seconds(func(p *Policy) *time.Duration { return &p.MaxIdle })},
	{"portolanPwdMinClasses", 4, count(func(p *Policy) *int { return &p.MinClasses })},
	{"portolanPwdMinStrength", 4, count(func(p *Policy) *int { return &p.MinStrength })},
	{"portolanPwdCheckBreached", boolean, truth(func(p *Policy) *bool { return &p.CheckBreached })},
}

// readPolicy makes a policy of the attributes of an entry. first gives the first value of an attribute, or nil. The error
// is constraintViolation and names the attribute.
func readPolicy(s *schema.Schema, first func(t *schema.AttributeType) []byte) (*Policy, error) {
	p := &Policy{AllowUserChange: true}
	for i := range fields {
		f := &fields[i]
		t := s.AttributeTypeString(f.attr)
		if t == nil {
			continue
		}
		value := first(t)
		if value == nil {
			continue
		}
		n, err := f.parse(value)
		if err != nil {
			return nil, err
		}
		f.set(p, n)
	}
	if err := p.validate(); err != nil {
		return nil, ldap.Errorf(ldap.ConstraintViolation, "%v", err)
	}
	return p, nil
}

func (f *field) parse(value []byte) (int64, error) {
	if f.most == boolean {
		if string(value) == "TRUE" {
			return 1, nil
		}
		return 0, nil
	}
	n, err := strconv.ParseInt(string(value), 10, 64)
	if err != nil || n < 0 || n > f.most {
		return 0, ldap.Errorf(ldap.ConstraintViolation, "%s: write a number from 0 to %d", f.attr, f.most)
	}
	return n, nil
}

// validate says which values do not go together (draft section 5.2).
func (p *Policy) validate() error {
	switch {
	case p.MaxAge > 0 && p.MinAge > p.MaxAge:
		return fmt.Errorf("the minimum age of a password (pwdMinAge) is above the maximum (pwdMaxAge): nobody could change it in time")
	case p.ExpireWarning > 0 && p.MaxAge > 0 && p.ExpireWarning >= p.MaxAge:
		return fmt.Errorf("the warning (pwdExpireWarning) must be shorter than the maximum age (pwdMaxAge)")
	case p.MinDelay > 0 && p.MaxDelay == 0, p.MaxDelay > 0 && p.MinDelay == 0:
		return fmt.Errorf("a delay wants both its minimum (pwdMinDelay) and its maximum (pwdMaxDelay)")
	case p.MinDelay > p.MaxDelay:
		return fmt.Errorf("the minimum delay (pwdMinDelay) is above the maximum (pwdMaxDelay)")
	case p.MaxLength > 0 && p.MinLength > p.MaxLength:
		return fmt.Errorf("the minimum length (pwdMinLength) is above the maximum (pwdMaxLength)")
	}
	return nil
}

// recorded is how many failures are kept of an account.
func (p *Policy) recorded() int {
	const fallback = 5
	return max(p.MaxRecordedFailure, p.MaxFailure, fallback)
}

// delay is how long the answer to the last of n failures waits (draft section 7.7).
func (p *Policy) delay(n int) time.Duration {
	if p.MinDelay == 0 || n == 0 {
		return 0
	}
	d := p.MinDelay
	for i := 1; i < n && d < p.MaxDelay; i++ {
		d *= 2
	}
	return min(d, p.MaxDelay)
}

// checkPolicyEntry refuses a policy that could not be kept.
func checkPolicyEntry(s *schema.Schema, d *dit.Draft) error {
	if t := s.AttributeTypeString("pwdAttribute"); t != nil {
		if a := d.Attr(schema.Description{Type: t}); a != nil {
			for _, v := range a.Values {
				if s.AttributeTypeString(string(v)) != s.Known.UserPassword {
					return ldap.Errorf(ldap.ConstraintViolation, "pwdAttribute: this server keeps policies for userPassword only")
				}
			}
		}
	}
	if t := s.AttributeTypeString("pwdDefaultHash"); t != nil && d.Touched(schema.Description{Type: t}) {
		if scheme := d.First(t); scheme != nil && !ownScheme(scheme) {
			return ldap.Errorf(ldap.ConstraintViolation, "pwdDefaultHash: this server stores new passwords as {ARGON2} only: write that, or leave it out")
		}
	}
	_, err := readPolicy(s, d.First)
	return err
}

// ownScheme reports whether a value of pwdDefaultHash is the scheme that this server hashes by. All accounts have one and the
// same: a hash that costs more for some would tell them from others by the time of a wrong password.
func ownScheme(scheme []byte) bool { return strings.EqualFold(string(scheme), "{ARGON2}") }

// policyOf makes a policy of a stored entry.
func policyOf(s *schema.Schema, e *dit.Entry) (*Policy, error) {
	return readPolicy(s, func(t *schema.AttributeType) []byte { return e.First(schema.Description{Type: t}) })
}
