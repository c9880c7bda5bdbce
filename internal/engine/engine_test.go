package engine_test

import (
	"testing"

	goldap "github.com/go-ldap/ldap/v3"

	"portolan/internal/ldaptest"
)

// company is what most tests of this package search.
const company = `
dn: dc=example,dc=org
objectClass: dcObject
objectClass: organization
dc: example
o: Example

dn: ou=people,dc=example,dc=org
objectClass: organizationalUnit
ou: people

dn: ou=groups,dc=example,dc=org
objectClass: organizationalUnit
ou: groups

dn: uid=alice,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: alice
cn: Alice Archer
sn: Archer
mail: alice@example.org
userPassword: alice-secret
telephoneNumber: +49 30 1234

dn: uid=bob,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: bob
cn: Bob Müller
sn: Müller
mail: bob@example.org
manager: uid=alice,ou=people,dc=example,dc=org
userPassword: bob-secret

dn: cn=editors,ou=groups,dc=example,dc=org
objectClass: groupOfNames
cn: editors
member: uid=alice,ou=people,dc=example,dc=org

dn: cn=nested,ou=groups,dc=example,dc=org
objectClass: groupOfNames
cn: nested
member: cn=editors,ou=groups,dc=example,dc=org
member: uid=bob,ou=people,dc=example,dc=org
`

func dial(t testing.TB, s *ldaptest.Server, dn, password string) *goldap.Conn {
	t.Helper()
	c, err := goldap.DialURL("ldap://" + s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if dn != "" {
		if err := c.Bind(dn, password); err != nil {
			t.Fatalf("bind as %s: %v", dn, err)
		}
	}
	return c
}

func TestOrdinaryDay(t *testing.T) {
	s := ldaptest.Start(t, ldaptest.Options{LDIF: company})
	admin := dial(t, s, ldaptest.AdminDN, ldaptest.AdminPassword)
	alice := dial(t, s, "uid=alice,ou=people,dc=example,dc=org", "alice-secret")
	search := func(c *goldap.Conn, filter string, attrs ...string) []*goldap.Entry {
		t.Helper()
		r, err := c.Search(goldap.NewSearchRequest(ldaptest.Suffix, goldap.ScopeWholeSubtree, goldap.NeverDerefAliases, 0, 0, false, filter, attrs, nil))
		if err != nil {
			t.Fatalf("%s: %v", filter, err)
		}
		return r.Entries
	}
	for filter, want := range map[string]int{
		"(uid=alice)": 1, "(uid=ALICE)": 1, "(objectClass=person)": 2, "(sn=m\\c3\\bcller)": 1, "(cn=*ice*)": 1, "(mail=b*)": 1,
		"(&(objectClass=inetOrgPerson)(!(uid=bob)))": 1, "(|(uid=alice)(uid=bob))": 2, "(nosuch=x)": 0, "(!(nosuch=x))": 0,
		"(userPassword=*)": 0, "(memberOf=cn=editors,ou=groups,dc=example,dc=org)": 1, "(objectClass=*)": 7, "(ou:dn:=people)": 3,
		"(memberOf:1.2.840.113556.1.4.1941:=cn=nested,ou=groups,dc=example,dc=org)": 3, "(&)": 7, "(|)": 0, "(entryDN=uid=bob,ou=people,dc=example,dc=org)": 1,
	} {
		if got := search(alice, filter, "1.1"); len(got) != want {
			t.Errorf("%s: %d entries, want %d: %v", filter, len(got), want, got)
		}
	}
	e := search(alice, "(uid=alice)", "*", "+")[0]
	if e.GetAttributeValue("userPassword") != "" {
		t.Error("alice reads her own hash")
	}
	for _, a := range []string{"entryUUID", "entryCSN", "createTimestamp", "creatorsName", "entryDN", "hasSubordinates", "subschemaSubentry", "structuralObjectClass", "memberOf"} {
		if e.GetAttributeValue(a) == "" {
			t.Errorf("no %s", a)
		}
	}
	if e := search(admin, "(uid=alice)", "userPassword")[0]; len(e.GetAttributeValue("userPassword")) < 40 {
		t.Errorf("the stored password is %q", e.GetAttributeValue("userPassword"))
	}
	mod := goldap.NewModifyRequest("uid=alice,ou=people,dc=example,dc=org", nil)
	mod.Replace("userPassword", []string{"changed-by-her"})
	if err := alice.Modify(mod); err != nil {
		t.Fatal(err)
	}
	if err := dial(t, s, "", "").Bind("uid=alice,ou=people,dc=example,dc=org", "alice-secret"); !goldap.IsErrorWithCode(err, 49) {
		t.Errorf("the old password: %v", err)
	}
	dial(t, s, "uid=alice,ou=people,dc=example,dc=org", "changed-by-her")
	if _, err := alice.PasswordModify(goldap.NewPasswordModifyRequest("", "wrong", "x")); !goldap.IsErrorWithCode(err, 53) {
		t.Errorf("password modify with a wrong old password: %v", err)
	}
	made, err := alice.PasswordModify(goldap.NewPasswordModifyRequest("", "changed-by-her", ""))
	if err != nil {
		t.Fatal(err)
	}
	dial(t, s, "uid=alice,ou=people,dc=example,dc=org", made.GeneratedPassword)
	if err := admin.ModifyDN(goldap.NewModifyDNRequest("uid=alice,ou=people,dc=example,dc=org", "uid=alicia", true, "")); err != nil {
		t.Fatal(err)
	}
	if e := search(admin, "(cn=editors)", "member")[0]; e.GetAttributeValue("member") != "uid=alicia,ou=people,dc=example,dc=org" {
		t.Errorf("member after the rename: %v", e.GetAttributeValues("member"))
	}
	if err := admin.Del(goldap.NewDelRequest("ou=people,dc=example,dc=org", nil)); !goldap.IsErrorWithCode(err, 66) {
		t.Errorf("delete of a parent: %v", err)
	}
	if err := admin.Del(goldap.NewDelRequest("uid=bob,ou=people,dc=example,dc=org", nil)); err != nil {
		t.Fatal(err)
	}
	if e := search(admin, "(cn=nested)", "member")[0]; len(e.GetAttributeValues("member")) != 1 {
		t.Errorf("member after the delete: %v", e.GetAttributeValues("member"))
	}
	who, err := admin.WhoAmI(nil)
	if err != nil || who.AuthzID != "dn:"+ldaptest.AdminDN {
		t.Errorf("who am I: %v %v", who, err)
	}
	r, err := alice.SearchWithPaging(goldap.NewSearchRequest(ldaptest.Suffix, goldap.ScopeWholeSubtree, goldap.NeverDerefAliases, 0, 0, false, "(objectClass=*)", []string{"1.1"}, nil), 2)
	if err != nil || len(r.Entries) != 6 {
		t.Errorf("paging: %v %v", r, err)
	}
	anonymous := dial(t, s, "", "")
	root, err := anonymous.Search(goldap.NewSearchRequest("", goldap.ScopeBaseObject, goldap.NeverDerefAliases, 0, 0, false, "(objectClass=*)", []string{"*", "+"}, nil))
	if err != nil || len(root.Entries) != 1 {
		t.Fatal(root, err)
	}
	sub, err := alice.Search(goldap.NewSearchRequest("cn=Subschema", goldap.ScopeBaseObject, goldap.NeverDerefAliases, 0, 0, false, "(objectClass=subschema)", []string{"objectclasses", "attributetypes"}, nil))
	if err != nil || len(sub.Entries) != 1 || len(sub.Entries[0].Attributes) != 2 {
		t.Fatal(sub, err)
	}
	if _, err := anonymous.Search(goldap.NewSearchRequest(ldaptest.Suffix, goldap.ScopeBaseObject, goldap.NeverDerefAliases, 0, 0, false, "(objectClass=*)", nil, nil)); err == nil {
		t.Error("anonymous reads the suffix")
	}
}
