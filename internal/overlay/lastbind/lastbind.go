// Package lastbind remembers when accounts were last authenticated. It costs a login no write to the disk: times are op.State,
// which is written about once a second for all accounts together. A crash loses at most the last second of logins.
package lastbind

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/ldap"
)

// Options is the table [overlay.lastbind].
type Options struct {
	// Precision is how old what is remembered may be: within it further logins of an account leave it as it is.
	Precision time.Duration `toml:"precision" min:"1s" max:"30d"`
}

// Defaults are the options of a configuration that says nothing.
func Defaults() Options { return Options{Precision: time.Second} }

// New returns the overlay. It must stand behind all that may refuse a bind.
func New(o Options) op.Overlay {
	x := &lastbind{o: o}
	return op.Overlay{
		Name:   "lastbind",
		Open:   x.open,
		Bind:   x.bind,
		Derive: x.derive,
		View:   &op.View{Attributes: []string{"authTimestamp", "pwdLastSuccess"}, Values: x.values, Match: x.match, Write: x.write},
		Check:  x.check,
	}
}

type lastbind struct {
	o     Options
	ports atomic.Pointer[op.Ports] // nil until opened
	noted noted
}

// noted remembers some of the last binds that were noted, so that further ones of the account cost nothing.
type noted struct {
	mu    sync.Mutex
	slots [4096]struct {
		account uuid.UUID
		at      time.Time
	}
}

func (n *noted) slot(id uuid.UUID) int { return int(binary.BigEndian.Uint16(id[14:])) % len(n.slots) }

// fresh reports whether a bind of the account was noted within a time before now, and notes this one if not.
func (n *noted) fresh(id uuid.UUID, now time.Time, within time.Duration) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := &n.slots[n.slot(id)]
	if age := now.Sub(s.at); s.account == id && age >= 0 && age < within {
		return true
	}
	s.account, s.at = id, now
	return false
}

// forget has the next bind of the account noted.
func (n *noted) forget(id uuid.UUID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if s := &n.slots[n.slot(id)]; s.account == id {
		s.at = time.Time{}
	}
}

func (x *lastbind) open(p *op.Ports) (func(), error) {
	err := p.State.Update([]byte(op.LookedSinceKey), func(old []byte) []byte {
		if old == nil {
			return op.AppendLastSuccess(nil, p.Now())
		}
		return old
	})
	x.ports.Store(p)
	return nil, err
}

// bind remembers a success.
func (x *lastbind) bind(_ context.Context, _ *op.Request, b *op.BindOutcome) error {
	if b.Err != nil || b.Entry == nil || b.Purpose == op.ForChange {
		return nil
	}
	now := x.ports.Load().Now()
	if err := x.note(b.Entry.UUID, now); err != nil || b.Apart == nil {
		return err
	}
	return x.note(b.Apart.Entry.UUID, now)
}

func (x *lastbind) note(id uuid.UUID, now time.Time) error {
	if x.noted.fresh(id, now, x.o.Precision) {
		return nil
	}
	return x.ports.Load().State.Set(op.LastBindKey(id), op.AppendLastSuccess(nil, now))
}

// derive drops what is remembered of an entry that is deleted.
func (x *lastbind) derive(tx op.Tx, _ *op.Request, c dit.Change) error {
	if c.Kind != dit.ChangeDelete {
		return nil
	}
	key := op.LastBindKey(c.Before.UUID)
	if value, err := tx.State(key); err != nil || value == nil {
		return err
	}
	return tx.SetState(key, nil)
}

// values shows the time under both of its names.
func (x *lastbind) values(_ op.Reader, e *dit.Entry, _ *schema.AttributeType, _ op.Visible, f func([]byte) bool) error {
	p := x.ports.Load()
	if p == nil {
		return nil
	}
	at, err := op.LastSuccess(p.State, e.UUID)
	if err == nil && !at.IsZero() {
		f(schema.AppendGeneralizedTime(nil, at))
	}
	return err
}

// match finds the accounts of which a time is known.
func (x *lastbind) match(r op.Reader, _ *dit.Node, _ op.Visible) (*dit.IDSet, dit.Confidence, error) {
	p := x.ports.Load()
	if p == nil {
		return nil, dit.All, nil
	}
	set, err := op.Accounts(p.State, r, op.LastBindPrefix)
	return set, dit.Superset, err
}

// write lets an administrator delete the time, which ends the idle lock of an account, and set it under the relax control.
// What is deleted leaves the time of that behind: it is from then on that the account is idle anew.
func (x *lastbind) write(tx op.Tx, req *op.Request, e *dit.Entry, t *schema.AttributeType, kind ldap.ModOp, values [][]byte) (bool, error) {
	x.noted.forget(e.UUID)
	key := op.LastBindKey(e.UUID)
	value, err := tx.State(key)
	if err != nil {
		return true, err
	}
	last, known := op.DecodeLastSuccess(value)
	if kind == ldap.ModDelete || kind == ldap.ModReplace && len(values) == 0 {
		if kind == ldap.ModDelete && !req.Write.Permissive && !holds(known, last, values) {
			return true, ldap.Errorf(ldap.NoSuchAttribute, "%s: no such value in the entry", t.Name())
		}
		return true, tx.SetState(key, op.AppendForgotten(nil, tx.Now()))
	}
	if !req.Write.Relax || !req.Identity.Admin || len(values) != 1 || kind == ldap.ModIncrement {
		return true, ldap.Errorf(ldap.ConstraintViolation, "%s: is maintained by the server; it can be deleted", t.Name())
	}
	at, err := schema.ParseGeneralizedTime(values[0])
	if err != nil {
		return true, ldap.Errorf(ldap.InvalidAttributeSyntax, "%s: %v", t.Name(), err)
	}
	return true, tx.SetState(key, op.AppendLastSuccess(nil, at))
}

// holds reports whether the values that are to be deleted are the one that is there; none means all.
func holds(known bool, last time.Time, values [][]byte) bool {
	if !known || len(values) > 1 {
		return false
	}
	if len(values) == 0 {
		return true
	}
	at, err := schema.ParseGeneralizedTime(values[0])
	return err == nil && at.Equal(last)
}

// check reports times that belong to nobody.
func (x *lastbind) check(r op.Reader, report func(op.Finding)) error {
	states, ok := r.(op.StateReader)
	if !ok {
		return nil
	}
	return states.EachState([]byte(op.LastBindPrefix), func(key, value []byte) bool {
		where := "state " + hex.EncodeToString(key)
		id, err := uuid.FromBytes(key[len(op.LastBindPrefix):])
		_, ok := op.DecodeLastSuccess(value)
		if _, forgotten := op.DecodeForgotten(value); !ok && !forgotten || err != nil {
			report(op.Finding{Where: where, What: "the time of a last bind cannot be read", Advice: "it goes with the next bind of the account"})
			return true
		}
		if e, err := r.ByUUID(id); err == nil && e == nil {
			report(op.Finding{Where: where, What: "a last bind is kept of an entry that does not exist", Advice: "report this: a delete takes it along"})
		}
		return true
	})
}
