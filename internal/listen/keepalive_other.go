//go:build !linux

package listen

import "net"

// listenConfig is that of TCP sockets.
func listenConfig() *net.ListenConfig { return &net.ListenConfig{KeepAliveConfig: keepAlive} }
