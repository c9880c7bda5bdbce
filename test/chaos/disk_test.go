package chaos

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	goldap "github.com/go-ldap/ldap/v3"
)

// smallDisk mounts a file system of its own for a test.
func smallDisk(t *testing.T, megabytes int) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm,mode=0700", megabytes)); err != nil {
		if full() {
			t.Fatalf("no file system could be mounted (this test needs root): %v", err)
		}
		t.Skipf("no file system could be mounted, which needs root: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func addPerson(c *goldap.Conn, uid string) error {
	add := goldap.NewAddRequest(person(uid), nil)
	add.Attribute("objectClass", []string{"inetOrgPerson"})
	add.Attribute("cn", []string{uid})
	add.Attribute("sn", []string{uid})
	return c.Add(add)
}

func person(uid string) string { return fmt.Sprintf("uid=%s,ou=people,%s", uid, suffix) }

// TestFullDisk fills the disk: writes are refused and say why, reads go on, and writes resume when there is space.
func TestFullDisk(t *testing.T) {
	s := newSite(t, filepath.Join(smallDisk(t, 400), "site")) // limits.min_free_bytes is 256 MiB
	s.start()
	c, err := s.dial()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var acknowledged []string
	write := func(uid string) error {
		err := addPerson(c, uid)
		if err == nil {
			acknowledged = append(acknowledged, uid)
		}
		return err
	}
	if err := write("before"); err != nil {
		t.Fatal(err)
	}
	ballast := filepath.Join(filepath.Dir(s.dir), "ballast")
	fill(t, ballast)
	refused := until(t, "writes are refused", func(n int) bool {
		err := write(fmt.Sprintf("full%d", n))
		if err == nil {
			return false
		}
		if !goldap.IsErrorWithCode(err, goldap.LDAPResultUnwillingToPerform) || !strings.Contains(err.Error(), "disk is full") {
			t.Fatalf("a write on a full disk: %v", err)
		}
		return true
	})
	t.Logf("%d writes before the refusal", refused)
	if _, err := c.Search(goldap.NewSearchRequest(person("before"), goldap.ScopeBaseObject, goldap.NeverDerefAliases, 0, 0, false, "(objectClass=*)", nil, nil)); err != nil {
		t.Errorf("a read on a full disk: %v", err)
	}
	if other, err := s.dial(); err != nil {
		t.Errorf("a bind on a full disk: %v", err)
	} else {
		other.Close()
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	until(t, "writes resume", func(n int) bool { return write(fmt.Sprintf("again%d", n)) == nil })
	if err := s.end(syscall.SIGTERM); err != nil {
		t.Errorf("%v\n%s", err, s.stderr)
	}
	s.check()
	s.start()
	after, err := s.dial()
	if err != nil {
		t.Fatal(err)
	}
	defer after.Close()
	for _, uid := range acknowledged {
		if _, err := after.Search(goldap.NewSearchRequest(person(uid), goldap.ScopeBaseObject, goldap.NeverDerefAliases, 0, 0, false, "(objectClass=*)", nil, nil)); err != nil {
			t.Errorf("%s was acknowledged: %v", uid, err)
		}
	}
}

// fill writes until the file system is full but for a little.
func fill(t *testing.T, path string) {
	t.Helper()
	var fs syscall.Statfs_t
	if err := syscall.Statfs(filepath.Dir(path), &fs); err != nil {
		t.Fatal(err)
	}
	const left = 16 << 20
	size := int64(fs.Bavail)*fs.Bsize - left
	if size <= 0 {
		t.Fatalf("only %d octets are free before anything was filled", int64(fs.Bavail)*fs.Bsize)
	}
	if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
}

// until repeats f until it reports true, and returns how often that took. It is patient: no machine is too slow.
func until(t *testing.T, what string, f func(n int) bool) int {
	t.Helper()
	begun := time.Now()
	for n := 0; ; n++ {
		if f(n) {
			return n
		}
		if time.Since(begun) > time.Minute {
			t.Fatalf("%s: not within a minute", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// TestDiskGoesReadOnly takes the disk's writability away under the server: the process ends with one clear line or
// refuses, and after a restart everything that was acknowledged is there.
func TestDiskGoesReadOnly(t *testing.T) {
	mount := smallDisk(t, 1024)
	s := newSite(t, filepath.Join(mount, "site"))
	s.start()
	c, err := s.dial()
	if err != nil {
		t.Fatal(err)
	}
	if err := addPerson(c, "before"); err != nil {
		t.Fatal(err)
	}
	c.Close()
	// What a broken disk does to a running server is seen best from a second start: it must say what is wrong, in one line.
	if err := s.end(syscall.SIGKILL); err == nil {
		t.Fatal("SIGKILL ended nothing")
	}
	if err := syscall.Mount("", mount, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	out := s.run(1, "serve", "--config", s.config())
	lines := strings.Split(strings.TrimSpace(out), "\n")
	last := lines[len(lines)-1]
	if !strings.HasPrefix(last, "portolan: ") || !strings.Contains(last, "data_dir") || strings.Contains(out, "goroutine") {
		t.Errorf("the start on a read-only disk says: %s", out)
	}
	if err := syscall.Mount("", mount, "", syscall.MS_REMOUNT, ""); err != nil {
		t.Fatal(err)
	}
	s.check()
	s.start()
	if c, err = s.dial(); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := addPerson(c, "before"); !goldap.IsErrorWithCode(err, goldap.LDAPResultEntryAlreadyExists) {
		t.Errorf("what was acknowledged before: %v", err)
	}
}

// TestDiskFailsUnderTheServer takes the last octet of the disk away, past the floor that would have refused writes in
// time: the storage gets a real error. The server refuses or ends with one clear line; after a restart with space
// everything that was acknowledged is there.
func TestDiskFailsUnderTheServer(t *testing.T) {
	if !full() {
		t.Skip("takes a minute and a half, most of it waiting for the storage to give up: run with PORTOLAN_CHAOS=full")
	}
	mount := smallDisk(t, 400)
	s := newSite(t, filepath.Join(mount, "site"))
	text, err := os.ReadFile(s.config())
	if err != nil {
		t.Fatal(err)
	}
	without := strings.Replace(string(text), "[limits]\n", "[limits]\nmin_free_bytes = 0\n", 1)
	if without == string(text) {
		t.Fatal("the configuration has no [limits]")
	}
	if err := os.WriteFile(s.config(), []byte(without), 0o600); err != nil {
		t.Fatal(err)
	}
	s.start()
	c, err := s.dial()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ballast := filepath.Join(mount, "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	for chunk := make([]byte, 1<<20); ; {
		if _, err := f.Write(chunk); err != nil {
			break
		}
	}
	f.Close()
	var acknowledged []string
	photo := strings.Repeat("x", 64<<10)
	until(t, "the storage fails", func(n int) bool {
		add := goldap.NewAddRequest(person(fmt.Sprintf("p%d", n)), nil)
		add.Attribute("objectClass", []string{"inetOrgPerson"})
		add.Attribute("cn", []string{"P"})
		add.Attribute("sn", []string{"P"})
		add.Attribute("description", []string{photo})
		if err := c.Add(add); err != nil {
			return true
		}
		acknowledged = append(acknowledged, fmt.Sprintf("p%d", n))
		return false
	})
	t.Logf("%d writes were acknowledged on a full disk", len(acknowledged))
	select {
	case <-s.ended:
		said := strings.Split(strings.TrimSpace(s.stderr.String()), "\n")
		if last := said[len(said)-1]; !strings.HasPrefix(last, "portolan: ") || strings.Contains(s.stderr.String(), "goroutine") {
			t.Errorf("the server ended with: %s", s.stderr)
		}
	case <-time.After(5 * time.Second):
		t.Log("the server refuses and lives on")
		_ = s.end(syscall.SIGKILL)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	s.check()
	s.start()
	after, err := s.dial()
	if err != nil {
		t.Fatal(err)
	}
	defer after.Close()
	for _, uid := range acknowledged {
		if _, err := after.Search(goldap.NewSearchRequest(person(uid), goldap.ScopeBaseObject, goldap.NeverDerefAliases, 0, 0, false, "(objectClass=*)", []string{"1.1"}, nil)); err != nil {
			t.Errorf("%s was acknowledged: %v", uid, err)
		}
	}
}
