package cli

import (
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"portolan/internal/config"
	"portolan/internal/scan"
)

func newScan(p *program) *cobra.Command {
	var asJSON bool
	var ca, passwordFile string
	o := scan.Options{}
	c := &cobra.Command{
		Use:   "scan URL",
		Short: "Ask an LDAP server from outside what it gives up",
		Long: "Scan asks any LDAP server what an attacker would ask: which TLS it speaks and with which certificate, whether it takes " +
			"passwords in clear text, what it shows to strangers, whether it tells who exists, what it answers over UDP. It changes " +
			"nothing and guesses no password: binds that are meant to fail carry random names and passwords. Scan only servers that " +
			"are yours to scan.\n\n" +
			"With --user, wrong passwords are tried on that account (about 50), to compare answers and times with those of an account " +
			"that does not exist; name one made for this, since a server may lock it. With --active, 60 more are tried in a row.\n\n" +
			"The exit code is 0 when nothing is wrong, 1 for findings, and 2 when the server cannot be scanned.",
		Example: "  portolan scan ldap://ldap.example.org --ca ca.pem\n" +
			"  portolan scan ldaps://ldap.example.org --user uid=probe,ou=people,dc=example,dc=org --active --json",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.URL = args[0]
			if err := scanFiles(&o, ca, passwordFile); err != nil {
				return failure(exitMisused, err)
			}
			report, err := scan.Run(cmd.Context(), o)
			if err != nil {
				return failure(exitMisused, err)
			}
			if asJSON {
				err = p.printJSON(report)
			} else {
				err = report.WriteText(p.stdout)
			}
			if err == nil && report.Bad() {
				err = failure(exitFailed, nil)
			}
			return err
		},
	}
	f := c.Flags()
	f.BoolVar(&asJSON, "json", false, "print JSON")
	f.BoolVar(&o.Active, "active", false, "try wrong passwords in numbers, to see whether guesses are slowed down")
	f.StringVar(&ca, "ca", "", "a `file` with the authorities to trust (PEM; default: the system's)")
	f.StringVar(&o.Name, "name", "", "the `name` that the certificate must be for (default: the URL's host)")
	f.IntVar(&o.LDAPSPort, "ldaps-port", 0, "the `port` of ldaps (default 636 beside ldap on 389, else not asked)")
	f.IntVar(&o.LDAPPort, "ldap-port", 0, "the `port` of ldap (default 389 beside ldaps on 636, else not asked)")
	f.StringVar(&o.Base, "base", "", "a `DN` to search beneath (default: the naming contexts that the server names)")
	f.StringVar(&o.User, "user", "", "the `DN` of an account that exists, on which wrong passwords may be tried")
	f.StringVar(&o.BindDN, "bind-dn", "", "the `DN` of a login with which is asked what users see")
	f.StringVar(&passwordFile, "password-file", "", "a `file` whose first line is the password of --bind-dn")
	f.DurationVar(&o.Timeout, "timeout", 0, "how long one answer may take (default 5s)")
	f.DurationVar(&o.Limit, "limit", 0, "how long the scan may take (default 3m)")
	f.IntVar(&o.Samples, "samples", 0, "how many wrong passwords are timed in each of two rounds, for --user (default 25)")
	return c
}

// scanFiles reads what the options name.
func scanFiles(o *scan.Options, ca, passwordFile string) error {
	if ca != "" {
		text, err := os.ReadFile(ca)
		if err != nil {
			return fmt.Errorf("the authorities cannot be read: %w", err)
		}
		o.Roots = x509.NewCertPool()
		if !o.Roots.AppendCertsFromPEM(text) {
			return fmt.Errorf("%s holds no certificate; it wants PEM that begins with -----BEGIN CERTIFICATE-----", ca)
		}
	}
	if (o.BindDN == "") != (passwordFile == "") {
		return errors.New("--bind-dn and --password-file go together: name both")
	}
	if passwordFile == "" {
		return nil
	}
	var err error
	o.BindPassword, _, err = config.ReadSecretFile(passwordFile)
	return err
}
