package accesslog_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	goldap "github.com/go-ldap/ldap/v3"

	"portolan/internal/ldaptest"
	"portolan/internal/op"
	"portolan/ldap"
)

const (
	logs = "[overlay.accesslog]\nchangelog = \"cn=changelog\"\naccesslog = \"cn=accesslog\"\n"
	base = "dn: dc=example,dc=org\nobjectClass: organization\nobjectClass: dcObject\ndc: example\no: Example\n"
)

// grown returns a server with a change for each of n units.
func grown(t *testing.T, n int, config string) *ldaptest.Server {
	s := ldaptest.Start(t, ldaptest.Options{Config: logs + config, LDIF: base})
	for i := 1; i < n; i++ {
		add(t, s, fmt.Sprintf("ou=u%d,dc=example,dc=org", i))
	}
	return s
}

func add(t *testing.T, s *ldaptest.Server, dn string) {
	t.Helper()
	err := s.As(ldaptest.AdminDN, &ldap.AddRequest{Entry: []byte(dn), Attributes: []ldap.Attribute{
		{Type: []byte("objectClass"), Values: [][]byte{[]byte("organizationalUnit")}},
	}})
	if err != nil {
		t.Fatal(err)
	}
}

// find returns the names that a search of a log finds.
func find(t *testing.T, s *ldaptest.Server, in, filter string, scope ldap.Scope) []string {
	t.Helper()
	f, err := ldap.ParseFilter(filter)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := s.Search(context.Background(), ldaptest.AdminDN, &ldap.SearchRequest{Base: []byte(in), Scope: scope, Filter: f, Attributes: [][]byte{[]byte("1.1")}})
	if err != nil && ldap.CodeOf(err) != ldap.NoSuchObject {
		t.Fatal(err)
	}
	var out []string
	for i := range entries {
		out = append(out, string(entries[i].Name))
	}
	return out
}

func numbers(from, to int) []string {
	var out []string
	for i := from; i <= to; i++ {
		out = append(out, "changeNumber="+strconv.Itoa(i)+",cn=changelog")
	}
	return out
}

// TestRanges: what a filter narrows the log to is what it finds without.
func TestRanges(t *testing.T) {
	s := grown(t, 150, "")
	for _, c := range []struct {
		filter   string
		from, to int
	}{
		{"(changeNumber>=1)", 1, 150}, {"(changeNumber>=0)", 1, 150}, {"(changeNumber>=-7)", 1, 150}, {"(changeNumber>=150)", 150, 150},
		{"(changeNumber>=151)", 1, 0}, {"(changeNumber<=1)", 1, 1}, {"(changeNumber<=0)", 1, 0}, {"(changeNumber=77)", 77, 77},
		{"(&(changeNumber>=60)(changeNumber<=70))", 60, 70}, {"(&(changeNumber>=70)(changeNumber<=60))", 1, 0},
		{"(&(objectClass=changeLogEntry)(&(changeNumber>=149)))", 149, 150}, {"(|(changeNumber=1)(changeNumber=2))", 1, 2},
		{"(!(changeNumber<=148))", 149, 150}, {"(changeNumber>=99999999999999999999)", 1, 0}, {"(changeNumber<=99999999999999999999)", 1, 150},
		{"(targetDN=ou=u9,dc=example,dc=org)", 10, 10},
	} {
		if got := find(t, s, "cn=changelog", c.filter, ldap.ScopeOne); !slices.Equal(got, numbers(c.from, c.to)) {
			t.Errorf("%s: %d to %d: got %d: %q", c.filter, c.from, c.to, len(got), got)
		}
	}
	all := find(t, s, "cn=accesslog", "(objectClass=auditObject)", ldap.ScopeOne)
	if len(all) != 150 {
		t.Fatalf("%d entries", len(all))
	}
	for i, dn := range all {
		at, _, _ := strings.Cut(strings.TrimPrefix(dn, "reqStart="), ",")
		if i%10 != 0 {
			continue
		}
		if got := find(t, s, "cn=accesslog", "(reqStart>="+at+")", ldap.ScopeOne); !slices.Equal(got, all[i:]) {
			t.Errorf("from %s: %d entries, want %d", at, len(got), len(all)-i)
		}
		if got := find(t, s, "cn=accesslog", "(reqStart<="+at+")", ldap.ScopeOne); !slices.Equal(got, all[:i+1]) {
			t.Errorf("up to %s: %d entries, want %d", at, len(got), i+1)
		}
		if got := find(t, s, dn, "(objectClass=*)", ldap.ScopeBase); !slices.Equal(got, []string{dn}) {
			t.Errorf("%s: %q", dn, got)
		}
	}
}

// TestPagesAndOrders: pages, both orders, and both together, show each entry once.
func TestPagesAndOrders(t *testing.T) {
	s := grown(t, 100, "[limits]\nmax_sorted = 10\n")
	c, err := goldap.DialURL("ldap://" + s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Bind(ldaptest.AdminDN, ldaptest.AdminPassword); err != nil {
		t.Fatal(err)
	}
	up, down := numbers(1, 100), numbers(1, 100)
	slices.Reverse(down)
	sorted := func(reverse bool) goldap.Control {
		return goldap.NewControlServerSideSortingWithSortKeys([]*goldap.SortKey{{AttributeType: "changeNumber", Reverse: reverse}})
	}
	for _, x := range []struct {
		scope    int
		controls []goldap.Control
		want     []string
	}{
		{goldap.ScopeSingleLevel, nil, up},
		// More than is ever sorted: it comes in order by itself.
		{goldap.ScopeSingleLevel, []goldap.Control{sorted(false)}, up},
		{goldap.ScopeSingleLevel, []goldap.Control{sorted(true)}, down},
		{goldap.ScopeWholeSubtree, nil, append([]string{"cn=changelog"}, up...)},
		{goldap.ScopeWholeSubtree, []goldap.Control{sorted(false)}, append(slices.Clone(up), "cn=changelog")},
		{goldap.ScopeWholeSubtree, []goldap.Control{sorted(true)}, append([]string{"cn=changelog"}, down...)},
	} {
		req := goldap.NewSearchRequest("cn=changelog", x.scope, goldap.NeverDerefAliases, 0, 0, false, "(objectClass=*)", []string{"1.1"}, x.controls)
		for _, size := range []uint32{1000, 7, 1} {
			req.Controls = slices.Clone(x.controls)
			r, err := c.SearchWithPaging(req, size)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, e := range r.Entries {
				got = append(got, e.DN)
			}
			if !slices.Equal(got, x.want) {
				t.Errorf("%v %v by %d: %q", x.scope, x.controls, size, got)
			}
		}
	}
}

// TestRetention: what the journal forgets is gone from the logs, and numbers go on.
func TestRetention(t *testing.T) {
	s := grown(t, 5, "[journal]\nmax_age = \"1h\"\n")
	s.Clock().Advance(2 * time.Hour)
	add(t, s, "ou=late,dc=example,dc=org")
	if err := s.Store.TrimJournal(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := find(t, s, "cn=changelog", "(changeNumber>=1)", ldap.ScopeOne); !slices.Equal(got, numbers(6, 6)) {
		t.Errorf("%q", got)
	}
	if got := find(t, s, "cn=changelog", "(&(firstChangeNumber=6)(lastChangeNumber=6))", ldap.ScopeBase); len(got) != 1 {
		t.Error("the topmost entry says something else")
	}
	if got := find(t, s, "changeNumber=2,cn=changelog", "(objectClass=*)", ldap.ScopeBase); got != nil {
		t.Errorf("%q is still there", got)
	}
}

// TestExamined: a filter that finds little in a long log is cut off like any other search; the administrator's is not.
func TestExamined(t *testing.T) {
	s := grown(t, 60, "[limits]\nmax_examined = 50\n[[access]]\nallow = [\"disclose\", \"read\", \"search\"]\nwho = \"users\"\non = \"subtree:cn=changelog\"\n")
	f, _ := ldap.ParseFilter("(targetDN=ou=nowhere,dc=example,dc=org)")
	m := &ldap.SearchRequest{Base: []byte("cn=changelog"), Scope: ldap.ScopeOne, Filter: f}
	if _, err := s.Search(context.Background(), "ou=u1,dc=example,dc=org", m); ldap.CodeOf(err) != ldap.AdminLimitExceeded {
		t.Error(err)
	}
	if _, err := s.Search(context.Background(), ldaptest.AdminDN, m); err != nil {
		t.Error(err)
	}
	m.Filter, _ = ldap.ParseFilter("(changeNumber>=55)")
	if got, err := s.Search(context.Background(), "ou=u1,dc=example,dc=org", m); err != nil || len(got) != 6 {
		t.Error(len(got), err)
	}
}

// TestNamesOfOneMoment: several changes of one transaction have names of their own in the access log, and are found by them.
func TestNamesOfOneMoment(t *testing.T) {
	s := grown(t, 3, "")
	add(t, s, "ou=v,ou=u1,dc=example,dc=org")
	add(t, s, "ou=w,ou=v,ou=u1,dc=example,dc=org")
	view := s.Engine.Directory()
	err := view.Update(context.Background(), ldaptest.AdminDN, func(tx op.Tx) error {
		for _, dn := range []string{"ou=w,ou=v,ou=u1,dc=example,dc=org", "ou=v,ou=u1,dc=example,dc=org", "ou=u1,dc=example,dc=org"} {
			norm, err := tx.Schema().NormalizeDNString(nil, dn)
			if err != nil {
				return err
			}
			e, _, err := tx.Lookup(string(norm))
			if err != nil {
				return err
			}
			if err := tx.Delete(e.ID); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	names := find(t, s, "cn=accesslog", "(reqType=delete)", ldap.ScopeOne)
	if len(names) != 3 || !slices.IsSorted(names) && len(slices.Compact(slices.Clone(names))) != 3 {
		t.Fatalf("%q", names)
	}
	for _, dn := range names {
		if got := find(t, s, dn, "(reqType=delete)", ldap.ScopeBase); !slices.Equal(got, []string{dn}) {
			t.Errorf("%s: %q", dn, got)
		}
	}
	if got := find(t, s, "cn=changelog", "(changeType=delete)", ldap.ScopeOne); !slices.Equal(got, numbers(6, 8)) {
		t.Errorf("%q", got)
	}
}
