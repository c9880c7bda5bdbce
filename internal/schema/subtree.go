package schema

import (
	"bytes"
	"strconv"

	"portolan/ldap"
)

// SubtreeSpecification is a parsed value of subtreeSpecification (RFC 3672 section 2.1): which entries below the
// administrative point a subentry speaks for.
type SubtreeSpecification struct {
	Base       ldap.DN   // relative to the administrative point
	ChopBefore []ldap.DN // relative to Base: these and what is below are out
	ChopAfter  []ldap.DN // what is below these is out
	Minimum    int       // RDNs below Base
	Maximum    int       // RDNs below Base; -1 is no limit
	Filter     []RefinementStep
}

// RefinementStep is one step of a specification filter in postfix order: an object class by name or OID is tested and
// the result pushed, or Op takes Operands results and pushes one. Without steps all classes are meant.
type RefinementStep struct {
	Op       RefinementOp
	Class    string
	Operands int
}

// RefinementOp is the kind of a step.
type RefinementOp uint8

// Kinds of steps.
const (
	RefineItem RefinementOp = iota
	RefineAnd
	RefineOr
	RefineNot
)

// ParseSubtreeSpecification reads the string form of RFC 3672 section 2.1.
func ParseSubtreeSpecification(v []byte) (*SubtreeSpecification, error) {
	g := gser{in: v}
	fields, ok := g.sequence()
	if !ok || !g.end() {
		return nil, errSubtree
	}
	out := &SubtreeSpecification{Maximum: -1}
	for name, value := range fields {
		switch name {
		case "base":
			out.Base, ok = localName(value)
		case "specificexclusions":
			ok = out.exclusions(value)
		case "minimum":
			out.Minimum, ok = distance(value)
		case "maximum":
			out.Maximum, ok = distance(value)
		case "specificationfilter":
			ok = out.refinement(value, 0)
		default:
			ok = false
		}
		if !ok {
			return nil, errSubtree
		}
	}
	return out, nil
}

func localName(v []byte) (ldap.DN, bool) {
	text := gserString(v)
	if text == nil {
		return nil, false
	}
	dn, err := ldap.ParseDN(string(text))
	return dn, err == nil
}

func distance(v []byte) (int, bool) {
	n, err := strconv.ParseUint(string(v), 10, 31)
	return int(n), err == nil
}

func (t *SubtreeSpecification) exclusions(v []byte) bool {
	g := gser{in: v}
	list, ok := g.elements()
	if !ok || !g.end() {
		return false
	}
	for _, e := range list {
		kind, name, ok := bytes.Cut(e, []byte{':'})
		dn, ok2 := localName(bytes.TrimLeft(name, " "))
		if !ok || !ok2 {
			return false
		}
		switch string(kind) {
		case "chopBefore":
			t.ChopBefore = append(t.ChopBefore, dn)
		case "chopAfter":
			t.ChopAfter = append(t.ChopAfter, dn)
		default:
			return false
		}
	}
	return true
}

// refinement appends the steps of a filter.
func (t *SubtreeSpecification) refinement(v []byte, depth int) bool {
	kind, body, ok := bytes.Cut(v, []byte{':'})
	body = bytes.TrimLeft(body, " ")
	if !ok || depth > maxGSERDepth {
		return false
	}
	switch string(kind) {
	case "item":
		if !isOIDOrName(body) {
			return false
		}
		t.Filter = append(t.Filter, RefinementStep{Op: RefineItem, Class: string(body)})
		return true
	case "not":
		ok = t.refinement(body, depth+1)
		t.Filter = append(t.Filter, RefinementStep{Op: RefineNot, Operands: 1})
		return ok
	case "and", "or":
		g := gser{in: body}
		list, ok := g.elements()
		if !ok || !g.end() {
			return false
		}
		for _, e := range list {
			if !t.refinement(e, depth+1) {
				return false
			}
		}
		op := RefineAnd
		if string(kind) == "or" {
			op = RefineOr
		}
		t.Filter = append(t.Filter, RefinementStep{Op: op, Operands: len(list)})
		return true
	}
	return false
}
