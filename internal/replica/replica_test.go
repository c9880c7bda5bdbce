package replica_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"portolan/internal/dit"
	"portolan/internal/kv"
	"portolan/internal/ldaptest"
	"portolan/internal/op"
	"portolan/internal/replica"
	"portolan/internal/store"
	"portolan/ldap"
)

const people = `dn: dc=example,dc=org
objectClass: domain
dc: example

dn: ou=people,dc=example,dc=org
objectClass: organizationalUnit
ou: people

dn: ou=groups,dc=example,dc=org
objectClass: organizationalUnit
ou: groups

dn: uid=ann,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: ann
cn: Ann
sn: A
mail: ann@example.org
userPassword: ann-secret

dn: uid=bob,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: bob
cn: Bob
sn: B

dn: cn=staff,ou=groups,dc=example,dc=org
objectClass: groupOfNames
cn: staff
member: uid=ann,ou=people,dc=example,dc=org
member: uid=bob,ou=people,dc=example,dc=org
`

// pair is a provider and its replica.
type pair struct {
	t        testing.TB
	provider *ldaptest.Server
	replica  *ldaptest.Server
	more     string // configuration of the replica
	login    string
	log      *logText
}

// logText is a log to look into.
type logText struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logText) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// newPair starts both.
func newPair(t testing.TB, o ldaptest.Options, more string) *pair {
	t.Helper()
	if o.LDIF == "" {
		o.LDIF = people
	}
	p := &pair{t: t, more: more, log: &logText{}}
	p.login = loginOf(t, ldaptest.AdminDN, ldaptest.AdminPassword)
	// Where it can be started again.
	ports, err := ldaptest.FreePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	o.Addr = fmt.Sprintf("127.0.0.1:%d", ports[0])
	p.provider = ldaptest.Start(t, o)
	p.start(nil)
	return p
}

// start starts the replica over what there is.
func (p *pair) start(db kv.DB) {
	p.t.Helper()
	login := p.login
	if strings.Contains(p.more, "bind_dn") {
		login = ""
	}
	config := fmt.Sprintf("[[replica]]\nurl = \"ldap://%s\"\ntls = \"off\"\n%s%s", p.provider.Addr, login, p.more)
	p.replica = ldaptest.Start(p.t, ldaptest.Options{Config: config, KV: db, Log: slog.New(slog.NewTextHandler(p.log, nil))})
}

// catchUp waits until the copy has all that the provider has.
func (p *pair) catchUp() replica.Status {
	p.t.Helper()
	want := p.provider.Store.LastCSN().String()
	return p.replica.Copy(p.t, "CSN "+want, true, func(x *replica.Status) bool {
		return x.CSN >= want && (x.State == replica.InStep || x.State == replica.Polled)
	})
}

// do performs an operation at the provider.
func (p *pair) do(m ldap.Op) {
	p.t.Helper()
	if err := p.provider.As(ldaptest.AdminDN, m); err != nil {
		p.t.Fatalf("%T: %v", m, err)
	}
}

func (p *pair) add(text string) {
	p.t.Helper()
	p.provider.Load(p.t, text)
}

func (p *pair) set(dn, attr string, values ...string) {
	p.t.Helper()
	mod := ldap.Mod{Op: ldap.ModReplace, Attribute: ldap.Attribute{Type: []byte(attr)}}
	for _, v := range values {
		mod.Attribute.Values = append(mod.Attribute.Values, []byte(v))
	}
	p.do(&ldap.ModifyRequest{Object: []byte(dn), Changes: []ldap.Mod{mod}})
}

func (p *pair) rename(dn, rdn, above string) {
	p.t.Helper()
	m := &ldap.ModifyDNRequest{Entry: []byte(dn), NewRDN: []byte(rdn), DeleteOldRDN: true}
	if above != "" {
		m.NewSuperior, m.HasNewSuperior = []byte(above), true
	}
	p.do(m)
}

func (p *pair) remove(dn string) {
	p.t.Helper()
	p.do(&ldap.DelRequest{Entry: []byte(dn)})
}

// content is everything that is stored, as text: names, and all values of all attributes.
func content(t testing.TB, s *ldaptest.Server) []string {
	t.Helper()
	view := s.Store.View()
	defer view.Close()
	var out []string
	err := op.Walk(view, 0, func(e *dit.Entry) error {
		name, err := view.Name(e)
		if err != nil {
			return err
		}
		var lines []string
		for slot, d := range e.Shape().Slots {
			err := op.EachValue(view, e, slot, func(v []byte) bool {
				lines = append(lines, fmt.Sprintf("%s: %q", d, v))
				return true
			})
			if err != nil {
				return err
			}
		}
		slices.Sort(lines)
		out = append(out, "dn: "+name.DN+"\n"+strings.Join(lines, "\n"))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(out)
	return out
}

// same holds the copy against the original, and checks both stores.
func (p *pair) same(when string) {
	p.t.Helper()
	p.catchUp()
	want, have := content(p.t, p.provider), content(p.t, p.replica)
	for _, e := range want {
		if !slices.Contains(have, e) {
			p.t.Errorf("%s: missing in the copy:\n%s", when, e)
		}
	}
	for _, e := range have {
		if !slices.Contains(want, e) {
			p.t.Errorf("%s: in the copy alone:\n%s", when, e)
		}
	}
	_, err := p.replica.Store.Check(context.Background(), func(f store.Finding) { p.t.Errorf("%s: the check of the copy: %+v", when, f) })
	if err != nil {
		p.t.Errorf("%s: the check of the copy: %v", when, err)
	}
	if p.t.Failed() {
		p.t.Fatalf("the replica's log:\n%s", p.log)
	}
}

func TestFollows(t *testing.T) {
	p := newPair(t, ldaptest.Options{}, "")
	p.same("at first")
	p.add("dn: uid=cleo,ou=people,dc=example,dc=org\nobjectClass: inetOrgPerson\nuid: cleo\ncn: Cleo\nsn: C\n")
	p.same("after an add")
	p.set("uid=cleo,ou=people,dc=example,dc=org", "description", "one", "two")
	p.same("after a modify")
	p.rename("uid=cleo,ou=people,dc=example,dc=org", "uid=clio", "")
	p.same("after a rename")
	p.add("dn: ou=old,dc=example,dc=org\nobjectClass: organizationalUnit\nou: old\n")
	p.rename("ou=people,dc=example,dc=org", "ou=persons", "ou=old,dc=example,dc=org")
	p.same("after a move of a subtree")
	p.remove("uid=clio,ou=persons,ou=old,dc=example,dc=org")
	p.same("after a delete")
}
