package store

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"portolan/internal/dit"
	"portolan/internal/kv"
)

// Names in the meta space.
const (
	metaFormat = "format" // format version, 4 octets
	metaEpoch  = "epoch"  // uuid
	metaHigh   = "high"   // highWater
	metaSchema = "schema" // live definitions: see schema.AppendLive

	metaLoading = "index/loading" // a bulk load is under way; the loader's
)

// format is one step of the ladder: the version it leads to, a name for logs, and how data of the version before become
// data of this one. Steps are never changed once released.
type format struct {
	version uint32
	name    string
	// upgrade changes the data through b, which is applied with the new version number. It must be possible to run it again
	// after a power cut, and large changes are to be made with batches of their own before. nil changes nothing.
	upgrade func(db kv.DB, b kv.Batch) error
}

// formats is the ladder of the on-disk format, from the first version on, without gaps.
var formats = []format{
	{1, "first format", nil},
	{2, "notes of grams", nil},
}

// upgrade brings the data to the last format of the ladder, or writes that into an empty store.
func (s *Store) upgrade(ladder []format) error {
	last := ladder[len(ladder)-1].version
	have, err := s.formatVersion()
	if err != nil {
		return err
	}
	if have > last {
		return ErrNewerFormat{Have: have, Want: last}
	}
	if have == last {
		return nil
	}
	if s.o.ReadOnly {
		if have != 0 && readable(ladder, have) {
			return nil
		}
		return fmt.Errorf("%w: the data is of format %d and must be brought to %d first; open it once for writing", ErrReadOnly, have, last)
	}
	if have == 0 {
		return s.initialize(last)
	}
	for _, step := range ladder {
		if step.version <= have {
			continue
		}
		s.log.Info("upgrading the store", "format", step.version, "name", step.name)
		if err := s.climb(step); err != nil {
			return fmt.Errorf("store: upgrade to format %d (%s): %w", step.version, step.name, err)
		}
	}
	return nil
}

// readable reports whether data of an older format are what they would be after the upgrade.
func readable(ladder []format, have uint32) bool {
	for _, step := range ladder {
		if step.version > have && step.upgrade != nil {
			return false
		}
	}
	return true
}

func (s *Store) climb(step format) error {
	b := s.db.NewBatch()
	defer b.Close()
	if step.upgrade != nil {
		if err := step.upgrade(s.db, b); err != nil {
			return err
		}
	}
	if err := b.Set(metaKey(metaFormat), binary.BigEndian.AppendUint32(nil, step.version)); err != nil {
		return err
	}
	if err := s.db.Apply(b); err != nil {
		return err
	}
	return s.db.Sync()
}

// formatVersion returns 0 for an empty store.
func (s *Store) formatVersion() (uint32, error) {
	v, err := s.db.Get(nil, metaKey(metaFormat))
	switch {
	case errors.Is(err, kv.ErrNotFound):
		it, err := s.db.Iter(nil, nil)
		if err != nil {
			return 0, err
		}
		empty := !it.First()
		if err := errors.Join(it.Err(), it.Close()); err != nil {
			return 0, err
		}
		if !empty {
			return 0, corrupt("there are keys but no format version")
		}
		return 0, nil
	case err != nil:
		return 0, err
	case len(v) != 4:
		return 0, corrupt("the format version has %d octets", len(v))
	}
	return binary.BigEndian.Uint32(v), nil
}

// initialize writes the meta data of an empty store.
func (s *Store) initialize(version uint32) error {
	epoch, err := uuid.NewRandomFromReader(s.o.Rand)
	if err != nil {
		return err
	}
	b := s.db.NewBatch()
	defer b.Close()
	err = errors.Join(
		b.Set(metaKey(metaFormat), binary.BigEndian.AppendUint32(nil, version)),
		b.Set(metaKey(metaEpoch), epoch[:]),
		b.Set(metaKey(metaHigh), highWater{nextID: 1}.append(nil)),
	)
	if err != nil {
		return err
	}
	if err := s.db.Apply(b); err != nil {
		return err
	}
	return s.db.Sync()
}

// loadMeta reads epoch, high-water marks and the beginning of the journal.
func (s *Store) loadMeta() (highWater, error) {
	epoch, err := s.db.Get(nil, metaKey(metaEpoch))
	if err != nil {
		return highWater{}, fmt.Errorf("store: epoch: %w", err)
	}
	id, err := uuid.FromBytes(epoch)
	if err != nil {
		return highWater{}, corrupt("epoch: %v", err)
	}
	s.epoch.Store(&id)
	value, err := s.db.Get(nil, metaKey(metaHigh))
	if err != nil {
		return highWater{}, fmt.Errorf("store: high-water marks: %w", err)
	}
	high, ok := parseHighWater(value)
	if !ok {
		return highWater{}, corrupt("the high-water marks have %d octets", len(value))
	}
	first, err := firstRecord(s.db)
	if err != nil {
		return highWater{}, err
	}
	if first == 0 {
		first = high.seq + 1
	}
	s.first.Store(first)
	return high, nil
}

// highWater is what only ever rises, and a count. It is written with every transaction.
type highWater struct {
	nextID dit.ID  // the id that the next added entry gets
	seq    uint64  // of the newest journal record
	pos    uint64  // octets of all journal records ever written
	csn    dit.CSN // highest CSN issued
	// changes that all journal records ever written tell of
	changes uint64

	entries int64 // how many there are; this one also falls
}

const highWaterLen = 8 + 8 + 8 + 8 + 4 + 2 + 4 + 8 + 8

func (h highWater) append(dst []byte) []byte {
	dst = appendID(dst, h.nextID)
	dst = binary.BigEndian.AppendUint64(dst, h.seq)
	dst = binary.BigEndian.AppendUint64(dst, h.pos)
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.csn.Micros))
	dst = binary.BigEndian.AppendUint32(dst, h.csn.Count)
	dst = binary.BigEndian.AppendUint16(dst, h.csn.SID)
	dst = binary.BigEndian.AppendUint32(dst, h.csn.Mod)
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.entries))
	return binary.BigEndian.AppendUint64(dst, h.changes)
}

func parseHighWater(b []byte) (highWater, bool) {
	if len(b) != highWaterLen {
		return highWater{}, false
	}
	u64 := binary.BigEndian.Uint64
	h := highWater{nextID: dit.ID(u64(b)), seq: u64(b[8:]), pos: u64(b[16:])}
	h.csn = dit.CSN{
		Micros: int64(u64(b[24:])),
		Count:  binary.BigEndian.Uint32(b[32:]),
		SID:    binary.BigEndian.Uint16(b[36:]),
		Mod:    binary.BigEndian.Uint32(b[38:]),
	}
	h.entries, h.changes = int64(u64(b[42:])), u64(b[50:])
	return h, h.nextID > 0 && h.entries >= 0
}
