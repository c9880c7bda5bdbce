package audit

import (
	"context"
	"errors"
	"time"

	"portolan/internal/op"
	"portolan/ldap"
)

// Events of operations.
const (
	eventBind     = "bind"         // a bind, good or bad
	eventWrite    = "write"        // an operation that changes entries, or was to
	eventRefused  = "refused"      // an operation that needs TLS, or an identity that it may not have
	eventProxy    = "proxy"        // an operation under another identity
	eventAdmin    = "admin"        // an administrative operation on the control socket
	eventStartTLS = "starttls"     // a StartTLS
	eventShape    = "filter-shape" // a filter that is built as none that its sender is known for
)

// Middleware writes the lines of operations. It is the outermost of all: what it says is what the client is told.
func (t *Trail) Middleware() op.Middleware {
	return func(next op.Handler) op.Handler {
		return op.HandlerFunc(func(ctx context.Context, req *op.Request, w op.Writer) error {
			switch m := req.Op.(type) {
			case *ldap.SearchRequest:
				err := next.Serve(ctx, req, w)
				if err != nil || req.Identity != nil && req.Identity.Proxied != nil {
					t.read(req, "search", m.Base, err)
				}
				return err
			case *ldap.CompareRequest:
				err := next.Serve(ctx, req, w)
				if err != nil || req.Identity != nil && req.Identity.Proxied != nil {
					t.read(req, "compare", m.Entry, err)
				}
				return err
			case *ldap.BindRequest:
				err := next.Serve(ctx, req, w)
				t.bind(req, m, err)
				return err
			}
			// What follows may change entries. A panic passes through, and has its line.
			o := operation{t: t, req: req, err: errPanic}
			defer o.end()
			o.err = next.Serve(ctx, req, w)
			return o.err
		})
	}
}

var errPanic = ldap.Errorf(ldap.Other, "")

// operation is an operation that may change entries.
type operation struct {
	t   *Trail
	req *op.Request
	err error
}

func (o *operation) end() {
	if m, ok := o.req.Op.(*ldap.ExtendedRequest); ok {
		o.t.extended(o.req, m, o.err)
		return
	}
	o.t.written(o.req, nil, o.err)
}

// outcome returns the result of an operation and, for operators, why.
func outcome(req *op.Request, err error) (code ldap.ResultCode, why op.Reason) {
	if err == nil {
		return req.Reply.Code, ""
	}
	errors.As(err, &why)
	return ldap.CodeOf(err), why
}

// denied reports whether a result is about who may do what on which connection.
func denied(code ldap.ResultCode) bool {
	switch code {
	case ldap.ConfidentialityRequired, ldap.StrongerAuthRequired, ldap.AuthorizationDenied, ldap.InappropriateAuthentication:
		return true
	}
	return false
}

// common appends what all lines of operations have: when, what, where.
func common(b []byte, now time.Time, event, operation string, req *op.Request) []byte {
	b = begin(b, now, event)
	if operation != "" {
		b = str(b, "op", operation)
	}
	b = where(b, req.Conn)
	return num(b, "msg", uint64(uint32(req.ID)))
}

// result appends how an operation ended.
func result(b []byte, now time.Time, req *op.Request, code ldap.ResultCode, why op.Reason) []byte {
	b = num(b, "result", uint64(code))
	if why != "" {
		b = str(b, "reason", string(why))
	}
	if req.Trace.Note != "" {
		b = str(b, "note", req.Trace.Note)
	}
	return num(b, "us", uint64(max(now.Sub(req.Start).Microseconds(), 0)))
}

// identity returns who does an operation, and as whom.
func identity(req *op.Request) (who, authzid string) {
	id := req.Identity
	if id == nil {
		return "", ""
	}
	if id.Proxied != nil {
		return id.Proxied.Name.DN, "dn:" + id.Name.DN
	}
	return id.Name.DN, ""
}

// read adds the line of a search or compare, where it has one: it was refused, or done as somebody else.
func (t *Trail) read(req *op.Request, operation string, dn []byte, err error) {
	code, why := outcome(req, err)
	proxied := req.Identity != nil && req.Identity.Proxied != nil
	if !denied(code) && !proxied {
		return
	}
	now := t.o.Now()
	event := eventProxy
	if denied(code) {
		event = eventRefused
	}
	r := repeat{event: event, op: operation, from: source(req.Conn), via: req.Conn.Listener, code: code, reason: why}
	r.who, r.authzid = identity(req)
	t.add(func() bool {
		if denied(code) {
			return t.refuse(r, now)
		}
		return t.gather(r, now)
	}, func(b []byte) []byte {
		b = who(common(b, now, event, operation, req), req.Identity)
		b = str(b, "dn", t.o.Secret.showStrictly(dn))
		return result(b, now, req, code, why)
	})
}

// bind adds the line of a bind. The steps of a SASL bind before the last have none.
func (t *Trail) bind(req *op.Request, m *ldap.BindRequest, err error) {
	code, why := outcome(req, err)
	if code == ldap.SASLBindInProgress {
		return
	}
	now := t.o.Now()
	method := "simple"
	if m.Auth == ldap.AuthSASL {
		method = string(m.Mechanism)
	}
	r := repeat{event: eventBind, method: method, from: source(req.Conn), via: req.Conn.Listener, code: code, reason: why}
	id := req.Conn.Identity()
	if code == ldap.Success {
		r.who = id.Name.DN
		if id.Proxied != nil {
			r.who, r.authzid = id.Proxied.Name.DN, "dn:"+id.Name.DN
		}
	}
	t.add(func() bool {
		if code != ldap.Success {
			return t.refuse(r, now)
		}
		return t.policy.Load().GatherBinds && t.gather(r, now)
	}, func(b []byte) []byte {
		b = common(b, now, eventBind, "", req)
		if code == ldap.Success {
			b = str(b, "who", r.who)
			b = str(b, "method", method)
			if r.authzid != "" {
				b = str(b, "authzid", r.authzid)
			}
			if id.Restricted {
				b = list(b, "marks", 1, func(b []byte, _ int) []byte { return quote(b, "must change its password") })
			}
		} else {
			// Nothing is proved: the name is what was claimed.
			name := m.Name
			if len(name) == 0 {
				name = []byte(req.Trace.DN)
			}
			b = str(b, "dn", t.o.Secret.showStrictly(name))
			b = str(b, "method", method)
		}
		return result(b, now, req, code, why)
	})
}

// extended adds the line of an extended operation that has one.
func (t *Trail) extended(req *op.Request, m *ldap.ExtendedRequest, err error) {
	verb := t.o.Verb(m.Name)
	code, why := outcome(req, err)
	switch {
	case req.Conn.Control && verb.Name != "" && !verb.Writes:
		now := t.o.Now()
		r := repeat{event: eventAdmin, op: verb.Name, code: code, reason: why}
		r.who, r.authzid = identity(req)
		t.wait(t.add(func() bool {
			return req.Trace.Seq == 0 && req.Trace.DN == "" && t.gather(r, now)
		}, func(b []byte) []byte {
			t.journal.claim(req.Trace.Seq)
			b = who(common(b, now, eventAdmin, verb.Name, req), req.Identity)
			if req.Trace.DN != "" {
				b = str(b, "dn", t.o.Secret.showStrictly([]byte(req.Trace.DN)))
			}
			if verb.Credential {
				b = t.marked(b, 0, nil)
			}
			b = result(b, now, req, code, why)
			if req.Trace.Seq != 0 {
				b = num(b, "seq", req.Trace.Seq)
			}
			return b
		}))
	case verb.Writes || req.Trace.Seq != 0:
		if verb.Name == "" {
			verb.Name = "extended"
		}
		t.written(req, &verb, err)
	default:
		t.read(req, "extended", []byte(req.Trace.DN), err)
	}
}

// written adds the line of an operation that changes entries. Where it did, the line is handed to the operating system
// before the client has its answer.
func (t *Trail) written(req *op.Request, verb *Verb, err error) {
	code, why := outcome(req, err)
	now := t.o.Now()
	seq := req.Trace.Seq
	operation := operationName(req.Op, verb)
	b := t.add(func() bool {
		r := repeat{event: eventWrite, op: operation, from: source(req.Conn), via: req.Conn.Listener, code: code, reason: why}
		return seq == 0 && code != ldap.Success && t.refuse(r, now)
	}, func(b []byte) []byte {
		t.journal.claim(seq)
		b = who(common(b, now, eventWrite, operation, req), req.Identity)
		b = t.target(b, req, verb)
		b = result(b, now, req, code, why)
		if seq != 0 {
			b = num(b, "seq", seq)
		}
		return b
	})
	if seq != 0 {
		t.wait(b)
	}
}

func operationName(m ldap.Op, verb *Verb) string {
	switch m.(type) {
	case *ldap.AddRequest:
		return "add"
	case *ldap.DelRequest:
		return "delete"
	case *ldap.ModifyRequest:
		return "modify"
	case *ldap.ModifyDNRequest:
		return "modrdn"
	}
	if verb != nil {
		return verb.Name
	}
	return "unknown"
}

// target appends what an operation changes: names of entries and attributes, never values.
func (t *Trail) target(b []byte, req *op.Request, verb *Verb) []byte {
	secret := t.o.Secret
	switch m := req.Op.(type) {
	case *ldap.AddRequest:
		b = str(b, "dn", secret.showStrictly(m.Entry))
		b = list(b, "attrs", len(m.Attributes), func(b []byte, i int) []byte { return quote(b, clipName(m.Attributes[i].Type)) })
		return t.marked(b, len(m.Attributes), func(i int) []byte { return m.Attributes[i].Type })
	case *ldap.DelRequest:
		return str(b, "dn", secret.showStrictly(m.Entry))
	case *ldap.ModifyRequest:
		b = str(b, "dn", secret.showStrictly(m.Object))
		b = list(b, "attrs", len(m.Changes), func(b []byte, i int) []byte {
			c := &m.Changes[i]
			return quote(b, modName(c.Op)+string(clipName(c.Attribute.Type)))
		})
		return t.marked(b, len(m.Changes), func(i int) []byte { return m.Changes[i].Attribute.Type })
	case *ldap.ModifyDNRequest:
		b = str(b, "dn", secret.showStrictly(m.Entry))
		b = str(b, "newrdn", secret.showStrictly(m.NewRDN))
		if m.HasNewSuperior {
			b = str(b, "newsuperior", secret.showStrictly(m.NewSuperior))
		}
		return b
	}
	if req.Trace.DN != "" {
		b = str(b, "dn", secret.showStrictly([]byte(req.Trace.DN)))
	}
	if verb != nil && verb.Credential {
		b = t.marked(b, 0, nil)
	}
	return b
}

func modName(o ldap.ModOp) string {
	switch o {
	case ldap.ModAdd:
		return "add "
	case ldap.ModDelete:
		return "delete "
	case ldap.ModReplace:
		return "replace "
	case ldap.ModIncrement:
		return "increment "
	}
	return "unknown "
}

// clipName bounds an attribute description as a client wrote it.
func clipName(desc []byte) []byte { return desc[:min(len(desc), 256)] }

// Marks of lines that somebody may look for.
const (
	markCredential = "credential" // a password or another secret changes
	markAccount    = "account"    // an account is locked, unlocked, disabled or bound to addresses
)

// marked appends the marks of a change of these attributes; without any it is the change of a password.
func (t *Trail) marked(b []byte, n int, attr func(i int) []byte) []byte {
	credential, account := n == 0, false
	for i := range n {
		a := attr(i)
		credential = credential || t.o.Secret.Has(a)
		account = account || t.o.Account.Has(a)
	}
	var marks []string
	if credential {
		marks = append(marks, markCredential)
	}
	if account {
		marks = append(marks, markAccount)
	}
	if len(marks) == 0 {
		return b
	}
	return list(b, "marks", len(marks), func(b []byte, i int) []byte { return quote(b, marks[i]) })
}

// FilterShape adds the line of a filter whose shape its sender is not known for: mode says whether it was let through ("warn")
// or refused ("enforce"), use what the filter was there for.
func (t *Trail) FilterShape(req *op.Request, mode, use, shape, id string) {
	now := t.o.Now()
	code := ldap.Success
	if mode == "enforce" {
		code = ldap.UnwillingToPerform
	}
	var base []byte
	operation := "search"
	if m, ok := req.Op.(*ldap.SearchRequest); ok {
		base = m.Base
	} else {
		operation = operationName(req.Op, nil)
	}
	r := repeat{event: eventShape, op: operation, from: source(req.Conn), via: req.Conn.Listener, code: code}
	t.add(func() bool { return t.refuse(r, now) }, func(b []byte) []byte {
		b = who(common(b, now, eventShape, operation, req), req.Identity)
		if base != nil {
			b = str(b, "dn", t.o.Secret.showStrictly(base))
		}
		b = str(b, "mode", mode)
		b = str(b, "use", use)
		b = str(b, "shape", shape)
		b = str(b, "id", id)
		return num(b, "result", uint64(code))
	})
}

// StartTLS adds the line of a StartTLS request.
func (t *Trail) StartTLS(c *op.Conn, refused error) {
	now := t.o.Now()
	code := ldap.CodeOf(refused)
	r := repeat{event: eventStartTLS, from: source(c), via: c.Listener, code: code}
	t.add(func() bool {
		if code != ldap.Success {
			return t.refuse(r, now)
		}
		return t.policy.Load().GatherBinds && t.gather(r, now)
	}, func(b []byte) []byte {
		b = where(begin(b, now, eventStartTLS), c)
		return num(b, "result", uint64(code))
	})
}
