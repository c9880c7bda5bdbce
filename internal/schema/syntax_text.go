package schema

import (
	"bytes"
	"errors"
	"strings"
	"unicode/utf8"

	"portolan/ldap"
)

var (
	errDirectoryString = errors.New("the value is empty; a Directory String has at least one character")
	errNotUTF8         = errors.New("the value is not UTF-8")
	errPrintable       = errors.New("a printable string is one or more ASCII letters, digits, spaces and ' ( ) + , - . / : = ?")
	errCountry         = errors.New("a country is the two letters of ISO 3166, such as DE")
	errNumeric         = errors.New("a numeric string is one or more digits and spaces")
	errTelephone       = errors.New("a telephone number is one or more ASCII letters, digits, spaces and ' ( ) + , - . / : = ?, such as +49 30 123456")
	errMailbox         = errors.New("a mailbox is written type $ address, such as internet$me@example.com")
	errTelex           = errors.New("a telex number is written number $ country $ answerback")
	errTeletex         = errors.New("a teletex terminal identifier is printable text with parameters such as $graphic:value behind it")
	errFacsimile       = errors.New("a facsimile number is a telephone number with parameters such as $fineResolution behind it")
	errDelivery        = errors.New("a delivery method is any, mhs, physical, telex, teletex, g3fax, g4fax, ia5, videotex or telephone, several with $ between them")
	errSubstring       = errors.New(`a substring assertion has a "*"; a "*" that is meant is written \2A and a "\" \5C`)
	errTriple          = errors.New("a netgroup triple is written (host,user,domain), each part of which may be empty or -")
	errBootParameter   = errors.New("a boot parameter is written key=server:path")
	errGuide           = errors.New("a guide is written class#criteria, with criteria such as sn$EQ|cn$SUBSTR")
	errEnhancedGuide   = errors.New("an enhanced guide is written class#criteria#subset, with criteria such as sn$EQ and a subset of baseobject, oneLevel or wholeSubtree")
	errControl         = errors.New("a control is written { OID }, with criticality TRUE and controlValue \"...\" behind the OID where it has them")
	errSID             = errors.New("a CSN SID is three hexadecimal digits")
)

func anyOctets(*Schema, []byte) error { return nil }

// failUnless returns err unless ok.
func failUnless(ok bool, err error) error {
	if ok {
		return nil
	}
	return err
}

func checkDirectoryString(_ *Schema, v []byte) error {
	if len(v) == 0 {
		return errDirectoryString
	}
	return failUnless(utf8.Valid(v), errNotUTF8)
}

// printable has the octets of PrintableCharacter (RFC 4517 section 3.2).
var printable = func() (t [256]bool) {
	for c := range t {
		t[c] = isAlpha(byte(c)) || isDigit(byte(c)) || bytes.IndexByte([]byte(" '()+,-./:=?"), byte(c)) >= 0
	}
	return t
}()

func isPrintable(v []byte) bool {
	for _, c := range v {
		if !printable[c] {
			return false
		}
	}
	return len(v) > 0
}

func checkPrintable(_ *Schema, v []byte) error { return failUnless(isPrintable(v), errPrintable) }

func checkCountry(_ *Schema, v []byte) error {
	return failUnless(len(v) == 2 && isPrintable(v), errCountry)
}

// checkTelephone takes any printable string, as slapd does: numbers in the field are rarely those of E.123.
func checkTelephone(_ *Schema, v []byte) error { return failUnless(isPrintable(v), errTelephone) }

func checkIA5(_ *Schema, v []byte) error { return failUnless(isASCII(v), errIA5) }

func checkNumericString(_ *Schema, v []byte) error {
	for _, c := range v {
		if c != ' ' && !isDigit(c) {
			return errNumeric
		}
	}
	return failUnless(len(v) > 0, errNumeric)
}

func checkOtherMailbox(_ *Schema, v []byte) error {
	kind, address, ok := bytes.Cut(v, []byte{'$'})
	return failUnless(ok && isPrintable(kind) && isASCII(address), errMailbox)
}

// checkPostalAddress lets empty lines pass, which the grammar does not have and addresses in use do, as slapd does.
func checkPostalAddress(_ *Schema, v []byte) error {
	if len(v) == 0 {
		return errDirectoryString
	}
	if !utf8.Valid(v) {
		return errNotUTF8
	}
	return failUnless(validEscapes(v), errPostal)
}

func checkTelex(_ *Schema, v []byte) error {
	number, rest, ok := bytes.Cut(v, []byte{'$'})
	country, answerback, ok2 := bytes.Cut(rest, []byte{'$'})
	return failUnless(ok && ok2 && isPrintable(number) && isPrintable(country) && isPrintable(answerback), errTelex)
}

func checkTeletex(_ *Schema, v []byte) error {
	id, rest, more := bytes.Cut(v, []byte{'$'})
	if !isPrintable(id) {
		return errTeletex
	}
	for more {
		var param []byte
		param, rest, more = bytes.Cut(rest, []byte{'$'})
		key, value, ok := bytes.Cut(param, []byte{':'})
		if !ok || !isKeyword(key, "graphic", "control", "misc", "page", "private") || !validEscapes(value) {
			return errTeletex
		}
	}
	return nil
}

// isKeyword compares with words of an ABNF, which do not depend on case (RFC 4234 section 2.3).
func isKeyword(v []byte, words ...string) bool {
	for _, w := range words {
		if strings.EqualFold(w, string(v)) {
			return true
		}
	}
	return false
}

// validEscapes checks that every "\" begins "\24" or "\5C".
func validEscapes(v []byte) bool {
	for i, c := range v {
		if c != '\\' {
			continue
		}
		if tail := v[i+1:]; len(tail) < 2 || !isKeyword(tail[:2], "24", "5C") {
			return false
		}
	}
	return true
}

func checkFacsimile(_ *Schema, v []byte) error {
	number, rest, more := bytes.Cut(v, []byte{'$'})
	if !isPrintable(number) {
		return errFacsimile
	}
	for more {
		var param []byte
		param, rest, more = bytes.Cut(rest, []byte{'$'})
		if !isKeyword(param, "twoDimensional", "fineResolution", "unlimitedLength", "b4Length", "a3Width", "b4Width", "uncompressed") {
			return errFacsimile
		}
	}
	return nil
}

func checkDeliveryMethod(_ *Schema, v []byte) error {
	for first, more := true, true; more; first = false {
		var method []byte
		method, v, more = bytes.Cut(v, []byte{'$'})
		if !first {
			method = bytes.TrimLeft(method, " ")
		}
		if more {
			method = bytes.TrimRight(method, " ")
		}
		if !isKeyword(method, "any", "mhs", "physical", "telex", "teletex", "g3fax", "g4fax", "ia5", "videotex", "telephone") {
			return errDelivery
		}
	}
	return nil
}

func checkSubstringAssertion(_ *Schema, v []byte) error {
	_, ok := ParseSubstringAssertion(v)
	return failUnless(ok && utf8.Valid(v), errSubstring)
}

// ParseSubstringAssertion reads the text form of a substring assertion (RFC 4517 section 3.3.30), which a substrings rule
// takes in an extensible match: pieces with asterisks between them, "\2A" and "\5C" for the two characters themselves. No
// piece is empty; a single asterisk is an assertion without pieces.
func ParseSubstringAssertion(v []byte) (pieces []ldap.Substring, ok bool) {
	rest := v
	for first := true; ; first = false {
		text, tail, more := bytes.Cut(rest, []byte{'*'})
		piece, ok := unescapePiece(text)
		if !ok || first && !more || len(piece) == 0 && !first && more {
			return nil, false
		}
		kind := ldap.SubAny
		if first {
			kind = ldap.SubInitial
		} else if !more {
			kind = ldap.SubFinal
		}
		if len(piece) > 0 {
			pieces = append(pieces, ldap.Substring{Kind: kind, Value: piece})
		}
		if !more {
			return pieces, true
		}
		rest = tail
	}
}

// unescapePiece resolves the escapes of one piece.
func unescapePiece(text []byte) ([]byte, bool) {
	if bytes.IndexByte(text, '\\') < 0 {
		return text, true
	}
	out := make([]byte, 0, len(text))
	for len(text) > 0 {
		c := text[0]
		if c == '\\' {
			switch {
			case len(text) < 3:
				return nil, false
			case bytes.EqualFold(text[1:3], []byte("2A")):
				c = '*'
			case !bytes.EqualFold(text[1:3], []byte("5C")):
				return nil, false
			}
			text = text[2:]
		}
		out = append(out, c)
		text = text[1:]
	}
	return out, true
}

func checkNetgroupTriple(_ *Schema, v []byte) error {
	if len(v) < 4 || v[0] != '(' || v[len(v)-1] != ')' || bytes.Count(v, []byte{','}) != 2 {
		return errTriple
	}
	for _, c := range v[1 : len(v)-1] {
		if c <= ' ' || c >= 0x7f || c == '(' || c == ')' {
			if c != ' ' {
				return errTriple
			}
		}
	}
	return nil
}

func checkBootParameter(_ *Schema, v []byte) error {
	key, rest, ok := bytes.Cut(v, []byte{'='})
	server, path, ok2 := bytes.Cut(rest, []byte{':'})
	return failUnless(ok && ok2 && len(key) > 0 && len(server) > 0 && len(path) > 0 && isASCII(v), errBootParameter)
}

func checkSID(_ *Schema, v []byte) error {
	return failUnless(len(v) == 3 && isHex(v[0]) && isHex(v[1]) && isHex(v[2]), errSID)
}

// checkControl checks a control as slapo-accesslog writes it: { OID criticality TRUE controlValue "..." }.
func checkControl(_ *Schema, v []byte) error {
	first, ok := component(v)
	return failUnless(ok && validOID(first) && v[0] == '{' && v[len(v)-1] == '}', errControl)
}

func checkAuthPassword(s *Schema, v []byte) error {
	var buf [256]byte
	_, err := authPasswordKey(s, buf[:0], v)
	return err
}

// checkGuide checks a Guide (RFC 4517 section 3.3.14): a class may stand before the criteria.
func checkGuide(_ *Schema, v []byte) error {
	if class, rest, ok := bytes.Cut(v, []byte{'#'}); ok {
		if !isOIDOrName(bytes.Trim(class, " ")) {
			return errGuide
		}
		v = rest
	}
	return failUnless(isCriteria(v), errGuide)
}

// checkEnhancedGuide checks an Enhanced Guide (RFC 4517 section 3.3.10).
func checkEnhancedGuide(_ *Schema, v []byte) error {
	class, rest, ok := bytes.Cut(v, []byte{'#'})
	criteria, subset, ok2 := bytes.Cut(rest, []byte{'#'})
	if !ok || !ok2 || !isOIDOrName(bytes.Trim(class, " ")) || !isCriteria(criteria) {
		return errEnhancedGuide
	}
	return failUnless(isKeyword(bytes.Trim(subset, " "), "baseobject", "oneLevel", "wholeSubtree"), errEnhancedGuide)
}

// isCriteria checks the criteria of a guide. Parentheses are counted, not recursed into.
func isCriteria(v []byte) bool {
	depth := 0
	for wantTerm := true; ; {
		v = bytes.TrimLeft(v, " ")
		if wantTerm {
			switch {
			case len(v) == 0:
				return false
			case v[0] == '!':
				v = v[1:]
				continue
			case v[0] == '(':
				depth++
				v = v[1:]
				continue
			case bytes.HasPrefix(v, []byte("?true")):
				v = v[len("?true"):]
			case bytes.HasPrefix(v, []byte("?false")):
				v = v[len("?false"):]
			default:
				n, ok := criterion(v)
				if !ok {
					return false
				}
				v = v[n:]
			}
			wantTerm = false
			continue
		}
		if len(v) == 0 {
			return depth == 0
		}
		switch v[0] {
		case '&', '|':
			wantTerm = true
		case ')':
			if depth--; depth < 0 {
				return false
			}
		default:
			return false
		}
		v = v[1:]
	}
}

// criterion measures "type$EQ".
func criterion(v []byte) (int, bool) {
	end := bytes.IndexByte(v, '$')
	if end < 0 || !isOIDOrName(bytes.TrimRight(v[:end], " ")) {
		return 0, false
	}
	end++
	for end < len(v) && v[end] == ' ' {
		end++
	}
	for _, m := range []string{"EQ", "SUBSTR", "GE", "LE", "APPROX"} {
		if bytes.HasPrefix(v[end:], []byte(m)) {
			return end + len(m), true
		}
	}
	return 0, false
}
