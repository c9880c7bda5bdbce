package ldaptest

import (
	"bytes"
	"os"
	"regexp"
	"slices"
	"testing"
)

// TestReadmeNamesEveryVerb holds the table in test/conform/README.md to what dialogues can say.
func TestReadmeNamesEveryVerb(t *testing.T) {
	text, err := os.ReadFile("../../test/conform/README.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("dialogue.go")
	if err != nil {
		t.Fatal(err)
	}
	_, steps, ok := bytes.Cut(source, []byte("switch s.verb {"))
	steps, _, end := bytes.Cut(steps, []byte("default:"))
	if !ok || !end {
		t.Fatal("dialogue.go has no switch over verbs")
	}
	var want []string
	for verb := range verbs {
		want = append(want, verb)
	}
	for _, m := range regexp.MustCompile(`case ("[a-z", ]+"):`).FindAllSubmatch(steps, -1) {
		for _, name := range regexp.MustCompile(`[a-z]+`).FindAll(m[1], -1) {
			want = append(want, string(name))
		}
	}
	slices.Sort(want)
	for _, verb := range slices.Compact(want) {
		if !regexp.MustCompile("`" + verb + "[ `]").Match(text) {
			t.Errorf("test/conform/README.md does not say what %s does", verb)
		}
	}
}
