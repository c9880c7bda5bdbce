package engine_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"portolan/internal/ldaptest"
	"portolan/internal/op"
	"portolan/ldap"
)

// TestClosuresFollow: whatever happens to groups, nested ones, ones in a cycle and ones of so many members that they are kept
// apart, who is asked about is in the groups that a search of all of them says, and at once: what is kept of an identity never
// outlives a change that leads to it.
func TestClosuresFollow(t *testing.T) {
	const people, groups = 6, 7
	person := func(i int) string { return fmt.Sprintf("uid=p%d,dc=example,dc=org", i) }
	group := func(i int) string { return fmt.Sprintf("cn=g%d,dc=example,dc=org", i) }
	var text strings.Builder
	text.WriteString("dn: dc=example,dc=org\nobjectClass: organization\nobjectClass: dcObject\ndc: example\no: E\n\n")
	for i := range people {
		fmt.Fprintf(&text, "dn: %s\nobjectClass: account\nuid: p%d\n\n", person(i), i)
	}
	s := ldaptest.Start(t, ldaptest.Options{LDIF: text.String()})
	r := rand.New(rand.NewPCG(4, 2026))
	members := map[string]map[string]bool{} // by group
	attr := func(name string, values ...string) ldap.Attribute {
		a := ldap.Attribute{Type: []byte(name)}
		for _, v := range values {
			a.Values = append(a.Values, []byte(v))
		}
		return a
	}
	names := func() (all []string) {
		for i := range people {
			all = append(all, person(i))
		}
		for i := range groups {
			all = append(all, group(i))
		}
		return all
	}()
	var many []string // members that nobody is, so that the group becomes large
	for i := range 400 {
		many = append(many, fmt.Sprintf("uid=nobody%d,dc=example,dc=org", i))
	}
	ask := map[string]func(string) bool{}
	for i := range people {
		id, err := s.Engine.IdentifyDN(person(i), "simple")
		if err != nil {
			t.Fatal(err)
		}
		ask[person(i)] = s.Engine.InGroup(id)
	}
	compare := func(what string) {
		t.Helper()
		for i := range people {
			in := map[string]bool{}
			for todo := []string{person(i)}; len(todo) > 0; todo = todo[1:] {
				for g, m := range members {
					if m[todo[0]] && !in[g] {
						in[g] = true
						todo = append(todo, g)
					}
				}
			}
			for g := range groups {
				if got := ask[person(i)](group(g)); got != in[group(g)] {
					t.Fatalf("after %s: %s is in %s: %v", what, person(i), group(g), got)
				}
			}
		}
	}
	for step := range 600 {
		g := group(r.IntN(groups))
		who := names[r.IntN(len(names))]
		what := fmt.Sprintf("step %d, ", step)
		var m ldap.Op
		mod := func(kind ldap.ModOp, values ...string) ldap.Op {
			return &ldap.ModifyRequest{Object: []byte(g), Changes: []ldap.Mod{{Op: kind, Attribute: attr("member", values...)}}}
		}
		have := members[g]
		switch n := r.IntN(20); {
		case have == nil:
			values := []string{who}
			have = map[string]bool{who: true}
			if n == 0 {
				values = append(values, many...)
				have[many[0]] = true
			}
			what += "the add of " + g
			m = &ldap.AddRequest{Entry: []byte(g), Attributes: []ldap.Attribute{attr("objectClass", "groupOfURLs", "extensibleObject"), attr("cn", g[3:5]), attr("member", values...)}}
			members[g] = have
		case n < 2:
			what += "the delete of " + g
			m = &ldap.DelRequest{Entry: []byte(g)}
			delete(members, g)
			// What names it loses it (refint).
			for _, other := range members {
				delete(other, g)
			}
		case n == 2:
			what += "many in " + g
			if have[many[0]] {
				m = mod(ldap.ModDelete, many...)
				delete(have, many[0])
			} else {
				m = mod(ldap.ModAdd, many...)
				have[many[0]] = true
			}
		case n == 3:
			what += "nothing in " + g
			m = &ldap.ModifyRequest{Object: []byte(g), Changes: []ldap.Mod{{Op: ldap.ModReplace, Attribute: attr("description", what)}}}
		case n == 4:
			what += "all others in " + g
			m = mod(ldap.ModReplace, who)
			members[g] = map[string]bool{who: true}
		case have[who]:
			what += who + " out of " + g
			m = mod(ldap.ModDelete, who)
			delete(have, who)
		default:
			what += who + " into " + g
			m = mod(ldap.ModAdd, who)
			have[who] = true
		}
		if err := s.As(ldaptest.AdminDN, m); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		compare(what)
	}
}

// BenchmarkInGroup asks, for one identity after another of a thousand, whether it is in a group, while another group changes.
func BenchmarkInGroup(b *testing.B) {
	s, _ := benchServer(b)
	var group strings.Builder
	group.WriteString("dn: cn=all,dc=example,dc=org\nobjectClass: groupOfNames\ncn: all\n")
	var ask []func(string) bool
	for i := range 1000 {
		dn := fmt.Sprintf("uid=u%d,ou=people,dc=example,dc=org", i)
		group.WriteString("member: " + dn + "\n")
		id, err := s.Engine.IdentifyDN(dn, "simple")
		if err != nil {
			b.Fatal(err)
		}
		ask = append(ask, s.Engine.InGroup(id))
	}
	s.Load(b, group.String()+"\ndn: cn=other,dc=example,dc=org\nobjectClass: groupOfURLs\nobjectClass: extensibleObject\ncn: other\n")
	admin := s.Engine.AdminIdentity("internal")
	i := 0
	for b.Loop() {
		if i++; i%100 == 0 {
			b.StopTimer()
			kind := ldap.ModAdd
			if i%200 == 0 {
				kind = ldap.ModDelete
			}
			req := &op.Request{Conn: &op.Conn{Transport: op.Unix, Loopback: true}, ID: 1, Identity: admin, Op: &ldap.ModifyRequest{Object: []byte("cn=other,dc=example,dc=org"),
				Changes: []ldap.Mod{{Op: kind, Attribute: ldap.Attribute{Type: []byte("member"), Values: [][]byte{[]byte("uid=u1,ou=people,dc=example,dc=org")}}}}}}
			if err := s.Engine.Serve(context.Background(), req, nil); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
		if !ask[i%len(ask)]("cn=all,dc=example,dc=org") {
			b.Fatal("not in the group")
		}
	}
}
