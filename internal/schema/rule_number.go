package schema

import (
	"encoding/binary"
	"errors"
	"strconv"
)

var (
	errBoolean   = errors.New("a boolean is TRUE or FALSE")
	errInteger   = errors.New("an integer is decimal digits with an optional \"-\" before them")
	errBitString = errors.New("a bit string is written in binary as '0110'B")
	errBits      = errors.New("bit rules are for integers of 64 bits")
)

func booleanKey(_ *Schema, dst, v []byte) ([]byte, error) {
	if !isBoolean(v) {
		return dst, errBoolean
	}
	return append(dst, v...), nil
}

func isBoolean(v []byte) bool { return string(v) == "TRUE" || string(v) == "FALSE" }

// magnitude takes an integer apart: its sign and its digits without leading zeros, none for zero.
func magnitude(v []byte) (negative bool, digits []byte, ok bool) {
	if len(v) > 0 && v[0] == '-' {
		negative, v = true, v[1:]
	}
	if len(v) == 0 {
		return false, nil, false
	}
	for _, c := range v {
		if !isDigit(c) {
			return false, nil, false
		}
	}
	for len(v) > 0 && v[0] == '0' {
		v = v[1:]
	}
	return negative && len(v) > 0, v, true
}

// integerKey is the canonical decimal form. Leading zeros, which the syntax does not have, are let pass.
func integerKey(_ *Schema, dst, v []byte) ([]byte, error) {
	negative, digits, ok := magnitude(v)
	if !ok {
		return dst, errInteger
	}
	if len(digits) == 0 {
		return append(dst, '0'), nil
	}
	if negative {
		dst = append(dst, '-')
	}
	return append(dst, digits...), nil
}

// integerOrder makes keys that sort as the integers do, of any size and without arithmetic: an octet for sign and
// length, and the digits, two in an octet; for negative integers the complement of the same.
//
//	0x80        zero
//	0x81-0xbf   positive, 1 to 63 octets of digits follow
//	0xc0        positive, the number of octets in 4 octets, then they
func integerOrder(_ *Schema, dst, v []byte) ([]byte, error) {
	negative, digits, ok := magnitude(v)
	if !ok {
		return dst, errInteger
	}
	if len(digits) == 0 {
		return append(dst, 0x80), nil
	}
	start := len(dst)
	n := (len(digits) + 1) / 2
	if n < 0x40 {
		dst = append(dst, byte(0x80+n))
	} else {
		dst = binary.BigEndian.AppendUint32(append(dst, 0xc0), uint32(n))
	}
	if len(digits)%2 == 1 {
		dst = append(dst, digits[0]-'0')
		digits = digits[1:]
	}
	for ; len(digits) > 0; digits = digits[2:] {
		dst = append(dst, (digits[0]-'0')<<4|(digits[1]-'0'))
	}
	if negative {
		for i := start; i < len(dst); i++ {
			dst[i] = ^dst[i]
		}
	}
	return dst, nil
}

// bitAnd (1.2.840.113556.1.4.803) holds when the value has all bits of the assertion.
func bitAnd(_ *Schema, value, assertion []byte) (bool, error) {
	v, a, err := bothInt64(value, assertion)
	return err == nil && v&a == a, err
}

// bitOr (1.2.840.113556.1.4.804) holds when the value has any bit of the assertion.
func bitOr(_ *Schema, value, assertion []byte) (bool, error) {
	v, a, err := bothInt64(value, assertion)
	return err == nil && v&a != 0, err
}

func bothInt64(value, assertion []byte) (v, a uint64, err error) {
	if v, err = bits(value); err != nil {
		return 0, 0, err
	}
	a, err = bits(assertion)
	return v, a, err
}

// bitsKey is integerKey for an assertion, which must be of 64 bits.
func bitsKey(s *Schema, dst, v []byte) ([]byte, error) {
	if _, err := bits(v); err != nil {
		return dst, err
	}
	return integerKey(s, dst, v)
}

// bits reads a signed or unsigned integer of 64 bits as its bits.
func bits(text []byte) (uint64, error) {
	if _, _, ok := magnitude(text); !ok {
		return 0, errInteger
	}
	if len(text) > 20 {
		return 0, errBits
	}
	if n, err := strconv.ParseInt(string(text), 10, 64); err == nil {
		return uint64(n), nil
	}
	n, err := strconv.ParseUint(string(text), 10, 64)
	if err != nil {
		return 0, errBits
	}
	return n, nil
}

func isBitString(v []byte) bool {
	if len(v) < 3 || v[0] != '\'' || string(v[len(v)-2:]) != "'B" {
		return false
	}
	for _, c := range v[1 : len(v)-2] {
		if c != '0' && c != '1' {
			return false
		}
	}
	return true
}

// bitStringKey is the value itself. RFC 4517 section 4.2.1 ignores trailing zero bits only where a type is defined with
// named bits, which the notation of attribute types cannot say.
func bitStringKey(_ *Schema, dst, v []byte) ([]byte, error) {
	if !isBitString(v) {
		return dst, errBitString
	}
	return append(dst, v...), nil
}
