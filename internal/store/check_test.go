package store

import (
	"context"
	"errors"
	"strings"
	"testing"

	"portolan/internal/dit"
	"portolan/internal/kv"
	"portolan/internal/kv/memkv"
	"portolan/internal/schema"
)

// Every kind of damage is found, and said in words that name the place.
func TestCheckFinds(t *testing.T) {
	members := attr{"member", []string{"cn=1", "cn=2", "cn=3", "cn=4", "cn=5", "cn=6", "cn=7", "cn=8", "cn=9"}}
	other := dit.ID(4711)
	for name, test := range map[string]struct {
		damage func(b kv.Batch, e *dit.Entry) error
		want   string
	}{
		"entry gone":  {func(b kv.Batch, e *dit.Entry) error { return b.Delete(entryKey(nil, e.ID)) }, "which stands elsewhere"},
		"parent gone": {func(b kv.Batch, e *dit.Entry) error { return b.Delete(entryKey(nil, e.Parent)) }, "does not exist"},
		"entry torn":  {func(b kv.Batch, e *dit.Entry) error { return b.Set(entryKey(nil, e.ID), []byte{1, 2}) }, "damaged"},
		"uuid gone":   {func(b kv.Batch, e *dit.Entry) error { return b.Delete(uuidKey(nil, e.UUID)) }, "entryUUID does not lead"},
		"uuid wrong":  {func(b kv.Batch, e *dit.Entry) error { return b.Set(uuidKey(nil, e.UUID), appendID(nil, 1)) }, "is not this one"},
		"uuid of nobody": {func(b kv.Batch, e *dit.Entry) error {
			u := e.UUID
			u[0]++
			return b.Set(uuidKey(nil, u), appendID(nil, e.ID))
		}, "is not this one"},
		"position gone": {func(b kv.Batch, e *dit.Entry) error { return b.Delete(positionKey(nil, e.Parent, e.NormRDN)) }, "position does not lead"},
		"position of none": {func(b kv.Batch, e *dit.Entry) error {
			return b.Set(positionKey(nil, e.ID, "ou=x"), appendID(nil, other))
		}, "which stands elsewhere"},
		"count wrong":      {func(b kv.Batch, e *dit.Entry) error { return b.Merge(countKey(nil, e.Parent), appendCount(nil, 1)) }, "were counted"},
		"count gone":       {func(b kv.Batch, e *dit.Entry) error { return b.Delete(countKey(nil, e.Parent)) }, "not counted"},
		"large value gone": {func(b kv.Batch, e *dit.Entry) error { return b.Delete(append(memberKey(e), "cn=3"...)) }, "9 were counted"},
		"large value more": {func(b kv.Batch, e *dit.Entry) error { return b.Set(append(memberKey(e), "cn=x"...), []byte("cn=x")) }, "10 values"},
		"large of nobody": {func(b kv.Batch, e *dit.Entry) error {
			return b.Set(append(appendID([]byte{spaceLarge}, other), "x\x00y"...), nil)
		}, "no large attribute"},
		"record gone": {func(b kv.Batch, e *dit.Entry) error { return b.Delete(journalKey(nil, 2)) }, "are missing"},
		"records end": {func(b kv.Batch, e *dit.Entry) error { return b.Delete(journalKey(nil, 3)) }, "newest record is 2"},
		"record torn": {func(b kv.Batch, e *dit.Entry) error { return b.Set(journalKey(nil, 2), []byte{1, 1, 2}) }, "too early or too late"},
		"marks gone":  {func(b kv.Batch, e *dit.Entry) error { return b.Delete(metaKey(metaHigh)) }, "high-water"},
		"marks low": {func(b kv.Batch, e *dit.Entry) error {
			return b.Set(metaKey(metaHigh), highWater{nextID: 1, seq: 3, entries: 3}.append(nil))
		}, "beyond the next one"},
	} {
		t.Run(name, func(t *testing.T) {
			s := openStore(t, memkv.New(Merger()), testOptions())
			addAll(t, s, testSuffix, "ou=a,"+testSuffix)
			update(t, s, func(tx *Tx) error { _, err := addEntry(tx, "ou=b,ou=a,"+testSuffix, unit, members); return err })
			checkClean(t, s)
			e := mustFind(t, s, "ou=b,ou=a,"+testSuffix)
			if err := s.applyInternal(context.Background(), func(b kv.Batch) error { return test.damage(b, e) }); err != nil {
				t.Fatal(err)
			}
			var found []string
			stats, err := s.Check(context.Background(), func(f Finding) {
				found = append(found, f.Where+": "+f.What)
				if f.Advice == "" {
					t.Errorf("no advice: %+v", f)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(strings.Join(found, "\n"), test.want) || stats.Findings != int64(len(found)) {
				t.Fatalf("found %q, want %q", found, test.want)
			}
		})
	}
}

func memberKey(e *dit.Entry) []byte {
	for slot, d := range e.Shape().Slots {
		if _, large := e.Large(slot); large {
			return largeKey(nil, e.ID, d)
		}
	}
	return largeKey(nil, e.ID, schema.Description{Type: e.Shape().Slots[0].Type})
}

func TestCheckStops(t *testing.T) {
	s := memStore(t)
	addAll(t, s, testSuffix)
	update(t, s, func(tx *Tx) error {
		for i := range 2 * checkPause {
			if _, err := addEntry(tx, ou(i)+","+testSuffix, unit); err != nil {
				return err
			}
		}
		return nil
	})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Check(ctx, func(Finding) {}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if n := checkClean(t, s).Entries; n != 2*checkPause+1 {
		t.Fatal(n)
	}
}
