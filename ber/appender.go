package ber

import "math/bits"

// The Append functions add one element to dst and return the extended slice, like append. They cannot fail.

// AppendHeader appends an identifier octet and the shortest definite length for size content octets.
func AppendHeader(dst []byte, tag byte, size int) []byte {
	switch {
	case size < 0x80:
		return append(dst, tag, byte(size))
	case size < 1<<8:
		return append(dst, tag, 0x81, byte(size))
	case size < 1<<16:
		return append(dst, tag, 0x82, byte(size>>8), byte(size))
	case size < 1<<24:
		return append(dst, tag, 0x83, byte(size>>16), byte(size>>8), byte(size))
	}
	return append(dst, tag, 0x84, byte(size>>24), byte(size>>16), byte(size>>8), byte(size))
}

// HeaderSize returns how many octets AppendHeader appends for size content octets.
func HeaderSize(size int) int {
	if size < 0x80 {
		return 2
	}
	return 2 + (bits.Len32(uint32(size))+7)/8
}

// AppendBytes appends a primitive element with these contents.
func AppendBytes(dst []byte, tag byte, v []byte) []byte {
	return append(AppendHeader(dst, tag, len(v)), v...)
}

// AppendString is AppendBytes for a string.
func AppendString(dst []byte, tag byte, v string) []byte {
	return append(AppendHeader(dst, tag, len(v)), v...)
}

// AppendBool appends a BOOLEAN; TRUE is 0xFF (RFC 4511 section 5.1).
func AppendBool(dst []byte, tag byte, v bool) []byte {
	if v {
		return append(dst, tag, 1, 0xff)
	}
	return append(dst, tag, 1, 0)
}

// AppendInt appends an INTEGER or ENUMERATED in the fewest octets.
func AppendInt(dst []byte, tag byte, v int64) []byte {
	n := 1
	for x := v; x > 127 || x < -128; x >>= 8 {
		n++
	}
	dst = append(dst, tag, byte(n))
	for i := n - 1; i >= 0; i-- {
		dst = append(dst, byte(v>>(8*i)))
	}
	return dst
}

// Begin appends the identifier octet of a constructed element whose length is not known yet. The mark goes to End.
func Begin(dst []byte, tag byte) (out []byte, mark int) {
	return append(dst, tag, 0), len(dst) + 2
}

// End closes the element that Begin opened: everything appended since is its contents. Where the length needs more than
// one octet the contents move up by that much, so elements of known size are cheaper with AppendHeader.
func End(dst []byte, mark int) []byte {
	size := len(dst) - mark
	if size < 0x80 {
		dst[mark-1] = byte(size)
		return dst
	}
	extra := HeaderSize(size) - 2
	dst = append(dst, 0, 0, 0, 0)[:len(dst)+extra]
	copy(dst[mark+extra:], dst[mark:len(dst)-extra])
	dst[mark-1] = 0x80 | byte(extra)
	for i := range extra {
		dst[mark+i] = byte(size >> (8 * (extra - 1 - i)))
	}
	return dst
}
