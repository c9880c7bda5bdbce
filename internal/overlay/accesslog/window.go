package accesslog

import (
	"context"
	"errors"
	"math"
	"strconv"
	"strings"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/ldap"
)

// window is the part of the journal that a query can be about: change numbers from lo to hi, and records between two times.
type window struct {
	lo, hi             uint64
	notBefore, notPast int64  // microseconds since 1970
	name               string // canonical name of the one entry that is wanted, where that is not told by its number
}

func all() window {
	return window{lo: 1, hi: math.MaxUint64, notBefore: math.MinInt64, notPast: math.MaxInt64}
}

// named narrows the window to the entry of a canonical name; false where it is none of an entry.
func (w *window) named(s *schema.Schema, k kind, norm, top string) bool {
	rdn, is := strings.CutSuffix(norm, ","+top)
	if !is {
		return false
	}
	dn, err := ldap.ParseDN(rdn)
	if err != nil || len(dn) != 1 || len(dn[0]) != 1 {
		return false
	}
	ava, t := &dn[0][0], s.AttributeTypeString(dn[0][0].Type)
	if k == accesslog {
		at, err := schema.ParseGeneralizedTime(ava.Value)
		w.notBefore, w.notPast, w.name = at.UnixMicro(), at.UnixMicro(), norm
		return err == nil && t == s.AttributeTypeString("reqStart")
	}
	n, err := strconv.ParseUint(string(ava.Value), 10, 64)
	w.lo, w.hi = n, n
	return err == nil && t == s.AttributeTypeString("changeNumber")
}

// filter narrows the window to what a filter can match: its parts that all must hold.
func (w *window) filter(f *dit.Filter) { w.node(f, 0) }

func (w *window) node(f *dit.Filter, at int32) {
	if int(at) >= len(f.Nodes) {
		return
	}
	n := &f.Nodes[at]
	if n.Op == ldap.FilterAnd {
		for child := n.First; child != ldap.None; child = f.Nodes[child].Next {
			w.node(f, child)
		}
		return
	}
	if n.Undefined || n.Desc.Type == nil || n.Desc.Options != "" {
		return
	}
	least, most := n.Op == ldap.FilterEquality || n.Op == ldap.FilterGreaterOrEqual, n.Op == ldap.FilterEquality || n.Op == ldap.FilterLessOrEqual
	switch n.Desc.Type.Name() {
	case "changeNumber":
		v, err := strconv.ParseInt(string(n.Value), 10, 64)
		if err != nil {
			return
		}
		if least && v > 0 {
			w.lo = max(w.lo, uint64(v))
		}
		if most {
			w.hi = min(w.hi, uint64(max(v, 0)))
		}
	case "reqStart":
		if at, err := schema.ParseGeneralizedTime(n.Value); err == nil {
			w.times(at.UnixMicro(), least, most)
		}
	case "entryCSN":
		// A record has the time of the last of its CSNs.
		if csn, err := dit.ParseCSN(n.Value); err == nil {
			w.times(csn.Micros, least, false)
		}
	}
}

func (w *window) times(micros int64, least, most bool) {
	if least {
		w.notBefore = max(w.notBefore, micros)
	}
	if most {
		w.notPast = min(w.notPast, micros)
	}
}

// after leaves out what a query has got before.
func (w *window) after(q *op.TreeQuery) {
	switch {
	case q.After == 0:
	case q.Order < 0:
		if q.After != behind {
			w.hi = min(w.hi, q.After-2)
		}
	case q.After == behind:
		w.hi = 0
	default:
		w.lo = max(w.lo, q.After)
	}
	if q.Until != 0 {
		w.hi = min(w.hi, q.Until-1)
	}
}

// change is one change of the journal.
type change struct {
	*dit.JournalChange
	record *dit.JournalRecord
	index  int
	number uint64
}

// Bounds of what is read of the journal at a time: records, and what they take.
const (
	stretch       = 64
	stretchOctets = 1 << 20
)

// walk calls f for the changes of a window, in their order or the other way round. No snapshot is held while f runs, and no
// more than a stretch of records is in memory.
func (l *log) walk(ctx context.Context, w *window, reverse bool, f func(*change) error) error {
	if w.lo > w.hi {
		return nil
	}
	from, to, err := l.records(w)
	if err != nil {
		return err
	}
	if reverse {
		return l.backward(ctx, w, from, to, f)
	}
	var batch []*dit.JournalRecord
	for from <= to {
		if err := ctx.Err(); err != nil {
			return err
		}
		if batch, err = l.read(batch[:0], from, to); err != nil {
			return err
		}
		if len(batch) == 0 {
			return nil
		}
		for _, r := range batch {
			for i := range r.Changes {
				if err := w.pass(r, i, f); err != nil {
					return err
				}
			}
		}
		from = batch[len(batch)-1].Seq + 1
	}
	return nil
}

// backward is walk the other way round.
func (l *log) backward(ctx context.Context, w *window, from, to uint64, f func(*change) error) error {
	const step = stretch / 4
	var batch []*dit.JournalRecord
	for to >= from && to > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		// What is read ends where the stretch before began; one that is too large to be read at once is read in parts.
		start := from
		if to-from >= step {
			start = to - step + 1
		}
		for {
			var err error
			if batch, err = l.read(batch[:0], start, to); err != nil {
				return err
			}
			if len(batch) == 0 {
				return nil // trimmed meanwhile
			}
			last := batch[len(batch)-1].Seq
			if last == to {
				break
			}
			start = last + 1
		}
		for k := len(batch) - 1; k >= 0; k-- {
			for i := len(batch[k].Changes) - 1; i >= 0; i-- {
				if err := w.pass(batch[k], i, f); err != nil {
					return err
				}
			}
		}
		to = batch[0].Seq - 1
	}
	return nil
}

// pass calls f for a change if it is in the window.
func (w *window) pass(r *dit.JournalRecord, i int, f func(*change) error) error {
	n := r.Before + uint64(i) + 1
	if n < w.lo || n > w.hi || r.CSN.Micros < w.notBefore || r.CSN.Micros > w.notPast {
		return nil
	}
	return f(&change{JournalChange: &r.Changes[i], record: r, index: i, number: n})
}

// read reads a stretch of records, from the oldest where those asked for are gone.
func (l *log) read(batch []*dit.JournalRecord, from, to uint64) ([]*dit.JournalRecord, error) {
	for {
		octets := uint64(0)
		err := l.Journal.Read(from, func(r *dit.JournalRecord) bool {
			if r.Seq > to {
				return false
			}
			if len(batch) > 0 {
				octets += r.Pos - batch[len(batch)-1].Pos
			}
			batch = append(batch, r)
			return len(batch) < stretch && octets < stretchOctets && r.Seq < to
		})
		if !errors.Is(err, op.ErrTrimmed) {
			return batch, err
		}
		first, _ := l.Journal.Bounds()
		if first <= from || len(batch) > 0 {
			return batch, nil
		}
		if from = first; from > to {
			return batch, nil
		}
	}
}

// records returns the sequences of the first and the last record that the window can be about.
func (l *log) records(w *window) (from, to uint64, err error) {
	from, to = l.Journal.Bounds()
	if w.lo > 1 || w.notBefore > math.MinInt64 {
		first := from
		// The record with change lo is the one before the first that has as many before it.
		if from, err = l.Journal.Find(func(h *dit.JournalHead) bool { return h.Before >= w.lo }); err != nil {
			return 0, 0, err
		}
		from = max(first, from-min(from, 1))
		since, err := l.Journal.Find(func(h *dit.JournalHead) bool { return h.CSN.Micros >= w.notBefore })
		if err != nil {
			return 0, 0, err
		}
		from = max(from, since)
	}
	if w.hi < math.MaxUint64 || w.notPast < math.MaxInt64 {
		end, err := l.Journal.Find(func(h *dit.JournalHead) bool { return h.Before >= w.hi || h.CSN.Micros > w.notPast })
		if err != nil {
			return 0, 0, err
		}
		to = min(to, end-min(end, 1))
	}
	return from, to, nil
}
