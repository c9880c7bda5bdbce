package access_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"portolan/internal/access"
	"portolan/internal/dit"
	"portolan/internal/schema"
)

const suffix = "dc=example,dc=org"

// cast is the directory of the tests and of docs/access.md, names without the suffix.
var cast = [][]string{
	{"", "objectClass: domain", "dc: example"},
	{"ou=people", "objectClass: organizationalUnit"},
	{"ou=groups", "objectClass: organizationalUnit"},
	{"ou=services", "objectClass: organizationalUnit"},
	person("root"), person("alice", "departmentNumber: sales", "manager: uid=mia,ou=people,"+suffix),
	person("bob", "departmentNumber: hr"), person("mia", "departmentNumber: sales"), person("hilda"), person("hugo"), person("audrey"),
	person("sam", "departmentNumber: sales", "userPKCS12: key"),
	service("postfix"), service("replica"), service("printer"),
	group("admins", "root"), group("helpdesk", "hilda"), group("hr", "hugo"), group("auditors", "audrey"),
	{"cn=choir,ou=groups", "objectClass: groupOfNames", "member: uid=bob,ou=people," + suffix, "owner: uid=alice,ou=people," + suffix},
	{"cn=sales-admins,ou=groups", "objectClass: groupOfNames", "member: cn=sales-leads,ou=groups," + suffix},
	group("sales-leads", "mia"),
}

func person(uid string, more ...string) []string {
	return append([]string{"uid=" + uid + ",ou=people", "objectClass: inetOrgPerson", "cn: " + uid, "sn: X", "mail: " + uid + "@example.org",
		"cn;lang-de: " + uid, "telephoneNumber: 1", "employeeNumber: 7", "userPassword: {SSHA}x", "createTimestamp: 20260101000000Z"}, more...)
}

func service(uid string) []string {
	return []string{"uid=" + uid + ",ou=services", "objectClass: account", "userPassword: {SSHA}x"}
}

func group(cn string, members ...string) []string {
	g := []string{"cn=" + cn + ",ou=groups", "objectClass: groupOfNames"}
	for _, m := range members {
		g = append(g, "member: uid="+m+",ou=people,"+suffix)
	}
	return g
}

// directory holds the cast as sealed entries.
type directory struct {
	schema  *schema.Schema
	shapes  *dit.Shapes
	targets map[string]access.Target // by the value of the RDN
	groups  map[string][]string      // members of groups by canonical name
}

func newDirectory(t testing.TB) *directory {
	s := schema.Default()
	d := &directory{schema: s, shapes: dit.NewShapes(s), targets: make(map[string]access.Target), groups: make(map[string][]string)}
	for i, lines := range cast {
		name := strings.Trim(lines[0]+","+suffix, ",")
		target := access.Target{Entry: d.seal(t, dit.ID(i+1), name, lines[1:]), Name: d.name(t, name)}
		_, short, _ := strings.Cut(strings.SplitN(name, ",", 2)[0], "=")
		d.targets[short] = target
		for _, l := range lines[1:] {
			if m, ok := strings.CutPrefix(l, "member: "); ok {
				d.groups[target.Name.Norm] = append(d.groups[target.Name.Norm], d.name(t, m).Norm)
			}
		}
	}
	return d
}

func (d *directory) name(t testing.TB, dn string) dit.Name {
	t.Helper()
	norm, err := d.schema.NormalizeDNString(nil, dn)
	if err != nil {
		t.Fatal(err)
	}
	return dit.Name{DN: dn, Norm: string(norm)}
}

// seal makes an entry of lines "attribute: value".
func (d *directory) seal(t testing.TB, id dit.ID, dn string, lines []string) *dit.Entry {
	t.Helper()
	draft := dit.NewDraft()
	draft.ID, draft.RDN = id, strings.SplitN(dn, ",", 2)[0]
	for _, l := range lines {
		name, value, _ := strings.Cut(l, ": ")
		desc, err := d.schema.DescribeString(name)
		if err != nil || desc.Type == nil {
			t.Fatalf("%s: %v", l, err)
		}
		if err := draft.Add(d.schema, desc, [][]byte{[]byte(value)}, false); err != nil {
			t.Fatalf("%s: %v", l, err)
		}
	}
	e, _, err := draft.Seal(d.shapes, dit.SealOptions{Trusted: true})
	if err != nil {
		t.Fatalf("%s: %v", dn, err)
	}
	return e
}

// inGroup is the transitive membership of a name.
func (d *directory) inGroup(norm string) func(string) bool {
	var in func(group string, depth int) bool
	in = func(group string, depth int) bool {
		return depth < 10 && slices.ContainsFunc(d.groups[group], func(m string) bool { return m == norm || in(m, depth+1) })
	}
	return func(group string) bool { return in(group, 0) }
}

// subject reads `NAME [from ADDRESS] [over tls[BITS]] [by METHOD]`; NAME is the value of an RDN, anonymous or admin.
func (d *directory) subject(t testing.TB, text string) *access.Subject {
	t.Helper()
	words := strings.Fields(text)
	s := &access.Subject{Addr: netip.MustParseAddr("192.0.2.10"), Method: "simple"}
	switch target, there := d.targets[words[0]]; {
	case words[0] == "anonymous":
		s.Anonymous, s.Method = true, ""
	case words[0] == "admin":
		s.Admin = true
		s.Name = d.name(t, "cn=manager,"+suffix)
	case there:
		s.Name, s.Entry = target.Name, target.Entry.ID
	default:
		t.Fatalf("%s: nobody has this name", text)
	}
	s.InGroup = d.inGroup(s.Name.Norm)
	for i := 1; i+1 < len(words); i += 2 {
		switch words[i] {
		case "from":
			s.Addr = netip.MustParseAddr(words[i+1])
		case "over":
			s.Protected = true
			s.TLSBits = 128
			if words[i+1] == "tls256" {
				s.TLSBits = 256
			}
			if words[i+1] == "unix" {
				s.TLSBits, s.Addr = 0, netip.Addr{}
			}
		case "by":
			s.Method = words[i+1]
		default:
			t.Fatalf("%s: %q is no word of a decision", text, words[i])
		}
	}
	return s
}

// target finds an entry of the cast by the value of its RDN. "new DN" is a name without an entry; "added NAME" is what NAME
// would be if it were added now, with a 2 behind the RDN.
func (d *directory) target(t testing.TB, name string) access.Target {
	t.Helper()
	if dn, added := strings.CutPrefix(name, "new "); added {
		return access.Target{Name: d.name(t, dn+","+suffix)}
	}
	name, added := strings.CutPrefix(name, "added ")
	target, there := d.targets[name]
	if !there {
		t.Fatalf("there is no entry %q", name)
	}
	if added {
		rdn, above, _ := strings.Cut(target.Name.DN, ",")
		e := *target.Entry
		e.ID = 0
		return access.Target{Name: d.name(t, rdn+"2,"+above), Entry: &e, New: true}
	}
	return target
}

// decide answers and verifies one line of the form
//
//	SUBJECT: [[NAME in] ATTRIBUTE of] ENTRY = RIGHTS
//
// where NAME in asks about the value NAME of an attribute. What it verifies beside the rights themselves is that the
// three ways of asking and Explain agree.
func (d *directory) decide(t testing.TB, p *access.Policy, line string) {
	t.Helper()
	question, want, ok := strings.Cut(line, " = ")
	who, what, ok2 := strings.Cut(question, ": ")
	if !ok || !ok2 {
		t.Fatalf("%q is not of the form SUBJECT: [ATTRIBUTE of] ENTRY = RIGHTS", line)
	}
	s := d.subject(t, who)
	e := p.Evaluator(s)
	attr, name, isAttr := strings.Cut(what, " of ")
	if !isAttr {
		name = what
	}
	target := d.target(t, name)
	if !isAttr {
		d.agree(t, p, s, &target, schema.Description{})
		if got := e.EntryRights(&target).String(); got != want {
			t.Errorf("%s\n\tgot %s", line, got)
		}
		return
	}
	value, attr2, isValue := strings.Cut(attr, " in ")
	if isValue {
		attr = attr2
	}
	desc, err := d.schema.DescribeString(attr)
	if err != nil || desc.Type == nil {
		t.Fatalf("%s: no attribute %q", line, attr)
	}
	d.agree(t, p, s, &target, desc)
	got := e.AttrRights(&target, desc).String()
	if isValue {
		var may access.Right
		v := []byte(d.target(t, value).Name.DN)
		for _, r := range []access.Right{access.Add, access.Delete} {
			if e.Value(&target, desc, v, r) {
				may |= r
			}
		}
		got = may.String()
	}
	if got != want {
		t.Errorf("%s\n\tgot %s\n%s", line, got, explain(p.Explain(s, &target, desc)))
	}
}

// agree verifies that Slots says what AttrRights says, and that Explain decides as the evaluator does.
func (d *directory) agree(t testing.TB, p *access.Policy, s *access.Subject, target *access.Target, desc schema.Description) {
	t.Helper()
	e := p.Evaluator(s)
	if !target.New {
		slots := e.Slots(target)
		if slots.Entry != e.EntryRights(target) {
			t.Errorf("Slots gives %s on the entry, EntryRights %s", slots.Entry, e.EntryRights(target))
		}
	}
	if target.Entry != nil && !target.New {
		slots := e.Slots(target)
		for i, have := range target.Entry.Shape().Slots {
			r := e.AttrRights(target, have)
			got := [3]bool{slots.All || slots.Read.Has(i), slots.All || slots.Search.Has(i), slots.All || slots.Compare.Has(i)}
			want := [3]bool{r&access.Read != 0, r&access.Search != 0, r&access.Compare != 0}
			if got != want {
				t.Errorf("%s: Slots gives read, search, compare %v, AttrRights %s", have, got, r)
			}
		}
	}
	have := e.EntryRights(target)
	if desc.Type != nil {
		have = e.AttrRights(target, desc)
	}
	var given, decided access.Right
	rows := p.Explain(s, target, desc)
	for _, x := range rows {
		if x.Decides&decided != 0 {
			t.Errorf("%s is decided twice:\n%s", x.Decides&decided, explain(rows))
		}
		if x.Reason == "" || x.Decides&^x.Right != 0 {
			t.Errorf("a row without a reason, or that decides what it is not about:\n%s", explain(rows))
		}
		decided |= x.Decides
		if x.Allowed {
			given |= x.Decides
		}
	}
	// Modify is the two others together and is not explained.
	if given&^access.Modify != have&decided&^access.Modify || have&^decided&^access.Modify != 0 {
		t.Errorf("the rights are %s, explained are %s:\n%s", have, given, explain(rows))
	}
}

func explain(rows []access.Explanation) string {
	var b strings.Builder
	for _, x := range rows {
		fmt.Fprintf(&b, "\t%s %s: %s (right %s, allowed %v, decides %s)\n", x.Origin, x.Rule, x.Reason, x.Right, x.Allowed, x.Decides)
	}
	return b.String()
}

// compile compiles rules for the suffix of the tests.
func (d *directory) compile(t testing.TB, builtin bool, rules ...access.Rule) *access.Policy {
	t.Helper()
	p, err := access.Compile(rules, access.Options{Schema: d.schema, Suffixes: []string{suffix}, AdminDN: "cn=manager," + suffix, Builtin: builtin})
	if err != nil {
		t.Fatal(err)
	}
	return p
}
