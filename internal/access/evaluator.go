package access

import (
	"bytes"
	"errors"
	"sync"
	"sync/atomic"

	"portolan/internal/dit"
	"portolan/internal/schema"
	"portolan/ldap"
)

// Policy is a compiled set of rules. It is immutable but for what it remembers, and shared between goroutines. It
// belongs to the schema that it was compiled with: under another one it is compiled again.
type Policy struct {
	schema   *schema.Schema
	rules    []*rule
	warnings []string
	remarks  []Remark

	remembered atomic.Int64 // decisions about shapes

	mu      sync.RWMutex
	classes map[string]*class // by the verdicts about all rules
}

// Warnings says, in one line each, what is allowed but seldom meant.
func (p *Policy) Warnings() []string { return p.warnings }

// Schema returns the schema that the policy was compiled with.
func (p *Policy) Schema() *schema.Schema { return p.schema }

// Evaluator answers for one subject. It is part of the Subject and, like it, used by one goroutine at a time. Group
// membership is as it was when the Evaluator was made: what runs long makes a new one now and then.
type Evaluator struct {
	policy  *Policy
	subject *Subject
	class   *class // nil: the administrator

	words [fewWords]uint64 // scratch for rule masks

	// What was asked about last, and what came of it.
	entry   *dit.Entry
	norm    string
	noLarge bool
	last    [fewWords]uint64 // the mask of set, where it has so few words
	set     *ruleSet
	// shapes are the shapes met last and the decisions of set about them. A search meets few.
	shapes [fewShapes]shapeSlots
	next   uint8

	more *workspace
}

const (
	fewWords  = 4
	fewShapes = 4
)

type shapeSlots struct {
	shape *dit.Shape
	slots *SlotRights
}

// workspace is what only some rules need.
type workspace struct {
	candidate dit.Candidate
	name      dit.Name
	own       []byte // the subject's canonical name
	mask      Mask
	key, want []byte
}

// Evaluator returns the evaluator of a subject. It is kept in s: another call with the same s ends the one before.
func (p *Policy) Evaluator(s *Subject) *Evaluator {
	return p.EvaluatorIn(p.Class(s), s)
}

// EntryRights returns the rights on the entry itself: Disclose, Read, Add, Delete, Rename, Proxy, Control, and Search and
// Compare, which go with Disclose.
func (e *Evaluator) EntryRights(t *Target) Right {
	if e.class == nil {
		return Everything
	}
	return e.applicable(t).entry
}

// AttrRights returns the rights on an attribute, whether or not the entry has it: Search, Read, Compare, Add, Delete, and
// Modify where both of these are given. Descriptions without a type have none.
func (e *Evaluator) AttrRights(t *Target, d schema.Description) Right {
	if e.class == nil {
		return Everything
	}
	return e.applicable(t).attr(d, false, t.exists())
}

// LooksInside reports whether a decision about this subject may hang on what is in an entry, not only on its name.
func (e *Evaluator) LooksInside() bool { return e.class != nil && len(e.class.conditional) > 0 }

// exists reports whether the target is an entry of the directory.
func (t *Target) exists() bool { return t.Entry != nil && !t.New }

// Slots returns the rights on the entry and on all attributes that it has. The result is shared and valid for this
// entry's shape.
func (e *Evaluator) Slots(t *Target) *SlotRights {
	if e.class == nil {
		return &ofAdmin
	}
	rs := e.applicable(t)
	if t.Entry == nil {
		return rs.bare
	}
	shape := t.Entry.Shape()
	for i := range e.shapes {
		if e.shapes[i].shape == shape {
			return e.shapes[i].slots
		}
	}
	slots := e.policy.slots(rs, shape)
	e.shapes[e.next%fewShapes] = shapeSlots{shape, slots}
	e.next++
	return slots
}

// Value reports whether a value may be written: write is Add, Delete or both. Beyond what AttrRights says, rules may
// give away the subject's own name as a value.
func (e *Evaluator) Value(t *Target, d schema.Description, value []byte, write Right) bool {
	if e.class == nil {
		return true
	}
	rs := e.applicable(t)
	exists := t.exists()
	if rs.attr(d, false, exists)&write == write {
		return true
	}
	return rs.attr(d, true, exists)&write == write && e.isOwnName(d.Type, value)
}

// applicable returns the rules that apply to a target.
func (e *Evaluator) applicable(t *Target) *ruleSet {
	if e.set != nil && e.entry == t.Entry && e.norm == t.Name.Norm && e.noLarge == (t.Large == nil) {
		return e.set
	}
	c := e.class
	mask := e.mask(len(c.everywhere))
	copy(mask, c.everywhere)
	for i := range c.scopes {
		if s := &c.scopes[i]; s.scope.covers(t.Name.Norm) {
			for w, bits := range s.rules {
				mask[w] |= bits
			}
		}
	}
	for _, i := range c.conditional {
		if mask.Has(i) && !e.met(c.rules[i], c.verdicts[i], t) {
			mask[i>>6] &^= 1 << (uint(i) & 63)
		}
	}
	e.entry, e.norm, e.noLarge = t.Entry, t.Name.Norm, t.Large == nil
	few := len(mask) <= fewWords
	if few && e.set != nil && e.words == e.last {
		return e.set
	}
	rs := c.set(mask)
	if few {
		e.last = e.words
	}
	if rs != e.set {
		e.set, e.shapes = rs, [fewShapes]shapeSlots{}
	}
	return rs
}

// mask returns scratch for a mask of n words.
func (e *Evaluator) mask(n int) Mask {
	if n <= fewWords {
		return e.words[:n]
	}
	w := e.work()
	if cap(w.mask) < n {
		w.mask = make(Mask, n)
	}
	return w.mask[:n]
}

func (e *Evaluator) work() *workspace {
	if e.more == nil {
		e.more = &workspace{}
	}
	return e.more
}

// met decides what the target decides about a rule: whether it names the subject, and the filter. What cannot be known
// is met for a rule that denies, and not for one that allows.
func (e *Evaluator) met(r *rule, v verdict, t *Target) bool {
	sure := func(truth dit.Truth) bool { return truth == dit.True || truth == dit.Undefined && r.deny }
	return sure(e.names(r, v, t)) && (r.filter == nil || sure(e.matches(r, t)))
}

// names decides whether the rule names the subject.
func (e *Evaluator) names(r *rule, v verdict, t *Target) dit.Truth {
	named := dit.True
	if v == open {
		named = e.among(&r.named, t)
	}
	if named == dit.False || v == always {
		return named
	}
	switch e.among(&r.excluded, t) {
	case dit.True:
		return dit.False
	case dit.Undefined:
		return dit.Undefined
	}
	return named
}

// among decides whether self, parent or dnattr name the subject.
func (e *Evaluator) among(p *people, t *Target) dit.Truth {
	if t.Entry == nil {
		return dit.False
	}
	if p.self && !t.New && e.isSelf(t) {
		return dit.True
	}
	if p.above && e.isAbove(t) {
		return dit.True
	}
	truth := dit.False
	for _, a := range p.dnattr {
		switch e.holds(t, a) {
		case dit.True:
			return dit.True
		case dit.Undefined:
			truth = dit.Undefined
		}
	}
	return truth
}

// isSelf reports whether the target is the subject's own entry. Entries are told apart by identity: a name can pass on
// to another entry while somebody is bound with it.
func (e *Evaluator) isSelf(t *Target) bool {
	s := e.subject
	if s.Entry != 0 {
		return t.Entry.ID == s.Entry
	}
	return s.Name.Norm != "" && s.Name.Norm == t.Name.Norm
}

// isAbove reports whether the target stands, or would stand, right beneath the subject's own entry.
func (e *Evaluator) isAbove(t *Target) bool {
	return e.subject.Entry != 0 && t.Entry.Parent == e.subject.Entry
}

// holds decides whether an attribute of the target has the subject's name as a value.
func (e *Evaluator) holds(t *Target, a *schema.AttributeType) dit.Truth {
	if e.subject.Name.Norm == "" {
		return dit.False
	}
	want := schema.Description{Type: a}
	truth := dit.False
	for slot, d := range t.Entry.Shape().Slots {
		if !want.Contains(d) || !holdsNames(d.Type) {
			continue
		}
		if _, large := t.Entry.Large(slot); large {
			there, known := e.largeHolds(t, slot, d.Type)
			if there {
				return dit.True
			}
			if !known {
				truth = dit.Undefined
			}
			continue
		}
		for v := t.Entry.Values(slot); ; {
			value, ok := v.Next()
			if !ok {
				break
			}
			if e.isOwnName(d.Type, value) {
				return dit.True
			}
		}
	}
	return truth
}

func (e *Evaluator) largeHolds(t *Target, slot int, a *schema.AttributeType) (there, known bool) {
	if t.Large == nil {
		return false, false
	}
	key, ok := e.ownKey(a)
	if !ok {
		return false, true
	}
	there, err := t.Large.LargeHas(t.Entry, slot, key)
	return there && err == nil, err == nil
}

// isOwnName reports whether a value of an attribute is the subject's name.
func (e *Evaluator) isOwnName(a *schema.AttributeType, value []byte) bool {
	if !holdsNames(a) {
		return false
	}
	want, ok := e.ownKey(a)
	if !ok {
		return false
	}
	w := e.more
	key, err := a.Equality.ValueKey(e.policy.schema, w.key[:0], value)
	if err != nil {
		return false
	}
	w.key = key
	return bytes.Equal(key, want)
}

// ownKey is the key of the subject's name as a value of a.
func (e *Evaluator) ownKey(a *schema.AttributeType) ([]byte, bool) {
	w := e.work()
	if e.subject.Name.Norm == "" {
		return nil, false
	}
	if w.own == nil {
		w.own = []byte(e.subject.Name.Norm)
	}
	key, err := a.Equality.ValueKey(e.policy.schema, w.want[:0], w.own)
	if err != nil {
		return nil, false
	}
	w.want = key
	return key, true
}

// holdsNames reports whether values of the type are names of entries.
func holdsNames(a *schema.AttributeType) bool {
	const distinguishedNameMatch, uniqueMemberMatch = "2.5.13.1", "2.5.13.23"
	return a.Equality != nil && (a.Equality.OID == distinguishedNameMatch || a.Equality.OID == uniqueMemberMatch)
}

// matches decides the filter of a rule. All attributes count: what a rule is about does not depend on who may see it.
func (e *Evaluator) matches(r *rule, t *Target) dit.Truth {
	if t.Entry == nil {
		return dit.False
	}
	w := e.work()
	c := &w.candidate
	if c.Name == nil {
		c.Name = func(*dit.Entry) (ldap.DN, error) { return ldap.ParseDN(w.name.DN) }
	}
	c.Schema, c.Entry, c.Large, w.name = e.policy.schema, t.Entry, t.Large, t.Name
	if t.Large == nil {
		c.Large = unknownValues{}
	}
	truth, err := r.filter.Eval(c)
	c.Entry, c.Large = nil, nil
	if err != nil {
		return dit.Undefined
	}
	return truth
}

// unknownValues stands for large attributes that nobody reads: asking for them is an error, so that no filter takes them
// for absent.
type unknownValues struct{}

var errUnknown = errors.New("the values are not in the entry")

func (unknownValues) LargeHas(*dit.Entry, int, []byte) (bool, error) { return false, errUnknown }

func (unknownValues) LargeEach(*dit.Entry, int, func(key, value []byte) bool) error {
	return errUnknown
}
