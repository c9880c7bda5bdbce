package pebblekv_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"portolan/internal/kv"
	"portolan/internal/kv/kvtest"
	"portolan/internal/kv/pebblekv"
)

// breakable is a file system whose writes to files with one suffix fail while it is broken.
type breakable struct {
	vfs.FS
	broken atomic.Bool
}

func newBreakable(err error, match func(errorfs.Op) bool) *breakable {
	b := &breakable{}
	b.FS = errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if b.broken.Load() && op.Kind.ReadOrWrite() == errorfs.OpIsWrite && match(op) {
			return err
		}
		return nil
	}))
	return b
}

// fatals collects what OnFatal was told.
type fatals struct {
	mu   sync.Mutex
	errs []error
}

func (f *fatals) add(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.errs = append(f.errs, err)
}

func (f *fatals) want(t *testing.T, n int, target error) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.errs) != n {
		t.Fatalf("OnFatal was called %d times, want %d: %v", len(f.errs), n, f.errs)
	}
	for _, err := range f.errs {
		if !errors.Is(err, target) {
			t.Errorf("OnFatal was told %v, want %v", err, target)
		}
	}
}

func isJournal(op errorfs.Op) bool  { return strings.HasSuffix(op.Path, ".log") }
func isManifest(op errorfs.Op) bool { return strings.Contains(op.Path, "MANIFEST") }
func isTable(op errorfs.Op) bool    { return strings.HasSuffix(op.Path, ".sst") }

// TestFatal: the journal or the manifest cannot be written. The call says so, OnFatal hears it once, and every later call
// says the same.
func TestFatal(t *testing.T) {
	write := func(db *pebblekv.DB) error { return errors.Join(writeNth(db, 2), db.Sync()) }
	bulk := func(db *pebblekv.DB) error {
		b, err := db.NewBulk()
		if err != nil {
			return fmt.Errorf("NewBulk: %v", err) // not what is looked for
		}
		if err := b.Add([]byte("x"), nil); err != nil {
			return fmt.Errorf("Add: %v", err)
		}
		return b.Finish()
	}
	tests := []struct {
		name   string
		match  func(errorfs.Op) bool
		fault  error
		want   error
		act    func(*pebblekv.DB) error
		phrase string
	}{
		{"journal, disk full", isJournal, syscall.ENOSPC, kv.ErrNoSpace, write, "no space left"},
		{"journal, quota", isJournal, syscall.EDQUOT, kv.ErrNoSpace, write, "quota"},
		{"journal, broken disk", isJournal, syscall.EIO, syscall.EIO, write, "input/output error"},
		{"manifest, disk full", isManifest, syscall.ENOSPC, kv.ErrNoSpace, bulk, "no space left"},
		{"checkpoint, broken disk", isJournal, syscall.EIO, syscall.EIO,
			func(db *pebblekv.DB) error { return errors.Join(writeNth(db, 2), db.Checkpoint("copy")) }, "input/output error"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fs := newBreakable(tt.fault, tt.match)
			var heard fatals
			db, err := pebblekv.Open("data", pebblekv.Options{Merger: kvtest.Merger{}, FS: fs, OnFatal: heard.add})
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(writeNth(db, 1), db.Sync()); err != nil {
				t.Fatal(err)
			}
			pending := db.NewBatch()
			fs.broken.Store(true)
			err = tt.act(db)
			if !errors.Is(err, tt.want) || !strings.Contains(fmt.Sprint(err), tt.phrase) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
			heard.want(t, 1, tt.want)

			// Even when the disk comes back: what the engine holds in memory may no longer be what is on disk.
			fs.broken.Store(false)
			_, err = db.Get(nil, []byte("seq"))
			for what, err := range map[string]error{
				"Get": err, "Apply": db.Apply(pending), "Sync": db.Sync(), "Close": db.Close(), "Compact": db.Compact(nil, nil),
			} {
				if !errors.Is(err, tt.want) {
					t.Errorf("%s afterwards: error %v, want %v", what, err, tt.want)
				}
			}
			if m := db.Metrics(); len(m) != 0 {
				t.Errorf("metrics of a failed store: %v", m)
			}
			heard.want(t, 1, tt.want)
		})
	}
}

// TestFlushOnFullDisk: a flush that fails is not the end. Reads and writes go on, and the flush is made up for.
func TestFlushOnFullDisk(t *testing.T) {
	fs := newBreakable(syscall.ENOSPC, isTable)
	var heard fatals
	failed := make(chan string, 1)
	db, err := pebblekv.Open("data", pebblekv.Options{
		Merger: kvtest.Merger{}, FS: fs, MemtableBytes: 256 << 10, OnFatal: heard.add,
		Logger: func(level, msg string) {
			if level == "error" && strings.Contains(msg, "flush") {
				select {
				case failed <- msg:
				default:
				}
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if db.NoSpace() {
		t.Error("a new store says that its disk is full")
	}
	fs.broken.Store(true)
	n := 1
	for ; len(failed) == 0; n++ {
		if n == 10 {
			// More would run into the limit of memtables, and wait.
			break
		}
		b := db.NewBatch()
		if err := errors.Join(b.Set(fmt.Appendf(nil, "big%d", n), make([]byte, 30<<10)), db.Apply(b)); err != nil {
			t.Fatal(err)
		}
	}
	if msg := <-failed; !strings.Contains(msg, "no space left") {
		t.Errorf("the log says %q", msg)
	}
	if v, err := db.Get(nil, []byte("big1")); err != nil || len(v) != 30<<10 {
		t.Errorf("Get while flushes fail: %d octets, %v", len(v), err)
	}
	if err := db.Sync(); err != nil {
		t.Errorf("Sync while flushes fail: %v", err)
	}
	if !db.NoSpace() {
		t.Error("the store does not say that its disk is full")
	}
	if db.Metrics()["background_errors_total"] == 0 {
		t.Error("the failed flush is not in the metrics")
	}
	fs.broken.Store(false)
	if err := db.Compact(nil, nil); err != nil {
		t.Errorf("Compact after the disk has space again: %v", err)
	}
	if db.NoSpace() {
		t.Error("the store says that its disk is full after it could write")
	}
	if m := db.Metrics(); m["table_files"] == 0 {
		t.Errorf("nothing was flushed: %v", m)
	}
	if v, err := db.Get(nil, []byte("big1")); err != nil || len(v) != 30<<10 {
		t.Errorf("Get after the flush: %d octets, %v", len(v), err)
	}
	heard.want(t, 0, nil)
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}

// TestBulkOnFullDisk: the load fails, the store does not.
func TestBulkOnFullDisk(t *testing.T) {
	fs := newBreakable(syscall.ENOSPC, isTable)
	db := openOn(t, "data", fs)
	b, err := db.NewBulk()
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Add([]byte("a"), nil); err != nil {
		t.Fatal(err)
	}
	fs.broken.Store(true)
	if err := b.Finish(); !errors.Is(err, kv.ErrNoSpace) {
		t.Errorf("Finish: %v, want %v", err, kv.ErrNoSpace)
	}
	if err := b.Finish(); err == nil {
		t.Error("Finish succeeded after it had failed")
	}
	fs.broken.Store(false)
	names, err := fs.List("data")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasPrefix(name, "bulk-") {
			t.Errorf("the failed load left %s", name)
		}
	}
	if err := errors.Join(writeNth(db, 1), db.Sync()); err != nil {
		t.Error(err)
	}
	if _, err := db.Get(nil, []byte("a")); !errors.Is(err, kv.ErrNotFound) {
		t.Errorf("Get of a key that was not loaded: %v", err)
	}
}

func TestOpenErrors(t *testing.T) {
	all := func(errorfs.Op) bool { return true }
	tests := []struct {
		name     string
		fault    error
		match    func(errorfs.Op) bool
		readOnly bool
		want     error
		phrase   string
	}{
		{"full disk", syscall.ENOSPC, all, false, kv.ErrNoSpace, "free some disk space"},
		{"full disk at the manifest", syscall.ENOSPC, isManifest, false, kv.ErrNoSpace, "free some disk space"},
		{"read-only medium", syscall.EROFS, all, false, kv.ErrReadOnly, "cannot be written to"},
		{"no right to write", &os.PathError{Op: "open", Path: "data/LOCK", Err: syscall.EACCES}, all, false, kv.ErrReadOnly, "make it writable"},
		{"broken disk", syscall.EIO, all, false, syscall.EIO, "input/output error"},
		{"not there", nil, all, true, nil, "does not exist"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fs := newBreakable(tt.fault, tt.match)
			fs.broken.Store(tt.fault != nil)
			var heard fatals
			db, err := pebblekv.Open("some/data", pebblekv.Options{FS: fs, ReadOnly: tt.readOnly, OnFatal: heard.add})
			if err == nil {
				db.Close()
				t.Fatal("Open succeeded")
			}
			if tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
			if s := err.Error(); !strings.Contains(s, "some/data") || !strings.Contains(s, tt.phrase) {
				t.Errorf("error %q does not say where, or not %q", s, tt.phrase)
			}
			heard.want(t, 0, nil) // Open returned it
			if tt.fault == nil {
				return
			}
			// The attempt must leave nothing behind that keeps the next one from working.
			fs.broken.Store(false)
			db, err = pebblekv.Open("some/data", pebblekv.Options{FS: fs, ReadOnly: tt.readOnly})
			if err != nil {
				t.Fatalf("Open after the fault: %v", err)
			}
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestReadOnly: reading works, changing does not, and no file is touched.
func TestReadOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	db, err := pebblekv.Open(dir, pebblekv.Options{Merger: kvtest.Merger{}})
	if err != nil {
		t.Fatal(err)
	}
	for n := range 20 {
		if err := writeNth(db, n+1); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(db.Sync(), db.Close()); err != nil {
		t.Fatal(err)
	}
	leftover := filepath.Join(dir, "bulk-000007.tmp")
	if err := os.Mkdir(leftover, 0o700); err != nil {
		t.Fatal(err)
	}
	files := func() string {
		var b strings.Builder
		filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
			if err != nil {
				t.Error(err)
			} else if info.Name() != "LOCK" && path != dir {
				content, _ := os.ReadFile(path)
				fmt.Fprintf(&b, "%s %v %x\n", path, info.ModTime(), content)
			}
			return nil
		})
		return b.String()
	}
	earlier := files()
	db, err = pebblekv.Open(dir, pebblekv.Options{Merger: kvtest.Merger{}, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := verify(db); n != 20 || err != nil {
		t.Errorf("a read-only store holds %d batches, want 20: %v", n, err)
	}
	b := db.NewBatch()
	_, bulkErr := db.NewBulk()
	for what, err := range map[string]error{
		"Apply":      errors.Join(b.Set([]byte("a"), nil), db.Apply(b)),
		"NewBulk":    bulkErr,
		"Compact":    db.Compact(nil, nil),
		"Checkpoint": db.Checkpoint(filepath.Join(t.TempDir(), "copy")),
	} {
		if !errors.Is(err, kv.ErrReadOnly) {
			t.Errorf("%s on a read-only store: error %v, want %v", what, err, kv.ErrReadOnly)
		}
	}
	// What was refused can still be read through the batch.
	if _, err := b.Get(nil, []byte("a")); err != nil {
		t.Error(err)
	}
	if err := errors.Join(b.Close(), db.Sync(), db.Close()); err != nil {
		t.Error(err)
	}
	if later := files(); later != earlier {
		t.Error("a read-only store changed files")
	}
	openOn(t, dir, nil)
	if _, err := os.Stat(leftover); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the leftover of a bulk load is still there: %v", err)
	}
}

func TestLockedWithinProcess(t *testing.T) {
	for _, fs := range []vfs.FS{nil, vfs.NewMem()} {
		dir := filepath.Join(t.TempDir(), "data")
		openOn(t, dir, fs)
		for _, ro := range []bool{false, true} {
			_, err := pebblekv.Open(dir, pebblekv.Options{FS: fs, ReadOnly: ro})
			if !errors.Is(err, kv.ErrLocked) || !strings.Contains(fmt.Sprint(err), dir) {
				t.Errorf("second Open, read-only %v: error %v, want %v and the directory", ro, err, kv.ErrLocked)
			}
		}
	}
	// Another name for the same directory is the same store.
	dir := t.TempDir()
	openOn(t, filepath.Join(dir, "data"), nil)
	t.Chdir(dir)
	if _, err := pebblekv.Open("data", pebblekv.Options{}); !errors.Is(err, kv.ErrLocked) {
		t.Errorf("Open by a relative name: error %v, want %v", err, kv.ErrLocked)
	}
}

// The tests below need a second process: this test binary again, told by the environment what to do.
const roleVar, dirVar = "PEBBLEKV_TEST_ROLE", "PEBBLEKV_TEST_DIR"

func TestMain(m *testing.M) {
	switch role := os.Getenv(roleVar); role {
	case "":
		os.Exit(m.Run())
	case "hold":
		hold(os.Getenv(dirVar))
	case "manifest", "manifest-returns":
		breakManifest(role == "manifest")
	}
}

func child(t *testing.T, role, dir string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), roleVar+"="+role, dirVar+"="+dir)
	return cmd
}

// hold opens a store, writes without closing, and ends when its input ends.
func hold(dir string) {
	db, err := pebblekv.Open(dir, pebblekv.Options{Merger: kvtest.Merger{}})
	if err == nil {
		err = errors.Join(writeNth(db, 1), db.Sync())
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("open")
	io.Copy(io.Discard, os.Stdin)
}

func TestLockedByProcess(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	cmd := child(t, "hold", dir)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "open\n" {
		t.Fatalf("the other process says %q, %v", line, err)
	}
	for _, ro := range []bool{false, true} {
		_, err := pebblekv.Open(dir, pebblekv.Options{ReadOnly: ro})
		if !errors.Is(err, kv.ErrLocked) || !strings.Contains(fmt.Sprint(err), dir) {
			t.Errorf("Open, read-only %v: error %v, want %v and the directory", ro, err, kv.ErrLocked)
		}
	}
	lockedForReading(t, dir)
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	// The process ended without Close: the lock is gone with it, and what it synced is there.
	if n, err := verify(openOn(t, dir, nil)); n != 1 || err != nil {
		t.Errorf("%d batches, want 1: %v", n, err)
	}
}

func lockedForReading(t *testing.T, dir string) {
	t.Helper()
	if _, err := pebblekv.LockForReading(filepath.Join(dir, "LOCK")); !errors.Is(err, kv.ErrLocked) {
		t.Errorf("a shared lock beside a writer: error %v, want %v", err, kv.ErrLocked)
	}
}

// TestReadOnlyMedium: a store on a medium that cannot be written to can be opened for reading.
func TestReadOnlyMedium(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	db, err := pebblekv.Open(dir, pebblekv.Options{Merger: kvtest.Merger{}})
	if err == nil {
		err = errors.Join(writeNth(db, 1), db.Sync(), db.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	medium := errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() == errorfs.OpIsWrite && op.Kind != errorfs.OpFileClose {
			return &os.PathError{Op: "write", Path: op.Path, Err: syscall.EROFS}
		}
		return nil
	}))
	for _, lock := range []string{"with a lock file", "without"} {
		if lock == "without" {
			if err := os.Remove(filepath.Join(dir, "LOCK")); err != nil {
				t.Fatal(err)
			}
		}
		db, err = pebblekv.Open(dir, pebblekv.Options{Merger: kvtest.Merger{}, ReadOnly: true, FS: pebblekv.ReadOnlyDisk(medium)})
		if err != nil {
			t.Fatalf("%s: %v", lock, err)
		}
		if n, err := verify(db); n != 1 || err != nil {
			t.Errorf("%s: %d batches, want 1: %v", lock, n, err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := pebblekv.Open(dir, pebblekv.Options{FS: medium}); !errors.Is(err, kv.ErrReadOnly) {
		t.Errorf("Open for writing: error %v, want %v", err, kv.ErrReadOnly)
	}
}

// breakManifest makes one of the engine's own goroutines meet a fatal error.
func breakManifest(exit bool) {
	fs := newBreakable(syscall.EIO, isManifest)
	db, err := pebblekv.Open("data", pebblekv.Options{
		Merger: kvtest.Merger{}, FS: fs, MemtableBytes: 64 << 10,
		OnFatal: func(err error) {
			fmt.Println("fatal:", err)
			if exit {
				os.Exit(7)
			}
		},
	})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fs.broken.Store(true)
	for n := 1; ; n++ {
		if err := writeNth(db, n); err != nil {
			select {} // the other goroutine ends the process
		}
	}
}

// TestFatalInBackground: the process ends with the line that OnFatal writes, and does not run on when OnFatal comes back.
func TestFatalInBackground(t *testing.T) {
	for role, want := range map[string]int{"manifest": 7, "manifest-returns": 2} {
		out, err := child(t, role, "").CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != want {
			t.Errorf("%s: ended with %v, want exit code %d\n%s", role, err, want, out)
		}
		if s := string(out); !strings.Contains(s, "fatal: pebblekv: storage failed: ") || !strings.Contains(s, "input/output error") ||
			strings.Count(s, "fatal: ") != 1 {
			t.Errorf("%s: said\n%s", role, s)
		}
	}
}
