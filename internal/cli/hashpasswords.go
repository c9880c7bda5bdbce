package cli

import (
	"errors"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"portolan/internal/app"
)

// newHashPasswords is what a server starts to have passwords hashed: see package hasher. It is of no use to people.
func newHashPasswords(p *program) *cobra.Command {
	return &cobra.Command{
		Use:    app.HashCommand,
		Hidden: true,
		Short:  "Hash passwords for a server, which starts this by itself",
		Args:   cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if f, ok := p.stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
				return failure(exitMisused, errors.New("only a server has a use for this, and starts it by itself"))
			}
			// What ends a server should not take from it what it still has to answer: this ends when the server lets go of it.
			signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
			return app.HashPasswords(p.stdin, p.stdout, p.stderr)
		},
	}
}
