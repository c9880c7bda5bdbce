package ldap

// The constructors build filters from values, not from text: whatever octets a value has, it stays one value. A Filter
// without nodes as an operand is taken as (|), which matches nothing. They copy their operands.

// And matches what all of fs match; And() matches everything (RFC 4526).
func And(fs ...Filter) Filter { return combine(FilterAnd, fs) }

// Or matches what any of fs matches; Or() matches nothing (RFC 4526).
func Or(fs ...Filter) Filter { return combine(FilterOr, fs) }

// Not matches what f is false for.
func Not(f Filter) Filter { return combine(FilterNot, []Filter{f}) }

// Eq is (attr=value).
func Eq(attr, value string) Filter { return leaf(FilterEquality, attr, value) }

// GreaterOrEqual is (attr>=value).
func GreaterOrEqual(attr, value string) Filter { return leaf(FilterGreaterOrEqual, attr, value) }

// LessOrEqual is (attr<=value).
func LessOrEqual(attr, value string) Filter { return leaf(FilterLessOrEqual, attr, value) }

// Approx is (attr~=value).
func Approx(attr, value string) Filter { return leaf(FilterApprox, attr, value) }

// Present is (attr=*).
func Present(attr string) Filter { return leaf(FilterPresent, attr, "") }

// Substrings is (attr=initial*any...*final). Empty pieces are left out; without any piece it is Present(attr).
func Substrings(attr, initial string, middle []string, final string) Filter {
	f := Present(attr)
	piece := func(kind SubKind, v string) {
		if v != "" {
			f.Subs = append(f.Subs, Substring{Kind: kind, Value: []byte(v)})
		}
	}
	piece(SubInitial, initial)
	for _, v := range middle {
		piece(SubAny, v)
	}
	piece(SubFinal, final)
	if len(f.Subs) > 0 {
		f.Nodes[0].Op, f.Nodes[0].SubHi = FilterSubstrings, int32(len(f.Subs))
	}
	return f
}

// Extensible is (attr:dn:rule:=value). attr or rule may be empty, not both; dnAttrs includes the attributes of the
// entry's name.
func Extensible(attr string, dnAttrs bool, rule, value string) Filter {
	f := leaf(FilterExtensible, attr, value)
	f.Nodes[0].DNAttrs, f.Nodes[0].Rule = dnAttrs, []byte(rule)
	return f
}

func leaf(op FilterOp, attr, value string) Filter {
	return Filter{Nodes: []FilterNode{{Op: op, First: None, Next: None, Attr: []byte(attr), Value: []byte(value)}}}
}

func combine(op FilterOp, fs []Filter) Filter {
	nodes, subs := 1, 0
	for i := range fs {
		nodes += max(1, len(fs[i].Nodes))
		subs += len(fs[i].Subs)
	}
	out := Filter{Nodes: make([]FilterNode, 1, nodes), Subs: make([]Substring, 0, subs)}
	out.Nodes[0] = FilterNode{Op: op, First: None, Next: None}
	last := None
	for i := range fs {
		root := int32(len(out.Nodes))
		if last == None {
			out.Nodes[0].First = root
		} else {
			out.Nodes[last].Next = root
		}
		last = root
		out.graft(&fs[i])
	}
	return out
}

// graft appends the nodes of g, whose indexes count from zero, behind those of f.
func (f *Filter) graft(g *Filter) {
	node, sub := int32(len(f.Nodes)), int32(len(f.Subs))
	if len(g.Nodes) == 0 {
		f.Nodes = append(f.Nodes, FilterNode{Op: FilterOr, First: None, Next: None})
		return
	}
	for _, n := range g.Nodes {
		if n.First != None {
			n.First += node
		}
		if n.Next != None {
			n.Next += node
		}
		if n.Op == FilterSubstrings {
			n.SubLo += sub
			n.SubHi += sub
		}
		f.Nodes = append(f.Nodes, n)
	}
	f.Subs = append(f.Subs, g.Subs...)
}

// Clone returns a copy of f that shares no memory with it, and so outlives the frame f was decoded from.
func (f *Filter) Clone() Filter {
	size := 0
	for i := range f.Nodes {
		size += len(f.Nodes[i].Attr) + len(f.Nodes[i].Value) + len(f.Nodes[i].Rule)
	}
	for i := range f.Subs {
		size += len(f.Subs[i].Value)
	}
	buf := make([]byte, 0, size)
	keep := func(v []byte) []byte {
		if v == nil {
			return nil
		}
		from := len(buf)
		buf = append(buf, v...)
		return buf[from:len(buf):len(buf)]
	}
	out := Filter{Nodes: append([]FilterNode(nil), f.Nodes...), Subs: append([]Substring(nil), f.Subs...)}
	for i := range out.Nodes {
		n := &out.Nodes[i]
		n.Attr, n.Value, n.Rule = keep(n.Attr), keep(n.Value), keep(n.Rule)
	}
	for i := range out.Subs {
		out.Subs[i].Value = keep(out.Subs[i].Value)
	}
	return out
}
