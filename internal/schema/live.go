package schema

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"portolan/ldap"
)

// Live definitions are those that were made by modifying the subschema subentry. They stand beside the definitions of
// files, which they may neither change nor contradict. The Schema itself never changes: ChangeLive makes another one.

// A Definition is one value of an attribute of the subschema subentry.
type Definition struct {
	Attr  string // one of LiveAttributes
	Value string
}

// LiveAttributes are the attributes of the subschema subentry whose values may be changed.
var LiveAttributes = []string{"ldapSyntaxes", "attributeTypes", "objectClasses", "dITContentRules", "nameForms", "dITStructureRules"}

// LiveName is what errors call the place of live definitions.
const LiveName = "cn=Subschema"

// maxLive bounds the live definitions of a schema.
const maxLive = 10_000

// Live returns the live definitions in the order in which they were made. The slice is not to be changed.
func (s *Schema) Live() []Definition { return s.live }

// Base returns the Schema without live definitions: s itself where there are none.
func (s *Schema) Base() (*Schema, error) {
	if len(s.live) == 0 {
		return s, nil
	}
	return Load(slices.DeleteFunc(slices.Clone(s.files), func(f File) bool { return f.Live })...)
}

// WithLive returns a Schema with these live definitions instead of those of s. Errors are those of Load.
func (s *Schema) WithLive(defs []Definition) (*Schema, error) {
	files := slices.DeleteFunc(slices.Clone(s.files), func(f File) bool { return f.Live })
	if len(defs) > 0 {
		files = append(files, File{Name: LiveName, Text: AppendLive(nil, defs), Live: true})
	}
	return Load(files...)
}

// AppendLive appends definitions as lines of LDIF, one for each: the form in which they are kept.
func AppendLive(dst []byte, defs []Definition) []byte {
	for _, d := range defs {
		dst = append(dst, d.Attr...)
		if plainLine(d.Value) {
			dst = append(append(dst, ": "...), d.Value...)
		} else {
			dst = base64.StdEncoding.AppendEncode(append(dst, ":: "...), []byte(d.Value))
		}
		dst = append(dst, '\n')
	}
	return dst
}

// plainLine reports whether a value can stand in a line of LDIF as it is.
func plainLine(v string) bool {
	for i := range len(v) {
		if v[i] < ' ' || v[i] >= 0x7f {
			return false
		}
	}
	return strings.HasPrefix(v, "(") && strings.HasSuffix(v, ")")
}

// ParseLive reads what AppendLive wrote, or definitions in any notation that Load reads. It does not join them.
func ParseLive(text []byte) ([]Definition, error) {
	sts, err := statements(File{Name: LiveName, Text: text})
	if err != nil {
		return nil, err
	}
	var out []Definition
	for i := range sts {
		attr, ok := liveAttribute(sts[i].keyword)
		if !ok {
			return nil, fmt.Errorf("%s: %s cannot be defined here; definitions are %s", sts[i].position(0), sts[i].keyword, strings.Join(LiveAttributes, ", "))
		}
		out = append(out, Definition{attr, strings.TrimSpace(sts[i].text)})
	}
	return out, nil
}

// liveAttribute finds an attribute by its name in any case.
func liveAttribute(name string) (string, bool) {
	for _, a := range LiveAttributes {
		if strings.EqualFold(a, name) {
			return a, true
		}
	}
	return "", false
}

// parse takes a definition apart. The error is invalidAttributeSyntax.
func (d Definition) parse() (*rawDefinition, error) {
	raw, err := readDefinition(&statement{keyword: strings.ToLower(d.Attr), text: d.Value, file: "value", line: 1}, nil)
	if err != nil {
		return nil, ldap.Errorf(ldap.InvalidAttributeSyntax, "%s: %s", d.Attr, strings.TrimPrefix(err.Error(), "value:1: "))
	}
	return raw, nil
}

// ChangeLive applies the changes of a modify of the subschema subentry (RFC 4511 section 4.6) and returns the Schema that
// results, checked as a whole. s stays as it is. Values are told apart by their first component, as the equality rules of
// these attributes do: a value to be deleted may be the definition, or "( OID )", or the OID or a name alone. What a
// file defines can be neither changed nor deleted; permissive passes over what is there already and what is not.
//
// Errors are *ldap.Error: invalidAttributeSyntax for what is no definition, attributeOrValueExists, noSuchAttribute,
// constraintViolation for a schema that does not hold together, unwillingToPerform for what may not be changed.
func (s *Schema) ChangeLive(mods []ldap.Mod, permissive bool) (*Schema, error) {
	c := liveChange{base: s, defs: slices.Clone(s.live), permissive: permissive}
	for _, d := range c.defs {
		raw, err := d.parse()
		if err != nil {
			return nil, err
		}
		c.keys = append(c.keys, raw.key())
	}
	for i := range mods {
		if err := c.apply(&mods[i]); err != nil {
			return nil, err
		}
	}
	if len(c.defs) > maxLive {
		return nil, ldap.Errorf(ldap.AdminLimitExceeded, "more than %d definitions; put them into a file and name it under [schema] files", maxLive)
	}
	next, err := s.WithLive(c.defs)
	if err != nil {
		return nil, ldap.Errorf(ldap.ConstraintViolation, "the schema would not hold together: %s", withoutPlace(err.Error()))
	}
	return next, nil
}

// withoutPlace removes the positions of live definitions, which a client does not know.
func withoutPlace(msg string) string {
	if rest, ok := strings.CutPrefix(msg, LiveName+":"); ok {
		if _, text, ok := strings.Cut(rest, ": "); ok {
			msg = text
		}
	}
	before, after, ok := strings.Cut(msg, LiveName+":")
	if !ok {
		return msg
	}
	return before + LiveName + strings.TrimLeft(after, "0123456789")
}

// liveChange is one run of ChangeLive.
type liveChange struct {
	base       *Schema
	defs       []Definition
	keys       []string // of defs
	permissive bool
}

func (c *liveChange) apply(m *ldap.Mod) error {
	name, _, options := bytes.Cut(m.Attribute.Type, []byte{';'})
	t := c.base.AttributeType(name)
	if t == nil || options {
		return ldap.Errorf(ldap.UndefinedAttributeType, "%q: attribute type or option undefined", clip(string(m.Attribute.Type)))
	}
	attr, ok := liveAttribute(t.Name())
	if !ok {
		return ldap.Errorf(ldap.UnwillingToPerform, "%s of the subschema subentry is the server's own; what can be changed is %s", t.Name(), strings.Join(LiveAttributes, ", "))
	}
	switch values := m.Attribute.Values; m.Op {
	case ldap.ModAdd:
		if len(values) == 0 {
			return ldap.Errorf(ldap.ProtocolError, "%s: modify/add needs at least one value", attr)
		}
		for _, v := range values {
			if err := c.add(Definition{attr, string(v)}); err != nil {
				return err
			}
		}
		return nil
	case ldap.ModDelete:
		if len(values) == 0 {
			return ldap.Errorf(ldap.UnwillingToPerform, "%s cannot be deleted as a whole: files define some of its values; delete those that were added", attr)
		}
		for _, v := range values {
			if err := c.remove(attr, v); err != nil {
				return err
			}
		}
		return nil
	case ldap.ModReplace:
		return c.replace(attr, values)
	}
	return ldap.Errorf(ldap.ConstraintViolation, "%s: definitions cannot be incremented", attr)
}

// add adds a definition.
func (c *liveChange) add(d Definition) error {
	raw, err := d.parse()
	if err != nil {
		return err
	}
	if slices.Contains(c.keys, raw.key()) || c.base.fixed(raw.key()) != nil {
		if c.permissive {
			return nil
		}
		return ldap.Errorf(ldap.AttributeOrValueExists, "%s: %s is defined already; to change what was added, delete and add it in one modify", d.Attr, raw.id())
	}
	c.defs, c.keys = append(c.defs, d), append(c.keys, raw.key())
	return nil
}

// remove deletes the definition with the first component of v.
func (c *liveChange) remove(attr string, v []byte) error {
	key, err := c.base.liveKey(attr, v)
	if err != nil {
		return err
	}
	if i := slices.Index(c.keys, key); i >= 0 {
		c.defs, c.keys = slices.Delete(c.defs, i, i+1), slices.Delete(c.keys, i, i+1)
		return nil
	}
	if fixed := c.base.fixed(key); fixed != nil {
		return ldap.Errorf(ldap.UnwillingToPerform, "%s is defined at %s and can be changed there only", fixed.what(), fixed.Origin)
	}
	if c.permissive {
		return nil
	}
	return ldap.Errorf(ldap.NoSuchAttribute, "%s: nothing defines %s", attr, clip(string(v)))
}

// liveKey is the key of the definition that a value stands for: a definition, "( OID )", an OID or a name.
func (s *Schema) liveKey(attr string, v []byte) (string, error) {
	first, ok := component(v)
	if !ok {
		first = bytes.TrimSpace(v)
	}
	kind := strings.ToLower(attr)
	if kind == "ditstructurerules" {
		n, err := integerKey(s, nil, first)
		if err != nil {
			return "", ldap.Errorf(ldap.InvalidAttributeSyntax, "%s: %q is not the number of a DIT structure rule", attr, clip(string(first)))
		}
		return kind + " " + string(n), nil
	}
	if validOID(first) {
		return kind + " " + string(first), nil
	}
	if oid := s.oidOf(kind, string(first)); oid != "" {
		return kind + " " + oid, nil
	}
	return "", ldap.Errorf(ldap.NoSuchAttribute, "%s: nothing defines %q", attr, clip(string(first)))
}

// oidOf finds the OID of a definition of a kind by its name.
func (s *Schema) oidOf(kind, name string) string {
	switch kind {
	case "attributetypes":
		if t := s.AttributeTypeString(name); t != nil {
			return t.OID
		}
	case "objectclasses":
		if c := s.ObjectClass(name); c != nil {
			return c.OID
		}
	default:
		for _, d := range s.definitions(kind) {
			if slices.ContainsFunc(d.Names, func(n string) bool { return strings.EqualFold(n, name) }) {
				return d.OID
			}
		}
	}
	return ""
}

// replace replaces all values of an attribute. Those that files define must be among the new ones, and as they are.
func (c *liveChange) replace(attr string, values [][]byte) error {
	kind := strings.ToLower(attr)
	there := map[string]bool{}
	defs, keys := c.defs, c.keys
	c.defs, c.keys = nil, nil
	for i, d := range defs {
		if d.Attr != attr {
			c.defs, c.keys = append(c.defs, d), append(c.keys, keys[i])
		}
	}
	for _, v := range values {
		d := Definition{attr, string(v)}
		raw, err := d.parse()
		if err != nil {
			return err
		}
		key := raw.key()
		if there[key] {
			return ldap.Errorf(ldap.AttributeOrValueExists, "%s: %s is there twice", attr, raw.id())
		}
		there[key] = true
		if fixed := c.base.fixed(key); fixed != nil {
			if !sameText(fixed, raw) {
				return ldap.Errorf(ldap.UnwillingToPerform, "%s is defined at %s and can be changed there only", fixed.what(), fixed.Origin)
			}
			continue
		}
		c.defs, c.keys = append(c.defs, d), append(c.keys, key)
	}
	for _, d := range c.base.definitions(kind) {
		if !d.Live && !there[d.key] {
			return ldap.Errorf(ldap.UnwillingToPerform, "%s is defined at %s and can be removed there only; add and delete single values instead of replacing all", d.what(), d.Origin)
		}
	}
	return nil
}

// A defined is a definition of a Schema.
type defined struct {
	*Common
	kind, key string
	ids       []int
	text      func() string // as it is published
}

func (d *defined) what() string {
	return (&rawDefinition{Common: *d.Common, kind: d.kind, ids: d.ids}).what()
}

// definitions lists what a Schema has of a kind.
func (s *Schema) definitions(kind string) []defined {
	var out []defined
	add := func(c *Common, text func() string, ids ...int) {
		d := defined{Common: c, kind: kind, key: kind + " " + c.OID, ids: ids, text: text}
		if len(ids) > 0 {
			d.key = fmt.Sprint(kind, " ", ids[0])
		}
		out = append(out, d)
	}
	switch kind {
	case "ldapsyntaxes":
		for _, x := range s.syntaxList {
			add(&x.Common, x.String)
		}
	case "attributetypes":
		for _, x := range s.attrList {
			add(&x.Common, x.String)
		}
	case "objectclasses":
		for _, x := range s.classList {
			add(&x.Common, x.String)
		}
	case "ditcontentrules":
		for _, x := range s.contentList {
			add(&x.Common, x.String)
		}
	case "nameforms":
		for _, x := range s.nameForms {
			add(&x.Common, x.String)
		}
	case "ditstructurerules":
		for _, x := range s.structRules {
			add(&x.Common, x.String, x.ID)
		}
	}
	return out
}

// fixed returns the definition of this key that a file or the program has; nil if there is none, or a live one.
func (s *Schema) fixed(key string) *defined {
	kind, _, _ := strings.Cut(key, " ")
	list := s.definitions(kind)
	if i := slices.IndexFunc(list, func(d defined) bool { return d.key == key && !d.Live }); i >= 0 {
		return &list[i]
	}
	return nil
}

// sameText reports whether a client sent back what was published.
func sameText(fixed *defined, d *rawDefinition) bool {
	published, err := Definition{fixed.kind, fixed.text()}.parse()
	return err == nil && slices.Equal(published.Names, d.Names) && published.Desc == d.Desc && published.Obsolete == d.Obsolete &&
		reflect.DeepEqual(published.terms, d.terms) && slices.Equal(published.ids, d.ids)
}

// id names a definition by what a client wrote.
func (d *rawDefinition) id() string {
	if d.kind == "ditstructurerules" {
		return fmt.Sprint(d.ids[0])
	}
	return d.OID
}
