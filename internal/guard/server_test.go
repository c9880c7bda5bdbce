package guard_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"portolan/internal/client"
	"portolan/internal/ldaptest"
	"portolan/internal/op"
	"portolan/ldap"
)

const people = `dn: dc=example,dc=org
objectClass: organization
objectClass: dcObject
o: Example
dc: example

dn: uid=alice,dc=example,dc=org
objectClass: inetOrgPerson
uid: alice
cn: Alice
sn: A
userPassword: alice-secret-1

dn: uid=bob,dc=example,dc=org
objectClass: inetOrgPerson
uid: bob
cn: Bob
sn: B
userPassword: bob-secret-1
`

const (
	alice = "uid=alice,dc=example,dc=org"
	bob   = "uid=bob,dc=example,dc=org"
)

// first returns a value of an entry.
func first(t *testing.T, s *ldaptest.Server, dn, attr string) string {
	t.Helper()
	who, err := s.Engine.IdentifyDN(dn, "")
	if err != nil || who == nil {
		t.Fatal(who, err)
	}
	view := s.Engine.Directory().View()
	defer view.Close()
	e, err := view.Get(who.Entry)
	if err != nil {
		t.Fatal(err)
	}
	d, err := view.Schema().Describe([]byte(attr))
	if err != nil {
		t.Fatal(err)
	}
	return string(e.First(d))
}

// TestExposed has passwords sent in clear text from afar: they are refused unchecked; the right one marks its account and has
// it changed, a wrong one marks nobody.
func TestExposed(t *testing.T) {
	s := ldaptest.Start(t, ldaptest.Options{LDIF: people, Afar: true, Authority: ldaptest.NewAuthority(t), Config: "[guard]\nexposed = \"expire\"\n"})
	marked := make(chan struct{}, 10)
	s.Engine.Directory().Observe(func(op.Commit) { marked <- struct{}{} })
	ctx := context.Background()
	send := func(dn, password string) {
		t.Helper()
		c, err := client.Dial(ctx, "ldap://"+s.Addr, client.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Bind(ctx, dn, password); ldap.CodeOf(err) != ldap.ConfidentialityRequired {
			t.Errorf("%s: %v", dn, err)
		}
	}
	send(bob, "a wrong password")
	send("uid=nobody,dc=example,dc=org", "alice-secret-1")
	send(alice, "alice-secret-1")
	<-marked
	if first(t, s, alice, "portolanExposedTime") == "" || first(t, s, alice, "pwdReset") != "TRUE" {
		t.Error("the account is not marked")
	}
	if first(t, s, bob, "portolanExposedTime") != "" || first(t, s, bob, "pwdReset") != "" {
		t.Error("a wrong password has marked an account")
	}
	// From then on a login may do nothing but change the password, and that makes everything good.
	c, err := client.Dial(ctx, "ldaps://"+s.Secure, client.Options{TLS: &tls.Config{InsecureSkipVerify: true}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Bind(ctx, alice, "alice-secret-1"); err != nil {
		t.Fatal(err)
	}
	modify := func(attr, value string) error {
		_, err := c.Modify(ctx, alice, []ldap.Mod{{
			Op: ldap.ModReplace, Attribute: ldap.Attribute{Type: []byte(attr), Values: [][]byte{[]byte(value)}},
		}})
		return err
	}
	if err := modify("description", "x"); ldap.CodeOf(err) != ldap.InsufficientAccessRights {
		t.Errorf("a modify before the change of password: %v", err)
	}
	if err := modify("userPassword", "another-Secret-77"); err != nil {
		t.Error(err)
	}
	if first(t, s, alice, "portolanExposedTime") != "" || first(t, s, alice, "pwdReset") != "" {
		t.Error("a new password is still exposed")
	}
}

// TestAttackOnServer has 100 addresses guess 10,000 passwords of 1,000 accounts over the network, while somebody logs in. The
// clock of the server stands still, so that no pause ends however long the test takes.
func TestAttackOnServer(t *testing.T) {
	s := ldaptest.Start(t, ldaptest.Options{LDIF: people, Config: "[guard]\nmax_delay = \"1s\"\n"})
	ctx := context.Background()
	honest, err := client.Dial(ctx, "ldap://"+s.Addr, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer honest.Close()
	if _, err := honest.Bind(ctx, alice, "alice-secret-1"); err != nil {
		t.Fatal(err)
	}
	const addresses, each = 100, 100
	checked := s.HashingStats().Done
	var wrong, busy atomic.Int64
	var attackers sync.WaitGroup
	for i := range addresses {
		attackers.Add(1)
		go func() {
			defer attackers.Done()
			from := &net.TCPAddr{IP: net.IPv4(127, 0, byte(i), byte(2+i))}
			dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
				return (&net.Dialer{LocalAddr: from}).DialContext(ctx, network, addr)
			}
			c, err := client.Dial(ctx, "ldap://"+s.Addr, client.Options{Dial: dial})
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			for n := range each {
				guess := n*addresses + i
				_, err := c.Bind(ctx, fmt.Sprintf("uid=u%d,dc=example,dc=org", guess%1000), fmt.Sprint("guess ", guess))
				switch ldap.CodeOf(err) {
				case ldap.InvalidCredentials:
					wrong.Add(1)
				case ldap.Busy:
					busy.Add(1)
				default:
					t.Errorf("a guess was answered %v", err)
					return
				}
			}
		}()
	}
	var took []time.Duration
	ended := make(chan struct{})
	go func() { attackers.Wait(); close(ended) }()
	for over := false; !over; {
		select {
		case <-ended:
			over = true
		default:
		}
		begun := time.Now()
		if _, err := honest.Bind(ctx, alice, "alice-secret-1"); err != nil {
			t.Errorf("the honest user: %v", err)
		}
		took = append(took, time.Since(begun))
	}
	hashes := int(s.HashingStats().Done - checked)
	slices.Sort(took)
	t.Logf("%d answered wrong, %d busy, %d hashes; %d honest binds, p99 %v", wrong.Load(), busy.Load(), hashes, len(took), took[len(took)*99/100])
	if hashes >= 500 || wrong.Load() >= 500 {
		t.Errorf("%d guesses were verified with %d hashes, want fewer than 500 of 10,000", wrong.Load(), hashes)
	}
	if wrong.Load()+busy.Load() != addresses*each {
		t.Errorf("%d answers", wrong.Load()+busy.Load())
	}
}
