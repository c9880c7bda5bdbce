//go:build linux

package privilege

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// role names the variable that makes the test program a process to be looked at.
const role = "PORTOLAN_TEST_ROLE"

func TestMain(m *testing.M) {
	if os.Getenv(role) != "" {
		if err := lowly(os.Getenv("PORTOLAN_TEST_FILE")); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("lowly")
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// lowly is the life of a server started by root: it becomes nobody, opens a low port, gives the rest up, and finds that nothing of
// what it gave up comes back, on any thread.
func lowly(file string) error {
	if err := Harden(); err != nil {
		return err
	}
	a, err := Lookup("nobody")
	if err != nil {
		return err
	}
	if err := Become(a); err != nil {
		return err
	}
	if _, err := os.ReadFile(file); !os.IsPermission(err) {
		return fmt.Errorf("a file of root's could be read: %v", err)
	}
	ln, err := net.Listen("tcp", "127.0.0.93:393")
	if err != nil {
		return fmt.Errorf("a low port: %w", err)
	}
	defer ln.Close()
	if err := Renounce(); err != nil {
		return err
	}
	if other, err := net.Listen("tcp", "127.0.0.93:394"); err == nil {
		other.Close()
		return fmt.Errorf("a low port could be opened after Renounce")
	}
	if err := unix.Setuid(0); err == nil {
		return fmt.Errorf("the process became root again")
	}
	tasks, err := filepath.Glob("/proc/self/task/*/status")
	if err != nil || len(tasks) < 2 {
		return fmt.Errorf("%d threads, %v", len(tasks), err)
	}
	for _, task := range tasks {
		b, err := os.ReadFile(task)
		if err != nil {
			return err
		}
		for _, want := range []string{
			fmt.Sprintf("Uid:\t%d\t%d\t%d\t%d\n", a.UID, a.UID, a.UID, a.UID), fmt.Sprintf("Gid:\t%d\t%d\t%d\t%d\n", a.GID, a.GID, a.GID, a.GID),
			"CapInh:\t0000000000000000\n", "CapPrm:\t0000000000000000\n", "CapEff:\t0000000000000000\n", "CapAmb:\t0000000000000000\n", "NoNewPrivs:\t1\n",
		} {
			if !strings.Contains(string(b), want) {
				return fmt.Errorf("%s lacks %q:\n%s", task, want, b)
			}
		}
	}
	var core unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &core); err != nil || core.Cur != 0 || core.Max != 0 {
		return fmt.Errorf("cores of %d octets, %v", core.Cur, err)
	}
	return nil
}

func TestBecomeAndRenounce(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user")
	}
	if cgo {
		t.Skip("threads cannot be changed together in a program with cgo; the program that ships has none")
	}
	secret := filepath.Join(t.TempDir(), "root-only")
	if err := os.WriteFile(secret, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	// nobody must be able to start the program: it stands where tests are built, for root alone.
	c := exec.Command("/proc/self/exe")
	c.Env = []string{role + "=1", "PORTOLAN_TEST_FILE=" + secret}
	if out, err := c.CombinedOutput(); err != nil || string(out) != "lowly\n" {
		t.Fatalf("%v: %s", err, out)
	}
}

func TestLookup(t *testing.T) {
	if _, err := Lookup("no-such-user"); err == nil || !strings.Contains(err.Error(), "useradd --system no-such-user") {
		t.Error(err)
	}
	a, err := Lookup("root")
	if err != nil || a.UID != 0 {
		t.Error(a, err)
	}
}

// TestStranger: who is neither root nor the user cannot become it, and is told so.
func TestStranger(t *testing.T) {
	other := Account{Name: "other", UID: os.Geteuid() + 4242, GID: os.Getegid()}
	if os.Geteuid() == 0 {
		return // root can: TestBecomeAndRenounce
	}
	if err := Become(other); err == nil || !strings.Contains(err.Error(), "start it as root or as other") {
		t.Error(err)
	}
}
