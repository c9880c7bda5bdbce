package store

import (
	"context"
	"encoding/binary"
	"errors"
	"sort"
	"time"

	"portolan/internal/dit"
	"portolan/internal/kv"

	"github.com/google/uuid"
)

// journalStretch is how many records are read from one snapshot: readers of the journal may be slow.
const journalStretch = 256

// JournalBounds returns the sequences of the oldest and the newest durable record. Without records first is last + 1.
func (s *Store) JournalBounds() (first, last uint64) { return s.first.Load(), s.durable.Load().seq }

// JournalChanges returns how many changes all durable records have told of, those included that were trimmed.
func (s *Store) JournalChanges() uint64 { return s.durable.Load().changes }

// ReadJournal calls f for the durable records from this sequence on, in order, until there are no more or f returns false.
// From 0 it begins with the oldest. ErrTrimmed says that the record asked for is gone.
func (s *Store) ReadJournal(from uint64, f func(*Record) bool) error {
	if from == 0 {
		from = s.first.Load()
	}
	for {
		next, more, err := s.readStretch(from, f)
		if err != nil || !more {
			return err
		}
		from = next
	}
}

func (s *Store) readStretch(from uint64, f func(*Record) bool) (next uint64, more bool, err error) {
	v := s.View()
	defer v.Close()
	r, err := v.kvReader()
	if err != nil {
		return 0, false, err
	}
	last := v.Seq()
	if from > last {
		return 0, false, nil
	}
	it, err := r.Iter(journalKey(nil, from), journalKey(nil, last+1))
	if err != nil {
		return 0, false, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	n := 0
	for ok := it.First(); ok && n < journalStretch; ok = it.Next() {
		value, err := it.Value()
		if err != nil {
			return 0, false, err
		}
		rec, err := DecodeRecord(value)
		if err != nil {
			return 0, false, err
		}
		if rec.Seq != from {
			break
		}
		if !f(rec) {
			return 0, false, nil
		}
		from++
		n++
	}
	if err := it.Err(); err != nil {
		return 0, false, err
	}
	if n == 0 {
		if from < s.first.Load() {
			return 0, false, ErrTrimmed
		}
		return 0, false, corrupt("journal record %d is missing", from)
	}
	return from, true, nil
}

// JournalAt returns the sequence of the first durable record whose CSN is not below csn, one after the last where there is
// none. ErrTrimmed says that it may be a record that is gone: the oldest one is there but for nothing before it.
func (s *Store) JournalAt(csn dit.CSN) (uint64, error) {
	v := s.View()
	defer v.Close()
	r, err := v.kvReader()
	if err != nil {
		return 0, err
	}
	first, last := s.first.Load(), v.Seq()
	found, err := findRecord(r, first, last+1, func(h *recordHead) bool { return h.CSN.Compare(csn) >= 0 })
	if errors.Is(err, kv.ErrNotFound) {
		return 0, ErrTrimmed // meanwhile
	}
	if err != nil {
		return 0, err
	}
	if found > first || last < first {
		return found, nil
	}
	// What is before the oldest record is known only where it is that of csn, or the first of all.
	oldest, err := readHead(r, first)
	if err != nil {
		return 0, err
	}
	if oldest.CSN != csn && first > 1 {
		return 0, ErrTrimmed
	}
	return first, nil
}

// firstRecord returns the sequence of the oldest record, 0 without any.
func firstRecord(r kv.Reader) (seq uint64, err error) {
	it, err := r.Iter([]byte{spaceJournal}, []byte{spaceJournal + 1})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	if !it.First() {
		return 0, it.Err()
	}
	key := it.Key()
	if len(key) != 9 {
		return 0, corrupt("journal key of %d octets", len(key))
	}
	return binary.BigEndian.Uint64(key[1:]), nil
}

// trimInterval is how often the journal is held against Retention.
const trimInterval = time.Minute

// trimmer keeps the journal within its bounds until the store is closed.
func (s *Store) trimmer(ctx context.Context) {
	if s.o.Journal == (Retention{}) {
		return
	}
	ticker := time.NewTicker(trimInterval)
	defer ticker.Stop()
	for {
		if err := s.TrimJournal(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("the journal could not be trimmed", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// TrimJournal removes the oldest records as far as Retention allows. While the store is open it is done every minute.
func (s *Store) TrimJournal(ctx context.Context) error {
	keep, err := s.keepFrom()
	first := s.first.Load()
	if err != nil || keep <= first {
		return err
	}
	err = s.applyInternal(ctx, func(b kv.Batch) error {
		return b.DeleteRange(journalKey(nil, first), journalKey(nil, keep))
	})
	if err != nil {
		return err
	}
	// Records of another epoch may have come in the meantime; they are beyond all these.
	if s.first.CompareAndSwap(first, keep) {
		s.stats.trimmed.Add(int64(keep - first))
	}
	return nil
}

// keepFrom returns the first sequence that Retention keeps. Position and CSN rise with the sequence; the time of a record
// does but for steps of the clock, and counts where the CSN is that of older changes elsewhere (see Tx.Replay).
func (s *Store) keepFrom() (uint64, error) {
	v := s.View()
	defer v.Close()
	r, err := v.kvReader()
	if err != nil {
		return 0, err
	}
	first, last := s.first.Load(), v.Seq()
	if first >= last {
		return first, nil
	}
	newest, err := readHead(r, last)
	if err != nil {
		return 0, err
	}
	oldestPos, oldestMicros := uint64(0), int64(0)
	if m := s.o.Journal.MaxBytes; m > 0 && newest.end > uint64(m) {
		oldestPos = newest.end - uint64(m)
	}
	if a := s.o.Journal.MaxAge; a > 0 {
		oldestMicros = s.o.Now().Add(-a).UnixMicro()
	}
	return findRecord(r, first, last, func(h *recordHead) bool {
		return h.Pos >= oldestPos && max(h.CSN.Micros, h.Time.UnixMicro()) >= oldestMicros
	})
}

// JournalFind returns the sequence of the first durable record for which reached says true, one after the last where there
// is none. From a record on for which it says true it must say so for all that follow. It looks at few records. What has been
// trimmed is not looked at: the answer may be the oldest record that is left.
func (s *Store) JournalFind(reached func(*dit.JournalHead) bool) (uint64, error) {
	for {
		v := s.View()
		r, err := v.kvReader()
		if err != nil {
			v.Close()
			return 0, err
		}
		first := s.first.Load()
		seq, err := findRecord(r, first, max(first, v.Seq()+1), func(h *recordHead) bool { return reached(&h.JournalHead) })
		v.Close()
		if errors.Is(err, kv.ErrNotFound) && s.first.Load() > first {
			continue // trimmed meanwhile
		}
		return seq, err
	}
}

// findRecord returns the first sequence of from <= seq < to for which reached says true, or to.
func findRecord(r kv.Reader, from, to uint64, reached func(*recordHead) bool) (uint64, error) {
	var err error
	n := sort.Search(int(to-from), func(i int) bool {
		if err != nil {
			return true
		}
		var h recordHead
		h, err = readHead(r, from+uint64(i))
		return err != nil || reached(&h)
	})
	return from + uint64(n), err
}

// recordHead is a head with the position behind the record.
type recordHead struct {
	dit.JournalHead
	end uint64
}

func readHead(r kv.Reader, seq uint64) (recordHead, error) {
	b, err := r.Get(nil, journalKey(nil, seq))
	if err != nil {
		return recordHead{}, err
	}
	if len(b) < headLen {
		return recordHead{}, corrupt("journal record %d has %d octets", seq, len(b))
	}
	rest := recordReader{rest: b[headSeq:]}
	h := recordHead{}
	h.Seq, h.Pos, h.Before = rest.fixed(), rest.fixed(), rest.fixed()
	h.Time = time.UnixMicro(int64(rest.fixed())).UTC()
	h.CSN, h.end = rest.csn(), h.Pos+uint64(len(b))
	if rest.bad {
		return recordHead{}, corrupt("journal record %d ends in its head", seq)
	}
	return h, nil
}

// base is what a bulk load has put into the store.
type base struct {
	Entries int
	NextID  dit.ID
	CSN     dit.CSN // the highest that was issued before, to the entries or otherwise
}

// nextSeq is the journal sequence that the next record gets at least.
func (s *Store) nextSeq() uint64 { return s.durable.Load().seq + 1 }

// installBase begins an epoch with what a bulk load has put in, and removes the mark of the load. It is called within an
// exclusive step.
func (s *Store) installBase(in base) error {
	q := &s.seq
	epoch, err := uuid.NewRandomFromReader(s.o.Rand)
	if err != nil {
		return err
	}
	now := s.o.Now()
	high := q.high
	high.nextID, high.entries = max(high.nextID, in.NextID), int64(in.Entries)
	high.seq++
	if in.CSN.Compare(high.csn) > 0 {
		high.csn = in.CSN
	}
	high.csn = high.csn.Next(now, s.o.SID)
	record := appendHead(nil, RecordBase, epoch, dit.JournalHead{Seq: high.seq, Pos: high.pos, Before: high.changes, Time: now, CSN: high.csn})
	record = binary.BigEndian.AppendUint64(record, uint64(in.Entries))
	high.pos += uint64(len(record))
	b := s.db.NewBatch()
	defer b.Close()
	err = errors.Join(
		b.DeleteRange([]byte{spaceJournal}, []byte{spaceJournal + 1}),
		b.Set(journalKey(nil, high.seq), record),
		b.Set(metaKey(metaEpoch), epoch[:]),
		b.Set(metaKey(metaHigh), high.append(nil)),
		b.Delete(metaKey(metaLoading)),
	)
	if err != nil {
		return err
	}
	if err := s.db.Apply(b); err != nil {
		return err
	}
	if err := s.db.Sync(); err != nil {
		s.fail(err)
		return s.failed()
	}
	q.high = high
	q.tree++
	fresh := *q.gen
	fresh.caches = newCaches(s.o.CacheBytes, high.entries)
	q.setGeneration(&fresh)
	s.changedGeneration()
	s.epoch.Store(&epoch)
	s.first.Store(high.seq)
	return nil
}
