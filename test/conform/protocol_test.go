package conform

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"portolan/internal/app"
	"portolan/internal/ldaptest"
)

var update = flag.Bool("update", false, "write docs/protocol.md")

var (
	shows  = regexp.MustCompile(`(?s)Shows ([^\n]*(?:\n# [^\n]*)??)\.\n`)
	object = regexp.MustCompile(`[A-Z][A-Z0-9-]{3,}|[0-9]+(?:\.[0-9]+)+`)
)

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestProtocolIsDocumented holds docs/protocol.md to what is wired, and wants a dialogue for each of it: one that says "Shows"
// and the object identifier in the comment at its head. -update writes the page.
func TestProtocolIsDocumented(t *testing.T) {
	by := make(map[string][]string)
	for _, file := range dialogues(t) {
		for _, m := range shows.FindAllStringSubmatch(read(t, file), -1) {
			for _, oid := range object.FindAllString(m[1], -1) {
				by[oid] = append(by[oid], file)
			}
		}
	}
	elements := ldaptest.Start(t, ldaptest.Options{}).Protocol()
	known := make(map[string]bool)
	for _, e := range elements {
		known[e.OID] = true
		if len(by[e.OID]) == 0 {
			t.Errorf("no dialogue shows %s %s: write one in test/conform, with \"Shows %s.\" at its head", e.Name, e.OID, e.OID)
		}
	}
	for oid, files := range by {
		if !known[oid] {
			t.Errorf("%s shows %s, which is not wired", files[0], oid)
		}
	}
	want := protocolPage(elements, by)
	file := "../../docs/protocol.md"
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, _ := os.ReadFile(file); string(got) != want {
		t.Errorf("%s is not what is wired: run go test ./test/conform -run Documented -update", file)
	}
}

// protocolPage writes docs/protocol.md.
func protocolPage(elements []app.ProtocolElement, by map[string][]string) string {
	var b strings.Builder
	b.WriteString(`# Protocol

What the server speaks beyond the operations of RFC 4511. This page is generated from the list of what is wired
(internal/app/wire.go): the root DSE advertises the same list. Each line names the dialogues in test/conform that show it on a
running server; a test wants at least one for each.
`)
	for _, kind := range []struct {
		is         app.ProtocolKind
		title, oid string
	}{
		{app.ControlElement, "Controls", "OID"}, {app.ExtendedElement, "Extended operations", "OID"},
		{app.MechanismElement, "SASL mechanisms", "mechanism"}, {app.FeatureElement, "Features", "OID"},
	} {
		fmt.Fprintf(&b, "\n## %s\n\nAttribute of the root DSE: `%s`.\n\n| name | %s | document | shown by |\n|---|---|---|---|\n", kind.title, kind.is, kind.oid)
		for _, e := range elements {
			if e.Kind != kind.is {
				continue
			}
			name := e.Name
			if !e.Advertised {
				name += " (a response, not advertised)"
			}
			files := slices.Clone(by[e.OID])
			for i, f := range files {
				files[i] = fmt.Sprintf("[%s](../test/conform/%s)", strings.TrimSuffix(f, ".txtar"), f)
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", name, e.OID, e.Source, strings.Join(files, ", "))
		}
	}
	return b.String()
}
