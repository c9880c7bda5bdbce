package ppolicy

import (
	"time"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/ldap"
)

// values shows the failures of an account, and the policy that it is under where its entry does not name one itself.
func (x *ppolicy) values(r op.Reader, e *dit.Entry, t *schema.AttributeType, _ op.Visible, f func([]byte) bool) error {
	if x.ports.Load() == nil {
		return nil
	}
	known := &r.Schema().Known
	switch t {
	case known.PwdFailureTime:
		rec, err := x.recordOf(e)
		if err != nil {
			return err
		}
		for _, at := range rec.failures {
			if !f(schema.AppendGeneralizedTime(nil, time.UnixMicro(at))) {
				return nil
			}
		}
	case known.PwdPolicySubentry:
		if e.First(schema.Description{Type: t}) != nil || e.Shape().FindType(known.UserPassword) < 0 {
			return nil
		}
		name, err := r.Name(e)
		if err != nil {
			return err
		}
		g, err := x.policyFor(r, subjectOf(r.Schema(), e, name))
		if err == nil && g.dn != "" {
			f([]byte(g.dn))
		}
		return err
	}
	return nil
}

// match finds the accounts with failures; which policy an account is under is decided account by account.
func (x *ppolicy) match(r op.Reader, n *dit.Node, _ op.Visible) (*dit.IDSet, dit.Confidence, error) {
	p := x.ports.Load()
	if n.Desc.Type != r.Schema().Known.PwdFailureTime || p == nil {
		return nil, dit.All, nil
	}
	set, err := op.Accounts(p.State, r, statePrefix)
	return set, dit.Superset, err
}

// write lets an administrator clear the failures of an account, as tools do that unlock it. Values are set by the server
// alone, but for the bootstrap administrator under the relax control.
func (x *ppolicy) write(tx op.Tx, req *op.Request, e *dit.Entry, t *schema.AttributeType, kind ldap.ModOp, values [][]byte) (bool, error) {
	if t != tx.Schema().Known.PwdFailureTime {
		return false, nil // pwdPolicySubentry is stored
	}
	x.tracked.add(e.UUID)
	key := stateKey(e.UUID)
	value, err := tx.State(key)
	if err != nil {
		return true, err
	}
	rec, _ := decodeRecord(value)
	switch {
	case kind == ldap.ModDelete && len(values) == 0:
		if len(rec.failures) == 0 && !req.Write.Permissive {
			return true, ldap.Errorf(ldap.NoSuchAttribute, "pwdFailureTime: no such attribute in the entry")
		}
		rec = record{}
	case kind == ldap.ModReplace && len(values) == 0:
		rec = record{}
	case kind == ldap.ModDelete:
		if err := rec.drop(values, req.Write.Permissive); err != nil {
			return true, err
		}
	default:
		if !req.Write.Relax || !req.Identity.Admin {
			return true, ldap.Errorf(ldap.ConstraintViolation, "pwdFailureTime: is maintained by the server; it can be deleted")
		}
		if kind == ldap.ModReplace {
			rec.failures = nil
		}
		if err := rec.add(values); err != nil {
			return true, err
		}
	}
	return true, tx.SetState(key, rec.append())
}
