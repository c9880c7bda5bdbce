package engine

import (
	"strings"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/ldap"
)

// The methods of this file are what mechanisms and extended operations are given to turn names into identities.

// NormalizeName returns a name in both forms.
func (e *Engine) NormalizeName(dn string) (dit.Name, error) {
	norm, err := normalize(e.Schema(), []byte(dn))
	return dit.Name{DN: dn, Norm: norm}, err
}

// NormalizeUser returns the entry name that a userIdentity of RFC 3062 stands for: a DN, or an authorization identity.
func (e *Engine) NormalizeUser(user []byte) (dn, norm string, err error) {
	text := string(user)
	if rest, ok := cutPrefixFold(text, "u:"); ok {
		id, err := e.identityOfUser(rest, "")
		if err != nil || id == nil {
			return "", "", noUser(err)
		}
		return id.Name.DN, id.Name.Norm, nil
	}
	text, _ = cutPrefixFold(text, "dn:")
	name, err := e.NormalizeName(text)
	return name.DN, name.Norm, err
}

func noUser(err error) error {
	if err != nil {
		return err
	}
	return ldap.Errorf(ldap.NoSuchObject, "no such user")
}

// IdentifyDN is Identify for a name as it was written.
func (e *Engine) IdentifyDN(dn, method string) (*op.Identity, error) {
	name, err := e.NormalizeName(dn)
	if err != nil {
		return nil, err
	}
	return e.Identify(name.Norm, method)
}

// AdminIdentity returns the configured administrator.
func (e *Engine) AdminIdentity(method string) *op.Identity {
	return &op.Identity{Name: e.Settings().Admin, Admin: true, Method: method}
}

// ParseAuthzID returns the identity that an authorization identity names (RFC 4513 section 5.2.1.8): nothing is
// anonymous, "dn:" a name, "u:" a user id. It is nil where there is no such entry.
func (e *Engine) ParseAuthzID(authzID, method string) (*op.Identity, error) {
	if authzID == "" {
		return op.Anonymous(), nil
	}
	if dn, ok := cutPrefixFold(authzID, "dn:"); ok {
		if dn == "" {
			return op.Anonymous(), nil
		}
		return e.IdentifyDN(dn, method)
	}
	if user, ok := cutPrefixFold(authzID, "u:"); ok {
		return e.identityOfUser(user, method)
	}
	return nil, ldap.Errorf(ldap.InvalidCredentials, "").Because(op.Reason("not an authorization identity"))
}

// UserName returns the name of the entry that a SASL authentication identity stands for: a user name, or an authorization
// identity. Where there is no such entry, or more than one, it is a name that no entry has: what is made of it takes the
// same way, and counts against the same name every time.
func (e *Engine) UserName(user, mechanism string) (dit.Name, error) {
	if dn, ok := cutPrefixFold(user, "dn:"); ok {
		if name, err := e.NormalizeName(dn); err == nil && name.Norm != "" {
			return name, nil
		}
	}
	text, _ := cutPrefixFold(user, "u:")
	id, err := e.identityOfUser(text, mechanism)
	if err != nil {
		return dit.Name{}, err
	}
	if id != nil {
		return id.Name, nil
	}
	nobody := ldap.DN{{{Type: "uid", Value: []byte(user)}}, {{Type: "cn", Value: []byte(mechanism)}}, {{Type: "cn", Value: []byte("auth")}}}
	return dit.Name{DN: nobody.String(), Norm: string(e.Schema().NormalizeParsed(nil, nobody))}, nil
}

// Confidential reports whether a connection is protected as the settings demand.
func (e *Engine) Confidential(c *op.Conn) bool { return e.confidential(c, e.Settings()) }

// identityOfUser finds the entry that a user name stands for, by the maps of the settings, or without any the one whose uid it
// is; nil where there is none or more than one.
func (e *Engine) identityOfUser(user, method string) (*op.Identity, error) {
	if maps := e.Settings().UserMaps; len(maps) > 0 {
		return e.identityMapped(maps, map[string][]string{"user": {user}}, method)
	}
	view := e.o.Store.View()
	defer view.Close()
	t := view.Schema().Known.UID
	key, err := view.Schema().EqualityKey(t, nil, []byte(user))
	if err != nil {
		return nil, nil
	}
	set, err := view.Equal(t, key)
	if err != nil || set.GetCardinality() != 1 {
		return nil, err
	}
	entry, err := view.Get(dit.ID(set.Minimum()))
	if err != nil || entry == nil || entry.Alias || entry.Referral {
		return nil, err
	}
	name, err := view.Name(entry)
	if err != nil {
		return nil, err
	}
	return &op.Identity{Name: name, Entry: entry.ID, UUID: entry.UUID, Method: method}, nil
}

func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}
