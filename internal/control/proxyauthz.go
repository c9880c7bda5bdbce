package control

import (
	"context"

	"portolan/internal/access"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/ldap"
)

// ProxyAuthzOID is proxied authorization, version 2 (RFC 4370).
const ProxyAuthzOID = "2.16.840.1.113730.3.4.18"

// ProxyAuthz has one operation done as somebody else (RFC 4370). The requester needs the right "proxy" on the entry of that
// identity. The administrator may act as everybody, nobody but the administrator as the administrator, anonymous as nobody,
// and every authenticated client as anonymous.
func ProxyAuthz(p *op.Ports) op.Control {
	return op.Control{
		OID: ProxyAuthzOID, Name: "proxiedAuthorization", Source: "RFC 4370",
		// It is known for every request, so that one without criticality is refused everywhere.
		Applies: func(byte) bool { return true },
		Parse: func(c ldap.Control) (any, error) {
			if !c.Critical || !c.HasValue {
				return nil, ldap.Errorf(ldap.ProtocolError, "the proxied authorization control must be marked as critical and have a value (RFC 4370 section 3)")
			}
			return string(c.Value), nil
		},
		Around: func(ctx context.Context, req *op.Request, value any, next func(context.Context) error) error {
			if req.Op.Tag() == ldap.TagBindRequest {
				return ldap.Errorf(ldap.UnavailableCriticalExtension, "a bind cannot be done as somebody else")
			}
			id, err := proxied(p.Directory, req, value.(string))
			if err != nil {
				return err
			}
			if err := p.Directory.Assume(req, id); err != nil {
				return err
			}
			return next(ctx)
		},
	}
}

// denied is the one answer to who may not: it does not say whether there is such an identity.
func denied(why op.Reason) error {
	return ldap.Errorf(ldap.AuthorizationDenied, "the requested authorization identity is not allowed").Because(why)
}

// proxied returns the identity to act as.
func proxied(d op.Directory, req *op.Request, authzID string) (*op.Identity, error) {
	who := req.Identity
	switch {
	case who.IsAnonymous():
		return nil, denied("anonymous asks for proxied authorization")
	case who.Restricted:
		return nil, denied("a session that must change its password asks for proxied authorization")
	}
	id, err := d.ParseAuthzID(authzID, who.Method)
	if code := ldap.CodeOf(err); err != nil && code != ldap.InvalidCredentials && code != ldap.InvalidDNSyntax {
		return nil, err
	}
	if err != nil || id == nil {
		return nil, denied("no such authorization identity")
	}
	if !id.Same(who) && !id.IsAnonymous() {
		if err := mayProxy(d, req, id); err != nil {
			return nil, err
		}
	}
	as := *id
	as.Proxied = who
	return &as, nil
}

// mayProxy asks the access rules for the right to act as an identity.
func mayProxy(d op.Directory, req *op.Request, id *op.Identity) error {
	if id.Admin {
		return denied("only the administrator acts as the administrator")
	}
	view := d.View()
	defer view.Close()
	entry, err := view.Get(id.Entry)
	if err != nil {
		return err
	}
	if entry == nil {
		return denied("the entry of the authorization identity is gone")
	}
	see := d.Sight(req, view)
	if _, err := see.Look(entry); err != nil {
		return err
	}
	if see.EntryRights()&access.Proxy == 0 {
		return denied("no rule gives the right to proxy")
	}
	if disabled := view.Schema().Known.PortolanAccountDisabled; disabled != nil && string(entry.First(schema.Description{Type: disabled})) == "TRUE" {
		return denied("the account is disabled")
	}
	return nil
}
