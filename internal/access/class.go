package access

import (
	"crypto/sha256"
	"maps"
	"sync"
	"sync/atomic"

	"portolan/internal/dit"
)

// Class is what subjects have in common for whom the same rules can apply. It belongs to the Policy that made it, and holds
// for a subject until its group membership changes.
type Class = class

type class struct {
	rules []*rule
	// verdicts[i] says what is still open about the subject of rules[i].
	verdicts []verdict
	// everywhere has the rules that apply wherever the entry stands; scopes those that apply in some place.
	everywhere Mask
	scopes     []scopedRules
	// conditional are the rules that the target decides about beyond its name.
	conditional []int

	digest [sha256.Size]byte

	mu   sync.Mutex // for writers of sets
	sets atomic.Pointer[map[string]*ruleSet]
}

type scopedRules struct {
	scope scope
	rules Mask
}

// maxSets bounds the rule sets that a class remembers; when it is full it starts anew.
const maxSets = 256

func newClass(p *Policy, verdicts []byte) *class {
	c := &class{}
	for i, r := range p.rules {
		if v := verdict(verdicts[i]); v != never {
			c.rules = append(c.rules, r)
			c.verdicts = append(c.verdicts, v)
		}
	}
	c.digest = digestOf(c.rules, c.verdicts)
	words := (len(c.rules) + 63) / 64
	c.everywhere = make(Mask, words)
	at := make(map[scope]int)
	for i, r := range c.rules {
		if c.verdicts[i] != always || r.filter != nil {
			c.conditional = append(c.conditional, i)
		}
		if r.scopes == nil {
			c.everywhere.set(i)
		}
		for _, s := range r.scopes {
			k, there := at[s]
			if !there {
				k = len(c.scopes)
				at[s] = k
				c.scopes = append(c.scopes, scopedRules{scope: s, rules: make(Mask, words)})
			}
			c.scopes[k].rules.set(i)
		}
	}
	c.sets.Store(&map[string]*ruleSet{})
	return c
}

// set returns the rule set of a bit mask over the rules of the class.
func (c *class) set(mask Mask) *ruleSet {
	var buf [128]byte
	key := buf[:0]
	for _, w := range mask {
		key = append(key, byte(w), byte(w>>8), byte(w>>16), byte(w>>24), byte(w>>32), byte(w>>40), byte(w>>48), byte(w>>56))
	}
	if rs := (*c.sets.Load())[string(key)]; rs != nil {
		return rs
	}
	var rules []*rule
	for i, r := range c.rules {
		if mask.Has(i) {
			rules = append(rules, r)
		}
	}
	rs := newRuleSet(rules)
	c.mu.Lock()
	defer c.mu.Unlock()
	old := *c.sets.Load()
	if have := old[string(key)]; have != nil {
		return have
	}
	if len(old) >= maxSets {
		old = nil
	}
	sets := maps.Clone(old)
	if sets == nil {
		sets = make(map[string]*ruleSet)
	}
	sets[string(key)] = rs
	c.sets.Store(&sets)
	return rs
}

// slots returns the decisions of a rule set about a shape, remembered.
func (p *Policy) slots(rs *ruleSet, shape *dit.Shape) *SlotRights {
	if have, ok := rs.shapes.Load(shape); ok {
		return have.(*SlotRights)
	}
	out := rs.slots(shape)
	if have, there := rs.shapes.LoadOrStore(shape, out); there {
		return have.(*SlotRights)
	}
	if p.remembered.Add(1) > maxRemembered {
		// Clients that invent attribute options make shapes without end: what is remembered is dropped, and what is in use
		// comes back by itself.
		p.forget()
	}
	return out
}

// Bounds of what a Policy remembers: subjects with the same rules, and decisions about shapes over all of them.
const (
	maxClasses    = 4096
	maxRemembered = 1 << 16
)

// Class returns the class of a subject, nil for the administrator: what EvaluatorIn need not find out again.
func (p *Policy) Class(s *Subject) *Class {
	if s.Admin {
		return nil
	}
	return p.class(s)
}

// EvaluatorIn is Evaluator for a subject whose class is known.
func (p *Policy) EvaluatorIn(c *Class, s *Subject) *Evaluator {
	e := &s.evaluator
	*e = Evaluator{policy: p, subject: s, class: c, more: e.more}
	if e.more != nil {
		e.more.own = nil
	}
	return e
}

// class returns the class of a subject.
func (p *Policy) class(s *Subject) *class {
	var buf [256]byte
	key := buf[:0]
	var groups lastGroup
	for _, r := range p.rules {
		key = append(key, byte(r.subject(s, &groups)))
	}
	p.mu.RLock()
	c := p.classes[string(key)]
	p.mu.RUnlock()
	if c != nil {
		return c
	}
	c = newClass(p, key)
	p.mu.Lock()
	defer p.mu.Unlock()
	if have := p.classes[string(key)]; have != nil {
		return have
	}
	if len(p.classes) >= maxClasses {
		clear(p.classes)
	}
	p.classes[string(key)] = c
	return c
}

// forget drops everything that was remembered.
func (p *Policy) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.classes)
	p.remembered.Store(0)
}
