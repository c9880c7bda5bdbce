package access_test

import (
	"net/netip"
	"strings"
	"testing"

	"portolan/internal/access"
	"portolan/internal/schema"
)

// TestExplain verifies the words; that the rows add up to the decision is verified with every decision (agree).
func TestExplain(t *testing.T) {
	d := newDirectory(t)
	users := list("users")
	p := d.compile(t, false,
		access.Rule{Name: "a", Origin: "f:1:1", Allow: list("read", "search"), Who: users},
		access.Rule{Name: "b", Origin: "f:2:1", Deny: list("search"), Who: users, Attrs: list("mail")},
		access.Rule{Name: "c", Allow: list("read", "compare"), Who: users, TLS: 1},
		access.Rule{Name: "d", Allow: list("read"), Who: users, TLS: 200},
		access.Rule{Name: "e", Allow: list("read"), Who: users, From: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}},
		access.Rule{Name: "f", Allow: list("read"), Who: users, Method: list("EXTERNAL", "PLAIN")},
		access.Rule{Name: "g", Allow: list("read"), Who: list("group:cn=hr," + groups)},
		access.Rule{Name: "h", Allow: list("read"), Who: users, On: list("base:" + groups)},
		access.Rule{Name: "i", Allow: list("read"), Who: list("self")},
		access.Rule{Name: "j", Allow: list("read"), Who: list("dnattr:owner", "dnattr:manager")},
		access.Rule{Name: "k", Allow: list("read"), Who: users, Filter: "(cn=x)"},
		access.Rule{Name: "l", Allow: list("read"), Who: users, Attrs: list("cn")},
		access.Rule{Name: "m", Allow: list("add"), Who: users, Attrs: list("member:self")},
		access.Rule{Name: "n", Allow: list("read"), Who: list("users", "!dn:uid=alice,"+people)},
		access.Rule{Name: "o", Allow: list("read"), Who: list("users", "!self")},
		access.Rule{Allow: list("read", "compare"), Who: users})
	ask := func(who, on, attr string) []string {
		desc := schema.Description{}
		if attr != "" {
			desc, _ = d.schema.DescribeString(attr)
		}
		target := d.target(t, on)
		s := d.subject(t, who)
		d.agree(t, p, s, &target, desc)
		var out []string
		for _, x := range p.Explain(s, &target, desc) {
			out = append(out, strings.TrimSpace(strings.Join([]string{x.Origin, x.Rule, "|", x.Reason, "|", x.Decides.String()}, " ")))
		}
		return out
	}
	want := strings.Split(strings.TrimSpace(`
f:1:1 a | allows search, read; a rule that denies takes search | read
f:2:1 b | denies search | search
c | does not apply: the connection is not protected by TLS | none
d | does not apply: the connection has 0 bits of TLS, the rule wants 200 | none
e | does not apply: the client's address 192.0.2.10 is in none of the rule's networks | none
f | does not apply: the client did not authenticate with EXTERNAL or PLAIN | none
g | does not apply: the rule does not name the subject | none
h | does not apply: the entry is not where the rule looks | none
i | does not apply: the entry is not the subject's own | none
j | does not apply: the entry does not name the subject in owner or manager | none
k | does not apply: the entry does not match (cn=x) | none
l | applies, and is about other things than mail | none
m | applies, and is about other things than mail | none
n | does not apply: the rule excludes the subject | none
o | allows read | none
rule 16 | allows read, compare | compare
| no rule allows add, delete | add, delete`), "\n")
	got := ask("alice", "bob", "mail")
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, x := range []struct{ who, on, attr, want string }{
		{"alice over unix", "bob", "mail", "e | does not apply: the client came over a Unix socket, which is in no network | none"},
		{"alice", "choir", "member", "m | applies, to values that are the subject's own name | none"},
		{"alice", "new uid=x,ou=people", "", "k | does not apply: there is no entry that it could look at | none"},
		{"bob", "bob", "", "o | does not apply: the rule excludes the subject on this entry | none"},
		{"alice", "bob", "", "l | applies, and is about other things than the entry itself | none"},
		{"admin", "bob", "", "| the subject is the administrator, to whom no rule applies | " + access.Everything.String()},
		{"anonymous", "bob", "mail", "| the subject may not know of the entry: it needs disclose, which any right on the entry brings with it | search, read, compare, add, delete"},
	} {
		if got := strings.Join(ask(x.who, x.on, x.attr), "\n"); !strings.Contains("\n"+got+"\n", "\n"+x.want+"\n") {
			t.Errorf("%s, %s of %s: no line %q in\n%s", x.who, x.attr, x.on, x.want, got)
		}
	}
}

// TestExplainLeavesTheSubjectAlone verifies that an evaluator in use survives a question about its subject.
func TestExplainLeavesTheSubjectAlone(t *testing.T) {
	d := newDirectory(t)
	p := d.compile(t, true)
	s := d.subject(t, "alice")
	e := p.Evaluator(s)
	bob, choir := d.target(t, "bob"), d.target(t, "choir")
	before := e.Slots(&bob)
	p.Explain(s, &choir, schema.Description{})
	if e.Slots(&bob) != before {
		t.Error("the evaluator has forgotten what it knew")
	}
}
