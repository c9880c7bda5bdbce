// Package ppolicy is the password policy of draft-behera-ldap-password-policy-11: how passwords must be made, how long
// they are good for, and when an account is locked.
//
// What must be durable stands in the entry (pwdChangedTime, pwdHistory, pwdReset, pwdGraceUseTime, pwdAccountLockedTime);
// the times of failures are op.State, which costs a bind no write. Policies are entries of class pwdPolicy, or the table of
// the configuration. The bootstrap administrator has no policy.
package ppolicy

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"portolan/internal/credential"
	"portolan/internal/op"
)

// Options is the table [overlay.ppolicy].
type Options struct {
	// Default names the policy entry of accounts for which nothing else names one. Where it is empty, or there is no such
	// entry, Policy is in force.
	Default string `toml:"default"`
	// Policy are the values of the policy that the configuration itself gives.
	Policy Policy `toml:"policy"`
	// Rules give policies to subtrees and groups. The first that fits an account counts.
	Rules []Rule `toml:"rule"`
	// DiscloseLockout tells clients that ask by the password policy control that an account is locked. It tells whoever
	// guesses passwords, too, and that the account exists.
	DiscloseLockout bool `toml:"disclose_lockout"`
	// ForgiveRepeated does not count a wrong password that was wrong before, from the same source: a device that goes on
	// sending a password of yesterday locks nobody out. The draft counts it.
	ForgiveRepeated bool `toml:"forgive_repeated"`
	// Breached is a list of passwords that are known to attackers, for policies that want it looked at: a file of SHA-1
	// hashes sorted by hash, a folder of them by prefix, or a plain list of words.
	Breached string `toml:"breached_passwords,path"`
	// ExpiryControls sends the controls of draft-vchu-ldap-pwd-policy with the answers to binds whose client did not ask by
	// the password policy control.
	ExpiryControls bool `toml:"expiry_controls"`
}

// Rule gives a policy to accounts.
type Rule struct {
	// Policy names the policy entry.
	Policy string `toml:"policy"`
	// Base is the subtree and Group the group, nested groups included, that an account must be in; empty fits all.
	Base  string `toml:"base"`
	Group string `toml:"group"`
}

// Defaults are the options of a configuration that says nothing.
func Defaults() Options { return Options{Policy: DefaultPolicy()} }

// New returns the overlay.
func New(o Options) op.Overlay {
	x := &ppolicy{o: o, waiting: newWaiting(), unknown: newUnknown()}
	return op.Overlay{
		Name:         "ppolicy",
		Equality:     []string{"pwdPolicySubentry", "pwdAccountLockedTime", "pwdReset"},
		Open:         x.open,
		Attempt:      x.attempt,
		Bind:         x.bind,
		Password:     x.password,
		Prepare:      x.prepare,
		Derive:       x.derive,
		Observe:      x.observe,
		View:         &op.View{Attributes: []string{"pwdFailureTime", "pwdPolicySubentry"}, Values: x.values, Match: x.match, Write: x.write},
		Usability:    x.usability,
		Check:        x.check,
		CheckEntries: x.checkEntries,
	}
}

type ppolicy struct {
	o        Options
	ports    atomic.Pointer[op.Ports] // nil until opened
	breached *credential.Breached
	strength credential.Estimator

	table      atomic.Pointer[table]
	generation atomic.Uint64
	policies   policyCache
	selected   selectionCache

	tracked tracked
	waiting *waiting
	unknown *unknown
}

// tracked are the accounts that may have a record: few have, and the others are not to cost a look into the store. An account
// stays in it when its record goes.
type tracked struct {
	mu  sync.RWMutex
	ids map[uuid.UUID]struct{}
}

func (t *tracked) add(id uuid.UUID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ids == nil {
		t.ids = make(map[uuid.UUID]struct{})
	}
	t.ids[id] = struct{}{}
}

func (t *tracked) has(id uuid.UUID) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	_, ok := t.ids[id]
	return ok
}

func (x *ppolicy) open(p *op.Ports) (func(), error) {
	if err := x.o.validate(p); err != nil {
		return nil, err
	}
	err := p.State.Each([]byte(statePrefix), func(key, _ []byte) bool {
		if id, err := uuid.FromBytes(key[len(statePrefix):]); err == nil {
			x.tracked.add(id)
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	if x.o.Breached != "" {
		list, err := credential.OpenBreached(x.o.Breached)
		if err != nil {
			return nil, fmt.Errorf("overlay.ppolicy.breached_passwords: %w", err)
		}
		x.breached = list
	}
	x.ports.Store(p)
	return func() {
		if err := x.breached.Close(); err != nil {
			p.Log.Warn("the list of breached passwords could not be closed", "error", err)
		}
	}, nil
}

// validate says what in the table cannot be.
func (o *Options) validate(p *op.Ports) error {
	if err := o.Policy.validate(); err != nil {
		return fmt.Errorf("overlay.ppolicy.policy: %w", err)
	}
	if o.Policy.CheckBreached && o.Breached == "" {
		return fmt.Errorf("overlay.ppolicy.policy.check_breached: there is no list to look at: set overlay.ppolicy.breached_passwords")
	}
	view := p.Directory.View()
	defer view.Close()
	name := func(key, dn string) error {
		if dn == "" {
			return nil
		}
		if _, err := view.Schema().NormalizeDN(nil, []byte(dn)); err != nil {
			return fmt.Errorf("overlay.ppolicy.%s: %q is not a DN: write one such as cn=default,ou=policies,dc=example,dc=org", key, dn)
		}
		return nil
	}
	if err := name("default", o.Default); err != nil {
		return err
	}
	for i, r := range o.Rules {
		key := func(k string) string { return fmt.Sprintf("rule[%d].%s", i+1, k) }
		if r.Policy == "" {
			return fmt.Errorf("overlay.ppolicy.%s: the rule names no policy", key("policy"))
		}
		for k, dn := range map[string]string{"policy": r.Policy, "base": r.Base, "group": r.Group} {
			if err := name(key(k), dn); err != nil {
				return err
			}
		}
	}
	return nil
}

func (x *ppolicy) now() time.Time { return x.ports.Load().Now() }

// update runs a transaction of the overlay's own. modifiersName and modifyTimestamp of the entry stay.
func (x *ppolicy) update(ctx context.Context, f func(tx op.Tx) error) error {
	return x.ports.Load().Directory.Update(ctx, "ppolicy", f)
}
