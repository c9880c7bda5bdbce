package config

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write what the tests get into their golden files")

// TestErrors reads archives of NAME.toml and NAME.errors: a file and every line that it must give, no more.
func TestErrors(t *testing.T) {
	files, err := filepath.Glob("testdata/errors/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no archives: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		a := parseArchive(string(text))
		want := map[string]string{}
		var cases []archived
		for _, f := range a.files {
			if name, ok := strings.CutSuffix(f.name, ".errors"); ok {
				want[name] = f.data
			} else {
				cases = append(cases, f)
			}
		}
		out := archive{comment: a.comment}
		for _, c := range cases {
			name := strings.TrimSuffix(c.name, ".toml")
			got := ""
			_, err := Parse("portolan.toml", []byte(c.data))
			var list *ErrorList
			if errors.As(err, &list) {
				for _, e := range list.Errors() {
					if line := e.Error(); strings.ContainsAny(line, "\n\r\x00") {
						t.Errorf("%s: %s: an error is no single line: %q", file, name, line)
					}
				}
				got = list.Error() + "\n"
			} else if err != nil {
				t.Errorf("%s: %s: error of type %T", file, name, err)
			}
			if strings.Contains(got, "canary") {
				t.Errorf("%s: %s: an error shows the value of an unknown key", file, name)
			}
			out.files = append(out.files, c, archived{name + ".errors", got})
			if *update {
				continue
			}
			if got == "" {
				t.Errorf("%s: %s: no error", file, name)
			}
			if diff := cmp.Diff(want[name], got); diff != "" {
				t.Errorf("%s: %s (-want +got):\n%s", file, name, diff)
			}
		}
		if *update {
			if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestErrorsAreBounded(t *testing.T) {
	var b strings.Builder
	for i := range 10000 {
		fmt.Fprintf(&b, "unknown%d = 1\n", i)
	}
	_, err := Parse("x", []byte(b.String()))
	var list *ErrorList
	if !errors.As(err, &list) || len(list.Errors()) != maxErrors+1 {
		t.Fatalf("%d errors", len(list.Errors()))
	}
	if last := list.Errors()[maxErrors].Error(); !strings.Contains(last, "more than 100 errors") {
		t.Errorf("the last line is %q", last)
	}
	var e *Error
	if !errors.As(err, &e) || e.Line != 1 || e.Column != 1 {
		t.Errorf("errors.As gives %v", e)
	}
}

func TestHugeInput(t *testing.T) {
	for name, text := range map[string]string{
		"too long":     strings.Repeat("#\n", maxFile/2+1),
		"nested lists": "a = " + strings.Repeat("[", 200000),
		"closed lists": "a = " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000),
		"tables":       "a = " + strings.Repeat("{a=", 5000) + "1" + strings.Repeat("}", 5000),
		"dots":         strings.Repeat("a.", 200000) + "a = 1",
		"header":       "[" + strings.Repeat("a.", 200000) + "a]",
		"breaks":       strings.Repeat("= [\n", 200000),
		"quotes":       strings.Repeat("\"\"\"", 100001),
	} {
		_, err := Parse(name, []byte(text))
		var list *ErrorList
		if !errors.As(err, &list) {
			t.Errorf("%s: error %v", name, err)
			continue
		}
		if n := len(list.Error()); n > 20000 {
			t.Errorf("%s: the error has %d octets", name, n)
		}
	}
}

func TestLoadSaysWhyNot(t *testing.T) {
	_, err := Load("absent.toml", func(string) ([]byte, error) { return nil, os.ErrNotExist })
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}
