package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"portolan/internal/access"
	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/internal/store"
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
	if !mayBeSpecial([]byte(t.DN)) {
		return fmt.Errorf("%s: %s cannot be the name of a tree: write one whose last part begins with cn=, such as cn=%s", t.Name, t.DN, t.Name)
	}
	for _, suffix := range e.o.Suffixes {
		other, err := e.Schema().NormalizeDNString(nil, suffix)
		if err == nil && (schema.DNUnder(other, norm) || schema.DNUnder(norm, other)) {
			return fmt.Errorf("%s: %s and the suffix %s are one beneath the other: give one of them another name", t.Name, t.DN, suffix)
		}
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
	entries map[dit.ID]*op.TreeEntry // kept while the result is being sorted, where the tree cannot find them again
	ordinal dit.ID
	now     *op.TreeEntry // the one that is looked at
}

// searchTree serves a search whose base is in a tree.
func (s *search) searchTree(ctx context.Context, t *tree, norm string) error {
	ctx = s.req.Detach(ctx)
	ts := &treeSearch{search: s, t: t, shapes: s.e.shapes(s.schema)}
	ts.settle()
	s.req.Trace.Plan.Set("tree(" + t.Name + ")")
	plan := &s.req.Search
	plan.Filter = &s.filter
	if plan.Instead != nil {
		if plan.Follow == nil || t.Newest == nil {
			return errComputed
		}
		return ts.follow(ctx, norm)
	}
	if err := ts.base(ctx, norm); err != nil {
		return err
	}
	q := ts.query(norm)
	if plan.From != nil {
		return ts.sendFrom(ctx, q)
	}
	if by := plan.SortedBy; by != nil && ts.sorts(by) && (plan.Pick == nil || plan.Cut) {
		plan.Order, plan.Pick = nil, nil
		q.Order = 1
		if by.Reverse {
			q.Order = -1
		}
	}
	if plan.Order != nil {
		s.order = &ordering{}
		if t.Get == nil {
			ts.entries = make(map[dit.ID]*op.TreeEntry)
		}
	}
	q.After = uint64(plan.After)
	if err := ts.each(ctx, q); err != nil || s.order == nil {
		return err
	}
	return ts.sendSorted(ctx, q)
}

// settle makes what depends on the schema.
func (ts *treeSearch) settle() {
	ts.shapes, ts.views = ts.e.shapes(ts.schema), noViews
	ts.selection.compile(ts.schema, ts.views, ts.m.Attributes)
}

func (ts *treeSearch) query(norm string) *op.TreeQuery {
	return &op.TreeQuery{Base: norm, Scope: ts.m.Scope, Filter: &ts.filter, Conn: ts.req.Conn, Req: ts.req}
}

// sorts reports whether the tree can be enumerated in an order.
func (ts *treeSearch) sorts(by *op.SortedBy) bool {
	return ts.t.Order != "" && by.Desc.Options == "" && by.Desc.Type == ts.schema.AttributeTypeString(ts.t.Order)
}

// each examines the entries of a query.
func (ts *treeSearch) each(ctx context.Context, q *op.TreeQuery) error {
	err := ts.t.Each(ctx, q, func(te *op.TreeEntry) error {
		if ts.req.Search.More {
			return errEnough
		}
		if err := ts.looked(ctx); err != nil {
			return err
		}
		id := ts.number(te)
		behind := uint64(id) > q.After
		if q.Order < 0 {
			behind = q.After == 0 || uint64(id) < q.After
		}
		if !behind || q.Until != 0 && uint64(id) > q.Until {
			return nil
		}
		return ts.offer(ctx, te, id)
	})
	if err == errEnough {
		return nil
	}
	return err
}

// looked counts an entry.
func (ts *treeSearch) looked(ctx context.Context) error {
	if limit := ts.req.Limits.Examined; limit > 0 && ts.req.Trace.Examined >= limit {
		return ts.storeError(store.ErrExamined)
	}
	return ts.tick(ctx)
}

// sendFrom sends a part of a result that was sorted before.
func (ts *treeSearch) sendFrom(ctx context.Context, q *op.TreeQuery) error {
	from := ts.req.Search.From
	get := func(id dit.ID) (*op.TreeEntry, error) { return ts.t.Get(ctx, q, uint64(id)) }
	if ts.t.Get == nil {
		found := make(map[dit.ID]*op.TreeEntry, len(from))
		err := ts.t.Each(ctx, q, func(te *op.TreeEntry) error {
			if id := ts.number(te); slices.Contains(from, id) {
				found[id] = te
			}
			return ts.looked(ctx)
		})
		if err != nil {
			return err
		}
		get = func(id dit.ID) (*op.TreeEntry, error) { return found[id], nil }
	}
	for _, id := range from {
		te, err := get(id)
		if err != nil {
			return err
		}
		if te == nil {
			continue
		}
		if err := ts.looked(ctx); err != nil {
			return err
		}
		if err := ts.offer(ctx, te, id); err != nil {
			if err == errEnough {
				return nil
			}
			return err
		}
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
	q := &op.TreeQuery{Base: norm, Scope: ldap.ScopeBase, Conn: ts.req.Conn, Req: ts.req}
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
	ts.now = te
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
		if ts.entries != nil {
			ts.entries[id] = te
		}
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

// sendSorted sorts what was gathered and sends the part that was picked.
func (ts *treeSearch) sendSorted(ctx context.Context, q *op.TreeQuery) error {
	picked, err := ts.sorted()
	if err != nil {
		return err
	}
	ts.order = nil
	for i := range picked {
		te := ts.entries[picked[i].ID]
		if ts.t.Get != nil {
			if te, err = ts.t.Get(ctx, q, uint64(picked[i].ID)); err != nil {
				return err
			}
		}
		if te == nil {
			continue
		}
		entry, name, err := ts.turnTo(te)
		if err != nil {
			return err
		}
		if ts.slots.Entry&access.Read == 0 {
			continue
		}
		if err := ts.deliver(ctx, entry, name); err != nil {
			return err
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
