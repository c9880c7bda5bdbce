package dit

import (
	"bytes"
	"errors"
	"testing"

	"pgregory.net/rapid"
)

// A draft that makes one entry after another says of each what a new one says, whatever was before.
func TestDraftAfterOthers(t *testing.T) {
	// Pairs of which an entry is made, in this order; each alone may be left out.
	pairs := [][2]string{
		{"displayName", "A"}, {"displayName", "B"}, {"objectClass", "person"}, {"objectClass", "inetOrgPerson"}, {"objectClass", "organizationalUnit"}, {"objectClass", "nosuchclass"},
		{"objectClass", "posixAccount"}, {"sn", "Archer"}, {"cn", "Alice"}, {"cn", "Alicia"}, {"cn;lang-de", "Alicia"}, {"ou", "x"}, {"gidNumber", "1"},
		{"mail", "a@example.org"},
	}
	again, served := NewDraft(), 0
	rapid.Check(t, func(t *rapid.T) {
		again.Reset()
		fresh := NewDraft()
		take := func(pair [2]string) {
			desc, err := shapes.Schema.DescribeString(pair[0])
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range []*Draft{fresh, again} {
				if err := d.Add(shapes.Schema, desc, [][]byte{[]byte(pair[1])}, false); err != nil {
					t.Fatal(err)
				}
			}
		}
		// Most are like others, and right.
		often := rapid.IntRange(0, 9).Draw(t, "often") > 0
		for i, pair := range pairs {
			usual := pair[0] == "sn" || pair[1] == "A" || pair[1] == "inetOrgPerson" || pair[1] == "Alice"
			if often && usual || rapid.IntRange(0, 19).Draw(t, "pair") == i || !often && rapid.Bool().Draw(t, "any") {
				take(pair)
			}
		}
		if last := again.last; last.schema != nil && last.structural != nil && again.has(last.attrs) {
			served++
		}
		want, _, err1 := fresh.Seal(shapes, SealOptions{})
		got, _, err2 := again.Seal(shapes, SealOptions{})
		switch {
		case (err1 == nil) != (err2 == nil) || err1 != nil && err1.Error() != err2.Error():
			t.Fatalf("new: %v, after others: %v", err1, err2)
		case err1 == nil && (got.Shape() != want.Shape() || !bytes.Equal(got.blob, want.blob)):
			t.Fatalf("new: %q, after others: %q", want.blob, got.blob)
		}
	})
	if served == 0 {
		t.Error("no entry was like the one before")
	}
}

// Object classes that were right are not looked at again, and others are, whatever was before.
func TestObjectClassesAfterOthers(t *testing.T) {
	desc, err := shapes.Schema.DescribeString("objectClass")
	if err != nil {
		t.Fatal(err)
	}
	d := NewDraft()
	for i, c := range []struct {
		names []string
		wrong bool
	}{
		{[]string{"person", "inetOrgPerson"}, false},
		{[]string{"person", "inetOrgPerson"}, false},
		{[]string{"person", "PERSON"}, true},
		{[]string{"person", "PERSON"}, true},
		{[]string{"person"}, false},
		{[]string{"not a class"}, true},
		{[]string{"not a class"}, true},
		{[]string{"person"}, false},
		{[]string{"person", "inetOrgPerson"}, false},
	} {
		d.Reset()
		var values [][]byte
		for _, name := range c.names {
			values = append(values, []byte(name))
		}
		if err := d.Add(shapes.Schema, desc, values, false); (err != nil) != c.wrong {
			t.Errorf("%d: %q: %v", i, c.names, err)
		}
		for _, v := range values {
			clear(v) // what is remembered is no part of what was given
		}
	}
	d.Reset()
	if err := d.Add(shapes.Schema, desc, [][]byte{[]byte("person"), []byte("inetOrgPerson")}, false); err != nil {
		t.Fatal(err)
	}
	if err := d.Add(shapes.Schema, desc, [][]byte{[]byte("Person")}, false); err == nil {
		t.Error("a class that is there already was added again")
	}
}

// An edit is checked and arranged like a draft that knows nothing of what was there before, whatever was found right of its shape.
func TestEditsLikeNew(t *testing.T) {
	served := 0
	rapid.Check(t, func(t *rapid.T) {
		add := func(d *Draft, name string, values ...string) error {
			desc, err := shapes.Schema.DescribeString(name)
			if err != nil {
				t.Fatal(err)
			}
			var list [][]byte
			for _, v := range values {
				list = append(list, []byte(v))
			}
			return d.Add(shapes.Schema, desc, list, false)
		}
		base := NewDraft()
		base.RDN = rapid.SampledFrom([]string{"cn=Alice", "cn=Alice+sn=Archer", "2.5.4.3=Alice"}).Draw(t, "rdn")
		base.NormRDN = "cn=alice"
		if err := errors.Join(add(base, "objectClass", "person", "inetOrgPerson"), add(base, "cn", "Alice"), add(base, "sn", "Archer"), add(base, "displayName", "A")); err != nil {
			t.Fatal(err)
		}
		if rapid.Bool().Draw(t, "mail") {
			if err := add(base, "mail", "a@example.org"); err != nil {
				t.Fatal(err)
			}
		}
		entry, _, err := base.Seal(shapes, SealOptions{})
		if err != nil {
			t.Fatal(err)
		}
		edit, plain := entry.Edit(nil), entry.Edit(nil)
		plain.Base = nil
		for range rapid.IntRange(0, 3).Draw(t, "changes") {
			c := rapid.SampledFrom([][]string{
				{"cn"}, {"cn", "Alicia"}, {"cn", "Alice", "Alicia"}, {"sn"}, {"sn", "Archer"}, {"sn", "Bowman"}, {"displayName", "B"}, {"displayName", "A", "B"}, {"displayName"},
				{"mail", "b@example.org"}, {"mail"}, {"objectClass", "person"}, {"objectClass", "inetOrgPerson"}, {"objectClass", "person", "inetOrgPerson", "posixAccount"}, {"gidNumber", "1"},
			}).Draw(t, "change")
			desc, err := shapes.Schema.DescribeString(c[0])
			if err != nil {
				t.Fatal(err)
			}
			var values [][]byte
			for _, v := range c[1:] {
				values = append(values, []byte(v))
			}
			for _, d := range []*Draft{edit, plain} {
				if err := d.Replace(shapes.Schema, desc, values, false); err != nil {
					t.Fatal(err)
				}
			}
		}
		if edit.likeBase(shapes.Schema) && entry.shape.fine.Load() != nil {
			served++
		}
		for _, class := range []string{"person", "inetOrgPerson", "posixAccount", "top"} {
			if c := shapes.Schema.ObjectClass(class); edit.IsA(shapes.Schema, c) != plain.IsA(shapes.Schema, c) {
				t.Fatalf("%s: an edit is one: %v", class, edit.IsA(shapes.Schema, c))
			}
		}
		want, _, err1 := plain.Seal(shapes, SealOptions{})
		got, _, err2 := edit.Seal(shapes, SealOptions{})
		switch {
		case (err1 == nil) != (err2 == nil) || err1 != nil && err1.Error() != err2.Error():
			t.Fatalf("new: %v, edited: %v", err1, err2)
		case err1 == nil && (got.Shape() != want.Shape() || !bytes.Equal(got.blob, want.blob) || got.classes != want.classes || got.RDN != want.RDN):
			t.Fatalf("new: %q, edited: %q", want.blob, got.blob)
		}
	})
	if served == 0 {
		t.Error("no edit was like one before")
	}
}
