package guard

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/ldap"
)

// memory is an op.State in memory.
type memory struct {
	mu     sync.Mutex
	values map[string][]byte
}

func (m *memory) Get(key []byte) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.values[string(key)]), nil
}

func (m *memory) Set(key, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if value == nil {
		delete(m.values, string(key))
	} else {
		m.values[string(key)] = slices.Clone(value)
	}
	return nil
}

func (m *memory) Delete(key []byte) error { return m.Set(key, nil) }

func (m *memory) Update(key []byte, f func([]byte) []byte) error {
	old, _ := m.Get(key)
	return m.Set(key, f(old))
}

func (m *memory) Each(prefix []byte, f func(key, value []byte) bool) error {
	m.mu.Lock()
	var keys []string
	for k := range m.values {
		if strings.HasPrefix(k, string(prefix)) {
			keys = append(keys, k)
		}
	}
	m.mu.Unlock()
	slices.Sort(keys)
	for _, k := range keys {
		v, _ := m.Get([]byte(k))
		if !f([]byte(k), v) {
			return nil
		}
	}
	return nil
}

func (m *memory) Flush(context.Context) error { return nil }

// world is a guard with a clock of its own, and passwords to guess.
type world struct {
	t     testing.TB
	g     *Guard
	state *memory
	mu    sync.Mutex
	now   time.Time
	// slept is how long attempts have waited; right are the passwords of accounts.
	slept   time.Duration
	right   map[string]string
	checked int // by account, those that were verified
	serial  int // of wrong passwords
	events  []Event
	conns   map[string]*op.Conn
	log     bytes.Buffer
}

var usual = Policy{Enabled: true, AccountFailures: 10, SourceFailures: 3, NetworkFailures: 12, PasswordAccounts: 5, MaxDelay: 5 * time.Second, MaxDelayed: 1000}

// shipped are the defaults of the configuration.
var shipped = Policy{Enabled: true, AccountFailures: 10, SourceFailures: 20, NetworkFailures: 100, PasswordAccounts: 20, StrainFailures: 60, MaxDelay: 5 * time.Second, MaxDelayed: 1000}

func newWorld(t testing.TB, p Policy) *world {
	w := &world{t: t, state: &memory{values: map[string][]byte{}}, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), right: map[string]string{}}
	w.start(p)
	return w
}

// start makes a guard of what the state has: at a restart too.
func (w *world) start(p Policy) {
	g, err := New(Options{State: w.state, Now: w.time, Rand: zeros{rand.New(rand.NewPCG(1, 2))}, Log: slog.New(slog.NewTextHandler(&w.log, nil)), Wait: w.wait})
	if err != nil {
		w.t.Fatal(err)
	}
	g.Set(p)
	g.OnEvent(func(e Event) { w.events = append(w.events, e) })
	w.g, w.conns = g, map[string]*op.Conn{}
}

type zeros struct{ r *rand.Rand }

func (z zeros) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(z.r.Uint32())
	}
	return len(b), nil
}

func (w *world) time() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) advance(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// wait puts the clock forward.
func (w *world) wait(ctx context.Context, d time.Duration) error {
	w.advance(d)
	w.slept += d
	return ctx.Err()
}

func (w *world) conn(from string) *op.Conn {
	c := w.conns[from]
	if c == nil {
		c = &op.Conn{Transport: op.TCP, Remote: netip.AddrPortFrom(netip.MustParseAddr(from), 999)}
		w.conns[from] = c
	}
	return c
}

// bind tries a password and returns what the client is told.
func (w *world) bind(from, account, password string) ldap.ResultCode {
	w.t.Helper()
	req := &op.Request{Conn: w.conn(from)}
	b := &op.BindOutcome{Name: dit.Name{Norm: account}, Password: []byte(password), Index: -1}
	if err := w.g.Attempt(context.Background(), req, b); err != nil {
		return ldap.CodeOf(err)
	}
	w.checked++
	var err error
	if password != w.right[account] || password == "" {
		err = ldap.Errorf(ldap.InvalidCredentials, "")
	}
	w.g.Settle(req, b, err)
	return ldap.CodeOf(err)
}

// tries tries so many different wrong passwords and returns how many were checked.
func (w *world) tries(n int, from, account string) int {
	before := w.checked
	for range n {
		w.serial++
		w.bind(from, account, fmt.Sprintf("wrong %d", w.serial))
	}
	return w.checked - before
}

func (w *world) want(what string, got, want any) {
	w.t.Helper()
	if got != want {
		w.t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// TestAttack has 100 addresses of 100 networks guess 10,000 passwords of 1,000 accounts, as fast as they can.
func TestAttack(t *testing.T) {
	for name, password := range map[string]func(i int) string{
		"a password for each guess": func(i int) string { return fmt.Sprint("guess ", i) },
		"ten passwords for all":     func(i int) string { return fmt.Sprint("Summer ", i/1000) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, shipped)
			w.right["uid=honest"] = "correct horse"
			w.want("the honest bind", w.bind("192.0.2.1", "uid=honest", "correct horse"), ldap.Success)
			w.checked, w.slept = 0, 0
			for i := range 10_000 {
				from := fmt.Sprintf("127.0.%d.%d", i%100, 1+i%100)
				// Each guesser is a connection of its own: their waits run side by side.
				at := w.now
				w.bind(from, fmt.Sprintf("uid=u%d", i%1000), password(i))
				w.mu.Lock()
				w.now = at.Add(2 * time.Millisecond)
				w.mu.Unlock()
				if i%100 == 0 {
					before := w.checked
					w.want("an honest bind during the attack", w.bind("192.0.2.1", "uid=honest", "correct horse"), ldap.Success)
					w.checked = before
				}
			}
			t.Logf("%d guesses were checked", w.checked)
			if w.checked >= 500 {
				t.Errorf("%d guesses were checked, want fewer than 500", w.checked)
			}
		})
	}
}

// TestStrain: what is free in quiet times is not while much is guessed at the server, and is again afterwards; those who are known
// notice nothing, and neither do relays' wrong passwords make hard times.
func TestStrain(t *testing.T) {
	p := shipped
	p.Relays = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	w := newWorld(t, p)
	w.right["uid=known"] = "right"
	w.want("a first login", w.bind("192.0.2.1", "uid=known", "right"), ldap.Success)
	wrong := func(from string, n int) {
		t.Helper()
		for i := range n {
			w.serial++
			w.want("a wrong password", w.bind(from, fmt.Sprint("uid=n", w.serial), fmt.Sprint(i, from)), ldap.InvalidCredentials)
		}
		if w.slept > 0 {
			t.Fatalf("after %d from %s somebody waited for %v", n, from, w.slept)
		}
	}
	wrong("127.0.0.1", 200)
	wrong("192.0.2.1", 19)
	wrong("198.51.100.1", 19)
	wrong("203.0.113.1", 19)
	for range 2 {
		wrong("203.0.113.2", 1)
	}
	if slices.ContainsFunc(w.events, func(e Event) bool { return e.What == "strained" }) {
		t.Fatal("59 wrong passwords are hard times")
	}
	wrong("203.0.113.3", 1)
	if n := len(w.events); n == 0 || w.events[n-1].What != "strained" {
		t.Fatalf("60 are none: %+v", w.events)
	}
	// Three are free for a stranger now.
	wrong("100.64.9.9", 3)
	w.want("a fourth", w.bind("100.64.9.9", "uid=late", "x"), ldap.InvalidCredentials)
	if w.slept == 0 {
		t.Error("a fourth guess is checked at once")
	}
	w.want("who is known, from a place that has many mistakes", w.bind("192.0.2.1", "uid=known", "right"), ldap.Success)
	w.advance(2 * time.Hour)
	w.slept = 0
	w.want("the end", w.bind("192.0.2.77", "uid=known", "right"), ldap.Success)
	wrong("100.64.50.1", 19)
}

// TestNobodyIsShutOut has strangers guess at an account without end.
func TestNobodyIsShutOut(t *testing.T) {
	w := newWorld(t, usual)
	w.right["uid=a"] = "right"
	w.want("first login", w.bind("192.0.2.1", "uid=a", "right"), ldap.Success)
	for i := range 1000 {
		w.bind(fmt.Sprintf("198.51.%d.%d", i%200, i%250), "uid=a", fmt.Sprint(i))
	}
	w.want("from where it logged in before", w.bind("192.0.2.1", "uid=a", "right"), ldap.Success)
	w.want("from elsewhere", w.bind("203.0.113.9", "uid=a", "right"), ldap.Busy)
	// After a restart the password is not known any more, the source is.
	w.start(usual)
	w.want("from where it logged in before, after a restart", w.bind("192.0.2.1", "uid=a", "right"), ldap.Success)
	w.want("from elsewhere, after a restart", w.bind("203.0.113.9", "uid=a", "right"), ldap.Busy)
	// The owner mistypes at home while it goes on, and a neighbour behind the same address guesses at other accounts.
	w.want("a slip", w.bind("192.0.2.1", "uid=a", "rihgt"), ldap.InvalidCredentials)
	w.tries(50, "192.0.2.1", "uid=b")
	w.want("beside a neighbour who guesses", w.bind("192.0.2.1", "uid=a", "right"), ldap.Success)
	// A month away: the place is forgotten, the strangers are too once they stop.
	w.advance(31 * 24 * time.Hour)
	w.want("after a month", w.bind("203.0.113.9", "uid=a", "right"), ldap.Success)
}

// TestSamePasswordAgain has a device that goes on sending an old password.
func TestSamePasswordAgain(t *testing.T) {
	w := newWorld(t, usual)
	w.right["uid=a"] = "new"
	for range 200 {
		w.want("the old password", w.bind("192.0.2.1", "uid=a", "old"), ldap.InvalidCredentials)
		w.advance(30 * time.Second)
	}
	w.want("waited", w.slept, time.Duration(0))
	w.want("failures", w.failures(ByAccount, "uid=a") <= 1, true)
	w.want("the new one", w.bind("192.0.2.1", "uid=a", "new"), ldap.Success)
	// In a loop without pauses it is slowed down, and still counts once.
	for range 200 {
		w.bind("192.0.2.2", "uid=a", "old")
	}
	w.want("waited in a loop", w.slept > time.Second, true)
	w.want("failures", w.failures(BySource, "192.0.2.2") <= 1, true)
	// The old password becomes the right one again.
	w.advance(time.Hour)
	w.right["uid=a"] = "old"
	w.want("old is right", w.bind("192.0.2.1", "uid=a", "old"), ldap.Success)
	w.want("old is right", w.bind("192.0.2.1", "uid=a", "old"), ldap.Success)
	w.want("new is wrong", w.bind("192.0.2.1", "uid=a", "new"), ldap.InvalidCredentials)
	if w.failures(ByFamiliar, "uid=a from 192.0.2.1") == 0 {
		t.Error("a password that was right and is not any more was not counted")
	}
}

// failures returns what a counter has.
func (w *world) failures(axis Axis, subject string) float64 {
	for _, r := range w.g.List() {
		if r.Axis == axis.String() && r.Subject == subject {
			return r.Failures
		}
	}
	return 0
}

// TestRelay has an application log in for others.
func TestRelay(t *testing.T) {
	p := usual
	p.Relays = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/28")}
	w := newWorld(t, p)
	checked := 0
	for i := range 100 {
		checked += w.tries(1, "10.0.0.5", fmt.Sprint("uid=", i))
	}
	w.want("one slip of each of a hundred people", checked, 100)
	w.want("guesses at one of them", w.tries(50, "10.0.0.5", "uid=1") < 15, true)
	w.want("the same from an address that is no relay", w.tries(100, "10.0.0.99", "uid=200") < 10, true)
	// One password on all accounts is seen there too.
	before := w.checked
	for i := range 100 {
		w.bind("10.0.0.5", fmt.Sprint("uid=s", i), "Winter2026")
	}
	w.want("spray through a relay", w.checked-before < 10, true)
}

// TestSuccessRatio has an application that nobody called a relay, with people who mostly know their passwords.
func TestSuccessRatio(t *testing.T) {
	w := newWorld(t, usual)
	for i := range 400 {
		account := fmt.Sprint("uid=", i)
		w.right[account] = "right"
		if i%20 == 9 {
			w.want("a slip", w.bind("10.0.0.5", account, fmt.Sprint("slip ", i)), ldap.InvalidCredentials)
		}
		w.want(account, w.bind("10.0.0.5", account, "right"), ldap.Success)
		w.advance(time.Second)
	}
	w.want("waited", w.slept, time.Duration(0))
	// Who has one account of his own does not buy room for guesses with it.
	w.right["uid=mine"] = "mine"
	for range 1000 {
		w.bind("203.0.113.1", "uid=mine", "mine")
	}
	checked := 0
	for i := range 100 {
		checked += w.tries(1, "203.0.113.1", fmt.Sprint("uid=", i))
	}
	w.want("guesses beside the own account", checked <= 5, true)
}

// TestSpray has one password tried on many accounts from many addresses.
func TestSpray(t *testing.T) {
	w := newWorld(t, usual)
	w.right["uid=victim"], w.right["uid=old"] = "Summer2026!", "Summer2026!"
	w.want("login before", w.bind("192.0.2.1", "uid=old", "Summer2026!"), ldap.Success)
	for i := range 500 {
		w.bind(fmt.Sprintf("198.51.%d.7", i%250), fmt.Sprint("uid=", i), "Summer2026!")
	}
	if w.checked > 10 {
		t.Errorf("%d accounts were tried", w.checked)
	}
	w.want("one that has this password, from a new address", w.bind("198.51.100.77", "uid=victim", "Summer2026!"), ldap.Busy)
	w.want("one that has it, from where it was right before", w.bind("192.0.2.1", "uid=old", "Summer2026!"), ldap.Success)
	w.want("another password", w.bind("198.51.100.78", "uid=x", "something else"), ldap.InvalidCredentials)
}

// TestNetworks has the addresses of one network take turns.
func TestNetworks(t *testing.T) {
	w := newWorld(t, usual)
	checked := 0
	for i := range 200 {
		checked += w.tries(1, fmt.Sprintf("192.0.2.%d", i), fmt.Sprint("uid=", i))
	}
	w.want("an IPv4 /24", checked < 20, true)
	checked = 0
	for i := range 200 {
		checked += w.tries(1, fmt.Sprintf("2001:db8:1:2::%x", i), fmt.Sprint("uid=v", i))
	}
	w.want("an IPv6 /64", checked <= 4, true)
	checked = 0
	for i := range 200 {
		checked += w.tries(1, fmt.Sprintf("2001:db8:2:%x::1", i), fmt.Sprint("uid=w", i))
	}
	w.want("an IPv6 /48", checked < 20, true)
}

// TestRestart keeps accounts, sources and networks, and no passwords.
func TestRestart(t *testing.T) {
	w := newWorld(t, usual)
	for i := range 12 {
		w.tries(1, fmt.Sprintf("192.0.2.%d", i), "uid=a")
	}
	w.tries(5, "198.51.100.1", "uid=b")
	for i := range 5 {
		w.bind(fmt.Sprintf("203.0.%d.1", i), fmt.Sprint("uid=", i), "sprayed password")
	}
	before := w.g.List()
	for k, v := range w.state.values {
		if strings.Contains(k, "sprayed") || bytes.Contains(v, []byte("sprayed")) {
			t.Errorf("the state has a password: %s", k)
		}
	}
	w.start(usual)
	after := w.g.List()
	before = slices.DeleteFunc(before, func(r Row) bool { return r.Axis == ByPassword.String() })
	if len(before) == 0 || len(before) != len(after) {
		t.Fatalf("before %v\nafter %v", before, after)
	}
	for i := range before {
		if a, b := before[i], after[i]; a.Axis != b.Axis || a.Subject != b.Subject || a.Until != b.Until || a.Failures-b.Failures > 0.02 {
			t.Errorf("%+v became %+v", a, b)
		}
	}
	if log := w.log.String(); log != "" {
		t.Error(log)
	}
	// What cannot be read is forgotten, and said.
	for k := range w.state.values {
		if k != stateKey {
			w.state.values[k] = []byte{stateForm, 1, 2, 3}
		}
	}
	w.start(usual)
	w.want("rows of what cannot be read", len(w.g.List()), 0)
	w.want("it is said", strings.Contains(w.log.String(), "cannot be read"), true)
}

// TestListAndClear clears one account, one network, and all.
func TestListAndClear(t *testing.T) {
	w := newWorld(t, usual)
	w.right["uid=a"] = "right"
	w.tries(5, "192.0.2.1", "uid=b")
	for i := range 15 {
		w.tries(1, fmt.Sprintf("198.51.%d.1", i), "uid=a")
	}
	w.want("from elsewhere", w.bind("203.0.113.1", "uid=a", "right"), ldap.Busy)
	w.want("events", len(w.events), 2)
	w.want("counters", w.g.Clear(Clear{Account: "uid=a"}), 1)
	w.want("cleared", w.bind("203.0.113.1", "uid=a", "right"), ldap.Success)
	w.want("the source waits", w.tries(1, "192.0.2.1", "uid=b"), 0)
	w.want("counters", w.g.Clear(Clear{Source: netip.MustParsePrefix("192.0.2.0/25")}), 2)
	w.want("the source waits no more", w.tries(1, "192.0.2.1", "uid=b"), 1)
	w.start(usual)
	w.want("after a restart", w.failures(ByAccount, "uid=a"), 0.0)
	w.g.Clear(Clear{All: true})
	w.want("rows", len(w.g.List()), 0)
}

// TestMemory has attackers count as much as they can: tables stay bounded, and the account that was guessed at most is
// not forgotten.
func TestMemory(t *testing.T) {
	p := usual
	p.SourceFailures = 1000
	p.NetworkFailures = 10000
	w := newWorld(t, p)
	for i := range 12 {
		w.tries(1, fmt.Sprintf("192.0.2.%d", i), "uid=victim")
	}
	for i := range 30_000 {
		w.bind(fmt.Sprintf("10.%d.%d.1", i/250, i%250), fmt.Sprint("uid=", i), fmt.Sprint(i))
	}
	w.want("the victim is not forgotten", w.failures(ByAccount, "uid=victim") > 10, true)
	n := 0
	for _, table := range w.g.tables {
		table.each(func(int, *counter) { n++ })
	}
	if most := ways * (accountSets + sourceSets + networkSets + passwordSets + familiarSets + repeatSets); n > most {
		t.Errorf("%d counters, at most %d", n, most)
	}
	w.want("places", len(w.g.places), 0)
	w.want("those that wait", len(w.g.waiting.by), 0)
	if n := len(w.state.values); n > accountSets+sourceSets+networkSets+familiarSets+pairSets+1 {
		t.Errorf("%d values in the state", n)
	}
}

// TestSipHash has the test vector of the paper (appendix A), and one of each length about a block.
func TestSipHash(t *testing.T) {
	var key [16]byte
	var text []byte
	for i := range key {
		key[i] = byte(i)
	}
	// From the reference implementation, of 0 to 15 octets.
	want := []uint64{
		0x726fdb47dd0e0e31, 0x74f839c593dc67fd, 0x0d6c8009d9a94f5a, 0x85676696d7fb7e2d, 0xcf2794e0277187b7, 0x18765564cd99a68d,
		0xcbc9466e58fee3ce, 0xab0200f58b01d137, 0x93f5f5799a932462, 0x9e0082df0ba9e4b0, 0x7a5dbbc594ddb9f3, 0xf4b32f46226bada7,
		0x751e8fbc860ee5fb, 0x14ea5627c0843d90, 0xf723ca908e7af2ee, 0xa129ca6149be45e5,
	}
	for i, x := range want {
		if got := sum(newSipKey(key), text); got != x {
			t.Errorf("%d octets: %x, want %x", i, got, x)
		}
		if got := sum(newSipKey(key), string(text)); got != x {
			t.Errorf("%d octets of text: %x, want %x", i, got, x)
		}
		text = append(text, byte(i))
	}
}
