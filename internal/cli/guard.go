package cli

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"portolan/internal/app"
)

func newGuard(p *program) *cobra.Command {
	c := &cobra.Command{
		Use:   "guard",
		Short: "See and clear what holds back attackers",
		Args:  cobra.NoArgs,
	}
	c.AddCommand(newGuardList(p), newGuardClear(p), newGuardShapes(p), newGuardLearn(p), newGuardEnforce(p))
	return c
}

func newGuardList(p *program) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "list",
		Short: "List whose wrong passwords are counted, and who has to wait",
		Long: "List shows the accounts, addresses and networks whose wrong passwords are counted: how many count (older ones count " +
			"less), how many are free, and until when the next attempt has to wait. Passwords that were tried on many accounts are " +
			"shown without the password, which the server does not know. A stopped server's store has accounts, addresses and networks.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.withVerbs(cmd.Context(), func(v app.Verbs) error {
				g, err := v.Guarded(cmd.Context())
				if err != nil {
					return err
				}
				if asJSON {
					return p.printJSON(g)
				}
				return p.printGuarded(g, time.Now())
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (p *program) printGuarded(g *app.Guarded, now time.Time) error {
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	line := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) } // the error comes with Flush
	if !g.Enabled {
		line("The guard is off: guard.enabled is false.")
	}
	if s := g.Stats; s != nil {
		line("%s checked since the start, %d wrong (%d of them again), %d delayed, %d refused unchecked, %d waiting now.",
			plural(s.Checked, "password", "passwords"), s.Failed, s.Repeated, s.Delayed, s.Refused, s.Waiting)
	}
	if s := g.Stats; s != nil && s.Exposed > 0 {
		line("%s sent in clear text and refused, %d found to be right: search (portolanExposedTime=*) for the accounts.",
			plural(s.Exposed, "password was", "passwords were"), s.ExposedRight)
	}
	if len(g.Rows) == 0 {
		line("Nothing is counted.")
		return w.Flush()
	}
	line("COUNTED BY\tOF\tFAILURES\tFREE\tWAITS")
	for _, r := range g.Rows {
		waits := "-"
		if left := r.Until.Sub(now); left > 0 {
			waits = lasting(left + time.Second)
		}
		subject := r.Subject
		if subject == "" {
			subject = "(not known)"
		}
		line("%s\t%s\t%.1f\t%.1f\t%s", r.Axis, subject, r.Failures, r.Allowed, waits)
	}
	return w.Flush()
}

func newGuardClear(p *program) *cobra.Command {
	var clear app.GuardClear
	var asJSON bool
	c := &cobra.Command{
		Use:   "clear {--account DN | --source ADDRESS | --all}",
		Short: "Forget wrong passwords, so that nobody has to wait for them",
		Long: "Clear forgets what is counted for an account, for an address or network, or all of it. Whoever goes on guessing is " +
			"counted anew. It does not unlock an account that the password policy has locked.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.withVerbs(cmd.Context(), func(v app.Verbs) error {
				r, err := v.ClearGuard(cmd.Context(), clear)
				if err != nil {
					return err
				}
				if asJSON {
					return p.printJSON(r)
				}
				_, err = fmt.Fprintf(p.stdout, "%s forgotten.\n", plural(r.Counters, "counter", "counters"))
				return err
			})
		},
	}
	f := c.Flags()
	f.StringVar(&clear.Account, "account", "", "the `DN` of an account")
	f.StringVar(&clear.Source, "source", "", "an `address` or a network")
	f.BoolVar(&clear.All, "all", false, "everything")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	c.MarkFlagsOneRequired("account", "source", "all")
	return c
}
