//go:build unix

package hasher

import "syscall"

// apart keeps signals that a terminal sends to the server away from the process: it ends when the server lets go of it.
func apart() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
