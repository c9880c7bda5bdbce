package guard

import "math"

// Strain: the more is guessed at a server, the fewer guesses are free. In quiet times people who mistype are many and guessers
// few, and a limit that stops a guesser with a hundred addresses would stop an office. So the numbers of the configuration are
// those of quiet times. Once wrong passwords from sources that are not known to the accounts are as many as StrainFailures,
// within minutes and over the whole server, a sixth of what is free by source, network and password is free, until it is quiet
// again. Who has lately logged in to an account from the same source has a count of his own and notices nothing.

const (
	// strainShare is what part of the free failures stays under strain.
	strainShare = 6
	// strainHalf is after how many milliseconds a failure counts half towards the strain.
	strainHalf = 10 * 60 * 1000
)

// strain is how much is guessed at the server. Guard.mu guards it.
type strain struct {
	level float64
	at    int64 // when level was right
	tight bool
}

// tightened returns the policy of hard times.
func tightened(p Policy) *Policy {
	few := func(n int) int { return max(1, n/strainShare) }
	p.SourceFailures, p.NetworkFailures, p.PasswordAccounts = few(p.SourceFailures), few(p.NetworkFailures), few(p.PasswordAccounts)
	p.budgets = budgets(&p)
	return &p
}

// ease brings the strain up to now, and puts the policy of quiet times into force when it is over. g.mu is held.
func (g *Guard) ease(now int64) {
	s := &g.strain
	if past := now - s.at; past > 0 {
		s.level *= math.Exp2(-float64(past) / strainHalf)
	}
	s.at = now
	if s.tight && s.level < float64(g.quiet.StrainFailures)/2 {
		s.tight = false
		g.policy.Store(g.quiet)
	}
}

// strained counts a wrong password of somebody who is not known. begun says that hard times begin with it. g.mu is held.
func (g *Guard) strained(now int64) (begun bool) {
	g.ease(now)
	s := &g.strain
	s.level++
	if s.tight || g.quiet.StrainFailures <= 0 || s.level < float64(g.quiet.StrainFailures)-0.5 {
		return false
	}
	s.tight = true
	g.policy.Store(g.hard)
	return true
}
