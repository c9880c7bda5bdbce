package access_test

import (
	"testing"

	"portolan/internal/access"
	"portolan/internal/dit"
)

// TestParent: the client whose entry stands right above, of entries that are there and of those to be; nobody else's.
func TestParent(t *testing.T) {
	d := newDirectory(t)
	policy, err := access.Compile([]access.Rule{
		{Allow: []string{"read", "add"}, Who: []string{"parent"}, Attrs: []string{"entry", "cn"}},
		{Allow: []string{"disclose"}, Who: []string{"users", "!parent"}, Attrs: []string{"entry"}},
	}, access.Options{Schema: d.schema, Suffixes: []string{suffix}})
	if err != nil {
		t.Fatal(err)
	}
	alice, bob := d.targets["alice"], d.targets["bob"]
	child := func(parent dit.ID) *access.Target {
		e := d.seal(t, 900, "cn=x,uid=alice,ou=people,"+suffix, []string{"objectClass: applicationProcess"})
		e.Parent = parent
		return &access.Target{Entry: e, Name: d.name(t, "cn=x,uid=alice,ou=people,"+suffix)}
	}
	cn, err := d.schema.DescribeString("cn")
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		name   string
		who    access.Target
		target *access.Target
		isNew  bool
		want   bool
	}{
		{"above", alice, child(alice.Entry.ID), false, true},
		{"above one to be added", alice, child(alice.Entry.ID), true, true},
		{"beside", bob, child(alice.Entry.ID), false, false},
		{"by name alone", alice, child(bob.Entry.ID), false, false},
		{"oneself", alice, &alice, false, false},
		{"a suffix entry", access.Target{Name: alice.Name, Entry: &dit.Entry{}}, child(0), false, false},
	} {
		x.target.New = x.isNew
		ev := policy.Evaluator(&access.Subject{Name: x.who.Name, Entry: x.who.Entry.ID})
		got := ev.AttrRights(x.target, cn)&access.Add != 0
		if entry := ev.EntryRights(x.target)&access.Read != 0; got != x.want || entry != x.want {
			t.Errorf("%s: %v and %v on the entry, want %v", x.name, got, entry, x.want)
		}
	}
}
