package ldaptest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"portolan/ber"
	"portolan/ldap"
)

// codec is how dialogues write the value of a control: encode makes the value of a request, show takes that of a response
// apart into words. A nil function leaves the value to the notation of octets.
type codec struct {
	oid    string
	encode func(value string) ([]byte, error)
	show   func(value []byte) ([]string, bool)
	// pairs says that the words are NAME=VALUE, in any order, and that a script may leave the values out.
	pairs bool
}

// codecs are the controls that dialogues know by name.
var codecs = map[string]codec{
	"paged":         {"1.2.840.113556.1.4.319", encodePaged, showPaged, false},
	"sort":          {"1.2.840.113556.1.4.473", encodeSort, nil, false},
	"sorted":        {"1.2.840.113556.1.4.474", nil, showSorted, false},
	"vlv":           {"2.16.840.1.113730.3.4.9", encodeVLV, nil, false},
	"view":          {"2.16.840.1.113730.3.4.10", nil, showView, false},
	"manageDsaIT":   {oid: "2.16.840.1.113730.3.4.2"},
	"subentries":    {oid: "1.3.6.1.4.1.4203.1.10.1", encode: encodeBool},
	"assert":        {oid: "1.3.6.1.1.12", encode: encodeFilter},
	"preread":       {"1.3.6.1.1.13.1", encodeList, showEntry, false},
	"postread":      {"1.3.6.1.1.13.2", encodeList, showEntry, false},
	"permissive":    {oid: "1.2.840.113556.1.4.1413"},
	"treedelete":    {oid: "1.2.840.113556.1.4.805"},
	"relax":         {oid: "1.3.6.1.4.1.4203.666.5.12"},
	"noop":          {oid: "1.3.6.1.4.1.4203.666.5.2"},
	"dontusecopy":   {oid: "1.3.6.1.1.22"},
	"proxy":         {oid: "2.16.840.1.113730.3.4.18", encode: encodeText},
	"authzid":       {oid: "2.16.840.1.113730.3.4.16"},
	"authzidresult": {"2.16.840.1.113730.3.4.15", nil, showText, false},
	"matchedvalues": {oid: "1.2.826.0.1.3344810.2.3", encode: encodeItems},
	"tracking":      {oid: "1.3.6.1.4.1.21008.108.63.1", encode: encodeTracking},
	"valsort": {oid: "1.3.6.1.4.1.4203.666.5.14", encode: func(value string) ([]byte, error) {
		b, err := encodeBool(value)
		return ber.AppendBytes(nil, ber.Sequence, b), err
	}},
	"deref":     {"1.3.6.1.4.1.4203.666.5.16", encodeDeref, showDeref, false},
	"rights":    {oid: "1.3.6.1.4.1.42.2.27.9.5.2", encode: encodeText},
	"txn":       {oid: "1.3.6.1.1.21.2", encode: encodeText},
	"psearch":   {oid: "2.16.840.1.113730.3.4.3", encode: encodePersistent},
	"change":    {"2.16.840.1.113730.3.4.7", nil, showChange, false},
	"sync":      {oid: "1.3.6.1.4.1.4203.1.9.1.1", encode: encodeSync},
	"syncstate": {"1.3.6.1.4.1.4203.1.9.1.2", nil, showSyncState, false},
	"syncdone":  {"1.3.6.1.4.1.4203.1.9.1.3", nil, showSyncDone, false},
	"ppolicy":   {"1.3.6.1.4.1.42.2.27.8.5.1", nil, worded(policyWords), true},
	"usability": {"1.3.6.1.4.1.42.2.27.9.5.8", nil, worded(usableWords), true},
	"expired":   {"2.16.840.1.113730.3.4.4", nil, showText, false},
	"expiring":  {"2.16.840.1.113730.3.4.5", nil, showText, false},
}

// control reads a control: "!" for critical, an OID or a name, and behind a colon the value, in the notation of octets or in
// the form of the name:
//
//	paged:SIZE:COOKIE           sort:-sn,cn:RULE            vlv:BEFORE/AFTER:OFFSET/COUNT[:CONTEXT], vlv:BEFORE/AFTER:=VALUE
//	subentries:true             assert:(filter)             matchedvalues:(item)(item)
//	preread:cn,mail             proxy:dn:NAME               deref:member:cn,mail;owner:cn
//	rights:dn:NAME              tracking:IP/NAME/FORMAT/ID  txn:IDENTIFIER
//	sync:MODE[:COOKIE]          psearch:TYPES, all changes but the first result as well, with entry change notifications
func control(text string) (ldap.Control, error) {
	var c ldap.Control
	text, c.Critical = strings.CutPrefix(text, "!")
	name, value, has := strings.Cut(text, ":")
	c.HasValue = has
	known, named := codecs[name]
	c.OID = []byte(known.oid)
	if !named {
		c.OID = []byte(name)
	}
	if !has {
		return c, nil
	}
	encode := known.encode
	if encode == nil {
		encode = octets
	}
	var err error
	if c.Value, err = encode(value); err != nil {
		err = fmt.Errorf("control %s: %w", name, err)
	}
	return c, err
}

func sequence(f func(dst []byte) []byte) []byte {
	dst, mark := ber.Begin(nil, ber.Sequence)
	return ber.End(f(dst), mark)
}

func encodeText(value string) ([]byte, error) { return []byte(value), nil }

func encodeBool(value string) ([]byte, error) {
	return ber.AppendBool(nil, ber.Boolean, value == "true"), nil
}

func encodeFilter(value string) ([]byte, error) {
	f, err := ldap.ParseFilter(value)
	return f.AppendBER(nil), err
}

// encodeItems reads filters that stand behind each other.
func encodeItems(value string) ([]byte, error) {
	f, err := ldap.ParseFilter("(|" + value + ")")
	if err != nil {
		return nil, err
	}
	out := f.AppendBER(nil)
	out[0] = ber.Sequence
	return out, nil
}

func encodeList(value string) ([]byte, error) {
	return sequence(func(dst []byte) []byte { return appendList(dst, value) }), nil
}

func appendList(dst []byte, value string) []byte {
	for _, a := range strings.Split(value, ",") {
		if a != "" {
			dst = ber.AppendString(dst, ber.OctetString, a)
		}
	}
	return dst
}

func encodePaged(value string) ([]byte, error) {
	size, cookie, _ := strings.Cut(value, ":")
	n, err := strconv.ParseInt(size, 10, 64)
	return sequence(func(dst []byte) []byte {
		return ber.AppendString(ber.AppendInt(dst, ber.Integer, n), ber.OctetString, cookie)
	}), err
}

func encodeSort(value string) ([]byte, error) {
	return sequence(func(dst []byte) []byte {
		for _, key := range strings.Split(value, ",") {
			key, reverse := strings.CutPrefix(key, "-")
			attr, rule, has := strings.Cut(key, ":")
			var mark int
			dst, mark = ber.Begin(dst, ber.Sequence)
			dst = ber.AppendString(dst, ber.OctetString, attr)
			if has {
				dst = ber.AppendString(dst, ber.ContextSpecific|0, rule)
			}
			if reverse {
				dst = ber.AppendBool(dst, ber.ContextSpecific|1, true)
			}
			dst = ber.End(dst, mark)
		}
		return dst
	}), nil
}

func encodeVLV(value string) ([]byte, error) {
	around, rest, _ := strings.Cut(value, ":")
	var before, after, offset, count int64
	if _, err := fmt.Sscanf(around, "%d/%d", &before, &after); err != nil {
		return nil, err
	}
	assertion, byValue := strings.CutPrefix(rest, "=")
	var target, context string
	var hasContext bool
	if byValue {
		assertion, context, hasContext = strings.Cut(assertion, ":")
	} else {
		target, context, hasContext = strings.Cut(rest, ":")
		if _, err := fmt.Sscanf(target, "%d/%d", &offset, &count); err != nil {
			return nil, err
		}
	}
	return sequence(func(dst []byte) []byte {
		dst = ber.AppendInt(ber.AppendInt(dst, ber.Integer, before), ber.Integer, after)
		if byValue {
			dst = ber.AppendString(dst, ber.ContextSpecific|1, assertion)
		} else {
			var mark int
			dst, mark = ber.Begin(dst, ber.ContextSpecific|ber.Constructed|0)
			dst = ber.End(ber.AppendInt(ber.AppendInt(dst, ber.Integer, offset), ber.Integer, count), mark)
		}
		if hasContext {
			dst = ber.AppendString(dst, ber.OctetString, context)
		}
		return dst
	}), nil
}

func encodeTracking(value string) ([]byte, error) {
	parts := strings.SplitN(value, "/", 4)
	if len(parts) != 4 {
		return nil, fmt.Errorf("IP/NAME/FORMAT/ID, not %q", value)
	}
	return sequence(func(dst []byte) []byte {
		for _, p := range parts {
			dst = ber.AppendString(dst, ber.OctetString, p)
		}
		return dst
	}), nil
}

func encodeDeref(value string) ([]byte, error) {
	return sequence(func(dst []byte) []byte {
		for _, spec := range strings.Split(value, ";") {
			attr, list, _ := strings.Cut(spec, ":")
			var seq, attrs int
			dst, seq = ber.Begin(dst, ber.Sequence)
			dst = ber.AppendString(dst, ber.OctetString, attr)
			dst, attrs = ber.Begin(dst, ber.Sequence)
			dst = ber.End(ber.End(appendList(dst, list), attrs), seq)
		}
		return dst
	}), nil
}

// encodePersistent: the sum of the types of changes.
func encodePersistent(value string) ([]byte, error) {
	types, err := strconv.ParseInt(value, 10, 32)
	return sequence(func(dst []byte) []byte {
		dst = ber.AppendInt(dst, ber.Integer, types)
		return ber.AppendBool(ber.AppendBool(dst, ber.Boolean, false), ber.Boolean, true)
	}), err
}

// encodeSync: refreshOnly or refreshAndPersist, and the cookie.
func encodeSync(value string) ([]byte, error) {
	mode, cookie, has := strings.Cut(value, ":")
	m := ldap.SyncRequest{Mode: ldap.RefreshOnly}
	if mode == "refreshAndPersist" {
		m.Mode = ldap.RefreshAndPersist
	}
	if has {
		m.Cookie = []byte(cookie)
	}
	return m.Append(nil), nil
}

// The show functions return false for a value that is not well formed.

func worded(show func([]byte) ([]string, error)) func([]byte) ([]string, bool) {
	return func(value []byte) ([]string, bool) {
		words, err := show(value)
		return words, err == nil
	}
}

func showText(value []byte) ([]string, bool) { return []string{string(value)}, true }

// showPaged: SIZE COOKIE.
func showPaged(value []byte) ([]string, bool) {
	r := ber.Reader(value)
	var seq ber.Reader
	var size int32
	var cookie []byte
	ok := r.Element(ber.Sequence, &seq) && r.Empty() && seq.Int32(ber.Integer, 0, ldap.MaxMessageID, &size) &&
		seq.Bytes(ber.OctetString, &cookie) && seq.Empty()
	return []string{strconv.Itoa(int(size)), string(cookie)}, ok
}

// showSorted: RESULT, and the attribute type where there is one.
func showSorted(value []byte) ([]string, bool) {
	r := ber.Reader(value)
	var seq ber.Reader
	var code int32
	var attr []byte
	var has bool
	ok := r.Element(ber.Sequence, &seq) && r.Empty() && seq.Int32(ber.Enumerated, 0, 1<<30, &code) &&
		seq.OptionalBytes(ber.ContextSpecific|0, &attr, &has) && seq.Empty()
	words := []string{ldap.ResultCode(code).String()}
	if has {
		words = append(words, string(attr))
	}
	return words, ok
}

// showView: POSITION COUNT RESULT, and contextID where there is one.
func showView(value []byte) ([]string, bool) {
	r := ber.Reader(value)
	var seq ber.Reader
	var position, count, code int32
	var context []byte
	var has bool
	ok := r.Element(ber.Sequence, &seq) && r.Empty() && seq.Int32(ber.Integer, 0, ldap.MaxMessageID, &position) &&
		seq.Int32(ber.Integer, 0, ldap.MaxMessageID, &count) && seq.Int32(ber.Enumerated, 0, 1<<30, &code) &&
		seq.OptionalBytes(ber.OctetString, &context, &has) && seq.Empty()
	words := []string{strconv.Itoa(int(position)), strconv.Itoa(int(count)), ldap.ResultCode(code).String()}
	if has {
		words = append(words, string(context))
	}
	return words, ok
}

// showEntry: NAME ATTRIBUTE=VALUE...
func showEntry(value []byte) ([]string, bool) {
	m, err := ldap.Decode(sequence(func(dst []byte) []byte { return append(ber.AppendInt(dst, ber.Integer, 1), value...) }))
	if err != nil {
		return nil, false
	}
	e, ok := m.Op.(*ldap.SearchResultEntry)
	if !ok {
		return nil, false
	}
	return append([]string{string(e.Name)}, showAttributes(e.Attributes)...), true
}

func showAttributes(list []ldap.Attribute) []string {
	var words []string
	for _, a := range list {
		for _, v := range a.Values {
			words = append(words, string(a.Type)+"="+string(v))
		}
	}
	slices.Sort(words)
	return words
}

// showChange: the type of the change, and the name before a rename.
func showChange(value []byte) ([]string, bool) {
	r := ber.Reader(value)
	var seq ber.Reader
	var kind int32
	var before, number []byte
	var renamed, numbered bool
	ok := r.Element(ber.Sequence, &seq) && r.Empty() && seq.Int32(ber.Enumerated, 1, 8, &kind) &&
		seq.OptionalBytes(ber.OctetString, &before, &renamed) && seq.OptionalBytes(ber.Integer, &number, &numbered) && seq.Empty()
	words := []string{map[int32]string{1: "add", 2: "delete", 4: "modify", 8: "modDN"}[kind]}
	if renamed {
		words = append(words, string(before))
	}
	return words, ok
}

// showSyncState: the state and the entryUUID.
func showSyncState(value []byte) ([]string, bool) {
	r := ber.Reader(value)
	var seq ber.Reader
	var state int32
	var id, cookie []byte
	var has bool
	ok := r.Element(ber.Sequence, &seq) && r.Empty() && seq.Int32(ber.Enumerated, 0, 3, &state) &&
		seq.Bytes(ber.OctetString, &id) && seq.OptionalBytes(ber.OctetString, &cookie, &has) && seq.Empty()
	return []string{[...]string{"present", "add", "modify", "delete"}[state], fmt.Sprintf("%x", id)}, ok
}

// showSyncDone: the cookie.
func showSyncDone(value []byte) ([]string, bool) {
	r := ber.Reader(value)
	var seq ber.Reader
	var cookie []byte
	var has, deletes bool
	ok := r.Element(ber.Sequence, &seq) && r.Empty() && seq.OptionalBytes(ber.OctetString, &cookie, &has) &&
		(!seq.PeekIs(ber.Boolean) || seq.Bool(ber.Boolean, &deletes)) && seq.Empty()
	return []string{string(cookie)}, ok
}

// showDeref: one word for each DerefRes, ATTRIBUTE=NAME{ATTRIBUTE=VALUE;...}, without braces where there are no attributes.
func showDeref(value []byte) ([]string, bool) {
	r := ber.Reader(value)
	var list ber.Reader
	if !r.Element(ber.Sequence, &list) || !r.Empty() {
		return nil, false
	}
	var words []string
	for !list.Empty() {
		var seq, attrs ber.Reader
		var attr, name []byte
		var has bool
		if !list.Element(ber.Sequence, &seq) || !seq.Bytes(ber.OctetString, &attr) || !seq.Bytes(ber.OctetString, &name) ||
			!seq.Optional(ber.ContextSpecific|ber.Constructed|0, &attrs, &has) || !seq.Empty() {
			return nil, false
		}
		word := string(attr) + "=" + string(name)
		if has {
			var all []ldap.Attribute
			for !attrs.Empty() {
				var one, set ber.Reader
				var a ldap.Attribute
				if !attrs.Element(ber.Sequence, &one) || !one.Bytes(ber.OctetString, &a.Type) || !one.Element(ber.Set, &set) {
					return nil, false
				}
				for !set.Empty() {
					var v []byte
					if !set.Bytes(ber.OctetString, &v) {
						return nil, false
					}
					a.Values = append(a.Values, v)
				}
				all = append(all, a)
			}
			word += "{" + strings.Join(showAttributes(all), ";") + "}"
		}
		words = append(words, word)
	}
	return words, true
}

// controls compares response controls: "control NAME WORD..." with the words of the name, "control OID" and the value in the
// notation of octets. The word "?" is any, "-" is empty, and behind the name of an entry the order does not matter.
func (d *dialogue) controls(want []expectLine, have []ldap.Control) []string {
	var diffs []string
	have = slices.Clone(have)
	for _, line := range want {
		if len(line.words) < 2 || line.words[0].text != "control" {
			diffs = append(diffs, fmt.Sprintf("line %d: %q is no control", line.line, line.text))
			continue
		}
		oid := line.words[1].text
		if known, ok := codecs[oid]; ok {
			oid = known.oid
		}
		at := slices.IndexFunc(have, func(c ldap.Control) bool { return string(c.OID) == oid })
		if at < 0 {
			diffs = append(diffs, fmt.Sprintf("line %d: the control did not come", line.line))
			continue
		}
		c := have[at]
		have = slices.Delete(have, at, at+1)
		if what := d.controlValue(codecs[line.words[1].text], line.words[2:], c); what != "" {
			diffs = append(diffs, fmt.Sprintf("line %d: %s", line.line, what))
		}
	}
	for _, c := range have {
		diffs = append(diffs, "unexpected control "+showControl(c))
	}
	return diffs
}

func (d *dialogue) controlValue(known codec, words []word, c ldap.Control) string {
	if known.show == nil {
		if len(words) == 0 {
			if c.HasValue {
				return fmt.Sprintf("the control has the value % x", c.Value)
			}
			return ""
		}
		want, err := octets(words[0].text)
		if err != nil {
			return err.Error()
		}
		if !c.HasValue || string(want) != string(c.Value) {
			return fmt.Sprintf("the control has the value % x, not % x", c.Value, want)
		}
		return ""
	}
	got, ok := known.show(c.Value)
	if !ok {
		return fmt.Sprintf("the control has a malformed value % x", c.Value)
	}
	if known.pairs {
		return d.policyValue(words, got, nil)
	}
	if len(got) != len(words) {
		return "the control is " + showControl(c)
	}
	for i := range words {
		text := words[i].text
		if strings.Contains(text, "=") {
			at := slices.IndexFunc(got[i:], func(w string) bool { return d.matches(text, []byte(w)) })
			if at < 0 {
				return fmt.Sprintf("there is no %s: the control is %s", text, showControl(c))
			}
			got[i], got[i+at] = got[i+at], got[i]
			continue
		}
		if text == "?" || text == "-" && got[i] == "" || text != "-" && d.matches(text, []byte(got[i])) && (text != "*" || got[i] != "") {
			continue
		}
		return fmt.Sprintf("%s is not %s: the control is %s", got[i], text, showControl(c))
	}
	return ""
}

// showControl writes a control as a script would expect it.
func showControl(c ldap.Control) string {
	for name, known := range codecs {
		if known.oid != string(c.OID) || known.show == nil {
			continue
		}
		words, ok := known.show(c.Value)
		if !ok {
			break
		}
		for i, w := range words {
			if w == "" {
				words[i] = "-"
			} else if q := strconv.Quote(w); strings.Contains(w, " ") || q != `"`+w+`"` {
				words[i] = q
			}
		}
		return name + " " + strings.Join(words, " ")
	}
	return fmt.Sprintf("%s % x", c.OID, c.Value)
}

// updatesControls are the controls in a txnEndRes (RFC 5805 section 2.3), of all updates behind each other; false where the
// response has none.
func updatesControls(p *ldap.ExtendedResponse) ([]ldap.Control, bool) {
	r := ber.Reader(p.Value)
	var seq, list ber.Reader
	if !r.Element(ber.Sequence, &seq) || !r.Empty() || !seq.Element(ber.Sequence, &list) || !seq.Empty() || list.Empty() {
		return nil, false
	}
	var out []ldap.Control
	for !list.Empty() {
		var one, controls ber.Reader
		var id int32
		if !list.Element(ber.Sequence, &one) || !one.Int32(ber.Integer, 0, ldap.MaxMessageID, &id) ||
			!one.Element(ber.Sequence, &controls) || !one.Empty() {
			return nil, false
		}
		message := sequence(func(dst []byte) []byte {
			dst = ber.AppendInt(dst, ber.Integer, 1)
			dst = ber.AppendString(dst, ldap.TagDelRequest, "")
			return ber.AppendBytes(dst, ber.ContextSpecific|ber.Constructed|0, controls)
		})
		m, err := ldap.Decode(message)
		if err != nil {
			return nil, false
		}
		out = append(out, m.Controls...)
	}
	return out, true
}
