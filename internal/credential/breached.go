package credential

import (
	"bufio"
	"bytes"
	"crypto/sha1" // #nosec G505 -- lists of breached passwords
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

const (
	breachedHex      = 2 * sha1.Size
	breachedPrefix   = 5                   // digits in the name of a prefix file
	breachedMaxLine  = 128                 // bytes of a line of hashes
	breachedMaxWords = 128 << 20           // bytes of a word list, which is held in memory as 8 bytes a word
	breachedMaxFile  = 4 << 20             // bytes of a prefix file
	breachedSamples  = 64                  // lines of which the order is checked
	breachedBuffer   = 2 * breachedMaxLine // bytes read at a probe
)

// Breached is an offline list of passwords that are known to attackers. It is safe for concurrent use.
type Breached struct {
	contains func(password []byte) (bool, error)
	closer   io.Closer
	kind     string
}

// OpenBreached opens a list of breached passwords, which may be
//
//   - a file with the SHA-1 of a password in hexadecimal on each line, followed or not by a colon and a count, sorted
//     by hash: the list that haveibeenpwned.com offers. It is searched on disk and may have any size;
//   - a folder of the same in files named by the first five digits (ABCDE or ABCDE.txt) that hold the rest of the
//     digits on each line;
//   - a plain list with one password on each line, up to 128 MiB.
//
// The caller must Close it.
func OpenBreached(path string) (*Breached, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("list of breached passwords: %w", err)
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		f.Close()
		root, err := os.OpenRoot(path)
		if err != nil {
			return nil, fmt.Errorf("list of breached passwords: %w", err)
		}
		folder := root.FS()
		if names, _ := fs.Glob(folder, "[0-9A-Fa-f][0-9A-Fa-f][0-9A-Fa-f][0-9A-Fa-f][0-9A-Fa-f]*"); len(names) == 0 {
			root.Close()
			return nil, fmt.Errorf("list of breached passwords: folder %s has no files named by five hexadecimal digits", filepath.Clean(path))
		}
		return &Breached{kind: "folder of SHA-1 prefixes", closer: root,
			contains: func(password []byte) (bool, error) { return searchPrefixFile(folder, password) }}, nil
	}
	var b *Breached
	if err == nil {
		b, err = NewBreached(f, info.Size())
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("list of breached passwords %s: %w", filepath.Clean(path), err)
	}
	if b.closer == nil {
		f.Close() // the words are in memory
	} else {
		b.closer = f
	}
	return b, nil
}

// NewBreached reads a list of hashes or words as OpenBreached does. A list of hashes goes on reading from r.
func NewBreached(r io.ReaderAt, size int64) (*Breached, error) {
	if size == 0 {
		return nil, errors.New("the file is empty")
	}
	head := make([]byte, min(size, breachedMaxLine))
	if _, err := r.ReadAt(head, 0); err != nil && err != io.EOF {
		return nil, err
	}
	first, _, _ := bytes.Cut(head, []byte("\n"))
	switch digits := hexDigits(first); {
	case digits == breachedHex:
		l := hashList{r: r, size: size}
		if err := l.checkOrder(); err != nil {
			return nil, err
		}
		return &Breached{kind: "SHA-1 list", contains: l.contains, closer: io.NopCloser(nil)}, nil
	case digits == 32:
		return nil, errors.New("the hashes have 32 digits and seem to be NTLM or MD5; take the list of SHA-1 hashes, ordered by hash")
	}
	return readWordList(r, size)
}

// Kind says in a few words what sort of list it is, for the log and the status screen.
func (b *Breached) Kind() string { return b.kind }

// Contains reports whether the password is in the list. On an error of the disk the answer is unknown: refuse the
// new password or let it pass, but say so.
func (b *Breached) Contains(password []byte) (bool, error) {
	if b == nil {
		return false, nil
	}
	found, err := b.contains(password)
	if err != nil {
		return false, fmt.Errorf("list of breached passwords: %w", err)
	}
	return found, nil
}

// Close closes the file. A nil Breached may be closed.
func (b *Breached) Close() error {
	if b == nil || b.closer == nil {
		return nil
	}
	return b.closer.Close()
}

// hexDigits counts the hexadecimal digits of a line that has nothing else before a colon or its end; else 0.
func hexDigits(line []byte) int {
	digits, _, _ := bytes.Cut(bytes.TrimRight(line, "\r\n "), []byte(":"))
	for _, c := range digits {
		if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F') {
			return 0
		}
	}
	return len(digits)
}

// hashOf returns the SHA-1 of a password in capital hexadecimal digits.
func hashOf(password []byte) []byte {
	sum := sha1.Sum(password) // #nosec G401 -- the form in which lists of breached passwords come
	return bytes.ToUpper(hex.AppendEncode(nil, sum[:]))
}

// hashList is a sorted file of hashes.
type hashList struct {
	r    io.ReaderAt
	size int64
}

// lineFrom returns the hash of the first line that begins at offset from or later, and where that line begins and the
// next one. The hash is nil when no line begins there.
func (l hashList) lineFrom(from int64) (hash []byte, begin, next int64, err error) {
	var array [breachedBuffer]byte
	at := max(0, from-1) // a line begins at from if the byte before it ends one
	n, err := l.r.ReadAt(array[:min(int64(len(array)), l.size-at)], at)
	if err != nil && err != io.EOF {
		return nil, 0, 0, err
	}
	buf := array[:n]
	begin = at
	if from > 0 {
		i := bytes.IndexByte(buf, '\n')
		if i < 0 {
			if at+int64(n) < l.size {
				return nil, 0, 0, fmt.Errorf("the line at byte %d is too long", at)
			}
			return nil, l.size, l.size, nil
		}
		begin += int64(i) + 1
		buf = buf[i+1:]
	}
	if len(buf) == 0 {
		return nil, l.size, l.size, nil
	}
	end := bytes.IndexByte(buf, '\n')
	next = begin + int64(end) + 1
	if end < 0 {
		end, next = len(buf), l.size
	}
	if hexDigits(buf[:end]) != breachedHex {
		return nil, 0, 0, fmt.Errorf("the line at byte %d does not begin with a SHA-1 of %d digits", begin, breachedHex)
	}
	return bytes.ToUpper(buf[:breachedHex]), begin, next, nil
}

// checkOrder looks at lines all over the file: a list ordered by count would make every search fail silently.
func (l hashList) checkOrder() error {
	var last []byte
	for i := range int64(breachedSamples) {
		hash, begin, _, err := l.lineFrom(l.size * i / breachedSamples)
		if err != nil {
			return err
		}
		if hash == nil {
			break
		}
		if bytes.Compare(hash, last) < 0 {
			return fmt.Errorf("the hashes are not in order at byte %d; take the list that is ordered by hash, or sort it", begin)
		}
		last = hash
	}
	return nil
}

func (l hashList) contains(password []byte) (bool, error) {
	want := hashOf(password)
	// The first line that is not below want begins in [low, high].
	low, high := int64(0), l.size
	for low < high {
		middle := low + (high-low)/2
		hash, _, next, err := l.lineFrom(middle)
		if err != nil {
			return false, err
		}
		c := 1 // no line begins there
		if hash != nil {
			c = bytes.Compare(hash, want)
		}
		switch {
		case c == 0:
			return true, nil
		case c < 0:
			low = next
		default:
			high = middle
		}
	}
	return false, nil
}

// searchPrefixFile looks for a password in a folder of files named by the first digits.
func searchPrefixFile(folder fs.FS, password []byte) (bool, error) {
	want := hashOf(password)
	name, rest := string(want[:breachedPrefix]), want[breachedPrefix:]
	f, err := folder.Open(name + ".txt")
	if errors.Is(err, fs.ErrNotExist) {
		f, err = folder.Open(name)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // a list need not be complete
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	lines := bufio.NewScanner(io.LimitReader(f, breachedMaxFile))
	lines.Buffer(make([]byte, 0, 4096), 4096)
	for lines.Scan() {
		line := lines.Bytes()
		if len(line) >= len(rest) && bytes.EqualFold(line[:len(rest)], rest) {
			return true, nil
		}
	}
	return false, lines.Err()
}

// readWordList keeps 8 bytes of the digest of each word: 64 bits leave no chance of a false hit worth naming.
func readWordList(r io.ReaderAt, size int64) (*Breached, error) {
	if size > breachedMaxWords {
		return nil, fmt.Errorf("a plain list may have %d MiB; use a sorted list of SHA-1 hashes", breachedMaxWords>>20)
	}
	var words []uint64
	in := bufio.NewReader(io.NewSectionReader(r, 0, size))
	for number := 1; ; number++ {
		line, err := in.ReadSlice('\n')
		if err == bufio.ErrBufferFull {
			return nil, fmt.Errorf("line %d is longer than %d bytes", number, in.Size())
		}
		if err != nil && err != io.EOF {
			return nil, err
		}
		if word := bytes.TrimRight(line, "\r\n"); len(word) > 0 {
			words = append(words, wordKey(word))
		}
		if err == io.EOF {
			break
		}
	}
	slices.Sort(words)
	words = slices.Clip(slices.Compact(words))
	return &Breached{kind: "word list", contains: func(password []byte) (bool, error) {
		_, found := slices.BinarySearch(words, wordKey(password))
		return found, nil
	}}, nil
}

func wordKey(word []byte) uint64 {
	sum := sha1.Sum(word) // #nosec G401 -- the form in which lists of breached passwords come
	return binary.BigEndian.Uint64(sum[:])
}
