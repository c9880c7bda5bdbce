// Package unique keeps values of attributes unique within a subtree. It looks inside the transaction, so that of any
// number of concurrent writers one wins.
package unique

import (
	"fmt"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/ldap"
)

// Options is the table [overlay.unique].
type Options struct {
	// Attributes are unique each by itself, over the whole directory.
	Attributes []string `toml:"attributes"`
	// Sets are further rules.
	Sets []Set `toml:"set"`
}

// Set is one rule: a value of any of the attributes is there once among all of them, beneath the base, in entries that match
// the filter.
type Set struct {
	Attributes []string `toml:"attributes"`
	Base       string   `toml:"base"`
	Filter     string   `toml:"filter"`
	// Rule is a matching rule that tells values apart which the equality rule of an attribute holds equal, such as
	// caseExactMatch.
	Rule string `toml:"rule"`

	part *op.Part
}

// Validate says what in the table cannot be.
func (o *Options) Validate() error {
	for i, set := range o.Sets {
		if len(set.Attributes) == 0 {
			return fmt.Errorf("overlay.unique.set[%d].attributes: the rule is about none: write for example attributes = [\"uidNumber\"]", i+1)
		}
		if _, err := op.NewPart(set.Base, "", set.Filter); err != nil {
			return fmt.Errorf("overlay.unique.set[%d].%w", i+1, err)
		}
	}
	return nil
}

// Defaults are the options of a configuration that says nothing: no rule.
func Defaults() Options { return Options{} }

// New returns the overlay.
func New(o Options) op.Overlay {
	x := unique{}
	for _, a := range o.Attributes {
		x.sets = append(x.sets, Set{Attributes: []string{a}})
	}
	x.sets = append(x.sets, o.Sets...)
	invalid := o.Validate()
	for i := range x.sets {
		if x.sets[i].Filter != "" && invalid == nil {
			x.sets[i].part, invalid = op.NewPart("", "", x.sets[i].Filter)
		}
	}
	var all []string
	for _, set := range x.sets {
		all = append(all, set.Attributes...)
	}
	return op.Overlay{
		Name: "unique", Equality: all, Prepare: x.prepare, CheckEntries: x.check,
		Open: func(p *op.Ports) (func(), error) {
			if invalid != nil {
				return nil, invalid
			}
			return nil, x.known(p)
		},
	}
}

// known refuses attributes and rules that the schema does not have: a rule that looks right and holds nothing is worse than
// none.
func (x unique) known(p *op.Ports) error {
	view := p.Directory.View()
	defer view.Close()
	s := view.Schema()
	for i := range x.sets {
		set := &x.sets[i]
		for _, name := range set.Attributes {
			switch t := s.AttributeTypeString(name); {
			case t == nil:
				return fmt.Errorf("overlay.unique: the schema has no attribute %q", name)
			case t.Equality == nil:
				return fmt.Errorf("overlay.unique: values of %s cannot be compared: it has no equality rule", name)
			case set.Rule != "" && (s.MatchingRule([]byte(set.Rule)) == nil || s.MatchingRule([]byte(set.Rule)).ValueKey == nil || !s.RuleApplies(s.MatchingRule([]byte(set.Rule)), t)):
				return fmt.Errorf("overlay.unique: %q is no rule that values of %s can be compared by", set.Rule, name)
			}
		}
	}
	return nil
}

type unique struct{ sets []Set }

// types returns the attribute types of a set as the schema knows them.
func (set *Set) types(s *schema.Schema) []*schema.AttributeType {
	var out []*schema.AttributeType
	for _, name := range set.Attributes {
		if t := s.AttributeTypeString(name); t != nil && t.Equality != nil {
			out = append(out, t)
		}
	}
	return out
}

// scope returns the entry that the set is about, 0 for the whole directory; ok is false when it does not exist, so that
// there is nothing the rule could be broken by.
func (set *Set) scope(r op.Reader) (base dit.ID, ok bool, err error) {
	if set.Base == "" {
		return 0, true, nil
	}
	norm, err := r.Schema().NormalizeDN(nil, []byte(set.Base))
	if err != nil {
		return 0, false, err
	}
	e, _, err := r.Lookup(string(norm))
	if err != nil || e == nil {
		return 0, false, err
	}
	return e.ID, true, nil
}

// prepare refuses a draft that has a value which another entry of the scope has, and one that a move brings into a scope
// where its values are taken.
func (x unique) prepare(tx op.Tx, _ *op.Request, before *dit.Entry, d *dit.Draft) error {
	moved := before != nil && before.Parent != d.Parent
	for i := range x.sets {
		entered := false
		if part := x.sets[i].part; part != nil {
			in, err := part.HasDraft(tx, d)
			if err != nil {
				return err
			}
			if !in {
				continue
			}
			if before != nil {
				was, err := part.Has(tx, before)
				if err != nil {
					return err
				}
				entered = !was
			}
		}
		if err := x.sets[i].allow(tx, d, moved || entered || before == nil); err != nil {
			return err
		}
	}
	return nil
}

func (set *Set) allow(tx op.Tx, d *dit.Draft, all bool) error {
	s := tx.Schema()
	types := set.types(s)
	base, ok, err := set.scope(tx)
	if err != nil || !ok {
		return err
	}
	if inside, err := draftUnder(tx, d, base); err != nil || !inside {
		return err
	}
	for i := range d.Attrs {
		a := &d.Attrs[i]
		if !covers(types, a.Desc.Type) || !all && !a.Touched() {
			continue
		}
		err := a.EachNew(func(value []byte) error {
			for _, t := range types {
				key, err := t.Equality.ValueKey(s, nil, value)
				if err != nil {
					continue
				}
				if err := set.free(tx, t, key, value, d.ID, base, a.Desc); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// free refuses when another entry of the scope has the value.
func (set *Set) free(r op.Reader, t *schema.AttributeType, key, value []byte, own, base dit.ID, desc schema.Description) error {
	ids, err := r.Equal(t, key)
	if err != nil {
		return err
	}
	for it := ids.Iterator(); it.HasNext(); {
		id := dit.ID(it.Next())
		if id == own {
			continue
		}
		e, err := r.Get(id)
		if err != nil {
			return err
		}
		if e == nil {
			continue
		}
		inside, err := under(r, e, base)
		if err == nil && inside && set.part != nil {
			inside, err = set.part.Has(r, e)
		}
		if err == nil && inside && set.Rule != "" {
			inside, err = set.same(r, e, t, value)
		}
		if err != nil {
			return err
		}
		if inside {
			// Whose value it is stays unsaid: the client may not be allowed to know that entry.
			return ldap.Errorf(ldap.ConstraintViolation, "%s: the value is taken, and it must be unique", desc)
		}
	}
	return nil
}

// same reports whether an entry has a value of an attribute that is the same by the rule of the set.
func (set *Set) same(r op.Reader, e *dit.Entry, t *schema.AttributeType, value []byte) (bool, error) {
	s := r.Schema()
	key, ok := set.key(s, nil, value)
	if !ok {
		return false, nil
	}
	for slot, d := range e.Shape().Slots {
		if !d.Type.IsA(t) {
			continue
		}
		found := false
		if err := op.EachValue(r, e, slot, func(have []byte) bool {
			other, ok := set.key(s, nil, have)
			found = ok && string(other) == string(key)
			return !found
		}); err != nil || found {
			return found, err
		}
	}
	return false, nil
}

// key is what the rule of the set compares; ok is false for a value that it cannot read.
func (set *Set) key(s *schema.Schema, t *schema.AttributeType, value []byte) (key []byte, ok bool) {
	var rule *schema.MatchingRule
	if set.Rule != "" {
		rule = s.MatchingRule([]byte(set.Rule))
	} else if t != nil {
		rule = t.Equality
	}
	if rule == nil || rule.ValueKey == nil {
		return nil, false
	}
	key, err := rule.ValueKey(s, nil, value)
	return key, err == nil
}

func under(r op.Reader, e *dit.Entry, base dit.ID) (bool, error) {
	if base == 0 {
		return true, nil
	}
	return r.Under(e, base)
}

// draftUnder reports whether the entry that a draft will be is in the scope.
func draftUnder(r op.Reader, d *dit.Draft, base dit.ID) (bool, error) {
	if base == 0 || d.ID != 0 && d.ID == base {
		return true, nil
	}
	if d.Parent == 0 {
		return false, nil
	}
	parent, err := r.Get(d.Parent)
	if err != nil || parent == nil {
		return false, err
	}
	return r.Under(parent, base)
}

func covers(types []*schema.AttributeType, t *schema.AttributeType) bool {
	for _, want := range types {
		if t.IsA(want) {
			return true
		}
	}
	return false
}

// check reports values that are there more than once.
func (x unique) check(r op.Reader, report func(op.Finding)) (func(e *dit.Entry) error, error) {
	var checks []func(e *dit.Entry) error
	for i := range x.sets {
		base, ok, err := x.sets[i].scope(r)
		if err != nil {
			return nil, err
		}
		if ok {
			checks = append(checks, x.sets[i].check(r, base, report))
		}
	}
	return op.All(checks), nil
}

func (set *Set) check(r op.Reader, base dit.ID, report func(op.Finding)) func(e *dit.Entry) error {
	s := r.Schema()
	types := set.types(s)
	first := make(map[string]dit.ID)
	return func(e *dit.Entry) error {
		if in, err := r.Under(e, base); err != nil || !in {
			return err
		}
		if in, err := set.part.Has(r, e); err != nil || !in {
			return err
		}
		for slot, d := range e.Shape().Slots {
			if !covers(types, d.Type) {
				continue
			}
			if err := op.EachValue(r, e, slot, func(value []byte) bool {
				key, ok := set.key(s, d.Type, value)
				if !ok {
					return true
				}
				other, twice := first[string(key)]
				if twice && other != e.ID {
					report(finding(r, e, other, d, value))
				}
				first[string(key)] = e.ID
				return true
			}); err != nil {
				return err
			}
		}
		return nil
	}
}

func finding(r op.Reader, e *dit.Entry, other dit.ID, d schema.Description, value []byte) op.Finding {
	where, what := fmt.Sprintf("entry %d", e.ID), fmt.Sprintf("entry %d", other)
	if name, err := r.Name(e); err == nil {
		where = name.DN
	}
	if o, err := r.Get(other); err == nil && o != nil {
		if name, err := r.Name(o); err == nil {
			what = name.DN
		}
	}
	return op.Finding{
		Where:  where,
		What:   fmt.Sprintf("%s %q is a value of %s too", d, value, what),
		Advice: "change one of them; the overlay refuses further ones",
	}
}
