package control

import (
	"context"

	"portolan/ber"
	"portolan/internal/access"
	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/ldap"
)

// AccountUsabilityOID is both the request and the response control, which Sun defined.
const AccountUsabilityOID = "1.3.6.1.4.1.42.2.27.9.5.8"

// AccountUsability says with each entry of a search whether the account can be used, by the decisions of the password
// policy. It is there for who may read all of the state that it is made from, and for entries with a password.
func AccountUsability(p *op.Ports) op.Control {
	return op.Control{
		OID: AccountUsabilityOID, Name: "account usability", Source: "Sun Directory Server",
		Applies: func(tag byte) bool { return tag == ldap.TagSearchRequest },
		Parse:   parseWithoutValue("account usability"),
		Around: func(ctx context.Context, req *op.Request, _ any, next func(context.Context) error) error {
			req.Search.EachEntry = append(req.Search.EachEntry, func(_ context.Context, r op.Reader, e *dit.Entry, _ dit.Name, controls []ldap.Control) ([]ldap.Control, error) {
				if e.ID == 0 {
					return controls, nil // computed: nobody's account
				}
				sight := p.Directory.Sight(req, r)
				if _, err := sight.Look(e); err != nil || !readsState(sight, r.Schema()) {
					return controls, err
				}
				u, err := p.Directory.Usability(r, e)
				if err != nil || u == nil {
					return controls, err
				}
				return append(controls, ldap.Control{OID: []byte(AccountUsabilityOID), Value: appendUsability(nil, u), HasValue: true}), nil
			})
			return next(ctx)
		},
	}
}

// readsState reports whether the requester may read the attributes that usability follows from.
func readsState(sight op.Sight, s *schema.Schema) bool {
	known := &s.Known
	for _, t := range []*schema.AttributeType{
		known.PwdAccountLockedTime, known.PwdReset, known.PwdChangedTime, known.PwdGraceUseTime, known.PortolanAccountDisabled,
	} {
		if t != nil && sight.AttrRights(schema.Description{Type: t})&access.Read == 0 {
			return false
		}
	}
	return true
}

// appendUsability appends an ACCOUNT_USABLE_RESPONSE: available with the seconds until the password expires, -1 for never,
// or not available and why. Fields that are at their defaults are there all the same, as in other servers.
func appendUsability(dst []byte, u *op.Usability) []byte {
	if !u.Inactive && !u.Reset && !u.Expired {
		left := int64(-1)
		if u.Expires >= 0 {
			left = seconds(u.Expires)
		}
		return ber.AppendInt(dst, ber.ContextSpecific|0, left)
	}
	dst, info := ber.Begin(dst, ber.ContextSpecific|ber.Constructed|1)
	dst = ber.AppendBool(dst, ber.ContextSpecific|0, u.Inactive)
	dst = ber.AppendBool(dst, ber.ContextSpecific|1, u.Reset)
	dst = ber.AppendBool(dst, ber.ContextSpecific|2, u.Expired)
	if u.Grace >= 0 {
		dst = ber.AppendInt(dst, ber.ContextSpecific|3, int64(min(u.Grace, maxInt)))
	}
	if u.UnlockIn >= 0 {
		dst = ber.AppendInt(dst, ber.ContextSpecific|4, seconds(u.UnlockIn))
	}
	return ber.End(dst, info)
}
