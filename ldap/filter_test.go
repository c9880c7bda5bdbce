package ldap

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	goldap "github.com/go-ldap/ldap/v3"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"portolan/ber"
)

func TestParseFilter(t *testing.T) {
	tests := []struct{ in, out string }{
		// RFC 4515 section 4
		{"(cn=Babs Jensen)", ""},
		{"(!(cn=Tim Howes))", ""},
		{"(&(objectClass=Person)(|(sn=Jensen)(cn=Babs J*)))", ""},
		{"(o=univ*of*mich*)", ""},
		{"(seeAlso=)", ""},
		{"(cn:caseExactMatch:=Fred Flintstone)", ""},
		{"(cn:=Betty Rubble)", ""},
		{"(sn:dn:2.4.6.8.10:=Barney Rubble)", ""},
		{"(o:dn:=Ace Industry)", ""},
		{"(:1.2.3:=Wilma Flintstone)", ""},
		{"(:DN:2.4.6.8.10:=Dino)", "(:dn:2.4.6.8.10:=Dino)"},
		{`(o=Parens R Us \28for all your parenthetical needs\29)`, ""},
		{`(cn=*\2A*)`, `(cn=*\2a*)`},
		{`(filename=C:\5cMyFile)`, ""},
		{`(bin=\00\00\00\04)`, ""},
		{`(sn=Lu\c4\8di\c4\87)`, "(sn=Lučić)"},
		{`(1.3.6.1.4.1.1466.0=\04\02\48\69)`, `(1.3.6.1.4.1.1466.0=\04\02Hi)`},
		// RFC 4526
		{"(&)", ""}, {"(|)", ""}, {"(!(&))", ""},
		// the other operators
		{"(a>=1)", ""}, {"(a<=1)", ""}, {"(a~=1)", ""}, {"(a=*)", ""},
		{"(a=>=)", ""}, {"(a==)", ""}, {"(a=:dn:=x)", ""},
		{"(a=*b)", ""}, {"(a=b*)", ""}, {"(a=*b*)", ""}, {"(a=b*c)", ""}, {"(a=b*c*d)", ""}, {"(a=*b*c*)", ""},
		{"(cn;lang-en;x-1=y)", ""}, {"(cn;lang-en-=y)", ""}, {"(x_y=z)", ""},
		// leniency
		{" ( & ( a=b ) ( c=d) ) ", "(&(a=b )(c=d))"},
		{"(\n  |\n  (a=b)\n  (c=d)\n)\n", "(|(a=b)(c=d))"},
		{"( ! (a=b) )", "(!(a=b))"},
		{"uid=x", "(uid=x)"}, {" uid=x* \n", "(uid=x*)"}, {"cn:dn:=x y", "(cn:dn:=x y)"}, {"uid=", "(uid=)"}, {"uid=*", "(uid=*)"},
		{"(a=**)", "(a=*)"}, {"(a=b**c)", "(a=b*c)"},
		{`(a=\(x\)\*\\)`, `(a=\28x\29\2a\5c)`},
		{"(a= b)", ""},
		{"(a=\xff)", `(a=\ff)`}, {"(a=x\x07y)", `(a=x\07y)`}, {"(a=\u00e9)", ""},
	}
	for _, tt := range tests {
		f, err := ParseFilter(tt.in)
		if err != nil {
			t.Errorf("ParseFilter(%q): %v", tt.in, err)
			continue
		}
		want := tt.out
		if want == "" {
			want = tt.in
		}
		if got := f.String(); got != want {
			t.Errorf("ParseFilter(%q) prints %q, want %q", tt.in, got, want)
		}
		checkFilter(t, &f)
	}
}

// checkFilter checks that f survives text and BER.
func checkFilter(t testing.TB, f *Filter) {
	t.Helper()
	again, err := ParseFilter(f.String())
	if err != nil {
		t.Fatalf("%q does not parse again: %v", f.String(), err)
	}
	if diff := cmp.Diff(*f, again, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("%q parsed again (-want +got):\n%s", f.String(), diff)
	}
	r := ber.Reader(f.AppendBER(nil))
	var decoded Filter
	if err := DecodeFilter(&r, &decoded); err != nil || !r.Empty() {
		t.Fatalf("%q does not decode: %v, %d octets left", f.String(), err, len(r))
	}
	if diff := cmp.Diff(*f, decoded, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("%q through BER (-want +got):\n%s", f.String(), diff)
	}
	clone := f.Clone()
	if diff := cmp.Diff(*f, clone, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("%q cloned (-want +got):\n%s", f.String(), diff)
	}
}

// TestFilterBERAgainstAnotherClient compares with the encoding of an independent implementation.
func TestFilterBERAgainstAnotherClient(t *testing.T) {
	for _, s := range []string{
		"(cn=Babs Jensen)", "(!(cn=Tim Howes))", "(&(objectClass=Person)(|(sn=Jensen)(cn=Babs J*)))", "(o=univ*of*mich*)", "(cn=*a*b*)",
		"(seeAlso=)", "(cn:caseExactMatch:=Fred Flintstone)", "(cn:=Betty Rubble)", "(sn:dn:2.4.6.8.10:=Barney)", "(o:dn:=Ace)",
		"(:1.2.3:=Wilma)", "(:dn:2.4.6.8.10:=Dino)", `(cn=*\2a*)`, `(bin=\00\00\00\04)`, "(a>=1)", "(a<=1)", "(a~=1)", "(a=*)", "(a=*b)", "(a=b*)",
	} {
		p, err := goldap.CompileFilter(s)
		if err != nil {
			t.Fatal(err)
		}
		want := p.Bytes()
		if strings.Contains(s, ":dn:") {
			want[len(want)-1] = 0xff // that client writes TRUE as 1, which RFC 4511 section 5.1 does not allow
		}
		f := mustFilter(t, s)
		if got := f.AppendBER(nil); !bytes.Equal(got, want) {
			t.Errorf("%s:\n got % x\nwant % x", s, got, want)
		}
	}
}

func TestParseFilterRefuses(t *testing.T) {
	for _, tt := range []struct {
		in, want string
		octet    int
	}{
		{"", "a filter such as (uid=x)", 1},
		{"   ", "a filter such as (uid=x)", 4},
		{"(", "never closed", 1},
		{"()", "operator after the attribute", 2},
		{"(a=b", "never closed", 1},
		{"(a=b))", "complete here", 6},
		{"(a=b)(c=d)", "complete here", 6},
		{"(a)", "operator after the attribute", 3},
		{"((a=b))", "must stand before this parenthesis", 2},
		{"(&(a=b)", "never closed", 1},
		{"(& a=b)", "opening parenthesis", 4},
		{"&(a=b)(c=d)", "needs parentheses", 1},
		{"!(a=b)", "needs parentheses", 1},
		{"(!)", "opening parenthesis", 3},
		{"(!(a=b)(c=d))", "exactly one", 8},
		{"(=b)", "attribute is missing", 2},
		{"(a b=c)", `' ' cannot stand`, 3},
		{"(-a=c)", "cannot stand", 2},
		{"(a;=c)", "option is missing", 3},
		{"(a;;b=c)", "option is missing", 3},
		{"(a~b)", "want =", 4},
		{"(a>b)", "want =", 4},
		{"(a<", "want =", 4},
		{"(a>=b*)", `\2a`, 6},
		{"(a:=b*)", `\2a`, 6},
		{"(a=b(c)", `\28`, 5},
		{"a=b)c", `\29`, 4},
		{"(a=\x00)", `\00`, 4},
		{`(a=\)`, "never closed", 1},
		{`(a=\4)`, "two hexadecimal digits", 4},
		{`(a=\zz)`, "two hexadecimal digits", 4},
		{`a=\`, "two hexadecimal digits", 3},
		{"(:=b)", "needs an attribute or a matching rule", 2},
		{"(:dn:=b)", "needs an attribute or a matching rule", 2},
		{"(a:dn:x:y:=b)", "at most", 9},
		{"(a:x:dn:=b)", "at most", 6},
		{"(a:dn=b)", "want :=", 6},
		{"(a::=b)", "attribute is missing", 4},
		{"(a:", "want :=", 4},
		{"(1.2.3 :=b)", "cannot stand", 7},
	} {
		_, err := ParseFilter(tt.in)
		var e *Error
		if !errors.As(err, &e) || e.Code != ProtocolError {
			t.Errorf("ParseFilter(%q): %v, want protocolError", tt.in, err)
			continue
		}
		if !strings.Contains(e.Diagnostic, tt.want) || !strings.HasPrefix(e.Diagnostic, fmt.Sprintf("filter, octet %d: ", tt.octet)) {
			t.Errorf("ParseFilter(%q): %q, want octet %d and %q", tt.in, e.Diagnostic, tt.octet, tt.want)
		}
	}
}

// nestedBER is depth filters inside each other around (a=*), built from the outside in.
func nestedBER(tag byte, depth int) []byte {
	leaf := []byte{0x87, 1, 'a'}
	sizes := make([]int, depth)
	size := len(leaf)
	for i := depth - 1; i >= 0; i-- {
		sizes[i] = size
		size += ber.HeaderSize(size)
	}
	var out []byte
	for _, s := range sizes {
		out = ber.AppendHeader(out, tag, s)
	}
	return append(out, leaf...)
}

// TestFilterDepth: however deep, the answer is prompt, one error, and costs no more than the text.
func TestFilterDepth(t *testing.T) {
	for _, depth := range []int{1, 10, MaxFilterDepth - 1, MaxFilterDepth, 1000, 10_000, 100_000, 1_000_000} {
		for op, tag := range map[string]byte{"&": tagAnd, "|": tagOr, "!": tagNot} {
			text := strings.Repeat("("+op, depth) + "(a=*)" + strings.Repeat(")", depth)
			_, textErr := ParseFilter(text)
			open := strings.Repeat("("+op, depth)
			_, openErr := ParseFilter(open)
			if openErr == nil {
				t.Errorf("%d unclosed %s parse", depth, op)
			}
			var f Filter
			r := ber.Reader(nestedBER(tag, depth))
			berErr := DecodeFilter(&r, &f)
			for name, err := range map[string]error{"text": textErr, "BER": berErr} {
				if depth < MaxFilterDepth && err != nil {
					t.Errorf("%s, %d deep %s: %v", name, depth, op, err)
				}
				if depth >= MaxFilterDepth && (CodeOf(err) != ProtocolError || !strings.Contains(err.Error(), "levels deep")) {
					t.Errorf("%s, %d deep %s: %v", name, depth, op, err)
				}
			}
			if depth > MaxFilterDepth && cap(f.Nodes) > 2*MaxFilterDepth {
				t.Errorf("%d deep %s: room for %d nodes", depth, op, cap(f.Nodes))
			}
		}
	}
}

func TestFilterNodes(t *testing.T) {
	for n, ok := range map[int]bool{MaxFilterNodes - 1: true, MaxFilterNodes: false, 300_000: false} {
		_, err := ParseFilter("(|" + strings.Repeat("(a=*)", n) + ")")
		if (err == nil) != ok {
			t.Errorf("%d children: %v", n, err)
		}
		_, err = ParseFilter("(a=" + strings.Repeat("*b", n) + ")")
		if (err == nil) != ok {
			t.Errorf("%d pieces: %v", n, err)
		}
		r := ber.Reader(ber.AppendBytes(nil, tagOr, bytes.Repeat([]byte{0x87, 1, 'a'}, n)))
		var f Filter
		if err := DecodeFilter(&r, &f); (err == nil) != ok {
			t.Errorf("%d children in BER: %v", n, err)
		}
	}
}

func drawValue(t *rapid.T, label string) string {
	return rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-c*()\\ ,+"#;=<>]{0,8}`),
		rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) })).Draw(t, label)
}

func drawFilter(t *rapid.T, depth int) Filter {
	attr := rapid.StringMatching(`[a-zA-Z][a-zA-Z0-9-]{0,5}(;[a-z][a-z0-9-]{0,3})?|[0-2](\.[0-9]{1,3}){1,4}`)
	top := 9
	if depth == 0 {
		top = 6
	}
	kind := rapid.IntRange(0, top).Draw(t, "kind")
	var parts []Filter
	if kind > 6 {
		n := 1
		if kind > 7 {
			n = rapid.IntRange(0, 3).Draw(t, "children")
		}
		for range n {
			parts = append(parts, drawFilter(t, depth-1))
		}
	}
	switch kind {
	case 0:
		return Eq(attr.Draw(t, "attr"), drawValue(t, "value"))
	case 1:
		return GreaterOrEqual(attr.Draw(t, "attr"), drawValue(t, "value"))
	case 2:
		return LessOrEqual(attr.Draw(t, "attr"), drawValue(t, "value"))
	case 3:
		return Approx(attr.Draw(t, "attr"), drawValue(t, "value"))
	case 4:
		return Present(attr.Draw(t, "attr"))
	case 5:
		var middle []string
		for range rapid.IntRange(0, 3).Draw(t, "pieces") {
			middle = append(middle, drawValue(t, "any"))
		}
		return Substrings(attr.Draw(t, "attr"), drawValue(t, "initial"), middle, drawValue(t, "final"))
	case 6:
		rule := ""
		a := attr.Draw(t, "attr")
		if rapid.Bool().Draw(t, "ruled") {
			rule = rapid.StringMatching(`[e-z][a-zA-Z]{0,5}|2\.5\.13\.[0-9]`).Draw(t, "rule")
			if rapid.Bool().Draw(t, "bare") {
				a = ""
			}
		}
		return Extensible(a, rapid.Bool().Draw(t, "dn"), rule, drawValue(t, "value"))
	case 7:
		return Not(parts[0])
	case 8:
		return And(parts...)
	}
	return Or(parts...)
}

func TestBuiltFiltersSurviveTextAndBER(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := drawFilter(t, 4)
		again, err := ParseFilter(f.String())
		if err != nil {
			t.Fatalf("%q: %v", f.String(), err)
		}
		r := ber.Reader(f.AppendBER(nil))
		var decoded Filter
		if err := DecodeFilter(&r, &decoded); err != nil {
			t.Fatalf("%q: %v", f.String(), err)
		}
		for name, g := range map[string]Filter{"text": again, "BER": decoded, "clone": f.Clone()} {
			if diff := cmp.Diff(f, g, cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("%q through %s (-want +got):\n%s", f.String(), name, diff)
			}
		}
	})
}

// TestNoValueChangesTheShape is the defence against injection: whatever the value, the tree around it stands.
func TestNoValueChangesTheShape(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := drawValue(t, "value")
		want := And(Eq("uid", v), Eq("objectClass", "person"))
		text := "(&(uid=" + EscapeFilterValue(v) + ")(objectClass=person))"
		got, err := ParseFilter(text)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("%q (-want +got):\n%s", text, diff)
		}
	})
}

func TestConstructors(t *testing.T) {
	for want, f := range map[string]Filter{
		"(&(a=b)(|(c=*)(!(d>=e))))": And(Eq("a", "b"), Or(Present("c"), Not(GreaterOrEqual("d", "e")))),
		"(&)":                       And(),
		"(|)":                       Or(),
		"(&(|))":                    And(Filter{}),
		"(!(|))":                    Not(Filter{}),
		"(a=b*c*d*e)":               Substrings("a", "b", []string{"c", "", "d"}, "e"),
		"(a=*c*)":                   Substrings("a", "", []string{"c"}, ""),
		"(a=*)":                     Substrings("a", "", nil, ""),
		"(&(a=*x)(b=y*)(c=*z*))":    And(Substrings("a", "", nil, "x"), Substrings("b", "y", nil, ""), Substrings("c", "", []string{"z"}, "")),
		"(a:dn:r:=v)":               Extensible("a", true, "r", "v"),
		`(uid=\2a\29\28uid=\2a)`:    Eq("uid", "*)(uid=*"),
		"(&(a<=b)(c~=d))":           And(LessOrEqual("a", "b"), Approx("c", "d")),
		"(&(&(a=1)(b=2))(&(c=3)))":  And(And(Eq("a", "1"), Eq("b", "2")), And(Eq("c", "3"))),
		`(cn:\64n:=x)`:              Extensible("cn", false, "dn", "x"),
		"(cn:dn:dn:=x)":             Extensible("cn", true, "dn", "x"),
	} {
		if got := f.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	var none Filter
	if got := none.AppendBER(nil); !bytes.Equal(got, []byte{tagOr, 0}) {
		t.Errorf("a filter without nodes is % x, want an Or of nothing", got)
	}
}

func FuzzParseFilter(f *testing.F) {
	for _, s := range []string{"(&(objectClass=Person)(|(sn=Jensen)(cn=Babs J*)))", "(:dn:2.4.6:=x)", "uid=x", `(a=\28\*b**c)`, " ( ! (&) ) ", "(a:dn:=x)"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		g, err := ParseFilter(s)
		if err != nil {
			if CodeOf(err) != ProtocolError {
				t.Fatal(err)
			}
			return
		}
		checkFilter(t, &g)
	})
}

func BenchmarkParseFilter(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseFilter("(&(objectClass=person)(|(uid=alice)(mail=alice@*)))"); err != nil {
			b.Fatal(err)
		}
	}
}
