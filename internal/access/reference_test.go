package access_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"portolan/internal/access"
)

// This is the language a second time, without any compilation: rules are read word by word for every question. What it
// knows of attributes and filters is written out below.

// refRights reads names of rights; entry says whether they are about the entry.
func refRights(names []string, entry bool) map[string]bool {
	out := make(map[string]bool)
	for _, n := range names {
		words := []string{n}
		switch n {
		case "write", "modify":
			words = []string{"add", "delete"}
			if entry {
				words = nil
			}
		case "all":
			words = []string{"search", "read", "compare", "add", "delete"}
			if entry {
				words = append(words, "disclose", "rename")
			}
		}
		for _, w := range words {
			if entry || w == "search" || w == "read" || w == "compare" || w == "add" || w == "delete" {
				out[w] = true
			}
		}
	}
	return out
}

// refEntry is what the reference knows of an entry.
type refEntry struct {
	norm string
	// exists says that there is an entry, present that there is one to look at: one that is being added is not there yet.
	exists, present bool
	values          map[string][]string
}

type refSubject struct {
	*access.Subject
	groups func(string) bool
}

func (s refSubject) named(w string, e refEntry) bool {
	kind, rest, _ := strings.Cut(w, ":")
	me := s.Name.Norm
	switch kind {
	case "*":
		return true
	case "anonymous":
		return s.Anonymous
	}
	if s.Anonymous {
		return false
	}
	switch kind {
	case "users":
		return true
	case "self":
		return e.exists && e.norm == me
	case "dn":
		return me == rest
	case "subtree":
		return me == rest || strings.HasSuffix(me, ","+rest)
	case "group":
		return s.groups(rest)
	case "dnattr":
		return e.present && slices.Contains(e.values[rest], me)
	}
	panic(w)
}

func refScope(on []string, e refEntry) bool {
	if len(on) == 0 {
		return true
	}
	return slices.ContainsFunc(on, func(o string) bool {
		kind, dn, _ := strings.Cut(o, ":")
		switch kind {
		case "*":
			return true
		case "base":
			return e.norm == dn
		case "subtree":
			return e.norm == dn || strings.HasSuffix(e.norm, ","+dn)
		}
		_, parent, _ := strings.Cut(e.norm, ",")
		return parent == dn
	})
}

var refFilters = map[string]func(e refEntry) bool{
	"":                         func(refEntry) bool { return true },
	"(departmentNumber=SALES)": func(e refEntry) bool { return e.present && slices.Contains(e.values["departmentnumber"], "sales") },
	"(!(departmentNumber=hr))": func(e refEntry) bool { return e.present && !slices.Contains(e.values["departmentnumber"], "hr") },
	"(|(owner=*)(cn=a*))": func(e refEntry) bool {
		return e.present && (len(e.values["owner"]) > 0 || slices.ContainsFunc(e.values["cn"], func(v string) bool { return strings.HasPrefix(v, "a") }))
	},
}

// refAttrs are attributes that are asked about and the elements of attrs, besides "*" and the attribute itself, that
// reach them; "*" reaches those that are not secret.
var refAttrs = map[string][]string{
	"cn":              {"name", "@person"},
	"cn;lang-de":      {"cn", "name", "@person"},
	"sn":              {"name", "@person"},
	"mail":            {},
	"userPassword":    {},
	"userPKCS12":      {},
	"createTimestamp": {"+"},
	"member":          {},
	"owner":           {},
}

func refCovers(attrs []string, name string) bool {
	if name == "entry" {
		return len(attrs) == 0 || slices.Contains(attrs, "entry")
	}
	secret := name == "userPassword" || name == "userPKCS12"
	if len(attrs) == 0 {
		return !secret
	}
	return slices.ContainsFunc(attrs, func(a string) bool {
		return a == name || a == "*" && !secret || slices.Contains(refAttrs[name], a)
	})
}

// refDecide returns the rights on an attribute, or on "entry"; own says that it is about the subject's own name as a
// value.
func refDecide(rules []access.Rule, s refSubject, e refEntry, name string, own bool) map[string]bool {
	if name != "entry" && e.exists && !refDecide(rules, s, e, "entry", false)["disclose"] {
		return nil
	}
	have, lost := make(map[string]bool), make(map[string]bool)
	for _, r := range rules {
		near := len(r.From) == 0 || slices.ContainsFunc(r.From, func(p netip.Prefix) bool { return p.Contains(s.Addr) })
		strong := r.TLS == 0 || r.TLS == 1 && s.Protected || s.TLSBits >= r.TLS
		method := len(r.Method) == 0 || slices.Contains(r.Method, s.Method)
		named := slices.ContainsFunc(r.Who, func(w string) bool { return w[0] != '!' && s.named(w, e) }) &&
			!slices.ContainsFunc(r.Who, func(w string) bool { return w[0] == '!' && s.named(w[1:], e) })
		covered := refCovers(r.Attrs, name) || own && slices.Contains(r.Attrs, name+":self")
		if !near || !strong || !method || !named || !covered || !refScope(r.On, e) || !refFilters[r.Filter](e) {
			continue
		}
		rights := refRights(append(r.Allow, r.Deny...), name == "entry")
		into := have
		if len(r.Deny) > 0 {
			into = lost
			if name == "entry" && rights["disclose"] {
				rights = refRights([]string{"all", "proxy", "control"}, true)
			}
		} else if name == "entry" && len(rights) > 0 {
			rights["disclose"] = true
		}
		for right := range rights {
			into[right] = true
		}
	}
	for right := range lost {
		delete(have, right)
	}
	return have
}

// genRule draws a rule that compiles.
func genRule(t *rapid.T) access.Rule {
	some := func(label string, from ...string) []string {
		return rapid.SliceOfNDistinct(rapid.SampledFrom(from), 0, 2, rapid.ID[string]).Draw(t, label)
	}
	r := access.Rule{
		Who: append(some("who", "*", "anonymous", "users", "self", "dn:uid=alice,"+people, "dn:uid=bob,"+people, "subtree:ou=services,"+suffix,
			"group:cn=helpdesk,"+groups, "group:cn=sales-admins,"+groups, "dnattr:owner", "dnattr:member", "dnattr:manager",
			"!self", "!dn:uid=alice,"+people, "!group:cn=sales-admins,"+groups, "!dnattr:owner", "!dnattr:member"),
			rapid.SampledFrom([]string{"users", "self", "*"}).Draw(t, "who too")),
		On:     some("on", "*", "subtree:"+people, "subtree:"+suffix, "one:"+suffix, "one:"+people, "base:uid=bob,"+people, "base:"+groups),
		Filter: rapid.SampledFrom([]string{"", "", "(departmentNumber=SALES)", "(!(departmentNumber=hr))", "(|(owner=*)(cn=a*))"}).Draw(t, "filter"),
		Attrs:  some("attrs", "entry", "*", "+", "@person", "name", "cn", "cn;lang-de", "mail", "userPassword", "member", "owner"),
	}
	if rapid.IntRange(0, 4).Draw(t, "connection") == 0 {
		r.From = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	}
	if rapid.IntRange(0, 4).Draw(t, "method") == 0 {
		r.Method = list("EXTERNAL")
	}
	// What goes together depends on the attributes; see the errors of Compile.
	rights := list("search", "read", "compare", "add", "delete", "all", "all")
	onlyEntry := len(r.Attrs) == 1 && r.Attrs[0] == "entry"
	ofEntry := len(r.Attrs) == 0 || slices.Contains(r.Attrs, "entry")
	if ofEntry {
		rights = append(rights, "disclose", "rename", "proxy")
	}
	if !onlyEntry {
		rights = append(rights, "write", "modify")
	}
	chosen := append(some("rights", rights...), rapid.SampledFrom(rights).Draw(t, "right"))
	if rapid.IntRange(0, 3).Draw(t, "deny") == 0 {
		r.Deny = chosen
		return r
	}
	r.Allow = chosen
	r.TLS = rapid.SampledFrom([]int{0, 0, 0, 1, 200}).Draw(t, "tls")
	if rapid.IntRange(0, 5).Draw(t, "own") == 0 {
		r.Allow, r.Attrs = list("add"), list("member:self", "owner:self")
	}
	return r
}

// TestAgainstReference draws policies, subjects and entries and compares every decision with the reference; once with a
// policy that has answered before and once with a new one.
func TestAgainstReference(t *testing.T) {
	d := newDirectory(t)
	asked := []string{"alice", "bob", "mia", "people", "groups", "example", "choir", "postfix", "sam", "new uid=bob,ou=people", "new cn=x,ou=groups",
		"added alice", "added bob", "added choir", "added sam"}
	shown := make(map[string]refEntry)
	targets := make(map[string]access.Target)
	for _, name := range asked {
		target := d.target(t, name)
		e := refEntry{norm: target.Name.Norm, exists: target.Entry != nil && !target.New, present: target.Entry != nil,
			values: make(map[string][]string)}
		model := d.targets[strings.TrimPrefix(name, "added ")].Name.DN
		for _, lines := range cast {
			if strings.Trim(lines[0]+","+suffix, ",") != model || target.Entry == nil {
				continue
			}
			for _, l := range lines[1:] {
				attr, value, _ := strings.Cut(l, ": ")
				attr, _, _ = strings.Cut(strings.ToLower(attr), ";")
				e.values[attr] = append(e.values[attr], value)
			}
		}
		shown[name], targets[name] = e, target
	}
	rapid.Check(t, func(t *rapid.T) {
		rules := rapid.SliceOfN(rapid.Custom(genRule), 1, 8).Draw(t, "rules")
		o := access.Options{Schema: d.schema, Suffixes: []string{suffix}}
		p, err := access.Compile(rules, o)
		if err != nil {
			t.Fatal(err)
		}
		for range 4 {
			who := rapid.SampledFrom([]string{"anonymous", "alice", "bob", "mia", "hilda", "postfix"}).Draw(t, "subject")
			s := &access.Subject{Addr: netip.MustParseAddr("192.0.2.10"), Method: "simple"}
			if who == "anonymous" {
				s.Anonymous, s.Method = true, ""
			} else {
				s.Name, s.Entry = d.targets[who].Name, d.targets[who].Entry.ID
			}
			s.InGroup = d.inGroup(s.Name.Norm)
			if rapid.Bool().Draw(t, "inside") {
				s.Addr = netip.MustParseAddr("10.9.9.9")
			}
			if rapid.Bool().Draw(t, "external") && !s.Anonymous {
				s.Method = "EXTERNAL"
			}
			s.TLSBits = rapid.SampledFrom([]int{0, 128, 256}).Draw(t, "tls bits")
			s.Protected = s.TLSBits > 0
			fresh, err := access.Compile(rules, o)
			if err != nil {
				t.Fatal(err)
			}
			ref := refSubject{s, s.InGroup}
			used := p.Evaluator(s)
			for range 6 {
				name := rapid.SampledFrom(asked).Draw(t, "entry")
				e := shown[name]
				target := targets[name]
				again := *s
				for _, ev := range []*access.Evaluator{used, fresh.Evaluator(&again)} {
					compare(t, d, ev, rules, ref, e, &target)
				}
			}
		}
	})
}

func compare(t *rapid.T, d *directory, ev *access.Evaluator, rules []access.Rule, s refSubject, e refEntry, target *access.Target) {
	const ignored = access.Modify | access.Proxy | access.Control
	words := func(m map[string]bool) string {
		var r access.Right
		for i, n := range list("disclose", "search", "read", "compare", "add", "delete", "modify", "rename") {
			if m[n] {
				r |= 1 << i
			}
		}
		return r.String()
	}
	if got, want := (ev.EntryRights(target) &^ ignored).String(), words(refDecide(rules, s, e, "entry", false)); got != want {
		t.Fatalf("%s on %s: %s, the reference says %s", s.Name.Norm, e.norm, got, want)
	}
	slots := &access.SlotRights{}
	if !target.New {
		slots = ev.Slots(target)
	}
	for name := range refAttrs {
		desc, err := d.schema.DescribeString(name)
		if err != nil {
			t.Fatal(err)
		}
		want := refDecide(rules, s, e, name, false)
		got := ev.AttrRights(target, desc)
		if (got &^ ignored).String() != words(want) {
			t.Fatalf("%s on %s of %s: %s, the reference says %s", s.Name.Norm, name, e.norm, got, words(want))
		}
		if (got&access.Modify != 0) != (want["add"] && want["delete"]) {
			t.Fatalf("%s on %s of %s: %s, which is not add and delete", s.Name.Norm, name, e.norm, got)
		}
		if e.exists {
			if i := target.Entry.Shape().Find(desc); i >= 0 {
				if slots.Read.Has(i) != want["read"] || slots.Search.Has(i) != want["search"] || slots.Compare.Has(i) != want["compare"] {
					t.Fatalf("the slot of %s of %s disagrees with %s", name, e.norm, words(want))
				}
			}
		}
		own := refDecide(rules, s, e, name, true)
		names := desc.Type == d.schema.Known.Member || desc.Type == d.schema.Known.Owner
		for right, bit := range map[string]access.Right{"add": access.Add, "delete": access.Delete} {
			mine := names && s.Name.Norm != "" && own[right] || want[right]
			if got := ev.Value(target, desc, []byte(s.Name.DN), bit); got != mine {
				t.Fatalf("%s may %s itself to %s of %s: %v, the reference says %v", s.Name.Norm, right, name, e.norm, got, mine)
			}
			if got := ev.Value(target, desc, []byte("uid=sam,"+people), bit); got != want[right] {
				t.Fatalf("%s may %s another to %s of %s: %v, the reference says %v", s.Name.Norm, right, name, e.norm, got, want[right])
			}
		}
	}
	if e.exists {
		for i, desc := range target.Entry.Shape().Slots {
			if got := ev.AttrRights(target, desc); slots.Read.Has(i) != (got&access.Read != 0) {
				t.Fatalf("the slot of %s of %s disagrees with %s", desc, e.norm, got)
			}
		}
	}
}
