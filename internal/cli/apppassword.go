package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"portolan/internal/app"
	"portolan/internal/config"
)

func newAppPassword(p *program) *cobra.Command {
	c := &cobra.Command{
		Use:   "app-password",
		Short: "Make, list and revoke application passwords",
		Long: "An application password is the password of one program or device: it logs in as the account with a plain bind, is made by " +
			"the server, shown once, and revoked without touching the others. It is an entry beneath the account's, so that it can be " +
			"managed over LDAP as well.",
		Args: cobra.NoArgs,
	}
	c.AddCommand(newAppPasswordAdd(p), newAppPasswordList(p), newAppPasswordRevoke(p))
	return c
}

func newAppPasswordAdd(p *program) *cobra.Command {
	var n app.AppPassword
	var expires string
	c := &cobra.Command{
		Use:   "add DN NAME",
		Short: "Make an application password and print it",
		Long: "Add makes an application password for the account DN. NAME says which program or device it is for. The password is printed " +
			"on standard output, this once: only its hash is kept.",
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			n.Account, n.Name = args[0], args[1]
			var err error
			if n.Expires, err = expiry(expires, time.Now()); err != nil {
				return failure(exitMisused, err)
			}
			return p.withVerbs(cmd.Context(), func(v app.Verbs) error {
				made, err := v.AddAppPassword(cmd.Context(), n)
				if err != nil {
					return err
				}
				if err := p.printOnce("app password", "revoke", made.Secret); err != nil {
					return err
				}
				_, err = fmt.Fprintf(p.stderr, "The app password %q of %s is made. It is not shown again.\n", n.Name, n.Account)
				return err
			})
		},
	}
	c.Flags().StringSliceVar(&n.From, "from", nil, "a `network` it is good from, such as 192.0.2.0/24; may be given several times (default: everywhere)")
	c.Flags().BoolVar(&n.TLS, "tls", false, "good over TLS only, also on this host")
	c.Flags().StringVar(&expires, "expires", "", "when it ends: a `date` such as 2030-12-31, or a time from now such as 90d (default: never)")
	c.Flags().StringVar(&n.Description, "description", "", "a `text` for whoever lists it")
	return c
}

// expiry reads a date, of which the whole day counts, or a time from now.
func expiry(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if day, err := time.ParseInLocation(time.DateOnly, text, now.Location()); err == nil {
		return day.AddDate(0, 0, 1), nil
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at, nil
	}
	d, err := config.ParseDuration(text)
	if err != nil || d <= 0 {
		return time.Time{}, fmt.Errorf("--expires %s: write a date such as 2030-12-31, or a time from now such as 90d", text)
	}
	return now.Add(d), nil
}

func newAppPasswordList(p *program) *cobra.Command {
	return newListing(p, "List the application passwords of an account", app.Verbs.AppPasswords,
		[]string{"NAME", "CREATED", "LAST USE", "EXPIRES", "FROM", "STATE"},
		func(x *app.AppPassword) []string {
			return []string{x.Name, day(x.Created, "-"), day(x.LastUse, "never"), day(x.Expires, "never"),
				orElse(strings.Join(x.From, " "), "everywhere"), appPasswordState(x, time.Now())}
		})
}

func appPasswordState(x *app.AppPassword, now time.Time) string {
	var words []string
	switch {
	case !x.Ready:
		words = append(words, "no secret yet")
	case x.Disabled:
		words = append(words, "disabled")
	case !x.Expires.IsZero() && !now.Before(x.Expires):
		words = append(words, "expired")
	default:
		words = append(words, "good")
	}
	if x.TLS {
		words = append(words, "TLS only")
	}
	return strings.Join(words, ", ")
}

func newAppPasswordRevoke(p *program) *cobra.Command {
	return newRemoval(p, "revoke", "Revoke an application password",
		"Revoke deletes an application password of the account DN, or with --all every one. Connections that are open stay "+
			"open until they bind again.",
		"name the app password to revoke", "revoke every one of the account", app.Verbs.RevokeAppPasswords,
		func(account string, names []string) string {
			return fmt.Sprintf("%s of %s revoked.", plural(len(names), "app password", "app passwords"), account)
		})
}
