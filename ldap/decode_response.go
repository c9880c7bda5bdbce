package ldap

import "portolan/ber"

// decodeResult reads the components of LDAPResult (RFC 4511 section 4.1.9), which other components may follow.
func decodeResult(field string, r *ber.Reader, res *Result) *Error {
	var code int32
	var matched, diagnostic []byte
	if !r.Int32(ber.Enumerated, 0, MaxMessageID, &code) {
		return malformed(field, "has a resultCode that is not an ENUMERATED")
	}
	if !r.Bytes(ber.OctetString, &matched) {
		return malformed(field, "has a matchedDN that is not an OCTET STRING")
	}
	if !r.Bytes(ber.OctetString, &diagnostic) {
		return malformed(field, "has a diagnosticMessage that is not an OCTET STRING")
	}
	*res = Result{Code: ResultCode(code), MatchedDN: string(matched), Diagnostic: string(diagnostic)}
	if r.PeekIs(tagReferral) {
		var list ber.Reader
		if !r.Element(tagReferral, &list) {
			return malformed(field, "has a referral that goes past the response")
		}
		uris, ok := decodeURIs(list)
		if !ok {
			return malformed(field, "has a referral with an element that is not an OCTET STRING")
		}
		res.Referrals = uris
	}
	return nil
}

func decodeURIs(r ber.Reader) ([]string, bool) {
	var uris []string
	for !r.Empty() {
		var uri []byte
		if !r.Bytes(ber.OctetString, &uri) {
			return nil, false
		}
		uris = append(uris, string(uri))
	}
	return uris, true
}

func decodeResponse(field string, r ber.Reader, res *Result) *Error {
	*res = Result{}
	if err := decodeResult(field, &r, res); err != nil {
		return err
	}
	return end(field, r)
}

func (d *Decoder) decodeBindResponse(r ber.Reader) *Error {
	p := &d.bindResponse
	*p = BindResponse{}
	if err := decodeResult("bindResponse", &r, &p.Result); err != nil {
		return err
	}
	if !r.OptionalBytes(tagServerCreds, &p.ServerCreds, &p.HasServerCreds) {
		return malformed("bindResponse.serverSaslCreds", "goes past the response")
	}
	return end("bindResponse", r)
}

func (d *Decoder) decodeEntry(r ber.Reader) *Error {
	p := &d.entry
	*p = SearchResultEntry{}
	if !r.Bytes(ber.OctetString, &p.Name) {
		return malformed("searchResEntry.objectName", "is not an OCTET STRING")
	}
	if err := d.attributes("searchResEntry.attributes", &r); err != nil {
		return err
	}
	p.Attributes = d.attrs
	return end("searchResEntry", r)
}

func (d *Decoder) decodeReference(r ber.Reader) *Error {
	uris, ok := decodeURIs(r)
	if !ok {
		return malformed("searchResRef", "has an element that is not an OCTET STRING")
	}
	d.reference.URIs = uris
	return nil
}

func (d *Decoder) decodeExtendedResponse(r ber.Reader) *Error {
	p := &d.extResponse
	*p = ExtendedResponse{}
	if err := decodeResult("extendedResp", &r, &p.Result); err != nil {
		return err
	}
	var name []byte
	var named bool
	if !r.OptionalBytes(tagRespName, &name, &named) {
		return malformed("extendedResp.responseName", "goes past the response")
	}
	if !r.OptionalBytes(tagRespValue, &p.Value, &p.HasValue) {
		return malformed("extendedResp.responseValue", "goes past the response")
	}
	p.Name = string(name)
	return end("extendedResp", r)
}

func (d *Decoder) decodeIntermediate(r ber.Reader) *Error {
	p := &d.intermediate
	*p = IntermediateResponse{}
	var name []byte
	var named bool
	if !r.OptionalBytes(tagReqName, &name, &named) {
		return malformed("intermediateResponse.responseName", "goes past the response")
	}
	if !r.OptionalBytes(tagReqValue, &p.Value, &p.HasValue) {
		return malformed("intermediateResponse.responseValue", "goes past the response")
	}
	p.Name = string(name)
	return end("intermediateResponse", r)
}
