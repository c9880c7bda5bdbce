package schema

import (
	"fmt"
	"strconv"
	"strings"
)

// A rawDefinition is one definition taken apart but not yet joined with the others: terms by their keyword.
type rawDefinition struct {
	Common
	kind  string // see keywords
	terms map[string][]string
	ids   []int // of a structure rule's SUP, and its own first
	// yields says that the definition gives way to another: see File.
	yields bool
}

// maxDefinition bounds the text of one definition, in octets.
const maxDefinition = 1 << 20

// A reader takes the notation of RFC 4512 section 4.1 apart.
type reader struct {
	st     *statement
	text   string
	off    int
	tok    string // current token, without quotes and with escapes resolved
	quoted bool
	start  int // offset of tok
	err    error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%s: %s", r.st.position(r.start), fmt.Sprintf(format, args...))
	}
}

// next moves to the next token: "(", ")", "$", a word, or a quoted string. At the end tok is empty and not quoted.
func (r *reader) next() {
	for r.off < len(r.text) && isSpace(r.text[r.off]) {
		r.off++
	}
	r.start, r.quoted, r.tok = r.off, false, ""
	if r.off == len(r.text) || r.err != nil {
		return
	}
	switch c := r.text[r.off]; c {
	case '(', ')', '$':
		r.tok = r.text[r.off : r.off+1]
		r.off++
	case '\'', '"':
		end := strings.IndexByte(r.text[r.off+1:], c)
		if end < 0 {
			r.fail("a string begins with %c and does not end; write %c behind it", c, c)
			return
		}
		r.quoted = true
		r.tok = unescape(r.text[r.off+1 : r.off+1+end])
		r.off += end + 2
	default:
		end := r.off
		for end < len(r.text) && !isSpace(r.text[end]) && !strings.ContainsRune("()$'\"", rune(r.text[end])) {
			end++
		}
		r.tok = r.text[r.off:end]
		r.off = end
	}
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// unescape resolves the \27 and \5C of a qdstring (RFC 4512 section 4.1); any other backslash stands for itself.
func unescape(s string) string {
	return unquoter.Replace(s)
}

func (r *reader) at(s string) bool { return !r.quoted && r.tok == s && r.err == nil }

func (r *reader) atEnd() bool { return r.err != nil || r.start >= len(r.text) && !r.quoted }

// word takes one word or string and checks that it is there.
func (r *reader) word(what string) string {
	if r.err != nil {
		return ""
	}
	if r.atEnd() || !r.quoted && (r.tok == "(" || r.tok == ")" || r.tok == "$") {
		r.fail("%s is missing before %q", what, clip(r.text[min(r.start, len(r.text)):]))
		return ""
	}
	w := r.tok
	r.next()
	return w
}

// list takes one word or a parenthesised list, with or without "$" between its members.
func (r *reader) list(what string) []string {
	if !r.at("(") {
		return []string{r.word(what)}
	}
	r.next()
	var out []string
	for !r.at(")") {
		if r.at("$") {
			r.next()
			continue
		}
		w := r.word(what + " or \")\"")
		if r.err != nil {
			return nil
		}
		out = append(out, w)
	}
	r.next()
	return out
}

// termForms says for each kind of definition which terms it has: 'f' a flag, 'w' one word, 'l' a list.
var termForms = map[string]map[string]byte{
	"attributetypes": {"SUP": 'w', "EQUALITY": 'w', "ORDERING": 'w', "SUBSTR": 'w', "SYNTAX": 'w', "SINGLE-VALUE": 'f',
		"COLLECTIVE": 'f', "NO-USER-MODIFICATION": 'f', "USAGE": 'w'},
	"objectclasses":     {"SUP": 'l', "ABSTRACT": 'f', "STRUCTURAL": 'f', "AUXILIARY": 'f', "MUST": 'l', "MAY": 'l'},
	"ditcontentrules":   {"AUX": 'l', "MUST": 'l', "MAY": 'l', "NOT": 'l'},
	"ldapsyntaxes":      {},
	"matchingrules":     {"SYNTAX": 'w'},
	"matchingruleuse":   {"APPLIES": 'l'},
	"nameforms":         {"OC": 'w', "MUST": 'l', "MAY": 'l'},
	"ditstructurerules": {"FORM": 'w', "SUP": 'l'},
}

// readDefinition parses one statement other than objectidentifier.
func readDefinition(st *statement, macros map[string]string) (*rawDefinition, error) {
	r := &reader{st: st, text: st.text}
	if len(r.text) > maxDefinition {
		r.fail("a definition of %d octets is longer than the %d allowed", len(r.text), maxDefinition)
		return nil, r.err
	}
	r.off = len(r.text) - len(trimIndex(r.text))
	d := &rawDefinition{kind: st.keyword, terms: map[string][]string{}}
	d.Origin = st.position(0)
	r.next()
	if !r.at("(") {
		r.fail("a definition begins with \"(\", not with %q", clip(r.tok))
		return nil, r.err
	}
	r.next()
	oidStart := r.start
	oid := r.word("the OID")
	if r.err != nil {
		return nil, r.err
	}
	r.readTerms(d)
	if r.err != nil {
		return nil, r.err
	}
	if !r.atEnd() {
		r.fail("text stands behind the closing \")\": %q", clip(r.text[r.start:]))
		return nil, r.err
	}
	r.start = oidStart
	if d.kind == "ditstructurerules" {
		d.readRuleIDs(r, oid)
	} else {
		d.OID = r.oid(oid, macros)
	}
	d.expand(macros)
	return d, r.err
}

// trimIndex removes the "{n}" that orders values in cn=config.
func trimIndex(s string) string {
	t := strings.TrimLeft(s, " \t")
	if strings.HasPrefix(t, "{") {
		if i := strings.IndexByte(t, '}'); i > 0 && strings.Trim(t[1:i], "-0123456789") == "" {
			return t[i+1:]
		}
	}
	return s
}

// readTerms takes everything up to and including the closing parenthesis.
func (r *reader) readTerms(d *rawDefinition) {
	forms := termForms[d.kind]
	for !r.at(")") {
		if r.atEnd() {
			r.start = len(r.text)
			r.fail("the definition does not end; write \")\" behind it")
			return
		}
		term, start := strings.ToUpper(r.word("a keyword")), r.start
		if r.err != nil {
			return
		}
		if _, twice := d.terms[term]; twice {
			r.fail("%s is written twice", clip(term))
			return
		}
		switch form := forms[term]; {
		case term == "NAME":
			d.terms[term] = nil
			for _, n := range r.list("a name") {
				if !validName(n) {
					r.fail("%q is not a name: write a letter and then letters, digits and hyphens", clip(n))
					return
				}
				d.Names = append(d.Names, n)
			}
		case term == "DESC":
			d.terms[term] = nil
			d.Desc = strings.Join(r.list("the description"), " ")
		case term == "OBSOLETE":
			d.Obsolete = true
			d.terms[term] = nil
		case strings.HasPrefix(term, "X-"):
			d.terms[term] = nil
			d.Extensions = append(d.Extensions, Extension{Name: term, Values: r.list("a value of " + clip(term))})
		case form == 'f':
			d.terms[term] = []string{}
		case form == 'w':
			d.terms[term] = []string{r.word("the value of " + term)}
		case form == 'l':
			l := r.list("a name in " + term)
			if len(l) == 0 {
				r.fail("%s is an empty list; leave it out or name something", term)
			}
			d.terms[term] = l
		default:
			r.start = max(0, start-1)
			r.fail("%q is not a term of %s; RFC 4512 section 4.1 lists them", clip(term), d.kind)
		}
		if r.err != nil {
			return
		}
	}
	r.next()
}

// validName checks a descr (RFC 4512 section 1.4). An underscore is let pass, as other servers do and vendors use.
func validName(s string) bool {
	if s == "" || !isAlpha(s[0]) || len(s) > 255 {
		return false
	}
	for i := range len(s) {
		if !isKeyChar(s[i]) {
			return false
		}
	}
	return true
}

func isAlpha(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }
func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// validOID checks a numericoid (RFC 4512 section 1.4): at least two arcs, no leading zeros.
func validOID[T ~string | ~[]byte](s T) bool {
	arcs, digits := 1, 0
	first := byte(0)
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case isDigit(c):
			if digits > 0 && first == '0' {
				return false
			}
			if digits == 0 {
				first = c
			}
			digits++
		case c == '.' && digits > 0:
			arcs++
			digits = 0
		default:
			return false
		}
	}
	return digits > 0 && arcs > 1
}

// oid resolves a macro of objectidentifier, "name" or "name:1.2", and checks the result.
func (r *reader) oid(s string, macros map[string]string) string {
	full := expandMacro(s, macros)
	if !validOID(full) {
		if name, _, _ := strings.Cut(s, ":"); validName(name) {
			r.fail("%q is not a numeric OID and no objectidentifier of this name was defined before; write a number such as 2.25.123.1 or define the name first", clip(s))
		} else {
			r.fail("%q is not a numeric OID; write numbers with dots between them, such as 2.25.123.1", clip(s))
		}
	}
	return full
}

func expandMacro(s string, macros map[string]string) string {
	name, suffix, more := strings.Cut(s, ":")
	value, ok := macros[strings.ToLower(name)]
	switch {
	case !ok:
		return s
	case more:
		return value + "." + suffix
	}
	return value
}

// expand resolves macros in the terms that may be OIDs.
func (d *rawDefinition) expand(macros map[string]string) {
	for _, term := range []string{"SUP", "EQUALITY", "ORDERING", "SUBSTR", "SYNTAX", "MUST", "MAY", "NOT", "AUX", "OC", "FORM"} {
		for i, v := range d.terms[term] {
			name, length, bounded := strings.Cut(v, "{")
			// A defined name wins over a macro only where macros cannot stand: in references by name.
			if full := expandMacro(name, macros); full != name && (term == "SYNTAX" || strings.Contains(name, ":")) {
				if bounded {
					full += "{" + length
				}
				d.terms[term][i] = full
			}
		}
	}
}

// readRuleIDs reads the numbers of a DIT structure rule.
func (d *rawDefinition) readRuleIDs(r *reader, own string) {
	for _, s := range append([]string{own}, d.terms["SUP"]...) {
		n, err := strconv.ParseUint(s, 10, 31)
		if err != nil {
			r.fail("%q is not the number of a DIT structure rule; write a number such as 1", clip(s))
			return
		}
		d.ids = append(d.ids, int(n))
	}
}

// readMacro parses "name oid" of an objectidentifier statement.
func readMacro(st *statement, macros map[string]string) error {
	r := &reader{st: st, text: st.text}
	r.off = len(r.text) - len(trimIndex(r.text))
	r.next()
	name := r.word("the name")
	start := r.start
	value := r.word("the OID")
	if r.err == nil && !r.atEnd() {
		r.fail("text stands behind the OID: %q", clip(r.text[r.start:]))
	}
	if r.err != nil {
		return r.err
	}
	if !validName(name) {
		r.fail("%q is not a name: write a letter and then letters, digits and hyphens", clip(name))
		return r.err
	}
	r.start = start
	oid := r.oid(value, macros)
	if r.err != nil {
		return r.err
	}
	key := strings.ToLower(name)
	if old, ok := macros[key]; ok && old != oid {
		r.fail("objectidentifier %s is %s already; choose another name", name, old)
		return r.err
	}
	macros[key] = oid
	return nil
}
