package app

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"portolan/internal/config"
	"portolan/internal/op"
	"portolan/ldap"
)

// groupsBench is a directory with groups; nested says whether nested ones count in memberOf.
func groupsBench(b *testing.B, nested bool, text []byte) *Directory {
	b.Helper()
	c, err := config.Parse("bench.toml", fmt.Appendf(nil, "data_dir = %q\n[directory]\nsuffix = \"dc=example,dc=org\"\nadmin_dn = \"cn=admin,dc=example,dc=org\"\n[overlay.memberof]\nnested = %v\n",
		filepath.Join(b.TempDir(), "data"), nested))
	if err != nil {
		b.Fatal(err)
	}
	benchImport(b, c, text)
	d, err := Open(c, OpenOptions{Version: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = d.Close() })
	return d
}

// nowhere is an op.Writer that counts the octets of messages.
type nowhere struct {
	buf    []byte
	octets int
}

func (n *nowhere) Begin() []byte { return n.buf[:0] }
func (n *nowhere) End(buf []byte) error {
	n.buf, n.octets = buf, n.octets+len(buf)
	return nil
}

func (n *nowhere) serve(b *testing.B, d *Directory, m ldap.Op) {
	req := &op.Request{Conn: &op.Conn{Transport: op.Unix, Loopback: true}, ID: 1, Op: m, Identity: d.Engine.AdminIdentity("internal"), Start: time.Now()}
	if err := d.Engine.Serve(context.Background(), req, n); err != nil {
		b.Fatal(err)
	}
}

const benchTop = "dn: dc=example,dc=org\nobjectClass: organization\nobjectClass: dcObject\ndc: example\no: x\n\ndn: ou=people,dc=example,dc=org\nobjectClass: organizationalUnit\nou: people\n"

func memberDN(i int) string { return fmt.Sprintf("uid=u%d,ou=people,dc=example,dc=org", i) }

// threadTime is the CPU time of this thread: what a search costs that runs where it was asked, whatever else the machine does.
// The goroutine must be locked to its thread.
func threadTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func quantile(all []time.Duration, q float64) float64 {
	slices.Sort(all)
	return float64(all[min(len(all)-1, int(q*float64(len(all))))].Microseconds())
}

// BenchmarkMemberOfLarge adds people to a group of 100,000 that 100 groups hold, while others search, and asks each for its
// memberOf right afterwards.
func BenchmarkMemberOfLarge(b *testing.B) {
	const members, parents, people = 100_000, 100, 20_000
	var text bytes.Buffer
	text.WriteString(benchTop)
	for i := range people {
		fmt.Fprintf(&text, "\ndn: %s\nobjectClass: account\nuid: u%d\n", memberDN(i), i)
	}
	text.WriteString("\ndn: cn=large,dc=example,dc=org\nobjectClass: groupOfNames\ncn: large\n")
	for i := range members {
		fmt.Fprintf(&text, "member: uid=m%d,ou=people,dc=example,dc=org\n", i)
	}
	for i := range parents {
		fmt.Fprintf(&text, "\ndn: cn=parent%d,dc=example,dc=org\nobjectClass: groupOfNames\ncn: parent%d\nmember: cn=large,dc=example,dc=org\n", i, i)
	}
	d := groupsBench(b, true, text.Bytes())
	done := make(chan struct{})
	var searching sync.WaitGroup
	for range 4 {
		searching.Go(func() {
			var n nowhere
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				n.serve(b, d, &ldap.SearchRequest{Base: []byte("dc=example,dc=org"), Scope: ldap.ScopeSub, Filter: ldap.Eq("uid", fmt.Sprintf("u%d", i%people))})
				time.Sleep(time.Millisecond) // clients that wait, not ones that take the machine
			}
		})
	}
	defer func() { close(done); searching.Wait() }()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var n nowhere
	var adds, reads, cpu []time.Duration
	i := 0
	for b.Loop() {
		who := memberDN(i % people)
		change := ldap.Mod{Op: ldap.ModAdd, Attribute: ldap.Attribute{Type: []byte("member"), Values: [][]byte{[]byte(who)}}}
		if (i/people)%2 == 1 {
			change.Op = ldap.ModDelete
		}
		i++
		begun := time.Now()
		n.serve(b, d, &ldap.ModifyRequest{Object: []byte("cn=large,dc=example,dc=org"), Changes: []ldap.Mod{change}})
		added := time.Now()
		n.octets = 0
		spent := threadTime()
		n.serve(b, d, &ldap.SearchRequest{Base: []byte(who), Filter: ldap.Present("objectClass"), Attributes: [][]byte{[]byte("memberOf")}})
		adds, reads = append(adds, added.Sub(begun)), append(reads, time.Since(added))
		cpu = append(cpu, threadTime()-spent)
		if change.Op == ldap.ModAdd && n.octets < parents*len("cn=parent0,dc=example,dc=org") {
			b.Fatalf("memberOf has %d octets", n.octets)
		}
	}
	b.ReportMetric(quantile(adds, 0.5), "add-p50-µs")
	b.ReportMetric(quantile(adds, 0.99), "add-p99-µs")
	b.ReportMetric(quantile(cpu, 0.5), "read-cpu-p50-µs")
	b.ReportMetric(quantile(cpu, 0.99), "read-cpu-p99-µs")
	b.ReportMetric(quantile(reads, 0.5), "read-p50-µs")
	b.ReportMetric(quantile(reads, 0.99), "read-p99-µs")
}

// BenchmarkMemberOfNested asks about 10,000 people in groups nested ten deep.
func BenchmarkMemberOfNested(b *testing.B) {
	const levels, people = 10, 10_000
	var text bytes.Buffer
	text.WriteString(benchTop)
	for i := range people {
		fmt.Fprintf(&text, "\ndn: %s\nobjectClass: account\nuid: u%d\n", memberDN(i), i)
	}
	for l := range levels {
		fmt.Fprintf(&text, "\ndn: cn=g%d,dc=example,dc=org\nobjectClass: groupOfNames\ncn: g%d\n", l, l)
		if l+1 < levels {
			fmt.Fprintf(&text, "member: cn=g%d,dc=example,dc=org\n", l+1)
		}
		for i := l; i < people; i += levels {
			fmt.Fprintf(&text, "member: %s\n", memberDN(i))
		}
	}
	d := groupsBench(b, true, text.Bytes())
	chain := ldap.Extensible("memberOf", false, "1.2.840.113556.1.4.1941", "cn=g0,dc=example,dc=org")
	deepest := ldap.Eq("uid", fmt.Sprintf("u%d", people-1))
	none := [][]byte{[]byte("1.1")}
	for _, x := range []struct {
		name string
		m    *ldap.SearchRequest
	}{
		{"memberOf of one", &ldap.SearchRequest{Filter: deepest, Attributes: [][]byte{[]byte("memberOf")}}},
		{"is one a member", &ldap.SearchRequest{Filter: ldap.And(deepest, chain), Attributes: none}},
		{"is one a member, by name", &ldap.SearchRequest{Filter: ldap.And(deepest, ldap.Eq("memberOf", "cn=g0,dc=example,dc=org")), Attributes: none}},
		{"groups of one", &ldap.SearchRequest{Filter: ldap.Extensible("member", false, "1.2.840.113556.1.4.1941", memberDN(people-1)), Attributes: none}},
		{"all members", &ldap.SearchRequest{Filter: chain, Attributes: none}},
	} {
		b.Run(x.name, func(b *testing.B) { benchSearch(b, d, x.m) })
	}
}

// BenchmarkMemberOfFilter searches by memberOf for the members of a group of 100,000, whose entries are all there.
func BenchmarkMemberOfFilter(b *testing.B) {
	const people = 100_000
	var text bytes.Buffer
	text.WriteString(benchTop)
	for i := range people {
		fmt.Fprintf(&text, "\ndn: %s\nobjectClass: account\nuid: u%d\nl: town %d\n", memberDN(i), i, i%100)
	}
	text.WriteString("\ndn: cn=all,dc=example,dc=org\nobjectClass: groupOfNames\ncn: all\n")
	for i := range people {
		fmt.Fprintf(&text, "member: %s\n", memberDN(i))
	}
	d := groupsBench(b, false, text.Bytes())
	all := ldap.Eq("memberOf", "cn=all,dc=example,dc=org")
	none := [][]byte{[]byte("1.1")}
	for _, x := range []struct {
		name string
		m    *ldap.SearchRequest
	}{
		{"all", &ldap.SearchRequest{Filter: all, Attributes: none}},
		{"all in chain", &ldap.SearchRequest{Filter: ldap.Extensible("memberOf", false, "1.2.840.113556.1.4.1941", "cn=all,dc=example,dc=org"), Attributes: none}},
		{"of a class", &ldap.SearchRequest{Filter: ldap.And(ldap.Eq("objectClass", "account"), all), Attributes: none}},
		{"one by name", &ldap.SearchRequest{Filter: ldap.And(all, ldap.Eq("uid", "u77777")), Attributes: none}},
		{"by class alone", &ldap.SearchRequest{Filter: ldap.Eq("objectClass", "account"), Attributes: none}},
	} {
		b.Run(x.name, func(b *testing.B) { benchSearch(b, d, x.m) })
	}
}

// benchSearch searches the whole tree, and reports what the searches took: CPU time of the thread, and time.
func benchSearch(b *testing.B, d *Directory, m *ldap.SearchRequest) {
	m.Base, m.Scope = []byte("dc=example,dc=org"), ldap.ScopeSub
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var n nowhere
	var took, cpu []time.Duration
	for b.Loop() {
		begun, spent := time.Now(), threadTime()
		n.octets = 0
		n.serve(b, d, m)
		took, cpu = append(took, time.Since(begun)), append(cpu, threadTime()-spent)
		if n.octets == 0 {
			b.Fatal("nothing was found")
		}
	}
	b.ReportMetric(quantile(cpu, 0.5), "cpu-p50-µs")
	b.ReportMetric(quantile(cpu, 0.99), "cpu-p99-µs")
	b.ReportMetric(quantile(took, 0.5), "p50-µs")
	b.ReportMetric(quantile(took, 0.99), "p99-µs")
}
