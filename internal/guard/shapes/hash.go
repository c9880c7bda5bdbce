package shapes

import (
	"encoding/binary"
	"hash/maphash"
	"sync"

	"portolan/internal/op"
	"portolan/ldap"
)

// Bounds of the hash; filters beyond them are looked up by their text.
const (
	shortFilter = 64  // nodes whose hashes are on the stack
	maxSiblings = 16  // siblings of different shapes
	maxItem     = 160 // octets of one item
)

// longFilters keeps memory for the hashes of long filters.
var longFilters = sync.Pool{New: func() any { return new([]uint64) }}

// hash returns a keyed hash of the shape as it came, before the schema is asked: the same for filters that differ in values,
// in the case of names, in the order of siblings and in how often one is there. Under a key of the process nobody outside can
// find two filters with the same hash. false: it is beyond the bounds.
func (f *Firewall) hash(use op.FilterUse, filter *ldap.Filter) (uint64, bool) {
	if len(filter.Nodes) <= shortFilter {
		var nodes [shortFilter]uint64
		return f.hashInto(nodes[:len(filter.Nodes)], use, filter)
	}
	p := longFilters.Get().(*[]uint64)
	defer longFilters.Put(p)
	if cap(*p) < len(filter.Nodes) {
		*p = make([]uint64, len(filter.Nodes))
	}
	return f.hashInto((*p)[:len(filter.Nodes)], use, filter)
}

// hashInto works from the last node to the first: children stand behind their parents in a filter that was decoded.
func (f *Firewall) hashInto(nodes []uint64, use op.FilterUse, filter *ldap.Filter) (uint64, bool) {
	var buf [maxItem]byte
	for i := len(nodes) - 1; i >= 0; i-- {
		n := &filter.Nodes[i]
		var item []byte
		switch n.Op {
		case ldap.FilterAnd, ldap.FilterOr, ldap.FilterNot:
			sum, ok := siblings(nodes, filter, i)
			if !ok {
				return 0, false
			}
			item = binary.LittleEndian.AppendUint64(append(buf[:0], byte(n.Op)), sum)
		default:
			var ok bool
			if item, ok = appendItem(buf[:0], filter, n); !ok {
				return 0, false
			}
		}
		if i == 0 {
			item = append(item, byte(use))
		}
		nodes[i] = maphash.Bytes(f.seed, item)
	}
	return nodes[0], true
}

// siblings adds up the hashes of the children of a node, each once.
func siblings(nodes []uint64, filter *ldap.Filter, parent int) (sum uint64, ok bool) {
	var seen [maxSiblings]uint64
	n := 0
next:
	for c := filter.Nodes[parent].First; c != ldap.None; c = filter.Nodes[c].Next {
		if int(c) <= parent || int(c) >= len(nodes) {
			return 0, false
		}
		h := nodes[c]
		for _, s := range seen[:n] {
			if s == h {
				continue next
			}
		}
		if n == len(seen) {
			return 0, false
		}
		seen[n] = h
		n++
		sum += h
	}
	return sum, true
}

// appendItem appends what of an item belongs to its shape. Lengths keep the parts apart.
func appendItem(b []byte, filter *ldap.Filter, n *ldap.FilterNode) ([]byte, bool) {
	subs := int(n.SubHi - n.SubLo)
	if len(n.Attr)+len(n.Rule)+subs+8 > maxItem {
		return nil, false
	}
	b = append(b, byte(n.Op), byte(len(n.Attr)))
	start := len(b)
	b = appendLower(b, n.Attr)
	if n.Op == ldap.FilterEquality && isObjectClass(b[start:]) {
		if len(b)+len(n.Value)+1 > maxItem {
			return nil, false
		}
		return appendLower(b, n.Value), true
	}
	for _, s := range filter.Subs[n.SubLo:n.SubHi] {
		b = append(b, byte(s.Kind))
	}
	if n.DNAttrs {
		b = append(b, 'd')
	}
	if n.Op == ldap.FilterExtensible {
		b = appendLower(append(b, byte(len(n.Rule))), n.Rule)
	}
	return b, true
}

// isObjectClass knows the names of objectClass, in lower case.
func isObjectClass(name []byte) bool {
	return string(name) == "objectclass" || string(name) == "2.5.4.0"
}

func appendLower(b, text []byte) []byte {
	for _, c := range text {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		b = append(b, c)
	}
	return b
}
