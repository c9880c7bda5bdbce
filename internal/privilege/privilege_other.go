//go:build !linux

// Package privilege gives up what a process does not need. On this system it cannot.
package privilege

import "errors"

var errSystem = errors.New("on this system the server cannot change its user; start it as the one that it shall run as, and leave run_as out")

// Harden does nothing here.
func Harden() error { return nil }

// Account is a user of this machine.
type Account struct {
	Name     string
	UID, GID int
}

// Lookup refuses.
func Lookup(string) (Account, error) { return Account{}, errSystem }

// Become refuses.
func Become(Account) error { return errSystem }

// Renounce does nothing here.
func Renounce() error { return nil }
