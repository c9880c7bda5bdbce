package ppolicy

import (
	"encoding/hex"
	"fmt"

	"github.com/google/uuid"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/schema"
)

// check reports policies that are not in force although somebody thinks so, and state that belongs to nobody.
func (x *ppolicy) check(r op.Reader, report func(op.Finding)) error {
	for i, dn := range append([]string{x.o.Default}, rulePolicies(x.o.Rules)...) {
		if dn == "" {
			continue
		}
		where := "overlay.ppolicy.default"
		if i > 0 {
			where = fmt.Sprintf("overlay.ppolicy.rule[%d]", i)
		}
		if g, err := x.named(r, []byte(dn)); err != nil {
			return err
		} else if g == nil {
			report(op.Finding{Where: where, What: fmt.Sprintf("%s is not a password policy, so that the next one that fits is in force", dn),
				Advice: "add the entry with the object class pwdPolicy, or correct the name"})
		}
	}
	states, ok := r.(op.StateReader)
	if !ok {
		return nil
	}
	return states.EachState([]byte(statePrefix), func(key, value []byte) bool {
		where := "state " + hex.EncodeToString(key)
		id, err := uuid.FromBytes(key[len(statePrefix):])
		if err != nil {
			report(op.Finding{Where: where, What: "the key is not that of an account", Advice: "report this: nothing writes such keys"})
			return true
		}
		if _, ok := decodeRecord(value); !ok {
			report(op.Finding{Where: where, What: "the failures of an account cannot be read", Advice: "delete pwdFailureTime of the account " + id.String()})
		}
		if e, err := r.ByUUID(id); err == nil && e == nil {
			report(op.Finding{Where: where, What: "failures are kept of an entry that does not exist", Advice: "report this: a delete takes them along"})
		}
		return true
	})
}

func (x *ppolicy) checkEntries(r op.Reader, report func(op.Finding)) (func(e *dit.Entry) error, error) {
	return func(e *dit.Entry) error { return x.checkEntry(r, r.Schema(), e, report) }, nil
}

func rulePolicies(rules []Rule) (out []string) {
	for _, r := range rules {
		out = append(out, r.Policy)
	}
	return out
}

func (x *ppolicy) checkEntry(r op.Reader, s *schema.Schema, e *dit.Entry, report func(op.Finding)) error {
	finding := func(what, advice string) error {
		name, err := r.Name(e)
		if err == nil {
			report(op.Finding{Where: name.DN, What: what, Advice: advice})
		}
		return err
	}
	if s.Known.PwdPolicy != nil && e.IsA(s, s.Known.PwdPolicy) {
		if _, err := policyOf(s, e); err != nil {
			return finding("the password policy cannot be kept and is not in force: "+err.Error(), "correct the attribute")
		}
		if t := s.AttributeTypeString("pwdDefaultHash"); t != nil {
			if scheme := e.First(schema.Description{Type: t}); scheme != nil && !ownScheme(scheme) {
				return finding(fmt.Sprintf("pwdDefaultHash %s is without effect: new passwords are stored as {ARGON2}", scheme), "delete the attribute")
			}
		}
	}
	if own := e.First(schema.Description{Type: s.Known.PwdPolicySubentry}); own != nil {
		g, err := x.named(r, own)
		if err != nil {
			return err
		}
		if g == nil {
			return finding(fmt.Sprintf("pwdPolicySubentry %s is not a password policy, so that another is in force", own), "correct or delete the attribute")
		}
	}
	for _, v := range valuesOf(e, s.Known.PwdHistory) {
		if _, ok := parseHistory(v); !ok {
			return finding("a value of pwdHistory has not the form of one, and is not looked at", "it goes with the next change of the password")
		}
	}
	return nil
}
