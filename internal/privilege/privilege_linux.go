// Package privilege gives up what a process does not need: the superuser's identity before it opens anything, the right to
// bind low ports once they are bound, core dumps from the start. It works on the whole process, every thread of it.
package privilege

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Harden makes the memory of the process, which holds keys and for moments passwords, unreadable to others: no core dumps, no
// tracing by other processes of the same user.
func Harden() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("core dumps cannot be turned off: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("core dumps cannot be turned off: %w", err)
	}
	return nil
}

// Account is a user of this machine.
type Account struct {
	Name     string
	UID, GID int
	groups   []int
}

// Lookup finds a user by name, with its groups.
func Lookup(name string) (Account, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return Account{}, fmt.Errorf("there is no user %q on this machine; make it, with `useradd --system %s`, or name another", name, name)
	}
	a := Account{Name: u.Username}
	if a.UID, err = strconv.Atoi(u.Uid); err != nil {
		return Account{}, fmt.Errorf("user %s has the id %q, which is no number", name, u.Uid)
	}
	if a.GID, err = strconv.Atoi(u.Gid); err != nil {
		return Account{}, fmt.Errorf("user %s has the group %q, which is no number", name, u.Gid)
	}
	ids, err := u.GroupIds()
	if err != nil {
		ids = []string{u.Gid}
	}
	for _, id := range ids {
		if n, err := strconv.Atoi(id); err == nil {
			a.groups = append(a.groups, n)
		}
	}
	return a, nil
}

// Become makes a process of the superuser one of a, which keeps only the right to bind ports below 1024, until Renounce. For a
// process that is a's already it does nothing; any other cannot, and is told so. There is no way back.
func Become(a Account) error {
	switch uid := os.Geteuid(); {
	case uid == a.UID:
		return nil
	case uid != 0:
		return fmt.Errorf("the process runs as user %d and cannot become %s; start it as root or as %s", uid, a.Name, a.Name)
	}
	// Without this the change of user takes every capability away, the one for low ports too.
	if err := everywhere(unix.SYS_PRCTL, unix.PR_SET_KEEPCAPS, 1); err != nil {
		return fmt.Errorf("become %s: keep capabilities: %w", a.Name, err)
	}
	if err := syscall.Setgroups(a.groups); err != nil {
		return fmt.Errorf("become %s: set groups: %w", a.Name, err)
	}
	if err := syscall.Setgid(a.GID); err != nil {
		return fmt.Errorf("become %s: set group: %w", a.Name, err)
	}
	if err := syscall.Setuid(a.UID); err != nil {
		return fmt.Errorf("become %s: set user: %w", a.Name, err)
	}
	if err := capabilities(1 << unix.CAP_NET_BIND_SERVICE); err != nil {
		return fmt.Errorf("become %s: %w", a.Name, err)
	}
	return nil
}

// Renounce gives up every capability and the hope of new ones. A process of the superuser stays one: it is called where Become
// has done its work, or an ordinary user's process was started with a capability.
func Renounce() error {
	if err := everywhere(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1); err != nil {
		return fmt.Errorf("new privileges cannot be ruled out: %w", err)
	}
	if os.Geteuid() == 0 {
		return nil
	}
	if err := everywhere(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("ambient capabilities cannot be given up: %w", err)
	}
	return capabilities(0)
}

// everywhere makes a system call on every thread.
func everywhere(trap, a1, a2 uintptr) error {
	if _, _, errno := syscall.AllThreadsSyscall6(trap, a1, a2, 0, 0, 0, 0); errno != 0 {
		if errno == syscall.ENOTSUP {
			return errors.New("this program was built with cgo, which cannot change all threads; build it with CGO_ENABLED=0")
		}
		return errno
	}
	return nil
}
