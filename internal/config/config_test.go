package config

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const full = `data_dir = "data"
[directory]
suffixes = ["dc=example,dc=org", "o=b"]
admin_dn = "cn=admin"
admin_password_file = "admin.password"

[[listen]]
url = "ldaps://0.0.0.0"
allow = [
	"10.0.0.0/8", # the office
	"::ffff:192.0.2.1",
]

[[listen]]
url = "ldapi:///run/x"

[tls]
cert_file = "tls/c.pem"
key_file = "/abs/k.pem"

[[access]]
name = "one"
allow = ["read", "search"]
who = "users"
on = ["subtree:o=b", "*"]
from = "10.0.0.0/8"
tls = true

[[access]]
deny = "read"
attrs = "userPassword"
tls = 128

[limits]
time_limit = "1h30m"
max_pdu = 1_048_576
min_free_bytes = "1GB"

[[limits.for]]
who = ["dn:cn=x,o=b", "anonymous"]
size_limit = 0
time_limit = 0

[overlay.unique]
attributes = ["uid", "mail"]

[overlay.memberof]
`

func mustParse(t *testing.T, name, text string) *Config {
	t.Helper()
	c, err := Parse(name, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestParse(t *testing.T) {
	c := mustParse(t, "/etc/portolan/portolan.toml", full)
	zero, none := 0, time.Duration(0)
	want := Default()
	want.DataDir = "/etc/portolan/data"
	want.Directory = Directory{Suffixes: []string{"dc=example,dc=org", "o=b"}, AdminDN: "cn=admin", AdminPasswordFile: "/etc/portolan/admin.password"}
	ten := netip.MustParsePrefix("10.0.0.0/8")
	want.Listen = []Listen{
		{URL: "ldaps://0.0.0.0", Allow: []netip.Prefix{ten, netip.MustParsePrefix("192.0.2.1/32")}},
		{URL: "ldapi:///run/x"},
	}
	want.TLS.CertFile, want.TLS.KeyFile = "/etc/portolan/tls/c.pem", "/abs/k.pem"
	want.Access = []AccessRule{
		{Name: "one", Allow: []string{"read", "search"}, Who: []string{"users"}, On: []string{"subtree:o=b", "*"}, From: []netip.Prefix{ten}, TLS: 1},
		{Deny: []string{"read"}, Attrs: []string{"userPassword"}, TLS: 128},
	}
	want.Limits.TimeLimit = 90 * time.Minute
	want.Limits.MaxPDU = 1 << 20
	want.Limits.MinFreeBytes = 1e9
	want.Limits.For = []LimitsFor{{Who: []string{"dn:cn=x,o=b", "anonymous"}, SizeLimit: &zero, TimeLimit: &none}}
	sameConfig(t, want, c)
	if diff := cmp.Diff([]string{"unique", "memberof"}, c.Overlays()); diff != "" {
		t.Errorf("overlays: %s", diff)
	}
	if diff := cmp.Diff([]string{"dc=example,dc=org", "o=b"}, c.Directory.AllSuffixes()); diff != "" {
		t.Errorf("suffixes: %s", diff)
	}
	if err := c.Validate(); err != nil {
		t.Errorf("Validate: %v", err)
	}
}

func TestPositions(t *testing.T) {
	const file = "/etc/portolan/portolan.toml"
	c := mustParse(t, file, full)
	rule := c.Access[0].Place
	for _, x := range []struct {
		what string
		got  Position
		want string
	}{
		{"rule", rule.Position, ":21:3"},
		{"who", rule.At("who"), ":24:1"},
		{"on[1]", rule.At("on[1]"), ":25:22"},
		{"who[0] of a text", rule.At("who[0]"), ":24:1"},
		{"a key that is not written", rule.At("filter"), ":21:3"},
		{"second rule", c.Access[1].Position, ":29:3"},
		{"its attrs", c.Access[1].At("attrs[0]"), ":31:1"},
		{"a later line of a list", c.Listen[0].At("allow[1]"), ":11:2"},
		{"limits.for", c.Limits.For[0].At("time_limit"), ":42:1"},
		{"Config.At", c.At("directory.admin_dn"), ":4:1"},
		{"Config.At in a list of tables", c.At("listen[1].url"), ":15:1"},
		{"Config.At of nothing", c.At("log.level"), ""},
	} {
		if got := x.got.String(); got != file+x.want {
			t.Errorf("%s: %s, want %s", x.what, got, file+x.want)
		}
	}
}

type overlayConfig struct {
	Attributes []string
	MaxSize    int64         `toml:"max_size,size"`
	Every      time.Duration `min:"1s" max:"1h"`
	Ratio      float64
	Match      *regexp.Regexp
	Port       uint16
	Ranges     []struct {
		Name string `toml:"name"`
		From int    `toml:"from" min:"-5"`
	} `toml:"range"`
	ByName map[string]int `toml:"by_name"`
	Skip   string         `toml:"-"`
}

func TestDecodeOverlay(t *testing.T) {
	c := mustParse(t, "portolan.toml", `directory.suffix = "o=a"
[overlay.x]
attributes = ["uid"]
max_size = "2KiB"
every = "30s"
ratio = 0.5
match = "^a+$"
port = 65535
by_name = { a = 1, b = 2 }
[[overlay.x.range]]
name = "one"
from = -5
[overlay.y]
atributes = ["uid"]
max_size = -1
every = "2h"
ratio = inf
match = "("
port = 65536
skip = "x"
by_name = { a = "1" }
range = 5
[overlay.z]
every = "1ms"
`)
	got := overlayConfig{Skip: "kept", ByName: map[string]int{"default": 1}}
	if err := c.DecodeOverlay("x", &got); err != nil {
		t.Fatal(err)
	}
	if got.Attributes[0] != "uid" || got.MaxSize != 2048 || got.Every != 30*time.Second || got.Ratio != 0.5 ||
		!got.Match.MatchString("aa") || got.Port != 65535 || got.Ranges[0].Name != "one" || got.Ranges[0].From != -5 ||
		got.Skip != "kept" || len(got.ByName) != 2 || got.ByName["b"] != 2 {
		t.Errorf("%+v", got)
	}

	kept := overlayConfig{Port: 7}
	if err := c.DecodeOverlay("absent", &kept); err != nil || kept.Port != 7 {
		t.Errorf("an absent table: %v, %+v", err, kept)
	}
	err := c.DecodeOverlay("y", &overlayConfig{})
	want := `portolan.toml:14:1: unknown key "atributes" in [overlay.y]; did you mean "attributes"?
portolan.toml:15:12: max_size is at least 0, not "-1"
portolan.toml:16:9: every is at most 1h, not "2h"
portolan.toml:17:9: ratio: "inf" is not a number that can be used
portolan.toml:18:9: match: "(" cannot be used: error parsing regexp: missing closing ): ` + "`(`" + `
portolan.toml:19:8: port is at most 65535, not "65536"
portolan.toml:20:1: unknown key "skip" in [overlay.y]; what may stand here: attributes, max_size, every, ratio, match, port, range, by_name
portolan.toml:21:17: a wants a whole number, without quotes, not a text
portolan.toml:22:9: range is a list of tables, not a whole number; write [[overlay.y.range]]`
	var list *ErrorList
	if !errors.As(err, &list) {
		t.Fatalf("error %v", err)
	}
	if diff := cmp.Diff(want, list.Error()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if err := c.DecodeOverlay("z", &overlayConfig{}); err == nil || !strings.Contains(err.Error(), "every is at least 1s") {
		t.Errorf("error %v", err)
	}
	for _, into := range []any{nil, overlayConfig{}, new(int), (*overlayConfig)(nil)} {
		if c.DecodeOverlay("x", into) == nil {
			t.Errorf("%T is taken", into)
		}
	}
	err = c.CheckOverlays([]string{"x", "other"})
	if err == nil || err.Error() != "portolan.toml:13:2: there is no overlay \"y\"\nportolan.toml:23:2: there is no overlay \"z\"" {
		t.Errorf("CheckOverlays: %v", err)
	}
	c2 := mustParse(t, "portolan.toml", "directory.suffix = \"o=a\"\n[overlay.member-of]")
	if err := c2.CheckOverlays([]string{"refint", "memberof"}); err == nil || err.Error() != "portolan.toml:2:2: there is no overlay \"member-of\"; did you mean [overlay.memberof]?" {
		t.Errorf("CheckOverlays: %v", err)
	}
	if err := c.CheckOverlays([]string{"z", "y", "x"}); err != nil {
		t.Errorf("CheckOverlays: %v", err)
	}
}

func TestValidateOfCode(t *testing.T) {
	c := Default()
	err := c.Validate()
	if err == nil || !strings.HasPrefix(err.Error(), "configuration: directory.suffix is missing") {
		t.Errorf("error %v", err)
	}
	c.Directory.Suffix = "o=a"
	c.Listen = []Listen{{URL: "ldap://127.0.0.1:0"}, {URL: "ldap://127.0.0.1:0"}}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	for octets, valid := range map[int64]bool{-1: false, 1<<20 - 1: false, 1 << 20: true} {
		c.Store.EntryCache = octets
		if err := c.Validate(); (err == nil) != valid {
			t.Errorf("an entry_cache of %d octets: %v", octets, err)
		}
	}
}

func TestWarnings(t *testing.T) {
	c := mustParse(t, "portolan.toml", `[directory]
suffix = "o=a"
admin_dn = "cn=admin"
[security]
require_tls = "never"
anonymous = "read"
builtin_access = false
[log.access]
file = "a"
enabled = false
`)
	want := []string{
		"portolan.toml: there is no [[listen]]",
		"portolan.toml:5:1: passwords may travel in clear text",
		"portolan.toml:6:1: clients that have not authenticated may search",
		"portolan.toml:7:1: there is no access rule",
		"portolan.toml:3:1: admin_dn can bind only",
		"portolan.toml:9:1: the access log is off",
	}
	compareWarnings(t, want, c.Warnings())
	c = mustParse(t, "portolan.toml", `directory.suffix = "o=a"
security.require_tls = "never"
[[listen]]
url = "ldap://:389"
proxy_protocol_from = ["::/0"]
[[listen]]
url = "cldap://10.0.0.1"
[[listen]]
url = "cldap://127.0.0.1"
`)
	compareWarnings(t, []string{
		"portolan.toml:2:10: passwords may travel",
		"portolan.toml:5:1: ::/0 lets every client",
		"portolan.toml:7:1: cldap beyond loopback",
	}, c.Warnings())
}

func compareWarnings(t *testing.T, want, got []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d warnings, want %d: %q", len(got), len(want), got)
		return
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("warning %q, want %q...", got[i], want[i])
		}
	}
}

func TestDiff(t *testing.T) {
	for _, x := range []struct {
		name            string
		from, to        string
		reload, restart []string
	}{
		{"places only", full, "# moved down\n\n" + full, nil, nil},
		{"limits", `time_limit = "1h30m"`, `time_limit = "1s"`, []string{"limits.time_limit"}, nil},
		{"same time in another notation", `time_limit = "1h30m"`, `time_limit = "90m"`, nil, nil},
		{"listener's networks", `"10.0.0.0/8", #`, `"10.0.0.0/9", #`, []string{"listen[0].allow"}, nil},
		{"listener's url", `/run/x`, `/run/y`, nil, []string{"listen[1].url"}},
		{"fewer listeners", "[[listen]]\nurl = \"ldapi:///run/x\"\n", "", nil, []string{"listen"}},
		{"a rule's key", `deny = "read"`, `deny = "add"`, []string{"access[1].deny"}, nil},
		{"a rule more", "[limits]", "[[access]]\nallow = \"add\"\n[limits]", []string{"access"}, nil},
		{"limits for", `size_limit = 0`, `size_limit = 1`, []string{"limits.for[0].size_limit"}, nil},
		{"limits for, one key less", `size_limit = 0`, ``, []string{"limits.for[0].size_limit"}, nil},
		{"data", `"data"`, `"other"`, nil, []string{"data_dir"}},
		{"overlay", `["uid", "mail"]`, `["uid"]`, nil, []string{"overlay.unique"}},
		{"overlay gone and come", "[overlay.memberof]", "[overlay.refint]", nil, []string{"overlay.memberof", "overlay.refint"}},
		{"list in another notation", `who = "users"`, `who = ["users"]`, nil, nil},
		{"empty lists", `url = "ldapi:///run/x"`, "url = \"ldapi:///run/x\"\nallow = []\n[index]\nequality = []", nil, nil},
	} {
		text := strings.Replace(full, x.from, x.to, 1)
		reload, restart := Diff(mustParse(t, "a/p.toml", full), mustParse(t, "a/p.toml", text))
		if !slices.Equal(reload, x.reload) || !slices.Equal(restart, x.restart) {
			t.Errorf("%s: reload %q, restart %q", x.name, reload, restart)
		}
	}
}

func TestReadSecretFile(t *testing.T) {
	dir := t.TempDir()
	for _, x := range []struct {
		name, text string
		mode       os.FileMode
		want       string
		warns      bool
		fails      bool
	}{
		{name: "plain", text: "canary\n", mode: 0o600, want: "canary"},
		{name: "group", text: "canary\nsecond line", mode: 0o640, want: "canary"},
		{name: "no line end", text: " canary ", mode: 0o600, want: " canary "},
		{name: "crlf", text: "canary\r\n", mode: 0o600, want: "canary"},
		{name: "others", text: "canary\n", mode: 0o644, want: "canary", warns: true},
		{name: "others write", text: "canary\n", mode: 0o602, want: "canary", warns: true},
		{name: "empty", mode: 0o600, fails: true},
		{name: "empty line", text: "\ncanary\n", mode: 0o600, fails: true},
		{name: "longest", text: strings.Repeat("x", maxSecret) + "\n", mode: 0o600, want: strings.Repeat("x", maxSecret)},
		{name: "longest crlf", text: strings.Repeat("x", maxSecret) + "\r\n", mode: 0o600, want: strings.Repeat("x", maxSecret)},
		{name: "too long", text: strings.Repeat("canary", maxSecret), mode: 0o600, fails: true},
		{name: "one too long", text: strings.Repeat("x", maxSecret+1) + "\n", mode: 0o600, fails: true},
	} {
		path := filepath.Join(dir, strings.ReplaceAll(x.name, " ", "-"))
		if err := os.WriteFile(path, []byte(x.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, x.mode); err != nil {
			t.Fatal(err)
		}
		got, warning, err := ReadSecretFile(path)
		if string(got) != x.want || (warning != "") != x.warns || (err != nil) != x.fails {
			t.Errorf("%s: %d octets, warning %q, error %v", x.name, len(got), warning, err)
		}
		if err != nil && strings.Contains(err.Error(), "canary") || strings.Contains(warning, "canary") {
			t.Errorf("%s: the secret is shown", x.name)
		}
	}
	for _, path := range []string{dir, filepath.Join(dir, "absent")} {
		if _, _, err := ReadSecretFile(path); err == nil {
			t.Errorf("%s is read", path)
		}
	}
}

func TestOptionKeys(t *testing.T) {
	want := []string{"attributes", "max_size", "every", "ratio", "match", "port", "range.name", "range.from", "by_name"}
	if diff := cmp.Diff(want, OptionKeys(overlayConfig{})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
