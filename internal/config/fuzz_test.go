package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzParse: no text makes Parse panic; an error is an *ErrorList of single lines with places inside the text; and what
// is accepted is valid and equal to itself.
func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob("testdata/errors/*.txtar")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for _, x := range parseArchive(string(text)).files {
			if strings.HasSuffix(x.name, ".toml") {
				f.Add([]byte(x.data))
			}
		}
	}
	f.Add([]byte(full))
	f.Add([]byte(Template(TemplateOptions{Suffix: "o=a"})))
	f.Add([]byte(defaults()))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := Parse("x.toml", text)
		if err != nil {
			var list *ErrorList
			if !errors.As(err, &list) || len(list.Errors()) == 0 {
				t.Fatalf("error of type %T: %v", err, err)
			}
			lines := strings.Count(string(text), "\n") + 1
			for _, e := range list.Errors() {
				if strings.ContainsAny(e.Error(), "\r\n\x00") || !utf8.ValidString(e.Error()) || e.Msg == "" {
					t.Fatalf("an error is no line: %q", e.Error())
				}
				if e.Line < 0 || e.Line > lines || (e.Line > 0) != (e.Column > 0) {
					t.Fatalf("an error is outside the text: %v", e)
				}
			}
			return
		}
		if err := c.Validate(); err != nil {
			t.Fatalf("Parse accepts what Validate does not: %v", err)
		}
		c.Warnings()
		again, err := Parse("x.toml", text)
		if err != nil {
			t.Fatal(err)
		}
		if a, b := Diff(c, again); len(a)+len(b) > 0 {
			t.Fatalf("a file differs from itself: %q %q", a, b)
		}
		for _, name := range c.Overlays() {
			var o overlayConfig
			_ = c.DecodeOverlay(name, &o)
		}
	})
}
