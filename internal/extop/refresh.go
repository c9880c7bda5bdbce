package extop

import (
	"context"
	"time"

	"portolan/ber"
	"portolan/internal/access"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/ldap"
)

// refreshOID is the refresh operation (RFC 2589 section 4).
const refreshOID = "1.3.6.1.4.1.1466.101.119.1"

// maxTTL is the longest time that a client may ask for, in seconds: a year.
const maxTTL = 31557600

// Refresh has a dynamic entry stay longer. It takes the right to add and delete entryTtl. How long it stays is the overlay's to
// say, which bounds what was asked for.
func Refresh(p *op.Ports) op.Extended {
	return op.Extended{
		OID: refreshOID, Name: "refresh", Source: "RFC 2589", Writes: true,
		Handle: func(ctx context.Context, req *op.Request, value []byte, hasValue bool, _ op.Writer) error {
			name, ask, err := parseRefresh(value, hasValue)
			if err == nil {
				req.Trace.DN = string(name)
				ask, err = refresh(req.Detach(ctx), p, req, name, ask)
			}
			if err != nil {
				ask = 0 // RFC 2589 section 4.2
			}
			body := ber.AppendInt(nil, ber.ContextSpecific|1, ask)
			req.Reply.Name, req.Reply.Value, req.Reply.HasValue = refreshOID, ber.AppendBytes(nil, ber.Sequence, body), true
			return err
		},
	}
}

// parseRefresh reads the name of the entry and the time in seconds.
func parseRefresh(value []byte, hasValue bool) (name []byte, ask int64, err error) {
	r := ber.Reader(value)
	var seq ber.Reader
	if !hasValue || !r.Element(ber.Sequence, &seq) || !r.Empty() || !seq.Bytes(ber.ContextSpecific, &name) ||
		!seq.Int(ber.ContextSpecific|1, &ask) || !seq.Empty() {
		return nil, 0, ldap.Errorf(ldap.ProtocolError, "the value is not that of a refresh request (RFC 2589)")
	}
	switch {
	case ask < 1:
		return nil, 0, ldap.Errorf(ldap.ProtocolError, "requestTtl is at least 1")
	case ask > maxTTL:
		return nil, 0, ldap.Errorf(ldap.SizeLimitExceeded, "requestTtl is at most %d seconds, a year", maxTTL)
	}
	return name, ask, nil
}

func refresh(ctx context.Context, p *op.Ports, req *op.Request, name []byte, ask int64) (given int64, err error) {
	if req.Identity.IsAnonymous() {
		return 0, ldap.Errorf(ldap.InsufficientAccessRights, "")
	}
	if err := p.Directory.Original(&op.Request{Op: &ldap.DelRequest{Entry: name}, Identity: req.Identity}); err != nil {
		return 0, err
	}
	err = p.Directory.Update(ctx, req.Identity.Name.DN, func(tx op.Tx) error {
		s := tx.Schema()
		ttl, expire := s.Known.EntryTTL, s.AttributeTypeString("entryExpireTimestamp")
		if ttl == nil || expire == nil {
			return ldap.Errorf(ldap.UnwillingToPerform, "the schema has no dynamic entries")
		}
		sight := p.Directory.Sight(req, tx)
		e, err := sight.Base(&ldap.SearchRequest{Base: name, Scope: ldap.ScopeBase})
		if err != nil {
			return err
		}
		if e == nil {
			return ldap.Errorf(ldap.ObjectClassViolation, "the root DSE is no dynamic entry")
		}
		if _, err := sight.Look(e); err != nil {
			return err
		}
		const write = access.Add | access.Delete
		if sight.AttrRights(schema.Description{Type: ttl})&write != write {
			return ldap.Errorf(ldap.InsufficientAccessRights, "")
		}
		if !e.IsA(s, s.Known.DynamicObject) {
			return ldap.Errorf(ldap.ObjectClassViolation, "the entry is not dynamic")
		}
		now := tx.Now().UTC().Truncate(time.Second)
		d := e.Edit(tx)
		d.Set(expire, schema.AppendGeneralizedTime(nil, now.Add(time.Duration(ask)*time.Second)))
		if err := tx.Modify(d); err != nil {
			return err
		}
		after, err := tx.Get(e.ID)
		if err != nil || after == nil {
			return err
		}
		at, err := schema.ParseGeneralizedTime(after.First(schema.Description{Type: expire}))
		if err != nil {
			return err
		}
		given = int64(at.Sub(now) / time.Second)
		return nil
	})
	return given, err
}
