package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"portolan/internal/app"
)

func newRestore(p *program) *cobra.Command {
	o := app.RestoreOptions{}
	c := &cobra.Command{
		Use:   "restore DIR",
		Short: "Put a backup back",
		Long: "Restore verifies a backup made by \"portolan backup\" file by file and puts its store into data_dir. The server must be " +
			"stopped. A store that holds entries stays unless --replace is given. The configuration, certificates and keys of the " +
			"backup are in its folder files, and manifest.json says where each came from: put back by hand what you want back.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := p.loadConfig()
			if err != nil {
				return err
			}
			o.Dir, o.Version = args[0], p.version
			bar := newProgress(p.stderr, "verifying", -1)
			o.Progress = func(done, _ int64) { bar.Set(done) }
			m, err := app.Restore(cmd.Context(), cfg, o)
			bar.Done()
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(p.stdout, "restored the state of %s: %d entries of %s, journal up to %d\nNow run \"portolan check\", then start the server.\n",
				m.Time.Format("2006-01-02 15:04:05 MST"), m.Entries, strings.Join(m.Suffixes, ", "), m.Seq)
			return err
		},
	}
	c.Flags().BoolVar(&o.Replace, "replace", false, "take the place of a store that holds entries")
	return c
}
