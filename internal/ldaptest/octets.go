package ldaptest

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"portolan/ber"
)

// octets reads octets as dialogues write them. Hexadecimal digits are octets, a quoted string is its own, and braces make
// an element: the identifier octet, then the contents, in the same notation. Blanks mean nothing.
//
//	{30 {02 01} {42}}    30 05 02 01 01 42 00
//	{04 "cn"} 0500       04 02 63 6e 05 00
func octets(text string) ([]byte, error) {
	out, rest, err := octetsUntil(text, false)
	if err != nil {
		return nil, err
	}
	if rest != "" {
		return nil, fmt.Errorf("a brace too many at %q", rest)
	}
	return out, nil
}

func octetsUntil(text string, inside bool) (out []byte, rest string, err error) {
	for {
		text = strings.TrimLeft(text, " \t")
		switch {
		case text == "":
			if inside {
				return nil, "", fmt.Errorf("a brace is not closed")
			}
			return out, "", nil
		case text[0] == '}':
			if !inside {
				return out, text, nil
			}
			return out, text[1:], nil
		case text[0] == '"':
			quoted, err := strconv.QuotedPrefix(text)
			if err != nil {
				return nil, "", fmt.Errorf("a quote is not closed")
			}
			s, err := strconv.Unquote(quoted)
			if err != nil {
				return nil, "", err
			}
			out, text = append(out, s...), text[len(quoted):]
		case text[0] == '{':
			content, after, err := octetsUntil(text[1:], true)
			if err != nil {
				return nil, "", err
			}
			if len(content) == 0 {
				return nil, "", fmt.Errorf("an element without an identifier octet")
			}
			out, text = ber.AppendBytes(out, content[0], content[1:]), after
		default:
			end := strings.IndexAny(text, " \t{}\"")
			if end < 0 {
				end = len(text)
			}
			b, err := hex.DecodeString(text[:end])
			if err != nil {
				return nil, "", fmt.Errorf("%q is not hexadecimal", text[:end])
			}
			out, text = append(out, b...), text[end:]
		}
	}
}
