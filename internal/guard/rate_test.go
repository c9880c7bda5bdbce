package guard

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/ldap"
)

// asked is a server that does what a test says, under rates.
type asked struct {
	t     testing.TB
	now   time.Time
	rates *Rates
	serve op.Handler
	// does is what the server does with the next request.
	does func(req *op.Request) error
}

func newAsked(t testing.TB, p RatePolicy) *asked {
	a := &asked{t: t, now: time.Unix(1_700_000_000, 0)}
	var err error
	if a.rates, err = NewRates(func() time.Time { return a.now }, rand.Reader); err != nil {
		t.Fatal(err)
	}
	a.rates.Set(p)
	a.serve = a.rates.Middleware()(op.HandlerFunc(func(_ context.Context, req *op.Request, _ op.Writer) error {
		if a.does != nil {
			return a.does(req)
		}
		return nil
	}))
	return a
}

func person(uid string) *op.Identity {
	return &op.Identity{Name: dit.Name{DN: "uid=" + uid, Norm: "uid=" + uid}, Method: "simple"}
}

// from is a new connection, of nobody where id is nil.
func from(address string, id *op.Identity) *op.Conn {
	c := &op.Conn{Transport: op.TCP, Remote: netip.AddrPortFrom(netip.MustParseAddr(address), 999)}
	c.SetIdentity(id)
	return c
}

func (a *asked) ask(c *op.Conn, o ldap.Op) error {
	a.t.Helper()
	return a.serve.Serve(context.Background(), &op.Request{Conn: c, Op: o, Identity: c.Identity(), Start: a.now}, nil)
}

func (a *asked) search(c *op.Conn) error { return a.ask(c, &ldap.SearchRequest{}) }

// most asks until the answer is busy, and returns how often it was not.
func (a *asked) most(c *op.Conn, o ldap.Op) (n int) {
	a.t.Helper()
	for n < 50_000 {
		switch err := a.ask(c, o); ldap.CodeOf(err) {
		case ldap.Busy:
			return n
		case ldap.Success, ldap.InvalidCredentials:
			n++
		default:
			a.t.Fatal(err)
		}
	}
	return n
}

// about is n with what one more or less makes.
func about(n, want int) bool { return n >= want-1 && n <= want+1 }

// TestRateOfIdentity uses up what one identity has, on two connections; another has its own, on the same address.
func TestRateOfIdentity(t *testing.T) {
	a := newAsked(t, RatePolicy{Identity: 100})
	one, two, other := from("192.0.2.1", person("a")), from("192.0.2.2", person("a")), from("192.0.2.1", person("b"))
	if n := a.most(one, &ldap.SearchRequest{}); !about(n, 1000) {
		t.Errorf("%d searches at once", n)
	}
	if err := a.search(two); ldap.CodeOf(err) != ldap.Busy || !strings.Contains(err.Error(), "try again in 1 s") {
		t.Errorf("another connection of the same account: %v", err)
	}
	if err := a.search(other); err != nil {
		t.Errorf("another account: %v", err)
	}
	a.now = a.now.Add(time.Second)
	if n := a.most(two, &ldap.SearchRequest{}); !about(n, 100) {
		t.Errorf("%d searches after a second", n)
	}
	a.now = a.now.Add(time.Hour)
	if n := a.most(two, &ldap.SearchRequest{}); !about(n, 1000) {
		t.Errorf("%d searches after an hour", n)
	}
	if s := a.rates.Stats(a.now); s.Refused[RateIdentity] != 4 || s.All() != 4 || s.Over != 1 {
		t.Errorf("counted %+v", s)
	}
}

// TestRateIsFair has one identity ask as fast as it can while another asks as it may: that one is never refused, and the first
// gets its rate and no more.
func TestRateIsFair(t *testing.T) {
	a := newAsked(t, RatePolicy{Identity: 100})
	greedy, modest := from("192.0.2.1", person("a")), from("192.0.2.1", person("b"))
	served := 0
	for range 10_000 { // ten seconds, in milliseconds
		for range 5 {
			if a.search(greedy) == nil {
				served++
			}
		}
		if a.now.Nanosecond()%int(20*time.Millisecond) == 0 {
			if err := a.search(modest); err != nil {
				t.Fatalf("who asks fifty times a second: %v", err)
			}
		}
		a.now = a.now.Add(time.Millisecond)
	}
	if served < 1990 || served > 2010 {
		t.Errorf("who asks without a pause was answered %d times in ten seconds", served)
	}
}

// TestRateOfStrangers bounds an address, and lets those in who log in from it.
func TestRateOfStrangers(t *testing.T) {
	a := newAsked(t, RatePolicy{Stranger: 100, Relays: []netip.Prefix{netip.MustParsePrefix("192.0.2.9/32")}})
	if n := a.most(from("2001:db8::1", nil), &ldap.SearchRequest{}); !about(n, 1000) {
		t.Errorf("%d searches of a stranger", n)
	}
	if err := a.search(from("2001:db8::2", nil)); ldap.CodeOf(err) != ldap.Busy {
		t.Errorf("another address of the same customer: %v", err)
	}
	if err := a.search(from("2001:db8:0:1::1", nil)); err != nil {
		t.Errorf("another customer: %v", err)
	}
	if n := a.most(from("2001:db8::1", person("a")), &ldap.SearchRequest{}); n < 50_000 {
		t.Errorf("who has logged in there was answered %d times", n)
	}
	for _, c := range []*op.Conn{from("192.0.2.9", nil), {Transport: op.Unix}, {Control: true, Transport: op.TCP}} {
		if n := a.most(c, &ldap.SearchRequest{}); n < 50_000 {
			t.Errorf("%v was answered %d times", c.Remote, n)
		}
	}
	admin := from("192.0.2.1", &op.Identity{Admin: true})
	a.rates.Set(RatePolicy{Stranger: 1, Identity: 1, Source: 1})
	if n := a.most(admin, &ldap.SearchRequest{}); n < 50_000 {
		t.Errorf("the administrator was answered %d times", n)
	}
}

// TestRateOfLogins logs many people in from one address: none of them counts for it as long as the passwords are right.
func TestRateOfLogins(t *testing.T) {
	a := newAsked(t, RatePolicy{Stranger: 100, Identity: 100})
	gateway := from("192.0.2.1", nil)
	a.does = func(req *op.Request) error {
		req.Conn.SetIdentity(person(string(req.Op.(*ldap.BindRequest).Name)))
		return nil
	}
	for i := range 10_000 {
		gateway.SetIdentity(nil) // as the session does
		if err := a.ask(gateway, &ldap.BindRequest{Name: fmt.Append(nil, i)}); err != nil {
			t.Fatalf("login %d: %v", i, err)
		}
	}
	// One account that logs in without a pause is held back for itself.
	n := 0
	for ; n < 50_000; n++ {
		gateway.SetIdentity(nil)
		if err := a.ask(gateway, &ldap.BindRequest{Name: []byte("x")}); err != nil {
			t.Fatal(err) // the login itself is nobody's yet
		}
		a.does = nil
		err := a.search(gateway)
		a.does = func(req *op.Request) error { req.Conn.SetIdentity(person("x")); return nil }
		if err != nil {
			break
		}
	}
	if !about(n, 1000/(costBind+1)) {
		t.Errorf("an account logged in and searched %d times", n)
	}
	// Wrong ones cost the address.
	gateway.SetIdentity(nil)
	a.does = func(*op.Request) error { return ldap.Errorf(ldap.InvalidCredentials, "") }
	if n := a.most(gateway, &ldap.BindRequest{}); !about(n, 1000/(costBind+failedBind)) {
		t.Errorf("%d wrong passwords", n)
	}
}

// TestRateOfSource bounds an address whoever asks, and gives back to the account what it then did not get.
func TestRateOfSource(t *testing.T) {
	a := newAsked(t, RatePolicy{Source: 10, Identity: 1000})
	if n := a.most(from("192.0.2.1", person("a")), &ldap.DelRequest{}); !about(n, 100/costWrite) {
		t.Errorf("%d writes", n)
	}
	for range 10_000 {
		if err := a.search(from("192.0.2.1", person("b"))); ldap.CodeOf(err) != ldap.Busy {
			t.Fatalf("somebody else from there: %v", err)
		}
	}
	if n := a.most(from("192.0.2.2", person("b")), &ldap.SearchRequest{}); !about(n, 100) {
		t.Errorf("%d searches from elsewhere", n)
	}
	if s := a.rates.Stats(a.now); s.Refused[RateSource] != 10_002 || s.Refused[RateIdentity] != 0 {
		t.Errorf("counted %+v", s)
	}
}

// TestRateOfScans charges what a search has cost when it has ended, as a debt that is bounded.
func TestRateOfScans(t *testing.T) {
	a := newAsked(t, RatePolicy{Identity: 100})
	c := from("192.0.2.1", person("a"))
	examined := 16 * 600
	a.does = func(req *op.Request) error { req.Trace.Examined = examined; return nil }
	if n := a.most(c, &ldap.SearchRequest{}); n != 2 {
		t.Errorf("%d scans of 600 units", n)
	}
	a.now = a.now.Add(3 * time.Second) // 202 over
	if err := a.search(c); err != nil {
		t.Errorf("after the debt: %v", err)
	}
	examined = 1 << 30
	a.now = a.now.Add(time.Hour)
	if err := a.search(c); err != nil {
		t.Fatal(err)
	}
	if err := a.search(c); ldap.CodeOf(err) != ldap.Busy || !strings.Contains(err.Error(), "try again in 10 s") {
		t.Errorf("after a scan without measure: %v", err)
	}
	a.now = a.now.Add(10*time.Second + 1)
	if err := a.search(c); err != nil {
		t.Errorf("ten seconds after a scan without measure: %v", err)
	}
	// A filter of many items costs before.
	a = newAsked(t, RatePolicy{Identity: 100})
	var or []ldap.Filter
	for range 1000 {
		or = append(or, ldap.Eq("uid", "x"))
	}
	if n := a.most(c, &ldap.SearchRequest{Filter: ldap.Or(or...)}); n < 1000/33 || n > 1000/30 {
		t.Errorf("%d searches with a long filter", n)
	}
}

// TestRatePolicyOf gives some identities their own rate, and takes a new policy over.
func TestRatePolicyOf(t *testing.T) {
	a := newAsked(t, RatePolicy{Stranger: 100, For: func(id *op.Identity) (int, bool) {
		switch {
		case id.IsAnonymous():
			return 5, true
		case id.Name.Norm == "uid=app":
			return 50, true
		}
		return 0, false
	}})
	one, app := from("192.0.2.1", nil), from("192.0.2.1", person("app"))
	if n := a.most(one, &ldap.SearchRequest{}); !about(n, 50) {
		t.Errorf("%d searches of a stranger", n)
	}
	if n := a.most(app, &ldap.SearchRequest{}); !about(n, 500) {
		t.Errorf("%d searches of the application", n)
	}
	if n := a.most(from("192.0.2.1", person("b")), &ldap.SearchRequest{}); n < 50_000 {
		t.Errorf("%d searches of others", n)
	}
	a.rates.Set(RatePolicy{Identity: 1000})
	a.now = a.now.Add(time.Minute)
	if n := a.most(app, &ldap.SearchRequest{}); !about(n, 10_000) {
		t.Errorf("%d searches of the application by the new policy", n)
	}
	if n := a.most(one, &ldap.SearchRequest{}); n < 50_000 {
		t.Errorf("%d searches of a stranger by the new policy", n)
	}
}

// TestRateEvents tells of each identity once a minute.
func TestRateEvents(t *testing.T) {
	a := newAsked(t, RatePolicy{Identity: 1, Stranger: 1})
	told := make(map[string]int)
	a.rates.OnEvent(func(e RateEvent) { told[e.By.String()+" "+e.Of]++ })
	for range 100 {
		a.search(from("192.0.2.1", nil))
		a.search(from("192.0.2.1", person("a")))
	}
	if told["identity uid=a"] != 1 || told["unauthenticated 192.0.2.1"] != 1 || len(told) != 2 {
		t.Errorf("told %v", told)
	}
	a.now = a.now.Add(61 * time.Second)
	for range 100 {
		a.search(from("192.0.2.1", nil))
	}
	if told["unauthenticated 192.0.2.1"] != 2 {
		t.Errorf("a minute later %v", told)
	}
}

// TestBucketsAreBounded comes from more addresses than there are buckets for: whoever is in debt stays so.
func TestBucketsAreBounded(t *testing.T) {
	a := newAsked(t, RatePolicy{Stranger: 100})
	a.does = func(req *op.Request) error { req.Trace.Examined = 1 << 20; return nil }
	in := []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"}
	for _, address := range in {
		a.search(from(address, nil))
	}
	a.does = nil
	for i := range 1 << 17 {
		c := &op.Conn{Transport: op.TCP, Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 1)}
		if err := a.search(c); err != nil {
			t.Fatal(err)
		}
	}
	for _, address := range in {
		if err := a.search(from(address, nil)); ldap.CodeOf(err) != ldap.Busy {
			t.Errorf("%s was forgotten: %v", address, err)
		}
	}
	n := 0
	for i := range a.rates.buckets.shards {
		for _, set := range a.rates.buckets.shards[i].sets {
			if set != nil {
				n += len(set)
			}
		}
	}
	if n > bucketShards*bucketSets*ways {
		t.Errorf("%d buckets", n)
	}
}

// BenchmarkRates is what a request costs more: where nothing is bounded for it, as by default, and where its identity is.
func BenchmarkRates(b *testing.B) {
	for name, p := range map[string]RatePolicy{"unbounded": {Stranger: 100}, "bounded": {Stranger: 100, Identity: 100_000_000}} {
		b.Run(name, func(b *testing.B) {
			a := newAsked(b, p)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				c := from("192.0.2.1", person("a"))
				req := &op.Request{Conn: c, Op: &ldap.SearchRequest{}, Identity: c.Identity(), Start: a.now}
				for pb.Next() {
					if err := a.serve.Serve(context.Background(), req, nil); err != nil && ldap.CodeOf(err) != ldap.Busy {
						b.Fatal(err)
					}
				}
			})
		})
	}
}
