package schema

import (
	"bytes"
	"encoding/hex"
	"testing"

	"portolan/ldap"
)

// matches evaluates an equality or Match rule as the server does. Undefined is "undefined".
func matches(t *testing.T, rule, value, assertion string) string {
	t.Helper()
	s := Default()
	r := s.MatchingRule([]byte(rule))
	if r == nil {
		t.Fatalf("no rule %s", rule)
	}
	if r.Match != nil {
		ok, err := r.Match(s, []byte(value), []byte(assertion))
		switch {
		case err != nil:
			return "undefined"
		case ok:
			return "true"
		}
		return "false"
	}
	a, err := r.AssertionKey(s, nil, []byte(assertion))
	if err != nil {
		return "undefined"
	}
	v, err := r.ValueKey(s, nil, []byte(value))
	if err != nil {
		t.Fatalf("%s: key of the value %q: %v", rule, value, err)
	}
	if bytes.Equal(a, v) {
		return "true"
	}
	return "false"
}

func TestEqualityRules(t *testing.T) {
	const uuid = "597ae2f6-16a6-1027-98f4-d28b5365dc14"
	for _, c := range []struct{ rule, value, assertion, want string }{
		{"bitStringMatch", "'0101'B", "'0101'B", "true"},
		{"bitStringMatch", "'0101'B", "'01010'B", "false"},
		{"bitStringMatch", "'0101'B", "0101", "undefined"},
		{"booleanMatch", "TRUE", "TRUE", "true"},
		{"booleanMatch", "TRUE", "FALSE", "false"},
		{"booleanMatch", "TRUE", "1", "undefined"},

		{"caseIgnoreMatch", "Foo  Bar", " foo bar ", "true"},
		{"caseIgnoreMatch", "foobar", "foo bar", "false"},
		{"caseIgnoreMatch", "STRASSE", "Straße", "true"},
		{"caseIgnoreMatch", "Ἀχιλλεύς", "ἈΧΙΛΛΕΎΣ", "true"},
		{"caseIgnoreMatch", "\u00c5ngstr\u00f6m", "A\u030angstro\u0308m", "true"},
		{"caseIgnoreMatch", "\ufb01le", "FILE", "true"},           // ligature: NFKC
		{"caseIgnoreMatch", "soft\u00adware", "software", "true"}, // mapped to nothing
		{"caseIgnoreMatch", "a\u00a0b", "a b", "true"},            // no-break space
		{"caseIgnoreMatch", "a\tb", "a b", "true"},
		{"caseIgnoreMatch", "a\x01b", "ab", "true"},
		{"caseIgnoreMatch", "a\u200bb", "ab", "true"},
		{"caseIgnoreMatch", "a", "\ue000", "undefined"}, // private use
		{"caseIgnoreMatch", "a", "\ufffd", "undefined"},
		{"caseIgnoreMatch", "a", "\u0378", "undefined"}, // unassigned
		{"caseIgnoreMatch", "a", "\xff", "undefined"},   // not UTF-8
		{"caseIgnoreMatch", "a \u0301b", "ab", "false"}, // a space under a combining mark is none
		{"caseIgnoreMatch", "   ", "", "true"},
		{"caseIgnoreMatch", "😀", "😀", "true"}, // later than Unicode 3.2
		{"caseExactMatch", "Foo", "Foo", "true"},
		{"caseExactMatch", "Foo", "foo", "false"},
		{"caseExactMatch", "\u00c5", "A\u030a", "true"},
		{"caseExactIA5Match", "Foo  bar", "Foo bar", "true"},
		{"caseExactIA5Match", "Foo", "foo", "false"},
		{"caseIgnoreIA5Match", "Me@Example.COM", "me@example.com", "true"},
		{"caseIgnoreIA5Match", "a", "ä", "undefined"},
		{"caseIgnoreListMatch", "1 Main St$Town", "1 main  st$TOWN", "true"},
		{"caseIgnoreListMatch", "1 Main St$Town", "1 main st", "false"},
		{"caseIgnoreListMatch", `a\24b`, "a$b", "false"},
		{"caseIgnoreListMatch", `a\24B\5C`, `A\24b\5c`, "true"},
		{"caseIgnoreListMatch", `a`, `a\`, "undefined"},

		{"distinguishedNameMatch", "CN=Foo , DC=Example", "cn=foo,dc=example", "true"},
		{"distinguishedNameMatch", "cn=a+sn=b", "SN=b+CN=a", "true"},
		{"distinguishedNameMatch", "2.5.4.3=a", "commonName=A", "true"},
		{"distinguishedNameMatch", "cn=a,dc=b", "cn=a", "false"},
		{"distinguishedNameMatch", "cn=a", "not a name", "undefined"},
		{"uniqueMemberMatch", "cn=a#'01'B", "CN=A#'01'B", "true"},
		{"uniqueMemberMatch", "cn=a#'01'B", "cn=a", "false"},
		{"uniqueMemberMatch", "cn=a", "cn=a", "true"},

		{"generalizedTimeMatch", "20240229120000Z", "20240229130000+0100", "true"},
		{"generalizedTimeMatch", "2024022912Z", "20240229120000.000Z", "true"},
		{"generalizedTimeMatch", "202402291230Z", "2024022912.5Z", "true"},
		{"generalizedTimeMatch", "20240229123000Z", "202402291229,99999999999999Z", "false"},
		{"generalizedTimeMatch", "20240229123000Z", "20230229123000Z", "undefined"},
		{"uTCTimeMatch", "9412161032Z", "941216103200Z", "true"},
		{"uTCTimeMatch", "9412161032", "941216053200-0500", "true"},
		{"uTCTimeMatch", "490101000000Z", "500101000000Z", "false"},
		{"uTCTimeMatch", "9412161032Z", "19941216103200Z", "undefined"},
		{"presentationAddressMatch", `"a"/"b"/TELEX+1`, `"A"/"B"/telex+1`, "true"},
		{"protocolInformationMatch", "a#b", "A#b", "true"},
		{"integerMatch", "1000", "1000", "true"},
		{"integerMatch", "1000", "01000", "true"},
		{"integerMatch", "0", "-0", "true"},
		{"integerMatch", "-1", "1", "false"},
		{"integerMatch", "1", "1.0", "undefined"},
		{"numericStringMatch", "12 34", "1 2 3 4", "true"},
		{"numericStringMatch", "1234", "1235", "false"},
		{"octetStringMatch", "a b", "a b", "true"},
		{"octetStringMatch", "a b", "A b", "false"},
		{"telephoneNumberMatch", "+1 555-123", "+1555123", "true"},
		{"telephoneNumberMatch", "+1 555\u2010123", "+1 555 123", "true"},
		{"telephoneNumberMatch", "+1 555 EXT 3", "+1 555 ext 3", "true"},
		{"telephoneNumberMatch", "--", " ", "true"},
		{"telephoneNumberMatch", "1\u058a2", "12", "true"},
		{"telephoneNumberMatch", "1-\u03012", "12", "false"}, // a hyphen under a combining mark is none
		{"numericStringMatch", "1 \u03012", "12", "false"},

		{"objectIdentifierMatch", "person", "2.5.6.6", "true"},
		{"objectIdentifierMatch", "PERSON", "person", "true"},
		{"objectIdentifierMatch", "person", "nosuchclass", "undefined"},
		{"objectIdentifierMatch", "1.2.3", "1.2.3", "true"},
		{"objectIdentifierFirstComponentMatch", "( 2.5.4.3 NAME 'cn' )", "cn", "true"},
		{"objectIdentifierFirstComponentMatch", "( 2.5.4.3 NAME 'cn' )", "2.5.4.4", "false"},
		{"integerFirstComponentMatch", "( 5 FORM f )", "5", "true"},
		{"integerFirstComponentMatch", "( 5 FORM f )", "6", "false"},
		{"directoryStringFirstComponentMatch", "( 'Some Text' 3 )", "some text", "true"},

		{"wordMatch", "The quick, brown fox", "QUICK", "true"},
		{"wordMatch", "The quick, brown fox", "quic", "false"},
		{"wordMatch", "The quick, brown fox", "fox", "true"},
		{"wordMatch", "foxes fox", "fox", "true"},
		{"wordMatch", "The quick fox", "quick fox", "undefined"},
		{"keywordMatch", "The quick, brown fox", "brown fox", "true"},
		{"keywordMatch", "The quick, brown fox", "rown fox", "false"},

		{"uuidMatch", uuid, "597AE2F6-16A6-1027-98F4-D28B5365DC14", "true"},
		{"uuidMatch", uuid, "597ae2f616a6102798f4d28b5365dc14", "undefined"},
		{"CSNMatch", "20240101000000.000000Z#00000a#001#000000", "20240101000000.000000Z#00000A#001#000000", "true"},
		{"CSNMatch", "20240101000000.000000Z#00000a#001#000000", "20240101000000Z", "undefined"},
		{"authPasswordExactMatch", "sha1 $ salt$value", "SHA1$salt$value", "true"},
		{"authPasswordExactMatch", "SHA1$salt$value", "SHA1$salt$Value", "false"},

		{"1.2.840.113556.1.4.803", "514", "2", "true"},
		{"1.2.840.113556.1.4.803", "512", "2", "false"},
		{"1.2.840.113556.1.4.803", "3", "6", "false"},
		{"1.2.840.113556.1.4.804", "3", "6", "true"},
		{"1.2.840.113556.1.4.804", "1", "6", "false"},
		{"1.2.840.113556.1.4.803", "-2147483646", "2147483648", "true"},
		{"1.2.840.113556.1.4.803", "1", "99999999999999999999", "undefined"},
		{"1.2.840.113556.1.4.803", "1", "x", "undefined"},
	} {
		if got := matches(t, c.rule, c.value, c.assertion); got != c.want {
			t.Errorf("%s: value %q, assertion %q: %s, want %s", c.rule, c.value, c.assertion, got, c.want)
		}
	}
}

// substringMatch looks for the pieces the way the contract of MatchingRule says.
func substringMatch(t *testing.T, rule, value string, pieces ...ldap.Substring) bool {
	t.Helper()
	s := Default()
	r := s.MatchingRule([]byte(rule))
	key, err := r.ValueKey(s, nil, []byte(value))
	if err != nil {
		t.Fatalf("%s: %q: %v", rule, value, err)
	}
	for _, p := range pieces {
		k, err := r.SubstringKey(s, nil, p.Value, uint8(p.Kind))
		if err != nil {
			t.Fatalf("%s: %q: %v", rule, p.Value, err)
		}
		switch p.Kind {
		case ldap.SubInitial:
			if !bytes.HasPrefix(key, k) {
				return false
			}
			key = key[len(k):]
		case ldap.SubFinal:
			return bytes.HasSuffix(key, k)
		default:
			i := bytes.Index(key, k)
			if i < 0 {
				return false
			}
			key = key[i+len(k):]
		}
	}
	return true
}

func TestSubstringRules(t *testing.T) {
	ini := func(s string) ldap.Substring { return ldap.Substring{Kind: ldap.SubInitial, Value: []byte(s)} }
	anyp := func(s string) ldap.Substring { return ldap.Substring{Kind: ldap.SubAny, Value: []byte(s)} }
	fin := func(s string) ldap.Substring { return ldap.Substring{Kind: ldap.SubFinal, Value: []byte(s)} }
	for _, c := range []struct {
		rule, value string
		pieces      []ldap.Substring
		want        bool
	}{
		{"caseIgnoreSubstringsMatch", "Foo Bar", []ldap.Substring{ini("foo")}, true},
		{"caseIgnoreSubstringsMatch", "Foo Bar", []ldap.Substring{ini("oo")}, false},
		{"caseIgnoreSubstringsMatch", "Foo Bar", []ldap.Substring{fin("BAR")}, true},
		{"caseIgnoreSubstringsMatch", "Foo Bar", []ldap.Substring{fin("ba")}, false},
		{"caseIgnoreSubstringsMatch", "Foo Bar", []ldap.Substring{anyp("o b")}, true},
		{"caseIgnoreSubstringsMatch", "Foo Bar", []ldap.Substring{anyp("o   b")}, true},
		{"caseIgnoreSubstringsMatch", "FooBar", []ldap.Substring{anyp("o b")}, false},
		// RFC 4518 appendix B: a piece that ends and one that begins with a space.
		{"caseIgnoreSubstringsMatch", "foo bar", []ldap.Substring{ini("foo "), fin(" bar")}, true},
		{"caseIgnoreSubstringsMatch", "foobar", []ldap.Substring{ini("foo "), fin(" bar")}, false},
		{"caseIgnoreSubstringsMatch", "foo bar", []ldap.Substring{ini(" foo")}, true},
		{"caseIgnoreSubstringsMatch", "foo bar", []ldap.Substring{fin("bar ")}, true},
		{"caseIgnoreSubstringsMatch", "foo bar", []ldap.Substring{anyp(" bar ")}, true},
		{"caseIgnoreSubstringsMatch", "foo bar", []ldap.Substring{anyp(" ar")}, false},
		{"caseIgnoreSubstringsMatch", "foo bar", []ldap.Substring{anyp(" ")}, true},
		{"caseIgnoreSubstringsMatch", "aXbXc", []ldap.Substring{ini("a"), anyp("x"), anyp("x"), fin("c")}, true},
		{"caseIgnoreSubstringsMatch", "aXbc", []ldap.Substring{ini("a"), anyp("x"), anyp("x"), fin("c")}, false},
		{"caseIgnoreSubstringsMatch", "Müller Straße", []ldap.Substring{ini("MÜLL"), fin("STRASSE")}, true},
		{"caseIgnoreSubstringsMatch", "aa", []ldap.Substring{ini("aa"), fin("a")}, false}, // no overlap
		{"caseExactSubstringsMatch", "Foo", []ldap.Substring{ini("Fo")}, true},
		{"caseExactSubstringsMatch", "Foo", []ldap.Substring{ini("fo")}, false},
		{"caseIgnoreIA5SubstringsMatch", "Me@Example.com", []ldap.Substring{fin("@EXAMPLE.com")}, true},
		{"caseExactIA5SubstringsMatch", "Me@Example.com", []ldap.Substring{fin("@EXAMPLE.com")}, false},
		{"numericStringSubstringsMatch", "12 345", []ldap.Substring{anyp("2 3")}, true},
		{"telephoneNumberSubstringsMatch", "+1 555-123", []ldap.Substring{anyp("5512")}, true},
		{"caseIgnoreListSubstringsMatch", "1 Main$Town", []ldap.Substring{anyp("main")}, true},
		{"caseIgnoreListSubstringsMatch", "1 Main$Town", []ldap.Substring{anyp("maintown")}, false},
		{"caseIgnoreListSubstringsMatch", "1 Main$Town", []ldap.Substring{anyp("main town")}, false},
		{"caseIgnoreListSubstringsMatch", "1 Main$Town", []ldap.Substring{ini("1"), fin("own")}, true},
		{"octetStringSubstringsMatch", "a  B", []ldap.Substring{anyp("  B")}, true},
	} {
		if got := substringMatch(t, c.rule, c.value, c.pieces...); got != c.want {
			t.Errorf("%s: %q %q: %v, want %v", c.rule, c.value, c.pieces, got, c.want)
		}
	}
}

// The keys RFC 4518 section 2.6.1 gives as examples.
func TestInsignificantSpaces(t *testing.T) {
	for _, c := range []struct {
		in   string
		at   place
		want string
	}{
		{"foo bar  ", wholeValue, " foo  bar "},
		{"foo bar  ", initialPiece, " foo  bar "},
		{"foo bar  ", anyPiece, "foo  bar "},
		{"foo bar  ", finalPiece, "foo  bar "},
		{" foo", anyPiece, " foo"},
		{"foo", anyPiece, "foo"},
		{"", wholeValue, "  "},
		{"   ", wholeValue, "  "},
		{"  ", anyPiece, " "},
		{"  ", initialPiece, " "},
	} {
		got, err := appendSubstring(nil, []byte(c.in), true, c.at)
		if err != nil || string(got) != c.want {
			t.Errorf("%q as %d: %q, %v; want %q", c.in, c.at, got, err, c.want)
		}
	}
}

// Preparing what is prepared changes nothing, for every code point there is: names rest on it.
func TestPreparedTextIsStable(t *testing.T) {
	for _, foldCase := range []bool{true, false} {
		for r := rune(0); r <= 0x10FFFF; r++ {
			text := string(r) + "a" + string(r) + " b" + string(r)
			once, err := appendMatch(nil, []byte(text), foldCase)
			if err != nil {
				continue
			}
			twice, err := appendMatch(nil, once, foldCase)
			if err != nil || !bytes.Equal(once, twice) {
				t.Fatalf("%U (fold %v): %q, then %q, %v", r, foldCase, once, twice, err)
			}
		}
	}
}

func TestCertificateRules(t *testing.T) {
	cert, issuer := certificateFor(t)
	list := listFor(t)
	pair := pairOf(cert, nil)
	for _, c := range []struct{ rule, value, assertion, want string }{
		{"certificateExactMatch", string(cert), string(cert), "true"},
		{"certificateExactMatch", string(cert), `{ serialNumber 305419896, issuer rdnSequence:"` + issuer + `" }`, "true"},
		{"certificateExactMatch", string(cert), `{ issuer rdnSequence:"o=portolan", serialNumber 305419896 }`, "false"},
		{"certificateExactMatch", string(cert), "305419896$" + issuer, "true"},
		{"certificateExactMatch", string(cert), `{ serialNumber 305419896 }`, "undefined"},
		{"certificateExactMatch", string(cert), "garbage", "undefined"},
		{"certificatePairExactMatch", pair, `{ issuedToThisCAAssertion { serialNumber 305419896, issuer rdnSequence:"` + issuer + `" } }`, "true"},
		{"certificatePairExactMatch", pair, `{ issuedByThisCAAssertion { serialNumber 305419896, issuer rdnSequence:"` + issuer + `" } }`, "false"},
		{"certificatePairExactMatch", pair, pair, "true"},
		{"certificateListExactMatch", string(list), `{ issuer rdnSequence:"` + issuer + `", thisUpdate utcTime:"240102030405Z" }`, "true"},
		{"certificateListExactMatch", string(list), `{ issuer rdnSequence:"` + issuer + `", thisUpdate utcTime:"240102030406Z" }`, "false"},
		{"certificateListExactMatch", string(list), `{ issuer rdnSequence:"` + issuer + `", thisUpdate generalTime:"20240102030405Z" }`, "true"},
		{"algorithmIdentifierMatch", unhex("300f300d06092a864886f70d01010b0500"), "{ algorithm 1.2.840.113549.1.1.11 }", "true"},
		{"algorithmIdentifierMatch", unhex("300f300d06092a864886f70d01010b0500"), "{ algorithm 1.2.840.113549.1.1.12 }", "false"},
		{"algorithmIdentifierMatch", unhex("300f300d06092a864886f70d01010b0500"), "1.2.3", "undefined"},
	} {
		if got := matches(t, c.rule, c.value, c.assertion); got != c.want {
			t.Errorf("%s: assertion %q: %s, want %s", c.rule, c.assertion, got, c.want)
		}
	}
}

func unhex(s string) string {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func derLength(n int) []byte {
	if n < 0x80 {
		return []byte{byte(n)}
	}
	return []byte{0x82, byte(n >> 8), byte(n)}
}

// Which values surely have a key is said of text of ASCII, and only of that.
func TestHasKey(t *testing.T) {
	std := Default()
	for _, c := range []struct {
		attribute, value string
		want             bool
	}{
		{"cn", "Anna", true}, {"cn", "", true}, {"cn", " \t\x7f", true}, {"cn", "Zo\u00eb and others", false}, {"mail", "a@example.org", true},
		{"uidNumber", "1", false}, {"member", "cn=a", false}, {"objectClass", "person", false},
	} {
		a := std.AttributeTypeString(c.attribute)
		if got := a.Equality.HasKey([]byte(c.value)); got != c.want {
			t.Errorf("%s %q: %v", c.attribute, c.value, got)
		}
		if _, err := a.Equality.ValueKey(std, nil, []byte(c.value)); c.want && err != nil {
			t.Errorf("%s %q: %v", c.attribute, c.value, err)
		}
	}
}
