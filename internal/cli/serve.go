package cli

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"portolan/internal/app"
)

func newServe(p *program) *cobra.Command {
	var profiles profiles
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run the server",
		Long: "Serve runs the server until SIGTERM or an interrupt, upon which operations in progress are finished; a second one ends " +
			"it at once. SIGHUP reloads the configuration and certificates and reopens the logs. When every listener is open the line " +
			"\"portolan: ready\" is written to standard error.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			c, err := p.loadConfig()
			if err != nil {
				return err
			}
			profiled, err := profiles.begin()
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, profiled()) }()
			ctx, release := p.serving(cmd.Context())
			defer release()
			reload := make(chan os.Signal, 1)
			signal.Notify(reload, syscall.SIGHUP)
			defer signal.Stop(reload)
			return app.Serve(ctx, c, app.ServeOptions{Version: p.version, Stderr: p.stderr, Program: true}, reload)
		},
	}
	profiles.flags(c)
	return c
}

// serving returns a context that ends with parent; from then on a signal ends the process at once.
func (p *program) serving(parent context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(parent)
	context.AfterFunc(ctx, p.release)
	return ctx, cancel
}
