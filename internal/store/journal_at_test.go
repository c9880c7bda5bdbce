package store

import (
	"context"
	"errors"
	"testing"
	"time"

	"portolan/internal/dit"
	"portolan/internal/kv/memkv"
)

// A CSN is found in the journal exactly, between two records, behind the last, and not where records before it are gone.
func TestJournalAt(t *testing.T) {
	clock := newClock()
	o := testOptions()
	o.Now = clock.Now
	o.Journal = Retention{MaxAge: 24 * time.Hour} // the store trims by itself when it pleases: nothing is to go before the clock is moved
	s := openStore(t, memkv.New(Merger()), o)
	addAll(t, s, testSuffix)
	var csns []dit.CSN
	for i := range 6 {
		clock.step(time.Minute)
		addAll(t, s, ou(i)+","+testSuffix)
		csns = append(csns, s.LastCSN())
	}
	want := func(csn dit.CSN, seq uint64) {
		t.Helper()
		got, err := s.JournalAt(csn)
		if err != nil || got != seq {
			t.Errorf("at %s: record %d, %v; want %d", csn, got, err, seq)
		}
	}
	for i, csn := range csns {
		want(csn, uint64(i+2))
		between := csn
		between.Mod++
		want(between, uint64(i+3))
	}
	want(dit.CSN{}, 1)
	clock.step(24*time.Hour - 5*time.Minute)
	if err := s.TrimJournal(context.Background()); err != nil {
		t.Fatal(err)
	}
	first, _ := s.JournalBounds()
	if first != 3 {
		t.Fatalf("the journal begins with record %d", first)
	}
	want(csns[1], 3)
	for _, csn := range []dit.CSN{{}, csns[0]} {
		if seq, err := s.JournalAt(csn); !errors.Is(err, ErrTrimmed) {
			t.Errorf("at %s: record %d, %v", csn, seq, err)
		}
	}
}

// Who waits by a channel wakes when there is more, at once where there is some, and when the store closes.
func TestJournalGrown(t *testing.T) {
	s := openStore(t, memkv.New(Merger()), testOptions())
	grown := s.JournalGrown(0)
	select {
	case <-grown:
		t.Fatal("it has grown before anything was written")
	default:
	}
	addAll(t, s, testSuffix)
	<-grown
	<-s.JournalGrown(0)
	end := s.JournalGrown(1)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	<-end
}

// Changes are numbered without a gap over all records, and a number is found. That they go on after a restart is the checker's to say.
func TestJournalFind(t *testing.T) {
	s := memStore(t)
	addAll(t, s, testSuffix)
	update(t, s, func(tx *Tx) error {
		_, err1 := addEntry(tx, ou(1)+","+testSuffix, unit)
		_, err2 := addEntry(tx, ou(2)+","+testSuffix, unit)
		return errors.Join(err1, err2)
	})
	addAll(t, s, ou(3)+","+testSuffix)
	check := func(s *Store) {
		t.Helper()
		var next uint64
		err := s.ReadJournal(0, func(r *Record) bool {
			if r.Before != next {
				t.Errorf("record %d has %d changes before it, want %d", r.Seq, r.Before, next)
			}
			for range r.Changes {
				next++
				at, err := s.JournalFind(func(h *dit.JournalHead) bool { return h.Before >= next })
				if want := r.Seq + 1; next == r.Before+uint64(len(r.Changes)) && (err != nil || at != want) {
					t.Errorf("%d changes are before record %d, %v; want %d", next, at, err, want)
				}
			}
			return true
		})
		if err != nil {
			t.Error(err)
		}
		if next < 4 {
			t.Errorf("%d changes", next)
		}
	}
	check(s)
}
