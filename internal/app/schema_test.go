package app

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"portolan/ldap"
)

const (
	shoeType  = "( 2.25.1.1 NAME 'shoeSize' EQUALITY integerMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 )"
	shoeClass = "( 2.25.1.2 NAME 'shod' SUP top AUXILIARY MAY shoeSize )"
)

// modify changes one entry of a running server.
func (s *site) modify(dn string, lines ...string) error {
	s.t.Helper()
	c := s.dial()
	defer c.Unbind()
	var mods []ldap.Mod
	for _, line := range lines {
		op, rest, _ := strings.Cut(line, " ")
		name, value, _ := strings.Cut(rest, ": ")
		m := ldap.Mod{Op: map[string]ldap.ModOp{"add": ldap.ModAdd, "delete": ldap.ModDelete, "replace": ldap.ModReplace}[op]}
		m.Attribute.Type = []byte(name)
		if value != "" {
			m.Attribute.Values = [][]byte{[]byte(value)}
		}
		mods = append(mods, m)
	}
	_, err := c.Modify(s.t.Context(), dn, mods)
	return err
}

func (s *site) read(name string) string {
	s.t.Helper()
	b, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(b)
}

// What is defined through LDAP is there after a restart, in a backup, and after an import that replaces everything; what
// the configuration or entries use cannot go.
func TestLiveSchemaLasts(t *testing.T) {
	s := newSite(t)
	stop := s.serve()
	s.fill()
	if err := s.modify("cn=Subschema", "add attributeTypes: "+shoeType, "add objectClasses: "+shoeClass); err != nil {
		t.Fatal(err)
	}
	if err := s.modify("uid=ann,ou=people,dc=example,dc=org", "add objectClass: shod", "add shoeSize: 38"); err != nil {
		t.Fatal(err)
	}
	if got := s.read("data/schema.ldif"); !strings.Contains(got, "attributeTypes: "+shoeType+"\nobjectClasses: "+shoeClass+"\n") {
		t.Errorf("the copy has %s", got)
	}
	backup := filepath.Join(s.dir, "backup")
	if _, err := s.verbs().Backup(t.Context(), backup, nil); err != nil {
		t.Fatal(err)
	}
	stop()

	// The copy is for commands: check-config knows what a server would. It is made again where it is missing.
	s.write("portolan.toml", strings.Replace(siteConfig, "equality = []", `equality = ["shoeSize"]`, 1))
	if _, err := CheckConfig(s.config()); err != nil {
		t.Errorf("check-config: %v", err)
	}
	if err := os.Remove(filepath.Join(s.dir, "data/schema.ldif")); err != nil {
		t.Fatal(err)
	}
	if _, err := CheckConfig(s.config()); err == nil {
		t.Error("check-config without the copy knows the type")
	}
	stop = s.serve()
	if got := s.read("data/schema.ldif"); !strings.Contains(got, shoeType) {
		t.Errorf("the copy after a start has %s", got)
	}
	if err := s.modify("uid=ann,ou=people,dc=example,dc=org", "delete shoeSize", "delete objectClass: shod"); err != nil {
		t.Fatal(err)
	}
	err := s.modify("cn=Subschema", "delete objectClasses: shod", "delete attributeTypes: shoeSize")
	if ldap.CodeOf(err) != ldap.UnwillingToPerform || !strings.Contains(err.Error(), `the schema has no attribute "shoeSize"`) {
		t.Errorf("a type with an index was removed: %v", err)
	}
	stop()

	// Another directory takes the backup, and then an import in place of all entries.
	other := newSite(t)
	if _, err := Restore(t.Context(), other.config(), RestoreOptions{Dir: backup, Version: "test"}); err != nil {
		t.Fatal(err)
	}
	if got := other.read("data/schema.ldif"); !strings.Contains(got, shoeType) {
		t.Errorf("the copy after restoring has %s", got)
	}
	text, sum, err := other.export(false, ExportOptions{})
	if err != nil || sum.Live != 2 || !strings.Contains(text, "shoeSize: 38") {
		t.Fatalf("export: %+v, %v", sum, err)
	}
	other.write("all.ldif", text)
	if _, err := Import(t.Context(), other.config(), ImportOptions{Sources: []ImportSource{{Name: "all.ldif", Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }}}, Replace: true, Version: "test"}); err != nil {
		t.Fatal(err)
	}
	again, sum, err := other.export(false, ExportOptions{})
	if err != nil || sum.Live != 2 || len(again) == 0 || !strings.Contains(again, "shoeSize: 38") {
		t.Fatalf("export after the import: %+v, %v", sum, err)
	}

	// A file that says otherwise stops the start. Where the copy is named as a file it says the same, and what is stored can
	// go.
	copied := other.read("data/schema.ldif")
	other.write("portolan.toml", strings.Replace(siteConfig, "[index]", "[schema]\nfiles = [\"mine.ldif\"]\n[index]", 1))
	other.write("mine.ldif", "attributeTypes: ( 2.25.1.1 NAME 'shoeSize' SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )\n")
	_, err = Start(other.config(), ServeOptions{Version: "test", Stderr: new(bytes.Buffer)})
	if err == nil || !strings.Contains(err.Error(), "cn=Subschema:1: attribute type shoeSize has the OID of attribute type shoeSize at ") || !strings.Contains(err.Error(), "mine.ldif:1, but another") {
		t.Errorf("a clash with a file: %v", err)
	}
	other.write("mine.ldif", copied)
	stop = other.serve()
	if err := other.modify("cn=Subschema", "delete attributeTypes: shoeSize", "delete objectClasses: shod"); err != nil {
		t.Errorf("what a file defines too: %v", err)
	}
	if err := other.modify("cn=Subschema", "delete attributeTypes: shoeSize"); ldap.CodeOf(err) != ldap.UnwillingToPerform {
		t.Errorf("what a file defines: %v", err)
	}
	stop()
	if _, err := os.Stat(filepath.Join(other.dir, "data/schema.ldif")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the copy of nothing: %v", err)
	}
}
