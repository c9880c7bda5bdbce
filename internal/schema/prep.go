package schema

import (
	"bytes"
	"errors"
	"slices"
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"portolan/ldap"
)

// String preparation (RFC 4518): transcode, map, normalise, prohibit, check bidi (which does nothing), and the handling
// of insignificant characters.
//
// RFC 4518 rests on the tables of Unicode 3.2. They would refuse every character that came later, so the tables used
// here are those of UnicodeVersion: the mapped-to-nothing and space classes are the ones RFC 4518 lists, case folding
// is the full folding of Unicode closed under NFKC (what table B.2 of RFC 3454 is for version 3.2), and "unassigned"
// means unassigned in that version.

// UnicodeVersion is the version of the tables that keys depend on. Keys made with another version may differ for text
// that is not ASCII, so what keeps keys on disk keeps this beside them.
const UnicodeVersion = norm.Version

var (
	errUTF8       = errors.New("the text is not UTF-8")
	errProhibited = errors.New("the text has a code point that is unassigned, for private use or no character (RFC 4518 section 2.4)")
)

// appendMatch appends text prepared for an equality or ordering match. RFC 4518 section 2.6.1 has it begin and end with
// a space and doubles the spaces inside; here the outer ones are left out and the inner ones single, which makes the
// same strings equal and the key readable. Text that has nothing but spaces becomes one space.
func appendMatch(dst, text []byte, foldCase bool) ([]byte, error) {
	start := len(dst)
	table := &exactASCII
	if foldCase {
		table = &foldedASCII
	}
	dst = slices.Grow(dst, len(text)+1)
	out := dst[start : start+len(text)+1]
	n := 0
	pending := false
	for _, c := range text {
		if low := table[c]; low > ' ' {
			if pending {
				pending = false
				out[n] = ' '
				n++
			}
			out[n] = low
			n++
			continue
		}
		if c >= utf8.RuneSelf {
			var buf [256]byte
			prepared, err := prepare(buf[:0], text, foldCase)
			if err != nil {
				return dst[:start], err
			}
			return squeeze(dst[:start], prepared), nil
		}
		if table[c] == ' ' && n > 0 {
			pending = true
		}
	}
	if n == 0 {
		out[0], n = ' ', 1
	}
	return dst[:start+n], nil
}

// exactASCII and foldedASCII say what a match makes of each octet: itself, in lower case where told so, a space, or
// nothing (0), which is also what they say of octets that are not ASCII.
var (
	exactASCII  = asciiTable(false)
	foldedASCII = asciiTable(true)
)

func asciiTable(foldCase bool) (t [256]byte) {
	for c := range byte(0x7f) {
		switch {
		case c > ' ':
			t[c] = c
			if foldCase && c >= 'A' && c <= 'Z' {
				t[c] += 'a' - 'A'
			}
		case mapping(rune(c)) == toSpace || c == ' ':
			t[c] = ' '
		}
	}
	return t
}

// squeeze appends prepared text with its spaces as appendMatch has them.
func squeeze(dst, text []byte) []byte {
	start := len(dst)
	pending := false
	for i, c := range text {
		if c == ' ' && isSpaceAt(text, i) {
			pending = true
			continue
		}
		if pending && len(dst) > start {
			dst = append(dst, ' ')
		}
		pending = false
		dst = append(dst, c)
	}
	if len(dst) == start {
		dst = append(dst, ' ')
	}
	return dst
}

// isSpaceAt reports whether the SPACE at i is one for RFC 4518 section 2.6.1: no combining mark follows it.
func isSpaceAt(text []byte, i int) bool { return !isMarked(text[i+1:]) }

// isMarked reports whether text begins with a combining mark.
func isMarked(text []byte) bool {
	if len(text) == 0 || text[0] < utf8.RuneSelf {
		return false
	}
	r, _ := utf8.DecodeRune(text)
	return unicode.Is(unicode.M, r)
}

// A place says what a text is in a substring match.
type place uint8

const (
	wholeValue   = place(255)
	initialPiece = place(ldap.SubInitial)
	anyPiece     = place(ldap.SubAny)
	finalPiece   = place(ldap.SubFinal)
)

// appendSubstring appends text prepared for a substring match, with spaces as in RFC 4518 section 2.6.1: a value begins
// and ends with one and has two for each run inside, so that a piece that ends and one that begins with a space both
// find theirs; a piece begins with one if it is the initial one or had any there, and likewise at its end.
func appendSubstring(dst, text []byte, foldCase bool, at place) ([]byte, error) {
	for _, c := range text {
		if c >= utf8.RuneSelf || c < ' ' || c == 0x7f {
			var buf [256]byte
			prepared, err := prepare(buf[:0], text, foldCase)
			if err != nil {
				return dst, err
			}
			text, foldCase = prepared, false
			break
		}
	}
	first, last := 0, len(text)
	for first < last && text[first] == ' ' && isSpaceAt(text, first) {
		first++
	}
	for last > first && text[last-1] == ' ' {
		last--
	}
	if first == last {
		if at == wholeValue {
			return append(dst, "  "...), nil
		}
		return append(dst, ' '), nil
	}
	if first > 0 || at == wholeValue || at == initialPiece {
		dst = append(dst, ' ')
	}
	pending := false
	for i := first; i < last; i++ {
		c := text[i]
		if c == ' ' && isSpaceAt(text, i) {
			pending = true
			continue
		}
		if pending {
			dst = append(dst, ' ', ' ')
			pending = false
		}
		if foldCase && c-'A' < 26 {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	if last < len(text) || at == wholeValue || at == finalPiece {
		dst = append(dst, ' ')
	}
	return dst, nil
}

// appendWithout appends text prepared with all spaces removed, and all hyphens where told so: RFC 4518 sections 2.6.2
// (numeric strings) and 2.6.3 (telephone numbers).
func appendWithout(dst, text []byte, hyphens bool) ([]byte, error) {
	start := len(dst)
	for _, c := range text {
		switch {
		case c >= utf8.RuneSelf:
			var buf [256]byte
			prepared, err := prepare(buf[:0], text, true)
			if err != nil {
				return dst[:start], err
			}
			return strip(dst[:start], prepared, hyphens), nil
		case c <= ' ' || c == 0x7f || c == '-' && hyphens:
			continue
		case c-'A' < 26:
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst, nil
}

func strip(dst, text []byte, hyphens bool) []byte {
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		if !((r == ' ' || hyphens && isHyphen(r)) && !isMarked(text[i+n:])) {
			dst = append(dst, text[i:i+n]...)
		}
		i += n
	}
	return dst
}

// isHyphen lists the hyphens of RFC 4518 section 2.6.3 that are left after NFKC, and those before it.
func isHyphen(r rune) bool {
	switch r {
	case '-', 0x058A, 0x2010, 0x2011, 0x2212, 0xFE63, 0xFF0D:
		return true
	}
	return false
}

// prepare does the steps of RFC 4518 sections 2.1 to 2.5 on any text. The result is appended to scratch, or new.
func prepare(scratch, text []byte, foldCase bool) ([]byte, error) {
	if !utf8.Valid(text) {
		return nil, errUTF8
	}
	if out, ok := prepareEuropean(scratch, text, foldCase); ok {
		return out, nil
	}
	return prepareAny(text, foldCase)
}

func prepareAny(text []byte, foldCase bool) ([]byte, error) {
	out := mapCodePoints(make([]byte, 0, len(text)+8), text)
	if foldCase {
		out = foldAll(out)
	} else {
		out = norm.NFKC.Bytes(out)
	}
	for i := 0; i < len(out); {
		r, n := utf8.DecodeRune(out[i:])
		if r >= utf8.RuneSelf && prohibited(r) {
			return nil, errProhibited
		}
		i += n
	}
	return out, nil
}

// european ends the range of code points that prepareEuropean knows: Latin, Greek and Cyrillic.
const european = 0x0500

// A europeanTable has what prepareAny makes of each single code point; "" means that it takes all of the text to tell.
type europeanTable [european]struct {
	to    string
	known bool
}

func newEuropeanTable(foldCase bool) *europeanTable {
	var t europeanTable
	for r := range rune(european) {
		if unicode.Is(unicode.M, r) {
			continue // combines with what is before it
		}
		if out, err := prepareAny([]byte(string(r)), foldCase); err == nil {
			t[r].to, t[r].known = string(out), true
		}
	}
	return &t
}

var (
	exactEuropean  = sync.OnceValue(func() *europeanTable { return newEuropeanTable(false) })
	foldedEuropean = sync.OnceValue(func() *europeanTable { return newEuropeanTable(true) })
)

// prepareEuropean prepares text of Latin, Greek and Cyrillic letters without combining marks code point by code point:
// nothing in it combines with what is beside it. It says so when there is more in the text.
func prepareEuropean(dst, text []byte, foldCase bool) ([]byte, bool) {
	table := exactEuropean
	if foldCase {
		table = foldedEuropean
	}
	t := table()
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		if r >= european || !t[r].known {
			return nil, false
		}
		dst = append(dst, t[r].to...)
		i += n
	}
	return dst, true
}

// foldAll folds case and normalises until neither changes anything, which for nearly all text is after one round.
func foldAll(text []byte) []byte {
	caser := cases.Fold()
	for range 5 {
		if isFolded(caser, text) {
			break
		}
		// Decomposing first lets the folding see letters below combining marks that NFKC will reorder.
		folded := caser.Bytes(norm.NFD.Bytes(text))
		text = norm.NFKC.Bytes(bytes.Map(foldCherokee, folded))
	}
	return text
}

// isFolded reports whether another round would change nothing. It may be mistaken the other way.
func isFolded(caser cases.Caser, text []byte) bool {
	if n, err := caser.Span(text, true); err != nil || n < len(text) {
		return false
	}
	return norm.NFKC.IsNormal(text) && !bytes.ContainsFunc(text, func(r rune) bool {
		// Decomposed, these two show a letter or a mark that folds.
		return foldCherokee(r) != r || r >= 0x1F80 && r <= 0x1FFF || r == 0x0345
	})
}

// foldCherokee folds Cherokee to its capitals, as Unicode does; x/text swaps the two cases.
func foldCherokee(r rune) rune {
	switch {
	case r >= 0xAB70 && r <= 0xABBF:
		return r - 0xAB70 + 0x13A0
	case r >= 0x13F8 && r <= 0x13FD:
		return r - 8
	}
	return r
}

// mapCodePoints is the mapping of RFC 4518 section 2.2 without case.
func mapCodePoints(dst, text []byte) []byte {
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		switch mapping(r) {
		case toSpace:
			dst = append(dst, ' ')
		case toItself:
			dst = append(dst, text[i:i+n]...)
		}
		i += n
	}
	return dst
}

type mapped uint8

const (
	toItself mapped = iota
	toNothing
	toSpace
)

// mapping says what RFC 4518 section 2.2 makes of a code point.
func mapping(r rune) mapped {
	switch {
	case r == ' ' || r > ' ' && r < 0x7f:
		return toItself
	case r >= '\t' && r <= '\r' || r == 0x85:
		return toSpace
	case r < 0xA0:
		return toNothing // the other controls
	case r == 0xAD || r == 0x1806 || r == 0x034F, // soft hyphens, combining grapheme joiner
		r >= 0x180B && r <= 0x180D || r >= 0xFE00 && r <= 0xFE0F, // variation selectors
		r == 0xFFFC, // object replacement
		r == 0x06DD || r == 0x070F || r == 0x180E,
		r >= 0x200C && r <= 0x200F || r >= 0x202A && r <= 0x202E,
		r >= 0x2060 && r <= 0x2063 || r >= 0x206A && r <= 0x206F,
		r == 0xFEFF || r >= 0xFFF9 && r <= 0xFFFB,
		r >= 0x1D173 && r <= 0x1D17A,
		r == 0xE0001 || r >= 0xE0020 && r <= 0xE007F,
		r == 0x200B: // zero width space
		return toNothing
	case unicode.Is(unicode.Z, r):
		return toSpace
	}
	return toItself
}

// prohibited reports whether RFC 4518 section 2.4 refuses a code point: unassigned, private use, no character, what
// changes display, and the replacement character.
func prohibited(r rune) bool {
	switch {
	case r == utf8.RuneError, r == 0x0340, r == 0x0341:
		return true
	case r >= 0xFDD0 && r <= 0xFDEF, r&0xFFFE == 0xFFFE:
		return true
	case unicode.IsLetter(r):
		return false
	case unicode.Is(unicode.Co, r):
		return true
	}
	return !unicode.In(r, unicode.M, unicode.N, unicode.P, unicode.S, unicode.Z, unicode.Cc, unicode.Cf)
}
