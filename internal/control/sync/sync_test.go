package sync_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"portolan/internal/ldaptest"
	"portolan/internal/op"
	"portolan/ldap"
)

const (
	suffix = ldaptest.Suffix
	people = "ou=people," + suffix
	groups = "ou=groups," + suffix
	reader = "cn=reader," + suffix
	secret = "reader-secret"
)

const content = `
dn: dc=example,dc=org
objectClass: domain
dc: example

dn: ou=people,dc=example,dc=org
objectClass: organizationalUnit
ou: people

dn: ou=groups,dc=example,dc=org
objectClass: organizationalUnit
ou: groups

dn: ou=old,dc=example,dc=org
objectClass: organizationalUnit
ou: old

dn: cn=reader,dc=example,dc=org
objectClass: applicationProcess
objectClass: simpleSecurityObject
cn: reader
userPassword: reader-secret

dn: uid=ann,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: ann
cn: Ann
sn: A
title: boss
userPassword: ann-secret

dn: uid=bob,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: bob
cn: Bob
sn: B

dn: cn=readers,ou=groups,dc=example,dc=org
objectClass: groupOfNames
cn: readers
member: uid=ann,ou=people,dc=example,dc=org
`

func start(t testing.TB, o ldaptest.Options) *ldaptest.Server {
	t.Helper()
	if o.LDIF == "" && o.KV == nil {
		o.LDIF = content
	}
	return ldaptest.Start(t, o)
}

func request(base string, filter string, attrs ...string) *ldap.SearchRequest {
	f, err := ldap.ParseFilter(filter)
	if err != nil {
		panic(err)
	}
	m := &ldap.SearchRequest{Base: []byte(base), Scope: ldap.ScopeSub, Filter: f}
	for _, a := range attrs {
		m.Attributes = append(m.Attributes, []byte(a))
	}
	return m
}

func admin(t testing.TB, m *ldap.SearchRequest) *consumer {
	return newConsumer(t, ldaptest.AdminDN, ldaptest.AdminPassword, m)
}

// do performs writes as the administrator.
func do(t testing.TB, s *ldaptest.Server, ops ...ldap.Op) {
	t.Helper()
	for _, m := range ops {
		if err := s.As(ldaptest.AdminDN, m); err != nil {
			t.Fatalf("%+v: %v", m, err)
		}
	}
}

// together performs writes as one transaction.
func together(t testing.TB, s *ldaptest.Server, ops ...ldap.Op) {
	t.Helper()
	id := s.Engine.AdminIdentity("internal")
	var reqs []*op.Request
	for i, m := range ops {
		reqs = append(reqs, &op.Request{Conn: &op.Conn{Transport: op.Unix, Loopback: true}, ID: int32(i + 1), Op: m, Identity: id, Start: time.Now()})
	}
	if at, err := s.Engine.Directory().Batch(context.Background(), reqs); err != nil {
		t.Fatalf("operation %d: %v", at, err)
	}
}

func person(dn string, more ...string) *ldap.AddRequest {
	rdn, _, _ := strings.Cut(dn, ",")
	_, uid, _ := strings.Cut(rdn, "=")
	return add(dn, append([]string{"objectClass", "inetOrgPerson", "cn", uid, "sn", uid}, more...)...)
}

func unit(dn string) *ldap.AddRequest { return add(dn, "objectClass", "organizationalUnit") }

func add(dn string, pairs ...string) *ldap.AddRequest {
	m := &ldap.AddRequest{Entry: []byte(dn)}
	for i := 0; i < len(pairs); i += 2 {
		at := slices.IndexFunc(m.Attributes, func(a ldap.Attribute) bool { return string(a.Type) == pairs[i] })
		if at < 0 {
			at = len(m.Attributes)
			m.Attributes = append(m.Attributes, ldap.Attribute{Type: []byte(pairs[i])})
		}
		m.Attributes[at].Values = append(m.Attributes[at].Values, []byte(pairs[i+1]))
	}
	return m
}

func set(dn, attr string, values ...string) *ldap.ModifyRequest {
	mod := ldap.Mod{Op: ldap.ModReplace, Attribute: ldap.Attribute{Type: []byte(attr)}}
	for _, v := range values {
		mod.Attribute.Values = append(mod.Attribute.Values, []byte(v))
	}
	return &ldap.ModifyRequest{Object: []byte(dn), Changes: []ldap.Mod{mod}}
}

func remove(dn string) *ldap.DelRequest { return &ldap.DelRequest{Entry: []byte(dn)} }

func move(dn, rdn, superior string) *ldap.ModifyDNRequest {
	m := &ldap.ModifyDNRequest{Entry: []byte(dn), NewRDN: []byte(rdn), DeleteOldRDN: true}
	if superior != "" {
		m.NewSuperior, m.HasNewSuperior = []byte(superior), true
	}
	return m
}

// trim makes the server forget all records but the newest.
func trim(t testing.TB, s *ldaptest.Server) {
	t.Helper()
	s.Clock().Advance(48 * time.Hour)
	if err := s.Store.TrimJournal(context.Background()); err != nil {
		t.Fatal(err)
	}
	s.Clock().Advance(-48 * time.Hour)
	if first, last := s.Store.JournalBounds(); first != last {
		t.Fatalf("the journal still has %d to %d", first, last)
	}
}

const shortJournal = "[journal]\nmax_age = \"1h\"\n"

// The life of a copy that is polled.
func TestPoll(t *testing.T) {
	s := start(t, ldaptest.Options{Config: shortJournal})
	whole := admin(t, request(suffix, "(objectClass=*)", "*", "+"))
	bosses := admin(t, request(people, "(title=boss)"))
	done := whole.poll(s, false)
	if done.RefreshDeletes || whole.entries != 8 {
		t.Errorf("the initial content has %d entries, refreshDeletes %v", whole.entries, done.RefreshDeletes)
	}
	bosses.poll(s, false)
	check := func(what string, deletes bool, entries, named, deleted int) {
		t.Helper()
		for _, x := range []*consumer{whole, bosses} {
			done := x.poll(s, false)
			x.compare(s, what)
			if done.RefreshDeletes != deletes {
				t.Errorf("%s: refreshDeletes is %v", what, done.RefreshDeletes)
			}
		}
		if whole.entries != entries || whole.named != named || whole.deleted != deleted {
			t.Errorf("%s: %d entries, %d named, %d deleted; want %d, %d, %d\n%s", what, whole.entries, whole.named, whole.deleted,
				entries, named, deleted, strings.Join(whole.states, "\n"))
		}
	}
	check("nothing", true, 0, 0, 0)
	do(t, s, set("uid=bob,"+people, "title", "boss"), set("uid=bob,"+people, "sn", "BB"))
	check("an entry that enters", true, 1, 0, 0)
	if bosses.entries != 1 || bosses.deleted != 0 {
		t.Errorf("bosses: %d entries, %d deleted", bosses.entries, bosses.deleted)
	}
	do(t, s, set("uid=ann,"+people, "title", "clerk"))
	check("an entry that leaves", true, 1, 0, 0)
	if bosses.entries != 0 || bosses.deleted != 1 {
		t.Errorf("bosses: %d entries, %d deleted", bosses.entries, bosses.deleted)
	}
	do(t, s, person("uid=carl,"+people), remove("uid=carl,"+people))
	check("an entry that comes and goes", true, 0, 0, 0)
	do(t, s, person("uid=carl,"+people, "title", "boss"), remove("uid=bob,"+people))
	check("an add and a delete", true, 1, 0, 1)
	do(t, s, unit("ou=team,"+people), move("uid=ann,"+people, "uid=ann", "ou=team,"+people), set("uid=ann,ou=team,"+people, "title", "boss"))
	check("a move", true, 3, 0, 0) // refint changes the group
	do(t, s, move("ou=team,"+people, "ou=squad", ""))
	check("a rename of a subtree", true, 3, 0, 0)
	do(t, s, move("ou=squad,"+people, "ou=squad", "ou=old,"+suffix))
	check("a subtree out of scope", true, 3, 0, 0)
	if bosses.deleted != 1 {
		t.Errorf("bosses: %d deleted", bosses.deleted)
	}
	do(t, s, move("ou=squad,ou=old,"+suffix, "ou=squad", people))
	check("a subtree into scope", true, 3, 0, 0)
	s.Clock().Advance(-time.Hour)
	together(t, s, set("uid=carl,"+people, "sn", "CC"), set("uid=ann,ou=squad,"+people, "sn", "AA"), set(people, "description", "three"))
	check("three in one transaction, the clock stepped back", true, 3, 0, 0)

	do(t, s, person("uid=dora,"+people, "title", "boss"), remove("uid=carl,"+people), set("uid=ann,ou=squad,"+people, "title"))
	trim(t, s)
	check("the journal trimmed", false, 2, 7, 0)
	do(t, s, move("ou=squad,"+people, "ou=crew", ""), set("uid=dora,"+people, "sn", "D"))
	trim(t, s)
	check("a subtree renamed, the journal trimmed", false, 4, 5, 0) // the group's member has a new name
}

// Cookies are for those who got them, for what they got, and for the policy under which they got it.
func TestCookies(t *testing.T) {
	db := start(t, ldaptest.Options{Config: readers("cn", "objectClass", "uid")})
	mine := newConsumer(t, reader, secret, request(suffix, "(objectClass=*)"))
	mine.poll(db, false)
	cookie := string(mine.cookie)
	try := func(what string, want ldap.ResultCode, entries int, c *consumer, cookie string, hint bool) {
		t.Helper()
		c.cookie = []byte(cookie)
		c.reset()
		ctx := context.Background()
		conn := c.dial(ctx, db)
		defer conn.Close()
		r, err := conn.Do(ctx, c.search, c.request(ldap.RefreshOnly, hint), c.take)
		if ldap.CodeOf(err) != want || c.entries != entries {
			t.Errorf("%s: %v and %d entries, want %v and %d", what, err, c.entries, want, entries)
		}
		if done := c.done(r); want == ldap.SyncRefreshRequired && (done == nil || done.Cookie != nil) {
			t.Errorf("%s: a full refresh is asked for with %+v", what, done)
		}
	}
	same := func() *consumer {
		c := newConsumer(t, reader, secret, request(suffix, "(objectClass=*)"))
		c.copy = mine.copy
		return c
	}
	const all = 7
	try("its own", ldap.Success, 0, same(), cookie, false)
	try("another filter", ldap.SyncRefreshRequired, 0, newConsumer(t, reader, secret, request(suffix, "(cn=*)")), cookie, false)
	try("another filter, with a hint", ldap.Success, 4, newConsumer(t, reader, secret, request(suffix, "(cn=*)")), cookie, true)
	try("other attributes", ldap.SyncRefreshRequired, 0, newConsumer(t, reader, secret, request(suffix, "(objectClass=*)", "cn")), cookie, false)
	try("another base", ldap.SyncRefreshRequired, 0, newConsumer(t, reader, secret, request(people, "(objectClass=*)")), cookie, false)
	try("somebody else", ldap.SyncRefreshRequired, 0, admin(t, request(suffix, "(objectClass=*)")), cookie, false)
	try("tampered with", ldap.SyncRefreshRequired, 0, same(), strings.Replace(cookie, "rid=000", "rid=001", 1), false)
	try("cut", ldap.SyncRefreshRequired, 0, same(), cookie[:len(cookie)-1], false)
	try("rubbish", ldap.SyncRefreshRequired, 0, same(), "rubbish", false)
	try("an empty one", ldap.Success, all, same(), "", false)
	try("OpenLDAP's, of no state", ldap.Success, all, same(), "rid=001", false)
	plain, _, _ := strings.Cut(cookie, ",portolan=")
	try("OpenLDAP's", ldap.Success, 0, same(), plain, false)
	try("OpenLDAP's, of the past", ldap.Success, all, same(), "rid=001,csn=20010101000000.000000Z#000000#000#000000", false)
	try("OpenLDAP's, of the future", ldap.UnwillingToPerform, 0, same(), "rid=001,csn=20990101000000.000000Z#000000#000#000000", false)
	do(t, db, set("uid=bob,"+people, "cn", "Robert"))
	try("OpenLDAP's, one change behind", ldap.Success, 1, same(), plain, false)
	try("its own, one change behind", ldap.Success, 1, same(), cookie, false)
}

// readers gives reader the attributes of everything but of ou=old.
func readers(attrs ...string) string {
	return fmt.Sprintf(`
[security]
builtin_access = false
[[access]]
allow = ["read", "search", "compare", "disclose"]
who = "dn:%s"
attrs = ["entry", "%s"]
[[access]]
deny = ["read", "search", "disclose"]
who = "dn:%s"
on = "subtree:ou=old,%s"
`, reader, strings.Join(attrs, `", "`), reader, suffix)
}
