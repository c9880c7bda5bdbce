package store

import (
	"cmp"
	"encoding/binary"
	"errors"
	"slices"

	"github.com/RoaringBitmap/roaring/v2/roaring64"

	"portolan/internal/dit"
	"portolan/internal/kv"
)

// An entry has a hundred grams or so, and most of them it shares with others that are added at the same time. So a
// transaction does not write their operands itself: it notes, under one key of the space of grams, which grams of which
// entries come and go. The notes of a group are settled before the group can be seen by anybody: one batch has one operand
// for each posting, with all ids that come and go in it, and takes the notes away.
//
// A note is in the batch of its transaction, and is taken away by the batch that does what it says. So whatever a crash
// leaves of the two, either there is no note or what it says is still to be done, which Open does. To do it twice would
// change nothing. Notes are done in the order of their transactions; where an id comes and goes in one posting the last
// word counts.
//
//	note     run*
//	run      index(4) id(8) gram*n gram*m: those that come and those that go, each as uvarint(n), then differences as uvarints

// gramSink takes the grams of an entry that come and go, both ascending, in place of an operand for each.
type gramSink interface {
	Grams(x *index, id dit.ID, come, gone []uint32) error
}

// gathered are the notes of the open group.
type gathered struct {
	notes []byte
	seqs  []uint64 // of the transactions that have written them
}

func gramsKey(dst []byte, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, spaceGrams), seq)
}

// appendGramNote appends a run of a note.
func appendGramNote(dst []byte, index uint32, id dit.ID, come, gone []uint32) []byte {
	dst = appendID(binary.BigEndian.AppendUint32(dst, index), id)
	for _, grams := range [...][]uint32{come, gone} {
		dst = binary.AppendUvarint(dst, uint64(len(grams)))
		last := uint32(0)
		for _, g := range grams {
			dst = binary.AppendUvarint(dst, uint64(g-last))
			last = g
		}
	}
	return dst
}

// gramOp is one id that comes into a posting or goes.
type gramOp struct {
	index, gram uint32
	id          dit.ID
	turn        uint32 // its place in the notes
	gone        bool
}

// readGramNote appends what a note says.
func readGramNote(dst []gramOp, note []byte) ([]gramOp, error) {
	bad := func() ([]gramOp, error) { return nil, corrupt("a note of grams ends too early") }
	for len(note) > 0 {
		if len(note) < 12 {
			return bad()
		}
		op := gramOp{index: binary.BigEndian.Uint32(note), id: dit.ID(binary.BigEndian.Uint64(note[4:]))}
		note = note[12:]
		for _, op.gone = range [...]bool{false, true} {
			count, used := binary.Uvarint(note)
			if used <= 0 || count > uint64(len(note)) {
				return bad()
			}
			note = note[used:]
			op.gram = 0
			for range count {
				step, used := binary.Uvarint(note)
				if used <= 0 {
					return bad()
				}
				note = note[used:]
				op.gram, op.turn = op.gram+uint32(step), uint32(len(dst))
				dst = append(dst, op)
			}
		}
	}
	return dst, nil
}

// writeGrams writes what notes say, one operand for each posting. It puts ops in another order.
func writeGrams(to kv.Writer, ops []gramOp) error {
	slices.SortFunc(ops, func(a, b gramOp) int {
		if c := cmp.Compare(uint64(a.index)<<32|uint64(a.gram), uint64(b.index)<<32|uint64(b.gram)); c != 0 {
			return c
		}
		if c := cmp.Compare(a.id, b.id); c != 0 {
			return c
		}
		return cmp.Compare(a.turn, b.turn)
	})
	var key, gram, operand []byte
	var come, gone []uint16
	for len(ops) > 0 {
		first := ops[0]
		chunk, _ := splitID(first.id)
		come, gone = come[:0], gone[:0]
		for len(ops) > 0 && len(come)+len(gone) < changesMax {
			op := ops[0]
			of, low := splitID(op.id)
			if op.index != first.index || op.gram != first.gram || of != chunk {
				break
			}
			ops = ops[1:]
			if len(ops) > 0 && ops[0].index == op.index && ops[0].gram == op.gram && ops[0].id == op.id {
				continue // not the last word
			}
			if op.gone {
				gone = append(gone, low)
			} else {
				come = append(come, low)
			}
		}
		gram = appendGram(gram[:0], first.gram)
		key = append(appendEscaped(appendHeaderOf(key[:0], first.index, IndexSubstring), gram), 0)
		key = appendChunkNumber(key, chunk)
		operand = appendChanges(operand[:0], come, gone)
		if err := to.Merge(key, operand); err != nil {
			return err
		}
	}
	return nil
}

// Grams notes the grams of an entry that come and go.
func (w indexWriter) Grams(x *index, id dit.ID, come, gone []uint32) error {
	if len(come)+len(gone) == 0 {
		return nil
	}
	w.t.grams = appendGramNote(w.t.grams, x.id, id, come, gone)
	if isLast(come, gramRest) || isLast(gone, gramRest) {
		w.t.key = appendChunkNumber(appendPosting(w.t.key[:0], x, IndexSubstring, nil), 0)
		w.note(w.t.key)
	}
	return nil
}

// isLast reports whether an ascending list ends with the greatest gram.
func isLast(grams []uint32, greatest uint32) bool {
	return len(grams) > 0 && grams[len(grams)-1] == greatest
}

// settleGrams does what the notes of the open group say.
func (q *sequencer) settleGrams() error {
	if len(q.gathered.seqs) == 0 {
		return nil
	}
	ops, err := readGramNote(q.ops[:0], q.gathered.notes)
	if err != nil {
		return err
	}
	q.ops = ops
	b := q.s.db.NewBatch()
	defer b.Close()
	if err := writeGrams(b, ops); err != nil {
		return err
	}
	var key []byte
	for _, seq := range q.gathered.seqs {
		key = gramsKey(key[:0], seq)
		if err := b.Delete(key); err != nil {
			return err
		}
	}
	if err := q.apply(b); err != nil {
		return err
	}
	q.gathered.notes, q.gathered.seqs = q.gathered.notes[:0], q.gathered.seqs[:0]
	if cap(q.gathered.notes) > keepScratch {
		q.gathered.notes = nil
	}
	if cap(q.ops) > keepScratch {
		q.ops = nil
	}
	return nil
}

// settleGrams makes the substring indexes show what the transaction, and those before it, have written.
func (t *Tx) settleGrams() error {
	if err := t.sq.settleGrams(); err != nil || len(t.grams) == 0 {
		return err
	}
	ops, err := readGramNote(nil, t.grams)
	if err != nil {
		return err
	}
	t.grams = t.grams[:0]
	return writeGrams(t.b, ops)
}

// recoverGrams does what a crash has left undone. A store that may not be written to only remembers of which entries there
// are grams missing, or too many.
func (s *Store) recoverGrams() (unsettled *dit.IDSet, err error) {
	ops, seqs, err := readGramNotes(s.db)
	if err != nil || len(seqs) == 0 {
		return nil, err
	}
	if s.o.ReadOnly {
		unsettled = roaring64.New()
		for _, op := range ops {
			unsettled.Add(uint64(op.id))
		}
		return unsettled, nil
	}
	b := s.db.NewBatch()
	defer b.Close()
	if err := writeGrams(b, ops); err != nil {
		return nil, err
	}
	for _, seq := range seqs {
		if err := b.Delete(gramsKey(nil, seq)); err != nil {
			return nil, err
		}
	}
	if err := s.db.Apply(b); err != nil {
		return nil, err
	}
	return nil, s.db.Sync()
}

func readGramNotes(r kv.Reader) (ops []gramOp, seqs []uint64, err error) {
	it, err := r.Iter([]byte{spaceGrams}, []byte{spaceGrams + 1})
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		key := it.Key()
		if len(key) != 9 {
			return nil, nil, corrupt("a key of %d octets in the space of grams", len(key))
		}
		value, err := it.Value()
		if err != nil {
			return nil, nil, err
		}
		if ops, err = readGramNote(ops, value); err != nil {
			return nil, nil, err
		}
		seqs = append(seqs, binary.BigEndian.Uint64(key[1:]))
	}
	return ops, seqs, it.Err()
}
