package otp

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"strings"

	"portolan/internal/access"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/ldap"
)

// issue makes the seed of a token, or recovery codes, and shows them; with a code in the place of a new password it confirms
// a token.
func (x *otp) issue(ctx context.Context, req *op.Request, i *op.Issue) (bool, error) {
	p := x.ports.Load()
	view := p.Directory.View()
	defer view.Close()
	s := view.Schema()
	if !belongs(s, i.Entry) {
		return false, nil
	}
	if i.Old != nil {
		return true, ldap.Errorf(ldap.UnwillingToPerform, "tokens and recovery codes have no old password: leave it out")
	}
	if isOf(s, i.Entry, recoveryClass) {
		if i.Chosen != nil {
			return true, ldap.Errorf(ldap.UnwillingToPerform, "recovery codes are made by the server: leave the new password out of the request")
		}
		shown, stored, err := makeRecovery(p.Rand, x.o.RecoveryCodes)
		if err == nil {
			err = x.store(ctx, req, i.DN, stored)
		}
		i.Shown = shown
		return true, err
	}
	t := x.parameters(s, i.Entry)
	if i.Chosen != nil {
		return true, x.confirm(ctx, req, view, i)
	}
	seed := make([]byte, t.algorithm.seed)
	if _, err := io.ReadFull(p.Rand, seed); err != nil {
		return true, fmt.Errorf("random octets for a token: %w", err)
	}
	// It is encrypted where the transaction takes it in.
	var none *keeper
	if err := x.store(ctx, req, i.DN, [][]byte{none.seal(seed)}); err != nil {
		return true, err
	}
	i.Shown = []byte(x.uri(view, i, t, seed))
	return true, nil
}

// store writes secrets as the requester.
func (x *otp) store(ctx context.Context, req *op.Request, dn string, values [][]byte) error {
	inner := *req
	inner.Controls, inner.Reply, inner.Write = nil, op.Reply{}, op.WritePlan{Issued: true, NoOp: req.Write.NoOp}
	inner.Op = &ldap.ModifyRequest{Object: []byte(dn), Changes: []ldap.Mod{{
		Op: ldap.ModReplace, Attribute: ldap.Attribute{Type: []byte("portolanCredentialSecret"), Values: values},
	}}}
	err := x.ports.Load().Directory.Perform(ctx, &inner, req.Out)
	req.Trace = inner.Trace
	req.Trace.DN = dn
	return err
}

// confirm takes the first code of a token that is not in force yet. Who may make the seed may confirm it.
func (x *otp) confirm(ctx context.Context, req *op.Request, r op.Reader, i *op.Issue) error {
	s := r.Schema()
	sight := x.ports.Load().Directory.Sight(req, r)
	name, err := sight.Look(i.Entry)
	if err != nil {
		return err
	}
	secret := schema.Description{Type: s.AttributeTypeString("portolanCredentialSecret")}
	if sight.AttrRights(secret)&access.Add == 0 {
		return ldap.Errorf(ldap.InsufficientAccessRights, "")
	}
	if req.Identity.WithoutPassword() {
		return errApart()
	}
	t := x.token(s, i.Entry)
	if t == nil {
		return ldap.Errorf(ldap.UnwillingToPerform, "the token has no seed yet: ask for one by password modify without a new password")
	}
	step, ok := t.find(i.Chosen, x.ports.Load().Now(), x.o.Window)
	if !ok {
		return ldap.Errorf(ldap.UnwillingToPerform, "the code is wrong: is the clock of the device right?")
	}
	if req.Write.NoOp {
		return ldap.Errorf(ldap.NoOperation, "")
	}
	if err := x.spend(req.Detach(ctx), name.DN, &factor{token: t, step: step}); err != nil {
		if ldap.CodeOf(err) == ldap.InvalidCredentials {
			return ldap.Errorf(ldap.UnwillingToPerform, "the code was used before: wait for the next one").Because(err)
		}
		return err
	}
	return nil
}

// uri is the otpauth URI of a token, which authenticators read (as in the Key URI Format of Google Authenticator).
func (x *otp) uri(r op.Reader, i *op.Issue, t *token, seed []byte) string {
	issuer := x.o.Issuer
	if issuer == "" {
		issuer = "Portolan"
	}
	q := strings.Join([]string{
		"secret=" + base32NoPad.EncodeToString(seed), "issuer=" + url.PathEscape(issuer), "algorithm=" + t.algorithm.name,
		fmt.Sprintf("digits=%d", t.digits), fmt.Sprintf("period=%d", t.period),
	}, "&")
	return "otpauth://totp/" + url.PathEscape(issuer+":"+label(r, i)) + "?" + q
}

// label is what an authenticator calls the account: uid, mail, or the value that names the entry.
func label(r op.Reader, i *op.Issue) string {
	above, err := r.Get(i.Entry.Parent)
	if err != nil || above == nil {
		return "account"
	}
	for _, attr := range []string{"uid", "mail"} {
		if v := first(r.Schema(), above, attr); v != nil {
			return string(v)
		}
	}
	if rdn, err := ldap.ParseDN(above.RDN); err == nil && len(rdn) > 0 {
		return string(rdn[0][0].Value)
	}
	return "account"
}
