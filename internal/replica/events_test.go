package replica_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"portolan/internal/dit"
	"portolan/internal/kv"
	"portolan/internal/ldaptest"
	"portolan/internal/op"
	"portolan/internal/replica"
	"portolan/ldap"
)

// stopReplica ends the replica and returns its data.
func (p *pair) stopReplica() kv.DB {
	p.t.Helper()
	return p.replica.Crash(p.t)
}

// restartProvider ends the provider and starts it where it was.
func (p *pair) restartProvider(o ldaptest.Options) {
	p.t.Helper()
	addr := p.provider.Addr
	p.provider.Disconnect()
	db := p.provider.Crash(p.t)
	o.KV, o.Addr, o.LDIF = db, addr, ""
	p.provider = ldaptest.Start(p.t, o)
	p.t.Cleanup(func() { p.replica.Stop(p.t) }) // before the provider, which waits for its clients
}

func person(uid string) string {
	return fmt.Sprintf("dn: uid=%[1]s,ou=people,dc=example,dc=org\nobjectClass: inetOrgPerson\nuid: %[1]s\ncn: %[1]s\nsn: %[1]s\n", uid)
}

// together performs several operations as one transaction.
func (p *pair) together(ops ...ldap.Op) {
	p.t.Helper()
	id, err := p.provider.Engine.IdentifyDN(ldaptest.AdminDN, "internal")
	if err != nil {
		p.t.Fatal(err)
	}
	conn := &op.Conn{Transport: op.Unix, Loopback: true}
	var reqs []*op.Request
	for i, m := range ops {
		reqs = append(reqs, &op.Request{Conn: conn, ID: int32(i + 1), Op: m, Identity: id})
	}
	if at, err := p.provider.Engine.Batch(context.Background(), reqs); err != nil {
		p.t.Fatalf("operation %d: %v", at, err)
	}
}

func TestRestarts(t *testing.T) {
	p := newPair(t, ldaptest.Options{}, "")
	p.same("at first")
	data := p.stopReplica()
	p.add(person("cleo"))
	p.remove("uid=bob,ou=people,dc=example,dc=org")
	p.start(data)
	p.same("after a restart of the replica")
	if x := p.replica.Replicas()[0].Status(); x.Added+x.Modified+x.Unchanged > 2 {
		t.Errorf("everything was told again after a restart: %+v", x)
	}
	p.restartProvider(ldaptest.Options{})
	p.add(person("dora"))
	p.same("after a restart of the provider")
	if x := p.replica.Replicas()[0].Status(); x.Added+x.Modified+x.Unchanged > 4 {
		t.Errorf("everything was told again after a restart of the provider: %+v", x)
	}
}

// What the journal no longer knows is found out by a present phase.
func TestJournalTrimmed(t *testing.T) {
	p := newPair(t, ldaptest.Options{Config: "[journal]\nmax_age = \"1h\"\n"}, "")
	p.same("at first")
	data := p.stopReplica()
	p.add(person("cleo"))
	p.remove("uid=bob,ou=people,dc=example,dc=org")
	p.rename("ou=groups,dc=example,dc=org", "ou=teams", "")
	p.provider.Clock().Advance(2 * time.Hour)
	p.set("uid=ann,ou=people,dc=example,dc=org", "description", "late")
	if err := p.provider.Store.TrimJournal(context.Background()); err != nil {
		t.Fatal(err)
	}
	if first, _ := p.provider.Store.JournalBounds(); first < 8 {
		t.Fatalf("the journal was not trimmed: it begins with record %d", first)
	}
	p.start(data)
	p.same("after a present phase")
	x := p.replica.Replicas()[0].Status()
	if x.Deleted != 1 || x.Added != 1 {
		t.Errorf("%+v", x)
	}
}

func TestClockStepsBack(t *testing.T) {
	p := newPair(t, ldaptest.Options{}, "")
	p.same("at first")
	p.provider.Clock().Advance(-time.Hour)
	p.add(person("cleo"))
	p.same("after the provider's clock was put back")
	data := p.stopReplica()
	p.set("uid=cleo,ou=people,dc=example,dc=org", "description", "x")
	p.start(data)
	p.replica.Clock().Advance(-2 * time.Hour)
	p.same("after a restart")
	p.remove("uid=cleo,ou=people,dc=example,dc=org")
	p.same("after a delete")
}

// Three entries changed in one transaction come as one transaction.
func TestTransaction(t *testing.T) {
	p := newPair(t, ldaptest.Options{}, "")
	p.same("at first")
	_, before := p.replica.Store.JournalBounds()
	var ops []ldap.Op
	for _, dn := range []string{"uid=ann,ou=people,dc=example,dc=org", "uid=bob,ou=people,dc=example,dc=org", "cn=staff,ou=groups,dc=example,dc=org"} {
		ops = append(ops, &ldap.ModifyRequest{Object: []byte(dn), Changes: []ldap.Mod{{Op: ldap.ModReplace, Attribute: ldap.Attribute{
			Type: []byte("description"), Values: [][]byte{[]byte("together")}}}}})
	}
	p.together(ops...)
	p.same("after a transaction")
	if _, after := p.replica.Store.JournalBounds(); after != before+1 {
		t.Errorf("it came as %d transactions", after-before)
	}
}

// Entries exchange their names, also with what is beneath them.
func TestNamesExchanged(t *testing.T) {
	p := newPair(t, ldaptest.Options{}, "")
	p.add("dn: ou=a,dc=example,dc=org\nobjectClass: organizationalUnit\nou: a\ndescription: first\n\n" +
		"dn: cn=x,ou=a,dc=example,dc=org\nobjectClass: device\ncn: x\n\n" +
		"dn: ou=b,dc=example,dc=org\nobjectClass: organizationalUnit\nou: b\ndescription: second\n\n" +
		"dn: cn=x,ou=b,dc=example,dc=org\nobjectClass: device\ncn: x\n\ndn: cn=y,ou=b,dc=example,dc=org\nobjectClass: device\ncn: y\n")
	p.same("at first")
	move := func(dn, rdn, above string) ldap.Op {
		m := &ldap.ModifyDNRequest{Entry: []byte(dn), NewRDN: []byte(rdn), DeleteOldRDN: true}
		if above != "" {
			m.NewSuperior, m.HasNewSuperior = []byte(above), true
		}
		return m
	}
	p.together(
		move("ou=a,dc=example,dc=org", "ou=c", ""),
		move("ou=b,dc=example,dc=org", "ou=a", ""),
		move("ou=c,dc=example,dc=org", "ou=b", ""))
	p.same("after an exchange")
	data := p.stopReplica()
	p.together(
		move("ou=a,dc=example,dc=org", "ou=c", ""),
		move("ou=b,dc=example,dc=org", "ou=a", ""),
		move("ou=c,dc=example,dc=org", "ou=b", ""))
	// The one above becomes the one beneath.
	p.together(
		move("ou=people,dc=example,dc=org", "ou=people", "ou=a,dc=example,dc=org"),
		move("ou=groups,dc=example,dc=org", "ou=groups", "ou=people,ou=a,dc=example,dc=org"))
	p.together(
		move("ou=groups,ou=people,ou=a,dc=example,dc=org", "ou=groups", "dc=example,dc=org"),
		move("ou=people,ou=a,dc=example,dc=org", "ou=people", "ou=groups,dc=example,dc=org"))
	// A name goes to another entry, and what was beneath stays there by name.
	p.together(
		move("cn=x,ou=b,dc=example,dc=org", "cn=x", "dc=example,dc=org"),
		move("cn=y,ou=b,dc=example,dc=org", "cn=y", "dc=example,dc=org"),
		&ldap.DelRequest{Entry: []byte("ou=b,dc=example,dc=org")},
		&ldap.AddRequest{Entry: []byte("ou=b,dc=example,dc=org"), Attributes: []ldap.Attribute{
			{Type: []byte("objectClass"), Values: [][]byte{[]byte("organizationalUnit")}}, {Type: []byte("ou"), Values: [][]byte{[]byte("b")}}}})
	p.rename("cn=x,dc=example,dc=org", "cn=x", "ou=b,dc=example,dc=org")
	p.start(data)
	p.same("after more of them while it was down")
}

// The same events, told by a present phase or as everything: parents come after children there.
func TestUnorderedRefresh(t *testing.T) {
	for _, anew := range []bool{false, true} {
		t.Run(fmt.Sprintf("anew=%v", anew), func(t *testing.T) {
			p := newPair(t, ldaptest.Options{Config: "[journal]\nmax_age = \"1h\"\n"}, "")
			p.same("at first")
			data := p.stopReplica()
			p.add("dn: ou=new,dc=example,dc=org\nobjectClass: organizationalUnit\nou: new\n\n" +
				"dn: ou=newer,ou=new,dc=example,dc=org\nobjectClass: organizationalUnit\nou: newer\n")
			p.rename("ou=people,dc=example,dc=org", "ou=people", "ou=newer,ou=new,dc=example,dc=org")
			p.remove("cn=staff,ou=groups,dc=example,dc=org")
			p.remove("ou=groups,dc=example,dc=org")
			p.add("dn: ou=groups,dc=example,dc=org\nobjectClass: organizationalUnit\nou: groups\ndescription: another\n")
			p.rename("uid=bob,ou=people,ou=newer,ou=new,dc=example,dc=org", "uid=bob", "ou=groups,dc=example,dc=org")
			p.rename("uid=ann,ou=people,ou=newer,ou=new,dc=example,dc=org", "uid=bob", "")
			p.provider.Clock().Advance(2 * time.Hour)
			p.set("dc=example,dc=org", "description", "late")
			if err := p.provider.Store.TrimJournal(context.Background()); err != nil {
				t.Fatal(err)
			}
			if anew {
				if err := p.provider.Store.NewEpoch(context.Background(), dit.CSN{}); err != nil {
					t.Fatal(err)
				}
			}
			p.start(data)
			p.same("after the refresh")
			if x := p.replica.Replicas()[0].Status(); x.Unplaced > 0 || x.Refused > 0 {
				t.Errorf("%+v", x)
			}
		})
	}
}

// A provider that was put back to an earlier state tells what it has.
func TestProviderRestored(t *testing.T) {
	p := newPair(t, ldaptest.Options{}, "")
	p.same("at first")
	backup := p.provider.Backup(t)
	p.add(person("cleo"))
	p.set("uid=ann,ou=people,dc=example,dc=org", "description", "lost")
	p.rename("uid=bob,ou=people,dc=example,dc=org", "uid=rob", "")
	p.same("before the restore")
	addr, above := p.provider.Addr, p.provider.Store.LastCSN()
	p.provider.Disconnect()
	p.provider.Stop(t)
	p.provider = ldaptest.Start(t, ldaptest.Options{KV: backup, Addr: addr})
	t.Cleanup(func() { p.replica.Stop(t) })
	if err := p.provider.Store.NewEpoch(context.Background(), above); err != nil {
		t.Fatal(err)
	}
	p.provider.Disconnect()
	p.replica.Copy(t, "the state of the backup", true, func(x *replica.Status) bool {
		return x.State == replica.InStep && strings.Join(content(t, p.replica), "\n") == strings.Join(content(t, p.provider), "\n")
	})
	p.add(person("dora"))
	p.same("after an add")
}

// A rule that changes at the provider changes what there is here.
func TestAccessRuleChanges(t *testing.T) {
	const rules = `[security]
builtin_access = false
[[access]]
allow = ["read", "search", "disclose"]
who = "dn:uid=ann,ou=people,dc=example,dc=org"
on = "*"
attrs = [%s]
`
	all := fmt.Sprintf(rules, `"*", "userPassword", "portolanScramKeys", "entry"`)
	p := newPair(t, ldaptest.Options{Config: all}, loginOf(t, "uid=ann,ou=people,dc=example,dc=org", "ann-secret"))
	p.same("at first")
	p.provider.Reconfigure(t, fmt.Sprintf(rules, `"*", "entry"`))
	p.replica.Copy(t, "the passwords to go", true, func(*replica.Status) bool {
		return !strings.Contains(strings.Join(content(t, p.replica), "\n"), "userPassword")
	})
	p.provider.Reconfigure(t, all)
	p.add(person("cleo"))
	p.same("with the old rules")
	p.provider.Reconfigure(t, "[security]\nbuiltin_access = false\n")
	p.replica.Copy(t, "an error that says what to do", true, func(x *replica.Status) bool { return strings.Contains(x.Error, "bind_dn") })
	if len(content(t, p.replica)) != len(content(t, p.provider)) {
		t.Error("entries have gone with the right to read them")
	}
	p.provider.Reconfigure(t, all)
	p.same("with the old rules once more")
}

// loginOf is the part of a configuration that says whom to bind as.
func loginOf(t testing.TB, dn, password string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("bind_dn = %q\npassword_file = %q\n", dn, file)
}
