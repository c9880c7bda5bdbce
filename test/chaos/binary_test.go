// Package chaos treats the real binary badly: it is killed under load, its disk is filled, and what it acknowledged is
// verified afterwards. PORTOLAN_CHAOS=full makes the long version.
package chaos

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	goldap "github.com/go-ldap/ldap/v3"

	"portolan/internal/ldaptest"
)

const (
	suffix  = "dc=example,dc=org"
	adminDN = "cn=admin," + suffix
	// patience is how long anything may take on the slowest machine; nothing is ever that slow unless it hangs.
	patience = 2 * time.Minute
)

// full reports whether the long version was asked for.
func full() bool { return os.Getenv("PORTOLAN_CHAOS") == "full" }

// binary builds the server once for all tests.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "portolan-chaos-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "portolan")
	build := exec.Command("go", "build", "-o", path, "portolan/cmd/portolan")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := binary(); err == nil {
		os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// site is an initialised directory and the server that serves it.
type site struct {
	t        *testing.T
	dir      string
	url      string
	password string
	cmd      *exec.Cmd
	stderr   *tail
	ended    chan error
}

// tail keeps the end of what a server says, and tells when it is ready.
type tail struct {
	mu    sync.Mutex
	lines []string
	ready chan struct{}
}

func (l *tail) follow(r io.Reader) {
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		l.mu.Lock()
		if strings.Contains(s.Text(), "conn=") {
			l.mu.Unlock()
			continue
		}
		l.lines = append(l.lines, s.Text())
		if s.Text() == "portolan: ready" {
			close(l.ready)
		}
		l.mu.Unlock()
	}
}

func (l *tail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines[max(0, len(l.lines)-8):], "\n")
}

// newSite makes a directory with portolan init in dir.
func newSite(t *testing.T, dir string) *site {
	t.Helper()
	// A server that was killed is started again where it was: nobody may take its ports meanwhile.
	ports, err := ldaptest.FreePorts(2)
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, dir: dir, url: fmt.Sprintf("ldap://127.0.0.1:%d", ports[0])}
	out := s.run(0, "init", "--suffix", suffix, "--dir", dir, "--address", "127.0.0.1",
		"--ldap-port", strconv.Itoa(ports[0]), "--ldaps-port", strconv.Itoa(ports[1]))
	_, after, ok := strings.Cut(out, "with the password")
	if !ok {
		t.Fatalf("init says no password: %s", out)
	}
	s.password = strings.Fields(after)[0]
	f, err := os.OpenFile(s.config(), os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(moreOverlays)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// moreOverlays switches on what init leaves off: check then has numbers, references and groups to verify.
const moreOverlays = `
[overlay.dynlist]
groups = true
[[overlay.autonumber.range]]
attribute = "uidNumber"
filter = "(objectClass=posixAccount)"
first = 1000
last = 9999999
[[overlay.constraint.rule]]
attributes = "manager"
exists = "ldap:///` + suffix + `??sub?(objectClass=person)"
[[overlay.valsort.rule]]
attributes = "member"
order = "alpha-ascend"
`

func (s *site) config() string { return filepath.Join(s.dir, "portolan.toml") }

// run runs a command to its end and demands an exit code.
func (s *site) run(code int, args ...string) string {
	s.t.Helper()
	path, err := binary()
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, args...).CombinedOutput()
	var exit *exec.ExitError
	got := 0
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		s.t.Fatal(err)
	}
	if got != code {
		s.t.Fatalf("portolan %s: exit code %d, want %d: %s", strings.Join(args, " "), got, code, out)
	}
	return string(out)
}

// start starts the server and waits until it is ready.
func (s *site) start() {
	s.t.Helper()
	path, err := binary()
	if err != nil {
		s.t.Fatal(err)
	}
	s.cmd = exec.Command(path, "serve", "--config", s.config())
	pipe, err := s.cmd.StderrPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	s.stderr = &tail{ready: make(chan struct{})}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	followed := make(chan struct{})
	go func() { s.stderr.follow(pipe); close(followed) }()
	s.ended = make(chan error, 1)
	cmd, ended := s.cmd, s.ended
	go func() { <-followed; ended <- cmd.Wait() }()
	s.t.Cleanup(func() { _ = cmd.Process.Kill() })
	select {
	case <-s.stderr.ready:
	case err := <-s.ended:
		s.t.Fatalf("the server ended at its start: %v\n%s", err, s.stderr)
	case <-time.After(patience):
		s.t.Fatalf("the server is not ready in time:\n%s", s.stderr)
	}
}

// end sends a signal and waits for the end.
func (s *site) end(sig syscall.Signal) error {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
	select {
	case err := <-s.ended:
		return err
	case <-time.After(patience):
		s.t.Fatalf("the server goes on %v after %v", patience, sig)
		return nil
	}
}

// dial returns a connection that is bound as the administrator.
func (s *site) dial() (*goldap.Conn, error) {
	c, err := goldap.DialURL(s.url)
	if err != nil {
		return nil, err
	}
	c.SetTimeout(patience)
	if err := c.Bind(adminDN, s.password); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// mustDial is dial where the server must be well.
func (s *site) mustDial() *goldap.Conn {
	s.t.Helper()
	c, err := s.dial()
	if err != nil {
		s.t.Fatalf("%v\n%s", err, s.stderr)
	}
	return c
}

// stop ends the server in order and demands that it says so with exit code 0.
func (s *site) stop() {
	s.t.Helper()
	if err := s.end(syscall.SIGTERM); err != nil {
		s.t.Errorf("the end by SIGTERM: %v\n%s", err, s.stderr)
	}
}

// check demands that portolan check finds nothing, and that nobody seems to have touched the audit log.
func (s *site) check() {
	s.t.Helper()
	s.run(0, "check", "--config", s.config())
	s.run(0, "audit", "verify", "--config", s.config())
}

// audited demands that every record of the journal since the audit log was begun has its line. The server must be running.
func (s *site) audited() {
	s.t.Helper()
	s.run(0, "audit", "verify", "--config", s.config()) // the server writes all that it has
	var status struct {
		Journal struct{ First, Last uint64 }
	}
	if err := json.Unmarshal([]byte(s.run(0, "status", "--json", "--config", s.config())), &status); err != nil {
		s.t.Fatal(err)
	}
	lines := map[uint64]int{}
	begun := uint64(0)
	for l := range strings.Lines(s.run(0, "audit", "tail", "--config", s.config(), "--json", "--lines", "0")) {
		var e struct {
			N, Seq, Journal uint64
			Event           string
		}
		if err := json.Unmarshal([]byte(l), &e); err != nil {
			s.t.Fatalf("%v: %s", err, l)
		}
		if e.N == 1 {
			begun = e.Journal
		}
		lines[e.Seq]++
	}
	without, twice := 0, 0
	for seq := max(begun+1, status.Journal.First); seq <= status.Journal.Last; seq++ {
		switch n := lines[seq]; {
		case n == 0:
			without++
		case n > 1:
			twice++
		}
	}
	if without+twice > 0 {
		s.t.Errorf("of the records %d to %d %d have no line in the audit log, %d have two", begun+1, status.Journal.Last, without, twice)
	}
}
