package constraint

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/ldap"
)

// prepare judges a draft by every rule that it comes under. What was there before and stays as it is, is not judged again,
// so that a rule that came later stops nobody from changing the rest; an entry that comes under a rule by a change or a move
// is judged as a new one.
func (x *constraint) prepare(tx op.Tx, req *op.Request, before *dit.Entry, d *dit.Draft) error {
	if len(x.rules) == 0 || req != nil && req.Write.Internal {
		return nil
	}
	for _, r := range x.rules {
		if err := r.judge(tx, req, before, d); err != nil {
			return err
		}
	}
	return nil
}

// judge judges a draft by one rule.
func (r *rule) judge(tx op.Tx, req *op.Request, before *dit.Entry, d *dit.Draft) error {
	s := tx.Schema()
	types := r.types(s)
	entered := before == nil // all of it is new to the rule
	touched := false
	for i := range d.Attrs {
		touched = touched || covers(types, d.Attrs[i].Desc.Type) && d.Attrs[i].Touched()
	}
	if !touched && !(r.narrowed && before != nil) {
		return nil
	}
	in, err := r.part.HasDraft(tx, d)
	if err != nil || !in {
		return err
	}
	if r.narrowed && before != nil {
		was, err := r.part.Has(tx, before)
		if err != nil {
			return err
		}
		entered = !was
	}
	if !touched && !entered {
		return nil
	}
	j := &judgement{rule: r, r: tx, types: types}
	if entered {
		before = nil
	}
	return j.draft(req, before, d)
}

// types returns the attribute types of the rule as the schema knows them.
func (r *rule) types(s *schema.Schema) []*schema.AttributeType {
	out := make([]*schema.AttributeType, 0, len(r.Attributes))
	for _, name := range r.Attributes {
		if t := s.AttributeTypeString(name); t != nil {
			out = append(out, t)
		}
	}
	return out
}

func covers(types []*schema.AttributeType, t *schema.AttributeType) bool {
	return t != nil && slices.ContainsFunc(types, t.IsA)
}

// judgement is one rule looking at one entry.
type judgement struct {
	*rule
	r     op.Reader
	types []*schema.AttributeType
}

// draft judges what a draft makes of an entry; before is nil where all of it is new to the rule.
func (j *judgement) draft(req *op.Request, before *dit.Entry, d *dit.Draft) error {
	count, had := 0, 0
	if before != nil {
		for slot, desc := range before.Shape().Slots {
			if covers(j.types, desc.Type) {
				had += before.Count(slot)
			}
		}
	}
	var name string // of an attribute that has too many
	for i := range d.Attrs {
		a := &d.Attrs[i]
		if !covers(j.types, a.Desc.Type) || a.Count() == 0 {
			continue
		}
		count, name = count+a.Count(), a.Desc.String()
		if before != nil && !a.Touched() {
			continue
		}
		old := valuesOf(before, a.Desc)
		n := 0
		err := a.EachNew(func(value []byte) error {
			n++
			if old.has(value) {
				return nil
			}
			if err := j.value(value); err != nil {
				return j.refused(a.Desc, fmt.Sprintf("value #%d %s", n-1, err.Error()), err)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if j.MaxCount != nil && count > *j.MaxCount && count > had {
		return ldap.Errorf(ldap.ConstraintViolation, "%s: %d values, where %s allows %d", name, count, j.label, *j.MaxCount)
	}
	if j.set == nil || count == 0 {
		return nil
	}
	holds, err := j.set.holds(j.r, req, d)
	if err != nil || holds {
		return err
	}
	return ldap.Errorf(ldap.ConstraintViolation, "%s: %s does not hold: %s", name, j.label, j.Set)
}

// refused makes the answer about a value; errors of storage stay what they are.
func (j *judgement) refused(d schema.Description, what string, err error) error {
	if _, ok := errors.AsType[broken](err); !ok {
		return err
	}
	return ldap.Errorf(ldap.ConstraintViolation, "%s: %s (%s)", d, what, j.label)
}

// broken is what of a rule a value breaks.
type broken string

func (b broken) Error() string { return string(b) }

// value judges one value. Values themselves are not in errors: they may be secret.
func (j *judgement) value(value []byte) error {
	size := int64(len(value))
	switch {
	case j.MaxSize > 0 && size > j.MaxSize:
		return broken(fmt.Sprintf("has %d octets, and at most %d are allowed", size, j.MaxSize))
	case size < j.MinSize:
		return broken(fmt.Sprintf("has %d octets, and at least %d are demanded", size, j.MinSize))
	}
	for i, re := range j.match {
		if !re.Match(value) {
			return broken("does not match " + j.Regex[i])
		}
	}
	for i, re := range j.rule.refuse {
		if re.Match(value) {
			return broken("matches " + j.NotRegex[i] + ", which is not allowed")
		}
	}
	if j.exists == nil {
		return nil
	}
	there, err := j.lookUp(value)
	if err != nil || there {
		return err
	}
	return broken("is not found by " + j.Exists)
}

// lookUp reports whether the value is the name, or a value of one of the attributes, of an entry that the URL finds.
func (j *judgement) lookUp(value []byte) (bool, error) {
	s := j.r.Schema()
	if len(j.found) == 0 {
		norm, err := s.NormalizeDN(nil, value)
		if err != nil {
			return false, nil
		}
		e, _, err := j.r.Lookup(string(norm))
		if err != nil || e == nil {
			return false, err
		}
		return j.exists.Has(j.r, e)
	}
	for _, name := range j.found {
		t := s.AttributeTypeString(name)
		if t == nil || t.Equality == nil {
			continue
		}
		key, err := t.Equality.ValueKey(s, nil, value)
		if err != nil {
			continue
		}
		ids, err := j.r.Equal(t, key)
		if err != nil {
			return false, err
		}
		for it := ids.Iterator(); it.HasNext(); {
			e, err := j.r.Get(dit.ID(it.Next()))
			if err != nil {
				return false, err
			}
			if e == nil {
				continue
			}
			if in, err := j.exists.Has(j.r, e); in || err != nil {
				return in, err
			}
		}
	}
	return false, nil
}

// oldValues are the values of an attribute as they were, by octets.
type oldValues struct {
	few  [][]byte
	many map[string]bool
}

func valuesOf(e *dit.Entry, d schema.Description) (out oldValues) {
	if e == nil {
		return out
	}
	slot := e.Shape().Find(d)
	if slot < 0 {
		return out
	}
	if _, large := e.Large(slot); large {
		return out // of a large attribute only what is added is looked at
	}
	for v := e.Values(slot); ; {
		value, ok := v.Next()
		if !ok {
			break
		}
		out.few = append(out.few, value)
	}
	if len(out.few) > 16 {
		out.many = make(map[string]bool, len(out.few))
		for _, v := range out.few {
			out.many[string(v)] = true
		}
	}
	return out
}

func (o *oldValues) has(value []byte) bool {
	if o.many != nil {
		return o.many[string(value)]
	}
	return slices.ContainsFunc(o.few, func(v []byte) bool { return bytes.Equal(v, value) })
}

// check reports values that break a rule: they were there before it, or came by an import.
func (x *constraint) check(r op.Reader, report func(op.Finding)) (func(e *dit.Entry) error, error) {
	if len(x.rules) == 0 {
		return nil, nil
	}
	types := make([][]*schema.AttributeType, len(x.rules))
	for i, rule := range x.rules {
		types[i] = rule.types(r.Schema())
	}
	return func(e *dit.Entry) error {
		for i, rule := range x.rules {
			if !slices.ContainsFunc(e.Shape().Slots, func(d schema.Description) bool { return covers(types[i], d.Type) }) {
				continue
			}
			in, err := rule.part.Has(r, e)
			if err != nil {
				return err
			}
			if !in {
				continue
			}
			j := &judgement{rule: rule, r: r, types: types[i]}
			if err := j.entry(e, report); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

// entry reports how an entry breaks the rule.
func (j *judgement) entry(e *dit.Entry, report func(op.Finding)) error {
	name, err := j.r.Name(e)
	if err != nil {
		return err
	}
	found := func(format string, args ...any) {
		report(op.Finding{Where: name.DN, What: fmt.Sprintf(format, args...) + " (" + j.label + ")",
			Advice: "change it; the overlay refuses further ones"})
	}
	count := 0
	for slot, d := range e.Shape().Slots {
		if !covers(j.types, d.Type) {
			continue
		}
		count += e.Count(slot)
		n := 0
		var failed error
		if err := op.EachValue(j.r, e, slot, func(value []byte) bool {
			err := j.value(value)
			if b, ok := errors.AsType[broken](err); ok {
				found("%s: value #%d %s", d, n, b.Error())
			} else if err != nil {
				failed = err
			}
			n++
			return failed == nil
		}); err != nil || failed != nil {
			return errorOf(failed, err)
		}
	}
	if j.MaxCount != nil && count > *j.MaxCount {
		found("%d values of %v, where %d are allowed", count, j.Attributes, *j.MaxCount)
	}
	if j.set == nil || count == 0 {
		return nil
	}
	holds, err := j.set.holdsFor(j.r, name, e)
	if err == nil && !holds {
		found("the expression %s does not hold", j.Set)
	}
	return err
}

func errorOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
