//go:build !unix

package pebblekv

import (
	"fmt"
	"io"
)

// heldElsewhere reports whether taking the lock failed because somebody has it.
func heldElsewhere(error) bool { return false }

func lockForReading(name string) (io.Closer, error) {
	return nil, fmt.Errorf("cannot lock %s for reading on this system", name)
}
