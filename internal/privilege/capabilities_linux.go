package privilege

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// capabilities makes set, a bit for each of the first 32 capabilities, what every thread has, and nothing else.
func capabilities(set uint32) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3} // process 0: the thread that asks
	data := [2]unix.CapUserData{{Effective: set, Permitted: set}}
	err := everywhere(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data[0])))
	runtime.KeepAlive(&header)
	runtime.KeepAlive(&data)
	if err != nil {
		return fmt.Errorf("capabilities cannot be given up: %w", err)
	}
	return nil
}
