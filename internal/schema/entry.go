package schema

import (
	"slices"
	"strings"

	"portolan/ldap"
)

// EntryView is what CheckEntry reads of an entry.
type EntryView interface {
	// EachClass calls yield with each value of objectClass until it returns false.
	EachClass(yield func(name []byte) bool)
	// EachAttribute calls yield with each attribute, objectClass and operational ones included, and the number of its
	// values, until it returns false.
	EachAttribute(yield func(d Description, values int) bool)
}

// CheckEntry checks an entry against its object classes, as far as that can be told from the entry alone: one chain of
// structural classes, required and allowed attributes, the DIT content rule, SINGLE-VALUE and COLLECTIVE (RFC 4512
// sections 2.4, 2.5 and 4.1; RFC 3671). It returns the structural object class (RFC 4512 section 2.4.2).
//
// Errors are *ldap.Error: objectClassViolation, undefinedAttributeType or constraintViolation. Values are not looked
// at; superclasses that are not named count as named.
func (s *Schema) CheckEntry(e EntryView) (*ObjectClass, error) { return s.checkEntry(e, false) }

// CheckRelaxed is CheckEntry as if there were no DIT content rules (draft-zeilenga-ldap-relax section 3.3).
func (s *Schema) CheckRelaxed(e EntryView) (*ObjectClass, error) { return s.checkEntry(e, true) }

func (s *Schema) checkEntry(e EntryView, relaxed bool) (*ObjectClass, error) {
	classes, err := s.entryClasses(e)
	if err != nil {
		return nil, err
	}
	structural, err := StructuralClass(classes)
	if err != nil {
		return nil, err
	}
	c := entryCheck{Schema: s, classes: classes}
	if !relaxed {
		c.rule = s.content[structural]
	}
	if err := c.checkContentRule(structural); err != nil {
		return nil, err
	}
	for _, class := range classes {
		c.extensible = c.extensible || class == s.Known.ExtensibleObject
		c.subentry = c.subentry || class == s.Known.CollectiveAttributeSubentry
	}
	e.EachAttribute(func(d Description, values int) bool {
		err = c.attribute(d, values)
		return err == nil
	})
	if err != nil {
		return nil, err
	}
	if err := c.required(e); err != nil {
		return nil, err
	}
	return structural, nil
}

// entryClasses resolves the values of objectClass.
func (s *Schema) entryClasses(e EntryView) ([]*ObjectClass, error) {
	classes := make([]*ObjectClass, 0, 8)
	var err error
	e.EachClass(func(name []byte) bool {
		c := s.ObjectClassBytes(name)
		if c == nil {
			err = ldap.Errorf(ldap.ObjectClassViolation, "the object class %q is not defined; add its definition to the schema or remove the value", clip(string(name)))
			return false
		}
		classes = appendNew(classes, c)
		return true
	})
	if err == nil && len(classes) == 0 {
		err = ldap.Errorf(ldap.ObjectClassViolation, "the entry has no object class; add a value of objectClass")
	}
	return classes, err
}

// StructuralClass returns the structural object class of an entry with these classes (RFC 4512 section 2.4.2): the
// structural class of which all other structural ones are superclasses. The error is objectClassViolation.
func StructuralClass(classes []*ObjectClass) (*ObjectClass, error) {
	var structural *ObjectClass
	for _, c := range classes {
		if c.Kind == Structural && (structural == nil || c.IsA(structural)) {
			structural = c
		}
	}
	if structural == nil {
		return nil, ldap.Errorf(ldap.ObjectClassViolation, "none of the object classes %s is structural; add one that says what the entry is", classNames(classes))
	}
	for _, c := range classes {
		if c.Kind == Structural && !structural.IsA(c) {
			return nil, ldap.Errorf(ldap.ObjectClassViolation, "the structural object classes %s and %s do not inherit from each other; an entry has one of them", c.Name(), structural.Name())
		}
		if c.Kind == Abstract && len(c.Sup) > 0 && !slices.ContainsFunc(classes, func(d *ObjectClass) bool { return d != c && d.IsA(c) }) {
			return nil, ldap.Errorf(ldap.ObjectClassViolation, "the object class %s is abstract; add a class that inherits from it", c.Name())
		}
	}
	return structural, nil
}

// CompleteClasses returns the classes with all their superclasses, each once: what an entry's objectClass has after a
// value was added (RFC 4512 section 3.3). Classes given come first and in order.
func CompleteClasses(classes []*ObjectClass) []*ObjectClass {
	out := appendNew(make([]*ObjectClass, 0, len(classes)+4), classes...)
	for _, c := range classes {
		out = appendNew(out, c.supers...)
	}
	return out
}

func classNames(classes []*ObjectClass) string { return strings.Join(namesOf(classes), ", ") }

// An entryCheck is one run of CheckEntry.
type entryCheck struct {
	*Schema
	classes    []*ObjectClass
	rule       *ContentRule
	extensible bool
	subentry   bool
}

func (c *entryCheck) checkContentRule(structural *ObjectClass) error {
	if c.rule == nil {
		return nil
	}
	for _, class := range c.classes {
		if class.Kind == Auxiliary && !slices.ContainsFunc(c.rule.Aux, func(a *ObjectClass) bool { return a.IsA(class) }) {
			return ldap.Errorf(ldap.ObjectClassViolation, "the DIT content rule of %s does not allow the auxiliary class %s", structural.Name(), class.Name())
		}
	}
	return nil
}

// attribute checks one attribute that the entry has.
func (c *entryCheck) attribute(d Description, values int) error {
	t := d.Type
	switch {
	case t == nil:
		return ldap.Errorf(ldap.UndefinedAttributeType, "an attribute type of the entry is not defined; add its definition to the schema or remove the attribute")
	case values > 1 && t.SingleValue:
		return ldap.Errorf(ldap.ConstraintViolation, "%s has %d values and may have one (SINGLE-VALUE)", d, values)
	case c.rule != nil && slices.Contains(c.rule.Not, t):
		return ldap.Errorf(ldap.ObjectClassViolation, "the DIT content rule of %s forbids the attribute %s", ruleName(c.rule), t.Name())
	case t.Operational() || t == c.Known.ObjectClass:
		return nil
	case t.Collective && c.subentry:
		return nil
	case t.Collective:
		return ldap.Errorf(ldap.ObjectClassViolation, "%s is a collective attribute; write it to a subentry of class collectiveAttributeSubentry", t.Name())
	case c.extensible || c.allows(t):
		return nil
	}
	return ldap.Errorf(ldap.ObjectClassViolation, "the object classes %s do not allow the attribute %s; remove it or add a class that has it", classNames(c.classes), t.Name())
}

func (c *entryCheck) allows(t *AttributeType) bool {
	for _, class := range c.classes {
		if slices.Contains(class.AllMay, t) || slices.Contains(class.AllMust, t) {
			return true
		}
	}
	return c.rule != nil && (slices.Contains(c.rule.May, t) || slices.Contains(c.rule.Must, t))
}

// required checks that what must be there is there. An attribute with options serves as well as one without.
func (c *entryCheck) required(e EntryView) error {
	have := make([]*AttributeType, 0, 32)
	e.EachAttribute(func(d Description, values int) bool {
		if values > 0 {
			have = append(have, d.Type)
		}
		return true
	})
	for _, class := range c.classes {
		for _, t := range class.AllMust {
			if t != c.Known.ObjectClass && !slices.Contains(have, t) {
				return ldap.Errorf(ldap.ObjectClassViolation, "the object class %s requires the attribute %s; add a value", class.Name(), t.Name())
			}
		}
	}
	if c.rule != nil {
		for _, t := range c.rule.Must {
			if !slices.Contains(have, t) {
				return ldap.Errorf(ldap.ObjectClassViolation, "the DIT content rule of %s requires the attribute %s; add a value", ruleName(c.rule), t.Name())
			}
		}
	}
	return nil
}

func ruleName(r *ContentRule) string {
	if len(r.Names) > 0 {
		return r.Names[0]
	}
	return r.OID
}
