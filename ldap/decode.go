package ldap

import "portolan/ber"

// MaxControls is how many controls one message may carry.
const MaxControls = 64

// keptElements is how many elements of each kind a Decoder keeps room for across Reset.
const keptElements = 1024

// Decoder decodes one message at a time into storage of its own, which the next Decode uses again: in the steady state
// a request costs no allocation. What Decode returned is valid until the next Decode or Reset of the same Decoder, and
// no longer than the frame. The zero Decoder is ready; it is for one goroutine at a time.
type Decoder struct {
	bind         BindRequest
	bindResponse BindResponse
	unbind       UnbindRequest
	search       SearchRequest
	entry        SearchResultEntry
	reference    SearchResultReference
	done         SearchResultDone
	modify       ModifyRequest
	modified     ModifyResponse
	add          AddRequest
	added        AddResponse
	del          DelRequest
	deleted      DelResponse
	modifyDN     ModifyDNRequest
	renamed      ModifyDNResponse
	compare      CompareRequest
	compared     CompareResponse
	abandon      AbandonRequest
	extended     ExtendedRequest
	extResponse  ExtendedResponse
	intermediate IntermediateResponse

	controls []Control
	attrs    []Attribute // of an add request or a search result entry
	changes  []Mod
	values   [][]byte // of all attributes of the message; Attribute.Values are parts of it
	wanted   [][]byte // SearchRequest.Attributes
	nodes    []FilterNode
	subs     []Substring

	tag byte // of the last operation
}

// Reset forgets the last message, so that nothing of its frame is held, and drops storage that an unusually large
// message has grown. Call it when the message has been dealt with and the frame is about to be reused or let go.
func (d *Decoder) Reset() {
	d.controls = emptied(d.controls)
	d.attrs = emptied(d.attrs)
	d.changes = emptied(d.changes)
	d.values = emptied(d.values)
	d.wanted = emptied(d.wanted)
	d.nodes = emptied(d.nodes)
	d.subs = emptied(d.subs)
	d.clearOp()
}

// clearOp clears the last operation; no other holds anything.
func (d *Decoder) clearOp() {
	switch d.tag {
	case TagBindRequest:
		d.bind = BindRequest{}
	case TagSearchRequest:
		d.search = SearchRequest{}
	case TagModifyRequest:
		d.modify = ModifyRequest{}
	case TagAddRequest:
		d.add = AddRequest{}
	case TagDelRequest:
		d.del = DelRequest{}
	case TagModifyDNRequest:
		d.modifyDN = ModifyDNRequest{}
	case TagCompareRequest:
		d.compare = CompareRequest{}
	case TagExtendedRequest:
		d.extended = ExtendedRequest{}
	case TagSearchResultEntry:
		d.entry = SearchResultEntry{}
	case TagBindResponse:
		d.bindResponse = BindResponse{}
	case TagExtendedResponse:
		d.extResponse = ExtendedResponse{}
	case TagIntermediateResponse:
		d.intermediate = IntermediateResponse{}
	}
}

func emptied[T any](s []T) []T {
	if cap(s) > keptElements {
		return nil
	}
	clear(s)
	return s[:0]
}

// Decode decodes one frame with storage of its own; see Decoder.Decode.
func Decode(frame []byte) (Message, error) { return new(Decoder).Decode(frame) }

// Decode decodes the one LDAPMessage that frame must consist of, request or response (RFC 4511 section 4.1.1).
//
// The error is an *Error with protocolError and a diagnostic that names the field. The message then has no Op, and the ID
// that the frame carries where that much could be read, otherwise 0. Unknown elements after the known ones of a SEQUENCE
// are passed over (RFC 4511 section 4: extensibility is implied throughout). Of values only the form is looked at, not
// whether a name, an OID or a modification is one that makes sense.
func (d *Decoder) Decode(frame []byte) (Message, error) {
	outer := ber.Reader(frame)
	var body ber.Reader
	if !outer.Element(ber.Sequence, &body) {
		return Message{}, malformed("LDAPMessage", "is not a SEQUENCE of definite length")
	}
	if !outer.Empty() {
		return Message{}, malformed("LDAPMessage", "has octets after its end")
	}
	var m Message
	if !body.Int32(ber.Integer, 0, MaxMessageID, &m.ID) {
		return Message{}, malformed("messageID", "is not an INTEGER of 0 to 2147483647")
	}
	var tag byte
	var content ber.Reader
	if !body.Any(&tag, &content) {
		return m, malformed("protocolOp", "is missing, or its length goes past the message")
	}
	if d.tag != tag {
		d.clearOp()
		d.tag = tag
	}
	op, err := d.op(tag, content)
	if err != nil {
		return m, err
	}
	if body.PeekIs(tagControls) {
		if err := d.decodeControls(&body); err != nil {
			return m, err
		}
		m.Controls = d.controls
	}
	for !body.Empty() {
		if !body.Any(&tag, &content) || tag == tagControls {
			return Message{ID: m.ID}, malformed("LDAPMessage", "has malformed elements after protocolOp and controls")
		}
	}
	m.Op = op
	return m, nil
}

// PeekRequest reads no more than the message ID and the identifier octet of the protocolOp, so that a request which does
// not decode can be answered with the right response. ok is false where those two cannot be read.
func PeekRequest(frame []byte) (id int32, tag byte, ok bool) {
	outer := ber.Reader(frame)
	var body ber.Reader
	if !outer.Element(ber.Sequence, &body) || !body.Int32(ber.Integer, 0, MaxMessageID, &id) {
		return 0, 0, false
	}
	tag, ok = body.Peek()
	return id, tag, ok
}

// ResponseTag returns the identifier octet of the response that ends the operation of this request; false for unbind,
// abandon and everything that is not a request.
func ResponseTag(requestTag byte) (tag byte, ok bool) {
	switch requestTag {
	case TagBindRequest:
		return TagBindResponse, true
	case TagSearchRequest:
		return TagSearchResultDone, true
	case TagModifyRequest:
		return TagModifyResponse, true
	case TagAddRequest:
		return TagAddResponse, true
	case TagDelRequest:
		return TagDelResponse, true
	case TagModifyDNRequest:
		return TagModifyDNResponse, true
	case TagCompareRequest:
		return TagCompareResponse, true
	case TagExtendedRequest:
		return TagExtendedResponse, true
	}
	return 0, false
}

// malformed is the error for a field that does not have the form of RFC 4511.
func malformed(field, what string) *Error {
	return Errorf(ProtocolError, "malformed message: %s %s", field, what)
}

// op decodes the contents of the protocolOp with this identifier octet.
func (d *Decoder) op(tag byte, r ber.Reader) (Op, error) {
	switch tag {
	case TagBindRequest:
		return opOrError(&d.bind, d.decodeBind(r))
	case TagUnbindRequest:
		if !r.Empty() {
			return nil, malformed("unbindRequest", "is not a NULL")
		}
		return &d.unbind, nil
	case TagSearchRequest:
		return opOrError(&d.search, d.decodeSearch(r))
	case TagModifyRequest:
		return opOrError(&d.modify, d.decodeModify(r))
	case TagAddRequest:
		return opOrError(&d.add, d.decodeAdd(r))
	case TagDelRequest:
		d.del.Entry = r
		return &d.del, nil
	case TagModifyDNRequest:
		return opOrError(&d.modifyDN, d.decodeModifyDN(r))
	case TagCompareRequest:
		return opOrError(&d.compare, d.decodeCompare(r))
	case TagAbandonRequest:
		return opOrError(&d.abandon, d.decodeAbandon(r))
	case TagExtendedRequest:
		return opOrError(&d.extended, d.decodeExtended(r))
	case TagBindResponse:
		return opOrError(&d.bindResponse, d.decodeBindResponse(r))
	case TagSearchResultEntry:
		return opOrError(&d.entry, d.decodeEntry(r))
	case TagSearchResultReference:
		return opOrError(&d.reference, d.decodeReference(r))
	case TagSearchResultDone:
		return opOrError(&d.done, decodeResponse("searchResultDone", r, &d.done.Result))
	case TagModifyResponse:
		return opOrError(&d.modified, decodeResponse("modifyResponse", r, &d.modified.Result))
	case TagAddResponse:
		return opOrError(&d.added, decodeResponse("addResponse", r, &d.added.Result))
	case TagDelResponse:
		return opOrError(&d.deleted, decodeResponse("delResponse", r, &d.deleted.Result))
	case TagModifyDNResponse:
		return opOrError(&d.renamed, decodeResponse("modDNResponse", r, &d.renamed.Result))
	case TagCompareResponse:
		return opOrError(&d.compared, decodeResponse("compareResponse", r, &d.compared.Result))
	case TagExtendedResponse:
		return opOrError(&d.extResponse, d.decodeExtendedResponse(r))
	case TagIntermediateResponse:
		return opOrError(&d.intermediate, d.decodeIntermediate(r))
	}
	return nil, Errorf(ProtocolError, "malformed message: protocolOp has the identifier 0x%02x, which no operation has", tag)
}

// opOrError keeps a typed nil error from becoming an error, and a failed operation from being returned.
func opOrError(op Op, err *Error) (Op, error) {
	if err != nil {
		return nil, err
	}
	return op, nil
}

// rest passes over what follows the known elements of a SEQUENCE; false where it is not BER.
func rest(r ber.Reader) bool {
	var tag byte
	var body ber.Reader
	for !r.Empty() {
		if !r.Any(&tag, &body) {
			return false
		}
	}
	return true
}

// Context-specific identifier octets.
const (
	tagControls    = 0xa0 // LDAPMessage
	tagReferral    = 0xa3 // LDAPResult
	tagSimple      = 0x80 // BindRequest
	tagSASL        = 0xa3 // BindRequest
	tagServerCreds = 0x87 // BindResponse
	tagNewSuperior = 0x80 // ModifyDNRequest
	tagReqName     = 0x80 // ExtendedRequest, IntermediateResponse
	tagReqValue    = 0x81 // ExtendedRequest, IntermediateResponse
	tagRespName    = 0x8a // ExtendedResponse
	tagRespValue   = 0x8b // ExtendedResponse
)

func (d *Decoder) decodeControls(r *ber.Reader) *Error {
	var list ber.Reader
	if !r.Element(tagControls, &list) {
		return malformed("controls", "goes past the message")
	}
	controls, err := appendControls(d.controls[:0], list)
	if err != nil {
		return err
	}
	d.controls = controls
	return nil
}

func appendControls(controls []Control, list ber.Reader) ([]Control, *Error) {
	var item ber.Reader
	for !list.Empty() {
		if len(controls) == MaxControls {
			return nil, Errorf(ProtocolError, "the message has more than %d controls; send fewer", MaxControls)
		}
		var c Control
		if !list.Element(ber.Sequence, &item) {
			return nil, malformed("controls", "has an element that is not a SEQUENCE")
		}
		if !item.Bytes(ber.OctetString, &c.OID) {
			return nil, malformed("control.controlType", "is not an OCTET STRING")
		}
		if item.PeekIs(ber.Boolean) && !item.Bool(ber.Boolean, &c.Critical) {
			return nil, malformed("control.criticality", "is not a BOOLEAN")
		}
		if !item.OptionalBytes(ber.OctetString, &c.Value, &c.HasValue) {
			return nil, malformed("control.controlValue", "is not an OCTET STRING")
		}
		if !rest(item) {
			return nil, malformed("control", "has malformed elements at its end")
		}
		controls = append(controls, c)
	}
	return controls, nil
}

// DecodeControls decodes a Controls value whose contents, the run of Control elements, are in body. Some controls and
// extended operations carry controls inside themselves (RFC 5805). Octets alias body. The limits and errors are those
// of Decode.
func DecodeControls(body ber.Reader) ([]Control, error) {
	controls, err := appendControls(nil, body)
	if err != nil {
		return nil, err
	}
	return controls, nil
}
