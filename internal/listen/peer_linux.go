package listen

import (
	"net"

	"golang.org/x/sys/unix"

	"portolan/internal/op"
)

// peerCred asks the kernel who is at the other end; nil where it does not say.
func peerCred(nc *net.UnixConn) *op.PeerCred {
	raw, err := nc.SyscallConn()
	if err != nil {
		return nil
	}
	var cred *unix.Ucred
	if e := raw.Control(func(fd uintptr) {
		cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); e != nil || err != nil {
		return nil
	}
	return &op.PeerCred{PID: int(cred.Pid), UID: int(cred.Uid), GID: int(cred.Gid)}
}
