package ldap

import "portolan/ber"

// Identifier octets of the Filter choices that are constructed, and of the components of MatchingRuleAssertion.
const (
	constructedChoice = ber.ContextSpecific | ber.Constructed

	tagAnd        = constructedChoice | byte(FilterAnd)
	tagOr         = constructedChoice | byte(FilterOr)
	tagNot        = constructedChoice | byte(FilterNot)
	tagEquality   = constructedChoice | byte(FilterEquality)
	tagSubstrings = constructedChoice | byte(FilterSubstrings)
	tagGreater    = constructedChoice | byte(FilterGreaterOrEqual)
	tagLess       = constructedChoice | byte(FilterLessOrEqual)
	tagPresent    = ber.ContextSpecific | byte(FilterPresent)
	tagApprox     = constructedChoice | byte(FilterApprox)
	tagExtensible = constructedChoice | byte(FilterExtensible)

	tagRule    = 0x81
	tagType    = 0x82
	tagValue   = 0x83
	tagDNAttrs = 0x84
)

// DecodeFilter reads one Filter (RFC 4511 section 4.5.1.7) from r into f, whose storage it uses again. Octets alias the
// input of r. The error is an *Error with protocolError; f is then empty. Controls that carry a filter use it (RFC 4528,
// RFC 3876).
func DecodeFilter(r *ber.Reader, f *Filter) error {
	if err := decodeFilter(r, f); err != nil {
		return err
	}
	return nil
}

func decodeFilter(r *ber.Reader, f *Filter) *Error {
	f.Nodes, f.Subs = f.Nodes[:0], f.Subs[:0]
	if _, err := f.decode(r, 1); err != nil {
		f.Nodes, f.Subs = f.Nodes[:0], f.Subs[:0]
		return err
	}
	return nil
}

func filterTooDeep() *Error {
	return Errorf(ProtocolError, "filter: nested more than %d levels deep", MaxFilterDepth)
}

func filterTooLong() *Error {
	return Errorf(ProtocolError, "filter: more than %d parts", MaxFilterNodes)
}

// add appends a node and returns its index; false at the limit. Pieces of substrings count like nodes.
func (f *Filter) add(n FilterNode) (int32, bool) {
	if len(f.Nodes)+len(f.Subs) >= MaxFilterNodes {
		return None, false
	}
	f.Nodes = append(f.Nodes, n)
	return int32(len(f.Nodes) - 1), true
}

// decode recurses at most MaxFilterDepth deep.
func (f *Filter) decode(r *ber.Reader, depth int) (int32, *Error) {
	if depth > MaxFilterDepth {
		return None, filterTooDeep()
	}
	var tag byte
	var body ber.Reader
	if !r.Any(&tag, &body) {
		return None, malformed("filter", "is missing, or its length goes past what it is part of")
	}
	at, ok := f.add(FilterNode{Op: FilterOp(tag & ber.NumberMask), First: None, Next: None})
	if !ok {
		return None, filterTooLong()
	}
	n := &f.Nodes[at]
	switch tag {
	case tagAnd, tagOr:
		return at, f.decodeChildren(at, body, depth)
	case tagNot:
		child, err := f.decode(&body, depth+1)
		if err != nil {
			return None, err
		}
		if !body.Empty() {
			return None, malformed("filter.not", "has more than one filter in it")
		}
		f.Nodes[at].First = child
	case tagEquality, tagGreater, tagLess, tagApprox:
		if !body.Bytes(ber.OctetString, &n.Attr) {
			return None, malformed("filter: attributeDesc", "is not an OCTET STRING")
		}
		if !body.Bytes(ber.OctetString, &n.Value) || !rest(body) {
			return None, malformed("filter: assertionValue", "is not an OCTET STRING")
		}
	case tagPresent:
		n.Attr = body
	case tagSubstrings:
		return at, f.decodeSubstrings(n, body)
	case tagExtensible:
		return at, n.decodeExtensible(body)
	default:
		return None, Errorf(ProtocolError, "malformed message: filter has the identifier 0x%02x, which no filter choice has", tag)
	}
	return at, nil
}

func (f *Filter) decodeChildren(parent int32, body ber.Reader, depth int) *Error {
	last := None
	for !body.Empty() {
		child, err := f.decode(&body, depth+1)
		if err != nil {
			return err
		}
		if last == None {
			f.Nodes[parent].First = child
		} else {
			f.Nodes[last].Next = child
		}
		last = child
	}
	return nil
}

// decodeSubstrings refuses what RFC 4511 section 4.5.1.7.2 does: no piece at all, initial elsewhere than first, final
// elsewhere than last, and an empty piece, which would match anything.
func (f *Filter) decodeSubstrings(n *FilterNode, body ber.Reader) *Error {
	var list ber.Reader
	if !body.Bytes(ber.OctetString, &n.Attr) {
		return malformed("filter.substrings.type", "is not an OCTET STRING")
	}
	if !body.Element(ber.Sequence, &list) || !rest(body) {
		return malformed("filter.substrings.substrings", "is not a SEQUENCE")
	}
	n.SubLo = int32(len(f.Subs))
	for !list.Empty() {
		var tag byte
		var piece ber.Reader
		if !list.Any(&tag, &piece) || tag < ber.ContextSpecific|byte(SubInitial) || tag > ber.ContextSpecific|byte(SubFinal) {
			return malformed("filter.substrings.substrings", "has an element that is not initial, any or final")
		}
		kind := SubKind(tag & ber.NumberMask)
		switch {
		case len(piece) == 0:
			return malformed("filter.substrings.substrings", "has an empty piece")
		case kind == SubInitial && int(n.SubLo) != len(f.Subs):
			return malformed("filter.substrings.substrings", "has an initial piece that is not the first")
		case kind == SubFinal && !list.Empty():
			return malformed("filter.substrings.substrings", "has a final piece that is not the last")
		case len(f.Nodes)+len(f.Subs) >= MaxFilterNodes:
			return filterTooLong()
		}
		f.Subs = append(f.Subs, Substring{Kind: kind, Value: piece})
	}
	n.SubHi = int32(len(f.Subs))
	if n.SubLo == n.SubHi {
		return malformed("filter.substrings.substrings", "has no pieces")
	}
	return nil
}

func (n *FilterNode) decodeExtensible(body ber.Reader) *Error {
	var present bool
	if !body.OptionalBytes(tagRule, &n.Rule, &present) {
		return malformed("filter.extensibleMatch.matchingRule", "goes past the filter")
	}
	if !body.OptionalBytes(tagType, &n.Attr, &present) {
		return malformed("filter.extensibleMatch.type", "goes past the filter")
	}
	if !body.Bytes(tagValue, &n.Value) {
		return malformed("filter.extensibleMatch.matchValue", "is missing or malformed")
	}
	if body.PeekIs(tagDNAttrs) && !body.Bool(tagDNAttrs, &n.DNAttrs) {
		return malformed("filter.extensibleMatch.dnAttributes", "is not a BOOLEAN")
	}
	if !rest(body) {
		return malformed("filter.extensibleMatch", "has malformed elements at its end")
	}
	if len(n.Rule) == 0 && len(n.Attr) == 0 {
		return malformed("filter.extensibleMatch", "has neither a matching rule nor an attribute type")
	}
	return nil
}

// AppendBER appends the filter as BER. A Filter without nodes appends an Or without children, which matches nothing.
func (f *Filter) AppendBER(dst []byte) []byte {
	if len(f.Nodes) == 0 {
		return append(dst, tagOr, 0)
	}
	return f.appendNode(dst, 0)
}

func (f *Filter) appendNode(dst []byte, at int32) []byte {
	n := &f.Nodes[at]
	if n.Op == FilterPresent {
		return ber.AppendBytes(dst, tagPresent, n.Attr)
	}
	dst, mark := ber.Begin(dst, constructedChoice|byte(n.Op))
	switch n.Op {
	case FilterAnd, FilterOr, FilterNot:
		for c := n.First; c != None; c = f.Nodes[c].Next {
			dst = f.appendNode(dst, c)
		}
	case FilterSubstrings:
		dst = ber.AppendBytes(dst, ber.OctetString, n.Attr)
		var list int
		dst, list = ber.Begin(dst, ber.Sequence)
		for _, s := range f.Subs[n.SubLo:n.SubHi] {
			dst = ber.AppendBytes(dst, ber.ContextSpecific|byte(s.Kind), s.Value)
		}
		dst = ber.End(dst, list)
	case FilterExtensible:
		if len(n.Rule) > 0 {
			dst = ber.AppendBytes(dst, tagRule, n.Rule)
		}
		if len(n.Attr) > 0 {
			dst = ber.AppendBytes(dst, tagType, n.Attr)
		}
		dst = ber.AppendBytes(dst, tagValue, n.Value)
		if n.DNAttrs {
			dst = ber.AppendBool(dst, tagDNAttrs, true)
		}
	default:
		dst = ber.AppendBytes(dst, ber.OctetString, n.Attr)
		dst = ber.AppendBytes(dst, ber.OctetString, n.Value)
	}
	return ber.End(dst, mark)
}
