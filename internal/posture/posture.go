// Package posture compares a configuration, and what it names on this host, with the secure defaults. What is compared is
// the table in checks.go: a feature that can be weakened adds its line there.
package posture

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"portolan/internal/access"
	"portolan/internal/config"
	"portolan/internal/schema"
)

// Severity says how bad a finding is.
type Severity string

// Severities. Fail is what an attacker can use by itself, Warn what makes an attack easier or harder to see.
const (
	Warn Severity = "warn"
	Fail Severity = "fail"
)

// Finding is one deviation. Its texts hold no secret.
type Finding struct {
	// ID names the check, Subject what it was about where there can be several: a listener, a rule, a file.
	ID       string   `json:"id"`
	Subject  string   `json:"subject,omitempty"`
	Severity Severity `json:"severity"`
	// Key is the setting, by its path in the file; empty where it is not about one.
	Key string `json:"key,omitempty"`
	// File, Line and Column say where; Line 0 is the file as a whole.
	File   string `json:"file"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
	// Seen is what there is, Means what follows from it.
	Seen  string `json:"seen"`
	Means string `json:"means"`
	// Fix says what to do. Where that is a line of the file, Write is the line; where it is a command, Run is the command.
	Fix   string `json:"fix"`
	Write string `json:"write,omitempty"`
	Run   string `json:"run,omitempty"`
}

// Name is what a finding is accepted by: its ID, and its subject where it has one.
func (f *Finding) Name() string {
	if f.Subject == "" {
		return f.ID
	}
	return f.ID + "=" + f.Subject
}

// Host is what is looked at beside the configuration itself.
type Host struct {
	Stat     func(name string) (fs.FileInfo, error)
	ReadFile func(name string) ([]byte, error)
	// ReadSecret is config.ReadSecretFile, or stands for it.
	ReadSecret func(name string) (secret []byte, warning string, err error)
	Now        time.Time
	// ServerUID returns the user that the server runs as, or ran as last; known is false where nothing tells. from is the
	// file that told.
	ServerUID func() (uid int, from string, known bool)
}

// Input is what is reviewed.
type Input struct {
	// Config is valid, Schema is the one that it names, and Policy is made of its rules.
	Config *config.Config
	Schema *schema.Schema
	Policy *access.Policy
	// Host is nil where the configuration alone is to be reviewed: certificates, passwords, modes of files and the server's
	// user are left out then.
	Host *Host
}

// Review returns every deviation, in the order of the file. The error says what could not be looked at; the findings
// beside it are right, and not all.
func Review(in Input) ([]Finding, error) {
	r := &review{Input: in}
	for _, c := range checks() {
		if c.onHost && in.Host == nil {
			continue
		}
		r.id = c.id
		c.find(r)
	}
	slices.SortStableFunc(r.findings, func(a, b Finding) int { return cmp.Compare(a.Line, b.Line) })
	return r.findings, errors.Join(r.errs...)
}

// review is one run through the table.
type review struct {
	Input
	id       string // of the check at work
	findings []Finding
	errs     []error

	chain *chain // the certificates, once they have been read
}

// add puts a finding of the check at work.
func (r *review) add(at config.Position, f Finding) {
	f.ID, f.File, f.Line, f.Column = r.id, at.File, at.Line, at.Column
	switch {
	case f.Run != "":
		f.Fix = "run: " + f.Run
	case f.Write != "":
		f.Fix = "write " + f.Fix + ": " + f.Write
	}
	r.findings = append(r.findings, f)
}

// failed notes what could not be looked at.
func (r *review) failed(format string, args ...any) {
	r.errs = append(r.errs, fmt.Errorf(format, args...))
}
