//go:build !unix

package session

import (
	"net"
	"syscall"
)

func rawConn(net.Conn) syscall.RawConn { return nil }

func (s *Session) readable(uintptr) bool { return true }

func hasInput(syscall.RawConn) bool { return false }
