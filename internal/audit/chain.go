package audit

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"hash"
	"strconv"
)

// A line of the audit log is one JSON object on one line: its number first, its MAC last, and what happened in between.
//
//	{"n":17,"time":"2026-01-31T12:00:00.000000Z","event":"bind", ... ,"mac":"3q2-7w..."}
//
// The MAC is HMAC-SHA-256 under the log's key, over the MAC of the line before (32 octets; zeros before line 1) and the
// octets of this line up to `,"mac":`. So a line holds all lines before it, and nobody without the key can write one.
const (
	lineHead = `{"n":`
	macHead  = `,"mac":"`
	lineTail = `"}`
	macText  = 43 // base64url of 32 octets, without padding
)

// maxLine bounds a line in octets; what is longer was not written by this package.
const maxLine = 128 << 10

// mac is the authentication code of a line.
type mac [sha256.Size]byte

var macEncoding = base64.RawURLEncoding.Strict()

func (m mac) String() string { return macEncoding.EncodeToString(m[:]) }

func parseMAC(text []byte) (m mac, ok bool) {
	if len(text) != macText {
		return m, false
	}
	n, err := macEncoding.Decode(m[:], text)
	return m, err == nil && n == len(m)
}

// sealer computes MACs under one key. It is for one goroutine.
type sealer struct {
	h       hash.Hash
	scratch *mac // what goes through an interface would be allocated each time
}

func newSealer(key []byte) sealer { return sealer{hmac.New(sha256.New, key), new(mac)} }

func (s sealer) mac(prev mac, sealed []byte) mac {
	s.h.Reset()
	*s.scratch = prev
	s.h.Write(s.scratch[:])
	s.h.Write(sealed)
	s.h.Sum(s.scratch[:0])
	return *s.scratch
}

func (s sealer) authentic(prev mac, l *line) bool {
	m := s.mac(prev, l.sealed)
	return hmac.Equal(m[:], l.mac[:])
}

// keyID names a key without telling anything about it.
func keyID(key []byte) string {
	h := hmac.New(sha256.New, key)
	h.Write([]byte("portolan audit key"))
	return macEncoding.EncodeToString(h.Sum(nil)[:9])
}

// chain is the end of a log: what the next line is bound to.
type chain struct {
	sealer
	n   uint64 // of the last line
	mac mac
}

// next appends the next line with its end. body is JSON without the braces: what happened.
func (c *chain) next(dst, body []byte) []byte {
	start := len(dst)
	c.n++
	dst = strconv.AppendUint(append(dst, lineHead...), c.n, 10)
	dst = append(append(dst, ','), body...)
	c.mac = c.sealer.mac(c.mac, dst[start:])
	dst = macEncoding.AppendEncode(append(dst, macHead...), c.mac[:])
	return append(append(dst, lineTail...), '\n')
}

// line is a line taken apart. The slice is of the input.
type line struct {
	n      uint64
	sealed []byte // what the MAC is over, beside the MAC before
	mac    mac
}

// parseLine takes a line without its end apart. It says nothing about whether it is authentic.
func parseLine(b []byte) (l line, ok bool) {
	tail := macText + len(lineTail)
	if len(b) < len(lineHead)+2+len(macHead)+tail || len(b) > maxLine || string(b[:len(lineHead)]) != lineHead || !bytes.HasSuffix(b, []byte(lineTail)) {
		return l, false
	}
	cut := len(b) - tail - len(macHead)
	if string(b[cut:cut+len(macHead)]) != macHead {
		return l, false
	}
	if l.mac, ok = parseMAC(b[cut+len(macHead) : len(b)-len(lineTail)]); !ok {
		return l, false
	}
	digits := b[len(lineHead):cut]
	i := bytes.IndexByte(digits, ',')
	if i <= 0 || digits[0] == '0' {
		return l, false
	}
	n, err := strconv.ParseUint(string(digits[:i]), 10, 64)
	if err != nil {
		return l, false
	}
	l.n, l.sealed = n, b[:cut]
	return l, true
}

// field returns the raw value of a key of a line that this package wrote: what is between the quotes of a string, or a
// number. Quotes inside of strings are escaped, so that what looks like a key is one.
func (l *line) field(key string) []byte {
	for rest := l.sealed; ; {
		i := bytes.Index(rest, []byte(key))
		if i < 0 {
			return nil
		}
		after := rest[i+len(key):]
		if i > 1 && rest[i-1] == '"' && rest[i-2] == ',' && bytes.HasPrefix(after, []byte(`":`)) {
			return fieldValue(after[2:])
		}
		rest = after
	}
}

func fieldValue(v []byte) []byte {
	if len(v) == 0 || v[0] != '"' {
		if end := bytes.IndexAny(v, ",}"); end >= 0 {
			v = v[:end]
		}
		return v
	}
	for i := 1; i < len(v); i++ {
		switch v[i] {
		case '\\':
			i++
		case '"':
			return v[1:i]
		}
	}
	return nil
}

// text returns the value of a key as the text that it stands for.
func (l *line) text(key string) string {
	raw := l.field(key)
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw)
	}
	var s string
	if err := json.Unmarshal(append(append([]byte{'"'}, raw...), '"'), &s); err != nil {
		return string(raw)
	}
	return s
}

// number returns the value of a key as a number, 0 without.
func (l *line) number(key string) uint64 {
	n, err := strconv.ParseUint(string(l.field(key)), 10, 64)
	if err != nil {
		return 0
	}
	return n
}
