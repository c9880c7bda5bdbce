package ldaptest

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"portolan/ber"
	"portolan/ldap"
)

// expected is one message that must come, with the lines that belong to it.
type expected struct {
	expectLine
	parts []expectLine
}

// answered reads the answer to a request and compares it with what the script says; nothing is read where it says nothing.
func (d *dialogue) answered(c *talker, s *step, id int32) error {
	if len(s.answer) == 0 {
		return nil
	}
	var before []expected // entries and references
	var result *expected
	var after []expected // notices and the end
	for _, line := range s.answer {
		if line.part {
			to := &before
			switch {
			case len(after) > 0:
				return fmt.Errorf("line %d: notices have no parts", line.line)
			case result != nil:
				result.parts = append(result.parts, line)
				continue
			}
			last := &(*to)[len(*to)-1]
			last.parts = append(last.parts, line)
			continue
		}
		e := expected{expectLine: line}
		switch line.words[0].text {
		case "entry", "ref", "intermediate":
			before = append(before, e)
		case "notice", "closed":
			after = append(after, e)
		default:
			result = &e
		}
	}
	if result != nil {
		got, err := c.collect(id)
		if err != nil && err != io.EOF {
			return err
		}
		diffs := d.compare(before, result, got, c.used[id])
		if err == io.EOF {
			diffs = append(diffs, "the server closed the connection")
		}
		if len(diffs) > 0 {
			d.t.Errorf("%s:%d: %s %s: %s\ngot:\n%s", d.name, result.line, s.conn, s.verb, strings.Join(diffs, "\n\t"), render(got))
		}
		if err == io.EOF {
			return fmt.Errorf("the server closed the connection")
		}
	}
	for i := range after {
		if err := d.ending(c, &after[i]); err != nil {
			return err
		}
	}
	return nil
}

// ending awaits a notice of disconnection or the end of the connection.
func (d *dialogue) ending(c *talker, e *expected) error {
	m, err := c.next()
	if e.words[0].text == "closed" {
		switch {
		case err == nil:
			d.t.Errorf("%s:%d: the connection should be closed\ngot:\n%s", d.name, e.line, render([]ldap.Message{m}))
		case err != io.EOF:
			return err
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("instead of a notice of disconnection: %w", err)
	}
	name, words := option(e.words[1:], "name")
	value, words := option(words, "value")
	if name == nil {
		notice := noticeOID
		name = &notice
	}
	p, ok := m.Op.(*ldap.ExtendedResponse)
	if !ok || m.ID != 0 || p.Name != *name {
		d.t.Errorf("%s:%d: this should be the unsolicited notification %s\ngot:\n%s", d.name, e.line, *name, render([]ldap.Message{m}))
		return nil
	}
	if diffs := append(d.result(words, &p.Result), d.optional("responseValue", value, p.Value, p.HasValue)...); len(diffs) > 0 {
		d.t.Errorf("%s:%d: notice: %s\ngot:\n%s", d.name, e.line, strings.Join(diffs, "\n\t"), render([]ldap.Message{m}))
	}
	return nil
}

// compare returns the differences between the answer as it should be and as it is.
func (d *dialogue) compare(before []expected, result *expected, got []ldap.Message, request byte) []string {
	var diffs []string
	var entries []ldap.Message
	var refs []ldap.Message
	var infos [][]string
	for _, m := range got {
		switch p := m.Op.(type) {
		case *ldap.SearchResultEntry:
			entries = append(entries, m)
		case *ldap.SearchResultReference:
			refs = append(refs, m)
		case *ldap.IntermediateResponse:
			infos = append(infos, infoWords(p))
		}
	}
	if text := result.words[0].text; text == "found" || text == "ordered" {
		diffs = append(diffs, found(result.words[1:], entries, text == "ordered")...)
		entries = nil
	}
	for i := range before {
		e := &before[i]
		switch e.words[0].text {
		case "entry":
			diffs = append(diffs, d.entry(e, &entries)...)
		case "ref":
			uris := texts(e.words[1:])
			at := slices.IndexFunc(refs, func(have ldap.Message) bool { return equalSets(uris, have.Op.(*ldap.SearchResultReference).URIs) })
			if at < 0 {
				diffs = append(diffs, fmt.Sprintf("line %d: the reference did not come", e.line))
				continue
			}
			diffs = append(diffs, d.controls(e.parts, refs[at].Controls)...)
			refs = slices.Delete(refs, at, at+1)
		case "intermediate":
			diffs = append(diffs, d.intermediate(e, &infos)...)
		}
	}
	for _, m := range entries {
		diffs = append(diffs, fmt.Sprintf("unexpected entry %s", m.Op.(*ldap.SearchResultEntry).Name))
	}
	for _, r := range refs {
		diffs = append(diffs, fmt.Sprintf("unexpected reference %s", strings.Join(r.Op.(*ldap.SearchResultReference).URIs, " ")))
	}
	for _, words := range infos {
		diffs = append(diffs, fmt.Sprintf("unexpected intermediate %s", strings.Join(words, " ")))
	}
	if len(got) == 0 {
		return append(diffs, "no result")
	}
	last := got[len(got)-1]
	if want, ok := ldap.ResponseTag(request); ok && last.Op.Tag() != want {
		diffs = append(diffs, fmt.Sprintf("the answer has the identifier octet %02x, not %02x", last.Op.Tag(), want))
	}
	diffs = append(diffs, d.final(result, last)...)
	controls := last.Controls
	if p, ok := last.Op.(*ldap.ExtendedResponse); ok {
		if updates, ok := updatesControls(p); ok {
			controls = append(controls[:len(controls):len(controls)], updates...)
		}
	}
	return append(diffs, d.controls(result.parts, controls)...)
}

// intermediate looks for an intermediate response among those that came.
func (d *dialogue) intermediate(e *expected, infos *[][]string) []string {
	var want []string
	for _, w := range e.words[1:] {
		text, err := d.expand(w)
		if err != nil {
			return []string{fmt.Sprintf("line %d: %v", e.line, err)}
		}
		want = append(want, text)
	}
	at := slices.IndexFunc(*infos, func(have []string) bool { return equalSets(want, have) })
	if at < 0 {
		return []string{fmt.Sprintf("line %d: the intermediate response did not come", e.line)}
	}
	*infos = slices.Delete(*infos, at, at+1)
	return nil
}

// infoWords are the words of an intermediate response: what a Sync Info Message is about (RFC 4533 section 2.5) without its cookie,
// and of others the name.
func infoWords(m *ldap.IntermediateResponse) []string {
	v, ok := ldap.ParseSyncInfo(m.Value)
	if m.Name != ldap.SyncInfoOID || !ok {
		return []string{m.Name}
	}
	switch v.Kind {
	case ldap.SyncNewCookie:
		return []string{"newcookie"}
	case ldap.SyncRefreshDelete:
		return []string{"refreshDelete"}
	case ldap.SyncRefreshPresent:
		return []string{"refreshPresent"}
	}
	words := []string{"present"}
	if v.RefreshDeletes {
		words[0] = "delete"
	}
	for _, id := range v.UUIDs {
		words = append(words, fmt.Sprintf("%x", id))
	}
	return words
}

// found compares the first RDNs of entries without attributes, as a set or in their order.
func found(words []word, entries []ldap.Message, ordered bool) []string {
	var have []string
	for _, m := range entries {
		p := m.Op.(*ldap.SearchResultEntry)
		rdn, _, _ := strings.Cut(string(p.Name), ",")
		have = append(have, rdn)
	}
	want := texts(words)
	if slices.Equal(want, have) || !ordered && equalSets(want, have) {
		return nil
	}
	if !ordered {
		slices.Sort(have)
		slices.Sort(want)
	}
	return []string{fmt.Sprintf("found %s, want %s", strings.Join(have, " "), strings.Join(want, " "))}
}

func texts(words []word) []string {
	var out []string
	for _, w := range words {
		out = append(out, w.text)
	}
	return out
}

func equalSets(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}

// entry compares one entry and takes it from those that came.
func (d *dialogue) entry(e *expected, entries *[]ldap.Message) []string {
	if len(e.words) < 2 {
		return []string{fmt.Sprintf("line %d: write the name of the entry", e.line)}
	}
	name, err := d.expand(e.words[1])
	if err != nil {
		return []string{fmt.Sprintf("line %d: %v", e.line, err)}
	}
	at := slices.IndexFunc(*entries, func(m ldap.Message) bool { return string(m.Op.(*ldap.SearchResultEntry).Name) == name })
	if at < 0 {
		return []string{fmt.Sprintf("line %d: the entry %q did not come", e.line, name)}
	}
	m := (*entries)[at]
	*entries = slices.Delete(*entries, at, at+1)
	more, inOrder := false, false
	for _, w := range e.words[2:] {
		more, inOrder = more || w.is("..."), inOrder || w.is("inorder")
	}
	have := map[string][][]byte{}
	var diffs []string
	for _, a := range m.Op.(*ldap.SearchResultEntry).Attributes {
		if _, twice := have[string(a.Type)]; twice {
			diffs = append(diffs, fmt.Sprintf("%s: the attribute %s is there twice", name, a.Type))
		}
		have[string(a.Type)] = a.Values
	}
	want := map[string][]expectLine{}
	var order []string
	var controls []expectLine
	for _, part := range e.parts {
		if len(part.words) > 0 {
			controls = append(controls, part)
			continue
		}
		attr, _, ok := strings.Cut(part.text, ":")
		if !ok {
			diffs = append(diffs, fmt.Sprintf("line %d: write an attribute, a colon and a value", part.line))
			continue
		}
		if want[attr] == nil {
			order = append(order, attr)
		}
		want[attr] = append(want[attr], part)
	}
	for _, attr := range order {
		values, there := have[attr]
		delete(have, attr)
		if !there {
			diffs = append(diffs, fmt.Sprintf("line %d: %s has no %s", want[attr][0].line, name, attr))
			continue
		}
		diffs = append(diffs, d.values(name, attr, want[attr], values, inOrder)...)
	}
	if !more {
		for attr := range have {
			diffs = append(diffs, fmt.Sprintf("%s: unexpected attribute %s", name, attr))
		}
	}
	return append(diffs, d.controls(controls, m.Controls)...)
}

// values compares the values of one attribute as sets, or where the entry is marked "inorder" in their order.
func (d *dialogue) values(name, attr string, want []expectLine, have [][]byte, inOrder bool) []string {
	var diffs []string
	have = slices.Clone(have)
	for _, line := range want {
		_, text, _ := strings.Cut(line.text, ":")
		text = strings.TrimPrefix(text, " ")
		switch text {
		case "": // no values: typesOnly
			continue
		case "*":
			if len(have) == 0 {
				diffs = append(diffs, fmt.Sprintf("line %d: %s: %s has no values", line.line, name, attr))
			}
			have = nil
			continue
		}
		at := slices.IndexFunc(have, func(v []byte) bool { return d.matches(text, v) })
		if at < 0 {
			diffs = append(diffs, fmt.Sprintf("line %d: %s: %s has no value %s", line.line, name, attr, text))
			continue
		}
		if inOrder && at > 0 {
			diffs = append(diffs, fmt.Sprintf("line %d: %s: %s %s comes %d values too late", line.line, name, attr, text, at))
		}
		have = slices.Delete(have, at, at+1)
	}
	for _, v := range have {
		diffs = append(diffs, fmt.Sprintf("%s: %s has the unexpected value %s", name, attr, show(v)))
	}
	return diffs
}

// final compares the message that ends an operation.
func (d *dialogue) final(e *expected, m ldap.Message) []string {
	words := e.words
	if words[0].text == "found" || words[0].text == "ordered" {
		words = []word{{text: "success"}}
	}
	switch p := m.Op.(type) {
	case *ldap.BindResponse:
		creds, rest := option(words, "creds")
		diffs := d.result(rest, &p.Result)
		return append(diffs, d.optional("serverSaslCreds", creds, p.ServerCreds, p.HasServerCreds)...)
	case *ldap.ExtendedResponse:
		value, rest := option(words, "value")
		name, rest := option(rest, "name")
		password, rest := option(rest, "genpasswd")
		failed, rest := option(rest, "failed")
		ttl, rest := option(rest, "ttl")
		diffs := d.result(rest, &p.Result)
		if ttl != nil { // RFC 2589
			r := ber.Reader(p.Value)
			var seq ber.Reader
			var seconds int64
			if p.Name != refreshOID || !r.Element(ber.Sequence, &seq) || !r.Empty() || !seq.Int(ber.ContextSpecific|1, &seconds) || !seq.Empty() ||
				strconv.FormatInt(seconds, 10) != *ttl {
				diffs = append(diffs, fmt.Sprintf("responseTtl is not %s: %q has % x", *ttl, p.Name, p.Value))
			}
			return diffs
		}
		if name != nil && *name != p.Name || name == nil && p.Name != "" {
			diffs = append(diffs, fmt.Sprintf("responseName is %q", p.Name))
		}
		if password != nil {
			r := ber.Reader(p.Value)
			var seq ber.Reader
			var made []byte
			if !r.Element(ber.Sequence, &seq) || !seq.Bytes(ber.ContextSpecific, &made) || !d.matches(*password, made) {
				diffs = append(diffs, "no generated password")
			}
			return diffs
		}
		if failed != nil {
			r := ber.Reader(p.Value)
			var seq ber.Reader
			var id int32
			if !r.Element(ber.Sequence, &seq) || !r.Empty() || !seq.Int32(ber.Integer, 0, ldap.MaxMessageID, &id) || !seq.Empty() || strconv.Itoa(int(id)) != *failed {
				diffs = append(diffs, fmt.Sprintf("the update that failed is not %s: txnEndRes is % x", *failed, p.Value))
			}
			return diffs
		}
		if _, ok := updatesControls(p); ok && value == nil {
			return diffs // they are compared like other controls
		}
		return append(diffs, d.optional("responseValue", value, p.Value, p.HasValue)...)
	case *ldap.SearchResultDone:
		return d.result(words, &p.Result)
	case *ldap.ModifyResponse:
		return d.result(words, &p.Result)
	case *ldap.AddResponse:
		return d.result(words, &p.Result)
	case *ldap.DelResponse:
		return d.result(words, &p.Result)
	case *ldap.ModifyDNResponse:
		return d.result(words, &p.Result)
	case *ldap.CompareResponse:
		return d.result(words, &p.Result)
	}
	return []string{fmt.Sprintf("%T is no response", m.Op)}
}

// option takes "name=value" out of the words.
func option(words []word, name string) (*string, []word) {
	for i, w := range words {
		if value, ok := strings.CutPrefix(w.text, name+"="); ok {
			return &value, slices.Delete(slices.Clone(words), i, i+1)
		}
	}
	return nil, words
}

func (d *dialogue) optional(field string, want *string, got []byte, has bool) []string {
	switch {
	case want == nil && has:
		return []string{fmt.Sprintf("unexpected %s %s", field, show(got))}
	case want != nil && !has:
		return []string{"no " + field}
	case want != nil && !d.matches(*want, got):
		return []string{fmt.Sprintf("%s is %s, not %s", field, show(got), *want)}
	}
	return nil
}

// result compares an LDAPResult with "code matched=DN diag~text ref=URL ...". What is not named must not be there, but for
// the diagnostic message.
func (d *dialogue) result(words []word, r *ldap.Result) []string {
	var diffs []string
	if len(words) == 0 {
		return []string{"the script names no result code"}
	}
	if got := r.Code.String(); words[0].text != got {
		diffs = append(diffs, fmt.Sprintf("%s, want %s", got, words[0].text))
	}
	matched := ""
	var refs []string
	for _, w := range words[1:] {
		text, err := d.expand(w)
		if err != nil {
			return append(diffs, err.Error())
		}
		if v, ok := strings.CutPrefix(text, "matched="); ok {
			matched = v
		} else if v, ok := strings.CutPrefix(text, "ref="); ok {
			refs = append(refs, v)
		} else if v, ok := strings.CutPrefix(text, "diag~"); ok {
			if !strings.Contains(r.Diagnostic, v) {
				diffs = append(diffs, fmt.Sprintf("the diagnostic message does not say %q", v))
			}
		} else {
			diffs = append(diffs, fmt.Sprintf("the script says %q, which no answer has", text))
		}
	}
	if matched != r.MatchedDN {
		diffs = append(diffs, fmt.Sprintf("matchedDN is %q, not %q", r.MatchedDN, matched))
	}
	if !equalSets(refs, r.Referrals) {
		diffs = append(diffs, fmt.Sprintf("the referral is %q, not %q", r.Referrals, refs))
	}
	return diffs
}

var (
	wholeVariable = regexp.MustCompile(`^\$[a-z][a-z0-9]*$`)
	anyVariable   = regexp.MustCompile(`\$[a-z][a-z0-9]*`)
)

// expand puts in the variables of a word.
func (d *dialogue) expand(w word) (string, error) {
	if w.literal {
		return w.text, nil
	}
	var missing error
	text := anyVariable.ReplaceAllStringFunc(w.text, func(name string) string {
		v, ok := d.vars[name[1:]]
		if !ok {
			missing = fmt.Errorf("%s was not captured", name)
		}
		return v
	})
	return text, missing
}

// matches compares a value with what the script says of it: "*" is any, /.../ a regular expression for the whole of it,
// quotes are Go's, and a variable without a value captures this one.
func (d *dialogue) matches(text string, got []byte) bool {
	switch {
	case text == "*":
		return true
	case wholeVariable.MatchString(text):
		v, ok := d.vars[text[1:]]
		if !ok {
			d.vars[text[1:]] = string(got)
			return true
		}
		return v == string(got)
	case len(text) > 1 && text[0] == '/' && text[len(text)-1] == '/':
		re, err := regexp.Compile(`^(?s:` + text[1:len(text)-1] + `)$`)
		return err == nil && re.Match(got)
	case len(text) > 1 && text[0] == '"':
		s, err := strconv.Unquote(text)
		return err == nil && s == string(got)
	}
	expanded, err := d.expand(word{text: text})
	return err == nil && expanded == string(got)
}

// render writes messages as a script would expect them.
func render(messages []ldap.Message) string {
	var b strings.Builder
	for _, m := range messages {
		switch p := m.Op.(type) {
		case *ldap.SearchResultEntry:
			fmt.Fprintf(&b, "< entry %s\n", p.Name)
			for _, a := range p.Attributes {
				if len(a.Values) == 0 {
					fmt.Fprintf(&b, "<   %s:\n", a.Type)
				}
				for _, v := range a.Values {
					fmt.Fprintf(&b, "<   %s: %s\n", a.Type, show(v))
				}
			}
		case *ldap.SearchResultReference:
			fmt.Fprintf(&b, "< ref %s\n", strings.Join(p.URIs, " "))
		case *ldap.BindResponse:
			renderResult(&b, &p.Result)
			if p.HasServerCreds {
				fmt.Fprintf(&b, " creds=%s", show(p.ServerCreds))
			}
			b.WriteByte('\n')
		case *ldap.ExtendedResponse:
			if m.ID == 0 {
				b.WriteString("(unsolicited) ")
			}
			renderResult(&b, &p.Result)
			if p.Name != "" {
				fmt.Fprintf(&b, " name=%s", p.Name)
			}
			if p.HasValue {
				fmt.Fprintf(&b, " value=%s", show(p.Value))
			}
			b.WriteByte('\n')
		case *ldap.SearchResultDone:
			renderResult(&b, &p.Result)
			b.WriteByte('\n')
		case *ldap.ModifyResponse:
			renderResult(&b, &p.Result)
			b.WriteByte('\n')
		case *ldap.AddResponse:
			renderResult(&b, &p.Result)
			b.WriteByte('\n')
		case *ldap.DelResponse:
			renderResult(&b, &p.Result)
			b.WriteByte('\n')
		case *ldap.ModifyDNResponse:
			renderResult(&b, &p.Result)
			b.WriteByte('\n')
		case *ldap.CompareResponse:
			renderResult(&b, &p.Result)
			b.WriteByte('\n')
		default:
			fmt.Fprintf(&b, "%T\n", m.Op)
		}
		for _, c := range m.Controls {
			fmt.Fprintf(&b, "<   control %s\n", showControl(c))
		}
	}
	return strings.TrimRight(b.String(), "\n")
}

func renderResult(b *strings.Builder, r *ldap.Result) {
	fmt.Fprintf(b, "< %s", r.Code)
	if r.MatchedDN != "" {
		fmt.Fprintf(b, " matched=%s", show([]byte(r.MatchedDN)))
	}
	for _, u := range r.Referrals {
		fmt.Fprintf(b, " ref=%s", u)
	}
	if r.Diagnostic != "" {
		fmt.Fprintf(b, " (%s)", r.Diagnostic)
	}
}

// show writes a value so that it can be read.
func show(v []byte) string {
	if !utf8.Valid(v) || bytes.ContainsAny(v, "\n\r\x00") || len(v) == 0 {
		return strconv.Quote(string(v))
	}
	if len(v) > 300 {
		return string(v[:300]) + fmt.Sprintf("... (%d octets)", len(v))
	}
	return string(v)
}
