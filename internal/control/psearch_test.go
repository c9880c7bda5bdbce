package control_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	gosync "sync"
	"testing"
	"time"

	"portolan/ber"
	"portolan/internal/client"
	"portolan/internal/control"
	"portolan/internal/ldaptest"
	"portolan/ldap"
)

const (
	suffix   = ldaptest.Suffix
	people   = "ou=people," + suffix
	patience = 3 * time.Minute
)

const content = `
dn: dc=example,dc=org
objectClass: domain
dc: example

dn: ou=people,dc=example,dc=org
objectClass: organizationalUnit
ou: people

dn: ou=hidden,dc=example,dc=org
objectClass: organizationalUnit
ou: hidden

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
`

// follower is a client of a persistent search. What it was told stands in lines: the type of the change, the name, and
// what is asked for.
type follower struct {
	t    testing.TB
	end  chan error
	wake chan struct{}

	mu      gosync.Mutex
	told    []string
	numbers []int64
	hold    chan struct{} // while not nil and open, nothing is read; see stop
}

func value(types int64, changesOnly, controls bool) ldap.Control {
	v, seq := ber.Begin(nil, ber.Sequence)
	v = ber.AppendInt(v, ber.Integer, types)
	v = ber.AppendBool(ber.AppendBool(v, ber.Boolean, changesOnly), ber.Boolean, controls)
	return ldap.Control{OID: []byte(control.PersistentSearchOID), Critical: true, Value: ber.End(v, seq), HasValue: true}
}

// follow begins a persistent search; it returns when the first entry has come, where there is an initial result.
func follow(t testing.TB, s *ldaptest.Server, dn, pw, filter string, ctl ldap.Control) *follower {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	// What the network holds is little, whatever this machine's network holds if it is let.
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		nc, err := new(net.Dialer).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return nc, nc.(*net.TCPConn).SetReadBuffer(64 << 10)
	}
	conn, err := client.Dial(ctx, "ldap://"+s.Addr, client.Options{Dial: dial})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Bind(ctx, dn, pw); err != nil {
		t.Fatal(err)
	}
	parsed, err := ldap.ParseFilter(filter)
	if err != nil {
		t.Fatal(err)
	}
	f := &follower{t: t, end: make(chan error, 1), wake: make(chan struct{}, 1)}
	m := &ldap.SearchRequest{Base: []byte(suffix), Scope: ldap.ScopeSub, Filter: parsed}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, err := conn.Do(ctx, m, []ldap.Control{ctl}, f.take)
		f.end <- err
	}()
	t.Cleanup(func() {
		cancel()
		conn.Close()
		<-done
	})
	return f
}

// stop ends reading, until the returned function is called.
func (f *follower) stop() (goOn func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hold = make(chan struct{})
	return func() { close(f.hold) }
}

func (f *follower) take(m *ldap.Message) error {
	f.mu.Lock()
	hold := f.hold
	f.mu.Unlock()
	if hold != nil {
		<-hold
	}
	p := m.Op.(*ldap.SearchResultEntry)
	line := string(p.Name)
	var number int64
	for _, c := range m.Controls {
		if string(c.OID) != control.EntryChangeOID {
			continue
		}
		r := ber.Reader(c.Value)
		var seq ber.Reader
		var kind int32
		var old []byte
		var renamed bool
		if !r.Element(ber.Sequence, &seq) || !seq.Int32(ber.Enumerated, 1, 8, &kind) || !seq.OptionalBytes(ber.OctetString, &old, &renamed) ||
			!seq.Int(ber.Integer, &number) || !seq.Empty() {
			return fmt.Errorf("an entry change notification that cannot be read: % x", c.Value)
		}
		line = fmt.Sprintf("%d %s", kind, line)
		if renamed {
			line += " was " + string(old)
		}
	}
	for _, a := range p.Attributes {
		if string(a.Type) == "title" || string(a.Type) == "userPassword" {
			line += " " + string(a.Type) + "=" + string(a.Values[0])
		}
	}
	f.mu.Lock()
	f.told, f.numbers = append(f.told, line), append(f.numbers, number)
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default:
	}
	return nil
}

// want waits for exactly these lines.
func (f *follower) want(what string, lines ...string) {
	f.t.Helper()
	late := time.After(patience)
	for {
		f.mu.Lock()
		told := slices.Clone(f.told)
		f.mu.Unlock()
		if len(told) >= len(lines) {
			if !slices.Equal(told, lines) {
				f.t.Fatalf("%s:\n%s\nwant\n%s", what, strings.Join(told, "\n"), strings.Join(lines, "\n"))
			}
			f.mu.Lock()
			f.told = nil
			f.mu.Unlock()
			return
		}
		select {
		case <-f.wake:
		case err := <-f.end:
			f.end <- err
			f.t.Fatalf("%s: the search has ended: %v; told\n%s", what, err, strings.Join(told, "\n"))
		case <-late:
			f.t.Fatalf("%s: told\n%s", what, strings.Join(told, "\n"))
		}
	}
}

func do(t testing.TB, s *ldaptest.Server, ops ...ldap.Op) {
	t.Helper()
	for _, m := range ops {
		if err := s.As(ldaptest.AdminDN, m); err != nil {
			t.Fatalf("%+v: %v", m, err)
		}
	}
}

func set(dn, attr, value string) *ldap.ModifyRequest {
	return &ldap.ModifyRequest{Object: []byte(dn), Changes: []ldap.Mod{{Op: ldap.ModReplace,
		Attribute: ldap.Attribute{Type: []byte(attr), Values: [][]byte{[]byte(value)}}}}}
}

func addPerson(dn, title string) *ldap.AddRequest {
	m := &ldap.AddRequest{Entry: []byte(dn)}
	for _, pair := range [][2]string{{"objectClass", "inetOrgPerson"}, {"cn", "x"}, {"sn", "x"}, {"title", title}} {
		m.Attributes = append(m.Attributes, ldap.Attribute{Type: []byte(pair[0]), Values: [][]byte{[]byte(pair[1])}})
	}
	return m
}

func move(dn, rdn, superior string) *ldap.ModifyDNRequest {
	m := &ldap.ModifyDNRequest{Entry: []byte(dn), NewRDN: []byte(rdn), DeleteOldRDN: true}
	if superior != "" {
		m.NewSuperior, m.HasNewSuperior = []byte(superior), true
	}
	return m
}

// Every change is told in its order, with its number, as the entry was by then.
func TestPersistentSearch(t *testing.T) {
	s := ldaptest.Start(t, ldaptest.Options{LDIF: content})
	admin := func(filter string, ctl ldap.Control) *follower {
		return follow(t, s, ldaptest.AdminDN, ldaptest.AdminPassword, filter, ctl)
	}
	all := admin("(objectClass=person)", value(15, false, true))
	bosses := admin("(title=boss)", value(15, false, true))
	deletes := admin("(objectClass=person)", value(2|8, false, true))
	bare := admin("(objectClass=person)", value(15, false, false))
	const ann, bob = "uid=ann," + people, "uid=bob," + people
	for _, f := range []*follower{all, bosses, deletes, bare} {
		f.want("the initial result", ann+" title=boss userPassword="+hashOf(t, s, ann))
	}
	hash := " userPassword=" + hashOf(t, s, ann)
	do(t, s, addPerson(bob, "clerk"), set(bob, "title", "boss"), set(ann, "title", "clerk"), set(ann, "title", "chief"),
		move(bob, "uid=rob", ""), set(suffix, "description", "x"), &ldap.DelRequest{Entry: []byte("uid=rob," + people)})
	rob := "uid=rob," + people
	all.want("all", "1 "+bob+" title=clerk", "4 "+bob+" title=boss", "4 "+ann+" title=clerk"+hash, "4 "+ann+" title=chief"+hash,
		"8 "+rob+" was "+bob+" title=boss", "2 "+rob+" title=boss")
	bosses.want("those that match", "4 "+bob+" title=boss", "8 "+rob+" was "+bob+" title=boss", "2 "+rob+" title=boss")
	deletes.want("deletes and renames", "8 "+rob+" was "+bob+" title=boss", "2 "+rob+" title=boss")
	bare.want("without controls", bob+" title=clerk", bob+" title=boss", ann+" title=clerk"+hash, ann+" title=chief"+hash, rob+" title=boss", rob+" title=boss")
	if n := all.numbers[len(all.numbers)-6:]; !slices.IsSorted(n) || n[0] < 2 || n[5] != n[0]+6 {
		t.Errorf("the numbers of the changes are %d", n)
	}
	only := admin("(objectClass=person)", value(15, true, true))
	only.begun(s, ann)
	if strings.HasPrefix(only.told[0], ann) {
		t.Fatalf("with changesOnly there is an initial result: %s", only.told)
	}
}

// begun changes an entry until a search that has no initial result is told of it: whether the search is there before a change
// is not known, and one after that it must be told. It returns when nothing of that is under way any more.
func (f *follower) begun(s *ldaptest.Server, dn string) {
	f.t.Helper()
	late := time.After(patience)
	for n := 0; ; n++ {
		title := fmt.Sprint("head ", n)
		do(f.t, s, set(dn, "title", title))
		pause := time.After(50 * time.Millisecond)
		for waiting := true; waiting; {
			select {
			case <-f.wake:
			case <-pause:
				waiting = false
			case <-late:
				f.t.Fatalf("told %q", f.told)
			}
			f.mu.Lock()
			told := strings.Join(f.told, "\n")
			f.mu.Unlock()
			if strings.Contains(told, "4 "+dn+" title="+title) {
				return
			}
		}
	}
}

// hashOf is the stored password.
func hashOf(t testing.TB, s *ldaptest.Server, dn string) string {
	v := s.Store.View()
	defer v.Close()
	norm, err := v.Schema().NormalizeDN(nil, []byte(dn))
	if err != nil {
		t.Fatal(err)
	}
	e, _, err := v.Lookup(string(norm))
	if err != nil || e == nil {
		t.Fatalf("%s: %v", dn, err)
	}
	slot := e.Shape().FindType(v.Schema().Known.UserPassword)
	values := e.Values(slot)
	first, _ := values.Next()
	return string(first)
}

// Access rules apply to what is told, to names that were and to what is gone.
func TestPersistentSearchAccess(t *testing.T) {
	s := ldaptest.Start(t, ldaptest.Options{LDIF: content, Config: `
[security]
builtin_access = false
[[access]]
allow = ["read", "search", "disclose"]
who = "dn:cn=reader,dc=example,dc=org"
attrs = ["entry", "objectClass", "title"]
[[access]]
deny = ["read", "search", "disclose"]
who = "dn:cn=reader,dc=example,dc=org"
on = "subtree:ou=hidden,dc=example,dc=org"
`})
	f := follow(t, s, "cn=reader,"+suffix, "reader-secret", "(objectClass=person)", value(15, false, true))
	const ann, bob = "uid=ann," + people, "uid=bob,ou=hidden," + suffix
	f.want("the initial result", ann+" title=boss")
	do(t, s, addPerson(bob, "boss"), set(bob, "title", "clerk"), set(ann, "userPassword", "another-secret"),
		move(bob, "uid=bob", people), move("uid=bob,"+people, "uid=bob", "ou=hidden,"+suffix), &ldap.DelRequest{Entry: []byte(bob)},
		move(ann, "uid=anna", ""), &ldap.DelRequest{Entry: []byte("uid=anna," + people)})
	f.want("what may be seen", "4 "+ann+" title=boss", "8 uid=bob,"+people+" title=clerk", "8 uid=anna,"+people+" was "+ann+" title=boss", "2 uid=anna,"+people+" title=boss")
	// It would be told of userPassword only by name.
	g := follow(t, s, "cn=reader,"+suffix, "reader-secret", "(userPassword=*)", value(15, false, true))
	do(t, s, addPerson("uid=carl,"+people, "boss"), set("uid=carl,"+people, "userPassword", "a-secret-of-carl"))
	f.want("the others", "1 uid=carl,"+people+" title=boss", "4 uid=carl,"+people+" title=boss")
	g.want("nothing")
}

// Nothing is lost between the initial result and the changes: 4 writers, and searches that begin among their writes.
func TestPersistentSearchLosesNothing(t *testing.T) {
	s := ldaptest.Start(t, ldaptest.Options{LDIF: content})
	const writers, each = 4, 40
	var writing gosync.WaitGroup
	var followers []*follower
	begin := make(chan struct{})
	for w := range writers {
		writing.Go(func() {
			<-begin
			for i := range each {
				do(t, s, addPerson(fmt.Sprintf("uid=w%d-%d,%s", w, i, people), "boss"))
			}
		})
	}
	close(begin)
	for range 8 {
		followers = append(followers, follow(t, s, ldaptest.AdminDN, ldaptest.AdminPassword, "(title=boss)", value(15, false, true)))
	}
	writing.Wait()
	for n, f := range followers {
		late := time.After(patience)
		for {
			seen := make(map[string]int)
			f.mu.Lock()
			for _, line := range f.told {
				if at := strings.Index(line, "uid="); at >= 0 {
					name, _, _ := strings.Cut(line[at:], ",")
					seen[name]++
				}
			}
			f.mu.Unlock()
			if len(seen) == writers*each+1 {
				for name, times := range seen {
					if times != 1 {
						t.Errorf("search %d was told of %s %d times", n, name, times)
					}
				}
				break
			}
			select {
			case <-f.wake:
			case <-late:
				t.Fatalf("search %d was told of %d entries", n, len(seen))
			}
		}
	}
}

// A client that does not read is told in the end that it has missed something, and from where on.
func TestPersistentSearchOverflow(t *testing.T) {
	s := ldaptest.Start(t, ldaptest.Options{LDIF: content})
	f := follow(t, s, ldaptest.AdminDN, ldaptest.AdminPassword, "(objectClass=person)", value(15, true, true))
	f.begun(s, "uid=ann,"+people)
	goOn := f.stop()
	long := strings.Repeat("x", 200<<10)
	// 16 MiB of queue, as much on the way, and what the network holds.
	for i := range 200 {
		do(t, s, set("uid=ann,"+people, "description", fmt.Sprint(i, long)))
	}
	goOn()
	select {
	case err := <-f.end:
		f.end <- err
		if ldap.CodeOf(err) != ldap.AdminLimitExceeded || !strings.Contains(err.Error(), "search again") {
			t.Errorf("it ended with %v", err)
		}
	case <-time.After(patience):
		t.Fatal("it goes on, and has lost changes or keeps all of them")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := 1; i < len(f.numbers); i++ {
		if f.numbers[i] != f.numbers[i-1]+1 {
			t.Errorf("change %d is told after %d", f.numbers[i], f.numbers[i-1])
		}
	}
}

func TestPersistentSearchRefused(t *testing.T) {
	s := ldaptest.Start(t, ldaptest.Options{LDIF: content})
	conn, err := client.Dial(context.Background(), "ldap://"+s.Addr, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Bind(context.Background(), ldaptest.AdminDN, ldaptest.AdminPassword); err != nil {
		t.Fatal(err)
	}
	parsed, _ := ldap.ParseFilter("(objectClass=*)")
	for _, x := range []struct {
		what  string
		want  ldap.ResultCode
		base  string
		deref ldap.Deref
		ctl   []ldap.Control
	}{
		{"no value", ldap.ProtocolError, suffix, 0, []ldap.Control{{OID: []byte(control.PersistentSearchOID)}}},
		{"no changes", ldap.ProtocolError, suffix, 0, []ldap.Control{value(0, true, true)}},
		{"changes that there are not", ldap.ProtocolError, suffix, 0, []ldap.Control{value(16, true, true)}},
		{"aliases", ldap.UnwillingToPerform, suffix, ldap.DerefAlways, []ldap.Control{value(15, true, true)}},
		{"paging", ldap.ProtocolError, suffix, 0, []ldap.Control{value(15, true, true), {OID: []byte(control.PagedOID), Value: []byte{0x30, 5, 2, 1, 1, 4, 0}, HasValue: true}}},
		{"no base", ldap.NoSuchObject, "ou=none," + suffix, 0, []ldap.Control{value(15, true, true)}},
		{"the subschema", ldap.UnwillingToPerform, "cn=Subschema", 0, []ldap.Control{value(15, true, true)}},
	} {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		_, err := conn.Do(ctx, &ldap.SearchRequest{Base: []byte(x.base), Scope: ldap.ScopeSub, Deref: x.deref, Filter: parsed}, x.ctl, nil)
		cancel()
		if ldap.CodeOf(err) != x.want {
			t.Errorf("%s: %v", x.what, err)
		}
	}
}
