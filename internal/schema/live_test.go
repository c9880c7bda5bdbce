package schema

import (
	"slices"
	"strings"
	"testing"

	"portolan/ldap"
)

func liveMod(op ldap.ModOp, attr string, values ...string) ldap.Mod {
	m := ldap.Mod{Op: op}
	m.Attribute.Type = []byte(attr)
	for _, v := range values {
		m.Attribute.Values = append(m.Attribute.Values, []byte(v))
	}
	return m
}

const (
	liveType  = "( 2.25.7.1 NAME 'liveText' DESC 'Süßes' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )"
	liveClass = "( 2.25.7.2 NAME 'liveThing' SUP top AUXILIARY MAY liveText )"
)

func changeLive(t *testing.T, s *Schema, mods ...ldap.Mod) *Schema {
	t.Helper()
	next, err := s.ChangeLive(mods, false)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

func TestChangeLive(t *testing.T) {
	base := Default()
	s := changeLive(t, base, liveMod(ldap.ModAdd, "attributeTypes", liveType), liveMod(ldap.ModAdd, "OBJECTCLASSES", liveClass),
		liveMod(ldap.ModAdd, "ldapSyntaxes", "( 2.25.7.3 DESC 'Mine' X-SUBST '1.3.6.1.4.1.1466.115.121.1.26' )"),
		liveMod(ldap.ModAdd, "dITContentRules", "( 2.5.6.6 NAME 'personRule' AUX liveThing )"),
		liveMod(ldap.ModAdd, "nameForms", "( 2.25.7.4 NAME 'liveForm' OC person MUST cn )"),
		liveMod(ldap.ModAdd, "dITStructureRules", "( 7 FORM liveForm )"))
	if base.AttributeTypeString("liveText") != nil || len(base.Live()) != 0 {
		t.Fatal("the schema itself has changed")
	}
	if a := s.AttributeTypeString("liveText"); a == nil || !a.Live || s.ObjectClass("liveThing") == nil || s.Known.CN.Live || len(s.Live()) != 6 {
		t.Fatalf("%v, %v", a, s.Live())
	}
	// What is kept brings back the same.
	defs, err := ParseLive(AppendLive(nil, s.Live()))
	if err != nil || !slices.Equal(defs, s.Live()) {
		t.Fatalf("%v, %v; want %v", defs, err, s.Live())
	}
	again, err := base.WithLive(defs)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range again.Publish() {
		if !slices.Equal(p.Values, s.Publish()[i].Values) {
			t.Errorf("%s differs", p.Name)
		}
	}
	if b, err := s.Base(); err != nil || len(b.Live()) != 0 || b.AttributeTypeString("liveText") != nil {
		t.Errorf("the base: %v", err)
	}
	// Definitions are found by their first component, by OID and by name, and may be changed in one go.
	for _, value := range []string{liveType, "( 2.25.7.1 )", "( 2.25.7.1 NAME 'other' )", "2.25.7.1", "LIVETEXT"} {
		next := changeLive(t, s, liveMod(ldap.ModDelete, "attributeTypes", value),
			liveMod(ldap.ModAdd, "attributeTypes", "( 2.25.7.1 NAME ( 'liveText' 'more' ) SYNTAX 1.3.6.1.4.1.1466.115.121.1.26 )"))
		if a := next.AttributeTypeString("more"); a == nil || a.Name() != "liveText" {
			t.Errorf("%s: %v", value, a)
		}
	}
	none := changeLive(t, s, liveMod(ldap.ModDelete, "dITStructureRules", "7"), liveMod(ldap.ModDelete, "nameForms", "liveForm"), liveMod(ldap.ModDelete, "dITContentRules", "personRule"),
		liveMod(ldap.ModDelete, "objectClasses", "liveThing"), liveMod(ldap.ModDelete, "attributeTypes", "liveText"), liveMod(ldap.ModDelete, "ldapSyntaxes", "2.25.7.3"))
	if len(none.Live()) != 0 {
		t.Errorf("left: %v", none.Live())
	}
	// All that is published may be sent back, with more.
	for _, p := range s.Publish() {
		if p.Name != "attributeTypes" && p.Name != "objectClasses" && p.Name != "ldapSyntaxes" {
			continue
		}
		next := changeLive(t, s, liveMod(ldap.ModReplace, p.Name, p.Values...))
		if len(next.Live()) != len(s.Live()) {
			t.Errorf("%s: %d live definitions, want %d", p.Name, len(next.Live()), len(s.Live()))
		}
	}
	if next, err := s.ChangeLive([]ldap.Mod{liveMod(ldap.ModAdd, "attributeTypes", liveType), liveMod(ldap.ModDelete, "attributeTypes", "( 2.25.7.9 )")}, true); err != nil || len(next.Live()) != 6 {
		t.Errorf("permissive: %v", err)
	}
}

func TestChangeLiveErrors(t *testing.T) {
	s := changeLive(t, Default(), liveMod(ldap.ModAdd, "attributeTypes", liveType), liveMod(ldap.ModAdd, "objectClasses", liveClass))
	add := func(attr, value string) []ldap.Mod { return []ldap.Mod{liveMod(ldap.ModAdd, attr, value)} }
	remove := func(attr, value string) []ldap.Mod { return []ldap.Mod{liveMod(ldap.ModDelete, attr, value)} }
	for _, c := range []struct {
		mods []ldap.Mod
		code ldap.ResultCode
		say  string
	}{
		{add("attributeTypes", "( 2.25.8 NAME 'x' SYNTAX )"), ldap.InvalidAttributeSyntax, "attributeTypes: the value of SYNTAX is missing"},
		{add("attributeTypes", "nonsense"), ldap.InvalidAttributeSyntax, "a definition begins with"},
		{add("attributeTypes", "( x NAME 'x' SYNTAX 1.2 )"), ldap.InvalidAttributeSyntax, "is not a numeric OID"},
		{add("attributeTypes", liveType), ldap.AttributeOrValueExists, "2.25.7.1 is defined already"},
		{add("attributeTypes", "( 2.5.4.3 NAME 'cn' SUP name )"), ldap.AttributeOrValueExists, "2.5.4.3 is defined already"},
		{add("ldapSyntaxes", "( 1.3.6.1.4.1.1466.115.121.1.15 )"), ldap.AttributeOrValueExists, ""},
		{add("attributeTypes", "( 2.25.8 NAME 'cn' SUP name )"), ldap.ConstraintViolation, "the name cn of attribute type cn is taken by attribute type cn (OID 2.5.4.3) at core.schema"},
		{add("attributeTypes", "( 2.25.8 NAME 'sudoUser' SUP name )"), ldap.ConstraintViolation, "is taken by attribute type sudoUser"},
		{add("attributeTypes", "( 2.25.8 NAME 'LIVEtext' SUP name )"), ldap.ConstraintViolation, "is taken by attribute type liveText"},
		{add("attributeTypes", "( 2.25.8 NAME 'x' SUP nosuch )"), ldap.ConstraintViolation, "the schema would not hold together: attribute type x: SUP names the attribute type nosuch, which nothing defines"},
		{add("attributeTypes", "( 2.25.8 NAME 'x' EQUALITY nosuch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )"), ldap.ConstraintViolation, "which is not known"},
		{add("attributeTypes", "( 2.25.8 NAME 'x' SYNTAX 1.2.3 )"), ldap.ConstraintViolation, "not a known syntax"},
		{add("objectClasses", "( 2.25.8 NAME 'x' SUP person AUXILIARY )"), ldap.ConstraintViolation, "cannot inherit"},
		{add("objectClasses", "( 2.25.8 NAME 'x' MAY nosuch )"), ldap.ConstraintViolation, "MAY names the attribute type nosuch"},
		{add("ldapSyntaxes", "( 2.25.8 DESC 'x' )"), ldap.ConstraintViolation, "X-SUBST"},
		{add("dITContentRules", "( 2.25.8 AUX liveThing )"), ldap.ConstraintViolation, "structural object class"},
		{add("matchingRules", "( 2.25.8 NAME 'x' SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )"), ldap.UnwillingToPerform, "matchingRules of the subschema subentry is the server's own"},
		{add("cn", "x"), ldap.UnwillingToPerform, "cn of the subschema subentry is the server's own"},
		{add("nosuch", "x"), ldap.UndefinedAttributeType, ""},
		{add("attributeTypes;x-a", liveType), ldap.UndefinedAttributeType, ""},
		{[]ldap.Mod{liveMod(ldap.ModAdd, "attributeTypes")}, ldap.ProtocolError, ""},
		{remove("attributeTypes", "( 2.5.4.3 )"), ldap.UnwillingToPerform, "attribute type cn is defined at core.schema:"},
		{remove("attributeTypes", "cn"), ldap.UnwillingToPerform, "can be changed there only"},
		{remove("ldapSyntaxes", "1.3.6.1.4.1.1466.115.121.1.15"), ldap.UnwillingToPerform, "built in"},
		{remove("attributeTypes", "( 2.25.99 )"), ldap.NoSuchAttribute, ""},
		{remove("attributeTypes", "nosuch"), ldap.NoSuchAttribute, ""},
		{remove("dITStructureRules", "x"), ldap.InvalidAttributeSyntax, ""},
		{remove("attributeTypes", "liveText"), ldap.ConstraintViolation, "object class liveThing: MAY names the attribute type liveText, which nothing defines"},
		{[]ldap.Mod{liveMod(ldap.ModDelete, "attributeTypes")}, ldap.UnwillingToPerform, "cannot be deleted as a whole"},
		{[]ldap.Mod{liveMod(ldap.ModReplace, "attributeTypes", liveType)}, ldap.UnwillingToPerform, "can be removed there only"},
		{[]ldap.Mod{liveMod(ldap.ModReplace, "attributeTypes", liveType, liveType)}, ldap.AttributeOrValueExists, "twice"},
		{[]ldap.Mod{liveMod(ldap.ModReplace, "attributeTypes", "( 2.5.4.3 NAME 'cn' SUP sn )")}, ldap.UnwillingToPerform, "attribute type cn is defined at"},
		{[]ldap.Mod{liveMod(ldap.ModIncrement, "attributeTypes", "1")}, ldap.ConstraintViolation, ""},
	} {
		next, err := s.ChangeLive(c.mods, false)
		if err == nil {
			t.Errorf("%s: no error, %v", c.mods[0].Attribute.Values, next.Live())
			continue
		}
		if ldap.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.say) || strings.Contains(err.Error(), LiveName+":") {
			t.Errorf("%s %s: %v; want %d %s", c.mods[0].Attribute.Type, c.mods[0].Attribute.Values, err, c.code, c.say)
		}
	}
}

// Files win: a definition that was made live and clashes with a file names both places.
func TestLiveAgainstFiles(t *testing.T) {
	live := File{Name: LiveName, Live: true, Text: AppendLive(nil, []Definition{{"attributeTypes", liveType}})}
	same := File{Name: "mine.schema", Text: []byte("\nattributetype " + liveType)}
	s, err := Default().Extend(same, live)
	if err != nil || s.AttributeTypeString("liveText").Live {
		t.Fatalf("the same definition: %v", err)
	}
	other := File{Name: "mine.schema", Text: []byte("\nattributetype ( 2.25.7.1 NAME 'liveText' SYNTAX 1.3.6.1.4.1.1466.115.121.1.26 )")}
	if _, err := Default().Extend(other, live); err == nil || !strings.HasPrefix(err.Error(), "cn=Subschema:1: attribute type liveText has the OID of attribute type liveText at mine.schema:2, but another") {
		t.Errorf("another definition: %v", err)
	}
	shipped := File{Name: LiveName, Live: true, Text: AppendLive(nil, []Definition{{"attributeTypes", "( 1.3.6.1.4.1.15953.9.1.1 NAME 'sudoUser' SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )"}})}
	if _, err := Default().Extend(shipped); err == nil || !strings.Contains(err.Error(), "sudo.schema:") {
		t.Errorf("a live definition against a shipped file that yields: %v", err)
	}
}

func TestRetires(t *testing.T) {
	begin := []ldap.Mod{
		liveMod(ldap.ModAdd, "ldapSyntaxes", "( 2.25.7.9 X-SUBST '1.3.6.1.4.1.1466.115.121.1.15' )"),
		liveMod(ldap.ModAdd, "attributeTypes", "( 2.25.7.1 NAME ( 'a' 'b' ) EQUALITY caseIgnoreMatch SYNTAX 2.25.7.9 )", "( 2.25.7.3 NAME 'sub' SUP a )"),
		liveMod(ldap.ModAdd, "objectClasses", "( 2.25.7.2 NAME 'c' SUP top AUXILIARY MUST a MAY cn )"),
	}
	s := changeLive(t, Default(), begin...)
	for _, c := range []struct{ attr, value, want string }{
		{"attributeTypes", "( 2.25.7.1 NAME ( 'a' 'b' 'more' ) DESC 'x' OBSOLETE EQUALITY caseIgnoreMatch ORDERING caseIgnoreOrderingMatch SUBSTR caseIgnoreSubstringsMatch SYNTAX 2.25.7.9{5} )", ""},
		{"attributeTypes", "( 2.25.7.1 NAME ( 'b' 'a' ) EQUALITY caseIgnoreMatch SYNTAX 2.25.7.9 )", "a"},
		{"attributeTypes", "( 2.25.7.1 NAME 'a' EQUALITY caseIgnoreMatch SYNTAX 2.25.7.9 )", "a"},
		{"attributeTypes", "( 2.25.7.1 NAME ( 'a' 'b' ) EQUALITY caseExactMatch SYNTAX 2.25.7.9 )", "a sub"},
		{"attributeTypes", "( 2.25.7.1 NAME ( 'a' 'b' ) EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )", "a sub"},
		{"attributeTypes", "( 2.25.7.1 NAME ( 'a' 'b' ) SUP name EQUALITY caseIgnoreMatch SYNTAX 2.25.7.9 )", "a sub"},
		{"attributeTypes", "( 2.25.7.1 NAME ( 'a' 'b' ) EQUALITY caseIgnoreMatch SYNTAX 2.25.7.9 SINGLE-VALUE )", "a"},
		{"attributeTypes", "( 2.25.7.1 NAME ( 'a' 'b' ) EQUALITY caseIgnoreMatch SYNTAX 2.25.7.9 X-PORTOLAN-SECRET 'TRUE' )", "a sub"},
		{"ldapSyntaxes", "( 2.25.7.9 X-SUBST '1.3.6.1.4.1.1466.115.121.1.26' )", "a sub"},
		{"objectClasses", "( 2.25.7.2 NAME ( 'c' 'd' ) SUP top AUXILIARY MAY ( cn $ sn $ a ) )", ""},
		{"objectClasses", "( 2.25.7.2 NAME 'c' SUP top AUXILIARY MUST a )", "c"},
		{"objectClasses", "( 2.25.7.2 NAME 'c' SUP top AUXILIARY MUST ( a $ cn ) )", "c"},
		{"objectClasses", "( 2.25.7.2 NAME 'c' SUP top STRUCTURAL MUST a MAY cn )", "c"},
		{"objectClasses", "( 2.25.7.2 NAME 'c' SUP pkiUser AUXILIARY MUST a MAY cn )", "c"},
	} {
		next := changeLive(t, s, liveMod(ldap.ModDelete, c.attr, c.value), liveMod(ldap.ModAdd, c.attr, c.value))
		types, classes := s.Retires(next)
		if got := strings.TrimSpace(strings.Join(append(namesOf(types), namesOf(classes)...), " ")); got != c.want {
			t.Errorf("%s: retires %q, want %q", c.value, got, c.want)
		}
	}
	types, classes := s.Retires(Default())
	if len(types) != 2 || len(classes) != 1 {
		t.Errorf("all gone: %v %v", types, classes)
	}
	if types, classes := Default().Retires(s); types != nil || classes != nil {
		t.Errorf("all new: %v %v", types, classes)
	}
}

// Whatever a client sends changes nothing or leaves a schema that can be kept and brought back.
func FuzzChangeLive(f *testing.F) {
	for _, v := range []string{liveType, liveClass, "( 7 FORM x )", "( 1.2.3 )", "{1}( 2.25.1 SUP cn )", "( 2.5.6.6 AUX ( ) )"} {
		f.Add(uint8(0), v)
		f.Add(uint8(2), v)
	}
	base, err := Load(File{Name: "base", Text: []byte(smallBase)})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, n uint8, value string) {
		attr := LiveAttributes[int(n)%len(LiveAttributes)]
		next, err := base.ChangeLive([]ldap.Mod{liveMod(ldap.ModAdd, attr, value)}, false)
		if err != nil {
			return
		}
		defs, err := ParseLive(AppendLive(nil, next.Live()))
		if err != nil || len(defs) != 1 {
			t.Fatalf("%v, %v", defs, err)
		}
		if _, err := base.WithLive(defs); err != nil {
			t.Fatalf("%q does not come back: %v", value, err)
		}
		if _, err := next.ChangeLive([]ldap.Mod{liveMod(ldap.ModDelete, attr, value)}, false); err != nil {
			t.Fatalf("%q cannot be deleted: %v", value, err)
		}
	})
}
