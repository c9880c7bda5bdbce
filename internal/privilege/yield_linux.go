package privilege

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// CanYield says that Yield does something here.
const CanYield = true

const (
	// lower is how much lower the priority of a process is that yields: it has about a tenth of what another has that wants the
	// CPU as well, and all of it where nobody does.
	lower = 10
	// slice is for how long its threads then may go on, in nanoseconds, when another wakes up that goes first: the least that
	// Linux knows, which otherwise takes three milliseconds. Searches are a hundred times shorter.
	slice = 100_000
)

// Yield lowers the priority of the process; there is no way back. It is called once, early: the priority is one of threads, and
// those that come later have that of the thread which starts them.
func Yield() error {
	// The system call counts the other way round, from 40 down to 1.
	now, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err != nil {
		return err
	}
	nice := min(20-now+lower, 19)
	// A thread that has not been seen may start another meanwhile, until all have been seen.
	done := make(map[string]bool)
	for more := true; more; {
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return err
		}
		more = false
		for _, t := range threads {
			if done[t.Name()] {
				continue
			}
			done[t.Name()], more = true, true
			id, err := strconv.Atoi(t.Name())
			if err != nil {
				return err
			}
			if err := unix.Setpriority(unix.PRIO_PROCESS, id, nice); err == unix.ESRCH {
				continue
			} else if err != nil {
				return err
			}
			// Kernels before 6.12 have no slices of single threads, and take the call for what was just done.
			_ = unix.SchedSetAttr(id, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL, Nice: int32(nice), Runtime: slice}, 0)
		}
	}
	return nil
}
