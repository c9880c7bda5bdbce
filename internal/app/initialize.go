package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"portolan/internal/config"
	"portolan/internal/credential"
	"portolan/internal/op"
	"portolan/ldap"
	"portolan/ldif"
)

// InitOptions say what directory is made.
type InitOptions struct {
	Suffix string
	// Dir takes everything: configuration, certificates, the admin's password as a hash, the data.
	Dir string
	// AdminDN is cn=admin beneath the suffix where it is empty.
	AdminDN string
	// Listen are the URLs of the listeners. LDAPIPath, where not empty, adds a Unix socket.
	Listen []string
	// Names are further names and addresses for the certificate.
	Names []string
	Now   time.Time
	// Entries is LDIF that is added behind the top entries.
	Entries string
}

// Initialized is what was made.
type Initialized struct {
	ConfigFile    string
	Certificates  CertificatePaths
	AdminDN       string
	AdminPassword string // shown once; what is kept is a hash
	Entries       int
}

// adminPasswordLength is that of the password that init makes: about 100 bits.
const adminPasswordLength = 20

// Initialize makes a directory that `portolan serve` can serve at once. Nothing that is there is replaced.
func Initialize(ctx context.Context, o InitOptions) (*Initialized, error) {
	if o.AdminDN == "" {
		o.AdminDN = "cn=admin," + o.Suffix
	}
	top, err := topEntries(o.Suffix, o.AdminDN)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("%s cannot be made: %w", o.Dir, reason(err))
	}
	made := initializedFiles(o.Dir)
	for _, name := range made {
		if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s is there already and is not replaced: name another directory with --dir", name)
		}
	}
	out, err := initialize(ctx, o, top+o.Entries)
	if err != nil {
		// None of these was there before.
		for _, name := range made {
			err = errors.Join(err, os.RemoveAll(name))
		}
		return nil, err
	}
	return out, nil
}

// Names that init gives to what it writes.
const (
	initConfig   = "portolan.toml"
	initPassword = "admin.password"
	initData     = "data"
)

// initializedFiles lists what init writes.
func initializedFiles(dir string) []string {
	p := certificatePaths(dir)
	return []string{
		filepath.Join(dir, initConfig), p.CA, p.CAKey, p.Cert, p.Key, filepath.Join(dir, initPassword), filepath.Join(dir, initData),
	}
}

func initialize(ctx context.Context, o InitOptions, entries string) (*Initialized, error) {
	out := &Initialized{ConfigFile: filepath.Join(o.Dir, initConfig), AdminDN: o.AdminDN}
	var err error
	if out.AdminPassword, err = credential.Generate(rand.Reader, adminPasswordLength); err != nil {
		return nil, err
	}
	hash, err := credential.Hash(credential.DefaultParams(), []byte(out.AdminPassword), rand.Reader)
	if err != nil {
		return nil, err
	}
	if out.Certificates, err = MakeCertificates(o.Dir, o.Now, o.Names...); err != nil {
		return nil, err
	}
	if err := writeNew(filepath.Join(o.Dir, initPassword), 0o600, append(hash, '\n')); err != nil {
		return nil, err
	}
	text := config.Template(config.TemplateOptions{
		Suffix: o.Suffix, DataDir: initData, AdminDN: o.AdminDN, AdminPasswordFile: initPassword,
		CertFile: "server.pem", KeyFile: "server.key", Listen: o.Listen,
	}) + overlayTemplate
	if err := writeNew(out.ConfigFile, 0o640, []byte(text)); err != nil {
		return nil, err
	}
	c, err := config.Load(out.ConfigFile, os.ReadFile)
	if err != nil {
		return nil, err
	}
	d, err := Open(c, OpenOptions{})
	if err != nil {
		return nil, err
	}
	out.Entries, err = d.AddLDIF(ctx, entries)
	return out, errors.Join(err, d.Close())
}

// overlayTemplate is the end of the file that init writes.
const overlayTemplate = `
# No two entries have the same user id: what logs in by uid then means one person.
[overlay.unique]
attributes = ["uid"]

# Passwords: long and not easy to guess, instead of mixed and changed all the time (NIST SP 800-63B). Entries of the class
# pwdPolicy are policies for some: see the documentation of the overlay.
[overlay.ppolicy.policy]
min_length = 10
min_strength = 2                # 0 to 4; common words, the person's own name and keyboard walks count as guessed
lockout = true                  # ten wrong passwords within 15 minutes lock the account, for 15 minutes:
max_failure = 10                # nobody guesses on, and nobody keeps others out for good
failure_count_interval = "15m"
lockout_duration = "15m"
# must_change = true            # a password that an administrator has set must be changed first
# in_history = 5                # former passwords that may not come back
# max_age = "365d"              # passwords expire; better not without a reason
# check_breached = true         # with breached_passwords = "FILE" in [overlay.ppolicy]: the list of haveibeenpwned.com

# [overlay.memberof]
# nested = true         # groups of one's groups count as one's own

# [overlay.refint]      # on: references follow renames and deletes
# nothing = "cn=nobody" # stands in where a group loses its last member
`

// ValidSuffix returns nil for a suffix that Initialize can make entries for, and else what to write instead.
func ValidSuffix(suffix string) error {
	_, err := topEntries(suffix, suffix)
	return err
}

// topEntries returns LDIF of the suffix entry and what stands directly beneath it.
func topEntries(suffix, admin string) (string, error) {
	name, err := ldap.ParseDN(suffix)
	if err != nil {
		return "", fmt.Errorf("--suffix %q: %w", suffix, clientWords(err))
	}
	if len(name) == 0 || len(name[0]) != 1 {
		return "", fmt.Errorf("--suffix wants a name such as dc=example,dc=org, not %q", suffix)
	}
	ava := name[0][0]
	value := string(ava.Value)
	var b strings.Builder
	w := ldif.NewWriter(&b, ldif.WriterOptions{})
	entry := func(dn string, pairs ...string) error {
		var attrs []ldap.Attribute
		for i := 0; i < len(pairs); i += 2 {
			attrs = append(attrs, ldap.Attribute{Type: []byte(pairs[i]), Values: [][]byte{[]byte(pairs[i+1])}})
		}
		return w.WriteEntry(dn, attrs)
	}
	switch strings.ToLower(ava.Type) {
	case "dc":
		err = entry(suffix, "objectClass", "organization", "objectClass", "dcObject", "dc", value, "o", value)
	case "o":
		err = entry(suffix, "objectClass", "organization", "o", value)
	case "ou":
		err = entry(suffix, "objectClass", "organizationalUnit", "ou", value)
	case "l":
		err = entry(suffix, "objectClass", "locality", "l", value)
	case "c":
		err = entry(suffix, "objectClass", "country", "c", value)
	default:
		return "", fmt.Errorf("--suffix begins with %s=: write one that begins with dc=, o=, ou=, l= or c=", ava.Type)
	}
	for _, ou := range []string{"people", "groups", "services"} {
		err = errors.Join(err, entry("ou="+ou+","+suffix, "objectClass", "organizationalUnit", "ou", ou))
	}
	if role, ok := strings.CutSuffix(admin, ","+suffix); ok {
		// admin_dn need not be an entry; where it is, references to it are right, and people find it.
		if rdn, parseErr := ldap.ParseDN(role); parseErr == nil && len(rdn) == 1 && len(rdn[0]) == 1 && strings.EqualFold(rdn[0][0].Type, "cn") {
			err = errors.Join(err, entry(admin, "objectClass", "organizationalRole", "cn", string(rdn[0][0].Value),
				"description", "The administrator of the configuration; its password is not here"))
		}
	}
	err = errors.Join(err, entry("cn=admins,ou=groups,"+suffix, "objectClass", "groupOfNames", "cn", "admins",
		"description", "Members administer the directory (the built-in access rules say so)", "member", admin))
	err = errors.Join(err, w.Close())
	return b.String() + "\n", err
}

// AddLDIF adds entries as the administrator would, one after another: through schema, overlays and password hashing. It
// stops at the first that is refused and says which line it began on.
func (d *Directory) AddLDIF(ctx context.Context, text string) (entries int, err error) {
	r := ldif.NewReader(strings.NewReader(text), ldif.Options{})
	for {
		rec, err := r.Next()
		if errors.Is(err, io.EOF) {
			return entries, nil
		}
		if err != nil {
			return entries, err
		}
		m := &ldap.AddRequest{Entry: []byte(rec.DN)}
		for _, a := range rec.Attributes {
			m.Attributes = append(m.Attributes, ldap.Attribute{Type: []byte(a.Name), Values: a.Values})
		}
		m.Attributes = mergeAttributes(m.Attributes)
		req := &op.Request{
			Conn: &op.Conn{Transport: op.Unix, Loopback: true}, ID: 1, Op: m, Identity: d.Engine.AdminIdentity("internal"), Start: time.Now(),
		}
		if err := d.Engine.Serve(ctx, req, nil); err != nil {
			return entries, fmt.Errorf("line %d: %s: %w", rec.Line, rec.DN, clientWords(err))
		}
		entries++
	}
}

// mergeAttributes puts the values of one attribute description together, wherever they stood.
func mergeAttributes(attrs []ldap.Attribute) []ldap.Attribute {
	out := attrs[:0:0]
	at := make(map[string]int, len(attrs))
	for _, a := range attrs {
		key := strings.ToLower(string(a.Type))
		if i, ok := at[key]; ok {
			out[i].Values = append(out[i].Values[:len(out[i].Values):len(out[i].Values)], a.Values...)
			continue
		}
		at[key] = len(out)
		out = append(out, a)
	}
	return out
}
