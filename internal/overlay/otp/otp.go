// Package otp asks accounts for a second factor: a time-based code (RFC 6238) behind the password of a simple bind, or a
// recovery code. Tokens and recovery codes are entries beneath the account; the server makes their secrets and shows them
// once.
package otp

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/ldap"
)

// Options is the table [overlay.otp].
type Options struct {
	// Issuer is what authenticators show beside the account; empty is "Portolan".
	Issuer string `toml:"issuer"`
	// Algorithm, Digits and Period are those of tokens that do not say.
	Algorithm string        `toml:"algorithm"`
	Digits    int           `toml:"digits" min:"6" max:"8"`
	Period    time.Duration `toml:"period" min:"10s" max:"5m"`
	// Window is how many codes before and after the present one are taken.
	Window int `toml:"window" min:"0" max:"10"`
	// KeyFile holds the key that seeds are encrypted with; empty leaves them as they are, which is secret all the same.
	KeyFile string `toml:"key_file,path"`
	// Max is how many tokens an account may have, RecoveryCodes how many recovery codes are made at a time.
	Max           int `toml:"max" min:"1" max:"100"`
	RecoveryCodes int `toml:"recovery_codes" min:"1" max:"100"`
	// AppPasswords says that application passwords need no second factor.
	AppPasswords bool `toml:"app_passwords"`
	// Mechanisms are the SASL mechanisms that need none. What shows no password and is not among them lets nobody in who
	// needs one.
	Mechanisms []string `toml:"mechanisms,one"`
	// Required are the accounts that do not get in without a second factor. All others need one once they have a token.
	Required []Required `toml:"required"`
}

// Required names accounts by where they are and by group, nested groups included; empty fits all.
type Required struct {
	Base  string `toml:"base"`
	Group string `toml:"group"`
}

// Defaults are the options of a configuration that says nothing.
func Defaults() Options {
	return Options{
		Algorithm: "SHA1", Digits: 6, Period: 30 * time.Second, Window: 1, Max: 5, RecoveryCodes: 10, AppPasswords: true,
		Mechanisms: []string{"EXTERNAL"},
	}
}

// tokenClass and recoveryClass are the object classes of what accounts have.
const (
	tokenClass    = "portolanOtpToken"
	recoveryClass = "portolanRecoveryCodes"
)

// New returns the overlay. It must stand behind appauth, and before what counts wrong passwords.
func New(o Options) op.Overlay {
	x := &otp{o: o}
	return op.Overlay{
		Name:    "otp",
		Open:    x.open,
		Attempt: x.attempt,
		Bind:    x.bind,
		Issue:   x.issue,
		Belongs: belongs,
		Prepare: x.prepare,
		Derive:  derive,
		Check:   x.check,
	}
}

type otp struct {
	o     Options
	ports atomic.Pointer[op.Ports] // nil until opened
	keys  *keeper
	rules []rule
}

// rule is a Required with canonical names.
type rule struct{ base, group string }

func (x *otp) open(p *op.Ports) (func(), error) {
	if algorithmOf(x.o.Algorithm) == nil {
		return nil, fmt.Errorf("overlay.otp.algorithm: %q is none: write SHA1, SHA256 or SHA512", x.o.Algorithm)
	}
	if x.o.Digits == 7 || x.o.Period%time.Second != 0 {
		return nil, fmt.Errorf("overlay.otp: digits are 6 or 8, and a period is of whole seconds: authenticators know no others")
	}
	if x.o.KeyFile != "" {
		var err error
		if x.keys, err = readKey(x.o.KeyFile); err != nil {
			return nil, err
		}
	}
	view := p.Directory.View()
	defer view.Close()
	for i, r := range x.o.Required {
		var c rule
		for key, to := range map[string]*string{"base": &c.base, "group": &c.group} {
			dn := r.Base
			if key == "group" {
				dn = r.Group
			}
			if dn == "" {
				continue
			}
			norm, err := view.Schema().NormalizeDNString(nil, dn)
			if err != nil {
				return nil, fmt.Errorf("overlay.otp.required[%d].%s: %q is not a DN", i+1, key, dn)
			}
			*to = string(norm)
		}
		x.rules = append(x.rules, c)
	}
	x.ports.Store(p)
	return nil, nil
}

func belongs(s *schema.Schema, e *dit.Entry) bool {
	return isOf(s, e, tokenClass) || isOf(s, e, recoveryClass)
}

func isOf(s *schema.Schema, e *dit.Entry, class string) bool {
	c := s.ObjectClass(class)
	return c != nil && e.IsA(s, c)
}

// required reports whether an account does not get in without a second factor.
func (x *otp) required(r op.Reader, name dit.Name) (bool, error) {
	var groups *dit.IDSet
	for _, rule := range x.rules {
		if rule.base != "" && !schema.DNUnder([]byte(name.Norm), []byte(rule.base)) {
			continue
		}
		if rule.group == "" {
			return true, nil
		}
		group, _, err := r.Lookup(rule.group)
		if err != nil {
			return false, err
		}
		if group == nil {
			continue // check reports it
		}
		if groups == nil {
			if groups, err = op.GroupsOf(r, name.Norm, nil); err != nil {
				return false, err
			}
		}
		if groups.Contains(uint64(group.ID)) {
			return true, nil
		}
	}
	return false, nil
}

// factor is what the overlay knows of a bind between its hooks.
type factor struct {
	// needed says that the account does not get in without a second factor.
	needed bool
	// token is the one whose code was given, and step the counter of the code; or recovery the entry that has the hash used
	// of the recovery code.
	token    *token
	step     int64
	recovery *dit.Entry
	hash     []byte
	// replayed says that the code was right, and had been used.
	replayed bool
	// closed is why nobody gets in, whatever is given.
	closed op.Reason
}

var nothing = &factor{}

// given reports whether a second factor was given that is right as far as one can tell without using it up.
func (f *factor) given() bool { return !f.replayed && (f.token != nil || f.recovery != nil) }

// nobodyHas reports whether there is no token in the whole directory, which the cache of the class's index knows: each bind
// would have to read the disk otherwise. Without the index it says no.
func nobodyHas(r op.Reader, s *schema.Schema) bool {
	key, err := s.EqualityKey(s.Known.ObjectClass, nil, []byte(tokenClass))
	if err != nil {
		return false
	}
	set, err := r.Equal(s.Known.ObjectClass, key)
	return err == nil && set.IsEmpty()
}

// account gathers the second factors of an account.
func (x *otp) account(r op.Reader, e *dit.Entry, name dit.Name) (f *factor, tokens []*token, recovery []*dit.Entry, err error) {
	f = &factor{}
	if f.needed, err = x.required(r, name); err != nil {
		return nil, nil, nil, err
	}
	s := r.Schema()
	if nobodyHas(r, s) {
		return f, nil, nil, nil
	}
	if has, err := r.HasChildren(e.ID); err != nil || !has {
		return f, nil, nil, err
	}
	err = op.Beneath(r, e, s.ObjectClass(tokenClass), func(child *dit.Entry) bool {
		t := x.token(s, child)
		if t == nil {
			return true // there is no seed yet
		}
		tokens = append(tokens, t)
		f.needed = f.needed || t.confirmed
		return true
	})
	if err == nil && f.needed {
		err = op.Beneath(r, e, s.ObjectClass(recoveryClass), func(child *dit.Entry) bool {
			recovery = append(recovery, child)
			return true
		})
	}
	if ldap.CodeOf(err) == ldap.AdminLimitExceeded {
		f.needed, f.closed, err = true, "there are too many entries beneath the account to look for tokens", nil
	}
	// Confirmed ones first: their length is what a wrong code is cut off by.
	slices.SortStableFunc(tokens, func(a, b *token) int {
		switch {
		case a.confirmed == b.confirmed:
			return 0
		case a.confirmed:
			return -1
		}
		return 1
	})
	return f, tokens, recovery, err
}

// attempt takes the second factor off what was given for a password. Nothing is used up yet.
func (x *otp) attempt(_ context.Context, _ *op.Request, b *op.BindOutcome) error {
	if b.Entry == nil || b.Identity == nil || b.Identity.Admin || b.Purpose == op.ForChange || b.Proved != "" {
		return nil
	}
	f, tokens, recovery, err := x.account(b.Reader, b.Entry, b.Name)
	if err != nil {
		return err
	}
	b.Factor = f
	switch {
	case b.Apart != nil && x.o.AppPasswords:
		b.Factor = nothing
		return nil
	case b.Apart != nil:
		if f.needed {
			f.closed = "an app password, where a second factor is needed"
		}
		return nil
	case !f.needed && len(tokens) == 0:
		b.Factor = nothing
		return nil
	}
	password, err := x.split(b, f, tokens, recovery)
	if err != nil {
		return err
	}
	if f.needed || f.given() {
		b.Password = password
	}
	return nil
}

// split looks for a code at the end of what was given, and returns what stands before it.
func (x *otp) split(b *op.BindOutcome, f *factor, tokens []*token, recovery []*dit.Entry) ([]byte, error) {
	now := x.ports.Load().Now()
	for _, t := range tokens {
		password, code, ok := cutDigits(b.Password, t.digits)
		if !ok {
			continue
		}
		step, ok := t.find(code, now, x.o.Window)
		if !ok {
			continue
		}
		last, err := x.lastStep(t)
		if err != nil {
			return nil, err
		}
		f.token, f.step, f.replayed = t, step, step <= last
		if !f.replayed {
			return password, nil
		}
	}
	if f.token != nil {
		password, _, _ := cutDigits(b.Password, f.token.digits)
		return password, nil
	}
	if password, plain, ok := cutRecovery(b.Password); ok && f.needed {
		hash := recoveryForm(plain)
		for _, e := range recovery {
			if holds(b.Reader.Schema(), e, hash) {
				f.recovery, f.hash = e, hash
				return password, nil
			}
		}
	}
	// A code that is wrong is cut off all the same, so that the password is what is compared.
	if len(tokens) > 0 {
		if password, _, ok := cutDigits(b.Password, tokens[0].digits); ok {
			return password, nil
		}
	}
	return b.Password, nil
}

// bind lets nobody in who needs a second factor and has not given one, whatever else was right. A code that is wrong or
// missing counts as a wrong password, so that codes are guessed no faster than passwords.
func (x *otp) bind(ctx context.Context, req *op.Request, b *op.BindOutcome) error {
	if b.Entry == nil || b.Purpose == op.ForChange || b.Identity != nil && b.Identity.Admin {
		return nil
	}
	f, looked := b.Factor.(*factor)
	if !looked {
		if slices.ContainsFunc(x.o.Mechanisms, func(m string) bool { return m == b.Proved }) {
			return nil
		}
		var err error
		if f, _, _, err = x.account(b.Reader, b.Entry, b.Name); err != nil {
			return err
		}
		if f.needed && f.closed == "" {
			f.closed = "the mechanism cannot show a second factor, and the account needs one"
		}
	}
	if b.Err != nil || !f.needed && !f.given() {
		return nil
	}
	switch {
	case f.closed != "":
		b.Err = refused(f.closed)
	case f.replayed:
		// It tells whoever offers it nothing new: programs that bind twice with what they were given once are not to lock the account.
		b.Err = refused("the code was used before")
	case !f.given():
		b.Err, b.Wrong = refused("the second factor is wrong or missing"), true
	default:
		account := b.Name.DN
		b.Spend = append(b.Spend, func(ctx context.Context) error { return x.spend(req.Detach(ctx), account, f) })
	}
	return nil
}

func refused(why op.Reason) error { return ldap.Errorf(ldap.InvalidCredentials, "").Because(why) }
