package access

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"portolan/internal/schema"
)

// Expectation is one line of a test of access rules: what a client may do with an entry, or with one attribute of it.
type Expectation struct {
	// Line is where it stands, Text as it stands there.
	Line int    `json:"line"`
	Text string `json:"text"`
	// As is the DN of the client, "anonymous" or "admin". From is its address, empty for a Unix socket. TLS is the strength of
	// the connection in bits, 0 for none. Method is how it authenticated.
	As     string `json:"as"`
	From   string `json:"from"`
	TLS    int    `json:"tls"`
	Method string `json:"method"`
	// On is the DN of the entry. With Added it is asked about as if it were being added now; with Missing there is none.
	On      string `json:"on"`
	Added   bool   `json:"added,omitempty"`
	Missing bool   `json:"missing,omitempty"`
	// Attr is what of the entry, empty for the entry itself. With HasValue the rights to write Value alone are meant.
	Attr     string `json:"attr,omitempty"`
	Value    string `json:"value,omitempty"`
	HasValue bool   `json:"has_value,omitempty"`
	// Verb says how Rights are meant.
	Verb   Verb  `json:"verb"`
	Rights Right `json:"rights"`
}

// Verb is how an Expectation means its rights.
type Verb string

// Verbs.
const (
	Exactly Verb = "="       // these rights and no other
	May     Verb = "may"     // all of these rights
	MayNot  Verb = "may not" // none of these rights
)

// Decide returns the rights on a target, on an attribute of it, or to write one value of one.
func Decide(p *Policy, s *Subject, t *Target, d schema.Description, value string, hasValue bool) Right {
	e := p.Evaluator(s)
	switch {
	case d.Type == nil:
		return e.EntryRights(t)
	case !hasValue:
		return e.AttrRights(t, d)
	}
	var have Right
	for _, r := range [...]Right{Add, Delete} {
		if e.Value(t, d, []byte(value), r) {
			have |= r
		}
	}
	return have
}

// Met reports whether rights are as expected.
func (x *Expectation) Met(have Right) bool {
	return x.Wrong(have) == 0
}

// Wrong returns the rights that are not as expected: those that are there and should not be, and those that are not and should.
func (x *Expectation) Wrong(have Right) Right {
	have, want := whole(have), whole(x.Rights)
	switch x.Verb {
	case May:
		return want &^ have
	case MayNot:
		return want & have
	}
	return have ^ want
}

// whole makes Modify say no more than its parts do.
func whole(r Right) Right {
	if r&Modify != 0 {
		r |= writing
	}
	return r &^ Modify
}

// ParseExpectations reads a test of access rules: one expectation, definition or comment a line. The error names the line of
// the first mistake and says what to write.
//
//	let bob = uid=bob,ou=people,dc=example,dc=org
//	default from 10.5.0.7 over tls128 by simple
//	CLIENT [from ADDRESS] [over tls[BITS]|clear|unix] [by METHOD]: WHAT = RIGHTS
//	CLIENT ...: WHAT may RIGHTS
//	CLIENT ...: WHAT may not RIGHTS
//
// CLIENT is a name that was defined, a DN in quotation marks, anonymous or admin. WHAT is an entry (a name or a DN in quotation
// marks), ATTRIBUTE[, ATTRIBUTE...] of an entry, or VALUE in ATTRIBUTE of an entry; before an entry stands "added" where it is
// meant as it would be if it were added now, and "no" where there must be none. A number sign begins a comment.
func ParseExpectations(file, text string) ([]Expectation, error) {
	p := expectations{file: file, names: make(map[string]string), usual: Expectation{From: "127.0.0.1", TLS: 256, Method: "simple"}}
	for line := range strings.Lines(text) {
		p.line++
		if err := p.read(strings.TrimSpace(line)); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, p.line, err)
		}
	}
	if len(p.out) == 0 {
		return nil, fmt.Errorf("%s: there is no expectation in it: write lines such as \"anonymous: \"uid=bob,dc=example,dc=org\" = none\"", file)
	}
	return p.out, nil
}

// expectations is a parser.
type expectations struct {
	file  string
	line  int
	names map[string]string // defined by let
	usual Expectation       // the connection where none is written
	out   []Expectation

	tokens []token
}

// token is a word, a text in quotation marks, or one of : , =
type token struct {
	text   string
	quoted bool
}

func (p *expectations) read(line string) error {
	if rest, ok := strings.CutPrefix(line, "let "); ok {
		return p.let(rest)
	}
	tokens, err := split(line)
	if err != nil || len(tokens) == 0 {
		return err
	}
	p.tokens = tokens
	if p.word("default") {
		x := p.usual
		if err := p.connection(&x); err != nil {
			return err
		}
		if len(p.tokens) > 0 {
			return fmt.Errorf("%q is too much: a default is from ADDRESS, over tlsBITS, clear or unix, by METHOD", p.tokens[0].text)
		}
		p.usual = x
		return nil
	}
	return p.expectation(line)
}

// let defines a name.
func (p *expectations) let(rest string) error {
	name, dn, ok := strings.Cut(rest, "=")
	name, dn = strings.TrimSpace(name), strings.TrimSpace(dn)
	if before, _, comment := strings.Cut(dn, " #"); comment {
		dn = strings.TrimSpace(before)
	}
	if len(dn) > 1 && dn[0] == '"' && dn[len(dn)-1] == '"' {
		dn = dn[1 : len(dn)-1]
	}
	switch {
	case !ok || name == "" || dn == "" || strings.ContainsAny(name, " \t\":,"):
		return fmt.Errorf("write a definition as: let bob = uid=bob,ou=people,dc=example,dc=org")
	case name == "anonymous" || name == "admin" || name == "added" || name == "no":
		return fmt.Errorf("%q has a meaning already: choose another name", name)
	case p.names[name] != "":
		return fmt.Errorf("%q is defined already", name)
	}
	p.names[name] = dn
	return nil
}

// split cuts a line into tokens. A colon belongs to a word unless something ends behind it: addresses have them.
func split(line string) ([]token, error) {
	var out []token
	for i := 0; i < len(line); {
		switch c := line[i]; {
		case c == ' ' || c == '\t':
			i++
		case c == '#':
			return out, nil
		case c == '"':
			end := strings.IndexByte(line[i+1:], '"')
			if end < 0 {
				return nil, fmt.Errorf("the quotation mark is never closed")
			}
			out = append(out, token{line[i+1 : i+1+end], true})
			i += end + 2
		case c == ',' || c == '=' || c == ':' && ends(line[i+1:]):
			out = append(out, token{text: string(c)})
			i++
		default:
			start := i
			for i < len(line) && !strings.ContainsRune(" \t,=\"#", rune(line[i])) && (line[i] != ':' || !ends(line[i+1:])) {
				i++
			}
			out = append(out, token{text: line[start:i]})
		}
	}
	return out, nil
}

func ends(rest string) bool { return rest == "" || rest[0] == ' ' || rest[0] == '\t' }

// word takes a word if it is the next token.
func (p *expectations) word(w string) bool {
	if len(p.tokens) == 0 || p.tokens[0].quoted || p.tokens[0].text != w {
		return false
	}
	p.tokens = p.tokens[1:]
	return true
}

// take takes the next token; what says what it must be.
func (p *expectations) take(what string) (token, error) {
	if len(p.tokens) == 0 {
		return token{}, fmt.Errorf("the line ends where %s must stand", what)
	}
	t := p.tokens[0]
	if !t.quoted && (t.text == ":" || t.text == "," || t.text == "=") {
		return token{}, fmt.Errorf("%q stands where %s must: put a name with commas in quotation marks", t.text, what)
	}
	p.tokens = p.tokens[1:]
	return t, nil
}

// dn is the name that a token means.
func (p *expectations) dn(t token) (string, error) {
	if t.quoted {
		return t.text, nil
	}
	if dn := p.names[t.text]; dn != "" {
		return dn, nil
	}
	return "", fmt.Errorf("nobody is called %q here: define the name (let %s = DN), or write a DN in quotation marks", t.text, t.text)
}

// connection reads from, over and by.
func (p *expectations) connection(x *Expectation) error {
	for {
		switch {
		case p.word("from"):
			t, err := p.take("an address")
			if err != nil {
				return err
			}
			addr, err := netip.ParseAddr(t.text)
			if err != nil {
				return fmt.Errorf("%q is not an IP address", t.text)
			}
			x.From = addr.String()
		case p.word("over"):
			t, err := p.take("tls, clear or unix")
			if err != nil {
				return err
			}
			if err := x.over(t.text); err != nil {
				return err
			}
		case p.word("by"):
			t, err := p.take("simple or a SASL mechanism")
			if err != nil {
				return err
			}
			x.Method = t.text
		default:
			return nil
		}
	}
}

func (x *Expectation) over(what string) error {
	switch bits, ok := strings.CutPrefix(what, "tls"); {
	case what == "clear":
		x.TLS = 0
	case what == "unix":
		x.TLS, x.From = 0, ""
	case ok && bits == "":
		x.TLS = 256
	case ok:
		n, err := strconv.Atoi(bits)
		if err != nil || n < 1 || n > 512 {
			return fmt.Errorf("%q is no strength: write tls128, or tls for 256 bits", what)
		}
		x.TLS = n
	default:
		return fmt.Errorf("a client is not connected over %q: write tls128, clear or unix", what)
	}
	return nil
}

// expectation reads a line that expects something. Several attributes are as many expectations.
func (p *expectations) expectation(line string) error {
	x := p.usual
	x.Line, x.Text = p.line, line
	t, err := p.take("a client")
	if err != nil {
		return err
	}
	if x.As = t.text; t.quoted || t.text != "anonymous" && t.text != "admin" {
		if x.As, err = p.dn(t); err != nil {
			return err
		}
	}
	if x.As == "anonymous" {
		x.Method = ""
	}
	if err := p.connection(&x); err != nil {
		return err
	}
	if !p.word(":") {
		return fmt.Errorf("want a colon behind the client, as in bob from 10.5.0.7 over tls128: mail of alice may read")
	}
	attrs, err := p.matter(&x)
	if err != nil {
		return err
	}
	if err := p.verdict(&x, len(attrs) > 0); err != nil {
		return err
	}
	if len(attrs) == 0 {
		p.out = append(p.out, x)
	}
	for _, attr := range attrs {
		x.Attr = attr
		p.out = append(p.out, x)
	}
	return nil
}

// matter reads what the expectation is about.
func (p *expectations) matter(x *Expectation) (attrs []string, err error) {
	at := p.index("of")
	if at < 0 {
		return nil, p.entry(x)
	}
	if in := p.index("in"); in >= 0 && in < at {
		t, err := p.take("a value")
		if err != nil {
			return nil, err
		}
		if x.Value, x.HasValue = t.text, true; !t.quoted {
			if x.Value, err = p.dn(t); err != nil {
				return nil, err
			}
		}
		if !p.word("in") {
			return nil, fmt.Errorf("one value can be asked about, not several: write VALUE in ATTRIBUTE of ENTRY")
		}
	}
	for {
		t, err := p.take("an attribute")
		if err != nil {
			return nil, err
		}
		attrs = append(attrs, t.text)
		if p.word(",") {
			continue
		}
		if !p.word("of") {
			return nil, fmt.Errorf("want a comma or \"of\" behind the attribute %s", t.text)
		}
		return attrs, p.entry(x)
	}
}

// index finds a word before the verdict.
func (p *expectations) index(w string) int {
	for i, t := range p.tokens {
		if t.quoted {
			continue
		}
		if t.text == w {
			return i
		}
		if t.text == "=" || t.text == "may" {
			break
		}
	}
	return -1
}

func (p *expectations) entry(x *Expectation) error {
	switch {
	case p.word("added"):
		x.Added = true
	case p.word("no"):
		x.Missing = true
	}
	t, err := p.take("an entry")
	if err != nil {
		return err
	}
	x.On, err = p.dn(t)
	return err
}

// verdict reads the verb and the rights.
func (p *expectations) verdict(x *Expectation, attribute bool) error {
	switch {
	case p.word("="):
		x.Verb = Exactly
		if p.word("none") {
			if len(p.tokens) > 0 {
				return fmt.Errorf("%q is too much behind none", p.tokens[0].text)
			}
			return nil
		}
	case p.word("may"):
		if x.Verb = May; p.word("not") {
			x.Verb = MayNot
		}
	default:
		return fmt.Errorf("want what the client may do: = RIGHTS, may RIGHTS or may not RIGHTS, the rights with commas between them")
	}
	for {
		t, err := p.take("a right")
		if err != nil {
			return err
		}
		r, err := rightIn(t.text, attribute)
		if err != nil {
			return err
		}
		x.Rights |= r
		if p.word(",") {
			continue
		}
		if len(p.tokens) > 0 {
			return fmt.Errorf("%q is too much: rights have commas between them", p.tokens[0].text)
		}
		return nil
	}
}

// rightIn reads the name of a right that means something on an attribute, or on an entry.
func rightIn(name string, attribute bool) (Right, error) {
	meaning, where := ofEntries, "an entry"
	if attribute {
		meaning, where = ofAttributes|Modify, "an attribute"
		if name == "write" {
			return writing, nil
		}
	}
	for i, n := range rightNames {
		if r := Right(1) << i; n == name && r&meaning != 0 {
			return r, nil
		}
	}
	return 0, fmt.Errorf("%q is no right on %s: write %s", name, where, (meaning &^ Modify).String())
}
