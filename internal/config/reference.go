package config

import (
	"fmt"
	"reflect"
	"strings"
)

// Reference returns the reference of every key as Markdown. Sections of overlays ([overlay.NAME]) follow those of this
// package.
func Reference(overlays ...Section) string {
	var b strings.Builder
	b.WriteString("# Configuration reference\n\n" +
		"Every key of `portolan.toml`, as the server itself knows it. A key that is left out has its default. " +
		"Unknown keys are errors. Relative file names are relative to the configuration file.\n\n" +
		"Durations are whole numbers with a unit of ms, s, m, h, d (24 hours) or w: `\"30s\"`, `\"1h30m\"`. " +
		"Sizes have a unit of KiB, MiB, GiB or TiB, or of kB, MB, GB or TB: `\"16MiB\"`; a plain number is octets. " +
		"Networks are in CIDR form, `\"10.0.0.0/8\"`; an address alone is itself. " +
		"\"Takes effect\" says whether SIGHUP suffices for a changed value.\n")
	types := keyTypes()
	for _, s := range append(sections(), overlays...) {
		title := "Top of the file"
		switch {
		case s.Array:
			title = "[[" + s.Table + "]]"
		case s.Table != "":
			title = "[" + s.Table + "]"
		}
		fmt.Fprintf(&b, "\n## %s\n\n%s\n", title, s.Doc)
		if len(s.Keys) == 0 {
			continue
		}
		b.WriteString("\n| key | value | default | example | takes effect | meaning |\n|---|---|---|---|---|---|\n")
		for _, k := range s.Keys {
			typ, ok := types[join(s.Table, k.Name)]
			if !ok {
				typ = literalType(k.sample())
			}
			def := "not set"
			switch {
			case k.Required:
				def = "required"
			case k.Default != "":
				def = "`" + k.Default + "`"
			}
			effect := "restart"
			if k.Reload {
				effect = "SIGHUP"
			}
			cells := []string{"`" + k.Name + "`", typ, def, "`" + k.sample() + "`", effect, k.Doc}
			for i := range cells {
				cells[i] = strings.ReplaceAll(cells[i], "|", `\|`)
			}
			b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
		}
	}
	return b.String()
}

// Sections returns the tables of the file with their keys, in the order of the reference, without those of overlays.
func Sections() []Section { return sections() }

// OptionKeys lists the keys that a struct takes which DecodeOverlay fills, those of tables beneath it as "table.key".
// options is the struct.
func OptionKeys(options any) []string {
	var keys []string
	walkKeys(reflect.TypeOf(options), "", func(path string, _ reflect.Type, _ field) { keys = append(keys, path) })
	return keys
}

// keyTypes says in words what each key of Config takes, by path.
func keyTypes() map[string]string {
	types := map[string]string{}
	walkKeys(reflect.TypeFor[Config](), "", func(path string, t reflect.Type, f field) { types[path] = typeWords(t, f) })
	return types
}

// walkKeys calls each for every key of a struct, tables within it taken apart.
func walkKeys(t reflect.Type, path string, each func(path string, t reflect.Type, f field)) {
	for _, f := range fields(t) {
		ft, sub := t.Field(f.index).Type, join(path, f.name)
		switch {
		case ft.Kind() == reflect.Struct && !reflect.PointerTo(ft).Implements(typeText):
			walkKeys(ft, sub, each)
		case isTableList(ft):
			walkKeys(ft.Elem(), sub, each)
		default:
			each(sub, ft, f)
		}
	}
}

func typeWords(t reflect.Type, f field) string {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t == typeDuration:
		return "duration"
	case t == typePrefix:
		return "network"
	case t.Kind() == reflect.Slice:
		element := f
		element.one = false
		if f.one {
			return typeWords(t.Elem(), element) + ", or a list"
		}
		return "list (" + typeWords(t.Elem(), element) + ")"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case f.enum != nil:
		return quoted(f.enum)
	case f.path:
		return "file name"
	case t.Kind() == reflect.String:
		return "text"
	case f.truth:
		return "true, false or whole number"
	}
	words := "whole number"
	number := func(s string) string { return s }
	if f.size {
		words = "size"
		number = func(s string) string {
			if n, err := ParseSize(s); err == nil {
				return FormatSize(n)
			}
			return s
		}
	}
	switch {
	case f.min != "" && f.max != "":
		words += ", " + number(f.min) + " to " + number(f.max)
	case f.min != "":
		words += ", at least " + number(f.min)
	case f.max != "":
		words += ", at most " + number(f.max)
	}
	return words
}

// literalType says what a TOML literal is, for keys whose Go type this package does not know.
func literalType(s string) string {
	switch {
	case s == "":
		return "value"
	case s == "true", s == "false":
		return "true or false"
	case s[0] == '[':
		return "list"
	case s[0] == '{':
		return "table"
	case s[0] == '"', s[0] == '\'':
		return "text"
	}
	return "number"
}

// TemplateOptions is what `portolan init` knows about a new server. File names may be relative to the file that the
// template is written to. An empty one leaves its key out.
type TemplateOptions struct {
	Suffix            string
	DataDir           string
	AdminDN           string
	AdminPasswordFile string
	CertFile, KeyFile string
	// Listen holds one URL for each listener.
	Listen []string
}

// Template returns a configuration file with comments: the keys of o with their values, and the other keys that an
// operator is likely to look for as `#key = default`. It parses, and but for the keys of o it says what the defaults are.
func Template(o TemplateOptions) string {
	given := map[string]string{}
	for path, value := range map[string]string{
		"data_dir":                      o.DataDir,
		"directory.suffix":              o.Suffix,
		"directory.admin_dn":            o.AdminDN,
		"directory.admin_password_file": o.AdminPasswordFile,
		"tls.cert_file":                 o.CertFile,
		"tls.key_file":                  o.KeyFile,
	} {
		if value != "" {
			given[path] = Quote(value)
		}
	}
	var b strings.Builder
	comment(&b, "Portolan's configuration. A key that begins with # shows its default; every other key, and [[access]] "+
		"for access rules, is in the configuration reference. Check a change with \"portolan check-config\"; most take "+
		"effect on SIGHUP.")
	for _, s := range sections() {
		if s.Array {
			if s.Table == "listen" {
				templateListen(&b, &s, o.Listen)
			}
			continue
		}
		var shown []Key
		for _, k := range s.Keys {
			if _, ok := given[join(s.Table, k.Name)]; ok || k.Template && !k.Required {
				shown = append(shown, k)
			}
		}
		if len(shown) == 0 {
			continue
		}
		if s.Table != "" {
			b.WriteString("\n")
			comment(&b, s.Doc)
			b.WriteString("[" + s.Table + "]\n")
		}
		for _, k := range shown {
			b.WriteString("\n")
			comment(&b, k.Doc)
			if value, ok := given[join(s.Table, k.Name)]; ok {
				b.WriteString(k.Name + " = " + value + "\n")
			} else {
				b.WriteString("#" + k.Name + " = " + k.Default + "\n")
			}
		}
	}
	return b.String()
}

func templateListen(b *strings.Builder, s *Section, urls []string) {
	if len(urls) == 0 {
		return
	}
	b.WriteString("\n")
	comment(b, s.Doc+" "+s.Keys[0].Doc)
	for i, u := range urls {
		if i > 0 {
			b.WriteString("\n")
		}
		b.WriteString("[[listen]]\nurl = " + Quote(u) + "\n")
	}
}

// comment writes text as comment lines of at most 100 columns.
func comment(b *strings.Builder, text string) {
	const width = 100
	line := "#"
	for word := range strings.FieldsSeq(text) {
		if len(line)+1+len(word) > width && line != "#" {
			b.WriteString(line + "\n")
			line = "#"
		}
		line += " " + word
	}
	b.WriteString(line + "\n")
}

// Quote writes s as a TOML basic string.
func Quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
