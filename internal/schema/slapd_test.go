package schema

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What the Debian packages slapd and freeradius bring loads as it is, beside the shipped files and beside each other.
func TestFilesOfSlapd(t *testing.T) {
	files, err := filepath.Glob("/etc/ldap/schema/*.*")
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob("/usr/share/doc/freeradius/schemas/ldap/openldap/*.schema")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Skip("the files of the package slapd are not on this machine")
	}
	var all []File
	for _, name := range append(files, more...) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		f := File{Name: name, Text: text}
		s, err := Default().Extend(f)
		if filepath.Base(name) == "dsee.schema" && strings.Contains(string(text), "attributeype") {
			// Misspelt in the package: slapd refuses the file too.
			if err == nil || !strings.Contains(err.Error(), name+":96: \"attributeype\" begins no definition") {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil {
			t.Error(err)
			continue
		}
		checkKnown(t, s)
		all = append(all, f)
	}
	s, err := Default().Extend(all...)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range s.Displaced() {
		t.Log(line)
	}
	for _, name := range []string{"fRSDirectoryFilter", "attributeCertificateAttribute", "nsUniqueId", "DUAConfigProfile"} {
		if s.AttributeTypeString(name) == nil && s.ObjectClass(name) == nil {
			t.Errorf("nothing defines %s", name)
		}
	}
	if posixGroup := s.Known.PosixGroup; posixGroup.Kind != Structural {
		t.Errorf("posixGroup is %s, and nis.schema has it structural", posixGroup.Kind)
	}
}

// A definition of a shipped file that yields gives way to an operator's; firm ones and two files of an operator clash.
func TestYield(t *testing.T) {
	extend := func(texts ...string) (*Schema, error) {
		var files []File
		for i, text := range texts {
			files = append(files, File{Name: string(rune('a' + i)), Text: []byte(text)})
		}
		return Default().Extend(files...)
	}
	s, err := extend("objectclass ( 1.3.6.1.1.1.2.2 NAME 'posixGroup' SUP top STRUCTURAL MUST ( cn $ gidNumber ) MAY memberUid )")
	if err != nil {
		t.Fatal(err)
	}
	if s.Known.PosixGroup.Kind != Structural || len(s.Displaced()) != 1 || !strings.Contains(s.Displaced()[0], "object class posixGroup gives way: object class posixGroup is defined at a:1") {
		t.Errorf("%s, %q", s.Known.PosixGroup.Kind, s.Displaced())
	}
	// Another number for a name, and another name for a number; what named it in MAY does without.
	s, err = extend("attributetype ( 1.2.840.113556.1.4.484 NAME 'mine' SYNTAX OMsDirectoryString )",
		"attributetype ( 2.25.1 NAME 'sudoUser' EQUALITY caseIgnoreMatch SYNTAX OMsyn:15 )")
	if err != nil {
		t.Fatal(err)
	}
	if s.AttributeTypeString("calOtherCAPURIs") != nil || s.AttributeTypeString("mine").Syntax.OID != syn+"15" || s.AttributeTypeString("sudoUser").OID != "2.25.1" {
		t.Error(s.Displaced())
	}
	if c := s.ObjectClass("calEntry"); c == nil || len(c.May) != 7 {
		t.Errorf("calEntry: %v", c)
	}
	if c := s.ObjectClass("sudoRole"); c == nil || c.May[0] != s.AttributeTypeString("sudoUser") {
		t.Errorf("sudoRole: %v", c)
	}
	// A class that requires what is gone goes too.
	s, err = extend("attributetype ( 1.3.6.1.4.1.24552.500.1.1.1.13 NAME 'myKey' SYNTAX OMsOctetString )", "attributetype ( 1.3.6.1.4.1.2428.20.0.2 NAME 'mine' SYNTAX OMsInteger )")
	if err != nil {
		t.Fatal(err)
	}
	if s.ObjectClass("dNSZone") != nil || !strings.Contains(strings.Join(s.Displaced(), "\n"), "object class dNSZone gives way: zoneName, which it names, gave way") {
		t.Errorf("%q", s.Displaced())
	}
	// Secret stays secret.
	s, err = extend("attributetype ( 1.3.6.1.4.1.7165.2.1.25 NAME 'sambaNTPassword' EQUALITY caseExactIA5Match SYNTAX OMsDirectoryString )")
	if err != nil {
		t.Fatal(err)
	}
	if a := s.AttributeTypeString("sambaNTPassword"); !a.Secret || a.Syntax.OID != syn+"15" {
		t.Errorf("%v", a)
	}
	for _, c := range []struct {
		texts []string
		want  string
	}{
		{[]string{"attributetype ( 2.5.4.4 NAME 'sn' SYNTAX OMsInteger )"}, "a:1: attribute type sn has the OID of attribute type sn at core.schema:"},
		{[]string{"attributetype ( 2.25.1 NAME 'userPassword' SYNTAX OMsInteger )"}, "a:1: the name userPassword of attribute type userPassword is taken by attribute type userPassword (OID 2.5.4.35) at core.schema:"},
		{[]string{"attributetype ( 2.25.1 NAME 'x' SYNTAX OMsInteger )", "attributetype ( 2.25.1 NAME 'x' SYNTAX OMsDN )"}, "b:1: attribute type x has the OID of attribute type x at a:1, but another SYNTAX"},
		{[]string{"attributetype ( 2.25.1 NAME 'x' SUP cn USAGE dSAOperation )"}, "a:1: attribute type x has USAGE dSAOperation and inherits from cn"},
		{[]string{"attributetype ( 2.25.1 NAME 'x' SUP c-l )"}, "a:1: attribute type x inherits from c-l, which is collective"},
		{[]string{"objectclass ( 2.25.1 NAME 'x' SUP top AUXILIARY MAY c-l )"}, "a:1: object class x: the collective attribute c-l cannot be in an object class"},
	} {
		if _, err := extend(c.texts...); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%q: %v, want %s", c.texts, err, c.want)
		}
	}
}
