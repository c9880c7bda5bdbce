package audit

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Journal is the store's journal: what was written, whoever wrote it. A record for which no operation of a client has
// claimed its line gets one from here: what the server does by itself, what was done while it was stopped, and what was
// acknowledged just before the machine lost its power.
type Journal interface {
	// Last returns the sequence of the newest record.
	Last() uint64
	// Read calls f for the records from this sequence on that are still there, in order, until it returns false.
	Read(from uint64, f func(*Record) bool) error
}

// Record is one transaction of the journal, without values.
type Record struct {
	Seq  uint64
	Time time.Time
	// Author is as whom it was done, Authenticated who that was where another identity stands behind it.
	Author, Authenticated string
	Changes               []RecordChange
	// Base says that the content came from somewhere else, by an import or a restore, and holds Entries entries.
	Base    bool
	Entries int64
}

// RecordChange is the change of one entry.
type RecordChange struct {
	Op        string // add, modify, modrdn, delete
	DN, NewDN string
	Attrs     []string
}

// journalMarks knows which records have their lines. Trail.mu guards it.
type journalMarks struct {
	seen    uint64 // the newest record
	waiting []waiting
	claimed map[uint64]struct{} // among waiting
	// until, where not nil, is what the log covers until CatchUp has completed it.
	until *marks
}

// waiting is a record without a line.
type waiting struct {
	seq   uint64
	since time.Time
	asked bool // a line is being made from the journal
}

// maxWaiting bounds the records that wait for their lines.
const maxWaiting = 1 << 20

// committed notes a new record. Records come in order.
func (j *journalMarks) committed(seq uint64, now time.Time) {
	if seq <= j.seen {
		return
	}
	j.seen = seq
	j.waiting = append(j.waiting, waiting{seq: seq, since: now})
	if len(j.waiting) > maxWaiting {
		j.claim(j.waiting[0].seq)
	}
}

// claim notes that a record has its line.
func (j *journalMarks) claim(seq uint64) {
	if len(j.waiting) == 0 || seq < j.waiting[0].seq || seq > j.seen {
		return
	}
	if j.claimed == nil {
		j.claimed = make(map[uint64]struct{})
	}
	j.claimed[seq] = struct{}{}
	n := 0
	for n < len(j.waiting) {
		if _, ok := j.claimed[j.waiting[n].seq]; !ok {
			break
		}
		delete(j.claimed, j.waiting[n].seq)
		n++
	}
	j.waiting = j.waiting[n:]
}

// marks returns what is covered once all lines so far are written.
func (j *journalMarks) marks() marks {
	if j.until != nil {
		return *j.until
	}
	if len(j.waiting) == 0 {
		return marks{upTo: j.seen}
	}
	m := marks{upTo: j.waiting[0].seq - 1}
	for seq := range j.claimed {
		m.ahead = append(m.ahead, seq)
	}
	slices.Sort(m.ahead)
	return m
}

// Committed notes a transaction that is durable. The store calls it, in the order of the journal.
func (t *Trail) Committed(seq uint64) {
	if seq == 0 {
		return
	}
	now := t.o.Now()
	t.mu.Lock()
	t.journal.committed(seq, now)
	t.mu.Unlock()
}

// claimStale has lines made for records that no operation has claimed for a while: the server's own work.
func (t *Trail) claimStale(now time.Time) {
	if seqs := t.unclaimed(now.Add(-claimAfter)); len(seqs) > 0 {
		t.later(func() { t.fromJournal(seqs) })
	}
}

// claimRest does the same for all, at the end: no operation is left that could claim one.
func (t *Trail) claimRest() {
	if seqs := t.unclaimed(t.o.Now().Add(time.Hour)); len(seqs) > 0 {
		t.fromJournal(seqs)
	}
}

func (t *Trail) unclaimed(before time.Time) (seqs []uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.o.Journal == nil {
		return nil
	}
	for i := range t.journal.waiting {
		w := &t.journal.waiting[i]
		if !w.since.Before(before) {
			break
		}
		if _, ok := t.journal.claimed[w.seq]; !ok && !w.asked {
			w.asked = true
			seqs = append(seqs, w.seq)
		}
	}
	return seqs
}

// fromJournal adds lines for records.
func (t *Trail) fromJournal(seqs []uint64) {
	for len(seqs) > 0 {
		want := seqs[0]
		err := t.o.Journal.Read(want, func(r *Record) bool {
			for len(seqs) > 0 && seqs[0] < r.Seq {
				t.claimed(seqs[0]) // trimmed
				seqs = seqs[1:]
			}
			if len(seqs) == 0 {
				return false
			}
			if seqs[0] == r.Seq {
				t.recorded(r)
				seqs = seqs[1:]
			}
			// The next one may be far away.
			return len(seqs) > 0 && seqs[0] < r.Seq+100
		})
		if err != nil {
			t.o.Log.Error("the audit log could not be completed from the journal", "from", want, "error", err)
			return
		}
		if len(seqs) > 0 && seqs[0] == want {
			t.claimed(want) // it is gone
			seqs = seqs[1:]
		}
	}
}

func (t *Trail) claimed(seq uint64) {
	t.mu.Lock()
	t.journal.claim(seq)
	t.mu.Unlock()
}

// recorded adds the line of a record.
func (t *Trail) recorded(r *Record) *batch {
	now := t.o.Now()
	return t.add(nil, func(b []byte) []byte {
		t.journal.claim(r.Seq)
		return t.record(begin(b, now, eventWrite), r)
	})
}

func (t *Trail) record(b []byte, r *Record) []byte {
	b = str(b, "source", "journal")
	b = str(b, "at", r.Time.UTC().Format(timeLayout))
	if r.Base {
		b = num(str(b, "op", "import"), "entries", uint64(max(r.Entries, 0)))
		return num(b, "seq", r.Seq)
	}
	var attrs []string
	if len(r.Changes) > 0 {
		c := &r.Changes[0]
		attrs = c.Attrs
		b = str(b, "op", c.Op)
		b = t.recordedBy(b, r)
		b = str(b, "dn", t.o.Secret.show([]byte(c.DN)))
		if c.NewDN != "" {
			b = str(b, "newdn", t.o.Secret.show([]byte(c.NewDN)))
		}
	} else {
		b = t.recordedBy(b, r)
	}
	if len(attrs) > 0 {
		b = list(b, "attrs", len(attrs), func(b []byte, i int) []byte { return quote(b, attrs[i]) })
		b = t.marked(b, len(attrs), func(i int) []byte { return []byte(attrs[i]) })
	}
	if n := len(r.Changes); n > 1 {
		b = num(b, "entries", uint64(n))
	}
	return num(num(b, "result", 0), "seq", r.Seq)
}

func (t *Trail) recordedBy(b []byte, r *Record) []byte {
	if r.Authenticated == "" {
		return str(b, "who", r.Author)
	}
	b = str(b, "who", strings.TrimPrefix(r.Authenticated, "dn:"))
	return str(b, "authzid", "dn:"+r.Author)
}

// CatchUp adds lines for the records that the log ends without. It is called once, when Committed is told of all that
// comes, and before clients may write.
func (t *Trail) CatchUp() error {
	j, m := t.o.Journal, t.journal.until
	if j == nil || m == nil {
		return nil
	}
	last := j.Last()
	if last < m.upTo {
		t.Event("store", Field{"problem", "the store is older than the log: it was restored or exchanged"})
	} else if err := t.complete(*m, last); err != nil {
		return fmt.Errorf("the audit log cannot be completed from the journal: %w", err)
	}
	t.mu.Lock()
	t.journal.until = nil
	t.journal.seen = max(t.journal.seen, last)
	t.mu.Unlock()
	return nil
}

// errFull says that lines are being lost.
var errFull = errors.New("it cannot be written")

// complete adds lines for the records behind those that are covered, up to last.
func (t *Trail) complete(m marks, last uint64) error {
	var full error
	n := 0
	err := t.o.Journal.Read(m.upTo+1, func(r *Record) bool {
		if r.Seq > last {
			return false
		}
		if _, there := slices.BinarySearch(m.ahead, r.Seq); there {
			return true
		}
		b := t.recorded(r)
		if b == nil {
			full = errFull
			return false
		}
		if n++; n%1000 == 0 {
			t.wait(b)
		}
		return true
	})
	return errors.Join(err, full)
}
