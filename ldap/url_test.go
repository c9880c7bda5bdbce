package ldap

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

func TestParseURL(t *testing.T) {
	um := "o=University of Michigan,c=US"
	tests := []struct {
		in, out string // out empty: as in
		u       URL
	}{
		// RFC 4516 section 4
		{"ldap:///o=University%20of%20Michigan,c=US", "", URL{Scheme: "ldap", DN: um}},
		{"ldap://ldap1.example.net/o=University%20of%20Michigan,c=US", "", URL{Scheme: "ldap", Host: "ldap1.example.net", DN: um}},
		{"ldap://ldap1.example.net/o=University%20of%20Michigan,c=US?postalAddress", "", URL{Scheme: "ldap", Host: "ldap1.example.net", DN: um, Attributes: []string{"postalAddress"}}},
		{"ldap://ldap1.example.net:6666/o=University%20of%20Michigan,c=US??sub?(cn=Babs%20Jensen)", "",
			URL{Scheme: "ldap", Host: "ldap1.example.net:6666", DN: um, Scope: ScopeSub, HasScope: true, Filter: "(cn=Babs Jensen)"}},
		{"LDAP://ldap1.example.com/c=GB?objectClass?ONE", "ldap://ldap1.example.com/c=GB?objectClass?one",
			URL{Scheme: "ldap", Host: "ldap1.example.com", DN: "c=GB", Attributes: []string{"objectClass"}, Scope: ScopeOne, HasScope: true}},
		{"ldap://ldap2.example.com/o=Question%3f,c=US?mail", "ldap://ldap2.example.com/o=Question%3F,c=US?mail",
			URL{Scheme: "ldap", Host: "ldap2.example.com", DN: "o=Question?,c=US", Attributes: []string{"mail"}}},
		{"ldap://ldap3.example.com/o=Babsco,c=US???(four-octet=%5c00%5c00%5c00%5c04)", "ldap://ldap3.example.com/o=Babsco,c=US???(four-octet=%5C00%5C00%5C00%5C04)",
			URL{Scheme: "ldap", Host: "ldap3.example.com", DN: "o=Babsco,c=US", Filter: `(four-octet=\00\00\00\04)`}},
		{"ldap://ldap.example.com/o=An%20Example%5C2C%20Inc.,c=US", "", URL{Scheme: "ldap", Host: "ldap.example.com", DN: `o=An Example\2C Inc.,c=US`}},
		{"ldap://ldap.example.net", "", URL{Scheme: "ldap", Host: "ldap.example.net"}},
		{"ldap://ldap.example.net/", "ldap://ldap.example.net", URL{Scheme: "ldap", Host: "ldap.example.net"}},
		{"ldap://ldap.example.net/?", "ldap://ldap.example.net", URL{Scheme: "ldap", Host: "ldap.example.net"}},
		{"ldap:///??sub??e-bindname=cn=Manager%2cdc=example%2cdc=com", "ldap:///??sub??e-bindname=cn=Manager%2Cdc=example%2Cdc=com",
			URL{Scheme: "ldap", Scope: ScopeSub, HasScope: true, Extensions: []URLExtension{{Name: "e-bindname", Value: "cn=Manager,dc=example,dc=com"}}}},
		{"ldap:///??sub??!e-bindname=cn=Manager%2cdc=example%2cdc=com", "ldap:///??sub??!e-bindname=cn=Manager%2Cdc=example%2Cdc=com",
			URL{Scheme: "ldap", Scope: ScopeSub, HasScope: true, Extensions: []URLExtension{{Critical: true, Name: "e-bindname", Value: "cn=Manager,dc=example,dc=com"}}}},
		// the other schemes and forms
		{"ldaps://[::1]:1636/", "ldaps://[::1]:1636", URL{Scheme: "ldaps", Host: "[::1]:1636"}},
		{"ldaps://[fe80::1%25eth0]", "", URL{Scheme: "ldaps", Host: "[fe80::1%eth0]"}},
		{"ldapi://%2Fvar%2Frun%2Fslapd.sock/dc=x", "", URL{Scheme: "ldapi", Host: "/var/run/slapd.sock", DN: "dc=x"}},
		{"ldapi:///", "ldapi://", URL{Scheme: "ldapi"}},
		{"cldap://10.0.0.1:389", "", URL{Scheme: "cldap", Host: "10.0.0.1:389"}},
		{"ldap:///dc=x?*,+,@person,cn;lang-en,1.1?base", "",
			URL{Scheme: "ldap", DN: "dc=x", Attributes: []string{"*", "+", "@person", "cn;lang-en", "1.1"}, HasScope: true}},
		{"ldap:///dc=x??children", "ldap:///dc=x??subordinate", URL{Scheme: "ldap", DN: "dc=x", Scope: ScopeSubordinate, HasScope: true}},
		{"ldap:///????!x,y=,z=a%3Fb", "ldap:///????!x,y,z=a%3Fb", URL{Scheme: "ldap", Extensions: []URLExtension{{Critical: true, Name: "x"}, {Name: "y"}, {Name: "z", Value: "a?b"}}}},
		{"ldap:///cn=a/b???(cn=a/b)", "", URL{Scheme: "ldap", DN: "cn=a/b", Filter: "(cn=a/b)"}},
	}
	for _, tt := range tests {
		u, err := ParseURL(tt.in)
		if err != nil {
			t.Errorf("ParseURL(%q): %v", tt.in, err)
			continue
		}
		if diff := cmp.Diff(tt.u, u, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("ParseURL(%q) (-want +got):\n%s", tt.in, diff)
		}
		want := tt.out
		if want == "" {
			want = tt.in
		}
		if got := u.String(); got != want {
			t.Errorf("ParseURL(%q) prints %q, want %q", tt.in, got, want)
		}
	}
}

func TestParseURLRefuses(t *testing.T) {
	for in, want := range map[string]string{
		"":                    "want ldap://host",
		"ldap:":               "want ldap://host",
		"ldap:/dc=x":          "want ldap://host",
		"http://x/":           "scheme",
		"://x":                "scheme",
		"ldap://host?x":       "/ must stand",
		"ldap://host:0/":      "port",
		"ldap://host:65536/":  "port",
		"ldap://host:x/":      "port",
		"ldap://host:/":       "port",
		"ldap://:389/":        "needs a host",
		"ldap://::1/":         "brackets",
		"ldap://[::1/":        "never closed",
		"ldap://[]/":          "no address",
		"ldap://[::1]389/":    "colon and a port",
		"ldap://[::1 ]/":      "not an IPv6 address",
		"ldap://user@host/":   "cannot stand",
		"ldap://a b/":         "cannot stand",
		"ldap://a%00b/":       "cannot stand",
		"ldapi://%00/":        "NUL",
		"ldap:///%zz":         "two hexadecimal digits",
		"ldap:///%4":          "two hexadecimal digits",
		"ldap:///x":           "want =",
		"ldap:///dc=x?a,,b":   "not an attribute",
		"ldap:///dc=x?a%20b":  "not an attribute",
		"ldap:///dc=x?@":      "not an attribute",
		"ldap:///dc=x??tree":  "scope",
		"ldap:///dc=x???(a=b": "never closed",
		"ldap:///dc=x????":    "",
		"ldap:///dc=x????,":   "no name",
		"ldap:///dc=x????!":   "no name",
		"ldap:///dc=x????=v":  "no name",
		"ldap:///dc=x????a?b": "question marks",
		"ldap:///" + strings.Repeat("x", MaxURLBytes): "limit",
	} {
		_, err := ParseURL(in)
		if want == "" {
			if err != nil {
				t.Errorf("ParseURL(%q): %v", in, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseURL(%.60q): %v, want %q", in, err, want)
		}
		if _, ok := err.(*Error); !ok {
			t.Errorf("ParseURL(%.60q): a %T", in, err)
		}
	}
}

func TestAddress(t *testing.T) {
	for in, want := range map[string]string{
		"ldap://h": "h:389", "ldaps://h": "h:636", "cldap://h": "h:389", "ldap://h:1": "h:1", "ldap://[::1]": "[::1]:389", "ldaps://[::1]:5": "[::1]:5",
		"ldap:///": "", "ldapi://%2frun%2fx": "/run/x",
	} {
		u, err := ParseURL(in)
		if err != nil || u.Address() != want {
			t.Errorf("%s: %q, %v; want %q", in, u.Address(), err, want)
		}
	}
}

func TestPrintedURLParsesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := drawFilter(t, 2)
		u := URL{
			Scheme:   rapid.SampledFrom([]string{"ldap", "ldaps", "cldap"}).Draw(t, "scheme"),
			Host:     rapid.SampledFrom([]string{"", "a.example", "a:1", "[::1]", "[::1]:389"}).Draw(t, "host"),
			DN:       DN{RDN{AVA{Type: "cn", Value: []byte(drawValue(t, "value"))}}}.String(),
			HasScope: rapid.Bool().Draw(t, "scoped"),
			Filter:   f.String(),
		}
		if u.HasScope {
			u.Scope = Scope(rapid.IntRange(0, 3).Draw(t, "scope"))
		}
		if rapid.Bool().Draw(t, "socket") {
			u.Scheme, u.Host = "ldapi", strings.ReplaceAll(drawValue(t, "path"), "\x00", "")
		}
		u.Attributes = rapid.SliceOfN(rapid.StringMatching(`[a-z]{1,5}(;x-[a-z])?|\*|\+|@[a-z]{1,3}`), 0, 3).Draw(t, "attributes")
		for range rapid.IntRange(0, 2).Draw(t, "extensions") {
			u.Extensions = append(u.Extensions, URLExtension{Critical: rapid.Bool().Draw(t, "critical"),
				Name: rapid.StringMatching(`[a-z]{1,3}|1(\.[1-9]){1,3}`).Draw(t, "name"), Value: drawValue(t, "extension")})
		}
		got, err := ParseURL(u.String())
		if err != nil {
			t.Fatalf("%q: %v", u.String(), err)
		}
		if diff := cmp.Diff(u, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("%q (-want +got):\n%s", u.String(), diff)
		}
	})
}

func FuzzParseURL(f *testing.F) {
	for _, s := range []string{"ldap://h:1/o=a%20b,c=US?cn,sn?sub?(a=b)?!x=y%2cz,w", "ldapi://%2Frun%2Fx/", "ldaps://[::1]:636", "cldap://h/???(&)"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := ParseURL(s)
		if err != nil {
			return
		}
		again, err := ParseURL(u.String())
		if err != nil {
			t.Fatalf("%q prints %q: %v", s, u.String(), err)
		}
		if diff := cmp.Diff(u, again, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("%q prints %q (-want +got):\n%s", s, u.String(), diff)
		}
	})
}
