package pebblekv

import (
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// LockForReading is lockForReading, for tests: the administrator, as whom tests may run, is never refused a file.
func LockForReading(name string) (io.Closer, error) { return lockForReading(name) }

// ReadOnlyDisk is a file system that locks like the disk opened read-only.
func ReadOnlyDisk(inner vfs.FS) vfs.FS { return &dataFS{FS: inner, readOnly: true, disk: true} }
