package engine_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	goldap "github.com/go-ldap/ldap/v3"

	"portolan/internal/ldaptest"
)

const peopleLDIF = `dn: dc=example,dc=org
objectClass: domain
dc: example

dn: uid=alice,dc=example,dc=org
objectClass: inetOrgPerson
uid: alice
cn: Alice
sn: Archer
userPassword: alice-secret
mail: alice@example.org
description: hidden
`

func dialAs(t *testing.T, s *ldaptest.Server, dn, password string) *goldap.Conn {
	t.Helper()
	c, err := goldap.DialURL("ldap://" + s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.Bind(dn, password); err != nil {
		t.Fatal(err)
	}
	return c
}

// Schemas come and go under searches, compares and writes: what is read stays right, rules by attribute hold in every
// moment, and nothing but busy is ever answered.
func TestSchemaChangesUnderLoad(t *testing.T) {
	s := ldaptest.Start(t, ldaptest.Options{LDIF: peopleLDIF, Config: "[[access]]\nname = \"hidden\"\ndeny = \"all\"\nwho = \"users\"\nattrs = \"description\"\n"})
	admin := dialAs(t, s, ldaptest.AdminDN, ldaptest.AdminPassword)
	const alice = "uid=alice,dc=example,dc=org"
	var stop atomic.Bool
	var readers sync.WaitGroup
	work := func(name string, f func(c *goldap.Conn, n int) error) {
		dn, password := alice, "alice-secret"
		if name == "write" {
			dn, password = ldaptest.AdminDN, ldaptest.AdminPassword
		}
		c := dialAs(t, s, dn, password)
		readers.Go(func() {
			for n := 0; !stop.Load(); n++ {
				if err := f(c, n); err != nil && !goldap.IsErrorWithCode(err, goldap.LDAPResultBusy) {
					t.Errorf("%s: %v", name, err)
					return
				}
			}
		})
	}
	for range 2 {
		work("search", func(c *goldap.Conn, _ int) error {
			r, err := c.Search(goldap.NewSearchRequest("dc=example,dc=org", goldap.ScopeWholeSubtree, goldap.NeverDerefAliases, 0, 0, false, "(mail=ALICE@example.org)", nil, nil))
			if err != nil {
				return err
			}
			if len(r.Entries) != 1 || r.Entries[0].GetAttributeValue("cn") != "Alice" {
				return fmt.Errorf("found %v", r.Entries)
			}
			if v := r.Entries[0].GetAttributeValues("description"); len(v) > 0 {
				return fmt.Errorf("a rule did not hold: %v", v)
			}
			return nil
		})
	}
	work("compare", func(c *goldap.Conn, _ int) error {
		ok, err := c.Compare(alice, "sn", "archer")
		if err == nil && !ok {
			return fmt.Errorf("false")
		}
		return err
	})
	work("write", func(c *goldap.Conn, n int) error {
		m := goldap.NewModifyRequest(alice, nil)
		m.Replace("title", []string{fmt.Sprint("n", n)})
		return c.Modify(m)
	})
	for i := range 12 {
		name := fmt.Sprintf("( 2.25.1.1 NAME 'try%d' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )", i)
		m := goldap.NewModifyRequest("cn=Subschema", nil)
		m.Add("attributeTypes", []string{name})
		if err := admin.Modify(m); err != nil {
			t.Fatal(err)
		}
		m = goldap.NewModifyRequest("cn=Subschema", nil)
		m.Delete("attributeTypes", []string{"( 2.25.1.1 )"})
		if err := admin.Modify(m); err != nil {
			t.Fatal(err)
		}
	}
	stop.Store(true)
	readers.Wait()
}

// Writers use a type and stop using it while its definition is being removed: either they come first and it stays, or it
// goes and they are refused. Never is there an entry with what the schema lacks.
func TestRemovalAgainstUse(t *testing.T) {
	s := ldaptest.Start(t, ldaptest.Options{LDIF: peopleLDIF})
	admin := dialAs(t, s, ldaptest.AdminDN, ldaptest.AdminPassword)
	writer := dialAs(t, s, ldaptest.AdminDN, ldaptest.AdminPassword)
	const alice = "uid=alice,dc=example,dc=org"
	definition := []string{"( 2.25.1.1 NAME 'fleeting' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )"}
	change := func(c *goldap.Conn, dn string, f func(m *goldap.ModifyRequest)) error {
		m := goldap.NewModifyRequest(dn, nil)
		f(m)
		return c.Modify(m)
	}
	if err := change(writer, alice, func(m *goldap.ModifyRequest) { m.Add("objectClass", []string{"extensibleObject"}) }); err != nil {
		t.Fatal(err)
	}
	var stop atomic.Bool
	var used, refused int
	var writing sync.WaitGroup
	writing.Go(func() {
		for !stop.Load() {
			err := change(writer, alice, func(m *goldap.ModifyRequest) { m.Replace("fleeting", []string{"x"}) })
			switch {
			case err == nil:
				used++
			case goldap.IsErrorAnyOf(err, goldap.LDAPResultBusy, goldap.LDAPResultUndefinedAttributeType):
				refused++
				continue
			default:
				t.Errorf("writing: %v", err)
				return
			}
			if err := change(writer, alice, func(m *goldap.ModifyRequest) { m.Delete("fleeting", nil) }); err != nil {
				t.Errorf("a value could be written and not be deleted: %v", err)
				return
			}
		}
	})
	removed, kept := 0, 0
	for range 25 {
		if err := change(admin, "cn=Subschema", func(m *goldap.ModifyRequest) { m.Add("attributeTypes", definition) }); err != nil && !goldap.IsErrorWithCode(err, goldap.LDAPResultAttributeOrValueExists) {
			t.Fatal(err)
		}
		err := change(admin, "cn=Subschema", func(m *goldap.ModifyRequest) { m.Delete("attributeTypes", definition) })
		switch {
		case err == nil:
			removed++
		case goldap.IsErrorWithCode(err, goldap.LDAPResultUnwillingToPerform):
			kept++
		default:
			t.Fatal(err)
		}
		r, err := admin.Search(goldap.NewSearchRequest(alice, goldap.ScopeBaseObject, goldap.NeverDerefAliases, 0, 0, false, "(objectClass=*)", nil, nil))
		if err != nil || len(r.Entries) != 1 {
			t.Fatalf("the entry cannot be read: %v", err)
		}
	}
	stop.Store(true)
	writing.Wait()
	t.Logf("removed %d times, in use %d times; written %d times, refused %d times", removed, kept, used, refused)
	if removed == 0 {
		t.Error("it was never removed")
	}
}
