package pebblekv

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"

	"portolan/internal/kv"
)

// dataFS is the engine's file system with four changes: directories are private to the user, a lock that is held says so
// as kv.ErrLocked, a read-only store can be locked on a medium that cannot be written to, and flushes and compactions are paced.
type dataFS struct {
	vfs.FS
	readOnly bool
	disk     bool // FS is the disk: system calls may be used beside it
	pace     *pacer
}

// Create is called by the engine.
func (f *dataFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.Create(name, category)
	if err != nil || f.pace == nil {
		return file, err
	}
	return f.pace.file(file, category), nil
}

// MkdirAll is called by the engine. A directory holds password hashes, so nobody else may look into it.
func (f *dataFS) MkdirAll(dir string, _ os.FileMode) error { return f.FS.MkdirAll(dir, 0o700) }

// Lock is called by the engine.
func (f *dataFS) Lock(name string) (io.Closer, error) {
	c, err := f.FS.Lock(name)
	if err == nil {
		return c, nil
	}
	var path *fs.PathError
	switch {
	case errors.As(err, &path):
		// The lock file could not be made or opened. A reader can do without writing to it.
		if f.readOnly && f.disk && (errors.Is(err, syscall.EROFS) || errors.Is(err, fs.ErrPermission)) {
			return lockForReading(name)
		}
		return nil, err
	case heldElsewhere(err), strings.Contains(err.Error(), "lock held by current process"):
		return nil, lockedError(name, err)
	}
	return nil, err
}

func lockedError(name string, err error) error {
	return fmt.Errorf("%w (lock file %s): stop the server that uses it, or ask that server instead: %w", kv.ErrLocked, name, err)
}

// Unwrap is called by the engine.
func (f *dataFS) Unwrap() vfs.FS { return f.FS }
