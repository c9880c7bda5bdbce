package constraint_test

import (
	"strings"
	"testing"

	"portolan/internal/app"
	"portolan/internal/config"
	"portolan/internal/ldaptest"
	"portolan/ldap"

	"context"
)

const data = `dn: dc=example,dc=org
objectClass: organization
objectClass: dcObject
dc: example
o: Example

dn: ou=people,dc=example,dc=org
objectClass: organizationalUnit
ou: people

dn: ou=guests,dc=example,dc=org
objectClass: organizationalUnit
ou: guests

dn: uid=boss,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: boss
cn: Boss
sn: Boss

dn: uid=ann,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: ann
cn: Ann
sn: Archer
manager: uid=boss,ou=people,dc=example,dc=org

dn: uid=guest,ou=guests,dc=example,dc=org
objectClass: inetOrgPerson
uid: guest
cn: Guest
sn: G
mail: not an address
`

const ann, guest = "uid=ann,ou=people,dc=example,dc=org", "uid=guest,ou=guests,dc=example,dc=org"

func modify(dn string, mods ...ldap.Mod) ldap.Op {
	return &ldap.ModifyRequest{Object: []byte(dn), Changes: mods}
}

func mod(op ldap.ModOp, attr string, values ...string) ldap.Mod {
	m := ldap.Mod{Op: op, Attribute: ldap.Attribute{Type: []byte(attr)}}
	for _, v := range values {
		m.Attribute.Values = append(m.Attribute.Values, []byte(v))
	}
	return m
}

// TestRules: each row is one rule and one write.
func TestRules(t *testing.T) {
	move := &ldap.ModifyDNRequest{Entry: []byte(guest), NewRDN: []byte("uid=guest"), NewSuperior: []byte("ou=people,dc=example,dc=org"), HasNewSuperior: true, DeleteOldRDN: true}
	for _, x := range []struct {
		name, rule string
		do         ldap.Op
		refused    string // part of the error; empty: allowed
	}{
		{"pattern", "attributes = 'mail'\nregex = '@'", modify(ann, mod(ldap.ModAdd, "mail", "a")), "mail: value #0 does not match @ (rule 1)"},
		{"all patterns", "attributes = 'mail'\nregex = ['@', 'z']", modify(ann, mod(ldap.ModAdd, "mail", "a@b")), "does not match z"},
		{"no pattern", "attributes = 'mail'\nnot_regex = ['q', 'z']", modify(ann, mod(ldap.ModAdd, "mail", "a@z")), "matches z"},
		{"good", "attributes = 'mail'\nregex = '@'\nnot_regex = 'z'", modify(ann, mod(ldap.ModAdd, "mail", "a@b")), ""},
		{"subtype", "attributes = 'name'\nregex = '^[A-Z]'", modify(ann, mod(ldap.ModAdd, "cn", "annie")), "cn: value #1"},
		{"option", "attributes = 'description'\nregex = '^[A-Z]'", modify(ann, mod(ldap.ModAdd, "description;lang-en", "annie")), "description;lang-en: value #0"},
		{"too long", "attributes = 'description'\nmax_size = 3", modify(ann, mod(ldap.ModAdd, "description", "four")), "4 octets, and at most 3"},
		{"not too long", "attributes = 'description'\nmax_size = 4", modify(ann, mod(ldap.ModAdd, "description", "four")), ""},
		{"too short", "attributes = 'description'\nmin_size = 5", modify(ann, mod(ldap.ModAdd, "description", "four")), "at least 5"},
		{"count over options", "attributes = 'description'\nmax_count = 1", modify(ann, mod(ldap.ModAdd, "description", "a"), mod(ldap.ModAdd, "description;lang-en", "b")), "2 values"},
		{"none", "attributes = 'description'\nmax_count = 0", modify(ann, mod(ldap.ModAdd, "description", "a")), "allows 0"},
		{"other attribute", "attributes = 'description'\nmax_count = 0", modify(ann, mod(ldap.ModAdd, "mail", "a")), ""},
		{"elsewhere", "attributes = 'mail'\nregex = '@'\nbase = 'ou=people,dc=example,dc=org'", modify(guest, mod(ldap.ModAdd, "mail", "x")), ""},
		{"moved in", "attributes = 'mail'\nregex = '@'\nbase = 'ou=people,dc=example,dc=org'", move, "does not match"},
		{"moved within", "attributes = 'mail'\nregex = '@'", move, ""},
		{"kept by a replace", "attributes = 'mail'\nregex = '@'", modify(guest, mod(ldap.ModReplace, "mail", "not an address", "a@b")), ""},
		{"untouched", "attributes = 'mail'\nregex = '@'", modify(guest, mod(ldap.ModReplace, "sn", "H")), ""},
		{"comes to match", "attributes = 'mail'\nregex = '@'\nfilter = '(sn=H)'", modify(guest, mod(ldap.ModReplace, "sn", "H")), "does not match"},
		{"does not come to match", "attributes = 'mail'\nregex = '@'\nfilter = '(sn=H)'", modify(guest, mod(ldap.ModReplace, "sn", "I")), ""},
		{"name there", "attributes = 'seeAlso'\nexists = 'ldap:///dc=example,dc=org??sub?(objectClass=person)'", modify(ann, mod(ldap.ModAdd, "seeAlso", guest)), ""},
		{"name of another kind", "attributes = 'seeAlso'\nexists = 'ldap:///dc=example,dc=org??sub?(objectClass=person)'", modify(ann, mod(ldap.ModAdd, "seeAlso", "ou=people,dc=example,dc=org")), "is not found"},
		{"name not there", "attributes = 'seeAlso'\nexists = 'ldap:///dc=example,dc=org?entryDN?sub'", modify(ann, mod(ldap.ModAdd, "seeAlso", "uid=x,dc=example,dc=org")), "is not found"},
		{"value there", "attributes = 'departmentNumber'\nexists = 'ldap:///dc=example,dc=org?ou?one'", modify(ann, mod(ldap.ModAdd, "departmentNumber", "PEOPLE")), ""},
		{"value not there", "attributes = 'departmentNumber'\nexists = 'ldap:///dc=example,dc=org?ou?one'", modify(ann, mod(ldap.ModAdd, "departmentNumber", "x")), "is not found"},
		{"set of another entry", "attributes = 'departmentNumber'\nset = 'this/manager/departmentNumber & this/departmentNumber'", modify(ann, mod(ldap.ModAdd, "departmentNumber", "x")), "does not hold"},
		{"set over the tree", "attributes = 'ou'\nset = 'this/-1/ou & this/ou'", modify(ann, mod(ldap.ModAdd, "ou", "People")), ""},
		{"set over the tree, another", "attributes = 'ou'\nset = 'this/-1/ou & this/ou'", modify(ann, mod(ldap.ModAdd, "ou", "guests")), "does not hold"},
		{"set of who asks", "attributes = 'ou'\nset = 'user & [cn=Admin, dc=example,dc=org]'", modify(ann, mod(ldap.ModAdd, "ou", "x")), ""},
		{"set of all above", "attributes = 'ou'\nset = '(this/-* & [ou=guests,dc=example,dc=org]) | [x] & [y]'", modify(ann, mod(ldap.ModAdd, "ou", "x")), "does not hold"},
		{"set along a chain", "attributes = 'secretary'\nset = 'this/manager* & this/secretary'", modify(ann, mod(ldap.ModAdd, "secretary", "uid=boss,ou=people,dc=example,dc=org")), ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			s := ldaptest.Start(t, ldaptest.Options{LDIF: data})
			s = reopened(t, s, "[[overlay.constraint.rule]]\n"+x.rule+"\n")
			err := s.As(ldaptest.AdminDN, x.do)
			switch {
			case x.refused == "" && err != nil:
				t.Errorf("refused: %v", err)
			case x.refused != "" && (ldap.CodeOf(err) != ldap.ConstraintViolation || !strings.Contains(err.Error(), x.refused)):
				t.Errorf("got %v, want constraintViolation with %q", err, x.refused)
			}
		})
	}
}

// reopened starts a server with more configuration over the data of another.
func reopened(t *testing.T, s *ldaptest.Server, text string) *ldaptest.Server {
	return ldaptest.Start(t, ldaptest.Options{KV: s.Crash(t), Config: text})
}

// TestCheck: what was there before a rule is found.
func TestCheck(t *testing.T) {
	s := reopened(t, ldaptest.Start(t, ldaptest.Options{LDIF: data}), `
[[overlay.constraint.rule]]
attributes = "mail"
regex = "@"
[[overlay.constraint.rule]]
attributes = "cn"
max_count = 0
filter = "(uid=ann)"
[[overlay.constraint.rule]]
attributes = "sn"
set = "this/sn & this/uid"
filter = "(uid=b*)"
[[overlay.constraint.rule]]
attributes = "sn"
set = "this/sn & this/uid"
filter = "(uid=guest)"
`)
	var got []string
	if _, err := app.NewAdmin(s.Directory, "test").Check(context.Background(), func(f app.Finding) { got = append(got, f.Where+" "+f.What) }, nil); err != nil {
		t.Fatal(err)
	}
	want := []string{
		ann + " 1 values of [cn], where 0 are allowed (rule 2)",
		guest + " mail: value #0 does not match @ (rule 1)",
		guest + " the expression this/sn & this/uid does not hold (rule 4)",
	}
	for _, w := range want {
		found := false
		for _, g := range got {
			found = found || g == w
		}
		if !found {
			t.Errorf("not found: %s", w)
		}
	}
	if len(got) != len(want) {
		t.Errorf("found %q", got)
	}
}

// TestMistakes: what cannot be is refused at the start, and says where.
func TestMistakes(t *testing.T) {
	for rule, want := range map[string]string{
		"regex = 'x'":                                       "attributes: the rule is about none",
		"attributes = 'mail'":                               "asks nothing",
		"attributes = 'mail'\nregex = '('":                  "regex: error parsing",
		"attributes = 'mail'\nexists = 'x'":                 "exists: ",
		"attributes = 'mail'\nexists = 'ldap://host/dc=x'":  `of the server "host"`,
		"attributes = 'mail'\nexists = 'ldap:///?*'":        "names of those whose values",
		"attributes = 'mail'\nset = 'this/'":                "set: position 6",
		"attributes = 'mail'\nmax_count = 1\nscope = 'all'": "scope: \"all\" is none",
		"attributes = 'mail'\nmax_count = 1\nfilter = '(('": "filter: ",
		"attributes = 'mail'\nmax_count = 1\nbase = 'x'":    "base: \"x\" is not a DN",
		"attributes = 'mail'\nmin_size = 9\nmax_size = 8":   "min_size: 9 is above",
		"attributes = 'mial'\nmax_count = 1":                `no attribute "mial"`,
		"attributes = 'mail'\nset = 'this/mial'":            `no attribute "mial"`,
	} {
		c, err := config.Parse("test.toml", []byte("data_dir = \""+t.TempDir()+"\"\n[directory]\nsuffix = \"dc=example,dc=org\"\nadmin_dn = \"cn=admin,dc=example,dc=org\"\n[[overlay.constraint.rule]]\n"+rule+"\n"))
		if err != nil {
			t.Fatal(err)
		}
		d, err := app.Open(c, app.OpenOptions{})
		if err == nil {
			d.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "overlay.constraint.rule[1]") {
			t.Errorf("%q: %v, want %q", rule, err, want)
		}
	}
}
