package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2/unstable"
)

// Bounds of a file, far beyond any that a person writes.
const (
	maxFile   = 4 << 20 // octets
	maxDepth  = 32      // parts of a dotted key, and lists and tables inside each other
	maxErrors = 100     // reported for one file
	maxSyntax = 20      // breaks of the TOML syntax after which reading stops
)

// kind is the type of a TOML value.
type kind uint8

const (
	kindTable kind = iota + 1
	kindList
	kindString
	kindInteger
	kindFloat
	kindBool
	kindTime
)

// String names the kind as an error says it.
func (k kind) String() string {
	switch k {
	case kindTable:
		return "a table"
	case kindList:
		return "a list"
	case kindString:
		return "a text"
	case kindInteger:
		return "a whole number"
	case kindFloat:
		return "a number"
	case kindBool:
		return "true or false"
	}
	return "a date"
}

// origin says which notation made a table, because TOML lets only some of them be continued.
type origin uint8

const (
	byHeader  origin = iota // [a.b]
	byChild                 // a, in [a.b]
	byDots                  // a, in a.b = 1
	byInline                // a = { }
	byHeaders               // the list a, in [[a]]
	byValue                 // anything else
)

// node is one value of the file.
type node struct {
	kind kind
	from origin
	// at is the place of the value, keyAt that of the key or header that names it.
	at, keyAt Position
	// text is a string's value and any other scalar's own notation.
	text  string
	items []*node          // list
	keys  []string         // table, in the file's order
	table map[string]*node // table
}

func newTable(from origin, at Position) *node {
	return &node{kind: kindTable, from: from, at: at, keyAt: at, table: map[string]*node{}}
}

func (n *node) set(key string, v *node) {
	n.keys = append(n.keys, key)
	n.table[key] = v
}

// equal compares values, not places.
func (n *node) equal(m *node) bool {
	if n.kind != m.kind || n.text != m.text || len(n.items) != len(m.items) || len(n.table) != len(m.table) {
		return false
	}
	for i := range n.items {
		if !n.items[i].equal(m.items[i]) {
			return false
		}
	}
	for k, v := range n.table {
		if w, ok := m.table[k]; !ok || !v.equal(w) {
			return false
		}
	}
	return true
}

// reader makes the tree of a file.
type reader struct {
	file  string
	text  []byte
	lines []int // offset of each line
	root  *node
	errs  errorSet
	// The place found last: counting goes on from there, so that one long line is not counted again for each value.
	lastOffset int
	last       Position
}

// errorSet collects errors up to maxErrors.
type errorSet struct {
	list []*Error
	cut  bool
}

func (s *errorSet) add(at Position, hint, format string, args ...any) {
	if len(s.list) >= maxErrors {
		s.cut = true
		return
	}
	s.list = append(s.list, ErrorAt(at, oneLine(fmt.Sprintf(format, args...)), oneLine(hint)))
}

// oneLine keeps what a file says (in the name of a key, in the words of a foreign parser) from breaking the line or
// from writing to somebody's terminal.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return '?'
		}
		return r
	}, s)
}

// err returns the errors in the file's order, or nil.
func (s *errorSet) err() error {
	if len(s.list) == 0 {
		return nil
	}
	slices.SortStableFunc(s.list, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	if s.cut {
		s.list = append(s.list, &Error{File: s.list[0].File, Msg: "more than " + strconv.Itoa(maxErrors) + " errors; the rest is not shown"})
		s.cut = false
	}
	return &ErrorList{s.list}
}

// readTree parses text. The tree is as complete as the text allows; broken says that some of the text could not be read,
// so that what seems to be missing may have been there.
func readTree(file string, text []byte) (root *node, errs errorSet, broken bool) {
	text = slices.Clip(bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")))
	r := &reader{file: file, text: text, root: newTable(byHeader, Position{File: file})}
	if len(text) > maxFile {
		r.errs.add(Position{File: file}, "", "the file has %d octets; a configuration has at most %d", len(text), maxFile)
		return r.root, r.errs, true
	}
	r.lines = []int{0}
	for i, c := range text {
		if c == '\n' {
			r.lines = append(r.lines, i+1)
		}
	}
	broken = r.read()
	return r.root, r.errs, broken
}

// position turns an offset of the text into a place.
func (r *reader) position(offset int) Position {
	line := sort.SearchInts(r.lines, offset+1) - 1
	from, column := r.lines[line], 1
	if r.last.Line == line+1 && r.lastOffset <= offset {
		from, column = r.lastOffset, r.last.Column
	}
	r.lastOffset, r.last = offset, Position{r.file, line + 1, column + utf8.RuneCount(r.text[from:offset])}
	return r.last
}

// read walks the expressions of the text. After a break of the syntax it goes on with the next line that may begin an
// expression, so that one missing quote does not hide the other mistakes of a file.
func (r *reader) read() (broken bool) {
	var p unstable.Parser
	start, breaks, reported := 0, 0, -1
	current := r.root // nil while the table that the keys belong to is not known
	for {
		p.Reset(r.text[start:])
		for p.NextExpression() {
			current = r.expression(p.Expression(), start, current)
			broken = broken || current == nil
		}
		err := p.Error()
		if err == nil {
			return broken
		}
		broken = true
		if breaks++; breaks > maxSyntax {
			return true
		}
		at := r.highlight(err, start)
		if at != reported { // a line that was tried again
			r.errs.add(r.position(at), syntaxHint(err.Error()), "%s", err.Error())
			reported = at
		}

		line := sort.SearchInts(r.lines, at+1) - 1
		begin := r.lines[line]
		opens := len(bytes.TrimLeft(r.text[begin:at], " \t")) == 0
		if !opens || begin <= start {
			// The mistake is within the line, or the line has had its chance: go on behind it. A broken header leaves
			// the keys beneath it without a table.
			if bytes.HasPrefix(bytes.TrimLeft(r.text[begin:], " \t"), []byte("[")) {
				current = nil
			}
			if line++; line >= len(r.lines) {
				return true
			}
			begin = r.lines[line]
		}
		start = begin
	}
}

// highlight returns the offset that a parser error is about.
func (r *reader) highlight(err error, start int) int {
	var pe *unstable.ParserError
	if !errors.As(err, &pe) {
		return start
	}
	offset := cap(r.text) - cap(pe.Highlight)
	if offset < start || offset > len(r.text) {
		return start
	}
	return offset
}

// syntaxHint says what to write where the parser's own words do not.
func syntaxHint(msg string) string {
	switch {
	case strings.Contains(msg, "at start of value"), strings.Contains(msg, "strings must be quoted"):
		return `write texts, durations and sizes in quotes: key = "value"`
	case strings.Contains(msg, "array"):
		return `write a list as key = ["one", "two"]`
	}
	return ""
}

// expression adds one header or key to the tree and returns the table that following keys belong to.
func (r *reader) expression(e *unstable.Node, base int, current *node) *node {
	switch e.Kind {
	case unstable.Table, unstable.ArrayTable:
		return r.header(e, base)
	case unstable.KeyValue:
		if current != nil {
			r.keyValue(e, base, current, 0)
		}
	}
	return current
}

// part is one part of a dotted key.
type part struct {
	name string
	at   Position
}

// key returns the parts of a key, and not many more than maxDepth of them.
func (r *reader) key(e *unstable.Node, base int) []part {
	var parts []part
	for it := e.Key(); it.Next() && len(parts) <= maxDepth; {
		n := it.Node()
		parts = append(parts, part{string(n.Data), r.position(base + int(n.Raw.Offset))})
	}
	return parts
}

func dotted(parts []part) string {
	names := make([]string, len(parts))
	for i, p := range parts {
		names[i] = p.name
	}
	return strings.Join(names, ".")
}

func (r *reader) header(e *unstable.Node, base int) *node {
	parts := r.key(e, base)
	if len(parts) > maxDepth {
		r.errs.add(parts[0].at, "", "a table name has at most %d parts", maxDepth)
		return nil
	}
	t := r.root
	for i, p := range parts[:len(parts)-1] {
		next := t.table[p.name]
		switch {
		case next == nil:
			next = newTable(byChild, p.at)
			t.set(p.name, next)
		case next.kind == kindList && next.from == byHeaders:
			next = next.items[len(next.items)-1]
		case next.kind != kindTable || next.from == byInline:
			r.errs.add(p.at, "", "%s was given a value in line %d and cannot be a table as well", show(dotted(parts[:i+1])), next.keyAt.Line)
			return nil
		}
		t = next
	}
	last := parts[len(parts)-1]
	old := t.table[last.name]
	if e.Kind == unstable.ArrayTable {
		item := newTable(byHeader, parts[0].at)
		if old == nil {
			old = &node{kind: kindList, from: byHeaders, at: last.at, keyAt: last.at}
			t.set(last.name, old)
		}
		if old.from != byHeaders {
			r.errs.add(last.at, "", "%s stands in line %d already and is no list of tables there", show(dotted(parts)), old.keyAt.Line)
			return nil
		}
		old.items = append(old.items, item)
		return item
	}
	switch {
	case old == nil:
		old = newTable(byHeader, parts[0].at)
		t.set(last.name, old)
	case old.kind == kindTable && old.from == byChild:
		old.from, old.at, old.keyAt = byHeader, parts[0].at, parts[0].at
	case old.from == byValue || old.from == byInline:
		r.errs.add(last.at, "", "%s was given a value in line %d and cannot be a table as well", show(dotted(parts)), old.keyAt.Line)
		return nil
	default:
		hint := "write its keys under one header"
		if old.from == byHeaders {
			hint = "write [[" + dotted(parts) + "]]"
		}
		r.errs.add(last.at, hint, "%s stands in line %d already", show(dotted(parts)), old.keyAt.Line)
		return nil
	}
	return old
}

// keyValue adds one key to a table.
func (r *reader) keyValue(e *unstable.Node, base int, t *node, depth int) {
	parts := r.key(e, base)
	if depth+len(parts) > maxDepth {
		r.errs.add(parts[0].at, "", "values lie inside each other more than %d deep", maxDepth)
		return
	}
	for i, p := range parts[:len(parts)-1] {
		next := t.table[p.name]
		switch {
		case next == nil:
			next = newTable(byDots, p.at)
			t.set(p.name, next)
		case next.kind != kindTable || next.from != byDots:
			r.errs.add(p.at, "write its keys in one place", "%s was begun in line %d and cannot be continued here", show(dotted(parts[:i+1])), next.keyAt.Line)
			return
		}
		t = next
	}
	last := parts[len(parts)-1]
	if old := t.table[last.name]; old != nil {
		r.errs.add(last.at, "keep one of them", "%s is set in line %d already", show(dotted(parts)), old.keyAt.Line)
		return
	}
	t.set(last.name, r.value(e.Value(), base, last.at, depth+len(parts)))
}

// value makes the node of a value. at is the place of its key, which stands for values whose own place the parser does
// not tell.
func (r *reader) value(e *unstable.Node, base int, at Position, depth int) *node {
	n := &node{from: byValue, at: at, keyAt: at, text: string(e.Data)}
	if e.Raw.Length > 0 {
		n.at = r.position(base + int(e.Raw.Offset))
	}
	switch e.Kind {
	case unstable.String:
		n.kind = kindString
	case unstable.Integer:
		n.kind = kindInteger
	case unstable.Float:
		n.kind = kindFloat
	case unstable.Bool:
		n.kind = kindBool
	case unstable.Array:
		n.kind = kindList
		if depth >= maxDepth {
			r.errs.add(at, "", "values lie inside each other more than %d deep", maxDepth)
			return n
		}
		for it := e.Children(); it.Next(); {
			n.items = append(n.items, r.value(it.Node(), base, at, depth+1))
		}
	case unstable.InlineTable:
		n.kind, n.from, n.table = kindTable, byInline, map[string]*node{}
		if depth >= maxDepth {
			r.errs.add(at, "", "values lie inside each other more than %d deep", maxDepth)
			return n
		}
		for it := e.Children(); it.Next(); {
			r.keyValue(it.Node(), base, n, depth+1)
		}
	default:
		n.kind = kindTime
	}
	return n
}

// show quotes what the file says for an error: one line, printable, of bounded length.
func show(s string) string {
	const most = 60
	if utf8.RuneCountInString(s) > most {
		s = string([]rune(s)[:most]) + "…"
	}
	return strconv.Quote(s)
}
