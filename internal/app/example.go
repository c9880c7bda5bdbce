package app

import (
	"fmt"
	"strings"
)

// ExampleSuffix is the naming context of the example company.
const ExampleSuffix = "dc=example,dc=org"

// ExampleUser is somebody of the example company who can log in.
type ExampleUser struct{ DN, Password string }

// person is somebody of the example company.
type person struct {
	uid, given, sn, title, manager string
}

var people = []person{
	{"alice", "Alice", "Archer", "Head of Engineering", ""},
	{"bob", "Bob", "Müller", "Engineer", "alice"},
	{"carol", "Carol", "Clark", "Engineer", "alice"},
	{"dave", "Dave", "Dubois", "Engineer", "alice"},
	{"erin", "Erin", "O'Neill", "Editor", "frank"},
	{"frank", "Frank", "Fischer", "Head of Editing", ""},
	{"grace", "Grace", "García", "Editor", "frank"},
	{"heidi", "Heidi", "Hoffmann", "Accountant", ""},
	{"ivan", "Ivan", "Иванов", "Administrator", ""},
	{"judy", "Judy", "Jansen", "Editor", "frank"},
	{"mallory", "Mallory", "Martin", "Contractor", "alice"},
	{"trent", "Trent", "Tanaka", "Auditor", ""},
	{"wang", "芳", "王", "Engineer", "alice"},
}

// exampleGroups are groups by name: a gid, and members as RDNs beneath their part of the tree.
var exampleGroups = []struct {
	name, gid, about string
	members          []string
}{
	{"engineers", "10000", "Those who build", []string{"uid=alice,ou=people", "uid=bob,ou=people", "uid=carol,ou=people", "uid=dave,ou=people", "uid=wang,ou=people"}},
	{"editors", "10100", "Those who write", []string{"uid=frank,ou=people", "uid=erin,ou=people", "uid=grace,ou=people", "uid=judy,ou=people"}},
	{"nested", "10200", "A group of groups", []string{"cn=editors,ou=groups", "uid=trent,ou=people"}},
	{"staff", "10300", "Everybody, by way of other groups", []string{"cn=engineers,ou=groups", "cn=nested,ou=groups", "uid=heidi,ou=people", "uid=ivan,ou=people"}},
}

var exampleServices = []string{"mail", "vpn", "sssd"}

// Example returns LDIF of the example company beneath the top entries, and those who can log in. generate makes a password.
func Example(generate func() (string, error)) (text string, users []ExampleUser, err error) {
	var b strings.Builder
	for i, p := range people {
		password, err := generate()
		if err != nil {
			return "", nil, err
		}
		dn := fmt.Sprintf("uid=%s,ou=people,%s", p.uid, ExampleSuffix)
		users = append(users, ExampleUser{dn, password})
		fmt.Fprintf(&b, "dn: %s\nobjectClass: inetOrgPerson\nobjectClass: posixAccount\nuid: %s\ncn: %s %s\ngivenName: %s\nsn: %s\n",
			dn, p.uid, p.given, p.sn, p.given, p.sn)
		fmt.Fprintf(&b, "title: %s\nmail: %s@example.org\nuidNumber: %d\ngidNumber: 10000\nhomeDirectory: /home/%s\nloginShell: /bin/bash\n",
			p.title, p.uid, 10001+i, p.uid)
		fmt.Fprintf(&b, "telephoneNumber: +49 30 1234 %d\nuserPassword: %s\n", 100+i, password)
		if p.manager != "" {
			fmt.Fprintf(&b, "manager: uid=%s,ou=people,%s\n", p.manager, ExampleSuffix)
		}
		b.WriteString("\n")
	}
	for _, g := range exampleGroups {
		fmt.Fprintf(&b, "dn: cn=%s,ou=groups,%s\nobjectClass: groupOfNames\nobjectClass: posixGroup\ncn: %s\ngidNumber: %s\ndescription: %s\n",
			g.name, ExampleSuffix, g.name, g.gid, g.about)
		for _, m := range g.members {
			fmt.Fprintf(&b, "member: %s,%s\n", m, ExampleSuffix)
		}
		b.WriteString("\n")
	}
	for _, s := range exampleServices {
		password, err := generate()
		if err != nil {
			return "", nil, err
		}
		dn := fmt.Sprintf("cn=%s,ou=services,%s", s, ExampleSuffix)
		users = append(users, ExampleUser{dn, password})
		fmt.Fprintf(&b, "dn: %s\nobjectClass: applicationProcess\nobjectClass: simpleSecurityObject\ncn: %s\nuserPassword: %s\n\n", dn, s, password)
	}
	return asLDIF(b.String()), users, nil
}

// asLDIF writes values that LDIF does not take as they are in base64.
func asLDIF(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		for _, r := range line {
			if r > 0x7e {
				name, value, _ := strings.Cut(line, ": ")
				lines[i] = name + ":: " + base64Of(value)
				break
			}
		}
	}
	return strings.Join(lines, "\n")
}
