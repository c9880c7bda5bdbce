package cli

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"portolan/internal/app"
)

func newCheck(p *program) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "check",
		Short: "Verify store, indexes, journal and references",
		Long: "Check verifies the store against itself, entry by entry and index by index, and what overlays keep: references, unique " +
			"values. A running server goes on working. Each defect is one line; the exit code is 1 if there is any.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.withVerbs(cmd.Context(), func(v app.Verbs) error { return p.check(cmd, v, asJSON) })
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print each defect, and at the end the summary, as a line of JSON")
	return c
}

func (p *program) check(cmd *cobra.Command, v app.Verbs, asJSON bool) error {
	var broken error
	note := func(_ int, err error) {
		if broken == nil {
			broken = err
		}
	}
	line := func(x any) {
		b, err := json.Marshal(x)
		note(0, err)
		note(fmt.Fprintln(p.stdout, string(b)))
	}
	tell, end := p.watched("checking")
	sum, err := v.Check(cmd.Context(), func(f app.Finding) {
		if asJSON {
			line(f)
			return
		}
		note(fmt.Fprintf(p.stdout, "%s: %s: %s: %s\n", f.Part, f.Where, f.What, f.Advice))
	}, tell)
	end()
	if err != nil {
		return err
	}
	if asJSON {
		line(sum)
	} else {
		note(fmt.Fprintf(p.stdout, "Checked %s, %d index postings, %s, overlays %s: %s.\n", plural(sum.Entries, "entry", "entries"),
			sum.Postings, plural(sum.Records, "journal record", "journal records"), strings.Join(sum.Overlays, ", "), verdict(sum.Findings)))
	}
	if broken != nil {
		return broken
	}
	if sum.Findings > 0 {
		return failure(exitFailed, nil)
	}
	return nil
}

func verdict(findings int64) string {
	if findings == 0 {
		return "no defect"
	}
	return plural(findings, "defect", "defects")
}
