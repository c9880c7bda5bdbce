package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/RoaringBitmap/roaring/v2/roaring64"
	"pgregory.net/rapid"

	"portolan/internal/dit"
	"portolan/internal/kv/memkv"
	"portolan/internal/schema"
	"portolan/ldap"
)

// plannerIndexes has every kind of index, an index on a supertype, and types without any.
var plannerIndexes = []IndexSpec{
	{"objectClass", IndexEquality}, {"uid", IndexEquality}, {"cn", IndexEquality}, {"cn", IndexSubstring},
	{"name", IndexEquality}, {"sn", IndexPresence}, {"mail", IndexSubstring}, {"uidNumber", IndexOrdering},
	{"uidNumber", IndexEquality}, {"member", IndexEquality}, {"createTimestamp", IndexOrdering}, {"orderedText", IndexOrdering},
	{"orderedText", IndexSubstring},
}

// plannerSchema has a type with every kind of rule.
func plannerSchema(t interface{ Fatal(...any) }) *schema.Schema {
	s, err := schema.Default().Extend(schema.File{Name: "test.schema", Text: []byte("attributetype ( 2.25.99.2 NAME 'orderedText'" +
		" EQUALITY caseIgnoreMatch ORDERING caseIgnoreOrderingMatch SUBSTR caseIgnoreSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )")})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var plannerTypes = []string{"cn", "cn;lang-de", "sn", "uid", "mail", "orderedText", "description", "uidNumber", "member", "givenName", "createTimestamp", "ou"}

func drawAttrValue(t *rapid.T, name string) string {
	word := rapid.StringOfN(rapid.SampledFrom([]rune("abAß ")), 1, 6, -1).Filter(func(s string) bool { return strings.TrimSpace(s) != "" })
	switch name {
	case "uidNumber":
		return fmt.Sprint(rapid.IntRange(-20, 300).Draw(t, "number"))
	case "member":
		return fmt.Sprintf("uid=%d,%s", rapid.IntRange(0, 30).Draw(t, "member"), testSuffix)
	case "createTimestamp":
		return fmt.Sprintf("202601%02d120000Z", rapid.IntRange(1, 28).Draw(t, "day"))
	case "mail":
		return rapid.StringOfN(rapid.SampledFrom([]rune("ab@.")), 1, 6, -1).Draw(t, "mail")
	case "orderedText":
		if rapid.IntRange(0, 9).Draw(t, "long") == 0 {
			return strings.Repeat("t", rapid.SampledFrom([]int{cutPrefix - 1, cutPrefix, maxIndexKey, maxIndexKey + 1, maxGramKey, maxGramKey + 9}).Draw(t, "length")) + word.Draw(t, "end")
		}
	}
	return word.Draw(t, "word")
}

func drawAttr(t *rapid.T) attr {
	name := rapid.SampledFrom(plannerTypes).Draw(t, "type")
	n := 3
	switch name {
	case "uidNumber", "createTimestamp":
		n = 1
	case "member":
		n = 14 // some are above the threshold of large attributes
	}
	a := attr{name: name}
	seen := make(map[string]bool)
	for range rapid.IntRange(0, n).Draw(t, "values") {
		v := drawAttrValue(t, name)
		// Values that are equal to the matching rule must not come twice.
		key := strings.ToLower(strings.Join(strings.Fields(strings.ReplaceAll(v, "ß", "ss")), " "))
		if !seen[key] {
			seen[key] = true
			a.values = append(a.values, v)
		}
	}
	return a
}

// drawFilter makes filters in which every kind of item, negation and nesting occurs.
func drawFilter(t *rapid.T, depth int) ldap.Filter {
	kind := rapid.IntRange(0, 11).Draw(t, "filter")
	if depth == 0 {
		kind = 3 + kind%9
	}
	name := rapid.SampledFrom(append([]string{"nosuchtype", "objectClass", "name", "createTimestamp;lang-de"}, plannerTypes...)).Draw(t, "filter type")
	value := func() string {
		switch name {
		case "objectClass":
			return rapid.SampledFrom([]string{"person", "top", "inetOrgPerson", "domain", "nosuchclass"}).Draw(t, "class")
		case "name", "nosuchtype":
			return drawAttrValue(t, "cn")
		case "createTimestamp;lang-de":
			return drawAttrValue(t, "createTimestamp")
		}
		return drawAttrValue(t, name)
	}
	switch kind {
	case 0, 1:
		var children []ldap.Filter
		for range rapid.IntRange(0, 4).Draw(t, "children") {
			children = append(children, drawFilter(t, depth-1))
		}
		if kind == 0 {
			return ldap.And(children...)
		}
		return ldap.Or(children...)
	case 2:
		return ldap.Not(drawFilter(t, depth-1))
	case 3:
		return ldap.Present(name)
	case 4:
		return ldap.GreaterOrEqual(name, value())
	case 5:
		return ldap.LessOrEqual(name, value())
	case 6, 7:
		v := value()
		cut := func(label string) string {
			lo := rapid.IntRange(0, len(v)).Draw(t, label)
			return strings.ToValidUTF8(v[lo:rapid.IntRange(lo, len(v)).Draw(t, label)], "")
		}
		var parts [3]string
		for i := range parts {
			if rapid.Bool().Draw(t, "piece") {
				parts[i] = cut("cut")
			}
		}
		return ldap.Substrings(name, parts[0], []string{parts[1]}, parts[2])
	case 8:
		rule := rapid.SampledFrom([]string{"caseIgnoreMatch", "caseExactMatch", "integerMatch", "caseIgnoreOrderingMatch", "integerOrderingMatch", "nosuchmatch", ""}).Draw(t, "rule")
		return ldap.Extensible(name, rapid.Bool().Draw(t, "dn"), rule, value())
	case 9:
		return ldap.Approx(name, value())
	}
	return ldap.Eq(name, value())
}

// plannerStore is a store with a few units and entries beneath them.
type plannerStore struct {
	*Store
	units []dit.ID
	ids   []dit.ID
}

func newPlannerStore(t *rapid.T) *plannerStore {
	o := testOptions()
	o.Indexes, o.Schema = plannerIndexes, plannerSchema(t)
	s, err := Open(memkv.New(Merger()), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	p := &plannerStore{Store: s}
	p.update(t, func(tx *Tx) error {
		for _, dn := range []string{testSuffix, "ou=a," + testSuffix, "ou=b," + testSuffix, "ou=c,ou=b," + testSuffix} {
			e, err := addEntry(tx, dn, unit)
			if err != nil {
				return err
			}
			p.units = append(p.units, e.ID)
		}
		return nil
	})
	return p
}

func (p *plannerStore) update(t *rapid.T, fn func(*Tx) error) {
	if _, err := p.Update(context.Background(), Meta{}, fn); err != nil {
		t.Fatal(err)
	}
}

// write makes one random change.
func (p *plannerStore) write(t *rapid.T, n int) {
	units := []string{testSuffix, "ou=a," + testSuffix, "ou=b," + testSuffix, "ou=c,ou=b," + testSuffix}
	how := rapid.IntRange(0, 5).Draw(t, "write")
	if len(p.ids) == 0 {
		how = 0
	}
	var attrs []attr
	for range rapid.IntRange(1, 4).Draw(t, "attributes") {
		a := drawAttr(t)
		if !slices.ContainsFunc(attrs, func(b attr) bool { return b.name == a.name }) {
			attrs = append(attrs, a)
		}
	}
	unit := rapid.IntRange(0, len(units)-1).Draw(t, "unit")
	at := 0
	if len(p.ids) > 0 {
		at = rapid.IntRange(0, len(p.ids)-1).Draw(t, "entry")
	}
	p.update(t, func(tx *Tx) error {
		if how <= 1 {
			class := attr{"objectClass", []string{"top", "person", "inetOrgPerson"}}
			e, err := addEntry(tx, fmt.Sprintf("employeeNumber=%d,%s", n, units[unit]), append([]attr{class}, attrs...)...)
			if err == nil {
				p.ids = append(p.ids, e.ID)
			}
			return err
		}
		e, err := tx.Get(p.ids[at])
		if err != nil {
			return err
		}
		switch how {
		case 2:
			p.ids = slices.Delete(p.ids, at, at+1)
			_, err = tx.Remove(e)
		case 3:
			_, err = moveEntry(tx, e, p.units[unit], e.RDN)
		default:
			d := e.Edit(tx)
			d.CSN = tx.NextCSN()
			for _, a := range attrs {
				if err := setAttr(tx.Schema(), d, a); err != nil {
					return err
				}
			}
			_, err = sealAndPut(tx, d)
		}
		return err
	})
}

// searcher is what View and Tx have in common here.
type searcher interface {
	source
	Plan(PlanRequest) (*Candidates, error)
}

// matching evaluates the filter on every entry.
func matching(t *rapid.T, r searcher, req PlanRequest) []dit.ID {
	all, err := r.Plan(PlanRequest{Scope: ldap.ScopeSub, Filter: compiled(r.Schema(), ldap.And())})
	if err != nil {
		t.Fatal(err)
	}
	defer all.Close()
	c := dit.Candidate{Schema: r.Schema(), Large: r.(dit.LargeSource)}
	var ids []dit.ID
	for {
		e, err := all.Next()
		if err != nil {
			t.Fatal(err)
		}
		if e == nil {
			return ids
		}
		var in bool
		switch req.Scope {
		case ldap.ScopeBase:
			in = e.ID == req.Base
		case ldap.ScopeOne:
			in = e.Parent == req.Base
		default:
			if in, err = r.Under(e, req.Base); err != nil {
				t.Fatal(err)
			}
			in = in && (req.Scope == ldap.ScopeSub || e.ID != req.Base)
		}
		c.Entry = e
		if truth, err := req.Filter.Eval(&c); err != nil {
			t.Fatal(err)
		} else if in && truth == dit.True {
			ids = append(ids, e.ID)
		}
	}
}

func compiled(s *schema.Schema, f ldap.Filter) *dit.Filter {
	out := new(dit.Filter)
	out.Compile(s, &f)
	return out
}

// candidates goes through a plan, by pages of a random length.
func candidates(t *rapid.T, r searcher, req PlanRequest) ([]dit.ID, dit.Confidence, string) {
	var ids []dit.ID
	page := rapid.SampledFrom([]int{1, 7, 1 << 30}).Draw(t, "page")
	for {
		c, err := r.Plan(req)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for ; n < page; n++ {
			e, err := c.Next()
			if err != nil {
				t.Fatal(err)
			}
			if e == nil {
				break
			}
			if len(ids) > 0 && e.ID <= ids[len(ids)-1] {
				t.Fatalf("candidate %d comes after %d", e.ID, ids[len(ids)-1])
			}
			ids = append(ids, e.ID)
			req.After = c.Last()
		}
		conf, explain := c.Confidence, c.Explain()
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if n < page {
			return ids, conf, explain
		}
	}
}

func filterText(f ldap.Filter) string { return f.String() }

// Candidates hold all that match, and nothing else where the plan says Exact; in a view and in a transaction, and after
// random writes, which leave the indexes as if they had been made of the entries anew.
func TestPlanAgainstBruteForce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := newPlannerStore(t)
		for n := range rapid.IntRange(5, 60).Draw(t, "writes") {
			p.write(t, n)
		}
		ask := func(r searcher) {
			filter := drawFilter(t, 3)
			req := PlanRequest{
				Filter:       compiled(r.Schema(), filter),
				Scope:        rapid.SampledFrom([]ldap.Scope{ldap.ScopeSub, ldap.ScopeSub, ldap.ScopeOne, ldap.ScopeBase, ldap.ScopeSubordinate}).Draw(t, "scope"),
				Base:         rapid.SampledFrom(append([]dit.ID{0}, p.units...)).Draw(t, "base"),
				Unrestricted: rapid.Bool().Draw(t, "unrestricted"),
			}
			want := matching(t, r, req)
			got, conf, explain := candidates(t, r, req)
			for _, id := range want {
				if !slices.Contains(got, id) {
					t.Fatalf("%s scope %v base %d: entry %d matches and is no candidate: %s", filterText(filter), req.Scope, req.Base, id, explain)
				}
			}
			if conf == dit.Exact && len(got) != len(want) {
				t.Fatalf("%s scope %v base %d: %v instead of exactly %v: %s", filterText(filter), req.Scope, req.Base, got, want, explain)
			}
		}
		v := p.View()
		defer v.Close()
		for range 20 {
			ask(v)
		}
		p.update(t, func(tx *Tx) error {
			ask(tx)
			return nil
		})
		_, err := p.Check(context.Background(), func(f Finding) { t.Errorf("%s: %s", f.Where, f.What) })
		if err != nil {
			t.Fatal(err)
		}
	})
}

// planStoreOf fills a store with n persons under ou=many, of which every tenth has title boss and all l Here.
func planStoreOf(t testing.TB, n int) *Store {
	o := testOptions()
	o.Indexes = append([]IndexSpec{{"l", IndexEquality}, {"title", IndexEquality}}, plannerIndexes...)
	o.CacheBytes, o.Schema = 64<<20, plannerSchema(t)
	s := openStore(t, memkv.New(Merger()), o)
	addAll(t, s, testSuffix, "ou=few,"+testSuffix, "uid=alone,ou=few,"+testSuffix)
	update(t, s, func(tx *Tx) error {
		if _, err := addEntry(tx, "ou=many,"+testSuffix, unit); err != nil {
			return err
		}
		for i := range n {
			attrs := append(person(fmt.Sprintf("u%d", i)), attr{"l", []string{"Here"}}, attr{"mail", []string{fmt.Sprintf("user%d@example.com", i)}},
				attr{"uidNumber", []string{fmt.Sprint(i)}})
			if i%10 == 0 {
				attrs = append(attrs, attr{"title", []string{"boss"}})
			}
			if _, err := addEntry(tx, fmt.Sprintf("uid=u%d,ou=many,%s", i, testSuffix), attrs...); err != nil {
				return err
			}
		}
		return nil
	})
	return s
}

func TestPlanChoices(t *testing.T) {
	const n = 3000
	s := planStoreOf(t, n)
	many, few := mustFind(t, s, "ou=many,"+testSuffix).ID, mustFind(t, s, "ou=few,"+testSuffix).ID
	everywhere := PlanRequest{Scope: ldap.ScopeSub}
	tests := []struct {
		filter   string
		req      PlanRequest
		explain  string
		examined int
		err      error
	}{
		{"(uid=u7)", everywhere, "eq(uid)=1", 1, nil},
		{"(&(objectClass=person)(uid=u7))", everywhere, "and(eq(uid)=1)", 1, nil},
		// The long postings are put off until the short one is known, wherever it stands.
		{"(&(l=Here)(objectClass=person)(uid=u7))", everywhere, "and(eq(uid)=1)", 1, nil},
		{"(&(objectClass=person)(l=Here)(title=boss))", everywhere, "and(eq(l)=3000 eq(title)=300 eq(objectClass)=300)", 300, nil},
		{"(&(l=Here)(mail=user29*))", everywhere, "and(sub(mail)~111 eq(l)=111)", 111, nil},
		{"(&(l=Here)(!(uid=u7)))", everywhere, "and(eq(l)=3000 unindexed(uid))", 3000, nil},
		{"(&(l=Here)(!(uid=u7)))", PlanRequest{Scope: ldap.ScopeSub, Unrestricted: true}, "and(eq(l)=3000 not(eq(uid)=1))", 2999, nil},
		{"(&(nosuch=x)(l=Here))", everywhere, "and(undefined=0)", 0, nil},
		{"(!(nosuch=x))", everywhere, "undefined=0", 0, nil},
		{"(|(uid=u1)(nosuch=x)(uid=u2))", everywhere, "or(eq(uid)=1 undefined=0 eq(uid)=1)", 2, nil},
		{"(mail=user29*)", everywhere, "sub(mail)~111", 111, nil},
		{"(mail=*9@example.com)", everywhere, "sub(mail)~300", 300, nil},
		{"(uidNumber>=2990)", everywhere, "range(uidNumber)=10", 10, nil},
		{"(&(uidNumber>=2990)(uid=u7))", everywhere, "and(eq(uid)=1)", 1, nil},
		{"(l=Here)", PlanRequest{Scope: ldap.ScopeSub, Base: few}, "eq(l)=3000 subtree=0", 0, nil},
		{"(description=x)", PlanRequest{Scope: ldap.ScopeSub, Base: few}, "unindexed(description) subtree=2", 2, nil},
		{"(description=x)", PlanRequest{Scope: ldap.ScopeSub, Base: many}, "unindexed(description) scan=3004", 3004, nil},
		{"(description=x)", PlanRequest{Scope: ldap.ScopeSub, Base: many, MaxExamined: 3500}, "unindexed(description) subtree=3001", 3001, nil},
		{"(description=x)", PlanRequest{Scope: ldap.ScopeOne, Base: few}, "unindexed(description) children=1", 1, nil},
		{"(l=Here)", PlanRequest{Scope: ldap.ScopeOne, Base: few}, "eq(l)=3000 children=0", 0, nil},
		// Refused at once: nothing is examined.
		{"(description=x)", PlanRequest{Scope: ldap.ScopeSub, MaxExamined: 3003}, "", 0, ErrExamined},
		{"(description=x)", PlanRequest{Scope: ldap.ScopeSub, Base: many, MaxExamined: 100}, "", 0, ErrExamined},
		{"(description=x)", PlanRequest{Scope: ldap.ScopeOne, Base: many, MaxExamined: 2999}, "", 0, ErrExamined},
		{"(description=x)", PlanRequest{Scope: ldap.ScopeOne, Base: many, MaxExamined: 3000}, "unindexed(description) children=3000", 3000, nil},
		// The budget is used up.
		{"(l=Here)", PlanRequest{Scope: ldap.ScopeSub, MaxExamined: 100}, "eq(l)=3000", 101, ErrExamined},
		{"(|(uid=u1)(description=x))", PlanRequest{Scope: ldap.ScopeSub, MaxExamined: 100}, "", 0, ErrExamined},
	}
	for _, test := range tests {
		t.Run(test.filter, func(t *testing.T) {
			v := s.View()
			defer v.Close()
			f, err := ldap.ParseFilter(test.filter)
			if err != nil {
				t.Fatal(err)
			}
			req := test.req
			req.Filter = compiled(v.Schema(), f)
			c, err := v.Plan(req)
			if err != nil {
				if !errors.Is(err, test.err) || test.explain != "" {
					t.Fatal(err)
				}
				return
			}
			defer c.Close()
			for e := (*dit.Entry)(nil); ; {
				if e, err = c.Next(); e == nil {
					break
				}
			}
			if !errors.Is(err, test.err) || c.Examined != test.examined || c.Explain() != test.explain {
				t.Errorf("%d examined, error %v, %s\nwant %d, %v, %s", c.Examined, err, c.Explain(), test.examined, test.err, test.explain)
			}
		})
	}
}

func TestPlanVirtual(t *testing.T) {
	s := planStoreOf(t, 500)
	v := s.View()
	defer v.Close()
	memberOf, title := s.Schema().Known.MemberOf, s.Schema().AttributeTypeString("title")
	set := roaring64.BitmapOf(7, 8, 9)
	virtual := func(attr *schema.AttributeType, set *dit.IDSet, conf dit.Confidence) func(*dit.Node) (*dit.IDSet, dit.Confidence, error) {
		return func(n *dit.Node) (*dit.IDSet, dit.Confidence, error) {
			if n.Desc.Type != attr {
				return nil, dit.Exact, nil
			}
			return set, conf, nil
		}
	}
	group := "(memberOf=cn=g," + testSuffix + ")"
	tests := []struct {
		filter  string
		virtual func(*dit.Node) (*dit.IDSet, dit.Confidence, error)
		count   int
		conf    dit.Confidence
	}{
		{group, virtual(memberOf, set, dit.Exact), 3, dit.Exact},
		{group, virtual(memberOf, set, dit.Superset), 3, dit.Superset},
		{group, virtual(memberOf, roaring64.New(), dit.Exact), 0, dit.Exact},
		{group, virtual(memberOf, nil, dit.All), 504, dit.All},
		{"(&(l=Here)" + group + ")", virtual(memberOf, set, dit.Exact), 3, dit.Superset},
		{"(|(uid=u400)" + group + ")", virtual(memberOf, set, dit.Exact), 4, dit.Exact},
		// Stored values of a computed attribute count too: fifty bosses, and three more.
		{"(title=boss)", virtual(title, roaring64.BitmapOf(1, 2, 3), dit.Exact), 53, dit.Exact},
		// Those of one that anybody may store and that is not indexed are not known.
		{"(description=x)", virtual(s.Schema().Known.Description, set, dit.Exact), 504, dit.All},
	}
	for _, test := range tests {
		t.Run(test.filter, func(t *testing.T) {
			f, err := ldap.ParseFilter(test.filter)
			if err != nil {
				t.Fatal(err)
			}
			c, err := v.Plan(PlanRequest{Scope: ldap.ScopeSub, Filter: compiled(v.Schema(), f), Virtual: test.virtual})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			n := 0
			for {
				e, err := c.Next()
				if err != nil {
					t.Fatal(err)
				}
				if e == nil {
					break
				}
				n++
			}
			if n != test.count || c.Confidence != test.conf {
				t.Errorf("%d candidates, %v, %s; want %d, %v", n, c.Confidence, c.Explain(), test.count, test.conf)
			}
		})
	}
}

func TestEqual(t *testing.T) {
	s := planStoreOf(t, 400)
	v := s.View()
	defer v.Close()
	for _, test := range []struct {
		attr, key string
		want      int
		err       error
	}{
		{"l", "here", 400, nil}, {"uid", "u3", 1, nil}, {"uid", "nobody", 0, nil}, {"name", "here", 400, nil},
		{"description", "x", 0, ErrNotIndexed}, {"sn", "s", 0, ErrNotIndexed}, {"uidNumber", "x", 0, nil},
	} {
		set, err := v.Equal(s.Schema().AttributeTypeString(test.attr), []byte(test.key))
		if err != test.err || (err == nil && int(set.GetCardinality()) != test.want) {
			t.Errorf("%s=%s: %v, %v", test.attr, test.key, set, err)
		}
	}
}

// A hostile filter costs little, whatever its form.
func TestPlanLargeFilters(t *testing.T) {
	s := planStoreOf(t, 300)
	v := s.View()
	defer v.Close()
	deep := ldap.Eq("uid", "u1")
	for i := range ldap.MaxFilterDepth - 2 {
		if i%2 == 0 {
			deep = ldap.Not(deep)
		} else {
			deep = ldap.And(deep, ldap.Eq("l", "here"))
		}
	}
	var wide []ldap.Filter
	for i := range ldap.MaxFilterNodes - 1 {
		wide = append(wide, ldap.Eq("uid", fmt.Sprintf("u%d", i)))
	}
	for name, f := range map[string]ldap.Filter{"deep": deep, "or": ldap.Or(wide...), "and": ldap.And(wide...), "not": ldap.Not(ldap.And(wide...))} {
		c, err := v.Plan(PlanRequest{Scope: ldap.ScopeSub, Filter: compiled(v.Schema(), f), Unrestricted: true})
		if err != nil {
			t.Fatal(name, err)
		}
		if len(c.Explain()) > 2*maxExplain {
			t.Errorf("%s: Explain has %d octets", name, len(c.Explain()))
		}
		if name == "or" && c.Estimate != 300 {
			t.Errorf("%s: %d candidates", name, c.Estimate)
		}
		c.Close()
	}
}

// What stands behind the part of a value that has grams is found as well, and only there.
func TestPlanSubstringOfLongValues(t *testing.T) {
	s := planStoreOf(t, 100)
	count := func(filter string) (int, string) {
		t.Helper()
		v := s.View()
		defer v.Close()
		f, err := ldap.ParseFilter(filter)
		if err != nil {
			t.Fatal(err)
		}
		c, err := v.Plan(PlanRequest{Scope: ldap.ScopeSub, Filter: compiled(v.Schema(), f)})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if c.Confidence != dit.Superset {
			t.Errorf("%s: %v", filter, c.Confidence)
		}
		return c.Estimate, c.Explain()
	}
	// The cache remembers that there is no such value, and must not for longer than that is so.
	if n, explain := count("(mail=*needle)"); n != 0 {
		t.Errorf("%d candidates before there is one: %s", n, explain)
	}
	long := strings.Repeat("x", maxGramKey) + " needle"
	update(t, s, func(tx *Tx) error {
		_, err := addEntry(tx, "uid=long,ou=few,"+testSuffix, append(person("long"), attr{"mail", []string{strings.ReplaceAll(long, " ", "-")}})...)
		return err
	})
	for filter, want := range map[string]int{"(mail=*needle)": 1, "(mail=*edl*)": 1, "(mail=xxx*dle)": 1, "(mail=user7*)": 11 + 1, "(mail=*ne*)": 1} {
		if n, explain := count(filter); n != want {
			t.Errorf("%s: %d candidates, want %d: %s", filter, n, want, explain)
		}
	}
	update(t, s, func(tx *Tx) error {
		e, err := lookupTx(tx, "uid=long,ou=few,"+testSuffix)
		if err != nil {
			return err
		}
		_, err = tx.Remove(e)
		return err
	})
	if n, explain := count("(mail=*needle)"); n != 0 {
		t.Errorf("%d candidates after it has gone: %s", n, explain)
	}
}

// Where there is no index for equality, one of the order with the same keys answers.
func TestPlanEqualityByOrder(t *testing.T) {
	o := testOptions()
	o.Schema = plannerSchema(t)
	o.Indexes = []IndexSpec{{"orderedText", IndexOrdering}, {"uidNumber", IndexOrdering}}
	s := openStore(t, memkv.New(Merger()), o)
	long := strings.Repeat("t", maxIndexKey)
	texts := []string{"a", "a b", "ab", "b", long + "1", long + "2", "a"}
	update(t, s, func(tx *Tx) error {
		if _, err := addEntry(tx, testSuffix, unit); err != nil {
			return err
		}
		for i, text := range texts {
			attrs := append(person(fmt.Sprint("p", i)), attr{"orderedText", []string{text}}, attr{"uidNumber", []string{"7"}})
			if _, err := addEntry(tx, fmt.Sprintf("uid=p%d,%s", i, testSuffix), attrs...); err != nil {
				return err
			}
		}
		return nil
	})
	v := s.View()
	defer v.Close()
	for filter, want := range map[string]string{
		"(orderedText=A)":                           "range(orderedText)=2",
		"(orderedText=a B)":                         "range(orderedText)=1",
		"(orderedText=aa)":                          "range(orderedText)=0",
		"(orderedText:caseIgnoreMatch:=ab)":         "range(orderedText)=1",
		"(orderedText:caseIgnoreOrderingMatch:=ab)": "range(orderedText)=3", // less than
		"(orderedText=" + long + "1)":               "range(orderedText)~2",
		// The order of numbers has other keys.
		"(uidNumber=7)": "unindexed(uidNumber) scan=8",
	} {
		f, err := ldap.ParseFilter(filter)
		if err != nil {
			t.Fatal(err)
		}
		c, err := v.Plan(PlanRequest{Scope: ldap.ScopeSub, Filter: compiled(v.Schema(), f)})
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Explain(); got != want {
			t.Errorf("%.60s: %s, want %s", filter, got, want)
		}
		c.Close()
	}
}
