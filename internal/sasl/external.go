// Package sasl has the SASL mechanisms (RFC 4513 section 5.2), one file each. What a mechanism needs of the server it is
// given as a port when it is wired.
package sasl

import (
	"bytes"
	"context"
	"fmt"
	"unicode/utf8"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/ldap"
)

// Identities maps what a mechanism proved to directory identities.
type Identities interface {
	// IdentifyCertificate returns the identity that a client certificate stands for, by its issuer and fields; nil where there
	// is none, or more than one.
	IdentifyCertificate(issuer ldap.DN, fields map[string][]string, method string) (*op.Identity, error)
	// AdminIdentity is the configured administrator.
	AdminIdentity(method string) *op.Identity
	// NormalizeName returns a name in both forms.
	NormalizeName(dn string) (dit.Name, error)
	// UserName returns the name of the entry that an authentication identity stands for, and a name that no entry has where
	// there is none, or more than one.
	UserName(user, mechanism string) (dit.Name, error)
	// Authenticate proves an identity by its password: see engine.Engine.
	Authenticate(ctx context.Context, req *op.Request, norm string, password []byte, method string) (*op.Identity, error)
	// Confidential reports whether a connection is protected as the server demands.
	Confidential(c *op.Conn) bool
}

// External is the EXTERNAL mechanism (RFC 4422 appendix A): on a Unix socket the identity of the process at the other end,
// under TLS the entry that the client certificate stands for: its subject, unless the
// configuration says otherwise. own is the user id of the server.
func External(ids Identities, own int) op.Mechanism {
	return op.Mechanism{
		Name: "EXTERNAL", Source: "RFC 4422", Unavailable: ldap.InappropriateAuthentication,
		Allowed: func(c *op.Conn) bool {
			if c.Transport == op.Unix {
				return c.Peer != nil
			}
			state := c.TLS()
			return state != nil && len(state.VerifiedChains) > 0
		},
		Start: func(*op.Request) (op.Exchange, error) { return &external{ids: ids, own: own}, nil },
	}
}

type external struct {
	ids   Identities
	own   int
	authz string
}

// Step implements op.Exchange. RFC 4422 appendix A.1: the authorization identity is the initial response, which libldap leaves
// out when it is empty. A bind without it is one with the empty identity: asking for it would break such clients.
func (x *external) Step(_ context.Context, req *op.Request, creds []byte) ([]byte, *op.Identity, error) {
	if !utf8.Valid(creds) || bytes.IndexByte(creds, 0) >= 0 {
		return nil, nil, ldap.Errorf(ldap.InvalidCredentials, "").Because(op.Reason("malformed authorization identity"))
	}
	x.authz = string(creds)
	who, err := x.authenticated(req.Conn)
	return nil, who, err
}

// AuthzID implements op.Authorizer.
func (x *external) AuthzID() string { return x.authz }

func (x *external) authenticated(c *op.Conn) (*op.Identity, error) {
	if c.Transport == op.Unix {
		if c.Peer.UID == 0 || c.Peer.UID == x.own {
			return x.ids.AdminIdentity("EXTERNAL"), nil
		}
		// The form that OpenLDAP gives peer credentials, so that access rules can be carried over.
		name, err := x.ids.NormalizeName(fmt.Sprintf("gidNumber=%d+uidNumber=%d,cn=peercred,cn=external,cn=auth", c.Peer.GID, c.Peer.UID))
		if err != nil {
			return nil, err
		}
		return &op.Identity{Name: name, Method: "EXTERNAL"}, nil
	}
	leaf := c.TLS().VerifiedChains[0][0]
	fields := certificateFields(leaf)
	who, err := x.ids.IdentifyCertificate(issuer(leaf), fields, "EXTERNAL")
	if err != nil || who == nil {
		return nil, ldap.Errorf(ldap.InvalidCredentials, "").Because(fmt.Errorf("%w: %q: %v", op.Reason("no entry for the certificate"), fields["subject"], err))
	}
	return who, nil
}
