package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"portolan/internal/app"
)

func newCheckConfig(p *program) *cobra.Command {
	return &cobra.Command{
		Use:   "check-config",
		Short: "Check the configuration",
		Long: "Check-config reads the configuration and everything that it names but the data, and says what is wrong with it: " +
			"one line for each mistake, file:line:column first. The exit code is 2 where there is one.",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			c, err := p.loadConfig()
			if err != nil {
				return err
			}
			warnings, err := app.CheckConfig(c)
			for _, w := range warnings {
				fmt.Fprintln(p.stderr, "portolan: warning: "+w)
			}
			if err != nil {
				return failure(exitMisused, err)
			}
			_, err = fmt.Fprintln(p.stdout, "configuration is good")
			return err
		},
	}
}
