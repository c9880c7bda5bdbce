package hasher

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"portolan/internal/credential"
)

// The test binary is the process, where the environment is empty but for what a Hasher gives.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "serve" {
		if err := Serve(os.Stdin, os.Stdout); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// small are parameters that take little time, but more than is computed here in any case.
var small = credential.Params{Memory: 1024, Time: 1, Threads: 1, SaltLen: 16, KeyLen: 32}

// logged takes what is logged.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) count(what string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), what)
}

// clock stands still until it is told.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func newHasher(t *testing.T, command ...string) (*Hasher, *logged, *clock) {
	log, now := new(logged), &clock{at: time.Unix(0, 0)}
	h := New(Options{Command: command, Log: slog.New(slog.NewTextHandler(log, nil)), Now: now.now})
	t.Cleanup(h.Close)
	return h, log, now
}

func itself(t *testing.T) string {
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// pid is of the process that runs, 0 without one.
func (h *Hasher) pid() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.current == nil {
		return 0
	}
	return h.current.cmd.Process.Pid
}

// The answers of the process are those of Here.
func TestSameAsHere(t *testing.T) {
	h, log, _ := newHasher(t, itself(t), "serve")
	salts := func() io.Reader { return rand.NewChaCha8([32]byte{1}) }
	var here credential.Here
	stored := func(password string) []byte {
		hash, err := h.Hash(small, []byte(password), salts())
		if err != nil {
			t.Fatal(err)
		}
		want, err := here.Hash(small, []byte(password), salts())
		if err != nil || !bytes.Equal(hash, want) {
			t.Errorf("%s, want %s (%v)", hash, want, err)
		}
		return hash
	}
	right := stored("right")
	long := make([]byte, credential.MaxPassword+1)
	lists := map[string][][]byte{
		"none": nil, "one": {right}, "second": {[]byte("{SSHA}WV3Yk3nxPcJKYVG0Gz0h6NIJWv4zZ1Nh"), right}, "unreadable": {[]byte("{SSHA}x")},
		"unreadable first": {[]byte("{ARGON2}x"), right}, "clear": {[]byte("right")},
	}
	for name, values := range lists {
		for _, password := range [][]byte{[]byte("right"), []byte("wrong"), {}, long, []byte("right\x00")} {
			got, want := h.Check(small, values, password), here.Check(small, values, password)
			if got.Index != want.Index || got.Spent != want.Spent || got.Dummy != want.Dummy || got.Skipped != want.Skipped ||
				got.Secret.Scheme() != want.Secret.Scheme() || (got.Err == nil) != (want.Err == nil) || got.Err != nil && got.Err.Error() != want.Err.Error() {
				t.Errorf("%s, %.10q: %+v, want %+v", name, password, got, want)
			}
		}
	}
	for _, spent := range []credential.Cost{{}, {Work: small.Cost().Work / 2}, small.Cost()} {
		if got, want := h.Equalize(small, []byte("x"), spent), here.Equalize(small, []byte("x"), spent); got != want {
			t.Errorf("%v costs %v to equalize, want %v", spent, got, want)
		}
	}
	for _, bad := range []credential.Params{{}, {Memory: 64, Time: 1, Threads: 1, SaltLen: 1, KeyLen: 32}} {
		_, got := h.Hash(bad, []byte("x"), salts())
		_, want := here.Hash(bad, []byte("x"), salts())
		if got == nil || got.Error() != want.Error() {
			t.Errorf("%v, want %v", got, want)
		}
	}
	if _, err := h.Hash(small, []byte("x"), strings.NewReader("short")); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error("a salt that could not be had:", err)
	}
	if h.pid() == 0 {
		t.Error("there is no process")
	}
	if n := log.count("level=WARN"); n != 0 {
		t.Errorf("%d warnings", n)
	}
}

// Many ask at a time, and each gets the answer to its question; Close waits for them.
func TestManyAsk(t *testing.T) {
	h, log, _ := newHasher(t, itself(t), "serve")
	hashes := make([][]byte, 8)
	for i := range hashes {
		var err error
		if hashes[i], err = h.Hash(small, []byte(strconv.Itoa(i)), rand.NewChaCha8([32]byte{byte(i)})); err != nil {
			t.Fatal(err)
		}
	}
	var wait sync.WaitGroup
	for g := range 8 {
		wait.Go(func() {
			for n := range 40 {
				i := (n + g) % len(hashes)
				if r := h.Check(small, hashes, []byte(strconv.Itoa(i))); r.Index != i {
					t.Errorf("password %d fits hash %d", i, r.Index)
				}
			}
		})
	}
	wait.Wait()
	h.Close()
	if r := h.Check(small, hashes, []byte("3")); r.Index != 3 || h.pid() != 0 {
		t.Error("after Close:", r.Index, h.pid())
	}
	if n := log.count("level=WARN"); n != 0 {
		t.Errorf("%d warnings", n)
	}
}

// A process that is killed is missed by nobody: what it was asked is computed here, and later there is another.
func TestKilled(t *testing.T) {
	h, log, now := newHasher(t, itself(t), "serve")
	hash, err := h.Hash(small, []byte("right"), rand.NewChaCha8([32]byte{}))
	if err != nil {
		t.Fatal(err)
	}
	check := func() {
		t.Helper()
		if r := h.Check(small, [][]byte{hash}, []byte("right")); !r.OK() {
			t.Fatalf("%+v", r)
		}
	}
	for round := 1; round <= 2; round++ {
		check()
		first := h.pid()
		if err := syscall.Kill(first, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		asked := make(chan credential.Result)
		go func() { asked <- h.Check(small, [][]byte{hash}, []byte("right")) }()
		for h.waiting() == 0 { // the question is on its way
			time.Sleep(time.Millisecond)
		}
		if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if r := <-asked; !r.OK() {
			t.Fatalf("%+v", r)
		}
		h.ended.Wait()
		check()
		if h.pid() != 0 {
			t.Fatal("another was started at once")
		}
		if n := log.count("could not be used"); n != round {
			t.Errorf("%d warnings after %d ended", n, round)
		}
		now.add(again)
		check()
		if p := h.pid(); p == 0 || p == first {
			t.Fatal("no other was started")
		}
	}
}

func (h *Hasher) waiting() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.current == nil {
		return 0
	}
	return h.current.waiting
}

// Where there is no such program, or it is another one, everything is computed here, and one warning says so.
func TestNoProcess(t *testing.T) {
	for _, command := range []string{filepath.Join(t.TempDir(), "absent"), "/bin/false", "/bin/echo", "yes"} {
		h, log, now := newHasher(t, command)
		for range 3 {
			hash, err := h.Hash(small, []byte("right"), rand.NewChaCha8([32]byte{}))
			if err != nil {
				t.Fatal(err)
			}
			if r := h.Check(small, [][]byte{hash}, []byte("right")); !r.OK() {
				t.Errorf("%s: %+v", command, r)
			}
			h.ended.Wait()
			now.add(again)
		}
		if n := log.count("could not be used"); n != 1 {
			t.Errorf("%s: %d warnings", command, n)
		}
	}
}

// A process that has nothing to do ends, and the next question starts another.
func TestRest(t *testing.T) {
	h, log, _ := newHasher(t, itself(t), "serve")
	if _, err := h.Hash(small, []byte("x"), rand.NewChaCha8([32]byte{})); err != nil {
		t.Fatal(err)
	}
	h.mu.Lock()
	p := h.current
	h.mu.Unlock()
	h.retire(p)
	h.ended.Wait()
	if h.pid() != 0 {
		t.Fatal("it goes on")
	}
	h.Equalize(small, []byte("x"), credential.Cost{})
	if h.pid() == 0 {
		t.Error("no other was started")
	}
	h.retire(p) // of the first, late
	if h.pid() == 0 {
		t.Error("the second ended with the first")
	}
	if n := log.count("level=WARN"); n != 0 {
		t.Errorf("%d warnings", n)
	}
}

// A digest is compared here, and only what makes failures alike is left to the process.
func TestCheap(t *testing.T) {
	h, _, _ := newHasher(t, itself(t), "serve")
	values := [][]byte{[]byte("{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=")} // of "secret"
	if r := h.Check(small, values, []byte("secret")); !r.OK() || r.Dummy != (credential.Cost{}) || h.pid() != 0 {
		t.Errorf("%+v, process %d", r, h.pid())
	}
	want := small.Check(values, []byte("wrong"))
	if r := h.Check(small, values, []byte("wrong")); r.OK() || r.Spent != want.Spent || r.Dummy != want.Dummy || h.pid() == 0 {
		t.Errorf("%+v, want %+v, process %d", r, want, h.pid())
	}
}

// A nil Hasher is one that is not there.
func TestNil(t *testing.T) {
	var h *Hasher
	h.Close()
}
