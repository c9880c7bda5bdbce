package guard

import (
	"math"
	"time"
)

// Axis is what wrong passwords are counted by.
type Axis uint8

// The axes.
const (
	ByAccount  Axis = iota // one account, whoever tries
	BySource               // one address, or an IPv6 /64
	ByNetwork              // an IPv4 /24 or an IPv6 /48
	ByPassword             // accounts for which one password was wrong
	ByFamiliar             // one account, from a source that has logged in to it lately
	byRepeat               // a password that was wrong before, for one account from one source
	axes
)

var axisNames = [axes]string{"account", "source", "network", "password", "account-from-source", "repeat"}

func (a Axis) String() string { return axisNames[a] }

// budget is the arithmetic of one axis. Every failure counts one and is forgotten by halves. While fewer than free count,
// attempts are checked at once; from then on there is a pause after each failure, so many times longer than the one before.
type budget struct {
	free        float64
	times       int           // 2 or more
	first, most time.Duration // the first pause and the longest
	half        time.Duration // after which a failure counts half
}

// budgets returns the arithmetic of all axes.
func budgets(p *Policy) [axes]budget {
	return [axes]budget{
		ByAccount:  {float64(p.AccountFailures), 2, time.Second, 5 * time.Minute, 30 * time.Minute},
		BySource:   {float64(p.SourceFailures), 4, 5 * time.Second, 15 * time.Minute, time.Hour},
		ByNetwork:  {float64(p.NetworkFailures), 2, 5 * time.Second, 15 * time.Minute, time.Hour},
		ByPassword: {float64(p.PasswordAccounts), 4, 5 * time.Second, 15 * time.Minute, time.Hour},
		ByFamiliar: {5, 2, time.Second, time.Minute, 15 * time.Minute},
		byRepeat:   {100, 2, 500 * time.Millisecond, 2 * time.Second, time.Minute},
	}
}

const (
	// creditShare is how many failures a source is allowed more for each account that has lately logged in from there.
	creditShare = 0.25
	// creditHalf is after how long such an account counts half, creditEvery how often one account counts.
	creditHalf  = 24 * time.Hour
	creditEvery = 24 * time.Hour
)

// counter is what is known of one account, source or password. Times are milliseconds of Unix time.
type counter struct {
	key    uint64 // 0: none
	level  float64
	credit float64
	at     int64 // when level and credit were right
	until  int64 // no attempt begins before
	name   string
}

// decay brings a counter up to now. A clock that went back forgets nothing.
func (c *counter) decay(b *budget, now int64) {
	past := now - c.at
	if past <= 0 {
		if past < 0 {
			c.at = now
		}
	} else {
		c.level *= math.Exp2(-float64(past) / float64(b.half.Milliseconds()))
		c.credit *= math.Exp2(-float64(past) / float64(creditHalf.Milliseconds()))
		c.at = now
	}
	// However the clock was set, nobody waits longer than the longest pause.
	c.until = min(c.until, now+b.most.Milliseconds())
}

// allowed is how many failures are free.
func (c *counter) allowed(b *budget) float64 { return b.free + creditShare*c.credit }

// left is how many attempts may be under way at one time: so many that no more can fail than are free, and one when none
// is. Half a failure is a whole one: those that are seconds old count nearly one each.
func (c *counter) left(b *budget) int {
	return max(1, int(math.Floor(c.allowed(b)-c.level+0.5)))
}

// spent reports whether the free failures are used up.
func (c *counter) spent(b *budget) bool { return c.level > c.allowed(b)-0.5 }

// fail counts a failure at now, to which the counter was brought. crossed says that it was the last free one.
func (c *counter) fail(b *budget, now int64) (crossed bool) {
	before := c.spent(b)
	c.level++
	if !c.spent(b) {
		return false
	}
	c.until = max(c.until, now+b.pause(c.level-c.allowed(b)).Milliseconds())
	return !before
}

// pause is how long it is quiet after a failure with so many more than are free.
func (b *budget) pause(over float64) time.Duration {
	d := b.first
	for over = math.Floor(over + 0.5); over > 0 && d < b.most; over-- {
		d *= time.Duration(b.times)
	}
	return min(d, b.most)
}

// weight says how much would be lost with the counter.
func (c *counter) weight() float64 { return c.level + creditShare*c.credit }
