// Package refint keeps references by name right: when an entry is renamed or deleted, the values that name it follow, in
// the same transaction.
package refint

import (
	"slices"
	"strings"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/ldap"
)

// Options is the table [overlay.refint].
type Options struct {
	// Attributes hold the names that are kept right.
	Attributes []string `toml:"attributes"`
	// Nothing takes the place of a last value that an object class demands. Where it is empty, the delete of an entry that
	// is somewhere the last required value is refused.
	Nothing string `toml:"nothing"`
}

// Defaults are the options of a configuration that says nothing.
func Defaults() Options {
	return Options{
		Attributes: []string{"member", "uniqueMember", "owner", "manager", "seeAlso", "roleOccupant", "secretary", "pwdPolicySubentry"},
		Nothing:    "cn=nobody",
	}
}

// New returns the overlay.
func New(o Options) op.Overlay {
	x := refint{o}
	return op.Overlay{Name: "refint", Equality: o.Attributes, Prepare: x.prepare, Derive: x.derive, CheckEntries: x.check}
}

type refint struct{ o Options }

// types returns the attribute types as the schema knows them.
func (x refint) types(s *schema.Schema) []*schema.AttributeType {
	var out []*schema.AttributeType
	for _, name := range x.o.Attributes {
		if t := s.AttributeTypeString(name); t != nil && t.Equality != nil {
			out = append(out, t)
		}
	}
	return out
}

// prepare takes the stand-in away again when there are other values.
func (x refint) prepare(tx op.Tx, _ *op.Request, _ *dit.Entry, d *dit.Draft) error {
	if x.o.Nothing == "" {
		return nil
	}
	s := tx.Schema()
	for i := range d.Attrs {
		a := &d.Attrs[i]
		if !a.Touched() || a.Large != nil || len(a.Values) < 2 || a.Desc.Options != "" || !slices.Contains(x.types(s), a.Desc.Type) {
			continue
		}
		if there, err := d.Has(s, a.Desc, []byte(x.o.Nothing)); err != nil || !there {
			continue
		}
		if err := d.Delete(s, a.Desc, [][]byte{[]byte(x.o.Nothing)}, true); err != nil {
			return err
		}
	}
	return nil
}

// derive follows a rename or a delete.
func (x refint) derive(tx op.Tx, _ *op.Request, c dit.Change) error {
	switch c.Kind {
	case dit.ChangeDelete:
		return x.rewrite(tx, c.Old.Norm, "")
	case dit.ChangeRename:
		if c.Old.Norm == c.New.Norm && c.Old.DN == c.New.DN {
			return nil
		}
		if err := x.rewrite(tx, c.Old.Norm, c.New.DN); err != nil {
			return err
		}
		has, err := tx.HasChildren(c.After.ID)
		if err != nil || !has {
			return err
		}
		return x.subtree(tx, c)
	}
	return nil
}

// subtree rewrites the references to everything beneath an entry that was moved.
func (x refint) subtree(tx op.Tx, c dit.Change) error {
	return op.Walk(tx, c.After.ID, func(e *dit.Entry) error {
		if e.ID == c.After.ID {
			return nil
		}
		name, err := tx.Name(e)
		if err != nil {
			return err
		}
		below, ok := strings.CutSuffix(name.Norm, c.New.Norm)
		if !ok {
			return ldap.Errorf(ldap.Other, "the name of a moved entry is not beneath its parent")
		}
		return x.rewrite(tx, below+c.Old.Norm, name.DN)
	})
}

// rewrite replaces the name old by new in all references; an empty new removes them.
func (x refint) rewrite(tx op.Tx, old, new string) error {
	s := tx.Schema()
	done := &dit.IDSet{}
	for _, t := range x.types(s) {
		key, err := t.Equality.ValueKey(s, nil, []byte(old))
		if err != nil {
			continue
		}
		set, err := tx.Equal(t, key)
		if err != nil {
			return err
		}
		// The set is of the index, which changes under the rewriting.
		for _, id := range set.ToArray() {
			if !done.CheckedAdd(id) {
				continue
			}
			if err := x.rewriteIn(tx, dit.ID(id), old, new); err != nil {
				return err
			}
		}
	}
	return nil
}

// rewriteIn changes all references of one entry to one name at once.
func (x refint) rewriteIn(tx op.Tx, id dit.ID, old, new string) error {
	e, err := tx.Get(id)
	if err != nil || e == nil {
		return err
	}
	s := tx.Schema()
	d := e.Edit(tx)
	types := x.types(s)
	for _, desc := range slices.Clone(e.Shape().Slots) {
		if !slices.ContainsFunc(types, desc.Type.IsA) {
			continue
		}
		there, err := d.Has(s, desc, []byte(old))
		if err != nil {
			return err
		}
		if !there {
			continue
		}
		if err := d.Delete(s, desc, [][]byte{[]byte(old)}, true); err != nil {
			return err
		}
		if new != "" {
			if err := d.Add(s, desc, [][]byte{[]byte(new)}, true); err != nil {
				return err
			}
			continue
		}
		if err := x.keepRequired(tx, d, desc, e); err != nil {
			return err
		}
	}
	return tx.Modify(d)
}

// keepRequired sees to it that an object class that demands the attribute still finds it.
func (x refint) keepRequired(tx op.Tx, d *dit.Draft, desc schema.Description, e *dit.Entry) error {
	s := tx.Schema()
	if d.Attr(desc).Count() > 0 || !required(s, d, desc.Type) {
		return nil
	}
	if x.o.Nothing == "" {
		name, err := tx.Name(e)
		if err != nil {
			return err
		}
		return ldap.Errorf(ldap.ConstraintViolation,
			"the entry is the last %s of %q, which must have one: give it another first, or set overlay.refint.nothing", desc, name.DN)
	}
	return d.Add(s, desc, [][]byte{[]byte(x.o.Nothing)}, true)
}

// required reports whether an object class of the draft demands the type.
func required(s *schema.Schema, d *dit.Draft, t *schema.AttributeType) bool {
	classes := d.Attr(schema.Description{Type: s.Known.ObjectClass})
	if classes == nil {
		return false
	}
	for _, name := range classes.Values {
		if c := s.ObjectClassBytes(name); c != nil && slices.Contains(c.AllMust, t) {
			return true
		}
	}
	return false
}

// check reports references to entries that are not there. Names outside the naming contexts are other directories'.
func (x refint) check(r op.Reader, report func(op.Finding)) (func(e *dit.Entry) error, error) {
	types := x.types(r.Schema())
	var shape *dit.Shape // of the entry before: the next is often alike
	var slots []int
	return func(e *dit.Entry) error {
		if shape != e.Shape() {
			shape, slots = e.Shape(), slots[:0]
			for slot, desc := range shape.Slots {
				if slices.ContainsFunc(types, desc.Type.IsA) {
					slots = append(slots, slot)
				}
			}
		}
		for _, slot := range slots {
			if err := x.checkSlot(r, e, slot, report); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

func (x refint) checkSlot(r op.Reader, e *dit.Entry, slot int, report func(op.Finding)) error {
	desc := e.Shape().Slots[slot]
	var failed error
	var norm []byte
	err := op.EachValue(r, e, slot, func(value []byte) bool {
		var err error
		if norm, err = r.Schema().NormalizeDN(norm[:0], value); err != nil {
			return true // a name with a unique identifier, which is nobody's entry
		}
		id, err := op.ID(r, string(norm))
		if id != 0 {
			return true
		}
		var there, above *dit.Entry
		if err == nil {
			there, above, err = r.Lookup(string(norm))
		}
		if err != nil {
			failed = err
			return false
		}
		if there != nil || above == nil {
			return true
		}
		name, err := r.Name(e)
		if err != nil {
			failed = err
			return false
		}
		report(op.Finding{
			Where:  name.DN,
			What:   desc.String() + " names " + string(value) + ", which does not exist",
			Advice: "remove the value, or add the entry",
		})
		return true
	})
	if failed != nil {
		return failed
	}
	return err
}
