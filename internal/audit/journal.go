package audit

import (
	"cmp"
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

// journalMarks knows which records have their lines. Trail.mu guards it. Every change costs the same however many records
// wait: one that nobody claims keeps all later ones here for as long as it waits.
type journalMarks struct {
	seen    uint64    // the newest record
	waiting []waiting // by sequence; the first has no line in the file
	// batch is the number of the batch that lines are added to, written that of the last one whose lines are in the file.
	batch, written uint64
	// until, where not nil, is what the log covers until the lines of CatchUp are in the file: those are in batches up to
	// caughtUp, which is 0 until they have been added.
	until    *marks
	caughtUp uint64
}

// waiting is a record whose line is not in the file yet.
type waiting struct {
	seq   uint64
	since time.Time
	// line is one more than the number of the batch that its line is in; 0 without one.
	line  uint64
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
		j.waiting = j.waiting[1:]
	}
}

// claim notes that the line of a record is among those that are added now.
func (j *journalMarks) claim(seq uint64) {
	i, there := slices.BinarySearchFunc(j.waiting, seq, func(w waiting, seq uint64) int { return cmp.Compare(w.seq, seq) })
	if there && j.waiting[i].line == 0 {
		j.waiting[i].line = j.batch + 1
	}
}

// next begins another batch, and returns the number of the one that is to be written.
func (j *journalMarks) next() uint64 {
	j.batch++
	return j.batch - 1
}

// inFile notes that all lines of a batch are in the file, and those of all batches before it.
func (j *journalMarks) inFile(batch uint64) {
	j.written = batch + 1
	if j.caughtUp > 0 && j.caughtUp <= j.written {
		j.until, j.caughtUp = nil, 0
	}
	n := 0
	for n < len(j.waiting) && j.covered(&j.waiting[n]) {
		n++
	}
	j.waiting = j.waiting[n:]
}

func (j *journalMarks) covered(w *waiting) bool { return w.line != 0 && w.line <= j.written }

// upTo returns the sequence up to which every record has its line in the file.
func (j *journalMarks) upTo() uint64 {
	switch {
	case j.until != nil:
		return j.until.upTo
	case len(j.waiting) == 0:
		return j.seen
	}
	return j.waiting[0].seq - 1
}

// marks returns all that the file covers. It looks at every record that waits.
func (j *journalMarks) marks() marks {
	if j.until != nil {
		return *j.until
	}
	m := marks{upTo: j.upTo()}
	for i := range j.waiting {
		if w := &j.waiting[i]; j.covered(w) {
			m.ahead = append(m.ahead, w.seq)
		}
	}
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
		if w.line == 0 && !w.asked {
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
	t.journal.seen = max(t.journal.seen, last)
	t.journal.caughtUp = t.journal.batch + 1
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
