package control

import (
	"context"

	"portolan/ber"
	"portolan/internal/access"
	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/ldap"
)

// OIDs of the read entry controls (RFC 4527), each for the request and the response.
const (
	PreReadOID  = "1.3.6.1.1.13.1"
	PostReadOID = "1.3.6.1.1.13.2"
)

// PreRead returns the entry as it was before the update (RFC 4527), as far as the requester may read it.
func PreRead(p *op.Ports) op.Control {
	return op.Control{
		OID: PreReadOID, Name: "preread", Source: "RFC 4527",
		Applies: on(ldap.TagModifyRequest, ldap.TagDelRequest, ldap.TagModifyDNRequest),
		Parse:   parseReadEntry,
		Around:  readEntry(p, PreReadOID, func(plan *op.WritePlan) *[]func(op.Tx, *dit.Entry, dit.Name) error { return &plan.Before }),
	}
}

// PostRead returns the entry as it is after the update (RFC 4527), with all that follows from the update, as far as the
// requester may read it.
func PostRead(p *op.Ports) op.Control {
	return op.Control{
		OID: PostReadOID, Name: "postread", Source: "RFC 4527",
		Applies: on(ldap.TagModifyRequest, ldap.TagAddRequest, ldap.TagModifyDNRequest),
		Parse:   parseReadEntry,
		Around:  readEntry(p, PostReadOID, func(plan *op.WritePlan) *[]func(op.Tx, *dit.Entry, dit.Name) error { return &plan.After }),
	}
}

// parseReadEntry reads an AttributeSelection (RFC 4511 section 4.5.1).
func parseReadEntry(c ldap.Control) (any, error) {
	r := ber.Reader(c.Value)
	var list ber.Reader
	malformed := ldap.Errorf(ldap.ProtocolError, "the value of the read entry control is not a list of attributes (RFC 4527)")
	if !c.HasValue || !r.Element(ber.Sequence, &list) || !r.Empty() {
		return nil, malformed
	}
	attrs := [][]byte{}
	for !list.Empty() {
		var attr []byte
		if !list.Bytes(ber.OctetString, &attr) {
			return nil, malformed
		}
		if len(attrs) == maxListed {
			return nil, tooMany("read entry")
		}
		attrs = append(attrs, attr)
	}
	return attrs, nil
}

func readEntry(p *op.Ports, oid string, moment func(*op.WritePlan) *[]func(op.Tx, *dit.Entry, dit.Name) error) func(context.Context, *op.Request, any, func(context.Context) error) error {
	return func(ctx context.Context, req *op.Request, value any, next func(context.Context) error) error {
		var entry []byte
		hooks := moment(&req.Write)
		*hooks = append(*hooks, func(tx op.Tx, e *dit.Entry, name dit.Name) error {
			var err error
			// The transaction may run again: what the last run saw counts.
			entry, err = copyOf(p.Directory.Sight(req, tx), e, name, value.([][]byte))
			return err
		})
		err := next(ctx)
		if err == nil && entry != nil {
			req.Reply.Controls = append(req.Reply.Controls, ldap.Control{OID: []byte(oid), Value: entry, HasValue: true})
		}
		return err
	}
}

// copyOf is a SearchResultEntry of what may be read of an entry: its name alone where the entry itself may not.
func copyOf(see op.Sight, e *dit.Entry, name dit.Name, attrs [][]byte) ([]byte, error) {
	see.LookAs(e, name)
	out, result := ber.Begin(nil, ldap.TagSearchResultEntry)
	out = ber.AppendString(out, ber.OctetString, name.DN)
	out, list := ber.Begin(out, ber.Sequence)
	if see.EntryRights()&access.Read != 0 {
		var err error
		if out, err = see.AppendAttributes(out, attrs, false); err != nil {
			return nil, err
		}
	}
	return ber.End(ber.End(out, list), result), nil
}
