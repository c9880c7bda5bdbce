package chaos

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	goldap "github.com/go-ldap/ldap/v3"
)

// writer changes entries of its own and remembers what was acknowledged. What was sent and not answered may be either way.
type writer struct {
	number int
	random *rand.Rand
	people map[string]*belief // by number of the person
	next   int
	acked  int
}

// belief is what a writer knows of one person: the uid it goes by and its title, or that it is gone. The alternatives
// are what an operation without an answer may have made of it; nil where there is none.
type belief struct {
	state
	maybe *state
}

type state struct {
	uid, title string
	gone       bool
}

func (w *writer) group() string { return fmt.Sprintf("cn=g%d,ou=groups,%s", w.number, suffix) }

func person(uid string) string { return fmt.Sprintf("uid=%s,ou=people,%s", uid, suffix) }

// work writes until the connection is lost.
func (w *writer) work(s *site) {
	c, err := s.dial()
	if err != nil {
		return
	}
	defer c.Close()
	for w.step(c) {
	}
}

// step does one operation; false when it had no answer.
func (w *writer) step(c *goldap.Conn) bool {
	id, b := w.pick()
	switch n := w.random.IntN(10); {
	case b == nil || n < 3:
		w.next++
		id = fmt.Sprintf("w%d-%d", w.number, w.next)
		b = &belief{state: state{gone: true}}
		w.people[id] = b
		add := goldap.NewAddRequest(person(id), nil)
		add.Attribute("objectClass", []string{"inetOrgPerson"})
		add.Attribute("uid", []string{id})
		add.Attribute("cn", []string{"C " + id})
		add.Attribute("sn", []string{"S"})
		add.Attribute("title", []string{"0"})
		if !w.done(b, state{uid: id, title: "0"}, c.Add(add)) {
			return false
		}
		join := goldap.NewModifyRequest(w.group(), nil)
		join.Add("member", []string{person(id)})
		// Whether the membership is there is not believed, but that no reference is to nobody is checked.
		return answered(c.Modify(join))
	case n < 7:
		title := fmt.Sprint(w.random.IntN(1 << 30))
		m := goldap.NewModifyRequest(person(b.uid), nil)
		m.Replace("title", []string{title})
		return w.done(b, state{uid: b.uid, title: title}, c.Modify(m))
	case n < 9:
		w.next++
		uid := fmt.Sprintf("w%d-%d", w.number, w.next)
		return w.done(b, state{uid: uid, title: b.title}, c.ModifyDN(goldap.NewModifyDNRequest(person(b.uid), "uid="+uid, true, "")))
	}
	return w.done(b, state{gone: true}, c.Del(goldap.NewDelRequest(person(b.uid), nil)))
}

// answered reports whether the server has answered, whatever it said.
func answered(err error) bool {
	var result *goldap.Error
	// Codes from 200 on are the client library's own: the connection was lost.
	return err == nil || errors.As(err, &result) && result.ResultCode < goldap.ErrorNetwork && result.ResultCode != goldap.LDAPResultUnavailable
}

// done notes the outcome of an operation.
func (w *writer) done(b *belief, after state, err error) bool {
	if err == nil {
		b.state, b.maybe = after, nil
		w.acked++
		return true
	}
	if !answered(err) {
		b.maybe = &after
		return false
	}
	return true
}

func (w *writer) pick() (string, *belief) {
	for id, b := range w.people {
		if !b.gone && b.maybe == nil {
			return id, b
		}
	}
	return "", nil
}

// verify compares what is there with what was acknowledged.
func (w *writer) verify(t *testing.T, c *goldap.Conn) {
	t.Helper()
	for id, b := range w.people {
		if b.maybe == nil {
			if !matches(t, c, b.state) {
				t.Errorf("writer %d, person %s: acknowledged %+v is not what is there", w.number, id, b.state)
			}
			continue
		}
		switch {
		case matches(t, c, *b.maybe):
			b.state, b.maybe = *b.maybe, nil
		case matches(t, c, b.state):
			b.maybe = nil
		default:
			t.Errorf("writer %d, person %s: neither %+v nor %+v is there", w.number, id, b.state, *b.maybe)
		}
		if b.gone && b.uid == "" {
			delete(w.people, id)
		}
	}
}

// matches reports whether the directory shows a state.
func matches(t *testing.T, c *goldap.Conn, s state) bool {
	t.Helper()
	if s.uid == "" {
		return true // gone, or never there: nothing of that name is believed
	}
	r, err := c.Search(goldap.NewSearchRequest(person(s.uid), goldap.ScopeBaseObject, goldap.NeverDerefAliases, 0, 0, false, "(objectClass=*)", []string{"title", "uid"}, nil))
	if goldap.IsErrorWithCode(err, goldap.LDAPResultNoSuchObject) {
		return s.gone
	}
	if err != nil {
		t.Fatalf("%s: %v", s.uid, err)
	}
	e := r.Entries[0]
	return !s.gone && e.GetAttributeValue("title") == s.title && e.GetAttributeValue("uid") == s.uid
}

// references demands that nobody is named who is not there.
func references(t *testing.T, c *goldap.Conn) {
	t.Helper()
	there := map[string]bool{}
	list := func(base, filter, attr string) []*goldap.Entry {
		r, err := c.Search(goldap.NewSearchRequest(base, goldap.ScopeWholeSubtree, goldap.NeverDerefAliases, 0, 0, false, filter, []string{attr}, nil))
		if err != nil {
			t.Fatal(err)
		}
		return r.Entries
	}
	uids := map[string]string{}
	for _, e := range list("ou=people,"+suffix, "(uid=*)", "uid") {
		there[strings.ToLower(e.DN)] = true
		if other := uids[e.GetAttributeValue("uid")]; other != "" {
			t.Errorf("%s and %s have one uid", e.DN, other)
		}
		uids[e.GetAttributeValue("uid")] = e.DN
	}
	for _, e := range list("ou=groups,"+suffix, "(cn=g*)", "member") {
		for _, m := range e.GetAttributeValues("member") {
			if m != "cn=nobody" && !strings.HasPrefix(m, "cn=admin,") && !there[strings.ToLower(m)] {
				t.Errorf("%s names %s, who is not there", e.DN, m)
			}
		}
	}
}

// TestKillNine kills the server at random moments under 16 writers, with refint and unique on.
func TestKillNine(t *testing.T) {
	rounds := 3
	if full() {
		rounds = 20
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	s := newSite(t, t.TempDir())
	s.start()
	c, err := s.dial()
	if err != nil {
		t.Fatal(err)
	}
	writers := make([]*writer, 16)
	for i := range writers {
		writers[i] = &writer{number: i, random: rand.New(rand.NewPCG(seed, uint64(i)+2)), people: map[string]*belief{}}
		add := goldap.NewAddRequest(writers[i].group(), nil)
		add.Attribute("objectClass", []string{"groupOfNames"})
		add.Attribute("cn", []string{fmt.Sprintf("g%d", i)})
		add.Attribute("member", []string{"cn=nobody"})
		if err := c.Add(add); err != nil {
			t.Fatal(err)
		}
	}
	c.Close()
	acked := 0
	for round := range rounds {
		var wait sync.WaitGroup
		for _, w := range writers {
			wait.Go(func() { w.work(s) })
		}
		// The moment is the point: how much had been written by then does not matter.
		time.Sleep(time.Duration(200+random.IntN(1500)) * time.Millisecond)
		_ = s.end(syscall.SIGKILL)
		wait.Wait()
		s.check()
		s.start()
		c, err := s.dial()
		if err != nil {
			t.Fatal(err)
		}
		total := 0
		for _, w := range writers {
			w.verify(t, c)
			total += w.acked
		}
		references(t, c)
		c.Close()
		if t.Failed() {
			t.Fatalf("in round %d", round)
		}
		t.Logf("round %d: %d writes acknowledged", round, total-acked)
		acked = total
	}
	if acked == 0 {
		t.Error("nothing was written at all")
	}
	if err := s.end(syscall.SIGTERM); err != nil {
		t.Errorf("the end by SIGTERM: %v\n%s", err, s.stderr)
	}
	s.check()
}

// TestTermUnderLoad ends the server in order under load: exit code 0, and every acknowledged write is there.
func TestTermUnderLoad(t *testing.T) {
	s := newSite(t, t.TempDir())
	s.start()
	c, err := s.dial()
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	var wait sync.WaitGroup
	writers := make([]*writer, 8)
	for i := range writers {
		writers[i] = &writer{number: i, random: rand.New(rand.NewPCG(1, uint64(i))), people: map[string]*belief{}}
		wait.Go(func() { writers[i].work(s) })
	}
	time.Sleep(500 * time.Millisecond)
	if err := s.end(syscall.SIGTERM); err != nil {
		t.Errorf("%v\n%s", err, s.stderr)
	}
	wait.Wait()
	s.start()
	if c, err = s.dial(); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, w := range writers {
		w.verify(t, c)
	}
}
