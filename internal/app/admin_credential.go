package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/ldap"
)

// What the verbs about credentials beneath an account share: application passwords, tokens and recovery codes.

// accountArgs names an account.
type accountArgs struct {
	DN string `json:"dn"`
}

// CredentialRemoval names the credentials to delete; with All every one of their kind that the account has.
type CredentialRemoval struct {
	Account string `json:"account"`
	Name    string `json:"name,omitempty"`
	All     bool   `json:"all,omitempty"`
}

// CredentialsRemoved says which are gone, by their names.
type CredentialsRemoved struct {
	Names []string `json:"names"`
	Seq   uint64   `json:"seq,omitempty"`
}

func (a accountArgs) about() string            { return a.DN }
func (r CredentialRemoval) about() string      { return r.Account }
func (r *CredentialsRemoved) sequence() uint64 { return r.Seq }

// credentialWords are how messages call credentials of a kind: the command about them, one of them, and to delete it.
type credentialWords struct{ command, one, take string }

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

// addCredential adds an entry of credentials. take is what is done with one that is not wanted any more.
func (a *Admin) addCredential(ctx context.Context, verb, account, name, take string, m *ldap.AddRequest) (seq uint64, err error) {
	seq, err = a.perform(ctx, verb, m)
	switch ldap.CodeOf(err) {
	case ldap.EntryAlreadyExists:
		return 0, fmt.Errorf("%s has credentials named %q already: choose another name, or %s them first", account, name, take)
	case ldap.NoSuchObject:
		return 0, fmt.Errorf("there is no entry %s", account)
	}
	return seq, err
}

// removeCredentials deletes credentials of those that list returns.
func removeCredentials[T any](ctx context.Context, a *Admin, r CredentialRemoval, w credentialWords,
	list func(ctx context.Context, account string) ([]T, error), of func(x *T) (dn, name string)) (*CredentialsRemoved, error) {
	if r.All == (r.Name != "") {
		return nil, fmt.Errorf("say which %s to %s: its name, or all", w.one, w.take)
	}
	only := ""
	if !r.All {
		var err error
		if only, err = belowAccount(r.Account, r.Name); err != nil {
			return nil, err
		}
	}
	all, err := list(ctx, r.Account)
	if err != nil {
		return nil, err
	}
	done := &CredentialsRemoved{Names: []string{}}
	for i := range all {
		dn, name := of(&all[i])
		if only != "" {
			if same, err := sameName(a.d.Schema(), dn, only); err != nil || !same {
				continue
			}
		}
		if done.Seq, err = a.perform(ctx, w.command, &ldap.DelRequest{Entry: []byte(dn)}); err != nil {
			return done, err
		}
		done.Names = append(done.Names, name)
	}
	if only != "" && len(done.Names) == 0 {
		return nil, fmt.Errorf("%s has no %s named %q: \"portolan %s list\" shows those it has", r.Account, w.one, r.Name, w.command)
	}
	return done, nil
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
