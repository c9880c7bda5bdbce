// Package conform holds the server to the documents that define LDAP: dialogues by section, in test/conform/*.txtar, over
// a socket. README.md says how they are written.
package conform

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"portolan/internal/ldaptest"
)

// TestDialogues runs each file as one test.
func TestDialogues(t *testing.T) {
	company, err := os.ReadFile("company.ldif")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range dialogues(t) {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			o := ldaptest.Options{LDIF: string(company)}
			var old *strings.Replacer
			for _, f := range archive.Files {
				switch f.Name {
				case "config.toml":
					o.Config = string(f.Data)
				case "data.ldif":
					o.LDIF = string(f.Data)
				case "more.ldif":
					o.LDIF += "\n" + string(f.Data)
				case "tls": // a server with a certificate, and an authority for the clients'
					o.Authority = ldaptest.NewAuthority(t)
				case "old.ldif": // another server, which config.toml knows as OLD_ADDRESS and OLD_CA
					old = oldServer(t, string(f.Data))
				default:
					t.Fatalf("%s: there is no use for a file %s: config.toml, data.ldif, more.ldif, old.ldif or tls", file, f.Name)
				}
			}
			if old != nil {
				o.Config = old.Replace(o.Config)
			}
			ldaptest.Start(t, o).Dialogue(t, file, string(archive.Comment))
		})
	}
}

// oldServer runs a server with these entries, and returns what puts its ldaps address and the file of its authority into a
// configuration.
func oldServer(t *testing.T, text string) *strings.Replacer {
	t.Helper()
	a := ldaptest.NewAuthority(t)
	s := ldaptest.Start(t, ldaptest.Options{Authority: a, LDIF: text})
	ca := filepath.Join(t.TempDir(), "old-ca.pem")
	if err := os.WriteFile(ca, a.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	return strings.NewReplacer("OLD_ADDRESS", s.Secure, "OLD_CA", ca)
}

// dialogues returns the names of the files.
func dialogues(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatal("there are no dialogues")
	}
	return files
}
