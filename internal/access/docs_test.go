package access_test

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/pelletier/go-toml/v2"

	"portolan/internal/access"
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

// policy is what a block of TOML says, in the forms that the configuration takes: a list of one element may be a text, a
// network a single address, and tls = true is one bit.
type policy struct {
	rules                  []access.Rule
	builtin, anonymousRead bool
}

func (b *block) parse(t *testing.T) policy {
	t.Helper()
	var file struct {
		Security struct {
			BuiltinAccess *bool  `toml:"builtin_access"`
			Anonymous     string `toml:"anonymous"`
			RequireTLS    string `toml:"require_tls"`
		} `toml:"security"`
		Access []struct {
			Name   string `toml:"name"`
			Allow  any    `toml:"allow"`
			Deny   any    `toml:"deny"`
			Who    any    `toml:"who"`
			On     any    `toml:"on"`
			Filter string `toml:"filter"`
			Attrs  any    `toml:"attrs"`
			From   any    `toml:"from"`
			TLS    any    `toml:"tls"`
			Method any    `toml:"method"`
		} `toml:"access"`
	}
	if err := toml.NewDecoder(strings.NewReader(b.text)).DisallowUnknownFields().Decode(&file); err != nil {
		t.Fatalf("access.md:%d: %v", b.line, err)
	}
	texts := func(v any) []string {
		switch v := v.(type) {
		case nil:
			return nil
		case string:
			return []string{v}
		case []any:
			out := make([]string, len(v))
			for i := range v {
				out[i] = v[i].(string)
			}
			return out
		}
		t.Fatalf("access.md:%d: %v is neither a text nor a list", b.line, v)
		return nil
	}
	p := policy{builtin: file.Security.BuiltinAccess == nil || *file.Security.BuiltinAccess, anonymousRead: file.Security.Anonymous == "read"}
	for i, r := range file.Access {
		rule := access.Rule{Name: r.Name, Allow: texts(r.Allow), Deny: texts(r.Deny), Who: texts(r.Who), On: texts(r.On), Filter: r.Filter,
			Attrs: texts(r.Attrs), Method: texts(r.Method), Origin: fmt.Sprintf("access.md:%d: rule %d", b.line, i+1)}
		for _, network := range texts(r.From) {
			if !strings.Contains(network, "/") {
				network += "/32"
			}
			rule.From = append(rule.From, netip.MustParsePrefix(network))
		}
		switch bits := r.TLS.(type) {
		case bool:
			rule.TLS = 1
		case int64:
			rule.TLS = int(bits)
		}
		p.rules = append(p.rules, rule)
	}
	return p
}

// TestDocumentedPolicies compiles every policy of docs/access.md and verifies the decisions written beneath it.
func TestDocumentedPolicies(t *testing.T) {
	d := newDirectory(t)
	var policy *access.Policy
	policies, decided := 0, 0
	for _, b := range docBlocks(t) {
		switch b.kind {
		case "toml":
			parsed := b.parse(t)
			if b.label != "" {
				parsed.rules = nil // they are the built-in ones
			}
			p, err := access.Compile(parsed.rules, access.Options{Schema: d.schema, Suffixes: []string{suffix}, AdminDN: "cn=manager," + suffix,
				Builtin: parsed.builtin, AnonymousRead: parsed.anonymousRead})
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
			documented = append(documented, b.parse(t).rules...)
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
