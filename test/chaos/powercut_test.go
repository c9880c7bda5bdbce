package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
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

// openOn opens a directory, with refint and unique on, on a file system in memory.
func openOn(t *testing.T, fs vfs.FS, sync bool) *app.Directory {
	t.Helper()
	c, err := config.Parse("test.toml", []byte("data_dir = \"unused\"\n[directory]\nsuffix = \"dc=example,dc=org\"\nadmin_dn = \"cn=admin,dc=example,dc=org\"\n[overlay.unique]\nattributes = [\"uid\"]\n"))
	if err != nil {
		t.Fatal(err)
	}
	db, err := pebblekv.Open("db", pebblekv.Options{Merger: store.Merger(), FS: fs, DisableWALSync: !sync})
	if err != nil {
		t.Fatal(err)
	}
	d, err := app.Open(c, app.OpenOptions{KV: db})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func perform(d *app.Directory, m ldap.Op) error {
	req := &op.Request{Conn: &op.Conn{Transport: op.Unix, Loopback: true}, ID: 1, Op: m, Identity: d.Engine.AdminIdentity("internal"), Start: time.Now()}
	return d.Engine.Serve(context.Background(), req, nil)
}

func entry(dn string, pairs ...string) *ldap.AddRequest {
	m := &ldap.AddRequest{Entry: []byte(dn)}
	for i := 0; i < len(pairs); i += 2 {
		m.Attributes = append(m.Attributes, ldap.Attribute{Type: []byte(pairs[i]), Values: [][]byte{[]byte(pairs[i+1])}})
	}
	return m
}

// cut writes with 16 writers, cuts the power at a random moment, and returns how many acknowledged writes are lost and
// how many defects there are on the disk as it was left.
func cut(t *testing.T, seed uint64, sync bool) (lost, defects int) {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 1))
	disk := vfs.NewCrashableMem()
	d := openOn(t, disk, sync)
	for _, m := range []*ldap.AddRequest{
		entry(suffix, "objectClass", "organization", "o", "Example"),
		entry("ou=people,"+suffix, "objectClass", "organizationalUnit"),
		entry("cn=all,"+suffix, "objectClass", "groupOfNames", "member", "cn=nobody"),
	} {
		if m.Attributes[0].Values[0][0] == 'o' && len(m.Attributes) == 2 && string(m.Attributes[1].Type) == "o" {
			m.Attributes[0].Values = append(m.Attributes[0].Values, []byte("dcObject"))
		}
		if err := perform(d, m); err != nil {
			t.Fatal(err)
		}
	}
	acknowledged, count := writeUntil(d, 100+random.IntN(400))
	// The clone is the disk after the cut: what was synced, and a random part of what was not.
	before := acknowledged()
	clone := disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: random.IntN(101), RNG: rand.New(rand.NewPCG(seed, 2))})
	count()
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	after := openOn(t, clone, true)
	defer func() {
		if err := after.Close(); err != nil {
			t.Error(err)
		}
	}()
	view := after.Store.View()
	defer view.Close()
	for _, dn := range before {
		norm, err := after.Schema().NormalizeDN(nil, []byte(dn))
		if err != nil {
			t.Fatal(err)
		}
		if e, _, err := view.Lookup(string(norm)); err != nil || e == nil {
			lost++
		}
	}
	sum, err := app.NewAdmin(after, "test").Check(context.Background(), func(f app.Finding) {
		t.Logf("seed %d: %+v", seed, f)
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return lost, int(sum.Findings)
}

// writeUntil starts writers and returns when about so many writes were acknowledged, with the writers still at it.
// acknowledged returns the names of people who must be there; end stops the writers.
func writeUntil(d *app.Directory, enough int) (acknowledged func() []string, end func()) {
	var mu sync.Mutex
	var names []string
	var stop atomic.Bool
	var wait sync.WaitGroup
	reached := make(chan struct{})
	for w := range 16 {
		wait.Go(func() {
			for n := 0; !stop.Load(); n++ {
				uid := fmt.Sprintf("w%d-%d", w, n)
				if perform(d, entry(person(uid), "objectClass", "inetOrgPerson", "cn", uid, "sn", "S")) != nil {
					return
				}
				join := &ldap.ModifyRequest{Object: []byte("cn=all," + suffix), Changes: []ldap.Mod{{
					Op: ldap.ModAdd, Attribute: ldap.Attribute{Type: []byte("member"), Values: [][]byte{[]byte(person(uid))}}}}}
				if perform(d, join) != nil {
					return
				}
				// Half of them are renamed, with the reference to them, in one transaction.
				name := person(uid)
				if n%2 == 0 {
					if perform(d, &ldap.ModifyDNRequest{Entry: []byte(name), NewRDN: []byte("uid=r" + uid), DeleteOldRDN: true}) != nil {
						return
					}
					name = person("r" + uid)
				}
				mu.Lock()
				if names = append(names, name); len(names) == enough {
					close(reached)
				}
				mu.Unlock()
			}
		})
	}
	<-reached
	return func() []string {
			mu.Lock()
			defer mu.Unlock()
			return append([]string(nil), names...)
		}, func() {
			stop.Store(true)
			wait.Wait()
		}
}

// TestPowerCut cuts the power under the whole directory, overlays on. Without the sync the same test must lose writes: it
// would not see anything otherwise.
func TestPowerCut(t *testing.T) {
	rounds := uint64(4)
	if full() {
		rounds = 12
	}
	for seed := range rounds {
		if lost, defects := cut(t, seed, true); lost > 0 || defects > 0 {
			t.Errorf("seed %d: %d acknowledged writes are lost, %d defects", seed, lost, defects)
		}
	}
	lost := 0
	for seed := range uint64(4) {
		l, _ := cut(t, seed, false)
		lost += l
	}
	if lost == 0 {
		t.Error("with sync turned off nothing was lost: this test does not see what it is for")
	}
}
