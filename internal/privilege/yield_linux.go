package privilege

import "golang.org/x/sys/unix"

// CanYield says that Yield does something here.
const CanYield = true

// lower is how much lower the priority of a thread is that yields: it has about a tenth of what another has that wants the CPU as
// well, and all of it where nobody does.
const lower = 10

// Yield lowers the priority of the thread that calls it, which must be locked to its goroutine and stay so: there is no way back.
func Yield() error {
	// The system call counts the other way round, from 40 down to 1.
	now, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err != nil {
		return err
	}
	return unix.Setpriority(unix.PRIO_PROCESS, 0, min(20-now+lower, 19))
}
