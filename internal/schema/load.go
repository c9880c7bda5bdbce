package schema

import (
	"bytes"
	"embed"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// File is the text of a schema file and the name that errors call it by.
type File struct {
	Name string
	Text []byte
	// Yields says that the definitions in it give way to different ones of the same OID or name in other files: see Load.
	Yields bool
	// Live says that the definitions in it were made through LDAP: see ChangeLive. They yield to nothing, and nothing
	// yields to them.
	Live bool
}

//go:embed files/*.schema
var shipped embed.FS

// Variant chooses between definitions of the same names that cannot stand beside each other.
type Variant uint8

const (
	// RFC2307bis has posixGroup as an auxiliary class, so that one entry can be a groupOfNames and a posixGroup.
	RFC2307bis Variant = iota
	// RFC2307 has posixGroup as a structural class, as RFC 2307 and slapd's nis.schema define it.
	RFC2307
)

// shippedFiles are the shipped files in the order in which they are loaded; "nis" stands for the chosen variant.
var shippedFiles = []string{"system", "core", "cosine", "inetorgperson", "pki", "nis", "autofs", "dyngroup", "ppolicy",
	"openssh-lpk", "ldapns", "sudo", "samba", "kerberos", "freeradius", "eduperson", "mail", "dns", "dhcp", "calendar", "java",
	"accesslog", "monitor", "portolan"}

// firmFiles are the shipped files with which the server itself works: their definitions do not yield.
var firmFiles = []string{"system", "core", "cosine", "inetorgperson", "pki", "ppolicy", "monitor", "portolan"}

// Shipped returns the schema files that come with the server, with RFC 2307bis.
func Shipped() []File { return ShippedVariant(RFC2307bis) }

// ShippedVariant returns the schema files that come with the server, with one of the two definitions of the network
// information service.
func ShippedVariant(v Variant) []File {
	out := make([]File, 0, len(shippedFiles))
	for _, name := range shippedFiles {
		if name == "nis" && v == RFC2307bis {
			name = "rfc2307bis"
		}
		text, err := shipped.ReadFile("files/" + name + ".schema")
		if err != nil {
			panic(err) // the file is part of the program
		}
		out = append(out, File{Name: name + ".schema", Text: text, Yields: !slices.Contains(firmFiles, name)})
	}
	return out
}

var defaultSchema = sync.OnceValue(func() *Schema {
	s, err := Load(Shipped()...)
	if err != nil {
		panic(err) // the files are part of the program and loaded by its tests
	}
	return s
})

// Default returns the Schema of the shipped files, built once in a process.
func Default() *Schema { return defaultSchema() }

var generations atomic.Uint64

// Load builds a Schema from files in the notation of slapd's .schema files, of cn=config LDIF or of a subschema subentry
// in LDIF. Definitions may stand in any order, but an objectidentifier comes before its first use. Matching rules and
// syntaxes are built in; everything else is in the files, so that they nearly always begin with those of Shipped.
//
// The same definition may stand in several places. What is defined differently in two places is an error that names
// both, and all errors begin with "file:line: ". But where one of the two files yields, the other one's definition
// stands: vendors' schemas come in many versions, and an operator's file is the version that is wanted. What was left
// out is listed by Displaced.
func Load(files ...File) (*Schema, error) {
	gone := displaced{}
	for {
		s := &Schema{
			generation: generations.Add(1),
			files:      slices.Clone(files),
			attrs:      map[string]*AttributeType{},
			classes:    map[string]*ObjectClass{},
			rules:      map[string]*MatchingRule{},
			syntaxes:   map[string]*Syntax{},
			content:    map[*ObjectClass]*ContentRule{},
		}
		s.options.Store(&map[string]string{})
		b := &builder{Schema: s, macros: maps.Clone(knownMacros), defined: map[string]*rawDefinition{}, names: map[string]*rawDefinition{}, gone: gone}
		s.addBuiltins()
		before := len(gone)
		err := b.build(files)
		if len(gone) > before {
			continue // without what has to give way
		}
		if err != nil {
			return nil, err
		}
		s.displaced = gone.list()
		s.fillKnown()
		s.published = sync.OnceValue(s.publish)
		return s, nil
	}
}

// build reads all files and joins their definitions.
func (b *builder) build(files []File) error {
	before := len(b.gone)
	for i, f := range files {
		same := func(g File) bool { return g.Name == f.Name && bytes.Equal(g.Text, f.Text) }
		if slices.ContainsFunc(files[:i], same) {
			continue
		}
		if err := b.read(f); err != nil {
			return err
		}
	}
	if len(b.gone) > before {
		return nil
	}
	return b.resolve()
}

// knownMacros are the object identifiers that slapd defines before it reads a file.
var knownMacros = map[string]string{
	"omsyn": strings.TrimSuffix(syn, "."), "omsboolean": syn + "7", "omsdn": syn + "12", "omsdirectorystring": syn + "15",
	"omsia5string": syn + "26", "omsinteger": syn + "27", "omsoctetstring": syn + "40",
}

// Displaced describes the definitions of yielding files that were left out, each with what stands in its place.
func (s *Schema) Displaced() []string { return s.displaced }

// displaced are definitions that give way, by kind and OID.
type displaced map[string]displacement

type displacement struct {
	old *rawDefinition
	why string
}

func (g displaced) list() []string {
	out := make([]string, 0, len(g))
	for _, d := range g {
		out = append(out, fmt.Sprintf("%s: %s gives way: %s", d.old.Origin, d.old.what(), d.why))
	}
	slices.Sort(out)
	return out
}

// yield lets one of two definitions give way, if just one of them may.
func (b *builder) yield(old, d *rawDefinition) bool {
	if old.yields == d.yields || old.Live || d.Live {
		return false
	}
	if d.yields {
		old, d = d, old
	}
	b.giveWay(old, fmt.Sprintf("%s is defined at %s", d.what(), d.Origin))
	return true
}

func (b *builder) giveWay(d *rawDefinition, why string) {
	if _, ok := b.gone[d.key()]; !ok {
		b.gone[d.key()] = displacement{d, why}
	}
}

// gaveWay reports whether a name is that of a definition of this kind that gave way, and nothing else has it.
func (b *builder) gaveWay(kind, name string) bool {
	for _, d := range b.gone {
		if d.old.kind == kind && (d.old.OID == name || slices.ContainsFunc(d.old.Names, func(n string) bool { return strings.EqualFold(n, name) })) {
			return true
		}
	}
	return false
}

// wasSecret reports whether a definition stands in the place of one whose values are secret: a vendor's own file does not
// say so.
func (b *builder) wasSecret(t *AttributeType) bool {
	for _, d := range b.gone {
		if d.old.kind == "attributetypes" && isSecret(&d.old.Common) && (d.old.OID == t.OID || slices.ContainsFunc(d.old.Names, func(n string) bool { return b.attrs[strings.ToLower(n)] == t })) {
			return true
		}
	}
	return false
}

// Extend builds a Schema that has the definitions of s and of further files. s stays as it is, and the pointers of the
// two have nothing to do with each other.
func (s *Schema) Extend(files ...File) (*Schema, error) {
	return Load(slices.Concat(s.files, files)...)
}

// A builder collects definitions of all files and then joins them.
type builder struct {
	*Schema
	macros  map[string]string
	raw     []*rawDefinition
	defined map[string]*rawDefinition // by kind and OID
	names   map[string]*rawDefinition // by kind and lower-case name
	again   [][2]*rawDefinition       // what was defined, and what came later with the same OID
	gone    displaced
}

// read takes one file in.
func (b *builder) read(f File) error {
	sts, err := statements(f)
	if err != nil {
		return err
	}
	if f.Live {
		if b.live, err = ParseLive(f.Text); err != nil {
			return err
		}
	}
	for i := range sts {
		st := &sts[i]
		if st.keyword == "objectidentifier" {
			if err := readMacro(st, b.macros); err != nil {
				return err
			}
			continue
		}
		d, err := readDefinition(st, b.macros)
		if err != nil {
			return err
		}
		d.yields, d.Live = f.Yields, f.Live
		if err := b.add(d); err != nil {
			return err
		}
	}
	return nil
}

// what names a definition in a message.
func (d *rawDefinition) what() string {
	w := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(d.kind, "s"), "e"), "se")
	switch d.kind {
	case "attributetypes":
		w = "attribute type"
	case "objectclasses":
		w = "object class"
	case "ditcontentrules":
		w = "DIT content rule"
	case "ditstructurerules":
		w = "DIT structure rule"
	case "nameforms":
		w = "name form"
	case "ldapsyntaxes":
		w = "syntax"
	case "matchingrules", "matchingruleuse":
		w = "matching rule"
	}
	if len(d.Names) > 0 {
		return w + " " + d.Names[0]
	}
	if d.OID == "" && len(d.ids) > 0 {
		return fmt.Sprintf("%s %d", w, d.ids[0])
	}
	return w + " " + d.OID
}

// key tells definitions apart.
func (d *rawDefinition) key() string {
	if d.kind == "ditstructurerules" {
		return fmt.Sprint(d.kind, " ", d.ids[0])
	}
	return d.kind + " " + d.OID
}

// add files a definition, unless it is there already.
func (b *builder) add(d *rawDefinition) error {
	key := d.key()
	if gone, ok := b.gone[key]; ok && d.yields && gone.old.Origin == d.Origin {
		return nil
	}
	if old := b.defined[key]; old != nil {
		// Another name for a number is another thing altogether.
		other := len(old.Names) > 0 && len(d.Names) > 0 && !slices.ContainsFunc(d.Names, func(n string) bool {
			return slices.ContainsFunc(old.Names, func(o string) bool { return strings.EqualFold(n, o) })
		})
		if !other || !b.yield(old, d) {
			b.again = append(b.again, [2]*rawDefinition{old, d})
		}
		return nil
	}
	if d.kind != "matchingruleuse" && d.kind != "ditcontentrules" {
		for _, n := range d.Names {
			k := d.kind + " " + strings.ToLower(n)
			if old := b.names[k]; old != nil {
				if old == d {
					return fmt.Errorf("%s: %s has the name %s twice; remove one", d.Origin, d.what(), n)
				}
				if b.yield(old, d) {
					continue
				}
				return fmt.Errorf("%s: the name %s of %s is taken by %s (OID %s) at %s; choose another name or remove one of the two", d.Origin, n, d.what(), old.what(), old.OID, old.Origin)
			}
			b.names[k] = d
		}
	}
	b.defined[key] = d
	b.raw = append(b.raw, d)
	return nil
}
