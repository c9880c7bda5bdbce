// Package ldif reads and writes LDIF (RFC 2849), content and change records alike, one record at a time and in memory
// bounded by the largest record.
//
// A Reader is all that most callers want. An importer that parses on several processors uses a Splitter, which only
// finds where records begin and end, and a Parser in each goroutine. Names are not checked against a schema and DNs are
// not parsed here.
package ldif

import (
	"fmt"

	"portolan/ldap"
)

// Kind says what a record is.
type Kind uint8

// The kinds of record. Content is a record without changetype: an entry as it stands in a directory.
const (
	Content Kind = iota
	Add
	Delete
	Modify
	ModDN // changetype modrdn or moddn
)

// String returns the word that follows changetype:, and "content" for a record without one.
func (k Kind) String() string {
	switch k {
	case Content:
		return "content"
	case Add:
		return "add"
	case Delete:
		return "delete"
	case Modify:
		return "modify"
	case ModDN:
		return "moddn"
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Attr is one attribute description with the values that stand under it in adjacent lines, in their order.
type Attr struct {
	Name   string
	Values [][]byte
}

// Mod is one change of a Modify record.
type Mod struct {
	Op     ldap.ModOp
	Name   string
	Values [][]byte
}

// Record is one LDIF record. Which fields have a meaning depends on Kind.
type Record struct {
	Line     int // of the dn: line, counted from 1
	DN       string
	Kind     Kind
	Controls []ldap.Control

	Attributes []Attr // Content, Add
	Mods       []Mod  // Modify

	NewRDN         string // ModDN
	DeleteOldRDN   bool   // ModDN
	NewSuperior    string // ModDN
	HasNewSuperior bool   // ModDN
}

// DefaultMaxRecord is the limit on the octets of a record where Options names none.
const DefaultMaxRecord = 64 << 20

// Options bound and widen what is read. The zero Options are the safe ones.
type Options struct {
	// MaxRecord is the most octets that one record may have in the file; 0 is DefaultMaxRecord.
	MaxRecord int
	// MaxLine is the most octets that one line may have when its folds are undone; 0 is MaxRecord.
	MaxLine int
	// AllowFileURL reads the file that a value such as "jpegPhoto:< file:///tmp/a.jpg" names; path is decoded. Where it
	// is nil such a value is an error: whoever writes the LDIF would otherwise read any file of the server. What it
	// returns is not bounded by MaxRecord; the function bounds it.
	AllowFileURL func(path string) ([]byte, error)
}

func (o Options) maxRecord() int {
	if o.MaxRecord <= 0 {
		return DefaultMaxRecord
	}
	return o.MaxRecord
}

func (o Options) maxLine() int {
	if o.MaxLine <= 0 {
		return o.maxRecord()
	}
	return o.MaxLine
}

// Error is what is wrong with the text. No value is ever part of Msg: it may be a password.
type Error struct {
	Line int // counted from 1
	Msg  string
}

func (e *Error) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Msg) }

func errorf(line int, format string, args ...any) *Error {
	return &Error{Line: line, Msg: fmt.Sprintf(format, args...)}
}
