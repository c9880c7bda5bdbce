package sync

import (
	"context"

	"github.com/google/uuid"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/ldap"
)

// deletePhase brings a client up to date by the journal. told is false where that cannot be done; nothing has been sent then.
func (s *session) deletePhase(ctx context.Context, r op.Snapshot, sight op.Sight, from uint64) (told bool, err error) {
	w, err := readWindow(s.Journal, from, s.seq)
	if err != nil || w.broken {
		return false, err
	}
	p, err := newPast(s, r, w)
	if err != nil {
		return false, err
	}
	if told, err = s.history(ctx, r, sight, p, from); !told || err != nil {
		return told, err
	}
	t := &turn{s: s, now: r, sight: sight, w: w, state: ldap.SyncAdd, together: 1}
	t.was = func(id uuid.UUID, e *dit.Entry, x *touch) (op.Found, string, error) {
		was := x != nil && x.was
		if x == nil {
			var err error
			if was, err = p.was(id, e, nil); err != nil {
				return op.FoundNot, "", err
			}
		}
		if !was {
			return op.FoundNot, "", nil
		}
		return op.FoundEntry, "", nil
	}
	return true, t.run(ctx)
}

// history finds out which of the touched entries that are not in the content now were in it.
func (s *session) history(ctx context.Context, r op.Snapshot, sight op.Sight, p *past, from uint64) (known bool, err error) {
	left := 0
	for _, x := range p.w.order {
		if err := s.within(ctx); err != nil {
			return false, err
		}
		e, err := r.ByUUID(x.id)
		if err != nil {
			return false, err
		}
		if e != nil {
			if _, err := sight.Look(e); err != nil {
				return false, err
			}
			found, err := s.found(sight)
			if err != nil {
				return false, err
			}
			x.in = found != op.FoundNot
		}
		if !x.in && !x.added {
			left++
		}
	}
	if left == 0 {
		return true, nil
	}
	if known, err = s.collect(p.w, from); !known || err != nil {
		return known, err
	}
	for _, x := range p.w.order {
		if x.in || x.added {
			continue
		}
		if err := s.within(ctx); err != nil {
			return false, err
		}
		e, err := r.ByUUID(x.id)
		if err != nil {
			return false, err
		}
		if x.was, err = p.was(x.id, e, x); err != nil {
			return false, err
		}
		x.changes = nil
	}
	return true, nil
}

// collect keeps the changes of the entries that are not in the content; false where they are too many.
func (s *session) collect(w *window, from uint64) (bool, error) {
	octets := 0
	err := s.Journal.Read(from+1, func(rec *dit.JournalRecord) bool {
		if rec.Seq > s.seq {
			return false
		}
		for i := range rec.Changes {
			c := &rec.Changes[i]
			if x := w.touched[c.UUID]; x != nil && !x.in && !x.added {
				x.changes = append(x.changes, *c)
				octets += sizeOf(c)
			}
		}
		return octets <= maxHistory
	})
	if err == op.ErrTrimmed {
		return false, nil
	}
	return octets <= maxHistory, err
}

func sizeOf(c *dit.JournalChange) int {
	n := 256
	for i := range c.Attrs {
		for _, list := range [2][][]byte{c.Attrs[i].Added, c.Attrs[i].Deleted} {
			for _, v := range list {
				n += len(v) + 32
			}
		}
	}
	return n
}
