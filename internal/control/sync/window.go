package sync

import (
	"cmp"
	"slices"

	"github.com/google/uuid"

	"portolan/internal/dit"
	"portolan/internal/op"
)

// Limits of a stretch of the journal that is looked at entry by entry. Beyond them a client is brought up to date
// otherwise.
const (
	maxTouched = 50_000
	maxRenames = 2_000
	// maxHistory bounds the octets of changes that are kept to work out what entries were like.
	maxHistory = 32 << 20
)

// window is what a stretch of the journal says: which entries it touches, and which have been renamed.
type window struct {
	touched map[uuid.UUID]*touch
	order   []*touch // by the place of the change that put each where it is
	renames []rename // in the order of the journal
	// broken says that the journal does not tell the whole story: another epoch begins in it, a part of it is gone, or it is
	// too long.
	broken bool
}

// touch is what happened to one entry.
type touch struct {
	id uuid.UUID
	// at is the place of the last change that put the entry where it is; of the first one where none did.
	at uint64
	// renamed says that its name has changed. added says that the first of its changes added it: it was not there before.
	renamed, added bool
	// first is the number of renames of the window before the first change, and name what the entry was called then.
	first int
	name  string

	done    bool                // the client has been told
	in      bool                // refresh: it is in the content now
	was     bool                // refresh: it was in the content before
	changes []dit.JournalChange // refresh: of an entry that is not in the content now
}

// rename is the new name of an entry, and with it of all beneath.
type rename struct {
	old, new string
}

// readWindow reads the records behind from, up to to.
func readWindow(j op.Journal, from, to uint64) (*window, error) {
	w := &window{touched: make(map[uuid.UUID]*touch)}
	next := from + 1
	err := j.Read(next, func(rec *dit.JournalRecord) bool {
		if rec.Seq > to {
			return false
		}
		next = rec.Seq + 1
		if rec.Kind != dit.JournalTransaction {
			w.broken = true
			return false
		}
		for i := range rec.Changes {
			w.add(rec.Seq, i, &rec.Changes[i])
		}
		w.broken = len(w.touched) > maxTouched || len(w.renames) > maxRenames
		return !w.broken
	})
	if err == op.ErrTrimmed || err == nil && next <= to {
		w.broken, err = true, nil
	}
	slices.SortFunc(w.order, func(a, b *touch) int { return cmp.Compare(a.at, b.at) })
	return w, err
}

func (w *window) add(seq uint64, i int, c *dit.JournalChange) {
	at := seq<<20 | uint64(min(i, 1<<20-1))
	x := w.touched[c.UUID]
	if x == nil {
		x = &touch{id: c.UUID, at: at, added: c.Kind == dit.ChangeAdd, first: len(w.renames), name: c.OldDN}
		w.touched[c.UUID] = x
		w.order = append(w.order, x)
	}
	switch c.Kind {
	case dit.ChangeModify:
		return
	case dit.ChangeRename:
		if c.OldDN != c.NewDN {
			x.renamed = true
			w.renames = append(w.renames, rename{old: c.OldDN, new: c.NewDN})
		}
	}
	x.at = at
}
