package access

import (
	"sync"

	"portolan/internal/dit"
	"portolan/internal/schema"
)

// ruleSet is a set of rules that apply to a target. All decisions are made here; what they depend on besides the set is
// the attribute description alone, so that they can be remembered for each shape.
type ruleSet struct {
	rules []*rule
	entry Right
	// hidden says that the entry may not be known.
	hidden bool
	bare   *SlotRights // of what has no entry
	shapes sync.Map    // *dit.Shape to *SlotRights
}

func newRuleSet(rules []*rule) *ruleSet {
	rs := &ruleSet{rules: rules}
	var given, taken Right
	for _, r := range rules {
		if r.deny {
			taken |= r.entry
		} else {
			given |= r.entry
		}
	}
	rs.entry = given &^ taken
	rs.hidden = rs.entry&Disclose == 0
	rs.bare = &SlotRights{Entry: rs.entry}
	return rs
}

// attr decides about an attribute, own about values of it that are the subject's name. exists says that there is an
// entry: on one that may not be known nobody has a right.
func (rs *ruleSet) attr(d schema.Description, own, exists bool) Right {
	if exists && rs.hidden {
		return 0
	}
	var given, taken Right
	for _, r := range rs.rules {
		if r.deny {
			taken |= r.onAttr(d, own)
		} else {
			given |= r.onAttr(d, own)
		}
	}
	rights := given &^ taken
	if rights&writing == writing {
		rights |= Modify
	}
	return rights
}

// slots decides about all attributes of a shape.
func (rs *ruleSet) slots(shape *dit.Shape) *SlotRights {
	words := (len(shape.Slots) + 63) / 64
	m := make(Mask, 3*words)
	out := &SlotRights{
		Entry:   rs.entry,
		Read:    m[:words:words],
		Search:  m[words : 2*words : 2*words],
		Compare: m[2*words:],
	}
	for i, d := range shape.Slots {
		rights := rs.attr(d, false, true)
		if rights&Read != 0 {
			out.Read.set(i)
		}
		if rights&Search != 0 {
			out.Search.set(i)
		}
		if rights&Compare != 0 {
			out.Compare.set(i)
		}
	}
	return out
}

// ofAdmin is what the administrator has on everything.
var ofAdmin = SlotRights{Entry: Everything, All: true}
