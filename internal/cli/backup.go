package cli

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"portolan/internal/app"
)

func newBackup(p *program) *cobra.Command {
	return &cobra.Command{
		Use:   "backup DIR",
		Short: "Make a backup, also of a running server",
		Long: "Backup writes into DIR, which must not exist or be empty, a copy of the store that can be opened as it is, the " +
			"configuration, certificates, keys and the administrator's password file, and a manifest with the SHA-256 of every file. " +
			"The server goes on working. On a failure everything that was written is removed.\n\n" +
			"DIR is written by the server when it runs: its user must be able to. The backup holds everything that is secret about " +
			"the server. On the file system of data_dir it takes little space, because tables are linked rather than copied; copy it " +
			"to another machine.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := p.loadConfig()
			if err != nil {
				return err
			}
			dir, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			return p.administer(cmd.Context(), cfg, func(v app.Verbs) error {
				tell, end := p.watched("backing up")
				m, err := v.Backup(cmd.Context(), dir, tell)
				end()
				if err != nil {
					return err
				}
				_, err = fmt.Fprintf(p.stdout, "Backed up %s (%s in %s) to %s\n",
					plural(m.Entries, "entry", "entries"), octets(m.Size()), plural(len(m.Files), "file", "files"), dir)
				return err
			})
		},
	}
}
