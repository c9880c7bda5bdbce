package conform

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestLists compares the numbered demands of the documents under docs/conformance with the numbers in the dialogues: a
// demand that is said to be shown by a dialogue is named in one, and no dialogue names a number that no list has.
func TestLists(t *testing.T) {
	lists, err := filepath.Glob("../../docs/conformance/*.md")
	if err != nil || len(lists) == 0 {
		t.Fatal(lists, err)
	}
	row := regexp.MustCompile(`(?m)^\| ([0-9a-z.]+-[0-9]+) \|[^|]*\| ([^|]*) \|$`)
	named := map[string]bool{}
	number := regexp.MustCompile(`\[([0-9a-z.]+-[0-9]+)\]`)
	// document is what a number is about: "behera" of behera.8.1-1, "4528" of 4528-1.
	document := func(id string) string { return id[:strings.IndexAny(id, ".-")] }
	for _, file := range dialogues(t) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range number.FindAllStringSubmatch(string(text), -1) {
			named[m[1]] = true
		}
	}
	listed, documents := map[string]bool{}, map[string]bool{}
	for _, list := range lists {
		text, err := os.ReadFile(list)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range row.FindAllStringSubmatch(string(text), -1) {
			id := m[1]
			if listed[id] {
				t.Errorf("%s: %s is there twice", list, id)
			}
			listed[id], documents[document(id)] = true, true
			if (m[2] == "dialogue" || strings.HasPrefix(m[2], "dialogue;") || strings.HasPrefix(m[2], "dialogue:")) && !named[id] {
				t.Errorf("%s: no dialogue names %s", list, id)
			}
		}
	}
	if len(listed) == 0 {
		t.Fatal("the lists are empty")
	}
	for id := range named {
		if documents[document(id)] && !listed[id] {
			t.Errorf("%s is named in a dialogue and in no list", id)
		}
	}
}
