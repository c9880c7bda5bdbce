package otp_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"portolan/ber"
	"portolan/internal/app"
	"portolan/internal/ldaptest"
	"portolan/internal/op"
	"portolan/ldap"
)

const (
	alice = "uid=alice,dc=example,dc=org"
	phone = "portolanCredentialName=phone," + alice
	codes = "portolanCredentialName=recovery," + alice
)

const people = `dn: dc=example,dc=org
objectClass: organization
objectClass: dcObject
dc: example
o: Example

dn: uid=alice,dc=example,dc=org
objectClass: inetOrgPerson
uid: alice
cn: Alice
sn: Archer
userPassword: alice-secret

dn: portolanCredentialName=phone,uid=alice,dc=example,dc=org
objectClass: portolanOtpToken

dn: portolanCredentialName=recovery,uid=alice,dc=example,dc=org
objectClass: portolanRecoveryCodes
`

// issue asks for what a token or recovery codes show once.
func issue(t *testing.T, s *ldaptest.Server, entry string) string {
	t.Helper()
	value, mark := ber.Begin(nil, ber.Sequence)
	value = ber.End(ber.AppendString(value, ber.ContextSpecific|0, entry), mark)
	id, err := s.Engine.IdentifyDN(ldaptest.AdminDN, "internal")
	if err != nil {
		t.Fatal(err)
	}
	req := &op.Request{Conn: local(), ID: 1, Identity: id, Op: &ldap.ExtendedRequest{Name: []byte("1.3.6.1.4.1.4203.1.11.1"), Value: value, HasValue: true}}
	if err := s.Engine.Serve(context.Background(), req, nil); err != nil {
		t.Fatal(err)
	}
	r := ber.Reader(req.Reply.Value)
	var seq ber.Reader
	var made []byte
	if !r.Element(ber.Sequence, &seq) || !seq.Bytes(ber.ContextSpecific|0, &made) {
		t.Fatalf("%x", req.Reply.Value)
	}
	return string(made)
}

func local() *op.Conn { return &op.Conn{Transport: op.Unix, Loopback: true} }

func bind(s *ldaptest.Server, password string) error {
	return s.Engine.Serve(context.Background(), &op.Request{
		Conn: local(), ID: 1, Op: &ldap.BindRequest{Version: 3, Name: []byte(alice), Password: []byte(password)},
	}, nil)
}

func code(t *testing.T, s *ldaptest.Server, uri string, steps int64) string {
	t.Helper()
	c, err := ldaptest.Code(uri, s.Clock().Now(), steps)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestOnce: of many binds with the same code, and with the same recovery code, at the same time one gets in.
func TestOnce(t *testing.T) {
	s := ldaptest.Start(t, ldaptest.Options{LDIF: people, Config: "[overlay.ppolicy.policy]\nlockout = false\n"})
	uri := issue(t, s, phone)
	if err := bind(s, "alice-secret"+code(t, s, uri, 0)); err != nil {
		t.Fatal(err)
	}
	recovery := strings.Split(issue(t, s, codes), "\n")
	for _, second := range []string{code(t, s, uri, 1), recovery[0], recovery[1]} {
		var in atomic.Int32
		var all sync.WaitGroup
		for range 20 {
			all.Add(1)
			go func() {
				defer all.Done()
				switch err := bind(s, "alice-secret"+second); ldap.CodeOf(err) {
				case ldap.Success:
					in.Add(1)
				case ldap.InvalidCredentials:
				default:
					t.Error(err)
				}
			}()
		}
		all.Wait()
		if in.Load() != 1 {
			t.Errorf("%d binds of 20 got in with one code", in.Load())
		}
	}
}

// TestCrash: a code that got somebody in gets nobody in after a power cut right behind the answer.
func TestCrash(t *testing.T) {
	s := ldaptest.Start(t, ldaptest.Options{LDIF: people})
	uri := issue(t, s, phone)
	first := code(t, s, uri, 0)
	if err := bind(s, "alice-secret"+first); err != nil {
		t.Fatal(err)
	}
	recovery := strings.Split(issue(t, s, codes), "\n")[0]
	if err := bind(s, "alice-secret"+recovery); err != nil {
		t.Fatal(err)
	}
	again := ldaptest.Start(t, ldaptest.Options{KV: s.PowerCut()})
	again.Clock().Advance(s.Clock().Now().Sub(again.Clock().Now()))
	for _, used := range []string{first, recovery} {
		if err := bind(again, "alice-secret"+used); ldap.CodeOf(err) != ldap.InvalidCredentials {
			t.Errorf("%s after a crash: %v", used, err)
		}
	}
	if err := bind(again, "alice-secret"+code(t, again, uri, 1)); err != nil {
		t.Error(err)
	}
}

// fake is a mechanism that proves alice without her password, as SCRAM does by its keys.
type fake struct{ s *ldaptest.Server }

func (f fake) Step(context.Context, *op.Request, []byte) ([]byte, *op.Identity, error) {
	who, err := f.s.Engine.IdentifyDN(alice, "SCRAM-SHA-256")
	return nil, who, err
}

// TestMechanisms: what shows no password lets nobody in who needs a second factor, but for the mechanisms that are named.
func TestMechanisms(t *testing.T) {
	for config, want := range map[string]ldap.ResultCode{
		"": ldap.InvalidCredentials,
		"[overlay.otp]\nmechanisms = [\"EXTERNAL\", \"SCRAM-SHA-256\"]\n": ldap.Success,
	} {
		s := ldaptest.Start(t, ldaptest.Options{LDIF: people, Config: config})
		s.Engine.Wire(nil, nil, []op.Mechanism{{
			Name: "FAKE", Allowed: func(*op.Conn) bool { return true },
			Start: func(*op.Request) (op.Exchange, error) { return fake{s}, nil },
		}})
		sasl := func() error {
			return s.Engine.Serve(context.Background(), &op.Request{Conn: local(), ID: 1, Op: &ldap.BindRequest{Version: 3, Auth: ldap.AuthSASL, Mechanism: []byte("FAKE")}}, nil)
		}
		if err := sasl(); err != nil {
			t.Fatal("without a token: ", err)
		}
		uri := issue(t, s, phone)
		if err := sasl(); err != nil {
			t.Fatal("with one that is not confirmed: ", err)
		}
		if err := bind(s, "alice-secret"+code(t, s, uri, 0)); err != nil {
			t.Fatal(err)
		}
		if err := sasl(); ldap.CodeOf(err) != want {
			t.Errorf("%q: %v, want %v", config, err, want)
		}
	}
}

// TestKey: with a key no seed is in the store or an export as it is; a server with another key lets nobody in.
func TestKey(t *testing.T) {
	dir := t.TempDir()
	config := func(n byte) string {
		file := filepath.Join(dir, fmt.Sprint(n))
		if err := os.WriteFile(file, []byte(strings.Repeat(string('A'+rune(n)), 43)+"="), 0o600); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("[overlay.otp]\nkey_file = %q\n", file)
	}
	s := ldaptest.Start(t, ldaptest.Options{LDIF: people, Config: config(0)})
	uri := issue(t, s, phone)
	if err := bind(s, "alice-secret"+code(t, s, uri, 0)); err != nil {
		t.Fatal(err)
	}
	_, seed, _ := strings.Cut(uri, "secret=")
	seed, _, _ = strings.Cut(seed, "&")
	for _, secrets := range []bool{false, true} {
		var out bytes.Buffer
		if _, err := app.NewAdmin(s.Directory, "test").Export(context.Background(), app.ExportOptions{Secrets: secrets, Operational: true}, &out, nil); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(out.String(), seed) || strings.Contains(out.String(), "portolanCredentialSecret") != secrets {
			t.Errorf("with secrets %v the export is\n%s", secrets, out.String())
		}
	}
	other := ldaptest.Start(t, ldaptest.Options{KV: s.Crash(t), Config: config(4)})
	other.Clock().Advance(time.Minute)
	for _, password := range []string{"alice-secret", "alice-secret" + code(t, other, uri, 0)} {
		if err := bind(other, password); ldap.CodeOf(err) != ldap.InvalidCredentials {
			t.Errorf("with another key: %v", err)
		}
	}
	found := 0
	if _, err := app.NewAdmin(other.Directory, "test").Check(context.Background(), func(f app.Finding) {
		if strings.Contains(f.Where, "phone") {
			found++
		}
	}, nil); err != nil || found != 1 {
		t.Errorf("check: %d findings, %v", found, err)
	}
}

// TestReadOnly: a code that cannot be marked as used gets nobody in.
func TestReadOnly(t *testing.T) {
	s := ldaptest.Start(t, ldaptest.Options{LDIF: people})
	uri := issue(t, s, phone)
	if err := bind(s, "alice-secret"+code(t, s, uri, 0)); err != nil {
		t.Fatal(err)
	}
	set := *s.Engine.Settings()
	set.ReadOnly = true
	s.Engine.Set(&set)
	if err := bind(s, "alice-secret"+code(t, s, uri, 1)); ldap.CodeOf(err) != ldap.Unavailable {
		t.Errorf("%v", err)
	}
	if err := bind(s, "wrong-secret"+code(t, s, uri, 1)); ldap.CodeOf(err) != ldap.InvalidCredentials {
		t.Errorf("%v", err)
	}
}
