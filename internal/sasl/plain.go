package sasl

import (
	"bytes"
	"context"
	"unicode/utf8"

	"portolan/internal/op"
	"portolan/ldap"
)

// Plain is the PLAIN mechanism (RFC 4616): a user name and a password, checked as in a simple bind. It is there on
// connections that nobody can read on the way, whatever the server tolerates for simple binds.
func Plain(ids Identities) op.Mechanism {
	return op.Mechanism{
		Name: "PLAIN", Source: "RFC 4616", Unavailable: ldap.ConfidentialityRequired,
		Allowed: func(c *op.Conn) bool { return c.Protected() && ids.Confidential(c) },
		Shows: func(creds []byte) (string, []byte, bool) {
			_, user, password, ok := parsePlain(creds)
			return user, password, ok
		},
		Start: func(*op.Request) (op.Exchange, error) { return &plain{ids: ids}, nil },
	}
}

// maxName is the greatest length of a user name or an authorization identity in octets. RFC 4616 demands 255 at least.
const maxName = 4096

type plain struct {
	ids   Identities
	asked bool
	authz string
}

// Step implements op.Exchange. A client that sends no initial response is asked for one with an empty challenge (RFC 4422
// section 3).
func (x *plain) Step(ctx context.Context, req *op.Request, creds []byte) ([]byte, *op.Identity, error) {
	if creds == nil && !x.asked {
		x.asked = true
		return []byte{}, nil, nil
	}
	authz, user, password, ok := parsePlain(creds)
	if !ok {
		return nil, nil, ldap.Errorf(ldap.InvalidCredentials, "").Because(op.Reason("malformed PLAIN message"))
	}
	x.authz = authz
	name, err := x.ids.UserName(user, "PLAIN")
	if err != nil {
		return nil, nil, err
	}
	who, err := x.ids.Authenticate(ctx, req, name.Norm, password, "PLAIN")
	return nil, who, err
}

// AuthzID implements op.Authorizer.
func (x *plain) AuthzID() string { return x.authz }

// parsePlain takes the message of RFC 4616 section 2 apart: [authzid] NUL authcid NUL passwd, all of it UTF-8. Strings are
// taken as they are: what RFC 4616 recommends to prepare would have to be prepared in stored passwords as well, which are
// hashes of what clients sent. Names are compared by the rule of their attribute, which does prepare them.
func parsePlain(message []byte) (authz, user string, password []byte, ok bool) {
	parts := bytes.SplitN(message, []byte{0}, 4)
	if len(parts) != 3 || len(parts[1]) == 0 || len(parts[2]) == 0 || len(parts[0]) > maxName || len(parts[1]) > maxName || !utf8.Valid(message) {
		return "", "", nil, false
	}
	return string(parts[0]), string(parts[1]), parts[2], true
}
