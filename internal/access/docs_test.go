package access_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"portolan/internal/access"
	"portolan/internal/config"
)

// block is a fenced block of the documentation.
type block struct {
	kind, label, text, heading string
	line                       int
}

func docBlocks(t *testing.T) []block {
	t.Helper()
	text, err := os.ReadFile("../../docs/access.md")
	if err != nil {
		t.Fatal(err)
	}
	var out []block
	var heading string
	inside := false
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		fence, isFence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case isFence && !inside:
			kind, label, _ := strings.Cut(fence, " ")
			out = append(out, block{kind: kind, label: label, heading: heading, line: n + 1})
			inside = true
		case isFence:
			inside = false
		case inside:
			out[len(out)-1].text += line
		case strings.HasPrefix(line, "#"):
			heading = strings.TrimSpace(strings.TrimLeft(line, "#"))
		}
	}
	return out
}

// parse reads a block of TOML as the server does.
func (b *block) parse(t *testing.T) (*config.Config, []access.Rule) {
	t.Helper()
	c, err := config.Parse("access.md", []byte("[directory]\nsuffix = \""+suffix+"\"\nadmin_dn = \"cn=manager,"+suffix+"\"\n"+b.text))
	if err != nil {
		t.Fatalf("access.md:%d: %v", b.line, err)
	}
	rules := make([]access.Rule, len(c.Access))
	for i, r := range c.Access {
		rules[i] = access.Rule{Name: r.Name, Allow: r.Allow, Deny: r.Deny, Who: r.Who, On: r.On, Filter: r.Filter, Attrs: r.Attrs,
			From: r.From, TLS: r.TLS, Method: r.Method, Origin: r.Position.String(), At: func(key string) string { return r.At(key).String() }}
	}
	return c, rules
}

// TestDocumentedPolicies compiles every policy of docs/access.md and verifies the decisions written beneath it.
func TestDocumentedPolicies(t *testing.T) {
	d := newDirectory(t)
	var policy *access.Policy
	policies, decided := 0, 0
	for _, b := range docBlocks(t) {
		switch b.kind {
		case "toml":
			c, rules := b.parse(t)
			if b.label != "" {
				rules = nil
			}
			p, err := access.Compile(rules, access.Options{Schema: d.schema, Suffixes: c.Directory.AllSuffixes(), AdminDN: c.Directory.AdminDN,
				Builtin: c.Security.BuiltinAccess, AnonymousRead: c.Security.Anonymous == "read"})
			if err != nil {
				t.Fatalf("access.md:%d: %v", b.line, err)
			}
			if w := p.Warnings(); len(w) > 0 {
				t.Errorf("access.md:%d: %s", b.line, strings.Join(w, "\n"))
			}
			policy = p
			policies++
		case "decisions":
			t.Run(b.heading, func(t *testing.T) {
				if policy == nil {
					t.Fatalf("access.md:%d: no policy stands before the decisions", b.line)
				}
				for line := range strings.Lines(b.text) {
					d.decide(t, policy, strings.TrimSpace(line))
					decided++
				}
			})
			if b.label == "" {
				policy = nil
			}
		}
	}
	if policies < 13 || decided < 60 {
		t.Errorf("%d policies and %d decisions were found in the documentation: its form has changed", policies, decided)
	}
}

// TestDocumentedDefault verifies that the built-in rules are those that the documentation writes out.
func TestDocumentedDefault(t *testing.T) {
	d := newDirectory(t)
	var documented []access.Rule
	for _, b := range docBlocks(t) {
		if b.kind == "toml" && b.label != "" {
			_, rules := b.parse(t)
			documented = append(documented, rules...)
		}
	}
	builtin, err := access.Default(access.Options{Schema: d.schema, Suffixes: []string{suffix}, AnonymousRead: true})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(builtin, documented, cmpopts.IgnoreFields(access.Rule{}, "Origin", "At"), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("docs/access.md does not have the built-in rules (- built in, + documented):\n%s", diff)
	}
}

// TestDocumentedWords verifies that every right stands in the documentation's table.
func TestDocumentedWords(t *testing.T) {
	text, err := os.ReadFile("../../docs/access.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range strings.Split(access.Everything.String(), ", ") {
		if !strings.Contains(string(text), fmt.Sprintf("\n| `%s`", name)) {
			t.Errorf("the table of rights in docs/access.md lacks %s", name)
		}
	}
}
