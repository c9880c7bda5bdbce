package holes

import (
	"fmt"
	"strings"
	"testing"

	"portolan/ber"
	"portolan/internal/client"
	"portolan/internal/ldaptest"
	"portolan/ldap"
)

// Two accounts that are the same but for what alice may not read.
const (
	xavier = "uid=xavier," + people
	yvonne = "uid=yvonne," + people
)

// TestHole_SecretsThroughControls asks about secrets and about the state of accounts in every way that a control, a compare or an
// update opens. Two directories differ in which of two accounts has which password, has been logged in to, has been guessed at, is
// locked, disabled or bound to a network; alice may change the description of both and read none of that. What she is told must be
// the same in both, octet for octet.
func TestHole_SecretsThroughControls(t *testing.T) {
	low, high := hashLike('A'), hashLike('z')
	one, other := pair(t, xavier, low, high), pair(t, yvonne, high, low)
	asked := [2]*client.Conn{as(t, one, alice, "alice-secret"), as(t, other, alice, "alice-secret")}
	number := 0
	same := func(what string, ask func(c *client.Conn) string) {
		t.Helper()
		number++
		told := [2]string{ask(asked[0]), ask(asked[1])}
		if told[0] != told[1] {
			t.Errorf("%s: where xavier has it\n%s\nwhere yvonne has it\n%s", what, told[0], told[1])
		}
		if strings.Contains(told[0], "{SSHA}") {
			t.Errorf("%s: a hash is in\n%s", what, told[0])
		}
	}
	searched := func(base string, scope ldap.Scope, filter string, attrs []string, controls ...ldap.Control) func(c *client.Conn) string {
		m := &ldap.SearchRequest{Base: []byte(base), Scope: scope, Filter: filterOf(t, filter)}
		for _, a := range attrs {
			m.Attributes = append(m.Attributes, []byte(a))
		}
		return func(c *client.Conn) string { return everything(t, c, m, controls) }
	}
	const both = "(|(uid=xavier)(uid=yvonne))"
	values := map[string]string{"userPassword": low, "portolanScramKeys": "x", "portolanAccountDisabled": "TRUE", "portolanAllowedFrom": "192.0.2.0/24"}
	for _, attr := range []string{
		"userPassword", "portolanScramKeys", "pwdHistory", "pwdChangedTime", "pwdFailureTime", "pwdAccountLockedTime", "pwdReset", "pwdGraceUseTime",
		"pwdLastSuccess", "authTimestamp", "portolanExposedTime", "portolanAccountDisabled", "portolanAllowedFrom", "pwdStartTime", "pwdEndTime",
	} {
		value := values[attr]
		if value == "" {
			value = "20260101000000Z"
		}
		filters := []string{
			"(" + attr + "=*)", "(!(" + attr + "=*))", "(" + attr + "=" + value + ")", "(" + attr + ">=" + value + ")", "(" + attr + "<=" + value + ")",
			"(!(" + attr + ">=" + value + "))", "(" + attr + "~=" + value + ")", "(" + attr + "=*2*)", "(" + attr + ":=" + value + ")", "(" + attr + ";lang-de=*)",
		}
		for _, f := range filters {
			same("the filter "+f, searched(people, ldap.ScopeSub, "(&"+both+f+")", []string{"uid"}))
			same("synchronizing "+f, func(c *client.Conn) string {
				m := &ldap.SearchRequest{Base: []byte(people), Scope: ldap.ScopeSub, Filter: filterOf(t, "(&"+both+f+")"), Attributes: [][]byte{[]byte("uid")}}
				got, err := found(t, c, m, ldap.Control{OID: []byte(ldap.SyncRequestOID), Critical: true, HasValue: true, Value: ber.AppendBytes(nil, 0x30, ber.AppendInt(nil, 0x0a, 1))})
				return fmt.Sprint(got, err)
			})
			filter := filterOf(t, f)
			assertion := ldap.Control{OID: []byte("1.3.6.1.1.12"), Critical: true, HasValue: true, Value: filter.AppendBER(nil)}
			for _, dn := range []string{xavier, yvonne} {
				same("searching under the assertion "+f, searched(dn, ldap.ScopeBase, "(objectClass=*)", []string{"uid"}, assertion))
				same("changing under the assertion "+f, changing(t, dn, "description", "seen by all", assertion))
				same("comparing under the assertion "+f, func(c *client.Conn) string {
					r, err := c.Do(t.Context(), &ldap.CompareRequest{Entry: []byte(dn), Attr: []byte("description"), Value: []byte("x")}, []ldap.Control{assertion}, nil)
					return result(r, err)
				})
			}
			if !strings.HasPrefix(f, "(!") {
				same("the values that match "+f, searched(people, ldap.ScopeSub, both, []string{"uid", attr},
					ldap.Control{OID: []byte("1.2.826.0.1.3344810.2.3"), Critical: true, HasValue: true, Value: ber.AppendBytes(nil, 0x30, filter.AppendBER(nil))}))
			}
		}
		for _, reverse := range []bool{false, true} {
			order := sortControl(attr, "", reverse)
			same("sorting by "+attr, searched(people, ldap.ScopeSub, both, []string{"uid"}, order))
			same("a view by "+attr, searched(people, ldap.ScopeSub, both, []string{"uid"}, order, viewControl(value)))
			same("pages by "+attr, searched(people, ldap.ScopeSub, both, []string{"uid"}, order,
				ldap.Control{OID: []byte("1.2.840.113556.1.4.319"), HasValue: true, Value: ber.AppendBytes(nil, 0x30, ber.AppendString(ber.AppendInt(nil, 0x02, 2), 0x04, ""))}))
		}
		same("dereferencing for "+attr, searched("cn=pair,dc=example,dc=org", ldap.ScopeBase, "(objectClass=*)", []string{"cn"}, derefControl("member", attr, "uid")))
		for _, dn := range []string{xavier, yvonne} {
			same("reading "+attr, searched(dn, ldap.ScopeBase, "(objectClass=*)", []string{attr}))
			same("reading the types of "+attr, func(c *client.Conn) string {
				return everything(t, c, &ldap.SearchRequest{Base: []byte(dn), TypesOnly: true, Filter: ldap.Present("objectClass"), Attributes: [][]byte{[]byte(attr)}}, nil)
			})
			same("comparing "+attr, func(c *client.Conn) string {
				r, err := c.Do(t.Context(), &ldap.CompareRequest{Entry: []byte(dn), Attr: []byte(attr), Value: []byte(value)}, nil, nil)
				return result(r, err)
			})
			for _, kind := range []ldap.ModOp{ldap.ModAdd, ldap.ModDelete, ldap.ModReplace, ldap.ModIncrement} {
				same(fmt.Sprint("changing ", attr, kind), func(c *client.Conn) string {
					m := ldap.Mod{Op: kind, Attribute: ldap.Attribute{Type: []byte(attr), Values: [][]byte{[]byte(value)}}}
					r, err := c.Do(t.Context(), &ldap.ModifyRequest{Object: []byte(dn), Changes: []ldap.Mod{m}}, nil, nil)
					return result(r, err)
				})
			}
		}
		for _, oid := range []string{"1.3.6.1.1.13.1", "1.3.6.1.1.13.2"} {
			list := ber.AppendString(ber.AppendString(ber.AppendString(nil, 0x04, attr), 0x04, "*"), 0x04, "uid")
			for _, dn := range []string{xavier, yvonne} {
				same("what "+oid+" says of "+attr, changing(t, dn, "description", "seen by all", ldap.Control{OID: []byte(oid), Critical: true, HasValue: true, Value: ber.AppendBytes(nil, 0x30, list)}))
			}
		}
	}
	for _, dn := range []string{xavier, yvonne} {
		same("whether the account can be used", searched(dn, ldap.ScopeBase, "(objectClass=*)", []string{"uid"}, ldap.Control{OID: []byte("1.3.6.1.4.1.42.2.27.9.5.8")}))
		same("all attributes", searched(dn, ldap.ScopeBase, "(objectClass=*)", []string{"*"}))
		same("rights", searched(dn, ldap.ScopeBase, "(objectClass=*)", []string{"*"}, ldap.Control{OID: []byte("1.3.6.1.4.1.42.2.27.9.5.2")}))
	}
	if number < 1000 {
		t.Errorf("only %d questions", number)
	}
	// What was asked about is there: otherwise this shows nothing.
	admin := as(t, one, ldaptest.AdminDN, ldaptest.AdminPassword)
	for _, attr := range []string{"userPassword", "pwdFailureTime", "pwdAccountLockedTime", "pwdChangedTime", "authTimestamp", "portolanAccountDisabled", "portolanAllowedFrom"} {
		got, err := found(t, admin, &ldap.SearchRequest{Base: []byte(xavier), Filter: ldap.Present("objectClass"), Attributes: [][]byte{[]byte(attr)}})
		if err != nil || len(got) != 1 || !strings.Contains(got[0], attr) {
			t.Errorf("%s is not there: %q, %v", attr, got, err)
		}
	}
}

// changing has alice replace an attribute, and returns what she is told.
func changing(t *testing.T, dn, attr, value string, controls ...ldap.Control) func(c *client.Conn) string {
	return func(c *client.Conn) string {
		t.Helper()
		m := ldap.Mod{Op: ldap.ModReplace, Attribute: ldap.Attribute{Type: []byte(attr), Values: [][]byte{[]byte(value)}}}
		r, err := c.Do(t.Context(), &ldap.ModifyRequest{Object: []byte(dn), Changes: []ldap.Mod{m}}, controls, nil)
		return result(r, err)
	}
}

// result is what a server says to a request.
func result(r *client.Response, err error) string {
	if r == nil {
		return fmt.Sprint(err)
	}
	text := fmt.Sprint(err, " ", r.Result)
	for _, c := range r.Controls {
		text += fmt.Sprintf(" [%s %q]", c.OID, c.Value)
	}
	return ofItsTime.ReplaceAllString(text, "*")
}

// pair is a directory with xavier and yvonne. who of them has a history.
func pair(t *testing.T, who, xaviers, yvonnes string) *ldaptest.Server {
	t.Helper()
	entry := func(dn, uid string) string {
		return "dn: " + dn + "\nobjectClass: inetOrgPerson\nuid: " + uid + "\ncn: Somebody\nsn: Body\ndescription: seen by all\nuserPassword: old-secret-1\n\n"
	}
	s := company(t, entry(xavier, "xavier")+entry(yvonne, "yvonne")+"dn: cn=pair,dc=example,dc=org\nobjectClass: groupOfNames\ncn: pair\nmember: "+xavier+"\nmember: "+yvonne+"\n",
		"[[access]]\nallow = \"write\"\nwho = \"dn:"+alice+"\"\non = \"subtree:"+people+"\"\nattrs = \"description\"\n")
	for range 2 {
		c := as(t, s, "", "")
		if _, err := c.Bind(t.Context(), who, "wrong"); ldap.CodeOf(err) != ldap.InvalidCredentials {
			t.Fatal(err)
		}
		if _, err := c.Bind(t.Context(), who, "old-secret-1"); err != nil {
			t.Fatal(err)
		}
	}
	admin := as(t, s, ldaptest.AdminDN, ldaptest.AdminPassword)
	set := func(dn string, attrs ...string) {
		var mods []ldap.Mod
		for i := 0; i < len(attrs); i += 2 {
			mods = append(mods, ldap.Mod{Op: ldap.ModReplace, Attribute: ldap.Attribute{Type: []byte(attrs[i]), Values: [][]byte{[]byte(attrs[i+1])}}})
		}
		if _, err := admin.Modify(t.Context(), dn, mods); err != nil {
			t.Fatal(err)
		}
	}
	set(xavier, "userPassword", xaviers)
	set(yvonne, "userPassword", yvonnes)
	c := as(t, s, "", "")
	if _, err := c.Bind(t.Context(), who, "wrong"); ldap.CodeOf(err) != ldap.InvalidCredentials {
		t.Fatal(err)
	}
	set(who, "pwdAccountLockedTime", "000001010000Z", "portolanAccountDisabled", "TRUE", "portolanAllowedFrom", "192.0.2.0/24")
	return s
}
