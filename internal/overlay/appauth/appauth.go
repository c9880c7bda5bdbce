// Package appauth gives accounts application passwords: credentials of one program or device each, made by the server and
// shown once, which log in as the account and can be revoked one by one. Each is an entry beneath the account.
package appauth

import (
	"bytes"
	"context"
	"sync/atomic"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/ldap"
)

// Options is the table [overlay.appauth].
type Options struct {
	// Max is how many an account may have; 0 is no more: those that there are still serve.
	Max int `toml:"max" min:"0" max:"1000"`
	// Accept is whether binds with them succeed at all.
	Accept bool `toml:"accept"`
}

// Defaults are the options of a configuration that says nothing.
func Defaults() Options { return Options{Max: 20, Accept: true} }

// kind is what messages and logs call the credentials.
const kind = "app password"

// New returns the overlay. It must stand before those that look at passwords.
func New(o Options) op.Overlay {
	x := &appauth{o: o}
	return op.Overlay{
		Name: "appauth",
		Open: func(p *op.Ports) (func(), error) {
			x.ports.Store(p)
			return nil, nil
		},
		Attempt: x.attempt,
		Bind:    x.bind,
		Issue:   x.issue,
		Belongs: belongs,
		Prepare: x.prepare,
		Derive:  derive,
		Check:   check,
	}
}

type appauth struct {
	o     Options
	ports atomic.Pointer[op.Ports] // nil until opened
}

func belongs(s *schema.Schema, e *dit.Entry) bool {
	return s.Known.PortolanAppPassword != nil && e.IsA(s, s.Known.PortolanAppPassword)
}

// attempt recognises an application password and has the engine compare it, and not the account's password, with what is
// given. It serves binds alone: a compare asks for the password, and nobody changes a password by another credential.
func (x *appauth) attempt(_ context.Context, _ *op.Request, b *op.BindOutcome) error {
	if !x.o.Accept || b.Purpose != op.ForBind || b.Entry == nil || b.Proved != "" {
		return nil
	}
	plain, ok := canonical(b.Password)
	if !ok {
		return nil
	}
	stored := storedForm(plain)
	want := schema.Description{Type: b.Reader.Schema().Known.PortolanCredentialSecret}
	var found *dit.Entry
	err := op.Beneath(b.Reader, b.Entry, b.Reader.Schema().Known.PortolanAppPassword, func(child *dit.Entry) bool {
		if bytes.Equal(child.First(want), stored) {
			found = child
		}
		return found == nil
	})
	switch {
	case ldap.CodeOf(err) == ldap.AdminLimitExceeded:
		return nil // what has so many entries beneath it is no account
	case err != nil || found == nil:
		return err
	}
	name := string(found.First(schema.Description{Type: b.Reader.Schema().Known.PortolanCredentialName}))
	b.Password, b.Stored = plain, [][]byte{stored}
	b.Apart = &op.Apart{Kind: kind, Name: name, Entry: found}
	return nil
}

// bind refuses an application password that is right and may not be used. The answer is that to a wrong one, but it does
// not count as one: who knows it guesses nothing, and a forgotten telephone is not to lock the account.
func (x *appauth) bind(_ context.Context, req *op.Request, b *op.BindOutcome) error {
	if b.Apart == nil || b.Apart.Kind != kind || b.Err != nil {
		return nil
	}
	s := b.Reader.Schema()
	child := b.Apart.Entry
	why := op.Unusable(s, child, req.Conn)
	switch {
	case why != "":
		why = "the app password is disabled, or not for this address"
	case op.Outside(s, child, x.ports.Load().Now()):
		why = "the app password has expired, or does not begin yet"
	case string(child.First(schema.Description{Type: s.Known.PortolanCredentialTLS})) == "TRUE" && req.Conn.TLS() == nil && req.Conn.Transport != op.Unix:
		why = "the app password is for TLS only"
	default:
		return nil
	}
	b.Err = ldap.Errorf(ldap.InvalidCredentials, "").Because(why)
	return nil
}

// issue makes the secret of an application password, or another one.
func (x *appauth) issue(ctx context.Context, req *op.Request, i *op.Issue) (bool, error) {
	p := x.ports.Load()
	view := p.Directory.View()
	ours := belongs(view.Schema(), i.Entry)
	view.Close()
	if !ours {
		return false, nil
	}
	if i.Chosen != nil || i.Old != nil {
		return true, ldap.Errorf(ldap.UnwillingToPerform, "app passwords are made by the server: leave the old and the new password out of the request")
	}
	shown, stored, err := Make(p.Rand)
	if err != nil {
		return true, err
	}
	inner := *req
	inner.Controls, inner.Reply, inner.Write = nil, op.Reply{}, op.WritePlan{Issued: true, NoOp: req.Write.NoOp}
	inner.Op = &ldap.ModifyRequest{Object: []byte(i.DN), Changes: []ldap.Mod{{
		Op: ldap.ModReplace, Attribute: ldap.Attribute{Type: []byte("portolanCredentialSecret"), Values: [][]byte{stored}},
	}}}
	err = p.Directory.Perform(ctx, &inner, req.Out)
	req.Trace = inner.Trace
	req.Trace.DN = i.DN
	if err != nil {
		return true, err
	}
	i.Shown = []byte(shown)
	return true, nil
}
