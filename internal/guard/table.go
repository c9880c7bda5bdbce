package guard

import "math"

// ways is how many counters share a set.
const ways = 8

// table is a bounded set of counters. Keys are MACs, so that nobody can aim at a set; in a set that is full the counter goes
// that has least to remember. To have a counter forgotten one must make eight others weigh more, each by as many failures.
type table struct {
	sets []*[ways]counter
}

// newTable returns a table of so many sets, a power of two. They take memory when they are used.
func newTable(sets int) *table { return &table{sets: make([]*[ways]counter, sets)} }

func (t *table) setOf(key uint64) int { return int(key>>32) & (len(t.sets) - 1) }

// find returns the counter of a key, nil where there is none.
func (t *table) find(key uint64) *counter {
	set := t.sets[t.setOf(key)]
	if set == nil {
		return nil
	}
	for i := range set {
		if set[i].key == key {
			return &set[i]
		}
	}
	return nil
}

// make returns the counter of a key, a new one where there is none, brought up to now.
func (t *table) make(key uint64, b *budget, now int64, name string) *counter {
	n := t.setOf(key)
	if t.sets[n] == nil {
		t.sets[n] = new([ways]counter)
	}
	set := t.sets[n]
	least, weight := 0, math.Inf(1)
	for i := range set {
		c := &set[i]
		if c.key == key {
			c.decay(b, now)
			return c
		}
		if c.key == 0 {
			if weight >= 0 {
				least, weight = i, -1
			}
			continue
		}
		c.decay(b, now)
		if w := c.weight(); w < weight {
			least, weight = i, w
		}
	}
	set[least] = counter{key: key, at: now, name: clip(name)}
	return &set[least]
}

// each calls f for every counter.
func (t *table) each(f func(set int, c *counter)) {
	for n, set := range t.sets {
		if set == nil {
			continue
		}
		for i := range set {
			if set[i].key != 0 {
				f(n, &set[i])
			}
		}
	}
}

// maxName bounds what is kept of a name, for people to read.
const maxName = 600

func clip(name string) string {
	if len(name) <= maxName {
		return name
	}
	return name[:maxName] + "..."
}

// mistake is a password that was wrong for an account from a source.
type mistake struct {
	key uint64
	at  int64
}

// mistakes remembers wrong passwords, the latest, as MACs in memory.
type mistakes struct {
	sets []*[ways]mistake
}

func newMistakes(sets int) *mistakes { return &mistakes{make([]*[ways]mistake, sets)} }

// mistakeLife is how long a wrong password is known.
const mistakeLife = 7 * 24 * 3600 * 1000

// has reports whether the password was noted no longer than life ago, in milliseconds.
func (m *mistakes) has(key uint64, now, life int64) bool {
	set := m.sets[int(key>>32)&(len(m.sets)-1)]
	if set == nil {
		return false
	}
	for i := range set {
		if set[i].key == key {
			return now-set[i].at < life
		}
	}
	return false
}

// add notes a wrong password, or that it came again.
func (m *mistakes) add(key uint64, now int64) {
	n := int(key>>32) & (len(m.sets) - 1)
	if m.sets[n] == nil {
		m.sets[n] = new([ways]mistake)
	}
	set, oldest := m.sets[n], 0
	for i := range set {
		if set[i].key == key {
			oldest = i
			break
		}
		if set[i].at < set[oldest].at {
			oldest = i
		}
	}
	set[oldest] = mistake{key, now}
}

// drop forgets a password: it was right.
func (m *mistakes) drop(key uint64) {
	if set := m.sets[int(key>>32)&(len(m.sets)-1)]; set != nil {
		for i := range set {
			if set[i].key == key {
				set[i] = mistake{}
			}
		}
	}
}
