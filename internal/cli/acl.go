package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"portolan/internal/app"
)

func newACL(p *program) *cobra.Command {
	c := &cobra.Command{
		Use:   "acl",
		Short: "Ask about access rules",
		Args:  cobra.NoArgs,
	}
	c.AddCommand(newACLExplain(p), newACLTest(p))
	return c
}

func newACLExplain(p *program) *cobra.Command {
	var q app.AccessQuestion
	var asJSON bool
	c := &cobra.Command{
		Use:   "explain --as DN --on DN [--attr ATTRIBUTE]",
		Short: "Say which rule grants or hides what, and why",
		Long: "Explain says what a client may do with an entry, or with one attribute of it, and which rule decides each right. Rules " +
			"that do not apply are listed with the reason. A running server answers by the rules in force, a stopped one's store by " +
			"those of the configuration file.\n\n" +
			"Rules may depend on the connection: it is taken to be a simple bind over TLS of 256 bits from 127.0.0.1, unless the flags say " +
			"otherwise.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.withVerbs(cmd.Context(), func(v app.Verbs) error {
				a, err := v.ExplainAccess(cmd.Context(), q)
				if err != nil {
					return err
				}
				if asJSON {
					return p.printJSON(a)
				}
				return printAnswer(p.stdout, a)
			})
		},
	}
	f := c.Flags()
	f.StringVar(&q.As, "as", "", "the `DN` of the client, or \"anonymous\"")
	f.StringVar(&q.On, "on", "", "the `DN` of the entry")
	f.StringVar(&q.Attribute, "attr", "", "an `attribute` of it (default the entry itself)")
	f.StringVar(&q.From, "from", "127.0.0.1", "the client's `address`; empty for a Unix socket")
	f.IntVar(&q.TLS, "tls", 256, "the strength of TLS in `bits`; 0 for none")
	f.StringVar(&q.Method, "method", "simple", "how the client authenticated: simple, or a SASL `mechanism`")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	for _, name := range []string{"as", "on"} {
		if err := c.MarkFlagRequired(name); err != nil {
			panic(err) // the flag is defined above
		}
	}
	return c
}

// printAnswer writes the answer: first what is allowed, then the rules that decide, then the others.
func printAnswer(to io.Writer, a *app.AccessAnswer) (err error) {
	say := func(format string, args ...any) {
		if err == nil {
			_, err = fmt.Fprintf(to, format, args...)
		}
	}
	what := "the entry itself"
	if a.Attribute != "" {
		what = a.Attribute
	}
	say("%s on %s of %s: %s\n", a.As, what, a.On, a.Rights)
	if !a.OnExists {
		say("There is no entry %s: rules that look at the entry do not apply.\n", a.On)
	}
	if !a.AsExists && a.As != "anonymous" {
		say("There is no entry %s: rules by group do not apply to it.\n", a.As)
	}
	for _, deciding := range []bool{true, false} {
		title := "\nDecided by:\n"
		if !deciding {
			title = "\nAlso considered:\n"
		}
		for _, r := range a.Rules {
			if (r.Decides != "none") != deciding {
				continue
			}
			say("%s", title)
			title = ""
			say("  %s: %s", ruleName(&r), r.Reason)
			if deciding {
				say(" [%s %s]", verb(r.Allows), r.Decides)
			}
			say("\n")
		}
	}
	return err
}

func verb(allows bool) string {
	if allows {
		return "allowed:"
	}
	return "not allowed:"
}

func ruleName(r *app.AccessRule) string {
	switch {
	case r.Rule == "" && r.Origin == "":
		return "no rule"
	case r.Rule == "":
		return r.Origin
	case r.Origin == "":
		return r.Rule
	}
	return r.Rule + " (" + r.Origin + ")"
}
