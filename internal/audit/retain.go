package audit

import (
	"bufio"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzip"
)

// tidy compresses closed files and removes those beyond Policy.Keep. It runs in the background.
func (t *Trail) tidy() {
	p := t.policy.Load()
	files, err := listFiles(t.o.File)
	if err != nil {
		t.o.Log.Error("the audit log's files cannot be listed", "error", err)
		return
	}
	var closed []logFile
	for _, f := range files {
		if t.isClosed(f.path) {
			closed = append(closed, f)
		}
	}
	if p.Keep > 0 && len(closed) > p.Keep {
		t.retire(closed[:len(closed)-p.Keep], closed[len(closed)-p.Keep].first)
		closed = closed[len(closed)-p.Keep:]
	}
	for _, f := range closed {
		if !p.Compress || strings.HasSuffix(f.path, gzSuffix) {
			continue
		}
		if err := t.compress(f.path); err != nil && !errors.Is(err, errQuit) {
			t.o.Log.Error("a file of the audit log could not be compressed", "file", f.path, "error", err)
		}
	}
}

// isClosed reports whether a file is one that this log has closed, by its name.
func (t *Trail) isClosed(path string) bool {
	digits, ok := strings.CutPrefix(strings.TrimSuffix(path, gzSuffix), t.o.File+".")
	if !ok || len(digits) != 20 {
		return false
	}
	_, err := strconv.ParseUint(digits, 10, 64)
	return err == nil
}

// retire removes files. That the lines before next are gone is written first, so that a verification can tell this from
// somebody who removes files.
func (t *Trail) retire(files []logFile, next uint64) {
	if next == 0 || t.trouble.Load() != nil {
		return
	}
	now := t.o.Now()
	b := t.add(nil, func(b []byte) []byte {
		b = num(begin(b, now, eventRetired), "through", next-1)
		return num(b, "files", uint64(len(files)))
	})
	if b == nil {
		return
	}
	t.signal()
	<-b.done
	if t.trouble.Load() != nil {
		return
	}
	for _, f := range files {
		if err := os.Remove(f.path); err != nil && !missing(err) {
			t.o.Log.Error("an old file of the audit log could not be removed", "file", f.path, "error", err)
		}
	}
}

// errQuit ends work that can be done at the next start.
var errQuit = errors.New("the server is ending")

// compress replaces a file by its compressed form.
func (t *Trail) compress(path string) (err error) {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	temp := path + gzSuffix + tempSuffix
	out, err := os.OpenFile(temp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(temp))
		}
	}()
	buffered := bufio.NewWriterSize(out, 256<<10)
	// Files that are written at full speed are compressed beside those who write, so that time counts more than room. This library
	// takes half the time of the standard one at this level: 29 MB in 104 ms.
	z, err := gzip.NewWriterLevel(buffered, gzip.BestSpeed)
	if err != nil {
		return errors.Join(err, out.Close())
	}
	_, err = io.Copy(z, &interruptible{in, t.hurry})
	err = errors.Join(err, z.Close(), buffered.Flush(), out.Sync(), out.Close())
	if err != nil {
		return err
	}
	if err = os.Rename(temp, path+gzSuffix); err != nil {
		return err
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return err
	}
	return os.Remove(path)
}

// interruptible reads until it is told to end.
type interruptible struct {
	r    io.Reader
	quit <-chan struct{}
}

func (r *interruptible) Read(b []byte) (int, error) {
	select {
	case <-r.quit:
		return 0, errQuit
	default:
		return r.r.Read(b)
	}
}
