package app

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"portolan/internal/bench"
	"portolan/internal/config"
	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/ldap"
)

// benchConfig is a directory with everything as it comes, beneath a new directory on the disk.
func benchConfig(b *testing.B, data *bench.DataSet) *config.Config {
	b.Helper()
	c, err := config.Parse("bench.toml", fmt.Appendf(nil, "data_dir = %q\n[directory]\nsuffix = %q\n", filepath.Join(b.TempDir(), "data"), data.Base))
	if err != nil {
		b.Fatal(err)
	}
	return c
}

// textSource is a source of an import whose file has this text.
func textSource[text string | []byte](s text) ImportSource {
	return ImportSource{Name: "text.ldif", Size: int64(len(s)), Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader([]byte(s))), nil }}
}

func benchImport(b *testing.B, c *config.Config, text []byte) {
	b.Helper()
	if _, err := Import(b.Context(), c, ImportOptions{Sources: []ImportSource{textSource(text)}, Version: "bench"}); err != nil {
		b.Fatal(err)
	}
}

func benchText(b *testing.B, data *bench.DataSet) []byte {
	b.Helper()
	var text bytes.Buffer
	if err := data.WriteLDIF(&text, nil); err != nil {
		b.Fatal(err)
	}
	return text.Bytes()
}

// cpuTime is the CPU time that the process has had: on a machine that others use too it says more than the time on the
// clock, and it has in it what is done in the background.
func cpuTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkImport loads people, and a group with all of them, with the indexes that there are by default.
func BenchmarkImport(b *testing.B) {
	for _, members := range []int{0, 20_000} {
		data := bench.DataSet{Base: bench.DefaultBase, Seed: 1, People: 20_000, Groups: 200, Members: members}
		b.Run(fmt.Sprintf("members=%d", members), func(b *testing.B) {
			text := benchText(b, &data)
			b.ReportAllocs()
			b.SetBytes(int64(len(text)))
			cpu := cpuTime()
			for b.Loop() {
				benchImport(b, benchConfig(b, &data), text)
			}
			b.ReportMetric(float64((cpuTime()-cpu).Nanoseconds())/float64(b.N)/float64(data.Entries()), "cpu-ns/entry")
			b.ReportMetric(float64(data.Entries())*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
		})
	}
}

// BenchmarkWrite performs writes of several clients at a time, each durable before the next, with access control, schema
// and overlays as they come.
func BenchmarkWrite(b *testing.B) {
	data := bench.DataSet{Base: bench.DefaultBase, Seed: 1, People: 20_000, Groups: 200, Members: 20_000}
	c := benchConfig(b, &data)
	benchImport(b, c, benchText(b, &data))
	d, err := Open(c, OpenOptions{Version: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := d.Close(); err != nil {
			b.Error(err)
		}
	}()
	norm, err := d.Schema().NormalizeDN(nil, []byte(data.Writer()))
	if err != nil {
		b.Fatal(err)
	}
	view := d.Store.View()
	writer, _, err := view.Lookup(string(norm))
	view.Close()
	if err != nil {
		b.Fatal(err)
	}
	who := &op.Identity{Name: dit.Name{DN: data.Writer(), Norm: string(norm)}, Entry: writer.ID, UUID: writer.UUID, Method: "simple"}
	var serial atomic.Int64
	values := func(name string, values ...string) ldap.Attribute {
		a := ldap.Attribute{Type: []byte(name)}
		for _, v := range values {
			a.Values = append(a.Values, []byte(v))
		}
		return a
	}
	member := func(group string) func(*rand.Rand) ldap.Op {
		return func(*rand.Rand) ldap.Op {
			return &ldap.ModifyRequest{Object: []byte(group), Changes: []ldap.Mod{
				{Op: ldap.ModAdd, Attribute: values("member", fmt.Sprintf("uid=b%08d,ou=people,%s", serial.Add(1), data.Base))},
			}}
		}
	}
	for _, kind := range []struct {
		name    string
		request func(rng *rand.Rand) ldap.Op
	}{
		{"modify", func(rng *rand.Rand) ldap.Op {
			return &ldap.ModifyRequest{Object: []byte(data.Person(rng.IntN(data.People))), Changes: []ldap.Mod{
				{Op: ldap.ModReplace, Attribute: values("uidNumber", fmt.Sprint(1_000_000_000+rng.IntN(1_000_000_000)))},
			}}
		}},
		{"add", func(rng *rand.Rand) ldap.Op {
			n := serial.Add(1)
			uid := fmt.Sprintf("b%08d", n)
			return &ldap.AddRequest{Entry: []byte("uid=" + uid + ",ou=people," + data.Base), Attributes: []ldap.Attribute{
				values("objectClass", "inetOrgPerson", "posixAccount"), values("uid", uid), values("cn", "Added Entry"), values("sn", "Added"),
				values("givenName", "Entry"), values("mail", uid+"@mail.example.org"), values("telephoneNumber", fmt.Sprintf("+49 30 %d", n)),
				values("title", "Engineer"), values("l", "Berlin"), values("employeeNumber", fmt.Sprint(n)), values("uidNumber", fmt.Sprint(1_000_000+n)),
				values("gidNumber", "10000"), values("homeDirectory", "/home/"+uid), values("loginShell", "/bin/bash"), values("description", "added"),
			}}
		}},
		{"member-of-10", member(data.SmallGroup())},
		{"member-of-20000", member(data.BigGroup())},
	} {
		for _, clients := range []int{1, 16, 64} {
			b.Run(fmt.Sprintf("%s/clients=%d", kind.name, clients), func(b *testing.B) {
				work := make(chan struct{}, 1024)
				var running sync.WaitGroup
				for i := range clients {
					running.Go(func() {
						rng := rand.New(rand.NewPCG(uint64(b.N), uint64(i)))
						conn := &op.Conn{Transport: op.Unix, Loopback: true}
						conn.SetIdentity(who)
						for range work {
							req := op.Request{Conn: conn, ID: 7, Op: kind.request(rng), Identity: who, Start: time.Now()}
							if err := d.Engine.Serve(context.Background(), &req, nil); err != nil && !b.Failed() {
								b.Error(err)
							}
						}
					})
				}
				before, cpu := d.Store.Metrics(), cpuTime()
				b.ReportAllocs()
				for b.Loop() {
					work <- struct{}{}
				}
				close(work)
				running.Wait()
				b.StopTimer()
				after := d.Store.Metrics()
				per := func(name string) float64 { return float64(after[name]-before[name]) / float64(b.N) }
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
				b.ReportMetric(float64((cpuTime()-cpu).Nanoseconds())/float64(b.N), "cpu-ns/op")
				b.ReportMetric(per("store_syncs"), "syncs/op")
				b.ReportMetric(per("wal_written_bytes_total"), "journal-B/op")
				b.ReportMetric(per("flushed_bytes_total")+per("compacted_bytes_total"), "tables-B/op")
			})
		}
	}
}
