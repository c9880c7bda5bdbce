package control

import (
	"bytes"
	"context"
	"time"

	"portolan/ber"
	"portolan/internal/access"
	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/ldap"
)

// DerefOID is the dereference control, request and response (draft-masarati-ldap-deref).
const DerefOID = "1.3.6.1.4.1.4203.666.5.16"

const (
	// maxDerefs bounds the entries that are fetched for one entry of a result, maxDerefOctets what is told of them.
	maxDerefs      = 10_000
	maxDerefOctets = 16 << 20
	// maxDerefSpecs bounds the attributes that are dereferenced.
	maxDerefSpecs = 64
)

// Deref returns attributes of the entries that an entry of a result names (draft-masarati-ldap-deref-01). It shows what
// searches of the same client would show of those entries, and values of the naming attribute only where they are part of
// what may be read of the entry itself. It costs what those searches would cost: each entry counts as examined. An entry of
// the result that names too many, or entries of which too much would be told, is returned without the control.
func Deref(p *op.Ports) op.Control {
	return op.Control{
		OID: DerefOID, Name: "dereference", Source: "draft-masarati-ldap-deref-01",
		Applies: on(ldap.TagSearchRequest),
		Parse:   parseDeref,
		Around: func(ctx context.Context, req *op.Request, value any, next func(context.Context) error) error {
			d := &dereference{specs: value.([]derefSpec), req: req, ports: p}
			if err := d.resolve(); err != nil {
				return err
			}
			req.Search.EachEntry = append(req.Search.EachEntry, d.entry)
			return next(ctx)
		},
	}
}

// derefSpec is DerefSpec.
type derefSpec struct {
	attr  []byte
	wants [][]byte
}

func parseDeref(c ldap.Control) (any, error) {
	malformed := ldap.Errorf(ldap.ProtocolError, "the dereference control has no valid value (draft-masarati-ldap-deref)")
	r := ber.Reader(c.Value)
	var list ber.Reader
	if !c.HasValue || !r.Element(ber.Sequence, &list) || !r.Empty() || list.Empty() {
		return nil, malformed
	}
	var specs []derefSpec
	wants := 0
	for !list.Empty() {
		if len(specs) == maxDerefSpecs {
			return nil, ldap.Errorf(ldap.AdminLimitExceeded, "the dereference control takes at most %d attributes to be dereferenced", maxDerefSpecs)
		}
		var s derefSpec
		var seq, attrs ber.Reader
		if !list.Element(ber.Sequence, &seq) || !seq.Bytes(ber.OctetString, &s.attr) ||
			!seq.Element(ber.Sequence, &attrs) || !seq.Empty() || attrs.Empty() {
			return nil, malformed
		}
		for !attrs.Empty() {
			var attr []byte
			if !attrs.Bytes(ber.OctetString, &attr) {
				return nil, malformed
			}
			if wants++; wants > maxListed {
				return nil, tooMany("dereference")
			}
			s.wants = append(s.wants, attr)
		}
		for i := range specs {
			if bytes.EqualFold(specs[i].attr, s.attr) {
				return nil, ldap.Errorf(ldap.ProtocolError, "an attribute is dereferenced twice (draft-masarati-ldap-deref section 2.2)")
			}
		}
		specs = append(specs, s)
	}
	return specs, nil
}

// dereference is one search with the control.
type dereference struct {
	specs []derefSpec
	req   *op.Request
	ports *op.Ports

	schema *schema.Schema
	ready  []derefColumn
	see    op.Sight // for the entries that are named
	reader op.Reader
}

// derefColumn is a derefSpec with what the schema makes of it.
type derefColumn struct {
	name  []byte
	desc  schema.Description
	wants []schema.Description
	list  [][]byte
}

// dnSyntax is the syntax that attributes must have to be dereferenced (section 2.1).
const dnSyntax = "1.3.6.1.4.1.1466.115.121.1.12"

// resolve refuses a critical control that cannot be used; parts of others that cannot are left out.
func (d *dereference) resolve() error {
	view := d.ports.Directory.View()
	d.compile(view.Schema())
	view.Close()
	if len(d.ready) < len(d.specs) && isCritical(d.req, DerefOID) {
		return ldap.Errorf(ldap.UnavailableCriticalExtension, "an attribute to be dereferenced is not defined or does not hold names")
	}
	return nil
}

func (d *dereference) compile(s *schema.Schema) {
	d.schema, d.ready = s, nil
	for _, spec := range d.specs {
		c := derefColumn{name: spec.attr}
		desc, err := s.Describe(spec.attr)
		if err != nil || desc.Type == nil || desc.Type.Syntax.OID != dnSyntax {
			continue
		}
		c.desc = desc
		for _, name := range spec.wants {
			if desc, err := s.Describe(name); err == nil && desc.Type != nil {
				c.wants = append(c.wants, desc)
				c.list = append(c.list, name)
			}
		}
		d.ready = append(d.ready, c)
	}
}

// entry adds the response control to an entry of the result.
func (d *dereference) entry(ctx context.Context, r op.Reader, e *dit.Entry, name dit.Name, controls []ldap.Control) ([]ldap.Control, error) {
	if s := r.Schema(); s != d.schema {
		d.compile(s)
	}
	if e.ID == 0 {
		return controls, nil // it is not stored: what it names is told by its own attributes
	}
	if d.reader != r {
		d.see, d.reader = d.ports.Directory.Sight(d.req, r), r
	}
	value, list := ber.Begin(nil, ber.Sequence)
	count := 0
	for i := range d.ready {
		c := &d.ready[i]
		names, err := d.names(r, e, name, c)
		if err != nil {
			return controls, err
		}
		if count += len(names); count > maxDerefs || d.beyond(len(names)) {
			return controls, nil // it is used in its entirety or not at all (section 2.1)
		}
		for i, dn := range names {
			if i&31 == 0 {
				if err := d.tick(ctx); err != nil {
					return controls, err
				}
			}
			if value, err = d.appendResult(value, r, c, dn); err != nil {
				return controls, err
			}
			if len(value) > maxDerefOctets {
				return controls, nil
			}
		}
	}
	if count == 0 {
		return controls, nil
	}
	return append(controls, ldap.Control{OID: []byte(DerefOID), Value: ber.End(value, list), HasValue: true}), nil
}

// names are the values of the attribute that the reader may read. RFC 3876 section 4: values that matched values discards do
// not come back.
func (d *dereference) names(r op.Reader, e *dit.Entry, name dit.Name, c *derefColumn) ([][]byte, error) {
	d.see.LookAs(e, name)
	if d.see.EntryRights()&access.Read == 0 {
		return nil, nil
	}
	var names [][]byte
	wanted := d.req.Search.Values
	err := d.see.EachAttribute([][]byte{c.name}, func(have schema.Description, values [][]byte) bool {
		if have != c.desc {
			return true
		}
		for _, v := range values {
			if wanted == nil || wanted(r, e, have, v) {
				names = append(names, v)
			}
		}
		return true
	})
	return names, err
}

// beyond counts entries as examined, and reports whether they are more than one search may cost.
func (d *dereference) beyond(n int) bool {
	limit := d.req.Limits.Examined
	if limit > 0 && d.req.Trace.Examined+n > limit {
		return true
	}
	d.req.Trace.Examined += n
	return false
}

// tick looks at the clock and at ctx.
func (d *dereference) tick(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if limit := d.req.Limits.Time; limit > 0 && d.ports.Now().Sub(d.req.Start) > limit {
		return ldap.Errorf(ldap.TimeLimitExceeded, "the time limit of %v is over", limit.Round(time.Second))
	}
	return nil
}

// appendResult appends a DerefRes: without attributes where the reader may see none, for whatever reason.
func (d *dereference) appendResult(dst []byte, r op.Reader, c *derefColumn, dn []byte) ([]byte, error) {
	dst, result := ber.Begin(dst, ber.Sequence)
	dst = ber.AppendBytes(dst, ber.OctetString, c.name)
	dst = ber.AppendBytes(dst, ber.OctetString, dn)
	e, err := d.find(r, dn)
	if err != nil {
		return dst, err
	}
	if e != nil {
		start := len(dst)
		var attrs int
		dst, attrs = ber.Begin(dst, ber.ContextSpecific|ber.Constructed|0)
		empty := true
		err := d.see.EachAttribute(c.list, func(have schema.Description, values [][]byte) bool {
			if len(values) == 0 || !c.asked(have) {
				return true
			}
			empty = false
			var attr, set int
			dst, attr = ber.Begin(dst, ber.Sequence)
			dst = ber.AppendString(dst, ber.OctetString, have.String())
			dst, set = ber.Begin(dst, ber.Set)
			for _, v := range values {
				dst = ber.AppendBytes(dst, ber.OctetString, v)
			}
			dst = ber.End(ber.End(dst, set), attr)
			return true
		})
		if err != nil {
			return dst, err
		}
		if empty {
			dst = dst[:start]
		} else {
			dst = ber.End(dst, attrs)
		}
	}
	return ber.End(dst, result), nil
}

// asked reports whether exactly this description was asked for: subtypes are not looked at (section 2.1).
func (c *derefColumn) asked(have schema.Description) bool {
	for _, want := range c.wants {
		if want == have {
			return true
		}
	}
	return false
}

// find turns to the entry of a name, if a base search by the same client would return it.
func (d *dereference) find(r op.Reader, dn []byte) (*dit.Entry, error) {
	norm, err := r.Schema().NormalizeDN(nil, dn)
	if err != nil {
		return nil, nil
	}
	e, _, err := r.Lookup(string(norm))
	if err != nil || e == nil || e.Referral && !d.req.Search.ManageDsaIT {
		return nil, err
	}
	if _, err := d.see.Look(e); err != nil {
		return nil, err
	}
	if d.see.EntryRights()&access.Read == 0 {
		return nil, nil
	}
	return e, nil
}
