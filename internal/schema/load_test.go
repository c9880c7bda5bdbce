package schema

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func extend(text string) (*Schema, error) {
	return Default().Extend(File{Name: "x.schema", Text: []byte(text)})
}

func TestShippedLoads(t *testing.T) {
	for _, v := range []Variant{RFC2307bis, RFC2307} {
		s, err := Load(ShippedVariant(v)...)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.ObjectClass("posixGroup").Kind; (got == Auxiliary) != (v == RFC2307bis) {
			t.Errorf("variant %d: posixGroup is %s", v, got)
		}
		for i, a := range s.AttributeTypes() {
			if a.Ordinal != i || a.Syntax == nil {
				t.Errorf("%s: ordinal %d at %d, syntax %v", a.Name(), a.Ordinal, i, a.Syntax)
			}
			if !a.IsA(a) || a.Subtypes()[0] != a {
				t.Errorf("%s is not the first of its subtypes", a.Name())
			}
		}
	}
	name := Default().Known.Name
	if n := len(name.Subtypes()); n < 15 {
		t.Errorf("name has %d subtypes", n)
	}
	if !Default().Known.CN.IsA(name) || name.IsA(Default().Known.CN) {
		t.Error("cn is a name, and a name is no cn")
	}
	if !Default().Known.UserPassword.Secret || Default().Known.CN.Secret {
		t.Error("userPassword is secret, and cn is not")
	}
}

// Reading what was printed gives what was there, for all that is shipped.
func TestPrintParse(t *testing.T) {
	s := Default()
	check := func(kind, printed string) {
		t.Helper()
		again, err := Load(append(Shipped(), File{Name: "again", Text: []byte(kind + ": " + printed + "\n")})...)
		if err != nil {
			t.Fatalf("%s: %v", printed, err)
		}
		if len(again.attrList) != len(s.attrList) || len(again.classList) != len(s.classList) {
			t.Fatalf("%s is something new", printed)
		}
	}
	check("attributeTypes", s.attrList[0].String())
	// All at once, and nothing but what was printed.
	var text strings.Builder
	for _, p := range s.Publish() {
		for _, v := range p.Values {
			fmt.Fprintf(&text, "%s: %s\n", p.Name, v)
		}
	}
	again, err := Load(File{Name: "published", Text: []byte(text.String())})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s.Publish(), again.Publish()); diff != "" {
		t.Error(diff)
	}
}

const everyTerm = `
objectidentifier Mine 2.25.1
objectidentifier MineAttr Mine:1
attributetype ( MineAttr:1 NAME ( 'mineOne' 'mineEins' ) DESC 'it\27s a back\5Cslash' OBSOLETE
    # a comment within
    SUP name EQUALITY caseExactMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15{64} SINGLE-VALUE X-ONE 'a' X-TWO ( 'b' 'c d' ) )

attributetype ( MineAttr:2 NAME 'mineTwo' SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 ORDERING integerOrderingMatch NO-USER-MODIFICATION USAGE dSAOperation )
AttributeType (MineAttr:3 NAME 'mineThree' SUP ou COLLECTIVE)
objectclass ( Mine:2.1 NAME 'mineClass' SUP ( organization $ organizationalUnit ) STRUCTURAL MUST mineOne MAY (mineTwo$sn) )
objectclass ( Mine:2.2 NAME 'mineAux' AUXILIARY )
ditcontentrule ( Mine:2.1 NAME 'mineRule' AUX ( mineAux $ posixAccount ) MUST description MAY mail NOT ( fax $ telexNumber ) )
nameform ( Mine:3.1 NAME 'mineForm' OC mineClass MUST o MAY ( ou $ cn ) )
ditstructurerules ( 1 NAME 'mineTop' FORM mineForm )
ditstructurerules ( 2 FORM mineForm SUP ( 1 2 ) )
ldapsyntax ( Mine:4.1 DESC 'mine' X-SUBST '1.3.6.1.4.1.1466.115.121.1.15' )
attributetype ( MineAttr:4 NAME 'mineFour' SYNTAX Mine:4.1 )
`

func TestEveryTerm(t *testing.T) {
	s, err := extend(everyTerm)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		def  fmt.Stringer
		want string
	}{
		{s.AttributeTypeString("mineeins"), `( 2.25.1.1.1 NAME ( 'mineOne' 'mineEins' ) DESC 'it\27s a back\5Cslash' OBSOLETE SUP name EQUALITY caseExactMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15{64} SINGLE-VALUE X-ONE 'a' X-TWO ( 'b' 'c d' ) )`},
		{s.AttributeTypeString("2.25.1.1.2"), `( 2.25.1.1.2 NAME 'mineTwo' ORDERING integerOrderingMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 NO-USER-MODIFICATION USAGE dSAOperation )`},
		{s.AttributeTypeString("mineThree"), `( 2.25.1.1.3 NAME 'mineThree' SUP ou COLLECTIVE )`},
		{s.ObjectClass("mineClass"), `( 2.25.1.2.1 NAME 'mineClass' SUP ( organization $ organizationalUnit ) STRUCTURAL MUST mineOne MAY ( mineTwo $ sn ) )`},
		{s.ContentRule(s.ObjectClass("mineClass")), `( 2.25.1.2.1 NAME 'mineRule' AUX ( mineAux $ posixAccount ) MUST description MAY mail NOT ( facsimileTelephoneNumber $ telexNumber ) )`},
		{s.NameForms()[0], `( 2.25.1.3.1 NAME 'mineForm' OC mineClass MUST o MAY ( ou $ cn ) )`},
		{s.StructureRules()[0], `( 1 NAME 'mineTop' FORM mineForm )`},
		{s.StructureRules()[1], `( 2 FORM mineForm SUP ( 1 2 ) )`},
		{s.Syntax("2.25.1.4.1"), `( 2.25.1.4.1 DESC 'mine' X-SUBST '1.3.6.1.4.1.1466.115.121.1.15' )`},
	} {
		if got := c.def.String(); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
	if got := s.AttributeTypeString("mineOne").Desc; got != `it's a back\slash` {
		t.Errorf("DESC %q", got)
	}
	// Loaded over itself it is the same, and so is what it prints.
	var text strings.Builder
	for _, p := range s.Publish() {
		for _, v := range p.Values {
			fmt.Fprintf(&text, "%s: %s\n", p.Name, v)
		}
	}
	again, err := Load(File{Name: "published", Text: []byte(text.String())})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s.Publish(), again.Publish()); diff != "" {
		t.Error(diff)
	}
	if _, err := s.Extend(File{Name: "again.ldif", Text: []byte(text.String())}); err != nil {
		t.Error(err)
	}
}

func TestNotations(t *testing.T) {
	value := `( 2.25.9.1 NAME 'nine' SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )`
	for name, text := range map[string]string{
		"slapd":    "attributetype " + value,
		"crlf":     "attributetype ( 2.25.9.1\r\n\tNAME 'nine'\r\n\r\n\tSYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )\r\n",
		"config":   "dn: cn={9}nine,cn=schema,cn=config\nobjectClass: olcSchemaConfig\ncn: {9}nine\nolcObjectIdentifier: {0}Nine 2.25.9\nolcAttributeTypes: {0}( Nine:1 NAME 'ni\n ne' SYNTAX 1.3.6.1.4.1.1466.115.121.1.15\n   )\n",
		"subentry": "dn: cn=schema\nobjectclass: top\naci: (target=\"x\")\nattributetypes: " + value + "\n",
		"base64":   "dn: cn=schema\nattributeTypes:: " + base64.StdEncoding.EncodeToString([]byte(value)) + "\n",
		"change":   "dn: cn=schema\nchangetype: modify\nadd: attributeTypes\nattributeTypes: " + value + "\n-\n",
		"bom":      "\xef\xbb\xbfattributetype " + value,
	} {
		s, err := extend(text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if a := s.AttributeTypeString("NINE"); a == nil || a.OID != "2.25.9.1" {
			t.Errorf("%s: %v", name, a)
		}
	}
}

func TestLoadErrors(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"attributetyp ( 1.2.3 )", `x.schema:1: "attributetyp" begins no definition; write attributetype`},
		{" ( 1.2.3 )", "x.schema:1: this line begins with white space"},
		{"attributetype 1.2.3", `x.schema:1: a definition begins with "("`},
		{"\n\nattributetype ( 1.2.3\n NAME 'a'\n", `x.schema:4: the definition does not end`},
		{"attributetype ( 1.2.3 NAME 'a SYNTAX )", "x.schema:1: a string begins with '"},
		{"attributetype ( 1.2.3 ) )", `x.schema:1: text stands behind the closing ")"`},
		{"attributetype ( a.b )", `x.schema:1: "a.b" is not a numeric OID`},
		{"attributetype ( Nope:1 )", `no objectidentifier of this name`},
		{"attributetype ( 01.2 )", "not a numeric OID"},
		{"attributetype ( 1.2.3 NAME '1a' SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )", `"1a" is not a name`},
		{"attributetype ( 1.2.3\n\tNAME 'a'\n\tEQUALTY x )", `x.schema:3: "EQUALTY" is not a term of attributetypes`},
		{"attributetype ( 1.2.3 SUP a SUP b )", "SUP is written twice"},
		{"attributetype ( 1.2.3 NAME 'a' )", "neither SUP nor SYNTAX"},
		{"attributetype ( 1.2.3 NAME 'a' SUP nosuch )", "SUP names the attribute type nosuch, which nothing defines"},
		{"attributetype ( 1.2.3 NAME 'a' SYNTAX 1.2 )", "SYNTAX names 1.2, which is not a known syntax"},
		{"attributetype ( 1.2.3 NAME 'a' SYNTAX 1.3.6.1.4.1.1466.115.121.1.15{x} )", "write the length as a number"},
		{"attributetype ( 1.2.3 NAME 'a' SUP name EQUALITY nosuch )", "EQUALITY names the matching rule nosuch"},
		{"attributetype ( 1.2.3 NAME 'a' SUP name EQUALITY caseIgnoreSubstringsMatch )", "which is a rule for SUBSTR"},
		{"attributetype ( 1.2.3 NAME 'a' SUP name USAGE mine )", "USAGE mine is not known"},
		{"attributetype ( 1.2.3 NAME 'a' SUP name COLLECTIVE SINGLE-VALUE )", "neither SINGLE-VALUE nor operational"},
		{"attributetype ( 1.2.3 NAME 'a' SUP b )\nattributetype ( 1.2.4 NAME 'b' SUP a )", "goes in a circle"},
		{"objectclass ( 1.2.3 NAME 'a' SUP b )\nobjectclass ( 1.2.4 NAME 'b' SUP a )", "goes in a circle"},
		{"objectclass ( 1.2.3 NAME 'a' SUP a )", "goes in a circle"},
		{"objectclass ( 1.2.3 NAME 'a' SUP nosuch )", "SUP names the object class nosuch"},
		{"objectclass ( 1.2.3 NAME 'a' MUST nosuch )", "MUST names the attribute type nosuch"},
		{"objectclass ( 1.2.3 NAME 'a' MAY ( ) )", "MAY is an empty list"},
		{"objectclass ( 1.2.3 NAME 'a' ABSTRACT AUXILIARY )", "more than one of ABSTRACT, STRUCTURAL and AUXILIARY"},
		{"objectclass ( 1.2.3 NAME 'a' SUP posixAccount STRUCTURAL )", "cannot inherit from posixAccount, which is AUXILIARY"},
		{"attributetype ( 2.5.4.3 NAME 'cn' SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )", "x.schema:1: attribute type cn has the OID of attribute type cn at core.schema:"},
		{"attributetype ( 1.2.3 NAME 'CN' SUP name )", "x.schema:1: the name CN of attribute type CN is taken by attribute type cn (OID 2.5.4.3) at core.schema:"},
		{"ditcontentrule ( 1.2.3 )", "OID of the structural object class"},
		{"ditcontentrule ( 2.5.6.6 AUX organization )", "organization, which is not an auxiliary class"},
		{"ldapsyntax ( 1.2.3 )", "add X-SUBST"},
		{"matchingrules: ( 1.2.3 SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )", "not built in"},
		{"attributeTypes:: !!!", "not base64"},
		{"objectidentifier a 1.2\nobjectidentifier A 1.3", "objectidentifier A is 1.2 already"},
		{"ditstructurerules ( 1 FORM nosuch )", "FORM must name a name form"},
	} {
		_, err := extend(c.text)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q:\n got %v\nwant %s", c.text, err, c.want)
		}
	}
}

func TestSameDefinitionTwice(t *testing.T) {
	for _, text := range []string{
		"attributetype ( 2.5.4.3 NAME ( 'commonName' 'CN' ) DESC 'other words' SUP 2.5.4.41 )",
		"objectclass ( 0.9.2342.19200300.100.4.5 NAME 'account' SUP top MUST userid MAY ( description $ localityName ) )",
		"attributetype ( 2.5.4.53 NAME 'deltaRevocationList' SYNTAX 1.3.6.1.4.1.1466.115.121.1.9 )",
	} {
		s, err := extend(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if len(s.attrList) != len(Default().attrList) || len(s.classList) != len(Default().classList) {
			t.Errorf("%s: defined again", text)
		}
	}
}

// Everything published is defined by what is published (RFC 4512 section 4.2).
func TestPublicationIsClosed(t *testing.T) {
	s := Default()
	defined := map[string]bool{}
	texts := map[string][]string{}
	for _, p := range s.Publish() {
		texts[p.Name] = p.Values
		for _, v := range p.Values {
			d, err := readDefinition(&statement{keyword: strings.ToLower(p.Name), text: v}, nil)
			if err != nil {
				t.Fatalf("%s: %v", v, err)
			}
			defined[p.Name+d.OID] = true
			for _, n := range d.Names {
				defined[p.Name+strings.ToLower(n)] = true
			}
		}
	}
	for _, name := range []string{"objectClasses", "attributeTypes", "matchingRules", "matchingRuleUse", "ldapSyntaxes"} {
		if len(texts[name]) == 0 {
			t.Errorf("%s has no values", name)
		}
	}
	where := map[string]string{"SYNTAX": "ldapSyntaxes", "EQUALITY": "matchingRules", "ORDERING": "matchingRules", "SUBSTR": "matchingRules",
		"MUST": "attributeTypes", "MAY": "attributeTypes", "APPLIES": "attributeTypes", "NOT": "attributeTypes", "AUX": "objectClasses",
		"OC": "objectClasses", "FORM": "nameForms"}
	for name, values := range texts {
		for _, v := range values {
			d, _ := readDefinition(&statement{keyword: strings.ToLower(name), text: v}, nil)
			for term, refs := range d.terms {
				in := where[term]
				if term == "SUP" {
					in = name
				}
				for _, r := range refs {
					r, _, _ = strings.Cut(strings.ToLower(r), "{")
					if in != "" && !defined[in+r] {
						t.Errorf("%s: %s %s is not in %s", v, term, r, in)
					}
				}
			}
		}
	}
	for _, u := range texts["matchingRuleUse"] {
		if strings.HasPrefix(u, "( 2.5.13.2 ") && (!strings.Contains(u, " cn ") || strings.Contains(u, " uidNumber ")) {
			t.Errorf("caseIgnoreMatch applies to cn and not to uidNumber: %s", u)
		}
	}
}

func TestKnownIsComplete(t *testing.T) {
	checkKnown(t, Default())
}

func TestGenerationsDiffer(t *testing.T) {
	s, err := Default().Extend()
	if err != nil {
		t.Fatal(err)
	}
	if s.Generation() == Default().Generation() || s.Known.CN == Default().Known.CN {
		t.Error("two schemas share a generation or a type")
	}
}

// smallBase has just enough for everyTerm: the fuzzer loads it many times.
const smallBase = `
attributetype ( 2.5.4.0 NAME 'objectClass' SYNTAX 1.3.6.1.4.1.1466.115.121.1.38 )
attributetype ( 2.5.4.41 NAME 'name' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
attributetype ( 2.5.4.3 NAME 'cn' SUP name )
attributetype ( 2.5.4.4 NAME 'sn' SUP name )
attributetype ( 2.5.4.10 NAME 'o' SUP name )
attributetype ( 2.5.4.11 NAME 'ou' SUP name )
attributetype ( 2.5.4.13 NAME 'description' SUP name )
attributetype ( 1.1.1 NAME ( 'mail' 'fax' 'telexNumber' ) SUP name )
objectclass ( 2.5.6.0 NAME 'top' ABSTRACT MUST objectClass )
objectclass ( 2.5.6.4 NAME 'organization' SUP top MUST o )
objectclass ( 2.5.6.5 NAME 'organizationalUnit' SUP top MUST ou )
objectclass ( 1.1.2 NAME 'posixAccount' SUP top AUXILIARY MUST cn )
`

func FuzzParseSchema(f *testing.F) {
	f.Add(everyTerm)
	f.Add("attributeTypes:: ISEh\n-\nolcObjectClasses: {1}( 1.2 )")
	f.Add("dn: cn=x\nolcAttributeTypes: {0}( 1.2.3 NAME 'a' SU\n P name )\nolcAttributeTypes:: KCAxLjIuNCBOQU1FICdiJyBTVVAgbmFtZSAp")
	base := File{Name: "base", Text: []byte(smallBase)}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Load(base, File{Name: "x.schema", Text: []byte(text)})
		if err != nil {
			if !strings.HasPrefix(err.Error(), "x.schema:") && !strings.HasPrefix(err.Error(), "base:") {
				t.Fatalf("no position in %v", err)
			}
			return
		}
		var printed strings.Builder
		for _, p := range s.Publish() {
			for _, v := range p.Values {
				fmt.Fprintf(&printed, "%s:: %s\n", p.Name, base64.StdEncoding.EncodeToString([]byte(v)))
			}
		}
		again, err := Load(File{Name: "published", Text: []byte(printed.String())})
		if err != nil {
			t.Fatalf("what is published does not load: %v", err)
		}
		for i, p := range s.Publish() {
			if !slices.Equal(p.Values, again.Publish()[i].Values) {
				t.Fatal(cmp.Diff(p, again.Publish()[i]))
			}
		}
	})
}

func BenchmarkLoad(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Load(Shipped()...); err != nil {
			b.Fatal(err)
		}
	}
}
