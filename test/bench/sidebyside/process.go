package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// process is a server that runs.
type process struct {
	name  string
	url   string
	cmd   *exec.Cmd
	log   string
	ended chan struct{}
	once  sync.Once
}

// launch starts a program whose output goes to a file, and waits until it listens on address.
func launch(ctx context.Context, name, dir, address string, args ...string) (*process, error) {
	p := &process{name: name, url: "ldap://" + address, log: filepath.Join(dir, name+".out"), ended: make(chan struct{})}
	out, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	// As many files as the system allows: the lines about connections need them.
	p.cmd = exec.Command("/bin/sh", append([]string{"-c", `ulimit -n "$(ulimit -Hn)"; exec "$@"`, "sh"}, args...)...)
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.Dir = out, out, dir
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.cmd.Wait() // how it ended is told by whoever misses it
		close(p.ended)
	}()
	for deadline := time.Now().Add(2 * time.Minute); ; {
		nc, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			nc.Close()
			return p, nil
		}
		select {
		case <-p.ended:
			return nil, fmt.Errorf("%s ended: %s", name, p.said())
		case <-ctx.Done():
			p.stop()
			return nil, context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			p.stop()
			return nil, fmt.Errorf("%s does not listen: %s", name, p.said())
		}
	}
}

// said is the end of what the process has written.
func (p *process) said() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-3):], "; ")
}

// stop ends the process, if need be by force.
func (p *process) stop() {
	p.once.Do(func() {
		_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		select {
		case <-p.ended:
		case <-time.After(15 * time.Second):
			_ = p.cmd.Process.Kill()
			<-p.ended
		}
	})
}

// once runs a program to its end and returns how long that took. What others have written is on the disk before it begins: slapadd
// -q leaves hundreds of MiB to the kernel, which would be written while the next one is measured.
func once(ctx context.Context, dir string, args ...string) (time.Duration, error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	syscall.Sync()
	began := time.Now()
	err := cmd.Run()
	took := time.Since(began)
	if err != nil && ctx.Err() != nil {
		return took, context.Cause(ctx)
	}
	if err != nil {
		return took, fmt.Errorf("%s: %w: %s", filepath.Base(args[0]), err, lastLine(out.String()))
	}
	return took, nil
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}

// freeAddress returns an address on loopback that nobody listens on.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// clockTick is USER_HZ, in which the kernel tells process times on every architecture that Go runs on.
const clockTick = 10 * time.Millisecond

// family returns a process and its children, of which Portolan has one that hashes passwords.
func family(pid int) []int {
	all := []int{pid}
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		b, _ := os.ReadFile(list) // a thread that has ended has none
		for _, child := range strings.Fields(string(b)) {
			if n, err := strconv.Atoi(child); err == nil {
				all = append(all, n)
			}
		}
	}
	return all
}

// sum adds up what of returns for a process and its children; one of those may end meanwhile.
func sum[N int64 | time.Duration](pid int, of func(pid int) (N, error)) (all N, err error) {
	for i, member := range family(pid) {
		n, err := of(member)
		if err != nil && i == 0 {
			return 0, err
		}
		all += n
	}
	return all, nil
}

// ownCPUTime returns the processor time that this process has used, without its children.
func ownCPUTime() (time.Duration, error) {
	var u syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), err
}

// cpuTime returns the processor time that a process and its children have used.
func cpuTime(pid int) (time.Duration, error) { return sum(pid, cpuTimeOf) }

// cpuTimeOf also counts the children that have ended.
func cpuTimeOf(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name of the program, which may have blanks, stands in brackets before all that is wanted.
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(f) < 15 {
		return 0, errors.New("/proc/PID/stat is not as expected")
	}
	var ticks int64
	for _, field := range f[11:15] { // user and system, of itself and of its children
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * clockTick, nil
}

// resident returns the memory that a process and its children have in use, in octets.
func resident(pid int) (int64, error) { return sum(pid, residentOf) }

func residentOf(pid int) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	kb, err := strconv.ParseInt(strings.TrimSuffix(value(string(b), "VmRSS:"), " kB"), 10, 64)
	return kb << 10, err
}

// settled returns the resident memory when it has stopped to change, or after a few seconds.
func settled(pid int) (int64, error) {
	last, err := resident(pid)
	for range 8 {
		if err != nil {
			break
		}
		time.Sleep(500 * time.Millisecond)
		var now int64
		if now, err = resident(pid); now-last < 1<<18 && last-now < 1<<18 {
			return now, err
		}
		last = now
	}
	return last, err
}

// value returns what stands behind a key in one of the files of /proc.
func value(text, key string) string {
	for line := range strings.SplitSeq(text, "\n") {
		if rest, ok := strings.CutPrefix(line, key); ok {
			return strings.TrimSpace(strings.TrimLeft(rest, " \t:"))
		}
	}
	return ""
}

func procFile(name string) string {
	b, err := os.ReadFile(filepath.Join("/proc", name))
	if err != nil {
		return ""
	}
	return string(b)
}

func cpuModel() string { return value(procFile("cpuinfo"), "model name") }

func kernel() string { return "Linux " + strings.TrimSpace(procFile("sys/kernel/osrelease")) }

func memoryTotal() string {
	kb, err := strconv.ParseInt(strings.TrimSuffix(value(procFile("meminfo"), "MemTotal:"), " kB"), 10, 64)
	if err != nil {
		return "an unknown amount"
	}
	return fmt.Sprintf("%.0f GiB", float64(kb)/(1<<20))
}

// machineTime returns the time that all CPUs together were busy, and that they had, since the machine started.
func machineTime() (busy, all time.Duration) {
	for i, f := range strings.Fields(value(procFile("stat"), "cpu ")) {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil || i >= 8 { // guest time is part of user time
			break
		}
		all += time.Duration(n) * clockTick
		if i != 3 && i != 4 { // idle, and waiting for a disk
			busy += time.Duration(n) * clockTick
		}
	}
	return busy, all
}

// fsyncs returns how many times in a second one writer can make a few octets durable.
func fsyncs(dir string) (float64, error) {
	f, err := os.CreateTemp(dir, "fsync-")
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	b := make([]byte, 512)
	began := time.Now()
	n := 0
	for ; time.Since(began) < time.Second; n++ {
		if _, err := f.Write(b); err != nil {
			return 0, err
		}
		if err := syscall.Fdatasync(int(f.Fd())); err != nil {
			return 0, err
		}
	}
	return float64(n) / time.Since(began).Seconds(), nil
}

// inMemory reports whether a directory is on a file system that keeps nothing.
func inMemory(dir string) bool {
	const tmpfs, ramfs = 0x01021994, 0x858458f6
	var s syscall.Statfs_t
	return syscall.Statfs(dir, &s) == nil && (s.Type == tmpfs || s.Type == ramfs)
}

// autogroup is where Linux keeps the priority of a session against others (sched(7)), beside which that of a process counts
// only within the session.
const autogroup = "/proc/self/autogroup"

// prioritize gives this session, the servers included, a priority like that of nice. The returned function takes it back.
func prioritize(nice int) (restore func(), err error) {
	nothing := func() {}
	was := procFile("self/autogroup")
	if nice == 0 || was == "" {
		return nothing, nil
	}
	old := was[strings.LastIndexByte(strings.TrimSpace(was), ' ')+1:]
	if err := os.WriteFile(autogroup, []byte(strconv.Itoa(nice)), 0); err != nil {
		return nothing, fmt.Errorf("BENCH_NICE=%d: %w", nice, err)
	}
	return func() {
		// The kernel takes a change every 100 ms from those who are not root.
		if err := os.WriteFile(autogroup, []byte(strings.TrimSpace(old)), 0); err != nil {
			say("the priority of this session stays: %v", err)
		}
	}, nil
}
