package engine

import (
	"bytes"
	"slices"

	"portolan/ber"
	"portolan/internal/access"
	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/ldap"
)

// sight is how one requester sees entries in one snapshot or transaction: the access rules, filters and virtual attributes
// of one request. Searches, compares, and controls that show entries look through it. It implements op.Sight.
type sight struct {
	e      *Engine
	req    *op.Request
	set    *Settings
	r      op.Reader
	schema *schema.Schema
	views  *viewSet
	rights *access.Evaluator
	// computed, where not nil, are virtual attributes about which nothing is said: see op.SearchPlan.Content.
	computed *viewSet

	chains    map[*dit.Node]chained // what the plan has found for filter items of this search
	listed    selection             // of the list that was asked for last
	candidate dit.Candidate
	target    access.Target
	slots     *access.SlotRights
	see       op.Visible
	virtual   func(n *dit.Node) (*dit.IDSet, dit.Confidence, error)
	subject   access.Subject
}

// open makes the sight ready for a request. Its closures are over s, which is reused: they are made once.
func (s *sight) open(e *Engine, req *op.Request, r op.Reader, set *Settings) {
	s.e, s.req, s.r, s.set = e, req, r, set
	s.schema = r.Schema()
	s.views, s.computed = e.viewsFor(r), nil
	clear(s.chains)
	if req.Search.Stored {
		s.views = s.views.stored
	}
	if req.Search.Content {
		s.views, s.computed = noViews, s.views
	}
	describe(&s.subject, req)
	s.rights = e.evaluator(req, set, s.schema, &s.subject)
	if s.candidate.May == nil {
		s.candidate.May = func(slot int) bool { return s.slots.All || s.slots.Search.Has(slot) }
		s.candidate.MayType = func(t *schema.AttributeType) bool {
			return s.rights.AttrRights(&s.target, schema.Description{Type: t})&access.Search != 0
		}
		s.candidate.Virtual = func(entry *dit.Entry, t *schema.AttributeType, f func([]byte) bool) (bool, error) {
			view := s.views.of(t)
			if view == nil || view.Shape != nil && !view.Shape(entry.Shape()) {
				return false, nil
			}
			return true, view.Values(s.r, entry, t, s.see, f)
		}
		s.candidate.Decide = func(entry *dit.Entry, t *schema.AttributeType, n *dit.Node) (holds, known bool, err error) {
			if view := s.views.of(t); view != nil && view.Holds != nil && n.Desc.Type == t {
				if holds, known := s.planned(entry, n); known {
					return holds, true, nil
				}
				return view.Holds(s.r, entry, n, s.see)
			}
			return false, false, nil
		}
		s.candidate.Beneath = func(t *schema.AttributeType) []*schema.AttributeType { return s.views.beneath[t] }
		s.candidate.Name = func(entry *dit.Entry) (ldap.DN, error) {
			name, err := s.r.Name(entry)
			if err != nil {
				return nil, err
			}
			return ldap.ParseDN(name.DN)
		}
		s.candidate.InChain = s.inChain
		s.see, s.virtual = s.visible, s.matchVirtual
		s.subject.InGroup = func(group string) bool { return s.e.members.inGroup(s.e, s.req.Identity)(group) }
	}
	s.candidate.Schema, s.candidate.Large = s.schema, s.r
}

// shut drops what must not outlive the request.
func (s *sight) shut() {
	clear(s.chains)
	s.req, s.set, s.r, s.rights, s.slots = nil, nil, nil, nil, nil
	s.candidate.Entry, s.candidate.Large, s.target = nil, nil, access.Target{}
}

// visible reports whether the requester may read an attribute of an entry: views ask it before they show other entries.
func (s *sight) visible(entry *dit.Entry, t *schema.AttributeType) bool {
	name, err := s.r.Name(entry)
	if err != nil {
		return false
	}
	target := access.Target{Entry: entry, Name: name, Large: s.r}
	return s.rights.AttrRights(&target, schema.Description{Type: t})&access.Read != 0
}

// lookAt turns to an entry.
func (s *sight) lookAt(entry *dit.Entry, name dit.Name) {
	s.target = access.Target{Entry: entry, Name: name, Large: s.r}
	s.slots = s.rights.Slots(&s.target)
	s.candidate.Entry = entry
}

// lookAtOpen turns to an entry of which everything may be seen.
func (s *sight) lookAtOpen(entry *dit.Entry, name dit.Name) {
	s.target = access.Target{Entry: entry, Name: name, Large: s.r}
	s.slots = &openSlots
	s.candidate.Entry = entry
}

var openSlots = access.SlotRights{All: true, Entry: access.Disclose | access.Read}

// Look implements op.Sight.
func (s *sight) Look(entry *dit.Entry) (dit.Name, error) {
	name, err := s.r.Name(entry)
	if err == nil {
		s.lookAt(entry, name)
	}
	return name, err
}

// LookAs implements op.Sight.
func (s *sight) LookAs(entry *dit.Entry, name dit.Name) { s.lookAt(entry, name) }

// LookAtNew implements op.Sight.
func (s *sight) LookAtNew(name dit.Name) {
	s.target = access.Target{Name: name, Large: s.r}
	s.slots, s.candidate.Entry = nil, nil
}

// EntryRights implements op.Sight.
func (s *sight) EntryRights() access.Right {
	if s.slots == &openSlots {
		return openSlots.Entry
	}
	return s.rights.EntryRights(&s.target)
}

// AttrRights implements op.Sight.
func (s *sight) AttrRights(d schema.Description) access.Right {
	if s.slots == &openSlots {
		return access.Search | access.Read | access.Compare
	}
	return s.rights.AttrRights(&s.target, d)
}

// ValueRights implements op.Sight.
func (s *sight) ValueRights(d schema.Description, value []byte) access.Right {
	var have access.Right
	for _, right := range [...]access.Right{access.Add, access.Delete} {
		if s.slots != &openSlots && s.rights.Value(&s.target, d, value, right) {
			have |= right
		}
	}
	return have
}

// Match implements op.Sight.
func (s *sight) Match(f *dit.Filter) (dit.Truth, error) {
	if s.candidate.Entry == nil {
		return dit.Undefined, nil
	}
	return f.Eval(&s.candidate)
}

// Base implements op.Sight.
func (s *sight) Base(m *ldap.SearchRequest) (*dit.Entry, error) {
	if len(m.Base) == 0 {
		return nil, nil
	}
	deref := m.Deref == ldap.DerefFinding || m.Deref == ldap.DerefAlways
	return s.e.find(s.r, m.Base, s.rights, findOptions{deref: deref, manage: s.req.Search.ManageDsaIT, scope: m.Scope, search: true})
}

// Compile implements op.Sight.
func (s *sight) Compile(in *ldap.Filter) *dit.Filter {
	f := &dit.Filter{}
	s.compile(f, in)
	return f
}

// compile compiles a filter for this requester.
func (s *sight) compile(f *dit.Filter, in *ldap.Filter) {
	f.Compile(s.schema, in)
	if s.computed == nil {
		return
	}
	for i := range f.Nodes {
		// RFC 4533 section 3.2: what depends on more than the entry is Undefined, chains of names too.
		n := &f.Nodes[i]
		n.Undefined = n.Undefined || n.Rule != nil && n.Rule.Transitive || s.computed.of(n.Desc.Type) != nil ||
			slices.ContainsFunc(n.Types, func(t *schema.AttributeType) bool { return s.computed.of(t) != nil })
	}
}

// wants reports whether an entry is of the sort that the search is for: entries, subentries, or both (RFC 3672 section 3).
func (s *sight) wants(entry *dit.Entry, isBase bool) bool {
	plan := &s.req.Search
	switch {
	case plan.Subentries != nil:
		return entry.Subentry == *plan.Subentries
	case !entry.Subentry:
		return true
	}
	// RFC 4533 section 5.1: for a synchronization ManageDsaIT makes objects of all special entries.
	return isBase || plan.Content && plan.ManageDsaIT
}

// found decides about the entry looked at, which is of the right sort.
func (s *sight) found(f *dit.Filter, isBase bool) (op.Found, error) {
	entry := s.candidate.Entry
	if entry.Referral && !s.req.Search.ManageDsaIT && !isBase {
		if s.slots.Entry&access.Disclose == 0 {
			return op.FoundNot, nil
		}
		return op.FoundReference, nil
	}
	truth, err := f.Eval(&s.candidate)
	if err != nil || truth != dit.True || s.slots.Entry&access.Read == 0 {
		return op.FoundNot, err
	}
	return op.FoundEntry, nil
}

// Found implements op.Sight.
func (s *sight) Found(f *dit.Filter, scope ldap.Scope) (op.Found, error) {
	isBase := scope == ldap.ScopeBase
	if s.candidate.Entry == nil || !s.wants(s.candidate.Entry, isBase) {
		return op.FoundNot, nil
	}
	found, err := s.found(f, isBase)
	if found == op.FoundReference && len(s.References(scope)) == 0 {
		return op.FoundNot, err
	}
	return found, err
}

// References implements op.Sight.
func (s *sight) References(scope ldap.Scope) []string {
	o := findOptions{search: true, scope: scope}
	if scope == ldap.ScopeOne {
		o.scope = ldap.ScopeBase
	}
	// RFC 3296 section 5.4: an URL without a name is given that of the referral object.
	return referralURLs(s.r, s.candidate.Entry, "", s.target.Name.DN, o)
}

// Digest implements op.Sight.
func (s *sight) Digest() [32]byte { return s.rights.Digest() }

// Visible implements op.Sight.
func (s *sight) Visible() op.Visible { return s.see }

// InScope implements op.Sight.
func (s *sight) InScope(base dit.ID, scope ldap.Scope) (bool, error) {
	e := s.target.Entry
	switch scope {
	case ldap.ScopeBase:
		return e.ID == base, nil
	case ldap.ScopeOne:
		return e.Parent == base, nil
	case ldap.ScopeSubordinate:
		if e.ID == base {
			return false, nil
		}
	}
	return s.r.Under(e, base)
}

// may reports whether the requester has all rights of want on the attribute in a slot.
func (s *sight) may(slot int, want access.Right) bool {
	return s.slots.All || (want&access.Read == 0 || s.slots.Read.Has(slot)) &&
		(want&access.Search == 0 || s.slots.Search.Has(slot)) && (want&access.Compare == 0 || s.slots.Compare.Has(slot))
}

// Values implements op.Sight.
func (s *sight) Values(attr *schema.AttributeType, want access.Right, f func(value []byte) bool) error {
	return s.values(schema.Description{Type: attr}, want, f)
}

func (s *sight) values(d schema.Description, want access.Right, f func(value []byte) bool) error {
	entry := s.target.Entry
	goOn := true
	each := func(value []byte) bool {
		goOn = f(value)
		return goOn
	}
	for _, t := range s.views.beneath[d.Type] {
		if d.Options != "" || s.AttrRights(schema.Description{Type: t})&want != want {
			continue
		}
		if shape := s.views.of(t).Shape; shape != nil && !shape(entry.Shape()) {
			continue
		}
		if err := s.views.of(t).Values(s.r, entry, t, s.see, each); err != nil || !goOn {
			return err
		}
	}
	for slot, have := range entry.Shape().Slots {
		if !d.Contains(have) || !s.may(slot, want) {
			continue
		}
		if err := op.EachValue(s.r, entry, slot, each); err != nil || !goOn {
			return err
		}
	}
	return nil
}

// EachAttribute implements op.Sight.
func (s *sight) EachAttribute(list [][]byte, f func(d schema.Description, values [][]byte) bool) error {
	sel := &s.listed
	sel.compile(s.schema, s.views, list)
	entry := s.target.Entry
	sel.use(entry.Shape())
	gather := func(to *[][]byte) func([]byte) bool {
		return func(value []byte) bool {
			*to = append(*to, append([]byte(nil), value...))
			return true
		}
	}
	for _, slot := range sel.slots {
		if !s.may(slot, access.Read) {
			continue
		}
		var values [][]byte
		if err := op.EachValue(s.r, entry, slot, gather(&values)); err != nil {
			return err
		}
		if t := sel.mixed(entry.Shape().Slots[slot]); t != nil {
			if err := s.views.of(t).Values(s.r, entry, t, s.see, gather(&values)); err != nil {
				return err
			}
		}
		if !f(entry.Shape().Slots[slot], values) {
			return nil
		}
	}
	for _, t := range sel.computed {
		d := schema.Description{Type: t}
		if s.AttrRights(d)&access.Read == 0 || sel.stored(t) {
			continue
		}
		var values [][]byte
		if err := s.views.of(t).Values(s.r, entry, t, s.see, gather(&values)); err != nil {
			return err
		}
		if len(values) > 0 && !f(d, values) {
			return nil
		}
	}
	return nil
}

// AppendAttributes implements op.Sight.
func (s *sight) AppendAttributes(dst []byte, list [][]byte, typesOnly bool) ([]byte, error) {
	s.listed.compile(s.schema, s.views, list)
	return s.appendSelected(dst, &s.listed, typesOnly)
}

// appendSelected appends what a selection wants of the entry and what may be read of it.
func (s *sight) appendSelected(buf []byte, sel *selection, typesOnly bool) ([]byte, error) {
	entry := s.target.Entry
	sel.use(entry.Shape())
	var err error
	for _, slot := range sel.slots {
		if !s.may(slot, access.Read) {
			continue
		}
		if t := sel.mixed(entry.Shape().Slots[slot]); t != nil && !typesOnly {
			buf, err = s.appendMixed(buf, entry, slot, t)
		} else {
			buf, err = s.appendSlot(buf, entry, slot, typesOnly)
		}
		if err != nil {
			return buf, err
		}
	}
	for _, t := range sel.computed {
		if sel.stored(t) {
			continue
		}
		if buf, err = s.appendVirtual(buf, entry, t, typesOnly); err != nil {
			return buf, err
		}
	}
	return buf, nil
}

func appendTypeOnly(buf []byte, d schema.Description) []byte {
	buf, seq := ber.Begin(buf, ber.Sequence)
	buf = ber.AppendString(buf, ber.OctetString, d.String())
	return ber.End(ber.AppendHeader(buf, ber.Set, 0), seq)
}

// appendSlot appends one stored attribute, large ones and selected values included.
func (s *sight) appendSlot(buf []byte, entry *dit.Entry, slot int, typesOnly bool) ([]byte, error) {
	d := entry.Shape().Slots[slot]
	if typesOnly {
		return appendTypeOnly(buf, d), nil
	}
	wanted := s.req.Search.Values
	_, large := entry.Large(slot)
	if arrange := s.views.arranged[d.Type]; arrange != nil {
		return s.appendArranged(buf, entry, slot, arrange)
	}
	if !large && wanted == nil {
		return append(buf, entry.Wire(slot, slot+1)...), nil
	}
	start := len(buf)
	buf, seq := ber.Begin(buf, ber.Sequence)
	buf = ber.AppendString(buf, ber.OctetString, d.String())
	buf, set := ber.Begin(buf, ber.Set)
	err := op.EachValue(s.r, entry, slot, func(value []byte) bool {
		if wanted == nil || wanted(s.r, entry, d, value) {
			buf = ber.AppendBytes(buf, ber.OctetString, value)
		}
		return true
	})
	if err != nil {
		return buf[:start], err
	}
	// RFC 3876 section 2: an attribute of which no value is wanted is there, with an empty set of values.
	return ber.End(ber.End(buf, set), seq), nil
}

// appendMixed appends an attribute of which some values are stored and others computed.
func (s *sight) appendMixed(buf []byte, entry *dit.Entry, slot int, t *schema.AttributeType) ([]byte, error) {
	d := entry.Shape().Slots[slot]
	wanted := s.req.Search.Values
	start := len(buf)
	buf, seq := ber.Begin(buf, ber.Sequence)
	buf = ber.AppendString(buf, ber.OctetString, t.Name())
	buf, set := ber.Begin(buf, ber.Set)
	add := func(value []byte) bool {
		if wanted == nil || wanted(s.r, entry, d, value) {
			buf = ber.AppendBytes(buf, ber.OctetString, value)
		}
		return true
	}
	err := op.EachValue(s.r, entry, slot, add)
	if err == nil {
		err = s.views.of(t).Values(s.r, entry, t, s.see, add)
	}
	if err != nil {
		return buf[:start], err
	}
	return ber.End(ber.End(buf, set), seq), nil
}

// appendArranged appends a stored attribute whose values are put in order.
func (s *sight) appendArranged(buf []byte, entry *dit.Entry, slot int, arrange *op.Arrange) ([]byte, error) {
	d := entry.Shape().Slots[slot]
	wanted := s.req.Search.Values
	_, large := entry.Large(slot)
	var values [][]byte
	err := op.EachValue(s.r, entry, slot, func(value []byte) bool {
		if wanted == nil || wanted(s.r, entry, d, value) {
			if large {
				value = bytes.Clone(value) // it is of the reader, until the next one
			}
			values = append(values, value)
		}
		return true
	})
	if err != nil {
		return buf, err
	}
	if values, err = arrange.Values(s.req, s.r, entry, d, values); err != nil {
		return buf, err
	}
	buf, seq := ber.Begin(buf, ber.Sequence)
	buf = ber.AppendString(buf, ber.OctetString, d.String())
	buf, set := ber.Begin(buf, ber.Set)
	for _, value := range values {
		buf = ber.AppendBytes(buf, ber.OctetString, value)
	}
	return ber.End(ber.End(buf, set), seq), nil
}

// appendVirtual appends a virtual attribute, if it may be read and has values.
func (s *sight) appendVirtual(buf []byte, entry *dit.Entry, t *schema.AttributeType, typesOnly bool) ([]byte, error) {
	d := schema.Description{Type: t}
	if s.AttrRights(d)&access.Read == 0 {
		return buf, nil
	}
	wanted := s.req.Search.Values
	start := len(buf)
	buf, seq := ber.Begin(buf, ber.Sequence)
	buf = ber.AppendString(buf, ber.OctetString, t.Name())
	buf, set := ber.Begin(buf, ber.Set)
	empty := true
	err := s.views.of(t).Values(s.r, entry, t, s.see, func(value []byte) bool {
		empty = false
		if typesOnly {
			return false
		}
		if wanted == nil || wanted(s.r, entry, d, value) {
			buf = ber.AppendBytes(buf, ber.OctetString, value)
		}
		return true
	})
	if err != nil || empty {
		return buf[:start], err
	}
	return ber.End(ber.End(buf, set), seq), nil
}

var _ op.Sight = (*sight)(nil)
