package listen

import (
	"net"

	"golang.org/x/sys/unix"
)

// destinationSize has room for what the kernel says of a datagram's destination.
var destinationSize = unix.CmsgSpace(unix.SizeofInet6Pktinfo) + unix.CmsgSpace(unix.SizeofInet4Pktinfo)

// askDestination has the kernel say to which of this host's addresses each datagram came: an answer that comes from another
// address is none to the client (RFC 1123 section 4.1.3.5).
func askDestination(uc *net.UDPConn) error {
	raw, err := uc.SyscallConn()
	if err != nil {
		return err
	}
	if e := raw.Control(func(fd uintptr) {
		// An IPv6 socket that takes IPv4 as well says it in the IPv6 form; an IPv4 socket has no IPv6 option.
		if unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1) != nil {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
		}
	}); e != nil {
		return e
	}
	return err
}

// source turns what the kernel said of a request into what it takes for the answer: the same address. Which way an answer goes
// out is for the routes to say, but for IPv6, where an address can be one of several links.
func source(oob []byte) []byte {
	if len(oob) == unix.CmsgSpace(unix.SizeofInet4Pktinfo) {
		clear(oob[unix.CmsgLen(0):][:4]) // the interface
	}
	return oob
}
