package overlay_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"portolan/internal/app"
	"portolan/internal/config"
	"portolan/internal/ldaptest"
	"portolan/internal/op"
	"portolan/internal/store"
	"portolan/ldap"
)

const (
	alice    = "uid=alice,dc=example,dc=org"
	top      = "dn: dc=example,dc=org\nobjectClass: organization\nobjectClass: dcObject\ndc: example\no: Example\n\n"
	aliceOne = "dn: " + alice + "\nobjectClass: inetOrgPerson\nuid: alice\ncn: Alice\nsn: Archer\nuserPassword: alice-secret\n\n"
	lockOf3  = "[overlay.ppolicy.policy]\nlockout = true\nmax_failure = 3\nfailure_count_interval = \"60s\"\nlockout_duration = \"120s\"\n"
)

// bindTo binds on a connection of its own.
func bindTo(d *app.Directory, dn, password string) error {
	return d.Engine.Serve(context.Background(), &op.Request{
		Conn: &op.Conn{Transport: op.Unix, Loopback: true}, ID: 1,
		Op: &ldap.BindRequest{Version: 3, Name: []byte(dn), Password: []byte(password)},
	}, nil)
}

// TestPolicyOverRestart: a lock and a grace bind are durable before the answer; failures and last binds outlive an orderly end.
func TestPolicyOverRestart(t *testing.T) {
	c, err := config.Parse("test.toml", []byte("data_dir = \""+t.TempDir()+"\"\n[directory]\nsuffix = \"dc=example,dc=org\"\nadmin_dn = \"cn=admin,dc=example,dc=org\"\n"+
		"[password.argon2]\nmemory = \"8MiB\"\ntime = 1\n[guard]\nsource_failures = 100\n"+lockOf3))
	if err != nil {
		t.Fatal(err)
	}
	bob := strings.ReplaceAll(aliceOne, "alice", "bob")
	open := func() *app.Directory {
		d, err := app.Open(c, app.OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	d := open()
	if _, err := d.AddLDIF(context.Background(), top+aliceOne+bob); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if err := bindTo(d, alice, fmt.Sprint("wrong ", i)); ldap.CodeOf(err) != ldap.InvalidCredentials {
			t.Fatal(err)
		}
	}
	bobDN := strings.ReplaceAll(alice, "alice", "bob")
	if err := bindTo(d, bobDN, "bob-secret"); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		if err := bindTo(d, bobDN, fmt.Sprint("wrong ", i)); ldap.CodeOf(err) != ldap.InvalidCredentials {
			t.Fatal(err)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = open()
	if err := bindTo(d, alice, "alice-secret"); ldap.CodeOf(err) != ldap.InvalidCredentials {
		t.Errorf("the lock is gone: %v", err)
	}
	who, err := d.Engine.IdentifyDN(bobDN, "")
	if err != nil {
		t.Fatal(err)
	}
	if at, err := op.LastSuccess(d.Store.State(), who.UUID); err != nil || at.IsZero() {
		t.Errorf("the last bind is gone: %v %v", at, err)
	}
	if err := bindTo(d, bobDN, "wrong"); ldap.CodeOf(err) != ldap.InvalidCredentials {
		t.Error(err)
	}
	if err := bindTo(d, bobDN, "bob-secret"); ldap.CodeOf(err) != ldap.InvalidCredentials {
		t.Errorf("the failures before the restart do not count: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	// A check of the stopped store finds nothing wrong.
	d, err = app.Open(c, app.OpenOptions{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	sum, err := app.NewAdmin(d, "test").Check(context.Background(), func(f app.Finding) { t.Errorf("%+v", f) }, nil)
	if err != nil || len(sum.Overlays) == 0 {
		t.Errorf("%v %+v", err, sum)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestRehashToRaisedStandard: where the configuration asks for a costlier hash than a password was stored by, a bind by it has
// it stored anew, under a policy that says so in slapd's words as under any other. Nothing else changes: it is no change of
// the password.
func TestRehashToRaisedStandard(t *testing.T) {
	dir := t.TempDir()
	open := func(memory string) *app.Directory {
		c, err := config.Parse("test.toml", []byte("data_dir = \""+dir+"\"\n[directory]\nsuffix = \"dc=example,dc=org\"\nadmin_dn = \"cn=admin,dc=example,dc=org\"\n"+
			"[password.argon2]\nmemory = \""+memory+"\"\ntime = 1\n[overlay.ppolicy]\ndefault = \"cn=policy,dc=example,dc=org\"\n"+
			"[overlay.ppolicy.policy]\nmust_change = true\nin_history = 3\n"))
		if err != nil {
			t.Fatal(err)
		}
		d, err := app.Open(c, app.OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	entry := func(d *app.Directory) (stored string, rest map[string]string) {
		view := d.Store.View()
		defer view.Close()
		e, _, err := view.Lookup(alice)
		if err != nil || e == nil {
			t.Fatal(e, err)
		}
		rest = map[string]string{}
		for slot, desc := range e.Shape().Slots {
			for v := e.Values(slot); ; {
				value, ok := v.Next()
				if !ok {
					break
				}
				switch desc.Type.Name() {
				case "userPassword":
					stored += string(value)
				case "entryCSN", "portolanScramKeys": // which are of the stored form, and have a salt of their own
				default:
					rest[desc.Type.Name()] += string(value) + "\n"
				}
			}
		}
		return stored, rest
	}
	d := open("8MiB")
	policy := "dn: cn=policy,dc=example,dc=org\nobjectClass: applicationProcess\nobjectClass: pwdHashingPolicy\ncn: policy\npwdAttribute: userPassword\n" +
		"pwdDefaultHash: {ARGON2}\npwdRehashOnBind: TRUE\npwdMustChange: TRUE\npwdInHistory: 3\n\n"
	if _, err := d.AddLDIF(context.Background(), top+policy+strings.TrimSuffix(aliceOne, "\n")+"pwdReset: FALSE\n\n"); err != nil {
		t.Fatal(err)
	}
	weak, before := entry(d)
	if !strings.Contains(weak, "m=8192,") {
		t.Fatalf("stored as %s", weak)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = open("12MiB")
	renewed := make(chan struct{}, 1)
	d.Store.Observe(func(c store.Commit) {
		if c.Meta.Author == "rehash" {
			renewed <- struct{}{}
		}
	})
	if err := bindTo(d, alice, "wrong"); ldap.CodeOf(err) != ldap.InvalidCredentials {
		t.Fatal(err)
	}
	if stored, _ := entry(d); stored != weak {
		t.Errorf("a wrong password has the hash stored anew: %s", stored)
	}
	if err := bindTo(d, alice, "alice-secret"); err != nil {
		t.Fatal(err)
	}
	<-renewed
	strong, after := entry(d)
	if !strings.Contains(strong, "m=12288,") {
		t.Errorf("stored as %s after a bind", strong)
	}
	if !maps.Equal(before, after) {
		t.Errorf("the entry was\n%v\nand is\n%v", before, after)
	}
	if err := bindTo(d, alice, "alice-secret"); err != nil {
		t.Errorf("the same password under the new hash: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestPasswdUnderPolicy: a password that is set by command is one that an administrator has set.
func TestPasswdUnderPolicy(t *testing.T) {
	s := ldaptest.Start(t, ldaptest.Options{LDIF: top + aliceOne, Config: "[overlay.ppolicy.policy]\nmust_change = true\n"})
	admin := app.NewAdmin(s.Directory, "test")
	if _, err := admin.SetPassword(context.Background(), app.PasswordChange{DN: alice, Password: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	req := &op.Request{
		Conn: &op.Conn{Transport: op.Unix, Loopback: true}, ID: 1,
		Op: &ldap.BindRequest{Version: 3, Name: []byte(alice), Password: []byte("x")},
	}
	if err := s.Engine.Serve(context.Background(), req, nil); err != nil || req.Policy == nil || req.Policy.Error != op.ChangeAfterReset || !req.Conn.Identity().Restricted {
		t.Errorf("%v, %+v", err, req.Policy)
	}
}

// TestPolicyConfiguration: what cannot be is refused at the start, and says where.
func TestPolicyConfiguration(t *testing.T) {
	for text, want := range map[string]string{
		"[overlay.ppolicy]\ndefault = \"nothing\"\n":                                "default",
		"[[overlay.ppolicy.rule]]\nbase = \"dc=example,dc=org\"\n":                  "rule[1].policy",
		"[[overlay.ppolicy.rule]]\npolicy = \"dc=example,dc=org\"\ngroup = \"=\"\n": "rule[1].group",
		"[overlay.ppolicy.policy]\nmin_delay = \"1s\"\n":                            "pwdMaxDelay",
		"[overlay.ppolicy.policy]\nmin_age = \"2d\"\nmax_age = \"1d\"\n":            "pwdMinAge",
		"[overlay.ppolicy.policy]\ncheck_breached = true\n":                         "breached_passwords",
		"[overlay.ppolicy]\nbreached_passwords = \"/nowhere/at/all\"\n":             "breached_passwords",
		"[overlay.ppolicy.policy]\nmin_strength = 5\n":                              "min_strength",
		"[overlay.ppolicy.policy]\nexpire_warning = \"2d\"\nmax_age = \"1d\"\n":     "pwdExpireWarning",
		"[overlay.ppolicy.policy]\nmin_length = 20\nmax_length = 10\n":              "pwdMinLength",
	} {
		c, err := config.Parse("test.toml", []byte("data_dir = \""+t.TempDir()+"\"\n[directory]\nsuffix = \"dc=example,dc=org\"\nadmin_dn = \"cn=admin,dc=example,dc=org\"\n"+text))
		if err == nil {
			var d *app.Directory
			if d, err = app.Open(c, app.OpenOptions{}); err == nil {
				err = errors.Join(errors.New("it started"), d.Close())
			}
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestForgiveRepeated: the same wrong password again counts towards a lock, as the draft has it, unless the configuration says
// that it does not.
func TestForgiveRepeated(t *testing.T) {
	for _, forgive := range []bool{false, true} {
		text := "data_dir = \"" + t.TempDir() + "\"\n[directory]\nsuffix = \"dc=example,dc=org\"\n[password.argon2]\nmemory = \"8MiB\"\ntime = 1\n"
		if forgive {
			text += "[overlay.ppolicy]\nforgive_repeated = true\n"
		}
		c, err := config.Parse("test.toml", []byte(text+lockOf3))
		if err != nil {
			t.Fatal(err)
		}
		d, err := app.Open(c, app.OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		if _, err := d.AddLDIF(context.Background(), top+aliceOne); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if err := bindTo(d, alice, "yesterday's"); ldap.CodeOf(err) != ldap.InvalidCredentials {
				t.Fatal(err)
			}
		}
		if locked := bindTo(d, alice, "alice-secret") != nil; locked == forgive {
			t.Errorf("forgive_repeated = %v, locked: %v", forgive, locked)
		}
	}
}
