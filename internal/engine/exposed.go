package engine

import (
	"context"

	"portolan/internal/credential"
	"portolan/internal/op"
	"portolan/ldap"
)

// exposed tells the alarm of a password in a request that was refused because its connection is not confidential. The request
// itself is over: what is done about it cannot be seen by the client.
func (e *Engine) exposed(req *op.Request) {
	if req.Conn.Protected() {
		return // refused for another reason than that somebody may be listening
	}
	switch m := req.Op.(type) {
	case *ldap.BindRequest:
		if m.Auth == ldap.AuthSASL {
			mechanism := e.mechanisms[string(m.Mechanism)]
			if mechanism == nil || mechanism.Shows == nil {
				return
			}
			if user, password, ok := mechanism.Shows(m.Credentials); ok {
				e.exposedUser(req, user, mechanism.Name, password)
			}
			return
		}
		e.exposedDN(req, m.Name, m.Password)
	case *ldap.CompareRequest:
		if desc, err := e.Schema().Describe(m.Attr); err == nil && desc.Type != nil && desc.Type.IsA(e.Schema().Known.UserPassword) {
			e.exposedDN(req, m.Entry, m.Value)
		}
	case *ldap.ExtendedRequest:
		x := e.extended[string(m.Name)]
		if x == nil || x.Shows == nil {
			return
		}
		if user, password, ok := x.Shows(m.Value); ok && len(user) > 0 {
			if dn, norm, err := e.NormalizeUser(user); err == nil {
				e.o.Alarm.Exposed(req, dn, norm, password)
			}
		}
	}
}

func (e *Engine) exposedDN(req *op.Request, name, password []byte) {
	if len(name) == 0 || len(password) == 0 {
		return
	}
	if norm, err := normalize(e.Schema(), name); err == nil {
		e.o.Alarm.Exposed(req, string(name), norm, password)
	}
}

func (e *Engine) exposedUser(req *op.Request, user, mechanism string, password []byte) {
	if name, err := e.UserName(user, mechanism); err == nil {
		e.o.Alarm.Exposed(req, name.DN, name.Norm, password)
	}
}

// VerifyAside checks a password of an entry that nobody waits for, in the hashing pool's lowest class: no client learns of it,
// and nothing is counted, remembered or hashed anew. source is whom the turn in the pool is shared with. The identity is nil
// where the password is wrong or there is no such entry.
func (e *Engine) VerifyAside(ctx context.Context, source, norm string, password []byte) (*op.Identity, error) {
	set := e.Settings()
	var stored [][]byte
	var who *op.Identity
	if norm == set.Admin.Norm {
		who = &op.Identity{Name: set.Admin, Admin: true}
		if set.AdminStored != nil {
			stored = [][]byte{set.AdminStored}
		}
	} else {
		view := e.o.Store.View()
		defer view.Close()
		entry, _, err := view.Lookup(norm)
		if err != nil || entry == nil || entry.Alias || entry.Referral {
			return nil, err
		}
		name, err := view.Name(entry)
		if err != nil {
			return nil, err
		}
		who, stored = &op.Identity{Name: name, Entry: entry.ID, UUID: entry.UUID}, passwordsOf(view.Schema(), entry)
	}
	if len(stored) == 0 {
		return nil, nil
	}
	result := credential.Result{Index: -1}
	err := e.o.Hashing.Do(ctx, credential.Job{Class: credential.Background, Source: source}, func() {
		result = e.computer(credential.Background).Check(set.Passwords, stored, password)
	})
	if err != nil || result.Index < 0 {
		return nil, err
	}
	return who, nil
}
