package op

import (
	"testing"

	"portolan/internal/schema"
)

// TestCovers decides subtree specifications (RFC 3672 section 2.1).
func TestCovers(t *testing.T) {
	s := schema.Default()
	person, account := [][]byte{[]byte("top"), []byte("inetOrgPerson")}, [][]byte{[]byte("account")}
	for _, x := range []struct {
		spec, name string
		classes    [][]byte
		want       bool
	}{
		{"{}", "dc=example,dc=org", person, true},
		{"{}", "uid=a,ou=people,dc=example,dc=org", person, true},
		{"{}", "dc=org", person, false},
		{"{}", "uid=a,dc=anexample,dc=org", person, false},
		{`{ base "ou=people" }`, "uid=a,ou=people,dc=example,dc=org", person, true},
		{`{ base "OU=People" }`, "ou=people,dc=example,dc=org", person, true},
		{`{ base "ou=people" }`, "uid=a,ou=groups,dc=example,dc=org", person, false},
		{`{ base "ou=people", minimum 1 }`, "ou=people,dc=example,dc=org", person, false},
		{`{ base "ou=people", minimum 1 }`, "uid=a,ou=people,dc=example,dc=org", person, true},
		{`{ maximum 1 }`, "ou=people,dc=example,dc=org", person, true},
		{`{ maximum 1 }`, "uid=a,ou=people,dc=example,dc=org", person, false},
		{`{ specificExclusions { chopBefore:"ou=x" } }`, "ou=x,dc=example,dc=org", person, false},
		{`{ specificExclusions { chopBefore:"ou=x" } }`, "uid=a,ou=x,dc=example,dc=org", person, false},
		{`{ specificExclusions { chopAfter:"ou=x" } }`, "ou=x,dc=example,dc=org", person, true},
		{`{ specificExclusions { chopAfter:"ou=x" } }`, "uid=a,ou=x,dc=example,dc=org", person, false},
		{`{ base "ou=people", specificExclusions { chopBefore:"ou=x" } }`, "uid=a,ou=x,ou=people,dc=example,dc=org", person, false},
		{`{ specificationFilter item:person }`, "uid=a,dc=example,dc=org", person, true},
		{`{ specificationFilter item:person }`, "uid=a,dc=example,dc=org", account, false},
		{`{ specificationFilter not:item:person }`, "uid=a,dc=example,dc=org", account, true},
		{`{ specificationFilter or:{ item:person, item:account } }`, "uid=a,dc=example,dc=org", account, true},
		{`{ specificationFilter and:{ item:person, item:account } }`, "uid=a,dc=example,dc=org", account, false},
		{`{ specificationFilter and:{} }`, "uid=a,dc=example,dc=org", account, true},
		{`{ specificationFilter item:nosuchclass }`, "uid=a,dc=example,dc=org", person, false},
	} {
		part, err := NewSubtree(s, "dc=example,dc=org", []byte(x.spec))
		if err != nil {
			t.Errorf("%s: %v", x.spec, err)
			continue
		}
		if got := part.Covers(s, x.name, func() [][]byte { return x.classes }); got != x.want {
			t.Errorf("%s covers %s: %t", x.spec, x.name, got)
		}
	}
}
