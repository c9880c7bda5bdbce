package engine_test

import (
	"strings"
	"testing"
	"time"

	"portolan/internal/ldaptest"
	"portolan/internal/store"
)

// TestRenewedHashIsRemembered: a password whose hash was renewed at a bind is known to be right under the new hash too, so
// that the next bind takes no hash at all.
func TestRenewedHashIsRemembered(t *testing.T) {
	s := ldaptest.Start(t, ldaptest.Options{LDIF: strings.Replace(company, "alice-secret", "{SSHA}IHfvU0UGoONzCp6zEnwz5VVxlKjrNpyz", 1)})
	renewed := make(chan struct{}, 1)
	s.Store.Observe(func(c store.Commit) {
		if c.Meta.Author == "rehash" {
			renewed <- struct{}{}
		}
	})
	const alice = "uid=alice,ou=people,dc=example,dc=org"
	before := s.VerifiedStats().Added
	dial(t, s, alice, "secret")
	<-renewed
	for late := time.Now().Add(3 * time.Minute); s.VerifiedStats().Added < before+2; time.Sleep(time.Millisecond) {
		if time.Now().After(late) {
			t.Fatalf("%d passwords were remembered: the one under the new hash is not among them", s.VerifiedStats().Added-before)
		}
	}
	work := s.Engine.HashWork()
	dial(t, s, alice, "secret")
	if more := s.Engine.HashWork() - work; more > 0 {
		t.Errorf("the bind after the renewal hashed for %v", more)
	}
}
