package privilege

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// TestYield: a thread has a lower priority, and no other thread has.
func TestYield(t *testing.T) {
	here := func() int {
		n, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
		if err != nil {
			t.Error(err)
		}
		return 20 - n
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := here()
	there := make(chan int)
	go func() {
		runtime.LockOSThread() // the thread ends with the goroutine
		if err := Yield(); err != nil {
			t.Error(err)
		}
		there <- here()
	}()
	if got, want := <-there, min(before+lower, 19); got != want {
		t.Errorf("the thread has the nice value %d, want %d", got, want)
	}
	if now := here(); now != before {
		t.Errorf("another thread had the nice value %d, and has %d", before, now)
	}
}
