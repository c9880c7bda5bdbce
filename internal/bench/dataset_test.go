package bench

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"

	"portolan/ldif"
)

func testData() DataSet {
	return DataSet{Base: DefaultBase, Seed: 1, People: 500, Groups: 5, PosixGroups: 3, Members: 400}
}

func ldifOf(t testing.TB, d DataSet) string {
	t.Helper()
	var b bytes.Buffer
	if err := d.WriteLDIF(&b, nil); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestDataSetIsTheSameEverywhere: figures of different days and machines are about the same octets.
func TestDataSetIsTheSameEverywhere(t *testing.T) {
	sum := sha256.Sum256([]byte(ldifOf(t, testData())))
	const want = "bfbd591d3c02adaa29b30fc406424bb58e95d3809954cbe66dc623c857992992"
	if got := hex.EncodeToString(sum[:]); got != want {
		t.Errorf("the data set has changed: %s, want %s; say so in docs/performance.md, whose figures cannot be compared any more", got, want)
	}
	other := testData()
	other.Seed = 2
	if ldifOf(t, other) == ldifOf(t, testData()) {
		t.Error("the seed changes nothing")
	}
}

func TestDataSet(t *testing.T) {
	d := testData()
	text := ldifOf(t, d)
	r := ldif.NewReader(strings.NewReader(text), ldif.Options{})
	members := make(map[string][]string) // by name, of all entries
	people, attributes := 0, 0
	for {
		rec, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, twice := members[rec.DN]; twice {
			t.Errorf("%s twice", rec.DN)
		}
		_, parent, _ := strings.Cut(rec.DN, ",")
		if _, there := members[parent]; !there && rec.DN != d.Base {
			t.Errorf("%s before its parent", rec.DN)
		}
		members[rec.DN] = []string{}
		for _, a := range rec.Attributes {
			if a.Name == "member" {
				for _, v := range a.Values {
					members[rec.DN] = append(members[rec.DN], string(v))
				}
			}
		}
		if strings.HasSuffix(rec.DN, ",ou=people,"+d.Base) {
			people++
			attributes += len(rec.Attributes)
		}
	}
	if people != d.People {
		t.Errorf("%d people, want %d", people, d.People)
	}
	if len(members) != d.Entries() {
		t.Errorf("%d entries, Entries says %d", len(members), d.Entries())
	}
	if mean := attributes / people; mean != 16 {
		t.Errorf("%d attributes a person, want 16", mean)
	}
	var alone bytes.Buffer
	if err := (&DataSet{Base: DefaultBase, Seed: 1, People: 10_000}).WriteLDIF(&alone, nil); err != nil {
		t.Fatal(err)
	}
	if mean := alone.Len() / 10_000; mean < 600 || mean > 700 {
		t.Errorf("%d octets of LDIF a person, want about 650", mean)
	}
	for dn, want := range map[string]int{d.BigGroup(): 400, d.SmallGroup(): SeededGroupMembers, d.Admins(): 1} {
		if n := len(members[dn]); n != want {
			t.Errorf("%s has %d members, want %d", dn, n, want)
		}
		for _, m := range members[dn] {
			if _, there := members[m]; !there {
				t.Errorf("%s has a member %s that is not there", dn, m)
			}
		}
	}
}

func TestDataSetRefusals(t *testing.T) {
	for _, tt := range []struct {
		change func(*DataSet)
		want   string
	}{
		{func(d *DataSet) { d.People = 0 }, "0 people"},
		{func(d *DataSet) { d.People = MaxPeople + 1 }, "people"},
		{func(d *DataSet) { d.Members = 501 }, "501 members"},
		{func(d *DataSet) { d.Groups = -1 }, "groups"},
		{func(d *DataSet) { d.Base = "cn=x" }, "dc= or o="},
		{func(d *DataSet) { d.Base = "" }, "dc= or o="},
		{func(d *DataSet) { d.Base = "nonsense" }, "is not a DN"},
	} {
		d := testData()
		tt.change(&d)
		if err := d.WriteLDIF(io.Discard, nil); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want something about %q", d, err, tt.want)
		}
	}
}
