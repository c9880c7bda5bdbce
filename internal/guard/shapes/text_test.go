package shapes

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"portolan/ber"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/ldap"
)

func parse(t testing.TB, text string) *ldap.Filter {
	t.Helper()
	f, err := ldap.ParseFilter(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return &f
}

func TestText(t *testing.T) {
	s := schema.Default()
	for _, test := range []struct{ filter, want string }{
		{"(uid=alice)", "(uid=?)"},
		{"(UID=)", "(uid=?)"},
		{"(userid=alice)", "(uid=?)"},
		{"(0.9.2342.19200300.100.1.1=alice)", "(uid=?)"},
		{"(uid=*)", "(uid=*)"},
		{"(uid=a*)", "(uid=?*)"},
		{"(uid=*a)", "(uid=*?)"},
		{"(uid=*a*)", "(uid=*?*)"},
		{"(uid=a*b*c*d)", "(uid=?*?*?*?)"},
		{"(uidNumber>=1)", "(uidNumber>=?)"},
		{"(uidNumber<=1)", "(uidNumber<=?)"},
		{"(cn~=x)", "(cn~=?)"},
		{"(CN:dn:2.5.13.2:=x)", "(cn:dn:caseIgnoreMatch:=?)"},
		{"(:caseExactMatch:=x)", "(:caseExactMatch:=?)"},
		{"(cn:=x)", "(cn:=?)"},
		{"(cn:unknownRule:=x)", "(cn:unknownrule:=?)"},
		{"(cn;lang-DE=x)", "(cn;lang-de=?)"},
		{"(NoSuchThing=x)", "(nosuchthing=?)"},
		{"(objectClass=PERSON)", "(objectClass=person)"},
		{"(2.5.4.0=2.5.6.6)", "(objectClass=person)"},
		{"(objectClass=typed by a user)", "(objectClass=?)"},
		{"(objectClass=*)", "(objectClass=*)"},
		{"(objectClass=per*)", "(objectClass=?*)"},
		{"(&(objectClass=person)(uid=x))", "(&(objectClass=person)(uid=?))"},
		{"(&(uid=x)(objectClass=person))", "(&(objectClass=person)(uid=?))"},
		{"(|(uid=*)(uid=x))", "(|(uid=*)(uid=?))"},
		{"(|(uid=a)(uid=b)(uid=c)(cn=d))", "(|(cn=?)(uid=?))"},
		{"(|(uid=a))", "(|(uid=?))"},
		{"(&(|(uid=a)(cn=b))(|(cn=c)(uid=d)))", "(&(|(cn=?)(uid=?)))"},
		{"(!(uid=a))", "(!(uid=?))"},
		{"(!(!(uid=a)))", "(!(!(uid=?)))"},
		{"(&)", "(&)"},
		{"(|)", "(|)"},
		// What injection makes of (&(objectClass=person)(uid=INPUT)).
		{"(&(objectClass=person)(uid=*))", "(&(objectClass=person)(uid=*))"},
		{"(&(objectClass=person)(uid=*)(|(uid=x)))", "(&(objectClass=person)(uid=*)(|(uid=?)))"},
		{"(&(objectClass=person)(uid=x)(userPassword=a*))", "(&(objectClass=person)(uid=?)(userPassword=?*))"},
	} {
		if got := Text(s, op.SearchFilter, parse(t, test.filter)); got != test.want {
			t.Errorf("%s is %s, want %s", test.filter, got, test.want)
		}
	}
	if got := Text(s, op.AssertionFilter, parse(t, "(uid=x)")); got != "assertion (uid=?)" {
		t.Errorf("of an assertion: %s", got)
	}
}

func TestExample(t *testing.T) {
	if got := Example(parse(t, "(&(UserID=alice)(OBJECTCLASS=Person)(cn=a*b)(UserID=bob))")); got != "(&(UserID=?)(OBJECTCLASS=Person)(cn=?*?)(UserID=?))" {
		t.Errorf("got %s", got)
	}
}

// TestTextIsBounded gives names that are long, or mean something in a log or on a terminal.
func TestTextIsBounded(t *testing.T) {
	s := schema.Default()
	long := make([]byte, 100_000)
	for i := range long {
		long[i] = 'a'
	}
	a := &ldap.Filter{Nodes: []ldap.FilterNode{{Op: ldap.FilterEquality, First: ldap.None, Next: ldap.None, Attr: long}}}
	b := &ldap.Filter{Nodes: []ldap.FilterNode{{Op: ldap.FilterEquality, First: ldap.None, Next: ldap.None, Attr: long[1:]}}}
	ta, tb := Text(s, op.SearchFilter, a), Text(s, op.SearchFilter, b)
	if len(ta) > 300 || ta == tb {
		t.Errorf("%d octets, alike: %v", len(ta), ta == tb)
	}
	var many []ldap.Filter
	for i := range 500 {
		many = append(many, ldap.Present("attribute-"+string(rune('a'+i%26))+string(rune('a'+i/26))))
	}
	or, and := ldap.Or(many...), ldap.Or(many[1:]...)
	ta, tb = Text(s, op.SearchFilter, &or), Text(s, op.SearchFilter, &and)
	if len(ta) > maxText || ta == tb {
		t.Errorf("%d octets, alike: %v", len(ta), ta == tb)
	}
	odd := ldap.Present("a)(b=*\x1b[31m\n")
	if got := Text(s, op.SearchFilter, &odd); got != `(a\29\28b\3d\2a\1b\5b31m\0a=*)` {
		t.Errorf("got %q", got)
	}
	if got := Example(&or); len(got) > maxExample {
		t.Errorf("an example of %d octets", len(got))
	}
}

// tree draws the tree of a filter; build gives it values.
type tree struct {
	op       ldap.FilterOp
	attr     string
	sub      int
	children []*tree
}

var attrs = []string{"uid", "UID", "userid", "cn", "cn;lang-de", "mail", "noSuch", "objectClassX", "2.5.4.3"}

func drawTree(t *rapid.T, depth int) *tree {
	kinds := []ldap.FilterOp{ldap.FilterEquality, ldap.FilterPresent, ldap.FilterSubstrings, ldap.FilterGreaterOrEqual, ldap.FilterLessOrEqual,
		ldap.FilterApprox, ldap.FilterExtensible}
	if depth > 0 {
		kinds = append(kinds, ldap.FilterAnd, ldap.FilterOr, ldap.FilterNot)
	}
	x := &tree{op: rapid.SampledFrom(kinds).Draw(t, "op"), attr: rapid.SampledFrom(attrs).Draw(t, "attr"), sub: rapid.IntRange(0, 2).Draw(t, "sub")}
	n := 0
	switch x.op {
	case ldap.FilterAnd, ldap.FilterOr:
		n = rapid.IntRange(0, 4).Draw(t, "children")
	case ldap.FilterNot:
		n = 1
	}
	for range n {
		x.children = append(x.children, drawTree(t, depth-1))
	}
	return x
}

// drawValue draws what attackers type.
func drawValue(t *rapid.T) string {
	return rapid.OneOf(
		rapid.SampledFrom([]string{"*", "*)(uid=*", "x)(|(uid=x", "*)(|(userPassword=*)", "\\2a", "\\", "\x00", ")(", "x)(&", "?", "(uid=?)"}),
		rapid.String(), rapid.StringMatching(`[a-c*()\\&|!=~<>:;]{1,12}`),
		rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }),
	).Draw(t, "value")
}

// write writes the filter as an application does that escapes what it is given.
func (x *tree) write(t *rapid.T) string {
	value := func() string { return ldap.EscapeFilterValue(drawValue(t)) }
	piece := func() string {
		if v := drawValue(t); v != "" {
			return ldap.EscapeFilterValue(v)
		}
		return "x"
	}
	children := func() (s string) {
		for _, c := range x.children {
			s += c.write(t)
		}
		return s
	}
	switch x.op {
	case ldap.FilterAnd:
		return "(&" + children() + ")"
	case ldap.FilterOr:
		return "(|" + children() + ")"
	case ldap.FilterNot:
		return "(!" + children() + ")"
	case ldap.FilterPresent:
		return "(" + x.attr + "=*)"
	case ldap.FilterSubstrings:
		return "(" + x.attr + "=" + [...]string{piece() + "*", "*" + piece() + "*", piece() + "*" + piece()}[x.sub] + ")"
	case ldap.FilterGreaterOrEqual:
		return "(" + x.attr + ">=" + value() + ")"
	case ldap.FilterLessOrEqual:
		return "(" + x.attr + "<=" + value() + ")"
	case ldap.FilterApprox:
		return "(" + x.attr + "~=" + value() + ")"
	case ldap.FilterExtensible:
		return "(" + x.attr + [...]string{":", ":dn:", ":dn:caseExactMatch:"}[x.sub] + "=" + value() + ")"
	}
	return "(" + x.attr + "=" + value() + ")"
}

// shuffled returns the tree with siblings in another order, some of them twice.
func (x *tree) shuffled(t *rapid.T) *tree {
	y := *x
	y.children = nil
	for _, c := range x.children {
		y.children = append(y.children, c.shuffled(t))
	}
	if x.op == ldap.FilterNot {
		return &y
	}
	if len(y.children) > 0 && rapid.Bool().Draw(t, "again") {
		y.children = append(y.children, y.children[0].shuffled(t))
	}
	y.children = rapid.Permutation(y.children).Draw(t, "order")
	return &y
}

// TestNoValueChangesTheShape is what the firewall rests on: a value that an application escapes, whatever it is, leaves the
// shape as it is, on its way as text and as BER; so do the order of siblings and how often one is there. The quick hash agrees.
func TestNoValueChangesTheShape(t *testing.T) {
	s := schema.Default()
	f, err := New(Options{Schema: func() *schema.Schema { return s }})
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		x := drawTree(t, 3)
		var texts []string
		var hashes []uint64
		for _, text := range []string{x.write(t), x.write(t), x.shuffled(t).write(t)} {
			parsed, err := ldap.ParseFilter(text)
			if err != nil {
				t.Fatalf("%q: %v", text, err)
			}
			var decoded ldap.Filter
			r := ber.Reader(parsed.AppendBER(nil))
			if err := ldap.DecodeFilter(&r, &decoded); err != nil {
				t.Fatalf("%q: %v", text, err)
			}
			for _, filter := range []*ldap.Filter{&parsed, &decoded} {
				texts = append(texts, Text(s, op.SearchFilter, filter))
				h, ok := f.hash(op.SearchFilter, filter)
				if !ok {
					t.Fatalf("%q has no hash", text)
				}
				hashes = append(hashes, h)
			}
		}
		if len(slices.Compact(texts)) != 1 || len(slices.Compact(hashes)) != 1 {
			t.Fatalf("different shapes of one tree: %q %v", texts, hashes)
		}
	})
}

// TestTheHashTellsShapesApart demands that filters with one hash have one text: what is let through by its hash was approved.
func TestTheHashTellsShapesApart(t *testing.T) {
	s := schema.Default()
	f, err := New(Options{Schema: func() *schema.Schema { return s }})
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[uint64]string)
	look := func(t interface {
		Fatalf(string, ...any)
	}, use op.FilterUse, filter *ldap.Filter) {
		h, ok := f.hash(use, filter)
		if !ok {
			return
		}
		text := Text(s, use, filter)
		if other, ok := seen[h]; ok && other != text {
			t.Fatalf("%s and %s have the same hash", text, other)
		}
		seen[h] = text
	}
	for _, text := range []string{
		"(a=x)", "(a=*)", "(a=x*)", "(a=*x)", "(a=*x*)", "(a=x*y)", "(a>=x)", "(a<=x)", "(a~=x)", "(a:=x)", "(a:dn:=x)", "(a:b:=x)", "(:b:=x)", "(ab:=x)", "(:ab:=x)",
		"(objectClass=person)", "(objectClass=device)", "(objectClass=x)", "(objectClass=*)", "(objectClass;lang-de=person)", "(2.5.4.0=person)",
		"(&(a=x))", "(|(a=x))", "(!(a=x))", "(&(a=x)(b=x))", "(&(a=x)(|(b=x)))", "(&(&(a=x))(b=x))", "(&)", "(|)", "(&(&))", "(&(|))",
	} {
		look(t, op.SearchFilter, parse(t, text))
		look(t, op.AssertionFilter, parse(t, text))
		look(t, op.ValuesFilter, parse(t, text))
	}
	rapid.Check(t, func(t *rapid.T) {
		filter, err := ldap.ParseFilter(drawTree(t, 3).write(t))
		if err != nil {
			t.Fatal(err)
		}
		look(t, op.SearchFilter, &filter)
	})
}
