//go:build unix

package pebblekv

import (
	"errors"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// heldElsewhere reports whether taking the lock failed because somebody has it. POSIX allows both numbers.
func heldElsewhere(err error) bool {
	return errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES)
}

// lockForReading takes a shared lock on an existing lock file, which needs no right to write. Where there is no lock
// file, no writer can be about on a medium that cannot be written to.
func lockForReading(name string) (io.Closer, error) {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return io.NopCloser(nil), nil
	}
	if err != nil {
		return nil, err
	}
	spec := unix.Flock_t{Type: unix.F_RDLCK, Whence: io.SeekStart}
	if err := unix.FcntlFlock(f.Fd(), unix.F_SETLK, &spec); err != nil {
		f.Close()
		if heldElsewhere(err) {
			return nil, lockedError(name, err)
		}
		return nil, err
	}
	return f, nil
}
