package app

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"

	"portolan/internal/credential"
	"portolan/internal/hasher"
	"portolan/internal/privilege"
)

// HashCommand is the command of this program that HashPasswords is.
const HashCommand = "hash-passwords"

// HashPasswords is the process that a server has for hashes of which it knows nothing. It ends with in. Passwords are in its memory,
// so nobody else may look into that; and it gives up what the server may not have given up yet when it started this.
func HashPasswords(in io.Reader, out, stderr io.Writer) error {
	if err := errors.Join(privilege.Harden(), privilege.Renounce()); err != nil {
		fmt.Fprintln(stderr, "portolan: the process that hashes passwords keeps privileges that it does not need:", err)
	}
	return hasher.Serve(in, out)
}

// newHasher returns what computes the hashes that should give way to everything else; nil where nothing can give way, or the
// program is none that could be run again.
func newHasher(o ServeOptions, log *slog.Logger) *hasher.Hasher {
	if !o.Program || !privilege.CanYield {
		return nil
	}
	path := "/proc/self/exe" // also where the file has been replaced by a newer one
	if runtime.GOOS != "linux" {
		var err error
		if path, err = os.Executable(); err != nil {
			log.Warn("passwords are hashed in the server's own process", "error", err)
			return nil
		}
	}
	return hasher.New(hasher.Options{Command: []string{path, HashCommand}, Log: log})
}

// computer returns h as the engine takes it, where a nil pointer would be something.
func computer(h *hasher.Hasher) credential.Computer {
	if h == nil {
		return nil
	}
	return h
}
