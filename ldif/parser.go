package ldif

import (
	"bytes"
	"encoding/base64"
	"errors"
	"net/url"
	"strings"

	"portolan/ldap"
)

// internedNames bounds how many attribute names a Parser remembers, so as not to allocate the same few again and again.
const internedNames = 4096

// What a Parser keeps from one record to the next.
const (
	keptOctets = 1 << 20
	keptValues = 1 << 14
)

// Parser turns the text of one record into a Record, over and over into the same storage. It is for one goroutine.
type Parser struct {
	opts  Options
	names map[string]string

	record   Record
	attrs    []Attr
	mods     []Mod
	controls []ldap.Control
	values   [][]byte // of all attributes and changes; theirs are parts of it
	octets   []byte   // lines that had folds, and decoded values

	rest []byte // of the text
	line int    // of the first line of rest
	at   int    // of the logical line that was read last
}

// NewParser returns a Parser.
func NewParser(opts Options) *Parser {
	return &Parser{opts: opts, names: make(map[string]string)}
}

// ParseRecord parses the text of one record with storage of its own; see Parser.Parse.
func ParseRecord(block []byte, line int, opts Options) (*Record, error) {
	return (&Parser{opts: opts}).Parse(block, line)
}

// Parse parses the text of one record, as a Splitter yields it, whose first line has this number. The error is an
// *Error. The Record is valid until the next Parse and no longer than block, which its values alias; its strings stay.
func (p *Parser) Parse(block []byte, line int) (*Record, error) {
	p.rest, p.line = block, line
	p.attrs, p.mods, p.controls, p.values = p.attrs[:0], p.mods[:0], p.controls[:0], p.values[:0]
	if cap(p.octets) > keptOctets { // one large record is no reason to hold its size for ever
		p.octets = nil
	}
	if cap(p.values) > keptValues {
		p.attrs, p.mods, p.values = nil, nil, nil
	}
	p.octets = p.octets[:0]
	p.record = Record{}
	if err := p.parse(); err != nil {
		return nil, err
	}
	return &p.record, nil
}

func (p *Parser) parse() *Error {
	r := &p.record
	text, ok, err := p.next()
	if err != nil {
		return err
	}
	if !ok {
		return errorf(p.line, "the record is empty; want dn: and the name of an entry")
	}
	r.Line = p.at
	name, value, err := p.split(text)
	if err != nil {
		return err
	}
	if !strings.EqualFold(name, "dn") {
		return errorf(p.at, "a record begins with dn:, not with %s:; if this line belongs to the record before, remove the blank line between them", clip(name))
	}
	r.DN = string(value)
	for {
		if text, ok, err = p.next(); err != nil {
			return err
		}
		if !ok || !hasPrefixFold(text, "control:") {
			break
		}
		if err := p.control(text[len("control:"):]); err != nil {
			return err
		}
	}
	r.Controls = p.controls
	if ok && hasPrefixFold(text, "changetype:") {
		return p.change(text)
	}
	if len(p.controls) > 0 {
		return errorf(p.at, "a record with control: needs a changetype: line after it")
	}
	return p.attributes(text, ok)
}

// change parses what follows changetype:, that line included.
func (p *Parser) change(text []byte) *Error {
	r := &p.record
	_, value, err := p.split(text)
	if err != nil {
		return err
	}
	kindLine := p.at
	switch strings.ToLower(string(bytes.TrimSpace(value))) {
	case "add":
		r.Kind = Add
		text, ok, err := p.next()
		if err != nil {
			return err
		}
		if !ok {
			return errorf(kindLine, "changetype: add needs at least one attribute")
		}
		return p.attributes(text, ok)
	case "delete":
		r.Kind = Delete
		if _, ok, err := p.next(); err != nil || ok {
			return either(err, errorf(p.at, "nothing follows changetype: delete; end the record with a blank line"))
		}
		return nil
	case "modify":
		r.Kind = Modify
		return p.modifications()
	case "modrdn", "moddn":
		r.Kind = ModDN
		return p.modDN()
	}
	return errorf(kindLine, "the changetype is not add, delete, modify, modrdn or moddn")
}

func either(first, second *Error) *Error {
	if first != nil {
		return first
	}
	return second
}

// attributes parses attribute lines to the end, the first of which is text.
func (p *Parser) attributes(text []byte, ok bool) *Error {
	first := 0
	for ok {
		name, value, err := p.split(text)
		if err != nil {
			return err
		}
		last := len(p.attrs) - 1
		if last < 0 || !strings.EqualFold(p.attrs[last].Name, name) {
			switch {
			case strings.EqualFold(name, "dn"):
				return errorf(p.at, "a second dn: in one record; put a blank line before it")
			case strings.EqualFold(name, "changetype"), strings.EqualFold(name, "control"):
				return errorf(p.at, "%s: stands directly after dn:, before everything else", name)
			}
			first = len(p.values)
			p.attrs = append(p.attrs, Attr{Name: name})
			last++
		}
		p.values = append(p.values, value)
		p.attrs[last].Values = p.values[first:len(p.values):len(p.values)]
		if text, ok, err = p.next(); err != nil {
			return err
		}
	}
	p.record.Attributes = p.attrs
	return nil
}

func (p *Parser) modifications() *Error {
	for {
		text, ok, err := p.next()
		if err != nil {
			return err
		}
		if !ok {
			p.record.Mods = p.mods
			return nil
		}
		word, value, err := p.split(text)
		if err != nil {
			return err
		}
		m := Mod{}
		switch strings.ToLower(word) {
		case "add":
			m.Op = ldap.ModAdd
		case "delete":
			m.Op = ldap.ModDelete
		case "replace":
			m.Op = ldap.ModReplace
		case "increment": // RFC 4525
			m.Op = ldap.ModIncrement
		default:
			return errorf(p.at, "want add:, delete:, replace: or increment: and an attribute, have %s:; a line with - stands between changes", clip(word))
		}
		value = bytes.TrimSpace(value)
		if !isDescription(value) {
			return errorf(p.at, "%s: is followed by the name of an attribute", word)
		}
		m.Name = p.intern(value)
		first := len(p.values)
		for {
			if text, ok, err = p.next(); err != nil {
				return err
			}
			if !ok || text[0] == '-' && isBlank(text[1:]) {
				break
			}
			name, value, err := p.split(text)
			if err != nil {
				return err
			}
			if !strings.EqualFold(name, m.Name) {
				return errorf(p.at, "want a value of %s, have %s:; a line with - stands between changes", clip(m.Name), clip(name))
			}
			p.values = append(p.values, value)
		}
		m.Values = p.values[first:len(p.values):len(p.values)]
		p.mods = append(p.mods, m)
	}
}

func (p *Parser) modDN() *Error {
	r := &p.record
	var seenRDN, seenDelete bool
	from := p.at
	for {
		text, ok, err := p.next()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		name, value, err := p.split(text)
		if err != nil {
			return err
		}
		switch word := strings.ToLower(name); {
		case word == "newrdn" && !seenRDN:
			r.NewRDN, seenRDN = string(value), true
		case word == "deleteoldrdn" && seenRDN && !seenDelete:
			switch string(bytes.TrimSpace(value)) {
			case "0":
			case "1":
				r.DeleteOldRDN = true
			default:
				return errorf(p.at, "deleteoldrdn: is 0 or 1")
			}
			seenDelete = true
		case word == "newsuperior" && seenDelete && !r.HasNewSuperior:
			r.NewSuperior, r.HasNewSuperior = string(value), true
		default:
			return errorf(p.at, "%s: cannot stand here; want newrdn:, deleteoldrdn: and perhaps newsuperior:, once each and in this order", clip(name))
		}
	}
	if !seenDelete {
		return errorf(from, "changetype: modrdn needs newrdn: and deleteoldrdn:")
	}
	return nil
}

// control parses what follows "control:": an OID, perhaps true or false, perhaps a value.
func (p *Parser) control(text []byte) *Error {
	head, tail := text, []byte(nil)
	if i := bytes.IndexByte(text, ':'); i >= 0 {
		head, tail = text[:i], text[i:]
	}
	words := bytes.Fields(head)
	if len(words) == 0 || len(words) > 2 || !isDescription(words[0]) {
		return errorf(p.at, "want control: and an OID, then perhaps true or false, then perhaps a colon and a value")
	}
	c := ldap.Control{OID: words[0]}
	if len(words) == 2 {
		switch strings.ToLower(string(words[1])) {
		case "true":
			c.Critical = true
		case "false":
		default:
			return errorf(p.at, "the criticality of a control is true or false")
		}
	}
	if tail != nil {
		value, err := p.value(tail[1:])
		if err != nil {
			return err
		}
		c.Value, c.HasValue = value, true
	}
	if len(p.controls) == ldap.MaxControls {
		return errorf(p.at, "more than %d controls", ldap.MaxControls)
	}
	p.controls = append(p.controls, c)
	return nil
}

// next returns the next line with its folds undone, comments left out; ok is false at the end. It is never empty.
func (p *Parser) next() (text []byte, ok bool, err *Error) {
	for len(p.rest) > 0 {
		p.at = p.line
		text = p.physical()
		if len(text) > 0 && text[0] == '#' {
			for len(p.rest) > 0 && p.rest[0] == ' ' {
				p.physical()
			}
			continue
		}
		if len(p.rest) > 0 && p.rest[0] == ' ' {
			first := len(p.octets)
			p.octets = append(p.octets, text...)
			for len(p.rest) > 0 && p.rest[0] == ' ' {
				p.octets = append(p.octets, p.physical()[1:]...)
			}
			text = p.octets[first:len(p.octets):len(p.octets)]
		}
		if limit := p.opts.maxLine(); len(text) > limit {
			return nil, false, errorf(p.at, "the line has more than %d octets", limit)
		}
		if len(text) == 0 {
			if isBlank(p.rest) {
				p.rest = nil
				break
			}
			return nil, false, errorf(p.at, "a blank line in the middle of a record")
		}
		if text[0] == ' ' {
			return nil, false, errorf(p.at, "a line that begins with a space continues the line before it, and there is none")
		}
		return text, true, nil
	}
	return nil, false, nil
}

// physical takes one line off the rest, without its end.
func (p *Parser) physical() []byte {
	line := p.rest
	if i := bytes.IndexByte(line, '\n'); i >= 0 {
		line, p.rest = line[:i], line[i+1:]
	} else {
		p.rest = nil
	}
	p.line++
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	return line[:len(line):len(line)]
}

// split takes a line apart into name and value.
func (p *Parser) split(text []byte) (string, []byte, *Error) {
	i := bytes.IndexByte(text, ':')
	if i < 0 {
		return "", nil, errorf(p.at, "there is no colon; write attribute: value, and begin a line that continues another with a space")
	}
	if !isDescription(text[:i]) {
		return "", nil, errorf(p.at, "what stands before the colon is not an attribute such as cn or cn;lang-en")
	}
	name := p.intern(text[:i])
	value, err := p.value(text[i+1:])
	return name, value, err
}

// value decodes a value-spec behind its first colon.
func (p *Parser) value(text []byte) ([]byte, *Error) {
	if len(text) == 0 {
		return []byte{}, nil
	}
	switch text[0] {
	case ':':
		return p.base64(bytes.Trim(text[1:], " \t"))
	case '<':
		return p.file(string(bytes.Trim(text[1:], " \t")))
	}
	return bytes.TrimLeft(text, " "), nil
}

var strictBase64 = base64.StdEncoding.Strict()

func (p *Parser) base64(text []byte) ([]byte, *Error) {
	first := len(p.octets)
	out, err := strictBase64.AppendDecode(p.octets, text)
	if err != nil || bytes.IndexByte(text, '\r') >= 0 {
		var at base64.CorruptInputError
		if errors.As(err, &at) {
			return nil, errorf(p.at, "the value after :: is not base64: octet %d of it is wrong; a value in clear text has one colon", int64(at)+1)
		}
		return nil, errorf(p.at, "the value after :: is not base64; a value in clear text has one colon")
	}
	p.octets = out
	return out[first:len(out):len(out)], nil
}

// file reads the file that a URL names. Only local files can be named, and only where the caller allows it.
func (p *Parser) file(text string) ([]byte, *Error) {
	if p.opts.AllowFileURL == nil {
		return nil, errorf(p.at, "values from files (:<) are not allowed here; put the value itself, in base64 after ::")
	}
	u, err := url.Parse(text)
	if err != nil || !strings.EqualFold(u.Scheme, "file") || u.Host != "" && u.Host != "localhost" || u.Path == "" {
		return nil, errorf(p.at, "want a URL of a local file such as file:///tmp/photo.jpg after :<")
	}
	value, err := p.opts.AllowFileURL(u.Path)
	if err != nil {
		return nil, errorf(p.at, "the value cannot be read from its file: %v", err)
	}
	return value, nil
}

func (p *Parser) intern(name []byte) string {
	if s, ok := p.names[string(name)]; ok {
		return s
	}
	s := string(name)
	if p.names != nil && len(p.names) < internedNames && len(s) <= 128 {
		p.names[s] = s
	}
	return s
}

// isDescription says whether b can be an attribute description or an OID. Underscores are taken: schemas have them.
func isDescription(b []byte) bool {
	for _, c := range b {
		switch {
		case c|0x20 >= 'a' && c|0x20 <= 'z', c >= '0' && c <= '9', c == '-', c == '.', c == ';', c == '_':
		default:
			return false
		}
	}
	return len(b) > 0 && b[0] != '-' && b[0] != ';' && b[0] != '.'
}

func clip(s string) string {
	if len(s) > 40 {
		return s[:40] + "..."
	}
	return s
}
