package audit

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// The files of a log are the one that is written to, and beside it those before: NAME.NUMBER, or NAME.NUMBER.gz, where
// NUMBER is that of the file's first line, in twenty digits. What others call their copies does not matter for reading: a
// file whose name begins like the log's is put in its place by its first line.

const (
	gzSuffix   = ".gz"
	tempSuffix = ".tmp"
)

// rotatedName is the name of a file that is not written to any more.
func rotatedName(file string, first uint64) string { return fmt.Sprintf("%s.%020d", file, first) }

// logFile is one file of a log.
type logFile struct {
	path  string
	first uint64 // number of its first line; 0 where that cannot be told
	size  int64
}

// listFiles returns the files of a log in the order of their lines. The one that is being written to is the last where it
// is empty or begins with no line. Somebody may be rotating them: the list is that of one moment.
func listFiles(file string) ([]logFile, error) {
	before, err := lookAtFiles(file)
	for range 20 {
		if err != nil || len(before) == 0 {
			return before, err
		}
		var again []logFile
		if again, err = lookAtFiles(file); err != nil {
			return nil, err
		}
		if slices.EqualFunc(before, again, func(a, b logFile) bool { return a.path == b.path && a.first == b.first }) {
			return again, nil
		}
		before = again
	}
	return before, err
}

func lookAtFiles(file string) ([]logFile, error) {
	dir, base := filepath.Split(file)
	if dir == "" {
		dir = "."
	}
	there, err := os.ReadDir(dir)
	if missing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var files []logFile
	plain := map[string]bool{}
	for _, d := range there {
		name := d.Name()
		if name != base && !strings.HasPrefix(name, base+".") && !strings.HasPrefix(name, base+"-") || strings.HasSuffix(name, tempSuffix) {
			continue
		}
		info, err := os.Stat(filepath.Join(dir, name))
		if missing(err) {
			continue // compressed or retired this very moment
		}
		if err != nil {
			return nil, err
		}
		if !info.Mode().IsRegular() {
			continue
		}
		plain[name] = true
		files = append(files, logFile{path: filepath.Join(dir, name), size: info.Size()})
	}
	// After a crash in the middle of it a file may be there twice; the compressed one may not be whole then.
	files = slices.DeleteFunc(files, func(f logFile) bool {
		name, gz := strings.CutSuffix(filepath.Base(f.path), gzSuffix)
		return gz && plain[name]
	})
	return sortFiles(files, file), nil
}

// sortFiles puts files in the order of their first lines.
func sortFiles(files []logFile, current string) []logFile {
	for i := range files {
		files[i].first = firstNumber(files[i].path)
	}
	slices.SortStableFunc(files, func(a, b logFile) int {
		switch x, y := order(a, current), order(b, current); {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return strings.Compare(a.path, b.path)
	})
	return files
}

// order is where a file stands among the others.
func order(f logFile, current string) uint64 {
	if f.first == 0 && f.path == current {
		return math.MaxUint64
	}
	return f.first
}

// firstNumber returns the number of the first line of a file; where that is none, what the name says.
func firstNumber(path string) uint64 {
	if r, err := openFile(path); err == nil {
		defer r.Close()
		head := make([]byte, len(lineHead)+20)
		n, err := io.ReadFull(r, head)
		if err == nil || errors.Is(err, io.ErrUnexpectedEOF) {
			if digits, ok := bytes.CutPrefix(head[:n], []byte(lineHead)); ok {
				digits, _, _ = bytes.Cut(digits, []byte(","))
				if first, err := strconv.ParseUint(string(digits), 10, 64); err == nil {
					return first
				}
			}
		}
	}
	name := strings.TrimSuffix(path, gzSuffix)
	first, err := strconv.ParseUint(name[strings.LastIndexByte(name, '.')+1:], 10, 64)
	if err != nil {
		return 0
	}
	return first
}

// openFile opens a file for reading, compressed or not. One that was compressed after it had been listed is found.
func openFile(path string) (io.ReadCloser, error) {
	f, err := os.Open(path)
	gz := strings.HasSuffix(path, gzSuffix)
	if missing(err) && !gz {
		gz = true
		f, err = os.Open(path + gzSuffix)
	}
	if err != nil {
		return nil, err
	}
	if !gz {
		return f, nil
	}
	z, err := gzip.NewReader(bufio.NewReaderSize(f, 64<<10))
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &gzFile{z, f}, nil
}

type gzFile struct {
	*gzip.Reader
	f *os.File
}

func (g *gzFile) Close() error { return errors.Join(g.Reader.Close(), g.f.Close()) }

// rawLine is a line as it is in a file.
type rawLine struct {
	text   []byte // without its end; cut where it is longer than maxLine
	octets int64  // with its end
	whole  bool   // it has its end
}

// lineReader reads lines of any length in bounded memory.
type lineReader struct{ r *bufio.Reader }

func newLineReader(r io.Reader) *lineReader { return &lineReader{bufio.NewReaderSize(r, maxLine+1)} }

// next returns the next line, which is valid until the call after; io.EOF at the end.
func (l *lineReader) next() (rawLine, error) {
	text, err := l.r.ReadSlice('\n')
	out := rawLine{text: text, octets: int64(len(text)), whole: err == nil}
	if err == nil {
		out.text = text[:len(text)-1]
		return out, nil
	}
	if errors.Is(err, bufio.ErrBufferFull) {
		out.text = bytes.Clone(text[:64]) // no line of ours is that long; only its length counts
		for errors.Is(err, bufio.ErrBufferFull) {
			text, err = l.r.ReadSlice('\n')
			out.octets += int64(len(text))
		}
		out.whole = err == nil
	}
	if err == nil || errors.Is(err, io.EOF) && out.octets > 0 {
		return out, nil
	}
	return out, err
}
