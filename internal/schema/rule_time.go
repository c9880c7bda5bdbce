package schema

import (
	"bytes"
	"encoding/binary"
)

// timeKey is the instant in UTC, written as a generalized time with all its digits.
func timeKey(_ *Schema, dst, v []byte) ([]byte, error) {
	var buf [16]byte
	at, err := parseInstant(buf[:0], v)
	if err != nil {
		return dst, err
	}
	return appendInstant(dst, at), nil
}

// timeOrder makes keys that sort as the instants do: seconds since the year 0 in 8 octets, then the digits of the
// fraction, which sort as they are because none ends in a zero.
func timeOrder(_ *Schema, dst, v []byte) ([]byte, error) {
	var buf [16]byte
	at, err := parseInstant(buf[:0], v)
	if err != nil {
		return dst, err
	}
	dst = binary.BigEndian.AppendUint64(dst, uint64(at.sec-minInstant))
	return append(dst, at.frac...), nil
}

// utcTimeKey and utcTimeOrder are the same for the two-digit years of UTC Time (X.520; RFC 4517 section 3.3.34). A zone
// that is not there is UTC.
func utcTimeKey(_ *Schema, dst, v []byte) ([]byte, error)   { return utcKey(dst, v, timeKey) }
func utcTimeOrder(_ *Schema, dst, v []byte) ([]byte, error) { return utcKey(dst, v, timeOrder) }

func utcKey(dst, v []byte, key keyFunc) ([]byte, error) {
	if checkUTCTime(nil, v) != nil {
		return dst, errUTCTime
	}
	full, _ := expandUTCTime(v)
	if isDigit(full[len(full)-1]) && !bytes.ContainsAny(full, "+-") {
		full = append(full, 'Z')
	}
	out, err := key(nil, dst, full)
	if err != nil {
		return dst, errUTCTime
	}
	return out, nil
}
