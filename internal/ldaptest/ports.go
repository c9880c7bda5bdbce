package ldaptest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
)

// ports hands out numbers below those that the kernel gives to whoever asks for any port, and to clients. A port that was found
// by asking for any, and is free until a server is started there (or started again), may be somebody else's by then: test programs
// run side by side and open thousands.
var ports struct {
	sync.Mutex
	next, end int
}

// lowest is the least port that is handed out: what is below may be a service of the machine.
const lowest = 10_000

// FreePorts returns n different TCP ports of 127.0.0.1 that nobody listens on, none of which it has returned before in this
// process. Processes that run at the same time begin at different numbers. Anybody may call it at any time.
func FreePorts(n int) ([]int, error) {
	ports.Lock()
	defer ports.Unlock()
	if ports.end == 0 {
		ports.end = firstEphemeral()
		// The numbers of processes that run side by side are near each other.
		ports.next = lowest + os.Getpid()*211%(ports.end-lowest)
	}
	var found []int
	for tried := 0; len(found) < n; tried++ {
		if tried > ports.end-lowest {
			return nil, errors.New("all ports of 127.0.0.1 are taken")
		}
		if ports.next++; ports.next >= ports.end {
			ports.next = lowest
		}
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", ports.next)); err == nil {
			l.Close()
			found = append(found, ports.next)
		}
	}
	return found, nil
}

// firstEphemeral returns the first port that the kernel hands out by itself; Linux has 32768 unless somebody has changed it.
// Where there is little room below it, all ports will do.
func firstEphemeral() int {
	first := 32768
	if b, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"); err == nil {
		_, _ = fmt.Sscan(string(b), &first)
	}
	if first < lowest+1000 {
		return 1 << 16
	}
	return first
}
