package privilege

import (
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestYield: all threads of a process that yields have a lower priority, those that come later too, and no other process has.
func TestYield(t *testing.T) {
	const child = "PORTOLAN_TEST_YIELD"
	if os.Getenv(child) != "" {
		if err := Yield(); err != nil {
			t.Fatal(err)
		}
		held := make(chan struct{})
		for range 4 { // threads that are new
			go func() { runtime.LockOSThread(); held <- struct{}{}; select {} }()
		}
		for range 4 {
			<-held
		}
		for _, n := range priorities(t) {
			t.Log("nice", n)
		}
		return
	}
	before := priorities(t)
	cmd := exec.Command(os.Args[0], "-test.run=^TestYield$", "-test.v")
	cmd.Env = append(os.Environ(), child+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	threads := 0
	for line := range strings.Lines(string(out)) {
		_, n, ok := strings.Cut(strings.TrimSpace(line), ": nice ")
		if !ok {
			continue
		}
		threads++
		if want := strconv.Itoa(min(before[0]+lower, 19)); n != want {
			t.Errorf("a thread has the nice value %s, want %s", n, want)
		}
	}
	if threads < 5 {
		t.Errorf("%d threads were seen\n%s", threads, out)
	}
	for _, n := range priorities(t) {
		if n != before[0] {
			t.Errorf("a thread of another process had the nice value %d, and has %d", before[0], n)
		}
	}
}

// priorities returns the nice values of all threads.
func priorities(t *testing.T) (out []int) {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, thread := range threads {
		id, err := strconv.Atoi(thread.Name())
		if err != nil {
			t.Fatal(err)
		}
		if n, err := unix.Getpriority(unix.PRIO_PROCESS, id); err == nil {
			out = append(out, 20-n)
		}
	}
	return out
}
