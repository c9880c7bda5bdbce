package overlay_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"portolan/internal/app"
	"portolan/internal/ldaptest"
	"portolan/ldap"
)

// modelConfig has every overlay on that holds something about entries.
const modelConfig = `
[overlay.memberof]
nested = true
[overlay.dynlist]
groups = true
[overlay.unique]
attributes = ["mail"]
[[overlay.autonumber.range]]
attribute = "uidNumber"
filter = "(objectClass=posixAccount)"
first = 1000
last = 99999
[[overlay.constraint.rule]]
name = "managers exist"
attributes = "manager"
exists = "ldap:///dc=example,dc=org??sub?(objectClass=posixAccount)"
[[overlay.valsort.rule]]
attributes = "description"
order = "alpha-ascend"
`

// thing is an entry as the model has it.
type thing struct {
	name, unit string
	group      bool
	members    map[string]bool // by DN
	manager    string
	pilot      bool
	mail       string
}

func (x *thing) dn() string { return "cn=" + x.name + ",ou=" + x.unit + ",dc=example,dc=org" }

// model is the directory in a plain form, and what must hold of it.
type model struct {
	t       *testing.T
	s       *ldaptest.Server
	r       *rand.Rand
	things  map[string]*thing // by DN
	serial  int
	numbers map[string]string // every number ever seen, with the entryUUID that had it
}

const (
	pilotsDN = "cn=pilots,dc=example,dc=org"
	nobodyDN = "cn=nobody"
)

// TestModel: random writes with all overlays on, over power cuts, against a plain reimplementation of what memberOf, refint,
// unique, autonumber, constraint and dynlist promise.
func TestModel(t *testing.T) {
	seed := uint64(20261127)
	m := &model{t: t, r: rand.New(rand.NewPCG(seed, 1)), things: map[string]*thing{}, numbers: map[string]string{}}
	m.s = ldaptest.Start(t, ldaptest.Options{Config: modelConfig, LDIF: top +
		"dn: ou=a,dc=example,dc=org\nobjectClass: organizationalUnit\nou: a\n\ndn: ou=b,dc=example,dc=org\nobjectClass: organizationalUnit\nou: b\n\n" +
		"dn: " + pilotsDN + "\nobjectClass: groupOfURLs\ncn: pilots\nmemberURL: ldap:///dc=example,dc=org??sub?(title=pilot)\n"})
	rounds := 6
	if testing.Short() {
		rounds = 3
	}
	for range rounds {
		for range 60 {
			m.step()
		}
		m.compare()
		m.s = ldaptest.Start(t, ldaptest.Options{KV: m.s.Crash(t), Config: modelConfig})
		m.compare()
	}
	if _, err := app.NewAdmin(m.s.Directory, "test").Check(context.Background(), func(f app.Finding) { t.Errorf("%+v", f) }, nil); err != nil {
		t.Error(err)
	}
}

func (m *model) do(op ldap.Op, want ldap.ResultCode) {
	m.t.Helper()
	if err := m.s.As(ldaptest.AdminDN, op); ldap.CodeOf(err) != want {
		m.t.Fatalf("%+v: %v, want %v", op, err, want)
	}
}

// some returns an entry of a kind, nil where there is none.
func (m *model) some(group bool) *thing {
	var of []string
	for dn, x := range m.things {
		if x.group == group {
			of = append(of, dn)
		}
	}
	if len(of) == 0 {
		return nil
	}
	slices.Sort(of)
	return m.things[of[m.r.IntN(len(of))]]
}

func attr(name string, values ...string) ldap.Attribute {
	a := ldap.Attribute{Type: []byte(name)}
	for _, v := range values {
		a.Values = append(a.Values, []byte(v))
	}
	return a
}

func change(dn string, op ldap.ModOp, name string, values ...string) *ldap.ModifyRequest {
	return &ldap.ModifyRequest{Object: []byte(dn), Changes: []ldap.Mod{{Op: op, Attribute: attr(name, values...)}}}
}

// step makes one random change on both sides.
func (m *model) step() {
	user, group := m.some(false), m.some(true)
	switch n := m.r.IntN(12); {
	case user == nil || n < 2:
		m.serial++
		x := &thing{name: fmt.Sprintf("u%d", m.serial), unit: m.unit()}
		m.do(&ldap.AddRequest{Entry: []byte(x.dn()), Attributes: []ldap.Attribute{attr("objectClass", "inetOrgPerson", "posixAccount"),
			attr("sn", "x"), attr("uid", x.name), attr("gidNumber", "1"), attr("homeDirectory", "/")}}, ldap.Success)
		m.things[x.dn()] = x
	case group == nil || n == 2:
		m.serial++
		x := &thing{name: fmt.Sprintf("g%d", m.serial), unit: m.unit(), group: true, members: map[string]bool{user.dn(): true}}
		m.do(&ldap.AddRequest{Entry: []byte(x.dn()), Attributes: []ldap.Attribute{attr("objectClass", "groupOfNames"), attr("member", user.dn())}}, ldap.Success)
		m.things[x.dn()] = x
	case n == 3: // delete
		x := m.some(m.r.IntN(2) == 0)
		m.do(&ldap.DelRequest{Entry: []byte(x.dn())}, ldap.Success)
		delete(m.things, x.dn())
		m.follow(x.dn(), "")
	case n < 6: // rename or move
		x := m.some(m.r.IntN(2) == 0)
		old := x.dn()
		delete(m.things, old)
		m.serial++
		x.name, x.unit = fmt.Sprintf("%c%d", x.name[0], m.serial), m.unit()
		m.do(&ldap.ModifyDNRequest{Entry: []byte(old), NewRDN: []byte("cn=" + x.name), DeleteOldRDN: true,
			NewSuperior: []byte("ou=" + x.unit + ",dc=example,dc=org"), HasNewSuperior: true}, ldap.Success)
		m.things[x.dn()] = x
		m.follow(old, x.dn())
	case n < 9: // a member more, or one fewer; groups too, so that there are cycles
		member := m.some(m.r.IntN(3) == 0).dn()
		if m.r.IntN(6) == 0 {
			member = pilotsDN
		}
		switch {
		case !group.members[member]:
			m.do(change(group.dn(), ldap.ModAdd, "member", member), ldap.Success)
			group.members[member] = true
			delete(group.members, nobodyDN)
		case len(group.members) > 1:
			m.do(change(group.dn(), ldap.ModDelete, "member", member), ldap.Success)
			delete(group.members, member)
		default:
			m.do(change(group.dn(), ldap.ModDelete, "member", member), ldap.ObjectClassViolation)
		}
	case n == 9:
		user.pilot = !user.pilot
		if user.pilot {
			m.do(change(user.dn(), ldap.ModReplace, "title", "pilot"), ldap.Success)
		} else {
			m.do(change(user.dn(), ldap.ModReplace, "title"), ldap.Success)
		}
	case n == 10:
		mail, want := fmt.Sprintf("m%d@example.org", m.r.IntN(12)), ldap.Success
		for _, x := range m.things {
			if x != user && x.mail == mail {
				want = ldap.ConstraintViolation
			}
		}
		m.do(change(user.dn(), ldap.ModReplace, "mail", strings.ToUpper(mail)), want)
		if want == ldap.Success {
			user.mail = mail
		}
	case n == 11:
		boss := m.some(m.r.IntN(3) == 0)
		if boss.group {
			m.do(change(user.dn(), ldap.ModReplace, "manager", boss.dn()), ldap.ConstraintViolation)
			return
		}
		m.do(change(user.dn(), ldap.ModReplace, "manager", boss.dn()), ldap.Success)
		user.manager = boss.dn()
	}
}

func (m *model) unit() string { return string("ab"[m.r.IntN(2)]) }

// follow is what refint does.
func (m *model) follow(old, new string) {
	for _, x := range m.things {
		if x.manager == old {
			x.manager = new
		}
		if x.members[old] {
			delete(x.members, old)
			if new != "" {
				x.members[new] = true
			} else if len(x.members) == 0 {
				x.members[nobodyDN] = true
			}
		}
	}
}

// groupsOf is memberOf, nested.
func (m *model) groupsOf(dn string) []string {
	out := map[string]bool{}
	for todo := []string{dn}; len(todo) > 0; {
		at := todo[0]
		todo = todo[1:]
		var direct []string
		for name, x := range m.things {
			if x.members[at] {
				direct = append(direct, name)
			}
		}
		if x := m.things[at]; x != nil && x.pilot {
			direct = append(direct, pilotsDN)
		}
		for _, g := range direct {
			if !out[g] {
				out[g] = true
				todo = append(todo, g)
			}
		}
	}
	return slices.Sorted(maps.Keys(out))
}

func (m *model) search(filter ldap.Filter, attrs ...string) map[string]map[string][]string {
	m.t.Helper()
	req := &ldap.SearchRequest{Base: []byte(ldaptest.Suffix), Scope: ldap.ScopeSub, Filter: filter}
	for _, a := range attrs {
		req.Attributes = append(req.Attributes, []byte(a))
	}
	entries, err := m.s.Search(context.Background(), ldaptest.AdminDN, req)
	if err != nil {
		m.t.Fatal(err)
	}
	out := map[string]map[string][]string{}
	for _, e := range entries {
		have := map[string][]string{}
		for _, a := range e.Attributes {
			for _, v := range a.Values {
				have[string(a.Type)] = append(have[string(a.Type)], string(v))
			}
			slices.Sort(have[string(a.Type)])
		}
		out[string(e.Name)] = have
	}
	return out
}

// compare holds the directory against the model.
func (m *model) compare() {
	m.t.Helper()
	have := m.search(ldap.Or(ldap.Eq("objectClass", "posixAccount"), ldap.Eq("objectClass", "groupOfNames")),
		"member", "memberOf", "manager", "mail", "uidNumber", "entryUUID")
	if len(have) != len(m.things) {
		m.t.Fatalf("%d entries, want %d", len(have), len(m.things))
	}
	pilots := []string{}
	for dn, x := range m.things {
		e := have[dn]
		if e == nil {
			m.t.Fatalf("%s is missing", dn)
		}
		same := func(what string, got, want []string) {
			if !slices.Equal(got, want) {
				m.t.Fatalf("%s: %s is %q, want %q", dn, what, got, want)
			}
		}
		same("memberOf", e["memberOf"], m.groupsOf(dn))
		if x.group {
			same("member", e["member"], slices.Sorted(maps.Keys(x.members)))
			continue
		}
		if x.pilot {
			pilots = append(pilots, dn)
		}
		var manager, mail []string
		if x.manager != "" {
			manager = []string{x.manager}
		}
		if x.mail != "" {
			mail = []string{strings.ToUpper(x.mail)}
		}
		same("manager", e["manager"], manager)
		same("mail", e["mail"], mail)
		number, uuid := e["uidNumber"][0], e["entryUUID"][0]
		if had := m.numbers[number]; had != "" && had != uuid {
			m.t.Fatalf("%s has the number %s, which another entry had", dn, number)
		}
		m.numbers[number] = uuid
	}
	slices.Sort(pilots)
	if got := m.search(ldap.Eq("objectClass", "groupOfURLs"), "member")[pilotsDN]["member"]; !slices.Equal(got, pilots) {
		m.t.Fatalf("pilots are %q, want %q", got, pilots)
	}
	// The filter agrees with the values, the in-chain rule with both.
	if g := m.some(true); g != nil {
		var want []string
		for dn := range m.things {
			if slices.Contains(m.groupsOf(dn), g.dn()) {
				want = append(want, dn)
			}
		}
		if slices.Contains(m.groupsOf(pilotsDN), g.dn()) {
			want = append(want, pilotsDN)
		}
		slices.Sort(want)
		for _, f := range []ldap.Filter{ldap.Eq("memberOf", g.dn()), ldap.Extensible("memberOf", false, "1.2.840.113556.1.4.1941", g.dn())} {
			if got := slices.Sorted(maps.Keys(m.search(f, "1.1"))); !slices.Equal(got, want) {
				m.t.Fatalf("%s finds %q, want %q", f.String(), got, want)
			}
		}
	}
}
