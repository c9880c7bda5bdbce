package dit

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	"portolan/ber"
	"portolan/internal/schema"
	"portolan/ldap"
)

// SealOptions are what the maker of an entry decides.
type SealOptions struct {
	// LargeThreshold is the number of values above which an attribute moves to keys of its own; 0 keeps all inline.
	LargeThreshold int
	// CheckSecret refuses values that must not be stored, such as a clear password. It is asked about every new or changed
	// value of a secret type.
	CheckSecret func(t *schema.AttributeType, value []byte) error
	// Trusted leaves out the checks that the source has done already: for entries of an export of this server.
	Trusted bool
	// Copied leaves out the checks likewise, for entries of another server, whose schema may be another: structuralObjectClass
	// is set where it is missing and the classes are in order.
	Copied bool
	// Preview makes an entry for looking at, which must not be stored: nothing is checked, and structuralObjectClass is set
	// where the classes are in order.
	Preview bool
	// Relaxed leaves out DIT content rules, and lets an entry that breaks the rules of its object classes already go on
	// breaking them (draft-zeilenga-ldap-relax).
	Relaxed bool
}

// Seal makes the entry of a draft: it is the only way to one, so that nothing unchecked gets into the store. It completes
// superclasses (RFC 4512 section 3.3), the naming attributes (RFC 4511 section 4.7) and structuralObjectClass, checks
// values and classes, and writes the wire form. The draft may be changed and sealed again.
//
// The value changes of large attributes are returned beside the entry: they are to be stored with it.
func (d *Draft) Seal(shapes *Shapes, o SealOptions) (*Entry, []LargeDelta, error) {
	s := shapes.Schema
	if err := d.addNaming(s); err != nil {
		return nil, nil, err
	}
	d.addSuperclasses(s)
	d.drop()
	switch {
	case o.Preview:
		_ = d.classify(s, o.Relaxed)
	case o.Copied:
		if d.First(s.Known.StructuralObjectClass) == nil {
			_ = d.classify(s, true)
		}
	case !o.Trusted:
		if err := d.check(s, o); err != nil {
			return nil, nil, err
		}
	}
	var large []LargeDelta
	order, shape := d.arrange(shapes)
	e := &Entry{ID: d.ID, Parent: d.Parent, UUID: d.UUID, CSN: d.CSN}
	size := 0
	for slot, i := range order {
		a := &d.Attrs[i]
		delta, err := a.settle(s, o.LargeThreshold)
		if err != nil {
			return nil, nil, err
		}
		if delta != nil {
			large = append(large, *delta)
		}
		if a.Large != nil {
			e.large = append(e.large, largeSlot{slot: slot, count: a.Large.Count()})
		}
		size += attrSize(a)
	}
	// Large attributes that vanished altogether have no slot any more; their values must still go.
	large = append(large, d.vanished()...)
	e.shape = shape
	e.reserve(len(order), d.RDN, d.NormRDN, size)
	for _, i := range order {
		e.blob = appendAttr(e.blob, &d.Attrs[i])
		e.off = append(e.off, uint32(len(e.blob)))
	}
	e.setClasses(shapes)
	return e, large, nil
}

// compareSlots orders attributes as Entry says, the object class first and the rest by the order of the schema, so that
// entries with the same attributes have the same shape.
func compareSlots(s *schema.Schema, a, b schema.Description) int {
	first := func(d schema.Description) int {
		if d.Type == s.Known.ObjectClass {
			return 0
		}
		return 1
	}
	return cmp.Or(
		cmp.Compare(slotClass(a), slotClass(b)),
		cmp.Compare(first(a), first(b)),
		cmp.Compare(a.Type.Ordinal, b.Type.Ordinal),
		cmp.Compare(a.Options, b.Options),
	)
}

// addNaming puts the values of the RDN among the attributes.
func (d *Draft) addNaming(s *schema.Schema) error {
	if d.RDN == "" {
		return nil
	}
	if d.Base != nil && d.Base.RDN == d.RDN && !d.TouchesNaming(s) {
		return nil
	}
	rdn := d.Name
	if rdn == nil {
		name, err := ldap.ParseDN(d.RDN)
		if err != nil {
			return err
		}
		// The RDN of a suffix entry is the whole suffix; its first RDN names the entry.
		if len(name) == 0 {
			return nil
		}
		rdn = name[0]
	}
	for i, ava := range rdn {
		t := s.AttributeTypeString(ava.Type)
		if t == nil {
			return ldap.Errorf(ldap.UndefinedAttributeType, "the name %q uses the attribute type %q, which the schema does not know", d.RDN, ava.Type)
		}
		if t.Operational() || t.NoUserModification {
			return ldap.Errorf(ldap.NamingViolation, "the operational attribute %s cannot name an entry", t.Name())
		}
		for j := range i {
			// X.501 section 9.3, which RFC 4512 section 2.3.1 builds on: of each attribute one distinguished value.
			if s.AttributeTypeString(rdn[j].Type) == t {
				return ldap.Errorf(ldap.NamingViolation, "%s is there twice in one relative name", t.Name())
			}
		}
		desc := schema.Description{Type: t}
		if t.SingleValue {
			if a := d.Attr(desc); a != nil && len(a.Values) == 1 {
				key, err := equalityKey(s, t, nil, ava.Value)
				if err == nil {
					if there, _ := a.has(s, key); !there {
						return ldap.Errorf(ldap.NamingViolation, "%s: the value in the name is not the value of the attribute", t.Name())
					}
				}
			}
		}
		if err := d.Add(s, desc, [][]byte{ava.Value}, true); err != nil {
			return err
		}
	}
	return nil
}

// TouchesNaming reports whether an attribute was changed that could be one of those that name the entry.
func (d *Draft) TouchesNaming(s *schema.Schema) bool {
	// Of what is not plain to see any attribute could.
	if name, _, ok := strings.Cut(d.RDN, "="); ok && !strings.Contains(d.RDN, "+") {
		if t := s.AttributeTypeString(strings.TrimSpace(name)); t != nil {
			return d.Touched(schema.Description{Type: t})
		}
	}
	return slices.ContainsFunc(d.Attrs, func(a DraftAttr) bool { return a.touched && !a.Desc.Type.Operational() })
}

// addSuperclasses adds what RFC 4512 section 3.3 calls implicitly added: all superclasses of the named classes.
func (d *Draft) addSuperclasses(s *schema.Schema) {
	a := d.Attr(schema.Description{Type: s.Known.ObjectClass})
	if a == nil || !a.touched {
		return
	}
	have := make([]*schema.ObjectClass, 0, 2*len(a.Values))
	for _, v := range a.Values {
		have = append(have, s.ObjectClassBytes(v))
	}
	for i, named := 0, len(a.Values); i < named; i++ {
		if have[i] == nil {
			continue
		}
		for _, super := range have[i].Superclasses() {
			if !slices.Contains(have, super) {
				have = append(have, super)
				a.Values, a.own = append(a.Values[:len(a.Values):len(a.Values)], []byte(super.Name())), false
				a.keys = nil
			}
		}
	}
}

// drop removes attributes without values.
func (d *Draft) drop() {
	some := 0
	for some < len(d.Attrs) && d.Attrs[some].count() > 0 {
		some++
	}
	if some == len(d.Attrs) {
		return
	}
	kept := d.Attrs[:0:0]
	var gone []DraftAttr
	for _, a := range d.Attrs {
		if a.count() > 0 {
			kept = append(kept, a)
		} else if a.Large != nil && a.Large.count > 0 {
			gone = append(gone, a)
		}
	}
	d.Attrs = kept
	d.goneLarge = append(d.goneLarge, gone...)
}

func (d *Draft) vanished() []LargeDelta {
	var out []LargeDelta
	for _, a := range d.goneLarge {
		if d.Attr(a.Desc) == nil {
			out = append(out, LargeDelta{Desc: a.Desc, Clear: true})
		}
	}
	return out
}

// check verifies the values that the draft changed, and the entry as a whole.
func (d *Draft) check(s *schema.Schema, o SealOptions) error {
	for i := range d.Attrs {
		a := &d.Attrs[i]
		if a.Desc.Type == nil {
			return ldap.Errorf(ldap.UndefinedAttributeType, "%s: attribute type undefined", a.Desc)
		}
		secret := a.Desc.Type.Secret && o.CheckSecret != nil
		if !a.touched || a.checked && !secret {
			continue
		}
		for n, v := range a.Values {
			if err := s.CheckValue(a.Desc.Type, v); err != nil {
				return valueError(a.Desc, n, err)
			}
			if secret {
				if err := o.CheckSecret(a.Desc.Type, v); err != nil {
					return err
				}
			}
		}
	}
	return d.classify(s, o.Relaxed)
}

// classify checks the classes and attributes as a whole and sets structuralObjectClass.
func (d *Draft) classify(s *schema.Schema, relaxed bool) error {
	structural, err := d.checkClasses(s, relaxed)
	if err != nil {
		return err
	}
	if t := s.Known.StructuralObjectClass; t != nil && structural != nil {
		want := []byte(structural.Name())
		if !bytes.Equal(d.First(t), want) {
			d.Set(t, want)
		}
	}
	return nil
}

// checkClasses checks the entry as a whole against its object classes.
func (d *Draft) checkClasses(s *schema.Schema, relaxed bool) (*schema.ObjectClass, error) {
	if !relaxed {
		switch {
		case d.last != nil:
			return d.last.check(s, d)
		case d.likeBase(s):
			return d.Base.shape.check(s, d)
		}
		return s.CheckEntry(draftView{d})
	}
	structural, err := s.CheckRelaxed(draftView{d})
	if err != nil && d.Base != nil {
		if _, before := s.CheckRelaxed(draftView{d.Base.Edit(nil)}); before != nil {
			return nil, nil
		}
	}
	return structural, err
}

// settle decides whether the attribute is large and returns the value changes if it is.
func (a *DraftAttr) settle(s *schema.Schema, threshold int) (*LargeDelta, error) {
	if a.Large == nil {
		t := a.Desc.Type
		if threshold <= 0 || len(a.Values) <= threshold || t.Equality == nil || t == s.Known.ObjectClass || t.Operational() {
			return nil, nil
		}
		l := &DraftLarge{cleared: true, has: func([]byte) (bool, error) { return false, nil }, add: make(map[string][]byte, len(a.Values))}
		keys, err := a.allKeys(s)
		if err != nil {
			return nil, err
		}
		delta := &LargeDelta{Desc: a.Desc, Clear: true, Add: make([]LargeValue, len(a.Values))}
		for i, v := range a.Values {
			if _, twice := l.add[keys[i]]; twice {
				return nil, ldap.Errorf(ldap.AttributeOrValueExists, "%s: value #%d is there twice", a.Desc, i)
			}
			l.add[keys[i]] = v
			delta.Add[i] = LargeValue{Key: []byte(keys[i]), Value: v}
		}
		l.order = keys
		a.Large, a.Values, a.keys = l, nil, nil
		return delta, nil
	}
	l := a.Large
	if !l.cleared && len(l.del) == 0 && len(l.add) == 0 {
		return nil, nil
	}
	delta := &LargeDelta{Desc: a.Desc, Clear: l.cleared}
	for k := range l.del {
		delta.Delete = append(delta.Delete, LargeValue{Key: []byte(k)})
	}
	slices.SortFunc(delta.Delete, func(x, y LargeValue) int { return bytes.Compare(x.Key, y.Key) })
	for _, k := range l.order {
		if v, ok := l.add[k]; ok {
			delta.Add = append(delta.Add, LargeValue{Key: []byte(k), Value: v})
		}
	}
	return delta, nil
}

// allKeys returns the equality keys of all values, by their positions.
func (a *DraftAttr) allKeys(s *schema.Schema) ([]string, error) {
	keys := make([]string, len(a.Values))
	if a.checked && len(a.keys) == len(a.Values) {
		for key, i := range a.keys {
			keys[i] = key
		}
		return keys, nil
	}
	for i, v := range a.Values {
		key, err := equalityKey(s, a.Desc.Type, nil, v)
		if err != nil {
			return nil, valueError(a.Desc, i, err)
		}
		keys[i] = string(key)
	}
	return keys, nil
}

func attrSize(a *DraftAttr) int {
	name := len(a.Desc.Type.Name()) + len(a.Desc.Options)
	values := 0
	for _, v := range a.Values {
		values += ber.HeaderSize(len(v)) + len(v)
	}
	body := ber.HeaderSize(name) + name + ber.HeaderSize(values) + values
	return ber.HeaderSize(body) + body
}

// appendAttr appends the PartialAttribute encoding.
func appendAttr(dst []byte, a *DraftAttr) []byte {
	name := a.Desc.Type.Name()
	size := len(name) + len(a.Desc.Options)
	values := 0
	for _, v := range a.Values {
		values += ber.HeaderSize(len(v)) + len(v)
	}
	dst = ber.AppendHeader(dst, ber.Sequence, ber.HeaderSize(size)+size+ber.HeaderSize(values)+values)
	dst = append(append(ber.AppendHeader(dst, ber.OctetString, size), name...), a.Desc.Options...)
	dst = ber.AppendHeader(dst, ber.Set, values)
	for _, v := range a.Values {
		dst = ber.AppendBytes(dst, ber.OctetString, v)
	}
	return dst
}

// draftView shows a draft to the schema's check.
type draftView struct{ d *Draft }

func (v draftView) EachClass(yield func(name []byte) bool) {
	for i := range v.d.Attrs {
		a := &v.d.Attrs[i]
		if len(a.Desc.Type.Names) == 0 || a.Desc.Type.Names[0] != "objectClass" {
			continue
		}
		for _, value := range a.Values {
			if !yield(value) {
				return
			}
		}
	}
}

func (v draftView) EachAttribute(yield func(d schema.Description, values int) bool) {
	for i := range v.d.Attrs {
		if !yield(v.d.Attrs[i].Desc, v.d.Attrs[i].count()) {
			return
		}
	}
}
