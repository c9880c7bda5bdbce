package overlay_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"portolan/internal/ldaptest"
	"portolan/ldap"
)

// TestUniqueRace: of 64 clients that add the same value at once one wins, time after time; and refint is held to the limit of
// one operation as a whole.
func TestUniqueRace(t *testing.T) {
	s := ldaptest.Start(t, ldaptest.Options{LDIF: top, Config: "[overlay.unique]\nattributes = [\"mail\"]\n"})
	for round := range 5 {
		var won, lost atomic.Int32
		var all sync.WaitGroup
		for w := range 64 {
			all.Go(func() {
				err := s.As(ldaptest.AdminDN, &ldap.AddRequest{Entry: fmt.Appendf(nil, "cn=u%d-%d,dc=example,dc=org", round, w), Attributes: []ldap.Attribute{
					attr("objectClass", "inetOrgPerson"), attr("sn", "x"), attr("mail", fmt.Sprintf("m%d@example.org", round))}})
				switch ldap.CodeOf(err) {
				case ldap.Success:
					won.Add(1)
				case ldap.ConstraintViolation:
					lost.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		all.Wait()
		if won.Load() != 1 || lost.Load() != 63 {
			t.Fatalf("%d won, %d lost", won.Load(), lost.Load())
		}
	}
}

// TestRefintLimit: a rename that would change more than one operation may changes nothing.
func TestRefintLimit(t *testing.T) {
	s := ldaptest.Start(t, ldaptest.Options{LDIF: top + aliceOne, Config: "[limits]\ntransaction_changes = 10\n"})
	for i := range 10 {
		if err := s.As(ldaptest.AdminDN, &ldap.AddRequest{Entry: fmt.Appendf(nil, "cn=g%d,dc=example,dc=org", i), Attributes: []ldap.Attribute{
			attr("objectClass", "groupOfNames"), attr("member", alice)}}); err != nil {
			t.Fatal(err)
		}
	}
	rename := &ldap.ModifyDNRequest{Entry: []byte(alice), NewRDN: []byte("uid=alicia"), DeleteOldRDN: true}
	if err := s.As(ldaptest.AdminDN, rename); ldap.CodeOf(err) != ldap.AdminLimitExceeded {
		t.Fatalf("11 changes: %v", err)
	}
	if got := search(t, s, "(cn=g3)", "member"); len(got) != 1 || got[0] != "> member: "+alice {
		t.Errorf("%q", got)
	}
	if err := s.As(ldaptest.AdminDN, &ldap.DelRequest{Entry: []byte("cn=g9,dc=example,dc=org")}); err != nil {
		t.Fatal(err)
	}
	if err := s.As(ldaptest.AdminDN, rename); err != nil {
		t.Fatalf("10 changes: %v", err)
	}
}
