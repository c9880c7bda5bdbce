package cli

import (
	"bufio"
	"bytes"
	"encoding/binary"
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

	"github.com/rogpeppe/go-internal/testscript"

	"portolan/internal/kv/pebblekv"
	"portolan/internal/ldaptest"
	"portolan/internal/store"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"portolan": func() { os.Exit(Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) },
	})
}

// TestScripts runs the dialogues in testdata/script. Beside testscript's own commands they have:
//
//	server start CONFIG ARGS...   run "portolan serve" (or, with "demo ARGS...", the demo) and wait until it is ready
//	server stop           end it with SIGTERM, demand exit code 0; server.log then holds what it said
//	server reload         send SIGHUP and wait until the server has logged the outcome
//	code N ARGS...        run portolan and demand this exit code and one line on standard error
//	freeports NAME...     set variables to ports that nobody listens on
//	patch FILE OLD NEW    replace text in a file, which must be there
//	newformat DIR         mark a store as written by a later version
//	bind N DN WORD...     bind at $PORT and demand this result code; a word that names a file stands for its first line, and
//	                      the words together are the password
//	says OCTETS TEXT      send octets, as in a text of Go, to $PORT: the answer has TEXT in it, and the connection ends
//	totp FILE TO [STEPS]  write the code of a token, of whose otpauth URI FILE is, now or some steps later
//	part FILE PATTERN TO  write what the parenthesis of a pattern matches
//	absent FILE NAME...   demand that a file has none of the first lines of others in it
//	pasted FILE           run every indented line of a file with sh and demand success
func TestScripts(t *testing.T) {
	servers := &servers{running: make(map[*testscript.TestScript]*server)}
	// Paths of Unix sockets are short, and those of t.TempDir are not.
	root, err := os.MkdirTemp("", "pt")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		WorkdirRoot:         root,
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("PORTOLAN_CONFIG", "")
			return nil
		},
		Condition: func(cond string) (bool, error) {
			if name, ok := strings.CutPrefix(cond, "tool:"); ok {
				_, err := exec.LookPath(name)
				return err == nil, nil
			}
			if cond == "root" {
				return os.Geteuid() == 0, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"server":    servers.command,
			"code":      code,
			"freeports": freePorts,
			"patch":     patch,
			"pasted":    pasted,
			"newformat": newFormat,
			"bind":      bindAt,
			"says":      says,
			"totp":      totp,
			"part":      part,
			"absent":    absent,
		},
	})
}

// server is a portolan process that serves.
type server struct {
	cmd   *exec.Cmd
	out   string
	ended chan struct{} // its standard error has ended

	mu     sync.Mutex
	log    bytes.Buffer
	waiter func(line string)
}

type servers struct {
	mu      sync.Mutex
	running map[*testscript.TestScript]*server
}

func (s *servers) command(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: server start CONFIG | start demo ARGS... | stop | reload")
	}
	s.mu.Lock()
	running := s.running[ts]
	s.mu.Unlock()
	switch args[0] {
	case "start":
		command := append([]string{"serve", "--config"}, args[1:]...)
		if args[1] == "demo" {
			command = args[1:]
		}
		running = start(ts, command)
		s.mu.Lock()
		s.running[ts] = running
		s.mu.Unlock()
	case "stop":
		running.stop(ts)
	case "reload":
		running.reload(ts)
	default:
		ts.Fatalf("server %s is not known", args[0])
	}
}

func start(ts *testscript.TestScript, args []string) *server {
	path, err := exec.LookPath("portolan")
	ts.Check(err)
	s := &server{cmd: exec.Command(path, args...), out: ts.MkAbs("server.log"), ended: make(chan struct{})}
	s.cmd.Dir = ts.MkAbs(".")
	s.cmd.Env = append(os.Environ(), "PORTOLAN_CONFIG=", "TMPDIR="+ts.Getenv("TMPDIR"), "HOME="+ts.Getenv("HOME"))
	stdout, err := os.Create(ts.MkAbs("server.out"))
	ts.Check(err)
	defer stdout.Close()
	s.cmd.Stdout = stdout
	stderr, err := s.cmd.StderrPipe()
	ts.Check(err)
	ready := s.await("portolan: ready")
	ts.Check(s.cmd.Start())
	ts.Defer(func() {
		// A script that failed leaves it running.
		if s.cmd.ProcessState == nil {
			s.cmd.Process.Kill()
			<-s.ended
			s.cmd.Wait()
		}
	})
	go s.read(stderr)
	select {
	case <-ready:
	case <-s.ended:
		ts.Fatalf("the server ended before it was ready: %s", s.text())
	}
	return s
}

func (s *server) read(r io.Reader) {
	defer close(s.ended)
	for lines := bufio.NewScanner(r); lines.Scan(); {
		s.mu.Lock()
		fmt.Fprintln(&s.log, lines.Text())
		waiter := s.waiter
		s.mu.Unlock()
		if waiter != nil {
			waiter(lines.Text())
		}
	}
}

// await returns a channel that is closed when a line with one of the texts comes.
func (s *server) await(texts ...string) <-chan struct{} {
	came := make(chan struct{})
	var once sync.Once
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiter = func(line string) {
		for _, text := range texts {
			if strings.Contains(line, text) {
				once.Do(func() { close(came) })
			}
		}
	}
	return came
}

func (s *server) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

func (s *server) reload(ts *testscript.TestScript) {
	told := s.await("was reloaded", "was not reloaded")
	ts.Check(s.cmd.Process.Signal(syscall.SIGHUP))
	select {
	case <-told:
		ts.Check(os.WriteFile(s.out, []byte(s.text()), 0o600))
	case <-s.ended:
		ts.Fatalf("the server ended instead of reloading: %s", s.text())
	}
}

func (s *server) stop(ts *testscript.TestScript) {
	ts.Check(s.cmd.Process.Signal(syscall.SIGTERM))
	<-s.ended
	err := s.cmd.Wait()
	ts.Check(os.WriteFile(s.out, []byte(s.text()), 0o600))
	if err != nil {
		ts.Fatalf("the server ended with %v: %s", err, s.text())
	}
}

// code runs a command line that is to fail in one line.
func code(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N ARGS...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	cmd := exec.Command("portolan", args[1:]...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = append(os.Environ(), "PORTOLAN_CONFIG=", "TMPDIR="+ts.Getenv("TMPDIR"))
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	runErr := cmd.Run()
	ts.Logf("[stdout]\n%s[stderr]\n%s", stdout.String(), stderr.String())
	ts.Check(os.WriteFile(ts.MkAbs("stderr.txt"), stderr.Bytes(), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs("stdout.txt"), stdout.Bytes(), 0o600))
	if cmd.ProcessState == nil {
		ts.Fatalf("portolan did not run: %v", runErr)
	}
	if got := cmd.ProcessState.ExitCode(); got != want {
		ts.Fatalf("the exit code is %d, want %d", got, want)
	}
	if n := strings.Count(stderr.String(), "\n"); n != 1 || !strings.HasSuffix(stderr.String(), "\n") {
		ts.Fatalf("standard error has %d lines, want one", n)
	}
}

// freePorts finds ports that stay free until the script uses them.
func freePorts(ts *testscript.TestScript, neg bool, args []string) {
	ports, err := ldaptest.FreePorts(len(args))
	ts.Check(err)
	for i, name := range args {
		ts.Setenv(name, strconv.Itoa(ports[i]))
	}
}

func patch(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: patch FILE OLD NEW")
	}
	text := ts.ReadFile(args[0])
	if !strings.Contains(text, args[1]) {
		ts.Fatalf("%s does not hold %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.Replace(text, args[1], args[2], 1)), 0o600))
}

// newFormat writes the format version of a store that is far ahead.
func newFormat(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: newformat DIR")
	}
	db, err := pebblekv.Open(ts.MkAbs(args[0]), pebblekv.Options{Merger: store.Merger()})
	ts.Check(err)
	b := db.NewBatch()
	ts.Check(b.Set([]byte("mformat"), binary.BigEndian.AppendUint32(nil, 4711)))
	ts.Check(db.Apply(b))
	ts.Check(db.Sync())
	ts.Check(b.Close())
	ts.Check(db.Close())
}

// pasted does what somebody does who pastes the lines of a text into a terminal. What they say goes into pasted.txt.
func pasted(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: pasted FILE")
	}
	lines := 0
	var said bytes.Buffer
	for line := range strings.SplitSeq(ts.ReadFile(args[0]), "\n") {
		command, ok := strings.CutPrefix(line, "    ")
		if !ok || strings.HasPrefix(command, "portolan serve") {
			continue
		}
		lines++
		cmd := exec.Command("sh", "-c", command)
		cmd.Dir = ts.MkAbs(".")
		out, err := cmd.CombinedOutput()
		fmt.Fprintf(&said, "$ %s\n%s", command, out)
		if err != nil {
			ts.Fatalf("%s\n%s%v", command, out, err)
		}
	}
	if lines == 0 {
		ts.Fatalf("%s has no line to paste", args[0])
	}
	ts.Check(os.WriteFile(filepath.Join(ts.MkAbs("."), "pasted.txt"), said.Bytes(), 0o600))
}
