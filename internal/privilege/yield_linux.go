package privilege

import "golang.org/x/sys/unix"

// CanYield says that Yield does something here.
const CanYield = true

const (
	// lower is how much lower the priority of a thread is that yields: it has about a tenth of what another has that wants the
	// CPU as well, and all of it where nobody does.
	lower = 10
	// slice is for how long it then may go on, in nanoseconds, when another wakes up that goes first: the least that Linux knows,
	// which otherwise takes three milliseconds. Searches are a hundred times shorter.
	slice = 100_000
)

// Yield lowers the priority of the thread that calls it, which must be locked to its goroutine and stay so: there is no way back.
func Yield() error {
	// The system call counts the other way round, from 40 down to 1.
	now, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err != nil {
		return err
	}
	nice := min(20-now+lower, 19)
	if err := unix.Setpriority(unix.PRIO_PROCESS, 0, nice); err != nil {
		return err
	}
	// Kernels before 6.12 have no slices of single threads, and take the call for what was just done.
	_ = unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL, Nice: int32(nice), Runtime: slice}, 0)
	return nil
}
