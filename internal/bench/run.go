// Package bench is a load generator for LDAP servers. It costs so little itself that the server is what is measured, also
// when both share a machine: requests are encoded before the clock starts, answers are told apart by message ID, tag and
// result code without being decoded, and many are read at once. Every answer is checked: one that is not what the request
// asks for counts as a failure and not as work done.
//
// The load is a closed loop: a connection sends its next request when an answer has come.
package bench

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"portolan/internal/client"
	"portolan/ldap"
)

// Options say what one run does.
type Options struct {
	URL      string
	Client   client.Options // TLS
	Workload string
	Requests Requests
	// Bind is who the connections bind as first; nil leaves them anonymous.
	Bind *User
	// Connections are open at the same time, each with Outstanding requests. bind, connect and paged allow one only.
	Connections, Outstanding int
	// Warmup is the time before anything is counted.
	Warmup time.Duration
	// Duration is how long is measured. With Count it is how long that may take at most.
	Duration time.Duration
	// Count is how many requests are measured; 0 is as many as there are in Duration.
	Count int64
	// Hold keeps the connections open at the end. Held, which may be nil, is called when that begins.
	Hold time.Duration
	Held func()
	// Mark, which may be nil, is called on a goroutine of its own when measuring begins and when it ends.
	Mark func(begins bool)
	// Keep leaves what the add and member workloads have added.
	Keep bool
	// Threads read and write; 0 is one for each CPU. Where connections are not plain sockets (TLS), and on other systems
	// than Linux, goroutines do.
	Threads int
	// Seed is that of the choice of requests.
	Seed uint64
}

// Latency has percentiles of the time from sending a request to its last answer, in microseconds.
type Latency struct {
	Mean float64 `json:"mean_us"`
	P50  float64 `json:"p50_us"`
	P90  float64 `json:"p90_us"`
	P99  float64 `json:"p99_us"`
	P999 float64 `json:"p999_us"`
	Max  float64 `json:"max_us"`
}

// Measure is what was measured of a workload.
type Measure struct {
	Workload string `json:"workload"`
	// Done is how many requests did what they should; Rate is that in a second.
	Done uint64  `json:"done"`
	Rate float64 `json:"per_second"`
	// Entries is how many entries came, those of unfinished searches included.
	Entries    uint64    `json:"entries"`
	EntryRate  float64   `json:"entries_per_second"`
	Latency    Latency   `json:"latency"`
	Failures   []Failure `json:"failures,omitempty"`
	FailedRate float64   `json:"failures_per_second,omitempty"`
}

// Failed returns how many requests did not do what they should.
func (m *Measure) Failed() uint64 {
	n := uint64(0)
	for i := range m.Failures {
		n += m.Failures[i].Count
	}
	return n
}

// Result is what one run has measured: everything together and, where workloads are mixed, each for itself.
type Result struct {
	URL     string  `json:"url"`
	Seconds float64 `json:"seconds"`
	Measure
	Parts []Measure `json:"parts,omitempty"`
	// Left is how many of the entries or members that were added could not be taken back.
	Left int64 `json:"left_behind,omitempty"`
}

// Validate says what is wrong with the options.
func (o *Options) Validate() error {
	switch {
	case o.Connections < 1:
		return errors.New("at least one connection is needed")
	case o.Outstanding < 1 || o.Outstanding > MaxOutstanding:
		return fmt.Errorf("%d requests outstanding are not possible: 1 to %d are", o.Outstanding, MaxOutstanding)
	case o.Outstanding > 1 && (o.Workload == Bind || o.Workload == Connect):
		return errors.New("only one bind can be outstanding on a connection (RFC 4511 section 4.2.1)")
	case o.Outstanding > 1 && o.Workload == Paged:
		return errors.New("paged reads one page after another: one request can be outstanding")
	case o.Duration <= 0 || o.Warmup < 0 || o.Count < 0 || o.Hold < 0:
		return errors.New("times and counts are positive")
	case o.Requests.Data.People < 1 || o.Requests.Data.People > MaxPeople:
		return fmt.Errorf("%d people are not possible: 1 to %d are", o.Requests.Data.People, MaxPeople)
	}
	_, err := o.Requests.parts(o.Workload)
	return err
}

// patience is how long outstanding answers are waited for at the end of a run.
const patience = 5 * time.Second

// Run does one run. The error says why nothing could be measured; requests that fail are part of the result.
func Run(ctx context.Context, o Options) (*Result, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	parts, err := o.Requests.parts(o.Workload)
	if err != nil {
		return nil, err
	}
	d, err := o.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer d.close()
	start := time.Now()
	c := &course{
		parts: parts, people: uint32(o.Requests.Data.People), depth: o.Outstanding, count: o.Count, stopped: make(chan struct{}),
		clock: func() int64 { return int64(time.Since(start)) },
		begin: int64(o.Warmup), end: int64(o.Warmup + o.Duration),
	}
	for _, p := range parts {
		c.total += p.weight
	}
	stop := context.AfterFunc(ctx, c.halt)
	defer stop()
	seen := make([][]*stats, d.groups())
	for g := range seen {
		for range parts {
			seen[g] = append(seen[g], newStats())
		}
	}
	lanes := make([]*lane, o.Connections)
	for i := range lanes {
		lanes[i] = newLane(c, seen[i%len(seen)], o.Seed+uint64(i)<<32)
	}
	marked := o.mark()
	d.drive(c, lanes, c.end+int64(patience))
	marked()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	r := o.result(c, seen)
	if !o.Keep {
		r.Left = takeBack(ctx, d, c, lanes)
	}
	if o.Hold > 0 {
		if o.Held != nil {
			o.Held()
		}
		wait := time.NewTimer(o.Hold)
		defer wait.Stop()
		select {
		case <-wait.C:
		case <-ctx.Done():
		}
	}
	return r, nil
}

// mark calls Mark. done must be called when the run has ended, and waits for Mark.
func (o *Options) mark() (done func()) {
	if o.Mark == nil {
		return func() {}
	}
	over := make(chan struct{})
	var wait sync.WaitGroup
	wait.Go(func() {
		pause := func(d time.Duration) {
			t := time.NewTimer(d)
			defer t.Stop()
			select {
			case <-t.C:
			case <-over:
			}
		}
		pause(o.Warmup)
		o.Mark(true)
		pause(o.Duration)
		o.Mark(false)
	})
	return func() {
		close(over)
		wait.Wait()
	}
}

func (o *Options) connect(ctx context.Context) (driver, error) {
	threads := o.Threads
	if threads == 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	if o.Workload == Connect {
		if d, err := newLoopConnector(ctx, o, threads); d != nil || err != nil {
			return d, err
		}
		return newConnector(o), nil
	}
	conns, err := open(ctx, o)
	if err != nil {
		return nil, err
	}
	d, err := newPoller(conns, threads)
	if d != nil || err != nil {
		return d, err
	}
	return newNetDriver(conns), nil
}

// result adds up what the drivers have seen.
func (o *Options) result(c *course, seen [][]*stats) *Result {
	took := time.Duration(c.end - c.begin)
	if c.count > 0 {
		took = time.Duration(max(c.last.Load()-c.begin, 1))
	}
	r := &Result{URL: o.URL, Seconds: took.Seconds()}
	all := newStats()
	for i, p := range c.parts {
		one := newStats()
		for g := range seen {
			one.add(seen[g][i])
		}
		all.add(one)
		if len(c.parts) > 1 {
			r.Parts = append(r.Parts, one.measure(p.name, took))
		}
	}
	r.Measure = all.measure(o.Workload, took)
	return r
}

func (s *stats) measure(workload string, took time.Duration) Measure {
	m := Measure{
		Workload: workload, Done: s.done, Rate: float64(s.done) / took.Seconds(),
		Entries: s.entries, EntryRate: float64(s.entries) / took.Seconds(), Latency: latencyOf(s.latency), Failures: sortedFailures(s.failures),
	}
	m.FailedRate = float64(m.Failed()) / took.Seconds()
	return m
}

func latencyOf(h *hdrhistogram.Histogram) Latency {
	if h.TotalCount() == 0 {
		return Latency{}
	}
	us := func(ns int64) float64 { return float64(ns) / 1000 }
	return Latency{
		Mean: h.Mean() / 1000, P50: us(h.ValueAtQuantile(50)), P90: us(h.ValueAtQuantile(90)), P99: us(h.ValueAtQuantile(99)),
		P999: us(h.ValueAtQuantile(99.9)), Max: us(h.Max()),
	}
}

// takeBackTime bounds how long it is tried to take back what was added.
const takeBackTime = 2 * time.Minute

// takeBack undoes what the requests with serial numbers have added, and returns how many it did not get to. That something
// is not there is no failure: not every request with a serial number was one of these, and not every one succeeded.
func takeBack(ctx context.Context, d driver, c *course, lanes []*lane) (left int64) {
	made := int64(c.serial.Load())
	for _, p := range c.parts {
		if p.undo == nil || made == 0 || ctx.Err() != nil {
			continue
		}
		undo := &part{name: p.name, weight: 1, patterns: []pattern{*p.undo}, serial: true, final: p.undo.final(), entries: -1}
		b := &course{
			parts: []*part{undo}, total: 1, people: c.people, depth: c.depth, clock: c.clock, count: made, stopped: make(chan struct{}),
			end: c.clock() + int64(takeBackTime),
		}
		stop := context.AfterFunc(ctx, b.halt)
		seen := make([][]*stats, d.groups())
		for g := range seen {
			seen[g] = []*stats{newStats()}
		}
		for i, l := range lanes {
			fault := l.fault
			lanes[i] = newLane(b, seen[i%len(seen)], 0)
			lanes[i].fault = fault
		}
		d.drive(b, lanes, b.end+int64(patience))
		stop()
		all := newStats()
		for g := range seen {
			all.add(seen[g][0])
		}
		left += made - min(made, int64(all.done))
		for _, f := range all.failures {
			if f.Code == ldap.NoSuchObject || f.Code == ldap.NoSuchAttribute {
				left -= int64(f.Count)
			}
		}
	}
	return max(left, 0)
}
