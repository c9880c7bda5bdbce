package guard

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
)

// What survives a restart lies in op.State: one value for each set that has something to remember, so that there are no more
// values than sets. State merges changes in memory and writes them once a second.
const (
	statePrefix = "guard/"
	stateKey    = statePrefix + "key"
	statePairs  = statePrefix + "p/"
)

// stateOf are the prefixes of the axes that survive.
var stateOf = map[Axis]string{
	ByAccount: statePrefix + "a/", BySource: statePrefix + "s/", ByNetwork: statePrefix + "n/", ByFamiliar: statePrefix + "f/",
}

// stateForm is the form of the values; others are dropped.
const stateForm = 1

func setKey(prefix string, set int) []byte { return fmt.Appendf([]byte(prefix), "%04x", set) }

// load reads what is kept, and makes the key where there is none.
func (g *Guard) load() error {
	kept, err := g.o.State.Get([]byte(stateKey))
	if err != nil {
		return err
	}
	var key [16]byte
	if copy(key[:], kept) == len(key) {
		g.key = newSipKey(key)
	} else {
		if _, err := io.ReadFull(g.o.Rand, key[:]); err != nil {
			return err
		}
		g.key = newSipKey(key)
		// In a store that cannot be written nothing is counted for long.
		g.kept(g.o.State.Set([]byte(stateKey), key[:]))
		return nil
	}
	now := g.now()
	return g.o.State.Each([]byte(statePrefix), func(key, value []byte) bool {
		name := string(key)
		if strings.HasPrefix(name, statePairs) {
			g.loadPairs(value)
			return true
		}
		for axis, prefix := range stateOf {
			if strings.HasPrefix(name, prefix) {
				g.loadCounters(axis, value, now)
			}
		}
		return true
	})
}

// keep notes the set of a counter in the store. g.mu is held.
func (g *Guard) keep(axis Axis, key uint64) {
	prefix, ok := stateOf[axis]
	if !ok {
		return
	}
	t := g.tables[axis]
	n := t.setOf(key)
	g.kept(g.o.State.Set(setKey(prefix, n), appendCounters(nil, t.sets[n])))
}

// kept says once that something could not be kept: the guard goes on from memory.
func (g *Guard) kept(err error) {
	if err == nil || g.broken {
		return
	}
	g.broken = true
	g.o.Log.Warn("failed logins cannot be kept over a restart", "error", err)
}

// appendCounters appends the form in which a set is kept; nil where there is nothing to keep.
func appendCounters(b []byte, set *[ways]counter) []byte {
	for i := range set {
		c := &set[i]
		if c.key == 0 {
			continue
		}
		if len(b) == 0 {
			b = append(b, stateForm)
		}
		b = binary.BigEndian.AppendUint64(b, c.key)
		b = binary.BigEndian.AppendUint64(b, uint64(c.at))
		b = binary.BigEndian.AppendUint64(b, uint64(c.until))
		b = binary.BigEndian.AppendUint32(b, math.Float32bits(float32(c.level)))
		b = binary.BigEndian.AppendUint32(b, math.Float32bits(float32(c.credit)))
		b = binary.AppendUvarint(b, uint64(len(c.name)))
		b = append(b, c.name...)
	}
	return b
}

var errForm = errors.New("it is of another form")

// readCounters calls f for the counters of a value.
func readCounters(b []byte, f func(c counter)) error {
	if len(b) == 0 || b[0] != stateForm {
		return errForm
	}
	for b = b[1:]; len(b) > 0; {
		const fixed = 3*8 + 2*4
		if len(b) < fixed+1 {
			return errForm
		}
		c := counter{
			key: binary.BigEndian.Uint64(b), at: int64(binary.BigEndian.Uint64(b[8:])), until: int64(binary.BigEndian.Uint64(b[16:])),
			level:  float64(math.Float32frombits(binary.BigEndian.Uint32(b[24:]))),
			credit: float64(math.Float32frombits(binary.BigEndian.Uint32(b[28:]))),
		}
		n, size := binary.Uvarint(b[fixed:])
		b = b[fixed:]
		if size <= 0 || n > uint64(len(b)-size) || n > 2*maxName {
			return errForm
		}
		c.name = string(b[size : size+int(n)])
		b = b[size+int(n):]
		if c.key == 0 || !(c.level >= 0 && c.level < 1e6) || !(c.credit >= 0 && c.credit < 1e9) {
			return errForm
		}
		f(c)
	}
	return nil
}

func (g *Guard) loadCounters(axis Axis, value []byte, now int64) {
	b := budgets(&Policy{})[axis]
	err := readCounters(value, func(c counter) {
		kept := g.tables[axis].make(c.key, &b, now, c.name)
		*kept = c
	})
	if err != nil {
		g.o.Log.Warn("a count of failed logins cannot be read and is forgotten", "axis", axis.String(), "error", err)
	}
}

// keepPairs notes the pairs of an account's set in the store; the fingerprints stay in memory.
func (g *Guard) keepPairs(account uint64) {
	f := g.familiar
	n := f.setOf(account)
	lock := &f.locks[n%pairLocks]
	lock.Lock()
	b := []byte{stateForm}
	if set := f.sets[n]; set != nil {
		for i := range set {
			if p := &set[i]; p.account != 0 {
				b = binary.BigEndian.AppendUint64(b, p.account)
				b = binary.BigEndian.AppendUint32(b, p.source)
				b = binary.BigEndian.AppendUint32(b, p.seen)
				b = binary.BigEndian.AppendUint32(b, p.credited)
			}
		}
	}
	lock.Unlock()
	g.kept(g.o.State.Set(setKey(statePairs, n), b))
}

func (g *Guard) loadPairs(b []byte) {
	const size = 8 + 3*4
	if len(b) == 0 || b[0] != stateForm || (len(b)-1)%size != 0 {
		g.o.Log.Warn("familiar sources of logins cannot be read and are forgotten", "value", hex.EncodeToString(b[:min(len(b), 8)]))
		return
	}
	f := g.familiar
	for b = b[1:]; len(b) > 0; b = b[size:] {
		account := binary.BigEndian.Uint64(b)
		n := f.setOf(account)
		if f.sets[n] == nil {
			f.sets[n] = new([ways]pair)
		}
		p, _ := f.place(f.sets[n], account, binary.BigEndian.Uint32(b[8:]))
		*p = pair{
			account: account, source: binary.BigEndian.Uint32(b[8:]), seen: binary.BigEndian.Uint32(b[12:]), credited: binary.BigEndian.Uint32(b[16:]),
		}
	}
}
