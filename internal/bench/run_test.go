package bench_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"portolan/internal/bench"
	"portolan/internal/ldaptest"
	"portolan/ldap"
)

const people = 50

// start runs a server with a small data set in which reader may read everything in one search.
func start(t testing.TB) (url string, o bench.Options) {
	t.Helper()
	d := bench.DataSet{Base: ldaptest.Suffix, Seed: 1, People: people, Groups: 1}
	var text bytes.Buffer
	if err := d.WriteLDIF(&text, nil); err != nil {
		t.Fatal(err)
	}
	s := ldaptest.Start(t, ldaptest.Options{LDIF: text.String()})
	return "ldap://" + s.Addr, bench.Options{
		URL: "ldap://" + s.Addr, Workload: bench.Search, Connections: 3, Outstanding: 1, Count: 200, Duration: time.Minute,
		Requests: bench.Requests{Data: d, PageSize: 20, Run: "t", Entries: -1},
		Bind:     &bench.User{DN: d.Writer(), Password: bench.ServicePassword},
	}
}

// TestWorkloads runs every workload against a real server: all requests are answered as they should be.
func TestWorkloads(t *testing.T) {
	url, o := start(t)
	for _, w := range bench.Workloads() {
		t.Run(w[0], func(t *testing.T) {
			o := o
			o.Workload = w[0]
			switch w[0] {
			case bench.Bind, bench.Connect:
				o.Bind, o.Count = nil, 40
			case bench.Scan, bench.Paged:
				o.Count = 20
			default:
				o.Outstanding = 4
			}
			r, err := bench.Run(context.Background(), o)
			if err != nil {
				t.Fatal(err)
			}
			if r.Done != uint64(o.Count) || r.Failed() != 0 || r.Rate <= 0 || r.Latency.P50 <= 0 || r.Latency.Max < r.Latency.P50 {
				t.Errorf("%+v", r)
			}
			if r.URL != url || r.Left != 0 {
				t.Errorf("%s, %d left", r.URL, r.Left)
			}
			if bench.ByEntries(w[0]) && r.Entries != people*uint64(o.Count) {
				t.Errorf("%d entries, want %d", r.Entries, people*o.Count)
			}
			if w[0] == bench.Mixed {
				done := uint64(0)
				for _, p := range r.Parts {
					done += p.Done
				}
				if len(r.Parts) != 6 || done != r.Done {
					t.Errorf("%d parts with %d of %d", len(r.Parts), done, r.Done)
				}
			}
		})
	}
	// What was added was taken back: the data set is as it was.
	o.Workload, o.Count = bench.Scan, 1
	o.Requests.Filter, o.Requests.Entries = "(objectClass=inetOrgPerson)", people
	if r, err := bench.Run(context.Background(), o); err != nil || r.Failed() != 0 || r.Done != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	o.Workload, o.Requests.Base, o.Requests.Filter, o.Requests.Entries = bench.Base, o.Requests.Data.SmallGroup(), "(member=uid=bt*)", 0
	if r, err := bench.Run(context.Background(), o); err != nil || r.Failed() != 0 || r.Done != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestKept: --keep leaves what was added.
func TestKept(t *testing.T) {
	_, o := start(t)
	o.Workload, o.Count, o.Keep = bench.Add, 7, true
	if r, err := bench.Run(context.Background(), o); err != nil || r.Done != 7 || r.Failed() != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	o.Workload, o.Count, o.Requests.Filter, o.Requests.Entries = bench.Search, 1, "(uid=bt-*)", 7
	if r, err := bench.Run(context.Background(), o); err != nil || r.Done != 1 || r.Failed() != 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestFailuresAreCounted: more people are asked for than there are, and somebody who may not changes entries.
func TestFailuresAreCounted(t *testing.T) {
	_, o := start(t)
	wrong := o
	wrong.Requests.Data.People = 2 * people
	r, err := bench.Run(context.Background(), wrong)
	if err != nil {
		t.Fatal(err)
	}
	if r.Done+r.Failed() != 200 || r.Done == 0 || r.Failed() == 0 || r.Failures[0].What != "0 entries where 1 are expected" {
		t.Errorf("%+v", r)
	}
	o.Workload, o.Bind = bench.Modify, &bench.User{DN: o.Requests.Data.Reader(), Password: bench.ServicePassword}
	if r, err = bench.Run(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	if r.Done != 0 || r.Failed() != 200 || r.Failures[0].Code != ldap.InsufficientAccessRights {
		t.Errorf("%+v", r)
	}
	o.Bind.Password = "wrong"
	if _, err = bench.Run(context.Background(), o); err == nil || !strings.Contains(err.Error(), "invalidCredentials") {
		t.Errorf("%v", err)
	}
}

// TestDuration: with a time instead of a count there is a warm-up, which does not count, and marks around the rest.
func TestDuration(t *testing.T) {
	_, o := start(t)
	var begun, ended time.Time
	o.Count, o.Warmup = 0, 50*time.Millisecond
	o.Mark = func(begins bool) {
		if begins {
			begun = time.Now()
		} else {
			ended = time.Now()
		}
	}
	// On a machine that gives the test no turn for as long nothing is done: then for longer.
	for o.Duration = 200 * time.Millisecond; ; o.Duration *= 4 {
		at := time.Now()
		r, err := bench.Run(context.Background(), o)
		if err != nil {
			t.Fatal(err)
		}
		if r.Seconds != o.Duration.Seconds() || r.Failed() != 0 || r.Rate != float64(r.Done)/r.Seconds {
			t.Errorf("%+v", r)
		}
		if begun.Sub(at) < o.Warmup || ended.Sub(at) < o.Warmup+o.Duration || !ended.After(begun) {
			t.Errorf("marks after %v and %v", begun.Sub(at), ended.Sub(at))
		}
		if r.Done > 0 {
			break
		}
		if o.Duration > time.Minute {
			t.Fatalf("nothing was done: %+v", r)
		}
	}
}

// TestInterrupted: the end of the context ends a run at once, whatever is outstanding.
func TestInterrupted(t *testing.T) {
	l := listen(t, func(nc net.Conn) { _, _ = io.Copy(io.Discard, nc) })
	for _, w := range []string{bench.Search, bench.Connect} {
		o := bench.Options{
			URL: l, Workload: w, Connections: 2, Outstanding: 1, Duration: time.Hour,
			Requests: bench.Requests{Data: bench.DataSet{Base: ldaptest.Suffix, People: 1}, Run: "t"},
		}
		ctx, cancel := context.WithCancel(context.Background())
		o.Mark = func(begins bool) {
			if begins {
				cancel()
			}
		}
		if _, err := bench.Run(ctx, o); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", w, err)
		}
	}
}

// TestLostConnections: a server that goes away is a failure and not the end of the world.
func TestLostConnections(t *testing.T) {
	l := listen(t, func(nc net.Conn) {
		var b [1024]byte
		_, _ = nc.Read(b[:])
		nc.Close()
	})
	for _, w := range []string{bench.Search, bench.Connect} {
		o := bench.Options{
			URL: l, Workload: w, Connections: 3, Outstanding: 1, Duration: time.Minute,
			Requests: bench.Requests{Data: bench.DataSet{Base: ldaptest.Suffix, People: 1}, Run: "t"},
		}
		r, err := bench.Run(context.Background(), o)
		if err != nil {
			t.Fatal(err)
		}
		if r.Done != 0 || r.Failed() != 3 || r.Failures[0].What != "the connection was lost" {
			t.Errorf("%s: %+v", w, r)
		}
	}
}

// TestBusy: a server that is busy while connections are opened is asked again.
func TestBusy(t *testing.T) {
	var asked atomic.Int32
	l := listen(t, func(nc net.Conn) {
		for {
			var b [1024]byte
			n, err := nc.Read(b[:])
			if err != nil {
				return
			}
			m, err := ldap.Decode(b[:n])
			if err != nil {
				return
			}
			answer := ldap.Op(&ldap.SearchResultDone{})
			if _, ok := m.Op.(*ldap.BindRequest); ok {
				r := &ldap.BindResponse{}
				if asked.Add(1) == 1 {
					r.Code = ldap.Busy
				}
				answer = r
			}
			if _, err := nc.Write(ldap.AppendMessage(nil, m.ID, answer, nil)); err != nil {
				return
			}
		}
	})
	r, err := bench.Run(context.Background(), bench.Options{
		URL: l, Workload: bench.Scan, Connections: 1, Outstanding: 1, Duration: time.Minute, Count: 1, Bind: &bench.User{DN: "cn=x", Password: "x"},
		Requests: bench.Requests{Data: bench.DataSet{Base: ldaptest.Suffix, People: 1}, Run: "t"},
	})
	if err != nil || r.Done != 1 || asked.Load() != 2 {
		t.Errorf("%+v, %v, asked %d times", r, err, asked.Load())
	}
}

// listen runs a server of one function for each connection and returns its URL.
func listen(t *testing.T, serve func(nc net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go serve(nc)
		}
	}()
	return "ldap://" + l.Addr().String()
}

// TestCompare: servers are measured in turn, the first is what the others are compared with, and medians are medians.
func TestCompare(t *testing.T) {
	url, o := start(t)
	var turns []string
	o.Count = 30
	c, err := bench.Compare(context.Background(), o, []string{url, url + "/"}, 3, func(_ int, url string) { turns = append(turns, url) })
	if err != nil {
		t.Fatal(err)
	}
	if len(turns) != 6 || turns[0] != url || turns[1] != url+"/" || turns[2] != url {
		t.Errorf("turns %q", turns)
	}
	first, second := &c.Servers[0], &c.Servers[1]
	if first.Ratio != 1 || second.Ratio != second.Median.Rate/first.Median.Rate || len(second.Rounds) != 3 || c.Failed() != 0 {
		t.Errorf("%+v", c)
	}
	lower, higher := 0, 0
	for _, r := range first.Rounds {
		if r.Rate <= first.Median.Rate {
			lower++
		}
		if r.Rate >= first.Median.Rate {
			higher++
		}
	}
	if lower < 2 || higher < 2 {
		t.Errorf("%v is no median", first.Median.Rate)
	}
}

// TestGoroutineDriver drives connections that are no plain sockets, as those with TLS.
func TestGoroutineDriver(t *testing.T) {
	url, o := start(t)
	var wrapped atomic.Int32
	o.Client.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		nc, err := new(net.Dialer).DialContext(ctx, network, address)
		wrapped.Add(1)
		return struct{ net.Conn }{nc}, err
	}
	for _, w := range []string{bench.Search, bench.Paged, bench.Modify, bench.Connect} {
		o.URL, o.Workload = url, w
		r, err := bench.Run(context.Background(), o)
		if err != nil {
			t.Fatal(err)
		}
		if r.Done != 200 || r.Failed() != 0 {
			t.Errorf("%s: %+v", w, r)
		}
	}
	// Three for each workload, one for a look at the server, and one for each bind.
	if n := wrapped.Load(); n != 9+1+200 {
		t.Errorf("%d connections", n)
	}
}
