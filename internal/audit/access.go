package audit

import (
	"context"
	"strconv"
	"time"
	"unicode/utf8"

	"portolan/internal/op"
	"portolan/ldap"
)

// AccessLog writes one line of key=value pairs for every connection and every operation. Passwords and values of secret
// attributes are never in it.
type AccessLog struct {
	lines *Lines
	now   func() time.Time
	// secret says whether values of an attribute must not be shown.
	secret func(attr []byte) bool
}

// NewAccessLog returns a log that writes to lines.
func NewAccessLog(lines *Lines, now func() time.Time, secret func(attr []byte) bool) *AccessLog {
	return &AccessLog{lines: lines, now: now, secret: secret}
}

// Opened logs the begin of a connection.
func (a *AccessLog) Opened(c *op.Conn) {
	a.lines.Append(func(b []byte) []byte {
		b = a.begin(b, c)
		b = append(b, " open from="...)
		if c.Remote.IsValid() {
			b = c.Remote.AppendTo(b)
		} else {
			b = append(b, "unix"...)
		}
		if c.Peer != nil {
			b = strconv.AppendInt(append(b, " uid="...), int64(c.Peer.UID), 10)
			b = strconv.AppendInt(append(b, " pid="...), int64(c.Peer.PID), 10)
		}
		return append(appendQuoted(append(b, " listener="...), c.Listener), '\n')
	})
}

// Closed logs the end of a connection.
func (a *AccessLog) Closed(c *op.Conn, reason string) {
	a.lines.Append(func(b []byte) []byte {
		b = append(a.begin(b, c), " close reason="...)
		return append(appendQuoted(b, reason), '\n')
	})
}

// Middleware logs every operation when it has ended.
func (a *AccessLog) Middleware() op.Middleware {
	return func(next op.Handler) op.Handler {
		return op.HandlerFunc(func(ctx context.Context, req *op.Request, w op.Writer) error {
			err := next.Serve(ctx, req, w)
			took := a.now().Sub(req.Start)
			a.lines.Append(func(b []byte) []byte { return a.operation(b, req, err, took) })
			return err
		})
	}
}

func (a *AccessLog) begin(b []byte, c *op.Conn) []byte {
	b = a.now().UTC().AppendFormat(b, "2006-01-02T15:04:05.000000Z")
	return strconv.AppendUint(append(b, " conn="...), c.ID, 10)
}

func (a *AccessLog) operation(b []byte, req *op.Request, err error, took time.Duration) []byte {
	b = a.begin(b, req.Conn)
	b = strconv.AppendInt(append(b, " op="...), int64(req.ID), 10)
	b = a.request(append(b, ' '), req)
	for i := range req.Controls {
		c := &req.Controls[i]
		if i == 0 {
			b = append(b, " controls="...)
		} else {
			b = append(b, ',')
		}
		b = appendPlain(b, c.OID)
		if c.Critical {
			b = append(b, '!')
		}
	}
	if req.Identity != nil && !req.Identity.IsAnonymous() {
		b = appendQuoted(append(b, " who="...), req.Identity.Name.DN)
	}
	code := req.Reply.Code
	if err != nil {
		code = ldap.CodeOf(err)
	}
	b = strconv.AppendInt(append(b, " result="...), int64(code), 10)
	t := &req.Trace
	if _, search := req.Op.(*ldap.SearchRequest); search {
		b = strconv.AppendInt(append(b, " entries="...), int64(t.Entries), 10)
		b = strconv.AppendInt(append(b, " examined="...), int64(t.Examined), 10)
	}
	b = strconv.AppendInt(append(b, " us="...), took.Microseconds(), 10)
	if !t.Plan.Empty() {
		b = append(append(append(b, ` plan="`...), t.Plan.Bytes()...), '"')
	}
	if t.Seq != 0 {
		b = strconv.AppendUint(append(b, " seq="...), t.Seq, 10)
	}
	if t.Note != "" {
		b = appendQuoted(append(b, " note="...), t.Note)
	}
	if e := ldap.AsError(err); e != nil {
		if e.Diagnostic != "" {
			b = appendQuoted(append(b, " text="...), e.Diagnostic)
		}
		if e.Cause != nil {
			b = appendQuoted(append(b, " cause="...), e.Cause.Error())
		}
	}
	return append(b, '\n')
}

// request appends the operation and what it is about.
func (a *AccessLog) request(b []byte, req *op.Request) []byte {
	switch m := req.Op.(type) {
	case *ldap.BindRequest:
		b = appendQuoted(append(b, "bind dn="...), string(m.Name))
		if m.Auth == ldap.AuthSASL {
			return appendPlain(append(b, " method=sasl mech="...), m.Mechanism)
		}
		return append(b, " method=simple"...)
	case *ldap.SearchRequest:
		b = appendQuoted(append(b, "search base="...), string(m.Base))
		b = append(append(b, " scope="...), scopeName(m.Scope)...)
		b = appendQuoted(append(b, " filter="...), a.filter(&m.Filter))
		for i, attr := range m.Attributes {
			if i == 0 {
				b = append(b, " attrs="...)
			} else {
				b = append(b, ',')
			}
			b = appendPlain(b, attr)
		}
		return b
	case *ldap.ModifyRequest:
		b = appendQuoted(append(b, "modify dn="...), string(m.Object))
		for i := range m.Changes {
			if i == 0 {
				b = append(b, " attrs="...)
			} else {
				b = append(b, ',')
			}
			b = appendPlain(b, m.Changes[i].Attribute.Type)
		}
		return b
	case *ldap.AddRequest:
		return appendQuoted(append(b, "add dn="...), string(m.Entry))
	case *ldap.DelRequest:
		return appendQuoted(append(b, "delete dn="...), string(m.Entry))
	case *ldap.ModifyDNRequest:
		b = appendQuoted(append(b, "modrdn dn="...), string(m.Entry))
		b = appendQuoted(append(b, " newrdn="...), string(m.NewRDN))
		if m.HasNewSuperior {
			b = appendQuoted(append(b, " newsuperior="...), string(m.NewSuperior))
		}
		return b
	case *ldap.CompareRequest:
		b = appendQuoted(append(b, "compare dn="...), string(m.Entry))
		return appendPlain(append(b, " attr="...), m.Attr)
	case *ldap.ExtendedRequest:
		b = appendPlain(append(b, "extended oid="...), m.Name)
		if req.Trace.DN != "" {
			b = appendQuoted(append(b, " dn="...), req.Trace.DN)
		}
		return b
	}
	return append(b, "unknown"...)
}

// filter prints a filter without the assertion values of secret attributes.
func (a *AccessLog) filter(f *ldap.Filter) string {
	shown := f
	for i := range f.Nodes {
		if n := &f.Nodes[i]; len(n.Attr) > 0 && a.secret(n.Attr) {
			if shown == f {
				shown = &ldap.Filter{Nodes: append([]ldap.FilterNode(nil), f.Nodes...), Subs: append([]ldap.Substring(nil), f.Subs...)}
			}
			shown.Nodes[i].Value = []byte("withheld")
			for j := n.SubLo; n.Op == ldap.FilterSubstrings && j < n.SubHi; j++ {
				shown.Subs[j].Value = []byte("withheld")
			}
		}
	}
	return shown.String()
}

func scopeName(s ldap.Scope) string {
	switch s {
	case ldap.ScopeBase:
		return "base"
	case ldap.ScopeOne:
		return "one"
	case ldap.ScopeSub:
		return "sub"
	}
	return "subordinate"
}

// maxLogged bounds what one field repeats of a client's input.
const maxLogged = 2048

// appendQuoted appends a string in double quotes; what could end the line or the quotes is escaped, so that no client can
// write lines of its own.
func appendQuoted(b []byte, s string) []byte {
	if len(s) > maxLogged {
		s = s[:maxLogged]
	}
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r < 0x20 || r == 0x7f || r == utf8.RuneError:
			b = append(b, `\x`...)
			b = append(b, "0123456789abcdef"[r>>4&15], "0123456789abcdef"[r&15])
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return append(b, '"')
}

// appendPlain appends an OID or a description as it is, as long as it looks like one.
func appendPlain(b, s []byte) []byte {
	for i := range s {
		c := s[i]
		if c <= ' ' || c == '"' || c == ',' || c >= 0x7f || len(s) > 256 {
			return appendQuoted(b, string(s))
		}
	}
	return append(b, s...)
}
