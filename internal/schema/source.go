package schema

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
)

// A statement is one definition as it stands in a file: a keyword or attribute name and the text behind it, with folded
// lines joined.
type statement struct {
	keyword string // lower case, "olc" removed
	text    string
	ldif    bool
	file    string
	line    int   // of the keyword
	starts  []int // offset in text at which each further physical line begins
	lines   []int // and the numbers of these lines
}

// position says where an offset of the text is.
func (st *statement) position(offset int) string {
	line := st.line
	for i, start := range st.starts {
		if offset >= start {
			line = st.lines[i]
		}
	}
	return fmt.Sprintf("%s:%d", st.file, line)
}

// keywords maps what may begin a definition, in slapd.conf notation, in cn=config and in a subschema subentry, to the
// kind of the definition.
var keywords = map[string]string{
	"attributetype": "attributetypes", "attributetypes": "attributetypes", "attribute": "attributetypes",
	"objectclass": "objectclasses", "objectclasses": "objectclasses",
	"objectidentifier": "objectidentifier",
	"ditcontentrule":   "ditcontentrules", "ditcontentrules": "ditcontentrules",
	"ditstructurerules": "ditstructurerules", "ditstructurerule": "ditstructurerules",
	"nameform": "nameforms", "nameforms": "nameforms",
	"ldapsyntax": "ldapsyntaxes", "ldapsyntaxes": "ldapsyntaxes",
	"matchingrule": "matchingrules", "matchingrules": "matchingrules",
	"matchingruleuse": "matchingruleuse",
}

// statements cuts a file into statements. Three notations may stand in one: slapd's schema files ("attributetype ( ... )",
// a line that begins with white space continues the one before), LDIF of cn=config ("olcAttributeTypes: {0}( ... )") and
// LDIF of a subschema subentry ("attributeTypes: ( ... )"), where one leading space is removed from a continuation.
// Attributes of LDIF that are no definitions are passed over.
func statements(f File) ([]statement, error) {
	var out []statement
	var cur statement
	var text strings.Builder
	open, skip := false, false
	finish := func() error {
		if !open {
			return nil
		}
		open = false
		if skip {
			return nil
		}
		cur.text = text.String()
		if cur.ldif && strings.HasPrefix(cur.text, ":") {
			raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(cur.text[1:]))
			if err != nil {
				return fmt.Errorf("%s:%d: the value after \"::\" is not base64; write a single \":\" before plain text", f.Name, cur.line)
			}
			cur.text, cur.starts, cur.lines = string(raw), nil, nil
		}
		out = append(out, cur)
		return nil
	}
	rest := bytes.TrimPrefix(f.Text, []byte("\xef\xbb\xbf"))
	for n := 1; len(rest) > 0; n++ {
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte("\n"))
		line = bytes.TrimSuffix(line, []byte("\r"))
		switch {
		case len(line) == 0 || line[0] == '#' || len(bytes.TrimSpace(line)) == 0:
			continue
		case line[0] == ' ' || line[0] == '\t':
			if bytes.HasPrefix(bytes.TrimSpace(line), []byte("#")) && !cur.ldif {
				continue // an indented comment
			}
			if !open {
				return nil, fmt.Errorf("%s:%d: this line begins with white space but continues nothing; begin it with a keyword such as \"attributetype\"", f.Name, n)
			}
			if skip {
				continue
			}
			cur.starts, cur.lines = append(cur.starts, text.Len()), append(cur.lines, n)
			if cur.ldif {
				line = line[1:]
			}
			text.Write(line)
			continue
		}
		if err := finish(); err != nil {
			return nil, err
		}
		cur, skip, open = statement{file: f.Name, line: n}, false, true
		text.Reset()
		if len(line) == 1 && line[0] == '-' { // between the modifications of an LDIF change record
			skip = true
			continue
		}
		end := 0
		for end < len(line) && isKeyChar(line[end]) {
			end++
		}
		word := strings.ToLower(string(line[:end]))
		if end > 0 && end < len(line) && (line[end] == ':' || line[end] == ';') {
			cur.ldif = true
			kind, ok := keywords[strings.TrimPrefix(word, "olc")]
			// "objectClass: top" is an attribute of the subentry, "objectidentifier" is never one.
			if !ok || word == "objectclass" || word == "attribute" || line[end] == ';' {
				skip = true
				continue
			}
			cur.keyword = kind
			text.Write(line[end+1:])
			continue
		}
		kind, ok := keywords[word]
		if !ok {
			shown := string(line)
			if i := strings.IndexAny(shown, " \t("); i > 0 {
				shown = shown[:i]
			}
			return nil, fmt.Errorf("%s:%d: %q begins no definition; write attributetype, objectclass, objectidentifier, ditcontentrule or ldapsyntax", f.Name, n, clip(shown))
		}
		cur.keyword = kind
		text.Write(line[end:])
	}
	if err := finish(); err != nil {
		return nil, err
	}
	return out, nil
}

// clip shortens text that came from outside for use in a message.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}

func isKeyChar(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}
