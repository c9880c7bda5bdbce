package engine

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"portolan/internal/access"
	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/ldap"
)

// SubschemaDN names the subschema subentry (RFC 4512 section 4.2).
const SubschemaDN = "cn=Subschema"

// subschema is what the engine keeps of the subschema subentry beside the schema itself.
type subschema struct {
	norm     string
	begun    string                 // createTimestamp: when the engine was made
	changed  atomic.Pointer[string] // modifyTimestamp: when the schema in force was put there
	change   sync.Mutex             // one change at a time
	retiring atomic.Pointer[retiring]
}

// Subschema returns the subschema subentry (RFC 4512 section 4.2), readable by everybody who is bound. Its time stamps let
// clients keep a schema that they have read: it may be older than modifyTimestamp says, never newer.
func (e *Engine) Subschema() (Special, error) {
	norm, err := e.Schema().NormalizeDN(nil, []byte(SubschemaDN))
	if err != nil {
		return Special{}, err
	}
	e.subschema.norm = string(norm)
	e.subschema.begun = string(schema.AppendGeneralizedTime(nil, e.o.Now()))
	e.subschema.changed.Store(&e.subschema.begun)
	return Special{DN: SubschemaDN, Norm: string(norm), Attributes: func(s *schema.Schema, _ *op.Conn) []SpecialAttr {
		attrs := []SpecialAttr{
			{"objectClass", []string{"top", "subentry", "subschema", "extensibleObject"}},
			{"structuralObjectClass", []string{"subentry"}},
			{"cn", []string{strings.TrimPrefix(SubschemaDN, "cn=")}},
			{"subtreeSpecification", []string{"{ }"}},
			{"subschemaSubentry", []string{SubschemaDN}},
			{"entryDN", []string{SubschemaDN}},
			{"createTimestamp", []string{e.subschema.begun}},
			{"modifyTimestamp", []string{*e.subschema.changed.Load()}},
		}
		for _, p := range s.Publish() {
			if len(p.Values) > 0 {
				attrs = append(attrs, SpecialAttr{p.Name, p.Values})
			}
		}
		return attrs
	}}, nil
}

// maxSubschemaName bounds the names that are compared with that of the subentry.
const maxSubschemaName = 64

var comma = []byte{','}

// isSubschema reports whether a client named the subschema subentry.
func (e *Engine) isSubschema(dn []byte) bool {
	if len(dn) > maxSubschemaName || e.subschema.norm == "" {
		return false
	}
	// Nearly every name has more RDNs than that of the subentry, and need not be normalized to be another.
	if bytes.Count(dn, comma) > strings.Count(e.subschema.norm, ",") {
		return false
	}
	norm, err := normalize(e.Schema(), dn)
	return err == nil && norm == e.subschema.norm
}

// modifySubschema changes the schema in force (RFC 4512 section 4.2 leaves it to the server whether that is possible). It
// needs the right to control the subentry. The new schema is checked as a whole, nothing that entries use may go, and it
// becomes durable and visible in one step.
func (e *Engine) modifySubschema(ctx context.Context, req *op.Request, m *ldap.ModifyRequest, set *Settings) error {
	if req.Identity.MustChange() {
		return mustChange(req)
	}
	if err := e.mayWrite(req, set); err != nil {
		return err
	}
	if e.o.ReplaceSchema == nil {
		return ldap.Errorf(ldap.UnwillingToPerform, "the schema of this server cannot be changed through LDAP")
	}
	target := &access.Target{Name: dit.Name{DN: SubschemaDN, Norm: e.subschema.norm}}
	if e.rights(req, set, e.Schema()).EntryRights(target)&access.Control == 0 {
		return ldap.Errorf(ldap.InsufficientAccessRights, "changing the schema needs the right to control %s", SubschemaDN)
	}
	if len(req.Write.Before) > 0 || len(req.Write.After) > 0 {
		return ldap.Errorf(ldap.UnwillingToPerform, "assertion, pre-read and post-read do not go with a change of the schema")
	}
	if len(m.Changes) == 0 {
		if req.Write.NoOp {
			return errNoOp
		}
		return nil
	}
	e.subschema.change.Lock()
	defer e.subschema.change.Unlock()
	now := e.Schema()
	next, err := now.ChangeLive(m.Changes, req.Write.Permissive)
	if err != nil {
		return err
	}
	if err := e.retire(ctx, now, next); err != nil {
		return err
	}
	defer e.subschema.retiring.Store(nil)
	if req.Write.NoOp {
		return errNoOp
	}
	if err := e.o.ReplaceSchema(ctx, next); err != nil {
		return e.writeError(err)
	}
	changed := string(schema.AppendGeneralizedTime(nil, e.o.Now()))
	e.subschema.changed.Store(&changed)
	return nil
}

// retire makes sure that no entry uses what the next schema lacks or has otherwise, and that none does until the caller
// takes the retiring away again. Writes that begin to use it meanwhile are refused; those that had begun are waited for.
func (e *Engine) retire(ctx context.Context, now, next *schema.Schema) error {
	types, classes := now.Retires(next)
	if len(types) == 0 && len(classes) == 0 {
		return nil
	}
	r := &retiring{schema: now, types: make(map[*schema.AttributeType]bool), classes: make(map[*schema.ObjectClass]bool)}
	for _, t := range types {
		r.types[t] = true
	}
	for _, c := range classes {
		r.classes[c] = true
	}
	for _, x := range e.o.Overlays {
		if t := r.named(x.Equality, x.View); t != nil {
			return ldap.Errorf(ldap.UnwillingToPerform, "the attribute type %s is in use by the overlay %s", t.Name(), x.Name)
		}
	}
	e.subschema.retiring.Store(r)
	if err := e.unused(ctx, r); err != nil {
		e.subschema.retiring.Store(nil)
		return err
	}
	return nil
}

// unused looks for an entry that uses what is retiring.
func (e *Engine) unused(ctx context.Context, r *retiring) error {
	// What the sequencer does from here on has seen that it is retiring: behind it come views with all that had not.
	if err := e.o.Store.Flush(ctx); err != nil {
		return e.writeError(err)
	}
	view := e.o.Store.View()
	defer view.Close()
	if err := view.Pin(); err != nil {
		return err
	}
	if view.Schema() != r.schema {
		return ldap.Errorf(ldap.Busy, "the schema has changed meanwhile: try it again")
	}
	seen := 0
	return op.Each(view, func(entry *dit.Entry) error {
		if seen++; seen%256 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		what, err := r.usedBy(view, entry)
		if err != nil || what == "" {
			return err
		}
		name, err := view.Name(entry)
		if err != nil {
			return err
		}
		return ldap.Errorf(ldap.UnwillingToPerform, "%s is in use: %s has it; what entries use can be neither removed nor changed in ways that would change them", what, name.DN)
	})
}

// retiring is what a change of the schema takes away from entries.
type retiring struct {
	schema  *schema.Schema
	types   map[*schema.AttributeType]bool
	classes map[*schema.ObjectClass]bool
	shapes  sync.Map // *dit.Shape: the first of its types that is retiring, nil for none
}

// named returns the first type that an overlay names.
func (r *retiring) named(names []string, view *op.View) *schema.AttributeType {
	if view != nil {
		names = slices.Concat(names, view.Attributes)
	}
	for _, name := range names {
		if t := r.schema.AttributeTypeString(name); t != nil && r.types[t] {
			return t
		}
	}
	return nil
}

// typeIn returns the first retiring type of a shape.
func (r *retiring) typeIn(shape *dit.Shape) *schema.AttributeType {
	if t, known := r.shapes.Load(shape); known {
		return t.(*schema.AttributeType)
	}
	var found *schema.AttributeType
	for _, d := range shape.Slots {
		if r.types[d.Type] {
			found = d.Type
			break
		}
	}
	r.shapes.Store(shape, found)
	return found
}

// usedBy says what of it an entry uses: an attribute, an object class, or a name in a name.
func (r *retiring) usedBy(reader op.Reader, entry *dit.Entry) (what string, err error) {
	if t := r.typeIn(entry.Shape()); t != nil {
		return "the attribute type " + t.Name(), nil
	}
	known := &r.schema.Known
	for slot, d := range entry.Shape().Slots {
		check := r.class
		switch {
		case d.Type == known.ObjectClass:
			if len(r.classes) == 0 {
				continue
			}
		case len(r.types) > 0 && namesEntries(d.Type):
			check = r.inName
		default:
			continue
		}
		if err := op.EachValue(reader, entry, slot, func(value []byte) bool {
			what = check(value)
			return what == ""
		}); err != nil || what != "" {
			return what, err
		}
	}
	return "", nil
}

func (r *retiring) class(value []byte) string {
	if c := r.schema.ObjectClassBytes(value); c != nil && r.classes[c] {
		return "the object class " + c.Name()
	}
	return ""
}

// namesEntries reports whether values of a type are names.
func namesEntries(t *schema.AttributeType) bool {
	const dn, uidName = "1.3.6.1.4.1.1466.115.121.1.12", "1.3.6.1.4.1.1466.115.121.1.34"
	return t.Syntax.OID == dn || t.Syntax.OID == uidName
}

// inName looks for the types in a value that is a name: how it compares depends on them.
func (r *retiring) inName(value []byte) string {
	name := value
	if i := bytes.LastIndexByte(value, '#'); i > 0 && bytes.HasSuffix(value, []byte("'B")) {
		name = value[:i]
	}
	dn, err := ldap.ParseDN(string(name))
	if err != nil {
		return ""
	}
	for _, rdn := range dn {
		for _, ava := range rdn {
			if t := r.schema.AttributeTypeString(ava.Type); t != nil && r.types[t] {
				return "the attribute type " + t.Name()
			}
		}
	}
	return ""
}

// refuse refuses to store an entry that would use it.
func (r *retiring) refuse(s *schema.Schema, d *dit.Draft) error {
	if s != r.schema {
		return nil
	}
	busy := func(what string) error {
		return ldap.Errorf(ldap.Busy, "%s is being removed from the schema or changed: try it again later", what)
	}
	for i := range d.Attrs {
		a := &d.Attrs[i]
		if r.types[a.Desc.Type] && a.Count() > 0 {
			return busy("the attribute type " + a.Desc.Type.Name())
		}
		check := r.class
		if a.Desc.Type != s.Known.ObjectClass {
			if len(r.types) == 0 || !namesEntries(a.Desc.Type) {
				continue
			}
			check = r.inName
		}
		if err := a.EachNew(func(value []byte) error {
			if what := check(value); what != "" {
				return busy(what)
			}
			return nil
		}); err != nil {
			return err
		}
	}
	if what := r.inName([]byte(d.RDN)); what != "" {
		return busy(what)
	}
	return nil
}
