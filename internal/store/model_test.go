package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"portolan/internal/dit"
	"portolan/internal/kv"
	"portolan/internal/kv/memkv"
	"portolan/internal/kv/pebblekv"
	"portolan/ldap"
)

// modelEntry is an entry of the model: what a directory is, with nothing clever.
type modelEntry struct {
	parent *modelEntry
	rdn    string
	desc   string
	member map[string]bool
}

func (m *modelEntry) dn() string {
	if m.parent == nil {
		return m.rdn
	}
	return m.rdn + "," + m.parent.dn()
}

func (m *modelEntry) under(base *modelEntry) bool {
	for ; m != nil; m = m.parent {
		if m == base {
			return true
		}
	}
	return false
}

type model struct{ entries []*modelEntry }

func (m *model) find(parent *modelEntry, rdn string) *modelEntry {
	for _, e := range m.entries {
		if e.parent == parent && e.rdn == rdn {
			return e
		}
	}
	return nil
}

func (m *model) children(of *modelEntry) (out []string) {
	for _, e := range m.entries {
		if e.parent == of {
			out = append(out, e.rdn)
		}
	}
	slices.Sort(out)
	return out
}

// clone copies the model, so that a transaction can be undone.
func (m *model) clone() *model {
	copies := make(map[*modelEntry]*modelEntry, len(m.entries))
	out := &model{}
	for _, e := range m.entries {
		c := *e
		c.member = maps.Clone(e.member)
		copies[e] = &c
		out.entries = append(out.entries, &c)
	}
	for _, c := range out.entries {
		if c.parent != nil {
			c.parent = copies[c.parent]
		}
	}
	return out
}

// step is one random operation: it says what it does to the model and to the store, and which result both must have.
type step struct {
	text  string
	model func(m *model) ldap.ResultCode
	store func(tx *Tx) error
}

// lookupTx finds what the model names.
func lookupTx(tx *Tx, dn string) (*dit.Entry, error) {
	n, err := tx.Schema().NormalizeDNString(nil, dn)
	if err != nil {
		return nil, err
	}
	e, _, err := tx.Lookup(string(n))
	if err == nil && e == nil {
		err = ldap.Errorf(ldap.NoSuchObject, "%s", dn)
	}
	return e, err
}

func byDN(m *model, dn string) *modelEntry {
	for _, e := range m.entries {
		if e.dn() == dn {
			return e
		}
	}
	return nil
}

func drawStep(t *rapid.T, m *model) step {
	some := func(label string) string {
		return m.entries[rapid.IntRange(0, len(m.entries)-1).Draw(t, label)].dn()
	}
	rdn := "ou=" + string(rune('a'+rapid.IntRange(0, 7).Draw(t, "name")))
	switch kind := rapid.IntRange(0, 9).Draw(t, "kind"); {
	case kind < 4 || len(m.entries) == 1:
		parent := some("parent")
		return step{"add " + rdn + "," + parent,
			func(m *model) ldap.ResultCode {
				p := byDN(m, parent)
				if p == nil {
					return ldap.NoSuchObject
				}
				if m.find(p, rdn) != nil {
					return ldap.EntryAlreadyExists
				}
				m.entries = append(m.entries, &modelEntry{parent: p, rdn: rdn, member: map[string]bool{}})
				return ldap.Success
			},
			func(tx *Tx) error { _, err := addEntry(tx, rdn+","+parent, unit); return err },
		}
	case kind < 5:
		dn, text := some("entry"), fmt.Sprint(rapid.IntRange(0, 3).Draw(t, "text"))
		return step{"describe " + dn,
			func(m *model) ldap.ResultCode {
				e := byDN(m, dn)
				if e == nil {
					return ldap.NoSuchObject
				}
				e.desc = text
				return ldap.Success
			},
			func(tx *Tx) error {
				e, err := lookupTx(tx, dn)
				if err == nil {
					_, err = modifyEntry(tx, e, attr{"description", []string{text}})
				}
				return err
			},
		}
	case kind < 6:
		dn, n, remove := some("group"), rapid.IntRange(0, 20).Draw(t, "member"), rapid.Bool().Draw(t, "remove")
		member := fmt.Sprintf("uid=m%d,%s", n, testSuffix)
		return step{fmt.Sprintf("member %d of %s, remove %v", n, dn, remove),
			func(m *model) ldap.ResultCode {
				e := byDN(m, dn)
				switch {
				case e == nil:
					return ldap.NoSuchObject
				case remove && !e.member[member]:
					return ldap.NoSuchAttribute
				case !remove && e.member[member]:
					return ldap.AttributeOrValueExists
				case remove:
					delete(e.member, member)
				default:
					e.member[member] = true
				}
				return ldap.Success
			},
			func(tx *Tx) error {
				e, err := lookupTx(tx, dn)
				if err != nil {
					return err
				}
				d := e.Edit(tx)
				d.CSN = tx.NextCSN()
				desc, err := tx.Schema().DescribeString("member")
				if err != nil {
					return err
				}
				if remove {
					err = d.Delete(tx.Schema(), desc, [][]byte{[]byte(member)}, false)
				} else {
					err = d.Add(tx.Schema(), desc, [][]byte{[]byte(member)}, false)
				}
				if err == nil {
					_, err = sealAndPut(tx, d)
				}
				return err
			},
		}
	case kind < 8:
		dn, to := some("entry"), some("new parent")
		return step{"move " + dn + " to " + rdn + "," + to,
			func(m *model) ldap.ResultCode {
				e, p := byDN(m, dn), byDN(m, to)
				switch {
				case e == nil || p == nil:
					return ldap.NoSuchObject
				case e.parent == nil || p.under(e):
					return ldap.UnwillingToPerform
				}
				if there := m.find(p, rdn); there != nil && there != e {
					return ldap.EntryAlreadyExists
				}
				e.parent, e.rdn = p, rdn
				return ldap.Success
			},
			func(tx *Tx) error {
				e, err := lookupTx(tx, dn)
				if err != nil {
					return err
				}
				p, err := lookupTx(tx, to)
				if err != nil {
					return err
				}
				_, err = moveEntry(tx, e, p.ID, rdn)
				return err
			},
		}
	default:
		dn := some("entry")
		return step{"remove " + dn,
			func(m *model) ldap.ResultCode {
				e := byDN(m, dn)
				if e == nil {
					return ldap.NoSuchObject
				}
				if len(m.children(e)) > 0 {
					return ldap.NotAllowedOnNonLeaf
				}
				m.entries = slices.DeleteFunc(m.entries, func(x *modelEntry) bool { return x == e })
				return ldap.Success
			},
			func(tx *Tx) error {
				e, err := lookupTx(tx, dn)
				if err == nil {
					_, err = tx.Remove(e)
				}
				return err
			},
		}
	}
}

// compare asks the store everything that the model knows.
func (m *model) compare(t *rapid.T, s *Store, when string) {
	v := s.View()
	defer v.Close()
	ids := make(map[*modelEntry]*dit.Entry, len(m.entries))
	fatal := func(format string, args ...any) { t.Fatalf(when+": "+format, args...) }
	for _, e := range m.entries {
		dn := e.dn()
		cold, err := v.ID(dn)
		if err != nil {
			t.Fatal(err)
		}
		got, matched, err := v.Lookup(dn)
		if err != nil || got == nil || matched != nil {
			fatal("lookup of %s: %v, %v, %v", dn, got, matched, err)
		}
		if warm, err := v.ID(dn); err != nil || cold != got.ID || warm != got.ID {
			fatal("%s is %d, of the id %d before it was looked up and %d behind it, %v", dn, got.ID, cold, warm, err)
		}
		if none, err := v.ID("ou=none," + dn); err != nil || none != 0 {
			fatal("what is not beneath %s is %d, %v", dn, none, err)
		}
		ids[e] = got
		if name, err := v.Name(got); err != nil || name.DN != dn || name.Norm != dn {
			fatal("name of %s: %+v, %v", dn, name, err)
		}
		if u, err := v.ByUUID(got.UUID); err != nil || u == nil || u.ID != got.ID {
			fatal("%s by UUID: %v, %v", dn, u, err)
		}
		desc, _ := v.Schema().DescribeString("description")
		if d := string(got.First(desc)); d != e.desc {
			fatal("description of %s: %q, want %q", dn, d, e.desc)
		}
		m.compareMembers(t, v, e, got, when)
	}
	for _, e := range m.entries {
		id := ids[e].ID
		var rdns []string
		err := v.Children(id, func(child dit.ID) bool {
			c, err := v.Get(child)
			if err != nil || c == nil || c.Parent != id {
				fatal("child %d of %s: %v, %v", child, e.dn(), c, err)
			}
			rdns = append(rdns, c.RDN)
			return true
		})
		want := m.children(e)
		if err != nil || !slices.Equal(rdns, want) {
			fatal("children of %s: %v, %v, want %v", e.dn(), rdns, err, want)
		}
		if n, err := v.NumChildren(id); err != nil || n != len(want) {
			fatal("%s has %d children, %v, want %d", e.dn(), n, err, len(want))
		}
		for _, base := range m.entries {
			is, err := v.Under(ids[e], ids[base].ID)
			if err != nil || is != e.under(base) {
				fatal("%s under %s: %v, %v", e.dn(), base.dn(), is, err)
			}
		}
	}
}

func (m *model) compareMembers(t *rapid.T, v *View, e *modelEntry, got *dit.Entry, when string) {
	desc, _ := v.Schema().DescribeString("member")
	values := map[string]bool{}
	if slot := got.Shape().Find(desc); slot >= 0 {
		if n, large := got.Large(slot); large {
			err := v.LargeEach(got, slot, func(key, value []byte) bool {
				values[string(value)] = true
				has, err := v.LargeHas(got, slot, key)
				return has && err == nil
			})
			if err != nil || n != len(values) {
				t.Fatalf("%s: %d large members of %s, %d counted, %v", when, len(values), e.dn(), n, err)
			}
		} else {
			for _, b := range valuesOf(got, slot) {
				values[string(b)] = true
			}
		}
	}
	if !maps.Equal(values, e.member) {
		t.Fatalf("%s: members of %s: %v, want %v", when, e.dn(), values, e.member)
	}
}

// compareIndexes asks the equality index for what the model knows by looking.
func (m *model) compareIndexes(t *rapid.T, s *Store, when string) {
	v := s.View()
	defer v.Close()
	attribute := v.Schema().AttributeTypeString("member")
	for n := range 21 {
		member := fmt.Sprintf("uid=m%d,%s", n, testSuffix)
		key, err := v.Schema().EqualityKey(attribute, nil, []byte(member))
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // from the kv, and from the cache
			set, err := v.Equal(attribute, key)
			if err != nil {
				t.Fatal(err)
			}
			var want []uint64
			for _, e := range m.entries {
				if e.member[member] {
					got, _, err := v.Lookup(e.dn())
					if err != nil {
						t.Fatal(err)
					}
					want = append(want, uint64(got.ID))
				}
			}
			slices.Sort(want)
			if got := set.ToArray(); !slices.Equal(got, want) {
				t.Fatalf("%s: (member=%s) gives %v, want %v", when, member, got, want)
			}
		}
	}
}

// testModel runs random transactions of several steps against the model and the store; some are undone at their end.
func testModel(t *testing.T, open func() kv.DB, reopen func(kv.DB) kv.DB) {
	rapid.Check(t, func(t *rapid.T) {
		db := open()
		warm := testOptions()
		warm.Warm = true
		s, err := Open(db, warm)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}()
		m := &model{entries: []*modelEntry{{rdn: testSuffix, member: map[string]bool{}}}}
		if _, err := s.Update(context.Background(), Meta{}, func(tx *Tx) error { _, err := addEntry(tx, testSuffix, unit); return err }); err != nil {
			t.Fatal(err)
		}
		undo := errors.New("undo")
		for range rapid.IntRange(1, 25).Draw(t, "transactions") {
			next, fails := m.clone(), rapid.IntRange(0, 4).Draw(t, "undo") == 0
			var steps []step
			var want []ldap.ResultCode
			for range rapid.IntRange(1, 4).Draw(t, "steps") {
				st := drawStep(t, next)
				steps = append(steps, st)
				want = append(want, st.model(next))
			}
			_, err := s.Update(context.Background(), Meta{}, func(tx *Tx) error {
				for i, st := range steps {
					err := st.store(tx)
					if got := code(err); got != want[i] {
						return fmt.Errorf("%s: got %v, want %v", st.text, err, want[i])
					}
				}
				if fails {
					return undo
				}
				return nil
			})
			if fails && err != undo || !fails && err != nil {
				t.Fatalf("update: %v", err)
			}
			if !fails {
				m = next
			}
			m.compare(t, s, "after a transaction")
			m.compareIndexes(t, s, "after a transaction")
		}
		if reopen != nil {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if s, err = Open(reopen(db), warm); err != nil {
				t.Fatal(err)
			}
			m.compare(t, s, "after a restart")
			m.compareIndexes(t, s, "after a restart")
		}
		stats, err := s.Check(context.Background(), func(f Finding) { t.Errorf("check: %s: %s", f.Where, f.What) })
		if err != nil || stats.Entries != int64(len(m.entries)) {
			t.Fatalf("check: %+v, %v", stats, err)
		}
	})
}

func TestModelMem(t *testing.T) {
	testModel(t, func() kv.DB { return memkv.New(Merger()) }, nil)
}

func TestModelPebble(t *testing.T) {
	var fs *vfs.MemFS
	open := func() kv.DB {
		db, err := pebblekv.Open("data", pebblekv.Options{Merger: Merger(), FS: fs, MemtableBytes: 64 << 10, CacheBytes: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		return db
	}
	testModel(t, func() kv.DB { fs = vfs.NewMem(); return open() }, func(kv.DB) kv.DB { return open() })
}

// The model's names are plain enough to be their own canonical form; were they not, it would test nothing.
func TestModelNames(t *testing.T) {
	s := memStore(t)
	for c := 'a'; c <= 'h'; c++ {
		if dn := "ou=" + string(c) + "," + testSuffix; norm(t, s, dn) != dn || strings.ToLower(dn) != dn {
			t.Fatal(dn)
		}
	}
}

// TestStill: what a view remembers from a view before it holds only while neither the entry nor its name has changed.
func TestStill(t *testing.T) {
	s := memStore(t)
	addAll(t, s, testSuffix, "ou=a,"+testSuffix, "ou=c,ou=a,"+testSuffix, "ou=d,"+testSuffix)
	nameOf := func(norm string) (string, dit.ID) {
		v := s.View()
		defer v.Close()
		e, _, err := v.Lookup(norm)
		if err != nil || e == nil {
			t.Fatal(norm, e, err)
		}
		dn, _, err := v.AppendName(nil, nil, e)
		if err != nil {
			t.Fatal(err)
		}
		return string(dn), e.ID
	}
	for range 2 { // the second time the parent's name is in the view's memory
		if dn, _ := nameOf("ou=c,ou=a," + testSuffix); dn != "ou=c,ou=a,"+testSuffix {
			t.Fatal(dn)
		}
	}
	v := s.View()
	_, a := nameOf("ou=a," + testSuffix)
	_, d := nameOf("ou=d," + testSuffix)
	mark := v.Mark()
	if !v.Still(a, mark) || !v.Still(d, mark) || v.Still(a, Mark{}) {
		t.Error("nothing has changed since the mark, and everything since none")
	}
	v.Close()
	move := func(from, rdn string) {
		update(t, s, func(tx *Tx) error {
			e, err := lookupTx(tx, from+","+testSuffix)
			if err != nil {
				return err
			}
			_, err = moveEntry(tx, e, e.Parent, rdn)
			return err
		})
	}
	move("ou=d", "ou=e") // a leaf
	v = s.View()
	if v.Still(d, mark) || !v.Still(a, mark) {
		t.Errorf("a leaf was renamed: it is still the same: %v; another one: %v", v.Still(d, mark), v.Still(a, mark))
	}
	v.Close()
	move("ou=a", "ou=b") // a parent
	v = s.View()
	if v.Still(a, mark) {
		t.Error("a parent was renamed and is still the same")
	}
	v.Close()
	if dn, _ := nameOf("ou=c,ou=b," + testSuffix); dn != "ou=c,ou=b,"+testSuffix {
		t.Errorf("beneath a parent that was renamed: %s", dn)
	}
}
