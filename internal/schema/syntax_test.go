package schema

import (
	"strings"
	"testing"

	"portolan/ldap"
)

func TestSyntaxes(t *testing.T) {
	cert, _ := certificateFor(t)
	list := listFor(t)
	for oid, c := range map[string]struct{ good, bad []string }{
		syn + "3":                        {[]string{"( 2.5.4.3 NAME 'cn' SUP name )", "( 1.2 )"}, []string{"", "2.5.4.3", "( cn )", "( 1.2", "( 1.2 FOO )"}},
		syn + "6":                        {[]string{"'0101'B", "''B"}, []string{"", "0101", "'01", "'2'B", "'01'b"}},
		syn + "7":                        {[]string{"TRUE", "FALSE"}, []string{"", "true", "1", "TRUE "}},
		syn + "11":                       {[]string{"DE", "us"}, []string{"", "D", "DEU", "D\xc4"}},
		syn + "12":                       {[]string{"", "cn=a,dc=b", `cn=a\,b`, "CN=Steve Kille,O=Isode Limited,C=GB"}, []string{"cn", "cn=a,", "steve"}},
		syn + "14":                       {[]string{"any", "telephone $ videotex", "MHS$IA5"}, []string{"", "pigeon", "any $", " any", "any "}},
		syn + "15":                       {[]string{"a", "Überraschung", " "}, []string{"", "\xff"}},
		syn + "16":                       {[]string{"( 2.5.6.4 DESC 'content rule for organization' NOT ( x121Address $ telexNumber ) )"}, []string{"", "( 2.5.6.4 FOO )"}},
		syn + "17":                       {[]string{"( 2 DESC 'organization structure rule' FORM 2.5.15.3 )"}, []string{"", "( x FORM a )"}},
		syn + "21":                       {[]string{"person#(sn$EQ)#oneLevel"}, []string{"", "person#(sn$EQ)", "person#(sn$EQ)#up", "#sn$EQ#oneLevel"}},
		syn + "22":                       {[]string{"+61 3 9999 9999", "+61 3$fineResolution$b4Length"}, []string{"", "+61$nonsense"}},
		syn + "24":                       {[]string{"199412161032Z", "199412160532-0500", "2024022912Z", "20240229120060.5Z", "20240229120000,25+01"}, []string{"", "1994", "19941316103200Z", "19940230103200Z", "19941216243200Z", "199412161032", "199412161032z", "19941216103200.Z", "00000101000000+0100"}},
		syn + "25":                       {[]string{"person#(sn$EQ)", "sn$EQ|!(cn$SUBSTR&?true)"}, []string{"", "person#", "sn$", "(sn$EQ", "sn$EQ)", "sn$EQ|"}},
		syn + "26":                       {[]string{"", "a@b"}, []string{"é"}},
		syn + "27":                       {[]string{"0", "1321", "-1"}, []string{"", "-", "01", "-0", "1.5", "+1", "1 "}},
		syn + "30":                       {[]string{"( 2.5.13.2 NAME 'caseIgnoreMatch' SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )"}, []string{"", "x"}},
		syn + "31":                       {[]string{"( 2.5.13.16 APPLIES ( givenName $ surname ) )"}, []string{"", "( 2.5.13.16 APPLY a )"}},
		syn + "34":                       {[]string{"1.3.6.1.4.1.1466.0=#04024869,O=Test,C=GB#'0101'B", "cn=a"}, []string{"cn", "cn#'01'B"}},
		syn + "35":                       {[]string{"( 2.5.15.3 NAME 'orgNameForm' OC organization MUST o )"}, []string{""}},
		syn + "36":                       {[]string{"15 079 672 281"}, []string{"", "1a"}},
		syn + "37":                       {[]string{"( 2.5.6.2 NAME 'country' SUP top STRUCTURAL MUST c MAY ( searchGuide $ description ) )"}, []string{"", "( 2.5.6.2 MUST ( ) )"}},
		syn + "38":                       {[]string{"1.2.3.4", "cn"}, []string{"", "1", "1.02", "a b", "-a"}},
		syn + "39":                       {[]string{"internet$a@b"}, []string{"", "internet", "$a"}},
		syn + "41":                       {[]string{"1234 Main St.$Anytown, CA 12345$USA", `\241,000,000 Sweepstakes$PO Box 1000000$Anytown`}, []string{"", `a\b`, "\xff"}},
		syn + "44":                       {[]string{"This is a PrintableString.", "a=b"}, []string{"", "a@b", "é"}},
		syn + "45":                       {[]string{"{ }", `{ base "ou=a", minimum 1, maximum 3, specificExclusions { chopBefore:"cn=x", chopAfter: "cn=y" }, specificationFilter and:{ item:person, not:item:2.5.6.4 } }`, `{specificationFilter or:{}}`}, []string{"", "{", `{ base ou=a }`, `{ minimum x }`, `{ base "", base "" }`, `{ specificationFilter person }`, `{ base "" } x`, `{ base "cn" }`}},
		syn + "50":                       {[]string{"+1 512 315 0280"}, []string{"", "é"}},
		syn + "51":                       {[]string{"abc", "abc$graphic:x$private:", "abc$Page:a\\24b\\5C\xff"}, []string{"", "abc$x:y", "abc$page", "abc$misc:\\", "é"}},
		syn + "52":                       {[]string{"12345$23$ab"}, []string{"", "1$2"}},
		syn + "53":                       {[]string{"9412161032Z", "941216103200-0500", "9412161032"}, []string{"", "9413161032Z", "94121610Z"}},
		syn + "54":                       {[]string{"( 1.2.3 DESC 'x' )"}, []string{"", "( 1.2.3 NAME )"}},
		syn + "58":                       {[]string{"a*", "*b", "a*b*c", `a\2A*`, "*"}, []string{"", "a", "a**b", "**", `a\*`, `a\2`, `*\`, "*\xff"}},
		syn + "8":                        {[]string{string(cert)}, []string{"", "cert", string(cert[:len(cert)-1]), string(cert) + "x"}},
		syn + "9":                        {[]string{string(list)}, []string{"", string(cert[:20])}},
		syn + "28":                       {[]string{"", "\x89PNG"}, nil},
		syn + "40":                       {[]string{"", "\x00\xff"}, nil},
		"1.3.6.1.1.15.1":                 {[]string{`{ serialNumber 1, issuer rdnSequence:"cn=a" }`}, []string{"", "{}", `{ serialNumber x, issuer rdnSequence:"cn=a" }`}},
		"1.3.6.1.1.16.1":                 {[]string{"597ae2f6-16a6-1027-98f4-d28b5365dc14"}, []string{"", "597ae2f616a6102798f4d28b5365dc14", "597ae2f6-16a6-1027-98f4-d28b5365dc1g"}},
		"1.3.6.1.4.1.4203.1.1.2":         {[]string{"MD5$salt$value", "SHA1 $ a $ b"}, []string{"", "MD5$x", "$a$b", "a b$c$d"}},
		"1.3.6.1.1.1.0.0":                {[]string{"(host,user,domain)", "(,-,)"}, []string{"", "host,user,domain", "(a,b)", "(a,b,c,d)"}},
		"1.3.6.1.4.1.4203.666.11.5.3.1":  {[]string{"{ 1.2.3 }", "{1.2.840.113556.1.4.319 criticality TRUE controlValue \"0\"}"}, []string{"", "1.2.3", "{ x }", "( 1.2.3 )", "{ 1.2.3"}},
		"1.3.6.1.1.1.0.1":                {[]string{"root=server:/path"}, []string{"", "root", "=a:b"}},
		"1.3.6.1.4.1.4203.666.11.2.1":    {[]string{"20240101000000.000000Z#000000#000#000000"}, []string{"", "20241301000000.000000Z#000000#000#000000", "20240101000000Z#000000#00#000000"}},
		"1.3.6.1.4.1.4203.666.11.2.4":    {[]string{"0aF"}, []string{"", "1"}},
		"1.3.6.1.4.1.4203.666.11.10.2.1": {[]string{string(attributeCertificateFor(t))}, []string{"", "1", "0\x00", string(cert)}},
		"1.3.6.1.1.15.2":                 {[]string{"{}", "{ serialNumber 1 }", `{ keyUsage { cRLSign }, subject rdnSequence:"cn=a" }`}, []string{"", "{ x 1 }", "{ serialNumber }", "{ keyUsage { x } }", `{ subject "cn" }`}},
		"1.3.6.1.1.15.4":                 {[]string{"{ issuedToThisCAAssertion {} }"}, []string{"", "{}", "{ issuedToThisCAAssertion { x 1 } }", "{ to {} }"}},
		"1.3.6.1.1.15.6":                 {[]string{"{}", "{ minCRLNumber 1, maxCRLNumber 2 }"}, []string{"", "{ minCRLNumber -1 }", "{ minCRLNumber x }", "{ x 1 }"}},
		"1.2.840.113549.1.8.1.1":         {[]string{"0\x00"}, []string{"", "1"}},
		"1.3.6.1.4.1.4203.666.11.10.2.2": {[]string{`{ serialNumber 1, issuer { issuerName { directoryName:rdnSequence:"cn=a" } } }`}, []string{"", "{ serialNumber 1 }", `{ serialNumber 1, issuer { x 1 } }`}},
	} {
		y := Default().Syntax(oid)
		if y == nil {
			t.Errorf("no syntax %s", oid)
			continue
		}
		for _, v := range c.good {
			if err := y.Check(Default(), []byte(v)); err != nil {
				t.Errorf("%s: %q: %v", y.Desc, v, err)
			}
		}
		for _, v := range c.bad {
			if err := y.Check(Default(), []byte(v)); err == nil {
				t.Errorf("%s takes %q", y.Desc, v)
			}
		}
	}
}

// No check panics or keeps its value, and every rule makes keys of what its syntax takes, the same ones each time.
func FuzzSyntaxCheck(f *testing.F) {
	s := Default()
	cert, _ := certificateFor(f)
	for _, seed := range []string{"", "TRUE", "1", "cn=a#'01'B", "20240101000000Z", "( 1.2 NAME 'a' )", string(cert), string(listFor(f)), "{ serialNumber 1, issuer rdnSequence:\"cn=a\" }", "a$b$c", "person#(sn$EQ)#oneLevel", "'01'B", "1*2"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, v []byte) {
		before := string(v)
		for _, y := range s.Syntaxes() {
			_ = y.Check(s, v)
		}
		for _, a := range s.AttributeTypes() {
			if a.Syntax.Check(s, v) != nil {
				continue
			}
			for _, r := range []*MatchingRule{a.Equality, a.Ordering, a.Substr} {
				if r == nil {
					continue
				}
				key, err := r.ValueKey(s, nil, v)
				if err != nil {
					if err == errProhibited || err == errIA5 && a.Syntax != r.Syntax {
						continue // RFC 4518 leaves such values without a match, and so does the rule RFC 3045 chose
					}
					t.Fatalf("%s takes %q, %s does not: %v", a.Name(), v, r.Name(), err)
				}
				if r.stable {
					again, err := r.ValueKey(s, nil, key)
					if err != nil || string(again) != string(key) {
						t.Fatalf("%s: %q has the key %q, that %q, %v", r.Name(), v, key, again, err)
					}
				}
			}
		}
		for _, r := range s.MatchingRules() {
			if r.HasKey(v) {
				if _, err := r.ValueKey(s, nil, v); err != nil {
					t.Fatalf("%s has a key of %q, and it is: %v", r.Name(), v, err)
				}
			}
			_, _ = r.AssertionKey(s, nil, v)
			if r.Match != nil {
				_, _ = r.Match(s, v, v)
			}
		}
		if string(v) != before {
			t.Fatal("the value was written to")
		}
	})
}

// What is read is what is asked for: pieces that are not empty, at their places.
func FuzzSubstringAssertion(f *testing.F) {
	f.Add("a*b")
	f.Add(`\2a*\5c`)
	f.Add("*")
	f.Fuzz(func(t *testing.T, text string) {
		pieces, ok := ParseSubstringAssertion([]byte(text))
		if ok && !strings.Contains(text, "*") {
			t.Errorf("%q has no asterisk", text)
		}
		for i, p := range pieces {
			if len(p.Value) == 0 || p.Kind == ldap.SubInitial && i > 0 || p.Kind == ldap.SubFinal && i < len(pieces)-1 {
				t.Errorf("%q: piece %d is %+v", text, i, p)
			}
		}
	})
}
