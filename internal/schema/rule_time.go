package schema

import "encoding/binary"

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
