package store

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"portolan/internal/dit"
	"portolan/internal/kv"
	"portolan/internal/kv/memkv"
	"portolan/internal/kv/pebblekv"
)

func benchOptions() Options {
	o := testOptions()
	o.CacheBytes = 64 << 20
	o.Now = time.Now
	return o
}

// benchStore has people in ou=people.
func benchStore(b *testing.B, db kv.DB, people int) *Store {
	b.Helper()
	s := openStore(b, db, benchOptions())
	addAll(b, s, testSuffix, "ou=people,"+testSuffix)
	for at := 0; at < people; {
		update(b, s, func(tx *Tx) error {
			for range 500 {
				if at == people {
					return nil
				}
				if _, err := addEntry(tx, fmt.Sprintf("uid=p%d,ou=people,%s", at, testSuffix), person(fmt.Sprintf("p%d", at))...); err != nil {
					return err
				}
				at++
			}
			return nil
		})
	}
	return s
}

func BenchmarkGetCached(b *testing.B) {
	s := benchStore(b, memkv.New(Merger()), 1000)
	e := mustFind(b, s, "uid=p7,ou=people,"+testSuffix)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			v := s.View()
			if got, err := v.Get(e.ID); got == nil || err != nil {
				b.Error(got, err)
			}
			v.Close()
		}
	})
}

func BenchmarkLookupCached(b *testing.B) {
	s := benchStore(b, memkv.New(Merger()), 1000)
	names := make([]string, 256)
	for i := range names {
		names[i] = fmt.Sprintf("uid=p%d,ou=people,%s", i, testSuffix)
		mustFind(b, s, names[i])
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			v := s.View()
			if got, _, err := v.Lookup(names[i%len(names)]); got == nil || err != nil {
				b.Error(got, err)
			}
			v.Close()
		}
	})
}

func BenchmarkEqualListCached(b *testing.B) {
	s := benchStore(b, memkv.New(Merger()), 1000)
	attribute := s.Schema().AttributeTypeString("uid")
	key, err := s.Schema().EqualityKey(attribute, nil, []byte("p7"))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		v := s.View()
		set, err := v.Equal(attribute, key)
		if err != nil || set.GetCardinality() != 1 {
			b.Fatal(set, err)
		}
		v.Close()
	}
}

func BenchmarkAppendName(b *testing.B) {
	s := benchStore(b, memkv.New(Merger()), 100)
	e := mustFind(b, s, "uid=p7,ou=people,"+testSuffix)
	var dn, norm []byte
	b.ReportAllocs()
	for b.Loop() {
		v := s.View()
		var err error
		if dn, norm, err = v.AppendName(dn[:0], norm[:0], e); err != nil {
			b.Fatal(err)
		}
		v.Close()
	}
}

func diskStore(b *testing.B, people int) *Store {
	b.Helper()
	db, err := pebblekv.Open(tempDir(b)+"/data", pebblekv.Options{Merger: Merger()})
	if err != nil {
		b.Fatal(err)
	}
	return benchStore(b, db, people)
}

// parallel runs work from n goroutines and reports operations per second.
func parallel(b *testing.B, n int, work func(i int) error) {
	var at atomic.Int64
	b.SetParallelism(n)
	b.ReportAllocs()
	b.ResetTimer()
	start := time.Now()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := work(int(at.Add(1))); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "ops/s")
}

// alone runs work from one goroutine.
func alone(b *testing.B, work func(i int) error) {
	b.ReportAllocs()
	start, i := time.Now(), 0
	for b.Loop() {
		i++
		if err := work(i); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(i)/time.Since(start).Seconds(), "ops/s")
}

// benchWriters runs with 1, 16 and 64 writers; SetParallelism counts per core, of which it assumes two.
func benchWriters(b *testing.B, run func(b *testing.B, parallelism int)) {
	b.Run("writers=1", func(b *testing.B) { run(b, 0) })
	b.Run("writers=16", func(b *testing.B) { run(b, 8) })
	b.Run("writers=64", func(b *testing.B) { run(b, 32) })
}

func BenchmarkModify(b *testing.B) {
	benchWriters(b, func(b *testing.B, n int) {
		const people = 10_000
		s := diskStore(b, people)
		ids := make([]dit.ID, people)
		for i := range ids {
			ids[i] = mustFind(b, s, fmt.Sprintf("uid=p%d,ou=people,%s", i, testSuffix)).ID
		}
		work := func(i int) error {
			_, err := s.Update(context.Background(), Meta{Author: "cn=bench"}, func(tx *Tx) error {
				e, err := tx.Get(ids[i*7919%people])
				if err != nil {
					return err
				}
				_, err = modifyEntry(tx, e, attr{"cn", []string{fmt.Sprint("n", i)}})
				return err
			})
			return err
		}
		if n == 0 {
			alone(b, work)
			return
		}
		parallel(b, n, work)
		m := s.Metrics()
		b.ReportMetric(float64(m["store_commits"])/float64(m["store_syncs"]), "commits/sync")
	})
}

func BenchmarkAdd(b *testing.B) {
	benchWriters(b, func(b *testing.B, n int) {
		s := diskStore(b, 1000)
		work := func(i int) error {
			_, err := s.Update(context.Background(), Meta{Author: "cn=bench"}, func(tx *Tx) error {
				_, err := addEntry(tx, fmt.Sprintf("uid=x%d,ou=people,%s", i, testSuffix), person(fmt.Sprintf("x%d", i))...)
				return err
			})
			return err
		}
		if n == 0 {
			alone(b, work)
			return
		}
		parallel(b, n, work)
	})
}

// Reads that hit the caches allocate nothing.
func TestCachedReadsAllocateNothing(t *testing.T) {
	s := memStore(t)
	addAll(t, s, testSuffix, "ou=people,"+testSuffix, "uid=a,ou=people,"+testSuffix)
	name := "uid=a,ou=people," + testSuffix
	e := mustFind(t, s, name)
	buf := make([]byte, 0, 256)
	read := func() {
		v := s.View()
		if got, err := v.Get(e.ID); got == nil || err != nil {
			t.Fatal(got, err)
		}
		if got, _, err := v.Lookup(name); got == nil || err != nil {
			t.Fatal(got, err)
		}
		if _, _, err := v.AppendName(buf[:0:128], buf[128:128:256], e); err != nil {
			t.Fatal(err)
		}
		if v.pinned {
			t.Fatal("a cached read took the snapshot")
		}
		v.Close()
	}
	// The first read knows no name yet and fills the cache.
	v := s.View()
	if _, _, err := v.AppendName(buf[:0:128], buf[128:128:256], e); err != nil {
		t.Fatal(err)
	}
	v.Close()
	if n := testing.AllocsPerRun(2000, read); n > 0 {
		t.Fatalf("%v allocations", n)
	}
}
