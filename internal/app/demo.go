package app

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"portolan/internal/config"
	"portolan/internal/credential"
)

// DemoOptions say where the example directory is.
type DemoOptions struct {
	// Dir keeps it; a directory that holds one already is served as it is.
	Dir string
	// Listen are the URLs of the listeners.
	Listen []string
	Now    time.Time
}

// Demo is an example directory that is ready to be served.
type Demo struct {
	Config *config.Config
	// CA is the file with the certificate to trust, Socket the path of the Unix socket.
	CA, Socket string
	Admin      ExampleUser
	Users      []ExampleUser
}

// User returns somebody by the value of his RDN.
func (d *Demo) User(name string) ExampleUser {
	for _, u := range d.Users {
		rdn, _, _ := strings.Cut(u.DN, ",")
		if _, value, _ := strings.Cut(rdn, "="); value == name {
			return u
		}
	}
	return ExampleUser{}
}

// passwordsFile keeps the passwords of an example directory, one "DN<tab>password" in a line: it is an example.
const passwordsFile = "passwords.txt"

// demoPasswordLength is that of the passwords of the example's people.
const demoPasswordLength = 12

// MakeDemo makes an example directory, or takes the one that is there.
func MakeDemo(ctx context.Context, o DemoOptions) (*Demo, error) {
	d := &Demo{CA: certificatePaths(o.Dir).CA, Socket: filepath.Join(o.Dir, "ldapi")}
	file := filepath.Join(o.Dir, "portolan.toml")
	if _, err := os.Stat(filepath.Join(o.Dir, passwordsFile)); errors.Is(err, fs.ErrNotExist) {
		if err := d.make(ctx, o); err != nil {
			return nil, err
		}
	} else if err := d.readPasswords(o.Dir); err != nil {
		return nil, err
	}
	var err error
	if d.Config, err = config.Load(file, os.ReadFile); err != nil {
		return nil, err
	}
	// A directory that was made earlier may have been moved, or asked for on other ports.
	d.Config.Listen = nil
	for _, u := range d.listen(o) {
		d.Config.Listen = append(d.Config.Listen, config.Listen{URL: u})
	}
	return d, d.Config.Validate()
}

// listen returns the URLs of all listeners.
func (d *Demo) listen(o DemoOptions) []string {
	return append(slices.Clip(o.Listen), "ldapi://"+url.PathEscape(d.Socket))
}

func (d *Demo) make(ctx context.Context, o DemoOptions) error {
	text, users, err := Example(func() (string, error) { return credential.Generate(rand.Reader, demoPasswordLength) })
	if err != nil {
		return err
	}
	made, err := Initialize(ctx, InitOptions{
		Suffix: ExampleSuffix, Dir: o.Dir, Now: o.Now, Entries: text,
		Listen: d.listen(o),
	})
	if err != nil {
		return err
	}
	d.Admin, d.Users = ExampleUser{made.AdminDN, made.AdminPassword}, users
	var b strings.Builder
	for _, u := range append([]ExampleUser{d.Admin}, users...) {
		fmt.Fprintf(&b, "%s\t%s\n", u.DN, u.Password)
	}
	return writeNew(filepath.Join(o.Dir, passwordsFile), 0o600, []byte(b.String()))
}

func (d *Demo) readPasswords(dir string) error {
	text, err := os.ReadFile(filepath.Join(dir, passwordsFile))
	if err != nil {
		return err
	}
	for i, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		dn, password, _ := strings.Cut(line, "\t")
		if i == 0 {
			d.Admin = ExampleUser{dn, password}
			continue
		}
		d.Users = append(d.Users, ExampleUser{dn, password})
	}
	return nil
}

func base64Of(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
