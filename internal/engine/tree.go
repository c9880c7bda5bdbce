package engine

import (
	"context"
	"strings"

	"portolan/internal/access"
	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/ldap"
)

// tree is a computed part of the directory with its canonical name.
type tree struct {
	op.Tree
	norm string
}

// AddTree adds a computed part of the directory; only before the engine serves.
func (e *Engine) AddTree(t op.Tree) error {
	norm, err := e.Schema().NormalizeDN(nil, []byte(t.DN))
	if err != nil {
		return err
	}
	e.trees = append(e.trees, &tree{Tree: t, norm: string(norm)})
	return nil
}

// treeOf returns the tree that a canonical name is in, or nil.
func (e *Engine) treeOf(norm string) *tree {
	for _, t := range e.trees {
		if norm == t.norm || strings.HasSuffix(norm, ","+t.norm) {
			return t
		}
	}
	return nil
}

// mayBeSpecial reports whether a name can be that of a special entry or in a tree: their topmost RDNs are all of the type
// cn, which naming contexts hardly ever are. It is asked for every search and does not allocate.
func mayBeSpecial(dn []byte) bool {
	last := dn
	for i := len(dn) - 1; i >= 0; i-- {
		if dn[i] == ',' || dn[i] == ';' {
			last = dn[i+1:]
			break
		}
	}
	for len(last) > 0 && last[0] == ' ' {
		last = last[1:]
	}
	return len(last) > 1 && (last[0] == 'c' || last[0] == 'C' || last[0] == '2' || last[0] == '\\') && last[1] != '='
}

// noViews is for entries that are computed as a whole: what is virtual elsewhere is among their attributes.
var noViews = &viewSet{}

// treeSearch is a search of a tree.
type treeSearch struct {
	*search
	t       *tree
	shapes  *dit.Shapes
	entries map[dit.ID]*op.TreeEntry // kept while the result is being sorted
	ordinal dit.ID
}

// searchTree serves a search whose base is in a tree.
func (s *search) searchTree(ctx context.Context, t *tree, norm string) error {
	ctx = s.req.Detach(ctx)
	ts := &treeSearch{search: s, t: t, shapes: s.e.shapes(s.schema)}
	s.views = noViews
	s.selection.compile(s.schema, s.views, s.m.Attributes)
	s.req.Trace.Plan.Set("tree(" + t.Name + ")")
	plan := &s.req.Search
	plan.Filter = &s.filter
	if err := ts.base(ctx, norm); err != nil {
		return err
	}
	var wanted map[dit.ID]*op.TreeEntry
	if plan.From != nil {
		wanted = make(map[dit.ID]*op.TreeEntry, len(plan.From))
		for _, id := range plan.From {
			wanted[id] = nil
		}
	} else if plan.Order != nil {
		s.order = &ordering{}
		ts.entries = make(map[dit.ID]*op.TreeEntry)
	}
	q := &op.TreeQuery{Base: norm, Scope: s.m.Scope, Filter: &s.filter, Conn: s.req.Conn}
	err := t.Each(ctx, q, func(te *op.TreeEntry) error {
		if plan.More {
			return errEnough
		}
		if err := s.tick(ctx); err != nil {
			return err
		}
		id := ts.number(te)
		if wanted != nil {
			if _, in := wanted[id]; in {
				wanted[id] = te
			}
			return nil
		}
		if id <= plan.After {
			return nil
		}
		return ts.offer(ctx, te, id)
	})
	if err != nil && err != errEnough {
		return err
	}
	switch {
	case wanted != nil:
		for _, id := range plan.From {
			if te := wanted[id]; te != nil {
				if err := ts.offer(ctx, te, id); err != nil {
					return err
				}
			}
		}
	case s.order != nil:
		return ts.sendSorted(ctx)
	}
	return nil
}

// errEnough ends the enumeration of a tree when a page is full.
var errEnough = ldap.Errorf(ldap.Other, "enough")

// number is what paging knows an entry by.
func (ts *treeSearch) number(te *op.TreeEntry) dit.ID {
	ts.ordinal++
	if te.ID != 0 {
		return dit.ID(te.ID)
	}
	return ts.ordinal
}

// base finds the base object, and shows it to the controls that want to see it first.
func (ts *treeSearch) base(ctx context.Context, norm string) error {
	found := false
	q := &op.TreeQuery{Base: norm, Scope: ldap.ScopeBase, Conn: ts.req.Conn}
	if err := ts.t.Each(ctx, q, func(te *op.TreeEntry) error {
		if _, _, err := ts.turnTo(te); err != nil || ts.slots.Entry&access.Disclose == 0 {
			return err
		}
		found = true
		return ts.shown()
	}); err != nil {
		return err
	}
	if !found {
		return ldap.Errorf(ldap.NoSuchObject, "")
	}
	return nil
}

// turnTo makes the entry of what a tree computed and looks at it.
func (ts *treeSearch) turnTo(te *op.TreeEntry) (*dit.Entry, dit.Name, error) {
	entry, err := sealComputed(ts.shapes, te)
	if err != nil {
		return nil, dit.Name{}, err
	}
	name, err := ts.e.NormalizeName(te.DN)
	if err != nil {
		return nil, name, err
	}
	ts.lookAt(entry, name)
	return entry, name, nil
}

// offer examines one entry and sends it, or keeps it to be sorted.
func (ts *treeSearch) offer(ctx context.Context, te *op.TreeEntry, id dit.ID) error {
	entry, name, err := ts.turnTo(te)
	if err != nil {
		return err
	}
	truth, err := ts.Match(&ts.filter)
	if err != nil || truth != dit.True || ts.slots.Entry&access.Read == 0 {
		return err
	}
	plan := &ts.req.Search
	if ts.order != nil {
		ts.entries[id] = te
		if err := ts.gather(entry, name); err != nil {
			return err
		}
		ts.order.all[len(ts.order.all)-1].ID = id
		return nil
	}
	if plan.Max > 0 && ts.req.Trace.Entries >= plan.Max {
		plan.More = true
		return errEnough
	}
	plan.Last = id
	return ts.deliver(ctx, entry, name)
}

func (ts *treeSearch) sendSorted(ctx context.Context) error {
	picked, err := ts.sorted()
	if err != nil {
		return err
	}
	ts.order = nil
	for i := range picked {
		if te := ts.entries[picked[i].ID]; te != nil {
			entry, name, err := ts.turnTo(te)
			if err != nil {
				return err
			}
			if err := ts.deliver(ctx, entry, name); err != nil {
				return err
			}
		}
	}
	return nil
}

// shapes returns the table of shapes of a schema.
func (e *Engine) shapes(s *schema.Schema) *dit.Shapes {
	if shapes := e.o.Store.Shapes(); shapes.Schema == s {
		return shapes
	}
	return dit.NewShapes(s)
}

// sealComputed makes an entry of computed attributes. Attributes that the schema does not know are left out.
func sealComputed(shapes *dit.Shapes, te *op.TreeEntry) (*dit.Entry, error) {
	s := shapes.Schema
	d := dit.NewDraft()
	for _, a := range te.Attrs {
		desc, err := s.DescribeString(a.Name)
		if err != nil || desc.Type == nil || len(a.Values) == 0 {
			continue
		}
		d.Set(desc.Type, a.Values...)
	}
	known := &s.Known
	d.Set(known.EntryDN, []byte(te.DN))
	d.Set(known.SubschemaSubentry, []byte(SubschemaDN))
	d.Set(known.HasSubordinates, ldapBool(te.HasChildren))
	entry, _, err := d.Seal(shapes, dit.SealOptions{Trusted: true})
	return entry, err
}
