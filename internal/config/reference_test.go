package config

import (
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// sameConfig compares what the keys say, not where they stand.
func sameConfig(t *testing.T, want, got *Config) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Config{}), cmpopts.IgnoreTypes(Place{}),
		cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestReferenceIsComplete compares the table of keys with the fields of Config, both ways.
func TestReferenceIsComplete(t *testing.T) {
	documented := map[string]bool{}
	for _, s := range sections() {
		if s.Doc == "" {
			t.Errorf("[%s] has no text", s.Table)
		}
		for _, k := range s.Keys {
			path := join(s.Table, k.Name)
			if documented[path] {
				t.Errorf("%s is documented twice", path)
			}
			documented[path] = true
			if !strings.HasSuffix(k.Doc, ".") {
				t.Errorf("%s: the text is no sentence: %q", path, k.Doc)
			}
			if k.sample() == "" {
				t.Errorf("%s has neither a default nor an example", path)
			}
			if (k.Default == "") != (k.Required || s.Array) {
				t.Errorf("%s: a key has a default exactly where it is not required and its table is no list (default %q)", path, k.Default)
			}
			if k.Example == k.Default {
				t.Errorf("%s: the example %q is the default; leave it out", path, k.Example)
			}
		}
	}
	inStruct, inTable := slices.Sorted(maps.Keys(keyTypes())), slices.Sorted(maps.Keys(documented))
	if diff := cmp.Diff(inStruct, inTable); diff != "" {
		t.Errorf("the keys of Config (-) and those of sections() (+) differ:\n%s", diff)
	}
}

// TestEveryTableIsASection finds tables of Config that sections() does not have, and lists written as plain tables.
func TestEveryTableIsASection(t *testing.T) {
	var walk func(typ reflect.Type, path string, array bool)
	walk = func(typ reflect.Type, path string, array bool) {
		i := slices.IndexFunc(sections(), func(s Section) bool { return s.Table == path })
		if i < 0 {
			t.Errorf("no section for [%s]", path)
		} else if sections()[i].Array != array {
			t.Errorf("[%s]: Array is %v", path, !array)
		}
		for _, f := range fields(typ) {
			switch ft := typ.Field(f.index).Type; {
			case isTableList(ft):
				walk(ft.Elem(), join(path, f.name), true)
			case ft.Kind() == reflect.Struct:
				walk(ft, join(path, f.name), false)
			}
		}
	}
	walk(reflect.TypeFor[Config](), "", false)
}

func TestDefaultsOfAnEmptyFile(t *testing.T) {
	c, err := Parse("x", []byte("directory.suffix = \"o=a\""))
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Directory.Suffix = "o=a"
	sameConfig(t, want, c)
	for what, ok := range map[string]bool{
		"require_tls":     c.Security.RequireTLS == "non-loopback",
		"anonymous":       c.Security.Anonymous == "rootdse",
		"builtin_access":  c.Security.BuiltinAccess,
		"min_version":     c.TLS.MinVersion == "1.2",
		"argon2":          c.Password.Argon2 == Argon2{Memory: 19 << 20, Time: 2, Parallelism: 1},
		"rfc2307":         c.Schema.RFC2307 == "bis",
		"journal.max_age": c.Journal.MaxAge.Hours() == 30*24,
		"data_dir":        c.DataDir == "/var/lib/portolan",
	} {
		if !ok {
			t.Errorf("the default of %s is not the secure one", what)
		}
	}
}

// TestEveryExampleParses writes the file that sets one key as its example does, and finds the value changed by it.
func TestEveryExampleParses(t *testing.T) {
	const base = "directory.suffix = \"o=base\"\n"
	needs := map[string]string{ // what a key cannot stand without
		"directory.admin_password_file": "directory.admin_dn = \"cn=a\"\n",
		"tls.cert_file":                 "tls.key_file = \"k\"\n",
		"tls.key_file":                  "tls.cert_file = \"c\"\n",
		"tls.client_ca_file":            "tls.cert_file = \"c\"\ntls.key_file = \"k\"\n",
		"tls.client_certificate":        "tls.cert_file = \"c\"\ntls.key_file = \"k\"\ntls.client_ca_file = \"a\"\n",
	}
	tableNeeds := map[string]string{
		"listen":     "url = \"ldapi:///run/x\"\n",
		"access":     "allow = \"read\"\n",
		"limits.for": "who = \"users\"\nsize_limit = 77\n",
		"replica":    "url = \"ldap://127.0.0.1\"\n",
	}
	for path, line := range map[string]string{
		"replica.bind_dn": "password_file = \"p\"\n", "replica.password_file": "bind_dn = \"cn=a\"\n",
		"replica.cert_file": "key_file = \"k\"\n", "replica.key_file": "cert_file = \"c\"\n", "replica.mode": "poll = \"5m\"\n",
	} {
		needs[path] = line
	}
	certificate := "tls.cert_file = \"c\"\ntls.key_file = \"k\"\n"
	for _, s := range sections() {
		for _, k := range s.Keys {
			path := join(s.Table, k.Name)
			line := k.Name + " = " + k.sample() + "\n"
			text := base + needs[path] + path + " = " + k.sample() + "\n"
			without := base + needs[path]
			switch {
			case s.Array:
				others := ""
				for l := range strings.Lines(tableNeeds[s.Table]) {
					if !strings.HasPrefix(l, k.Name+" ") && (path != "access.deny" || !strings.HasPrefix(l, "allow")) {
						others += l
					}
				}
				if s.Table == "listen" && k.Name != "url" {
					others = "url = \"ldap://127.0.0.1\"\n"
				}
				if s.Table == "limits.for" && k.Name == "who" {
					others = "size_limit = 77\n"
				}
				without = base + certificate
				text = base + certificate + "[[" + s.Table + "]]\n" + line + others + needs[path]
				if path == "replica.base" {
					text = strings.Replace(text, "o=base", "dc=example,dc=org", 1)
				}
			case path == "tls.cert_file", path == "tls.key_file":
				without = base + certificate
			case path == "directory.suffix", path == "directory.suffixes":
				text = path + " = " + k.sample() + "\n"
			}
			c, err := Parse("x", []byte(text))
			if err != nil {
				t.Errorf("%s: the example does not parse: %v\n%s", path, err, text)
				continue
			}
			old, err := Parse("x", []byte(without))
			if err != nil {
				t.Errorf("%s: %v\n%s", path, err, without)
				continue
			}
			reload, restart := Diff(old, c)
			changed := append(reload, restart...)
			if s.Array && !slices.Contains(changed, s.Table) || !s.Array && k.Example != "" && !slices.Contains(changed, path) {
				t.Errorf("%s: the example changes %q only", path, changed)
			}
			if !s.Array && k.Example != "" && slices.Contains(reload, path) != k.Reload {
				t.Errorf("%s: Diff and the reference disagree on whether a restart is needed", path)
			}
		}
	}
}

func TestTemplate(t *testing.T) {
	o := TemplateOptions{
		Suffix:            "dc=example,dc=org",
		DataDir:           "data \"dir\"\\\x7f\tä",
		AdminDN:           "cn=admin,dc=example,dc=org",
		AdminPasswordFile: "admin.password",
		CertFile:          "tls/server.crt",
		KeyFile:           "tls/server.key",
		Listen:            []string{"ldap://0.0.0.0:389", "ldaps://0.0.0.0:636"},
	}
	want := Default()
	want.DataDir = "/etc/portolan/" + o.DataDir
	want.Directory.Suffix = o.Suffix
	want.Directory.AdminDN = o.AdminDN
	want.Directory.AdminPasswordFile = "/etc/portolan/admin.password"
	want.TLS.CertFile, want.TLS.KeyFile = "/etc/portolan/tls/server.crt", "/etc/portolan/tls/server.key"
	want.Listen = []Listen{{URL: o.Listen[0]}, {URL: o.Listen[1]}}

	text := Template(o)
	c, err := Parse("/etc/portolan/portolan.toml", []byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	sameConfig(t, want, c)
	if w := c.Warnings(); len(w) > 0 {
		t.Errorf("warnings: %q", w)
	}

	// With every default written out it says the same.
	lines := strings.Split(text, "\n")
	opened := 0
	for i, l := range lines {
		if strings.HasPrefix(l, "#") && !strings.HasPrefix(l, "# ") {
			lines[i] = l[1:]
			opened++
		}
		if len(l) > 100 {
			t.Errorf("a line of %d columns: %s", len(l), l)
		}
	}
	if opened < 4 || opened > 10 {
		t.Errorf("%d defaults are shown; the file is to be short", opened)
	}
	c, err = Parse("/etc/portolan/portolan.toml", []byte(strings.Join(lines, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	sameConfig(t, want, c)

	if c, err = Parse("x", []byte(Template(TemplateOptions{Suffix: "o=a"}))); err != nil {
		t.Fatal(err)
	}
	want = Default()
	want.Directory.Suffix = "o=a"
	sameConfig(t, want, c)
}

func TestReferenceText(t *testing.T) {
	text := Reference(Section{Table: "overlay.memberof", Doc: "Groups.", Keys: []Key{
		{Name: "nested", Default: "true", Doc: "A | B."},
	}})
	for _, want := range []string{
		"## Top of the file\n", "## [[listen]]\n", "## [limits]\n", "## [[limits.for]]\n", "## [overlay.memberof]\n",
		"| `nested` | true or false | `true` | `true` | restart | A \\| B. |\n",
		"| `size_limit` | whole number | `5000` | `500` | SIGHUP |",
		"| `suffix` | text | required |",
		"| `max_pdu` | size, 4KiB to 1GiB |",
		"| `require_tls` | \"always\", \"non-loopback\" or \"never\" |",
		"| `from` | network, or a list | not set |",
		"| `cert_file` | file name |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the reference lacks %q", want)
		}
	}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "|") && strings.Count(strings.ReplaceAll(line, `\|`, ""), "|") != 7 {
			t.Errorf("a row has not six cells: %s", line)
		}
	}
}
