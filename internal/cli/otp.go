package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	"rsc.io/qr"

	"portolan/internal/app"
)

func newOTP(p *program) *cobra.Command {
	c := &cobra.Command{
		Use:   "otp",
		Short: "Give accounts a second factor, and take it away",
		Long: "A second factor is a code behind the password of a login, from an authenticator (TOTP, RFC 6238). It is asked for once a " +
			"first code has been seen. Recovery codes stand in for a device that is lost.",
		Args: cobra.NoArgs,
	}
	c.AddCommand(newOTPAdd(p), newOTPConfirm(p), newOTPRecovery(p), newOTPList(p), newOTPRemove(p))
	return c
}

func newOTPAdd(p *program) *cobra.Command {
	var t app.OTPToken
	var picture bool
	c := &cobra.Command{
		Use:   "add DN NAME",
		Short: "Make a token and print its otpauth URI",
		Long: "Add makes a token for the account DN and prints the otpauth URI for an authenticator on standard output, this once; " +
			"with --qr also as a picture on standard error. NAME says which device it is for. The account is asked for codes once the first has been seen: by " +
			"\"portolan otp confirm\", or behind the password of a login.",
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			t.Account, t.Name = args[0], args[1]
			return p.withVerbs(cmd.Context(), func(v app.Verbs) error {
				made, err := v.AddToken(cmd.Context(), t)
				if err != nil {
					return err
				}
				if err := p.printOnce("token", "remove", made.URI); err != nil {
					return err
				}
				if picture {
					if err := printQR(p.stderr, made.URI); err != nil {
						return err
					}
				}
				_, err = fmt.Fprintf(p.stderr, "The token %q of %s waits for its first code. The URI is not shown again.\n", t.Name, t.Account)
				return err
			})
		},
	}
	c.Flags().StringVar(&t.Algorithm, "algorithm", "", "the hash function: SHA1, SHA256 or SHA512 (default: that of the configuration)")
	c.Flags().IntVar(&t.Digits, "digits", 0, "the length of codes: 6 or 8 (default: that of the configuration)")
	c.Flags().IntVar(&t.Period, "period", 0, "how many `seconds` a code is for (default: that of the configuration)")
	c.Flags().StringVar(&t.Description, "description", "", "a `text` for whoever lists it")
	c.Flags().BoolVar(&picture, "qr", false, "print a QR code as well, for a dark terminal")
	return c
}

// printQR writes a QR code in half blocks, two rows a line, light on dark.
func printQR(w io.Writer, text string) error {
	code, err := qr.Encode(text, qr.L)
	if err != nil {
		return err
	}
	const quiet = 2
	var out strings.Builder
	for y := -quiet; y < code.Size+quiet; y += 2 {
		for x := -quiet; x < code.Size+quiet; x++ {
			// Black outside of the code is false, as light is.
			switch upper, lower := code.Black(x, y), code.Black(x, y+1); {
			case upper && lower:
				out.WriteByte(' ')
			case upper:
				out.WriteString("▄")
			case lower:
				out.WriteString("▀")
			default:
				out.WriteString("█")
			}
		}
		out.WriteByte('\n')
	}
	_, err = io.WriteString(w, out.String())
	return err
}

func newOTPConfirm(p *program) *cobra.Command {
	return &cobra.Command{
		Use:   "confirm DN NAME",
		Short: "Confirm a token by a first code, so that codes are asked for",
		Long:  "Confirm asks for a code of the token on a terminal, and reads it from the first line of standard input elsewhere.",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.withVerbs(cmd.Context(), func(v app.Verbs) error {
				if f, ok := p.stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
					fmt.Fprint(p.stderr, "Code: ") // a terminal; if it is gone reading fails too
				}
				line, err := bufio.NewReader(io.LimitReader(p.stdin, maxPasswordLine)).ReadString('\n')
				if err != nil && !errors.Is(err, io.EOF) {
					return fmt.Errorf("the code cannot be read: %w", err)
				}
				if err := v.ConfirmToken(cmd.Context(), app.OTPConfirmation{Account: args[0], Name: args[1], Code: strings.TrimSpace(line)}); err != nil {
					return err
				}
				_, err = fmt.Fprintf(p.stderr, "The token %q is confirmed: from now on %s needs a code to log in.\n", args[1], args[0])
				return err
			})
		},
	}
}

func newOTPRecovery(p *program) *cobra.Command {
	return &cobra.Command{
		Use:   "recovery DN",
		Short: "Make recovery codes and print them",
		Long: "Recovery makes recovery codes for the account DN and prints them on standard output, one a line, this once. Each serves once " +
			"in the place of a code. Codes of before are void.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.withVerbs(cmd.Context(), func(v app.Verbs) error {
				made, err := v.RecoveryCodes(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				if err := p.printOnce("recovery codes", "remove", made.Codes...); err != nil {
					return err
				}
				_, err = fmt.Fprintf(p.stderr, "These are not shown again; those of before are void.\n")
				return err
			})
		},
	}
}

func newOTPList(p *program) *cobra.Command {
	return newListing(p, "List the tokens and recovery codes of an account", app.Verbs.Factors,
		[]string{"NAME", "KIND", "CREATED", "LAST USE", "STATE"},
		func(f *app.OTPFactor) []string {
			return []string{f.Name, f.Kind, day(f.Created, "-"), day(f.LastUse, "never"), factorState(f)}
		})
}

func factorState(f *app.OTPFactor) string {
	switch {
	case f.Kind != "token":
		return fmt.Sprintf("%d left", f.Left)
	case f.Confirmed:
		return "in force"
	}
	return "waits for its first code"
}

func newOTPRemove(p *program) *cobra.Command {
	return newRemoval(p, "remove", "Remove a token",
		"Remove deletes a token of the account DN, or with --all every one and the recovery codes: the account logs in with its "+
			"password alone then, unless the configuration requires a second factor of it.",
		"name the token to remove", "remove every token, and the recovery codes", app.Verbs.RemoveFactors,
		func(account string, names []string) string {
			return fmt.Sprintf("Removed from %s: %s.", account, orElse(strings.Join(names, ", "), "nothing, there was none"))
		})
}
