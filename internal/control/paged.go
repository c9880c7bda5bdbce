package control

import (
	"context"
	"slices"

	"portolan/ber"
	"portolan/internal/op"
	"portolan/ldap"
)

// PagedOID is both the request and the response control (RFC 2696).
const PagedOID = "1.2.840.113556.1.4.319"

// Paged is simple paged results (RFC 2696). A cookie names a cursor of its connection and identity: a position, no
// snapshot and no iterator, so that an abandoned one costs a few octets; where the result is sorted (RFC 2891 section 3) it is
// the list of the ids to come. Several may be open on one connection, with other searches in between. When there are more
// than most the one that was used longest ago is forgotten, and its cookie is refused.
func Paged(most int, p *op.Ports) op.Control {
	return op.Control{
		OID: PagedOID, Name: "paged", Source: "RFC 2696",
		Applies: on(ldap.TagSearchRequest),
		Parse:   parsePaged,
		Around: func(ctx context.Context, req *op.Request, value any, next func(context.Context) error) error {
			return value.(*pagedRequest).around(ctx, req, next, most, p.Memory)
		},
	}
}

// pagedRequest is realSearchControlValue.
type pagedRequest struct {
	size   int32
	cookie []byte
}

func parsePaged(c ldap.Control) (any, error) {
	r := ber.Reader(c.Value)
	var seq ber.Reader
	p := &pagedRequest{}
	if !c.HasValue || !r.Element(ber.Sequence, &seq) || !r.Empty() ||
		!seq.Int32(ber.Integer, 0, ldap.MaxMessageID, &p.size) || !seq.Bytes(ber.OctetString, &p.cookie) || !seq.Empty() {
		return nil, ldap.Errorf(ldap.ProtocolError, "the paged results control has no valid value (RFC 2696)")
	}
	return p, nil
}

func (p *pagedRequest) around(ctx context.Context, req *op.Request, next func(context.Context) error, most int, memory *op.Memory) error {
	if attached(req, VLVOID) {
		return ldap.Errorf(ldap.ProtocolError, "paged results and a virtual list view are two ways of cutting a result up: send one of them")
	}
	if m := req.Op.(*ldap.SearchRequest); m.SizeLimit > 0 && p.size >= m.SizeLimit && len(p.cookie) == 0 {
		// RFC 2696 section 3: the control is ignored, all that the client wants is on one page.
		return next(ctx)
	}
	list := cursorsOf(req.Conn)
	at := &cursor{digest: digestOf(req, PagedOID)}
	if len(p.cookie) > 0 {
		mine, _ := list.take(p.cookie)
		if mine == nil || mine.digest != at.digest {
			mine.drop()
			return ldap.Errorf(ldap.UnwillingToPerform, "the paged results cookie is not one of this search: begin again without a cookie")
		}
		at = mine
		if p.size == 0 {
			// RFC 2696 section 3: size zero with a cookie abandons the search.
			at.drop()
			req.Reply.Controls = append(req.Reply.Controls, pagedResponse(0, nil))
			return nil
		}
	}
	plan := &req.Search
	if at.unsorted != nil && plan.Order != nil {
		// The rest of a result that could not be sorted comes unsorted too, though it may be small enough by now.
		list.put(at, most, true)
		return cannotSort{at.unsorted}
	}
	at.unsorted = plan.Unsorted
	if p.size > 0 {
		plan.Max = int(p.size)
	}
	estimate := 0
	plan.After, plan.AfterBase = at.after, at.base
	switch {
	case at.list != nil:
		plan.From = at.list[at.at:]
		estimate = len(at.list)
	case plan.Order != nil && p.size > 0:
		plan.Cut = true
		plan.Pick = func(all []op.Sorted) ([]op.Sorted, error) {
			estimate = len(all)
			if len(all) <= plan.Max {
				return all, nil
			}
			if !at.keep(memory, all) {
				return nil, errBusySorting
			}
			at.at = plan.Max
			return all[:plan.Max], nil
		}
	}
	ended := false
	defer func() {
		if !ended {
			at.drop() // an error or a panic
		}
	}()
	if err := next(ctx); err != nil {
		return err
	}
	ended = true
	more := plan.More
	switch {
	case plan.From != nil && more:
		at.at += slices.Index(plan.From, plan.Last) + 1
	case at.list != nil:
		more = plan.From == nil // the first page of a sorted result
	case plan.Order == nil:
		estimate = plan.Estimate
		at.after, at.base = plan.Last, plan.LastBase
	}
	var cookie []byte
	if more {
		cookie = list.put(at, most, false)
	} else {
		at.drop()
	}
	req.Reply.Controls = append(req.Reply.Controls, pagedResponse(estimate, cookie))
	return nil
}

// pagedResponse is the response control. Critical is never set: it is an answer.
func pagedResponse(estimate int, cookie []byte) ldap.Control {
	value, mark := ber.Begin(nil, ber.Sequence)
	value = ber.AppendInt(value, ber.Integer, int64(max(estimate, 0)))
	value = ber.End(ber.AppendBytes(value, ber.OctetString, cookie), mark)
	return ldap.Control{OID: []byte(PagedOID), Value: value, HasValue: true}
}
