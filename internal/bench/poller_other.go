//go:build !linux

package bench

import "net"

// newPoller returns nil: only Linux has it.
func newPoller([]net.Conn, int) (driver, error) { return nil, nil }
