package schema

import (
	"bytes"
	"encoding/binary"
	"errors"
	"unicode"
	"unicode/utf8"
)

var errIA5 = errors.New("the text has an octet that is not ASCII, and the syntax is IA5 String")

func ignoreKey(_ *Schema, dst, v []byte) ([]byte, error) { return appendMatch(dst, v, true) }
func exactKey(_ *Schema, dst, v []byte) ([]byte, error)  { return appendMatch(dst, v, false) }

func ignoreSub(dst, v []byte, at place) ([]byte, error) { return appendSubstring(dst, v, true, at) }
func exactSub(dst, v []byte, at place) ([]byte, error)  { return appendSubstring(dst, v, false, at) }

func ignoreIA5Key(_ *Schema, dst, v []byte) ([]byte, error) { return ia5(dst, v, true) }
func exactIA5Key(_ *Schema, dst, v []byte) ([]byte, error)  { return ia5(dst, v, false) }

func ia5(dst, v []byte, foldCase bool) ([]byte, error) {
	if !isASCII(v) {
		return dst, errIA5
	}
	return appendMatch(dst, v, foldCase)
}

func ignoreIA5Sub(dst, v []byte, at place) ([]byte, error) { return ia5Sub(dst, v, true, at) }
func exactIA5Sub(dst, v []byte, at place) ([]byte, error)  { return ia5Sub(dst, v, false, at) }

func ia5Sub(dst, v []byte, foldCase bool, at place) ([]byte, error) {
	if !isASCII(v) {
		return dst, errIA5
	}
	return appendSubstring(dst, v, foldCase, at)
}

func isASCII(v []byte) bool {
	for ; len(v) >= 8; v = v[8:] {
		if binary.LittleEndian.Uint64(v)&0x8080808080808080 != 0 {
			return false
		}
	}
	for _, c := range v {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func numericKey(_ *Schema, dst, v []byte) ([]byte, error)   { return appendWithout(dst, v, false) }
func telephoneKey(_ *Schema, dst, v []byte) ([]byte, error) { return appendWithout(dst, v, true) }

func numericSub(dst, v []byte, _ place) ([]byte, error)   { return appendWithout(dst, v, false) }
func telephoneSub(dst, v []byte, _ place) ([]byte, error) { return appendWithout(dst, v, true) }

func octetKey(_ *Schema, dst, v []byte) ([]byte, error) { return append(dst, v...), nil }
func octetSub(dst, v []byte, _ place) ([]byte, error)   { return append(dst, v...), nil }

var errPostal = errors.New(`in a postal address a "\" is written as \5C and a "$" inside a line as \24`)

// listKey prepares each line of a postal address (RFC 4517 sections 3.3.28 and 4.2.9). The key is a postal address.
func listKey(_ *Schema, dst, v []byte) ([]byte, error) {
	start := len(dst)
	for n := 0; ; n++ {
		line, rest, more := bytes.Cut(v, []byte{'$'})
		if n > 0 {
			dst = append(dst, '$')
		}
		var buf [128]byte
		plain, err := postalLine(buf[:0], line)
		if err != nil {
			return dst[:start], err
		}
		key, err := appendMatch(nil, plain, true)
		if err != nil {
			return dst[:start], err
		}
		for _, c := range key {
			switch c {
			case '$':
				dst = append(dst, `\24`...)
			case '\\':
				dst = append(dst, `\5C`...)
			default:
				dst = append(dst, c)
			}
		}
		if !more {
			return dst, nil
		}
		v = rest
	}
}

// postalLine resolves the escapes of one line.
func postalLine(dst, line []byte) ([]byte, error) {
	for i := 0; i < len(line); i++ {
		c := line[i]
		if c == '\\' {
			switch {
			case bytes.HasPrefix(line[i:], []byte(`\24`)):
				c = '$'
			case bytes.HasPrefix(line[i:], []byte(`\5C`)), bytes.HasPrefix(line[i:], []byte(`\5c`)):
			default:
				return dst, errPostal
			}
			i += 2
		}
		dst = append(dst, c)
	}
	return dst, nil
}

// listSub prepares the lines with an octet between them that no prepared text has, so that no piece spans two lines (RFC
// 4517 section 4.2.10). A piece is plain text.
func listSub(dst, v []byte, at place) ([]byte, error) {
	if at != wholeValue {
		return appendSubstring(dst, v, true, at)
	}
	start := len(dst)
	for n := 0; ; n++ {
		line, rest, more := bytes.Cut(v, []byte{'$'})
		if n > 0 {
			dst = append(dst, 1)
		}
		var buf [128]byte
		plain, err := postalLine(buf[:0], line)
		if err == nil {
			dst, err = appendSubstring(dst, plain, true, wholeValue)
		}
		if err != nil {
			return dst[:start], err
		}
		if !more {
			return dst, nil
		}
		v = rest
	}
}

// wordMatch (RFC 4517 section 4.2.32) finds the assertion as one whole word of the value; words are divided by spaces and
// punctuation. Both are prepared as for caseIgnoreMatch.
func wordMatch(_ *Schema, value, assertion []byte) (bool, error) {
	return findWord(value, assertion, false)
}

// keywordMatch (RFC 4517 section 4.2.21) leaves it to the server what a keyword is: here any run of whole words.
func keywordMatch(_ *Schema, value, assertion []byte) (bool, error) {
	return findWord(value, assertion, true)
}

var errWord = errors.New("wordMatch looks for one word; for several write keywordMatch, or one filter item for each word")

// maxWords bounds what is looked for, in octets: the search costs the product of the two lengths.
const maxWords = 1024

var errWords = errors.New("the words looked for are longer than 1024 octets")

func wordKey(_ *Schema, dst, v []byte) ([]byte, error)    { return soughtWords(dst, v, false) }
func keywordKey(_ *Schema, dst, v []byte) ([]byte, error) { return soughtWords(dst, v, true) }

// soughtWords prepares what is looked for.
func soughtWords(dst, assertion []byte, several bool) ([]byte, error) {
	start := len(dst)
	dst, err := appendMatch(dst, assertion, true)
	if err != nil {
		return dst[:start], err
	}
	a := dst[start:]
	switch {
	case len(a) == 1 && a[0] == ' ' || !several && bytes.ContainsFunc(a, isWordBreak):
		return dst[:start], errWord
	case len(a) > maxWords:
		return dst[:start], errWords
	}
	return dst, nil
}

func findWord(value, assertion []byte, several bool) (bool, error) {
	var vbuf, abuf [128]byte
	v, err := appendMatch(vbuf[:0], value, true)
	if err != nil {
		return false, err
	}
	a, err := soughtWords(abuf[:0], assertion, several)
	if err != nil {
		return false, err
	}
	for from := 0; from < len(v); {
		i := bytes.Index(v[from:], a)
		if i < 0 {
			return false, nil
		}
		i += from
		before, _ := utf8.DecodeLastRune(v[:i])
		after, _ := utf8.DecodeRune(v[i+len(a):])
		if (i == 0 || isWordBreak(before)) && (i+len(a) == len(v) || isWordBreak(after)) {
			return true, nil
		}
		_, n := utf8.DecodeRune(v[i:])
		from = i + n
	}
	return false, nil
}

func isWordBreak(r rune) bool {
	return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.Is(unicode.M, r) && r != '\'' && r != '_'
}

var errAuthPassword = errors.New("an authPassword value is written scheme $ authInfo $ authValue")

// authPasswordKey removes the optional spaces and raises the scheme (RFC 3112 section 2.2).
func authPasswordKey(_ *Schema, dst, v []byte) ([]byte, error) {
	scheme, rest, ok := bytes.Cut(v, []byte{'$'})
	info, value, ok2 := bytes.Cut(rest, []byte{'$'})
	scheme, info, value = bytes.Trim(scheme, " "), bytes.Trim(info, " "), bytes.Trim(value, " ")
	if !ok || !ok2 || len(scheme) == 0 || bytes.IndexByte(value, '$') >= 0 || !isPrintableIA5(info) || !isPrintableIA5(value) {
		return dst, errAuthPassword
	}
	for _, c := range scheme {
		if c-'a' < 26 {
			c -= 'a' - 'A'
		}
		if !(c-'A' < 26 || isDigit(c) || c == '-' || c == '/' || c == '_' || c == '.') {
			return dst, errAuthPassword
		}
	}
	dst = append(dst, bytes.ToUpper(scheme)...)
	dst = append(append(dst, '$'), info...)
	return append(append(dst, '$'), value...), nil
}

func isPrintableIA5(v []byte) bool {
	for _, c := range v {
		if c < ' ' || c >= 0x7f {
			return false
		}
	}
	return true
}
