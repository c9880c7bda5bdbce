package cli

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"portolan/internal/app"
)

func newDemo(p *program) *cobra.Command {
	var dir string
	var ldapPort, ldapsPort int
	c := &cobra.Command{
		Use:   "demo",
		Short: "Run an example directory on loopback",
		Long: "Demo serves a small example company on ldap://127.0.0.1:3389 and ldaps://127.0.0.1:3636, with a certificate authority " +
			"and passwords of its own, and prints lines to paste. With --dir it is kept and served again by the next demo; without, " +
			"it is gone at the end. An interrupt ends it.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.demo(cmd.Context(), dir, ldapPort, ldapsPort)
		},
	}
	f := c.Flags()
	f.StringVar(&dir, "dir", "", "the `directory` that keeps the example (default: a temporary one)")
	f.IntVar(&ldapPort, "ldap-port", 3389, "the port of ldap, with StartTLS")
	f.IntVar(&ldapsPort, "ldaps-port", 3636, "the port of ldaps")
	return c
}

func (p *program) demo(ctx context.Context, dir string, ldapPort, ldapsPort int) (err error) {
	if dir == "" {
		if dir, err = os.MkdirTemp("", "portolan-demo-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	ctx, release := p.serving(ctx)
	defer release()
	d, err := app.MakeDemo(ctx, app.DemoOptions{
		Dir: dir, Now: time.Now(),
		Listen: []string{fmt.Sprintf("ldap://127.0.0.1:%d", ldapPort), fmt.Sprintf("ldaps://127.0.0.1:%d", ldapsPort)},
	})
	if err != nil {
		return err
	}
	server, err := app.Start(d.Config, app.ServeOptions{Version: p.version, Stderr: p.stderr, Quiet: true, Program: true})
	if err != nil {
		return err
	}
	fmt.Fprint(p.stdout, demoText(d, dir, ldapPort, ldapsPort))
	server.Ready()
	select {
	case <-ctx.Done():
	case err = <-server.Failed():
	}
	drain, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return errors.Join(err, server.Shutdown(drain))
}

// demoText is what the demo prints. Every line that is indented works as printed.
func demoText(d *app.Demo, dir string, ldapPort, ldapsPort int) string {
	alice := d.User("alice")
	tls := "LDAPTLS_CACERT=" + quoteShell(d.CA) + " "
	plain := fmt.Sprintf("ldap://127.0.0.1:%d", ldapPort)
	secure := fmt.Sprintf("ldaps://127.0.0.1:%d", ldapsPort)
	asAlice := fmt.Sprintf("-x -D %s -w %s", quoteShell(alice.DN), quoteShell(alice.Password))
	asAdmin := fmt.Sprintf("-x -D %s -w %s", quoteShell(d.Admin.DN), quoteShell(d.Admin.Password))
	return fmt.Sprintf(`An example company is served on %[1]s and %[2]s.
Everybody's password is in %[3]s.

Paste into another terminal (OpenLDAP's tools, package ldap-utils):

  who am I, over StartTLS and over ldaps
    %[4]sldapwhoami -ZZ -H %[1]s %[5]s
    %[4]sldapwhoami -H %[2]s %[5]s
  a person, with the groups she is in
    %[4]sldapsearch -LLL -ZZ -H %[1]s %[5]s -b %[6]s '(uid=bob)' '*' memberOf
  everybody in a group, groups of groups included
    %[4]sldapsearch -LLL -H %[2]s %[5]s -b %[6]s '(memberOf:1.2.840.113556.1.4.1941:=cn=staff,ou=groups,%[6]s)' uid
  a change, as the administrator
    printf 'dn: uid=bob,ou=people,%[6]s\nchangetype: modify\nreplace: title\ntitle: Chief Engineer\n' | %[4]sldapmodify -ZZ -H %[1]s %[7]s
  a new password that the server makes, for heidi
    %[4]sldappasswd -ZZ -H %[1]s %[7]s uid=heidi,ou=people,%[6]s
  without a password, over the Unix socket, as this user of the system
    ldapwhoami -Q -Y EXTERNAL -H ldapi://%[8]s

Stop it with Ctrl-C.
`, plain, secure, filepath.Join(dir, "passwords.txt"), tls, asAlice, app.ExampleSuffix, asAdmin, url.QueryEscape(d.Socket))
}
