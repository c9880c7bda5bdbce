package constraint

import (
	"strings"
	"testing"
)

// FuzzParseSet: no text makes the parser fail to end, and what it takes can be evaluated without an entry.
func FuzzParseSet(f *testing.F) {
	for _, text := range []string{"this/sn & this/cn", "(this/givenName + [ ] + this/sn) & this/cn", "this/manager*", "user/-1 | [x]", strings.Repeat("(", 60), "[", "this/-0"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		e, err := parseSet(text)
		if err != nil && !strings.Contains(err.Error(), "position ") {
			t.Errorf("%q: %v does not say where", text, err)
		}
		if err == nil {
			e.attributes()
		}
	})
}
