package control_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"portolan/ber"
	"portolan/internal/client"
	"portolan/internal/control"
	"portolan/internal/ldaptest"
	"portolan/ldap"
)

// TestDerefIsBoundedInOctets holds that nobody can have the server put together as much as all that a group names has: an entry
// with too much comes without the control.
func TestDerefIsBoundedInOctets(t *testing.T) {
	const members, octets = 40, 500_000 // 20 MB
	var text strings.Builder
	text.WriteString(content)
	for i := range members {
		fmt.Fprintf(&text, "\ndn: uid=m%d,%s\nobjectClass: inetOrgPerson\nuid: m%d\ncn: m\nsn: m\ndescription: %s\n", i, people, i, strings.Repeat("x", octets))
	}
	for name, n := range map[string]int{"few": 20, "all": members} {
		fmt.Fprintf(&text, "\ndn: cn=%s,%s\nobjectClass: groupOfNames\ncn: %s\n", name, suffix, name)
		for i := range n {
			fmt.Fprintf(&text, "member: uid=m%d,%s\n", i, people)
		}
	}
	s := ldaptest.Start(t, ldaptest.Options{LDIF: text.String()})
	list := ber.AppendString(nil, ber.OctetString, "description")
	value, all := ber.Begin(nil, ber.Sequence)
	value, spec := ber.Begin(value, ber.Sequence)
	value = ber.AppendString(value, ber.OctetString, "member")
	value = ber.End(ber.End(ber.AppendBytes(value, ber.Sequence, list), spec), all)
	ctl := ldap.Control{OID: []byte(control.DerefOID), Value: value, HasValue: true}
	got := make(map[string]int)
	searchWith(t, s, "(objectClass=groupOfNames)", ctl, func(dn string, controls []ldap.Control) {
		for _, c := range controls {
			got[dn] += len(c.Value)
		}
	})
	if few := got["cn=few,"+suffix]; few < 20*octets {
		t.Errorf("%d octets for twenty entries", few)
	}
	if all := got["cn=all,"+suffix]; all != 0 {
		t.Errorf("%d octets in one control", all)
	}
}

// searchWith searches as the administrator and shows each entry's name and controls.
func searchWith(t *testing.T, s *ldaptest.Server, filter string, ctl ldap.Control, f func(dn string, controls []ldap.Control)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := client.Dial(ctx, "ldap://"+s.Addr, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Bind(ctx, ldaptest.AdminDN, ldaptest.AdminPassword); err != nil {
		t.Fatal(err)
	}
	parsed, err := ldap.ParseFilter(filter)
	if err != nil {
		t.Fatal(err)
	}
	m := &ldap.SearchRequest{Base: []byte(suffix), Scope: ldap.ScopeSub, Filter: parsed, Attributes: [][]byte{[]byte("cn")}}
	if _, err := conn.Do(ctx, m, []ldap.Control{ctl}, func(m *ldap.Message) error {
		f(string(m.Op.(*ldap.SearchResultEntry).Name), m.Controls)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
