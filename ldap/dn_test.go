package ldap

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	goldap "github.com/go-ldap/ldap/v3"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

func ava(pairs ...string) RDN {
	var out RDN
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, AVA{Type: pairs[i], Value: []byte(pairs[i+1])})
	}
	return out
}

func TestParseDN(t *testing.T) {
	net := []RDN{ava("DC", "example"), ava("DC", "net")}
	tests := []struct {
		in  string
		out string // empty: as in
		dn  DN
	}{
		{"", "", nil},
		{"  ", "", nil},
		// RFC 4514 section 4
		{"UID=jsmith,DC=example,DC=net", "", append(DN{ava("UID", "jsmith")}, net...)},
		{"OU=Sales+CN=J.  Smith,DC=example,DC=net", "", append(DN{ava("OU", "Sales", "CN", "J.  Smith")}, net...)},
		{`CN=James \"Jim\" Smith\, III,DC=example,DC=net`, "", append(DN{ava("CN", `James "Jim" Smith, III`)}, net...)},
		{`CN=Before\0dAfter,DC=example,DC=net`, "", append(DN{ava("CN", "Before\rAfter")}, net...)},
		{"1.3.6.1.4.1.1466.0=#04024869", "1.3.6.1.4.1.1466.0=Hi", DN{ava("1.3.6.1.4.1.1466.0", "Hi")}},
		{`CN=Lu\C4\8Di\C4\87`, "CN=Lučić", DN{ava("CN", "Lučić")}},
		// RFC 2253 section 4 and 5, RFC 1779
		{"CN=Steve Kille;O=Isode Limited;C=GB", "CN=Steve Kille,O=Isode Limited,C=GB", DN{ava("CN", "Steve Kille"), ava("O", "Isode Limited"), ava("C", "GB")}},
		{`CN="L. Eagle", O="Sue, Grabbit and Runn" , C=GB`, `CN=L. Eagle,O=Sue\, Grabbit and Runn,C=GB`, DN{ava("CN", "L. Eagle"), ava("O", "Sue, Grabbit and Runn"), ava("C", "GB")}},
		{"OID.2.5.4.3=x,oid.2.5.4.11=y", "2.5.4.3=x,2.5.4.11=y", DN{ava("2.5.4.3", "x"), ava("2.5.4.11", "y")}},
		{"oid=x", "", DN{ava("oid", "x")}},
		// blanks
		{"  cn = a b  ,\n ou=c  +  l = d ", "cn=a b,ou=c+l=d", DN{ava("cn", "a b"), ava("ou", "c", "l", "d")}},
		{`cn=\ a\ `, "", DN{ava("cn", " a ")}},
		{`cn=a\20 `, `cn=a\ `, DN{ava("cn", "a ")}},
		{`cn=a \ `, `cn=a \ `, DN{ava("cn", "a  ")}},
		{`cn=" a "`, `cn=\ a\ `, DN{ava("cn", " a ")}},
		{`cn=\ `, "", DN{ava("cn", " ")}},
		// empty values
		{"cn=", "", DN{ava("cn", "")}},
		{"cn=,dc=x", "", DN{ava("cn", ""), ava("dc", "x")}},
		{"cn=+ou=,dc=", "", DN{ava("cn", "", "ou", ""), ava("dc", "")}},
		{`cn=""`, "cn=", DN{ava("cn", "")}},
		{"cn=#0400", "cn=", DN{ava("cn", "")}},
		// specials
		{`cn=\#a#b`, "", DN{ava("cn", "#a#b")}},
		{`cn=a\+b\;c\<d\>e\\f`, "", DN{ava("cn", `a+b;c<d>e\f`)}},
		{`cn=a\=b=c`, "cn=a=b=c", DN{ava("cn", "a=b=c")}},
		{"cn=a<b>c", `cn=a\<b\>c`, DN{ava("cn", "a<b>c")}},
		{`cn="a\"b\\c\2cd+;"`, `cn=a\"b\\c\,d\+\;`, DN{ava("cn", `a"b\c,d+;`)}},
		{`cn=\00\ff`, "", DN{ava("cn", "\x00\xff")}},
		{"cn=\xff", `cn=\ff`, DN{ava("cn", "\xff")}},
		{"x_y=z", "", DN{ava("x_y", "z")}},
		// BER values of each string type
		{"cn=#0c026869 , cn=#13026869", "cn=hi,cn=hi", DN{ava("cn", "hi"), ava("cn", "hi")}},
		{"cn=#16026869+sn=#14026869;l=#1a026869", "cn=hi+sn=hi,l=hi", DN{ava("cn", "hi", "sn", "hi"), ava("l", "hi")}},
		{"cn=#1e040068010d", "cn=hč", DN{ava("cn", "hč")}},
		{"cn=#12023132", "cn=12", DN{ava("cn", "12")}},
		{"cn=#1E04D83DDE00", "cn=😀", DN{ava("cn", "😀")}},
	}
	for _, tt := range tests {
		dn, err := ParseDN(tt.in)
		if err != nil {
			t.Errorf("ParseDN(%q): %v", tt.in, err)
			continue
		}
		if diff := cmp.Diff(tt.dn, dn, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("ParseDN(%q) (-want +got):\n%s", tt.in, diff)
		}
		want := tt.out
		if want == "" && len(dn) > 0 {
			want = tt.in
		}
		if got := dn.String(); got != want {
			t.Errorf("ParseDN(%q) prints %q, want %q", tt.in, got, want)
		}
	}
}

func TestParseDNRefuses(t *testing.T) {
	for _, tt := range []struct {
		in, want string
		octet    int
	}{
		{"x", "want =", 2},
		{"=x", "attribute type", 1},
		{"cn=x,", "remove the separator", 6},
		{"cn=x+", "remove the separator", 6},
		{",cn=x", "attribute type", 1},
		{"cn=x,,dc=y", "attribute type", 6},
		{"cn=x,dc", "want =", 8},
		{"cn;lang-en=x", "no options", 3},
		{"c n=x", "want =", 3},
		{"-cn=x", "attribute type", 1},
		{"2=x", "object identifier", 1},
		{"2..5=x", "object identifier", 1},
		{"2.5.=x", "object identifier", 1},
		{`cn=a"b`, `\"`, 5},
		{`cn="a`, "never closed", 4},
		{`cn="a"b`, "after the closing quotation mark", 7},
		{`cn=a\`, "backslash", 5},
		{`cn=a\4`, "backslash", 5},
		{`cn=a\zz`, "backslash", 5},
		{`cn="\zz"`, "backslash", 5},
		{"cn=a\x00b", `\00`, 5},
		{"cn=#", "BER element", 4},
		{"cn=#0", "digit is missing", 6},
		{"cn=#04", "BER element", 4},
		{"cn=#0405aa", "BER element", 4},
		{"cn=#0400aa", "BER element", 4},
		{"cn=#048000", "BER element", 4},
		{"cn=#04024869x", "hexadecimal", 13},
		{"cn=#hello", `\#`, 5},
		{"cn=#020105", "no string type", 4},
		{"cn=#3000", "no string type", 4},
		{"cn=#1401ff", "TeletexString", 4},
		{"cn=#1e0100", "BMPString", 4},
	} {
		_, err := ParseDN(tt.in)
		var e *Error
		if !errors.As(err, &e) || e.Code != InvalidDNSyntax {
			t.Errorf("ParseDN(%q): %v, want invalidDNSyntax", tt.in, err)
			continue
		}
		if !strings.Contains(e.Diagnostic, tt.want) || !strings.HasPrefix(e.Diagnostic, fmt.Sprintf("DN, octet %d: ", tt.octet)) {
			t.Errorf("ParseDN(%q): %q, want octet %d and %q", tt.in, e.Diagnostic, tt.octet, tt.want)
		}
	}
}

func TestDNLimits(t *testing.T) {
	for name, tt := range map[string]struct {
		in string
		ok bool
	}{
		"as many RDNs as may be":   {strings.Repeat("a=b,", MaxRDNs-1) + "a=b", true},
		"one RDN more":             {strings.Repeat("a=b,", MaxRDNs) + "a=b", false},
		"as many pairs":            {strings.Repeat("a=b+", MaxRDNs-1) + "a=b", true},
		"one pair more":            {strings.Repeat("a=b+", MaxRDNs) + "a=b", false},
		"as long as may be":        {"cn=" + strings.Repeat("x", MaxDNBytes-3), true},
		"one octet more":           {"cn=" + strings.Repeat("x", MaxDNBytes-2), false},
		"a megabyte of escapes":    {"cn=" + strings.Repeat(`\2c`, MaxDNBytes/3-1), true},
		"a megabyte of blanks":     {"cn=" + strings.Repeat(" ", MaxDNBytes-4) + "x", true},
		"blanks to the end":        {"cn=x" + strings.Repeat(" ", MaxDNBytes-4), true},
		"a megabyte of separators": {strings.Repeat(",", MaxDNBytes), false},
		"a megabyte of quotes":     {"cn=" + strings.Repeat(`"`, MaxDNBytes-3), false},
		"a megabyte of digits":     {strings.Repeat("1", MaxDNBytes), false},
		"a megabyte of hex":        {"cn=#04830" + "7fff0" + strings.Repeat("61", 0x7fff0), true},
		"a million RDNs":           {strings.Repeat("a=,", MaxDNBytes/3), false},
	} {
		_, err := ParseDN(tt.in)
		if (err == nil) != tt.ok || err != nil && CodeOf(err) != InvalidDNSyntax {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && len(err.Error()) > 300 {
			t.Errorf("%s: the error has %d octets", name, len(err.Error()))
		}
	}
}

func TestParseRDN(t *testing.T) {
	rdn, err := ParseRDN(`cn=a\,b+sn=c`)
	if err != nil || rdn.String() != `cn=a\,b+sn=c` {
		t.Errorf("%q, %v", rdn, err)
	}
	for _, in := range []string{"", "cn=a,dc=b", "cn"} {
		if _, err := ParseRDN(in); CodeOf(err) != InvalidDNSyntax {
			t.Errorf("ParseRDN(%q): %v", in, err)
		}
	}
}

func TestParent(t *testing.T) {
	dn, err := ParseDN("cn=a,dc=b,dc=c")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"dc=b,dc=c", "dc=c", "", ""} {
		if dn = dn.Parent(); dn.String() != want {
			t.Fatalf("parent is %q, want %q", dn, want)
		}
	}
}

func TestPrintedDNParsesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var dn DN
		for range rapid.IntRange(0, 4).Draw(t, "rdns") {
			var rdn RDN
			for range rapid.IntRange(1, 3).Draw(t, "pairs") {
				rdn = append(rdn, AVA{
					Type:  rapid.StringMatching(`[a-zA-Z][a-zA-Z0-9-]{0,4}|[0-2](\.[0-9]{1,3}){1,4}`).Draw(t, "type"),
					Value: []byte(drawValue(t, "value")),
				})
			}
			dn = append(dn, rdn)
		}
		got, err := ParseDN(dn.String())
		if err != nil {
			t.Fatalf("%q: %v", dn.String(), err)
		}
		if diff := cmp.Diff(dn, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("%q (-want +got):\n%s", dn.String(), diff)
		}
		// An independent reader must see the same values.
		other, err := goldap.ParseDN(dn.String())
		if err != nil {
			t.Fatalf("go-ldap: %q: %v", dn.String(), err)
		}
		for i, rdn := range other.RDNs {
			for j, a := range rdn.Attributes {
				if a.Type != dn[i][j].Type || a.Value != string(dn[i][j].Value) {
					t.Fatalf("go-ldap reads %q as %q=%q", dn.String(), a.Type, a.Value)
				}
			}
		}
	})
}

func FuzzParseDN(f *testing.F) {
	for _, s := range []string{`CN=James \"Jim\" Smith\, III,DC=example+x=y`, `CN="L. Eagle" ; O=#04024869`, "oid.2.5.4.3= x ", `cn=\ \20 `, "cn=#1E04D83DDE00",
		"uid=a.b-c@example.org,ou=people,dc=example,dc=org", "1a=b", "cn=", "cn=a,", "cn= a", "cn=a b ,dc=c", "-=a", "cn=a,=b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		dn, err := ParseDN(s)
		if valid := ValidDN([]byte(s)); valid != (err == nil) {
			t.Fatalf("%q is valid: %v, and parsing it says %v", s, valid, err)
		}
		if err != nil {
			if CodeOf(err) != InvalidDNSyntax {
				t.Fatal(err)
			}
			return
		}
		text := dn.String()
		again, err := ParseDN(text)
		if err != nil {
			t.Fatalf("%q prints %q: %v", s, text, err)
		}
		if diff := cmp.Diff(dn, again, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("%q prints %q (-want +got):\n%s", s, text, diff)
		}
	})
}

// A plain name is looked at without allocating, and the fuzz target compares what is plain with the parser.
func TestValidDN(t *testing.T) {
	for name, want := range map[string]bool{
		"": true, "uid=anna.e,ou=people,dc=example,dc=org": true, `cn=Smith\, Anna,dc=org`: true, "2.5.4.3=a": true, "cn=a b": true,
		"cn": false, "=a": false, "cn=a,": false, "anna": false, "cn=a,,dc=b": false,
	} {
		if got := ValidDN([]byte(name)); got != want {
			t.Errorf("%q is valid: %v, want %v", name, got, want)
		}
	}
	name := []byte("uid=anna.e,ou=people,dc=example,dc=org")
	if n := testing.AllocsPerRun(10, func() { ValidDN(name) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkParseDN(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseDN("uid=alice,ou=people,dc=example,dc=org"); err != nil {
			b.Fatal(err)
		}
	}
}
