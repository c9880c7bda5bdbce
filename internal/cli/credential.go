package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"portolan/internal/app"
)

// What the commands about credentials beneath an account share: application passwords, tokens and recovery codes.

// printOnce writes what is shown this once, one a line. what is what it belongs to, undo the command that takes it away.
func (p *program) printOnce(what, undo string, lines ...string) error {
	if _, err := fmt.Fprintln(p.stdout, strings.Join(lines, "\n")); err != nil {
		return fmt.Errorf("the %s was made, but could not be printed: %s it and make another: %w", what, undo, err)
	}
	return nil
}

// newListing is "list DN": a table, or JSON.
func newListing[T any](p *program, short string, get func(v app.Verbs, ctx context.Context, account string) ([]T, error),
	header []string, row func(x *T) []string) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "list DN",
		Short: short,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.withVerbs(cmd.Context(), func(v app.Verbs) error {
				list, err := get(v, cmd.Context(), args[0])
				if err != nil {
					return err
				}
				if asJSON {
					return p.printJSON(list)
				}
				w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
				fmt.Fprintln(w, strings.Join(header, "\t")) // the error comes with Flush
				for i := range list {
					fmt.Fprintln(w, strings.Join(row(&list[i]), "\t"))
				}
				return w.Flush()
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// newRemoval is "VERB DN NAME" and "VERB DN --all". missing asks for a name, and done says what is gone.
func newRemoval(p *program, verb, short, long, missing, all string,
	remove func(v app.Verbs, ctx context.Context, r app.CredentialRemoval) (*app.CredentialsRemoved, error),
	done func(account string, names []string) string) *cobra.Command {
	var r app.CredentialRemoval
	c := &cobra.Command{
		Use:   verb + " DN NAME",
		Short: short,
		Long:  long,
		Args:  cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			r.Account = args[0]
			if len(args) > 1 {
				r.Name = args[1]
			}
			if r.All == (r.Name != "") {
				return failure(exitMisused, errors.New(missing+", or give --all"))
			}
			return p.withVerbs(cmd.Context(), func(v app.Verbs) error {
				gone, err := remove(v, cmd.Context(), r)
				if err != nil {
					return err
				}
				_, err = fmt.Fprintln(p.stdout, done(r.Account, gone.Names))
				return err
			})
		},
	}
	c.Flags().BoolVar(&r.All, "all", false, all)
	return c
}

// day writes a time of day for people; none stands for no time.
func day(at time.Time, none string) string {
	if at.IsZero() {
		return none
	}
	return at.Local().Format(time.DateOnly + " 15:04")
}

func orElse(text, none string) string {
	if text == "" {
		return none
	}
	return text
}
