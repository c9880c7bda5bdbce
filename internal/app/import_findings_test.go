package app

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"portolan/internal/config"
)

// An import says what the overlays find in what it has loaded, wherever among the entries that stands.
func TestImportFindings(t *testing.T) {
	c, err := config.Parse("test.toml", fmt.Appendf(nil, `data_dir = %q
[directory]
suffix = "dc=example,dc=org"
[overlay.unique]
attributes = ["mail"]
[[overlay.unique.set]]
attributes = ["employeeNumber"]
base = "ou=people,dc=example,dc=org"
`, filepath.Join(t.TempDir(), "data")))
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	text.WriteString("dn: dc=example,dc=org\nobjectClass: domain\ndc: example\n\ndn: ou=people,dc=example,dc=org\nobjectClass: organizationalUnit\nou: people\n\n")
	person := func(rdn, more string) {
		fmt.Fprintf(&text, "dn: %s,dc=example,dc=org\nobjectClass: inetOrgPerson\ncn: x\nsn: x\n%s\n", rdn, more)
	}
	person("uid=first,ou=people", "mail: one@example.org\nemployeeNumber: 1\n")
	person("uid=elsewhere", "employeeNumber: 1\nmanager: uid=last,ou=people,dc=example,dc=org\nmanager: dc=far\n")
	for i := range 2*checkBatch + 7 {
		person(fmt.Sprintf("uid=u%d,ou=people", i), "")
	}
	person("uid=last,ou=people", "mail: ONE@example.org\nemployeeNumber: 1\nmanager: uid=nobody,ou=people,dc=example,dc=org\n"+
		"pwdPolicySubentry: dc=example,dc=org\n")
	sum, err := Import(t.Context(), c, ImportOptions{Sources: []ImportSource{textSource(text.String())}, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range sum.Findings {
		got = append(got, f.Part+": "+f.Where+": "+f.What)
	}
	const last = "uid=last,ou=people,dc=example,dc=org: "
	want := []string{
		"overlay unique: " + last + `mail "ONE@example.org" is a value of uid=first,ou=people,dc=example,dc=org too`,
		"overlay unique: " + last + `employeeNumber "1" is a value of uid=first,ou=people,dc=example,dc=org too`,
		"overlay refint: " + last + "manager names uid=nobody,ou=people,dc=example,dc=org, which does not exist",
		"overlay ppolicy: " + last + "pwdPolicySubentry dc=example,dc=org is not a password policy, so that another is in force",
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) || sum.Broken != len(want) {
		t.Errorf("%d findings:\n%s\nwant\n%s", sum.Broken, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
