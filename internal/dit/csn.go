package dit

import (
	"fmt"
	"strconv"
	"time"
)

// CSN is a change sequence number in the form that OpenLDAP made common:
// YYYYmmddHHMMSS.uuuuuuZ#cccccc#sss#mmmmmm with hexadecimal count, server id and modification number. CSNs of one server
// rise strictly in the order of its journal, across restarts and steps of the clock.
type CSN struct {
	Micros int64  // microseconds since 1970, UTC
	Count  uint32 // tells apart what happened in one microsecond, 24 bits
	SID    uint16 // server id, 12 bits
	Mod    uint32 // tells apart the entries of one transaction, 24 bits
}

// csnLayout is the time part.
const csnLayout = "20060102150405.000000Z"

// CSNLen is the length of the text form in octets.
const CSNLen = len(csnLayout) + len("#000000#000#000000")

// IsZero reports whether the CSN is the zero value, which belongs to no change.
func (c CSN) IsZero() bool { return c == CSN{} }

// Append appends the text form.
func (c CSN) Append(dst []byte) []byte {
	dst = time.UnixMicro(c.Micros).UTC().AppendFormat(dst, csnLayout)
	dst = appendHex(append(dst, '#'), uint64(c.Count), 6)
	dst = appendHex(append(dst, '#'), uint64(c.SID), 3)
	return appendHex(append(dst, '#'), uint64(c.Mod), 6)
}

func (c CSN) String() string { return string(c.Append(nil)) }

// Compare orders CSNs by time, count, server and modification number.
func (c CSN) Compare(d CSN) int {
	for _, x := range [...][2]int64{
		{c.Micros, d.Micros}, {int64(c.Count), int64(d.Count)}, {int64(c.SID), int64(d.SID)}, {int64(c.Mod), int64(d.Mod)},
	} {
		if x[0] != x[1] {
			if x[0] < x[1] {
				return -1
			}
			return 1
		}
	}
	return 0
}

// ParseCSN reads the text form.
func ParseCSN(b []byte) (CSN, error) {
	bad := func() (CSN, error) {
		return CSN{}, fmt.Errorf("a CSN looks like 20260131120000.000000Z#000000#000#000000, not like %q", clip(b))
	}
	if len(b) != CSNLen || b[22] != '#' || b[29] != '#' || b[33] != '#' {
		return bad()
	}
	t, err := time.Parse(csnLayout, string(b[:22]))
	if err != nil {
		return bad()
	}
	count, err1 := strconv.ParseUint(string(b[23:29]), 16, 32)
	sid, err2 := strconv.ParseUint(string(b[30:33]), 16, 16)
	mod, err3 := strconv.ParseUint(string(b[34:40]), 16, 32)
	if err1 != nil || err2 != nil || err3 != nil {
		return bad()
	}
	return CSN{Micros: t.UnixMicro(), Count: uint32(count), SID: uint16(sid), Mod: uint32(mod)}, nil
}

// Next returns the first CSN of a new transaction: at now, or right after c where the clock has not moved past it.
func (c CSN) Next(now time.Time, sid uint16) CSN {
	n := CSN{Micros: now.UnixMicro(), SID: sid}
	if n.Micros > c.Micros {
		return n
	}
	n.Micros, n.Count = c.Micros, c.Count+1
	if n.Count > 0xffffff {
		n.Micros, n.Count = n.Micros+1, 0
	}
	return n
}

func appendHex(dst []byte, v uint64, width int) []byte {
	const digits = "0123456789abcdef"
	for i := width - 1; i >= 0; i-- {
		dst = append(dst, digits[v>>(4*i)&15])
	}
	return dst
}

// clip bounds what an error message repeats of its input.
func clip(b []byte) []byte {
	if len(b) > 64 {
		return b[:64]
	}
	return b
}
