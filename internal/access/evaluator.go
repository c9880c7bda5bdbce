package access

import (
	"portolan/internal/dit"
	"portolan/internal/schema"
)

type Policy struct{}

func Compile(rules []Rule, o Options) (*Policy, error) { return &Policy{}, nil }

type Evaluator struct{ s *Subject }

func (p *Policy) Evaluator(s *Subject) *Evaluator {
	s.evaluator = Evaluator{s: s}
	return &s.evaluator
}

func (e *Evaluator) EntryRights(t *Target) Right {
	switch {
	case e.s.Admin:
		return Everything
	case e.s.Anonymous:
		return 0
	}
	return Disclose | Read
}

func (e *Evaluator) AttrRights(t *Target, d schema.Description) Right {
	switch {
	case e.s.Admin:
		return Everything
	case e.s.Anonymous || d.Type == nil || d.Type.Secret:
		return 0
	}
	return Search | Read | Compare
}

func (e *Evaluator) Slots(t *Target) *SlotRights {
	if e.s.Admin {
		return &SlotRights{Entry: Everything, All: true}
	}
	r := &SlotRights{Entry: e.EntryRights(t)}
	if t.Entry == nil {
		return r
	}
	shape := t.Entry.Shape()
	m := make(Mask, len(shape.Slots)/64+1)
	for i, d := range shape.Slots {
		if e.AttrRights(t, d) != 0 {
			m.set(i)
		}
	}
	r.Read, r.Search, r.Compare = m, m, m
	return r
}

func (e *Evaluator) Value(t *Target, d schema.Description, value []byte, write Right) bool {
	return e.AttrRights(t, d)&write == write
}

type Explanation struct {
	Right        Right
	Allowed      bool
	Rule, Origin string
	Reason       string
}

func (p *Policy) Explain(s *Subject, t *Target, d schema.Description) []Explanation { return nil }

var _ dit.ID
