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
				default:
					t.Fatalf("%s: there is no use for a file %s: config.toml, data.ldif, more.ldif or tls", file, f.Name)
				}
			}
			ldaptest.Start(t, o).Dialogue(t, file, string(archive.Comment))
		})
	}
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
