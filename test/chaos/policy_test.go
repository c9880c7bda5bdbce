package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"portolan/internal/app"
	"portolan/internal/config"
	"portolan/internal/kv/pebblekv"
	"portolan/internal/op"
	"portolan/internal/store"
	"portolan/ldap"
)

// policyOn opens a directory with a strict password policy on a file system in memory, ahead of the machine's clock.
func policyOn(t *testing.T, fs vfs.FS, sync bool, ahead time.Duration) *app.Directory {
	t.Helper()
	c, err := config.Parse("test.toml", []byte("data_dir = \"unused\"\n[directory]\nsuffix = \"dc=example,dc=org\"\nadmin_dn = \"cn=admin,dc=example,dc=org\"\n"+
		"[password.argon2]\nmemory = \"8MiB\"\ntime = 1\n[overlay.ppolicy.policy]\nlockout = true\nmax_failure = 2\nmax_age = \"1d\"\ngrace_authn_limit = 1\n"))
	if err != nil {
		t.Fatal(err)
	}
	db, err := pebblekv.Open("db", pebblekv.Options{Merger: store.Merger(), FS: fs, DisableWALSync: !sync})
	if err != nil {
		t.Fatal(err)
	}
	d, err := app.Open(c, app.OpenOptions{KV: db, Now: func() time.Time { return time.Now().Add(ahead) }})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func bindAs(d *app.Directory, dn, password string) ldap.ResultCode {
	return ldap.CodeOf(d.Engine.Serve(context.Background(), &op.Request{
		Conn: &op.Conn{Transport: op.Unix, Loopback: true}, ID: 1, Start: time.Now(),
		Op: &ldap.BindRequest{Version: 3, Name: []byte(dn), Password: []byte(password)},
	}, nil))
}

// cutAfterBinds locks one account, uses up the grace of another, changes a third one's password, cuts the power the moment
// the answers are there, and returns what of it the disk does not know.
func cutAfterBinds(t *testing.T, sync bool) (lost []string) {
	t.Helper()
	disk := vfs.NewCrashableMem()
	d := policyOn(t, disk, sync, 0)
	dn := func(uid string) string { return "uid=" + uid + "," + suffix }
	top := entry(suffix, "objectClass", "organization", "o", "Example")
	top.Attributes[0].Values = append(top.Attributes[0].Values, []byte("dcObject"))
	if err := perform(d, top); err != nil {
		t.Fatal(err)
	}
	for _, uid := range []string{"locked", "grace", "changed"} {
		if err := perform(d, entry(dn(uid), "objectClass", "inetOrgPerson", "cn", uid, "sn", uid, "userPassword", "secret-of-old")); err != nil {
			t.Fatal(err)
		}
	}
	// What came before is on the disk in any case.
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = policyOn(t, disk, sync, 25*time.Hour)
	for i := range 2 {
		if code := bindAs(d, dn("locked"), fmt.Sprint("wrong ", i)); code != ldap.InvalidCredentials {
			t.Fatal(code)
		}
	}
	if code := bindAs(d, dn("grace"), "secret-of-old"); code != ldap.Success {
		t.Fatal(code)
	}
	if err := perform(d, &ldap.ModifyRequest{Object: []byte(dn("changed")), Changes: []ldap.Mod{{
		Op: ldap.ModReplace, Attribute: ldap.Attribute{Type: []byte("userPassword"), Values: [][]byte{[]byte("secret-of-new")}},
	}}}); err != nil {
		t.Fatal(err)
	}
	clone := disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 0, RNG: rand.New(rand.NewPCG(1, 2))})
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = policyOn(t, clone, true, 25*time.Hour)
	defer func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}()
	if bindAs(d, dn("locked"), "secret-of-old") == ldap.Success {
		lost = append(lost, "the lock")
	}
	if bindAs(d, dn("grace"), "secret-of-old") == ldap.Success {
		lost = append(lost, "the grace bind")
	}
	if bindAs(d, dn("changed"), "secret-of-new") != ldap.Success {
		lost = append(lost, "the new password")
	}
	return lost
}

// TestPolicyOverPowerCut: locks, grace binds and passwords are on the disk before the answer.
func TestPolicyOverPowerCut(t *testing.T) {
	if lost := cutAfterBinds(t, true); len(lost) > 0 {
		t.Errorf("answered, and lost: %q", lost)
	}
	// The test can tell: without syncing all of it is gone.
	if lost := cutAfterBinds(t, false); len(lost) != 3 {
		t.Errorf("without syncing only this is lost: %q", lost)
	}
}
