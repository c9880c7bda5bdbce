package engine

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"time"
	"unsafe"

	"portolan/internal/access"
	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/internal/store"
	"portolan/ldap"
)

// searchPool keeps search states between searches.
type searchPool struct{ pool sync.Pool }

// search is the state of one search. It is pooled: everything in it is valid for one operation only, but for memory that
// is worth keeping.
type search struct {
	sight
	m    *ldap.SearchRequest
	w    op.Writer
	view *store.View

	filter    dit.Filter
	selection selection
	deadline  time.Time

	scratch []byte
	dn      []byte // the name of the entry that is looked at, and its canonical form
	norm    []byte
	last    struct { // the base of the search before: clients ask for the same again and again
		schema   *schema.Schema
		dn, norm []byte // as it was sent, and its canonical form
		entry    *dit.Entry
		name     dit.Name
		mark     store.Mark
	}
	checked int // candidates since the clock was looked at
	order   *ordering
}

func (p *searchPool) get() *search {
	if s, ok := p.pool.Get().(*search); ok {
		return s
	}
	return &search{}
}

func (p *searchPool) put(s *search) {
	s.shut()
	s.m, s.w, s.view, s.order = nil, nil, nil, nil
	p.pool.Put(s)
}

// search performs RFC 4511 section 4.5.
func (e *Engine) search(ctx context.Context, req *op.Request, m *ldap.SearchRequest, w op.Writer, set *Settings) error {
	s := e.searches.get()
	defer e.searches.put(s)
	s.begin(e, req, m, w, set)
	defer func() { s.view.Close() }() // a search that follows a tree changes it
	if req.Search.Instead != nil {
		ctx = req.Detach(ctx)
		if err := s.view.Pin(); err != nil {
			return s.storeError(err)
		}
	}
	if done, err := s.special(ctx); done {
		return err
	}
	base, err := s.base()
	if err != nil {
		return err
	}
	req.Search.Filter = &s.filter
	if base == nil && m.Scope == ldap.ScopeBase {
		return s.noBase(nil)
	}
	if err := s.before(base); err != nil {
		return err
	}
	if req.Search.Instead != nil {
		if done, err := req.Search.Instead(ctx, snapshot{s.view}, base); done || err != nil {
			return err
		}
	}
	if req.Search.From != nil {
		return s.sendFrom(ctx, base)
	}
	if req.Search.Order != nil {
		s.order = &ordering{}
	}
	if m.Scope == ldap.ScopeBase {
		req.Trace.Plan.Set("base")
		_, err = s.offer(ctx, base, true)
	} else {
		err = s.subtree(ctx, base)
	}
	if err != nil || s.order == nil {
		return err
	}
	return s.sendOrdered(ctx)
}

// before shows the base object to the controls that want to see it first. Above all naming contexts it is the root DSE.
func (s *search) before(base *dit.Entry) error {
	if len(s.req.Search.Before) == 0 {
		return nil
	}
	if base == nil {
		return s.beforeRoot()
	}
	name, err := s.view.Name(base)
	if err != nil {
		return err
	}
	s.lookAt(base, name)
	return s.shown()
}

func (s *search) beforeRoot() error {
	root := s.e.special[""]
	if root == nil {
		return nil
	}
	entry, err := root.entry(s.e.shapes(s.schema), s.req.Conn)
	if err != nil {
		return err
	}
	views := s.views
	defer func() { s.views = views }()
	s.views = noViews
	s.lookAtOpen(entry, dit.Name{})
	return s.shown()
}

// shown asks the controls about the entry that was turned to.
func (s *search) shown() error {
	for _, f := range s.req.Search.Before {
		if err := f(s); err != nil {
			return err
		}
	}
	return nil
}

// begin fills in what every search needs.
func (s *search) begin(e *Engine, req *op.Request, m *ldap.SearchRequest, w op.Writer, set *Settings) {
	s.m, s.w = m, w
	s.view = e.o.Store.View()
	s.open(e, req, s.view, set)
	s.compile(&s.filter, &m.Filter)
	s.selection.compile(s.schema, s.views, m.Attributes)
	s.checked = 0
	limits := &req.Limits
	if n := int(m.SizeLimit); n > 0 && (limits.Size == 0 || n < limits.Size) {
		limits.Size = n
	}
	if d := time.Duration(m.TimeLimit) * time.Second; d > 0 && (limits.Time == 0 || d < limits.Time) {
		limits.Time = d
	}
	s.deadline = time.Time{}
	if limits.Time > 0 {
		s.deadline = req.Start.Add(limits.Time)
	}
}

// base finds the base object; nil with no error is the root, above all naming contexts.
func (s *search) base() (*dit.Entry, error) {
	if len(s.m.Base) > 0 {
		if entry := s.quickBase(); entry != nil {
			return entry, nil
		}
	}
	return s.Base(s.m)
}

// quickBase finds the base object where nothing can be in the way: it is cached, and the directory has neither aliases nor
// referral objects. nil says nothing.
func (s *search) quickBase() *dit.Entry {
	if none, err := s.e.links.none(s.e.o.Store); err != nil || !none {
		return nil
	}
	last := &s.last
	if last.schema != s.schema || !bytes.Equal(last.dn, s.m.Base) {
		norm, err := s.schema.NormalizeDN(last.norm[:0], s.m.Base)
		if err != nil {
			last.schema = nil
			return nil
		}
		last.schema, last.dn, last.norm, last.entry = s.schema, append(last.dn[:0], s.m.Base...), norm, nil
	}
	if last.entry == nil || !s.view.Still(last.entry.ID, last.mark) {
		mark := s.view.Mark()
		last.entry = s.view.LookupCached(last.norm)
		if last.entry == nil {
			return nil
		}
		name, err := s.nameOf(last.entry)
		if err != nil {
			last.entry = nil
			return nil
		}
		last.name, last.mark = dit.Name{DN: strings.Clone(name.DN), Norm: strings.Clone(name.Norm)}, mark
	}
	entry, name := last.entry, last.name
	s.target = access.Target{Entry: entry, Name: name, Large: s.r}
	if s.rights.EntryRights(&s.target)&access.Disclose == 0 {
		return nil
	}
	return entry
}

// nameOf composes the name of an entry in memory that is used again: it is valid until the next entry is looked at, and who
// keeps it copies it.
func (s *search) nameOf(entry *dit.Entry) (dit.Name, error) {
	var err error
	if s.dn, s.norm, err = s.view.AppendName(s.dn[:0], s.norm[:0], entry); err != nil {
		return dit.Name{}, err
	}
	return dit.Name{DN: unsafe.String(unsafe.SliceData(s.dn), len(s.dn)), Norm: unsafe.String(unsafe.SliceData(s.norm), len(s.norm))}, nil
}

func (s *search) noBase(matched *dit.Entry) error {
	return s.e.noSuchObject(s.view, s.rights, matched)
}

// subtree searches beneath a base entry, nil being the root.
func (s *search) subtree(ctx context.Context, base *dit.Entry) error {
	work := []dit.ID{0}
	if base != nil {
		work[0] = base.ID
	}
	deref := s.m.Deref == ldap.DerefSearching || s.m.Deref == ldap.DerefAlways
	var aliases *aliasWalk
	none, err := s.e.links.none(s.e.o.Store)
	if err != nil {
		return err
	}
	if !none && (deref || !s.req.Search.ManageDsaIT) {
		if aliases, err = s.newAliasWalk(deref); err != nil {
			return err
		}
	}
	plan := &s.req.Search
	reached := plan.AfterBase == 0 // the base that the page before ended in
	for i := 0; i < len(work); i++ {
		at := baseOf{id: work[i], scope: s.m.Scope}
		if i > 0 {
			at.alias = work[i]
			switch s.m.Scope {
			case ldap.ScopeOne: // An alias met by a one-level search brings in its target alone.
				at.scope = ldap.ScopeBase
			case ldap.ScopeSubordinate:
				at.scope = ldap.ScopeSub
			}
		}
		begun := !reached || at.alias == plan.AfterBase && plan.After != 0
		var referrals []*dit.Entry
		if aliases != nil {
			first, more, err := aliases.within(at.id, at.scope)
			if err != nil {
				return err
			}
			work = append(work, more...)
			if !begun { // otherwise a page before has sent them
				referrals = first
			}
		}
		if reached = reached || at.alias == plan.AfterBase; reached {
			if begun {
				at.after = plan.After
			}
			if err := s.visit(ctx, at, aliases, referrals); err != nil || plan.More {
				return err
			}
		}
		if aliases != nil {
			aliases.leave(at)
		}
	}
	if !reached {
		return ldap.Errorf(ldap.UnwillingToPerform, "the alias that the page before had followed is no longer there: begin again without a cookie")
	}
	return nil
}

// baseOf is one of the bases of a search in which aliases are dereferenced.
type baseOf struct {
	id    dit.ID
	alias dit.ID // id, where an alias has led here: what op.SearchPlan.AfterBase says
	scope ldap.Scope
	after dit.ID // what is behind it is wanted
}

// allOf stands in the place of op.SearchPlan.Last for a base that nothing is left of.
const allOf = ^dit.ID(0)

// visit sends what there is of one base, and the continuation references beneath it: on a page that is full only where no
// entry of the base is left for the next one, so that they go out once.
func (s *search) visit(ctx context.Context, at baseOf, aliases *aliasWalk, referrals []*dit.Entry) error {
	plan := &s.req.Search
	send := func() error {
		for _, e := range referrals {
			if _, err := s.offer(ctx, e, false); err != nil {
				return err
			}
		}
		return nil
	}
	full := plan.Max > 0 && s.order == nil && s.req.Trace.Entries >= plan.Max
	if !full {
		if err := send(); err != nil {
			return err
		}
	}
	if at.after != allOf {
		if err := s.run(ctx, at, aliases); err != nil || plan.More {
			return err
		}
	}
	plan.Last, plan.LastBase = allOf, at.alias
	if full {
		return send()
	}
	return nil
}

// run searches one base.
func (s *search) run(ctx context.Context, at baseOf, aliases *aliasWalk) error {
	if at.scope == ldap.ScopeBase {
		entry, err := s.view.Get(at.id)
		if err != nil || entry == nil || at.after != 0 {
			return err
		}
		if fresh, err := aliases.fresh(entry); err != nil || !fresh {
			return err
		}
		return s.offerFrom(ctx, at, entry)
	}
	list, err := s.view.Plan(store.PlanRequest{
		Base: at.id, Scope: at.scope, Filter: &s.filter, After: at.after,
		MaxExamined: s.req.Limits.Examined, Virtual: s.virtual, Unrestricted: s.req.Identity.Admin,
	})
	if err != nil {
		return s.storeError(err)
	}
	defer list.Close()
	if plan := &s.req.Trace.Plan; plan.Empty() {
		s.scratch = list.AppendExplain(s.scratch[:0])
		plan.SetBytes(s.scratch)
	}
	if s.req.Identity.Admin {
		s.req.Search.Estimate += list.Estimate
	}
	// A few indexed entries are answered where they are; more of them are work to be done aside.
	if list.Confidence == dit.All || list.Estimate > inlineCandidates {
		ctx = s.req.Detach(ctx)
		if err := s.view.Pin(); err != nil {
			return s.storeError(err)
		}
	}
	for {
		entry, err := list.Next()
		if err != nil {
			return s.storeError(err)
		}
		if entry == nil {
			return nil
		}
		if aliases != nil {
			if fresh, err := aliases.fresh(entry); err != nil {
				return err
			} else if !fresh {
				continue
			}
		}
		if err := s.tick(ctx); err != nil {
			return err
		}
		if err := s.offerFrom(ctx, at, entry); err != nil || s.req.Search.More {
			return err
		}
	}
}

// offerFrom is offer, and notes how far the search has come.
func (s *search) offerFrom(ctx context.Context, at baseOf, entry *dit.Entry) error {
	sent, err := s.offer(ctx, entry, false)
	if plan := &s.req.Search; sent && plan.Max > 0 {
		plan.Last, plan.LastBase = entry.ID, at.alias
	}
	return err
}

// inlineCandidates is how many candidates are looked at on the connection's own goroutine.
const inlineCandidates = 64

// tick looks at the clock and at ctx every now and then.
func (s *search) tick(ctx context.Context) error {
	s.req.Trace.Examined++
	s.checked++
	if s.checked&31 != 0 {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if !s.deadline.IsZero() && s.e.o.Now().After(s.deadline) {
		return ldap.Errorf(ldap.TimeLimitExceeded, "the time limit of %v is over", s.req.Limits.Time)
	}
	if s.checked&(op.PaceEvery-1) == 0 && s.req.Pacer != nil {
		return s.req.Pacer.Pace(ctx, s.req)
	}
	return nil
}

// offer examines one entry in scope and sends it if it matches and may be seen.
func (s *search) offer(ctx context.Context, entry *dit.Entry, isBase bool) (sent bool, err error) {
	if !s.wants(entry, isBase) {
		return false, nil
	}
	name, err := s.nameOf(entry)
	if err != nil {
		return false, err
	}
	s.lookAt(entry, name)
	found, err := s.found(&s.filter, isBase)
	if err != nil || found == op.FoundNot {
		return false, err
	}
	if known := s.req.Search.Known; known != nil {
		if skip, err := known(s.view, entry); skip || err != nil {
			return false, err
		}
	}
	if found == op.FoundReference {
		if s.order != nil {
			s.order.refs = append(s.order.refs, entry)
			return false, nil
		}
		return false, s.sendReference(entry)
	}
	if s.order != nil {
		return true, s.gather(entry, name)
	}
	plan := &s.req.Search
	if plan.Max > 0 && s.req.Trace.Entries >= plan.Max {
		plan.More = true
		return false, nil
	}
	return true, s.deliver(ctx, entry, name)
}

// deliver sends an entry, within the size limit.
func (s *search) deliver(ctx context.Context, entry *dit.Entry, name dit.Name) error {
	if limit := s.req.Limits.Size; limit > 0 && s.req.Trace.Entries >= limit {
		return ldap.Errorf(ldap.SizeLimitExceeded, "the size limit of %d entries is reached", limit)
	}
	s.req.Trace.Entries++
	return s.send(ctx, entry, name)
}

// storeError puts errors of the store that a client should understand into words.
func (s *search) storeError(err error) error {
	if errors.Is(err, store.ErrExamined) {
		return ldap.Errorf(ldap.AdminLimitExceeded,
			"the search would look at more than %d entries: narrow the filter or the base, or have an index built for it", s.req.Limits.Examined)
	}
	return err
}

// rights returns the access evaluator of a request, for entries of schema s.
func (e *Engine) rights(req *op.Request, set *Settings, s *schema.Schema) *access.Evaluator {
	return e.evaluator(req, set, s, e.subject(req))
}

// evaluator returns the access evaluator of a subject that describes a request.
func (e *Engine) evaluator(req *op.Request, set *Settings, s *schema.Schema, subject *access.Subject) *access.Evaluator {
	if set.Policy.Schema() == s {
		return set.Policy.EvaluatorIn(e.memo(req, set).class, subject)
	}
	return e.policyOf(set, s).Evaluator(subject)
}

// policyOf finds the access policy for another schema than that of the settings: the operation began before the schema
// changed, or looks at a state of before. Decisions about attributes hold under one schema only, so that where there is
// none the answer is no.
func (e *Engine) policyOf(set *Settings, s *schema.Schema) *access.Policy {
	now := e.Settings()
	for _, p := range [...]*access.Policy{set.Older, now.Policy, now.Older} {
		if p != nil && p.Schema() == s {
			return p
		}
	}
	nothing, err := access.Compile(nil, access.Options{Schema: s})
	if err != nil {
		panic(err) // without rules there is nothing to be wrong
	}
	return nothing
}

// subject describes who asks, for access rules.
func (e *Engine) subject(req *op.Request) *access.Subject {
	s := &access.Subject{}
	describe(s, req)
	s.InGroup = e.members.inGroup(e, req.Identity)
	return s
}

// describe fills in a subject but for its groups.
func describe(s *access.Subject, req *op.Request) {
	id, c := req.Identity, req.Conn
	s.Name, s.Entry, s.Anonymous, s.Admin = id.Name, id.Entry, id.IsAnonymous(), id.Admin
	s.Addr, s.Protected, s.Method, s.TLSBits = c.Remote.Addr(), c.Protected(), id.Method, 0
	if state := c.TLS(); state != nil {
		s.TLSBits = tlsBits(state.CipherSuite)
	}
}
