package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"portolan/internal/bench"
)

// line is one kind of load.
type line struct {
	name    string
	servers []string
	o       bench.Options
	want    want
	// logged has slapd measured once more, with a log of what it does.
	logged bool
	// before, which may be nil, is done once before the line is measured.
	before func(ctx context.Context) error
	// beside runs a client at the same time that pages through everything.
	beside bool
	// spray runs clients at the same time that try passwords, all of them wrong, as fast as they are answered.
	spray bool
	// consumers is how many replicas follow the directory at the same time.
	consumers int
}

// repeating is how many people bind again and again in the lines about that.
const repeating = 100

// lines are the lines of the table, reads first, those that change data last.
func (w *work) lines() []line {
	all, both, own := []string{portolan, slapd, bareloop}, []string{portolan, slapd}, []string{portolan}
	load := func(workload string, connections, outstanding int) bench.Options {
		return bench.Options{Workload: workload, Connections: connections, Outstanding: outstanding}
	}
	again := func(workload string) bench.Options {
		o := load(workload, 16, 1)
		o.Requests.Users = w.again()
		return o
	}
	const closed, single, rebind = "search uid=X, whole entry", "search, single connection", "bind, the same people again and again"
	everybody := load(bench.Bind, 16, 1)
	everybody.Requests.Users = w.people(0, w.never())
	lines := []line{
		{name: closed, servers: all, o: load(bench.Search, 16, 1), want: want{ratio: 5, ofBare: 0.75, p999: 20_000}, logged: true},
		{name: "search, 16 outstanding per connection", servers: all, o: load(bench.Search, 16, 16), want: want{ratio: 20}, logged: true},
		{name: "base read", servers: all, o: load(bench.Base, 16, 1), want: want{ratio: 5}, logged: true},
		{name: single, servers: all, o: load(bench.Search, 1, 1), want: want{p50: 80}, logged: true},
		{name: "search, 64 connections", servers: both, o: load(bench.Search, 64, 1), want: want{p999: 20_000}},
		{name: "search, 1,000 connections", servers: all, o: load(bench.Search, 1000, 1), want: want{ratio: 4.5, p999: 100_000}},
		{name: "search with an AND of three", servers: both, o: load(bench.And, 16, 1)},
		{name: "search with a substring", servers: both, o: load(bench.Substring, 16, 1)},
		{name: "read everybody in one search", servers: both, o: load(bench.Scan, 1, 1), want: want{ratio: 4}},
		{name: "read everybody, pages of 1,000", servers: both, o: load(bench.Paged, 1, 1)},
		{name: closed + ", once more", servers: own, o: load(bench.Search, 16, 1)},
		{name: "search beside a client that pages", servers: own, o: load(bench.Search, 16, 1), want: want{against: closed + ", once more", ratio: 0.9}, beside: true},
		{name: rebind, servers: all, o: again(bench.Bind), want: want{ratio: 5}, before: w.renew, logged: true},
		{name: "connect, bind, close", servers: all, o: again(bench.Connect), want: want{ratio: 2.5}, logged: true},
		{name: "bind beside a client that pages", servers: own, o: again(bench.Bind), want: want{against: rebind, ratio: 0.9}, beside: true},
		{name: "modify one indexed attribute", servers: both, o: load(bench.Modify, 16, 1), want: want{ratio: 10}},
		{name: "modify, 64 connections", servers: both, o: load(bench.Modify, 64, 1), want: want{ratio: 15, p99: 15_000}},
		{name: "add", servers: both, o: load(bench.Add, 16, 1), want: want{ratio: 20}},
		{name: "mixed reads and writes", servers: both, o: load(bench.Mixed, 16, 1)},
		{name: "bind, everybody ({SSHA}, renewed at the first bind)", servers: all, o: everybody, want: want{ratio: 5}},
	}
	// These come last: accounts are locked when they have been guessed at.
	lines = append(lines,
		line{name: "search beside a spray of wrong passwords", servers: own, o: load(bench.Search, 16, 1), want: want{against: closed, p99Times: 2}, spray: true, before: w.rested},
		line{name: "search, single connection, beside such a spray", servers: own, o: load(bench.Search, 1, 1), want: want{against: single, p99Times: 2}, spray: true})
	if w.members > 0 {
		small := "add a member to a group of 10"
		ten, many := load(bench.Member, 16, 1), load(bench.Member, 16, 1)
		ten.Requests.Group, many.Requests.Group = w.data.SmallGroup(), w.data.BigGroup()
		lines = slices.Insert(lines, len(lines)-3,
			line{name: small, servers: own, o: ten},
			line{name: "add a member to a group of " + grouped(float64(w.members)), servers: own, o: many, want: want{against: small, ratio: 0.5}},
			line{name: "the same, followed by ten consumers", servers: own, o: many, want: want{against: small, ratio: 0.5}, consumers: 10})
	}
	return lines
}

// options completes what a line says.
func (w *work) options(o bench.Options, url string) bench.Options {
	o.URL, o.Warmup, o.Duration, o.Keep = url, w.warmup, w.length, true
	o.Requests.Data, o.Requests.PageSize, o.Requests.Entries = w.data, 1000, -1
	// Unique within this run of everything is enough: the data is made anew each time.
	o.Requests.Run = fmt.Sprintf("%x", time.Now().UnixMicro())
	switch {
	case o.Workload == bench.Bind || o.Workload == bench.Connect:
	case bench.Changes(o.Workload):
		o.Bind = &bench.User{DN: w.data.Writer(), Password: bench.ServicePassword}
	default:
		o.Bind = &bench.User{DN: w.data.Reader(), Password: bench.ServicePassword}
	}
	return o
}

// measure measures one line on its servers in turn.
func (w *work) measure(ctx context.Context, l line) error {
	if !w.only.MatchString(l.name) {
		return nil
	}
	unit := "/s"
	if bench.ByEntries(l.o.Workload) {
		unit = "entries/s"
	}
	if l.before != nil {
		if err := l.before(ctx); err != nil {
			return err
		}
	}
	if l.logged && w.running[slapd] != nil {
		stop, err := w.startLogging(ctx)
		if err != nil {
			return err
		}
		defer stop()
		l.servers = append(slices.Clone(l.servers), logging)
	}
	f := w.figure(l.name, unit, l.want)
	seen := make(map[string][]*sample)
	for round := range w.rounds {
		for _, name := range l.servers {
			p := w.running[name]
			if p == nil {
				continue
			}
			say("%s: %s, round %d", l.name, name, round+1)
			o := w.options(l.o, p.url)
			o.Seed = uint64(round + 1)
			s, err := w.sample(ctx, p, o, l)
			if err != nil {
				if ctx.Err() != nil {
					return err
				}
				w.missing("%s, %s: %v", l.name, name, err)
				continue
			}
			seen[name] = append(seen[name], s)
			w.others = append(w.others, s.others)
		}
	}
	for name, samples := range seen {
		f.Servers[name] = combine(samples, bench.ByEntries(l.o.Workload))
	}
	return nil
}

// sample is one measurement, with the CPU time that server and client have used.
type sample struct {
	*bench.Result
	server, client time.Duration
	others         float64 // share of all CPUs that neither of them used, but somebody
}

// measureTime bounds one measurement beyond the time that it takes by itself.
const measureTime = 45 * time.Second

func (w *work) sample(ctx context.Context, p *process, o bench.Options, l line) (*sample, error) {
	if l.consumers > 0 {
		stop, err := w.consumers(ctx, p.url, l.consumers)
		if err != nil {
			return nil, err
		}
		defer stop()
	}
	ctx, cancel := context.WithTimeoutCause(ctx, o.Warmup+o.Duration+measureTime, errors.New("no result in time"))
	defer cancel()
	s := &sample{}
	var errs []error
	var busyBefore, allBefore time.Duration
	o.Mark = func(begins bool) {
		server, err1 := cpuTime(p.cmd.Process.Pid)
		client, err2 := ownCPUTime()
		busy, all := machineTime()
		errs = append(errs, err1, err2)
		if begins {
			s.server, s.client, busyBefore, allBefore = -server, -client, busy, all
			return
		}
		s.server += server
		s.client += client
		if all > allBefore {
			s.others = max(0, float64(busy-busyBefore-s.server-s.client)/float64(all-allBefore))
		}
	}
	if l.beside {
		defer w.aside(ctx, w.options(bench.Options{Workload: bench.Paged, Connections: 1, Outstanding: 1}, p.url))()
	}
	if l.spray {
		spray := w.options(bench.Options{Workload: bench.Bind, Connections: sprayers, Outstanding: 1}, p.url)
		spray.Requests.Users = w.wrong(o.Seed)
		defer w.aside(ctx, spray)()
	}
	var err error
	if s.Result, err = bench.Run(ctx, o); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, err
	}
	return s, errors.Join(errs...)
}

// aside runs another load until the returned function is called.
func (w *work) aside(ctx context.Context, o bench.Options) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	o.Duration = time.Hour
	var wait sync.WaitGroup
	wait.Go(func() { _, _ = bench.Run(ctx, o) }) // it ends by being stopped
	return func() {
		cancel()
		wait.Wait()
	}
}

// sprayers is how many connections try passwords, each the next one when it has its answer.
const sprayers = 32

// rested waits until Portolan has renewed the hashes of those who have just logged in.
func (w *work) rested(ctx context.Context) error {
	return quiet(ctx, w.running[portolan], 2*time.Minute)
}

// wrong returns people with wrong passwords, other ones in each round, so that each is a guess and no repetition. All come from
// this host, whose applications are not counted by address: nothing but the account holds them back, and everything else is hashed.
// It is the people who have never logged in from here: guesses at others would be taken for their slips, which go before searches.
func (w *work) wrong(round uint64) []bench.User {
	users := w.people(w.never(), w.entries)
	for n := range users {
		users[n].Password = fmt.Sprintf("wrong-%d-%d", round, n)
	}
	return users
}

// never is the first of those who never log in: a tenth of all.
func (w *work) never() int { return w.entries - w.entries/10 }

// people returns those from one to before another, with their passwords.
func (w *work) people(from, to int) (users []bench.User) {
	for n := from; n < to; n++ {
		users = append(users, bench.User{DN: w.data.Person(n), Password: bench.Password(n)})
	}
	return users
}

// renew lets the people who bind again and again bind before, until that costs Portolan no hashes any more: it renews
// their {SSHA} hashes, which takes its time, and then remembers that the new ones were right.
func (w *work) renew(ctx context.Context) error {
	const cheap = 300 * time.Microsecond // a hash takes a hundred times that
	p := w.running[portolan]
	for end := time.Now().Add(90 * time.Second); time.Now().Before(end); {
		o := w.options(bench.Options{Workload: bench.Bind, Connections: 4, Outstanding: 1}, p.url)
		o.Requests.Users = w.again()
		o.Warmup, o.Count, o.Duration = 0, 10*repeating, 30*time.Second
		before, err := cpuTime(p.cmd.Process.Pid)
		if err != nil {
			return err
		}
		if _, err := bench.Run(ctx, o); err != nil {
			return err
		}
		if err := quiet(ctx, p, 30*time.Second); err != nil {
			return err
		}
		after, err := cpuTime(p.cmd.Process.Pid)
		if err != nil || (after-before)/(10*repeating) < cheap {
			return err
		}
	}
	w.missing("repeated binds as they should be: after a minute and a half Portolan still hashes")
	return nil
}

// again returns the people who bind again and again.
func (w *work) again() []bench.User {
	return w.people(0, min(repeating, w.never()))
}

const megabyte = 1 << 20

// memory measures what servers have in use after many searches.
func (w *work) memory(ctx context.Context) error {
	f := w.figure(fmt.Sprintf("memory after loading and %s searches", grouped(float64(w.searches))), "MB", want{most: 1})
	for _, name := range []string{portolan, slapd} {
		p := w.running[name]
		if p == nil {
			continue
		}
		say("%d searches of %s", w.searches, name)
		o := w.options(bench.Options{Workload: bench.Search, Connections: 16, Outstanding: 16}, p.url)
		o.Warmup, o.Count, o.Duration = 0, w.searches, 5*time.Minute
		r, err := bench.Run(ctx, o)
		if err != nil {
			return err
		}
		if r.Failed() > 0 {
			w.missing("%s: %d of %d searches failed: %s", name, r.Failed(), w.searches, r.Failures[0].What)
		}
		n, err := settled(p.cmd.Process.Pid)
		if err != nil {
			return err
		}
		f.Servers[name] = &cell{Value: float64(n) / megabyte}
	}
	return nil
}

// connectionMemory measures what an idle connection costs that was used once.
func (w *work) connectionMemory(ctx context.Context) error {
	for _, secure := range []bool{false, true} {
		name, most := fmt.Sprintf("%s idle connections, each used once", grouped(float64(w.idle))), 12.0
		if secure {
			name, most = name+", TLS", 25
		}
		f := w.figure(name, "KB each", want{atMost: most})
		say("%s", name)
		p, err := w.startPortolan(ctx, filepath.Join(w.dir, "portolan"), w.plain)
		if err != nil {
			return err
		}
		each, err := w.idleConnections(ctx, p, secure)
		p.stop()
		if err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			w.missing("%s: %v", name, err)
			continue
		}
		f.Servers[portolan] = &cell{Value: each}
	}
	return nil
}

func (w *work) idleConnections(ctx context.Context, p *process, secure bool) (kilobytes float64, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, 2*time.Minute, errors.New("the connections were not open in time"))
	defer cancel()
	o := w.options(bench.Options{Workload: bench.Search, Connections: 16, Outstanding: 16}, p.url)
	// A few entries are in the caches before and after.
	o.Requests.Data.People = min(100, w.entries)
	if secure {
		pem, err := os.ReadFile(w.ca)
		if err != nil {
			return 0, err
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(pem)
		o.URL, o.Client.TLS = "ldaps://"+w.secure, &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	if _, err := bench.Run(ctx, o); err != nil {
		return 0, err
	}
	// The first half fills what the heap had to spare; what the second adds is what connections cost.
	half := w.idle / 2
	hold, release := context.WithCancel(ctx)
	var open sync.WaitGroup
	defer open.Wait()
	defer release()
	var memory [2]int64
	for i := range memory {
		o.Connections, o.Outstanding, o.Warmup, o.Count, o.Duration = half, 1, 0, int64(half), time.Minute
		held, failed := make(chan struct{}), make(chan error, 1)
		o.Hold, o.Held = time.Hour, func() { close(held) }
		open.Go(func() {
			_, err := bench.Run(hold, o)
			failed <- err
		})
		select {
		case <-held:
		case err := <-failed:
			if ctx.Err() != nil {
				return 0, context.Cause(ctx)
			}
			return 0, err
		}
		if memory[i], err = settled(p.cmd.Process.Pid); err != nil {
			return 0, err
		}
	}
	return float64(memory[1]-memory[0]) / float64(half) / 1024, nil
}

// demoMemory measures the example directory.
func (w *work) demoMemory(ctx context.Context) error {
	f := w.figure("demo server, idle", "MB", want{atMost: 40})
	p, err := w.startDemo(ctx)
	if err != nil {
		return err
	}
	defer p.stop()
	time.Sleep(2 * time.Second)
	n, err := settled(p.cmd.Process.Pid)
	f.Servers[portolan] = &cell{Value: float64(n) / megabyte}
	return err
}
