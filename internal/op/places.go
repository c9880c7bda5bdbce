package op

import "sync/atomic"

// Places bound how many operations of a kind may be under way at one time: those that last until the client ends them.
type Places struct {
	most  int64
	taken atomic.Int64
}

// NewPlaces returns most places; 0 is no bound.
func NewPlaces(most int) *Places { return &Places{most: int64(most)} }

// Take takes a place and reports whether there was one. Whoever got one gives it back.
func (p *Places) Take() bool {
	if n := p.taken.Add(1); p.most > 0 && n > p.most {
		p.taken.Add(-1)
		return false
	}
	return true
}

// Give gives a place back.
func (p *Places) Give() { p.taken.Add(-1) }

// Taken is how many are in use.
func (p *Places) Taken() int { return int(p.taken.Load()) }
