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
	// secret are the attributes whose values must not be shown.
	secret *Names
}

// NewAccessLog returns a log that writes to lines and shows no values of secret attributes.
func NewAccessLog(lines *Lines, now func() time.Time, secret *Names) *AccessLog {
	return &AccessLog{lines: lines, now: now, secret: secret}
}

// Opened logs the begin of a connection.
func (a *AccessLog) Opened(c *op.Conn) {
	line := scratches.Get().(*scratch)
	defer scratches.Put(line)
	b := append(line.begin(a.now(), c), " open from="...)
	if c.Remote.IsValid() {
		b = c.Remote.AppendTo(b)
	} else {
		b = append(b, "unix"...)
	}
	if c.Peer != nil {
		b = strconv.AppendInt(append(b, " uid="...), int64(c.Peer.UID), 10)
		b = strconv.AppendInt(append(b, " pid="...), int64(c.Peer.PID), 10)
	}
	line.b = append(appendQuoted(append(b, " listener="...), c.Listener), '\n')
	a.lines.Append(line.b)
}

// Closed logs the end of a connection.
func (a *AccessLog) Closed(c *op.Conn, reason string) {
	line := scratches.Get().(*scratch)
	defer scratches.Put(line)
	line.b = append(appendQuoted(append(line.begin(a.now(), c), " close reason="...), reason), '\n')
	a.lines.Append(line.b)
}

// StartTLS logs a StartTLS request, which no handler sees.
func (a *AccessLog) StartTLS(c *op.Conn, refused error) {
	line := scratches.Get().(*scratch)
	defer scratches.Put(line)
	line.b = append(strconv.AppendInt(append(line.begin(a.now(), c), " starttls result="...), int64(ldap.CodeOf(refused)), 10), '\n')
	a.lines.Append(line.b)
}

// Middleware logs every operation when it has ended.
func (a *AccessLog) Middleware() op.Middleware {
	return func(next op.Handler) op.Handler {
		return op.HandlerFunc(func(ctx context.Context, req *op.Request, w op.Writer) error {
			err := next.Serve(ctx, req, w)
			now := a.now()
			line := scratches.Get().(*scratch)
			line.b = a.operation(line, req, err, now)
			a.lines.Append(line.b)
			if cap(line.b) <= keepLine {
				scratches.Put(line)
			}
			return err
		})
	}
}

// keepLine is the largest line whose memory is kept.
const keepLine = 16 << 10

// appendTime appends a time as 2006-01-02T15:04:05.000000Z. It is made for every operation: time.AppendFormat takes five
// times as long.
func appendTime(b []byte, t time.Time) []byte {
	t = t.UTC()
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	b = appendDigits(b, year, 4)
	b = appendDigits(append(b, '-'), int(month), 2)
	b = appendDigits(append(b, '-'), day, 2)
	b = appendDigits(append(b, 'T'), hour, 2)
	b = appendDigits(append(b, ':'), minute, 2)
	b = appendDigits(append(b, ':'), second, 2)
	b = appendDigits(append(b, '.'), t.Nanosecond()/1000, 6)
	return append(b, 'Z')
}

// appendDigits appends a number of at most six digits, with leading zeros.
func appendDigits(b []byte, n, width int) []byte {
	var digits [6]byte
	for i := width - 1; i >= 0; i-- {
		digits[i] = byte('0' + n%10)
		n /= 10
	}
	return append(b, digits[:width]...)
}

// operation makes the line of an operation in the memory of line.
func (a *AccessLog) operation(line *scratch, req *op.Request, err error, now time.Time) []byte {
	b := line.begin(now, req.Conn)
	b = strconv.AppendInt(append(b, " op="...), int64(req.ID), 10)
	if req.Conn.Transport == op.UDP { // there was no connection that said it
		b = req.Conn.Remote.AppendTo(append(b, " from="...))
	}
	code := req.Reply.Code
	if err != nil {
		code = ldap.CodeOf(err)
	}
	b = a.request(append(b, ' '), line, req, code == ldap.InvalidDNSyntax)
	b = appendList(b, " controls=", len(req.Controls), func(b []byte, i int) []byte {
		c := &req.Controls[i]
		if b = appendPlain(b, c.OID); c.Critical {
			b = append(b, '!')
		}
		return b
	})
	if req.Identity != nil && !req.Identity.IsAnonymous() {
		b = append(b, " who="...)
		if dn := req.Identity.Name.DN; line.who.is(nil, dn) {
			b = append(b, line.who.shown...)
		} else {
			from := len(b)
			b = appendQuoted(b, dn)
			line.who.keep(nil, dn, b[from:])
		}
	}
	if req.Identity != nil && req.Identity.Proxied != nil {
		b = appendQuoted(append(b, " by="...), req.Identity.Proxied.Name.DN)
	}
	b = strconv.AppendInt(append(b, " result="...), int64(code), 10)
	t := &req.Trace
	if _, search := req.Op.(*ldap.SearchRequest); search {
		b = strconv.AppendInt(append(b, " entries="...), int64(t.Entries), 10)
		b = strconv.AppendInt(append(b, " examined="...), int64(t.Examined), 10)
	}
	b = strconv.AppendInt(append(b, " us="...), now.Sub(req.Start).Microseconds(), 10)
	if !t.Plan.Empty() {
		b = append(append(append(b, ` plan="`...), t.Plan.Bytes()...), '"')
	}
	if t.Seq != 0 {
		b = strconv.AppendUint(append(b, " seq="...), t.Seq, 10)
	}
	from := len(b)
	for i := range t.Sessions {
		if len(b)-from > maxLogged {
			b = strconv.AppendInt(append(b, " more_sessions="...), int64(len(t.Sessions)-i), 10)
			break
		}
		s := &t.Sessions[i]
		b = appendQuoted(append(b, " session="...), s.SourceIP+" "+s.SourceName+" "+s.Format+" "+s.Identifier)
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

// name is a name as it may be shown. Where the server found an odd one, what is none may be anything: a password that was
// typed into the wrong field.
func (a *AccessLog) name(dn []byte, odd bool) []byte {
	if odd {
		return a.secret.showStrictly(dn)
	}
	return a.secret.show(dn)
}

// request appends the operation and what it is about.
func (a *AccessLog) request(b []byte, line *scratch, req *op.Request, odd bool) []byte {
	switch m := req.Op.(type) {
	case *ldap.BindRequest:
		b = appendQuoted(append(b, "bind dn="...), a.name(m.Name, odd))
		if m.Auth == ldap.AuthSASL {
			return appendPlain(append(b, " method=sasl mech="...), m.Mechanism)
		}
		return append(b, " method=simple"...)
	case *ldap.SearchRequest:
		b = append(b, "search base="...)
		if secret := a.secret.load(); !odd && line.base.is(secret, string(m.Base)) {
			b = append(b, line.base.shown...)
		} else {
			from := len(b)
			b = appendQuoted(b, a.name(m.Base, odd))
			if !odd {
				line.base.keep(secret, string(m.Base), b[from:])
			}
		}
		b = append(append(b, " scope="...), scopeName(m.Scope)...)
		b = a.appendFilter(append(b, " filter="...), &m.Filter)
		return appendList(b, " attrs=", len(m.Attributes), func(b []byte, i int) []byte { return appendPlain(b, m.Attributes[i]) })
	case *ldap.ModifyRequest:
		b = appendQuoted(append(b, "modify dn="...), a.name(m.Object, odd))
		return appendList(b, " attrs=", len(m.Changes), func(b []byte, i int) []byte { return appendPlain(b, m.Changes[i].Attribute.Type) })
	case *ldap.AddRequest:
		return appendQuoted(append(b, "add dn="...), a.name(m.Entry, odd))
	case *ldap.DelRequest:
		return appendQuoted(append(b, "delete dn="...), a.name(m.Entry, odd))
	case *ldap.ModifyDNRequest:
		b = appendQuoted(append(b, "modrdn dn="...), a.name(m.Entry, odd))
		b = appendQuoted(append(b, " newrdn="...), a.name(m.NewRDN, odd))
		if m.HasNewSuperior {
			b = appendQuoted(append(b, " newsuperior="...), a.name(m.NewSuperior, odd))
		}
		return b
	case *ldap.CompareRequest:
		b = appendQuoted(append(b, "compare dn="...), a.name(m.Entry, odd))
		return appendPlain(append(b, " attr="...), m.Attr)
	case *ldap.ExtendedRequest:
		b = appendPlain(append(b, "extended oid="...), m.Name)
		if req.Trace.DN != "" {
			b = appendQuoted(append(b, " dn="...), a.secret.showStrictly([]byte(req.Trace.DN)))
		}
		return b
	}
	return append(b, "unknown"...)
}

// appendFilter appends a filter without the assertion values of secret attributes.
func (a *AccessLog) appendFilter(b []byte, f *ldap.Filter) []byte {
	shown := f
	for i := range f.Nodes {
		if n := &f.Nodes[i]; len(n.Attr) > 0 && a.secret.Has(n.Attr) {
			if shown == f {
				shown = &ldap.Filter{Nodes: append([]ldap.FilterNode(nil), f.Nodes...), Subs: append([]ldap.Substring(nil), f.Subs...)}
			}
			shown.Nodes[i].Value = []byte("withheld")
			for j := n.SubLo; n.Op == ldap.FilterSubstrings && j < n.SubHi; j++ {
				shown.Subs[j].Value = []byte("withheld")
			}
		}
	}
	// Most filters stand in a log as they are written: they are made in place, and taken back where they do not.
	start := len(b)
	b = shown.Append(append(b, '"'))
	if text := b[start+1:]; len(text) > maxLogged || !plain(text) {
		return appendQuoted(b[:start], string(text))
	}
	return append(b, '"')
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

// appendList appends items with commas between them, nothing where there are none. Where they are too many the number of those that
// are left out is the last.
func appendList(b []byte, name string, n int, item func(b []byte, i int) []byte) []byte {
	start := len(b)
	for i := range n {
		if i == 0 {
			b = append(b, name...)
		} else {
			b = append(b, ',')
		}
		if len(b)-start > maxLogged {
			return strconv.AppendInt(append(b, "... "...), int64(n-i), 10)
		}
		b = item(b, i)
	}
	return b
}

// plain reports whether a text needs no escapes.
func plain[T ~string | ~[]byte](s T) bool {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c >= 0x7f || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// appendQuoted appends a string in double quotes; what could end the line or the quotes, or steer a terminal, is escaped octet by
// octet, so that no client can write lines of its own.
func appendQuoted[T ~string | ~[]byte](b []byte, s T) []byte {
	if len(s) > maxLogged {
		s = s[:maxLogged]
	}
	b = append(b, '"')
	if plain(s) {
		return append(append(b, s...), '"')
	}
	for text := string(s); text != ""; {
		r, size := utf8.DecodeRuneInString(text)
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r < 0x20 || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 || r == utf8.RuneError && size == 1:
			for _, c := range []byte(text[:size]) {
				b = append(b, '\\', 'x', hexDigits[c>>4], hexDigits[c&15])
			}
		default:
			b = append(b, text[:size]...)
		}
		text = text[size:]
	}
	return append(b, '"')
}

// appendPlain appends an OID or a description as it is, as long as it looks like one.
func appendPlain(b, s []byte) []byte {
	for i := range s {
		c := s[i]
		if c <= ' ' || c == '"' || c == ',' || c >= 0x7f || len(s) > 256 {
			return appendQuoted(b, s)
		}
	}
	return append(b, s...)
}
