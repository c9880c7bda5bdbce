package chaos

import (
	"testing"

	"golang.org/x/sys/unix"
)

// limitDescriptors bounds the file descriptors of a running process.
func limitDescriptors(t *testing.T, pid int, n uint64) {
	t.Helper()
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: n}, nil); err != nil {
		t.Fatal(err)
	}
}
