package ldap

import (
	"strings"
	"unicode/utf8"
)

// ParseFilter parses the string form of a filter (RFC 4515), with the absolute filters (&) and (|) of RFC 4526.
//
// Beyond the RFC it takes what tools in the field write: blanks around the parts between parentheses, a single item
// without its parentheses (uid=x), raw octets that are not UTF-8, adjacent asterisks as one, and the LDAPv2 escapes
// \( \) \* \\. The error is an *Error with protocolError whose diagnostic counts octets from 1.
func ParseFilter(s string) (Filter, error) {
	p := filterParser{text: []byte(s)}
	p.blanks()
	var err *Error
	if p.at < len(p.text) && p.text[p.at] != '(' {
		p.bare = true
		p.text = []byte(strings.TrimRight(s, " \t\r\n"))
		if c := p.text[p.at]; c == '&' || c == '|' || c == '!' {
			err = p.bad(p.at, "%q needs parentheses around it: write (%c...)", c, c)
		} else {
			_, err = p.item()
		}
	} else if _, err = p.filter(1); err == nil {
		p.blanks()
	}
	if err == nil && p.at < len(p.text) {
		err = p.bad(p.at, "the filter is complete here; remove what follows, or join both with (&...) or (|...)")
	}
	if err != nil {
		return Filter{}, err
	}
	return p.f, nil
}

// filterParser walks over text, which is its own copy: values are unescaped in place and the filter aliases them.
type filterParser struct {
	text []byte
	at   int
	bare bool // the filter is one item without parentheses
	f    Filter
}

func (p *filterParser) bad(at int, format string, args ...any) *Error {
	e := Errorf(ProtocolError, format, args...)
	return Errorf(ProtocolError, "filter, octet %d: %s", at+1, e.Diagnostic)
}

func (p *filterParser) blanks() {
	for p.at < len(p.text) && isBlank(p.text[p.at]) {
		p.at++
	}
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// filter parses one parenthesised filter; it recurses at most MaxFilterDepth deep.
func (p *filterParser) filter(depth int) (int32, *Error) {
	if depth > MaxFilterDepth {
		return None, filterTooDeep()
	}
	if p.at >= len(p.text) {
		return None, p.bad(p.at, "the text ends where a filter such as (uid=x) must stand")
	}
	if p.text[p.at] != '(' {
		return None, p.bad(p.at, "want an opening parenthesis, as in (uid=x)")
	}
	open := p.at
	p.at++
	p.blanks()
	if p.at >= len(p.text) {
		return None, p.bad(open, "this parenthesis is never closed")
	}
	var n int32
	var err *Error
	switch c := p.text[p.at]; c {
	case '&', '|':
		p.at++
		n, err = p.list(c, open, depth)
	case '!':
		p.at++
		n, err = p.not(depth)
	case '(':
		return None, p.bad(p.at, "an operator & | ! or an attribute must stand before this parenthesis")
	default:
		n, err = p.item()
	}
	if err != nil {
		return None, err
	}
	if p.at >= len(p.text) {
		return None, p.bad(open, "this parenthesis is never closed")
	}
	if p.text[p.at] != ')' {
		return None, p.bad(p.at, "want a closing parenthesis")
	}
	p.at++
	return n, nil
}

func (p *filterParser) node(op FilterOp) (int32, *Error) {
	n, ok := p.f.add(FilterNode{Op: op, First: None, Next: None})
	if !ok {
		return None, filterTooLong()
	}
	return n, nil
}

func (p *filterParser) list(c byte, open, depth int) (int32, *Error) {
	op := FilterAnd
	if c == '|' {
		op = FilterOr
	}
	n, err := p.node(op)
	if err != nil {
		return None, err
	}
	last := None
	for {
		p.blanks()
		if p.at >= len(p.text) {
			return None, p.bad(open, "this parenthesis is never closed")
		}
		if p.text[p.at] == ')' {
			return n, nil
		}
		child, err := p.filter(depth + 1)
		if err != nil {
			return None, err
		}
		if last == None {
			p.f.Nodes[n].First = child
		} else {
			p.f.Nodes[last].Next = child
		}
		last = child
	}
}

func (p *filterParser) not(depth int) (int32, *Error) {
	n, err := p.node(FilterNot)
	if err != nil {
		return None, err
	}
	p.blanks()
	child, err := p.filter(depth + 1)
	if err != nil {
		return None, err
	}
	p.f.Nodes[n].First = child
	p.blanks()
	if p.at < len(p.text) && p.text[p.at] == '(' {
		return None, p.bad(p.at, "! takes exactly one filter; join several with (&...) or (|...)")
	}
	return n, nil
}

// item parses attribute, operator and value, up to the closing parenthesis or, without parentheses, the end.
func (p *filterParser) item() (int32, *Error) {
	start := p.at
	for p.at < len(p.text) && strings.IndexByte("=~<>:()", p.text[p.at]) < 0 {
		p.at++
	}
	attr := p.text[start:p.at:p.at]
	if p.at >= len(p.text) || p.text[p.at] == '(' || p.text[p.at] == ')' {
		return None, p.bad(p.at, "want an operator after the attribute: one of = ~= >= <= :=")
	}
	op := FilterEquality
	switch c := p.text[p.at]; c {
	case ':':
		return p.extensible(start, attr)
	case '~':
		op = FilterApprox
	case '>':
		op = FilterGreaterOrEqual
	case '<':
		op = FilterLessOrEqual
	}
	if op != FilterEquality {
		p.at++
		if p.at >= len(p.text) || p.text[p.at] != '=' {
			return None, p.bad(p.at, "want = here: the operators are = ~= >= <= := ")
		}
	}
	p.at++
	if err := p.description(start, attr); err != nil {
		return None, err
	}
	n, err := p.node(op)
	if err != nil {
		return None, err
	}
	p.f.Nodes[n].Attr = attr
	if op == FilterEquality {
		return n, p.assertion(n)
	}
	v, err := p.value()
	if err != nil {
		return None, err
	}
	p.f.Nodes[n].Value = v
	return n, p.noAsterisk()
}

// description checks an attribute description (RFC 4512 section 2.5). Underscores are taken too: schemas have them.
func (p *filterParser) description(at int, attr []byte) *Error {
	if len(attr) == 0 {
		return p.bad(at, "an attribute is missing before the operator, as in (uid=x)")
	}
	for i, c := range attr {
		if !isAlpha(c) && !isDigit(c) && (i == 0 || c != '-' && c != '.' && c != ';' && c != '_') {
			return p.bad(at+i, "%q cannot stand in an attribute description such as cn;lang-en", c)
		}
		if c == ';' && (i+1 == len(attr) || attr[i+1] == ';') {
			return p.bad(at+i, "an option is missing after ; in the attribute description")
		}
	}
	return nil
}

// extensible parses [attr][:dn][:rule]:=value, the cursor on the first colon.
func (p *filterParser) extensible(start int, attr []byte) (int32, *Error) {
	n, err := p.node(FilterExtensible)
	if err != nil {
		return None, err
	}
	var rule []byte
	var dn, ruled bool
	for {
		p.at++ // the colon
		if p.at < len(p.text) && p.text[p.at] == '=' {
			p.at++
			break
		}
		from := p.at
		for p.at < len(p.text) && strings.IndexByte("=:()~<>", p.text[p.at]) < 0 {
			p.at++
		}
		part := p.text[from:p.at:p.at]
		if p.at >= len(p.text) || p.text[p.at] != ':' {
			return None, p.bad(p.at, "want := in an extensible match such as (cn:dn:caseExactMatch:=x)")
		}
		switch {
		case !dn && !ruled && strings.EqualFold(string(part), "dn"):
			dn = true
		case !ruled:
			if err := p.description(from, part); err != nil {
				return None, err
			}
			rule, ruled = part, true
		default:
			return None, p.bad(from, "an extensible match has at most :dn and one matching rule before :=")
		}
	}
	if len(attr) > 0 {
		if err := p.description(start, attr); err != nil {
			return None, err
		}
	} else if !ruled {
		return None, p.bad(start, "an extensible match needs an attribute or a matching rule before :=")
	}
	v, err := p.value()
	if err != nil {
		return None, err
	}
	node := &p.f.Nodes[n]
	node.Attr, node.Rule, node.DNAttrs, node.Value = attr, rule, dn, v
	return n, p.noAsterisk()
}

func (p *filterParser) noAsterisk() *Error {
	if p.at < len(p.text) && p.text[p.at] == '*' {
		return p.bad(p.at, `an asterisk is a wildcard with = only; write \2a for the character`)
	}
	return nil
}

// assertion parses what follows "=": presence, substrings or an equality value.
func (p *filterParser) assertion(n int32) *Error {
	lo := int32(len(p.f.Subs))
	kind := SubInitial
	for {
		v, err := p.value()
		if err != nil {
			return err
		}
		star := p.at < len(p.text) && p.text[p.at] == '*'
		node := &p.f.Nodes[n]
		if !star && kind == SubInitial {
			node.Value = v
			return nil
		}
		if !star {
			kind = SubFinal
		}
		if len(v) > 0 {
			if len(p.f.Nodes)+len(p.f.Subs) >= MaxFilterNodes {
				return filterTooLong()
			}
			p.f.Subs = append(p.f.Subs, Substring{Kind: kind, Value: v})
		}
		if star {
			p.at++
			kind = SubAny
			continue
		}
		if hi := int32(len(p.f.Subs)); hi > lo {
			node.Op, node.SubLo, node.SubHi = FilterSubstrings, lo, hi
		} else {
			node.Op = FilterPresent
		}
		return nil
	}
}

// value parses up to an asterisk, a parenthesis or the end, and undoes the escapes in place.
func (p *filterParser) value() ([]byte, *Error) {
	start, out := p.at, p.at
	for p.at < len(p.text) {
		c := p.text[p.at]
		switch c {
		case '*', ')':
			if c == ')' && p.bare {
				return nil, p.bad(p.at, `no parenthesis is open here; write \29 for the character`)
			}
			return p.text[start:out:out], nil
		case '(':
			return nil, p.bad(p.at, `a parenthesis in a value is written \28`)
		case 0:
			return nil, p.bad(p.at, `a NUL in a value is written \00`)
		case '\\':
			b, size, ok := unescape(p.text[p.at+1:])
			if !ok {
				return nil, p.bad(p.at, `a backslash is followed by two hexadecimal digits; the backslash itself is \5c`)
			}
			p.text[out] = b
			out++
			p.at += 1 + size
		default:
			p.text[out] = c
			out++
			p.at++
		}
	}
	return p.text[start:out:out], nil
}

func unescape(s []byte) (b byte, size int, ok bool) {
	if len(s) >= 2 {
		if hi, lo := hexDigit(s[0]), hexDigit(s[1]); hi >= 0 && lo >= 0 {
			return byte(hi<<4 | lo), 2, true
		}
	}
	if len(s) >= 1 && strings.IndexByte(`()*\`, s[0]) >= 0 {
		return s[0], 1, true
	}
	return 0, 0, false
}

func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

func isAlpha(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// String returns the filter as RFC 4515 writes it; ParseFilter gives the same filter back when its attribute
// descriptions and rules are well-formed. Octets that are not UTF-8, and control characters, are escaped even where the
// RFC does not ask for it, so that the text is fit for a log line. A Filter without nodes is the empty string.
func (f *Filter) String() string { return string(f.Append(nil)) }

// Append appends what String returns.
func (f *Filter) Append(dst []byte) []byte {
	if len(f.Nodes) == 0 {
		return dst
	}
	return f.appendText(dst, 0)
}

func (f *Filter) appendText(dst []byte, at int32) []byte {
	n := &f.Nodes[at]
	dst = append(dst, '(')
	switch n.Op {
	case FilterAnd, FilterOr, FilterNot:
		dst = append(dst, "&|!"[n.Op])
		for c := n.First; c != None; c = f.Nodes[c].Next {
			dst = f.appendText(dst, c)
		}
		return append(dst, ')')
	}
	dst = appendFilterValue(dst, n.Attr)
	switch n.Op {
	case FilterPresent:
		dst = append(dst, "=*"...)
	case FilterSubstrings:
		dst = append(dst, '=')
		for i, s := range f.Subs[n.SubLo:n.SubHi] {
			if i == 0 && s.Kind != SubInitial {
				dst = append(dst, '*')
			}
			dst = appendFilterValue(dst, s.Value)
			if s.Kind != SubFinal {
				dst = append(dst, '*')
			}
		}
	default:
		switch n.Op {
		case FilterGreaterOrEqual:
			dst = append(dst, '>')
		case FilterLessOrEqual:
			dst = append(dst, '<')
		case FilterApprox:
			dst = append(dst, '~')
		case FilterExtensible:
			if n.DNAttrs {
				dst = append(dst, ":dn"...)
			}
			if len(n.Rule) > 0 {
				dst = append(dst, ':')
				if !n.DNAttrs && strings.EqualFold(string(n.Rule), "dn") {
					dst = append(dst, `\64n`...) // a rule of that name must not read as the flag
				} else {
					dst = appendFilterValue(dst, n.Rule)
				}
			}
			dst = append(dst, ':')
		}
		dst = appendFilterValue(append(dst, '='), n.Value)
	}
	return append(dst, ')')
}

// EscapeFilterValue returns v as it must stand in the string form of a filter, so that it is a value and nothing else
// (RFC 4515 section 3). Building a filter from constructors such as Eq needs no escaping and is to be preferred.
func EscapeFilterValue(v string) string { return string(appendFilterValue(nil, []byte(v))) }

const hexDigits = "0123456789abcdef"

func appendFilterValue(dst, v []byte) []byte {
	for i := 0; i < len(v); {
		c := v[i]
		if c >= utf8.RuneSelf {
			if _, size := utf8.DecodeRune(v[i:]); size > 1 {
				dst = append(dst, v[i:i+size]...)
				i += size
				continue
			}
		}
		if c < ' ' || c >= 0x7f || c == '*' || c == '(' || c == ')' || c == '\\' {
			dst = append(dst, '\\', hexDigits[c>>4], hexDigits[c&15])
		} else {
			dst = append(dst, c)
		}
		i++
	}
	return dst
}
