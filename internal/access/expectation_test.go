package access_test

import (
	"net/netip"
	"strings"
	"testing"

	"portolan/internal/access"
	"portolan/internal/schema"
)

func TestParseExpectations(t *testing.T) {
	got, err := access.ParseExpectations("x", `
# a comment
let bob = uid=bob,dc=org   # who
let amy = "uid=amy,dc=org"

bob: amy = none
bob from 2001:db8::1 over tls128 by EXTERNAL: mail, cn;lang-de of "uid=a#b,dc=org" may read, search # so
anonymous over unix: no amy may not disclose
default from 10.0.0.1 over clear
admin: bob in member of added amy = add, delete
"uid=x,dc=org": member of amy may write
bob: "some value" in description of amy may not modify
`)
	if err != nil {
		t.Fatal(err)
	}
	want := []access.Expectation{
		{Line: 6, As: "uid=bob,dc=org", From: "127.0.0.1", TLS: 256, Method: "simple", On: "uid=amy,dc=org", Verb: access.Exactly},
		{Line: 7, As: "uid=bob,dc=org", From: "2001:db8::1", TLS: 128, Method: "EXTERNAL", On: "uid=a#b,dc=org", Attr: "mail", Verb: access.May, Rights: access.Read | access.Search},
		{Line: 7, As: "uid=bob,dc=org", From: "2001:db8::1", TLS: 128, Method: "EXTERNAL", On: "uid=a#b,dc=org", Attr: "cn;lang-de", Verb: access.May, Rights: access.Read | access.Search},
		{Line: 8, As: "anonymous", On: "uid=amy,dc=org", Missing: true, Verb: access.MayNot, Rights: access.Disclose},
		{Line: 10, As: "admin", From: "10.0.0.1", Method: "simple", On: "uid=amy,dc=org", Added: true, Attr: "member", Value: "uid=bob,dc=org", HasValue: true, Rights: access.Add | access.Delete, Verb: access.Exactly},
		{Line: 11, As: "uid=x,dc=org", From: "10.0.0.1", Method: "simple", On: "uid=amy,dc=org", Attr: "member", Verb: access.May, Rights: access.Add | access.Delete},
		{Line: 12, As: "uid=bob,dc=org", From: "10.0.0.1", Method: "simple", On: "uid=amy,dc=org", Attr: "description", Value: "some value", HasValue: true, Verb: access.MayNot, Rights: access.Modify},
	}
	if len(got) != len(want) {
		t.Fatalf("%d expectations, want %d: %+v", len(got), len(want), got)
	}
	for i := range got {
		got[i].Text = ""
		if got[i] != want[i] {
			t.Errorf("got  %+v\nwant %+v", got[i], want[i])
		}
	}
}

func TestParseExpectationsRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                                          "no expectation",
		"let bob":                                   "let bob =",
		"let a b = x":                               "let bob =",
		"let bob =":                                 "let bob =",
		"let admin = cn=x":                          "has a meaning",
		"let b = c\nlet b = d":                      "x:2: \"b\" is defined",
		"bob: bob = none":                           "let bob = DN",
		`"a=b" "c=d" = none`:                        "want a colon",
		`"a=b": mail "c=d" = none`:                  "let mail = DN",
		`"a=b": mail of = none`:                     "commas in quotation marks",
		`"a=b": mail of c=d,e=f may read`:           "let c = DN",
		`"a=b": mail of "c=d"`:                      "want what the client may do",
		`"a=b": mail of "c=d" =`:                    "the line ends where a right",
		`"a=b": mail of "c=d" = none read`:          "too much",
		`"a=b": mail of "c=d" = read search`:        "commas between them",
		`"a=b": mail of "c=d" may disclose`:         "no right on an attribute",
		`"a=b": "c=d" may write`:                    "no right on an entry",
		`"a=b": "c=d" may fly`:                      "no right on an entry",
		`"a=b": mail, of "c=d" may read`:            "want a comma or",
		`"a=b": "x", "y" in member of "c=d" = none`: "one value",
		`"a=b" from here: "c=d" = none`:             "not an IP address",
		`"a=b" over air: "c=d" = none`:              "not connected over",
		`"a=b" over tlsx: "c=d" = none`:             "no strength",
		`"a=b": "c=d = none`:                        "never closed",
		"default nothing":                           "too much",
		"default from":                              "the line ends",
	} {
		_, err := access.ParseExpectations("x", text)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "x:") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v, want an error about %q", text, err, want)
		}
	}
}

func FuzzParseExpectations(f *testing.F) {
	f.Add("let bob = uid=bob,dc=org\nbob from 10.0.0.1 over tls128: mail, cn of bob may not read")
	f.Add("default over unix\nanonymous: \"x\" in member of added \"a=b\" = add, delete # x")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := access.ParseExpectations("x", text)
		if err == nil && len(got) == 0 {
			t.Error("nothing, and no error")
		}
		for _, x := range got {
			if x.Line < 1 || x.As == "" || x.On == "" || x.Met(x.Rights) != true && x.Verb == access.Exactly {
				t.Errorf("%+v", x)
			}
		}
	})
}

// TestDocumentedPoliciesAsExpectations has every decision of docs/access.md verified by what "portolan acl test" is made of: the
// lines stand there in the form of its files.
func TestDocumentedPoliciesAsExpectations(t *testing.T) {
	d := newDirectory(t)
	prelude := "default from 192.0.2.10 over clear\n"
	for name, target := range d.targets {
		prelude += "let " + name + " = " + target.Name.DN + "\n"
	}
	var policy *access.Policy
	checked, examples := 0, 0
	for _, b := range docBlocks(t) {
		switch b.kind {
		case "toml":
			parsed := b.parse(t)
			if b.label != "" {
				parsed.rules = nil
			}
			var err error
			if policy, err = access.Compile(parsed.rules, access.Options{Schema: d.schema, Suffixes: []string{suffix}, AdminDN: "cn=manager," + suffix,
				Builtin: parsed.builtin, AnonymousRead: parsed.anonymousRead}); err != nil {
				t.Fatal(err)
			}
		case "decisions", "expectations":
			text := b.text
			if b.kind == "decisions" {
				text = prelude + text
			} else {
				examples++
			}
			list, err := access.ParseExpectations(b.heading, text)
			if err != nil {
				t.Fatal(err)
			}
			for i := range list {
				d.expect(t, policy, &list[i], b.heading)
				checked++
			}
		}
	}
	if checked < 60 || examples < 1 {
		t.Errorf("%d decisions and %d examples were found", checked, examples)
	}
}

// expect verifies one expectation, and that its opposite is not met.
func (d *directory) expect(t *testing.T, p *access.Policy, x *access.Expectation, where string) {
	t.Helper()
	s := &access.Subject{Method: x.Method, TLSBits: x.TLS, Protected: x.TLS > 0 || x.From == ""}
	if x.From != "" {
		s.Addr = netip.MustParseAddr(x.From)
		s.Protected = s.Protected || s.Addr.IsLoopback()
	}
	switch x.As {
	case "anonymous":
		s.Anonymous = true
	case "admin":
		s.Admin = true
	default:
		s.Name = d.name(t, x.As)
		for _, target := range d.targets {
			if target.Name.Norm == s.Name.Norm {
				s.Entry = target.Entry.ID
			}
		}
		if s.Entry == 0 {
			t.Fatalf("%s: there is no %s", where, x.As)
		}
	}
	s.InGroup = d.inGroup(s.Name.Norm)
	target := access.Target{Name: d.name(t, x.On)}
	for _, have := range d.targets {
		if have.Name.Norm == target.Name.Norm {
			target = have
		}
	}
	if x.Added {
		e := *target.Entry
		e.ID = 0
		target.Entry, target.New = &e, true
	}
	var desc schema.Description
	if x.Attr != "" {
		var err error
		if desc, err = d.schema.DescribeString(x.Attr); err != nil || desc.Type == nil {
			t.Fatalf("%s: %s: %v", where, x.Text, err)
		}
	}
	have := access.Decide(p, s, &target, desc, x.Value, x.HasValue)
	if !x.Met(have) {
		t.Errorf("%s: %s\n\tgot %s", where, x.Text, have)
	}
	if x.Verb == access.Exactly && x.Met(have^access.Read) {
		t.Errorf("%s: %s is met by other rights too", where, x.Text)
	}
}
