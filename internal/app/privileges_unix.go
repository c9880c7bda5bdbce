package app

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"portolan/internal/config"
	"portolan/internal/privilege"
)

// assume makes the process that of the user of run_as, before anything is opened that this user must be able to open again. A
// data directory that is not there yet is made for that user. Without run_as it does nothing.
func assume(c *config.Config) error {
	if c.RunAs == "" {
		return nil
	}
	refused := func(err error) error {
		return config.ErrorAt(c.At("run_as"), err.Error(), "")
	}
	a, err := privilege.Lookup(c.RunAs)
	if err != nil {
		return refused(err)
	}
	if os.Geteuid() == 0 && a.UID != 0 {
		if err := own(c.DataDir, a); err != nil {
			return refused(err)
		}
	}
	if err := privilege.Become(a); err != nil {
		return refused(err)
	}
	return nil
}

// own gives a directory that is missing or has nothing in it to a. What holds something is not touched: whose it is may be a
// mistake of run_as.
func own(dir string, a privilege.Account) error {
	err := os.Mkdir(dir, 0o700)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) == a.UID {
		return nil
	}
	names, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	if len(names) > 0 {
		return fmt.Errorf("data_dir %s does not belong to %s; give it away with `chown -R %s: %s`, then start again", dir, a.Name, a.Name, dir)
	}
	return os.Chown(dir, a.UID, a.GID)
}
