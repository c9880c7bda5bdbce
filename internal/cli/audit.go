package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"portolan/internal/app"
	"portolan/internal/audit"
	"portolan/internal/config"
	"portolan/ldap"
)

func newAudit(p *program) *cobra.Command {
	c := &cobra.Command{
		Use:   "audit",
		Short: "Read and verify the audit log",
		Long: "The audit log has a line for each security event and each write, and every line is bound to the one before it by a MAC. " +
			"These commands read it, show whether anybody changed it, and print what to keep elsewhere so that not even somebody who " +
			"has the key could.",
		Args: cobra.NoArgs,
	}
	c.AddCommand(newAuditVerify(p), newAuditAnchor(p), newAuditTail(p))
	return c
}

func newAuditVerify(p *program) *cobra.Command {
	var anchor, key string
	var asJSON bool
	c := &cobra.Command{
		Use:   "verify [FILE]",
		Short: "Find what was changed in the audit log",
		Long: "Verify reads all files of the audit log and finds every line that was removed, altered, reordered, inserted or cut off " +
			"the end, with its file and line. It holds the log against the seal that the store keeps and against anchors that were " +
			"kept elsewhere. A line that the end of the process cut short is told from tampering.\n\n" +
			"With FILE and --key it verifies a copy, away from the server: FILE is the newest file, the others stand beside it.\n\n" +
			"The exit code is 0 when the log is as it was written, and 1 when it is not.",
		Example: "  portolan audit verify --anchor /mnt/elsewhere/anchors\n" +
			"  portolan audit verify copy/audit.log --key audit.key --anchor portolan-audit-1:17:...",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var cfg *config.Config
			check := app.AuditCheck{KeyFile: key}
			var err error
			if check.Anchors, err = anchors(anchor); err != nil {
				return failure(exitMisused, err)
			}
			switch {
			case len(args) == 1 && key == "":
				return failure(exitMisused, errors.New("a copy is verified with its key: write --key FILE as well"))
			case len(args) == 1:
				check.File = args[0]
			default:
				if cfg, err = p.loadConfig(); err != nil {
					return err
				}
				err = p.administer(cmd.Context(), cfg, func(v app.Verbs) error {
					check.State, err = v.AuditState(cmd.Context())
					return err
				})
				if err != nil {
					return err
				}
			}
			r, err := app.VerifyAudit(cmd.Context(), cfg, check)
			if err != nil {
				return err
			}
			if asJSON {
				err = p.printJSON(r)
			} else {
				err = printAuditReport(p.stdout, r)
			}
			if err == nil && r.Bad() {
				err = failure(exitFailed, nil)
			}
			return err
		},
	}
	f := c.Flags()
	f.StringVar(&anchor, "anchor", "", "what \"audit anchor\" printed, or a `file` with such lines")
	f.StringVar(&key, "key", "", "the key `file`, instead of the configuration's")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// anchors returns the text of anchors that a flag names: an anchor itself, or a file of them.
func anchors(flag string) ([]byte, error) {
	if flag == "" {
		return nil, nil
	}
	if _, err := audit.ParseAnchor(flag); err == nil {
		return []byte(flag), nil
	}
	text, err := os.ReadFile(flag)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("--anchor: %q is neither an anchor nor a file", flag)
	}
	if err != nil {
		return nil, fmt.Errorf("--anchor: %w", err)
	}
	if _, err := audit.ParseAnchors(text); err != nil {
		return nil, fmt.Errorf("--anchor: %s, %w", flag, err)
	}
	return text, nil
}

// printAuditReport writes findings as file:line: what, and what it comes to.
func printAuditReport(to io.Writer, r *audit.Report) (err error) {
	say := func(format string, args ...any) {
		if err == nil {
			_, err = fmt.Fprintf(to, format, args...)
		}
	}
	bad := r.More
	for i := range r.Findings {
		f := &r.Findings[i]
		place, kind := f.File, string(f.Kind)
		if f.Line > 0 {
			place += ":" + strconv.Itoa(f.Line)
		}
		if f.Note {
			kind = "note: " + kind
		} else {
			bad++
		}
		say("%s: %s: %s%s\n", place, kind, numbers(f), printable(f.Text))
	}
	if r.More > 0 {
		say("and %s\n", plural(r.More, "finding more", "findings more"))
	}
	if r.Lines > 0 {
		say("%s in %s, %d to %d, from %s to %s: ", plural(r.Lines, "authentic line", "authentic lines"), plural(r.Files, "file", "files"),
			r.First, r.Last, r.Begin.Format(time.RFC3339), r.End.Format(time.RFC3339))
	} else {
		say("no authentic line: ")
	}
	if bad == 0 {
		say("nothing was removed, altered, reordered, inserted or cut off\n")
	} else {
		say("the log is NOT as it was written: %s\n", plural(bad, "finding", "findings"))
	}
	return err
}

// numbers names the lines that a finding is about.
func numbers(f *audit.Finding) string {
	switch {
	case f.From == 0 || f.Note && f.From == f.To:
		return ""
	case f.From >= f.To:
		return fmt.Sprintf("line %d ", f.From)
	}
	return fmt.Sprintf("lines %d to %d ", f.From, f.To)
}

func newAuditAnchor(p *program) *cobra.Command {
	return &cobra.Command{
		Use:   "anchor",
		Short: "Print what fixes the audit log as it is now",
		Long: "Anchor seals the audit log and prints one line that stands for all of it so far. Keep it where whoever may change the " +
			"log does not reach: \"audit verify --anchor\" then shows any change of a line up to it, also by somebody who has the key.",
		Example: "  portolan audit anchor >> /mnt/elsewhere/anchors",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.withVerbs(cmd.Context(), func(v app.Verbs) error {
				s, err := v.AuditState(cmd.Context())
				if err != nil {
					return err
				}
				if s.Anchor == "" {
					return errors.New("there is no audit log yet: start the server, with audit.enabled = true")
				}
				_, err = fmt.Fprintln(p.stdout, s.Anchor)
				return err
			})
		},
	}
}

func newAuditTail(p *program) *cobra.Command {
	var t app.AuditTail
	var since, result string
	var asJSON bool
	c := &cobra.Command{
		Use:   "tail",
		Short: "Show the end of the audit log",
		Long: "Tail shows the last lines of the audit log, or those since a point in time, and with --follow those that come. Times " +
			"are UTC. Lines are not verified: that is what \"audit verify\" does.",
		Example: "  portolan audit tail --follow --op bind --result 49\n" +
			"  portolan audit tail --since 2h --who uid=alice,ou=people,dc=example,dc=org",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := p.loadConfig()
			if err != nil {
				return err
			}
			if t.Result = -1; result != "" {
				if t.Result, err = strconv.Atoi(result); err != nil || t.Result < 0 {
					return failure(exitMisused, fmt.Errorf("--result %s: write a result code as a number, such as 49", result))
				}
			}
			if since != "" {
				if t.Since, err = app.AuditSince(since, time.Now()); err != nil {
					return failure(exitMisused, fmt.Errorf("--since: %w", err))
				}
				if !cmd.Flags().Changed("lines") {
					t.Lines = 0
				}
			}
			return app.TailAudit(cmd.Context(), cfg, t, func(text []byte, e *audit.Entry) error {
				if asJSON {
					_, err := fmt.Fprintf(p.stdout, "%s\n", text)
					return err
				}
				if t.Op == "" && (e.Event == "checkpoint" || e.Event == "file") {
					return nil
				}
				_, err := fmt.Fprintln(p.stdout, auditLine(e))
				return err
			})
		},
	}
	f := c.Flags()
	f.BoolVarP(&t.Follow, "follow", "f", false, "go on with lines as they are written")
	f.IntVarP(&t.Lines, "lines", "n", 20, "the most `lines` to begin with; 0 is all, and so it is with --since")
	f.StringVar(&since, "since", "", "lines from this `time` on: 2026-01-31T12:00:00Z, 2026-01-31, or how long ago: 90m, 2h, 7d")
	f.StringVar(&t.Who, "who", "", "lines about this `DN`: who did it, as whom, or who tried to bind")
	f.StringVar(&t.Op, "op", "", "lines of this `operation` or event: bind, add, modify, modrdn, delete, passwd, write, admin, starttls, ...")
	f.StringVar(&result, "result", "", "lines with this result `code`")
	f.BoolVar(&asJSON, "json", false, "print the lines as they are")
	return c
}

// auditLine puts a line into words: when, what and how it ended, who from where, to what.
func auditLine(e *audit.Entry) string {
	var b strings.Builder
	add := func(format string, args ...any) { fmt.Fprintf(&b, format, args...) }
	what := e.Event
	if e.Op != "" {
		what += " " + e.Op
	}
	ended := ""
	if e.Result != nil {
		ended = ldap.ResultCode(*e.Result).String()
	}
	add("%s  %-14s  %-20s", e.Time.UTC().Format("2006-01-02 15:04:05.000"), what, ended)
	switch {
	case e.Who != "":
		add("  %s", e.Who)
	case e.Event == "bind" && e.DN != "" && e.Result != nil && *e.Result != 0:
		add("  as %s", e.DN)
	case e.From != "":
		add("  anonymous")
	}
	if e.AuthzID != "" {
		add(" as %s", e.AuthzID)
	}
	var from []string
	for _, s := range []string{e.From, e.Via, e.Method} {
		if s != "" {
			from = append(from, s)
		}
	}
	if e.TLS != "" {
		from = append(from, "TLS "+e.TLS)
	}
	if e.Source != "" {
		from = append(from, "from the "+e.Source)
	}
	if len(from) > 0 {
		add(" (%s)", strings.Join(from, ", "))
	}
	if e.DN != "" && (e.Event != "bind" || e.Who != "") {
		add(": %s", e.DN)
	}
	if e.NewRDN+e.NewDN != "" {
		add(" to %s%s", e.NewRDN, e.NewDN)
	}
	if len(e.Attrs) > 0 {
		add(" [%s]", strings.Join(e.Attrs, ", "))
	}
	for _, s := range []string{strings.Join(e.Marks, ", "), e.Reason, e.Note} {
		if s != "" {
			add("; %s", s)
		}
	}
	if e.Count > 0 {
		add("; %s more", plural(e.Count, "time", "times"))
	}
	if e.Seq > 0 {
		add("; seq %d", e.Seq)
	}
	for _, f := range e.Others {
		add("; %s %s", f.Name, f.Text)
	}
	return printable(b.String())
}

// printable takes out of a text what a terminal would obey.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}
