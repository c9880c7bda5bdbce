package holes

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	// turnOff is given by "make holes": it builds and runs a test for every defence, which takes minutes.
	turnOff = flag.Bool("off", false, "turn each defence off in turn and demand that its test fails")
	update  = flag.Bool("update", false, "write the table of docs/security.md anew")
)

const root = "../.."

// source returns a file with the piece of a defence replaced. That it is there, once, is what keeps the table true.
func (d *defence) source() ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(d.file)))
	if err != nil {
		return nil, err
	}
	if n := bytes.Count(text, []byte(d.old)); n != 1 {
		return nil, fmt.Errorf("%s: the defence %q stands there %d times, not once: %s\n(where it was rewritten, write its new form into test/holes/table_test.go)", d.file, d.name, n, d.old)
	}
	return bytes.Replace(text, []byte(d.old), []byte(d.new), 1), nil
}

// TestDefences verifies the table: every defence stands where it says, still is Go without it, and its test exists.
func TestDefences(t *testing.T) {
	seen := make(map[string]bool)
	for i := range holes {
		h := &holes[i]
		if len(h.cases) == 0 || seen[h.class] {
			t.Errorf("%s: no defence, or there twice", h.class)
		}
		seen[h.class] = true
		for j := range h.cases {
			d := &h.cases[j]
			text, err := d.source()
			if err != nil {
				t.Error(err)
				continue
			}
			if _, err := parser.ParseFile(token.NewFileSet(), d.file, text, 0); err != nil {
				t.Errorf("%s: %v", d.name, err)
			}
			if !hasTest(t, d.pkg, d.test) {
				t.Errorf("%s: %s has no %s", d.name, d.pkg, d.test)
			}
		}
	}
}

// hasTest reports whether a package has a test of this name.
func hasTest(t *testing.T, pkg, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(pkg), "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range parsed.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == name {
				return true
			}
		}
	}
	return false
}

// documented is the table of docs/security.md.
func documented() string {
	var b strings.Builder
	b.WriteString("| class | seen in | what is shown here | by |\n|---|---|---|---|\n")
	for i := range holes {
		h := &holes[i]
		var tests []string
		for j := range h.cases {
			test := fmt.Sprintf("`%s` of %s", h.cases[j].test, h.cases[j].pkg)
			if !strings.Contains(strings.Join(tests, "\n"), test) {
				tests = append(tests, test)
			}
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", h.class, h.seen, h.shown, strings.Join(tests, ", "))
	}
	return b.String()
}

// TestDocumented compares the table with that of docs/security.md, or with -update writes it.
func TestDocumented(t *testing.T) {
	const begin, end = "<!-- holes -->\n", "<!-- end of holes -->\n"
	file := filepath.Join(root, "docs", "security.md")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	table, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table: between %q and %q", file, begin, end)
	}
	if *update {
		if err := os.WriteFile(file, []byte(before+begin+documented()+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if table != documented() {
		t.Errorf("%s does not have this table; go test ./test/holes -run Documented -update writes it", file)
	}
}

// TestWithoutDefences turns each defence off in turn, where -off asks for it.
func TestWithoutDefences(t *testing.T) {
	if !*turnOff {
		t.Skip("make holes runs this: it builds the server once for each defence")
	}
	intact := make(map[string]string)
	for i := range holes {
		for j := range holes[i].cases {
			h, d := &holes[i], &holes[i].cases[j]
			t.Run(strings.ReplaceAll(d.name, " ", "-"), func(t *testing.T) {
				begun := time.Now()
				outcome := d.without(t, intact)
				fmt.Printf("%-58s %-44s %-48s %s (%.0f s)\n", h.class, d.name, d.pkg+" "+d.test, outcome, time.Since(begun).Seconds())
			})
		}
	}
}

// tests returns the names of all tests of a package that show a defence, as a pattern.
func tests(pkg string) string {
	var names []string
	for i := range holes {
		for j := range holes[i].cases {
			if d := &holes[i].cases[j]; d.pkg == pkg && !slices.Contains(names, d.test) {
				names = append(names, d.test)
			}
		}
	}
	return "^(" + strings.Join(names, "|") + ")$"
}

// without runs the test of a defence with it and without it. With it all tests of its package are run at once, when the first
// comes; intact has the output by package, empty where nothing failed.
func (d *defence) without(t *testing.T, intact map[string]string) string {
	text, err := d.source()
	if err != nil {
		t.Error(err)
		return "GONE"
	}
	dir := t.TempDir()
	replaced := filepath.Join(dir, "without.go")
	if err := os.WriteFile(replaced, text, 0o600); err != nil {
		t.Fatal(err)
	}
	top, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {filepath.Join(top, filepath.FromSlash(d.file)): replaced}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	output, ran := intact[d.pkg]
	if !ran {
		if out, err := d.run(t, tests(d.pkg)); err != nil {
			output = fmt.Sprintf("%s%v", out, err)
		}
		intact[d.pkg] = output
	}
	if output != "" {
		t.Errorf("tests of %s fail although all defences are there:\n%s", d.pkg, output)
		return "FAILS WITH IT"
	}
	out, err := d.run(t, "^"+d.test+"$", "-count=1", "-overlay="+file)
	var exit *exec.ExitError
	switch {
	case err == nil:
		t.Errorf("%s passes without the defence %q of %s", d.test, d.name, d.file)
		return "PASSES WITHOUT IT"
	case !errors.As(err, &exit), bytes.Contains(out, []byte("[build failed]")), bytes.Contains(out, []byte("[setup failed]")):
		t.Errorf("without the defence %q nothing could be built:\n%s\n%v", d.name, out, err)
		return "NOT BUILT"
	}
	return "failed, as it should"
}

// run runs the test of a defence. Its memory is bounded: some tests fail by asking for all there is.
func (d *defence) run(t *testing.T, pattern string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	// What is built is thrown away: it need neither be vetted nor be fit for a debugger.
	args = append([]string{"test", "-short", "-vet=off", "-ldflags=-s -w", "-timeout=60s", "-run=" + pattern}, args...)
	c := exec.CommandContext(ctx, "go", append(args, "./"+d.pkg)...)
	c.Dir = root
	c.Env = append(os.Environ(), "GOMEMLIMIT=1GiB")
	return c.CombinedOutput()
}

// TestSecurityPage verifies that the tests that SECURITY.md names exist.
func TestSecurityPage(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "SECURITY.md"))
	if err != nil {
		t.Fatal(err)
	}
	have := make(map[string]bool)
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	err = filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range declared.FindAllSubmatch(text, -1) {
			have[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`((?:Test|Fuzz)\\w+)`").FindAllSubmatch(page, -1)
	for _, m := range named {
		if !have[string(m[1])] {
			t.Errorf("SECURITY.md names %s, which no package has", m[1])
		}
	}
	if len(named) < 20 {
		t.Errorf("SECURITY.md names %d tests: its form has changed", len(named))
	}
}
