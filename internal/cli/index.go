package cli

import (
	"fmt"
	"strconv"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"portolan/internal/app"
)

func newIndex(p *program) *cobra.Command {
	c := &cobra.Command{
		Use:   "index",
		Short: "List, build and drop indexes",
		Long: "An index belongs to the configuration: the table [index] names the attributes that are indexed besides the built-in " +
			"ones. At its start a server builds what is new there, in the background, and drops what is gone. These commands do the " +
			"same for one index without a restart, and make one anew.",
		Args: cobra.NoArgs,
	}
	c.AddCommand(newIndexList(p), newIndexBuild(p), newIndexDrop(p))
	return c
}

func newIndexList(p *program) *cobra.Command {
	var asJSON, quick bool
	c := &cobra.Command{
		Use:   "list",
		Short: "List the indexes, their state and what they hold",
		Long: "List shows for each index whether it is ready, how many keys it has (values, or for substring pieces of three octets), " +
			"and how many postings: entries under each key, added up. Counting reads the indexes, which takes a while with millions of entries; " +
			"--quick leaves it out.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.withVerbs(cmd.Context(), func(v app.Verbs) error {
				list, err := v.Indexes(cmd.Context(), !quick)
				if err != nil {
					return err
				}
				if asJSON {
					return p.printJSON(list)
				}
				w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
				fmt.Fprintln(w, "ATTRIBUTE\tKIND\tSTATE\tKEYS\tPOSTINGS\tASKED FOR BY") // the error comes with Flush
				for _, x := range list {
					state := x.State
					if x.Total > 0 {
						state = fmt.Sprintf("%s (%d of about %d entries)", state, x.Done, x.Total)
					}
					keys, entries := "-", "-"
					if x.Size != nil {
						keys, entries = strconv.FormatInt(x.Size.Keys, 10), strconv.FormatInt(x.Size.Postings, 10)
					}
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", x.Attribute, x.Kind, state, keys, entries, x.Origin)
				}
				return w.Flush()
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().BoolVar(&quick, "quick", false, "do not count keys and postings")
	return c
}

func newIndexBuild(p *program) *cobra.Command {
	var kind string
	c := &cobra.Command{
		Use:   "build ATTRIBUTE",
		Short: "Build a configured index, or make it anew",
		Long: "Build builds an index that [index] of the configuration file names and the running server does not have yet, or makes " +
			"one anew, waits until it is ready, and verifies it against the entries. Until then searches do without it. Indexes that the server itself relies on, " +
			"for group membership and logins, are made anew only while it is stopped.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.withVerbs(cmd.Context(), func(v app.Verbs) error {
				tell, end := p.watched("building the index")
				x, err := v.BuildIndex(cmd.Context(), app.IndexName{Attribute: args[0], Kind: kind}, tell)
				end()
				if err != nil {
					return err
				}
				_, err = fmt.Fprintf(p.stdout, "The %s index on %s is ready and verified: %d keys, %d postings.\n",
					x.Kind, x.Attribute, x.Size.Keys, x.Size.Postings)
				return err
			})
		},
	}
	kindFlag(c, &kind)
	return c
}

func newIndexDrop(p *program) *cobra.Command {
	var kind string
	c := &cobra.Command{
		Use:   "drop ATTRIBUTE",
		Short: "Drop an index that is not configured any more",
		Long: "Drop drops an index that was removed from [index] of the configuration file. The server would do so at its next start; " +
			"this makes its space free now.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.withVerbs(cmd.Context(), func(v app.Verbs) error {
				if err := v.DropIndex(cmd.Context(), app.IndexName{Attribute: args[0], Kind: kind}); err != nil {
					return err
				}
				_, err := fmt.Fprintf(p.stdout, "There is no %s index on %s any more.\n", kind, args[0])
				return err
			})
		},
	}
	kindFlag(c, &kind)
	return c
}

func kindFlag(c *cobra.Command, kind *string) {
	c.Flags().StringVar(kind, "kind", "equality", "what it answers: equality, substring or ordering")
}
