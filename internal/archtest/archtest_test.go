package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "portolan/"

// rule is one line of the policy.
type rule struct {
	name  string
	may   []string
	order int
}

func parsePolicy(t *testing.T, text string) []rule {
	t.Helper()
	var rules []rule
	for _, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		if strings.TrimSpace(line) == "" {
			continue
		}
		name, may, ok := strings.Cut(line, "<")
		if !ok {
			t.Fatalf("policy line without <: %q", line)
		}
		rules = append(rules, rule{name: strings.TrimSpace(name), may: strings.Fields(may), order: len(rules)})
	}
	return rules
}

// covers reports whether a name of the policy stands for a package.
func covers(pattern, pkg string) bool {
	if pattern == "*" {
		return true
	}
	if folder, ok := strings.CutSuffix(pattern, "/*"); ok {
		return strings.HasPrefix(pkg, folder+"/")
	}
	return pattern == pkg
}

func find(rules []rule, pkg string) *rule {
	// An exact line comes before a star.
	for _, exact := range []bool{true, false} {
		for i := range rules {
			if (rules[i].name == pkg) == exact && covers(rules[i].name, pkg) {
				return &rules[i]
			}
		}
	}
	return nil
}

// check returns the complaints about one import of one file.
func check(rules []rule, file, pkg, imported string, isTest bool) string {
	r := find(rules, pkg)
	if r == nil {
		return file + ": package " + pkg + " is not in the policy; give it a line in internal/archtest/policy.go, with what it may import"
	}
	if imported == pkg || strings.HasPrefix(imported, pkg+"/") && isTest {
		return ""
	}
	if slices.Contains(TestOnly, imported) && !isTest && !slices.Contains(TestOnly, pkg) && !strings.HasPrefix(pkg, "test/") {
		return file + ": " + imported + " is for tests only; take what you need of it into the package itself"
	}
	if slices.ContainsFunc(r.may, func(p string) bool { return covers(p, imported) }) {
		return ""
	}
	if isTest {
		if slices.Contains(TestOnly, imported) || slices.Contains(Whole, imported) {
			return ""
		}
		if to := find(rules, imported); to != nil && to.order <= r.order {
			return ""
		}
	}
	return file + ": package " + pkg + " must not import " + imported +
		"; let the package above give it what it needs as a value or an interface, or say in internal/archtest/policy.go why the arrow is right"
}

func TestImportsFollowThePolicy(t *testing.T) {
	rules := parsePolicy(t, Policy)
	root := filepath.Join("..", "..")
	seen := make(map[string]bool)
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if base := d.Name(); name != root && (strings.HasPrefix(base, ".") || base == "testdata" || base == "node_modules") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		pkg := path.Dir(rel)
		seen[pkg] = true
		for _, imported := range imports(t, rel, text) {
			if complaint := check(rules, rel, pkg, imported, strings.HasSuffix(rel, "_test.go")); complaint != "" {
				t.Error(complaint)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules {
		if !strings.HasSuffix(r.name, "/*") && !seen[r.name] && r.name != "internal/ldaptest" {
			t.Errorf("policy line %q stands for no package: remove it", r.name)
		}
	}
}

// imports returns the packages of this module that a file imports.
func imports(t *testing.T, name string, text []byte) []string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), name, text, parser.ImportsOnly)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return nil
	}
	var out []string
	ast.Inspect(f, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ImportSpec); ok {
			p, err := strconv.Unquote(spec.Path.Value)
			if err == nil && strings.HasPrefix(p, module) {
				out = append(out, strings.TrimPrefix(p, module))
			}
		}
		return true
	})
	return out
}

// TestPolicyIsEnforced shows the rule failing, so that a check that lets everything pass is noticed.
func TestPolicyIsEnforced(t *testing.T) {
	rules := parsePolicy(t, "low <\nmid < low\nleaf/* < low\nhigh < low mid\n")
	for _, c := range []struct {
		name, pkg, imported string
		isTest, fails       bool
	}{
		{"an arrow down", "mid", "low", false, false},
		{"an arrow up", "low", "mid", false, true},
		{"a leaf to a leaf", "leaf/a", "leaf/b", false, true},
		{"a leaf down", "leaf/a", "low", false, false},
		{"a right that is not given", "mid", "leaf/a", false, true},
		{"a test may look at what stands above", "leaf/a", "mid", true, false},
		{"a test may not look beneath", "mid", "high", true, true},
		{"a package without a line", "new", "low", false, true},
	} {
		if got := check(rules, "f.go", c.pkg, c.imported, c.isTest) != ""; got != c.fails {
			t.Errorf("%s: complains = %v, want %v", c.name, got, c.fails)
		}
	}
}
