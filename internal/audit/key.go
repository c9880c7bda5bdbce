package audit

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// keySize is that of a key in octets.
const keySize = 32

// keyPrefix begins the one line of a key file.
const keyPrefix = "portolan-audit-key-1 "

// ReadKey reads the key of an audit log. Errors hold nothing of it; fs.ErrNotExist is in the chain of the error where there
// is no such file. A file that others may read or change is refused: who has the key can rewrite the log.
func ReadKey(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("the audit key cannot be read: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("the audit key cannot be read: %w", err)
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o037 != 0 {
		return nil, fmt.Errorf("%s must be a file that its owner alone can read: run: chmod 600 %s", path, path)
	}
	text, err := io.ReadAll(io.LimitReader(f, 256))
	if err != nil {
		return nil, fmt.Errorf("the audit key cannot be read: %w", err)
	}
	text, ok := bytes.CutPrefix(bytes.TrimRight(text, "\r\n"), []byte(keyPrefix))
	key, err := base64.StdEncoding.DecodeString(string(text))
	if !ok || err != nil || len(key) != keySize {
		return nil, fmt.Errorf("%s holds no audit key: put the right file there", path)
	}
	return key, nil
}

// makeKey makes a new key file, durably. It replaces nothing.
func makeKey(path string, random io.Reader) ([]byte, error) {
	key := make([]byte, keySize)
	if _, err := io.ReadFull(random, key); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("the audit key cannot be made: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("the audit key cannot be made: %w", err)
	}
	_, err = io.WriteString(f, keyPrefix+base64.StdEncoding.EncodeToString(key)+"\n")
	if err = errors.Join(err, f.Sync(), f.Close(), syncDir(filepath.Dir(path))); err != nil {
		return nil, errors.Join(fmt.Errorf("the audit key cannot be made: %w", err), os.Remove(path))
	}
	return key, nil
}

// missing reports whether an error is that of a file that is not there.
func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// syncDir makes changes of a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
