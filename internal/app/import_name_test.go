package app

import (
	"fmt"
	"path/filepath"
	"testing"

	"portolan/internal/config"
	"portolan/internal/dit"
)

// A name comes out the same with the parent that was remembered from the record before and without.
func TestImportNames(t *testing.T) {
	c, err := config.Parse("test.toml", fmt.Appendf(nil, "data_dir = %q\n[directory]\nsuffix = \"dc=example,dc=org\"\n", filepath.Join(t.TempDir(), "data")))
	if err != nil {
		t.Fatal(err)
	}
	d, err := Open(c, OpenOptions{Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	im := &importer{d: d, suffixes: [][]byte{[]byte("dc=example,dc=org"), []byte("ou=inner,dc=example,dc=org")}}
	type outcome struct{ rdn, norm, parent, normRDN, err string }
	name := func(dn string, above *parentName) outcome {
		draft, it := dit.NewDraft(), &importItem{}
		o := outcome{}
		if err := im.name(dn, above, draft, it); err != nil {
			o.err = err.Error()
			return o
		}
		return outcome{rdn: draft.RDN, normRDN: draft.NormRDN, norm: it.norm, parent: it.parent}
	}
	const people = "ou=People,dc=example,dc=org"
	taken := 0
	for _, dn := range []string{
		"dc=example,dc=org", "ou=People,dc=example,dc=org", "ou=inner,dc=example,dc=org", "OU=Inner,dc=example,dc=org", "uid=a,ou=inner,dc=example,dc=org",
		"uid=a,ou=People,dc=example,dc=org", "uid=B,ou=People,dc=example,dc=org", "UID= b ,ou=People,dc=example,dc=org",
		"uid=a+cn=b,ou=People,dc=example,dc=org", `uid=a\,b,ou=People,dc=example,dc=org`, `cn="a,b",ou=People,dc=example,dc=org`,
		`cn=a\2cb,ou=People,dc=example,dc=org`, "uid=a,cn=x,ou=People,dc=example,dc=org", "uid=a;cn=x,ou=People,dc=example,dc=org",
		",ou=People,dc=example,dc=org", " ,ou=People,dc=example,dc=org", "uid,ou=People,dc=example,dc=org", "uid=,ou=People,dc=example,dc=org",
		"cn=#04016a,ou=People,dc=example,dc=org", "uid=c,ou=People,dc=example,dc=org", "uid=c, ou=people , dc=example,dc=org", "uid=d,dc=elsewhere", "",
		"uid=e,ou=People,dc=example,dc=org",
	} {
		above := parentName{people, "ou=people,dc=example,dc=org"}
		if _, ok := above.splitName(dn); ok {
			taken++
		}
		got, want := name(dn, &above), name(dn, new(parentName))
		if got != want {
			t.Errorf("%q: %+v beside others, %+v alone", dn, got, want)
		}
	}
	if taken < 8 {
		t.Errorf("the parent that was remembered served %d names only", taken)
	}
	var above parentName
	name("uid=a,"+people, &above)
	if want := (parentName{people, "ou=people,dc=example,dc=org"}); above != want {
		t.Errorf("remembered is %+v, want %+v", above, want)
	}
}
