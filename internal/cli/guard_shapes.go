package cli

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"portolan/internal/app"
	"portolan/internal/guard/shapes"
)

func newGuardShapes(p *program) *cobra.Command {
	var q app.ShapesQuery
	var asJSON bool
	c := &cobra.Command{
		Use:   "shapes [DN]",
		Short: "List how the filters of an application are built, and approve or remove shapes",
		Long: "Shapes lists the identities whose filters were seen, with what is done about them. With a DN, or \"anonymous\", it lists " +
			"the shapes of one: filters without their values, how often and since when they were seen, and an example as the " +
			"application writes it. Those that are not approved stand first.\n\n" +
			"--approve and --remove take the ID of a shape, \"all\", or a filter in parentheses, which stands for its shape whether it was seen or " +
			"not: values in it do not count. Removing a shape under enforcement means that it is refused from then on.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				q.DN = args[0]
			}
			return p.filterShapes(cmd.Context(), q, asJSON)
		},
	}
	c.Flags().StringArrayVar(&q.Approve, "approve", nil, "approve a `shape`; may be repeated")
	c.Flags().StringArrayVar(&q.Remove, "remove", nil, "forget a `shape`; may be repeated")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func newGuardLearn(p *program) *cobra.Command {
	q := app.ShapesQuery{Mode: shapes.Learn.String()}
	var asJSON bool
	var lasts time.Duration
	c := &cobra.Command{
		Use:   "learn DN",
		Short: "Approve the filter shapes that an application sends from now on",
		Long: "Learn approves every shape that the application sends while it lasts; then unknown shapes raise the alarm, as after " +
			"\"portolan guard enforce --mode warn\". An injection that happens meanwhile is learned too: look at the list before you enforce " +
			"it. Choose a time in which the application does all that it ever does.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if lasts < 0 || lasts > 0 && lasts < time.Second {
				return failure(exitMisused, errors.New("--for: write a duration such as 24h, or 0 for until further notice"))
			}
			q.DN, q.For = args[0], int64(lasts/time.Second)
			return p.filterShapes(cmd.Context(), q, asJSON)
		},
	}
	c.Flags().DurationVar(&lasts, "for", 7*24*time.Hour, "how long; 0 for until further notice")
	c.Flags().BoolVar(&q.Observed, "observed", false, "approve also what was observed until now")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func newGuardEnforce(p *program) *cobra.Command {
	var q app.ShapesQuery
	var asJSON bool
	c := &cobra.Command{
		Use:   "enforce DN",
		Short: "Refuse filters whose shape is not approved, or only warn of them",
		Long: "Enforce sets what is done with filters of shapes that are not approved: \"enforce\" refuses them with unwillingToPerform, " +
			"\"warn\" lets them through; both write a line in the audit log. \"observe\" only records them, as for identities about which nothing " +
			"was decided, and \"off\" does not look at them. What was approved stays so.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := shapes.ParseMode(q.Mode); err != nil || q.Mode == shapes.Learn.String() {
				return failure(exitMisused, fmt.Errorf("--mode: write enforce, warn, observe or off, not %q", q.Mode))
			}
			q.DN = args[0]
			return p.filterShapes(cmd.Context(), q, asJSON)
		},
	}
	c.Flags().StringVar(&q.Mode, "mode", shapes.Enforce.String(), "enforce, warn, observe or off")
	c.Flags().BoolVar(&q.Observed, "observed", false, "approve first what was observed until now")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// filterShapes asks and prints the answer.
func (p *program) filterShapes(ctx context.Context, q app.ShapesQuery, asJSON bool) error {
	return p.withVerbs(ctx, func(v app.Verbs) error {
		a, err := v.FilterShapes(ctx, q)
		switch {
		case err != nil:
			return err
		case asJSON:
			return p.printJSON(a)
		case q.DN == "":
			return p.printIdentities(a.Identities)
		}
		return p.printShapes(&a.Identities[0], a.Shapes)
	})
}

func (p *program) printIdentities(list []shapes.Identity) error {
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "IDENTITY\tMODE\tAPPROVED\tOTHERS\tWARNED\tREFUSED\tLAST SEEN") // the error comes with Flush
	for _, i := range list {
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%d\t%s\n", i.DN, modeOf(&i), i.Approved, i.Pending, i.Warned, i.Refused, seen(i.Last))
	}
	return w.Flush()
}

// modeOf says what is done with filters.
func modeOf(i *shapes.Identity) string {
	switch {
	case !i.Decided:
		return i.Mode + " (by default)"
	case !i.Until.IsZero():
		return i.Mode + " until " + seen(i.Until)
	}
	return i.Mode
}

func seen(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04")
}

func (p *program) printShapes(i *shapes.Identity, list []shapes.Shape) error {
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%s: %s, %d approved, %d not; %d warned of, %d refused\n", i.DN, modeOf(i), i.Approved, i.Pending, i.Warned, i.Refused)
	if i.Lost > 0 {
		fmt.Fprintf(w, "%d filters had shapes for which there was no room beside %d others: this is not an application with a fixed set of filters\n",
			i.Lost, shapes.MaxShapes)
	}
	if len(list) == 0 {
		return w.Flush()
	}
	fmt.Fprintln(w, "ID\tAPPROVED\tCOUNT\tFIRST SEEN\tLAST SEEN\tFROM\tSHAPE")
	for _, s := range list {
		approved := "no"
		if s.Approved {
			approved = "yes"
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%s\t%s\n", s.ID, approved, s.Count, seen(s.First), seen(s.Last), s.From, s.Shape)
		if s.Example != s.Shape {
			fmt.Fprintf(w, "\t\t\t\t\t\t  as %s\n", s.Example)
		}
	}
	return w.Flush()
}
