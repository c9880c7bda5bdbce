package replica_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"portolan/internal/client"
	"portolan/internal/ldaptest"
	"portolan/internal/replica"
	"portolan/ldap"
)

// A replica answers as its provider does, and sends those who want to write there.
func TestServes(t *testing.T) {
	p := newPair(t, ldaptest.Options{Config: "[overlay.lastbind]\n"}, "")
	p.same("at first")
	ctx := context.Background()
	conn, err := client.Dial(ctx, "ldap://"+p.replica.Addr, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const ann = "uid=ann,ou=people,dc=example,dc=org"
	if _, err := conn.Bind(ctx, ann, "wrong"); ldap.CodeOf(err) != ldap.InvalidCredentials {
		t.Errorf("a wrong password: %v", err)
	}
	if _, err := conn.Bind(ctx, ann, "ann-secret"); err != nil {
		t.Errorf("a bind at the replica: %v", err)
	}
	var referral *ldap.Error
	for name, m := range map[string]ldap.Op{
		"delete": &ldap.DelRequest{Entry: []byte(ann)},
		"modify": &ldap.ModifyRequest{Object: []byte(ann), Changes: []ldap.Mod{{Op: ldap.ModReplace, Attribute: ldap.Attribute{Type: []byte("description"), Values: [][]byte{[]byte("x")}}}}},
		"add":    &ldap.AddRequest{Entry: []byte("ou=x,dc=example,dc=org"), Attributes: []ldap.Attribute{{Type: []byte("objectClass"), Values: [][]byte{[]byte("organizationalUnit")}}}},
		"rename": &ldap.ModifyDNRequest{Entry: []byte(ann), NewRDN: []byte("uid=x")},
	} {
		_, err := conn.Do(ctx, m, nil, nil)
		if referral = ldap.AsError(err); referral == nil || referral.Code != ldap.Referral || fmt.Sprint(referral.Referrals) != fmt.Sprintf("[ldap://%s]", p.provider.Addr) {
			t.Errorf("%s: %v", name, err)
		}
	}
	m := &ldap.SearchRequest{Base: []byte(ann), Scope: ldap.ScopeBase}
	m.Filter, _ = ldap.ParseFilter("(objectClass=*)")
	_, err = conn.Search(ctx, m, client.Results{}, ldap.Control{OID: []byte("1.3.6.1.1.22"), Critical: true})
	if ldap.CodeOf(err) != ldap.Referral {
		t.Errorf("don't use copy: %v", err)
	}
	p.same("after all that")
}

// A replica is followed in turn, also by an identity that reads by rules.
func TestCascades(t *testing.T) {
	p := newPair(t, ldaptest.Options{}, "")
	p.same("at first")
	q := &pair{t: t, provider: p.replica, login: p.login, log: &logText{}}
	q.start(nil)
	follow := func(when string) {
		t.Helper()
		p.same(when)
		q.same(when)
	}
	follow("at first")
	p.add(person("cleo"))
	p.rename("ou=people,dc=example,dc=org", "ou=persons", "")
	p.remove("uid=bob,ou=persons,dc=example,dc=org")
	follow("after changes")
	data := q.stopReplica()
	p.add("dn: uid=dora,ou=persons,dc=example,dc=org\nobjectClass: inetOrgPerson\nuid: dora\ncn: d\nsn: d\n")
	p.same("while the second was down")
	q.start(data)
	follow("after a restart of the second")
	if x := q.replica.Replicas()[0].Status(); x.Added+x.Unchanged > 2 {
		t.Errorf("the second was told everything again: %+v", x)
	}
}

// Overlays at the replica do not act on what was done at the provider.
func TestOverlaysRest(t *testing.T) {
	p := newPair(t, ldaptest.Options{Config: "[overlay.refint]\nattributes = [\"member\"]\n[overlay.unique]\nattributes = [\"mail\"]\n"}, "")
	p.same("at first")
	p.rename("uid=bob,ou=people,dc=example,dc=org", "uid=rob", "")
	p.add("dn: uid=x,ou=people,dc=example,dc=org\nobjectClass: inetOrgPerson\nuid: x\ncn: x\nsn: x\nmail: x@example.org\n")
	p.remove("uid=ann,ou=people,dc=example,dc=org")
	p.add("dn: uid=y,ou=people,dc=example,dc=org\nobjectClass: inetOrgPerson\nuid: y\ncn: y\nsn: y\nmail: ann@example.org\n")
	p.same("after changes that others follow from")
	_, n := p.replica.Store.JournalBounds()
	p.set("cn=staff,ou=groups,dc=example,dc=org", "description", "x")
	p.same("after one more")
	if _, m := p.replica.Store.JournalBounds(); m != n+1 {
		t.Errorf("one change became %d", m-n)
	}
}

// A group of many members: one more costs one value.
func TestLargeGroup(t *testing.T) {
	p := newPair(t, ldaptest.Options{}, "")
	var b strings.Builder
	b.WriteString("dn: cn=many,ou=groups,dc=example,dc=org\nobjectClass: groupOfNames\ncn: many\n")
	for i := range 1000 {
		fmt.Fprintf(&b, "member: uid=%d,ou=people,dc=example,dc=org\n", i)
	}
	p.add(b.String())
	p.same("with a large group")
	before, err := p.replica.Store.JournalOctets()
	if err != nil {
		t.Fatal(err)
	}
	mod := func(op ldap.ModOp, uid string) ldap.Mod {
		return ldap.Mod{Op: op, Attribute: ldap.Attribute{Type: []byte("member"), Values: [][]byte{[]byte("uid=" + uid + ",ou=people,dc=example,dc=org")}}}
	}
	p.do(&ldap.ModifyRequest{Object: []byte("cn=many,ou=groups,dc=example,dc=org"), Changes: []ldap.Mod{mod(ldap.ModAdd, "new"), mod(ldap.ModDelete, "7")}})
	p.same("after a member came and one went")
	after, err := p.replica.Store.JournalOctets()
	if err != nil || after-before > 2000 {
		t.Errorf("that took %d octets of the journal, %v", after-before, err)
	}
}

// What is there already is taken over where that is said, and refused where not.
func TestAdopts(t *testing.T) {
	provider := ldaptest.Start(t, ldaptest.Options{LDIF: people})
	copied := func() *ldaptest.Server {
		s := ldaptest.Start(t, ldaptest.Options{KV: provider.Backup(t)})
		s.Load(t, person("own"))
		return s
	}
	p := &pair{t: t, provider: provider, log: &logText{}, login: loginOf(t, ldaptest.AdminDN, ldaptest.AdminPassword)}
	p.start(copied().Crash(t))
	x := p.replica.Copy(t, "an error", false, func(x *replica.Status) bool { return x.State == replica.Waiting && x.Error != "" })
	if !strings.Contains(x.Error, "adopt = true") || !strings.Contains(strings.Join(content(t, p.replica), "\n"), "uid=own") {
		t.Errorf("without a word: %+v", x)
	}
	p.replica.Stop(t)
	p.more = "adopt = true\n"
	provider.Load(t, person("cleo"))
	p.start(copied().Crash(t))
	// The copy of the data has the same epoch: it is taken for the provider itself.
	x = p.replica.Copy(t, "an error", false, func(x *replica.Status) bool { return x.State == replica.Stopped })
	if !strings.Contains(x.Error, "itself") {
		t.Errorf("a copy of data_dir: %+v", x)
	}
	p.replica.Stop(t)
	restored := copied()
	if err := restored.Store.NewEpoch(context.Background(), restored.Store.LastCSN()); err != nil {
		t.Fatal(err)
	}
	provider.Load(t, person("dora"))
	p.start(restored.Crash(t))
	p.same("after a restore that was adopted")
	if x := p.replica.Replicas()[0].Status(); x.Added != 1 || x.Deleted != 1 {
		t.Errorf("%+v", x)
	}
}

// The end of a replica's life as one.
func TestPromoted(t *testing.T) {
	p := newPair(t, ldaptest.Options{}, "")
	p.same("at first")
	p.set("uid=ann,ou=people,dc=example,dc=org", "description", "x")
	p.same("after a change")
	epoch, csn := p.replica.Store.Epoch(), p.replica.Store.LastCSN()
	if csn != p.provider.Store.LastCSN() {
		t.Errorf("the copy has CSN %v, the original %v", csn, p.provider.Store.LastCSN())
	}
	data := p.stopReplica()
	s := ldaptest.Start(t, ldaptest.Options{KV: data})
	if s.Store.Epoch() == epoch {
		t.Error("no new epoch")
	}
	if err := s.As(ldaptest.AdminDN, &ldap.DelRequest{Entry: []byte("uid=bob,ou=people,dc=example,dc=org")}); err != nil {
		t.Errorf("a write: %v", err)
	}
	if s.Store.LastCSN().Compare(csn) <= 0 {
		t.Error("CSNs have not gone on above")
	}
	epoch = s.Store.Epoch()
	s = ldaptest.Start(t, ldaptest.Options{KV: s.Crash(t)})
	if s.Store.Epoch() != epoch {
		t.Error("a new epoch with every start")
	}
}

// Another filter is another copy.
func TestSearchChanged(t *testing.T) {
	p := newPair(t, ldaptest.Options{}, "")
	p.same("at first")
	data := p.stopReplica()
	p.more = "filter = \"(!(uid=bob))\"\nattrs = [\"*\"]\n"
	p.start(data)
	p.catchUp()
	text := strings.Join(content(t, p.replica), "\n")
	if strings.Contains(text, "dn: uid=bob") || strings.Contains(text, "modifyTimestamp") || !strings.Contains(text, "dn: uid=ann") {
		t.Errorf("what there is:\n%s", text)
	}
}

// TLS, with a certificate that is looked at.
func TestOverTLS(t *testing.T) {
	authority := ldaptest.NewAuthority(t)
	other := ldaptest.NewAuthority(t)
	p := &pair{t: t, log: &logText{}, login: loginOf(t, ldaptest.AdminDN, ldaptest.AdminPassword)}
	p.provider = ldaptest.Start(t, ldaptest.Options{LDIF: people, Authority: authority})
	file := func(a *ldaptest.Authority) string {
		f := filepath.Join(t.TempDir(), "ca.pem")
		if err := os.WriteFile(f, a.PEM(), 0o600); err != nil {
			t.Fatal(err)
		}
		return f
	}
	for _, url := range []string{"ldap://" + p.provider.Addr, "ldaps://" + p.provider.Secure} {
		p.replica = ldaptest.Start(t, ldaptest.Options{Config: fmt.Sprintf("[[replica]]\nurl = %q\nca_file = %q\n%s", url, file(authority), p.login)})
		p.same(url)
		p.replica.Stop(t)
		p.replica = ldaptest.Start(t, ldaptest.Options{Config: fmt.Sprintf("[[replica]]\nurl = %q\nca_file = %q\n%s", url, file(other), p.login)})
		x := p.replica.Copy(t, "an error", false, func(x *replica.Status) bool { return x.State == replica.Waiting && x.Error != "" })
		if !strings.Contains(x.Error, "ca_file") || len(content(t, p.replica)) != 0 {
			t.Errorf("%s: %+v", url, x)
		}
		p.replica.Stop(t)
	}
}

// A provider that has no room for one more that stays is polled.
func TestPolledWhereRefused(t *testing.T) {
	p := newPair(t, ldaptest.Options{Config: "[limits]\nmax_persistent = 1\n"}, "")
	p.same("the first")
	q := &pair{t: t, provider: p.provider, login: p.login, log: &logText{}, more: "poll = \"1m\"\n"}
	q.start(nil)
	q.same("the second")
	if x := q.replica.Replicas()[0].Status(); x.State != replica.Polled && x.State != replica.Refreshing && x.State != replica.Connecting {
		t.Errorf("%+v", x)
	}
	p.add(person("cleo"))
	q.same("after an add")
}

// Waits grow, differ by chance, and have an end.
func TestBackoff(t *testing.T) {
	p := newPair(t, ldaptest.Options{}, "retry = \"1s\"\nretry_max = \"10s\"\n")
	p.same("at first")
	p.provider.Disconnect()
	p.provider.Stop(t)
	last := 0
	p.replica.Copy(t, "ten attempts", true, func(*replica.Status) bool {
		last = len(p.replica.Paused())
		return last >= 10
	})
	waits := p.replica.Paused()
	if first := waits[0].Seconds(); first < 0.5 || first > 1 {
		t.Errorf("the first wait is %v", waits[0])
	}
	differ := false
	for _, w := range waits[6:] {
		if w.Seconds() < 5 || w.Seconds() > 10 {
			t.Errorf("a late wait is %v", w)
		}
		differ = differ || w != waits[6]
	}
	if !differ {
		t.Errorf("all waits are alike: %v", waits)
	}
}
