package app

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/ldap"
)

// OTPToken is a token of an account: see overlay otp. Zero values are those of the configuration.
type OTPToken struct {
	Account     string `json:"account"`
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	Algorithm   string `json:"algorithm,omitempty"`
	Digits      int    `json:"digits,omitempty"`
	Period      int    `json:"period,omitempty"` // seconds
}

// OTPMade is what is shown once: the otpauth URI of a token, or recovery codes.
type OTPMade struct {
	DN    string   `json:"dn"`
	URI   string   `json:"uri,omitempty"`
	Codes []string `json:"codes,omitempty"`
	Seq   uint64   `json:"seq,omitempty"`
}

// OTPConfirmation is a first code of a token.
type OTPConfirmation struct {
	Account string `json:"account"`
	Name    string `json:"name"`
	Code    string `json:"code"`
}

// OTPFactor is a token or recovery codes that an account has.
type OTPFactor struct {
	DN   string `json:"dn"`
	Name string `json:"name"`
	// Kind is "token" or "recovery codes"; Confirmed is a token's, Left the number of recovery codes that have not been used.
	Kind        string    `json:"kind"`
	Description string    `json:"description,omitempty"`
	Confirmed   bool      `json:"confirmed,omitempty"`
	Left        int       `json:"left,omitempty"`
	Created     time.Time `json:"created,omitzero"`
	LastUse     time.Time `json:"last_use,omitzero"`
}

func (t OTPToken) about() string        { return t.Account }
func (c OTPConfirmation) about() string { return c.Account }
func (m *OTPMade) sequence() uint64     { return m.Seq }

// issue asks for what the server makes for an entry, as password modify does.
func (a *Admin) issue(ctx context.Context, dn string, chosen []byte) (shown string, seq uint64, err error) {
	name, err := a.d.Engine.NormalizeName(dn)
	if err != nil {
		return "", 0, err
	}
	req := &op.Request{
		Conn: &op.Conn{Transport: op.Unix, Loopback: true, Listener: "otp"}, Identity: a.d.Engine.AdminIdentity("internal"), Start: time.Now(),
	}
	made, taken, err := a.d.Engine.Issue(ctx, req, dn, name.Norm, nil, chosen)
	if err == nil && !taken {
		err = fmt.Errorf("there is no entry %s that holds a token or recovery codes", dn)
	}
	return string(made), req.Trace.Seq, err
}

// AddToken implements Verbs.
func (a *Admin) AddToken(ctx context.Context, t OTPToken) (*OTPMade, error) {
	dn, err := belowAccount(t.Account, t.Name)
	if err != nil {
		return nil, err
	}
	m := &ldap.AddRequest{Entry: []byte(dn), Attributes: []ldap.Attribute{attribute("objectClass", "portolanOtpToken")}}
	for _, x := range []struct{ name, value string }{
		{"description", t.Description}, {"portolanOtpAlgorithm", t.Algorithm}, {"portolanOtpDigits", number(t.Digits)}, {"portolanOtpPeriod", number(t.Period)},
	} {
		if x.value != "" {
			m.Attributes = append(m.Attributes, attribute(x.name, x.value))
		}
	}
	return a.addFactor(ctx, t.Account, t.Name, dn, m)
}

func number(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// addFactor adds an entry and has its secret made. Without the secret the entry goes again.
func (a *Admin) addFactor(ctx context.Context, account, name, dn string, m *ldap.AddRequest) (*OTPMade, error) {
	if _, err := a.addCredential(ctx, "otp", account, name, "remove", m); err != nil {
		return nil, err
	}
	shown, seq, err := a.issue(ctx, dn, nil)
	if err != nil {
		_, undo := a.perform(context.WithoutCancel(ctx), "otp", &ldap.DelRequest{Entry: []byte(dn)})
		return nil, errors.Join(err, undo)
	}
	return &OTPMade{DN: dn, URI: shown, Seq: seq}, nil
}

// ConfirmToken implements Verbs.
func (a *Admin) ConfirmToken(ctx context.Context, c OTPConfirmation) error {
	dn, err := belowAccount(c.Account, c.Name)
	if err != nil {
		return err
	}
	if c.Code == "" {
		return errors.New("the code is empty")
	}
	_, _, err = a.issue(ctx, dn, []byte(c.Code))
	return err
}

// recoveryName is how the command calls recovery codes, of which an account needs one entry.
const recoveryName = "recovery codes"

// RecoveryCodes implements Verbs.
func (a *Admin) RecoveryCodes(ctx context.Context, account string) (*OTPMade, error) {
	dn, err := belowAccount(account, recoveryName)
	if err != nil {
		return nil, err
	}
	all, err := a.Factors(ctx, account)
	if err != nil {
		return nil, err
	}
	made := &OTPMade{}
	for _, f := range all {
		if f.Kind == "recovery codes" {
			made.DN = f.DN
			break
		}
	}
	if made.DN == "" {
		if made, err = a.addFactor(ctx, account, recoveryName, dn, &ldap.AddRequest{Entry: []byte(dn), Attributes: []ldap.Attribute{attribute("objectClass", "portolanRecoveryCodes")}}); err != nil {
			return nil, err
		}
	} else if made.URI, made.Seq, err = a.issue(ctx, made.DN, nil); err != nil {
		return nil, err
	}
	made.Codes, made.URI = strings.Split(made.URI, "\n"), ""
	return made, nil
}

// Factors implements Verbs.
func (a *Admin) Factors(_ context.Context, account string) ([]OTPFactor, error) {
	out := []OTPFactor{}
	for class, kind := range map[string]string{"portolanOtpToken": "token", "portolanRecoveryCodes": "recovery codes"} {
		err := a.beneath(account, class, func(r op.Reader, e *dit.Entry, name dit.Name) error {
			c := heldIn(r.Schema(), e)
			f := OTPFactor{
				DN: name.DN, Name: c.text(c.known.PortolanCredentialName), Kind: kind, Description: c.text(c.known.Description), Created: c.time(c.known.CreateTimestamp),
			}
			if kind == "token" {
				f.Confirmed = c.text(r.Schema().AttributeTypeString("portolanOtpConfirmed")) == "TRUE"
			} else if slot := e.Shape().FindType(c.known.PortolanCredentialSecret); slot >= 0 {
				f.Left = e.Count(slot)
			}
			var err error
			f.LastUse, err = op.LastSuccess(a.d.Store.State(), e.UUID)
			out = append(out, f)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	sortBy(out, func(f *OTPFactor) string { return f.Name })
	return out, nil
}

// RemoveFactors implements Verbs.
func (a *Admin) RemoveFactors(ctx context.Context, r CredentialRemoval) (*CredentialsRemoved, error) {
	return removeCredentials(ctx, a, r, credentialWords{"otp", "token", "remove"}, a.Factors, func(f *OTPFactor) (dn, name string) { return f.DN, f.Name })
}
