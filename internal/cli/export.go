package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"portolan/internal/app"
)

func newExport(p *program) *cobra.Command {
	var o app.ExportOptions
	c := &cobra.Command{
		Use:   "export",
		Short: "Write entries as LDIF to standard output",
		Long: "Export writes the directory as it is at one moment, parents before children, as LDIF (RFC 2849). The server may run.\n\n" +
			"Secret attributes, such as password hashes, are left out unless --secrets is given; how many values that were stands on " +
			"standard error. --operational adds the stored operational attributes, so that an import keeps entryUUID and timestamps; " +
			"computed ones such as memberOf are never written. After an error the output is not whole.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.withVerbs(cmd.Context(), func(v app.Verbs) error {
				tell, end := app.Progress(nil), func() {}
				if !isTerminal(p.stdout) {
					tell, end = p.watched("exporting")
				}
				sum, err := v.Export(cmd.Context(), o, p.stdout, tell)
				end()
				if err != nil {
					return err
				}
				if sum.Live > 0 {
					if _, err := fmt.Fprintf(p.stderr, "portolan: not in the export: %s of the schema made through LDAP; they are in schema.ldif beneath data_dir, and go under [schema] files where the export is imported\n",
						plural(int64(sum.Live), "definition", "definitions")); err != nil {
						return err
					}
				}
				if sum.Withheld > 0 {
					_, err = fmt.Fprintf(p.stderr, "portolan: withheld %s of secret attributes: add --secrets to export them\n",
						plural(sum.Withheld, "value", "values"))
				}
				return err
			})
		},
	}
	c.Flags().StringVar(&o.Base, "base", "", "export the entry `DN` and what is beneath it (default everything)")
	c.Flags().StringVar(&o.Filter, "filter", "", "export only entries that match a `filter` (RFC 4515)")
	c.Flags().BoolVar(&o.Secrets, "secrets", false, "write secret attributes too")
	c.Flags().BoolVar(&o.Operational, "operational", false, "write stored operational attributes too")
	return c
}
