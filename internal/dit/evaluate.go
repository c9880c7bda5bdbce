package dit

import (
	"bytes"

	"portolan/internal/schema"
	"portolan/ldap"
)

// Candidate is an entry in the eyes of a filter: what of it may be searched, and where the rest of it is. It is reused
// from entry to entry by one goroutine.
type Candidate struct {
	Schema *schema.Schema
	Entry  *Entry
	// May says whether the searcher may search this slot; a slot that may not be searched is as good as absent. nil: all.
	May func(slot int) bool
	// MayType is the same for virtual attributes and naming attributes. nil: all.
	MayType func(t *schema.AttributeType) bool
	// Virtual calls f for the values of a virtual attribute of the entry until f returns false; it reports false for types
	// that are not virtual. nil: there are no virtual attributes.
	Virtual func(e *Entry, t *schema.AttributeType, f func(value []byte) bool) (virtual bool, err error)
	// Decide, where set, decides an item for a virtual attribute of the entry without its values; known is false where the
	// values are needed.
	Decide func(e *Entry, t *schema.AttributeType, n *Node) (holds, known bool, err error)
	// Beneath returns the virtual types that are t or inherit from it. nil: only t itself is asked for.
	Beneath func(t *schema.AttributeType) []*schema.AttributeType
	// Name returns the whole name of the entry; needed for dnAttributes only.
	Name func(e *Entry) (ldap.DN, error)
	// Large reads large attributes; needed where entries have them.
	Large LargeSource
	// InChain decides the transitive rule; nil makes it Undefined.
	InChain func(e *Entry, n *Node) (Truth, error)

	scratch []byte
}

// LargeSource reads the values of large attributes.
type LargeSource interface {
	LargeReader
	// LargeEach calls f for each value in the order of keys until f returns false.
	LargeEach(e *Entry, slot int, f func(key, value []byte) bool) error
}

// Eval decides whether the entry matches. Errors are of storage.
func (f *Filter) Eval(c *Candidate) (Truth, error) {
	if len(f.Nodes) == 0 {
		return Undefined, nil
	}
	return f.eval(c, 0)
}

// eval recurses no deeper than ldap.MaxFilterDepth.
func (f *Filter) eval(c *Candidate, at int32) (Truth, error) {
	n := &f.Nodes[at]
	switch n.Op {
	case ldap.FilterAnd, ldap.FilterOr:
		// RFC 4511 section 4.5.1.7.1 and RFC 4526: no children is TRUE for and, FALSE for or.
		decides, result := False, True
		if n.Op == ldap.FilterOr {
			decides, result = True, False
		}
		for i := n.First; i != ldap.None; i = f.Nodes[i].Next {
			t, err := f.eval(c, i)
			if err != nil || t == decides {
				return t, err
			}
			if t == Undefined {
				result = Undefined
			}
		}
		return result, nil
	case ldap.FilterNot:
		t, err := f.eval(c, n.First)
		if err != nil {
			return t, err
		}
		return [...]Truth{True, False, Undefined}[t], nil
	}
	return n.item(c)
}

// item decides a filter item.
func (n *Node) item(c *Candidate) (Truth, error) {
	if n.Undefined {
		return Undefined, nil
	}
	if n.Rule != nil && n.Rule.Transitive {
		if c.InChain == nil {
			return Undefined, nil
		}
		return c.InChain(c.Entry, n)
	}
	e := c.Entry
	answer := False
	for i, desc := range e.shape.Slots {
		if !n.covers(desc) || (c.May != nil && !c.May(i)) {
			continue
		}
		t, err := n.slot(c, i)
		if err != nil || t == True {
			return t, err
		}
		answer = either(answer, t)
	}
	if c.Virtual != nil && n.Desc.Options == "" {
		types := n.Types // an extensible match without a type looks at all attributes (RFC 4511 section 4.5.1.7.7)
		var one [1]*schema.AttributeType
		if t := n.Desc.Type; t != nil {
			if one[0], types = t, one[:]; c.Beneath != nil {
				types = c.Beneath(t)
			}
		}
		for _, a := range types {
			t, err := n.virtual(c, a)
			if err != nil || t == True {
				return t, err
			}
			answer = either(answer, t)
		}
	}
	if n.DNAttrs && c.Name != nil {
		t, err := n.naming(c)
		if err != nil || t == True {
			return t, err
		}
		answer = either(answer, t)
	}
	return answer, nil
}

// either joins what is not TRUE for two values: Undefined where one is.
func either(a, b Truth) Truth {
	if a == Undefined {
		return a
	}
	return b
}

func (n *Node) covers(desc schema.Description) bool {
	if n.Desc.Type != nil {
		return n.Desc.Contains(desc)
	}
	for _, t := range n.Types {
		if t == desc.Type {
			return true
		}
	}
	return false
}

func (n *Node) slot(c *Candidate, slot int) (Truth, error) {
	if n.Op == ldap.FilterPresent {
		return True, nil
	}
	e := c.Entry
	if _, large := e.Large(slot); large {
		return n.largeSlot(c, slot)
	}
	answer := False
	for v := e.Values(slot); ; {
		value, ok := v.Next()
		if !ok {
			return answer, nil
		}
		t := n.matches(c, value)
		if t == True {
			return t, nil
		}
		answer = either(answer, t)
	}
}

func (n *Node) largeSlot(c *Candidate, slot int) (Truth, error) {
	if c.Large == nil {
		return Undefined, nil
	}
	t := c.Entry.shape.Slots[slot].Type
	if n.Rule == t.Equality && n.Rule.Match == nil && n.Op != ldap.FilterSubstrings {
		there, err := c.Large.LargeHas(c.Entry, slot, n.Key)
		if there {
			return True, err
		}
		return False, err
	}
	answer := False
	err := c.Large.LargeEach(c.Entry, slot, func(_, value []byte) bool {
		t := n.matches(c, value)
		if answer = either(answer, t); t == True {
			answer = True
		}
		return answer != True
	})
	return answer, err
}

func (n *Node) virtual(c *Candidate, a *schema.AttributeType) (Truth, error) {
	if a == nil || c.MayType != nil && !c.MayType(a) {
		return False, nil
	}
	if c.Decide != nil {
		if holds, known, err := c.Decide(c.Entry, a, n); known || err != nil {
			return truth(holds), err
		}
	}
	answer := False
	_, err := c.Virtual(c.Entry, a, func(value []byte) bool {
		t := True
		if n.Op != ldap.FilterPresent {
			t = n.matches(c, value)
		}
		if answer = either(answer, t); t == True {
			answer = True
		}
		return answer != True
	})
	return answer, err
}

// naming looks at the values of the entry's name (dnAttributes, RFC 4511 section 4.5.1.7.7).
func (n *Node) naming(c *Candidate) (Truth, error) {
	name, err := c.Name(c.Entry)
	if err != nil {
		return Undefined, err
	}
	answer := False
	for _, rdn := range name {
		for _, ava := range rdn {
			t := c.Schema.AttributeTypeString(ava.Type)
			if t == nil || !n.covers(schema.Description{Type: t}) || (c.MayType != nil && !c.MayType(t)) {
				continue
			}
			match := n.matches(c, ava.Value)
			if match == True {
				return match, nil
			}
			answer = either(answer, match)
		}
	}
	return answer, nil
}

// matches decides for one value. It is Undefined for a value that the rule cannot read, such as text with code points
// that RFC 4518 prohibits.
func (n *Node) matches(c *Candidate, value []byte) Truth {
	if n.Rule.Match != nil {
		ok, err := n.Rule.Match(c.Schema, value, n.Value)
		if err != nil {
			return Undefined
		}
		return truth(ok)
	}
	key, err := n.Rule.ValueKey(c.Schema, c.scratch[:0], value)
	if err != nil {
		return Undefined
	}
	c.scratch = key
	switch n.Op {
	case ldap.FilterGreaterOrEqual:
		return truth(bytes.Compare(key, n.Key) >= 0)
	case ldap.FilterLessOrEqual:
		return truth(bytes.Compare(key, n.Key) <= 0)
	case ldap.FilterSubstrings:
		return truth(matchPieces(key, n.Subs))
	case ldap.FilterExtensible:
		if n.Rule.Kind == schema.OrderingRule {
			// RFC 4517 section 4.2: an ordering rule used by itself is true where the value is less than the assertion.
			return truth(bytes.Compare(key, n.Key) < 0)
		}
	}
	return truth(bytes.Equal(key, n.Key))
}

func truth(ok bool) Truth {
	if ok {
		return True
	}
	return False
}

// MatchesValue reports whether a value of an attribute makes one of the items of f true (RFC 3876 section 2). What stands
// between the items, and dnAttributes, do not matter; the in-chain rule, which looks beyond values, matches none.
func (f *Filter) MatchesValue(s *schema.Schema, d schema.Description, value []byte) bool {
	c := Candidate{Schema: s}
	for i := range f.Nodes {
		n := &f.Nodes[i]
		switch n.Op {
		case ldap.FilterAnd, ldap.FilterOr, ldap.FilterNot:
			continue
		}
		if n.Undefined || n.Rule != nil && n.Rule.Transitive || !n.covers(d) {
			continue
		}
		if n.Op == ldap.FilterPresent || n.matches(&c, value) == True {
			return true
		}
	}
	return false
}

// matchPieces looks for the pieces in order and without overlap.
func matchPieces(key []byte, pieces []SubKey) bool {
	for _, p := range pieces {
		switch p.Kind {
		case ldap.SubInitial:
			if !bytes.HasPrefix(key, p.Key) {
				return false
			}
			key = key[len(p.Key):]
		case ldap.SubAny:
			at := bytes.Index(key, p.Key)
			if at < 0 {
				return false
			}
			key = key[at+len(p.Key):]
		case ldap.SubFinal:
			return bytes.HasSuffix(key, p.Key)
		}
	}
	return true
}
