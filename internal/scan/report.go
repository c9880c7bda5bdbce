package scan

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Severity says how bad a finding is.
type Severity string

// Severities. OK is as it should be, Info is worth knowing, Warn makes an attack easier, Fail is one.
const (
	OK   Severity = "ok"
	Info Severity = "info"
	Warn Severity = "warn"
	Fail Severity = "fail"
)

// Finding is one answer. Texts of the server in it are bounded and without control characters; secrets are never in it.
type Finding struct {
	ID       string   `json:"id"`
	Group    string   `json:"group"`
	Severity Severity `json:"severity"`
	// Over is set where it is about one of the ways to TLS alone: "StartTLS".
	Over string `json:"over,omitempty"`
	// Seen is what the server did, Means what follows, Do what to do about it. The latter two are empty where all is well.
	Seen  string `json:"seen"`
	Means string `json:"means,omitempty"`
	Do    string `json:"do,omitempty"`
	// Details are further lines of Seen.
	Details []string `json:"details,omitempty"`
}

// Report is what came of a scan.
type Report struct {
	URL string `json:"url"`
	// LDAP and LDAPS are the listeners that answered.
	LDAP     string    `json:"ldap,omitempty"`
	LDAPS    string    `json:"ldaps,omitempty"`
	Begun    time.Time `json:"begun"`
	Ended    time.Time `json:"ended"`
	Findings []Finding `json:"findings"`

	askedLDAPS string
	versions   []uint16 // of TLS, the newest first
}

// Bad reports whether there is anything to do.
func (r *Report) Bad() bool { return r.count(Fail)+r.count(Warn) > 0 }

// Find returns the finding of this ID, or nil.
func (r *Report) Find(id string) *Finding {
	for i := range r.Findings {
		if r.Findings[i].ID == id {
			return &r.Findings[i]
		}
	}
	return nil
}

func (r *Report) count(s Severity) int {
	n := 0
	for i := range r.Findings {
		if r.Findings[i].Severity == s {
			n++
		}
	}
	return n
}

// add puts a finding of the probe at work.
func (s *scanner) add(f Finding) {
	f.Group = s.group
	s.report.Findings = append(s.report.Findings, f)
}

// WriteText writes the report for people.
func (r *Report) WriteText(w io.Writer) (err error) {
	say := func(format string, args ...any) {
		if err == nil {
			_, err = fmt.Fprintf(w, format, args...)
		}
	}
	group := ""
	for i := range r.Findings {
		f := &r.Findings[i]
		if f.Group != group {
			if i > 0 {
				say("\n")
			}
			group = f.Group
			say("%s\n", group)
		}
		mark := string(f.Severity)
		if f.Severity == Fail || f.Severity == Warn {
			mark = strings.ToUpper(mark)
		}
		seen := f.Seen
		if f.Over != "" {
			seen = "over " + f.Over + ": " + seen
		}
		say("  %-4s  %-21s %s\n", mark, f.ID, seen)
		const indent = "        "
		for _, d := range f.Details {
			say("%s                      %s\n", indent, d)
		}
		if f.Means != "" && f.Severity != OK {
			say("%smeans: %s\n", indent, f.Means)
		}
		if f.Do != "" && f.Severity != OK {
			say("%sdo: %s\n", indent, f.Do)
		}
	}
	say("\n%d fail, %d warn, %d info, %d ok\n", r.count(Fail), r.count(Warn), r.count(Info), r.count(OK))
	return err
}

// maxShown bounds a text of the server, in octets.
const maxShown = 160

// clean makes a text of the server fit to be shown: one line, bounded, nothing that moves a terminal's cursor or turns the
// direction of writing.
func clean(s string) string {
	long := len(s) > maxShown
	if long {
		s = s[:maxShown]
	}
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
	if long {
		s += "..."
	}
	return s
}

// quote shows a text of the server in quotes.
func quote(s string) string { return `"` + strings.ReplaceAll(clean(s), `"`, `'`) + `"` }

// few lists texts of the server, the first of them.
func few(list []string, most int) string {
	shown := make([]string, 0, most)
	for _, s := range list[:min(len(list), most)] {
		shown = append(shown, clean(s))
	}
	text := strings.Join(shown, ", ")
	if n := len(list) - most; n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	return text
}

// result says in words what a server has answered.
func (a answer) text() string {
	text := a.Code.String()
	if a.Diagnostic != "" {
		text += " " + quote(a.Diagnostic)
	}
	return text
}

// why says in one bounded line why there was no answer.
func why(err error) string { return clean(err.Error()) }
