package pebblekv_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"

	"portolan/internal/kv"
	"portolan/internal/kv/kvtest"
	"portolan/internal/kv/pebblekv"
)

// The benchmarks hold benchEntries values of about 650 octets, half of which is text that compresses, as entries do.
const benchEntries = 100_000

func benchOpen(b *testing.B) *pebblekv.DB {
	b.Helper()
	db, err := pebblekv.Open(filepath.Join(b.TempDir(), "db"), pebblekv.Options{
		Merger: kvtest.Merger{}, OnFatal: func(err error) { b.Error(err) },
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	return db
}

func benchKey(dst []byte, n uint64) []byte {
	return binary.BigEndian.AppendUint64(append(dst[:0], "entry/"...), n)
}

func benchValue(rng *rand.Rand, n uint64) []byte {
	v := fmt.Appendf(nil, "uid=user%06d,ou=people,dc=example,dc=com objectClass inetOrgPerson organizationalPerson person top "+
		"cn User Number %d sn Number%d mail user%06d@example.com departmentNumber %d telephoneNumber +1 555 %07d ", n, n, n, n, n%97, n)
	for len(v) < 650 {
		v = binary.LittleEndian.AppendUint32(v, rng.Uint32())
		v = append(v, "street"...)
	}
	return v
}

func benchFill(b *testing.B, db kv.DB, n uint64) (octets int64) {
	b.Helper()
	rng := rand.New(rand.NewPCG(1, 1))
	bulk, err := db.NewBulk()
	if err != nil {
		b.Fatal(err)
	}
	var key []byte
	for i := range n {
		key = benchKey(key, i)
		v := benchValue(rng, i)
		octets += int64(len(key) + len(v))
		if err := bulk.Add(key, v); err != nil {
			b.Fatal(err)
		}
	}
	if err := bulk.Finish(); err != nil {
		b.Fatal(err)
	}
	return octets
}

func BenchmarkGet(b *testing.B) {
	db := benchOpen(b)
	benchFill(b, db, benchEntries)
	rng := rand.New(rand.NewPCG(2, 2))
	for _, bench := range []struct {
		name string
		next func() uint64
	}{
		{"hot", func() uint64 { return rng.Uint64N(1000) }},
		{"random", func() uint64 { return rng.Uint64N(benchEntries) }},
	} {
		b.Run(bench.name, func(b *testing.B) {
			var key, value []byte
			b.ReportAllocs()
			for b.Loop() {
				key = benchKey(key, bench.next())
				value, _ = db.Get(value[:0], key)
			}
		})
	}
	b.Run("absent", func(b *testing.B) {
		var key, value []byte
		b.ReportAllocs()
		for b.Loop() {
			key = append(benchKey(key, rng.Uint64N(1000)), 'x') // between two keys
			value, _ = db.Get(value[:0], key)
		}
	})
}

func BenchmarkIter(b *testing.B) {
	db := benchOpen(b)
	octets := benchFill(b, db, benchEntries)
	b.SetBytes(octets / benchEntries)
	it, err := db.Iter(nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer it.Close()
	b.ReportAllocs()
	for b.Loop() {
		if !it.Next() {
			it.First()
		}
		if _, err := it.Value(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkIterOpen is the cost of an iterator that is used for one key.
func BenchmarkIterOpen(b *testing.B) {
	db := benchOpen(b)
	benchFill(b, db, benchEntries)
	rng := rand.New(rand.NewPCG(2, 2))
	var key []byte
	b.ReportAllocs()
	for b.Loop() {
		key = benchKey(key, rng.Uint64N(1000))
		it, err := db.Iter(key, nil)
		if err != nil || !it.First() {
			b.Fatal(err)
		}
		it.Close()
	}
}

func BenchmarkBulk(b *testing.B) {
	for b.Loop() {
		db := benchOpen(b)
		b.SetBytes(benchFill(b, db, benchEntries))
	}
	b.ReportMetric(float64(benchEntries)*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
}

// BenchmarkDurableWrite is the store's commit path: writers hand a change to one goroutine, which puts what is waiting
// into one batch and applies it; another waits for the disk, once for all that was applied meanwhile, and then answers.
func BenchmarkDurableWrite(b *testing.B) {
	for _, writers := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			db := benchOpen(b)
			benchFill(b, db, benchEntries)
			type change struct {
				n    uint64
				done chan struct{}
			}
			queue := make(chan change, 256)
			applied := make(chan []change, 64)
			var loops sync.WaitGroup
			loops.Go(func() {
				defer close(applied)
				var key []byte
				rng := rand.New(rand.NewPCG(3, 3))
				for c := range queue {
					group := []change{c}
					for more := true; more && len(group) < 256; {
						select {
						case c, more = <-queue:
							if more {
								group = append(group, c)
							}
						default:
							more = false
						}
					}
					batch := db.NewBatch()
					for _, c := range group {
						key = benchKey(key, c.n)
						if err := batch.Set(key, benchValue(rng, c.n)); err != nil {
							b.Error(err)
						}
					}
					if err := db.Apply(batch); err != nil {
						b.Error(err)
					}
					applied <- group
				}
			})
			loops.Go(func() {
				for group := range applied {
					waiting := [][]change{group}
					for more := true; more; {
						select {
						case g, ok := <-applied:
							if more = ok; ok {
								waiting = append(waiting, g)
							}
						default:
							more = false
						}
					}
					if err := db.Sync(); err != nil {
						b.Error(err)
					}
					for _, g := range waiting {
						for _, c := range g {
							c.done <- struct{}{}
						}
					}
				}
			})
			work := make(chan uint64, 1024)
			var wg sync.WaitGroup
			for range writers {
				wg.Go(func() {
					done := make(chan struct{}, 1)
					for n := range work {
						queue <- change{n, done}
						<-done
					}
				})
			}
			rng := rand.New(rand.NewPCG(4, 4))
			b.ResetTimer()
			for b.Loop() {
				work <- rng.Uint64N(benchEntries)
			}
			close(work)
			wg.Wait()
			b.StopTimer()
			close(queue)
			loops.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
		})
	}
}
