package access_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"portolan/internal/access"
	"portolan/internal/schema"
)

// TestErrors verifies that each mistake is one line that says where, what is wrong and what to write instead.
func TestErrors(t *testing.T) {
	d := newDirectory(t)
	reading, users := list("read"), list("users")
	for _, x := range []struct {
		name string
		rule access.Rule
		want string // key that the message is about, what is wrong, what to write
	}{
		{"no effect", access.Rule{Who: users}, `|a rule needs allow or deny|write for example allow = ["read", "search", "compare"]`},
		{"both effects", access.Rule{Allow: reading, Deny: reading, Who: users}, `deny|a rule has allow or deny, not both|write two rules`},
		{"unknown right", access.Rule{Allow: list("read", "raed"), Who: users}, `allow[1]|allow: "raed" is not a right|write disclose, search`},
		{"unknown right denied", access.Rule{Deny: list("Read"), Who: users}, `deny[0]|deny: "Read" is not a right|write disclose, search`},
		{"right of entries", access.Rule{Allow: list("rename"), Who: users, Attrs: list("cn")}, `allow[0]|"rename" is a right on entries, and attrs has attributes only|add "entry" to attrs`},
		{"right of attributes", access.Rule{Deny: list("write"), Who: users, Attrs: list("entry")}, `deny[0]|"write" is a right on attributes, and attrs has the "entry" only|name attributes in attrs`},
		{"nobody", access.Rule{Allow: reading}, `|who is missing|write who = "users"`},
		{"nobody but excluded", access.Rule{Deny: reading, Who: list("!self")}, `|who is missing|write who = "users"`},
		{"excludes nobody", access.Rule{Allow: reading, Who: list("*", "!users")}, `who[1]|who: "!users" excludes nobody|write "!self", "!parent", "!dn:DN"`},
		{"malformed excluded DN", access.Rule{Allow: reading, Who: list("*", "!group:x")}, `who[1]|who: "x" is not a DN: |write a DN such as`},
		{"unknown who", access.Rule{Allow: reading, Who: list("users", "everybody")}, `who[1]|who: "everybody" names nobody|write "anonymous", "users"`},
		{"a bare DN", access.Rule{Allow: reading, Who: list("cn=x," + groups)}, `who[0]|names nobody|write "dn:cn=x,ou=groups,dc=example,dc=org"`},
		{"users with something", access.Rule{Allow: reading, Who: list("users:x")}, `who[0]|who: "users:x" names nobody|write "anonymous"`},
		{"malformed DN", access.Rule{Allow: reading, Who: list("dn:cn=x,,dc=org")}, `who[0]|who: "cn=x,,dc=org" is not a DN: |write a DN such as`},
		{"no DN", access.Rule{Allow: reading, Who: list("group: ")}, `who[0]|who: the DN is empty|write a DN`},
		{"unknown attribute in a DN", access.Rule{Allow: reading, Who: list("group:xyz=1,dc=org")}, `who[0]|the schema has no attribute "xyz"|correct the name`},
		{"dnattr unknown", access.Rule{Allow: reading, Who: list("dnattr:xyz")}, `who[0]|who: the schema has no attribute "xyz"|write for example "dnattr:owner"`},
		{"dnattr without names", access.Rule{Allow: reading, Who: list("dnattr:cn")}, `who[0]|who: values of cn are not names of entries|write an attribute such as owner`},
		{"dnattr computed", access.Rule{Allow: reading, Who: list("dnattr:memberOf")}, `who[0]|who: memberOf is computed, rules cannot look at it|group:DN`},
		{"deny to the administrator", access.Rule{Deny: reading, Who: list("admin")}, `who[0]|rules take nothing away from the administrator|leave it out`},
		{"deny to the administrator's name", access.Rule{Deny: reading, Who: list("dn:CN=Manager," + suffix)}, `who[0]|rules take nothing away from the administrator|leave it out`},
		{"unknown on", access.Rule{Allow: reading, Who: users, On: list("*", "children:ou=x")}, `on[1]|on: "children:ou=x" names no entries|write "*", "subtree:DN"`},
		{"on a bare DN", access.Rule{Allow: reading, Who: users, On: list(people)}, `on[0]|names no entries|write "subtree:ou=people,dc=example,dc=org"`},
		{"on an empty DN", access.Rule{Allow: reading, Who: users, On: list("subtree:")}, `on[0]|on: the DN is empty|"*" alone for all`},
		{"on a malformed DN", access.Rule{Allow: reading, Who: users, On: list("one:people")}, `on[0]|on: "people" is not a DN: |write a DN such as`},
		{"bad filter", access.Rule{Allow: reading, Who: users, Filter: "(cn=x"}, `filter|filter, octet |write a filter such as`},
		{"unknown attribute in a filter", access.Rule{Deny: reading, Who: users, Filter: "(&(cn=x)(xyz=1))"}, `filter|filter: the schema has no attribute "xyz"|correct the name`},
		{"value that cannot be", access.Rule{Deny: reading, Who: users, Filter: "(uidNumber=many)"}, `filter|filter: the item on "uidNumber" (value "many") can never be true or false|that the attribute's syntax allows`},
		{"no rule for it", access.Rule{Deny: reading, Who: users, Filter: "(objectClass=per*)"}, `filter|can never be true or false|write a comparison`},
		{"computed attribute", access.Rule{Deny: reading, Who: users, Filter: "(memberOf=cn=x," + groups + ")"}, `filter|memberOf is computed, rules cannot look at it|name groups in who`},
		{"in chain", access.Rule{Deny: reading, Who: users, Filter: "(member:1.2.840.113556.1.4.1941:=cn=x," + groups + ")"}, `filter|the in-chain rule cannot be used in access rules|write who = "group:DN"`},
		{"unknown attribute", access.Rule{Allow: reading, Who: users, Attrs: list("cn", "xyz")}, `attrs[1]|attrs: the schema has no attribute "xyz"|correct the name`},
		{"no attribute", access.Rule{Allow: reading, Who: users, Attrs: list("c n")}, `attrs[0]|attrs: "c n" is not an attribute|write names of attributes`},
		{"empty attribute", access.Rule{Allow: reading, Who: users, Attrs: list("")}, `attrs[0]|attrs: "" is not an attribute|write names of attributes`},
		{"unknown class", access.Rule{Allow: reading, Who: users, Attrs: list("@xyz")}, `attrs[0]|attrs: the schema has no object class "xyz"|@posixAccount`},
		{"own value read", access.Rule{Allow: list("read", "add"), Who: users, Attrs: list("member:self")}, `attrs|"member:self" gives away one value|write a rule of its own`},
		{"own value denied", access.Rule{Deny: list("add"), Who: users, Attrs: list("member:self")}, `attrs|"member:self" gives away one value|write a rule of its own`},
		{"own value and the entry", access.Rule{Allow: list("add"), Who: users, Attrs: list("entry", "member:self")}, `attrs|"member:self" gives away one value|write a rule of its own`},
		{"own value of text", access.Rule{Allow: list("add"), Who: users, Attrs: list("cn:self")}, `attrs[0]|values of "cn" are not names of entries|such as member`},
		{"no network", access.Rule{Allow: reading, Who: users, From: []netip.Prefix{{}}}, `from[0]|from: this is not a network|write for example "10.0.0.0/8"`},
		{"strength", access.Rule{Allow: reading, Who: users, TLS: 257}, `tls|tls: 257 is not a strength in bits|write true`},
		{"negative strength", access.Rule{Allow: reading, Who: users, TLS: -1}, `tls|tls: -1 is not a strength in bits|write true`},
		{"deny with tls", access.Rule{Deny: reading, Who: users, TLS: 1}, `tls|a deny with tls would take rights from the well protected connections only|allow it with tls = true instead`},
		{"no mechanism", access.Rule{Allow: reading, Who: users, Method: list("simple", "a b")}, `method[1]|method: "a b" is not a way to authenticate|write "simple"`},
		{"anonymous method", access.Rule{Allow: reading, Who: list("anonymous"), Method: list("simple")}, `method|anonymous clients have not authenticated|leave method out`},
		{"long text", access.Rule{Allow: list(strings.Repeat("é\n", 5000)), Who: users}, `allow[0]|is not a right|write disclose`},
	} {
		t.Run(x.name, func(t *testing.T) {
			key, rest, _ := strings.Cut(x.want, "|")
			wrong, instead, _ := strings.Cut(rest, "|")
			x.rule.Name, x.rule.Origin = "mine", "f:7:1"
			x.rule.At = func(k string) string {
				if k == "" {
					return ""
				}
				return "f:8:1:" + k
			}
			start := "f:7:1: access rule \"mine\": "
			if key != "" {
				start = "f:8:1:" + key + ": access rule \"mine\": "
			}
			_, err := access.Compile([]access.Rule{x.rule}, access.Options{Schema: d.schema, Suffixes: []string{suffix}, AdminDN: "cn=manager," + suffix})
			if err == nil {
				t.Fatal("it compiles")
			}
			text := err.Error()
			said, hint, _ := strings.Cut(text, "; ")
			if !strings.HasPrefix(text, start) || !strings.Contains(said, wrong) || !strings.Contains(hint, instead) || strings.Contains(text, "\n") || len(text) > 600 {
				t.Errorf("%s\n\twant %s...%s...; ...%s", text, start, wrong, instead)
			}
		})
	}
}

func TestAllErrorsAtOnce(t *testing.T) {
	d := newDirectory(t)
	_, err := access.Compile([]access.Rule{
		{Allow: list("raed", "wirte"), Who: list("evrybody"), On: list("nowhere"), Attrs: list("xyz"), Filter: "(", Origin: "f:1:1"},
		{Allow: list("read"), Who: list("users"), Origin: "f:2:1"},
		{Deny: list("read"), Origin: "f:3:1"},
	}, access.Options{Schema: d.schema})
	if err == nil {
		t.Fatal("it compiles")
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != 7 {
		t.Fatalf("%d lines, want 7:\n%s", len(lines), err)
	}
	if !strings.HasPrefix(lines[0], "f:1:1: access rule 1: ") || !strings.HasPrefix(lines[6], "f:3:1: access rule 3: ") {
		t.Errorf("places are missing:\n%s", err)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for name, o := range map[string]access.Options{
		"the suffix":               {Suffixes: []string{"dc=a,,"}},
		"the administrator's name": {AdminDN: "admin"},
	} {
		o.Schema = schema.Default()
		if _, err := access.Compile(nil, o); err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "is not a DN") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWarnings(t *testing.T) {
	d := newDirectory(t)
	p := d.compile(t, true,
		access.Rule{Origin: "f:1:1", Allow: list("read"), Who: list("group:cn=x,dc=exmaple,dc=org"), On: list("subtree:dc=org", "base:o=other")},
		access.Rule{Origin: "f:2:1", Allow: list("read"), Who: list("dn:cn=manager," + suffix)},
		access.Rule{Origin: "f:3:1", Allow: list("read"), Who: list("dn:cn=x," + suffix), On: list("*")})
	want := []string{
		`f:1:1: access rule 1: who: "cn=x,dc=exmaple,dc=org" is in no naming context of this server`,
		`f:1:1: access rule 1: on: "o=other" is in no naming context of this server`,
		`f:2:1: access rule 2: who: "cn=manager,dc=example,dc=org" is the administrator, who needs no rule`,
	}
	remarks := []access.Remark{
		{Rule: 0, Key: "who[0]", Text: `who: "cn=x,dc=exmaple,dc=org" is in no naming context of this server`},
		{Rule: 0, Key: "on[1]", Text: `on: "o=other" is in no naming context of this server`},
		{Rule: 1, Key: "who[0]", Text: `who: "cn=manager,dc=example,dc=org" is the administrator, who needs no rule`},
	}
	if got := p.Remarks(); !slices.Equal(got, remarks) {
		t.Errorf("remarks: %+v", got)
	}
	if got := p.Warnings(); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("warnings:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestSecretBeneathOpen verifies that a secret subtype is not reached through the name of its supertype.
func TestSecretBeneathOpen(t *testing.T) {
	s, err := schema.Default().Extend(schema.File{Name: "test.schema", Text: []byte(`
attributetype ( 1.3.6.1.4.1.99999.1 NAME 'codeName' SUP name X-PORTOLAN-SECRET 'TRUE' )
attributetype ( 1.3.6.1.4.1.99999.2 NAME 'deepCodeName' SUP codeName )`)})
	if err != nil {
		t.Fatal(err)
	}
	for attrs, want := range map[string]access.Right{
		"name": 0, "*": 0, "@person": 0, "codeName": access.Read, "deepCodeName": 0, "codeName;x-a": 0, "name;lang-": 0,
	} {
		p, err := access.Compile([]access.Rule{{Allow: list("read"), Who: list("*"), Attrs: list("entry", attrs)}}, access.Options{Schema: s})
		if err != nil {
			t.Fatal(err)
		}
		e := p.Evaluator(&access.Subject{Anonymous: true})
		if got := e.AttrRights(&access.Target{}, schema.Description{Type: s.AttributeTypeString("codeName")}); got != want {
			t.Errorf("attrs = %q gives %s on a secret", attrs, got)
		}
		deep, _ := s.DescribeString("codeName;lang-de;x-a")
		wantDeep := want
		if attrs == "codeName;x-a" {
			wantDeep = access.Read
		}
		if got := e.AttrRights(&access.Target{}, deep); got != wantDeep {
			t.Errorf("attrs = %q gives %s on a secret with options", attrs, got)
		}
	}
}

// FuzzCompile verifies that no text makes the compiler panic, that errors are lines, and that what compiles answers.
func FuzzCompile(f *testing.F) {
	f.Add("read", "users", "subtree:"+people, "(cn=x)", "cn", "simple", 0, false)
	f.Add("all", "dnattr:owner", "one:o=x", "(!(member=*))", "@person", "EXTERNAL", 128, true)
	f.Add("add", "group:cn=x,"+groups, "base:", "(&)", "member:self", "", 1, false)
	f.Add("write", "dn:", "*", "", "cn;lang-", "", 0, false)
	d := newDirectory(f)
	o := access.Options{Schema: d.schema, Suffixes: []string{suffix}, Builtin: true}
	bob := d.target(f, "bob")
	added := d.target(f, "new uid=x,ou=people")
	f.Fuzz(func(t *testing.T, right, who, on, filter, attrs, method string, tls int, deny bool) {
		r := access.Rule{Who: list(who), Filter: filter, TLS: tls}
		for text, key := range map[string]*[]string{on: &r.On, attrs: &r.Attrs, method: &r.Method} {
			if text != "" {
				*key = strings.Split(text, " ")
			}
		}
		r.Allow = strings.Split(right, " ")
		if deny {
			r.Allow, r.Deny = nil, r.Allow
		}
		p, err := access.Compile([]access.Rule{r}, o)
		if err != nil {
			if strings.Contains(err.Error(), "\n\n") || strings.TrimSpace(err.Error()) == "" {
				t.Errorf("an empty line: %q", err)
			}
			return
		}
		for _, name := range []string{"anonymous", "bob", "alice over tls"} {
			s := d.subject(t, name)
			for _, target := range []*access.Target{&bob, &added} {
				d.agree(t, p, s, target, schema.Description{})
				for _, desc := range bob.Entry.Shape().Slots {
					d.agree(t, p, s, target, desc)
				}
				secret := p.Evaluator(s).AttrRights(target, schema.Description{Type: d.schema.AttributeTypeString("userPKCS12")})
				if secret != 0 && !strings.Contains(strings.ToLower(attrs), "userpkcs12") && !strings.Contains(attrs, "2.16.840.1.113730.3.1.216") {
					t.Errorf("%q gives %s on a secret", attrs, secret)
				}
			}
		}
	})
}
