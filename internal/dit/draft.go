package dit

import (
	"bytes"
	"errors"
	"math/big"
	"slices"
	"strconv"

	"github.com/google/uuid"

	"portolan/internal/schema"
	"portolan/ldap"
)

// Draft is an entry that is being made or changed. One goroutine uses it. Values alias what it was made from; they are
// replaced, never changed in place.
type Draft struct {
	ID     ID
	Parent ID
	UUID   uuid.UUID
	CSN    CSN
	// RDN and NormRDN are the relative name that the entry will have.
	RDN     string
	NormRDN string
	// Name is RDN for who has parsed it already; a draft that is reset has none.
	Name ldap.RDN
	// Base is the entry that is edited, nil for a new one.
	Base *Entry

	Attrs []DraftAttr

	scratch   []byte      // for keys
	last      *sealed     // of the entry sealed last, in a draft that makes one after another; else nil
	goneLarge []DraftAttr // large attributes that a seal found without values
}

// DraftAttr is one attribute of a draft.
type DraftAttr struct {
	Desc   schema.Description
	Values [][]byte
	// Large is set where the values live in keys of their own: Values is then empty, and changes are collected in Large.
	Large *DraftLarge
	// touched says that the attribute differs from the base, so that its values must be checked. checked says that every one
	// of them came by Add, which did that.
	touched, checked bool
	// own says that nobody else appends to Values, so that it may grow in place.
	own  bool
	keys map[string]int // equality keys to positions in Values, once there are many
}

// DraftLarge is the change of a large attribute in the making.
type DraftLarge struct {
	count   int // values in the store
	cleared bool
	has     func(key []byte) (bool, error)
	del     map[string][]byte
	add     map[string][]byte
	order   []string // keys of add in the order they came
}

// Count returns the number of values as things stand.
func (l *DraftLarge) Count() int {
	if l.cleared {
		return len(l.add)
	}
	return l.count - len(l.del) + len(l.add)
}

// Has reports whether the value with this equality key is there as things stand.
func (l *DraftLarge) Has(key []byte) (bool, error) {
	if _, ok := l.add[string(key)]; ok {
		return true, nil
	}
	if _, ok := l.del[string(key)]; ok || l.cleared {
		return false, nil
	}
	return l.has(key)
}

// LargeReader reads large attributes of stored entries.
type LargeReader interface {
	LargeHas(e *Entry, slot int, key []byte) (bool, error)
}

// NewDraft returns an empty draft.
func NewDraft() *Draft { return &Draft{Attrs: make([]DraftAttr, 0, 24)} }

// Reset makes a draft empty, for the next new entry. What was sealed before keeps no part of it.
func (d *Draft) Reset() {
	clear(d.Attrs)
	if d.last == nil {
		d.last = new(sealed)
	}
	*d = Draft{Attrs: d.Attrs[:0], scratch: d.scratch, last: d.last}
}

// Edit returns a draft of an entry. r answers for its large attributes while the draft lives; it may be nil for an entry
// without any.
func (e *Entry) Edit(r LargeReader) *Draft {
	d := &Draft{ID: e.ID, Parent: e.Parent, UUID: e.UUID, CSN: e.CSN, RDN: e.RDN, NormRDN: e.NormRDN, Base: e,
		Attrs: make([]DraftAttr, len(e.shape.Slots), len(e.shape.Slots)+4)}
	// Most attributes have one value: together they have one list, of which each has a part that does not grow into the next.
	values := make([][]byte, 0, len(e.shape.Slots)+8)
	for i, desc := range e.shape.Slots {
		a := &d.Attrs[i]
		a.Desc = desc
		if count, large := e.Large(i); large {
			slot := i
			a.Large = &DraftLarge{count: count, has: func(key []byte) (bool, error) { return r.LargeHas(e, slot, key) }}
			continue
		}
		from := len(values)
		for v := e.Values(i); ; {
			b, ok := v.Next()
			if !ok {
				break
			}
			values = append(values, b)
		}
		a.Values = values[from:len(values):len(values)]
	}
	return d
}

// Clone returns a draft that can be changed and sealed without an effect on d, and the other way round. d must be new: it
// has no Base.
func (d *Draft) Clone() *Draft {
	c := *d
	c.scratch, c.last = nil, nil
	c.Attrs = slices.Clone(d.Attrs)
	for i := range c.Attrs {
		a := &c.Attrs[i]
		a.Values, a.keys, a.own = slices.Clone(a.Values), nil, false
	}
	return &c
}

// Attr returns the attribute of exactly this description, or nil.
func (d *Draft) Attr(desc schema.Description) *DraftAttr {
	for i := range d.Attrs {
		if d.Attrs[i].Desc.Type == desc.Type && d.Attrs[i].Desc.Options == desc.Options {
			return &d.Attrs[i]
		}
	}
	return nil
}

// First returns the first value of an attribute type without options, or nil.
func (d *Draft) First(t *schema.AttributeType) []byte {
	if a := d.Attr(schema.Description{Type: t}); a != nil && len(a.Values) > 0 {
		return a.Values[0]
	}
	return nil
}

// Touched reports whether the attribute was changed in the draft.
func (a *DraftAttr) Touched() bool { return a.touched }

// Touched reports whether the attribute of this description was changed in the draft.
func (d *Draft) Touched(desc schema.Description) bool {
	a := d.Attr(desc)
	return a != nil && a.touched
}

// Set replaces the values of an attribute without looking at those that were there; no values removes it. It is for
// attributes that the server itself maintains.
func (d *Draft) Set(t *schema.AttributeType, values ...[]byte) {
	if a := d.Attr(schema.Description{Type: t}); a != nil {
		a.clear()
		a.Values = append(a.Values, values...)
		a.checked = false
		return
	}
	if len(values) > 0 {
		d.Attrs = append(d.Attrs, DraftAttr{Desc: schema.Description{Type: t}, Values: values, touched: true})
	}
}

// Add adds values (RFC 4511 section 4.6, add). A value that is there already is attributeOrValueExists, or passed over
// where permissive.
func (d *Draft) Add(s *schema.Schema, desc schema.Description, values [][]byte, permissive bool) (err error) {
	if desc.IsRange() {
		return ldap.Errorf(ldap.UndefinedAttributeType, "%s: a language range names no attribute; write a tag such as lang-de (RFC 3866 section 3)", desc)
	}
	a := d.Attr(desc)
	if a == nil {
		d.Attrs = append(d.Attrs, DraftAttr{Desc: desc})
		a = &d.Attrs[len(d.Attrs)-1]
	}
	a.touched = true
	a.checked = a.checked || a.count() == 0
	if d.last != nil && len(a.Values) == 0 && !permissive && desc.Type == s.Known.ObjectClass && desc.Options == "" {
		if d.last.named(s, values) {
			a.Values, a.own, a.keys = values[:len(values):len(values)], false, nil
			return nil
		}
		defer func() { d.last.name(s, values, err) }()
	}
	one := a.Large == nil && len(a.Values) == 0 && len(values) == 1
	if n := len(a.Values) + len(values); a.Large == nil && !one && (!a.own || n > cap(a.Values)) {
		a.Values, a.own = append(make([][]byte, 0, n), a.Values...), true
	}
	scratch := d.scratch
	defer func() { d.scratch = scratch }()
	for i, v := range values {
		if err := s.CheckValue(desc.Type, v); err != nil {
			return valueError(desc, i, err)
		}
		if one && desc.Type.Equality != nil && desc.Type.Equality.HasKey(v) {
			a.Values, a.own, a.keys = values[:1:1], false, nil
			return nil
		}
		key, err := equalityKey(s, desc.Type, scratch[:0], v)
		if err != nil {
			return valueError(desc, i, err)
		}
		scratch = key
		if one {
			a.Values, a.own, a.keys = values[:1:1], false, nil
			return nil
		}
		there, err := a.has(s, key)
		if err != nil {
			return err
		}
		if there {
			if permissive {
				continue
			}
			return ldap.Errorf(ldap.AttributeOrValueExists, "%s: value #%d is there already", desc, i)
		}
		a.put(key, v)
	}
	return nil
}

// Delete deletes values, or with none the whole attribute (RFC 4511 section 4.6, delete). What is not there is
// noSuchAttribute, or passed over where permissive.
func (d *Draft) Delete(s *schema.Schema, desc schema.Description, values [][]byte, permissive bool) error {
	a := d.Attr(desc)
	if a == nil || a.count() == 0 {
		if permissive {
			return nil
		}
		return ldap.Errorf(ldap.NoSuchAttribute, "%s: no such attribute in the entry", desc)
	}
	a.touched = true
	if len(values) == 0 {
		a.clear()
		return nil
	}
	if desc.Type.Equality == nil {
		return ldap.Errorf(ldap.InappropriateMatching,
			"%s: has no equality rule, so that single values cannot be deleted; delete the whole attribute or replace it", desc)
	}
	var scratch []byte
	for i, v := range values {
		key, err := equalityKey(s, desc.Type, scratch[:0], v)
		if err != nil {
			return valueError(desc, i, err)
		}
		scratch = key
		gone, err := a.remove(s, key)
		if err != nil {
			return err
		}
		if !gone && !permissive {
			return ldap.Errorf(ldap.NoSuchAttribute, "%s: value #%d is not in the entry", desc, i)
		}
	}
	return nil
}

// Replace replaces all values; no values removes the attribute, also where it is not there (RFC 4511 section 4.6).
func (d *Draft) Replace(s *schema.Schema, desc schema.Description, values [][]byte, permissive bool) error {
	if a := d.Attr(desc); a != nil {
		a.clear()
	}
	if len(values) == 0 {
		return nil
	}
	return d.Add(s, desc, values, permissive)
}

// Assign makes the values of an attribute these, as Replace does, but leaves alone what is there already: of a large
// attribute only the differences become changes. Values that are there twice count once. stored calls f for the stored
// values of the attribute with their equality keys; it is asked where the attribute is large.
func (d *Draft) Assign(s *schema.Schema, desc schema.Description, values [][]byte, stored func(f func(key, value []byte) bool) error) error {
	a := d.Attr(desc)
	switch {
	case a == nil, len(values) == 0:
		return d.Replace(s, desc, values, true)
	case a.Large == nil:
		if slices.EqualFunc(a.Values, values, bytes.Equal) {
			return nil
		}
		return d.Replace(s, desc, values, true)
	case a.Large.cleared || len(a.Large.del) > 0 || len(a.Large.add) > 0:
		return d.Replace(s, desc, values, true)
	}
	wanted := make(map[string]bool, len(values))
	for i, v := range values {
		key, err := equalityKey(s, desc.Type, nil, v)
		if err != nil {
			return valueError(desc, i, err)
		}
		wanted[string(key)] = true
	}
	var gone [][]byte
	err := stored(func(key, value []byte) bool {
		if !wanted[string(key)] {
			gone = append(gone, bytes.Clone(value))
		}
		return true
	})
	if err != nil {
		return err
	}
	if len(gone) > 0 {
		if err := d.Delete(s, desc, gone, true); err != nil {
			return err
		}
	}
	return d.Add(s, desc, values, true)
}

// Increment adds an integer to every value (RFC 4525). The attribute must have integer syntax and be there.
func (d *Draft) Increment(s *schema.Schema, desc schema.Description, values [][]byte) error {
	if len(values) != 1 {
		return ldap.Errorf(ldap.ProtocolError, "%s: increment wants exactly one value", desc)
	}
	if desc.Type.Syntax.OID != integerSyntax {
		return ldap.Errorf(ldap.ConstraintViolation, "%s: increment wants an attribute of integer syntax", desc)
	}
	by, ok := parseInteger(values[0])
	if !ok {
		return ldap.Errorf(ldap.InvalidAttributeSyntax, "%s: the increment is not an integer", desc)
	}
	a := d.Attr(desc)
	if a == nil || a.count() == 0 {
		return ldap.Errorf(ldap.NoSuchAttribute, "%s: no such attribute in the entry", desc)
	}
	if a.Large != nil {
		return ldap.Errorf(ldap.UnwillingToPerform, "%s: has too many values to increment", desc)
	}
	next := make([][]byte, len(a.Values))
	for i, v := range a.Values {
		n, ok := parseInteger(v)
		if !ok {
			return ldap.Errorf(ldap.ConstraintViolation, "%s: value #%d is not an integer", desc, i)
		}
		next[i] = []byte(n.Add(n, by).String())
	}
	return d.Replace(s, desc, next, false)
}

// integerSyntax is INTEGER (RFC 4517 section 3.3.16).
const integerSyntax = "1.3.6.1.4.1.1466.115.121.1.27"

// maxIntegerDigits bounds the integers that increment computes with, so that a huge value costs nothing.
const maxIntegerDigits = 1000

func parseInteger(b []byte) (*big.Int, bool) {
	if len(b) > maxIntegerDigits {
		return nil, false
	}
	return new(big.Int).SetString(string(b), 10)
}

func (a *DraftAttr) count() int {
	if a.Large != nil {
		return a.Large.Count()
	}
	return len(a.Values)
}

func (a *DraftAttr) clear() {
	a.Values, a.keys, a.touched, a.checked, a.own = nil, nil, true, false, false
	if l := a.Large; l != nil {
		l.cleared, l.del, l.add, l.order = true, nil, nil, nil
	}
}

// manyValues is where looking through the values gives way to a map of their keys.
const manyValues = 16

func (a *DraftAttr) has(s *schema.Schema, key []byte) (bool, error) {
	if a.Large != nil {
		return a.Large.Has(key)
	}
	_, at := a.find(s, key)
	return at >= 0, nil
}

func (a *DraftAttr) find(s *schema.Schema, key []byte) (indexed bool, at int) {
	if a.keys == nil && len(a.Values) >= manyValues {
		a.keys = make(map[string]int, max(2*len(a.Values), cap(a.Values)))
		for i, v := range a.Values {
			k, err := equalityKey(s, a.Desc.Type, nil, v)
			if err != nil {
				k = v
			}
			a.keys[string(k)] = i
		}
	}
	if a.keys != nil {
		if i, ok := a.keys[string(key)]; ok {
			return true, i
		}
		return true, -1
	}
	var scratch []byte
	for i, v := range a.Values {
		k, err := equalityKey(s, a.Desc.Type, scratch[:0], v)
		if err != nil {
			k = append(scratch[:0], v...)
		}
		scratch = k
		if bytes.Equal(k, key) {
			return false, i
		}
	}
	return false, -1
}

func (a *DraftAttr) put(key, value []byte) {
	if l := a.Large; l != nil {
		k := string(key)
		if l.add == nil {
			l.add = make(map[string][]byte)
		}
		l.add[k] = value
		l.order = append(l.order, k)
		return
	}
	if a.keys != nil {
		a.keys[string(key)] = len(a.Values)
	}
	if !a.own {
		a.Values, a.own = append(make([][]byte, 0, max(4, 2*len(a.Values))), a.Values...), true
	}
	a.Values = append(a.Values, value)
}

func (a *DraftAttr) remove(s *schema.Schema, key []byte) (bool, error) {
	if l := a.Large; l != nil {
		there, err := l.Has(key)
		if err != nil || !there {
			return false, err
		}
		k := string(key)
		if _, added := l.add[k]; added {
			delete(l.add, k)
			// A value that was in the store and had been deleted before it was added again is still to be deleted: del keeps it.
			return true, nil
		}
		if l.del == nil {
			l.del = make(map[string][]byte)
		}
		l.del[k] = nil
		return true, nil
	}
	indexed, at := a.find(s, key)
	if at < 0 {
		return false, nil
	}
	rest := make([][]byte, 0, len(a.Values)-1)
	a.Values, a.own = append(append(rest, a.Values[:at]...), a.Values[at+1:]...), false
	if indexed {
		delete(a.keys, string(key))
		for k, i := range a.keys {
			if i > at {
				a.keys[k] = i - 1
			}
		}
	}
	return true, nil
}

// equalityKey is the key by which values of one attribute are told apart: octets where the type has no equality rule.
func equalityKey(s *schema.Schema, t *schema.AttributeType, dst, value []byte) ([]byte, error) {
	if t.Equality == nil || t.Equality.ValueKey == nil || t.Equality.Match != nil {
		return append(dst, value...), nil
	}
	return t.Equality.ValueKey(s, dst, value)
}

// valueError names the attribute and the value in an error about a value.
func valueError(desc schema.Description, i int, err error) error {
	if e, ok := errors.AsType[*ldap.Error](err); ok {
		return e
	}
	return ldap.Errorf(ldap.InvalidAttributeSyntax, "%s: value #%s: %v", desc, strconv.Itoa(i), err)
}

// Has reports whether the attribute of exactly this description has a value, by its equality rule.
func (d *Draft) Has(s *schema.Schema, desc schema.Description, value []byte) (bool, error) {
	a := d.Attr(desc)
	if a == nil {
		return false, nil
	}
	key, err := equalityKey(s, desc.Type, nil, value)
	if err != nil {
		return false, nil
	}
	return a.has(s, key)
}

// Count returns the number of values as things stand.
func (a *DraftAttr) Count() int { return a.count() }

// EachNew calls f for the values that may be new: all of an attribute that is kept inline, the added ones of a large
// attribute. An error of f ends it.
func (a *DraftAttr) EachNew(f func(value []byte) error) error {
	if a.Large != nil {
		for _, key := range a.Large.order {
			if v, ok := a.Large.add[key]; ok {
				if err := f(v); err != nil {
					return err
				}
			}
		}
		return nil
	}
	for _, v := range a.Values {
		if err := f(v); err != nil {
			return err
		}
	}
	return nil
}
