package ldap

import "portolan/ber"

func (d *Decoder) decodeBind(r ber.Reader) *Error {
	q := &d.bind
	*q = BindRequest{}
	if !r.Int32(ber.Integer, 1, 127, &q.Version) {
		return malformed("bindRequest.version", "is not an INTEGER of 1 to 127")
	}
	if !r.Bytes(ber.OctetString, &q.Name) {
		return malformed("bindRequest.name", "is not an OCTET STRING")
	}
	var tag byte
	var auth ber.Reader
	if !r.Any(&tag, &auth) || tag&ber.ClassMask != ber.ContextSpecific {
		return malformed("bindRequest.authentication", "is not an AuthenticationChoice")
	}
	switch tag {
	case tagSimple:
		q.Auth, q.Password = AuthSimple, auth
	case tagSASL:
		q.Auth = AuthSASL
		if !auth.Bytes(ber.OctetString, &q.Mechanism) {
			return malformed("bindRequest.authentication.sasl.mechanism", "is not an OCTET STRING")
		}
		if !auth.OptionalBytes(ber.OctetString, &q.Credentials, &q.HasCreds) || !rest(auth) {
			return malformed("bindRequest.authentication.sasl.credentials", "is not an OCTET STRING")
		}
	case tagSimple | ber.Constructed, tagSASL &^ ber.Constructed:
		return malformed("bindRequest.authentication", "is primitive where it must be constructed, or the reverse")
	default:
		q.Auth = AuthUnknown
	}
	return end("bindRequest", r)
}

func (d *Decoder) decodeSearch(r ber.Reader) *Error {
	q := &d.search
	*q = SearchRequest{}
	var scope, deref int32
	if !r.Bytes(ber.OctetString, &q.Base) {
		return malformed("searchRequest.baseObject", "is not an OCTET STRING")
	}
	if !r.Int32(ber.Enumerated, int32(ScopeBase), int32(ScopeSubordinate), &scope) {
		return malformed("searchRequest.scope", "is not an ENUMERATED of baseObject(0), singleLevel(1), wholeSubtree(2) or subordinateSubtree(3)")
	}
	if !r.Int32(ber.Enumerated, int32(DerefNever), int32(DerefAlways), &deref) {
		return malformed("searchRequest.derefAliases", "is not an ENUMERATED of 0 to 3")
	}
	if !r.Int32(ber.Integer, 0, MaxMessageID, &q.SizeLimit) {
		return malformed("searchRequest.sizeLimit", "is not an INTEGER of 0 to 2147483647")
	}
	if !r.Int32(ber.Integer, 0, MaxMessageID, &q.TimeLimit) {
		return malformed("searchRequest.timeLimit", "is not an INTEGER of 0 to 2147483647")
	}
	if !r.Bool(ber.Boolean, &q.TypesOnly) {
		return malformed("searchRequest.typesOnly", "is not a BOOLEAN")
	}
	q.Scope, q.Deref = Scope(scope), Deref(deref)
	q.Filter = Filter{Nodes: d.nodes[:0], Subs: d.subs[:0]}
	if err := decodeFilter(&r, &q.Filter); err != nil {
		return err
	}
	d.nodes, d.subs = q.Filter.Nodes, q.Filter.Subs
	var list ber.Reader
	if !r.Element(ber.Sequence, &list) {
		return malformed("searchRequest.attributes", "is not a SEQUENCE")
	}
	wanted := d.wanted[:0]
	for !list.Empty() {
		var name []byte
		if !list.Bytes(ber.OctetString, &name) {
			return malformed("searchRequest.attributes", "has an element that is not an OCTET STRING")
		}
		wanted = append(wanted, name)
	}
	d.wanted, q.Attributes = wanted, wanted
	return end("searchRequest", r)
}

func (d *Decoder) decodeModify(r ber.Reader) *Error {
	q := &d.modify
	*q = ModifyRequest{}
	if !r.Bytes(ber.OctetString, &q.Object) {
		return malformed("modifyRequest.object", "is not an OCTET STRING")
	}
	var list, item ber.Reader
	if !r.Element(ber.Sequence, &list) {
		return malformed("modifyRequest.changes", "is not a SEQUENCE")
	}
	changes := d.changes[:0]
	d.values = d.values[:0]
	for !list.Empty() {
		var op int32
		if !list.Element(ber.Sequence, &item) {
			return malformed("modifyRequest.changes", "has an element that is not a SEQUENCE")
		}
		if !item.Int32(ber.Enumerated, 0, MaxMessageID, &op) {
			return malformed("modifyRequest.changes.operation", "is not an ENUMERATED")
		}
		m := Mod{Op: ModOp(op)}
		if err := d.attribute("modifyRequest.changes.modification", &item, &m.Attribute); err != nil {
			return err
		}
		if !rest(item) {
			return malformed("modifyRequest.changes", "has malformed elements at the end of a change")
		}
		changes = append(changes, m)
	}
	d.changes, q.Changes = changes, changes
	return end("modifyRequest", r)
}

func (d *Decoder) decodeAdd(r ber.Reader) *Error {
	q := &d.add
	*q = AddRequest{}
	if !r.Bytes(ber.OctetString, &q.Entry) {
		return malformed("addRequest.entry", "is not an OCTET STRING")
	}
	if err := d.attributes("addRequest.attributes", &r); err != nil {
		return err
	}
	q.Attributes = d.attrs
	return end("addRequest", r)
}

// attributes decodes a SEQUENCE OF attributes into d.attrs.
func (d *Decoder) attributes(field string, r *ber.Reader) *Error {
	var list ber.Reader
	if !r.Element(ber.Sequence, &list) {
		return malformed(field, "is not a SEQUENCE")
	}
	attrs := d.attrs[:0]
	d.values = d.values[:0]
	for !list.Empty() {
		var a Attribute
		if err := d.attribute(field, &list, &a); err != nil {
			return err
		}
		attrs = append(attrs, a)
	}
	d.attrs = attrs
	return nil
}

// attribute decodes one PartialAttribute. Where d.values has to grow, the attributes decoded before keep the old array.
func (d *Decoder) attribute(field string, r *ber.Reader, a *Attribute) *Error {
	var seq, set ber.Reader
	if !r.Element(ber.Sequence, &seq) {
		return malformed(field, "has an attribute that is not a SEQUENCE")
	}
	if !seq.Bytes(ber.OctetString, &a.Type) {
		return malformed(field, "has an attribute whose type is not an OCTET STRING")
	}
	if !seq.Element(ber.Set, &set) {
		return malformed(field, "has an attribute whose vals is not a SET")
	}
	values := d.values
	first := len(values)
	for !set.Empty() {
		var v []byte
		if !set.Bytes(ber.OctetString, &v) {
			return malformed(field, "has a value that is not an OCTET STRING")
		}
		values = append(values, v)
	}
	d.values = values
	a.Values = values[first:len(values):len(values)]
	if !rest(seq) {
		return malformed(field, "has malformed elements at the end of an attribute")
	}
	return nil
}

func (d *Decoder) decodeModifyDN(r ber.Reader) *Error {
	q := &d.modifyDN
	*q = ModifyDNRequest{}
	if !r.Bytes(ber.OctetString, &q.Entry) {
		return malformed("modDNRequest.entry", "is not an OCTET STRING")
	}
	if !r.Bytes(ber.OctetString, &q.NewRDN) {
		return malformed("modDNRequest.newrdn", "is not an OCTET STRING")
	}
	if !r.Bool(ber.Boolean, &q.DeleteOldRDN) {
		return malformed("modDNRequest.deleteoldrdn", "is not a BOOLEAN")
	}
	if !r.OptionalBytes(tagNewSuperior, &q.NewSuperior, &q.HasNewSuperior) {
		return malformed("modDNRequest.newSuperior", "goes past the request")
	}
	return end("modDNRequest", r)
}

func (d *Decoder) decodeCompare(r ber.Reader) *Error {
	q := &d.compare
	*q = CompareRequest{}
	var ava ber.Reader
	if !r.Bytes(ber.OctetString, &q.Entry) {
		return malformed("compareRequest.entry", "is not an OCTET STRING")
	}
	if !r.Element(ber.Sequence, &ava) {
		return malformed("compareRequest.ava", "is not a SEQUENCE")
	}
	if !ava.Bytes(ber.OctetString, &q.Attr) {
		return malformed("compareRequest.ava.attributeDesc", "is not an OCTET STRING")
	}
	if !ava.Bytes(ber.OctetString, &q.Value) || !rest(ava) {
		return malformed("compareRequest.ava.assertionValue", "is not an OCTET STRING")
	}
	return end("compareRequest", r)
}

func (d *Decoder) decodeAbandon(body ber.Reader) *Error {
	if len(body) == 0 || len(body) > 8 {
		return malformed("abandonRequest", "is not a MessageID")
	}
	v := int64(int8(body[0]))
	for _, b := range body[1:] {
		v = v<<8 | int64(b)
	}
	if v < 0 || v > MaxMessageID {
		return malformed("abandonRequest", "is not a MessageID of 0 to 2147483647")
	}
	d.abandon.ID = int32(v)
	return nil
}

func (d *Decoder) decodeExtended(r ber.Reader) *Error {
	q := &d.extended
	*q = ExtendedRequest{}
	if !r.Bytes(tagReqName, &q.Name) {
		return malformed("extendedReq.requestName", "is not an OCTET STRING under [0]")
	}
	if !r.OptionalBytes(tagReqValue, &q.Value, &q.HasValue) {
		return malformed("extendedReq.requestValue", "goes past the request")
	}
	return end("extendedReq", r)
}

// end passes over what a later revision of the protocol may have put at the end of an operation.
func end(field string, r ber.Reader) *Error {
	if !rest(r) {
		return malformed(field, "has malformed elements at its end")
	}
	return nil
}
