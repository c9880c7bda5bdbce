package app

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"portolan/internal/audit"
	"portolan/internal/config"
	"portolan/internal/guard"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/ldap"
)

// makeGuard makes the guard of a directory.
func (d *Directory) makeGuard(o OpenOptions) (err error) {
	wait := o.Wait
	if wait == nil {
		wait = waitFor
	}
	d.guard, err = guard.New(guard.Options{State: d.Store.State(), Now: o.Now, Wait: wait, Rand: rand.Reader, Log: d.Log, Secret: d.secretInName})
	if err != nil {
		return err
	}
	d.guard.Set(guardPolicy(d.Config))
	return nil
}

// secretInName reports whether a name has the value of a secret attribute in it.
func (d *Directory) secretInName(norm string) bool {
	dn, err := ldap.ParseDN(norm)
	if err != nil {
		return true // nothing that is a name
	}
	for _, rdn := range dn {
		for _, ava := range rdn {
			if t := d.Schema().AttributeTypeString(ava.Type); t != nil && t.Secret {
				return true
			}
		}
	}
	return false
}

// runGuard has the guard verify aside, and mark accounts.
func (d *Directory) runGuard(now func() time.Time) (stop func()) {
	dir := d.Engine.Directory()
	return d.guard.Run(guard.Aside{
		Verify: d.Engine.VerifyAside,
		Mark: func(ctx context.Context, who *op.Identity, expire bool) error {
			at := schema.AppendGeneralizedTime(nil, now().UTC().Truncate(time.Second))
			return dir.Update(ctx, "guard", func(tx op.Tx) error {
				e, err := tx.ByUUID(who.UUID)
				if err != nil || e == nil {
					return err
				}
				known := &tx.Schema().Known
				value := func(t *schema.AttributeType) string { return string(e.First(schema.Description{Type: t})) }
				if value(known.PortolanExposedTime) != "" && (!expire || value(known.PwdReset) == "TRUE") {
					return nil
				}
				edit := e.Edit(tx)
				edit.Set(known.PortolanExposedTime, at)
				if expire {
					edit.Set(known.PwdReset, []byte("TRUE"))
				}
				return tx.Modify(edit)
			})
		},
	})
}

// waitFor returns after a time, or when ctx ends.
func waitFor(ctx context.Context, t time.Duration) error {
	timer := time.NewTimer(t)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

func guardPolicy(c *config.Config) guard.Policy {
	g := &c.Guard
	return guard.Policy{
		Enabled: g.Enabled, Relays: g.Relays,
		AccountFailures: g.AccountFailures, SourceFailures: g.SourceFailures, NetworkFailures: g.NetworkFailures, PasswordAccounts: g.PasswordAccounts,
		StrainFailures: g.StrainFailures,
		MaxDelay:       g.MaxDelay, MaxDelayed: g.MaxDelayed, ExpireExposed: g.Exposed == "expire",
	}
}

// ratePolicy is what [limits] says about rates.
func (s *Server) ratePolicy(c *config.Config) (guard.RatePolicy, error) {
	l := &c.Limits
	p := guard.RatePolicy{Identity: l.Rate, Source: l.RateSource, Stranger: l.RateUnauthenticated, Relays: c.Guard.Relays}
	if !slices.ContainsFunc(l.For, func(f config.LimitsFor) bool { return f.Rate != nil }) {
		return p, nil
	}
	overrides, err := whoOverrides(c, s.Schema())
	if err != nil {
		return p, err
	}
	p.For = func(id *op.Identity) (units int, ok bool) {
		inGroup := s.Engine.InGroup(id)
		for i := range overrides {
			if overrides[i].matches(id, inGroup) {
				rate := overrides[i].limits.Rate
				if rate == nil {
					return 0, false
				}
				return *rate, true
			}
		}
		return 0, false
	}
	return p, nil
}

// tooMuch tells the log and the audit log that somebody asks for more than a rate.
func (s *Server) tooMuch(e guard.RateEvent) {
	s.Log.Warn("more is asked for than may be: requests are answered busy", "by", e.By.String(), "of", e.Of, "client", e.Conn.Remote.String())
	if s.trail != nil {
		s.trail.Alarm("guard", e.Conn, audit.Field{Name: "action", Text: "rate"}, audit.Field{Name: "by", Text: e.By.String()},
			audit.Field{Name: "of", Text: e.Of})
	}
}

// guarded tells the log and the audit log of an event of the guard.
func (s *Server) guarded(e guard.Event) {
	client := e.Conn.Remote.String()
	switch e.What {
	case "exposed":
		// The name is a claim: it may be a password that was typed into the wrong field, and does not belong into the log.
		if s.trail != nil {
			s.trail.Alarm("exposed", e.Conn, audit.Field{Name: "action", Text: "refused"}, audit.Field{Name: "dn", Text: e.Subject})
		}
		return
	case "exposed-right":
		s.Log.Warn("the password of an account was sent in clear text: it should be changed", "account", e.Subject, "client", client)
		if s.trail != nil {
			s.trail.Alarm("exposed", e.Conn, audit.Field{Name: "action", Text: "right"}, audit.Field{Name: "dn", Text: e.Subject})
		}
		return
	}
	if e.What == "strained" {
		s.Log.Warn("passwords are being guessed: fewer wrong ones are answered without a delay until it is quiet again", "client", client)
		if s.trail != nil {
			s.trail.Alarm("guard", e.Conn, audit.Field{Name: "action", Text: e.What})
		}
		return
	}
	s.Log.Warn("too many wrong passwords: further attempts wait", "by", e.Axis.String(), "of", e.Subject, "client", client)
	if s.trail != nil {
		s.trail.Alarm("guard", e.Conn, audit.Field{Name: "action", Text: e.What}, audit.Field{Name: "by", Text: e.Axis.String()},
			audit.Field{Name: "of", Text: e.Subject})
	}
}

// Guarded is what the guard counts.
type Guarded struct {
	// Enabled is what the configuration says.
	Enabled bool `json:"enabled"`
	// Stats are of a running server.
	Stats *guard.Stats `json:"stats,omitempty"`
	Rows  []guard.Row  `json:"rows"`
}

// Guarded implements Verbs.
func (a *Admin) Guarded(context.Context) (*Guarded, error) {
	out := &Guarded{Enabled: a.d.Config.Guard.Enabled, Rows: a.d.guard.List()}
	if a.Running() {
		s := a.d.guard.Stats()
		out.Stats = &s
	}
	return out, nil
}

// GuardClear says what the guard is to forget.
type GuardClear struct {
	All bool `json:"all,omitempty"`
	// Account is a DN, Source an address or a network.
	Account string `json:"account,omitempty"`
	Source  string `json:"source,omitempty"`
}

// about names what a clear is about, for the audit log.
func (c GuardClear) about() string { return c.Account }

// GuardCleared is how many counters were forgotten.
type GuardCleared struct {
	Counters int `json:"counters"`
}

// ClearGuard implements Verbs.
func (a *Admin) ClearGuard(_ context.Context, c GuardClear) (*GuardCleared, error) {
	what := guard.Clear{All: c.All}
	if c.Account != "" {
		norm, err := a.d.Schema().NormalizeDN(nil, []byte(c.Account))
		if err != nil {
			return nil, fmt.Errorf("%q is no name of an account: %w", c.Account, err)
		}
		what.Account = string(norm)
	}
	if c.Source != "" {
		var err error
		if what.Source, err = networkOf(c.Source); err != nil {
			return nil, err
		}
	}
	if !what.All && what.Account == "" && !what.Source.IsValid() {
		return nil, fmt.Errorf("say what is to be forgotten: an account, a source, or all")
	}
	return &GuardCleared{Counters: a.d.guard.Clear(what)}, nil
}

// networkOf reads an address or a network.
func networkOf(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		a = a.Unmap().WithZone("")
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, fmt.Errorf("%q is neither an address nor a network such as 192.0.2.0/24", s)
	}
	return p.Masked(), nil
}
