package store

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"portolan/internal/dit"
	"portolan/internal/kv"
	"portolan/internal/kv/memkv"
	"portolan/internal/kv/pebblekv"
	"portolan/internal/schema"
	"portolan/ldap"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// The caches and the engine run short maintenance goroutines of their own, which end by themselves.
		goleak.IgnoreAnyFunction("github.com/maypok86/otter/v2.(*cache[...]).drainBuffers"),
	)
}

const testSuffix = "dc=example,dc=com"

var testIndexes = []IndexSpec{
	{Attribute: "objectClass", Kind: IndexEquality},
	{Attribute: "uid", Kind: IndexEquality},
	{Attribute: "cn", Kind: IndexEquality},
	{Attribute: "member", Kind: IndexEquality},
	{Attribute: "uid", Kind: IndexSubstring},
}

// clock is a clock that a test sets. It moves a microsecond at every look.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(time.Microsecond)
	return c.now
}

func (c *clock) step(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// lockedRand is a reproducible source for several goroutines.
type lockedRand struct {
	mu sync.Mutex
	r  *rand.Rand
}

func (l *lockedRand) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.r.Read(p)
}

func testRand(seed int64) io.Reader { return &lockedRand{r: rand.New(rand.NewSource(seed))} }

func testOptions() Options {
	return Options{
		Schema: schema.Default(), Suffixes: []string{testSuffix}, Indexes: testIndexes, CacheBytes: 1 << 20,
		LargeThreshold: 8, Now: newClock().Now, Rand: testRand(1), Logger: slog.New(slog.DiscardHandler),
	}
}

// must opens a store that is closed with the test.
func openStore(t testing.TB, db kv.DB, o Options) *Store {
	t.Helper()
	s, err := Open(db, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error("close:", err)
		}
	})
	return s
}

func memStore(t testing.TB) *Store { return openStore(t, memkv.New(Merger()), testOptions()) }

func openPebble(t testing.TB, fs vfs.FS, dir string, syncOff bool) kv.DB {
	t.Helper()
	db, err := pebblekv.Open(dir, pebblekv.Options{Merger: Merger(), FS: fs, MemtableBytes: 256 << 10, CacheBytes: 1 << 20, DisableWALSync: syncOff})
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func norm(t testing.TB, s *Store, dn string) string {
	t.Helper()
	n, err := s.Schema().NormalizeDNString(nil, dn)
	if err != nil {
		t.Fatal(err)
	}
	return string(n)
}

// attr is one attribute of a test entry.
type attr struct {
	name   string
	values []string
}

// split cuts a name of plain RDNs.
func split(dn string) (rdn, parent string) {
	rdn, parent, _ = strings.Cut(dn, ",")
	return rdn, parent
}

func setAttr(s *schema.Schema, d *dit.Draft, a attr) error {
	desc, err := s.DescribeString(a.name)
	if err != nil {
		return err
	}
	values := make([][]byte, len(a.values))
	for i, v := range a.values {
		values[i] = []byte(v)
	}
	return d.Replace(s, desc, values, false)
}

// addEntry adds an entry in a transaction. Without object class it is an untypedObject-like device.
func addEntry(tx *Tx, dn string, attrs ...attr) (*dit.Entry, error) {
	s := tx.Schema()
	n, err := s.NormalizeDNString(nil, dn)
	if err != nil {
		return nil, err
	}
	d := dit.NewDraft()
	if tx.Suffix(string(n)) {
		d.RDN, d.NormRDN = dn, string(n)
	} else {
		rdn, parentDN := split(dn)
		up, err := s.NormalizeDNString(nil, parentDN)
		if err != nil {
			return nil, err
		}
		parent, _, err := tx.Lookup(string(up))
		if err != nil {
			return nil, err
		}
		if parent == nil {
			return nil, ldap.Errorf(ldap.NoSuchObject, "no parent for %s", dn)
		}
		d.Parent, d.RDN, d.NormRDN = parent.ID, rdn, string(n[:len(n)-len(up)-1])
	}
	if d.UUID, err = tx.NextUUID(); err != nil {
		return nil, err
	}
	d.CSN = tx.NextCSN()
	for _, a := range attrs {
		if err := setAttr(s, d, a); err != nil {
			return nil, err
		}
	}
	e, large, err := d.Seal(tx.Shapes(), dit.SealOptions{LargeThreshold: tx.s.LargeThreshold(), Trusted: true})
	if err != nil {
		return nil, err
	}
	ch, err := tx.Put(PutRequest{Entry: e, Large: large})
	if err != nil {
		return nil, err
	}
	return ch.After, nil
}

func person(uid string) []attr {
	return []attr{{"objectClass", []string{"top", "person", "organizationalPerson", "inetOrgPerson"}}, {"uid", []string{uid}}, {"cn", []string{"Person " + uid}}, {"sn", []string{"S"}}}
}

var unit = attr{"objectClass", []string{"top", "organizationalUnit"}}

// modifyEntry replaces one attribute.
func modifyEntry(tx *Tx, e *dit.Entry, a attr) (*dit.Entry, error) {
	d := e.Edit(tx)
	d.CSN = tx.NextCSN()
	if err := setAttr(tx.Schema(), d, a); err != nil {
		return nil, err
	}
	return sealAndPut(tx, d)
}

func sealAndPut(tx *Tx, d *dit.Draft) (*dit.Entry, error) {
	e, large, err := d.Seal(tx.Shapes(), dit.SealOptions{LargeThreshold: tx.s.LargeThreshold(), Trusted: true})
	if err != nil {
		return nil, err
	}
	ch, err := tx.Put(PutRequest{Entry: e, Large: large})
	if err != nil {
		return nil, err
	}
	return ch.After, nil
}

// moveEntry gives an entry another RDN and parent.
func moveEntry(tx *Tx, e *dit.Entry, parent dit.ID, rdn string) (*dit.Entry, error) {
	n, err := tx.Schema().NormalizeDNString(nil, rdn)
	if err != nil {
		return nil, err
	}
	d := e.Edit(tx)
	d.CSN = tx.NextCSN()
	d.Parent, d.RDN, d.NormRDN = parent, rdn, string(n)
	return sealAndPut(tx, d)
}

func update(t testing.TB, s *Store, fn func(*Tx) error) Commit {
	t.Helper()
	c, err := s.Update(context.Background(), Meta{Author: "cn=test"}, fn)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// addAll adds entries, each in a transaction of its own.
func addAll(t testing.TB, s *Store, dns ...string) {
	t.Helper()
	for _, dn := range dns {
		update(t, s, func(tx *Tx) error {
			attrs := []attr{unit}
			if rdn, _ := split(dn); strings.HasPrefix(rdn, "uid=") {
				attrs = person(rdn[4:])
			}
			_, err := addEntry(tx, dn, attrs...)
			return err
		})
	}
}

func find(t testing.TB, v *View, dn string) *dit.Entry {
	t.Helper()
	e, _, err := v.Lookup(norm(t, v.s, dn))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func mustFind(t testing.TB, s *Store, dn string) *dit.Entry {
	t.Helper()
	v := s.View()
	defer v.Close()
	e := find(t, v, dn)
	if e == nil {
		t.Fatalf("%s is not there", dn)
	}
	return e
}

func checkClean(t testing.TB, s *Store) CheckStats {
	t.Helper()
	stats, err := s.Check(context.Background(), func(f Finding) { t.Errorf("check: %s: %s", f.Where, f.What) })
	if err != nil {
		t.Fatal(err)
	}
	return stats
}

func code(err error) ldap.ResultCode { return ldap.CodeOf(err) }

func ou(i int) string { return fmt.Sprintf("ou=u%d", i) }

func tempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "store")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
