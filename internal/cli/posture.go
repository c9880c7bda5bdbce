package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"portolan/internal/app"
	"portolan/internal/posture"
)

func newPosture(p *program) *cobra.Command {
	var asJSON bool
	var accepted []string
	o := app.PostureOptions{}
	c := &cobra.Command{
		Use:   "posture",
		Short: "List what is weaker than the secure defaults",
		Long: "Posture reads the configuration and what it names on this host, changes nothing, and lists every deviation from the " +
			"secure defaults: how bad it is, where it stands, what it means, and what to write instead. Run it as root or as the " +
			"server's user, who can see the files.\n\n" +
			"The exit code is 0 when nothing deviates, 1 when something does, and 2 when the configuration cannot be used or " +
			"something cannot be looked at. A deviation that is meant is accepted by the name that the list gives it: it is shown, and " +
			"does not count.",
		Example: "  portolan posture --config /etc/portolan/portolan.toml\n" +
			"  portolan posture --config portolan.toml --settings-only --accept access-secrets=replica",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := p.loadConfig()
			if err != nil {
				return err
			}
			o.Now = time.Now()
			findings, err := app.Posture(cfg, o)
			if err != nil {
				return failure(exitMisused, err)
			}
			report := newPostureReport(cfg.File(), findings, accepted)
			if asJSON {
				err = p.printJSON(report)
			} else {
				err = printPosture(p.stdout, report)
			}
			if err == nil && len(report.Unused) > 0 && !asJSON {
				fmt.Fprintf(p.stderr, "portolan: warning: accepted, but not found: %s\n", strings.Join(report.Unused, ", "))
			}
			if err == nil && len(report.Findings) > 0 {
				err = failure(exitFailed, nil)
			}
			return err
		},
	}
	f := c.Flags()
	f.BoolVar(&asJSON, "json", false, "print JSON")
	f.BoolVar(&o.SettingsOnly, "settings-only", false, "look at the configuration alone: not at certificates, passwords, modes of files, the server's user")
	f.StringArrayVar(&accepted, "accept", nil, "a deviation that is meant, by its `name`; may be given several times")
	return c
}

// postureReport is what the command prints.
type postureReport struct {
	Config string `json:"config"`
	// Findings count, Accepted do not.
	Findings []posture.Finding `json:"findings"`
	Accepted []posture.Finding `json:"accepted"`
	// Unused are names that were accepted and not found.
	Unused []string `json:"unused"`
}

func newPostureReport(config string, findings []posture.Finding, accepted []string) *postureReport {
	r := &postureReport{Config: config, Findings: []posture.Finding{}, Accepted: []posture.Finding{}, Unused: []string{}}
	used := make(map[string]bool)
	for _, name := range accepted {
		used[name] = false
	}
	for _, f := range findings {
		if _, meant := used[f.Name()]; meant {
			used[f.Name()] = true
			r.Accepted = append(r.Accepted, f)
			continue
		}
		r.Findings = append(r.Findings, f)
	}
	for _, name := range accepted {
		if !used[name] {
			r.Unused = append(r.Unused, name)
		}
	}
	return r
}

// printPosture writes the report for people and for editors, which find the places.
func printPosture(to io.Writer, r *postureReport) (err error) {
	say := func(format string, args ...any) {
		if err == nil {
			_, err = fmt.Fprintf(to, format, args...)
		}
	}
	place := func(f *posture.Finding) string {
		if f.Line == 0 {
			return f.File
		}
		return fmt.Sprintf("%s:%d:%d", f.File, f.Line, f.Column)
	}
	for i := range r.Findings {
		f := &r.Findings[i]
		say("%s: %s %s: %s\n    means: %s\n    %s\n", place(f), strings.ToUpper(string(f.Severity)), f.Name(), f.Seen, f.Means, f.Fix)
	}
	for i := range r.Accepted {
		say("%s: accepted %s: %s\n", place(&r.Accepted[i]), r.Accepted[i].Name(), r.Accepted[i].Seen)
	}
	switch n := len(r.Findings); {
	case n > 0:
		say("%s from the secure defaults\n", plural(n, "deviation", "deviations"))
	case len(r.Accepted) > 0:
		say("nothing else deviates from the secure defaults\n")
	default:
		say("nothing deviates from the secure defaults\n")
	}
	return err
}
