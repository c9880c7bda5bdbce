package ldap

import "portolan/ber"

// Append appends the message as one LDAPMessage. Op must not be nil.
func (m *Message) Append(dst []byte) []byte {
	return AppendMessage(dst, m.ID, m.Op, m.Controls)
}

// AppendMessage appends one LDAPMessage of these parts (RFC 4511 section 4.1.1).
func AppendMessage(dst []byte, id int32, op Op, controls []Control) []byte {
	dst, mark := ber.Begin(dst, ber.Sequence)
	dst = ber.AppendInt(dst, ber.Integer, int64(id))
	dst = op.appendOp(dst)
	dst = AppendControls(dst, controls)
	return ber.End(dst, mark)
}

// AppendOp appends a protocolOp without the message around it.
func AppendOp(dst []byte, op Op) []byte { return op.appendOp(dst) }

// AppendResult appends the LDAPMessage of a response that is nothing but a result: tag is one that ResponseTag returns.
// It saves the server a response value for the commonest answers.
func AppendResult(dst []byte, id int32, tag byte, r *Result, controls []Control) []byte {
	dst, mark := ber.Begin(dst, ber.Sequence)
	dst = ber.AppendInt(dst, ber.Integer, int64(id))
	dst = r.appendResponse(dst, tag)
	dst = AppendControls(dst, controls)
	return ber.End(dst, mark)
}

// AppendControls appends the controls element of an LDAPMessage, or nothing where there are none.
func AppendControls(dst []byte, controls []Control) []byte {
	if len(controls) == 0 {
		return dst
	}
	dst, mark := ber.Begin(dst, tagControls)
	for i := range controls {
		dst = controls[i].Append(dst)
	}
	return ber.End(dst, mark)
}

// Append appends the control as one Control element (RFC 4511 section 4.1.11).
func (c *Control) Append(dst []byte) []byte {
	dst, mark := ber.Begin(dst, ber.Sequence)
	dst = ber.AppendBytes(dst, ber.OctetString, c.OID)
	if c.Critical {
		dst = ber.AppendBool(dst, ber.Boolean, true)
	}
	if c.HasValue {
		dst = ber.AppendBytes(dst, ber.OctetString, c.Value)
	}
	return ber.End(dst, mark)
}

// Append appends the attribute as one PartialAttribute (RFC 4511 section 4.1.7).
func (a *Attribute) Append(dst []byte) []byte {
	size := 0
	for _, v := range a.Values {
		size += ber.HeaderSize(len(v)) + len(v)
	}
	dst = ber.AppendHeader(dst, ber.Sequence, ber.HeaderSize(len(a.Type))+len(a.Type)+ber.HeaderSize(size)+size)
	dst = ber.AppendBytes(dst, ber.OctetString, a.Type)
	dst = ber.AppendHeader(dst, ber.Set, size)
	for _, v := range a.Values {
		dst = ber.AppendBytes(dst, ber.OctetString, v)
	}
	return dst
}

// AppendComponents appends the components of LDAPResult, without an element around them (RFC 4511 section 4.1.9).
func (r *Result) AppendComponents(dst []byte) []byte {
	dst = ber.AppendInt(dst, ber.Enumerated, int64(r.Code))
	dst = ber.AppendString(dst, ber.OctetString, r.MatchedDN)
	dst = ber.AppendString(dst, ber.OctetString, r.Diagnostic)
	if len(r.Referrals) > 0 {
		var mark int
		dst, mark = ber.Begin(dst, tagReferral)
		for _, uri := range r.Referrals {
			dst = ber.AppendString(dst, ber.OctetString, uri)
		}
		dst = ber.End(dst, mark)
	}
	return dst
}

func (r *Result) appendResponse(dst []byte, tag byte) []byte {
	dst, mark := ber.Begin(dst, tag)
	return ber.End(r.AppendComponents(dst), mark)
}

func appendAttributes(dst []byte, attrs []Attribute) []byte {
	dst, mark := ber.Begin(dst, ber.Sequence)
	for i := range attrs {
		dst = attrs[i].Append(dst)
	}
	return ber.End(dst, mark)
}

func (q *BindRequest) appendOp(dst []byte) []byte {
	dst, mark := ber.Begin(dst, TagBindRequest)
	dst = ber.AppendInt(dst, ber.Integer, int64(q.Version))
	dst = ber.AppendBytes(dst, ber.OctetString, q.Name)
	switch q.Auth {
	case AuthSimple:
		dst = ber.AppendBytes(dst, tagSimple, q.Password)
	case AuthSASL:
		var sasl int
		dst, sasl = ber.Begin(dst, tagSASL)
		dst = ber.AppendBytes(dst, ber.OctetString, q.Mechanism)
		if q.HasCreds {
			dst = ber.AppendBytes(dst, ber.OctetString, q.Credentials)
		}
		dst = ber.End(dst, sasl)
	default:
		// [1] and [2] are reserved (RFC 4511 section 4.2): what stood there is not kept, only that it was unknown.
		dst = ber.AppendBytes(dst, ber.ContextSpecific|1, nil)
	}
	return ber.End(dst, mark)
}

func (p *BindResponse) appendOp(dst []byte) []byte {
	dst, mark := ber.Begin(dst, TagBindResponse)
	dst = p.AppendComponents(dst)
	if p.HasServerCreds {
		dst = ber.AppendBytes(dst, tagServerCreds, p.ServerCreds)
	}
	return ber.End(dst, mark)
}

func (*UnbindRequest) appendOp(dst []byte) []byte { return ber.AppendHeader(dst, TagUnbindRequest, 0) }

func (q *SearchRequest) appendOp(dst []byte) []byte {
	dst, mark := ber.Begin(dst, TagSearchRequest)
	dst = ber.AppendBytes(dst, ber.OctetString, q.Base)
	dst = ber.AppendInt(dst, ber.Enumerated, int64(q.Scope))
	dst = ber.AppendInt(dst, ber.Enumerated, int64(q.Deref))
	dst = ber.AppendInt(dst, ber.Integer, int64(q.SizeLimit))
	dst = ber.AppendInt(dst, ber.Integer, int64(q.TimeLimit))
	dst = ber.AppendBool(dst, ber.Boolean, q.TypesOnly)
	dst = q.Filter.AppendBER(dst)
	dst, list := ber.Begin(dst, ber.Sequence)
	for _, a := range q.Attributes {
		dst = ber.AppendBytes(dst, ber.OctetString, a)
	}
	return ber.End(ber.End(dst, list), mark)
}

func (p *SearchResultEntry) appendOp(dst []byte) []byte {
	dst, mark := ber.Begin(dst, TagSearchResultEntry)
	dst = ber.AppendBytes(dst, ber.OctetString, p.Name)
	return ber.End(appendAttributes(dst, p.Attributes), mark)
}

func (p *SearchResultReference) appendOp(dst []byte) []byte {
	dst, mark := ber.Begin(dst, TagSearchResultReference)
	for _, uri := range p.URIs {
		dst = ber.AppendString(dst, ber.OctetString, uri)
	}
	return ber.End(dst, mark)
}

func (q *ModifyRequest) appendOp(dst []byte) []byte {
	dst, mark := ber.Begin(dst, TagModifyRequest)
	dst = ber.AppendBytes(dst, ber.OctetString, q.Object)
	dst, list := ber.Begin(dst, ber.Sequence)
	for i := range q.Changes {
		var change int
		dst, change = ber.Begin(dst, ber.Sequence)
		dst = ber.AppendInt(dst, ber.Enumerated, int64(q.Changes[i].Op))
		dst = ber.End(q.Changes[i].Attribute.Append(dst), change)
	}
	return ber.End(ber.End(dst, list), mark)
}

func (q *AddRequest) appendOp(dst []byte) []byte {
	dst, mark := ber.Begin(dst, TagAddRequest)
	dst = ber.AppendBytes(dst, ber.OctetString, q.Entry)
	return ber.End(appendAttributes(dst, q.Attributes), mark)
}

func (q *DelRequest) appendOp(dst []byte) []byte { return ber.AppendBytes(dst, TagDelRequest, q.Entry) }

func (q *ModifyDNRequest) appendOp(dst []byte) []byte {
	dst, mark := ber.Begin(dst, TagModifyDNRequest)
	dst = ber.AppendBytes(dst, ber.OctetString, q.Entry)
	dst = ber.AppendBytes(dst, ber.OctetString, q.NewRDN)
	dst = ber.AppendBool(dst, ber.Boolean, q.DeleteOldRDN)
	if q.HasNewSuperior {
		dst = ber.AppendBytes(dst, tagNewSuperior, q.NewSuperior)
	}
	return ber.End(dst, mark)
}

func (q *CompareRequest) appendOp(dst []byte) []byte {
	dst, mark := ber.Begin(dst, TagCompareRequest)
	dst = ber.AppendBytes(dst, ber.OctetString, q.Entry)
	dst, ava := ber.Begin(dst, ber.Sequence)
	dst = ber.AppendBytes(dst, ber.OctetString, q.Attr)
	dst = ber.AppendBytes(dst, ber.OctetString, q.Value)
	return ber.End(ber.End(dst, ava), mark)
}

func (q *AbandonRequest) appendOp(dst []byte) []byte {
	return ber.AppendInt(dst, TagAbandonRequest, int64(q.ID))
}

func (q *ExtendedRequest) appendOp(dst []byte) []byte {
	dst, mark := ber.Begin(dst, TagExtendedRequest)
	dst = ber.AppendBytes(dst, tagReqName, q.Name)
	if q.HasValue {
		dst = ber.AppendBytes(dst, tagReqValue, q.Value)
	}
	return ber.End(dst, mark)
}

func (p *ExtendedResponse) appendOp(dst []byte) []byte {
	dst, mark := ber.Begin(dst, TagExtendedResponse)
	dst = p.AppendComponents(dst)
	if p.Name != "" {
		dst = ber.AppendString(dst, tagRespName, p.Name)
	}
	if p.HasValue {
		dst = ber.AppendBytes(dst, tagRespValue, p.Value)
	}
	return ber.End(dst, mark)
}

func (p *IntermediateResponse) appendOp(dst []byte) []byte {
	dst, mark := ber.Begin(dst, TagIntermediateResponse)
	if p.Name != "" {
		dst = ber.AppendString(dst, tagReqName, p.Name)
	}
	if p.HasValue {
		dst = ber.AppendBytes(dst, tagReqValue, p.Value)
	}
	return ber.End(dst, mark)
}

func (p *SearchResultDone) appendOp(dst []byte) []byte {
	return p.appendResponse(dst, TagSearchResultDone)
}
func (p *ModifyResponse) appendOp(dst []byte) []byte { return p.appendResponse(dst, TagModifyResponse) }
func (p *AddResponse) appendOp(dst []byte) []byte    { return p.appendResponse(dst, TagAddResponse) }
func (p *DelResponse) appendOp(dst []byte) []byte    { return p.appendResponse(dst, TagDelResponse) }
func (p *ModifyDNResponse) appendOp(dst []byte) []byte {
	return p.appendResponse(dst, TagModifyDNResponse)
}
func (p *CompareResponse) appendOp(dst []byte) []byte {
	return p.appendResponse(dst, TagCompareResponse)
}
