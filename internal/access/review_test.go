package access_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"portolan/internal/access"
)

// TestGrants holds what rules give away as such: to whom, on what, and what unconditional denials leave of it.
func TestGrants(t *testing.T) {
	d := newDirectory(t)
	reading := list("read", "search", "compare")
	everybody, users, anonymous := list("*"), list("users"), list("anonymous")
	for _, x := range []struct {
		name  string
		rules []access.Rule
		want  string // "PLACE AUDIENCE: entry=... attrs=... own=... secrets=..." of each grant
	}{
		{"everybody is two audiences", []access.Rule{{Allow: list("read"), Who: everybody}},
			"0 anonymous: entry=disclose, read attrs=read|0 users: entry=disclose, read attrs=read"},
		{"a group is some", []access.Rule{{Allow: list("all"), Who: list("group:cn=x," + groups), Attrs: list("cn")}},
			"0 some: attrs=search, read, compare, add, delete"},
		{"self and dnattr are some", []access.Rule{{Allow: list("write"), Who: list("self", "dnattr:owner"), Attrs: list("mail")}},
			"0 some: attrs=add, delete"},
		{"the administrator is given nothing", []access.Rule{{Allow: reading, Who: list("admin")}}, ""},
		{"a secret by name", []access.Rule{{Allow: reading, Who: users, Attrs: list("cn", "userPassword")}},
			"0 users: attrs=search, read, compare secrets=userPassword:search, read, compare"},
		{"a secret with an option", []access.Rule{{Allow: list("read"), Who: users, Attrs: list("userPassword;x-old")}},
			"0 users: secrets=userPassword:read"},
		{"no secret by wildcard", []access.Rule{{Allow: list("all"), Who: users, Attrs: list("*")}},
			"0 users: attrs=search, read, compare, add, delete"},
		{"own values", []access.Rule{{Allow: list("add"), Who: users, Attrs: list("member:self")}}, "0 users: own=add"},
		{"conditions narrow", []access.Rule{
			{Allow: list("read"), Who: anonymous, Attrs: list("cn"), Filter: "(cn=x)"},
			{Allow: list("read"), Who: anonymous, Attrs: list("cn"), From: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}},
			{Allow: list("read"), Who: anonymous, Attrs: list("cn"), TLS: 1},
			{Allow: list("read"), Who: anonymous, Attrs: list("cn"), TLS: 128},
			{Allow: list("read"), Who: everybody, Attrs: list("cn"), Method: list("EXTERNAL")},
		}, "0 anonymous narrowed: attrs=read|1 anonymous narrowed: attrs=read|2 anonymous: attrs=read|3 anonymous narrowed: attrs=read|4 users narrowed: attrs=read"},
		{"denied to one audience", []access.Rule{
			{Allow: list("read"), Who: everybody, Attrs: list("entry", "cn")}, {Deny: list("disclose"), Who: anonymous},
		}, "0 users: entry=disclose, read attrs=read"},
		{"denied by attribute", []access.Rule{
			{Allow: reading, Who: users, Attrs: list("cn", "sn", "userPassword")}, {Deny: list("all"), Who: everybody, Attrs: list("cn", "userPassword")},
		}, "0 users: attrs=search, read, compare"},
		{"denied by attribute, nothing left", []access.Rule{
			{Allow: reading, Who: users, Attrs: list("userPassword")}, {Deny: list("read", "compare", "search"), Who: users, Attrs: list("userPassword")},
		}, ""},
		{"denied by right", []access.Rule{
			{Allow: list("write"), Who: users, Attrs: list("cn")}, {Deny: list("delete"), Who: users, Attrs: list("cn")},
		}, "0 users: attrs=add"},
		{"denied above the place", []access.Rule{
			{Allow: list("read"), Who: users, Attrs: list("cn"), On: list("one:"+people, "base:"+groups)}, {Deny: list("read"), Who: users, On: list("subtree:" + suffix)},
		}, ""},
		{"denied in another place, or only in part of it", []access.Rule{
			{Allow: list("read"), Who: users, Attrs: list("cn"), On: list("subtree:"+people, "subtree:"+groups)}, {Deny: list("read"), Who: users, On: list("subtree:" + people)},
		}, "0 users: attrs=read"},
		{"denied below the place", []access.Rule{
			{Allow: list("read"), Who: users, Attrs: list("cn")}, {Deny: list("read"), Who: users, On: list("subtree:" + suffix)},
		}, "0 users: attrs=read"},
		{"denied under a condition", []access.Rule{
			{Allow: list("read"), Who: users, Attrs: list("cn")},
			{Deny: list("read"), Who: users, Filter: "(cn=x)"},
			{Deny: list("read"), Who: list("users", "!self")},
			{Deny: list("read"), Who: list("users", "!group:cn=x,"+groups)},
			{Deny: list("read"), Who: list("self")},
			{Deny: list("read"), Who: anonymous},
		}, "0 users: attrs=read"},
		{"denied to all users is denied to some", []access.Rule{
			{Allow: list("read"), Who: list("dn:cn=y," + people), Attrs: list("cn")}, {Deny: list("read"), Who: users},
		}, ""},
		{"acting as others", []access.Rule{{Allow: list("proxy", "control"), Who: users}}, "0 users: entry=disclose, proxy, control"},
	} {
		p := d.compile(t, false, x.rules...)
		if got := grants(p); got != x.want {
			t.Errorf("%s:\n got %s\nwant %s", x.name, got, x.want)
		}
	}
}

func TestGrantsOfBuiltinRules(t *testing.T) {
	d := newDirectory(t)
	p := d.compile(t, true, access.Rule{Allow: list("read"), Who: list("anonymous"), Attrs: list("cn")})
	for _, g := range p.Grants() {
		if g.Rule == access.Builtin && g.To == access.ToAnonymous {
			t.Errorf("a built-in rule gives anonymous clients %+v", g)
		}
		if g.Rule == access.Builtin && g.SecretRights&(access.Read|access.Search|access.Compare) != 0 {
			t.Errorf("a built-in rule shows secrets: %+v", g)
		}
		if g.Rule != access.Builtin && g.Rule != 0 {
			t.Errorf("a rule in place %d", g.Rule)
		}
	}
}

func grants(p *access.Policy) string {
	var out []string
	for _, g := range p.Grants() {
		text := fmt.Sprintf("%d %s", g.Rule, [...]string{"anonymous", "users", "some"}[g.To])
		if g.Narrowed {
			text += " narrowed"
		}
		text += ":"
		for _, r := range []struct {
			name  string
			right access.Right
		}{{"entry", g.Entry}, {"attrs", g.Attrs}, {"own", g.Own}} {
			if r.right != 0 {
				text += " " + r.name + "=" + r.right.String()
			}
		}
		if len(g.Secrets) > 0 {
			text += " secrets=" + strings.Join(g.Secrets, ",") + ":" + g.SecretRights.String()
		}
		out = append(out, text)
	}
	return strings.Join(out, "|")
}
