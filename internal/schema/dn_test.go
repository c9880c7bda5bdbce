package schema

import (
	"bytes"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"portolan/ldap"
)

func TestNormalizeDN(t *testing.T) {
	s := Default()
	for _, c := range []struct{ in, want string }{
		{"", ""},
		{"CN=Foo  Bar,DC=Example,DC=Com", "cn=foo bar,dc=example,dc=com"},
		{" cn = foo , dc = b ", "cn=foo,dc=b"},
		{"commonName=x,2.5.4.10=Org", "cn=x,o=org"},
		{"sn=b+cn=a,dc=c", "cn=a+sn=b,dc=c"},
		{`cn=a\,b,dc=c`, `cn=a\2cb,dc=c`},
		{`cn="a,b",dc=c`, `cn=a\2cb,dc=c`},
		{`cn=a\\b`, `cn=a\5cb`},
		{`cn=a=b`, `cn=a\3db`},
		{`cn=\23a`, `cn=\23a`},
		{`cn=\20 a \20`, "cn=a"},
		{"cn=MÜLLER", "cn=müller"},
		{`cn=M\C3\9CLLER`, "cn=müller"},
		{"unknownType=A B", "unknowntype=A B"},
		{`unknownType=\20A\20`, `unknowntype=\20A\20`},
		{"1.2.3.4=A", "1.2.3.4=A"},
		{`unknownType=\ff\00`, `unknowntype=\ff\00`},
		{"uidNumber=0100", "uidnumber=100"},
		{"uidNumber=abc", "uidnumber=abc"},
		{"member=CN=A\\,DC=B,ou=x", `member=cn\3da\2cdc\3db,ou=x`},
		{"homeDirectory=/Home/A", "homedirectory=/Home/A"},
		{`cn=\00`, `cn=\20`}, // controls are mapped to nothing
	} {
		got, err := s.NormalizeDN([]byte("keep"), []byte(c.in))
		if err != nil || string(got) != "keep"+c.want {
			t.Errorf("%q: %q, %v; want %q", c.in, got, err, c.want)
		}
	}
	for _, bad := range []string{"cn", "cn=a,", ",", "cn=a,,dc=b", "=a", `cn=\`, `cn=\zz`, "a b=c"} {
		if got, err := s.NormalizeDN([]byte("keep"), []byte(bad)); ldap.CodeOf(err) != ldap.InvalidDNSyntax || string(got) != "keep" {
			t.Errorf("%q: %q, %v; want invalidDNSyntax", bad, got, err)
		}
	}
}

// The plain path and the parser agree wherever both work.
func TestNormalizePlainAgrees(t *testing.T) {
	s := Default()
	part := rapid.StringMatching(`(cn|CN|ou|DC|2\.5\.4\.3|uidNumber|o)=[ -~]{0,6}`)
	rapid.Check(t, func(t *rapid.T) {
		dn := strings.Join(rapid.SliceOfN(part, 0, 4).Draw(t, "parts"), ",")
		plain, ok := s.normalizePlain(nil, []byte(dn))
		if !ok {
			return
		}
		parsed, err := ldap.ParseDN(dn)
		if err != nil {
			t.Fatalf("%q: the plain path takes it, the parser says %v", dn, err)
		}
		if slow := s.NormalizeParsed(nil, parsed); !bytes.Equal(plain, slow) {
			t.Fatalf("%q: plain %q, parsed %q", dn, plain, slow)
		}
	})
}

func drawDN(t *rapid.T, label string) ldap.DN {
	ava := rapid.Custom(func(t *rapid.T) ldap.AVA {
		return ldap.AVA{
			Type:  rapid.SampledFrom([]string{"cn", "CN", "sn", "dc", "2.5.4.3", "uidNumber", "member", "uniqueMember", "nosuch", "postalAddress", "userCertificate", "createTimestamp", "entryUUID"}).Draw(t, "type"),
			Value: rapid.OneOf(rapid.SliceOfN(rapid.Byte(), 0, 8), rapid.Map(rapid.StringN(1, 8, -1), func(s string) []byte { return []byte(s) }), rapid.SampledFrom([][]byte{[]byte("cn=a,member=cn\\=b"), []byte("7"), []byte("20240101000000Z"), []byte("cn=a#'01'B"), []byte(" x ")})).Draw(t, "value"),
		}
	})
	rdn := rapid.Map(rapid.SliceOfN(ava, 1, 3), func(a []ldap.AVA) ldap.RDN { return a })
	return rapid.SliceOfN(rdn, 0, 4).Draw(t, label)
}

func TestNormalizedNames(t *testing.T) {
	s := Default()
	rapid.Check(t, func(t *rapid.T) {
		base, below := drawDN(t, "base"), drawDN(t, "below")
		nb := s.NormalizeParsed(nil, base)
		again, err := s.NormalizeDN(nil, nb)
		if err != nil || !bytes.Equal(nb, again) {
			t.Fatalf("%q normalises to %q, %v", nb, again, err)
		}
		if got := bytes.Count(nb, []byte{','}) + 1; len(base) > 0 && got != len(base) {
			t.Fatalf("%q has %d RDNs, want %d", nb, got, len(base))
		}
		full := s.NormalizeParsed(nil, append(below[:len(below):len(below)], base...))
		if !DNUnder(full, nb) {
			t.Fatalf("%q is not under %q", full, nb)
		}
		if len(below) > 0 && len(base) > 0 && DNUnder(nb, full) {
			t.Fatalf("%q is under %q", nb, full)
		}
		if len(base) > 1 {
			if want := s.NormalizeParsed(nil, base[1:]); !bytes.Equal(NormParent(nb), want) {
				t.Fatalf("parent of %q is %q, want %q", nb, NormParent(nb), want)
			}
		}
	})
}

func TestDNUnder(t *testing.T) {
	for _, c := range []struct {
		norm, base string
		want       bool
	}{
		{"cn=a,dc=b", "dc=b", true}, {"dc=b", "dc=b", true}, {"dc=b", "", true}, {"", "", true},
		{"cn=adc=b", "dc=b", false}, {"dc=b", "cn=a,dc=b", false}, {"", "dc=b", false}, {"cn=a,dc=bb", "dc=b", false},
	} {
		if got := DNUnder([]byte(c.norm), []byte(c.base)); got != c.want {
			t.Errorf("DNUnder(%q, %q) = %v", c.norm, c.base, got)
		}
	}
}

// A name of names in names must not cost the square of its length.
func TestNestedNamesAreCheap(t *testing.T) {
	s := Default()
	deep := []byte(strings.Repeat("member=", 50_000) + "x")
	got, err := s.NormalizeDN(nil, deep)
	if err != nil || len(got) > 10*len(deep) {
		t.Fatalf("%d octets become %d, %v", len(deep), len(got), err)
	}
	again, err := s.NormalizeDN(nil, got)
	if err != nil || !bytes.Equal(got, again) {
		t.Fatal("normalising again changes it", err)
	}
}

func FuzzNormalizeDN(f *testing.F) {
	for _, seed := range []string{"", "cn=a,dc=b", `cn=\,+sn=" x "`, "member=cn=a", "cn=#0401ff", "2.5.4.3=Ü", "uniqueMember=cn=a\\#'01'B"} {
		f.Add(seed)
	}
	s := Default()
	f.Fuzz(func(t *testing.T, dn string) {
		once, err := s.NormalizeDNString(nil, dn)
		if err != nil {
			return
		}
		twice, err := s.NormalizeDN(nil, once)
		if err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("%q: %q, then %q, %v", dn, once, twice, err)
		}
		if len(once) > 40*len(dn)+100 {
			t.Fatalf("%d octets became %d", len(dn), len(once))
		}
	})
}

func BenchmarkNormalizeDN(b *testing.B) {
	s := Default()
	for _, c := range []struct{ name, dn string }{
		{"plain", "uid=user12345,ou=People,dc=Example,dc=com"},
		{"escaped", `cn=Smith\, John,ou=People,dc=Example,dc=com`},
	} {
		b.Run(c.name, func(b *testing.B) {
			dn, dst := []byte(c.dn), make([]byte, 0, 256)
			b.ReportAllocs()
			for b.Loop() {
				var err error
				if dst, err = s.NormalizeDN(dst[:0], dn); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCaseIgnoreKey(b *testing.B) {
	s := Default()
	for _, c := range []struct{ name, value string }{{"ascii", "John  Q. Public of Example"}, {"utf8", "Jürgen Müller"}} {
		b.Run(c.name, func(b *testing.B) {
			value, dst := []byte(c.value), make([]byte, 0, 256)
			b.ReportAllocs()
			for b.Loop() {
				var err error
				if dst, err = s.EqualityKey(s.Known.CN, dst[:0], value); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// The paths that every request takes allocate nothing.
func TestHotPathsDoNotAllocate(t *testing.T) {
	s := Default()
	dst := make([]byte, 0, 256)
	dn, value, name, optioned := []byte("uid=User,ou=People,dc=example,dc=com"), []byte("John Public"), []byte("givenName"), []byte("cn;lang-de")
	if _, err := s.Describe(optioned); err != nil {
		t.Fatal(err)
	}
	for what, f := range map[string]func(){
		"NormalizeDN":   func() { dst, _ = s.NormalizeDN(dst[:0], dn) },
		"EqualityKey":   func() { dst, _ = s.EqualityKey(s.Known.CN, dst[:0], value) },
		"AttributeType": func() { s.AttributeType(name) },
		"Describe":      func() { s.Describe(name) },
		"with options":  func() { s.Describe(optioned) },
		"CheckValue":    func() { s.CheckValue(s.Known.Member, dn) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", what, n)
		}
	}
}
