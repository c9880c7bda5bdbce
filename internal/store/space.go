package store

import "time"

// spaceGate refuses writes while there is too little free space: an engine that meets a full disk in the middle of a
// commit cannot go on. It asks only now and then, unless it is refusing.
type spaceGate struct {
	asked   time.Time
	written uint64 // since asked
	short   bool
}

// How long, and for how many octets, an answer about free space is good.
const (
	spaceInterval = time.Second
	spaceOctets   = 4 << 20
)

func (g *spaceGate) check(s *Store) error {
	if s.o.FreeSpace == nil {
		return nil
	}
	now := s.o.Now()
	if age := now.Sub(g.asked); !g.short && !g.asked.IsZero() && age >= 0 && age < spaceInterval && g.written < spaceOctets {
		return nil
	}
	free, err := s.o.FreeSpace()
	if err != nil {
		// What cannot be asked cannot be guarded; the next transaction asks again.
		s.log.Warn("free space", "error", err)
		return nil
	}
	g.asked, g.written = now, 0
	if short := free < s.o.MinFree; short != g.short {
		g.short = short
		if short {
			s.log.Error("the disk is nearly full: writes are refused", "free", free, "floor", s.o.MinFree)
		} else {
			s.log.Info("there is space again: writes are taken", "free", free)
		}
	}
	if g.short {
		s.stats.refused.Add(1)
		return ErrNoSpace
	}
	return nil
}
