package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"portolan/internal/app"
)

func newImport(p *program) *cobra.Command {
	var o app.ImportOptions
	var rejects string
	var profiles profiles
	c := &cobra.Command{
		Use:   "import FILE.ldif...",
		Short: "Load entries into a stopped server's store",
		Long: "Import loads entries from LDIF files, or from standard input with \"-\", into the store of a server that does not run. " +
			"Parents come before children. One bad record means that nothing is loaded, and the error says file and line; with " +
			"--continue bad records are left out. The store must be empty, or --replace replaces everything in it; --add adds to it, " +
			"entry by entry, and keeps what it has added when a later one fails.\n\n" +
			"entryUUID, timestamps and entryCSN are taken from the file where it has them. Clear passwords are hashed, which takes a " +
			"moment for each; hashes of other servers are taken as they are. Attributes that the server computes, such as memberOf, " +
			"are dropped and counted.",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, files []string) (err error) {
			if o.Replace && o.Add {
				return failure(exitMisused, errors.New("--replace and --add exclude each other: name one"))
			}
			if rejects != "" && !o.Continue {
				return failure(exitMisused, errors.New("--rejects is for --continue: name both"))
			}
			cfg, err := p.loadConfig()
			if err != nil {
				return err
			}
			total := int64(0)
			for _, name := range files {
				source, err := p.importSource(name)
				if err != nil {
					return err
				}
				total += source.Size
				o.Sources = append(o.Sources, source)
			}
			if rejects != "" {
				f, err := os.OpenFile(rejects, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
				if err != nil {
					return fmt.Errorf("the reject file cannot be written: %w", err)
				}
				defer func() { err = errors.Join(err, f.Close()) }()
				o.Rejects = f
			}
			if total == 0 {
				total = -1
			}
			bar := newProgress(p.stderr, "importing", total)
			o.Progress = func(done, _ int64) { bar.Set(done) }
			o.Version = p.version
			profiled, err := profiles.begin()
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, profiled()) }()
			sum, err := app.Import(cmd.Context(), cfg, o)
			bar.Done()
			if err != nil {
				return err
			}
			return p.importSummary(sum)
		},
	}
	profiles.flags(c)
	f := c.Flags()
	f.BoolVar(&o.Replace, "replace", false, "replace everything in the store")
	f.BoolVar(&o.Add, "add", false, "add to what is in the store")
	f.BoolVar(&o.Continue, "continue", false, "leave out bad records")
	f.StringVar(&rejects, "rejects", "", "the `file` for the records that were left out, with the reasons")
	return c
}

func (p *program) importSource(name string) (app.ImportSource, error) {
	if name == "-" {
		return app.ImportSource{Name: "standard input", Open: func() (io.ReadCloser, error) { return io.NopCloser(p.stdin), nil }}, nil
	}
	info, err := os.Stat(name)
	if err != nil {
		return app.ImportSource{}, fmt.Errorf("the file cannot be read: %w", err)
	}
	return app.ImportSource{Name: name, Size: info.Size(), Open: func() (io.ReadCloser, error) { return os.Open(name) }}, nil
}

// importSummary prints what was done; findings make the exit code 1.
func (p *program) importSummary(sum *app.ImportSummary) error {
	rate := float64(sum.Entries) / max(sum.Took.Seconds(), 0.001)
	fmt.Fprintf(p.stdout, "%s in %s (%.0f a second)\n", plural(sum.Entries, "entry", "entries"), sum.Took.Round(time.Millisecond), rate)
	if sum.Hashed > 0 {
		fmt.Fprintf(p.stdout, "%s hashed\n", plural(sum.Hashed, "clear password was", "clear passwords were"))
	}
	if sum.Dropped > 0 {
		fmt.Fprintf(p.stdout, "%s dropped\n", plural(sum.Dropped, "value of an attribute that the server computes was", "values of attributes that the server computes were"))
	}
	if sum.Rejected > 0 {
		fmt.Fprintf(p.stderr, "portolan: %s left out\n", plural(sum.Rejected, "record was", "records were"))
	}
	if sum.Unusable > 0 {
		fmt.Fprintf(p.stderr, "portolan: %s kept\n", plural(sum.Unusable, "stored password of a form that nobody can log in with here was",
			"stored passwords of forms that nobody can log in with here were"))
	}
	for _, f := range sum.Findings {
		fmt.Fprintf(p.stderr, "portolan: %s: %s: %s; %s\n", f.Part, f.Where, f.What, f.Advice)
	}
	if sum.Broken > 0 {
		return failure(exitFailed, fmt.Errorf("the entries are loaded, but %s of what overlays keep: \"portolan check\" lists all",
			plural(sum.Broken, "entry breaks a rule", "entries break rules")))
	}
	return nil
}
