package schema

import (
	"bytes"
	"cmp"
	"errors"
	"time"
)

var (
	errTime      = errors.New("not a generalized time; write it as YYYYMMDDHHMMSSZ, for example 20240229235959Z")
	errTimeRange = errors.New("the time lies outside the years 0000 to 9999 in UTC")
)

// An instant is a point in time at full precision: seconds since 1970 in UTC, and the decimal digits of the fraction of
// a second, without trailing zeros.
type instant struct {
	sec  int64
	frac []byte
}

// ParseGeneralizedTime reads the Generalized Time syntax (RFC 4517 section 3.3.13): minutes and seconds may be absent, a
// fraction is one of the last unit given, the zone is "Z" or an offset. Digits beyond nanoseconds are cut off; a second
// of 60 is the first of the next minute. The result is in UTC.
func ParseGeneralizedTime(value []byte) (time.Time, error) {
	var buf [16]byte
	at, err := parseInstant(buf[:0], value)
	if err != nil {
		return time.Time{}, err
	}
	nanos := int64(0)
	for i := range 9 {
		nanos *= 10
		if i < len(at.frac) {
			nanos += int64(at.frac[i] - '0')
		}
	}
	return time.Unix(at.sec, nanos).UTC(), nil
}

// AppendGeneralizedTime appends t in UTC with a fraction only if it has one: "20240229235959Z". Years outside 0000 to
// 9999 cannot be written and are cut to the nearest that can.
func AppendGeneralizedTime(dst []byte, t time.Time) []byte {
	t = t.UTC()
	switch y := t.Year(); {
	case y < 0:
		t = time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)
	case y > 9999:
		t = time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC)
	}
	dst = t.AppendFormat(dst, "20060102150405")
	if t.Nanosecond() != 0 {
		dst = t.AppendFormat(dst, ".000000000")
		dst = bytes.TrimRight(dst, "0")
	}
	return append(dst, 'Z')
}

// parseInstant reads a generalized time. The fraction is appended to scratch.
func parseInstant(scratch, v []byte) (instant, error) {
	var f [6]int // year month day hour minute second
	if len(v) < len("YYYYMMDDHHZ") {
		return instant{}, errTime
	}
	year, ok1 := digits(v, 0, 4)
	month, ok2 := digits(v, 4, 2)
	day, ok3 := digits(v, 6, 2)
	hour, ok4 := digits(v, 8, 2)
	if !ok1 || !ok2 || !ok3 || !ok4 || month < 1 || month > 12 || day < 1 || day > daysIn(year, month) || hour > 23 {
		return instant{}, errTime
	}
	f = [6]int{year, month, day, hour, 0, 0}
	unit, pos := 3600, 10 // seconds in the last unit given
	for i, most := range []int{59, 60} {
		n, ok := digits(v, pos, 2)
		if !ok {
			break
		}
		if n > most {
			return instant{}, errTime
		}
		f[4+i] = n
		pos += 2
		unit /= 60
	}
	var frac []byte
	if pos < len(v) && (v[pos] == '.' || v[pos] == ',') {
		pos++
		from := pos
		for pos < len(v) && isDigit(v[pos]) {
			pos++
		}
		if pos == from {
			return instant{}, errTime
		}
		frac = append(scratch, v[from:pos]...)
	}
	offset, ok := parseZone(v[pos:])
	if !ok {
		return instant{}, errTime
	}
	whole, frac := scaleFraction(frac, unit)
	at := instant{sec: time.Date(f[0], time.Month(f[1]), f[2], f[3], f[4], f[5], 0, time.UTC).Unix() + int64(whole) - int64(offset), frac: frac}
	if at.sec < minInstant || at.sec > maxInstant {
		return instant{}, errTimeRange
	}
	return at, nil
}

// The first and the last second that can be written.
var (
	minInstant = time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	maxInstant = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC).Unix()
)

func daysIn(year, month int) int {
	return time.Date(year, time.Month(month)+1, 0, 0, 0, 0, 0, time.UTC).Day()
}

// digits reads n digits at pos.
func digits(v []byte, pos, n int) (int, bool) {
	if pos+n > len(v) {
		return 0, false
	}
	out := 0
	for _, c := range v[pos : pos+n] {
		if !isDigit(c) {
			return 0, false
		}
		out = out*10 + int(c-'0')
	}
	return out, true
}

// parseZone reads g-time-zone: "Z" or "+hh" or "+hhmm" or the same with "-". The result is in seconds east.
func parseZone(z []byte) (int, bool) {
	if len(z) == 1 && z[0] == 'Z' {
		return 0, true
	}
	if len(z) != 3 && len(z) != 5 || z[0] != '+' && z[0] != '-' {
		return 0, false
	}
	h, ok := digits(z, 1, 2)
	if !ok || h > 23 {
		return 0, false
	}
	m := 0
	if len(z) == 5 {
		if m, ok = digits(z, 3, 2); !ok || m > 59 {
			return 0, false
		}
	}
	offset := h*3600 + m*60
	if z[0] == '-' {
		offset = -offset
	}
	return offset, true
}

// scaleFraction multiplies the fraction 0.frac by unit, in place, and returns the whole seconds and what is left.
func scaleFraction(frac []byte, unit int) (int, []byte) {
	carry := 0
	if unit > 1 {
		for i := len(frac) - 1; i >= 0; i-- {
			carry += int(frac[i]-'0') * unit
			frac[i] = byte('0' + carry%10)
			carry /= 10
		}
	}
	return carry, bytes.TrimRight(frac, "0")
}

// compare orders instants.
func (a instant) compare(b instant) int {
	return cmp.Or(cmp.Compare(a.sec, b.sec), bytes.Compare(a.frac, b.frac))
}

// appendInstant writes an instant as generalized time in UTC with all its digits.
func appendInstant(dst []byte, at instant) []byte {
	dst = time.Unix(at.sec, 0).UTC().AppendFormat(dst, "20060102150405")
	if len(at.frac) > 0 {
		dst = append(append(dst, '.'), at.frac...)
	}
	return append(dst, 'Z')
}
