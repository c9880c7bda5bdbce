package engine

import (
	"slices"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/ldap"
)

// viewSet knows the virtual attributes: the engine's own and those of overlays.
type viewSet struct {
	e      *Engine
	byName []namedView
	orders []*op.Arrange
	moving []movingView // those whose attributes change
	// Of the schema that was looked at last; a search takes a compiled table with it.
	operational []*schema.AttributeType
	users       []*schema.AttributeType // the virtual ones that "*" selects
	byType      map[*schema.AttributeType]*op.View
	beneath     map[*schema.AttributeType][]*schema.AttributeType // a type: the virtual ones that are it or inherit from it
	arranged    map[*schema.AttributeType]*op.Arrange
	generation  uint64
	// stored is the table without the views that expand: see op.SearchPlan.Stored.
	stored *viewSet
}

// movingView is a view with Current, and the version of the table that was made of it.
type movingView struct {
	view    *op.View
	version uint64
}

type namedView struct {
	name string
	view *op.View
}

func newViewSet(e *Engine, overlays []op.Overlay) *viewSet {
	v := &viewSet{e: e}
	own := &op.View{
		Attributes: []string{"entryDN", "subschemaSubentry", "hasSubordinates", "numSubordinates", "contextCSN"},
		Values:     e.structuralValues,
		Match:      e.structuralMatch,
	}
	views := []*op.View{own}
	for i := range overlays {
		if overlays[i].View != nil {
			views = append(views, overlays[i].View)
		}
		if overlays[i].Arrange != nil {
			v.orders = append(v.orders, overlays[i].Arrange)
		}
	}
	for _, view := range views {
		for _, name := range view.Attributes {
			v.byName = append(v.byName, namedView{name, view})
		}
		if view.Current != nil {
			v.moving = append(v.moving, movingView{view: view})
		}
	}
	return v.compile(e.Schema(), nil)
}

// views returns the virtual attributes under a schema.
func (e *Engine) views(s *schema.Schema) *viewSet {
	v := e.viewTable.Load()
	if v.generation != s.Generation() || v.moved() {
		v = v.compile(s, nil)
		e.viewTable.Store(v)
	}
	return v
}

// viewsFor is views for a reader: a transaction may compute attributes that nothing outside of it has yet.
func (e *Engine) viewsFor(r op.Reader) *viewSet {
	s := r.Schema()
	v := e.views(s)
	tx, changing := r.(op.Tx)
	if !changing {
		return v
	}
	var more []namedView
	for _, m := range v.moving {
		if m.view.Within == nil {
			continue
		}
		for _, name := range m.view.Within(tx) {
			if t := s.AttributeTypeString(name); t != nil && v.byType[t] == nil {
				more = append(more, namedView{name, m.view})
			}
		}
	}
	if more == nil {
		return v
	}
	return v.compile(s, more)
}

// moved reports whether a view computes other attributes by now.
func (v *viewSet) moved() bool {
	for i := range v.moving {
		if _, version := v.moving[i].view.Current(); version != v.moving[i].version {
			return true
		}
	}
	return false
}

// compile returns the table for a schema, with further names.
func (v *viewSet) compile(s *schema.Schema, more []namedView) *viewSet {
	out := &viewSet{e: v.e, byName: v.byName, orders: v.orders, moving: make([]movingView, len(v.moving)), byType: make(map[*schema.AttributeType]*op.View),
		beneath: make(map[*schema.AttributeType][]*schema.AttributeType), generation: s.Generation()}
	out.stored = &viewSet{e: v.e, byType: make(map[*schema.AttributeType]*op.View), beneath: make(map[*schema.AttributeType][]*schema.AttributeType)}
	names := v.byName
	for i, m := range v.moving {
		current, version := m.view.Current()
		out.moving[i] = movingView{m.view, version}
		for _, name := range current {
			names = append(slices.Clip(names), namedView{name, m.view})
		}
	}
	for _, n := range append(slices.Clip(names), more...) {
		t := s.AttributeTypeString(n.name)
		if t == nil {
			continue
		}
		out.add(t, n.view)
		if !n.view.Expands {
			out.stored.add(t, n.view)
		}
	}
	out.stored.stored = out.stored
	for _, a := range v.orders {
		for _, name := range a.Attributes {
			if t := s.AttributeTypeString(name); t != nil && out.arranged[t] == nil {
				if out.arranged == nil {
					out.arranged = make(map[*schema.AttributeType]*op.Arrange)
				}
				out.arranged[t] = a
			}
		}
	}
	out.stored.arranged, out.stored.generation = out.arranged, out.generation
	return out
}

// add makes a view the one that computes a type.
func (v *viewSet) add(t *schema.AttributeType, view *op.View) {
	if v.byType[t] == nil {
		for u := t; u != nil; u = u.Sup {
			v.beneath[u] = append(v.beneath[u], t)
		}
	}
	v.byType[t] = view
	if t.Operational() {
		v.operational = append(v.operational, t)
	} else {
		v.users = append(v.users, t)
	}
}

// of returns the view that computes a type, or nil.
func (v *viewSet) of(t *schema.AttributeType) *op.View { return v.byType[t] }

// structuralValues are the virtual attributes that follow from where an entry stands.
func (e *Engine) structuralValues(r op.Reader, entry *dit.Entry, t *schema.AttributeType, _ op.Visible, f func([]byte) bool) error {
	known := &r.Schema().Known
	switch t {
	case known.EntryDN:
		name, err := r.Name(entry)
		if err == nil {
			f([]byte(name.DN))
		}
		return err
	case known.SubschemaSubentry:
		f([]byte(SubschemaDN))
	case known.ContextCSN:
		// The naming contexts show how far their content is, as OpenLDAP has it.
		if at, ok := r.(interface{ CSN() dit.CSN }); ok && entry.Parent == 0 && !at.CSN().IsZero() {
			f(at.CSN().Append(nil))
		}
	case known.HasSubordinates:
		has, err := r.HasChildren(entry.ID)
		if err != nil {
			return err
		}
		f(ldapBool(has))
	case known.NumSubordinates:
		counter, ok := r.(interface {
			NumChildren(dit.ID) (int, error)
		})
		if !ok {
			return nil
		}
		n, err := counter.NumChildren(entry.ID)
		if err != nil {
			return err
		}
		f(appendInt(nil, n))
	}
	return nil
}

// structuralMatch finds an entry by its entryDN (RFC 5020); the others are decided entry by entry.
func (e *Engine) structuralMatch(r op.Reader, n *dit.Node, _ op.Visible) (*dit.IDSet, dit.Confidence, error) {
	if n.Op != ldap.FilterEquality || n.Desc.Type != r.Schema().Known.EntryDN {
		return nil, dit.All, nil
	}
	set := &dit.IDSet{}
	entry, _, err := r.Lookup(string(n.Key))
	if err != nil {
		return nil, dit.All, err
	}
	if entry != nil {
		set.Add(uint64(entry.ID))
	}
	return set, dit.Exact, nil
}

func ldapBool(b bool) []byte {
	if b {
		return []byte("TRUE")
	}
	return []byte("FALSE")
}

func appendInt(dst []byte, n int) []byte {
	if n < 0 {
		n = 0
	}
	if n >= 10 {
		dst = appendInt(dst, n/10)
	}
	return append(dst, byte('0'+n%10))
}
