// Package ttl removes entries when their time is over, unless they are refreshed: the dynamic entries of RFC 2589. When that is
// stands in the entry (entryExpireTimestamp), so that it holds over restarts, exports and on replicas; entryTtl is computed
// from it. The refresh operation is extop.Refresh.
package ttl

import (
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/ldap"
)

// Options is the table [overlay.ttl].
type Options struct {
	// Subtrees are where dynamic entries may be; empty is everywhere.
	Subtrees []string `toml:"subtrees"`
	// Default is the time that a new entry has, Min and Max bound what a refresh may ask for. RFC 2589 section 4.2 lets a
	// server give less than was asked for, but not less than a day.
	Default time.Duration `toml:"default" min:"1s" max:"365d"`
	Min     time.Duration `toml:"min" min:"1s" max:"365d"`
	Max     time.Duration `toml:"max" min:"1d" max:"365d"`
	// MaxEntries is how many dynamic entries there may be; 0 is no limit.
	MaxEntries int `toml:"max_entries"`
}

// Defaults are the options of a configuration that says nothing.
func Defaults() Options {
	return Options{Default: 24 * time.Hour, Min: time.Minute, Max: 365 * 24 * time.Hour, MaxEntries: 100_000}
}

// Validate says what in the table cannot be.
func (o *Options) Validate() error {
	_, err := o.parts()
	switch {
	case err != nil:
		return err
	case o.Min > o.Max:
		return fmt.Errorf("overlay.ttl.min: %v is above max, which is %v", o.Min, o.Max)
	case o.Default < o.Min || o.Default > o.Max:
		return fmt.Errorf("overlay.ttl.default: %v is not between min and max, %v and %v", o.Default, o.Min, o.Max)
	}
	return nil
}

func (o *Options) parts() ([]*op.Part, error) {
	var out []*op.Part
	for i, base := range o.Subtrees {
		p, err := op.NewPart(base, "", "")
		if err != nil || base == "" {
			return nil, fmt.Errorf("overlay.ttl.subtrees[%d]: %q is not a DN: write one such as ou=online,dc=example,dc=org", i+1, base)
		}
		out = append(out, p)
	}
	return out, nil
}

// New returns the overlay.
func New(o Options) op.Overlay {
	x := &ttl{o: o}
	invalid := o.Validate()
	x.parts, _ = o.parts()
	return op.Overlay{
		Name: "ttl",
		Open: func(p *op.Ports) (func(), error) {
			if invalid != nil {
				return nil, invalid
			}
			return x.open(p)
		},
		Prepare: x.prepare,
		View:    &op.View{Attributes: []string{"entryTtl"}, Values: x.values, Match: x.match},
		RootDSE: x.rootDSE,
		Observe: x.observe,
		Check:   x.check,
	}
}

type ttl struct {
	o     Options
	parts []*op.Part
	ports atomic.Pointer[op.Ports] // nil until opened
	set   func(at time.Time)       // the alarm

	mu      sync.Mutex
	waiting deadlines
	held    map[dit.ID]bool // over, but with entries beneath
}

// types are what the overlay needs of a schema.
type types struct {
	class   *schema.ObjectClass
	classes *schema.AttributeType
	expire  *schema.AttributeType
}

func of(s *schema.Schema) types {
	return types{s.Known.DynamicObject, s.Known.ObjectClass, s.AttributeTypeString("entryExpireTimestamp")}
}

func (t types) ok() bool { return t.class != nil && t.expire != nil }

// deadline returns when an entry is over; ok is false for one that is not dynamic or has no time.
func deadline(s *schema.Schema, e *dit.Entry) (at time.Time, ok bool) {
	t := of(s)
	if !t.ok() || e == nil {
		return at, false
	}
	value := e.First(schema.Description{Type: t.expire})
	if value == nil || !e.IsA(s, t.class) {
		return at, false
	}
	at, err := schema.ParseGeneralizedTime(value)
	return at, err == nil
}

// prepare gives new dynamic entries their time, bounds refreshes, and refuses what RFC 2589 section 3.1 forbids: making
// dynamic what was not, and the other way round, and a static entry beneath a dynamic one.
func (x *ttl) prepare(tx op.Tx, _ *op.Request, before *dit.Entry, d *dit.Draft) error {
	s := tx.Schema()
	t := of(s)
	if !t.ok() {
		return nil
	}
	dynamic := d.IsA(s, t.class)
	if before != nil && before.IsA(s, t.class) != dynamic {
		if dynamic {
			return ldap.Errorf(ldap.ObjectClassViolation, "an entry that is there cannot be made dynamic: delete it and add it anew")
		}
		return ldap.Errorf(ldap.ObjectClassViolation, "a dynamic entry cannot be made one that stays: delete it and add it anew")
	}
	if before == nil || before.Parent != d.Parent {
		if err := x.place(tx, t, before == nil, dynamic, d); err != nil {
			return err
		}
	}
	if !dynamic {
		return nil
	}
	expire := schema.Description{Type: t.expire}
	switch {
	case before == nil && d.First(t.expire) == nil:
		return x.give(tx, d, t, x.o.Default)
	case before == nil || d.Touched(expire):
		at, err := schema.ParseGeneralizedTime(d.First(t.expire))
		if err != nil {
			return ldap.Errorf(ldap.InvalidAttributeSyntax, "entryExpireTimestamp: %v", err)
		}
		return x.give(tx, d, t, min(max(at.Sub(tx.Now().Truncate(time.Second)), x.o.Min), x.o.Max))
	}
	return nil
}

// give sets the time that an entry has from now on.
func (x *ttl) give(tx op.Tx, d *dit.Draft, t types, has time.Duration) error {
	at := tx.Now().UTC().Truncate(time.Second).Add(has)
	d.Set(t.expire, schema.AppendGeneralizedTime(nil, at))
	return nil
}

// place says where entries may stand.
func (x *ttl) place(tx op.Tx, t types, isNew, dynamic bool, d *dit.Draft) error {
	s := tx.Schema()
	if !dynamic {
		if d.Parent == 0 {
			return nil
		}
		parent, err := tx.Get(d.Parent)
		if err != nil || parent == nil || !parent.IsA(s, t.class) {
			return err
		}
		return ldap.Errorf(ldap.ConstraintViolation, "an entry that stays cannot be beneath a dynamic one: give it the class dynamicObject, or put it elsewhere")
	}
	if len(x.parts) > 0 {
		name, err := op.DraftName(tx, d)
		if err != nil {
			return err
		}
		inside := false
		for _, p := range x.parts {
			in, err := p.Covers(s, name.Norm)
			if err != nil {
				return err
			}
			inside = inside || in
		}
		if !inside {
			return ldap.Errorf(ldap.UnwillingToPerform, "dynamic entries may not be here: the root DSE says where, in dynamicSubtrees")
		}
	}
	if x.o.MaxEntries == 0 || !isNew {
		return nil
	}
	all, err := dynamicEntries(tx, t)
	if err != nil {
		return err
	}
	if all.GetCardinality() >= uint64(x.o.MaxEntries) {
		return ldap.Errorf(ldap.UnwillingToPerform, "there are %d dynamic entries already, as many as overlay.ttl.max_entries allows", all.GetCardinality())
	}
	return nil
}

// dynamicEntries are all entries of the class.
func dynamicEntries(r op.Reader, t types) (*dit.IDSet, error) {
	key, err := t.classes.Equality.ValueKey(r.Schema(), nil, []byte(t.class.Name()))
	if err != nil {
		return nil, err
	}
	return r.Equal(t.classes, key)
}

// values computes entryTtl. A transaction has its own time.
func (x *ttl) values(r op.Reader, e *dit.Entry, _ *schema.AttributeType, _ op.Visible, f func([]byte) bool) error {
	at, ok := deadline(r.Schema(), e)
	if !ok {
		return nil
	}
	var now time.Time
	if tx, ok := r.(interface{ Now() time.Time }); ok {
		now = tx.Now()
	} else if p := x.ports.Load(); p != nil {
		now = p.Now()
	} else {
		return nil
	}
	f(strconv.AppendInt(nil, max(0, int64(at.Sub(now)/time.Second)), 10))
	return nil
}

// match says which entries can have it.
func (x *ttl) match(r op.Reader, _ *dit.Node, _ op.Visible) (*dit.IDSet, dit.Confidence, error) {
	t := of(r.Schema())
	if !t.ok() {
		return &dit.IDSet{}, dit.Exact, nil
	}
	all, err := dynamicEntries(r, t)
	if err != nil {
		return nil, dit.All, nil // the index is being built
	}
	return all, dit.Superset, nil
}

// rootDSE says where dynamic entries may be (RFC 2589 section 5).
func (x *ttl) rootDSE() []op.TreeAttr {
	bases := x.o.Subtrees
	if len(bases) == 0 {
		if p := x.ports.Load(); p != nil {
			bases = p.Directory.Suffixes()
		}
	}
	return []op.TreeAttr{op.Text("dynamicSubtrees", bases...)}
}

// check reports what cannot be removed when its time is over, and what has no time.
func (x *ttl) check(r op.Reader, report func(op.Finding)) error {
	s := r.Schema()
	t := of(s)
	if !t.ok() {
		return nil
	}
	all, err := dynamicEntries(r, t)
	if err != nil {
		return err
	}
	for it := all.Iterator(); it.HasNext(); {
		e, err := r.Get(dit.ID(it.Next()))
		if err != nil {
			return err
		}
		if e == nil {
			continue
		}
		name, err := r.Name(e)
		if err != nil {
			return err
		}
		if _, ok := deadline(s, e); !ok {
			report(op.Finding{Where: name.DN, What: "is a dynamic entry without entryExpireTimestamp",
				Advice: "start the server once: it gives it the default time"})
		}
		var static []dit.ID
		if err := r.Children(e.ID, func(child dit.ID) bool {
			static = append(static, child)
			return true
		}); err != nil {
			return err
		}
		for _, id := range static {
			child, err := r.Get(id)
			if err != nil {
				return err
			}
			if child != nil && !child.IsA(s, t.class) {
				report(op.Finding{Where: name.DN, What: fmt.Sprintf("is a dynamic entry with an entry beneath that stays, %s", child.RDN),
					Advice: "move it elsewhere; the dynamic entry is not removed while it is there"})
			}
		}
	}
	return nil
}
