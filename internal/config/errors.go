package config

import (
	"fmt"
	"strings"
)

// Error is one mistake in a configuration file. It never holds a secret: files named by the configuration are not
// quoted in it.
type Error struct {
	File string
	// Line and Column count from 1; Line 0 means the file as a whole.
	Line, Column int
	// Msg says what is wrong, Hint what to write instead; Hint may be empty.
	Msg, Hint string
}

// ErrorAt makes an Error about a place of a configuration, for packages that check what they were configured with.
func ErrorAt(p Position, msg, hint string) *Error {
	return &Error{File: p.File, Line: p.Line, Column: p.Column, Msg: msg, Hint: hint}
}

// Error is one line: file:line:column: message; hint.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(Position{e.File, e.Line, e.Column}.String())
	b.WriteString(": ")
	b.WriteString(e.Msg)
	if e.Hint != "" {
		b.WriteString("; ")
		b.WriteString(e.Hint)
	}
	return b.String()
}

// String is file:line:column, or the file alone where no line is known, or "configuration" where there is no file.
func (p Position) String() string {
	if p.File == "" {
		return "configuration"
	}
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// ErrorList is every mistake of a file, in the file's order. Load and Parse return one that is never empty.
type ErrorList struct{ list []*Error }

// Errors returns the mistakes in the file's order.
func (l *ErrorList) Errors() []*Error { return l.list }

// Error is one line for each mistake, without a final newline.
func (l *ErrorList) Error() string {
	lines := make([]string, len(l.list))
	for i, e := range l.list {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives errors.As each mistake.
func (l *ErrorList) Unwrap() []error {
	errs := make([]error, len(l.list))
	for i, e := range l.list {
		errs[i] = e
	}
	return errs
}

// At returns the position of a key of the table, or of one element of its list ("who[1]"); where that is not known,
// that of the key, and else that of the table.
func (p Place) At(key string) Position {
	if at, ok := p.Keys[key]; ok {
		return at
	}
	if i := strings.IndexByte(key, '['); i > 0 {
		if at, ok := p.Keys[key[:i]]; ok {
			return at
		}
	}
	return p.Position
}
