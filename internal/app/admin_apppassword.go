package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
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

// AppPasswordRevocation names the application password to delete; with All every one of the account.
type AppPasswordRevocation struct {
	Account string `json:"account"`
	Name    string `json:"name,omitempty"`
	All     bool   `json:"all,omitempty"`
}

// AppPasswordsRevoked says which are gone, by their names.
type AppPasswordsRevoked struct {
	Names []string `json:"names"`
	Seq   uint64   `json:"seq,omitempty"`
}

// accountArgs names an account.
type accountArgs struct {
	DN string `json:"dn"`
}

func (a AppPassword) about() string             { return a.Account }
func (a accountArgs) about() string             { return a.DN }
func (r AppPasswordRevocation) about() string   { return r.Account }
func (m *AppPasswordMade) sequence() uint64     { return m.Seq }
func (r *AppPasswordsRevoked) sequence() uint64 { return r.Seq }

// perform serves one write of the administrator's, with everything that a client's goes through.
func (a *Admin) perform(ctx context.Context, verb string, m ldap.Op) (seq uint64, err error) {
	req := &op.Request{
		Conn:     &op.Conn{Transport: op.Unix, Loopback: true, Listener: verb},
		Identity: a.d.Engine.AdminIdentity("internal"),
		Start:    time.Now(),
		Op:       m,
	}
	if err := a.d.Engine.Serve(ctx, req, nil); err != nil {
		return 0, err
	}
	if req.Reply.Code != ldap.Success {
		return 0, &ldap.Error{Result: req.Reply.Result}
	}
	return req.Trace.Seq, nil
}

// belowAccount is the name of credentials beneath an account.
func belowAccount(account, name string) (string, error) {
	if account == "" {
		return "", errors.New("the DN of the account is empty")
	}
	if name == "" {
		return "", errors.New("the name is empty: call it after the program or device, such as \"mail on telephone\"")
	}
	above, err := ldap.ParseDN(account)
	if err != nil {
		return "", fmt.Errorf("%s is not a DN: %w", account, err)
	}
	return append(ldap.DN{{{Type: "portolanCredentialName", Value: []byte(name)}}}, above...).String(), nil
}

func attribute(name string, values ...string) ldap.Attribute {
	a := ldap.Attribute{Type: []byte(name)}
	for _, v := range values {
		a.Values = append(a.Values, []byte(v))
	}
	return a
}

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
	seq, err := a.perform(ctx, "app-password", m)
	switch ldap.CodeOf(err) {
	case ldap.EntryAlreadyExists:
		return nil, fmt.Errorf("%s has credentials named %q already: choose another name, or revoke them first", n.Account, n.Name)
	case ldap.NoSuchObject:
		return nil, fmt.Errorf("there is no entry %s", n.Account)
	}
	if err != nil {
		return nil, err
	}
	return &AppPasswordMade{DN: dn, Secret: secret, Seq: seq}, nil
}

// beneath calls f for the credentials of a class beneath an account.
func (a *Admin) beneath(account, class string, f func(r op.Reader, e *dit.Entry, name dit.Name) error) error {
	view := a.d.Engine.Directory().View()
	defer view.Close()
	norm, err := view.Schema().NormalizeDNString(nil, account)
	if err != nil {
		return fmt.Errorf("%s is not a DN: %w", account, err)
	}
	e, _, err := view.Lookup(string(norm))
	if err != nil {
		return err
	}
	if e == nil {
		return fmt.Errorf("there is no entry %s", account)
	}
	var failed error
	err = op.Beneath(view, e, view.Schema().ObjectClass(class), func(child *dit.Entry) bool {
		name, err := view.Name(child)
		if err == nil {
			err = f(view, child, name)
		}
		failed = err
		return failed == nil
	})
	return errors.Join(failed, err)
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

// held reads the attributes of an entry that holds one.
type held struct {
	known *schema.Known
	e     *dit.Entry
}

func heldIn(s *schema.Schema, e *dit.Entry) held { return held{&s.Known, e} }

func (c held) text(t *schema.AttributeType) string {
	return string(c.e.First(schema.Description{Type: t}))
}

func (c held) time(t *schema.AttributeType) time.Time {
	at, err := schema.ParseGeneralizedTime(c.e.First(schema.Description{Type: t}))
	if err != nil {
		return time.Time{}
	}
	return at
}

// RevokeAppPasswords implements Verbs.
func (a *Admin) RevokeAppPasswords(ctx context.Context, r AppPasswordRevocation) (*AppPasswordsRevoked, error) {
	if r.All == (r.Name != "") {
		return nil, errors.New("say which app password to revoke: its name, or all")
	}
	dn := ""
	if !r.All {
		var err error
		if dn, err = belowAccount(r.Account, r.Name); err != nil {
			return nil, err
		}
	}
	all, err := a.AppPasswords(ctx, r.Account)
	if err != nil {
		return nil, err
	}
	done := &AppPasswordsRevoked{Names: []string{}}
	for _, x := range all {
		if dn != "" {
			if same, err := sameName(a.d.Schema(), x.DN, dn); err != nil || !same {
				continue
			}
		}
		if done.Seq, err = a.perform(ctx, "app-password", &ldap.DelRequest{Entry: []byte(x.DN)}); err != nil {
			return done, err
		}
		done.Names = append(done.Names, x.Name)
	}
	if dn != "" && len(done.Names) == 0 {
		return nil, fmt.Errorf("%s has no app password named %q: \"portolan app-password list\" shows those it has", r.Account, r.Name)
	}
	return done, nil
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
func (f *offline) RevokeAppPasswords(ctx context.Context, r AppPasswordRevocation) (*AppPasswordsRevoked, error) {
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
func (r *remote) RevokeAppPasswords(ctx context.Context, rev AppPasswordRevocation) (*AppPasswordsRevoked, error) {
	return ask[*AppPasswordsRevoked](ctx, r, numberRevokeAppPasswords, rev, output{})
}
