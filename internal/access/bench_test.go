package access_test

import (
	"fmt"
	"testing"

	"portolan/internal/access"
	"portolan/internal/schema"
)

// BenchmarkSlots is the question of a search about each entry it finds: another entry each time.
func BenchmarkSlots(b *testing.B) {
	d := newDirectory(b)
	p := d.compile(b, true)
	e := p.Evaluator(d.subject(b, "postfix"))
	targets := []access.Target{d.target(b, "alice"), d.target(b, "bob"), d.target(b, "choir"), d.target(b, "mia")}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if !e.Slots(&targets[i&3]).Read.Has(0) {
			b.Fatal("denied")
		}
		i++
	}
}

// BenchmarkSearchOfOne is all that a search of one entry asks: who, may the base be known, what of it may be read.
func BenchmarkSearchOfOne(b *testing.B) {
	d := newDirectory(b)
	p := d.compile(b, true)
	s := d.subject(b, "postfix")
	none := func(string) bool { return false }
	bob := d.target(b, "bob")
	b.ReportAllocs()
	for b.Loop() {
		s.InGroup = none
		e := p.Evaluator(s)
		if e.EntryRights(&bob)&access.Disclose == 0 || !e.Slots(&bob).Read.Has(0) {
			b.Fatal("denied")
		}
	}
}

// BenchmarkAttrRights is the question about a virtual attribute.
func BenchmarkAttrRights(b *testing.B) {
	d := newDirectory(b)
	p := d.compile(b, true)
	e := p.Evaluator(d.subject(b, "postfix"))
	bob, mia := d.target(b, "bob"), d.target(b, "mia")
	memberOf := schema.Description{Type: d.schema.Known.MemberOf}
	b.ReportAllocs()
	for b.Loop() {
		if e.AttrRights(&bob, memberOf)&e.AttrRights(&mia, memberOf)&access.Read == 0 {
			b.Fatal("denied")
		}
	}
}

// BenchmarkManyRules has a hundred rules with filters and names, of which most are about others.
func BenchmarkManyRules(b *testing.B) {
	d := newDirectory(b)
	var rules []access.Rule
	for i := range 100 {
		rules = append(rules, access.Rule{Allow: list("read"), Who: list(fmt.Sprintf("group:cn=g%d,%s", i, groups)), On: list("subtree:" + people), Filter: "(departmentNumber=sales)"})
	}
	p := d.compile(b, true, rules...)
	s := d.subject(b, "postfix")
	s.InGroup = func(g string) bool { return g == "cn=g7,"+groups || g == "cn=g8,"+groups }
	targets := []access.Target{d.target(b, "alice"), d.target(b, "bob"), d.target(b, "choir"), d.target(b, "mia")}
	b.Run("evaluator", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			p.Evaluator(s)
		}
	})
	b.Run("slots", func(b *testing.B) {
		e := p.Evaluator(s)
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			e.Slots(&targets[i&3])
			i++
		}
	})
}

// TestSteadyStateAllocatesNothing holds the cost that a search pays for each entry.
func TestSteadyStateAllocatesNothing(t *testing.T) {
	d := newDirectory(t)
	p := d.compile(t, true,
		access.Rule{Allow: list("read"), Who: list("dnattr:manager", "self"), Filter: "(&(departmentNumber=sales)(cn=a*))"},
		access.Rule{Allow: list("add"), Who: list("users"), Attrs: list("member:self")})
	s := d.subject(t, "postfix")
	none := func(string) bool { return false }
	s.InGroup = none
	targets := []access.Target{d.target(t, "alice"), d.target(t, "bob"), d.target(t, "choir"), d.target(t, "mia")}
	mail := schema.Description{Type: d.schema.Known.Mail}
	member := schema.Description{Type: d.schema.Known.Member}
	value := []byte(s.Name.DN)
	run := func() {
		e := p.Evaluator(s)
		for i := range targets {
			e.EntryRights(&targets[i])
			e.Slots(&targets[i])
			e.AttrRights(&targets[i], mail)
			e.Value(&targets[i], member, value, access.Add)
		}
	}
	run()
	// The subject's name is copied once for each evaluator that compares it.
	if n := testing.AllocsPerRun(100, run); n > 1 {
		t.Errorf("%v allocations", n)
	}
}
