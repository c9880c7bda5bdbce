package guard

import (
	"sync"
	"time"
)

// pair is an account and a source from which it was logged in to.
type pair struct {
	account  uint64
	source   uint32 // a part of the source's key
	seen     uint32 // seconds of Unix time: the last success, to the hour
	credited uint32 // when the account last counted for the source
	print    uint32 // fingerprint of the password that was right; 0 where none is known
}

// familiars are the pairs, a bounded number. All pairs of an account share a set, and in a full set its own go first when
// there are more than half: whoever has an account can make its sources forgotten and hardly anybody else's.
type familiars struct {
	locks [pairLocks]struct {
		sync.Mutex
		_ [56]byte // keeps neighbours off the same cache line
	}
	sets []*[ways]pair
}

const (
	pairLocks = 64
	pairSets  = 16_384
	// pairLife is how long a source is familiar after the last success, pairFresh how exactly that is known.
	pairLife  = 30 * 24 * 3600
	pairFresh = 3600
)

func newFamiliars() *familiars { return &familiars{sets: make([]*[ways]pair, pairSets)} }

func (f *familiars) setOf(account uint64) int { return int(account>>40) & (len(f.sets) - 1) }

// known says what is known of an account and a source: familiar, that it was logged in to from there; trusted, that it was
// with this password; stale, that the success should be noted again.
func (f *familiars) known(account, source uint64, print uint32, now int64) (familiar, trusted, stale bool) {
	n := f.setOf(account)
	lock := &f.locks[n%pairLocks]
	lock.Lock()
	if set := f.sets[n]; set != nil {
		for i := range set {
			p := &set[i]
			if p.account == account && p.source == uint32(source) {
				age := now/1000 - int64(p.seen)
				familiar = age < pairLife
				trusted = familiar && print != 0 && p.print == print
				stale = age >= pairFresh
				break
			}
		}
	}
	lock.Unlock()
	return familiar, trusted, stale
}

// put notes a success. counts says that the account counts for its source now; changed, that there is something to keep.
func (f *familiars) put(account, source uint64, print uint32, now int64) (counts, changed bool) {
	n := f.setOf(account)
	lock := &f.locks[n%pairLocks]
	lock.Lock()
	defer lock.Unlock()
	if f.sets[n] == nil {
		f.sets[n] = new([ways]pair)
	}
	p, there := f.place(f.sets[n], account, uint32(source))
	seconds := uint32(now / 1000)
	if !there || int64(seconds)-int64(p.seen) >= pairLife {
		*p = pair{account: account, source: uint32(source)}
	}
	counts = p.credited == 0 || int64(seconds)-int64(p.credited) >= int64(creditEvery/time.Second)
	if counts {
		p.credited = seconds
	}
	changed = counts || int64(seconds)-int64(p.seen) >= pairFresh || seconds < p.seen
	if changed {
		p.seen = seconds
	}
	if print != 0 {
		p.print = print
	}
	return counts, changed
}

// place finds the pair, or the one to give way to it.
func (f *familiars) place(set *[ways]pair, account uint64, source uint32) (p *pair, there bool) {
	var empty, oldest, own *pair
	owned := 0
	for i := range set {
		p := &set[i]
		switch {
		case p.account == account && p.source == source:
			return p, true
		case p.account == 0:
			empty = p
			continue
		case p.account == account:
			if owned++; own == nil || p.seen < own.seen {
				own = p
			}
		}
		if oldest == nil || p.seen < oldest.seen {
			oldest = p
		}
	}
	switch {
	case empty != nil:
		return empty, false
	case owned > ways/2:
		return own, false
	}
	return oldest, false
}

// forget drops the fingerprint of a pair: the password is not right any more.
func (f *familiars) forget(account, source uint64) {
	n := f.setOf(account)
	lock := &f.locks[n%pairLocks]
	lock.Lock()
	defer lock.Unlock()
	if set := f.sets[n]; set != nil {
		for i := range set {
			if p := &set[i]; p.account == account && p.source == uint32(source) {
				p.print = 0
			}
		}
	}
}
