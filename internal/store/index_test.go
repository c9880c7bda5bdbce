package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"portolan/internal/dit"
	"portolan/internal/kv"
	"portolan/internal/kv/memkv"
	"portolan/internal/schema"
	"portolan/ldap"
)

func TestIndexSpecs(t *testing.T) {
	tests := []struct {
		spec IndexSpec
		want string
	}{
		{IndexSpec{"cn", IndexEquality}, ""},
		{IndexSpec{"2.5.4.3", IndexSubstring}, ""},
		{IndexSpec{"jpegPhoto", IndexPresence}, ""},
		{IndexSpec{"nosuch", IndexEquality}, "no such attribute type"},
		{IndexSpec{"cn;lang-de", IndexEquality}, "without options"},
		{IndexSpec{"jpegPhoto", IndexEquality}, "no equality rule"},
		{IndexSpec{"cn", IndexOrdering}, "no ordering rule"},
		{IndexSpec{"cn", 9}, "not a kind of index"},
	}
	for _, test := range tests {
		_, err := newIndexSet(schema.Default(), []IndexSpec{test.spec})
		if (test.want == "") != (err == nil) || (err != nil && !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%v: %v, want %q", test.spec, err, test.want)
		}
	}
	set, err := newIndexSet(schema.Default(), []IndexSpec{{"sn", IndexPresence}, {"cn", IndexEquality}, {"commonName", IndexEquality}, {"sn", IndexEquality}})
	if err != nil || len(set.list) != 2 {
		t.Errorf("%d indexes, %v; an equality index makes one for presence needless, and a type has one of a kind", len(set.list), err)
	}
	for k := IndexEquality; k <= IndexOrdering; k++ {
		if back, err := ParseIndexKind(k.String()); back != k || err != nil {
			t.Errorf("%v comes back as %v, %v", k, back, err)
		}
	}
}

// waitReady waits until no index is being built.
func waitReady(t *testing.T, s *Store) {
	t.Helper()
	for {
		building := false
		for _, info := range s.Indexes() {
			building = building || info.State != IndexReady
		}
		if !building {
			return
		}
		// Each transaction is one more step of the builder that can have run.
		if _, err := s.Update(context.Background(), Meta{}, func(tx *Tx) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
}

// An index that is asked for later is built while others write, and is then as if it had always been there.
func TestIndexBuildUnderWrites(t *testing.T) {
	db := memkv.New(Merger())
	const n = 5 * buildStep
	fill := func() {
		o := testOptions()
		s, err := Open(db, o)
		if err != nil {
			t.Fatal(err)
		}
		update(t, s, func(tx *Tx) error {
			if _, err := addEntry(tx, testSuffix, unit); err != nil {
				return err
			}
			for i := range n {
				attrs := person(fmt.Sprintf("p%d", i))
				if i%50 == 0 {
					var members []string
					for m := range 20 {
						members = append(members, fmt.Sprintf("uid=p%d,%s", m, testSuffix))
					}
					attrs = append(attrs, attr{"member", members})
				}
				if _, err := addEntry(tx, fmt.Sprintf("uid=p%d,%s", i, testSuffix), attrs...); err != nil {
					return err
				}
			}
			return nil
		})
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	fill()
	db = db.Crash() // a store owns its database; what is durable lives on
	o := testOptions()
	o.Indexes = append([]IndexSpec{{"sn", IndexEquality}, {"cn", IndexSubstring}, {"name", IndexEquality}, {"entryDN", IndexPresence}}, testIndexes...)
	s := openStore(t, db, o)
	old := s.View()
	defer old.Close()
	if err := old.Pin(); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for w := range 3 {
		group.Go(func() {
			for i := w; i < n; i += 7 {
				_, err := s.Update(context.Background(), Meta{}, func(tx *Tx) error {
					e, _, err := tx.Lookup(fmt.Sprintf("uid=p%d,%s", i, testSuffix))
					if err != nil || e == nil {
						return errors.Join(err, fmt.Errorf("p%d is gone", i))
					}
					if i%3 == 0 {
						_, err = tx.Remove(e)
						return err
					}
					_, err = modifyEntry(tx, e, attr{"sn", []string{fmt.Sprintf("new %d", i)}})
					return err
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	waitReady(t, s)
	stats := checkClean(t, s)
	if stats.Postings == 0 {
		t.Error("nothing was compared")
	}
	v := s.View()
	defer v.Close()
	plan := func(v *View, filter string) string {
		f, err := ldap.ParseFilter(filter)
		if err != nil {
			t.Fatal(err)
		}
		c, err := v.Plan(PlanRequest{Scope: ldap.ScopeSub, Filter: compiled(v.Schema(), f)})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.Explain()
	}
	if got := plan(v, "(sn=new 7)"); got != "eq(sn)=1" {
		t.Error(got)
	}
	if got := plan(v, "(cn=*erson p63*)"); !strings.HasPrefix(got, "sub(cn)~") {
		t.Error(got)
	}
	// A snapshot from before the end of the building must not believe the index.
	if got := plan(old, "(sn=S)"); got != fmt.Sprintf("unindexed(sn) scan=%d", n+1) {
		t.Error(got)
	}
}

// A build that was cut short goes on where it was; an index that is not asked for any more leaves nothing; one whose rule
// has changed is made anew.
func TestIndexesAcrossStarts(t *testing.T) {
	db := memkv.New(Merger())
	o := testOptions()
	s, err := Open(db, o)
	if err != nil {
		t.Fatal(err)
	}
	update(t, s, func(tx *Tx) error {
		if _, err := addEntry(tx, testSuffix, unit); err != nil {
			return err
		}
		for i := range 3 * buildStep {
			if _, err := addEntry(tx, fmt.Sprintf("uid=p%d,%s", i, testSuffix), person(fmt.Sprintf("p%d", i))...); err != nil {
				return err
			}
		}
		return nil
	})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db = db.Crash()

	// One step by hand, then the power goes.
	o.Indexes = append([]IndexSpec{{"sn", IndexEquality}}, testIndexes...)
	half := &Store{db: db, o: o, log: o.Logger}
	g, err := half.newGeneration(o.Schema, 0)
	if err == nil {
		err = half.openIndexes(g)
	}
	if err != nil {
		t.Fatal(err)
	}
	b := db.NewBatch()
	cursor, done, err := buildSome(b, g, g.indexes.unfinished())
	if err != nil || done || cursor == 0 {
		t.Fatal(cursor, done, err)
	}
	if err := errors.Join(db.Apply(b), db.Sync()); err != nil {
		t.Fatal(err)
	}
	g.caches.close()
	db = db.Crash()
	s, err = Open(db, o)
	if err != nil {
		t.Fatal(err)
	}
	if i := s.Indexes()[0]; i.Spec.Attribute != "sn" || (i.State == IndexBuilding && i.Done < int(cursor)) {
		t.Errorf("%+v does not go on from %d", i, cursor)
	}
	waitReady(t, s)
	checkClean(t, s)
	sn := s.durable.Load().gen.indexes.list[0].id
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db = db.Crash()

	o.Indexes = testIndexes[:2]
	s = openStore(t, db, o)
	checkClean(t, s)
	left := make(map[uint32]bool)
	v := s.View()
	defer v.Close()
	r, err := v.kvReader()
	if err != nil {
		t.Fatal(err)
	}
	it, err := r.Iter([]byte{spaceIndex}, []byte{spaceIndex + 1})
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		left[binary.BigEndian.Uint32(it.Key()[1:])] = true
	}
	if len(left) != 2 || left[sn] {
		t.Errorf("keys of the indexes %v are left, want two", left)
	}
}

func TestSetSchemaRebuildsWhereTheRuleChanged(t *testing.T) {
	define := func(rule string) *schema.Schema {
		s, err := schema.Default().Extend(schema.File{Name: "x.schema", Text: []byte("attributetype ( 2.25.99.3 NAME 'wobble' EQUALITY " + rule + " SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )")})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	o := testOptions()
	o.Schema = define("caseExactMatch")
	o.Indexes = append([]IndexSpec{{"wobble", IndexEquality}}, testIndexes...)
	s := openStore(t, memkv.New(Merger()), o)
	addAll(t, s, testSuffix)
	update(t, s, func(tx *Tx) error {
		_, err := addEntry(tx, "uid=a,"+testSuffix, append(person("a"), attr{"wobble", []string{"Mixed"}})...)
		return err
	})
	ask := func(key string) int {
		v := s.View()
		defer v.Close()
		set, err := v.Equal(v.Schema().AttributeTypeString("wobble"), []byte(key))
		if err != nil {
			t.Fatal(err)
		}
		return int(set.GetCardinality())
	}
	if ask("Mixed") != 1 || ask("mixed") != 0 {
		t.Error("exact match is not exact")
	}
	if err := s.SetSchema(define("caseIgnoreMatch")); err != nil {
		t.Fatal(err)
	}
	waitReady(t, s)
	if ask("Mixed") != 0 || ask("mixed") != 1 {
		t.Error("the index has the keys of the old rule")
	}
	checkClean(t, s)
}

// A check finds what does not belong in an index and what is missing, and says where.
func TestCheckFindsIndexCorruption(t *testing.T) {
	tests := []struct {
		name string
		harm func(s *Store, key func(attr string, kind IndexKind, value string) []byte, b kv.Batch) error
		want []string
	}{
		{"missing id", func(s *Store, key func(string, IndexKind, string) []byte, b kv.Batch) error {
			return b.Merge(key("uid", IndexEquality, "u3"), appendRemove(nil, 5))
		}, []string{`index on uid, equality: the index lacks entry 5 under "u3"`}},
		{"extra id", func(s *Store, key func(string, IndexKind, string) []byte, b kv.Batch) error {
			return b.Merge(key("uid", IndexEquality, "u3"), appendAdd(nil, 4))
		}, []string{`index on uid, equality: the index has, and should not, entry 4 under "u3"`}},
		{"extra posting", func(s *Store, key func(string, IndexKind, string) []byte, b kv.Batch) error {
			return b.Merge(key("uid", IndexEquality, "zzz"), appendAdd(nil, 4))
		}, []string{`index on uid, equality: the index has, and should not, entry 4 under "zzz"`}},
		{"missing posting", func(s *Store, key func(string, IndexKind, string) []byte, b kv.Batch) error {
			return b.Delete(key("uid", IndexEquality, "u3"))
		}, []string{`index on uid, equality: the index lacks entry 5 under "u3"`}},
		{"presence", func(s *Store, key func(string, IndexKind, string) []byte, b kv.Batch) error {
			return b.Merge(key("uid", IndexPresence, ""), appendRemove(nil, 5))
		}, []string{`index on uid, presence: the index lacks entry 5`}},
		{"gram", func(s *Store, key func(string, IndexKind, string) []byte, b kv.Batch) error {
			return b.Merge(key("mail", IndexSubstring, "xyz"), appendAdd(nil, 5))
		}, []string{`index on mail, substring: the index has, and should not, entry 5 under "xyz"`}},
		{"garbage", func(s *Store, key func(string, IndexKind, string) []byte, b kv.Batch) error {
			return b.Set(key("uid", IndexEquality, "u3"), []byte{9, 9, 9})
		}, []string{"holds 3 octets that are no posting"}},
		{"stray", func(s *Store, key func(string, IndexKind, string) []byte, b kv.Batch) error {
			return b.Set(appendChunkNumber(appendPosting(nil, &index{id: 999}, IndexEquality, []byte("k")), 0), []byte{1, 0})
		}, []string{"belongs to no index"}},
		{"many", func(s *Store, key func(string, IndexKind, string) []byte, b kv.Batch) error {
			return b.Delete(key("l", IndexEquality, "here"))
		}, []string{`index on l, equality: the index lacks entry 5 under "here"`, "there is more of the kind"}},
		{"an empty chunk is none", func(s *Store, key func(string, IndexKind, string) []byte, b kv.Batch) error {
			return b.Set(key("uid", IndexEquality, "nobody"), nil)
		}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			o := testOptions()
			o.Indexes = append([]IndexSpec{{"l", IndexEquality}, {"mail", IndexSubstring}}, testIndexes...)
			s := openStore(t, memkv.New(Merger()), o)
			addAll(t, s, testSuffix)
			for i := range 40 {
				update(t, s, func(tx *Tx) error {
					_, err := addEntry(tx, fmt.Sprintf("uid=u%d,%s", i, testSuffix),
						append(person(fmt.Sprintf("u%d", i)), attr{"l", []string{"Here"}}, attr{"mail", []string{"a@example.com"}})...)
					return err
				})
			}
			checkClean(t, s)
			const grams = int64(len(" a@example.com ")) // prepared: RFC 4518 section 2.6.1
			sizes, err := s.MeasureIndexes(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			for spec, want := range map[IndexSpec][2]int64{
				{"uid", IndexEquality}: {40, 40}, {"l", IndexEquality}: {1, 40}, {"mail", IndexSubstring}: {grams, 40 * grams},
			} {
				if got := sizes[spec]; got.Keys != want[0] || got.Postings != want[1] || got.Octets == 0 {
					t.Errorf("%v has %+v, want %v keys and postings", spec, got, want)
				}
			}
			set := s.live.Load().indexes
			key := func(name string, kind IndexKind, value string) []byte {
				own := kind
				if kind == IndexPresence {
					own = IndexEquality
				}
				x := set.find(s.Schema().AttributeTypeString(name), own)
				return appendChunkNumber(appendPosting(nil, x, kind, []byte(value)), 0)
			}
			if err := s.applyInternal(context.Background(), func(b kv.Batch) error { return test.harm(s, key, b) }); err != nil {
				t.Fatal(err)
			}
			var found []string
			if _, err := s.Check(context.Background(), func(f Finding) { found = append(found, f.Where+": "+f.What) }); err != nil {
				t.Fatal(err)
			}
			all := strings.Join(found, "\n")
			for _, want := range test.want {
				if !strings.Contains(all, want) {
					t.Errorf("found %q, want %q", all, want)
				}
			}
			if len(test.want) == 0 && all != "" {
				t.Errorf("found %q", all)
			}
			// One index alone is found to have what is wrong with it, and nothing else.
			for _, spec := range o.Indexes {
				var alone, among []string
				st, err := s.CheckIndex(context.Background(), spec, func(f Finding) { alone = append(alone, f.Where+": "+f.What) })
				if err != nil {
					t.Fatal(err)
				}
				prefix := key(spec.Attribute, spec.Kind, "")[:indexHeader-1]
				for _, f := range found {
					name := "index on " + spec.Attribute + ", "
					mine := strings.HasPrefix(f, name) && (spec.Kind == IndexSubstring) == strings.HasPrefix(f, name+"substring")
					if mine || strings.HasPrefix(f, fmt.Sprintf("key %x", prefix)) {
						among = append(among, f)
					}
				}
				if !slices.Equal(alone, among) || st.Findings != int64(len(alone)) {
					t.Errorf("%v alone: %q, among all %q", spec, alone, among)
				}
			}
			if _, err := s.CheckIndex(context.Background(), IndexSpec{"title", IndexEquality}, nil); err == nil {
				t.Error("an index that does not exist was verified")
			}
			if len(found) > maxIndexFindings+1 || (len(test.want) == 1 && len(found) != 1) {
				t.Errorf("%d findings: %q", len(found), all)
			}
		})
	}
}

// Adding a member to a large group writes octets, not the group.
func TestLargeAttributeIndexing(t *testing.T) {
	s := memStore(t)
	addAll(t, s, testSuffix)
	var members []string
	for i := range 500 {
		members = append(members, fmt.Sprintf("uid=m%d,%s", i, testSuffix))
	}
	update(t, s, func(tx *Tx) error {
		_, err := addEntry(tx, "cn=g,"+testSuffix, attr{"objectClass", []string{"top", "groupOfNames"}}, attr{"member", members})
		return err
	})
	member := s.Schema().Known.Member
	desc := schema.Description{Type: member}
	one := func(delete bool, values ...string) {
		update(t, s, func(tx *Tx) error {
			e, _, err := tx.Lookup("cn=g," + testSuffix)
			if err != nil {
				return err
			}
			d := e.Edit(tx)
			d.CSN = tx.NextCSN()
			var list [][]byte
			for _, v := range values {
				list = append(list, []byte(v))
			}
			if delete {
				err = d.Delete(tx.Schema(), desc, list, false)
			} else {
				err = d.Add(tx.Schema(), desc, list, false)
			}
			if err != nil {
				return err
			}
			counter := &countingWriter{}
			sealed, large, err := d.Seal(tx.Shapes(), dit.SealOptions{LargeThreshold: 8, Trusted: true})
			if err != nil {
				return err
			}
			if len(values) == 1 {
				if err := tx.gen.indexes.apply(counter, tx, e, sealed, large); err != nil {
					return err
				}
				if counter.n > 1 {
					t.Errorf("%d index changes for one member", counter.n)
				}
			}
			_, err = tx.Put(PutRequest{Entry: sealed, Large: large})
			return err
		})
	}
	has := func(value string, want uint64) {
		t.Helper()
		v := s.View()
		defer v.Close()
		key, err := s.Schema().EqualityKey(member, nil, []byte(value))
		if err != nil {
			t.Fatal(err)
		}
		set, err := v.Equal(member, key)
		if err != nil || set.GetCardinality() != want {
			t.Errorf("%s: %v, %v; want %d", value, set, err, want)
		}
	}
	has(members[3], 1)
	one(true, members[3])
	has(members[3], 0)
	one(false, members[3])
	has(members[3], 1)
	one(false, "uid=new,"+testSuffix)
	has("uid=new,"+testSuffix, 1)
	checkClean(t, s)
	one(true) // all values
	has(members[7], 0)
	checkClean(t, s)
}

type countingWriter struct{ n int }

func (c *countingWriter) Set(_, _ []byte) error         { c.n++; return nil }
func (c *countingWriter) Delete([]byte) error           { c.n++; return nil }
func (c *countingWriter) DeleteRange(_, _ []byte) error { c.n++; return nil }
func (c *countingWriter) Merge(_, _ []byte) error       { c.n++; return nil }

// A key stays in the index while any value has it: two large attributes that one index covers may share values.
func TestLargeAttributesShareAnIndex(t *testing.T) {
	s := memStore(t)
	addAll(t, s, testSuffix)
	var members []string
	for i := range 20 {
		members = append(members, fmt.Sprintf("uid=m%d,%s", i, testSuffix))
	}
	update(t, s, func(tx *Tx) error {
		_, err := addEntry(tx, "cn=g,"+testSuffix, attr{"objectClass", []string{"top", "groupOfNames"}},
			attr{"member", members}, attr{"member;x-old", members})
		return err
	})
	remove := func(option string, value string) {
		update(t, s, func(tx *Tx) error {
			e, _, err := tx.Lookup("cn=g," + testSuffix)
			if err != nil {
				return err
			}
			d := e.Edit(tx)
			d.CSN = tx.NextCSN()
			desc := schema.Description{Type: tx.Schema().Known.Member, Options: option}
			if err := d.Delete(tx.Schema(), desc, [][]byte{[]byte(value)}, false); err != nil {
				return err
			}
			_, err = sealAndPut(tx, d)
			return err
		})
	}
	for i, option := range []string{"", ";x-old"} {
		remove(option, members[3])
		v := s.View()
		set, err := v.Equal(s.Schema().Known.Member, []byte(members[3]))
		v.Close()
		if err != nil || set.GetCardinality() != uint64(1-i) {
			t.Errorf("after %d removals: %v, %v", i+1, set, err)
		}
		checkClean(t, s)
	}
}
