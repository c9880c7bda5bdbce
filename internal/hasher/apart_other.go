//go:build !unix

package hasher

import "syscall"

func apart() *syscall.SysProcAttr { return nil }
