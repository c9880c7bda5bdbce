package ldaptest

import (
	"fmt"
	"strconv"
	"strings"
)

// A dialogue is a text of lines; "#" begins a comment line. A line that begins with the name of a connection is a request,
// lines that begin with "<" are what the server must answer to it, all of it and nothing else. Indented lines belong to
// the request above: the changes of a modify, the attributes of an add. A connection is opened when it is first named.
//
//	c1 bind cn=admin,dc=example,dc=org admin-secret => success
//	c1 search base=ou=people,dc=example,dc=org scope=one filter=(uid=alice) attrs=cn,mail
//	< entry uid=alice,ou=people,dc=example,dc=org
//	<   cn: Alice Archer
//	<   mail: alice@example.org
//	< success
//	c1 modify uid=alice,ou=people,dc=example,dc=org
//	  add mail a@example.org "b b@example.org"
//	  delete telephoneNumber
//	< success
//
// A result behind "=>" is the whole answer. A request without an expectation is only sent; "recv" awaits its answer later.
// Words are separated by blanks; quoted parts keep theirs: '...' is literal, "..." knows the escapes of Go. $name stands
// for what an expectation of the same name captured. README.md in test/conform lists the verbs.

// word is one word of a line. A literal one is not looked at for variables or marks.
type word struct {
	text    string
	literal bool
	quoted  bool
}

// is reports whether the word is this mark, unquoted.
func (w word) is(mark string) bool { return !w.quoted && w.text == mark }

// step is a request with what must be answered.
type step struct {
	line   int
	conn   string
	verb   string
	words  []word // behind the verb
	rest   string // behind the verb, as written
	answer []expectLine
}

// expectLine is one line of an answer.
type expectLine struct {
	line  int
	part  bool // belongs to the line above: an attribute or a control
	words []word
	text  string
}

// parseScript reads a dialogue. Errors name the line.
func parseScript(text string) ([]step, error) {
	var steps []step
	for i, line := range strings.Split(text, "\n") {
		n := i + 1
		trimmed := strings.TrimSpace(line)
		if trimmed == "" || strings.HasPrefix(trimmed, "#") {
			continue
		}
		if rest, ok := strings.CutPrefix(line, "<"); ok {
			if len(steps) == 0 {
				return nil, fmt.Errorf("line %d: an answer without a request", n)
			}
			last := &steps[len(steps)-1]
			e, err := parseExpect(n, rest)
			if err != nil {
				return nil, err
			}
			if len(last.answer) == 0 && e.part {
				return nil, fmt.Errorf("line %d: an attribute or control without an entry or result above it", n)
			}
			last.answer = append(last.answer, e)
			continue
		}
		words, err := split(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %v", n, err)
		}
		if line[0] == ' ' || line[0] == '\t' {
			if len(steps) == 0 || len(steps[len(steps)-1].answer) > 0 {
				return nil, fmt.Errorf("line %d: an indented line without a request above it", n)
			}
			last := &steps[len(steps)-1]
			if len(last.words) > 0 {
				last.words = append(last.words, word{text: ";"})
			}
			last.words = append(last.words, words...)
			if err := last.inline(n); err != nil {
				return nil, err
			}
			continue
		}
		if len(words) < 2 {
			return nil, fmt.Errorf("line %d: write a connection and a verb", n)
		}
		s := step{line: n, conn: words[0].text, verb: words[1].text, words: words[2:]}
		s.rest = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(strings.TrimPrefix(trimmed, s.conn)), s.verb))
		if err := s.inline(n); err != nil {
			return nil, err
		}
		steps = append(steps, s)
	}
	return steps, nil
}

// inline takes the answer behind "=>" out of the words.
func (s *step) inline(n int) error {
	for i, w := range s.words {
		if !w.is("=>") {
			continue
		}
		if i+1 == len(s.words) {
			return fmt.Errorf("line %d: nothing behind =>", n)
		}
		s.answer = append(s.answer, expectLine{line: n, words: s.words[i+1:]})
		s.words = s.words[:i:i]
		s.rest, _, _ = strings.Cut(s.rest, "=>")
		return nil
	}
	return nil
}

func parseExpect(n int, rest string) (expectLine, error) {
	e := expectLine{line: n, part: strings.HasPrefix(rest, "  "), text: strings.TrimSpace(rest)}
	if e.part && !strings.HasPrefix(e.text, "control ") {
		return e, nil // "attribute: value", the value as it stands
	}
	words, err := split(rest)
	if err != nil {
		return e, fmt.Errorf("line %d: %v", n, err)
	}
	if len(words) == 0 {
		return e, fmt.Errorf("line %d: an empty answer", n)
	}
	e.words = words
	return e, nil
}

// split separates the words of a line.
func split(line string) ([]word, error) {
	var words []word
	for i := 0; ; {
		for i < len(line) && (line[i] == ' ' || line[i] == '\t') {
			i++
		}
		if i == len(line) {
			return words, nil
		}
		var w word
		var b strings.Builder
		for i < len(line) && line[i] != ' ' && line[i] != '\t' {
			switch line[i] {
			case '\'':
				end := strings.IndexByte(line[i+1:], '\'')
				if end < 0 {
					return nil, fmt.Errorf("a quote is not closed")
				}
				b.WriteString(line[i+1 : i+1+end])
				i += end + 2
				w.literal, w.quoted = true, true
			case '"':
				quoted, err := strconv.QuotedPrefix(line[i:])
				if err != nil {
					return nil, fmt.Errorf("a quote is not closed")
				}
				text, err := strconv.Unquote(quoted)
				if err != nil {
					return nil, err
				}
				b.WriteString(text)
				i += len(quoted)
				w.quoted = true
			default:
				b.WriteByte(line[i])
				i++
			}
		}
		w.text = b.String()
		words = append(words, w)
	}
}
