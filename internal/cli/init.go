package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"portolan/internal/app"
)

func newInit(p *program) *cobra.Command {
	o := app.InitOptions{}
	var ldapPort, ldapsPort int
	var address string
	c := &cobra.Command{
		Use:   "init --suffix DN",
		Short: "Make a new directory",
		Long: "Init makes a directory that \"portolan serve\" serves at once: a commented portolan.toml, a private certificate " +
			"authority with a server certificate, the administrator's password (shown once, kept as a hash) and the top entries. " +
			"Everything is put into one place and nothing that is there is replaced.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := app.ValidSuffix(o.Suffix); err != nil {
				return failure(exitMisused, err)
			}
			dir, err := filepath.Abs(o.Dir)
			if err != nil {
				return err
			}
			o.Dir, o.Now = dir, time.Now()
			o.Listen = []string{fmt.Sprintf("ldap://%s:%d", address, ldapPort), fmt.Sprintf("ldaps://%s:%d", address, ldapsPort)}
			made, err := app.Initialize(cmd.Context(), o)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(p.stdout, `A directory for %s is in %s.

The administrator is   %s
with the password      %s   (it is not shown again)

Start the server:
    portolan serve --config %s

Ask it who you are, from another terminal:
    LDAPTLS_CACERT=%s ldapwhoami -H ldaps://127.0.0.1:%d -x -D %s -w %s

Clients need %s to trust the server's certificate.
`, o.Suffix, dir, made.AdminDN, made.AdminPassword, made.ConfigFile, made.Certificates.CA, ldapsPort, quoteShell(made.AdminDN), quoteShell(made.AdminPassword), made.Certificates.CA)
			return err
		},
	}
	plain, secure := 3389, 3636
	if os.Geteuid() == 0 {
		plain, secure = 389, 636
	}
	f := c.Flags()
	f.StringVar(&o.Suffix, "suffix", "", "the `DN` that all entries are beneath, such as dc=example,dc=org")
	f.StringVar(&o.Dir, "dir", "portolan", "the `directory` that takes everything")
	f.StringVar(&o.AdminDN, "admin", "", "the administrator's `DN` (default cn=admin beneath the suffix)")
	f.StringVar(&address, "address", "0.0.0.0", "the `address` to listen on")
	f.IntVar(&ldapPort, "ldap-port", plain, "the port of ldap, with StartTLS")
	f.IntVar(&ldapsPort, "ldaps-port", secure, "the port of ldaps")
	f.StringSliceVar(&o.Names, "name", nil, "a further `name` or address in the certificate")
	if err := c.MarkFlagRequired("suffix"); err != nil {
		panic(err) // the flag is defined three lines above
	}
	return c
}

// quoteShell quotes a word for a POSIX shell where it needs it.
func quoteShell(s string) string {
	for _, r := range s {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '=', r == ',', r == '-', r == '_', r == '.', r == '/', r == ':', r == '%':
		default:
			return "'" + escapeQuotes(s) + "'"
		}
	}
	return s
}

func escapeQuotes(s string) string {
	out := make([]byte, 0, len(s))
	for i := range len(s) {
		if s[i] == '\'' {
			out = append(out, `'\''`...)
			continue
		}
		out = append(out, s[i])
	}
	return string(out)
}
