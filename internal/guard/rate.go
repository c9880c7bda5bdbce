package guard

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"sync/atomic"
	"time"

	"portolan/internal/op"
	"portolan/ldap"
)

// RatePolicy says how much may be asked for, in units a second; 0 is no bound. A unit is about what the cheapest request costs.
// It is not changed once it was given to Rates.Set.
type RatePolicy struct {
	// Identity bounds each identity, Stranger each address of clients that have not authenticated, Source each address whoever
	// asks from there.
	Identity, Stranger, Source int
	// Relays are networks that are not bounded by address: neither by Stranger nor by Source.
	Relays []netip.Prefix
	// For, where set, gives the bound of some identities, instead of Identity or, for the anonymous one, Stranger. It is called
	// when a connection gets an identity.
	For func(id *op.Identity) (units int, ok bool)
}

// RateAxis says by what somebody has asked for too much.
type RateAxis uint8

// Axes of rates.
const (
	RateIdentity RateAxis = iota
	RateStranger
	RateSource
	rateAxes
)

func (a RateAxis) String() string {
	return [rateAxes]string{"identity", "unauthenticated", "source"}[a]
}

// RateEvent tells that requests begin to be refused. It comes once a minute at most about one identity or source.
type RateEvent struct {
	By   RateAxis
	Of   string // a canonical name, or an address
	Conn *op.Conn
}

// RateStats are counts.
type RateStats struct {
	// Refused are requests answered busy since the start, by axis.
	Refused [rateAxes]uint64
	// Over is how many identities and sources would be answered busy now.
	Over int
}

// All is how many requests were refused, by whichever axis.
func (s RateStats) All() (n uint64) {
	for _, one := range s.Refused {
		n += one
	}
	return n
}

// Rates bounds what each identity and each source may cost, in units of about the cheapest request. What is not used is kept
// for ten seconds, so that a client may ask for as much at once; who goes beyond is answered busy, before anything is looked at.
// A request costs its estimate before, and the rest when it has ended. It is safe for concurrent use; what is not bounded costs
// two loads.
type Rates struct {
	start   time.Time
	key     sipKey
	policy  atomic.Pointer[ratePolicy]
	buckets buckets
	refused [rateAxes]atomic.Uint64
	event   atomic.Pointer[func(RateEvent)]
}

// ratePolicy is a policy and what follows from it.
type ratePolicy struct {
	RatePolicy
	each bool // identities differ
}

// NewRates returns rates that bound nothing until Set is called. now is the clock of requests' Start, random gives a key.
func NewRates(now func() time.Time, random io.Reader) (*Rates, error) {
	var key [16]byte
	if _, err := io.ReadFull(random, key[:]); err != nil {
		return nil, fmt.Errorf("key of the rates: %w", err)
	}
	r := &Rates{start: now(), key: newSipKey(key)}
	r.Set(RatePolicy{})
	return r, nil
}

// Set replaces the policy. What was used stays used.
func (r *Rates) Set(p RatePolicy) {
	r.policy.Store(&ratePolicy{RatePolicy: p, each: p.Identity > 0 || p.For != nil})
}

// OnEvent has f told of events. It must not block.
func (r *Rates) OnEvent(f func(RateEvent)) { r.event.Store(&f) }

// Stats returns the counts of this moment; now is by the clock that NewRates was given.
func (r *Rates) Stats(now time.Time) RateStats {
	var s RateStats
	for i := range s.Refused {
		s.Refused[i] = r.refused[i].Load()
	}
	s.Over = r.buckets.over(r.at(now))
	return s
}

func (r *Rates) at(t time.Time) int64 { return int64(t.Sub(r.start)) }

// account is a bucket and the price of a unit in it; without a bucket there is no bound.
type account struct {
	*bucket
	price int64 // nanoseconds
}

// rated is what is known of a connection: whom its requests are charged to.
type rated struct {
	policy           *ratePolicy
	stranger, source account      // of its address
	identity         *op.Identity // whose who is, nil where nobody's was looked up
	who              account
}

// charged is whom one request is charged to.
type charged struct {
	who, source account
	by          RateAxis // what who is
}

// Middleware refuses who asks for too much, and charges the others. It stands outside of all that works for a request.
func (r *Rates) Middleware() op.Middleware {
	return func(next op.Handler) op.Handler {
		return op.HandlerFunc(func(ctx context.Context, req *op.Request, w op.Writer) error {
			c := r.of(req)
			if c.who.bucket != nil || c.source.bucket != nil {
				return r.serve(ctx, req, w, next, c)
			}
			err := next.Serve(ctx, req, w)
			if _, bind := req.Op.(*ldap.BindRequest); bind && r.policy.Load().each {
				r.loggedIn(req, c, err)
			}
			return err
		})
	}
}

func (r *Rates) serve(ctx context.Context, req *op.Request, w op.Writer, next op.Handler, c charged) error {
	now, before := r.at(req.Start), estimate(req.Op)
	if wait := c.who.take(now, before); wait > 0 {
		return r.refuse(req, c.who, c.by, wait)
	}
	if wait := c.source.take(now, before); wait > 0 {
		c.who.add(now, -before)
		return r.refuse(req, c.source, RateSource, wait)
	}
	err := next.Serve(ctx, req, w)
	if _, bind := req.Op.(*ldap.BindRequest); bind {
		r.loggedIn(req, c, err)
		return err
	}
	if rest := spent(&req.Trace); rest > 0 {
		c.who.add(now, rest)
		c.source.add(now, rest)
	}
	return err
}

// loggedIn charges for a bind. One that succeeds is charged to who has logged in: who logs in for many people should not be held
// for a stranger.
func (r *Rates) loggedIn(req *op.Request, c charged, err error) {
	now := r.at(req.Start)
	switch {
	case err == nil && req.Reply.Code == ldap.Success:
		c.who.add(now, -costBind)
		r.of(req).who.add(now, costBind)
	case ldap.CodeOf(err) == ldap.InvalidCredentials:
		c.who.add(now, failedBind)
		c.source.add(now, failedBind)
	}
}

// What requests cost. An indexed search for one entry takes about ten microseconds of one CPU here, and is one unit.
const (
	costCompare, costExtended = 1, 1
	costBind                  = 2
	costWrite                 = 20
	// failedBind comes on top of costBind: the hash that every failure costs is bounded elsewhere.
	failedBind = 48
	// So many filter items, entries looked at, and entries and references sent, cost one unit.
	itemsPerUnit, examinedPerUnit, sentPerUnit = 32, 16, 8
)

// estimate is what a request costs at least.
func estimate(o ldap.Op) int64 {
	switch m := o.(type) {
	case *ldap.SearchRequest:
		return 1 + int64(len(m.Filter.Nodes)/itemsPerUnit)
	case *ldap.BindRequest:
		return costBind
	case *ldap.CompareRequest:
		return costCompare
	case *ldap.ExtendedRequest:
		return costExtended
	}
	return costWrite
}

// spent is what an operation has cost beyond its estimate.
func spent(t *op.Trace) int64 {
	return int64(t.Examined/examinedPerUnit + (t.Entries+t.References)/sentPerUnit)
}

// refuse answers busy, and tells who wants to know.
func (r *Rates) refuse(req *op.Request, a account, by RateAxis, wait int64) error {
	r.refused[by].Add(1)
	of, text := addressOf(req.Conn), "more was asked for from this address than may be"
	if by == RateIdentity {
		of, text = req.Conn.Identity().Name.Norm, "this account has asked for more than it may"
	}
	if f := r.event.Load(); f != nil && a.tell(r.at(req.Start)) {
		(*f)(RateEvent{By: by, Of: of, Conn: req.Conn})
	}
	seconds := (wait + int64(time.Second) - 1) / int64(time.Second)
	return ldap.Errorf(ldap.Busy, "%s: try again in %d s", text, seconds).Because(rateReasons[by])
}

// Reasons for refusals, for the operator.
var rateReasons = [rateAxes]op.Reason{
	RateIdentity: "over limits.rate",
	RateStranger: "over limits.rate_unauthenticated",
	RateSource:   "over limits.rate_source",
}

// of returns whom a request is charged to: the administrator and the control socket nobody, others their identity, those without
// one their address.
func (r *Rates) of(req *op.Request) (c charged) {
	p, id := r.policy.Load(), req.Conn.Identity()
	if id.Admin {
		return c
	}
	m, _ := req.Conn.Rated().(*rated)
	if m == nil || m.policy != p {
		m = r.arrived(req, p)
		req.Conn.SetRated(m)
	}
	if id.IsAnonymous() {
		return charged{m.stranger, m.source, RateStranger}
	}
	if p.each && m.identity != id {
		known := *m
		known.identity, known.who = id, r.account(p.units(id), domainRateIdentity, id.Name.Norm, r.at(req.Start))
		m = &known
		req.Conn.SetRated(m)
	}
	c.source = m.source
	if p.each {
		c.who = m.who
	}
	return c
}

// arrived is what is known of a connection before anybody has logged in.
func (r *Rates) arrived(req *op.Request, p *ratePolicy) *rated {
	m, c := &rated{policy: p}, req.Conn
	if c.Control || c.Transport == op.Unix || contains(p.Relays, c.Remote.Addr().Unmap().WithZone("")) {
		return m
	}
	name, now := addressOf(c), r.at(req.Start)
	m.stranger = r.account(p.units(op.Anonymous()), domainRateStranger, name, now)
	m.source = r.account(p.Source, domainRateSource, name, now)
	return m
}

// addressOf is what is taken for one source.
func addressOf(c *op.Conn) string { return sourceName(c.Remote.Addr().Unmap().WithZone("")) }

// units returns the bound of an identity.
func (p *ratePolicy) units(id *op.Identity) int {
	if p.For != nil {
		if units, ok := p.For(id); ok {
			return units
		}
	}
	if id.IsAnonymous() {
		return p.Stranger
	}
	return p.Identity
}

// Domains of the keys of buckets; see mac.
const (
	domainRateIdentity domain = 16 + iota
	domainRateStranger
	domainRateSource
)

func (r *Rates) account(units int, d domain, name string, now int64) account {
	if units <= 0 {
		return account{}
	}
	k := r.key
	k.k1 ^= uint64(d)
	return account{r.buckets.get(max(1, sum(k, name)), now), max(1, int64(time.Second)/int64(units))}
}

func contains(all []netip.Prefix, a netip.Addr) bool {
	for _, p := range all {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
