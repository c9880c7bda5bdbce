package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"slices"
)

// Keys of the index space:
//
//	'x' index(4) kind(1) escaped key 0x00 chunk(8)
//
// The escape keeps the order of keys and makes no posting's key a prefix of another's: 0x00 is written 0x01 0x01, and
// 0x01 is written 0x01 0x02. What stands before the chunk is called the prefix of the posting.

const (
	// indexHeader is the length of a key before the escaped part.
	indexHeader = 1 + 4 + 1
	chunkBytes  = 8

	// maxIndexKey is the length up to which a key of a matching rule is kept whole. A longer one is cut to its first octets
	// and a hash, one octet longer than any whole key so that the two are never mistaken for each other.
	maxIndexKey = 256
	cutPrefix   = 240
	cutHash     = 16
)

func appendIndexHeader(dst []byte, x *index, kind IndexKind) []byte {
	return appendHeaderOf(dst, x.id, kind)
}

func appendHeaderOf(dst []byte, id uint32, kind IndexKind) []byte {
	return append(binary.BigEndian.AppendUint32(append(dst, spaceIndex), id), byte(kind))
}

// appendPosting appends the prefix of the posting of key.
func appendPosting(dst []byte, x *index, kind IndexKind, key []byte) []byte {
	return append(appendEscaped(appendIndexHeader(dst, x, kind), key), 0)
}

func appendChunkNumber(dst []byte, chunk uint64) []byte {
	return binary.BigEndian.AppendUint64(dst, chunk)
}

func appendEscaped(dst, key []byte) []byte {
	from := 0
	for i, c := range key {
		if c < 2 {
			dst = append(append(dst, key[from:i]...), 1, c+1)
			from = i + 1
		}
	}
	return append(dst, key[from:]...)
}

// splitIndexKey takes a key of the index space apart. The escaped key is still so.
func splitIndexKey(k []byte) (id uint32, kind IndexKind, escaped []byte, chunk uint64, ok bool) {
	if len(k) < indexHeader+1+chunkBytes || k[0] != spaceIndex {
		return 0, 0, nil, 0, false
	}
	end := len(k) - chunkBytes
	if k[end-1] != 0 {
		return 0, 0, nil, 0, false
	}
	return binary.BigEndian.Uint32(k[1:]), IndexKind(k[5]), k[indexHeader : end-1], binary.BigEndian.Uint64(k[end:]), true
}

// appendUnescaped undoes appendEscaped.
func appendUnescaped(dst, escaped []byte) []byte {
	for i := 0; i < len(escaped); i++ {
		c := escaped[i]
		if c == 1 && i+1 < len(escaped) {
			i++
			c = escaped[i] - 1
		}
		dst = append(dst, c)
	}
	return dst
}

// cutKey shortens what key[from:] is to the form in which it stands in the index.
func cutKey(key []byte, from int) []byte {
	if len(key)-from <= maxIndexKey {
		return key
	}
	sum := sha256.Sum256(key[from:])
	key = append(key[:from+cutPrefix], 0)
	return append(key, sum[:cutHash]...)
}

// Grams: the substring index of a value holds all runs of three octets of its key with one octet put before and one
// behind, so that the ends can be asked for as well. Such an octet may stand in a value too; that costs a candidate, never
// an answer. A key is indexed up to maxGramKey octets; a longer one is also put in the posting of the empty gram, whose
// entries are candidates for every substring.
const (
	gramStart  = 0x02
	gramEnd    = 0x03
	gramLen    = 3
	maxGramKey = 2048
	// gramRest is the gram that stands for keys that are too long.
	gramRest = 1 << 24
)

// appendGrams appends the grams of a key, in order of occurrence.
func appendGrams(dst []uint32, key []byte) []uint32 {
	end := true
	if len(key) > maxGramKey {
		key, end = key[:maxGramKey], false
		dst = append(dst, gramRest)
	}
	if len(key) == 0 {
		return dst
	}
	g := uint32(gramStart)<<8 | uint32(key[0])
	for _, c := range key[1:] {
		g = g<<8&0xffffff | uint32(c)
		dst = append(dst, g)
	}
	if end {
		dst = append(dst, g<<8&0xffffff|gramEnd)
	}
	return dst
}

// appendPieceGrams appends the grams that every value with the piece in this place has; short pieces have none.
func appendPieceGrams(dst []uint32, key []byte, start, end bool) []uint32 {
	g, n := uint32(0), 0
	add := func(c byte) {
		if g, n = g<<8&0xffffff|uint32(c), n+1; n >= gramLen {
			dst = append(dst, g)
		}
	}
	if start {
		add(gramStart)
	}
	for _, c := range key {
		add(c)
	}
	if end {
		add(gramEnd)
	}
	return dst
}

func appendGram(dst []byte, g uint32) []byte {
	if g == gramRest {
		return dst
	}
	return append(dst, byte(g>>16), byte(g>>8), byte(g))
}

// keyList is a set of index keys in one buffer.
type keyList struct {
	buf  []byte
	ends []int
	rank []int32 // ascending by key, without duplicates, after sort
}

func (l *keyList) reset() { l.buf, l.ends, l.rank = l.buf[:0], l.ends[:0], l.rank[:0] }

// seal ends the key that was appended to buf; it is cut when it is too long.
func (l *keyList) seal() {
	l.buf = cutKey(l.buf, l.start(len(l.ends)))
	l.ends = append(l.ends, len(l.buf))
}

func (l *keyList) start(i int) int {
	if i == 0 {
		return 0
	}
	return l.ends[i-1]
}

func (l *keyList) key(i int32) []byte { return l.buf[l.start(int(i)):l.ends[i]] }

// sort puts the keys in order and drops duplicates; they are then key(rank[0]), key(rank[1]), ...
func (l *keyList) sort() {
	l.rank = l.rank[:0]
	for i := range l.ends {
		l.rank = append(l.rank, int32(i))
	}
	if len(l.rank) > 1 {
		slices.SortFunc(l.rank, func(a, b int32) int { return bytes.Compare(l.key(a), l.key(b)) })
		l.rank = slices.CompactFunc(l.rank, func(a, b int32) bool { return bytes.Equal(l.key(a), l.key(b)) })
	}
}
