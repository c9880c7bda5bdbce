package extop

import (
	"context"
	"io"

	"portolan/ber"
	"portolan/internal/credential"
	"portolan/internal/op"
	"portolan/ldap"
)

// Passwords is what password modify needs of the engine.
type Passwords interface {
	op.Handler
	// CheckPassword verifies a password of the entry with this canonical name; invalidCredentials if it is wrong.
	CheckPassword(ctx context.Context, req *op.Request, norm string, password []byte) error
	// Issue makes credentials of an entry that holds other ones than a password; taken is false where it does not. shown is
	// what the client is to know of them.
	Issue(ctx context.Context, req *op.Request, dn, norm string, old, chosen []byte) (shown []byte, taken bool, err error)
	// NormalizeUser returns the entry name that a userIdentity of RFC 3062 stands for, as a DN and in canonical form.
	NormalizeUser(userIdentity []byte) (dn, norm string, err error)
}

// generatedLength is the length of passwords that the server makes: about 100 bits.
const generatedLength = 20

// PasswordModify is the password modify operation (RFC 3062). The change itself is an ordinary modify of userPassword by
// the requester, so that access rules, password policy and hashing are those of any other.
func PasswordModify(p Passwords, random io.Reader) op.Extended {
	return op.Extended{
		OID: passwordModifyOID, Name: "passwd", Source: "RFC 3062", Writes: true,
		Shows: func(value []byte) (user, password []byte, ok bool) {
			m, err := parsePasswd(value, true)
			return m.user, m.old, err == nil && len(m.old) > 0
		},
		Handle: func(ctx context.Context, req *op.Request, value []byte, hasValue bool, w op.Writer) error {
			m, err := parsePasswd(value, hasValue)
			if err != nil {
				return err
			}
			if req.Identity.IsAnonymous() {
				// RFC 3062 section 1: the operation is not to be used anonymously, whatever access rules give to anybody.
				return errNobody
			}
			dn, norm := req.Identity.Name.DN, req.Identity.Name.Norm
			if m.hasUser {
				if dn, norm, err = p.NormalizeUser(m.user); err != nil {
					return err
				}
			}
			if norm == "" {
				return ldap.Errorf(ldap.NoSuchObject, "the root DSE has no password: leave the userIdentity out for your own")
			}
			req.Trace.DN = dn
			ctx = req.Detach(ctx)
			if shown, taken, err := p.Issue(ctx, req, dn, norm, m.old, m.new); taken || err != nil {
				if err == nil && shown != nil {
					req.Reply.Value, req.Reply.HasValue = generated(shown), true
				}
				return err
			}
			if m.hasOld {
				// RFC 3062 section 2: a wrong old password leaves everything as it was. It is checked for the administrator too.
				if err := p.CheckPassword(ctx, req, norm, m.old); err != nil {
					if ldap.CodeOf(err) == ldap.InvalidCredentials {
						return ldap.Errorf(ldap.UnwillingToPerform, "the old password is wrong").Because(err)
					}
					return err
				}
			}
			var reply []byte
			if !m.hasNew {
				made, err := credential.Generate(random, generatedLength)
				if err != nil {
					return err
				}
				m.new = []byte(made)
				reply = generated(m.new)
			} else if len(m.new) == 0 {
				return ldap.Errorf(ldap.UnwillingToPerform, "the new password is empty")
			}
			inner := *req
			inner.Controls = nil
			inner.Reply = op.Reply{}
			change := &ldap.ModifyRequest{Object: []byte(dn)}
			if m.hasOld {
				// The old one goes with the change, so that the password policy sees that it was given.
				change.Changes = append(change.Changes, passwordMod(ldap.ModDelete, m.old))
			}
			change.Changes = append(change.Changes, passwordMod(ldap.ModReplace, m.new))
			inner.Op = change
			err = p.Serve(ctx, &inner, w)
			req.Trace, req.Policy = inner.Trace, inner.Policy
			req.Trace.DN = dn
			req.Reply.Controls = append(req.Reply.Controls, inner.Reply.Controls...)
			if err == nil && reply != nil {
				req.Reply.Value, req.Reply.HasValue = reply, true
			}
			return err
		},
	}
}

var errNobody = ldap.Errorf(ldap.StrongerAuthRequired, "bind first: nobody changes a password anonymously (RFC 3062)")

// generated is PasswdModifyResponseValue of RFC 3062 section 2.
func generated(password []byte) []byte {
	reply, mark := ber.Begin(nil, ber.Sequence)
	return ber.End(ber.AppendBytes(reply, ber.ContextSpecific|0, password), mark)
}

func passwordMod(kind ldap.ModOp, password []byte) ldap.Mod {
	return ldap.Mod{Op: kind, Attribute: ldap.Attribute{Type: []byte("userPassword"), Values: [][]byte{password}}}
}

// passwdRequest is PasswdModifyRequestValue of RFC 3062 section 2.
type passwdRequest struct {
	user, old, new          []byte
	hasUser, hasOld, hasNew bool
}

func parsePasswd(value []byte, hasValue bool) (m passwdRequest, err error) {
	if !hasValue {
		return m, nil
	}
	r := ber.Reader(value)
	var seq ber.Reader
	if !r.Element(ber.Sequence, &seq) || !r.Empty() ||
		!seq.OptionalBytes(ber.ContextSpecific|0, &m.user, &m.hasUser) ||
		!seq.OptionalBytes(ber.ContextSpecific|1, &m.old, &m.hasOld) ||
		!seq.OptionalBytes(ber.ContextSpecific|2, &m.new, &m.hasNew) || !seq.Empty() {
		return m, ldap.Errorf(ldap.ProtocolError, "the value is not a PasswdModifyRequestValue (RFC 3062)")
	}
	return m, nil
}
