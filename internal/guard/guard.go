// Package guard holds back who guesses passwords. Wrong ones are counted for the account, for the source (address, network)
// and for the password; where too many have come together the next attempts wait, longer each time, and those for which there
// is no room are answered busy. Nothing is compared meanwhile, so that the number of guesses is bounded however many
// connections make them.
//
// Nobody is shut out by strangers: a source from which an account was logged in to lately has a count of its own for that
// account, and the password that was right there last is checked at once whatever else happens. The same wrong password again
// from the same source counts once. A name counts whether there is such an entry or not.
package guard

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"portolan/internal/op"
	"portolan/ldap"
)

// Policy is what may change while the server runs. It is not changed once it was given to Set.
type Policy struct {
	Enabled bool
	// Relays are exempt from what is counted by source and network.
	Relays []netip.Prefix
	// So many wrong passwords are free: see package config.
	AccountFailures, SourceFailures, NetworkFailures, PasswordAccounts int
	// StrainFailures is from how many on fewer are free, 0 for never: see strain.go.
	StrainFailures int
	// MaxDelay is the longest wait, MaxDelayed how many may wait.
	MaxDelay   time.Duration
	MaxDelayed int
	// ExpireExposed has passwords changed that were seen to be sent in clear text.
	ExpireExposed bool

	budgets [axes]budget
}

// Event is something that somebody may want to know.
type Event struct {
	// What is "slowed": from now on attempts wait; "strained": so much is guessed that fewer wrong passwords are free; "exposed": a password was sent in clear text, for the name that Subject claims;
	// "exposed-right": it was the right one of Subject.
	What    string
	Axis    Axis
	Subject string // an account's canonical name, an address or a network; empty for a password
	Conn    *op.Conn
}

// Options are what a Guard is made of.
type Options struct {
	// State keeps what survives a restart.
	State op.State
	Now   func() time.Time
	Rand  io.Reader
	Log   *slog.Logger
	// Secret, where set, reports whether a canonical name has a secret in it, such as a password that was typed into the wrong
	// field: it is counted, and neither kept nor shown.
	Secret func(norm string) bool
	// Wait returns after a time, or when ctx ends with its error.
	Wait func(ctx context.Context, d time.Duration) error
}

// Guard implements op.Guard.
type Guard struct {
	o      Options
	policy atomic.Pointer[Policy]
	event  atomic.Pointer[func(Event)]
	key    sipKey // of what is kept in the store
	secret sipKey // of what is not

	familiar *familiars

	mu       sync.Mutex
	quiet    *Policy // policy is one of these two
	hard     *Policy
	strain   strain
	tables   [axes]*table
	mistakes *mistakes
	places   map[spot]*place
	waiting  waiting
	stats    Stats
	broken   bool // keeping counters has failed, and that was said

	aside      []*exposure // to be verified
	asideKnown *mistakes
	asideWake  chan struct{} // nil: nobody verifies
}

// Stats counts attempts since the start.
type Stats struct {
	// Checked is how many were let through to be checked, without those that are trusted; Failed how many of them were wrong;
	// Repeated how many were wrong before; Delayed how many had to wait; Refused how many were answered busy, unchecked.
	Checked  uint64 `json:"checked"`
	Failed   uint64 `json:"failed"`
	Repeated uint64 `json:"repeated"`
	Delayed  uint64 `json:"delayed"`
	Refused  uint64 `json:"refused"`
	// Waiting is how many wait now; Strained says that so much is guessed that fewer wrong passwords are free.
	Waiting  int  `json:"waiting"`
	Strained bool `json:"strained"`
	// Exposed is how many passwords were sent in clear text where they must not be, ExposedRight how many were found to be right.
	Exposed      uint64 `json:"exposed"`
	ExposedRight uint64 `json:"exposed_right"`
}

// Sets of the tables; see ways. A counter takes 64 octets and its name.
const (
	accountSets  = 2048
	sourceSets   = 2048
	networkSets  = 1024
	passwordSets = 1024
	familiarSets = 1024
	repeatSets   = 256
	mistakeSets  = 2048
)

// New returns a guard with what State remembers. It lets everything pass until Set is called.
func New(o Options) (*Guard, error) {
	g := &Guard{o: o, familiar: newFamiliars(), mistakes: newMistakes(mistakeSets), places: make(map[spot]*place), asideKnown: newMistakes(asideSets)}
	g.tables = [axes]*table{
		ByAccount: newTable(accountSets), BySource: newTable(sourceSets), ByNetwork: newTable(networkSets),
		ByPassword: newTable(passwordSets), ByFamiliar: newTable(familiarSets), byRepeat: newTable(repeatSets),
	}
	g.waiting.by = make(map[uint64]int)
	g.quiet, g.hard = &Policy{}, &Policy{}
	g.policy.Store(g.quiet)
	var secret [16]byte
	if _, err := io.ReadFull(o.Rand, secret[:]); err != nil {
		return nil, fmt.Errorf("key of the guard: %w", err)
	}
	g.secret = newSipKey(secret)
	if err := g.load(); err != nil {
		return nil, fmt.Errorf("what the guard has counted cannot be read: %w", err)
	}
	return g, nil
}

// Set replaces the policy. Counters stay.
func (g *Guard) Set(p Policy) {
	p.budgets = budgets(&p)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.quiet, g.hard = &p, tightened(p)
	g.policy.Store(g.quiet)
	if g.strain.tight {
		g.policy.Store(g.hard)
	}
	g.ease(g.now())
}

// OnEvent has f told of events. It must not block.
func (g *Guard) OnEvent(f func(Event)) { g.event.Store(&f) }

// Stats returns the counts of this moment.
func (g *Guard) Stats() Stats {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ease(g.now())
	s := g.stats
	s.Waiting, s.Strained = g.waiting.all, g.strain.tight
	return s
}

// attempt is a check under way.
type attempt struct {
	client           *client
	policy           *Policy
	account          uint64
	print            uint32
	familiar, repeat bool
	spots            [axes]spot
	n                int
}

// trust marks, in BindOutcome.Guarded, an attempt with the password that was right last; stale, that this is long ago.
type trust struct{ stale bool }

var (
	trustFresh = &trust{}
	trustStale = &trust{stale: true}
)

// Reasons for refusals, for the operator.
var reasons = [axes]op.Reason{
	ByAccount:  "too many wrong passwords for the account",
	BySource:   "too many wrong passwords from the address",
	ByNetwork:  "too many wrong passwords from the network",
	ByPassword: "the same wrong password for too many accounts",
	ByFamiliar: "too many wrong passwords for the account from the address",
	byRepeat:   "the same wrong password too often",
}

// errBusy is the answer, the same for all reasons.
func errBusy(why op.Reason) error {
	return ldap.Errorf(ldap.Busy, "too many failed logins: try again later").Because(why)
}

// Attempt implements op.Guard.
func (g *Guard) Attempt(ctx context.Context, req *op.Request, b *op.BindOutcome) error {
	p := g.policy.Load()
	if !p.Enabled || b.Name.Norm == "" {
		return nil
	}
	c := g.clientOf(req.Conn, p)
	account, print := g.mac(domainAccount, b.Name.Norm), g.fingerprint(b.Password)
	familiar, trusted, stale := g.familiar.known(account, c.source, print, g.now())
	b.Honest = familiar
	if trusted {
		if b.Guarded = trustFresh; stale {
			b.Guarded = trustStale
		}
		return nil
	}
	a := &attempt{client: c, policy: p, account: account, print: print, familiar: familiar}
	if err := g.enter(ctx, req, a); err != nil {
		return err
	}
	b.Repeated = a.repeat
	b.Guarded = a
	return nil
}

func (g *Guard) now() int64 { return g.o.Now().UnixMilli() }

// mistakeKey is that of a wrong password; 0 where the password is not shown.
func (a *attempt) mistakeKey() uint64 {
	if a.print == 0 {
		return 0
	}
	return mix(mix(a.account, a.client.source), uint64(a.print))
}

// claim makes the list of counters that must have room for the attempt. g.mu is held.
func (g *Guard) claim(a *attempt, now int64) {
	add := func(axis Axis, key uint64) {
		a.spots[a.n] = spot{axis, key}
		a.n++
	}
	a.n, a.repeat = 0, false
	if key := a.mistakeKey(); key != 0 && g.mistakes.has(key, now, mistakeLife) {
		a.repeat = true
		add(byRepeat, key)
		return
	}
	if a.familiar {
		add(ByFamiliar, mix(a.account, a.client.source))
	} else {
		add(ByAccount, a.account)
		if !a.client.relay {
			add(BySource, a.client.source)
			if a.client.network != 0 {
				add(ByNetwork, a.client.network)
			}
		}
	}
	if a.print != 0 {
		add(ByPassword, mix(uint64(a.print), 0))
	}
}

// Settle implements op.Guard.
func (g *Guard) Settle(req *op.Request, b *op.BindOutcome, err error) {
	switch a := b.Guarded.(type) {
	case *trust:
		if err == nil && !a.stale {
			return
		}
		g.settleTrusted(req, b, err)
	case *attempt:
		g.settle(req, b, a, err)
	}
}

// settleTrusted is for the password that was right last: it is still, or is not any more.
func (g *Guard) settleTrusted(req *op.Request, b *op.BindOutcome, err error) {
	p := g.policy.Load()
	a := &attempt{
		client: g.clientOf(req.Conn, p), policy: p, account: g.mac(domainAccount, b.Name.Norm), print: g.fingerprint(b.Password), familiar: true,
	}
	if ldap.CodeOf(err) == ldap.InvalidCredentials {
		g.familiar.forget(a.account, a.client.source)
	}
	g.settle(req, b, a, err)
}

func (g *Guard) settle(req *op.Request, b *op.BindOutcome, a *attempt, err error) {
	now := g.now()
	var told []Event
	g.mu.Lock()
	for _, s := range a.spots[:a.n] {
		g.leave(s)
	}
	switch {
	case err == nil:
		g.ease(now)
		if key := a.mistakeKey(); key != 0 {
			g.mistakes.drop(key)
		}
		g.succeeded(a, now)
	case ldap.CodeOf(err) == ldap.InvalidCredentials:
		told = g.failed(req, b, a, now)
	}
	g.mu.Unlock()
	for _, e := range told {
		g.tell(e)
	}
}

// succeeded notes a right password: the source is familiar, and trusted a little more by all. g.mu is held.
func (g *Guard) succeeded(a *attempt, now int64) {
	counts, changed := g.familiar.put(a.account, a.client.source, a.print, now)
	if changed {
		g.keepPairs(a.account)
	}
	if !counts || a.client.relay {
		return
	}
	p := a.policy
	c := g.tables[BySource].make(a.client.source, &p.budgets[BySource], now, a.client.sourceName())
	c.credit++
	g.keep(BySource, c.key)
	if a.client.network != 0 {
		c := g.tables[ByNetwork].make(a.client.network, &p.budgets[ByNetwork], now, networkName(a.client.address))
		c.credit++
		g.keep(ByNetwork, c.key)
	}
}

// fromWord stands between account and source in the name of a counter of both.
const fromWord = " from "

// shown is the name of an account in lists, events and the store.
func (g *Guard) shown(norm string) string {
	if g.o.Secret != nil && g.o.Secret(norm) {
		return "(a name with a secret in it)"
	}
	return norm
}

// failed counts a wrong password. g.mu is held.
func (g *Guard) failed(req *op.Request, b *op.BindOutcome, a *attempt, now int64) (told []Event) {
	g.stats.Failed++
	key := a.mistakeKey()
	repeat := a.repeat || key != 0 && g.mistakes.has(key, now, mistakeLife)
	if key != 0 {
		g.mistakes.add(key, now)
	}
	count := func(axis Axis, key uint64, name string) {
		c := g.tables[axis].make(key, &a.policy.budgets[axis], now, name)
		if c.fail(&a.policy.budgets[axis], now) && axis != byRepeat {
			told = append(told, Event{What: "slowed", Axis: axis, Subject: name, Conn: req.Conn})
		}
		g.keep(axis, key)
	}
	if repeat {
		g.stats.Repeated++
		count(byRepeat, key, "")
		return told
	}
	if !a.familiar && !a.client.relay && g.strained(now) {
		told = append(told, Event{What: "strained", Conn: req.Conn})
	}
	if a.familiar {
		count(ByFamiliar, mix(a.account, a.client.source), g.shown(b.Name.Norm)+fromWord+a.client.sourceName())
	} else {
		count(ByAccount, a.account, g.shown(b.Name.Norm))
	}
	if !a.client.relay {
		count(BySource, a.client.source, a.client.sourceName())
		if a.client.network != 0 {
			count(ByNetwork, a.client.network, networkName(a.client.address))
		}
	}
	if a.print != 0 {
		count(ByPassword, mix(uint64(a.print), 0), "")
	}
	return told
}
