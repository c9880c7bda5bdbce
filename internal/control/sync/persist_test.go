package sync_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"portolan/internal/ldaptest"
	"portolan/ldap"
)

// The persist stage tells what has changed, as what it is to the copy.
func TestPersist(t *testing.T) {
	s := start(t, ldaptest.Options{})
	bosses := admin(t, request(people, "(title=boss)", "*", "+")).attach(s)
	whole := admin(t, request(suffix, "(objectClass=*)", "*", "+")).attach(s)
	check := func(what string, states ...string) {
		t.Helper()
		whole.catchUp(s)
		whole.compare(s, what)
		bosses.catchUp(s)
		bosses.compare(s, what)
		bosses.mu.Lock()
		have := bosses.states
		bosses.mu.Unlock()
		bosses.reset()
		if !slices.Equal(have, states) {
			t.Errorf("%s:\n%s\nwant\n%s", what, strings.Join(have, "\n"), strings.Join(states, "\n"))
		}
	}
	check("the refresh", "1 dn: uid=ann,"+people)
	do(t, s, set("uid=bob,"+people, "title", "boss"))
	check("it enters", "1 dn: uid=bob,"+people)
	do(t, s, set("uid=bob,"+people, "sn", "BB"))
	check("it changes", "2 dn: uid=bob,"+people)
	do(t, s, set("uid=bob,"+people, "title"))
	check("it leaves", "3 dn: uid=bob,"+people)
	do(t, s, set("uid=bob,"+people, "sn", "B"))
	check("something else changes")
	together(t, s, person("uid=carl,"+people, "title", "boss"), set("uid=ann,"+people, "sn", "AA"), remove("uid=bob,"+people))
	check("three in one transaction", "1 dn: uid=carl,"+people, "2 dn: uid=ann,"+people)
	together(t, s, unit("ou=team,"+people), move("uid=ann,"+people, "uid=ann", "ou=team,"+people))
	check("a move", "2 dn: uid=ann,ou=team,"+people)
	do(t, s, move("ou=team,"+people, "ou=squad", ""))
	check("an entry above gets another name", "2 dn: uid=ann,ou=squad,"+people)
	do(t, s, move("ou=squad,"+people, "ou=squad", "ou=old,"+suffix))
	check("a subtree leaves", "3 dn: uid=ann,ou=squad,"+people)
	do(t, s, move("ou=squad,ou=old,"+suffix, "ou=squad", people))
	check("a subtree enters", "1 dn: uid=ann,ou=squad,"+people)
	s.Clock().Advance(-time.Hour)
	do(t, s, set("uid=ann,ou=squad,"+people, "sn", "A"))
	check("the clock steps back", "2 dn: uid=ann,ou=squad,"+people)
	together(t, s, remove("uid=ann,ou=squad,"+people), person("uid=ann,ou=squad,"+people, "title", "boss"))
	check("another entry of the same name", "3 dn: uid=ann,ou=squad,"+people, "1 dn: uid=ann,ou=squad,"+people)
	together(t, s, move("uid=carl,"+people, "uid=x", ""), move("uid=ann,ou=squad,"+people, "uid=carl", people), move("uid=x,"+people, "uid=ann", "ou=squad,"+people))
	check("two exchange names", "2 dn: uid=carl,"+people, "2 dn: uid=ann,ou=squad,"+people)
	var many []ldap.Op
	for i := range 60 {
		many = append(many, person(fmt.Sprintf("uid=m%02d,ou=old,%s", i, suffix)))
	}
	together(t, s, many...)
	check("many elsewhere")
	for i := range many {
		many[i] = remove(string(many[i].(*ldap.AddRequest).Entry))
	}
	together(t, s, many...)
	check("many elsewhere go")

	// The cookie of the persist stage is as good as any.
	bosses.detach()
	do(t, s, set("uid=carl,"+people, "title"))
	bosses.poll(s, false)
	bosses.compare(s, "polled after it was attached")
	if bosses.entries != 0 || bosses.deleted != 1 {
		t.Errorf("%d entries and %d deletes for one that has left", bosses.entries, bosses.deleted)
	}
}

// Searches that persist end with a result that says why, and with a cookie where the copy is good.
func TestPersistEnds(t *testing.T) {
	s := start(t, ldaptest.Options{Config: readers("cn", "objectClass", "uid")})
	await := func(a *attached, code ldap.ResultCode, cookie bool) {
		t.Helper()
		select {
		case err := <-a.end:
			a.end <- err
			if ldap.CodeOf(err) != code || a.last == nil || (a.last.Cookie != nil) != cookie {
				t.Errorf("it ended with %v and %+v, want %v and a cookie: %v", err, a.last, code, cookie)
			}
		case <-time.After(patience):
			t.Fatal("it does not end")
		}
	}
	all := func() *consumer { return newConsumer(t, reader, secret, request(suffix, "(objectClass=*)")) }
	reload := func(text string) { s.Reconfigure(t, text) }

	a := all().attach(s)
	reload(readers("cn", "objectClass", "uid", "sn"))
	await(a, ldap.SyncRefreshRequired, false)
	if a.poll(s, false); a.entries != 7 {
		t.Errorf("after a change of rules there are %d entries, not the whole content", a.entries)
	}
	a.compare(s, "after a change of rules")

	// A plain cookie does not say under which rules it was made: what it is worth is remembered here.
	a = all().attach(s)
	a.compare(s, "attached anew")
	plain, _, _ := strings.Cut(string(a.cookie), ",portolan=")
	reload(readers("cn", "objectClass"))
	await(a, ldap.SyncRefreshRequired, false)
	a.cookie = []byte(plain)
	before := cookieCSN(t, a.cookie)
	if a.poll(s, true); a.entries != 7 || cookieCSN(t, a.cookie).Compare(before) <= 0 {
		t.Errorf("%d entries for a plain cookie from before a change of rules, and the cookie %s", a.entries, a.cookie)
	}
	a.compare(s, "a plain cookie after a change of rules")
	plain, _, _ = strings.Cut(string(a.cookie), ",portolan=")
	a.cookie = []byte(plain)
	if a.poll(s, true); a.entries != 0 {
		t.Errorf("%d entries for a plain cookie of these rules", a.entries)
	}

	// The same rules in other words are the same.
	a = all().attach(s)
	reload("# the same\n" + readers("cn", "objectClass"))
	do(t, s, set("uid=bob,"+people, "cn", "Robert"))
	a.catchUp(s)
	a.compare(s, "the same rules")

	b := newConsumer(t, reader, secret, request(groups, "(objectClass=*)")).attach(s)
	do(t, s, move(groups, "ou=sets", ""))
	await(b, ldap.NoSuchObject, true)
	do(t, s, unit(groups))
	a.catchUp(s)
	a.compare(s, "the base of another one gone")

	conn := a.conn
	if _, err := conn.Extended(context.Background(), "1.3.6.1.4.1.4203.1.11.3", nil, nil); err != nil {
		t.Errorf("the connection does not serve others meanwhile: %v", err)
	}
}

// Ten consumers attached, and one that does not read: nobody waits for it, and it gets everything when it does.
func TestSlowReader(t *testing.T) {
	s := start(t, ldaptest.Options{})
	raw, err := net.Dial("tcp", s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	// What the network holds is little, whatever this machine's network holds if it is let.
	if err := raw.(*net.TCPConn).SetReadBuffer(64 << 10); err != nil {
		t.Fatal(err)
	}
	slow := admin(t, request(suffix, "(objectClass=*)"))
	send := func(id int32, m ldap.Op, controls ...ldap.Control) {
		if _, err := raw.Write(ldap.AppendMessage(nil, id, m, controls)); err != nil {
			t.Fatal(err)
		}
	}
	send(1, &ldap.BindRequest{Version: 3, Name: []byte(ldaptest.AdminDN), Password: []byte(ldaptest.AdminPassword)})
	if _, err := raw.Read(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	send(2, slow.search, slow.request(ldap.RefreshAndPersist, true)...)
	var others []*attached
	for range 10 {
		others = append(others, admin(t, request(suffix, "(objectClass=*)")).attach(s))
	}
	long := strings.Repeat("x", 60<<10)
	for i := range 150 {
		do(t, s, set("uid=bob,"+people, "description", fmt.Sprint(i, long)))
	}
	for _, o := range others {
		o.catchUp(s)
		o.compare(s, "beside one who does not read")
	}
	// Now it reads, until it has the last state.
	want := s.Store.LastCSN().String()
	var tail string
	buf := make([]byte, 64<<10)
	if err := raw.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	total := 0
	for !strings.Contains(tail, want) {
		n, err := raw.Read(buf)
		if err != nil {
			t.Fatalf("after %d octets: %v", total, err)
		}
		total += n
		tail = tail[max(0, len(tail)-200):] + string(buf[:n])
	}
	if whole := 150 * len(long); total > whole {
		t.Errorf("the slow reader was sent %d octets, and every state has %d together: nothing was put together", total, whole)
	}
}

// Only so many may stay.
func TestPlaces(t *testing.T) {
	s := start(t, ldaptest.Options{Config: "[limits]\nmax_persistent = 2\n"})
	one := admin(t, request(suffix, "(objectClass=*)")).attach(s)
	admin(t, request(suffix, "(objectClass=*)")).attach(s)
	third := admin(t, request(suffix, "(objectClass=*)"))
	try := func() error {
		conn := third.dial(context.Background(), s)
		defer conn.Close()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_, err := conn.Do(ctx, third.search, third.request(ldap.RefreshAndPersist, true), func(m *ldap.Message) error {
			if _, ok := m.Op.(*ldap.IntermediateResponse); ok {
				return errThere
			}
			return nil
		})
		return err
	}
	if err := try(); ldap.CodeOf(err) != ldap.AdminLimitExceeded {
		t.Fatalf("the third: %v", err)
	}
	third.poll(s, false) // polling takes no place
	one.detach()
	for deadline := time.Now().Add(patience); !errors.Is(try(), errThere); {
		if time.Now().After(deadline) {
			t.Fatal("a place is not given back")
		}
	}
}

var errThere = errors.New("the refresh stage is over")

// What does not go together is refused before anything is done.
func TestRefused(t *testing.T) {
	s := start(t, ldaptest.Options{})
	c := admin(t, request(suffix, "(objectClass=*)"))
	try := func(what string, want ldap.ResultCode, change func(m *ldap.SearchRequest), more ...ldap.Control) {
		t.Helper()
		m := *c.search
		if change != nil {
			change(&m)
		}
		conn := c.dial(context.Background(), s)
		defer conn.Close()
		_, err := conn.Do(context.Background(), &m, append(c.request(ldap.RefreshOnly, false), more...), nil)
		if ldap.CodeOf(err) != want {
			t.Errorf("%s: %v", what, err)
		}
	}
	try("dereferencing while searching", ldap.ProtocolError, func(m *ldap.SearchRequest) { m.Deref = ldap.DerefSearching })
	try("dereferencing always", ldap.ProtocolError, func(m *ldap.SearchRequest) { m.Deref = ldap.DerefAlways })
	try("dereferencing the base", ldap.Success, func(m *ldap.SearchRequest) { m.Deref = ldap.DerefFinding })
	try("the root DSE", ldap.UnwillingToPerform, func(m *ldap.SearchRequest) { m.Base, m.Scope = nil, ldap.ScopeBase })
	try("all naming contexts", ldap.Success, func(m *ldap.SearchRequest) { m.Base = nil })
	try("the subschema", ldap.UnwillingToPerform, func(m *ldap.SearchRequest) { m.Base, m.Scope = []byte("cn=Subschema"), ldap.ScopeBase })
	try("no such base", ldap.NoSuchObject, func(m *ldap.SearchRequest) { m.Base = []byte("ou=nobody," + suffix) })
	try("a size limit", ldap.SizeLimitExceeded, func(m *ldap.SearchRequest) { m.SizeLimit = 2 })
	try("paging", ldap.ProtocolError, nil, ldap.Control{OID: []byte("1.2.840.113556.1.4.319"), Value: []byte{0x30, 5, 2, 1, 1, 4, 0}, HasValue: true})
	conn := c.dial(context.Background(), s)
	defer conn.Close()
	for _, value := range [][]byte{nil, {0x30, 0}, {0x30, 3, 0x0a, 1, 2}} {
		_, err := conn.Do(context.Background(), c.search, []ldap.Control{{OID: []byte(ldap.SyncRequestOID), Value: value, HasValue: value != nil}}, nil)
		if ldap.CodeOf(err) != ldap.ProtocolError {
			t.Errorf("the value % x: %v", value, err)
		}
	}
}
