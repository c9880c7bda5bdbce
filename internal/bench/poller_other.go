//go:build !linux

package bench

import (
	"context"
	"net"
)

// newPoller returns nil: only Linux has it.
func newPoller([]net.Conn, int) (driver, error) { return nil, nil }

// newLoopConnector returns nil: only Linux has it.
func newLoopConnector(context.Context, *Options, int) (driver, error) { return nil, nil }
