package app

import (
	"context"
	"crypto/rand"
	"time"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/overlay/appauth"
	"portolan/internal/schema"
	"portolan/ldap"
)

// AppPassword is one application password: see overlay appauth.
type AppPassword struct {
	// Account is the DN of the entry that logs in with it.
	Account string `json:"account"`
	Name    string `json:"name"`
	// Description is free text, From the networks it is good from (empty: all), TLS whether it needs TLS.
	Description string   `json:"description,omitempty"`
	From        []string `json:"from,omitempty"`
	TLS         bool     `json:"tls,omitempty"`
	// Expires is when it ends; zero is never.
	Expires time.Time `json:"expires,omitzero"`

	// What follows is told, not asked for. Ready says that it has a secret.
	DN       string    `json:"dn,omitempty"`
	Created  time.Time `json:"created,omitzero"`
	LastUse  time.Time `json:"last_use,omitzero"`
	Disabled bool      `json:"disabled,omitempty"`
	Ready    bool      `json:"ready,omitempty"`
}

// AppPasswordMade is a new application password. Secret is shown this once.
type AppPasswordMade struct {
	DN     string `json:"dn"`
	Secret string `json:"secret"`
	Seq    uint64 `json:"seq,omitempty"`
}

func (a AppPassword) about() string         { return a.Account }
func (m *AppPasswordMade) sequence() uint64 { return m.Seq }

// AddAppPassword implements Verbs.
func (a *Admin) AddAppPassword(ctx context.Context, n AppPassword) (*AppPasswordMade, error) {
	dn, err := belowAccount(n.Account, n.Name)
	if err != nil {
		return nil, err
	}
	secret, stored, err := appauth.Make(rand.Reader)
	if err != nil {
		return nil, err
	}
	m := &ldap.AddRequest{Entry: []byte(dn), Attributes: []ldap.Attribute{
		attribute("objectClass", "portolanAppPassword"), attribute("portolanCredentialSecret", string(stored)),
	}}
	if n.Description != "" {
		m.Attributes = append(m.Attributes, attribute("description", n.Description))
	}
	if len(n.From) > 0 {
		m.Attributes = append(m.Attributes, attribute("portolanAllowedFrom", n.From...))
	}
	if n.TLS {
		m.Attributes = append(m.Attributes, attribute("portolanCredentialTLS", "TRUE"))
	}
	if !n.Expires.IsZero() {
		m.Attributes = append(m.Attributes, attribute("pwdEndTime", string(schema.AppendGeneralizedTime(nil, n.Expires.UTC().Truncate(time.Second)))))
	}
	seq, err := a.addCredential(ctx, "app-password", n.Account, n.Name, "revoke", m)
	if err != nil {
		return nil, err
	}
	return &AppPasswordMade{DN: dn, Secret: secret, Seq: seq}, nil
}

// AppPasswords implements Verbs.
func (a *Admin) AppPasswords(_ context.Context, account string) ([]AppPassword, error) {
	out := []AppPassword{}
	err := a.beneath(account, "portolanAppPassword", func(r op.Reader, e *dit.Entry, name dit.Name) error {
		c := heldIn(r.Schema(), e)
		x := AppPassword{
			Account: account, DN: name.DN, Name: c.text(c.known.PortolanCredentialName), Description: c.text(c.known.Description),
			TLS: c.text(c.known.PortolanCredentialTLS) == "TRUE", Disabled: c.text(c.known.PortolanAccountDisabled) == "TRUE",
			Expires: c.time(c.known.PwdEndTime), Created: c.time(c.known.CreateTimestamp), Ready: c.text(c.known.PortolanCredentialSecret) != "",
		}
		if slot := e.Shape().FindType(c.known.PortolanAllowedFrom); slot >= 0 {
			for v := e.Values(slot); ; {
				value, ok := v.Next()
				if !ok {
					break
				}
				x.From = append(x.From, string(value))
			}
		}
		var err error
		x.LastUse, err = op.LastSuccess(a.d.Store.State(), e.UUID)
		out = append(out, x)
		return err
	})
	return out, err
}

// RevokeAppPasswords implements Verbs.
func (a *Admin) RevokeAppPasswords(ctx context.Context, r CredentialRemoval) (*CredentialsRemoved, error) {
	return removeCredentials(ctx, a, r, credentialWords{"app-password", "app password", "revoke"}, a.AppPasswords,
		func(x *AppPassword) (dn, name string) { return x.DN, x.Name })
}

// AddAppPassword implements Verbs.
func (f *offline) AddAppPassword(ctx context.Context, n AppPassword) (*AppPasswordMade, error) {
	a, err := f.open(true)
	if err != nil {
		return nil, err
	}
	return a.AddAppPassword(ctx, n)
}

// AppPasswords implements Verbs.
func (f *offline) AppPasswords(ctx context.Context, account string) ([]AppPassword, error) {
	a, err := f.open(false)
	if err != nil {
		return nil, err
	}
	return a.AppPasswords(ctx, account)
}

// RevokeAppPasswords implements Verbs.
func (f *offline) RevokeAppPasswords(ctx context.Context, r CredentialRemoval) (*CredentialsRemoved, error) {
	a, err := f.open(true)
	if err != nil {
		return nil, err
	}
	return a.RevokeAppPasswords(ctx, r)
}

// AddAppPassword implements Verbs.
func (r *remote) AddAppPassword(ctx context.Context, n AppPassword) (*AppPasswordMade, error) {
	return ask[*AppPasswordMade](ctx, r, numberAddAppPassword, n, output{})
}

// AppPasswords implements Verbs.
func (r *remote) AppPasswords(ctx context.Context, account string) ([]AppPassword, error) {
	return ask[[]AppPassword](ctx, r, numberAppPasswords, accountArgs{account}, output{})
}

// RevokeAppPasswords implements Verbs.
func (r *remote) RevokeAppPasswords(ctx context.Context, rev CredentialRemoval) (*CredentialsRemoved, error) {
	return ask[*CredentialsRemoved](ctx, r, numberRevokeAppPasswords, rev, output{})
}
