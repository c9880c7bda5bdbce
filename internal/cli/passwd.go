package cli

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"portolan/internal/app"
)

func newPasswd(p *program) *cobra.Command {
	var change app.PasswordChange
	c := &cobra.Command{
		Use:   "passwd [DN]",
		Short: "Set a password",
		Long: "Passwd sets the password of an entry, or without DN that of the administrator, whose hash it writes into " +
			"directory.admin_password_file. It works with and without a running server, for root and for the server's user.\n\n" +
			"The password is asked for twice on a terminal and is otherwise the first line of standard input; it never stands on the " +
			"command line. --generate makes one and prints it once.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				if change.DN = args[0]; change.DN == "" {
					return failure(exitMisused, errors.New("the DN is empty: leave it out for the administrator's password"))
				}
			}
			cfg, err := p.loadConfig()
			if err != nil {
				return err
			}
			if !change.Generate {
				if change.Password, err = p.newPassword(); err != nil {
					return err
				}
			}
			return p.administer(cmd.Context(), cfg, func(v app.Verbs) error {
				set, err := v.SetPassword(cmd.Context(), change)
				if err != nil {
					return err
				}
				if set.Generated != "" {
					if _, err := fmt.Fprintln(p.stdout, set.Generated); err != nil {
						return fmt.Errorf("the password was changed, but could not be printed: set it again: %w", err)
					}
				}
				text := "The password of " + set.DN + " was changed."
				if set.File != "" {
					text = "The password of " + set.DN + " was changed; its hash is in " + set.File + "."
				}
				_, err = fmt.Fprintln(p.stderr, text)
				return err
			})
		},
	}
	c.Flags().BoolVar(&change.Generate, "generate", false, "make a password and print it")
	return c
}

// newPassword asks for a password twice on a terminal, and reads one line elsewhere.
func (p *program) newPassword() ([]byte, error) {
	f, ok := p.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return readPassword(p.stdin)
	}
	ask := func(prompt string) ([]byte, error) {
		fmt.Fprint(p.stderr, prompt) // a terminal; if it is gone reading fails too
		b, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(p.stderr)
		return b, err
	}
	one, err := ask("New password: ")
	if err != nil {
		return nil, fmt.Errorf("the password cannot be read: %w", err)
	}
	two, err := ask("The same again: ")
	if err != nil {
		return nil, fmt.Errorf("the password cannot be read: %w", err)
	}
	if !bytes.Equal(one, two) {
		return nil, errors.New("the two are not the same: nothing was changed")
	}
	if len(one) == 0 {
		return nil, errors.New("the new password is empty: nothing was changed")
	}
	return one, nil
}

// maxPasswordLine bounds the line that a password is read from.
const maxPasswordLine = 4096

func readPassword(in io.Reader) ([]byte, error) {
	line, err := bufio.NewReader(io.LimitReader(in, maxPasswordLine)).ReadBytes('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("the password cannot be read: %w", err)
	}
	line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
	if len(line) == 0 {
		return nil, errors.New("the new password is empty: give it on the first line of standard input, or use --generate")
	}
	return line, nil
}
