package store

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/uuid"

	"portolan/internal/dit"
	"portolan/internal/kv/pebblekv"
	"portolan/ldap"
)

// benchIndexes are what a directory of people is searched by.
var benchIndexes = []IndexSpec{
	{"objectClass", IndexEquality}, {"uid", IndexEquality}, {"cn", IndexEquality}, {"cn", IndexSubstring}, {"sn", IndexEquality},
	{"sn", IndexSubstring}, {"mail", IndexEquality}, {"mail", IndexSubstring}, {"uidNumber", IndexEquality}, {"gidNumber", IndexEquality},
	{"member", IndexEquality}, {"entryUUID", IndexEquality}, {"l", IndexEquality},
}

// benchPerson is an entry of about fifteen attributes, sealed as an import would have it.
func benchPerson(l *Loader, i int) (*dit.Entry, error) {
	d := dit.NewDraft()
	d.RDN = fmt.Sprintf("uid=user%06d", i)
	d.NormRDN = d.RDN
	d.UUID = uuid.NewSHA1(uuid.NameSpaceURL, fmt.Append(nil, i))
	d.CSN = dit.CSN{Micros: int64(i + 1)}
	given, family := fmt.Sprintf("Given%d", i%997), fmt.Sprintf("Family%d", i%9973)
	attrs := []attr{
		{"objectClass", []string{"top", "person", "organizationalPerson", "inetOrgPerson", "posixAccount"}},
		{"uid", []string{fmt.Sprintf("user%06d", i)}}, {"cn", []string{given + " " + family}}, {"sn", []string{family}},
		{"givenName", []string{given}}, {"mail", []string{fmt.Sprintf("%s.%s.%d@example.com", given, family, i)}},
		{"uidNumber", []string{fmt.Sprint(10000 + i)}}, {"gidNumber", []string{fmt.Sprint(100 + i%50)}},
		{"homeDirectory", []string{fmt.Sprintf("/home/user%06d", i)}}, {"loginShell", []string{"/bin/bash"}},
		{"telephoneNumber", []string{fmt.Sprintf("+49 30 %07d", i)}}, {"l", []string{[]string{"Berlin", "Paris", "Oslo", "Rome"}[i%4]}},
		{"description", []string{"An entry of a benchmark, with a text of some length in it as they have."}},
		{"entryUUID", []string{d.UUID.String()}}, {"createTimestamp", []string{"20260131120000Z"}},
		{"modifyTimestamp", []string{"20260131120000Z"}},
	}
	for _, a := range attrs {
		if err := setAttr(l.gen.schema, d, a); err != nil {
			return nil, err
		}
	}
	e, _, err := d.Seal(l.gen.shapes, dit.SealOptions{Trusted: true})
	return e, err
}

// loadBench loads n persons and returns how long the loader itself took.
func loadBench(b *testing.B, s *Store, n int, memory int64) (time.Duration, int64) {
	l, err := s.NewLoader(context.Background(), LoaderOptions{Memory: memory, Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	if err := loadEntry(l, testSuffix, 1<<30, unit); err != nil {
		b.Fatal(err)
	}
	if err := loadEntry(l, "ou=people,"+testSuffix, 1<<30+1, unit); err != nil {
		b.Fatal(err)
	}
	parent := norm(b, s, "ou=people,"+testSuffix)
	var took time.Duration
	for done := 0; done < n; {
		var entries []*dit.Entry
		for range min(1000, n-done) {
			e, err := benchPerson(l, done)
			if err != nil {
				b.Fatal(err)
			}
			entries = append(entries, e)
			done++
		}
		start := time.Now()
		for _, e := range entries {
			if err := l.Add(e, parent, nil); err != nil {
				b.Fatal(err)
			}
		}
		took += time.Since(start)
	}
	start := time.Now()
	if err := l.Finish(); err != nil {
		b.Fatal(err)
	}
	return took + time.Since(start), l.Bytes()
}

func pebbleBench(b *testing.B, cache int64) *Store {
	o := testOptions()
	o.Indexes, o.CacheBytes = benchIndexes, cache
	db, err := pebblekv.Open(b.TempDir(), pebblekv.Options{Merger: Merger(), FS: vfs.Default})
	if err != nil {
		b.Fatal(err)
	}
	return openStore(b, db, o)
}

// BenchmarkLoad loads 100,000 entries into Pebble. What it takes to make the entries is not in the figures, save for the
// processor time that the loader's workers share with it.
func BenchmarkLoad(b *testing.B) {
	const n = 100_000
	for _, memory := range []int64{DefaultLoaderMemory, 16 << 20} {
		b.Run(fmt.Sprintf("memory=%dMiB", memory>>20), func(b *testing.B) {
			for b.Loop() {
				s := pebbleBench(b, 1<<20)
				took, octets := loadBench(b, s, n, memory)
				b.ReportMetric(float64(n)/took.Seconds(), "entries/s")
				b.ReportMetric(float64(octets)/n, "B/entry")
				b.ReportMetric(float64(s.Metrics()["disk_bytes"])/n, "disk-B/entry")
			}
		})
	}
}

// BenchmarkPlan asks a store of 100,000 entries on Pebble, with plan, candidates and entries.
func BenchmarkPlan(b *testing.B) {
	const n = 100_000
	s := pebbleBench(b, 256<<20)
	loadBench(b, s, n, 0)
	run := func(name string, filter func(i int) ldap.Filter, want int) {
		b.Run(name, func(b *testing.B) {
			filters := make([]*dit.Filter, 4096)
			for i := range filters {
				filters[i] = compiled(s.Schema(), filter(i))
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				v := s.View()
				c, err := v.Plan(PlanRequest{Scope: ldap.ScopeSub, Filter: filters[i%len(filters)]})
				if err != nil {
					b.Fatal(err)
				}
				got := 0
				for {
					e, err := c.Next()
					if err != nil {
						b.Fatal(err)
					}
					if e == nil {
						break
					}
					got++
				}
				if got < want {
					b.Fatalf("%d candidates: %s", got, c.Explain())
				}
				c.Close()
				v.Close()
			}
		})
	}
	user := func(i int) string { return fmt.Sprintf("user%06d", i) }
	run("equality hot", func(int) ldap.Filter { return ldap.Eq("uid", user(7)) }, 1)
	run("class and equality hot", func(int) ldap.Filter {
		return ldap.And(ldap.Eq("objectClass", "person"), ldap.Eq("uid", user(7)))
	}, 1)
	run("dense and selective", func(i int) ldap.Filter {
		return ldap.And(ldap.Eq("objectClass", "person"), ldap.Eq("l", "Paris"), ldap.Eq("gidNumber", fmt.Sprint(101+2*(i%25))))
	}, 1000)
	run("substring initial", func(i int) ldap.Filter { return ldap.Substrings("mail", fmt.Sprintf("Given%d.", 100+i%800), nil, "") }, 1)
	run("substring any", func(i int) ldap.Filter { return ldap.Substrings("cn", "", []string{fmt.Sprintf("%d fam", i%997)}, "") }, 1)
	run("or of 100", func(i int) ldap.Filter {
		var list []ldap.Filter
		for j := range 100 {
			list = append(list, ldap.Eq("uid", user((i*100+j)%n)))
		}
		return ldap.Or(list...)
	}, 100)
	run("everything", func(int) ldap.Filter { return ldap.Eq("objectClass", "person") }, n)
}

// BenchmarkPlanCold asks for another entry each time, past caches too small to hold them.
func BenchmarkPlanCold(b *testing.B) {
	const n = 100_000
	s := pebbleBench(b, 64<<10)
	loadBench(b, s, n, 0)
	var f dit.Filter
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		in := ldap.Eq("uid", fmt.Sprintf("user%06d", i*7919%n))
		f.Compile(s.Schema(), &in)
		i++
		v := s.View()
		c, err := v.Plan(PlanRequest{Scope: ldap.ScopeSub, Filter: &f})
		if err != nil {
			b.Fatal(err)
		}
		if e, err := c.Next(); e == nil || err != nil {
			b.Fatal(e, err)
		}
		c.Close()
		v.Close()
	}
}
