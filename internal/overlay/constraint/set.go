package constraint

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/ldap"
)

// An expression computes a set of texts, and holds where it is not empty. Its language is that of slapd's sets:
//
//	this, user      the entry, as it will be; who changes it
//	[text]          a text
//	X/attr          the values of attr in the entries that X names; X/attr* follows it as far as it leads
//	X/-1, X/-*      the entries so many levels above; all above and itself
//	X & Y, X | Y    what both have; what either has. They bind alike, from the left.
//	X + Y           every text of X followed by every text of Y
//	(X)
//
// Names are compared as names, other texts without regard to case and to the number of blanks.
type expression struct{ root node }

// Bounds of expressions and of what they compute.
const (
	maxSetDepth = 50
	maxSetSize  = 10_000
)

type node interface {
	eval(w *world) (set, error)
}

// set are texts by the form in which they are compared.
type set map[string]string

type (
	this    struct{}
	user    struct{}
	literal string
	step    struct {
		of   node
		attr string
		far  bool // follow it as far as it leads
	}
	above struct {
		of node
		by int // -1: all the way
	}
	binary struct {
		op   byte
		x, y node
	}
)

// attributes lists the attributes that the expression names.
func (e *expression) attributes() []string {
	var out []string
	var walk func(n node)
	walk = func(n node) {
		switch n := n.(type) {
		case step:
			out = append(out, n.attr)
			walk(n.of)
		case above:
			walk(n.of)
		case binary:
			walk(n.x)
			walk(n.y)
		}
	}
	if e != nil {
		walk(e.root)
	}
	return out
}

// parseSet reads an expression. Errors say where, and what to write.
func parseSet(text string) (*expression, error) {
	p := &setParser{text: text}
	root, err := p.expression(0)
	if err != nil {
		return nil, err
	}
	if p.at < len(p.text) {
		return nil, p.bad("%q has no beginning: remove it, or write & | or + before it", p.text[p.at:])
	}
	return &expression{root}, nil
}

type setParser struct {
	text string
	at   int
}

func (p *setParser) bad(format string, args ...any) error {
	return fmt.Errorf("position %d: %s", p.at+1, fmt.Sprintf(format, args...))
}

// peek skips blanks and returns the next octet, 0 at the end.
func (p *setParser) peek() byte {
	for p.at < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.at]) >= 0 {
		p.at++
	}
	if p.at == len(p.text) {
		return 0
	}
	return p.text[p.at]
}

func (p *setParser) expression(depth int) (node, error) {
	if depth > maxSetDepth {
		return nil, p.bad("more than %d parentheses are open", maxSetDepth)
	}
	x, err := p.sum(depth)
	for err == nil {
		c := p.peek()
		if c != '&' && c != '|' {
			break
		}
		p.at++
		var y node
		if y, err = p.sum(depth); err == nil {
			x = binary{c, x, y}
		}
	}
	return x, err
}

// sum reads terms with + between them, which binds closest.
func (p *setParser) sum(depth int) (node, error) {
	x, err := p.path(depth)
	for err == nil && p.peek() == '+' {
		p.at++
		var y node
		if y, err = p.path(depth); err == nil {
			x = binary{'+', x, y}
		}
	}
	return x, err
}

// path reads a term and the steps behind it.
func (p *setParser) path(depth int) (node, error) {
	x, err := p.term(depth)
	for err == nil && p.peek() == '/' {
		p.at++
		word := p.word()
		switch {
		case word == "":
			return nil, p.bad("want the name of an attribute behind /, or -1 or -* for the entries above")
		case word == "-*":
			x = above{x, -1}
		case word[0] == '-':
			n, bad := strconv.Atoi(word[1:])
			if bad != nil || n < 1 || n > 1000 {
				return nil, p.bad("%q counts no levels: write -1 for the entry above, -* for all", word)
			}
			x = above{x, n}
		default:
			name, far := strings.CutSuffix(word, "*")
			if name == "" || strings.ContainsAny(name, "*") {
				return nil, p.bad("%q is not the name of an attribute", word)
			}
			x = step{x, name, far}
		}
	}
	return x, err
}

func (p *setParser) term(depth int) (node, error) {
	switch c := p.peek(); c {
	case 0:
		return nil, p.bad("something is missing: want this, user, [text] or a parenthesis")
	case '(':
		p.at++
		x, err := p.expression(depth + 1)
		if err != nil {
			return nil, err
		}
		if p.peek() != ')' {
			return nil, p.bad("want ) here")
		}
		p.at++
		return x, nil
	case '[':
		end := strings.IndexByte(p.text[p.at:], ']')
		if end < 0 {
			return nil, p.bad("the bracket is never closed")
		}
		text := p.text[p.at+1 : p.at+end]
		p.at += end + 1
		return literal(text), nil
	}
	switch word := p.word(); word {
	case "this":
		return this{}, nil
	case "user":
		return user{}, nil
	case "":
		return nil, p.bad("%q cannot stand here: want this, user, [text] or a parenthesis", p.text[p.at:p.at+1])
	default:
		return nil, p.bad("%q is nothing: want this, user, [text] or a parenthesis", word)
	}
}

func (p *setParser) word() string {
	p.peek()
	start := p.at
	for p.at < len(p.text) {
		c := p.text[p.at]
		if c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == ';' || c == '*' {
			p.at++
			continue
		}
		break
	}
	return p.text[start:p.at]
}

// world is what an expression looks at.
type world struct {
	r     op.Reader
	s     *schema.Schema
	name  dit.Name // of this
	draft *dit.Draft
	entry *dit.Entry
	user  string
}

// holds reports whether the expression is not empty for a draft.
func (e *expression) holds(r op.Reader, req *op.Request, d *dit.Draft) (bool, error) {
	name, err := op.DraftName(r, d)
	if err != nil {
		return false, err
	}
	w := &world{r: r, s: r.Schema(), name: name, draft: d}
	if req != nil && req.Identity != nil {
		w.user = req.Identity.Name.DN
	}
	out, err := e.root.eval(w)
	return len(out) > 0, err
}

// holdsFor is holds for a stored entry.
func (e *expression) holdsFor(r op.Reader, name dit.Name, entry *dit.Entry) (bool, error) {
	out, err := e.root.eval(&world{r: r, s: r.Schema(), name: name, entry: entry})
	return len(out) > 0, err
}

var errLargeSet = ldap.Errorf(ldap.AdminLimitExceeded, "a rule of the constraint overlay computes more than %d values", maxSetSize)

func (w *world) add(to set, text string) error {
	if len(to) >= maxSetSize {
		return errLargeSet
	}
	to[w.form(text)] = text
	return nil
}

// form is what texts are compared by.
func (w *world) form(text string) string {
	if strings.IndexByte(text, '=') > 0 {
		if norm, err := w.s.NormalizeDNString(nil, text); err == nil {
			return "=" + string(norm)
		}
	}
	return strings.ToLower(strings.Join(strings.FieldsFunc(text, func(c rune) bool { return c == ' ' }), " "))
}

func (this) eval(w *world) (set, error) {
	out := set{}
	return out, w.add(out, w.name.DN)
}

func (user) eval(w *world) (set, error) {
	out := set{}
	if w.user == "" {
		return out, nil
	}
	return out, w.add(out, w.user)
}

func (l literal) eval(w *world) (set, error) {
	out := set{}
	// Blanks alone are a text too: they stand between others.
	out[w.form(string(l))] = string(l)
	return out, nil
}

func (n step) eval(w *world) (set, error) {
	from, err := n.of.eval(w)
	if err != nil {
		return nil, err
	}
	t := w.s.AttributeTypeString(n.attr)
	if t == nil {
		return set{}, nil
	}
	out := set{}
	for todo := from; len(todo) > 0; {
		next := set{}
		for _, name := range todo {
			if err := w.values(name, t, func(value string) error {
				form := w.form(value)
				if _, there := out[form]; there {
					return nil
				}
				if n.far {
					next[form] = value
				}
				return w.add(out, value)
			}); err != nil {
				return nil, err
			}
		}
		todo = next
	}
	return out, nil
}

// values calls f for the values of an attribute of the entry that a text names; most texts name none.
func (w *world) values(name string, t *schema.AttributeType, f func(value string) error) error {
	norm, err := w.s.NormalizeDNString(nil, name)
	if err != nil {
		return nil
	}
	e := w.entry
	if string(norm) != w.name.Norm {
		if e, _, err = w.r.Lookup(string(norm)); err != nil || e == nil {
			return err
		}
	} else if w.draft != nil {
		for i := range w.draft.Attrs {
			a := &w.draft.Attrs[i]
			if !a.Desc.Type.IsA(t) {
				continue
			}
			if a.Large != nil {
				return errLargeSet
			}
			if err := a.EachNew(func(value []byte) error { return f(string(value)) }); err != nil {
				return err
			}
		}
		return nil
	}
	for slot, d := range e.Shape().Slots {
		if !d.Type.IsA(t) {
			continue
		}
		var failed error
		if err := op.EachValue(w.r, e, slot, func(value []byte) bool {
			failed = f(string(value))
			return failed == nil
		}); err != nil || failed != nil {
			return errorOf(failed, err)
		}
	}
	return nil
}

func (n above) eval(w *world) (set, error) {
	from, err := n.of.eval(w)
	if err != nil {
		return nil, err
	}
	out := set{}
	for _, text := range from {
		name, err := ldap.ParseDN(text)
		if err != nil || len(name) == 0 {
			continue
		}
		if n.by > 0 {
			if n.by < len(name) {
				err = w.add(out, name[n.by:].String())
			}
		} else {
			for i := 0; i < len(name) && err == nil; i++ {
				err = w.add(out, name[i:].String())
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (n binary) eval(w *world) (set, error) {
	x, err := n.x.eval(w)
	if err != nil {
		return nil, err
	}
	y, err := n.y.eval(w)
	if err != nil {
		return nil, err
	}
	out := set{}
	switch n.op {
	case '&':
		for form, text := range x {
			if _, both := y[form]; both {
				out[form] = text
			}
		}
	case '|':
		for _, from := range []set{x, y} {
			for _, text := range from {
				if err := w.add(out, text); err != nil {
					return nil, err
				}
			}
		}
	case '+':
		if len(x)*len(y) > maxSetSize {
			return nil, errLargeSet
		}
		for _, a := range sorted(x) {
			for _, b := range sorted(y) {
				if err := w.add(out, a+b); err != nil {
					return nil, err
				}
			}
		}
	}
	return out, nil
}

// sorted are the texts of a set in an order that does not depend on the map.
func sorted(s set) []string {
	out := make([]string, 0, len(s))
	for _, text := range s {
		out = append(out, text)
	}
	slices.Sort(out)
	return out
}
