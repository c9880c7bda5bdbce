package schema

import (
	"strings"
	"testing"

	"portolan/ldap"
)

// testEntry is an entry as "objectClass: a b" and attributes with the number of their values.
type testEntry struct {
	s       *Schema
	classes []string
	attrs   []string // a description, and "*2" behind it for two values
}

func (e testEntry) EachClass(yield func([]byte) bool) {
	for _, c := range e.classes {
		if !yield([]byte(c)) {
			return
		}
	}
}

func (e testEntry) EachAttribute(yield func(Description, int) bool) {
	for _, a := range append([]string{"objectClass*9"}, e.attrs...) {
		name, _, many := strings.Cut(a, "*")
		d, err := e.s.DescribeString(name)
		if err != nil {
			panic(err)
		}
		n := 1
		if many {
			n = 2
		}
		if !yield(d, n) {
			return
		}
	}
}

func TestCheckEntry(t *testing.T) {
	s, err := Default().Extend(File{Name: "rules", Text: []byte(`
objectclass ( 2.25.2.1 NAME 'ruled' SUP person STRUCTURAL )
ditcontentrule ( 2.25.2.1 NAME 'ruledRule' AUX ( posixAccount $ pkiUser ) MUST mail MAY fax NOT ( description $ authTimestamp ) )
objectclass ( 2.25.2.2 NAME 'shape' ABSTRACT MUST l )
objectclass ( 2.25.2.3 NAME 'circle' SUP shape STRUCTURAL MAY ou )
`)})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		classes, attrs string
		structural     string
		code           ldap.ResultCode
		say            string
	}{
		{classes: "person", attrs: "cn sn", structural: "person"},
		{classes: "top person organizationalPerson inetOrgPerson", attrs: "cn sn mail*2 userPassword*2", structural: "inetOrgPerson"},
		{classes: "inetOrgPerson posixAccount", attrs: "cn sn uid uidNumber gidNumber homeDirectory", structural: "inetOrgPerson"},
		{classes: "groupOfNames posixGroup", attrs: "cn member*2 gidNumber memberUid", structural: "groupOfNames"},
		{classes: "person", attrs: "cn;lang-de sn createTimestamp entryUUID memberOf*2", structural: "person"},
		{classes: "referral extensibleObject", attrs: "ref ou uidNumber", structural: "referral"},
		{classes: "alias extensibleObject", attrs: "aliasedObjectName uid", structural: "alias"},
		{classes: "subentry collectiveAttributeSubentry", attrs: "cn subtreeSpecification c-l", structural: "subentry"},
		{classes: "2.5.6.6", attrs: "cn sn", structural: "person"},
		{classes: "ruled posixAccount", attrs: "cn sn mail uid uidNumber gidNumber homeDirectory fax", structural: "ruled"},
		{classes: "circle", attrs: "l", structural: "circle"},

		{classes: "", attrs: "cn", code: 65, say: "no object class"},
		{classes: "nosuch", attrs: "cn", code: 65, say: `"nosuch" is not defined`},
		{classes: "top", attrs: "", code: 65, say: "none of the object classes top is structural"},
		{classes: "posixAccount", attrs: "cn", code: 65, say: "is structural"},
		{classes: "person organization", attrs: "cn sn o", code: 65, say: "do not inherit from each other"},
		{classes: "person organizationalUnit domain", attrs: "", code: 65, say: "do not inherit from each other"},
		{classes: "person shape", attrs: "cn sn l", code: 65, say: "shape is abstract"},
		{classes: "person", attrs: "cn", code: 65, say: "person requires the attribute sn"},
		{classes: "inetOrgPerson", attrs: "cn", code: 65, say: "requires the attribute sn"},
		{classes: "person", attrs: "cn sn mail", code: 65, say: "do not allow the attribute mail"},
		{classes: "person", attrs: "cn sn nosuch", code: 17, say: "not defined"},
		{classes: "inetOrgPerson", attrs: "cn sn displayName*2", code: 19, say: "displayName has 2 values"},
		{classes: "person", attrs: "cn sn createTimestamp*2", code: 19, say: "createTimestamp has 2 values"},
		{classes: "inetOrgPerson", attrs: "cn sn c-l", code: 65, say: "collective"},
		{classes: "person extensibleObject", attrs: "cn sn c-l", code: 65, say: "collective"},
		{classes: "person extensibleObject", attrs: "cn", code: 65, say: "requires the attribute sn"},
		{classes: "ruled", attrs: "cn sn", code: 65, say: "ruledRule requires the attribute mail"},
		{classes: "ruled shadowAccount", attrs: "cn sn mail uid", code: 65, say: "does not allow the auxiliary class shadowAccount"},
		{classes: "ruled", attrs: "cn sn mail description", code: 65, say: "forbids the attribute description"},
		{classes: "ruled", attrs: "cn sn mail authTimestamp", code: 65, say: "forbids the attribute authTimestamp"},
		{classes: "circle", attrs: "ou", code: 65, say: "requires the attribute l"},
	} {
		e := testEntry{s, strings.Fields(c.classes), strings.Fields(c.attrs)}
		got, err := s.CheckEntry(e)
		switch {
		case c.structural != "":
			if err != nil || got.Name() != c.structural {
				t.Errorf("%s | %s: %v, %v; want %s", c.classes, c.attrs, got, err, c.structural)
			}
		case ldap.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.say):
			t.Errorf("%s | %s: %v; want %d %s", c.classes, c.attrs, err, c.code, c.say)
		}
	}
}

func TestCompleteClasses(t *testing.T) {
	s := Default()
	got := namesOf(CompleteClasses([]*ObjectClass{s.Known.PosixAccount, s.Known.InetOrgPerson}))
	if want := "posixAccount inetOrgPerson top organizationalPerson person"; strings.Join(got, " ") != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestDescribe(t *testing.T) {
	s := Default()
	for _, c := range []struct{ in, want string }{
		{"cn", "cn"}, {"CN", "cn"}, {"commonName", "cn"}, {"2.5.4.3", "cn"},
		{"cn;Lang-DE", "cn;lang-de"}, {"cn;x-a;lang-de;X-A", "cn;lang-de;x-a"}, {"cn;lang-de-", "cn;lang-de-"}, {"cn;lang-", "cn;lang-"},
		{"cn;lang-i-klingon", "cn;lang-i-klingon"}, {"cn;lang-x-;x-foobar", "cn;lang-x-;x-foobar"},
		{"userCertificate", "userCertificate;binary"}, {"usercertificate;BINARY", "userCertificate;binary"},
		{"userCertificate;x-a", "userCertificate;binary;x-a"},
		{"nosuch", ""}, {"nosuch;x-a", ""}, {"1.2.3", ""},
		// Options that are none, or do not go with the type: not recognized (RFC 4512 section 2.5.2).
		{"cn;x", ""}, {"cn;x-", ""}, {"cn;foo", ""}, {"cn;lang-de;foo", ""}, {"jpegPhoto;binary", ""}, {"cn;binary", ""},
		{"objectClass;x-a", ""}, {"createTimestamp;lang-de", ""}, {"cn;lang-1", ""}, {"cn;lang-de--", ""}, {"cn;lang-abcdefghi", ""},
	} {
		d, err := s.DescribeString(c.in)
		if err != nil || d.String() != c.want {
			t.Errorf("%q: %q, %v; want %q", c.in, d, err, c.want)
		}
	}
	for _, bad := range []string{"", ";", "cn;", "cn;;x", "c n", "1cn", "cn;x=1", "cn;x ", "é", "1.2.", "cn;" + strings.Repeat("x", MaxDescription)} {
		if d, err := s.DescribeString(bad); ldap.CodeOf(err) != ldap.UndefinedAttributeType {
			t.Errorf("%q: %v, %v; want an error", bad, d, err)
		}
	}
}

func TestContains(t *testing.T) {
	s := Default()
	for _, c := range []struct {
		d, other string
		want     bool
	}{
		{"cn", "cn", true}, {"name", "cn", true}, {"cn", "name", false}, {"cn", "sn", false},
		{"cn", "cn;lang-de", true}, {"cn;lang-de", "cn", false}, {"name;lang-de", "cn;lang-de;x-a", true},
		{"cn;x-a;lang-de", "cn;lang-de", false},
		{"cn;lang-de-", "cn;lang-de", true}, {"cn;lang-de-", "cn;lang-de-at", true}, {"cn;lang-de-", "cn;lang-den", false},
		{"cn;lang-de-", "cn;lang-en", false}, {"cn;lang-", "cn;lang-en", true}, {"cn;lang-", "cn", false},
		{"userCertificate", "userCertificate;binary", true}, {"userCertificate;binary", "userCertificate", true},
		{"nosuch", "nosuch", false},
	} {
		a, err1 := s.DescribeString(c.d)
		b, err2 := s.DescribeString(c.other)
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		if got := a.Contains(b); got != c.want {
			t.Errorf("%q contains %q: %v, want %v", c.d, c.other, got, c.want)
		}
	}
	for in, want := range map[string]bool{"cn": false, "cn;lang-de": false, "cn;lang-de-": true, "cn;lang-": true, "cn;x-b;lang-de-;x-a": true} {
		if d, err := s.DescribeString(in); err != nil || d.IsRange() != want {
			t.Errorf("%q is a range: %v, %v", in, d.IsRange(), err)
		}
	}
}

// Options from requests cannot fill memory.
func TestInternedOptionsAreBounded(t *testing.T) {
	s, err := Default().Extend()
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 * maxInterned {
		name := "cn;x-" + strings.Repeat("a", 1+i%50) + "-" + strings.Repeat("b", i/50)
		if d, err := s.DescribeString(name); err != nil || d.String() != name {
			t.Fatal(d, err)
		}
	}
	if n := len(*s.options.Load()); n > maxInterned {
		t.Errorf("%d option strings are kept", n)
	}
}
