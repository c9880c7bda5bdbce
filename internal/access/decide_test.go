package access_test

import (
	"net/netip"
	"strings"
	"testing"

	"portolan/internal/access"
	"portolan/internal/dit"
	"portolan/internal/schema"
)

const (
	people = "ou=people," + suffix
	groups = "ou=groups," + suffix
)

func list(s ...string) []string { return s }

func TestDecisions(t *testing.T) {
	d := newDirectory(t)
	reading := list("read", "search", "compare")
	for _, x := range []struct {
		name    string
		builtin bool
		rules   []access.Rule
		want    string
	}{
		{"nothing is allowed without a rule", false, nil, `
			alice: bob = none
			alice: cn of bob = none
			alice: alice = none
			anonymous: bob = none
			admin: bob = disclose, search, read, compare, add, delete, modify, rename, proxy, control
			admin: userPassword of bob = disclose, search, read, compare, add, delete, modify, rename, proxy, control`},
		{"the built-in rules", true, nil, `
			alice: bob = disclose, search, read, compare
			alice: mail of bob = search, read, compare
			alice: createTimestamp of bob = search, read, compare
			alice: userPassword of bob = none
			alice: userPassword of alice = add, delete, modify
			alice: mail of alice = search, read, compare
			postfix: mail of bob = search, read, compare
			postfix: userPassword of bob = none
			postfix: userPassword of postfix = add, delete, modify
			root: bob = disclose, search, read, compare, add, delete, rename
			root: mail of bob = search, read, compare, add, delete, modify
			root: userPassword of bob = add, delete, modify
			root: userPKCS12 of bob = add, delete, modify
			root: portolanScramKeys of bob = none
			root: new uid=carl,ou=people = disclose, search, read, compare, add, delete, rename
			root: userPassword of new uid=carl,ou=people = add, delete, modify
			alice: userPassword of new uid=carl,ou=people = none
			root: userPassword of added bob = add, delete, modify
			alice: userPassword of added alice = none
			alice: mail of added bob = search, read, compare
			anonymous: bob = none
			anonymous: cn of bob = none`},
		{"a deny wins, before and after", false, []access.Rule{
			{Deny: list("read"), Who: list("users"), Attrs: list("mail")},
			{Allow: reading, Who: list("*")},
			{Deny: list("search"), Who: list("users"), Attrs: list("mail")},
		}, `
			alice: mail of bob = compare
			alice: cn of bob = search, read, compare
			anonymous: mail of bob = search, read, compare`},
		{"who may not know of an entry has no right on its attributes", false, []access.Rule{
			{Allow: list("all"), Who: list("users")},
			{Deny: list("disclose"), Who: list("users"), On: list("base:uid=bob," + people), Attrs: list("entry")},
		}, `
			alice: bob = none
			alice: cn of bob = none
			alice: mia = disclose, search, read, compare, add, delete, rename
			alice: cn of mia = search, read, compare, add, delete, modify`},
		{"an attribute without the entry", false, []access.Rule{{Allow: list("read"), Who: list("users"), Attrs: list("mail")}}, `
			alice: mail of bob = none
			alice: mail of new uid=carl,ou=people = read
			alice: bob = none`},
		{"secrets by name only", false, []access.Rule{
			{Allow: reading, Who: list("users"), Attrs: list("*", "+", "entry", "@inetOrgPerson", "@person")},
			{Allow: list("read"), Who: list("dn:uid=postfix,ou=services," + suffix), Attrs: list("userPassword")},
		}, `
			alice: userPassword of bob = none
			alice: userPKCS12 of sam = none
			postfix: userPassword of bob = read
			postfix: userPKCS12 of sam = none`},
		{"attributes absent are not secrets either", false, []access.Rule{{Allow: list("all"), Who: list("users")}}, `
			alice: userPassword of bob = none
			alice: createTimestamp of bob = search, read, compare, add, delete, modify
			alice: bob = disclose, search, read, compare, add, delete, rename`},
		{"all leaves out proxy and control", false, []access.Rule{
			{Allow: list("all", "proxy", "control"), Who: list("dn:uid=mia," + people)},
			{Deny: list("all"), Who: list("dn:uid=mia," + people), On: list("base:uid=bob," + people)},
		}, `
			mia: sam = disclose, search, read, compare, add, delete, rename, proxy, control
			mia: bob = none`},
		{"subtypes and options", false, []access.Rule{
			{Allow: list("disclose"), Who: list("users")},
			{Allow: list("read"), Who: list("users"), Attrs: list("name")},
			{Allow: list("search"), Who: list("users"), Attrs: list("cn;lang-de")},
			{Allow: list("compare"), Who: list("users"), Attrs: list("cn;lang-")},
		}, `
			alice: cn of bob = read
			alice: sn of bob = read
			alice: cn;lang-de of bob = search, read, compare
			alice: cn;lang-fr of bob = read, compare
			alice: cn;lang-de;x-a of bob = search, read, compare
			alice: mail of bob = none`},
		{"operational", false, []access.Rule{
			{Allow: list("disclose"), Who: list("users")},
			{Allow: list("read"), Who: list("users"), Attrs: list("+")},
			{Allow: list("search"), Who: list("users"), Attrs: list("@inetOrgPerson")},
			{Allow: list("compare"), Who: list("users"), Attrs: list("@extensibleObject")},
		}, `
			alice: createTimestamp of bob = read
			alice: memberOf of bob = read
			alice: mail of bob = search, compare
			alice: uidNumber of bob = compare`},
		{"scopes", false, []access.Rule{
			{Allow: list("read"), Who: list("users"), On: list("one:" + suffix)},
			{Allow: list("compare"), Who: list("users"), On: list("base:"+suffix, "base:UID=Bob, OU=People,"+suffix)},
			{Allow: list("delete"), Who: list("users"), On: list("subtree:" + groups)},
		}, `
			alice: example = disclose, compare
			alice: people = disclose, read
			alice: bob = disclose, compare
			alice: groups = disclose, read, delete
			alice: choir = disclose, delete
			alice: mia = none`},
		{"a name that only ends alike is not beneath", false, []access.Rule{
			{Allow: list("read"), Who: list("users"), On: list("subtree:ou=people," + suffix)},
		}, `
			alice: new uid=x,ou=people = disclose, read
			alice: new uid=x,cn=ou\=people = none
			alice: new uid=x,ou=more people = none`},
		{"who", false, []access.Rule{
			{Allow: list("read"), Who: list("anonymous")},
			{Allow: list("compare"), Who: list("users")},
			{Allow: list("add"), Who: list("dn:uid=Alice,ou=PEOPLE," + suffix)},
			{Allow: list("delete"), Who: list("subtree:ou=services,"+suffix, "dn:uid=bob,"+people)},
			{Allow: list("rename"), Who: list("group:cn=sales-admins," + groups)},
			{Allow: list("proxy"), Who: list("self")},
			{Allow: list("control"), Who: list("dnattr:manager")},
			{Allow: list("search"), Who: list("admin")},
		}, `
			anonymous: bob = disclose, read
			hugo: bob = disclose, compare
			alice: bob = disclose, compare, add
			postfix: bob = disclose, compare, delete
			bob: sam = disclose, compare, delete
			bob: bob = disclose, compare, delete, proxy
			mia: bob = disclose, compare, rename
			mia: alice = disclose, compare, rename, control
			mia: new uid=mia,ou=people = disclose, compare, rename`},
		{"exclusions", false, []access.Rule{
			{Allow: list("read"), Who: list("users", "!group:cn=helpdesk,"+groups, "!dn:uid=bob,"+people, "!subtree:ou=services,"+suffix)},
			{Allow: list("compare"), Who: list("*", "!self", "!dnattr:manager")},
			{Allow: list("rename"), Who: list("self", "dnattr:manager", "!dnattr:manager")},
		}, `
			alice: bob = disclose, read, compare
			hilda: bob = disclose, compare
			bob: alice = disclose, compare
			postfix: alice = disclose, compare
			anonymous: alice = disclose, compare
			alice: alice = disclose, read, rename
			mia: alice = disclose, read
			mia: new uid=x,ou=people = disclose, read, compare`},
		{"everybody", false, []access.Rule{{Allow: list("read"), Who: list("*")}}, `
			anonymous: bob = disclose, read
			alice: bob = disclose, read`},
		{"filter", false, []access.Rule{
			{Allow: list("read"), Who: list("users"), Filter: "(departmentNumber=sales)"},
			{Allow: list("compare"), Who: list("users"), Filter: "(&(objectClass=person)(!(departmentNumber=HR)))"},
			{Allow: list("delete"), Who: list("users"), Filter: "(ou:dn:=people)"},
			{Allow: list("rename"), Who: list("users"), Filter: "(userPassword=*)"},
		}, `
			bob: alice = disclose, read, compare, delete, rename
			bob: bob = disclose, delete, rename
			bob: hugo = disclose, compare, delete, rename
			bob: choir = none
			bob: new uid=x,ou=people = none`},
		{"a deny by filter", false, []access.Rule{
			{Allow: reading, Who: list("users")},
			{Deny: reading, Who: list("users"), Filter: "(departmentNumber=hr)", Attrs: list("employeeNumber")},
		}, `
			alice: employeeNumber of bob = none
			alice: employeeNumber of mia = search, read, compare`},
		{"what is being added", false, []access.Rule{
			{Allow: list("add"), Who: list("users"), Filter: "(departmentNumber=sales)", Attrs: list("mail", "sn")},
			{Allow: list("add"), Who: list("dnattr:manager"), Attrs: list("cn")},
			{Allow: list("add"), Who: list("self"), Attrs: list("title")},
			{Allow: list("add"), Who: list("users", "!self"), Attrs: list("description")},
			{Deny: list("add"), Who: list("users"), Filter: "(departmentNumber=hr)", Attrs: list("description")},
			{Deny: list("add"), Who: list("users", "!dnattr:manager"), Attrs: list("sn")},
		}, `
			bob: mail of added sam = add
			bob: mail of added hilda = none
			mia: cn of added alice = add
			bob: cn of added alice = none
			mia: sn of added alice = add
			bob: sn of added alice = none
			alice: title of added alice = none
			alice: description of added alice = add
			alice: description of added bob = none
			alice: description of alice = none
			bob: mail of new uid=x,ou=people = none`},
		{"connection", false, []access.Rule{
			{Allow: list("read"), Who: list("users"), TLS: 1},
			{Allow: list("compare"), Who: list("users"), TLS: 256},
			{Allow: list("add"), Who: list("users"), From: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("2001:db8::/32")}},
			{Allow: list("delete"), Who: list("users"), From: []netip.Prefix{netip.MustParsePrefix("::ffff:10.2.0.0/112")}},
			{Allow: list("rename"), Who: list("users"), Method: list("external", "SCRAM-SHA-256")},
		}, `
			alice: bob = none
			alice over tls: bob = disclose, read
			alice over unix: bob = disclose, read
			alice over tls256: bob = disclose, read, compare
			alice from 10.1.2.3: bob = disclose, add
			alice from ::ffff:10.1.2.3: bob = disclose, add
			alice from 2001:db8::1: bob = disclose, add
			alice from 2001:db9::1: bob = none
			alice from 10.2.255.1: bob = disclose, delete
			alice by EXTERNAL: bob = disclose, rename
			alice by SCRAM-SHA-256: bob = disclose, rename
			alice by SCRAM-SHA-1: bob = none`},
		{"write is about attributes, and adding about both", false, []access.Rule{
			{Allow: list("write"), Who: list("dn:uid=mia," + people)},
			{Allow: list("add"), Who: list("dn:uid=hugo," + people)},
			{Allow: list("disclose"), Who: list("users")},
			{Deny: list("delete"), Who: list("dn:uid=mia," + people), Attrs: list("mail")},
		}, `
			mia: people = disclose
			mia: cn of bob = add, delete, modify
			mia: mail of bob = add
			hugo: people = disclose, add
			hugo: cn of bob = add`},
	} {
		t.Run(x.name, func(t *testing.T) {
			p := d.compile(t, x.builtin, x.rules...)
			for line := range strings.Lines(x.want) {
				if line = strings.TrimSpace(line); line != "" {
					d.decide(t, p, line)
				}
			}
		})
	}
}

func TestOwnNameAsValue(t *testing.T) {
	d := newDirectory(t)
	p := d.compile(t, false,
		access.Rule{Allow: list("read"), Who: list("users")},
		access.Rule{Allow: list("add", "delete"), Who: list("users"), On: list("subtree:" + groups), Attrs: list("member:self", "uniqueMember:self")},
		access.Rule{Deny: list("add"), Who: list("dn:uid=sam," + people), Attrs: list("member")})
	for _, line := range []string{
		"alice: member of choir = read",
		"alice: alice in member of choir = add, delete",
		"alice: bob in member of choir = none",
		"bob: bob in member of choir = add, delete",
		"sam: sam in member of choir = delete",
		"alice: alice in owner of choir = none",
		"alice: alice in seeAlso of bob = none",
		"alice: alice in member of bob = none",
		"alice: alice in member of new cn=new,ou=groups = add, delete",
		"alice: alice in uniqueMember of choir = add, delete",
		"anonymous: bob in member of choir = none",
		"admin: bob in member of choir = add, delete",
	} {
		d.decide(t, p, line)
	}
	// The name counts, not how it is written; and what is no name is nobody's.
	e := p.Evaluator(d.subject(t, "alice"))
	choir := d.target(t, "choir")
	member := schema.Description{Type: d.schema.Known.Member}
	for value, want := range map[string]bool{
		" UID = Alice , ou=People," + suffix:  true,
		"uid=alice":                           false,
		"":                                    false,
		"no name":                             false,
		"uid=alice,ou=people," + suffix + ",": false,
	} {
		if got := e.Value(&choir, member, []byte(value), access.Add); got != want {
			t.Errorf("%q may be added: %v, want %v", value, got, want)
		}
	}
}

// TestSelfIsAnIdentity verifies that an entry that came to have the name somebody is bound with is not that somebody.
func TestSelfIsAnIdentity(t *testing.T) {
	d := newDirectory(t)
	p := d.compile(t, false, access.Rule{Allow: list("read"), Who: list("self")})
	e := p.Evaluator(d.subject(t, "alice"))
	alice := d.target(t, "alice")
	other := access.Target{Name: alice.Name, Entry: d.seal(t, 999, alice.Name.DN, cast[5][1:])}
	if got := e.EntryRights(&other); got != 0 {
		t.Errorf("another entry of the same name is one's own: %s", got)
	}
	renamed := access.Target{Name: d.name(t, "uid=alicia,"+people), Entry: alice.Entry}
	if got := e.EntryRights(&renamed); got != access.Disclose|access.Read {
		t.Errorf("the own entry under a new name: %s", got)
	}
	// An identity without an entry has only its name.
	s := &access.Subject{Name: alice.Name}
	if got := p.Evaluator(s).EntryRights(&alice); got != access.Disclose|access.Read {
		t.Errorf("an identity without an entry: %s", got)
	}
	if got := p.Evaluator(&access.Subject{}).EntryRights(&access.Target{Entry: alice.Entry}); got != 0 {
		t.Errorf("nobody is the entry without a name: %s", got)
	}
}

// largeValues is a dit.LargeSource that has one value, or fails.
type largeValues struct {
	key string
	err error
}

func (l largeValues) LargeHas(_ *dit.Entry, _ int, key []byte) (bool, error) {
	return string(key) == l.key, l.err
}

func (l largeValues) LargeEach(_ *dit.Entry, _ int, f func(key, value []byte) bool) error {
	f([]byte(l.key), []byte(l.key))
	return l.err
}

// TestLargeAttributes verifies that what cannot be known never gives a right.
func TestLargeAttributes(t *testing.T) {
	d := newDirectory(t)
	draft := dit.NewDraft()
	draft.ID, draft.RDN = 500, "cn=all"
	var members [][]byte
	for _, uid := range []string{"alice", "bob", "mia"} {
		members = append(members, []byte("uid="+uid+","+people))
	}
	draft.Set(d.schema.Known.ObjectClass, []byte("groupOfNames"))
	draft.Set(d.schema.Known.Member, members...)
	entry, _, err := draft.Seal(d.shapes, dit.SealOptions{Trusted: true, LargeThreshold: 2})
	if err != nil || !entry.HasLarge() {
		t.Fatalf("no large entry: %v", err)
	}
	alice := d.subject(t, "alice")
	allow := d.compile(t, false,
		access.Rule{Allow: list("read"), Who: list("dnattr:member")},
		access.Rule{Allow: list("rename"), Who: list("users"), Filter: "(member=uid=alice," + people + ")"},
		access.Rule{Allow: list("delete"), Who: list("users"), Filter: "(!(member=uid=alice," + people + "))"},
		access.Rule{Allow: list("compare"), Who: list("users", "!dnattr:member")})
	deny := d.compile(t, false,
		access.Rule{Allow: list("read", "compare", "delete", "rename"), Who: list("users")},
		access.Rule{Deny: list("read"), Who: list("dnattr:member")},
		access.Rule{Deny: list("compare"), Who: list("users", "!dnattr:member")},
		access.Rule{Deny: list("rename"), Who: list("users"), Filter: "(member=uid=alice," + people + ")"})
	const known, cmp = access.Disclose, access.Compare
	name := dit.Name{DN: "cn=all," + groups, Norm: "cn=all," + groups}
	for _, x := range []struct {
		what        string
		large       dit.LargeSource
		allow, deny access.Right
	}{
		{"unknown", nil, 0, known | access.Delete},
		{"there", largeValues{key: alice.Name.Norm}, known | access.Read | access.Rename, known | access.Delete | cmp},
		{"not there", largeValues{key: "x"}, known | access.Delete | cmp, known | access.Read | access.Delete | access.Rename},
		{"storage fails", largeValues{key: "x", err: dit.ErrRecord}, 0, known | access.Delete},
	} {
		target := &access.Target{Entry: entry, Name: name, Large: x.large}
		if got := allow.Evaluator(alice).EntryRights(target); got != x.allow {
			t.Errorf("%s: allowed %s, want %s", x.what, got, x.allow)
		}
		if got := deny.Evaluator(alice).EntryRights(target); got != x.deny {
			t.Errorf("%s: left by denial %s, want %s", x.what, got, x.deny)
		}
		d.agree(t, allow, alice, target, schema.Description{})
		d.agree(t, deny, alice, target, schema.Description{})
	}
}

func TestAnonymousRead(t *testing.T) {
	d := newDirectory(t)
	p, err := access.Compile(nil, access.Options{Schema: d.schema, Suffixes: []string{suffix, "o=other"}, Builtin: true, AnonymousRead: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"anonymous: bob = disclose, search, read, compare",
		"anonymous: mail of bob = search, read, compare",
		"anonymous: userPassword of bob = none",
		"alice: userPassword of alice = add, delete, modify",
	} {
		d.decide(t, p, line)
	}
	// Each suffix has administrators of its own.
	s := d.subject(t, "root")
	other := access.Target{Name: dit.Name{DN: "o=other", Norm: "o=other"}}
	if got := p.Evaluator(s).EntryRights(&other); got&access.Delete != 0 {
		t.Errorf("the administrators of one suffix have %s in the other", got)
	}
	outside := access.Target{Name: dit.Name{DN: "o=elsewhere", Norm: "o=elsewhere"}}
	if got := p.Evaluator(s).EntryRights(&outside); got != 0 {
		t.Errorf("outside all suffixes: %s", got)
	}
}

func TestAdminsGroupIsConfigurable(t *testing.T) {
	d := newDirectory(t)
	o := access.Options{Schema: d.schema, Suffixes: []string{suffix}, Builtin: true, Admins: "cn=helpdesk,ou=groups"}
	p, err := access.Compile(nil, o)
	if err != nil {
		t.Fatal(err)
	}
	d.decide(t, p, "hilda: mail of bob = search, read, compare, add, delete, modify")
	d.decide(t, p, "root: mail of bob = search, read, compare")
	o.Admins = "no name"
	if _, err := access.Compile(nil, o); err == nil {
		t.Error("a group that is no DN is accepted")
	}
}

func TestRightString(t *testing.T) {
	for want, r := range map[string]access.Right{
		"none": 0, "disclose": access.Disclose, "add, delete": access.Add | access.Delete,
		"disclose, search, read, compare, add, delete, modify, rename, proxy, control": access.Everything,
	} {
		if got := r.String(); got != want {
			t.Errorf("%d is %q, want %q", r, got, want)
		}
	}
}

func TestMask(t *testing.T) {
	full := access.Mask{^uint64(0), 0b1011}
	for n, want := range map[int]bool{0: true, 1: true, 63: true, 64: true, 65: true, 66: true, 67: false, 68: false, 128: false, 129: false} {
		if got := full.AllBelow(n); got != want {
			t.Errorf("AllBelow(%d) = %v", n, got)
		}
	}
	for i, want := range map[int]bool{-1: false, 0: true, 63: true, 64: true, 66: false, 67: true, 68: false, 128: false, 1 << 40: false} {
		if got := full.Has(i); got != want {
			t.Errorf("Has(%d) = %v", i, got)
		}
	}
	var none access.Mask
	if none.Has(0) || none.AllBelow(1) || !none.AllBelow(0) {
		t.Error("the empty mask has something")
	}
}
