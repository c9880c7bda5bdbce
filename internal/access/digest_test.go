package access_test

import (
	"testing"

	"portolan/internal/access"
)

// The digest changes with all that decides about a subject besides the targets, and with nothing else.
func TestDigest(t *testing.T) {
	d := newDirectory(t)
	reading := list("read", "search")
	rules := []access.Rule{
		{Name: "a", Allow: reading, Who: list("users"), Attrs: list("cn", "entry")},
		{Name: "b", Allow: reading, Who: list("group:cn=admins," + groups), Attrs: list("userPassword")},
		{Name: "c", Allow: reading, Who: list("anonymous"), Attrs: list("mail")},
	}
	of := func(p *access.Policy, who string) [32]byte { return p.Evaluator(d.subject(t, who)).Digest() }
	p := d.compile(t, false, rules...)
	alice := of(p, "alice")
	if of(p, "bob") == alice {
		t.Error("two subjects have one digest: self means another entry for each")
	}
	if of(p, "alice from 198.51.100.7 over tls256") != alice {
		t.Error("a connection that no rule asks about changes the digest")
	}
	change := func(what string, same bool, f func(rules []access.Rule)) {
		t.Helper()
		next := append([]access.Rule(nil), rules...)
		f(next)
		if (of(d.compile(t, false, next...), "alice") == alice) != same {
			t.Errorf("%s: the digest should be the same: %v", what, same)
		}
	}
	change("nothing", true, func([]access.Rule) {})
	change("a name", true, func(r []access.Rule) { r[0].Name = "z" })
	change("a rule about others", true, func(r []access.Rule) { r[2].Attrs = list("sn") })
	change("attributes", false, func(r []access.Rule) { r[0].Attrs = list("sn", "entry") })
	change("rights", false, func(r []access.Rule) { r[0].Allow = list("read") })
	change("deny", false, func(r []access.Rule) { r[0].Allow, r[0].Deny = nil, reading })
	change("a place", false, func(r []access.Rule) { r[0].On = list("subtree:" + people) })
	change("a filter", false, func(r []access.Rule) { r[0].Filter = "(cn=*)" })
	change("a condition that is not met", false, func(r []access.Rule) { r[0].Method = list("EXTERNAL") })
	change("a condition that is met", true, func(r []access.Rule) { r[0].Method = list("simple") })
	change("a group that becomes the subject's", false, func(r []access.Rule) { r[1].Who = list("dn:uid=alice," + people) })
	if of(p, "admin") == alice {
		t.Error("the administrator is as others are")
	}
}
