package chaos

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	goldap "github.com/go-ldap/ldap/v3"
	"github.com/google/go-cmp/cmp"
)

// model is what one writer believes of the entries that are its own. Nobody else changes them, so after a restart the
// directory shows exactly this, or exactly what the one operation without an answer makes of it.
type model struct {
	people map[string]human // by uid
	team   string           // ou of the writer's part of the tree
	rival  string           // uid of the entry that competes for a unique value with other writers'; "" where there is none
}

type human struct {
	title            string
	inTeam           bool // beneath the team's entry, which is renamed
	inOwn, inShared  bool // member of the writer's group, of the group that all writers change
	managedBy        string
	descriptionOctet int // length of the description
}

func (m model) clone() model {
	m.people = maps.Clone(m.people)
	return m
}

const (
	peopleDN = "ou=people," + suffix
	sharedDN = "cn=shared,ou=groups," + suffix
	keeperDN = "uid=keeper," + peopleDN // is always a member of the shared group
	nobodyDN = "cn=nobody"              // stands in for a last member
)

func (m model) teamDN() string { return "ou=" + m.team + "," + peopleDN }

func (m model) dn(uid string) string {
	if m.people[uid].inTeam {
		return "uid=" + uid + "," + m.teamDN()
	}
	return "uid=" + uid + "," + peopleDN
}

// lines returns the belief as facts, sorted.
func (m model) lines(number int) []string {
	out := []string{"team " + m.teamDN()}
	if m.rival != "" {
		out = append(out, "rival "+m.rival)
	}
	members := 0
	for uid, h := range m.people {
		dn := m.dn(uid)
		out = append(out, fmt.Sprintf("person %s title=%s description=%d", dn, h.title, h.descriptionOctet))
		if h.inOwn {
			members++
			out = append(out, "member "+dn)
		}
		if h.inShared {
			out = append(out, "shared "+dn)
		}
		if h.managedBy != "" {
			out = append(out, "manager of "+dn+" "+m.dn(h.managedBy))
		}
	}
	if members == 0 {
		out = append(out, "member "+nobodyDN)
	}
	slices.Sort(out)
	return out
}

// verdict is what an answer says about the operation.
type verdict int

const (
	done    verdict = iota
	refused         // nothing was changed
	unknown         // done or not
	wrong           // an answer that cannot be right
)

// judge says what the error of an operation means. Beside what a healthy server may answer, each test has answers of its own.
func judge(err error, special func(code uint16, text string) verdict) verdict {
	var answer *goldap.Error
	switch {
	case err == nil:
		return done
	case !errors.As(err, &answer), answer.ResultCode >= goldap.ErrorNetwork:
		return unknown // codes from 200 on are the client library's own: there was no answer
	case special != nil:
		return special(answer.ResultCode, err.Error())
	}
	return wrong
}

// writer changes entries of its own, one operation at a time.
type writer struct {
	number  int
	random  *rand.Rand
	now     model
	pending *model // what the operation without an answer makes of it
	next    int
	failure error
}

func (w *writer) groupDN() string { return fmt.Sprintf("cn=w%d,ou=groups,%s", w.number, suffix) }
func (w *writer) rivalDN() string { return fmt.Sprintf("cn=w%d,ou=services,%s", w.number, suffix) }
func (w *writer) name() string    { w.next++; return fmt.Sprintf("w%d-%d", w.number, w.next) }

// pick returns somebody, the same for the same seed.
func (w *writer) pick() string {
	all := slices.Sorted(maps.Keys(w.now.people))
	return all[w.random.IntN(len(all))]
}

// rivals is how many unique values all writers compete for.
const rivals = 6

// plan draws the next operation: what makes it, and what is true once it is done.
func (w *writer) plan(c *goldap.Conn, octets int) (op func() error, after model) {
	after = w.now.clone()
	few := len(w.now.people)
	switch n := w.random.IntN(20); {
	case few == 0 || n < 5 && few < 40:
		uid := w.name()
		h := human{title: "new", inTeam: n == 0, descriptionOctet: 1 + w.random.IntN(octets)}
		after.people[uid] = h
		return func() error {
			return c.Add(inetOrgPerson(after.dn(uid), uid, h.title, strings.Repeat("d", h.descriptionOctet)))
		}, after
	case n < 8:
		uid := w.pick()
		h := after.people[uid]
		h.title, h.descriptionOctet = fmt.Sprint(w.random.IntN(1<<30)), 1+w.random.IntN(octets)
		m := goldap.NewModifyRequest(w.now.dn(uid), nil)
		m.Replace("title", []string{h.title})
		m.Replace("description", []string{strings.Repeat("d", h.descriptionOctet)})
		after.people[uid] = h
		return func() error { return c.Modify(m) }, after
	case n < 11:
		return w.planMembership(c, after)
	case n < 12:
		uid, boss := w.pick(), w.pick()
		h := after.people[uid]
		h.managedBy = boss
		after.people[uid] = h
		m := goldap.NewModifyRequest(w.now.dn(uid), nil)
		m.Replace("manager", []string{w.now.dn(boss)})
		return func() error { return c.Modify(m) }, after
	case n < 15:
		return w.planRename(c, after)
	case n < 16:
		old := w.now.teamDN()
		after.team = w.name()
		return func() error { return c.ModifyDN(goldap.NewModifyDNRequest(old, "ou="+after.team, true, "")) }, after
	case n < 18:
		return w.planRival(c, after)
	}
	uid := w.pick()
	dn := w.now.dn(uid)
	delete(after.people, uid)
	for other, h := range after.people {
		if h.managedBy == uid {
			h.managedBy = ""
			after.people[other] = h
		}
	}
	return func() error { return c.Del(goldap.NewDelRequest(dn, nil)) }, after
}

// planMembership lets somebody join or leave a group.
func (w *writer) planMembership(c *goldap.Conn, after model) (func() error, model) {
	uid := w.pick()
	h := after.people[uid]
	own := w.random.IntN(2) == 0
	group, in := sharedDN, &h.inShared
	if own {
		group, in = w.groupDN(), &h.inOwn
	}
	m := goldap.NewModifyRequest(group, nil)
	members := 0
	for _, h := range w.now.people {
		if h.inOwn {
			members++
		}
	}
	switch {
	case !*in:
		m.Add("member", []string{w.now.dn(uid)})
	case own && members == 1: // the class demands one
		m.Replace("member", []string{nobodyDN})
	default:
		m.Delete("member", []string{w.now.dn(uid)})
	}
	*in = !*in
	after.people[uid] = h
	return func() error { return c.Modify(m) }, after
}

// planRename gives somebody another uid and, every other time, another place.
func (w *writer) planRename(c *goldap.Conn, after model) (func() error, model) {
	uid, to := w.pick(), w.name()
	h := after.people[uid]
	above := ""
	if w.random.IntN(2) == 0 {
		h.inTeam = !h.inTeam
		above = peopleDN
		if h.inTeam {
			above = w.now.teamDN()
		}
	}
	delete(after.people, uid)
	after.people[to] = h
	for other, h := range after.people {
		if h.managedBy == uid {
			h.managedBy = to
			after.people[other] = h
		}
	}
	old := w.now.dn(uid)
	return func() error { return c.ModifyDN(goldap.NewModifyDNRequest(old, "uid="+to, true, above)) }, after
}

// planRival takes, changes or gives up a uid that other writers want too.
func (w *writer) planRival(c *goldap.Conn, after model) (func() error, model) {
	uid := fmt.Sprintf("rival%d", w.random.IntN(rivals))
	switch {
	case w.now.rival == "":
		after.rival = uid
		return func() error { return c.Add(inetOrgPerson(w.rivalDN(), uid, "rival", "")) }, after
	case w.random.IntN(2) == 0:
		after.rival = ""
		return func() error { return c.Del(goldap.NewDelRequest(w.rivalDN(), nil)) }, after
	}
	after.rival = uid
	m := goldap.NewModifyRequest(w.rivalDN(), nil)
	m.Replace("uid", []string{uid})
	return func() error { return c.Modify(m) }, after
}

func inetOrgPerson(dn, uid, title, description string) *goldap.AddRequest {
	add := goldap.NewAddRequest(dn, nil)
	add.Attribute("objectClass", []string{"inetOrgPerson", "posixAccount"}) // uidNumber comes from the overlay
	add.Attribute("gidNumber", []string{"1"})
	add.Attribute("homeDirectory", []string{"/"})
	add.Attribute("uid", []string{uid})
	add.Attribute("sn", []string{"S"})
	add.Attribute("title", []string{title})
	if description != "" {
		add.Attribute("description", []string{description})
	}
	first, _, _ := strings.Cut(dn, ",")
	if name, ok := strings.CutPrefix(first, "cn="); ok {
		uid = name
	}
	add.Attribute("cn", []string{uid})
	return add
}

// crew is all writers together.
type crew struct {
	t       *testing.T
	s       *site
	writers []*writer
	octets  int // largest description
	special func(code uint16, text string) verdict
	acked   atomic.Int64
	refused atomic.Int64
	stop    atomic.Bool
	working sync.WaitGroup
	idle    chan struct{} // closed when nobody works any more
}

// newCrew makes what the writers need in the directory.
func newCrew(t *testing.T, s *site, n int, seed uint64) *crew {
	t.Helper()
	t.Logf("seed %d", seed)
	c := s.mustDial()
	defer c.Close()
	x := &crew{t: t, s: s, octets: 64}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	group := func(dn, cn, member string) {
		add := goldap.NewAddRequest(dn, nil)
		add.Attribute("objectClass", []string{"groupOfNames"})
		add.Attribute("cn", []string{cn})
		add.Attribute("member", []string{member})
		must(c.Add(add))
	}
	must(c.Add(inetOrgPerson(keeperDN, "keeper", "keeper", "")))
	group(sharedDN, "shared", keeperDN)
	for i := range n {
		w := &writer{number: i, random: rand.New(rand.NewPCG(seed, uint64(i)+2)), now: model{people: map[string]human{}}}
		w.now.team = w.name()
		team := goldap.NewAddRequest(w.now.teamDN(), nil)
		team.Attribute("objectClass", []string{"organizationalUnit"})
		team.Attribute("ou", []string{w.now.team})
		must(c.Add(team))
		group(w.groupDN(), fmt.Sprintf("w%d", i), nobodyDN)
		x.writers = append(x.writers, w)
	}
	return x
}

// begin sets everybody to work, each on a connection that dial makes.
func (x *crew) begin(dial func() (*goldap.Conn, error)) {
	x.stop.Store(false)
	x.idle = make(chan struct{})
	for _, w := range x.writers {
		x.working.Go(func() {
			c, err := dial()
			if err != nil {
				return // killed already
			}
			defer c.Close()
			for !x.stop.Load() && x.step(w, c) {
			}
		})
	}
	idle := x.idle
	go func() { x.working.Wait(); close(idle) }()
}

// step does one operation; false ends the writer.
func (x *crew) step(w *writer, c *goldap.Conn) bool {
	op, after := w.plan(c, x.octets)
	err := op()
	switch judge(err, x.special) {
	case done:
		w.now = after
		x.acked.Add(1)
		return true
	case refused:
		x.refused.Add(1)
		return true
	case unknown:
		w.pending = &after
		return false
	}
	if after.rival != w.now.rival && goldap.IsErrorWithCode(err, goldap.LDAPResultConstraintViolation) {
		return true // another writer has the value
	}
	w.failure = fmt.Errorf("writer %d: %w", w.number, err)
	return false
}

// await waits until so many more operations were acknowledged (or refused), or nobody works any more.
func (x *crew) await(counter *atomic.Int64, more int64) {
	x.t.Helper()
	target, begun := counter.Load()+more, time.Now()
	for counter.Load() < target {
		select {
		case <-x.idle:
			return
		case <-time.After(time.Millisecond):
		}
		if time.Since(begun) > patience {
			x.t.Fatalf("only %d of %d operations in %v", counter.Load()-target+more, more, patience)
		}
	}
}

// finish waits until nobody works, and reports answers that cannot be right.
func (x *crew) finish() {
	x.t.Helper()
	x.stop.Store(true)
	<-x.idle
	for _, w := range x.writers {
		if w.failure != nil {
			x.t.Error(w.failure)
			w.failure = nil
		}
	}
}

// verify compares the directory with what the writers were told, and takes over what it shows of operations that had no
// answer. It reports everything else that should not be there.
func (x *crew) verify() {
	x.t.Helper()
	c := x.s.mustDial()
	defer c.Close()
	facts := x.facts(c)
	for _, w := range x.writers {
		got := facts[w.number]
		slices.Sort(got)
		if w.pending != nil && slices.Equal(got, w.pending.lines(w.number)) {
			w.now = *w.pending
		}
		w.pending = nil
		if diff := cmp.Diff(w.now.lines(w.number), got); diff != "" {
			x.t.Errorf("writer %d: what was acknowledged (-) and what is there (+):\n%s", w.number, diff)
		}
	}
}

// facts reads the directory: lines by number of the writer that they belong to.
func (x *crew) facts(c *goldap.Conn) map[int][]string {
	x.t.Helper()
	out := map[int][]string{}
	add := func(name, line string) {
		var number int
		if _, err := fmt.Sscanf(name, "w%d", &number); err != nil || number >= len(x.writers) {
			x.t.Errorf("nobody made this: %s", line)
		}
		out[number] = append(out[number], line)
	}
	first := func(dn string) string {
		rdn, _, _ := strings.Cut(dn, ",")
		_, value, _ := strings.Cut(rdn, "=")
		return value
	}
	uids, there := map[string]string{}, map[string]bool{nobodyDN: true}
	var named []string
	r, err := c.Search(goldap.NewSearchRequest(suffix, goldap.ScopeWholeSubtree, goldap.NeverDerefAliases, 0, 0, false,
		"(|(ou=w*)(uid=*)(cn=w*)(cn=shared))", []string{"uid", "title", "description", "manager", "member"}, nil))
	if err != nil {
		x.t.Fatal(err)
	}
	for _, e := range r.Entries {
		there[e.DN] = true
		uid := e.GetAttributeValue("uid")
		if other, taken := uids[uid]; uid != "" && taken {
			x.t.Errorf("%s and %s have one uid", e.DN, other)
		}
		uids[uid] = e.DN
		members := e.GetAttributeValues("member")
		named = append(named, members...)
		switch {
		case e.DN == keeperDN:
		case e.DN == sharedDN:
			for _, m := range members {
				if m != keeperDN {
					add(first(m), "shared "+m)
				}
			}
		case strings.HasPrefix(e.DN, "ou="):
			add(first(e.DN), "team "+e.DN)
		case strings.HasSuffix(e.DN, ",ou=services,"+suffix):
			add(first(e.DN), "rival "+uid)
		case strings.HasPrefix(e.DN, "cn="):
			for _, m := range members {
				add(first(e.DN), "member "+m)
			}
		default:
			add(first(e.DN), fmt.Sprintf("person %s title=%s description=%d", e.DN, e.GetAttributeValue("title"), len(e.GetAttributeValue("description"))))
			if first(e.DN) != uid {
				x.t.Errorf("%s has the uid %q", e.DN, uid)
			}
			for _, m := range e.GetAttributeValues("manager") {
				named = append(named, m)
				add(uid, "manager of "+e.DN+" "+m)
			}
		}
	}
	for _, dn := range named {
		if !there[dn] {
			x.t.Errorf("%s is named and does not exist", dn)
		}
	}
	return out
}
