package collective_test

import (
	"context"
	"slices"
	"testing"

	"portolan/internal/ldaptest"
	"portolan/internal/overlay/collective"
	"portolan/ldap"
)

const data = `dn: dc=example,dc=org
objectClass: organization
objectClass: dcObject
dc: example
o: Example

dn: uid=ann,dc=example,dc=org
objectClass: account
uid: ann

dn: cn=office,dc=example,dc=org
objectClass: subentry
objectClass: collectiveAttributeSubentry
cn: office
subtreeSpecification: { specificationFilter item:account }
c-l: Berlin
`

// values returns what the administrator sees of an attribute of ann.
func values(t *testing.T, s *ldaptest.Server, attr string) (out []string) {
	t.Helper()
	entries, err := s.Search(context.Background(), ldaptest.AdminDN, &ldap.SearchRequest{
		Base: []byte("uid=ann,dc=example,dc=org"), Filter: ldap.Present("objectClass"), Attributes: [][]byte{[]byte(attr)},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		for _, a := range e.Attributes {
			for _, v := range a.Values {
				out = append(out, string(v))
			}
		}
	}
	return out
}

func change(object, attr string, values ...string) *ldap.ModifyRequest {
	m := ldap.Mod{Op: ldap.ModReplace, Attribute: ldap.Attribute{Type: []byte(attr)}}
	for _, v := range values {
		m.Attribute.Values = append(m.Attribute.Values, []byte(v))
	}
	return &ldap.ModifyRequest{Object: []byte(object), Changes: []ldap.Mod{m}}
}

// TestContentRule: a DIT content rule precludes collective attributes as it does others (RFC 4512 section 4.1.6). The schema
// changes under the table.
func TestContentRule(t *testing.T) {
	s := ldaptest.Start(t, ldaptest.Options{LDIF: data})
	if got := values(t, s, "*"); !slices.Contains(got, "Berlin") {
		t.Errorf("before: %q", got)
	}
	m := change("cn=Subschema", "dITContentRules", "( 0.9.2342.19200300.100.4.5 NAME 'accountRule' NOT c-l )")
	m.Changes[0].Op = ldap.ModAdd
	if err := s.As(ldaptest.AdminDN, m); err != nil {
		t.Fatal(err)
	}
	if got := values(t, s, "c-l"); len(got) != 0 {
		t.Errorf("precluded, and there: %q", got)
	}
	if err := s.As(ldaptest.AdminDN, change("cn=office,dc=example,dc=org", "c-o", "Example")); err != nil {
		t.Fatal(err)
	}
	if got := values(t, s, "c-o"); !slices.Equal(got, []string{"Example"}) {
		t.Errorf("c-o is %q", got)
	}
}

// TestOff leaves the attributes in the subentries.
func TestOff(t *testing.T) {
	s := ldaptest.Start(t, ldaptest.Options{LDIF: data, Config: "[overlay.collective]\nenabled = false\n"})
	for _, attr := range []string{"c-l", "collectiveAttributeSubentries"} {
		if got := values(t, s, attr); len(got) != 0 {
			t.Errorf("%s is %q", attr, got)
		}
	}
}

// TestMany: attributes of so many values that they are kept apart, and of two subentries.
func TestMany(t *testing.T) {
	s := ldaptest.Start(t, ldaptest.Options{LDIF: data})
	var many []string
	for i := range 3000 {
		many = append(many, "Place "+string(rune('A'+i%26))+string(rune('A'+i/26%26))+string(rune('A'+i/676)))
	}
	if err := s.As(ldaptest.AdminDN, change("cn=office,dc=example,dc=org", "c-l", many...)); err != nil {
		t.Fatal(err)
	}
	add := &ldap.AddRequest{Entry: []byte("cn=other,dc=example,dc=org")}
	for _, a := range [][2]string{{"objectClass", "subentry"}, {"objectClass", "collectiveAttributeSubentry"}, {"cn", "other"}, {"subtreeSpecification", "{}"}, {"c-l", "PLACE AAA"}, {"c-l", "Bonn"}} {
		if n := len(add.Attributes); n > 0 && string(add.Attributes[n-1].Type) == a[0] {
			add.Attributes[n-1].Values = append(add.Attributes[n-1].Values, []byte(a[1]))
			continue
		}
		add.Attributes = append(add.Attributes, ldap.Attribute{Type: []byte(a[0]), Values: [][]byte{[]byte(a[1])}})
	}
	if err := s.As(ldaptest.AdminDN, add); err != nil {
		t.Fatal(err)
	}
	if got := values(t, s, "c-l"); len(got) != len(many)+1 || !slices.Contains(got, "Bonn") {
		t.Errorf("%d values, want %d and Bonn", len(got), len(many)+1)
	}
}

// TestNothing: while there are no subentries nothing is computed, and no operation is asked to.
func TestNothing(t *testing.T) {
	o := collective.New(collective.Defaults())
	if names, version := o.View.Current(); len(names) != 0 || version != 0 || len(o.View.Attributes) != 0 {
		t.Errorf("%q %d %q", names, version, o.View.Attributes)
	}
	s := ldaptest.Start(t, ldaptest.Options{LDIF: data})
	if err := s.As(ldaptest.AdminDN, &ldap.DelRequest{Entry: []byte("cn=office,dc=example,dc=org")}); err != nil {
		t.Fatal(err)
	}
	if got := values(t, s, "collectiveAttributeSubentries"); len(got) != 0 {
		t.Errorf("%q", got)
	}
}
