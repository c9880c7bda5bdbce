package access

import (
	"sync"
	"testing"

	"portolan/internal/dit"
	"portolan/internal/schema"
)

// TestMemoryIsBounded verifies that neither shapes, nor combinations of rules, nor kinds of subjects grow without end,
// and that decisions stay right when what was remembered is dropped.
func TestMemoryIsBounded(t *testing.T) {
	s := schema.Default()
	var rules []Rule
	for range 16 {
		rules = append(rules, Rule{Allow: []string{"read"}, Who: []string{"group:cn=a"}, Filter: "(cn=x)"})
	}
	for i := range rules {
		rules[i].Who[0] += string(rune('a' + i))
	}
	p, err := Compile(rules, Options{Schema: s})
	if err != nil {
		t.Fatal(err)
	}
	set := newRuleSet(p.rules)
	cn := []schema.Description{{Type: s.Known.CN}}
	for range maxRemembered + 10 {
		if !p.slots(set, &dit.Shape{Slots: cn}).Read.Has(0) {
			t.Fatal("denied")
		}
	}
	if n := p.remembered.Load(); n > maxRemembered || n == 0 {
		t.Errorf("%d shapes are remembered", n)
	}
	for kind := range uint64(maxClasses + 100) {
		p.Evaluator(&Subject{Name: dit.Name{Norm: "cn=x"}, InGroup: func(g string) bool { return kind>>(g[len(g)-1]-'a')&1 != 0 }})
	}
	if n := len(p.classes); n > maxClasses || n == 0 {
		t.Errorf("%d kinds of subjects are remembered", n)
	}
	c := p.class(&Subject{InGroup: func(string) bool { return true }})
	for mask := range uint64(maxSets + 100) {
		rs := c.set(Mask{mask})
		if got := rs.entry&Read != 0; got != (mask != 0) {
			t.Fatalf("the rules %b give %s", mask, rs.entry)
		}
	}
	if n := len(*c.sets.Load()); n > maxSets || n == 0 {
		t.Errorf("%d rule sets are remembered", n)
	}
}

// TestConcurrentUse has subjects of many goroutines share one policy; the race detector says the rest.
func TestConcurrentUse(t *testing.T) {
	s := schema.Default()
	p, err := Compile([]Rule{
		{Allow: []string{"read"}, Who: []string{"users"}, On: []string{"subtree:dc=a"}},
		{Deny: []string{"read"}, Who: []string{"group:cn=g"}, Attrs: []string{"cn"}},
	}, Options{Schema: s})
	if err != nil {
		t.Fatal(err)
	}
	shapes := dit.NewShapes(s)
	draft := dit.NewDraft()
	draft.Set(s.Known.CN, []byte("x"))
	draft.Set(s.Known.SN, []byte("x"))
	entry, _, err := draft.Seal(shapes, dit.SealOptions{Trusted: true})
	if err != nil {
		t.Fatal(err)
	}
	cn := entry.Shape().FindType(s.Known.CN)
	var wg sync.WaitGroup
	for member := range 8 {
		wg.Go(func() {
			target := Target{Entry: entry, Name: dit.Name{Norm: "cn=x,dc=a"}}
			for i := range 200 {
				subject := &Subject{Name: dit.Name{Norm: "cn=y"}, InGroup: func(string) bool { return member&1 != 0 }}
				if got := p.Evaluator(subject).Slots(&target).Read.Has(cn); got != (member&1 == 0) {
					t.Errorf("member %d may read: %v", member, got)
				}
				if i == 100 {
					p.forget()
				}
			}
		})
	}
	wg.Wait()
}
