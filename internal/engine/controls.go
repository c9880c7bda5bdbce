package engine

import (
	"bytes"
	"context"
	"slices"

	"portolan/internal/op"
	"portolan/ldap"
)

// attached is a control of a request, parsed.
type attached struct {
	*control
	value any
}

// withControls parses the controls of a request, refuses what must be refused (RFC 4511 section 4.1.11), and runs the
// operation inside them, in the order of the wired list whatever the order of the request.
func (e *Engine) withControls(ctx context.Context, req *op.Request, perform func(context.Context) error) error {
	var buf [8]attached
	list := buf[:0]
	tag := req.Op.Tag()
	for i, c := range req.Controls {
		known := e.controls[string(c.OID)]
		if known == nil || !known.applies(req.Op, tag) {
			// An abandon and an unbind have no response and never get here.
			if c.Critical {
				return ldap.Errorf(ldap.UnavailableCriticalExtension, "critical control %s is not available for this operation", clip(c.OID))
			}
			continue
		}
		for _, other := range req.Controls[:i] {
			if bytes.Equal(other.OID, c.OID) && !known.Repeatable {
				return ldap.Errorf(ldap.ProtocolError, "control %s is there twice", clip(c.OID))
			}
		}
		value, err := known.Parse(c)
		if err != nil {
			return err
		}
		if known.Filter != nil && e.o.Filters != nil {
			use, filter := known.Filter(value)
			if err := e.o.Filters.Filter(req, use, filter); err != nil {
				return err
			}
		}
		list = append(list, attached{control: known, value: value})
	}
	slices.SortStableFunc(list, func(a, b attached) int { return a.order - b.order })
	return runControls(ctx, req, list, perform)
}

// applies reports whether the control may be attached to a request.
func (c *control) applies(m ldap.Op, tag byte) bool {
	if c.Applies(tag) {
		return true
	}
	verb, ok := m.(*ldap.ExtendedRequest)
	return ok && slices.Contains(c.Verbs, string(verb.Name))
}

func runControls(ctx context.Context, req *op.Request, list []attached, perform func(context.Context) error) error {
	if len(list) == 0 {
		return perform(ctx)
	}
	if list[0].Around == nil {
		return runControls(ctx, req, list[1:], perform)
	}
	return list[0].Around(ctx, req, list[0].value, func(ctx context.Context) error {
		return runControls(ctx, req, list[1:], perform)
	})
}

// respond lets controls add to the reply of an operation that has ended.
func (e *Engine) respond(req *op.Request) {
	for _, c := range e.responders {
		c.Respond(req, slices.ContainsFunc(req.Controls, func(a ldap.Control) bool { return string(a.OID) == c.OID }))
	}
}

// Wired returns the extensions that were wired, each kind in its order.
func (e *Engine) Wired() (controls []op.Control, verbs []op.Extended, sasl []op.Mechanism) {
	return slices.Clone(e.controlList), slices.Clone(e.verbs), slices.Clone(e.sasl)
}

// SupportedControls returns what supportedControl of the root DSE lists.
func (e *Engine) SupportedControls() []string {
	var out []string
	for _, c := range e.controlList {
		if !c.Unadvertised {
			out = append(append(out, c.OID), c.Responses...)
		}
	}
	return out
}

// SupportedExtensions returns what supportedExtension of the root DSE lists.
func (e *Engine) SupportedExtensions() []string {
	var out []string
	for _, x := range e.verbs {
		if !x.ControlOnly {
			out = append(out, x.OID)
		}
	}
	return out
}

// SupportedMechanisms returns what supportedSASLMechanisms lists for a connection as it is now.
func (e *Engine) SupportedMechanisms(c *op.Conn) []string {
	var out []string
	for _, m := range e.sasl {
		if m.Allowed(c) {
			out = append(out, m.Name)
		}
	}
	return out
}
