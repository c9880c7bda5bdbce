package store

import (
	"errors"
	"fmt"
	"runtime/debug"

	"portolan/ldap"
)

// Errors of Open.
var (
	// ErrCorrupt is wrapped by errors about stored bytes that this package cannot have written.
	ErrCorrupt = errors.New("store: the stored data is damaged")
)

// ErrNewerFormat is the error of Open for a store that a later version of the program has written.
type ErrNewerFormat struct{ Have, Want uint32 }

func (e ErrNewerFormat) Error() string {
	return fmt.Sprintf("store: the data is of format %d, this program knows formats up to %d; run the version that wrote it, or a later one", e.Have, e.Want)
}

// Errors of reads and writes.
var (
	// ErrClosed is returned once Close was called.
	ErrClosed = errors.New("store: closed")
	// ErrReadOnly is returned by Update on a store opened with Options.ReadOnly.
	ErrReadOnly = errors.New("store: opened read-only")
	// ErrNoSpace is returned by Update while there is less free space than Options.MinFree. Nothing was changed.
	ErrNoSpace = errors.New("store: the disk is nearly full, writes are refused until there is space again")
	// ErrFailed is wrapped by all errors of Update after an I/O error: what is durable is then unknown, and the store must
	// be opened again. See Store.Fatal.
	ErrFailed = errors.New("store: stopped after an I/O error")
	// ErrGeneration is returned by Put for an entry that was sealed with another schema than the transaction's.
	ErrGeneration = errors.New("store: the schema has changed since the entry was made; make it again")
	// ErrMoved is returned by a View that has moved on to a later state in which something it needs is gone: read again
	// with a new View.
	ErrMoved = errors.New("store: the directory has changed under a long read; read again")
	// ErrTooManyChanges is the cause of the adminLimitExceeded that Put and Remove return beyond Options.MaxChanges.
	ErrTooManyChanges = errors.New("store: the transaction changes too many entries")
	// ErrTrimmed is returned by ReadJournal for a position whose records are gone already.
	ErrTrimmed = errors.New("store: the journal no longer reaches back that far")
)

// PanicError is the cause of the error that Update returns when its closure panicked. The transaction was undone.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v\n%s", e.Value, e.Stack) }

func panicError(value any) error {
	return ldap.Errorf(ldap.Other, "internal error; the server's log says more").
		Because(&PanicError{Value: value, Stack: debug.Stack()})
}

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrCorrupt, fmt.Sprintf(format, args...))
}

func tooManyChanges(limit int) error {
	return ldap.Errorf(ldap.AdminLimitExceeded, "the operation would change more than %d entries", limit).Because(ErrTooManyChanges)
}
