package shapes

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/ldap"
)

// memory is an op.State.
type memory struct {
	mu      sync.Mutex
	values  map[string][]byte
	flushed int
}

func newMemory() *memory { return &memory{values: make(map[string][]byte)} }

func (m *memory) Get(key []byte) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.values[string(key)], nil
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

func (m *memory) Update([]byte, func([]byte) []byte) error { panic("not used") }

func (m *memory) Each(prefix []byte, f func(key, value []byte) bool) error {
	for k, v := range m.values {
		if strings.HasPrefix(k, string(prefix)) && !f([]byte(k), v) {
			return nil
		}
	}
	return nil
}

func (m *memory) Flush(context.Context) error {
	m.flushed++
	return nil
}

// site is a firewall with a clock, and what it has raised.
type site struct {
	testing.TB
	*Firewall
	state  *memory
	schema *schema.Schema
	now    time.Time
	alarms []Alarm
}

func newSite(t testing.TB) *site {
	s := &site{TB: t, state: newMemory(), schema: schema.Default(), now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	s.restart()
	return s
}

// restart begins anew with what was written down.
func (s *site) restart() {
	s.Helper()
	if s.Firewall != nil {
		s.saveCounters()
	}
	f, err := New(Options{Default: Observe, State: s.state, Schema: func() *schema.Schema { return s.schema }})
	if err != nil {
		s.Fatal(err)
	}
	f.OnAlarm(func(_ *op.Request, a Alarm) { s.alarms = append(s.alarms, a) })
	s.Firewall = f
}

func account(name string) *op.Identity {
	return &op.Identity{Name: dit.Name{DN: "UID=" + name, Norm: "uid=" + name}, UUID: uuid.NewSHA1(uuid.Nil, []byte(name)), Method: "simple"}
}

func connection(id *op.Identity) *op.Conn {
	c := &op.Conn{Transport: op.TCP}
	c.SetIdentity(id)
	return c
}

func (s *site) send(c *op.Conn, text string) error {
	s.Helper()
	return s.Filter(&op.Request{Conn: c, Identity: c.Identity(), Start: s.now}, op.SearchFilter, parse(s.TB, text))
}

func (s *site) mustSend(c *op.Conn, texts ...string) {
	s.Helper()
	for _, text := range texts {
		if err := s.send(c, text); err != nil {
			s.Errorf("%s: %v", text, err)
		}
	}
}

func (s *site) mustRefuse(c *op.Conn, texts ...string) {
	s.Helper()
	for _, text := range texts {
		if err := s.send(c, text); ldap.CodeOf(err) != ldap.UnwillingToPerform {
			s.Errorf("%s: %v, want it refused", text, err)
		}
	}
}

func (s *site) set(id *op.Identity, m Mode) {
	s.Helper()
	if err := s.SetMode(s.Context(), id, m, time.Time{}, s.now, false); err != nil {
		s.Fatal(err)
	}
}

// list returns the shapes of an identity, the approved ones with a plus.
func (s *site) list(id *op.Identity) string {
	_, shapes, err := s.Shapes(id)
	if err != nil {
		return err.Error()
	}
	var out []string
	for _, x := range shapes {
		sign := "-"
		if x.Approved {
			sign = "+"
		}
		out = append(out, fmt.Sprintf("%s%s %d", sign, x.Shape, x.Count))
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

func TestTheWayToEnforcement(t *testing.T) {
	s := newSite(t)
	app := account("app")
	c := connection(app)

	s.mustSend(c, "(uid=a)", "(uid=b)", "(UID=c)", "(cn=a*)")
	if got := s.list(app); got != "-(cn=?*) 1, -(uid=?) 3" {
		t.Errorf("observed: %s", got)
	}
	if err := s.SetMode(t.Context(), app, Enforce, time.Time{}, s.now, false); err == nil {
		t.Error("nothing is approved, and it is enforced")
	}

	s.set(app, Learn)
	s.mustSend(c, "(uid=d)", "(&(objectClass=person)(uid=e))")
	if got := s.list(app); got != "+(&(objectClass=person)(uid=?)) 1, +(uid=?) 4, -(cn=?*) 1" {
		t.Errorf("learned: %s", got)
	}

	s.set(app, Warn)
	s.mustSend(c, "(uid=f)", "(cn=b*)", "(mail=x)")
	if len(s.alarms) != 2 || s.alarms[0].Shape != "(cn=?*)" || s.alarms[1].Shape != "(mail=?)" || s.alarms[1].Mode != Warn {
		t.Errorf("alarms: %+v", s.alarms)
	}

	s.set(app, Enforce)
	s.mustSend(c, "(uid=g)", "(&(uid=h)(objectClass=person))", "(&(objectClass=PERSON)(uid=h)(uid=i))")
	for range 2 { // the second is known by its hash
		s.mustRefuse(c, "(uid=*)", "(&(objectClass=person)(uid=*)(|(uid=x)))", "(&(objectClass=person)(uid=*))", "(&(objectClass=device)(uid=x))", "(cn=c*)")
	}
	if len(s.alarms) != 12 || s.alarms[11].Mode != Enforce {
		t.Errorf("%d alarms", len(s.alarms))
	}
	if st := s.Stats(); st.Warned != 2 || st.Refused != 10 || st.Enforced != 1 {
		t.Errorf("%+v", st)
	}
	if i, _, _ := s.Shapes(app); i.Warned != 2 || i.Refused != 10 || !i.Decided || i.Mode != "enforce" {
		t.Errorf("%+v", i)
	}
	other := connection(account("other"))
	s.mustSend(other, "(uid=*)", "(cn=x*)")

	s.set(app, Off)
	s.mustSend(c, "(uid=*)", "(sn=*)")
	if strings.Contains(s.list(app), "sn") {
		t.Error("looked at although it is off")
	}
	s.set(app, Enforce)
	s.mustRefuse(c, "(sn=*)")
}

func TestDecisionsOutliveARestart(t *testing.T) {
	s := newSite(t)
	app := account("app")
	c := connection(app)
	s.set(app, Learn)
	s.mustSend(c, "(uid=a)", "(uid=b)")
	s.set(app, Enforce)
	if s.state.flushed != 2 {
		t.Errorf("%d decisions were made durable, want 2", s.state.flushed)
	}
	s.mustRefuse(c, "(uid=*)")
	before := s.list(app)
	s.restart()
	if got := s.list(app); got != before {
		t.Errorf("after a restart %s, before %s", got, before)
	}
	c = connection(app)
	s.mustSend(c, "(uid=c)")
	s.mustRefuse(c, "(uid=*)")
	if i, _, _ := s.Shapes(app); i.Refused != 2 {
		t.Errorf("%d refused", i.Refused)
	}
	s.state.values[prefixWatch+keyOf(app)] = []byte("{")
	if _, err := New(Options{State: s.state, Schema: s.o.Schema}); err == nil {
		t.Error("a damaged decision was passed over: the account would be unprotected")
	}
}

func TestLearningEnds(t *testing.T) {
	s := newSite(t)
	app := account("app")
	c := connection(app)
	if err := s.SetMode(t.Context(), app, Learn, s.now.Add(time.Hour), s.now, false); err != nil {
		t.Fatal(err)
	}
	s.mustSend(c, "(uid=a)")
	s.now = s.now.Add(time.Hour)
	s.mustSend(c, "(uid=a)", "(cn=a)")
	if got := s.list(app); got != "+(uid=?) 2, -(cn=?) 1" {
		t.Errorf("got %s", got)
	}
	if len(s.alarms) != 1 || s.alarms[0].Mode != Warn {
		t.Errorf("alarms: %+v", s.alarms)
	}
}

func TestApproveAndRemove(t *testing.T) {
	s := newSite(t)
	app := account("app")
	c := connection(app)
	s.mustSend(c, "(uid=a)", "(cn=a)")
	_, list, err := s.Shapes(app)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Approve(t.Context(), app, []string{list[0].ID, "nonsense"}, s.now); err == nil || strings.Contains(s.list(app), "+") {
		t.Errorf("half of a list was approved: %v, %s", err, s.list(app))
	}
	if err := s.Approve(t.Context(), app, []string{"(uid=?)", "(&(sn=x)(UID=*))", "(&(uid=*)(sn=y))", "assertion (uid=?)"}, s.now); err != nil {
		t.Fatal(err)
	}
	if got := s.list(app); got != "+(&(sn=?)(uid=*)) 0, +(uid=?) 1, +assertion (uid=?) 0, -(cn=?) 1" {
		t.Errorf("got %s", got)
	}
	s.set(app, Enforce)
	s.mustSend(c, "(uid=b)", "(&(sn=x)(uid=*))")
	s.mustRefuse(c, "(cn=a)")
	if err := s.Remove(t.Context(), app, []string{"(uid=x)"}); err != nil {
		t.Fatal(err)
	}
	s.mustRefuse(c, "(uid=b)")
	if err := s.Remove(t.Context(), app, []string{"(sn=x)"}); err == nil {
		t.Error("what is not there was removed")
	}
	s.restart()
	c = connection(app)
	s.mustRefuse(c, "(uid=b)")
	s.mustSend(c, "(&(sn=x)(uid=*))")
}

// TestWhoIsMeant: the identity is who authenticated; it outlives a new name, and an account that is made again.
func TestWhoIsMeant(t *testing.T) {
	s := newSite(t)
	app := account("app")
	c := connection(app)
	s.set(app, Learn)
	s.mustSend(c, "(uid=a)")
	s.set(app, Enforce)

	proxied := connection(&op.Identity{Name: dit.Name{DN: "uid=user", Norm: "uid=user"}, Proxied: app})
	s.mustRefuse(proxied, "(cn=a)")

	renamed := *app
	renamed.Name = dit.Name{DN: "uid=new", Norm: "uid=new"}
	s.mustRefuse(connection(&renamed), "(cn=a)")
	if i, _, err := s.Shapes(&renamed); err != nil || i.DN != "uid=new" {
		t.Errorf("%+v %v", i, err)
	}
	again := renamed
	again.UUID = uuid.New()
	s.mustRefuse(connection(&again), "(cn=a)")
	s.mustSend(connection(&again), "(uid=b)")
	s.restart()
	s.mustRefuse(connection(&again), "(cn=a)")
	s.mustSend(connection(&again), "(uid=b)")

	// An account that was observed under another name comes under that of a decision.
	stranger := account("stranger")
	s.mustSend(connection(stranger), "(cn=a)")
	moved := *stranger
	moved.Name = again.Name
	s.mustRefuse(connection(&moved), "(cn=a)")

	s.set(op.Anonymous(), Learn)
	nobody := connection(nil)
	s.mustSend(nobody, "(uid=a)")
	s.set(op.Anonymous(), Enforce)
	s.mustRefuse(nobody, "(cn=a)")
	control := connection(app)
	control.Control = true
	s.mustSend(control, "(cn=a)")
}

// TestABindChangesWhoIsMeant: what a connection remembers must not outlive its identity.
func TestABindChangesWhoIsMeant(t *testing.T) {
	s := newSite(t)
	app := account("app")
	c := connection(app)
	s.set(app, Learn)
	s.mustSend(c, "(uid=a)")
	s.set(app, Enforce)
	c.SetIdentity(account("other"))
	s.mustSend(c, "(cn=a)")
	c.SetIdentity(app)
	s.mustRefuse(c, "(cn=a)")
}

func TestMemoryIsBounded(t *testing.T) {
	s := newSite(t)
	app := account("app")
	c := connection(app)
	s.set(app, Learn)
	s.mustSend(c, "(uid=a)")
	s.set(app, Warn)
	for i := range 2 * MaxShapes {
		s.now = s.now.Add(time.Second)
		s.mustSend(c, fmt.Sprintf("(x%d=*)", i))
	}
	i, list, err := s.Shapes(app)
	if err != nil || i.Approved != 1 || len(list) != MaxShapes {
		t.Errorf("%+v, %d shapes, %v", i, len(list), err)
	}
	if !strings.Contains(s.list(app), fmt.Sprintf("-(x%d=*)", 2*MaxShapes-1)) {
		t.Error("the newest is not there")
	}
	s.set(app, Learn)
	for i := range 2 * MaxShapes {
		s.mustSend(c, fmt.Sprintf("(y%d=*)", i))
	}
	if i, _, _ := s.Shapes(app); i.Approved != MaxShapes || i.Lost == 0 {
		t.Errorf("%+v", i)
	}
	for i := range 5 * maxKnown {
		s.mustSend(c, fmt.Sprintf("(objectClass=x%d)", i))
	}
	if n := len(s.watches[keyOf(app)].known.Load().shapes); n > maxKnown {
		t.Errorf("%d hashes are kept", n)
	}

	// Identities: those that were only observed make room, after a day or for a decision.
	for i := range MaxIdentities + 10 {
		s.mustSend(connection(account(fmt.Sprint("u", i))), "(uid=a)")
	}
	if n := len(s.watches); n != MaxIdentities {
		t.Errorf("%d identities", n)
	}
	late := account("late")
	if s.set(late, Learn); len(s.watches) != MaxIdentities || s.watches[keyOf(late)] == nil {
		t.Error("no room was made for a decision")
	}
	s.now = s.now.Add(forgetAfter + time.Minute)
	s.mustSend(connection(account("later")), "(uid=a)")
	if _, _, err := s.Shapes(account("later")); err != nil {
		t.Error("no room was made after a day")
	}
	total := 0
	for _, w := range s.watches {
		total += len(w.shapes)
	}
	if total != s.total || s.total > MaxTotal {
		t.Errorf("%d shapes, counted %d", total, s.total)
	}
	before := len(s.state.values)
	s.restart()
	if len(s.state.values) != before || s.total != total {
		t.Errorf("after a restart %d shapes of %d", s.total, total)
	}
}

// TestTheTotalIsBounded: many identities with many shapes each.
func TestTheTotalIsBounded(t *testing.T) {
	s := newSite(t)
	for i := range MaxTotal/MaxShapes + 5 {
		c := connection(account(fmt.Sprint("u", i)))
		for j := range MaxShapes {
			s.mustSend(c, fmt.Sprintf("(x%d=*)", j))
		}
	}
	if s.total > MaxTotal {
		t.Errorf("%d shapes are kept", s.total)
	}
	app := account("app")
	s.set(app, Learn)
	s.mustSend(connection(app), "(uid=a)")
	if got := s.list(app); got != "+(uid=?) 1" {
		t.Errorf("there was no room for one that learns: %s", got)
	}
}

func TestManyAtOnce(t *testing.T) {
	s := newSite(t)
	s.OnAlarm(nil)
	app := account("app")
	s.set(app, Learn)
	s.mustSend(connection(app), "(uid=a)")
	s.set(app, Enforce)
	var all sync.WaitGroup
	for g := range 4 {
		all.Add(1)
		go func() {
			defer all.Done()
			c := connection(app)
			for i := range 300 {
				if err := s.send(c, "(uid=x)"); err != nil {
					t.Error(err)
				}
				if err := s.send(c, fmt.Sprintf("(z%d=x)", i)); err == nil {
					t.Error("let through")
				}
				if g == 0 && i%50 == 0 {
					s.set(account("other"), Learn)
					s.saveCounters()
				}
			}
		}()
	}
	all.Wait()
	if i, _, _ := s.Shapes(app); i.Refused != 1200 {
		t.Errorf("%d refused", i.Refused)
	}
}

func TestAKnownFilterAllocatesNothing(t *testing.T) {
	s := newSite(t)
	app := account("app")
	c := connection(app)
	s.set(app, Learn)
	f := parse(t, "(&(objectClass=inetOrgPerson)(|(uid=a)(mail=a)(cn=a*)))")
	req := &op.Request{Conn: c, Identity: app, Start: s.now}
	filter := func() {
		if err := s.Filter(req, op.SearchFilter, f); err != nil {
			t.Fatal(err)
		}
	}
	filter()
	s.set(app, Enforce)
	filter()
	if n := testing.AllocsPerRun(100, filter); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkFilter(b *testing.B) {
	s := newSite(b)
	app := account("app")
	c := connection(app)
	s.set(app, Learn)
	long := "(|"
	for i := range 200 {
		long += fmt.Sprintf("(memberUid=user%d)", i)
	}
	for name, text := range map[string]string{
		"uid": "(uid=a)", "and": "(&(objectClass=inetOrgPerson)(uid=a))", "login": "(&(objectClass=inetOrgPerson)(|(uid=a)(mail=a)))", "or200": long + ")",
	} {
		f := parse(b, text)
		req := &op.Request{Conn: c, Identity: app, Start: s.now}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Filter(req, op.SearchFilter, f); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
