package engine

import (
	"portolan/internal/access"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/ldap"
)

// errDenied is the one answer to who may not act as somebody else: it does not say whether there is such an identity.
func errDenied(why op.Reason) *ldap.Error {
	return ldap.Errorf(ldap.AuthorizationDenied, "the requested authorization identity is not allowed").Because(why)
}

// ActAs implements op.Directory.
func (d directory) ActAs(req *op.Request, authzID string) (*op.Identity, error) {
	return d.actAs(req, req.Identity, authzID)
}

// actAs returns the identity that an authorization identity names, for one who has proved to be who and asks to act as it.
// The right "proxy" on its entry is needed. The administrator may act as everybody, nobody but the administrator as the
// administrator, anonymous as nobody, and every authenticated client as anonymous.
func (e *Engine) actAs(req *op.Request, who *op.Identity, authzID string) (*op.Identity, error) {
	switch {
	case who.IsAnonymous():
		return nil, errDenied("anonymous asks to act as somebody else")
	case who.Restricted:
		return nil, errDenied("a session that must change its password asks to act as somebody else")
	}
	id, err := e.ParseAuthzID(authzID, who.Method)
	if code := ldap.CodeOf(err); err != nil && code != ldap.InvalidCredentials && code != ldap.InvalidDNSyntax {
		return nil, err
	}
	if err != nil || id == nil {
		return nil, errDenied("no such authorization identity")
	}
	if !id.Same(who) && !id.IsAnonymous() {
		if err := e.mayProxy(req, who, id); err != nil {
			return nil, err
		}
	}
	as := *id
	as.Proxied = who
	return &as, nil
}

// mayProxy asks the access rules for the right to act as an identity.
func (e *Engine) mayProxy(req *op.Request, who, id *op.Identity) error {
	if id.Admin {
		return errDenied("only the administrator acts as the administrator")
	}
	view := e.o.Store.View()
	defer view.Close()
	entry, err := view.Get(id.Entry)
	if err != nil {
		return err
	}
	if entry == nil {
		return errDenied("the entry of the authorization identity is gone")
	}
	// In a bind the connection is still anonymous: it is who has just been proved that is asked for.
	asked := op.Request{Conn: req.Conn, ID: req.ID, Op: req.Op, Identity: who, Start: req.Start}
	see := e.Directory().Sight(&asked, view)
	if _, err := see.Look(entry); err != nil {
		return err
	}
	if see.EntryRights()&access.Proxy == 0 {
		return errDenied("no rule gives the right to proxy")
	}
	if string(entry.First(schema.Description{Type: view.Schema().Known.PortolanAccountDisabled})) == "TRUE" {
		return errDenied("the account is disabled")
	}
	return nil
}

// authorize returns who a SASL exchange ends as: who was proved, or whom the client asked to act as. A refusal is one of
// credentials (RFC 4513 section 5), and does not say whether there is such an identity.
func (e *Engine) authorize(req *op.Request, who *op.Identity, x op.Exchange) (*op.Identity, error) {
	asks, ok := x.(op.Authorizer)
	if !ok || asks.AuthzID() == "" {
		return who, nil
	}
	as, err := e.actAs(req, who, asks.AuthzID())
	switch {
	case err == nil && as.Same(who):
		return who, nil
	case ldap.CodeOf(err) == ldap.AuthorizationDenied:
		return nil, ldap.Errorf(ldap.InvalidCredentials, "").Because(err)
	}
	return as, err
}
