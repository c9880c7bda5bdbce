// Package collective shows collective attributes in the entries of a collection (RFC 3671): subentries of class
// collectiveAttributeSubentry give theirs to the entries within their subtree specification. Nothing is stored in those entries.
package collective

import (
	"bytes"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/ldap"
)

// Options is the table [overlay.collective].
type Options struct {
	// Enabled shows collective attributes in entries. Without it they are in their subentries only.
	Enabled bool `toml:"enabled"`
}

// Defaults are the options of a configuration that says nothing.
func Defaults() Options { return Options{Enabled: true} }

// New returns the overlay.
func New(o Options) op.Overlay {
	x := &collective{o: o}
	out := op.Overlay{Name: "collective", Open: x.open, Prepare: prepare, Check: x.check}
	if o.Enabled {
		out.Observe = x.observe
		out.View = &op.View{Current: x.current, Within: within, Above: true, Values: x.values, Match: x.match}
	}
	return out
}

type collective struct {
	o     Options
	ports atomic.Pointer[op.Ports] // nil until opened

	mu    sync.Mutex // one table is made at a time
	table atomic.Pointer[table]
}

// Names that RFC 3671 sections 2.1 and 2.3 and X.501 give.
const (
	class      = "collectiveAttributeSubentry"
	subentries = "collectiveAttributeSubentries"
	allName    = "excludeAllCollectiveAttributes"
	allOID     = "2.5.18.0"
)

// table is what all subentries give, at one moment. While there are none it names no attributes, so that no operation computes any.
type table struct {
	version uint64
	schema  *schema.Schema
	names   []string // what can be computed
	sources []source // by name
	norms   []string // of what they stand beneath: when something above is renamed the table is another one
}

// source is one subentry.
type source struct {
	id   dit.ID
	dn   []byte
	part *op.Subtree
	// of are its collective attributes by name. Options are part of a value's description and have no place in a collection.
	of map[string][][]byte
}

func (x *collective) open(p *op.Ports) (func(), error) {
	x.ports.Store(p)
	if !x.o.Enabled {
		return nil, nil
	}
	return nil, x.renew()
}

// renew makes the table of what is durable now.
func (x *collective) renew() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	view := x.ports.Load().Directory.View()
	defer view.Close()
	t, err := compile(view)
	if err != nil {
		return err
	}
	if old := x.table.Load(); old != nil {
		t.version = old.version + 1
	}
	x.table.Store(t)
	return nil
}

// current is op.View.Current.
func (x *collective) current() ([]string, uint64) {
	if t := x.table.Load(); t != nil {
		return t.names, t.version
	}
	return nil, 0
}

// within is op.View.Within.
func within(tx op.Tx) []string {
	t, err := compile(tx)
	if err != nil {
		return nil
	}
	return t.names
}

// compile reads the subentries.
func compile(r op.Reader) (*table, error) {
	s := r.Schema()
	t := &table{schema: s}
	err := each(r, func(e *dit.Entry) error {
		src, point, err := read(r, e)
		if err != nil || src == nil {
			return err
		}
		t.sources, t.norms = append(t.sources, *src), append(t.norms, point)
		for name := range src.of {
			if !slices.Contains(t.names, name) {
				t.names = append(t.names, name)
			}
		}
		return nil
	})
	slices.SortFunc(t.sources, func(a, b source) int { return bytes.Compare(a.dn, b.dn) })
	slices.Sort(t.names)
	if len(t.sources) > 0 {
		t.names = append(t.names, subentries)
	}
	return t, err
}

// each calls f for the subentries with collective attributes.
func each(r op.Reader, f func(e *dit.Entry) error) error {
	s := r.Schema()
	key, err := s.EqualityKey(s.Known.ObjectClass, nil, []byte(class))
	if err != nil {
		return err
	}
	ids, err := r.Equal(s.Known.ObjectClass, key)
	if err != nil {
		return err
	}
	for it := ids.Iterator(); it.HasNext(); {
		e, err := r.Get(dit.ID(it.Next()))
		if err != nil {
			return err
		}
		if e != nil && e.Subentry && e.Parent != 0 {
			if err := f(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// read returns what a subentry gives; nil where its subtree specification is none, which a store that was loaded may have.
func read(r op.Reader, e *dit.Entry) (*source, string, error) {
	s := r.Schema()
	above, err := r.Get(e.Parent)
	if err != nil || above == nil {
		return nil, "", err
	}
	point, err := r.Name(above)
	if err != nil {
		return nil, "", err
	}
	part, err := op.NewSubtree(s, point.Norm, e.First(schema.Description{Type: s.Known.SubtreeSpecification}))
	if err != nil {
		return nil, "", nil
	}
	name, err := r.Name(e)
	if err != nil {
		return nil, "", err
	}
	src := &source{id: e.ID, dn: []byte(name.DN), part: part, of: make(map[string][][]byte)}
	for slot, d := range e.Shape().Slots {
		if d.Type == nil || !d.Type.Collective || d.Options != "" {
			continue
		}
		if err := op.EachValue(r, e, slot, func(value []byte) bool {
			src.of[d.Type.Name()] = append(src.of[d.Type.Name()], bytes.Clone(value))
			return true
		}); err != nil {
			return nil, "", err
		}
	}
	return src, point.Norm, nil
}

// of returns the table for a reader: that of a transaction is made of what it has changed already, and so is that of a snapshot
// from before a change of the schema.
func (x *collective) of(r op.Reader) (*table, error) {
	t := x.table.Load()
	if _, changing := r.(op.Tx); changing || t == nil {
		return compile(r)
	}
	if r.Schema().Generation() > t.schema.Generation() {
		if err := x.renew(); err != nil {
			return nil, err
		}
		t = x.table.Load()
	}
	if t.schema != r.Schema() {
		return compile(r)
	}
	return t, nil
}

// observe makes the table anew when a subentry has changed, or the name of what one stands in. The writer is answered behind it.
func (x *collective) observe(c op.Commit) {
	t := x.table.Load()
	if t == nil || !slices.ContainsFunc(c.Changes, func(c dit.Change) bool { return t.concerns(&c) }) {
		return
	}
	if err := x.renew(); err != nil {
		x.ports.Load().Log.Error("collective attributes are shown as they were before: their subentries cannot be read", "error", err)
	}
}

func (t *table) concerns(c *dit.Change) bool {
	for _, e := range [2]*dit.Entry{c.Before, c.After} {
		if e != nil && e.Subentry {
			return true
		}
	}
	return c.Kind == dit.ChangeRename && slices.ContainsFunc(t.norms, func(point string) bool { return schema.DNUnder([]byte(point), []byte(c.Old.Norm)) })
}

// values is op.View.Values. Values of several subentries are combined (RFC 3671 section 1.2).
func (x *collective) values(r op.Reader, e *dit.Entry, attr *schema.AttributeType, see op.Visible, f func([]byte) bool) error {
	if e.Subentry || e.ID == 0 {
		return nil
	}
	t, err := x.of(r)
	if err != nil || len(t.sources) == 0 {
		return err
	}
	s := r.Schema()
	if attr == s.Known.CollectiveAttributeSubentries {
		return t.within(r, e, "", func(src *source) (bool, error) {
			if see != nil {
				// The name of an entry is shown: to those alone who may know of it.
				sub, err := r.Get(src.id)
				if err != nil || sub == nil || !see(sub, s.Known.ObjectClass) {
					return true, err
				}
			}
			return f(src.dn), nil
		})
	}
	if excluded(s, e, attr) {
		return nil
	}
	var first *source
	var seen map[string]bool
	key := func(value []byte) string {
		k, err := s.EqualityKey(attr, nil, value)
		if err != nil {
			return string(value)
		}
		return string(k)
	}
	return t.within(r, e, attr.Name(), func(src *source) (bool, error) {
		if first != nil && seen == nil {
			seen = make(map[string]bool)
			for _, v := range first.of[attr.Name()] {
				seen[key(v)] = true
			}
		}
		if first == nil {
			first = src
		}
		for _, v := range src.of[attr.Name()] {
			if seen != nil {
				k := key(v)
				if seen[k] {
					continue
				}
				seen[k] = true
			}
			if !f(v) {
				return false, nil
			}
		}
		return true, nil
	})
}

// within calls f for the subentries in whose scope an entry is, of those that give an attribute where one is named, until f
// returns false.
func (t *table) within(r op.Reader, e *dit.Entry, attr string, f func(*source) (bool, error)) error {
	var norm string
	var areas string // the name of the entry at which the innermost specific area begins
	s := r.Schema()
	for i := range t.sources {
		src := &t.sources[i]
		if attr != "" && src.of[attr] == nil {
			continue
		}
		if norm == "" {
			name, err := r.Name(e)
			if err != nil {
				return err
			}
			if norm = name.Norm; norm == "" {
				return nil
			}
			if areas, err = specificArea(r, e); err != nil {
				return err
			}
		}
		if !schema.DNUnder([]byte(src.part.Point), []byte(areas)) || !src.part.Covers(s, norm, func() [][]byte { return classesOf(s, e) }) {
			continue
		}
		if more, err := f(src); err != nil || !more {
			return err
		}
	}
	return nil
}

// specificArea returns the canonical name of the administrative point at which the specific area begins that an entry is in:
// what subentries above it say ends there (X.501; RFC 3672 section 1.1). Empty where there is none, and all above counts.
func specificArea(r op.Reader, e *dit.Entry) (string, error) {
	s := r.Schema()
	for at := e; at != nil; {
		if begins(s, at) {
			name, err := r.Name(at)
			return name.Norm, err
		}
		if at.Parent == 0 {
			break
		}
		above, err := r.Get(at.Parent)
		if err != nil {
			return "", err
		}
		at = above
	}
	return "", nil
}

// begins reports whether a specific area for collective attributes, or an autonomous area, begins at an entry. Inner areas add to
// what is around them.
func begins(s *schema.Schema, e *dit.Entry) bool {
	slot := e.Shape().Find(schema.Description{Type: s.Known.AdministrativeRole})
	if slot < 0 {
		return false
	}
	for v := e.Values(slot); ; {
		role, ok := v.Next()
		if !ok {
			return false
		}
		for _, name := range [...]string{"collectiveAttributeSpecificArea", "2.5.23.5", "autonomousArea", "2.5.23.1"} {
			if strings.EqualFold(string(role), name) {
				return true
			}
		}
	}
}

func classesOf(s *schema.Schema, e *dit.Entry) (out [][]byte) {
	slot := e.Shape().Find(schema.Description{Type: s.Known.ObjectClass})
	if slot < 0 {
		return nil
	}
	for v := e.Values(slot); ; {
		value, ok := v.Next()
		if !ok {
			return out
		}
		out = append(out, value)
	}
}

// excluded reports whether an entry does without an attribute: by collectiveExclusions (RFC 3671 section 2.3), or because the DIT
// content rule of its class precludes it.
func excluded(s *schema.Schema, e *dit.Entry, attr *schema.AttributeType) bool {
	if len(s.ContentRules()) > 0 {
		structural := s.ObjectClassBytes(e.First(schema.Description{Type: s.Known.StructuralObjectClass}))
		if rule := s.ContentRule(structural); rule != nil && slices.Contains(rule.Not, attr) {
			return true
		}
	}
	slot := e.Shape().Find(schema.Description{Type: s.Known.CollectiveExclusions})
	if slot < 0 {
		return false
	}
	for v := e.Values(slot); ; {
		value, ok := v.Next()
		if !ok {
			return false
		}
		name := string(value)
		if strings.EqualFold(name, allName) || name == allOID || s.AttributeTypeString(name) == attr {
			return true
		}
	}
}

// match plans a filter item: where no subentry has what is asked for, no entry has it from one.
func (x *collective) match(r op.Reader, n *dit.Node, _ op.Visible) (*dit.IDSet, dit.Confidence, error) {
	t, err := x.of(r)
	if err != nil {
		return nil, dit.All, err
	}
	if n.Desc.Type == r.Schema().Known.CollectiveAttributeSubentries {
		return nil, dit.All, nil
	}
	one := dit.Filter{Nodes: []dit.Node{*n}}
	for i := range t.sources {
		sub, err := r.Get(t.sources[i].id)
		if err != nil {
			return nil, dit.All, err
		}
		if sub == nil {
			continue
		}
		truth, err := one.Eval(&dit.Candidate{Schema: r.Schema(), Entry: sub, Large: r})
		if err != nil || truth == dit.True {
			return nil, dit.All, err
		}
	}
	return &dit.IDSet{}, dit.Exact, nil
}

// prepare refuses what could not be shown: the class elsewhere than in a subentry, and options.
func prepare(tx op.Tx, _ *op.Request, _ *dit.Entry, draft *dit.Draft) error {
	known := &tx.Schema().Known
	classes := draft.Attr(schema.Description{Type: known.ObjectClass})
	if classes == nil || !holdsClass(classes.Values, class, "2.5.17.2") {
		return nil // the schema refuses collective attributes then
	}
	if !holdsClass(classes.Values, "subentry", "2.5.17.0") {
		return ldap.Errorf(ldap.ObjectClassViolation, "%s goes with the class subentry (RFC 3671 section 2.1); add objectClass subentry and a subtreeSpecification", class)
	}
	for i := range draft.Attrs {
		a := &draft.Attrs[i]
		if a.Desc.Type != nil && a.Desc.Type.Collective && a.Desc.Options != "" && len(a.Values) > 0 {
			return ldap.Errorf(ldap.ConstraintViolation, "%s: a collective attribute has no options here; write %s", a.Desc, a.Desc.Type.Name())
		}
	}
	return nil
}

func holdsClass(values [][]byte, name, oid string) bool {
	return slices.ContainsFunc(values, func(v []byte) bool { return strings.EqualFold(string(v), name) || string(v) == oid })
}

// check reports subentries that give nothing.
func (x *collective) check(r op.Reader, report func(op.Finding)) error {
	return each(r, func(e *dit.Entry) error {
		src, _, err := read(r, e)
		if err != nil || src != nil && len(src.of) > 0 {
			return err
		}
		name, err := r.Name(e)
		if err != nil {
			return err
		}
		f := op.Finding{Where: name.DN, What: "the subentry has no collective attribute (RFC 3671 section 2.1)", Advice: "add one, such as c-l, or delete it"}
		if src == nil {
			f.What, f.Advice = "its subtreeSpecification is none, so that its collective attributes are nowhere", "write { } for all that is beneath the entry above it"
		}
		report(f)
		return nil
	})
}
