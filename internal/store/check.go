package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"portolan/internal/dit"
	"portolan/internal/kv"
)

// Finding is one defect that Check found.
type Finding struct {
	Where  string // an entry's name, or a key
	What   string // what is wrong
	Advice string // what to do
}

// CheckStats is what Check has looked at.
type CheckStats struct {
	Entries, Positions, LargeValues, Records, Postings int64
	Findings                                           int64
}

// checkPause is how many keys are looked at between looks at the context.
const checkPause = 1024

// Check verifies the store against itself as it was at one moment, and calls report for every defect. Writing goes on
// meanwhile. The error is of storage, or ctx.Err().
func (s *Store) Check(ctx context.Context, report func(Finding)) (CheckStats, error) {
	v := s.View()
	defer v.Close()
	r, err := v.kvReader()
	if err != nil {
		return CheckStats{}, err
	}
	c := &checker{ctx: ctx, v: v, r: r, children: make(map[dit.ID]int64)}
	c.report = func(f Finding) {
		c.stats.Findings++
		report(f)
	}
	for _, step := range []func() error{c.high, c.entries, c.uuids, c.positions, c.counts, c.large, c.journal} {
		if err := step(); err != nil {
			return c.stats, err
		}
	}
	return c.stats, s.checkIndexes(ctx, r, v.gen, nil, c.report, &c.stats)
}

type checker struct {
	ctx      context.Context
	v        *View
	r        kv.Reader
	report   func(Finding)
	stats    CheckStats
	mark     highWater
	children map[dit.ID]int64 // by what entries say

	key, buf []byte
}

func (c *checker) found(where, advice, format string, args ...any) {
	c.report(Finding{Where: where, What: fmt.Sprintf(format, args...), Advice: advice})
}

// What to do about a defect.
const (
	adviceRestore = "restore a backup, or export and import the entries that can be read"
	adviceImport  = "export and import the entries: an import makes everything else anew"
)

// scan calls f for all keys of a space.
func (c *checker) scan(space byte, f func(key, value []byte) error) (err error) {
	it, err := c.r.Iter([]byte{space}, []byte{space + 1})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	n := 0
	for ok := it.First(); ok; ok = it.Next() {
		if n++; n%checkPause == 0 {
			if err := c.ctx.Err(); err != nil {
				return err
			}
		}
		value, err := it.Value()
		if err != nil {
			return err
		}
		if err := f(it.Key(), value); err != nil {
			return err
		}
	}
	return it.Err()
}

func (c *checker) get(key []byte) ([]byte, bool, error) {
	var err error
	c.buf, err = c.r.Get(c.buf[:0], key)
	if errors.Is(err, kv.ErrNotFound) {
		return nil, false, nil
	}
	return c.buf, err == nil, err
}

func (c *checker) high() error {
	value, ok, err := c.get(metaKey(metaHigh))
	if err != nil {
		return err
	}
	if ok {
		c.mark, ok = parseHighWater(value)
	}
	if !ok {
		c.found("meta", adviceRestore, "the high-water marks are missing or damaged")
	}
	return nil
}

func (c *checker) entries() error {
	err := c.scan(spaceEntry, func(key, value []byte) error {
		if len(key) != 9 {
			c.found(fmt.Sprintf("key %x", key), adviceRestore, "not the key of an entry")
			return nil
		}
		c.stats.Entries++
		id := dit.ID(binary.BigEndian.Uint64(key[1:]))
		e, err := dit.DecodeEntry(c.v.gen.shapes, id, value)
		if err != nil {
			c.found(fmt.Sprintf("entry %d", id), adviceRestore, "%v", err)
			return nil
		}
		c.children[e.Parent]++
		return c.entry(e)
	})
	if err == nil && c.stats.Entries != c.mark.entries {
		c.found("meta", adviceImport, "there are %d entries, but %d were counted", c.stats.Entries, c.mark.entries)
	}
	return err
}

func (c *checker) entry(e *dit.Entry) error {
	where := fmt.Sprintf("entry %d (%s)", e.ID, e.RDN)
	if e.ID >= c.mark.nextID {
		c.found(where, adviceImport, "its id is beyond the next one to be given, %d", c.mark.nextID)
	}
	if e.Seq > c.mark.seq {
		c.found(where, adviceImport, "it was written by transaction %d, the newest is %d", e.Seq, c.mark.seq)
	}
	if e.Parent == 0 {
		if !c.v.gen.isSuffix(e.NormRDN) {
			c.found(where, "add the suffix to the configuration, or export without it and import", "it is the entry of a suffix that is not configured")
		}
	} else {
		c.key = entryKey(c.key[:0], e.Parent)
		if _, ok, err := c.get(c.key); err != nil {
			return err
		} else if !ok {
			c.found(where, adviceRestore, "its parent, entry %d, does not exist", e.Parent)
		}
	}
	c.key = uuidKey(c.key[:0], e.UUID)
	if err := c.pointsTo(where, "its entryUUID", e.ID); err != nil {
		return err
	}
	c.key = positionKey(c.key[:0], e.Parent, e.NormRDN)
	if err := c.pointsTo(where, "its position", e.ID); err != nil {
		return err
	}
	if !e.HasLarge() {
		return nil
	}
	for slot, d := range e.Shape().Slots {
		count, large := e.Large(slot)
		if !large {
			continue
		}
		n := 0
		err := largeEach(c.r, e.ID, d, func(key, value []byte) bool {
			n++
			return true
		})
		if err != nil {
			return err
		}
		if n != count {
			c.found(where, adviceImport, "%s has %d values, but %d were counted", d, n, count)
		}
	}
	return nil
}

// pointsTo verifies that c.key leads to an entry.
func (c *checker) pointsTo(where, what string, want dit.ID) error {
	value, ok, err := c.get(c.key)
	if err != nil {
		return err
	}
	if id, whole := readID(value); !ok || !whole || id != want {
		c.found(where, adviceImport, "%s does not lead to it", what)
	}
	return nil
}

// stored reads an entry without the caches, which a check must not trust.
func (c *checker) stored(id dit.ID) (*dit.Entry, error) {
	c.key = entryKey(c.key[:0], id)
	e, err := readEntry(c.r, c.v.gen.shapes, id, c.key, &c.buf)
	if errors.Is(err, ErrCorrupt) {
		return nil, nil // entries has said so
	}
	return e, err
}

func (c *checker) uuids() error {
	return c.scan(spaceUUID, func(key, value []byte) error {
		id, whole := readID(value)
		u, err := uuid.FromBytes(key[1:])
		if !whole || err != nil {
			c.found(fmt.Sprintf("key %x", key), adviceImport, "not an entryUUID's key and value")
			return nil
		}
		e, err := c.stored(id)
		if err != nil {
			return err
		}
		if e == nil || e.UUID != u {
			c.found("entryUUID "+u.String(), adviceImport, "it leads to entry %d, which is not this one", id)
		}
		return nil
	})
}

func (c *checker) positions() error {
	return c.scan(spacePosition, func(key, value []byte) error {
		c.stats.Positions++
		id, whole := readID(value)
		if !whole || len(key) < 10 {
			c.found(fmt.Sprintf("key %x", key), adviceImport, "not a position's key and value")
			return nil
		}
		e, err := c.stored(id)
		if err != nil {
			return err
		}
		parent := dit.ID(binary.BigEndian.Uint64(key[1:]))
		if e == nil || e.Parent != parent || e.NormRDN != string(key[9:]) {
			c.found(fmt.Sprintf("position %s beneath entry %d", key[9:], parent), adviceImport, "it leads to entry %d, which stands elsewhere", id)
		}
		return nil
	})
}

func (c *checker) counts() error {
	err := c.scan(spaceCount, func(key, value []byte) error {
		if len(key) != 9 {
			c.found(fmt.Sprintf("key %x", key), adviceImport, "not the key of a child count")
			return nil
		}
		parent := dit.ID(binary.BigEndian.Uint64(key[1:]))
		if n := readCount(value); n != c.children[parent] {
			c.found(fmt.Sprintf("entry %d", parent), adviceImport, "it has %d children, but %d were counted", c.children[parent], n)
		}
		delete(c.children, parent)
		return nil
	})
	for parent, n := range c.children {
		c.found(fmt.Sprintf("entry %d", parent), adviceImport, "it has %d children, but they were not counted", n)
	}
	return err
}

// large looks for values that belong to no entry.
func (c *checker) large() error {
	var at dit.ID
	var e *dit.Entry
	return c.scan(spaceLarge, func(key, _ []byte) error {
		c.stats.LargeValues++
		if len(key) < 9 {
			c.found(fmt.Sprintf("key %x", key), adviceImport, "not the key of a large value")
			return nil
		}
		if id := dit.ID(binary.BigEndian.Uint64(key[1:])); id != at {
			at = id
			var err error
			if e, err = c.stored(id); err != nil {
				return err
			}
		}
		if e != nil {
			for slot, d := range e.Shape().Slots {
				if _, large := e.Large(slot); !large {
					continue
				}
				c.key = largeKey(c.key[:0], e.ID, d)
				if len(key) >= len(c.key) && string(key[:len(c.key)]) == string(c.key) {
					return nil
				}
			}
		}
		c.found(fmt.Sprintf("entry %d", at), adviceImport, "a value is kept that no large attribute of it has")
		return nil
	})
}

func (c *checker) journal() error {
	var last *Record
	var end uint64
	err := c.scan(spaceJournal, func(key, value []byte) error {
		c.stats.Records++
		where := fmt.Sprintf("journal key %x", key[1:])
		rec, err := DecodeRecord(value)
		if err != nil {
			c.found(where, adviceImport, "%v", err)
			return nil
		}
		if len(key) != 9 || binary.BigEndian.Uint64(key[1:]) != rec.Seq {
			c.found(where, adviceImport, "it holds record %d", rec.Seq)
		}
		if last != nil {
			if rec.Seq != last.Seq+1 {
				c.found(where, adviceImport, "records %d to %d are missing", last.Seq+1, rec.Seq-1)
			} else if rec.Pos != end {
				c.found(where, adviceImport, "it says that %d octets are before it, there are %d", rec.Pos, end)
			} else if want := last.Before + uint64(len(last.Changes)); rec.Before != want {
				c.found(where, adviceImport, "it says that %d changes are before it, there are %d", rec.Before, want)
			}
			if rec.CSN.Compare(last.CSN) < 0 {
				c.found(where, adviceImport, "its CSN %s is below the one before, %s", rec.CSN, last.CSN)
			}
		}
		last, end = rec, rec.Pos+uint64(len(value))
		return nil
	})
	switch {
	case err != nil:
	case last == nil && c.mark.seq > 0:
		c.found("journal", adviceImport, "it is empty, but has come to record %d", c.mark.seq)
	case last != nil && (last.Seq != c.mark.seq || last.CSN != c.mark.csn || end != c.mark.pos ||
		last.Before+uint64(len(last.Changes)) != c.mark.changes):
		c.found("journal", adviceImport, "its newest record is %d, but has been %d", last.Seq, c.mark.seq)
	}
	return err
}
