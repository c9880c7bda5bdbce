package ppolicy_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"portolan/internal/ldaptest"
	"portolan/internal/op"
	"portolan/ldap"
)

const (
	alice    = "uid=alice,dc=example,dc=org"
	top      = "dn: dc=example,dc=org\nobjectClass: organization\nobjectClass: dcObject\ndc: example\no: Example\n\n"
	aliceOne = "dn: " + alice + "\nobjectClass: inetOrgPerson\nuid: alice\ncn: Alice\nsn: Archer\nuserPassword: alice-secret\n\n"
	lockOf3  = "[overlay.ppolicy.policy]\nlockout = true\nmax_failure = 3\nfailure_count_interval = \"60s\"\nlockout_duration = \"120s\"\n"
)

// conn is a connection as handlers see it.
func conn() *op.Conn { return &op.Conn{Transport: op.Unix, Loopback: true} }

// bindTo binds and returns the request with what the policy said.
func bindTo(h op.Handler, c *op.Conn, dn, password string) (*op.Request, error) {
	req := &op.Request{Conn: c, ID: 1, Op: &ldap.BindRequest{Version: 3, Name: []byte(dn), Password: []byte(password)}}
	err := h.Serve(context.Background(), req, nil)
	return req, err
}

// fataler is a test, rapid's included.
type fataler interface {
	Helper()
	Fatal(args ...any)
}

func values(t fataler, s *ldaptest.Server, dn, attr string) (out []string) {
	t.Helper()
	f, err := ldap.ParseFilter("(objectClass=*)")
	if err != nil {
		t.Fatal(err)
	}
	entries, err := s.Search(context.Background(), ldaptest.AdminDN, &ldap.SearchRequest{
		Base: []byte(dn), Scope: ldap.ScopeBase, Filter: f, Attributes: [][]byte{[]byte(attr)},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		for _, a := range e.Attributes {
			for _, v := range a.Values {
				out = append(out, string(v))
			}
		}
	}
	return out
}

// TestGuessesInParallel: of any number of guesses at the same moment no more than the policy allows are told whether they
// were right. A right one among them may win or lose, but not come after the lock.
func TestGuessesInParallel(t *testing.T) {
	s := ldaptest.Start(t, ldaptest.Options{LDIF: top + aliceOne, Config: lockOf3})
	var group sync.WaitGroup
	for i := range 48 {
		group.Go(func() {
			_, err := bindTo(s.Engine, conn(), alice, fmt.Sprint("wrong-", i))
			// A guess that waited too long for its hash was not told anything: how fast the machine is is not asked here.
			for ldap.CodeOf(err) == ldap.Busy {
				_, err = bindTo(s.Engine, conn(), alice, fmt.Sprint("wrong-", i))
			}
			if ldap.CodeOf(err) != ldap.InvalidCredentials {
				t.Errorf("guess %d: %v", i, err)
			}
		})
	}
	group.Wait()
	if got := values(t, s, alice, "pwdFailureTime"); len(got) != 3 {
		t.Errorf("%d failures are recorded, not 3", len(got))
	}
	if got := values(t, s, alice, "pwdAccountLockedTime"); len(got) != 1 {
		t.Errorf("pwdAccountLockedTime: %q", got)
	}
	if _, err := bindTo(s.Engine, conn(), alice, "alice-secret"); ldap.CodeOf(err) != ldap.InvalidCredentials {
		t.Errorf("the right password after the lock: %v", err)
	}
}

// TestLockIsLogged: who has locked an account is to be found (draft-behera section 12).
func TestLockIsLogged(t *testing.T) {
	var log bytes.Buffer
	s := ldaptest.Start(t, ldaptest.Options{LDIF: top + aliceOne, Config: lockOf3, Log: slog.New(slog.NewTextHandler(&log, nil))})
	from := conn()
	from.Remote = netip.MustParseAddrPort("192.0.2.7:4711")
	for i := range 4 {
		if _, err := bindTo(s.Engine, from, alice, fmt.Sprint("wrong-", i)); ldap.CodeOf(err) != ldap.InvalidCredentials {
			t.Error(err)
		}
	}
	s.Stop(t)
	var said []string
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, "locked") {
			said = append(said, line)
		}
	}
	if len(said) != 1 || !strings.Contains(said[0], "level=WARN") || !strings.Contains(said[0], "client=192.0.2.7:4711") || !strings.Contains(said[0], alice) {
		t.Errorf("the log says %q", said)
	}
}

// TestGraceInParallel: grace binds are counted in the transaction.
func TestGraceInParallel(t *testing.T) {
	s := ldaptest.Start(t, ldaptest.Options{LDIF: top + aliceOne, Config: "[overlay.ppolicy.policy]\nmax_age = \"1m\"\ngrace_authn_limit = 5\n"})
	// A password that is remembered takes no hash, so that the binds are at the same point at the same time.
	if _, err := bindTo(s.Engine, conn(), alice, "alice-secret"); err != nil {
		t.Fatal(err)
	}
	s.Clock().Advance(2 * time.Minute)
	var mu sync.Mutex
	left := map[int]int{}
	var group sync.WaitGroup
	for range 24 {
		group.Go(func() {
			req, err := bindTo(s.Engine, conn(), alice, "alice-secret")
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				left[req.Policy.Grace]++
			case ldap.CodeOf(err) != ldap.InvalidCredentials || req.Policy == nil || req.Policy.Error != op.PasswordExpired:
				t.Errorf("%v, %+v", err, req.Policy)
			}
		})
	}
	group.Wait()
	for i := range 5 {
		if left[i] != 1 {
			t.Errorf("%d binds were told that %d are left", left[i], i)
		}
	}
	if len(left) != 5 || len(values(t, s, alice, "pwdGraceUseTime")) != 5 {
		t.Errorf("grace binds: %v, %q", left, values(t, s, alice, "pwdGraceUseTime"))
	}
}

// TestChangesInParallel: of changes that prove the same old password one wins, the others are told that it is wrong or that
// others change it too; the history has each former password once.
func TestChangesInParallel(t *testing.T) {
	s := ldaptest.Start(t, ldaptest.Options{LDIF: top + aliceOne, Config: "[overlay.ppolicy.policy]\nsafe_modify = true\nin_history = 10\n"})
	id, err := s.Engine.IdentifyDN(alice, "simple")
	if err != nil {
		t.Fatal(err)
	}
	var won sync.Map
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			mod := func(kind ldap.ModOp, v string) ldap.Mod {
				return ldap.Mod{Op: kind, Attribute: ldap.Attribute{Type: []byte("userPassword"), Values: [][]byte{[]byte(v)}}}
			}
			req := &op.Request{Conn: conn(), ID: 1, Identity: id, Op: &ldap.ModifyRequest{Object: []byte(alice), Changes: []ldap.Mod{
				mod(ldap.ModDelete, "alice-secret"), mod(ldap.ModAdd, fmt.Sprintf("gravel-orchid-%d", i)),
			}}}
			switch err := s.Engine.Serve(context.Background(), req, nil); ldap.CodeOf(err) {
			case ldap.Success:
				won.Store(i, true)
			case ldap.UnwillingToPerform, ldap.NoSuchAttribute, ldap.Busy:
			default:
				t.Errorf("change %d: %v", i, err)
			}
		})
	}
	group.Wait()
	winners := 0
	won.Range(func(any, any) bool { winners++; return true })
	if winners != 1 || len(values(t, s, alice, "pwdHistory")) != 1 || len(values(t, s, alice, "userPassword")) != 1 {
		t.Errorf("%d changes won; history %d, passwords %d", winners, len(values(t, s, alice, "pwdHistory")), len(values(t, s, alice, "userPassword")))
	}
}

// TestRefusalsCostTheSame: a locked or disabled account takes a hash for a right password, too, also where it is remembered
// from before: else the answer's time would tell it from a wrong one.
func TestRefusalsCostTheSame(t *testing.T) {
	s := ldaptest.Start(t, ldaptest.Options{LDIF: top + aliceOne, Config: lockOf3})
	hashes := func(dn, password string, want ldap.ResultCode) uint64 {
		before := s.HashingStats().Done
		if _, err := bindTo(s.Engine, conn(), dn, password); ldap.CodeOf(err) != want {
			t.Errorf("bind %s %s: %v", dn, password, err)
		}
		return s.HashingStats().Done - before
	}
	set := func(attr, value string) {
		mod := ldap.Mod{Op: ldap.ModReplace, Attribute: ldap.Attribute{Type: []byte(attr)}}
		if value != "" {
			mod.Attribute.Values = [][]byte{[]byte(value)}
		}
		if err := s.As(ldaptest.AdminDN, &ldap.ModifyRequest{Object: []byte(alice), Changes: []ldap.Mod{mod}}); err != nil {
			t.Fatal(err)
		}
	}
	if n := hashes(alice, "alice-secret", ldap.Success); n != 1 {
		t.Errorf("the first bind took %d hashes", n)
	}
	if n := hashes(alice, "alice-secret", ldap.Success); n != 0 {
		t.Errorf("a bind that is remembered took %d hashes", n)
	}
	for _, x := range [][2]string{{"portolanAccountDisabled", "TRUE"}, {"pwdAccountLockedTime", "000001010000Z"}, {"pwdStartTime", "20900101000000Z"}} {
		set(x[0], x[1])
		right, wrong := hashes(alice, "alice-secret", ldap.InvalidCredentials), hashes(alice, "wrong", ldap.InvalidCredentials)
		nobody := hashes("uid=nobody,dc=example,dc=org", "wrong", ldap.InvalidCredentials)
		if right != 1 || wrong != 1 || nobody != 1 {
			t.Errorf("%s: right took %d hashes, wrong %d, nobody %d", x[0], right, wrong, nobody)
		}
		set(x[0], "")
	}
}

// mechanism is a SASL mechanism whose credentials are the name and whether they are right.
type mechanism struct {
	s      *ldaptest.Server
	method string
}

func (m mechanism) Step(_ context.Context, _ *op.Request, creds []byte) ([]byte, *op.Identity, error) {
	name, word, _ := strings.Cut(string(creds), " ")
	who, err := m.s.Engine.IdentifyDN(name, m.method)
	if err != nil || who == nil {
		return nil, nil, ldap.Errorf(ldap.InvalidCredentials, "")
	}
	if word != "right" {
		return nil, who, ldap.Errorf(ldap.InvalidCredentials, "")
	}
	return nil, who, nil
}

// TestSASL: the policy holds for mechanisms that prove a password without showing it, failures included.
func TestSASL(t *testing.T) {
	s := ldaptest.Start(t, ldaptest.Options{LDIF: top + aliceOne, Config: lockOf3 + "max_age = \"1d\"\nmust_change = true\n"})
	s.Engine.Wire(nil, nil, []op.Mechanism{{
		Name: "TEST", Allowed: func(*op.Conn) bool { return true },
		Start: func(*op.Request) (op.Exchange, error) { return mechanism{s, "SCRAM-SHA-256"}, nil },
	}})
	bind := func(word string) (*op.Request, error) {
		req := &op.Request{Conn: conn(), ID: 1, Op: &ldap.BindRequest{
			Version: 3, Auth: ldap.AuthSASL, Mechanism: []byte("TEST"), Credentials: []byte(alice + " " + word), HasCreds: true,
		}}
		return req, s.Engine.Serve(context.Background(), req, nil)
	}
	req, err := bind("right")
	if err != nil || req.Policy == nil || req.Policy.Error != op.ChangeAfterReset || !req.Conn.Identity().Restricted {
		t.Errorf("must change: %v, %+v, %+v", err, req.Policy, req.Conn.Identity())
	}
	for range 3 {
		if _, err := bind("wrong"); ldap.CodeOf(err) != ldap.InvalidCredentials {
			t.Error(err)
		}
	}
	if _, err := bind("right"); ldap.CodeOf(err) != ldap.InvalidCredentials {
		t.Errorf("locked: %v", err)
	}
	if _, err := bindTo(s.Engine, conn(), alice, "alice-secret"); ldap.CodeOf(err) != ldap.InvalidCredentials {
		t.Errorf("locked, by simple bind: %v", err)
	}
	s.Clock().Advance(3 * time.Minute)
	if _, err := bind("right"); err != nil {
		t.Errorf("after the lock: %v", err)
	}
	if got := values(t, s, alice, "pwdFailureTime"); len(got) != 0 {
		t.Errorf("failures are left: %q", got)
	}
	if err := s.As(ldaptest.AdminDN, &ldap.ModifyRequest{Object: []byte(alice), Changes: []ldap.Mod{{Op: ldap.ModReplace, Attribute: ldap.Attribute{Type: []byte("pwdReset")}}}}); err != nil {
		t.Fatal(err)
	}
	s.Clock().Advance(25 * time.Hour)
	if req, err := bind("right"); ldap.CodeOf(err) != ldap.InvalidCredentials || req.Policy == nil || req.Policy.Error != op.PasswordExpired {
		t.Errorf("expired: %v, %+v", err, req.Policy)
	}
}

// TestExternal: a certificate is bound by what concerns the account, and not by what concerns its password.
func TestExternal(t *testing.T) {
	s := ldaptest.Start(t, ldaptest.Options{LDIF: top + aliceOne, Config: lockOf3 + "max_age = \"1d\"\nmust_change = true\nmax_idle = \"30d\"\n"})
	s.Engine.Wire(nil, nil, []op.Mechanism{{
		Name: "TEST", Allowed: func(*op.Conn) bool { return true },
		Start: func(*op.Request) (op.Exchange, error) { return mechanism{s, "EXTERNAL"}, nil },
	}})
	bind := func() (*op.Request, error) {
		req := &op.Request{Conn: conn(), ID: 1, Op: &ldap.BindRequest{
			Version: 3, Auth: ldap.AuthSASL, Mechanism: []byte("TEST"), Credentials: []byte(alice + " right"), HasCreds: true,
		}}
		return req, s.Engine.Serve(context.Background(), req, nil)
	}
	set := func(attr string, value ...string) {
		mod := ldap.Mod{Op: ldap.ModReplace, Attribute: ldap.Attribute{Type: []byte(attr)}}
		for _, v := range value {
			mod.Attribute.Values = append(mod.Attribute.Values, []byte(v))
		}
		if err := s.As(ldaptest.AdminDN, &ldap.ModifyRequest{Object: []byte(alice), Changes: []ldap.Mod{mod}}); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		if _, err := bindTo(s.Engine, conn(), alice, "wrong"); ldap.CodeOf(err) != ldap.InvalidCredentials {
			t.Error(err)
		}
	}
	s.Clock().Advance(25 * time.Hour)
	if req, err := bind(); err != nil || req.Policy != nil || req.Conn.Identity().Restricted {
		t.Errorf("reset and expired: %v, %+v", err, req.Policy)
	}
	for _, x := range [][2]string{{"pwdAccountLockedTime", "000001010000Z"}, {"pwdEndTime", "20200101000000Z"}, {"portolanAccountDisabled", "TRUE"}} {
		set(x[0], x[1])
		if _, err := bind(); ldap.CodeOf(err) != ldap.InvalidCredentials {
			t.Errorf("%s: %v", x[0], err)
		}
		set(x[0])
	}
	if _, err := bind(); err != nil {
		t.Error(err)
	}
	s.Clock().Advance(31 * 24 * time.Hour)
	if _, err := bind(); ldap.CodeOf(err) != ldap.InvalidCredentials {
		t.Errorf("idle: %v", err)
	}
}

// TestProxiedOutOfRestriction: who must change the password does not get out of it by acting as somebody else.
func TestProxiedOutOfRestriction(t *testing.T) {
	s := ldaptest.Start(t, ldaptest.Options{LDIF: top + aliceOne})
	who, err := s.Engine.IdentifyDN(alice, "simple")
	if err != nil {
		t.Fatal(err)
	}
	restricted := *who
	restricted.Restricted = true
	admin := *s.Engine.AdminIdentity("simple")
	admin.Proxied = &restricted
	for _, m := range []ldap.Op{
		&ldap.ModifyRequest{Object: []byte(alice), Changes: []ldap.Mod{{Op: ldap.ModReplace, Attribute: ldap.Attribute{Type: []byte("userPassword"), Values: [][]byte{[]byte("x")}}}}},
		&ldap.DelRequest{Entry: []byte(alice)},
		&ldap.CompareRequest{Entry: []byte(alice), Attr: []byte("uid"), Value: []byte("alice")},
	} {
		req := &op.Request{Conn: conn(), ID: 1, Op: m, Identity: &admin}
		if err := s.Engine.Serve(context.Background(), req, nil); ldap.CodeOf(err) != ldap.InsufficientAccessRights {
			t.Errorf("%T: %v", m, err)
		}
	}
}
