package cli

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"portolan/internal/access"
	"portolan/internal/app"
)

func newACLTest(p *program) *cobra.Command {
	var asJSON, inForce bool
	c := &cobra.Command{
		Use:   "test FILE",
		Short: "Verify that access rules give what you expect of them",
		Long: "Test reads expectations, one a line, and says of each that is not met what the rules give, which rule decides so, where it " +
			"stands, and why. The exit code is 0 when all are met, 1 when one is not, and 2 when the file has a mistake. FILE may be \"-\".\n\n" +
			"    let alice = uid=alice,ou=people,dc=example,dc=org\n" +
			"    let bob   = uid=bob,ou=people,dc=example,dc=org\n" +
			"    alice: mail of bob = search, read, compare        # these rights and no other\n" +
			"    alice: userPassword, employeeNumber of bob may not read, write\n" +
			"    alice from 10.5.0.7 over clear: bob may not read\n" +
			"    anonymous: \"ou=people,dc=example,dc=org\" = none\n\n" +
			"The rules are those of the configuration file as it is now, so that they can be tested before a running server is told of " +
			"them; the entries are the directory's. Clients are taken to bind over TLS of 256 bits from 127.0.0.1 where nothing else is written. " +
			"docs/access.md has the whole form.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := p.loadConfig()
			if err != nil {
				return err
			}
			name, text, err := p.expectations(args[0])
			if err != nil {
				return err
			}
			t := app.AccessTest{InForce: inForce}
			if t.Expectations, err = access.ParseExpectations(name, text); err != nil {
				return failure(exitMisused, err)
			}
			return p.administer(cmd.Context(), cfg, func(v app.Verbs) error {
				verdict, err := v.TestAccess(cmd.Context(), t)
				if err != nil {
					return err
				}
				if asJSON {
					err = p.printJSON(verdict)
				} else {
					err = printVerdict(p.stdout, name, verdict)
				}
				if err == nil && len(verdict.Failures) > 0 {
					err = failure(exitFailed, nil)
				}
				return err
			})
		},
	}
	c.Flags().BoolVar(&inForce, "in-force", false, "test the rules that the running server goes by, not those of the file")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (p *program) expectations(file string) (name, text string, err error) {
	var b []byte
	if file == "-" {
		b, err = io.ReadAll(p.stdin)
		return "standard input", string(b), err
	}
	if b, err = os.ReadFile(file); err != nil {
		return "", "", failure(exitMisused, err)
	}
	return file, string(b), nil
}

// printVerdict writes what is not as expected, each at its line, and a last line with the numbers.
func printVerdict(to io.Writer, file string, v *app.AccessVerdict) (err error) {
	say := func(format string, args ...any) {
		if err == nil {
			_, err = fmt.Fprintf(to, format, args...)
		}
	}
	for i := range v.Failures {
		f := &v.Failures[i]
		say("%s:%d: %s\n", file, f.Line, f.Text)
		about := ""
		if f.Attribute != "" {
			about = " on " + f.Attribute
		}
		if f.Problem != "" {
			say("    cannot be asked: %s\n", f.Problem)
			continue
		}
		say("    the rules give%s: %s\n", about, f.Rights)
		for j := range f.Rules {
			r := &f.Rules[j]
			say("    %s: %s [%s %s]\n", ruleName(r), r.Reason, verb(r.Allows), r.Decides)
		}
	}
	if n := len(v.Failures); n > 0 {
		say("%d of %s not met\n", n, plural(n+v.Passed, "expectation is", "expectations are"))
		return err
	}
	say("%s met\n", plural(v.Passed, "expectation is", "expectations are"))
	return err
}
