package ppolicy

import (
	"bytes"
	"slices"
	"sync"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/schema"
)

// governing is the policy that an account is under.
type governing struct {
	*Policy
	dn string // of its entry, empty for that of the configuration
}

// subject is an account whose policy is wanted: an entry, or one that is being added.
type subject struct {
	id   dit.ID // 0 for one that is being added
	seq  uint64
	name dit.Name
	// own is pwdPolicySubentry as stored.
	own []byte
	// The object classes are those of entry, or where that is nil classes.
	entry   *dit.Entry
	classes [][]byte
}

func subjectOf(s *schema.Schema, e *dit.Entry, name dit.Name) subject {
	return subject{id: e.ID, seq: e.Seq, name: name, own: e.First(schema.Description{Type: s.Known.PwdPolicySubentry}), entry: e}
}

func (who *subject) objectClasses(s *schema.Schema) [][]byte {
	if who.entry != nil {
		return valuesOf(who.entry, s.Known.ObjectClass)
	}
	return who.classes
}

// valuesOf returns the values of an attribute type without options.
func valuesOf(e *dit.Entry, t *schema.AttributeType) (out [][]byte) {
	slot := e.Shape().Find(schema.Description{Type: t})
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

// table is all that selects policies, as it was at one moment.
type table struct {
	generation uint64
	standard   governing
	rules      []compiledRule
	subentries []subentry // the deepest administrative point first
	watched    map[string]bool
}

type compiledRule struct {
	governing
	base  string // canonical, empty for all
	group dit.ID // 0 for all
}

// subentry is a policy with a subtree specification (draft section 10, RFC 3672).
type subentry struct {
	governing
	*op.Subtree
}

// policyCache keeps policies of durable entries by their version.
type policyCache struct{ m sync.Map } // dit.ID -> *parsed

type parsed struct {
	seq    uint64
	policy *Policy
}

// read returns the policy of an entry; nil where the entry is none, or one that cannot be kept. In a transaction nothing is
// remembered: what it sees may never come to be.
func (x *ppolicy) read(r op.Reader, e *dit.Entry) (*governing, error) {
	_, changing := r.(op.Tx)
	s := r.Schema()
	var policy *Policy
	if v, ok := x.policies.m.Load(e.ID); ok && !changing && v.(*parsed).seq == e.Seq {
		policy = v.(*parsed).policy
	} else {
		if s.Known.PwdPolicy == nil || !e.IsA(s, s.Known.PwdPolicy) {
			return nil, nil
		}
		var err error
		if policy, err = policyOf(s, e); err != nil {
			return nil, nil
		}
		if !changing {
			x.policies.m.Store(e.ID, &parsed{e.Seq, policy})
		}
	}
	name, err := r.Name(e)
	return &governing{policy, name.DN}, err
}

// named returns the policy of an entry by its name, or nil.
func (x *ppolicy) named(r op.Reader, dn []byte) (*governing, error) {
	norm, err := r.Schema().NormalizeDN(nil, dn)
	if err != nil {
		return nil, nil
	}
	e, _, err := r.Lookup(string(norm))
	if err != nil || e == nil {
		return nil, err
	}
	return x.read(r, e)
}

// compile reads what selects policies.
func (x *ppolicy) compile(r op.Reader) (*table, error) {
	t := &table{standard: governing{Policy: &x.o.Policy}, watched: make(map[string]bool)}
	watch := func(dn string) (string, error) {
		if dn == "" {
			return "", nil
		}
		norm, err := r.Schema().NormalizeDN(nil, []byte(dn))
		t.watched[string(norm)] = true
		return string(norm), err
	}
	if x.o.Default != "" {
		if _, err := watch(x.o.Default); err != nil {
			return nil, err
		}
		g, err := x.named(r, []byte(x.o.Default))
		if err != nil {
			return nil, err
		}
		if g != nil {
			t.standard = *g
		}
	}
	for _, rule := range x.o.Rules {
		g, err := x.named(r, []byte(rule.Policy))
		if err != nil {
			return nil, err
		}
		if _, err := watch(rule.Policy); err != nil {
			return nil, err
		}
		c := compiledRule{}
		if c.base, err = watch(rule.Base); err != nil {
			return nil, err
		}
		group, err := watch(rule.Group)
		if err != nil {
			return nil, err
		}
		if group != "" {
			e, _, err := r.Lookup(group)
			if err != nil {
				return nil, err
			}
			if e == nil {
				continue
			}
			c.group = e.ID
		}
		if g != nil {
			c.governing = *g
			t.rules = append(t.rules, c)
		}
	}
	var err error
	t.subentries, err = x.policySubentries(r)
	return t, err
}

// policySubentries finds the policies that are subentries.
func (x *ppolicy) policySubentries(r op.Reader) ([]subentry, error) {
	s := r.Schema()
	key, err := s.EqualityKey(s.Known.ObjectClass, nil, []byte(policyClass))
	if err != nil {
		return nil, err
	}
	ids, err := r.Equal(s.Known.ObjectClass, key)
	if err != nil {
		return nil, err
	}
	var out []subentry
	for it := ids.Iterator(); it.HasNext(); {
		e, err := r.Get(dit.ID(it.Next()))
		if err != nil {
			return nil, err
		}
		if e == nil || !e.Subentry || e.Parent == 0 {
			continue
		}
		g, err := x.read(r, e)
		if err != nil {
			return nil, err
		}
		if g == nil {
			continue
		}
		above, err := r.Get(e.Parent)
		if err != nil || above == nil {
			return nil, err
		}
		point, err := r.Name(above)
		if err != nil {
			return nil, err
		}
		subtree, err := op.NewSubtree(s, point.Norm, e.First(schema.Description{Type: s.Known.SubtreeSpecification}))
		if err != nil {
			continue
		}
		out = append(out, subentry{*g, subtree})
	}
	slices.SortStableFunc(out, func(a, b subentry) int { return op.NameDepth(b.Point) - op.NameDepth(a.Point) })
	return out, nil
}

// current returns the table that is in force, which is made anew where something of it has changed.
func (x *ppolicy) current() (*table, error) {
	generation := x.generation.Load()
	if t := x.table.Load(); t != nil && t.generation == generation {
		return t, nil
	}
	view := x.ports.Load().Directory.View()
	defer view.Close()
	t, err := x.compile(view)
	if err != nil {
		return nil, err
	}
	t.generation = generation
	x.table.Store(t)
	return t, nil
}

// observe notes that policies, or what selects them, have changed.
func (x *ppolicy) observe(c op.Commit) {
	t := x.table.Load()
	if t == nil {
		return
	}
	for i := range c.Changes {
		if t.concerns(&c.Changes[i]) {
			x.generation.Add(1)
			return
		}
	}
}

func (t *table) concerns(c *dit.Change) bool {
	if c.Kind == dit.ChangeRename || t.watched[c.Old.Norm] || t.watched[c.New.Norm] {
		return true
	}
	grouped := slices.ContainsFunc(t.rules, func(r compiledRule) bool { return r.group != 0 })
	if grouped && len(c.Large) > 0 {
		return true
	}
	for _, e := range [2]*dit.Entry{c.Before, c.After} {
		if e == nil {
			continue
		}
		for slot, d := range e.Shape().Slots {
			if grouped && op.MemberAttribute(d.Type) {
				return true
			}
			if d.Type.Name() != "objectClass" {
				continue
			}
			for v := e.Values(slot); ; {
				class, ok := v.Next()
				if !ok {
					break
				}
				if bytes.EqualFold(class, []byte(policyClass)) {
					return true
				}
			}
		}
	}
	return false
}

// selectionCache keeps which policy an account was found to be under, where that takes looking.
type selectionCache struct {
	mu sync.RWMutex
	m  map[dit.ID]selection
}

type selection struct {
	seq, generation uint64
	governing       *governing
}

// maxSelections bounds the cache; when it is full it begins anew.
const maxSelections = 50_000

func (c *selectionCache) get(id dit.ID, seq, generation uint64) *governing {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if s, ok := c.m[id]; ok && s.seq == seq && s.generation == generation {
		return s.governing
	}
	return nil
}

func (c *selectionCache) put(id dit.ID, s selection) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m == nil || len(c.m) >= maxSelections {
		c.m = make(map[dit.ID]selection)
	}
	c.m[id] = s
}

// policyFor returns the policy of an account: its own pwdPolicySubentry, the first rule that fits, the subentry with the
// deepest administrative point, or the standard one.
func (x *ppolicy) policyFor(r op.Reader, who subject) (*governing, error) {
	t, err := x.current()
	if err != nil {
		return nil, err
	}
	if who.own != nil {
		if g, err := x.named(r, who.own); g != nil || err != nil {
			return g, err
		}
	}
	if len(t.rules) == 0 && len(t.subentries) == 0 {
		return &t.standard, nil
	}
	if who.id == 0 {
		return t.choose(r, who)
	}
	if g := x.selected.get(who.id, who.seq, t.generation); g != nil {
		return g, nil
	}
	g, err := t.choose(r, who)
	if err == nil {
		x.selected.put(who.id, selection{who.seq, t.generation, g})
	}
	return g, err
}

// policyIn is policyFor inside a transaction, which may have changed policies itself.
func (x *ppolicy) policyIn(tx op.Tx, who subject) (*governing, error) {
	if who.own != nil {
		if g, err := x.named(tx, who.own); g != nil || err != nil {
			return g, err
		}
	}
	t, err := x.compile(tx)
	if err != nil {
		return nil, err
	}
	return t.choose(tx, who)
}

func (t *table) choose(r op.Reader, who subject) (*governing, error) {
	var groups *dit.IDSet
	for i := range t.rules {
		rule := &t.rules[i]
		if rule.base != "" && !schema.DNUnder([]byte(who.name.Norm), []byte(rule.base)) {
			continue
		}
		if rule.group != 0 {
			if groups == nil {
				var err error
				if groups, err = op.GroupsOf(r, who.name.Norm, nil); err != nil {
					return nil, err
				}
			}
			if !groups.Contains(uint64(rule.group)) {
				continue
			}
		}
		return &rule.governing, nil
	}
	for i := range t.subentries {
		if t.subentries[i].Covers(r.Schema(), who.name.Norm, func() [][]byte { return who.objectClasses(r.Schema()) }) {
			return &t.subentries[i].governing, nil
		}
	}
	return &t.standard, nil
}
